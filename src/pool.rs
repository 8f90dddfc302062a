//! A pool: backends under one name, and how an exchange gets a connection to one of them.

use std::io;
use std::time::{Duration, Instant};

use log::Level;
use rustix::io::Errno;

use crate::backend::{Backend, InFlight};
use crate::balance::RoundRobin;
use crate::company::Company;
use crate::error::CloseReason;
use crate::flood;
use crate::metrics::Counters;
use crate::sync::Arc;
use crate::transport::Socket;

/// The least that one attempt to connect gets, however many are to follow.
const ATTEMPT_MIN: Duration = Duration::from_millis(250);

/// `[pool:NAME]` at work.
#[derive(Debug)]
pub struct Pool {
    /// NAME
    pub name: String,
    /// In file order.
    pub backends: Vec<Arc<Backend>>,
    /// By backend: 0 gets no new exchanges.
    pub weights: Vec<u32>,
    balance: RoundRobin,
}

/// How long things may take on the way to a backend.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// `timeouts.connect`: all attempts together.
    pub connect: Duration,
    /// `timeouts.backend_idle`
    pub backend_idle: Duration,
}

/// A connection to a backend, for one exchange.
#[derive(Debug)]
pub struct Connection {
    /// Whose it is.
    pub backend: Arc<Backend>,
    /// The connection.
    pub socket: Arc<Socket>,
    /// It was kept from an earlier exchange, and may have died since.
    pub reused: bool,
    _in_flight: InFlight,
}

impl Pool {
    /// A pool over backends that are built already.
    pub fn new(name: String, backends: Vec<Arc<Backend>>, weights: Vec<u32>) -> Self {
        let balance = RoundRobin::new(&weights);
        Self { name, backends, weights, balance }
    }

    /// A connection: kept, or new. A failed connect tries each other backend once, its kept connections first, then all
    /// addresses of its name.
    pub fn connection(
        &self,
        patience: Patience,
        counters: &Counters,
        company: Company<'_>,
    ) -> Result<Connection, CloseReason> {
        let first = self.balance.next().ok_or(CloseReason::NoBackend)?;
        let chosen = &self.backends[first];
        if let Some(kept) = reuse(chosen, patience, counters) {
            return Ok(kept);
        }
        self.connect(first, patience, counters, company, |backend| reuse(backend, patience, counters))
    }

    /// A new connection to the backend that a kept one has failed on, and to the others only if it takes none.
    pub fn fresh_connection(
        &self,
        backend: &Arc<Backend>,
        patience: Patience,
        counters: &Counters,
        company: Company<'_>,
    ) -> Result<Connection, CloseReason> {
        let first = self.backends.iter().position(|other| Arc::ptr_eq(other, backend)).unwrap_or(0);
        self.connect(first, patience, counters, company, |_| None)
    }

    /// `kept`: a connection there is already to one that is not the first.
    fn connect(
        &self,
        first: usize,
        patience: Patience,
        counters: &Counters,
        company: Company<'_>,
        kept: impl Fn(&Arc<Backend>) -> Option<Connection>,
    ) -> Result<Connection, CloseReason> {
        company.let_go();
        let deadline = Instant::now() + patience.connect;
        let candidates = || {
            (0..self.backends.len())
                .map(move |n| (first + n) % self.backends.len())
                .filter(move |&index| index == first || self.weights[index] > 0)
                .map(|index| &self.backends[index])
        };
        // What is left of the time is shared by the attempts that are left.
        let mut attempts: usize = candidates().filter_map(|backend| backend.addresses()).map(|all| all.len()).sum();
        if attempts == 0 {
            return Err(CloseReason::NoBackend);
        }
        let mut reason = None;
        for backend in candidates() {
            if let Some(kept) = kept(backend) {
                return Ok(kept);
            }
            let Some(addresses) = backend.addresses() else { continue };
            for address in (0..addresses.len()).filter_map(|n| addresses.address(n)) {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(CloseReason::ConnectLate);
                }
                let share = (left / u32::try_from(attempts.max(1)).unwrap_or(u32::MAX)).max(ATTEMPT_MIN).min(left);
                attempts = attempts.saturating_sub(1);
                match Socket::connect(&address, share) {
                    Ok(socket) => {
                        counters.backend_connects.add();
                        return Ok(Connection {
                            backend: Arc::clone(backend),
                            socket: Arc::new(socket),
                            reused: false,
                            _in_flight: backend.begin(),
                        });
                    }
                    Err(error) => {
                        reason = match Blame::of(&error) {
                            Blame::Backend(why) => {
                                counters.backend_connect_failures.add();
                                Some(why)
                            }
                            Blame::Address => reason,
                            Blame::Host => return Err(self.starved(&error)),
                        };
                        if flood::passes(Level::Warn, &backend.name, 0, flood::SOME) {
                            log::warn!("pool {}: connecting to {} ({address:?}): {error}", self.name, backend.name);
                        }
                    }
                }
            }
        }
        // No backend was even asked.
        Err(reason.unwrap_or(CloseReason::NoPort))
    }

    /// Nobody is reached without a descriptor, so nobody else is tried, and no backend is to blame.
    fn starved(&self, error: &io::Error) -> CloseReason {
        if flood::passes(Level::Error, "no descriptor for a backend", 0, flood::ONE) {
            log::error!(
                "pool {}: no connection to a backend: {error}; the oldest idle sessions are closed to make room. Raise the \
                 limit of open files, or lower timeouts.idle",
                self.name
            );
        }
        CloseReason::NoDescriptor
    }
}

/// The newest kept connection of a backend.
fn reuse(backend: &Arc<Backend>, patience: Patience, counters: &Counters) -> Option<Connection> {
    let socket = backend.take_kept(patience.backend_idle)?;
    counters.backend_reuses.add();
    Some(Connection { backend: Arc::clone(backend), socket, reused: true, _in_flight: backend.begin() })
}

/// Whose fault a failed connect is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blame {
    /// It, or the network on the way to it.
    Backend(CloseReason),
    /// This host has no address or free port towards that address: another one may have it. ::1 of `localhost` is such one
    /// where IPv6 is off.
    Address,
    /// This host has no descriptor or no memory.
    Host,
}

impl Blame {
    fn of(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => Self::Host,
            Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT) => Self::Address,
            _ if error.kind() == io::ErrorKind::TimedOut => Self::Backend(CloseReason::ConnectLate),
            _ => Self::Backend(CloseReason::BackendRefused),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::company::OneOther;
    use crate::config::model::BackendAddress;
    use crate::transport::faults::{self, Call};
    use std::net::TcpListener;

    const PATIENCE: Patience = Patience { connect: Duration::from_secs(5), backend_idle: Duration::from_secs(1) };

    /// A pool of two backends that listen.
    fn pool() -> (Pool, [TcpListener; 2]) {
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("bind"));
        let backends = listeners.each_ref().map(|listener| {
            let address = listener.local_addr().expect("an address");
            Backend::new(BackendAddress::Demo(address.port().into()), vec![address], 8)
        });
        (Pool::new("app".to_owned(), backends.into(), vec![1, 1]), listeners)
    }

    #[test]
    fn nobody_waits_while_a_backend_is_connected_to() {
        let ((pool, _listeners), counters, other) = (pool(), Counters::default(), OneOther::default());
        let connection = pool.connection(PATIENCE, &counters, Company::of(&other)).expect("it listens");
        assert!(other.is_let_go.replace(false), "a connect may wait");
        for backend in &pool.backends {
            backend.keep(Arc::clone(&connection.socket));
        }
        assert!(pool.connection(PATIENCE, &counters, Company::of(&other)).expect("kept").reused);
        assert!(!other.is_let_go.get(), "a kept connection does not");
    }

    #[test]
    fn a_connect_without_a_descriptor_is_told_at_once_and_is_no_mark_against_a_backend() {
        for call in [Call::Socket, Call::Connect] {
            for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
                let ((pool, _listeners), counters) = (pool(), Counters::default());
                faults::inject(call, &[errno]);
                let failed = pool.connection(PATIENCE, &counters, Company::NONE).map(drop);
                assert_eq!(failed, Err(CloseReason::NoDescriptor), "{call:?} {errno}");
                assert_eq!(CloseReason::NoDescriptor.status(), 503);
                assert_eq!(counters.backend_connect_failures.value(), 0);
                assert!(pool.backends.iter().all(|backend| backend.in_flight() == 0));
                assert!(pool.connection(PATIENCE, &counters, Company::NONE).is_ok(), "there are descriptors again");
            }
        }
    }

    #[test]
    fn without_a_port_towards_one_backend_the_next_is_tried() {
        for (call, errno) in [(Call::Connect, Errno::ADDRNOTAVAIL), (Call::Socket, Errno::AFNOSUPPORT)] {
            let ((pool, _listeners), counters) = (pool(), Counters::default());
            faults::inject(call, &[errno]);
            let connection = pool.connection(PATIENCE, &counters, Company::NONE).expect("the other one");
            assert!(Arc::ptr_eq(&connection.backend, &pool.backends[1]));
            faults::inject(call, &[errno, errno]);
            assert_eq!(pool.connection(PATIENCE, &counters, Company::NONE).map(drop), Err(CloseReason::NoPort));
            assert_eq!(CloseReason::NoPort.status(), 503);
            assert_eq!(counters.backend_connect_failures.value(), 0);
            // Who was asked and refused is to blame, whoever else could not be asked.
            for refused in [[Errno::CONNREFUSED, Errno::ADDRNOTAVAIL], [Errno::ADDRNOTAVAIL, Errno::CONNREFUSED]] {
                faults::inject(Call::Connect, &refused);
                assert_eq!(
                    pool.connection(PATIENCE, &counters, Company::NONE).map(drop),
                    Err(CloseReason::BackendRefused)
                );
            }
            assert_eq!(counters.backend_connect_failures.value(), 2);
        }
    }
}
