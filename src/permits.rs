//! The hot set: only the few workers that hold a permit take sessions from the channel or watch parked ones.
//!
//! With 256 workers waiting for sessions, wake-ups visit all of them in turn and find cold caches: twice the CPU per request of
//! 16 workers. So two a core may take, each several sessions at once (`round`). Permits are *taken back, not given back*: a
//! holder that blocks on a slow peer does nothing; the monitor, awake only while sessions queue and every holder is busy, looks
//! every 2 ms and takes the permit of whoever is still in the same session as at its last look. The holder finds out when it is
//! done. That covers slow backends, slow clients, connects and tunnels alike, without averages. Only who lets sessions go
//! because it is about to block hands its permit on with them, and who waits for an answer while nobody watches or begins
//! gives its own back (`round`).
//!
//! There is a **place** for each session that may run, as many as workers. A worker that is awake has one; those of the others
//! are lent to sessions that one worker has besides its first. So as long as places are lent as many workers sleep, and there is
//! one to be woken for whatever must not wait; and while all workers are in use each has one session.
//!
//! Two cases are different, because the cores are simply full and more workers only make caches cold (measured beside a
//! compiler: 250 workers in use and twice the CPU per request). Who lets others run waits for a core and for nobody else. And
//! while a good part of the holders moves, who lags behind the others is left alone for a few milliseconds first.

use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, Condvar, Mutex, Ordering};

mod monitor;

use monitor::Monitor;

/// No permit.
const NONE: u64 = 0;
/// Set while the holder runs a session; clear while it watches for one.
const BUSY: u64 = 1;
/// One visit more: the count is above the BUSY bit, and starts at one so that a holder is never `NONE`.
const VISIT: u64 = 2;
/// One time more that a permit was given out.
const TENURE: u64 = 1 << 32;

/// The permits, who holds them, and who sleeps for one.
#[derive(Debug)]
pub struct Permits {
    state: Mutex<State>,
    /// Set once, for good.
    closed: AtomicBool,
    /// By worker: `NONE`, or visits with the BUSY bit.
    holders: Vec<Holder>,
    total: usize,
    /// Sessions that may run besides those of the workers that are awake: as many as sleep, less those that run on a sleeper's
    /// place.
    places: AtomicUsize,
    /// A permit is free and somebody sleeps, but there was no place.
    starved: AtomicBool,
    /// Holders without a session, who watch or are about to: while there are any, the monitor has nothing to do.
    idle: AtomicUsize,
    /// Times that a holder began. Whoever asks cannot look at all holders instead: that is a cache line for each worker.
    turns: AtomicU64,
    monitor: Monitor,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Holder {
    hold: AtomicU64,
    /// It lets others run.
    yields: AtomicBool,
    wake: Condvar,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// Last to sleep, first to wake.
    sleepers: Vec<usize>,
    /// By worker: how it sleeps.
    beds: Vec<Bed>,
    /// Where the next holder's count begins, so that no look takes its first visit for that of the holder before.
    tenure: u64,
}

impl State {
    fn next_tenure(&mut self) -> u64 {
        self.tenure = self.tenure.wrapping_add(TENURE);
        self.tenure | VISIT
    }
}

/// How a worker sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bed {
    /// Until it is woken, or the router stops.
    Asleep,
    /// Somebody is about to hand sessions over to it: until that is done.
    Promised,
    /// It is woken.
    Woken,
}

impl Permits {
    /// `total` permits (at most one a worker) for `workers`.
    pub fn new(workers: usize, total: usize) -> Self {
        let total = total.clamp(1, workers.max(1));
        Self {
            state: Mutex::new(State {
                free: total,
                sleepers: Vec::with_capacity(workers),
                beds: vec![Bed::Asleep; workers],
                tenure: 0,
            }),
            closed: AtomicBool::new(false),
            holders: (0..workers).map(|_| Holder::default()).collect(),
            total,
            places: AtomicUsize::new(0),
            starved: AtomicBool::new(false),
            idle: AtomicUsize::new(0),
            turns: AtomicU64::new(0),
            monitor: Monitor::default(),
        }
    }

    /// Sleeps, and others may have its place, until there are a permit and a place for it; or until another worker hands
    /// sessions over, with their places and perhaps its permit. `false`: the router stops.
    pub fn acquire(&self, worker: usize) -> bool {
        let mut state = self.state.lock();
        if self.is_closed() {
            return false;
        }
        state.beds[worker] = Bed::Asleep;
        state.sleepers.push(worker);
        // Not before: whoever takes the place relies on the sleeper.
        self.places.fetch_add(1, Ordering::SeqCst);
        self.wake(&mut state);
        loop {
            match state.beds[worker] {
                Bed::Woken => return true,
                Bed::Asleep if self.is_closed() => return false,
                Bed::Asleep | Bed::Promised => self.holders[worker].wake.wait(&mut state),
            }
        }
    }

    /// Sessions that may run besides those that do.
    pub fn places(&self) -> usize {
        self.places.load(Ordering::SeqCst)
    }

    /// Takes up to `most` places: how many. As long as they are taken, as many workers sleep.
    pub fn take_places(&self, most: usize) -> usize {
        let mut took = 0;
        let taken = self.places.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |places| {
            took = most.min(places);
            (took > 0).then(|| places - took)
        });
        taken.map_or(0, |_| took)
    }

    /// Gives back places of sessions that are over.
    pub fn give_places(&self, count: usize) {
        if count > 0 {
            self.places.fetch_add(count, Ordering::SeqCst);
            if self.starved.load(Ordering::SeqCst) {
                self.wake(&mut self.state.lock());
            }
        }
    }

    /// A worker that sleeps, and sleeps on until `hand_over`; `None`: there is none, or the router stops.
    pub fn promise(&self) -> Option<usize> {
        let mut state = self.state.lock();
        if self.is_closed() {
            return None;
        }
        let sleeper = state.sleepers.pop()?;
        state.beds[sleeper] = Bed::Promised;
        Some(sleeper)
    }

    /// Wakes it, in the midst of a visit, with the permit of `worker`, unless that has been taken back.
    pub fn hand_over(&self, worker: usize, sleeper: usize) {
        let hold = self.holders[worker].hold.load(Ordering::SeqCst);
        let held = hold != NONE && self.drop_hold(worker, hold);
        let mut state = self.state.lock();
        let hold = if held { state.next_tenure() | BUSY } else { NONE };
        self.holders[sleeper].hold.store(hold, Ordering::SeqCst);
        state.beds[sleeper] = Bed::Woken;
        self.holders[sleeper].wake.notify_one();
    }

    /// The holder waits for an answer: if nobody is left who watches, its permit is free.
    pub fn release(&self, worker: usize) {
        let hold = self.holders[worker].hold.load(Ordering::SeqCst);
        if hold != NONE && !self.any_idle() {
            self.take_back(worker, hold);
        }
    }

    /// The holder has done with one of its sessions and goes on with another: it is not stuck.
    pub fn progress(&self, worker: usize) {
        let hold = &self.holders[worker].hold;
        let visit = hold.load(Ordering::Relaxed);
        if visit != NONE {
            let _taken_back = hold.compare_exchange(visit, visit + VISIT, Ordering::SeqCst, Ordering::SeqCst);
        }
    }

    /// The holder has a session. `true`: no holder is left idle, so if more sessions wait the monitor
    /// has to be called; whoever queued them may have seen this one idle.
    pub fn begin(&self, worker: usize) -> bool {
        self.turns.fetch_add(1, Ordering::Relaxed);
        // Only an idle holder comes here, and only busy ones lose their permit: no race.
        self.holders[worker].hold.fetch_add(VISIT | BUSY, Ordering::SeqCst);
        self.idle.fetch_sub(1, Ordering::SeqCst) == 1
    }

    /// The holder is done with it: whether the permit is still its own.
    pub fn end(&self, worker: usize) -> bool {
        let hold = self.holders[worker].hold.load(Ordering::SeqCst);
        let kept = hold != NONE
            && self.holders[worker]
                .hold
                .compare_exchange(hold, hold & !BUSY, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok();
        if kept {
            self.idle.fetch_add(1, Ordering::SeqCst);
        }
        kept
    }

    /// Runs what lets others run: however long that takes, the holder is not stuck.
    pub fn yielding(&self, worker: usize, run: impl FnOnce()) {
        let yields = &self.holders[worker].yields;
        yields.store(true, Ordering::Relaxed);
        run();
        yields.store(false, Ordering::Relaxed);
    }

    /// How often a holder has begun: while this does not change, none of them moves.
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Whether a holder is free: it watches for sessions, or is about to.
    pub fn any_idle(&self) -> bool {
        self.idle.load(Ordering::SeqCst) > 0
    }

    fn take_back(&self, worker: usize, hold: u64) -> bool {
        let taken = self.drop_hold(worker, hold);
        if taken {
            let mut state = self.state.lock();
            state.free += 1;
            self.wake(&mut state);
        }
        taken
    }

    fn drop_hold(&self, worker: usize, hold: u64) -> bool {
        self.holders[worker].hold.compare_exchange(hold, NONE, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Wakes sleepers while there are permits and places for them.
    fn wake(&self, state: &mut State) {
        while state.free > 0 && !state.sleepers.is_empty() {
            if self.take_places(1) == 0 {
                // Whoever gives a place after that sees it, and whoever gave one before is seen here.
                self.starved.store(true, Ordering::SeqCst);
                if self.take_places(1) == 0 {
                    return;
                }
            }
            let Some(sleeper) = state.sleepers.pop() else { break };
            state.free -= 1;
            state.beds[sleeper] = Bed::Woken;
            self.holders[sleeper].hold.store(state.next_tenure(), Ordering::SeqCst);
            self.idle.fetch_add(1, Ordering::SeqCst);
            self.holders[sleeper].wake.notify_one();
        }
        self.starved.store(false, Ordering::SeqCst);
    }

    /// The router stops: nobody waits for a permit any more, and the monitor ends.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        // Whoever is about to sleep has seen it, or is seen by the wake-ups below.
        drop(self.state.lock());
        for holder in &self.holders {
            holder.wake.notify_one();
        }
        self.monitor.stop();
    }

    /// Whether the router stops.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Permits there are.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Permits that nobody is busy with.
    pub fn at_rest(&self) -> usize {
        self.state.lock().free + self.idle.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Arc;

    #[test]
    fn who_knows_that_it_waits_gives_its_permit_back_unless_somebody_watches() {
        let permits = Permits::new(2, 1);
        assert!(permits.acquire(0));
        permits.release(0);
        assert_eq!(permits.at_rest(), 1, "it watches itself");
        permits.begin(0);
        assert_eq!(permits.turns(), 1);
        permits.release(0);
        permits.release(0);
        assert_eq!(permits.at_rest(), 1, "given back, once");
        assert!(!permits.end(0));
    }

    #[test]
    fn the_last_to_sleep_wakes_first_and_closing_wakes_all() {
        let permits = Arc::new(Permits::new(3, 1));
        assert!(permits.acquire(0));
        let (woken, woke) = crossbeam_channel::unbounded();
        let mut threads = Vec::new();
        for worker in [1, 2] {
            let (permits, woken) = (Arc::clone(&permits), woken.clone());
            let ours = Arc::clone(&permits);
            threads.push(std::thread::spawn(move || woken.send((worker, permits.acquire(worker)))));
            while ours.state.lock().sleepers.len() < worker {
                std::thread::yield_now();
            }
        }
        permits.begin(0);
        permits.release(0);
        assert_eq!(woke.recv(), Ok((2, true)));
        permits.close();
        assert_eq!(woke.recv(), Ok((1, false)));
        for thread in threads {
            thread.join().expect("no panic").expect("sent");
        }
        assert!(!permits.acquire(0));
    }
}
