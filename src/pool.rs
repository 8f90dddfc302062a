//! A pool: backends under one name, and how an exchange gets a connection to one of them.

use std::io;
use std::time::{Duration, Instant};

use log::Level;
use rustix::io::Errno;

use crate::backend::{Backend, InFlight};
use crate::balance::RoundRobin;
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

    /// A connection: kept, or new. A failed connect tries each other backend once, with all addresses of its name.
    pub fn connection(&self, patience: Patience, counters: &Counters) -> Result<Connection, CloseReason> {
        let first = self.balance.next().ok_or(CloseReason::NoBackend)?;
        let chosen = &self.backends[first];
        if let Some(socket) = chosen.take_kept(patience.backend_idle) {
            counters.backend_reuses.add();
            return Ok(Connection { backend: Arc::clone(chosen), socket, reused: true, _in_flight: chosen.begin() });
        }
        self.connect(first, patience, counters)
    }

    /// A new connection to the backend that a kept one has failed on, and to the others only if it takes none.
    pub fn fresh_connection(
        &self,
        backend: &Arc<Backend>,
        patience: Patience,
        counters: &Counters,
    ) -> Result<Connection, CloseReason> {
        let first = self.backends.iter().position(|other| Arc::ptr_eq(other, backend)).unwrap_or(0);
        self.connect(first, patience, counters)
    }

    fn connect(&self, first: usize, patience: Patience, counters: &Counters) -> Result<Connection, CloseReason> {
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
        let mut reason = CloseReason::BackendRefused;
        for backend in candidates() {
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
                        counters.backend_connect_failures.add();
                        if flood::passes(Level::Warn, &backend.name, 0, flood::SOME) {
                            log::warn!("pool {}: connecting to {} ({address:?}): {error}", self.name, backend.name);
                        }
                        reason = failure(&error);
                        if reason == CloseReason::NoDescriptor {
                            return Err(reason);
                        }
                    }
                }
            }
        }
        Err(reason)
    }
}

fn failure(error: &io::Error) -> CloseReason {
    match Errno::from_io_error(error) {
        // Not ADDRNOTAVAIL: that is ::1 of `localhost` where IPv6 is off, and the next address is to be tried.
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => CloseReason::NoDescriptor,
        _ if error.kind() == io::ErrorKind::TimedOut => CloseReason::ConnectLate,
        _ => CloseReason::BackendRefused,
    }
}
