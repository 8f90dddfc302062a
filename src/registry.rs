//! The table of running sessions: a slot for each, with the sockets it is blocked on and whom it waits for.
//!
//! In blocking code shutdown is the only cancellation: a blocked read looks at no flag. So whoever wants an exchange to
//! end (the reaper, a drain, a client's reset) writes the reason into the slot and shuts the sockets; the worker that
//! wakes up looks at the reason before it judges its error.
//!
//! The words a worker writes before each blocking call are plain atomic stores; the clock is read only by the reaper.
//! A socket enters and leaves a slot under its mutex, and leaves *before* it is kept or parked: a cut therefore hits only
//! the exchange it was meant for, and a connection that is used again was never cut.

use std::time::{Duration, Instant};

use crate::error::{CloseReason, Side};
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering};
use crate::transport::Socket;

/// Whom a half waits for. Each has its own limit and its own way to be cut (`reaper`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Nobody: it computes or sleeps.
    Busy = 0,
    /// The client, for more of its body.
    ClientRead = 1,
    /// The client, to take more of its answer.
    ClientWrite = 2,
    /// The backend, to take more of the request.
    BackendWrite = 3,
    /// The backend, for its response head.
    ResponseHead = 4,
    /// The backend, for more of its body.
    BackendRead = 5,
    /// Either side of a tunnel.
    Tunnel = 6,
    /// The client, which waits for its 100 before it sends its body.
    ClientContinue = 7,
}

impl Phase {
    fn from_bits(bits: u64) -> Self {
        match bits {
            1 => Self::ClientRead,
            2 => Self::ClientWrite,
            3 => Self::BackendWrite,
            4 => Self::ResponseHead,
            5 => Self::BackendRead,
            6 => Self::Tunnel,
            7 => Self::ClientContinue,
            _ => Self::Busy,
        }
    }
}

impl Phase {
    /// Whether it is the client that is waited for.
    pub fn is_client(self) -> bool {
        matches!(self, Self::ClientRead | Self::ClientWrite)
    }
}

/// A phase and its limit in one word, so that one is never seen with the other's: phase in the low 8 bits, above them the
/// limit in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waiting(u64);

impl Waiting {
    /// For nobody.
    pub const BUSY: Self = Self(0);

    /// A phase, and how long it may go without progress.
    pub fn new(phase: Phase, limit: Duration) -> Self {
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX >> 8).min(u64::MAX >> 8);
        Self(limit_ms << 8 | phase as u64)
    }

    /// Whom it waits for.
    pub fn phase(self) -> Phase {
        Phase::from_bits(self.0 & 0xff)
    }

    /// How long it may.
    pub fn limit(self) -> Duration {
        Duration::from_millis(self.0 >> 8)
    }
}

/// What one thread of a pair tells the reaper. On a cache line of its own: its owner writes it several times an exchange.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Half {
    waiting: AtomicU64,
    bytes: AtomicU64,
    /// Those of them that came from the client, or went to it.
    client_bytes: AtomicU64,
}

impl Half {
    /// Before a blocking call.
    pub fn wait(&self, waiting: Waiting) {
        self.waiting.store(waiting.0, Ordering::Release);
    }

    /// A 100 has been relayed: from now on it is the client's body that is waited for. Said by the other half, so it only
    /// changes what it finds.
    pub fn continued(&self) {
        let found = self.waiting.load(Ordering::Acquire);
        if Waiting(found).phase() == Phase::ClientContinue {
            let body = (found & !0xff) | Phase::ClientRead as u64;
            // Whoever was faster has gone on.
            let _moved_on = self.waiting.compare_exchange(found, body, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// After it: `n` bytes moved.
    pub fn progress(&self, n: usize) {
        // Only the owning thread writes: a plain add is enough.
        self.bytes.store(self.bytes.load(Ordering::Relaxed).wrapping_add(n as u64), Ordering::Release);
    }

    /// The same, of whom it waited for.
    pub fn moved(&self, waiting: Waiting, n: usize) {
        // The first bytes behind a 100 are read in the phase that waited for it.
        if waiting.phase().is_client() || waiting.phase() == Phase::ClientContinue {
            self.client_bytes.store(self.client_bytes().wrapping_add(n as u64), Ordering::Relaxed);
        }
        self.progress(n);
    }

    /// Bytes moved from or to clients, of all sessions so far.
    pub fn client_bytes(&self) -> u64 {
        self.client_bytes.load(Ordering::Relaxed)
    }

    /// What it waits for, and all that it has moved so far; both at one moment.
    pub fn look(&self) -> (Waiting, u64) {
        let mut bytes = self.bytes.load(Ordering::Acquire);
        loop {
            let waiting = Waiting(self.waiting.load(Ordering::Acquire));
            // Who moved bytes meanwhile may wait for something else by now, and would be blamed for the time of both. That
            // takes a system call, so it does not go on for ever.
            match self.bytes.load(Ordering::Acquire) {
                still if still == bytes => return (waiting, bytes),
                moved => bytes = moved,
            }
        }
    }
}

/// What its worker is blocked on, and whether somebody ended it.
#[derive(Debug, Default)]
pub struct Sockets {
    /// The session's.
    pub client: Option<Arc<Socket>>,
    /// The exchange's.
    pub backend: Option<Arc<Socket>>,
    /// Why it was ended from outside. The first reason stays.
    pub cut: Option<CloseReason>,
    /// When the exchange is over, whatever is waited for. Enters and leaves with the backend.
    pub due: Option<Instant>,
    /// Which session the slot runs: a late reset must not hit the next one.
    session: u64,
    /// Counts sessions and their exchanges.
    exchange: u64,
}

/// A running session's line of the table.
#[derive(Debug, Default)]
pub struct Slot {
    sockets: Mutex<Sockets>,
    /// The request thread's.
    pub request: Half,
    /// The response thread's.
    pub response: Half,
    /// The partner was woken for this exchange and is done.
    partner_ended: AtomicBool,
}

/// The exchange was ended from outside, for this reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut(pub CloseReason);

impl Slot {
    /// A session begins to run here. `id` is its number for `cut_session`.
    pub fn enter(&self, client: &Arc<Socket>, id: u64) {
        let mut sockets = self.sockets.lock();
        let exchange = sockets.exchange + 1;
        *sockets = Sockets { client: Some(Arc::clone(client)), session: id, exchange, ..Sockets::default() };
        drop(sockets);
        self.request.progress(1);
        self.response.progress(1);
    }

    /// The backend connection of an exchange, and when that is over.
    pub fn enter_backend(&self, backend: &Arc<Socket>, due: Option<Instant>) -> Result<(), Cut> {
        let mut sockets = self.sockets.lock();
        match sockets.cut {
            Some(reason) => Err(Cut(reason)),
            None => {
                sockets.backend = Some(Arc::clone(backend));
                sockets.due = due;
                sockets.exchange += 1;
                Ok(())
            }
        }
    }

    /// Takes the backend out, before it is kept or closed. Who finds a cut keeps nothing.
    pub fn leave_backend(&self) -> Result<(), Cut> {
        let mut sockets = self.sockets.lock();
        sockets.due = None;
        sockets.backend = None;
        sockets.cut.map_or(Ok(()), |reason| Err(Cut(reason)))
    }

    /// Takes the client out, before it is parked or closed. Who finds a cut parks nothing.
    pub fn leave(&self) -> Result<(), Cut> {
        self.request.wait(Waiting::BUSY);
        self.response.wait(Waiting::BUSY);
        let mut sockets = self.sockets.lock();
        sockets.client = None;
        sockets.backend = None;
        sockets.session = 0;
        sockets.cut.take().map_or(Ok(()), |reason| Err(Cut(reason)))
    }

    /// Why the exchange was ended, if it was: every error and every end of input is judged after looking here.
    pub fn cut_reason(&self) -> Option<CloseReason> {
        self.sockets.lock().cut
    }

    /// It has become a tunnel, which may live for as long as it likes.
    pub fn lift_due(&self) {
        self.sockets.lock().due = None;
    }

    /// A backend was cut, and the client has been told: its session goes on, unless it was cut for another reason.
    pub fn forgive(&self) -> bool {
        let mut sockets = self.sockets.lock();
        if sockets.cut.is_some_and(|reason| reason.side() == Side::Backend) {
            sockets.cut = None;
        }
        sockets.cut.is_none()
    }

    /// Why a half is about to wake the other by shutting a socket: what that one then reads is no reason of its own.
    pub fn note(&self, reason: CloseReason) {
        self.sockets.lock().note(reason);
    }

    /// For the reaper: looks and cuts under the lock.
    pub fn with_sockets<T>(&self, look: impl FnOnce(&mut Sockets) -> T) -> T {
        look(&mut self.sockets.lock())
    }

    /// Ends the exchange that runs here, if one does: both sockets are shut.
    pub fn cut(&self, reason: CloseReason) -> bool {
        self.with_sockets(|sockets| sockets.cut_both(reason))
    }

    /// The same, if it is still `session` that runs here.
    pub fn cut_session(&self, session: u64, reason: CloseReason) -> bool {
        self.with_sockets(|sockets| sockets.session == session && sockets.cut_both(reason))
    }

    /// Tells the reaper whether a partner has finished its part while the request half still has not.
    pub fn set_partner_ended(&self, ended: bool) {
        self.partner_ended.store(ended, Ordering::Release);
    }

    /// Whether it has.
    pub fn partner_has_ended(&self) -> bool {
        self.partner_ended.load(Ordering::Acquire)
    }

    /// Whether a session is in it.
    pub fn is_taken(&self) -> bool {
        self.sockets.lock().client.is_some()
    }
}

impl Sockets {
    fn cut_both(&mut self, reason: CloseReason) -> bool {
        if self.client.is_none() {
            return false;
        }
        let first = self.cut.is_none();
        self.note(reason);
        // Shutting down is a system call under the slot's own lock, on purpose: it does not wait, and outside of the lock
        // the socket could meanwhile be another exchange's.
        if let Some(client) = &self.client {
            client.abort();
        }
        if let Some(backend) = &self.backend {
            backend.cut();
        }
        first
    }

    /// Which exchange runs, of all that the slot has had.
    pub fn exchange(&self) -> u64 {
        self.exchange
    }

    /// The first reason stays; whatever runs out after it is cut as well.
    pub fn note(&mut self, reason: CloseReason) {
        self.cut.get_or_insert(reason);
    }
}

/// All slots.
#[derive(Debug)]
pub struct Registry {
    slots: Vec<Slot>,
    /// Those that no session has; the last is lent first.
    free: Mutex<Vec<usize>>,
}

/// A session's slot while it runs: given back when dropped.
#[derive(Debug)]
pub struct SlotLease {
    registry: Arc<Registry>,
    /// Its number.
    pub index: usize,
}

impl std::ops::Deref for SlotLease {
    type Target = Slot;

    fn deref(&self) -> &Slot {
        &self.registry.slots[self.index]
    }
}

impl Drop for SlotLease {
    fn drop(&mut self) {
        self.registry.free.lock().push(self.index);
    }
}

impl Registry {
    /// As many slots as sessions may run.
    pub fn new(workers: usize) -> Arc<Self> {
        let slots = (0..workers).map(|_| Slot::default()).collect();
        Arc::new(Self { slots, free: Mutex::new((0..workers).rev().collect()) })
    }

    /// A slot for a session that runs from now on.
    ///
    /// There is one for each session that may run (`permits`), so this cannot run out.
    pub fn lease(self: &Arc<Self>) -> SlotLease {
        let index = self.free.lock().pop().expect("a slot for each session that may run");
        SlotLease { registry: Arc::clone(self), index }
    }

    /// One of them.
    pub fn slot(&self, index: usize) -> &Slot {
        &self.slots[index]
    }

    /// All of them.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Exchanges that run now.
    pub fn running(&self) -> usize {
        self.slots.iter().filter(|slot| slot.is_taken()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn socket() -> Arc<Socket> {
        let (ours, _theirs) = UnixStream::pair().expect("pair");
        Arc::new(Socket::accepted(ours.into(), false))
    }

    #[test]
    fn a_phase_is_never_seen_with_another_ones_limit() {
        let waiting = Waiting::new(Phase::ResponseHead, Duration::from_secs(60));
        assert_eq!((waiting.phase(), waiting.limit()), (Phase::ResponseHead, Duration::from_secs(60)));
        assert_eq!(Waiting::BUSY.phase(), Phase::Busy);
        assert_eq!(Waiting::new(Phase::Tunnel, Duration::MAX).phase(), Phase::Tunnel);
    }

    #[test]
    fn a_cut_hits_only_the_exchange_it_was_meant_for() {
        let slot = Slot::default();
        assert!(!slot.cut(CloseReason::Stopped), "nobody is there");
        slot.enter(&socket(), 7);
        assert!(!slot.cut_session(6, CloseReason::ClientGone));
        assert!(slot.cut_session(7, CloseReason::ClientGone));
        assert!(!slot.cut(CloseReason::Stopped), "the first reason stays");
        assert_eq!(slot.leave(), Err(Cut(CloseReason::ClientGone)));
        slot.enter(&socket(), 8);
        assert_eq!(slot.leave(), Ok(()));
    }

    #[test]
    fn who_finds_a_cut_keeps_nothing() {
        let slot = Slot::default();
        slot.enter(&socket(), 1);
        assert_eq!(slot.enter_backend(&socket(), None), Ok(()));
        assert!(slot.cut(CloseReason::ResponseLate));
        assert_eq!(slot.leave_backend(), Err(Cut(CloseReason::ResponseLate)));
        assert_eq!(slot.enter_backend(&socket(), None), Err(Cut(CloseReason::ResponseLate)));
    }
}
