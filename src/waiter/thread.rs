//! The waiter's thread: events become sessions on the channel, deadlines become refusals or ends.
//!
//! Backpressure: when the channel is above a low-water mark it pauses, so that events come in batches at one wake-up a
//! batch; after 10 ms it takes a batch all the same, or acceptors would keep the channel full and kept sessions would
//! starve.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::{LINGER, Order, Refuse, WAKE, Waiter, WaiterRefusal};
use crate::clock;
use crate::error::CloseReason;
use crate::metrics::Counters;
use crate::park::OnEvent;
use crate::permits::Permits;
use crate::registry::{Phase, Registry};
use crate::session::{Kept, Session};
use crate::sync::{Arc, Ordering};

/// Events of one look.
const BATCH: usize = 256;
/// How often deadlines are looked at.
const SWEEP: Duration = Duration::from_millis(100);
/// The longest pause while the channel is above its low-water mark.
const PAUSE_MAX: Duration = Duration::from_millis(10);
/// One step of that pause.
const PAUSE_STEP: Duration = Duration::from_micros(200);

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
    pub counters: Arc<Counters>,
    /// How long a session may be queued; read again at each look.
    pub queue_timeout: Box<dyn Fn() -> Duration + Send>,
    /// Makes refusals.
    pub refuse: R,
}

/// Sessions on their way to the channel.
type Ready = VecDeque<Arc<Session>>;

/// It is QUEUED already.
fn queue(session: Arc<Session>, due_ms: u64, ready: &mut Ready) {
    session.since_ms.store(clock::now_ms(), Ordering::Relaxed);
    session.set_due(due_ms);
    ready.push_back(session);
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
