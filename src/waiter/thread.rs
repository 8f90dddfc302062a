//! The waiter's thread: deadlines become refusals or ends, and, while no worker is free to watch, events become sessions
//! on the channel.
//!
//! As long as workers are free, or come to watch within half a millisecond, this thread leaves the events to them. Else it
//! takes a batch: the sessions stand in the channel then, where the monitor sees that they wait, and `timeouts.queue`
//! counts. After 10 ms it takes one all the same, or acceptors that keep the channel full would starve kept sessions.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError};

use super::{LINGER, NO_EVENT, Order, Refuse, SWEEP, Waiter, WaiterRefusal};
use crate::clock;
use crate::metrics::Counters;
use crate::park::ParkState;
use crate::permits::Permits;
use crate::registry::Registry;
use crate::session::{Kept, Session};
use crate::sync::{Arc, Ordering};

/// Events of one look.
const BATCH: usize = 256;
/// How often it is seen to whether anybody watches, while no worker is free.
const STEP: Duration = Duration::from_micros(500);
/// For how long the events are left to workers that come to watch, or that have enough to do with the channel.
const PAUSE_MAX: Duration = Duration::from_millis(10);
/// Sessions on the channel that are enough to do.
const LOW_WATER: usize = 16;
/// After so many steps on end at which a worker was free this thread sleeps again.
const CALM: u32 = 20;

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
    /// Runs until it is stopped.
    pub fn run(mut self) {
        let mut ready: Ready = VecDeque::with_capacity(BATCH);
        let mut picked: Vec<Arc<Session>> = Vec::new();
        let mut swept = Instant::now();
        let mut looked = Instant::now();
        // Steps at which a worker was free; `CALM` of them: it may sleep.
        let mut calm = CALM;
        loop {
            let sweep_in = SWEEP.saturating_sub(swept.elapsed());
            let orders = self.rest(calm >= CALM && ready.is_empty(), sweep_in);
            // Once a batch: the time a session may be queued is not worth a look at the clock each.
            let queue_due = clock::due_ms((self.queue_timeout)());
            if !self.obey(orders, queue_due, &mut ready, &mut picked) {
                return;
            }
            if self.permits.any_idle() {
                calm = (calm + 1).min(CALM);
            } else {
                calm = 0;
                let busy = self.waiter.watched.swap(false, Ordering::Relaxed) || self.channel.len() > LOW_WATER;
                if ready.len() < BATCH && (!busy || looked.elapsed() >= PAUSE_MAX) {
                    looked = Instant::now();
                    self.look(queue_due, &mut ready);
                }
            }
            self.send(&mut ready);
            if swept.elapsed() >= SWEEP {
                swept = Instant::now();
                self.sweep(&mut ready, &mut picked);
            }
        }
    }

    /// Sleeps until there are orders, and takes them: one step, or, when it is `calm`, for `sweep_in` or until no worker is
    /// free.
    fn rest(&self, calm: bool, sweep_in: Duration) -> Vec<Order> {
        let waiter = &*self.waiter;
        let mut orders = waiter.orders.lock();
        if orders.is_empty() {
            waiter.asleep.store(calm, Ordering::SeqCst);
            // Whoever took the last free place before it saw us asleep relies on this look.
            if !calm {
                waiter.wake.wait_for(&mut orders, STEP);
            } else if self.permits.any_idle() {
                waiter.wake.wait_for(&mut orders, sweep_in);
            }
            waiter.asleep.store(false, Ordering::SeqCst);
        }
        std::mem::take(&mut *orders)
    }

    /// Takes a batch of events from the kernel.
    fn look(&self, queue_due: u64, ready: &mut Ready) {
        let mut events = [NO_EVENT; BATCH];
        for event in self.waiter.poll(&mut events, Some(Duration::ZERO)) {
            if let Some(session) = self.waiter.event(event, &self.registry, ParkState::event) {
                queue(session, queue_due, ready);
            }
        }
        // The bell may have been among them, for a worker that watches since.
        self.ring();
    }

    /// If a worker watches, it looks at the channel.
    fn ring(&self) {
        if !self.channel.is_empty() && self.permits.any_idle() {
            self.waiter.ring();
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
            self.ring();
            self.permits.call_monitor();
        }
    }

    /// `false`: end.
    fn obey(&mut self, orders: Vec<Order>, queue_due: u64, ready: &mut Ready, picked: &mut Vec<Arc<Session>>) -> bool {
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
