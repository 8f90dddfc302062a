//! Where a listener is bound, once the configuration's names are resolved. Not here: binding (`bind`).

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::model::ListenAddress;
use crate::inherited::{Inherited, Unusable};

/// What is bound: two listeners with the same place are the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// As configured, port 0 included.
    Tcp(SocketAddr),
    /// Both families.
    AnyTcp(u16),
    /// A path.
    Unix(PathBuf),
    /// Bound by whoever started us: its number.
    Inherited(i32),
}

impl Place {
    /// All places of an address.
    pub fn of(address: &ListenAddress, inherited: &Inherited) -> Result<Vec<Self>, Unusable> {
        Ok(match address {
            ListenAddress::Tcp { addresses, .. } => addresses.iter().map(|&address| Self::Tcp(address)).collect(),
            ListenAddress::AnyTcp(port) => vec![Self::AnyTcp(*port)],
            ListenAddress::Unix(path) => vec![Self::Unix(path.clone())],
            ListenAddress::Inherited(name) => {
                inherited.named(name.as_deref())?.into_iter().map(Self::Inherited).collect()
            }
        })
    }

    /// Whether both stand for the same port.
    pub fn overlaps(&self, other: &Self) -> bool {
        let port = |place: &Self| match place {
            Self::Tcp(address) => Some(address.port()),
            Self::AnyTcp(port) => Some(*port),
            Self::Unix(_) | Self::Inherited(_) => None,
        };
        port(self).is_some_and(|own| own != 0 && port(other) == Some(own))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::AnyTcp(port) => write!(f, ":{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Inherited(number) => write!(f, "the inherited descriptor {number}"),
        }
    }
}
