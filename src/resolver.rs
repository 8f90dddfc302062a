//! The thread that asks for the addresses of backends whose name is not an IP address.
//!
//! getaddrinfo(3) may block for seconds, so it is never called on the way of a request. A name that does not resolve is
//! not fatal: its backend is passed over and the name is asked for again. The last good answer stays in force.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::backend::Backend;
use crate::config::model::BackendAddress;
use crate::sync::{Arc, Mutex};

/// How often names are asked for again.
const AGAIN: Duration = Duration::from_secs(10);
/// How often the first answers are looked for.
const LOOK: Duration = Duration::from_millis(5);
/// How long a start waits for the first answers.
pub const AT_START: Duration = Duration::from_secs(2);
/// How long a reload does, which is to be in force after 200 ms.
pub const AT_RELOAD: Duration = Duration::from_millis(100);

/// The resolver as others see it.
#[derive(Debug)]
pub struct Resolver {
    /// Backends of the snapshot in force whose names are asked for.
    wanted: Arc<Mutex<Vec<Arc<Backend>>>>,
    wake: Sender<()>,
}

/// The resolver's thread.
#[derive(Debug)]
pub struct ResolverThread {
    wanted: Arc<Mutex<Vec<Arc<Backend>>>>,
    woken: Receiver<()>,
}

/// Both ends. The thread ends when the first is dropped.
pub fn new() -> (Resolver, ResolverThread) {
    let wanted = Arc::new(Mutex::new(Vec::new()));
    let (wake, woken) = crossbeam_channel::bounded(1);
    (Resolver { wanted: Arc::clone(&wanted), wake }, ResolverThread { wanted, woken })
}

/// The addresses of a host that needs no resolver: an IP address, or `localhost`, which is the loopback of both families
/// whatever the resolver says (RFC 6761 section 6.3).
pub fn known(host: &str, port: u16) -> Option<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Some(vec![SocketAddr::new(ip, port)]);
    }
    host.trim_end_matches('.').eq_ignore_ascii_case("localhost").then(|| {
        vec![
            SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port),
            SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port),
        ]
    })
}

impl Resolver {
    /// Asks for the names of these backends from now on, and waits a little, so that the first requests find addresses.
    pub fn watch<'a>(&self, backends: impl Iterator<Item = &'a Arc<Backend>>, patience: Duration) {
        let named = |backend: &&Arc<Backend>| match &backend.address {
            BackendAddress::Tcp { host, port } => known(host, *port).is_none(),
            BackendAddress::Unix(_) | BackendAddress::Demo(_) => false,
        };
        let mut wanted: Vec<Arc<Backend>> = backends.filter(named).cloned().collect();
        // A name that is slow to resolve keeps the others waiting: who has an address already comes last.
        wanted.sort_by_key(|backend| backend.is_resolved());
        self.wanted.lock().clone_from(&wanted);
        let _woken_already = self.wake.try_send(());
        let deadline = Instant::now() + patience;
        while wanted.iter().any(|backend| !backend.is_resolved()) && Instant::now() < deadline {
            std::thread::sleep(LOOK);
        }
    }
}

impl ResolverThread {
    /// Asks for all names, and again every ten seconds.
    pub fn run(&self) {
        loop {
            match self.woken.recv_timeout(AGAIN) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let wanted = self.wanted.lock().clone();
            wanted.iter().for_each(ask);
        }
    }
}

fn ask(backend: &Arc<Backend>) {
    let BackendAddress::Tcp { host, port } = &backend.address else { return };
    match (host.as_str(), *port).to_socket_addrs() {
        Ok(addresses) => {
            let addresses: Vec<SocketAddr> = addresses.collect();
            if !addresses.is_empty() {
                backend.set_addresses(addresses);
            }
        }
        Err(error) if backend.is_resolved() => {
            log::warn!("resolver: {host}: {error}; its last addresses stay in force");
        }
        Err(error) => log::warn!("resolver: {host}: {error}; {} is not used until it resolves", backend.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_is_both_loopbacks_and_an_address_is_itself() {
        assert_eq!(known("LOCALHOST", 80).map(|all| all.len()), Some(2));
        assert_eq!(known("::1", 80), Some(vec!["[::1]:80".parse().expect("address")]));
        assert_eq!(known("example.com", 80), None);
    }
}
