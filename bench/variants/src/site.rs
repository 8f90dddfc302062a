//! The configuration as a session consults it, made once and shared by all threads: the product's snapshot, and where the
//! backends are. The pools of the snapshot are not asked: their connections block.
//!
//! What the programs here cannot do is refused at the start, so that no figure is of something else than was asked for.

use std::net::SocketAddr;

use layer7router::balance::RoundRobin;
use layer7router::config::model::{BackendAddress, Config, ListenAddress};
use layer7router::resolver;
use layer7router::snapshot::Snapshot;

use crate::bay::SLICE;

/// Kept connections of one thread to one backend: at least these, as each of nginx's workers has in the same bench. A model
/// without a bound on running exchanges needs as many as it has clients.
const KEPT_MIN: usize = 4096;

/// The configuration.
#[derive(Debug)]
pub struct Site {
    /// What plans are made from.
    pub snapshot: Snapshot,
    /// By index of the configuration's pools.
    pub pools: Vec<Pool>,
    /// Every backend, by the index that sessions use.
    pub backends: Vec<SocketAddr>,
    /// Our own name in Via.
    pub via: String,
    /// Kept connections of one thread to one backend, at most.
    pub kept_max: usize,
}

/// One pool.
#[derive(Debug)]
pub struct Pool {
    balance: RoundRobin,
    first: usize,
}

impl Pool {
    /// Whose turn it is: an index into `backends`.
    pub fn next(&self) -> Option<usize> {
        Some(self.first + self.balance.next()?)
    }
}

impl Site {
    /// Made of a configuration with one listen.
    pub fn new(config: Config) -> Result<Self, String> {
        if config.listens.len() != 1 {
            return Err("a variant has exactly one listen".to_owned());
        }
        if config.limits.header_size > SLICE {
            return Err(format!("a variant has slices of {SLICE} bytes, and header_size is more"));
        }
        let mut backends = Vec::new();
        let mut pools = Vec::new();
        for pool in &config.pools {
            let first = backends.len();
            for backend in &pool.backends {
                backends.push(address(&backend.address)?);
            }
            let weights: Vec<u32> = pool.backends.iter().map(|backend| backend.weight).collect();
            pools.push(Pool { balance: RoundRobin::new(&weights), first });
        }
        let kept_max = config.pools.iter().map(|pool| pool.keepalive).max().unwrap_or(0).max(KEPT_MIN);
        let snapshot = Snapshot::build(config, 1, Vec::new(), None, |_| None);
        Ok(Self { snapshot, pools, backends, via: layer7router::ids::via_token(), kept_max })
    }

    /// Where to listen.
    pub fn listen(&self) -> Result<SocketAddr, String> {
        match self.snapshot.config.listens[0].addresses.as_slice() {
            [ListenAddress::Tcp { addresses, .. }] if !addresses.is_empty() => Ok(addresses[0]),
            _ => Err("a variant listens on one TCP address".to_owned()),
        }
    }
}

fn address(backend: &BackendAddress) -> Result<SocketAddr, String> {
    match backend {
        BackendAddress::Tcp { host, port } => resolver::known(host, *port)
            .and_then(|known| {
                known
                    .into_iter()
                    .find(SocketAddr::is_ipv4)
                    .or_else(|| host.parse().ok().map(|ip| SocketAddr::new(ip, *port)))
            })
            .ok_or_else(|| format!("a variant has no resolver: {backend} is not an IP address")),
        BackendAddress::Unix(_) | BackendAddress::Demo(_) => {
            Err(format!("a variant speaks TCP to its backends, not to {backend}"))
        }
    }
}
