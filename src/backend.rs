//! One backend: where it is, the connections to it that are kept, and how many exchanges it has.
//!
//! Kept connections are shared by all workers, the newest first: the older ones then grow idle and are pruned. Not here:
//! which backend is chosen (`balance`), what is tried when a connect fails (`pool`).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::clock;
use crate::config::model::BackendAddress;
use crate::sync::{Arc, AtomicUsize, Mutex, Ordering};
use crate::transport::{Address, Socket};

/// One address of a pool.
#[derive(Debug)]
pub struct Backend {
    /// As logs name it.
    pub name: String,
    /// As the configuration has it: what makes it the same backend at a reload.
    pub address: BackendAddress,
    place: Place,
    idle: Mutex<Vec<Idle>>,
    /// Connections kept at most; a reload may change it.
    keepalive: AtomicUsize,
    in_flight: AtomicUsize,
}

#[derive(Debug)]
enum Place {
    /// What the name resolves to, empty until it does.
    Tcp(Mutex<Arc<[SocketAddr]>>),
    Unix(PathBuf),
}

#[derive(Debug)]
struct Idle {
    socket: Arc<Socket>,
    since_ms: u64,
}

/// An exchange that a backend has: counted until dropped.
#[derive(Debug)]
pub struct InFlight(Arc<Backend>);

impl Backend {
    /// `known`: its addresses, where they need no resolver (an IP address, a demo).
    pub fn new(address: BackendAddress, known: Vec<SocketAddr>, keepalive: usize) -> Arc<Self> {
        let place = match &address {
            BackendAddress::Unix(path) => Place::Unix(path.clone()),
            BackendAddress::Tcp { .. } | BackendAddress::Demo(_) => Place::Tcp(Mutex::new(known.into())),
        };
        Arc::new(Self {
            name: address.to_string(),
            address,
            place,
            idle: Mutex::new(Vec::new()),
            keepalive: AtomicUsize::new(keepalive),
            in_flight: AtomicUsize::new(0),
        })
    }

    /// The resolver's answer. The last good one stays in force until there is a better.
    pub fn set_addresses(&self, addresses: Vec<SocketAddr>) {
        if let Place::Tcp(known) = &self.place {
            *known.lock() = addresses.into();
        }
    }

    /// Addresses to try, in order; `None` while the name does not resolve.
    pub fn addresses(&self) -> Option<Addresses> {
        match &self.place {
            Place::Unix(path) => Some(Addresses::Unix(path.clone())),
            Place::Tcp(known) => {
                let known = Arc::clone(&known.lock());
                (!known.is_empty()).then_some(Addresses::Tcp(known))
            }
        }
    }

    /// Whether it can be tried at all.
    pub fn is_resolved(&self) -> bool {
        match &self.place {
            Place::Unix(_) => true,
            Place::Tcp(known) => !known.lock().is_empty(),
        }
    }

    /// The newest kept connection that is still open and silent.
    pub fn take_kept(&self, backend_idle: Duration) -> Option<Arc<Socket>> {
        let oldest = clock::now_ms().saturating_sub(u64::try_from(backend_idle.as_millis()).unwrap_or(u64::MAX));
        loop {
            let newest = self.idle.lock().pop()?;
            // The system call is outside of the lock, and the rest of the stack is older still.
            if newest.since_ms >= oldest && newest.socket.is_quiet() {
                return Some(newest.socket);
            }
        }
    }

    /// Keeps a connection on which both sides have ended their message cleanly. Over the limit the oldest goes.
    pub fn keep(&self, socket: Arc<Socket>) {
        let limit = self.keepalive.load(Ordering::Relaxed);
        let since_ms = clock::now_ms();
        let mut idle = self.idle.lock();
        let gone = (limit > 0 && idle.len() >= limit).then(|| idle.remove(0));
        if limit > 0 {
            idle.push(Idle { socket, since_ms });
        }
        drop(idle);
        drop(gone);
    }

    /// Closes those that are over `backend_idle` or that the backend has closed or spoken on.
    ///
    /// The others stay where they are meanwhile: who wants a connection at that moment finds it, and need not connect.
    pub fn sweep(&self, backend_idle: Duration) {
        let oldest = clock::now_ms().saturating_sub(u64::try_from(backend_idle.as_millis()).unwrap_or(u64::MAX));
        let (over, sockets): (Vec<Idle>, Vec<Arc<Socket>>) = {
            let mut idle = self.idle.lock();
            // The oldest are at the front.
            let count = idle.iter().take_while(|kept| kept.since_ms < oldest).count();
            let over = idle.drain(..count).collect();
            (over, idle.iter().map(|kept| Arc::clone(&kept.socket)).collect())
        };
        drop(over);
        for suspect in sockets.iter().filter(|socket| !socket.is_quiet()) {
            let mut idle = self.idle.lock();
            // What was read may have been an answer, of an exchange that has begun since: asked again, now that none can.
            let at = idle.iter().position(|kept| Arc::ptr_eq(&kept.socket, suspect) && !suspect.is_quiet());
            let _closed = at.map(|at| idle.remove(at));
        }
    }

    /// Another limit, at a reload.
    pub fn set_keepalive(&self, keepalive: usize) {
        self.keepalive.store(keepalive, Ordering::Relaxed);
        let mut idle = self.idle.lock();
        let over = idle.len().saturating_sub(keepalive);
        let gone: Vec<Idle> = idle.drain(..over).collect();
        drop(idle);
        drop(gone);
    }

    /// Connections kept now.
    pub fn kept(&self) -> usize {
        self.idle.lock().len()
    }

    /// Exchanges it has now.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// One exchange more, until the guard is dropped.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where a backend can be reached, at one moment.
#[derive(Debug, Clone)]
pub enum Addresses {
    /// All addresses of a name.
    Tcp(Arc<[SocketAddr]>),
    /// A path.
    Unix(PathBuf),
}

impl Addresses {
    /// How many there are to try.
    pub fn len(&self) -> usize {
        match self {
            Self::Tcp(all) => all.len(),
            Self::Unix(_) => 1,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The n-th.
    pub fn address(&self, n: usize) -> Option<Address<'_>> {
        match self {
            Self::Tcp(all) => all.get(n).map(|&address| Address::Tcp(address)),
            Self::Unix(path) => (n == 0).then_some(Address::Unix(path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn backend(keepalive: usize) -> Arc<Backend> {
        Backend::new(BackendAddress::Unix("/x".into()), Vec::new(), keepalive)
    }

    fn socket() -> (Arc<Socket>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("pair");
        (Arc::new(Socket::accepted(ours.into(), false)), theirs)
    }

    #[test]
    fn the_newest_is_taken_first_and_a_closed_one_never() {
        let backend = backend(8);
        let (old, _old_peer) = socket();
        let (dead, dead_peer) = socket();
        let (new, _new_peer) = socket();
        for socket in [&old, &dead, &new] {
            backend.keep(Arc::clone(socket));
        }
        drop(dead_peer);
        let second = Duration::from_secs(60);
        assert!(Arc::ptr_eq(&backend.take_kept(second).expect("newest"), &new));
        assert!(Arc::ptr_eq(&backend.take_kept(second).expect("oldest"), &old));
        assert!(backend.take_kept(second).is_none());
    }

    #[test]
    fn over_the_limit_the_oldest_goes_and_zero_keeps_none() {
        let one = backend(1);
        let (old, _old_peer) = socket();
        let (new, _new_peer) = socket();
        one.keep(old);
        one.keep(Arc::clone(&new));
        assert_eq!(one.kept(), 1);
        assert!(Arc::ptr_eq(&one.take_kept(Duration::from_secs(60)).expect("kept"), &new));
        let none = backend(0);
        none.keep(new);
        assert_eq!(none.kept(), 0);
    }

    #[test]
    fn the_sweep_closes_the_dead_and_keeps_the_order() {
        let backend = backend(100);
        let mut peers: Vec<_> = (0..40)
            .map(|_| {
                let (ours, peer) = socket();
                backend.keep(ours);
                peer
            })
            .collect();
        let newest = Arc::clone(&backend.idle.lock().last().expect("some").socket);
        peers.remove(20);
        peers.remove(3);
        backend.sweep(Duration::from_secs(60));
        assert_eq!(backend.kept(), 38);
        assert!(Arc::ptr_eq(&backend.take_kept(Duration::from_secs(60)).expect("kept"), &newest));
    }

    #[test]
    fn a_kept_connection_can_be_taken_while_the_sweep_looks() {
        let backend = backend(8);
        let (socket, _peer) = socket();
        backend.keep(socket);
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    backend.sweep(Duration::from_secs(60));
                }
            });
            let found = (0..100_000).all(|_| {
                let taken = backend.take_kept(Duration::from_secs(60));
                let found = taken.is_some();
                taken.into_iter().for_each(|socket| backend.keep(socket));
                found
            });
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(found);
        });
    }
}
