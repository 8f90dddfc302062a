//! A listener: a bound address, and the acceptor thread that pushes its connections onto the channel.
//!
//! The acceptor never parses and never reads. Connections that come together it pushes as a batch, of which the workers are
//! told once. When the channel is full it waits, and the kernel's backlog absorbs the rest.
//! A failed `accept` is sorted by its cause and never ends the thread.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, select};
use log::Level;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{SocketAddrAny, SocketAddrUnix};

use crate::clock;
use crate::config::model::Listen;
use crate::flood;
use crate::http::forwarded::{Peer, Trusted};
use crate::inherited::Inherited;
use crate::metrics::Counters;
use crate::permits::Permits;
use crate::session::{Entrance, PerAddress, Session};
use crate::snapshot::{Published, Snapshot};
use crate::sync::{Arc, AtomicBool, Ordering};
use crate::sys;
use crate::transport::{self, Socket};
use crate::waiter::{SHED_BATCH, TAKE_MAX, Waiter};

mod bind;
mod place;

pub use place::Place;

/// How long a blocked `accept` takes to hear a stop.
const HEAR: Duration = Duration::from_millis(250);
/// How long an acceptor that was stopped takes those whose first bytes were not here: about a round trip.
const GRACE: Duration = Duration::from_millis(250);
/// The pause after an `accept` that failed for want of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);
/// Connections that are admitted before the workers are told: what one of them can take.
const BATCH_MAX: u32 = TAKE_MAX as u32;
/// For so long, for each connection that came with another, the acceptor leaves the next ones to the backlog; it is about what
/// the workers have to do with one. So they come in batches, and neither it nor a worker is woken for each. With 64 clients
/// that open a connection for each request, in seven paired rounds: 1.19 of the throughput, 0.68 of the CPU. 25 us: 1.15, 0.77;
/// a fixed 200 us is as good there, and costs two clients half of their throughput. Who comes alone is never waited after.
const BREATH: Duration = Duration::from_micros(40);

/// One bound address.
#[derive(Debug)]
pub struct Listener {
    /// Where it is bound, as it is printed.
    pub place: Place,
    /// What its sessions know of it.
    pub entrance: Arc<Entrance>,
    fd: OwnedFd,
    tcp: bool,
    stopping: AtomicBool,
}

/// What acceptors work with.
#[derive(Debug, Clone)]
pub struct Acceptor {
    /// To the workers.
    pub channel: Sender<Arc<Session>>,
    /// Closed when everything stops at once.
    pub stop: Receiver<()>,
    /// The table, and who sheds parked sessions.
    pub waiter: Arc<Waiter>,
    /// To tell the monitor.
    pub permits: Arc<Permits>,
    /// Limits and timeouts.
    pub published: Arc<Published>,
    /// Sessions by address.
    pub per_address: Arc<PerAddress>,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Sessions that descriptors allow.
    pub sessions_max: usize,
}

impl Acceptor {
    /// Tells the workers of the sessions on the channel of which they do not know: one that watches looks, and rings on when
    /// there are more than it takes; or else the monitor does.
    fn announce(&self, untold: &mut u32) {
        if std::mem::take(untold) > 0 {
            if self.permits.any_idle() {
                self.waiter.ring();
            }
            self.permits.call_monitor();
        }
    }
}

impl Listener {
    /// Binds and listens; what was inherited does both already.
    pub fn bind(place: &Place, listen: &Listen, inherited: &Inherited, id: u32) -> io::Result<Arc<Self>> {
        let (fd, tcp) = match place {
            Place::Tcp(address) => (bind::tcp(*address, false)?, true),
            Place::AnyTcp(port) => (bind::any(*port)?, true),
            Place::Unix(path) => (bind::unix(path, listen.socket_mode)?, false),
            Place::Inherited(number) => inherited.open(*number)?,
        };
        if matches!(place, Place::Inherited(_)) {
            if tcp {
                bind::for_accepted(&fd)?;
            }
        } else {
            rustix::net::listen(&fd, i32::try_from(listen.backlog).unwrap_or(i32::MAX))?;
        }
        sockopt::set_socket_timeout(&fd, Timeout::Recv, Some(HEAR))?;
        let (place, entrance) = (place.clone(), Entrance::new(id));
        Ok(Arc::new(Self { place, entrance, fd, tcp, stopping: AtomicBool::new(false) }))
    }

    /// Where it is really bound, with the port the kernel chose.
    pub fn bound(&self) -> String {
        let Ok(address) = rustix::net::getsockname(&self.fd) else {
            return self.place.to_string();
        };
        match (&self.place, SocketAddr::try_from(address.clone())) {
            (Place::Unix(path), _) => format!("unix:{}", path.display()),
            (_, Ok(address)) => address.to_string(),
            (_, Err(_)) => {
                let unix = SocketAddrUnix::try_from(address).ok();
                let path = unix.as_ref().and_then(|address| address.path_bytes()).map(String::from_utf8_lossy);
                path.map_or_else(|| self.place.to_string(), |path| format!("unix:{path}"))
            }
        }
    }

    /// What a reload may change of it in place.
    pub fn adjust(&self, listen: &Listen) {
        if matches!(self.place, Place::Inherited(_)) {
            return;
        }
        let backlog = i32::try_from(listen.backlog).unwrap_or(i32::MAX);
        if let Err(errno) = rustix::net::listen(&self.fd, backlog) {
            log::warn!("listener {}: backlog: {errno}", self.place);
        }
        if let Place::Unix(path) = &self.place
            && let Err(error) = std::fs::set_permissions(path, std::fs::Permissions::from_mode(listen.socket_mode))
        {
            log::warn!("listener {}: socket_mode: {error}", self.place);
        }
    }

    /// Its thread accepts what is in its queue, then ends.
    pub fn stop(&self) {
        if self.holds_back()
            && let Err(error) = sys::set_defer_accept(self.fd.as_fd(), 0)
        {
            log::warn!("listener {}: clients that have connected and not yet spoken may be reset: {error}", self.place);
        }
        self.stopping.store(true, Ordering::SeqCst);
    }

    /// The kernel has connections that are not in the queue yet, and that would be reset with it. What was inherited is not
    /// closed with us, and another process may have it.
    fn holds_back(&self) -> bool {
        self.tcp && !matches!(self.place, Place::Inherited(_))
    }

    /// The acceptor's thread.
    pub fn run(&self, acceptor: &Acceptor) {
        let mut was_short = false;
        let mut untold = 0;
        // Another process may take what is here, if it has the socket too: then nobody is kept waiting for the next.
        let batch = if matches!(self.place, Place::Inherited(_)) { 1 } else { BATCH_MAX };
        while !self.stopping.load(Ordering::SeqCst) {
            if untold == batch {
                acceptor.announce(&mut untold);
            } else if untold > 0 && !self.anyone_within(Duration::ZERO) {
                let breath = BREATH * (untold - 1);
                acceptor.announce(&mut untold);
                std::thread::sleep(breath);
            }
            match transport::accept(self.fd.as_fd()) {
                Ok((fd, peer)) => {
                    was_short = false;
                    if !self.admit(acceptor, fd, peer, &mut untold) {
                        return;
                    }
                }
                Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => acceptor.announce(&mut untold),
                Err(errno) => {
                    acceptor.counters.accept_failed.add();
                    acceptor.announce(&mut untold);
                    let is_short = matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM);
                    if is_short {
                        acceptor.waiter.shed(SHED_BATCH);
                    }
                    self.report(errno, is_short, was_short);
                    was_short |= is_short;
                    if acceptor.stop.recv_timeout(PAUSE) == Err(crossbeam_channel::RecvTimeoutError::Disconnected) {
                        return;
                    }
                }
            }
        }
        acceptor.announce(&mut untold);
        self.empty_queue(acceptor);
    }

    fn report(&self, errno: Errno, is_short: bool, was_short: bool) {
        if !is_short {
            // Network errors of a connection that is gone already (accept(2)): the next one is as good as any.
            if flood::passes(Level::Warn, "accept", 0, flood::ONE) {
                log::warn!("listener {}: accept: {errno}", self.place);
            }
        } else if !was_short && flood::passes(Level::Error, "accept without descriptors", 0, flood::ONE) {
            log::error!(
                "listener {}: {errno}; the oldest idle sessions are closed to make room. Raise the limit of open files, or \
                 lower timeouts.idle",
                self.place
            );
        }
    }

    /// Whether a connection is there, or comes within that time. Not by O_NONBLOCK: of an inherited socket that would be the
    /// flag of everyone who has it.
    fn anyone_within(&self, limit: Duration) -> bool {
        let limit = Timespec { tv_sec: 0, tv_nsec: limit.subsec_nanos().into() };
        let mut waiting = [PollFd::new(&self.fd, PollFlags::IN)];
        matches!(poll(&mut waiting, Some(&limit)), Ok(1..) | Err(Errno::INTR))
    }

    /// Shutting a listener resets clients in its backlog: it accepts until there is none, and for a moment longer those that
    /// have connected, as far as they know, and whose first bytes are on their way.
    fn empty_queue(&self, acceptor: &Acceptor) {
        let grace = if self.holds_back() { GRACE } else { Duration::ZERO };
        let last = Instant::now() + grace;
        loop {
            if !self.anyone_within(last.saturating_duration_since(Instant::now())) {
                return;
            }
            match transport::accept(self.fd.as_fd()) {
                Ok((fd, peer)) => {
                    let mut untold = 0;
                    if !self.admit(acceptor, fd, peer, &mut untold) {
                        return;
                    }
                    acceptor.announce(&mut untold);
                }
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(_) => return,
            }
        }
    }

    /// Pushes its session onto the channel, untold. One that is refused ends a batch: a flood of those would keep the others
    /// waiting. `false`: everything stops.
    fn admit(&self, acceptor: &Acceptor, fd: OwnedFd, peer: Option<SocketAddrAny>, untold: &mut u32) -> bool {
        let tcp = self.tcp;
        // Accepted sockets take the listener's receive timeout over; a read is to wait for as long as its phase may.
        if let Err(errno) = sockopt::set_socket_timeout(&fd, Timeout::Recv, None) {
            acceptor.counters.accept_failed.add();
            acceptor.announce(untold);
            if flood::passes(Level::Warn, "a connection that cannot be used", 0, flood::ONE) {
                log::warn!("listener {}: a connection that cannot be used is closed: {errno}", self.place);
            }
            return true;
        }
        let peer = match peer.map(SocketAddr::try_from) {
            Some(Ok(address)) if tcp => Peer::from(address),
            _ => Peer::Unix,
        };
        let snapshot = acceptor.published.current();
        let per_ip = snapshot.config.limits.connections_per_ip;
        let place = match per_ip.limit.filter(|_| per_ip.everyone || self.may_be_one_client(&snapshot, peer)) {
            Some(limit) => match acceptor.per_address.take(peer.into(), limit) {
                Some(place) => Some(place),
                None => {
                    acceptor.counters.refused_per_ip.add();
                    acceptor.announce(untold);
                    if flood::passes(Level::Info, "connections_per_ip", 0, flood::SOME) {
                        log::info!("listener {}: {peer} has {limit} sessions already; closed", self.place);
                    }
                    return true;
                }
            },
            None => None,
        };
        acceptor.counters.accepted.add();
        let over = (acceptor.waiter.table.len() + 1).saturating_sub(acceptor.sessions_max);
        if over > 0 {
            acceptor.waiter.shed(over);
        }
        let now = clock::now_ms();
        let due = clock::due_ms(snapshot.config.timeouts.queue);
        drop(snapshot);
        let socket = Socket::accepted(fd, tcp);
        let session = acceptor.waiter.table.insert(socket, peer, &self.entrance, place, due, now);
        let session = match acceptor.channel.try_send(session) {
            Ok(()) => {
                *untold += 1;
                return true;
            }
            Err(TrySendError::Full(session) | TrySendError::Disconnected(session)) => session,
        };
        // Who is to make room has to know of those before.
        acceptor.announce(untold);
        *untold = 1;
        select! {
            send(acceptor.channel, session) -> sent => sent.is_ok(),
            recv(acceptor.stop) -> _ => false,
        }
    }
}

impl Listener {
    /// Behind a trusted proxy are many clients, and so there may be behind a program of this host.
    fn may_be_one_client(&self, snapshot: &Snapshot, peer: Peer) -> bool {
        let is_remote = matches!(peer, Peer::Ip(address) if !address.is_loopback());
        is_remote
            && !snapshot.listen_of(self.entrance.id).is_some_and(|listen| {
                let trusted = &snapshot.config.listens[listen].trusted;
                Trusted { networks: &trusted.networks, unix: trusted.unix }.contains(peer)
            })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Place::Unix(path) = &self.place {
            // It may have been replaced by a newer process: only our own socket is removed by who stopped in order.
            if self.stopping.load(Ordering::SeqCst) {
                let _gone_already = std::fs::remove_file(path);
            }
        }
    }
}

#[cfg(test)]
mod tests;
