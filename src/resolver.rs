//! The thread that asks for the addresses of backends whose name is not an IP address.
//!
//! getaddrinfo(3) may block for seconds, so it is never called on the way of a request. A name that does not resolve is
//! not fatal: its backend is passed over and the name is asked for again. The last good answer stays in force.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::backend::Backend;
use crate::config::model::BackendAddress;
use crate::sync::Arc;

/// How often names are asked for again.
const AGAIN: Duration = Duration::from_secs(10);
/// How long a start or a reload waits for the first answers.
const FIRST: Duration = Duration::from_secs(2);

/// Backends whose names are to be kept resolved, and whom to tell when each was asked for once.
pub type Work = (Vec<Arc<Backend>>, Sender<()>);

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

/// Gives the resolver the backends of a new snapshot, and waits a little so that the first requests find addresses.
pub fn watch(work: &Sender<Work>, backends: Vec<Arc<Backend>>) {
    let (asked, first) = crossbeam_channel::bounded(1);
    if work.send((backends, asked)).is_ok() {
        let _late_or_done = first.recv_timeout(FIRST);
    }
}

/// Asks until the channel closes. A new list replaces the old one.
pub fn run(work: &Receiver<Work>) {
    let mut backends: Vec<Arc<Backend>> = Vec::new();
    let mut next = Instant::now() + AGAIN;
    loop {
        match work.recv_deadline(next) {
            Ok((all, asked)) => {
                backends = all;
                backends.retain(|backend| match &backend.address {
                    BackendAddress::Tcp { host, port } => known(host, *port).is_none(),
                    BackendAddress::Unix(_) | BackendAddress::Demo(_) => false,
                });
                backends.iter().for_each(ask);
                let _nobody_waits_any_more = asked.send(());
            }
            Err(RecvTimeoutError::Timeout) => backends.iter().for_each(ask),
            Err(RecvTimeoutError::Disconnected) => return,
        }
        next = Instant::now() + AGAIN;
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
