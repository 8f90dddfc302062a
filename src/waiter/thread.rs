//! The waiter's thread: deadlines become refusals or ends, and, while no worker is free to watch, events become sessions
//! on the channel.
//!
//! As long as workers are free, this thread leaves the events to them. While they only come to watch between two sessions it
//! looks after them a step at a time. It takes a batch when none of them has come in a whole step, and every 10 ms if they do:
//! these sessions stand in the channel then, where the monitor sees that they wait, and `timeouts.queue` counts.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use rustix::event::{PollFd, PollFlags, poll};

use super::watch::NO_EVENT;
use super::{LINGER, Order, Refuse, SWEEP, Waiter, WaiterRefusal, timespec};
use crate::clock::{self, Looks};
use crate::metrics::Counters;
use crate::park::ParkState;
use crate::permits::Permits;
use crate::registry::Registry;
use crate::session::{Kept, Session};
use crate::sync::{Arc, Ordering};

/// Events of one look.
const BATCH: usize = 256;
/// How long it is left to workers that are busy to watch; twice as long after each time that somebody did, up to the longest:
/// with 2 ms there 4,096 connections cost 1.08 of the CPU.
const STEP: Duration = Duration::from_micros(500);
const STEP_MAX: Duration = Duration::from_millis(4);
/// For how long the events are left to workers that come to watch, but are never free.
const PAUSE_MAX: Duration = Duration::from_millis(10);
/// After so many steps on end at which a worker was free this thread sleeps again.
const CALM_STEPS: u32 = 20;

/// Who watches the parked sessions.
#[derive(Debug, Clone, Copy)]
enum Guard {
    /// Workers that are free: this thread sleeps.
    Calm,
    /// Workers, between two sessions: this thread looks after them, a step at a time, and for some after the last.
    Alert { step: Duration, calm_steps: u32 },
    /// Nobody else, and all is quiet: this thread does.
    Alone,
}

impl Guard {
    /// Before its first step.
    const ALERT: Self = Self::Alert { step: STEP, calm_steps: 0 };

    /// A worker is free.
    fn at_ease(self) -> Self {
        match self {
            Self::Calm => Self::Calm,
            Self::Alert { calm_steps, .. } if calm_steps >= CALM_STEPS => Self::Calm,
            Self::Alert { step, calm_steps } => Self::Alert { step: longer(step), calm_steps: calm_steps + 1 },
            Self::Alone => Self::ALERT,
        }
    }

    /// None is free, but one has watched.
    fn watched(self) -> Self {
        match self {
            Self::Alert { step, .. } => Self::Alert { step: longer(step), calm_steps: 0 },
            Self::Calm | Self::Alone => Self::ALERT,
        }
    }
}

fn longer(step: Duration) -> Duration {
    (2 * step).min(STEP_MAX)
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
        let mut sweeps = Looks::new(SWEEP, Instant::now());
        let mut looked = Instant::now();
        let mut guard = Guard::Calm;
        loop {
            // What did not fit onto the channel is tried again soon.
            let guard_now = if ready.is_empty() { guard } else { Guard::ALERT };
            let orders = self.rest(guard_now, sweeps.due_in(Instant::now()));
            // Once a batch: the time a session may be queued is not worth a look at the clock each.
            let queue_due = clock::due_ms((self.queue_timeout)());
            if !self.obey(orders, queue_due, &mut ready, &mut picked) {
                return;
            }
            let free = self.permits.any_idle();
            guard = if free && self.channel.is_empty() {
                guard.at_ease()
            } else {
                let watched = self.waiter.watched.swap(false, Ordering::Relaxed) || free;
                if watched && looked.elapsed() < PAUSE_MAX {
                    guard.watched()
                } else {
                    looked = Instant::now();
                    match (self.look(queue_due, &mut ready), watched) {
                        (_, true) => guard.watched(),
                        (true, false) => Guard::ALERT,
                        (false, false) => Guard::Alone,
                    }
                }
            };
            self.send(&mut ready);
            if sweeps.is_due(Instant::now()) {
                self.sweep(&mut ready, &mut picked);
            }
        }
    }

    /// Sleeps until there are orders, and takes them; for `sweep_in` at most, or for the step that `guard` says.
    fn rest(&self, guard: Guard, sweep_in: Duration) -> Vec<Order> {
        let waiter = &*self.waiter;
        let wake = || PollFd::new(&waiter.wake, PollFlags::IN);
        // An error is a signal that came: it is looked at again, as after any other end of the wait.
        let _woken = match guard {
            Guard::Calm => {
                waiter.asleep.store(true, Ordering::SeqCst);
                // Whoever took the last free place before it saw us asleep relies on this look.
                let free = self.permits.any_idle();
                let woken = poll(&mut [wake()], Some(&timespec(if free { sweep_in } else { Duration::ZERO })));
                waiter.asleep.store(false, Ordering::SeqCst);
                woken
            }
            Guard::Alert { step, .. } => poll(&mut [wake()], Some(&timespec(step))),
            Guard::Alone => poll(&mut [wake(), PollFd::new(&waiter.epoll, PollFlags::IN)], Some(&timespec(sweep_in))),
        };
        let _empty = rustix::io::read(&waiter.wake, &mut [0; 8]);
        std::mem::take(&mut *waiter.orders.lock())
    }

    /// Takes a batch of events from the kernel, if there is room for one. Whether there was something.
    fn look(&self, queue_due: u64, ready: &mut Ready) -> bool {
        let mut events = [NO_EVENT; BATCH];
        let room = BATCH.saturating_sub(ready.len());
        if room == 0 {
            return true;
        }
        let found = self.waiter.poll(&mut events[..room], Some(Duration::ZERO));
        for event in found {
            if let Some(session) = self.waiter.event(event, &self.registry, ParkState::event) {
                queue(session, queue_due, ready);
            }
        }
        // The bell may have been among them, for a worker that watches since.
        self.ring();
        !found.is_empty()
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
                Order::Requeue(session) => queue(session, queue_due, ready),
                Order::Shed(count) => {
                    self.shed(count, picked);
                    self.waiter.shedding.store(false, Ordering::SeqCst);
                }
                Order::HeadGivenUp(session) => {
                    self.counters.cells_exhausted.add();
                    self.answer(&session, WaiterRefusal::CellsExhausted);
                }
                Order::Retire => self.waiter.finish_soon(picked, |s| s.entrance.retired.load(Ordering::Relaxed)),
                Order::Drain => self.waiter.finish_soon(picked, |_| true),
                Order::Stop => return false,
            }
        }
        true
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_grow_while_somebody_watches_and_begin_anew_when_nobody_did() {
        let step = |guard| if let Guard::Alert { step, .. } = guard { step.as_micros() } else { 0 };
        let watched = std::iter::successors(Some(Guard::Calm), |guard| Some(guard.watched()));
        assert_eq!(watched.map(step).take(6).collect::<Vec<_>>(), [0, 500, 1000, 2000, 4000, 4000]);
        let at_ease = std::iter::successors(Some(Guard::Alone), |guard| Some(guard.at_ease()));
        let until_calm: Vec<_> = at_ease.skip(1).map(step).take_while(|step| *step > 0).collect();
        assert_eq!(until_calm[..5], [500, 1000, 2000, 4000, 4000]);
        assert_eq!(until_calm.len(), 1 + CALM_STEPS as usize);
        assert_eq!(step(Guard::Alone.watched()), 500);
    }
}
