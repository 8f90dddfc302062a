//! Why the router did not start, in words that say what to do.

use std::fmt;
use std::io;

use crate::config::model::{Config, ListenAddress};
use crate::inherited::Unusable;
use crate::listener::Place;

/// Why the router did not start, or a reload was refused.
#[derive(Debug)]
pub enum StartError {
    /// The host cannot pay the bill.
    Bill(Vec<String>),
    /// An address cannot be bound.
    Bind(Place, io::Error),
    /// NAME of a listen, and its address, which is an inherited socket that there is not.
    Inherited(String, ListenAddress, Unusable),
    /// An address cannot be bound by the user that the process has become.
    BindAs(Place, io::Error, String),
    /// An address cannot be bound while this router itself listens on another one of the same port.
    Overlap(Place, Place),
    /// A thread, a file or a descriptor could not be had.
    Resource(&'static str, io::Error),
}

impl StartError {
    /// An address cannot be bound; what is not permitted may be so because of `user`.
    pub(super) fn bind(place: &Place, error: io::Error, config: &Config) -> Self {
        match &config.server.identity {
            Some(identity) if error.kind() == io::ErrorKind::PermissionDenied => {
                Self::BindAs(place.clone(), error, identity.user.clone())
            }
            _ => Self::Bind(place.clone(), error),
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bill(reasons) => f.write_str(&reasons.join("\n")),
            Self::Bind(place, error) if error.kind() == io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "cannot listen on {place}: another process listens there already; stop it, or change `address`"
                )
            }
            Self::Bind(place, error) if error.kind() == io::ErrorKind::PermissionDenied => {
                write!(f, "cannot listen on {place}: {error}; ports below 1024 and protected folders need a privilege")
            }
            Self::Inherited(name, address, why) => write!(f, "[listen:{name}] address = {address}: {why}"),
            Self::BindAs(place @ Place::Unix(_), error, user) => {
                write!(f, "cannot listen on {place} as user {user}: {error}; its folder must be writable for {user}")
            }
            Self::BindAs(place, error, user) => write!(
                f,
                "cannot listen on {place} as user {user}: {error}; ports below 1024 are bound at the start only, as \
                 root: restart to add one"
            ),
            Self::Bind(place, error) => write!(f, "cannot listen on {place}: {error}"),
            Self::Overlap(place, ours) => write!(
                f,
                "cannot listen on {place} while this router listens on {ours}: take that away in one reload, and add \
                 this in the next"
            ),
            // EAGAIN of a thread; no file says it.
            Self::Resource(what, error) if error.kind() == io::ErrorKind::WouldBlock => write!(
                f,
                "cannot start {what}: {error}; the host has no thread or no memory left for it: lower `workers` in \
                 [server], or raise what limits threads (ulimit -u, pids.max of the cgroup, kernel.threads-max)"
            ),
            Self::Resource(what, error) => write!(f, "cannot start {what}: {error}"),
        }
    }
}
