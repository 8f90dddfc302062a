//! Why the router did not start, in words that say what to do.

use std::fmt;
use std::io;

use crate::listener::Place;

/// Why the router did not start, or a reload was refused.
#[derive(Debug)]
pub enum StartError {
    /// The host cannot pay the bill.
    Bill(Vec<String>),
    /// An address cannot be bound.
    Bind(Place, io::Error),
    /// An address cannot be bound while this router itself listens on another one of the same port.
    Overlap(Place, Place),
    /// A thread, a file or a descriptor could not be had.
    Resource(&'static str, io::Error),
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
