//! The waiter: the thread that watches every session that is not running. A parked session costs no thread and no slice.
//!
//! It reads nothing. An event puts a parked session onto the channel; a deadline (idle, header, queue, lingering) closes
//! it, or answers with a canned refusal that cannot block: an empty send buffer takes it, or it is given up.
//!
//! Backpressure: when the channel is above a low-water mark the waiter pauses, so that events come in batches at one
//! wake-up a batch; after 10 ms it takes a batch all the same, or acceptors would keep the channel full and kept sessions
//! would starve.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use rustix::event::{EventfdFlags, Timespec, epoll};
use rustix::io::Errno;

use crate::cells::CELL;
use crate::clock;
use crate::error::CloseReason;
use crate::park::OnEvent;
use crate::permits::Permits;
use crate::registry::{Phase, Registry};
use crate::session::{Kept, Session, Table};
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering};

/// Events of one look.
const BATCH: usize = 256;
/// How often deadlines are looked at.
const SWEEP: Duration = Duration::from_millis(100);
/// The longest pause while the channel is above its low-water mark.
const PAUSE_MAX: Duration = Duration::from_millis(10);
/// One step of that pause.
const PAUSE_STEP: Duration = Duration::from_micros(200);
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

/// What the waiter's thread works with.
pub struct WaiterThread<R> {
    /// Shared with workers and acceptors.
    pub waiter: Arc<Waiter>,
    /// To the workers.
    pub channel: Sender<Arc<Session>>,
    /// The same channel's other end, to take out what was refused.
    pub queued: Receiver<Arc<Session>>,
    /// To tell the monitor.
    pub permits: Arc<Permits>,
    /// To cut exchanges of clients that reset.
    pub registry: Arc<Registry>,
    /// What it counts.
    pub counters: Arc<crate::metrics::Counters>,
    /// How long a session may be queued; read again at each look.
    pub queue_timeout: Box<dyn Fn() -> Duration + Send>,
    /// Makes refusals.
    pub refuse: R,
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

/// Sessions on their way to the channel.
type Ready = VecDeque<Arc<Session>>;

/// It is QUEUED already.
fn queue(session: Arc<Session>, due_ms: u64, ready: &mut Ready) {
    session.since_ms.store(clock::now_ms(), Ordering::Relaxed);
    session.set_due(due_ms);
    ready.push_back(session);
}

fn watched() -> epoll::EventFlags {
    epoll::EventFlags::IN | epoll::EventFlags::RDHUP | epoll::EventFlags::ET
}

impl<R: Refuse> WaiterThread<R> {
    /// Watches until it is stopped.
    pub fn run(mut self) {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(BATCH);
        let mut ready: Ready = VecDeque::with_capacity(BATCH);
        let mut picked: Vec<Arc<Session>> = Vec::new();
        let low_water = self.permits.total().max(4);
        let mut swept = Instant::now();
        loop {
            self.pause_above(low_water, &ready);
            let patience = if ready.is_empty() { SWEEP.saturating_sub(swept.elapsed()) } else { PAUSE_STEP };
            events.clear();
            if ready.len() >= BATCH {
                // What did not fit is one batch at most: the kernel keeps the other events.
                std::thread::sleep(PAUSE_STEP);
            } else {
                let room = rustix::buffer::spare_capacity(&mut events);
                match epoll::wait(&self.waiter.epoll, room, Some(&timespec(patience))) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(errno) => log::error!("waiter: epoll_wait: {errno}"),
                }
            }
            // Once a batch: the time a session may be queued is not worth a look at the clock each.
            let queue_due = clock::due_ms((self.queue_timeout)());
            for event in &events {
                let (flags, token) = (event.flags, event.data.u64());
                if token == WAKE {
                    let _empty = rustix::io::read(&self.waiter.wake, &mut [0; 8]);
                } else if let Some(session) = self.waiter.table.find(token) {
                    self.event(session, flags, queue_due, &mut ready);
                }
            }
            if !self.obey(queue_due, &mut ready, &mut picked) {
                return;
            }
            self.send(&mut ready);
            if swept.elapsed() >= SWEEP {
                swept = Instant::now();
                self.sweep(&mut ready, &mut picked);
            }
        }
    }

    fn pause_above(&self, low_water: usize, ready: &Ready) {
        let begun = Instant::now();
        while self.channel.len() > low_water && begun.elapsed() < PAUSE_MAX && ready.len() < BATCH {
            std::thread::sleep(PAUSE_STEP);
        }
    }

    fn event(&self, session: Arc<Session>, flags: epoll::EventFlags, due_ms: u64, ready: &mut Ready) {
        let ended = epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
        match session.state.event(flags.intersects(ended)) {
            OnEvent::Queue => queue(session, due_ms, ready),
            OnEvent::Running => {
                // A reset ends the exchange. An end of input does not: a client may finish writing and wait for its
                // answer. On a Unix socket HUP means that the peer is gone for good, on TCP only ERR does; what it sent
                // before it went is still passed on.
                let slot = self.registry.slot(session.worker.load(Ordering::Acquire));
                let closed = !session.socket.is_tcp() && flags.contains(epoll::EventFlags::HUP);
                let nothing_to_come = slot.request.look().0.phase() == Phase::Busy;
                if flags.contains(epoll::EventFlags::ERR) || (closed && nothing_to_come) {
                    slot.cut_session(session.token.as_u64(), CloseReason::ClientGone);
                }
            }
            OnEvent::Nothing => {}
        }
    }

    /// Never waits: what does not fit stays, at most one batch.
    fn send(&self, ready: &mut Ready) {
        let mut sent = false;
        while let Some(session) = ready.pop_front() {
            if session.state.is_closed() {
                continue;
            }
            match self.channel.try_send(session) {
                Ok(()) => sent = true,
                Err(TrySendError::Full(session)) => {
                    ready.push_front(session);
                    sent = true;
                    break;
                }
                Err(TrySendError::Disconnected(_)) => break,
            }
        }
        if sent {
            self.permits.call_monitor();
        }
    }

    /// `false`: end.
    fn obey(&mut self, queue_due: u64, ready: &mut Ready, picked: &mut Vec<Arc<Session>>) -> bool {
        let orders = std::mem::take(&mut *self.waiter.orders.lock());
        for order in orders {
            match order {
                Order::Requeue(session) => {
                    if session.state.requeue() {
                        queue(session, queue_due, ready);
                    }
                }
                Order::Shed(count) => {
                    self.shed(count, picked);
                    self.waiter.shedding.store(false, Ordering::SeqCst);
                }
                Order::HeadGivenUp(session) => {
                    self.counters.cells_exhausted.add();
                    self.answer(&session, WaiterRefusal::CellsExhausted);
                }
                Order::Retire => {
                    self.waiter
                        .table
                        .pick(picked, |s| s.state.is_parked() && s.entrance.retired.load(Ordering::Relaxed));
                    self.finish_soon(picked);
                }
                Order::Drain => {
                    self.waiter.table.pick(picked, |session| session.state.is_parked());
                    self.finish_soon(picked);
                }
                Order::Stop => return false,
            }
        }
        true
    }

    /// Parked sessions get a little time for one last request.
    fn finish_soon(&self, picked: &mut Vec<Arc<Session>>) {
        for session in picked.drain(..) {
            session.due_ms.fetch_min(self.waiter.last_ms(&session), Ordering::AcqRel);
        }
    }

    /// Deadlines of sessions that do not run.
    fn sweep(&mut self, ready: &mut Ready, picked: &mut Vec<Arc<Session>>) {
        let now = clock::now_ms();
        self.waiter.table.pick(picked, |session| {
            session.due_ms.load(Ordering::Acquire) <= now
                && (session.state.is_parked() || session.state.is_queued() || session.state.is_closed())
        });
        let mut refused = false;
        for session in picked.drain(..) {
            // Looked at again: a worker may have had it meanwhile.
            let overdue = || session.due_ms.load(Ordering::Acquire) <= now;
            if session.state.is_closed() {
                session.socket.cut();
                self.waiter.table.remove(session.token);
            } else if overdue() && session.state.close_queued() {
                refused = true;
                if matches!(session.take_kept(), Kept::Lingering { .. }) {
                    self.waiter.table.remove(session.token);
                } else {
                    self.counters.refused_queue.add();
                    self.answer(&session, WaiterRefusal::QueueTooLong);
                }
            } else if overdue() && session.state.close_parked() {
                self.close_parked(&session);
            }
        }
        if refused {
            self.make_room(ready);
        }
    }

    /// Refused sessions are the oldest, so they stand at the front of the channel: taken out, or they would keep the
    /// acceptors waiting until a worker comes free.
    fn make_room(&self, ready: &mut Ready) {
        while let Ok(session) = self.queued.try_recv() {
            if !session.state.is_closed() {
                ready.push_front(session);
                return;
            }
        }
    }

    fn close_parked(&mut self, session: &Session) {
        match session.take_kept() {
            Kept::Head { .. } => {
                self.counters.header_timeouts.add();
                self.answer(session, WaiterRefusal::HeadTooSlow);
            }
            Kept::Nothing | Kept::Idle { .. } => {
                self.counters.idle_timeouts.add();
                self.waiter.table.remove(session.token);
            }
            Kept::Pipelined(_) | Kept::Lingering { .. } => self.waiter.table.remove(session.token),
        }
    }

    /// A canned refusal; the session is closed already, and its descriptor lingers so that the answer arrives.
    fn answer(&mut self, session: &Session, why: WaiterRefusal) {
        session.set_due(clock::due_ms(LINGER));
        session.socket.write_now(self.refuse.refuse(session, why));
        session.socket.finish_writing();
    }

    /// The oldest parked sessions go, without an answer: one would keep the descriptor.
    fn shed(&mut self, count: usize, picked: &mut Vec<Arc<Session>>) {
        self.waiter.table.pick(picked, |session| session.state.is_parked());
        // Who has said something is given up after those who have not.
        picked.sort_by_key(|session| {
            let idle = matches!(&*session.kept.lock(), Kept::Nothing | Kept::Idle { .. });
            (!idle, session.since_ms.load(Ordering::Relaxed))
        });
        let mut left = count;
        for session in picked.drain(..) {
            if left == 0 {
                break;
            }
            if session.state.close_parked() {
                left -= 1;
                self.counters.shed.add();
                drop(session.take_kept());
                self.waiter.table.remove(session.token);
            }
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
