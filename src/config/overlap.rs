//! Whether two listens want the same address, the addresses of `:PORT` included.
//!
//! Not here: whether another process has it; that shows when it is bound.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use super::diagnostics::Span;
use super::model::ListenAddress;

/// Every address so far, and where it was written.
#[derive(Debug, Default)]
pub struct Overlap {
    exact: HashMap<SocketAddr, Span>,
    /// By port and family: the address that stands for all of them.
    unspecified: HashMap<(u16, bool), Span>,
    /// By port and family: the first of any.
    any: HashMap<(u16, bool), Span>,
    unix: HashMap<PathBuf, Span>,
    inherited: HashMap<Option<String>, Span>,
}

impl Overlap {
    /// Takes an address; if it cannot be bound beside an earlier one, where that is.
    pub fn add(&mut self, address: &ListenAddress, at: Span) -> Option<Span> {
        match address {
            ListenAddress::Unix(path) => {
                let first = self.unix.get(path).copied();
                self.unix.entry(path.clone()).or_insert(at);
                first
            }
            ListenAddress::Inherited(name) => {
                // Without a name it is all of them.
                let first = match name {
                    Some(_) => self.inherited.get(name).or_else(|| self.inherited.get(&None)),
                    None => self.inherited.values().min_by_key(|at| (at.source, at.line)),
                };
                let first = first.copied();
                self.inherited.entry(name.clone()).or_insert(at);
                first
            }
            ListenAddress::AnyTcp(port) => {
                let both = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
                self.add_all(&both.map(|ip| SocketAddr::new(ip, *port)), at)
            }
            ListenAddress::Tcp { addresses, .. } => self.add_all(addresses, at),
        }
    }

    fn add_all(&mut self, addresses: &[SocketAddr], at: Span) -> Option<Span> {
        let first = addresses.iter().find_map(|address| self.taken(address));
        for address in addresses {
            let group = (address.port(), address.is_ipv4());
            self.exact.entry(*address).or_insert(at);
            self.any.entry(group).or_insert(at);
            if address.ip().is_unspecified() {
                self.unspecified.entry(group).or_insert(at);
            }
        }
        first
    }

    fn taken(&self, address: &SocketAddr) -> Option<Span> {
        // Port 0 is a new one each time.
        if address.port() == 0 {
            return None;
        }
        let group = (address.port(), address.is_ipv4());
        let other = if address.ip().is_unspecified() { self.any.get(&group) } else { self.exact.get(address) };
        other.or_else(|| self.unspecified.get(&group)).copied()
    }
}
