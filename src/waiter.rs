//! The waiter: the thread that watches every session that is not running. A parked session costs no thread and no slice.
//!
//! It reads nothing. An event puts a parked session onto the channel; a deadline (idle, header, queue, lingering) closes
//! it, or answers with a canned refusal that cannot block: an empty send buffer takes it, or it is given up.
//!
//! Here: what workers, acceptors and the control loop ask of it. What its thread does is `thread`.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{EventfdFlags, epoll};

use crate::cells::CELL;
use crate::clock;
use crate::session::{Kept, Session, Table};
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering};

mod thread;

pub use thread::WaiterThread;

/// What parked sessions get for one last request when the router drains.
pub const LAST_REQUEST: Duration = Duration::from_millis(500);
/// How long a session lingers after its last answer, so that bytes on their way do not destroy it.
pub const LINGER: Duration = Duration::from_secs(1);
/// How many bytes it drops meanwhile.
pub const LINGER_BYTES: usize = 64 * 1024;
/// Parked sessions that are given up when a descriptor could not be had.
pub const SHED_BATCH: usize = 8;

/// epoll's token for the wake-up descriptor. No session has it.
const WAKE: u64 = u64::MAX;

/// What others ask of the waiter.
#[derive(Debug)]
enum Order {
    /// Whole requests were put away with it: queue it again, behind the others.
    Requeue(Arc<Session>),
    /// Descriptors are short, by so many.
    Shed(usize),
    /// It is closed already, because cells are short: tell it.
    HeadGivenUp(Arc<Session>),
    /// Its entrance was taken out of the configuration.
    Retire,
    /// Finish.
    Drain,
    /// End.
    Stop,
}

/// The waiter as workers and acceptors see it.
#[derive(Debug)]
pub struct Waiter {
    epoll: OwnedFd,
    wake: OwnedFd,
    orders: Mutex<Vec<Order>>,
    /// All open sessions.
    pub table: Table,
    /// No session gets another exchange.
    draining: AtomicBool,
    /// When the time for last requests is over, once it drains.
    last_ms: AtomicU64,
    /// An order to shed is on its way.
    shedding: AtomicBool,
}

/// What the refusals of the waiter say; made by whoever builds the router, because an answer has a date and an id and a
/// line in the access log.
pub trait Refuse: Send {
    /// The whole answer, and its line in the log.
    fn refuse(&mut self, session: &Session, reason: WaiterRefusal) -> &[u8];
}

/// Why the waiter answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaiterRefusal {
    /// No worker was free within `timeouts.queue`: 503.
    QueueTooLong,
    /// A head was begun and not finished within `timeouts.header`: 408.
    HeadTooSlow,
    /// The stock of cells for slow heads is empty, and this is the oldest: 408.
    CellsExhausted,
}

impl Waiter {
    /// Takes its two descriptors.
    pub fn new() -> std::io::Result<Arc<Self>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &wake, epoll::EventData::new_u64(WAKE), epoll::EventFlags::IN)?;
        Ok(Arc::new(Self {
            epoll,
            wake,
            orders: Mutex::new(Vec::new()),
            table: Table::default(),
            draining: AtomicBool::new(false),
            last_ms: AtomicU64::new(u64::MAX),
            shedding: AtomicBool::new(false),
        }))
    }

    /// Makes epoll know a session, once: the kernel then reports also what is already there.
    pub fn register(&self, session: &Session) -> std::io::Result<()> {
        if session.registered.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        Ok(epoll::add(&self.epoll, &session.socket, epoll::EventData::new_u64(session.token.as_u64()), watched())?)
    }

    /// While both halves of an exchange run, each segment would wake the waiter for nothing: only a reset is reported.
    pub fn watch_only_resets(&self, session: &Session) {
        self.modify(session, epoll::EventFlags::ET);
    }

    /// The request half has ended: all events again, and what is there already is reported.
    pub fn watch_all(&self, session: &Session) {
        self.modify(session, watched());
    }

    fn modify(&self, session: &Session, flags: epoll::EventFlags) {
        if session.registered.load(Ordering::Relaxed) {
            let data = epoll::EventData::new_u64(session.token.as_u64());
            // It was added, and is not closed while it runs: this cannot fail but for memory, and then costs wake-ups.
            let _wakes_more = epoll::modify(&self.epoll, &session.socket, data, flags);
        }
    }

    /// Puts a session with whole requests behind the others. It is parked already.
    pub fn requeue(&self, session: Arc<Session>) {
        self.order(Order::Requeue(session));
    }

    /// Descriptors are short, by `count`: the oldest parked sessions go. One order at a time: who is short as well while it
    /// is carried out asks again.
    pub fn shed(&self, count: usize) {
        if !self.shedding.swap(true, Ordering::SeqCst) {
            self.order(Order::Shed(count));
        }
    }

    /// Cells are short, by so many bytes: the unfinished heads that began first give theirs up.
    pub fn shed_heads(&self, bytes: usize) {
        let mut parked = Vec::new();
        self.table.pick(&mut parked, |session| session.state.is_parked());
        let mut heads: Vec<(u64, usize, Arc<Session>)> = parked
            .into_iter()
            .filter_map(|session| {
                // All have the same time for a head: who is due first has begun first.
                let (due_ms, len) = match &*session.kept.lock() {
                    Kept::Head { due_ms, chain, .. } => (*due_ms, chain.len()),
                    _ => return None,
                };
                Some((due_ms, len, session))
            })
            .collect();
        heads.sort_by_key(|(due_ms, ..)| *due_ms);
        let mut freed = 0;
        for (_, len, session) in heads {
            if freed >= bytes {
                break;
            }
            if session.state.close_parked() {
                freed += len.next_multiple_of(CELL);
                drop(session.take_kept());
                session.set_due(u64::MAX);
                self.order(Order::HeadGivenUp(session));
            }
        }
    }

    /// Sessions of entrances that were taken out of the configuration finish.
    pub fn retire(&self) {
        self.order(Order::Retire);
    }

    /// No session gets another exchange after the one it is in.
    pub fn drain(&self) {
        self.last_ms.store(clock::due_ms(LAST_REQUEST), Ordering::SeqCst);
        self.draining.store(true, Ordering::SeqCst);
        self.order(Order::Drain);
    }

    /// When a session that waits for a request is closed at the latest: after a drain began, or its entrance was retired.
    pub fn last_ms(&self, session: &Session) -> u64 {
        self.last_ms.load(Ordering::SeqCst).min(session.entrance.last_ms.load(Ordering::SeqCst))
    }

    /// Whether it drains.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// The same, for whoever asks more than once.
    pub fn draining(&self) -> &AtomicBool {
        &self.draining
    }

    /// Ends the thread.
    pub fn stop(&self) {
        self.order(Order::Stop);
    }

    /// Closes a session: it leaves the table, and the connection is closed when the last holder lets go.
    pub fn close(&self, session: &Session) {
        session.state.close();
        self.table.remove(session.token);
    }

    fn order(&self, order: Order) {
        self.orders.lock().push(order);
        // A full eventfd counter wakes as well.
        let _full = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

fn watched() -> epoll::EventFlags {
    epoll::EventFlags::IN | epoll::EventFlags::RDHUP | epoll::EventFlags::ET
}
