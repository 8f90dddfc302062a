//! The waiter: where every session waits that is not running. A parked session costs no thread and no slice.
//!
//! Parked sessions are watched by the workers that are free: each holder of a permit without a session waits in
//! epoll_wait(2), and the kernel wakes one of them, the last that came. There is no hand-over from
//! another thread: with one that watched for all and put sessions onto the channel a request cost 1.4 us more at 64
//! connections and 15 us more at one. While no worker is free the waiter's own thread looks, so that sessions queue, and
//! are seen to. That thread has the deadlines (idle, header, queue, lingering) too: a session that is over one is closed,
//! or answered with a canned refusal that cannot block: an empty send buffer takes it, or it is given up.
//!
//! Here: what workers, acceptors and the control loop ask of it. How sessions are watched is `watch`, what its thread does
//! `thread`.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{EventfdFlags, Timespec, epoll};

use crate::cells::CELL;
use crate::clock;
use crate::session::{Kept, Session, Table};
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering, ask_kernel};

mod thread;
mod watch;

pub use thread::WaiterThread;

/// What parked sessions get for one last request when the router drains.
pub const LAST_REQUEST: Duration = Duration::from_millis(500);
/// How long a session lingers after its last answer, so that bytes on their way do not destroy it.
pub const LINGER: Duration = Duration::from_secs(1);
/// How many bytes it drops meanwhile.
pub const LINGER_BYTES: usize = 64 * 1024;
/// Parked sessions that are given up when a descriptor could not be had.
pub const SHED_BATCH: usize = 8;

/// Parked sessions that a worker takes at one look. In five rounds at 64 connections: CPU 0.90 of nginx's and throughput 1.12
/// with 16, 1.02 and 1.02 with 8, 1.17 and 0.85 with 4; at 1024 32 are no better.
pub const TAKE_MAX: usize = 16;

/// How often deadlines are looked at.
const SWEEP: Duration = Duration::from_millis(100);

/// epoll's token for the bell. No session has it.
const BELL: u64 = u64::MAX;

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
    /// Rung for workers that watch: there is a session on the channel.
    bell: OwnedFd,
    /// A worker has watched since the thread last asked.
    watched: AtomicBool,
    orders: Mutex<Vec<Order>>,
    /// Written to when the thread is wanted.
    wake: OwnedFd,
    /// The thread sleeps until there is an order, or no worker is free.
    asleep: AtomicBool,
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
    /// Takes its three descriptors.
    pub fn new() -> std::io::Result<Arc<Self>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let eventfd = || rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let (bell, wake) = (eventfd()?, eventfd()?);
        // Edge-triggered: each ring wakes one worker, and nobody has to read it.
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, &bell, epoll::EventData::new_u64(BELL), flags)?;
        Ok(Arc::new(Self {
            epoll,
            bell,
            watched: AtomicBool::new(false),
            orders: Mutex::new(Vec::new()),
            wake,
            asleep: AtomicBool::new(false),
            table: Table::default(),
            draining: AtomicBool::new(false),
            last_ms: AtomicU64::new(u64::MAX),
            shedding: AtomicBool::new(false),
        }))
    }

    /// No worker is free to watch.
    pub fn call(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            signal(&self.wake);
        }
    }

    /// Makes epoll know a session, once: the kernel then reports also what is already there.
    pub fn register(&self, session: &Session) -> std::io::Result<()> {
        if session.registered.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        ask_kernel();
        Ok(epoll::add(&self.epoll, &session.socket, epoll::EventData::new_u64(session.token.as_u64()), watched())?)
    }

    /// While both halves of an exchange run, each segment would wake a free worker for nothing: only a reset is reported.
    pub fn watch_only_resets(&self, session: &Session) {
        self.modify(session, epoll::EventFlags::ET);
    }

    /// The request half has ended: all events again, and what is there already is reported.
    pub fn watch_all(&self, session: &Session) {
        self.modify(session, watched());
    }

    fn modify(&self, session: &Session, flags: epoll::EventFlags) {
        if session.registered.load(Ordering::Relaxed) {
            ask_kernel();
            let data = epoll::EventData::new_u64(session.token.as_u64());
            // It was added, and is not closed while it runs: this cannot fail but for memory, and then costs wake-ups.
            let _wakes_more = epoll::modify(&self.epoll, &session.socket, data, flags);
        }
    }

    /// Puts a session with whole requests behind the others. It is QUEUED already.
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
                // It may have finished its head since it was looked at, been answered, and parked again: then nothing is owed
                // to it, and it goes as an idle one does.
                if matches!(session.take_kept(), Kept::Head { .. }) {
                    session.set_due(u64::MAX);
                    self.order(Order::HeadGivenUp(session));
                } else {
                    self.table.remove(session.token);
                }
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

    /// Parked sessions that `wanted` picks get a little time for one last request; `picked` is an empty list.
    pub fn finish_soon(&self, picked: &mut Vec<Arc<Session>>, wanted: impl Fn(&Session) -> bool) {
        self.table.pick(picked, |session| session.state.is_parked() && wanted(session));
        for session in picked.drain(..) {
            session.due_ms.fetch_min(self.last_ms(&session), Ordering::AcqRel);
        }
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

    /// How often workers were rung for since this was asked last.
    #[cfg(test)]
    pub fn rings(&self) -> u64 {
        let mut count = [0; 8];
        rustix::io::read(&self.bell, &mut count).map_or(0, |_| u64::from_ne_bytes(count))
    }

    fn order(&self, order: Order) {
        self.orders.lock().push(order);
        signal(&self.wake);
    }
}

fn signal(eventfd: &OwnedFd) {
    // 2^64 of them would fill the counter.
    let _full = rustix::io::write(eventfd, &1u64.to_ne_bytes());
}

/// As the kernel takes it.
pub fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

fn watched() -> epoll::EventFlags {
    epoll::EventFlags::IN | epoll::EventFlags::RDHUP | epoll::EventFlags::ET
}
