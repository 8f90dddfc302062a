//! Who counts as one client, wherever clients are counted: an IPv4 address, an IPv6 /64, or all of the Unix sockets.
//!
//! Not here: which address of a connection or a request is the client's (`http::forwarded`), and what is counted (`rate`,
//! `session`).

use std::net::IpAddr;

use crate::http::forwarded::Peer;

/// One client, in two words; nobody where both are 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Client {
    high: u64,
    low: u64,
}

impl From<Peer> for Client {
    fn from(peer: Peer) -> Self {
        match peer {
            Peer::Ip(IpAddr::V4(address)) => Self { high: 0, low: 1 << 32 | u64::from(address.to_bits()) },
            // A /64 is one network, and whoever has it has all of its addresses.
            Peer::Ip(IpAddr::V6(address)) => Self { high: (address.to_bits() >> 64) as u64, low: 1 },
            Peer::Unix => Self { high: 0, low: 2 },
        }
    }
}
