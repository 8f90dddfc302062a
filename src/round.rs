//! A round: the sessions that a worker has in hand at once, and how none of them waits for another's peer.
//!
//! A worker takes what has something to say, a few at a time. It sends on the requests of all of them, lets others run, and
//! passes on the answers that have come meanwhile: so the backend is woken once for several requests and finds more to do, and
//! there is one look for sessions and one yield for all. Alone, each request costs a wake-up on either side.
//!
//! ```text
//!  new sessions ──▶ visit: head, plan, request ──▶ asked ──▶ visit: answer ──▶ parked, or asked again
//!                     │ would block                            │ would block
//!                     └──────── all others: to a worker that sleeps ◀───────┘
//! ```
//!
//! Whatever blocks in a visit first lets the others go (`company`): a worker that sleeps is woken, and has them and the permit.
//! Until the router stops, when all are cut, there always is one, because each session in hand but the first has the place of a
//! worker that may not wake meanwhile (`permits`). So never more sessions run than there are workers, and a round of one, which
//! is what is left when all of them are in use, is what a worker without rounds would do. Not here: what a visit does, and which
//! sessions have something to say.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use crate::company::{Company, Others};
use crate::crew::{Shared, Worker};
use crate::session::Session;
use crate::sync::{Arc, Mutex};
use crate::visit::{self, Hands, Step, Visit};
use crate::waiter::{TAKE_MAX, timespec};

/// How long a worker waits for an answer while nobody watches, before it gives its permit back. Until the waiter's thread and the
/// monitor had looked, sessions of a fast backend waited 6 to 9 ms beside a slow one. With 500 us the CPU was 1.12 at 4,096
/// connections, where all backends are a little slow because the cores are full.
const UNWATCHED_MAX: Duration = Duration::from_millis(1);
/// After such a wait that was longer, more of them are to be expected: the next time the permit is given back unless an answer
/// is there at once. Without that, one session in ten of the fast backend waited for 1 ms.
const LONG_WAIT: Duration = Duration::from_millis(4);

/// What a worker has in hand, besides the session that it serves.
#[derive(Debug)]
struct InHand {
    /// Taken, and not begun.
    new: VecDeque<Arc<Session>>,
    /// Their answers are awaited.
    asked: VecDeque<Visit>,
    /// Places of other workers, for all sessions in hand but one.
    places: usize,
}

impl InHand {
    fn nothing() -> Self {
        // Most workers never have anything in hand: they have no memory for it either.
        Self { new: VecDeque::new(), asked: VecDeque::new(), places: 0 }
    }

    fn len(&self) -> usize {
        self.new.len() + self.asked.len()
    }
}

/// A worker's round.
#[derive(Debug)]
pub struct Round {
    worker: usize,
    in_hand: RefCell<InHand>,
    /// The last wait without anybody who watched was long.
    waited_long: Cell<bool>,
    mail: Arc<Mail>,
}

/// Where a round is left for the worker that is woken for it.
#[derive(Debug)]
pub struct Mail(Vec<Mutex<Option<InHand>>>);

impl Mail {
    /// A place for each worker.
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self((0..workers).map(|_| Mutex::new(None)).collect()))
    }
}

impl Round {
    /// Of worker `worker`, with nothing in hand.
    pub fn new(worker: usize, mail: Arc<Mail>) -> Self {
        Self { worker, in_hand: RefCell::new(InHand::nothing()), waited_long: Cell::new(false), mail }
    }

    /// Takes up what another worker let go, if this one was woken for that.
    pub fn take_up(&self) -> bool {
        let Some(passed) = self.mail.0[self.worker].lock().take() else { return false };
        *self.in_hand.borrow_mut() = passed;
        true
    }

    /// Sessions that can be taken now.
    pub fn room(&self, shared: &Shared) -> usize {
        1 + shared.permits.places().min(TAKE_MAX - 1)
    }

    /// A session that runs from now on: it is taken.
    pub fn take(&self, session: Arc<Session>) {
        self.in_hand.borrow_mut().new.push_back(session);
    }

    /// Sessions that were taken.
    pub fn taken(&self) -> usize {
        self.in_hand.borrow().new.len()
    }

    /// All but the first need a place; those for which there is none any more wait for their turn on the channel.
    pub fn take_places(&self, shared: &Shared) {
        let mut in_hand = self.in_hand.borrow_mut();
        let wanted = in_hand.new.len().saturating_sub(1);
        in_hand.places = shared.permits.take_places(wanted);
        let left = in_hand.new.len().min(1 + in_hand.places);
        for session in in_hand.new.drain(left..) {
            session.set_due(u64::MAX);
            session.state.put_away();
            shared.waiter.requeue(session);
        }
    }

    /// Runs all of them until each is parked or closed, or somebody else's.
    pub fn run(&self, shared: &Shared, worker: &mut Worker) {
        while let Some(session) = self.next_new() {
            if shared.permits.is_closed() {
                // The router stops, and cuts what runs: this does not begin to.
                session.socket.abort();
                shared.waiter.close(&session);
                continue;
            }
            let mut visit = None;
            let step = self.step(shared, worker, |hands| {
                visit = visit::enter(hands.shared, hands.worker, &session);
                visit.as_mut().map_or(Step::Over, |visit| visit.run(hands))
            });
            self.put_down(shared, worker, step, visit.ok_or(&session));
        }
        let mut waited = false;
        while let Some(left) = self.left(shared) {
            if !std::mem::take(&mut waited) {
                let Worker { yielding, index, .. } = &mut *worker;
                shared.permits.yielding(*index, || yielding.yield_now());
            }
            // Who has one in hand waits where it reads.
            let alone = left == 1;
            if alone && !shared.permits.any_idle() {
                self.wait_unwatched(shared);
            }
            let mut served = false;
            for _ in 0..left {
                // Fewer, if they were let go.
                let Some(mut visit) = self.next_asked() else { break };
                if !alone && !visit.is_answered() {
                    self.in_hand.borrow_mut().asked.push_back(visit);
                    continue;
                }
                served = true;
                let step = self.step(shared, worker, |hands| visit.answer(hands));
                self.put_down(shared, worker, step, Ok(visit));
            }
            if !served {
                if shared.permits.any_idle() {
                    self.wait(None);
                } else {
                    self.wait_unwatched(shared);
                }
                waited = true;
            }
        }
    }

    /// A part of one visit. `None`: a fault, which costs this session and nothing else.
    fn step(&self, shared: &Shared, worker: &mut Worker, run: impl FnOnce(&mut Hands<'_>) -> Step) -> Option<Step> {
        self.settle(shared, 1);
        let rest = Rest { round: self, shared };
        let mut hands = Hands { shared, worker, company: Company::of(&rest) };
        catch_unwind(AssertUnwindSafe(|| run(&mut hands))).ok()
    }

    /// `visit`: or the session, if there was none.
    fn put_down(&self, shared: &Shared, worker: &mut Worker, step: Option<Step>, visit: Result<Visit, &Arc<Session>>) {
        shared.permits.progress(self.worker);
        match (step, visit) {
            (Some(Step::Asked), Ok(visit)) => self.in_hand.borrow_mut().asked.push_back(visit),
            (Some(_), Ok(visit)) => visit.leave(worker),
            (Some(_), Err(_)) => {}
            (None, visit) => {
                shared.counters.panics.add();
                log::error!("a fault ended a session; please report what stands above this line");
                match visit {
                    Ok(visit) => visit.fault(shared, &worker.partner),
                    Err(session) => {
                        session.socket.abort();
                        shared.waiter.close(session);
                    }
                }
            }
        }
    }

    fn next_new(&self) -> Option<Arc<Session>> {
        self.in_hand.borrow_mut().new.pop_front()
    }

    fn next_asked(&self) -> Option<Visit> {
        self.in_hand.borrow_mut().asked.pop_front()
    }

    /// Those whose answers are awaited; `None` when there are none.
    fn left(&self, shared: &Shared) -> Option<usize> {
        self.settle(shared, 0);
        Some(self.in_hand.borrow().asked.len()).filter(|left| *left > 0)
    }

    /// Gives back the places of sessions that are over. `serving`: one more is in hand than stands here.
    fn settle(&self, shared: &Shared, serving: usize) {
        let mut in_hand = self.in_hand.borrow_mut();
        let needed = (in_hand.len() + serving).saturating_sub(1);
        let surplus = in_hand.places.saturating_sub(needed);
        in_hand.places -= surplus;
        drop(in_hand);
        shared.permits.give_places(surplus);
    }

    /// Waits while nobody watches: if no answer comes soon, somebody is woken to watch.
    fn wait_unwatched(&self, shared: &Shared) {
        let (begun, patience) = (Instant::now(), self.patience());
        if are_stuck(|| shared.permits.turns(), || self.wait(Some(patience))) {
            shared.permits.release(self.worker);
            self.wait(None);
        }
        self.judge(begun.elapsed());
    }

    fn patience(&self) -> Duration {
        if self.waited_long.get() { Duration::ZERO } else { UNWATCHED_MAX }
    }

    fn judge(&self, waited: Duration) {
        self.waited_long.set(waited > LONG_WAIT);
    }

    /// Until the answer of any of them is here, or its connection was cut. `false`: so it was not within `most`.
    fn wait(&self, most: Option<Duration>) -> bool {
        let in_hand = self.in_hand.borrow();
        let Some(first) = in_hand.asked.front().and_then(Visit::awaited) else { return true };
        let mut fds: [_; TAKE_MAX] = std::array::from_fn(|n| {
            PollFd::new(in_hand.asked.get(n).and_then(Visit::awaited).unwrap_or(first), PollFlags::IN)
        });
        // An error is a signal that came: they are looked at again, as after any other end of the wait.
        poll(&mut fds[..in_hand.asked.len()], most.map(timespec).as_ref()) != Ok(0)
    }
}

/// Whether a look for an answer ends without one, and no holder has begun with anything meanwhile: who has will watch again.
fn are_stuck(turns: impl Fn() -> u64, mut is_answered: impl FnMut() -> bool) -> bool {
    loop {
        let before = turns();
        if is_answered() {
            return false;
        }
        if turns() == before {
            return true;
        }
    }
}

/// The others, while one of them is served.
#[derive(Debug)]
struct Rest<'a> {
    round: &'a Round,
    shared: &'a Shared,
}

impl Others for Rest<'_> {
    fn are_there(&self) -> bool {
        self.round.in_hand.borrow().len() > 0
    }

    fn let_go(&self) {
        let Round { worker, in_hand, mail, .. } = self.round;
        let permits = &self.shared.permits;
        let Some(sleeper) = permits.promise() else { return };
        let mut passed = std::mem::replace(&mut *in_hand.borrow_mut(), InHand::nothing());
        // All of them had one, and whoever is woken brings none along: that of one of them is its own from now on.
        let surplus = passed.places.saturating_sub(passed.len());
        passed.places -= surplus + 1;
        *mail.0[sleeper].lock() = Some(passed);
        permits.hand_over(*worker, sleeper);
        permits.give_places(surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_long_wait_the_next_is_given_no_time_and_after_a_short_one_it_is() {
        let round = Round::new(0, Mail::new(1));
        for (waited, patience) in [(Duration::from_secs(1), Duration::ZERO), (LONG_WAIT, UNWATCHED_MAX)] {
            round.judge(waited);
            assert_eq!(round.patience(), patience);
        }
    }

    #[test]
    fn who_waits_is_stuck_when_no_answer_comes_and_no_holder_begins() {
        for (begins, answered_at, stuck) in [(0, None, true), (2, None, true), (2, Some(2), false), (0, Some(1), false)]
        {
            let (turns, mut looks) = (Cell::new(0), 0);
            let is_answered = || {
                looks += 1;
                turns.set(begins.min(looks));
                answered_at == Some(looks)
            };
            assert_eq!(are_stuck(|| turns.get(), is_answered), stuck);
            assert_eq!(looks, answered_at.unwrap_or(begins + 1), "as long as somebody begins it looks on");
        }
    }
}
