//! The monitor of the permits: who is stuck in a visit loses its permit. What that is for is said in `permits`.

use std::time::Duration;

use super::{BUSY, Permits};
use crate::sync::{AtomicBool, Condvar, Mutex, Ordering, sleep};

/// How long the monitor leaves a holder alone. At 500 us it took permits from workers whose backend was only busy, and more of
/// them made caches cold: with 2 ms 4,096 connections cost 0.8 as much. Who knows that it waits for a slow backend does not
/// wait for this (`release`).
const LOOK: Duration = Duration::from_millis(2);

/// Looks that a holder gets while more than a quarter of them move.
const LAGGING: u32 = 4;

/// What the monitor saw of a holder, and at how many looks on end it has been busy with the same visit.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    hold: u64,
    looks: u32,
}

/// Where its thread is called and stopped.
#[derive(Debug, Default)]
pub(super) struct Monitor {
    state: Mutex<MonitorState>,
    wake: Condvar,
    asleep: AtomicBool,
}

#[derive(Debug, Default)]
struct MonitorState {
    called: bool,
    stopped: bool,
}

impl Monitor {
    /// It ends.
    pub(super) fn stop(&self) {
        self.state.lock().stopped = true;
        self.wake.notify_one();
    }
}

impl Permits {
    /// Sessions are waiting: if every holder is busy, the monitor shall look.
    pub fn call_monitor(&self) {
        if self.idle.load(Ordering::SeqCst) == 0 && self.monitor.asleep.swap(false, Ordering::SeqCst) {
            self.monitor.state.lock().called = true;
            self.monitor.wake.notify_one();
        }
    }

    /// The monitor's thread: `queued` tells how many sessions wait.
    pub fn run_monitor(&self, queued: impl Fn() -> usize) {
        let mut last = vec![Seen::default(); self.holders.len()];
        loop {
            let mut state = self.monitor.state.lock();
            self.monitor.asleep.store(true, Ordering::SeqCst);
            // Whoever queued a session before it saw us asleep relies on this look.
            let missed = || queued() > 0 && self.idle.load(Ordering::SeqCst) == 0;
            while !(state.called || state.stopped || missed()) {
                self.monitor.wake.wait(&mut state);
            }
            self.monitor.asleep.store(false, Ordering::SeqCst);
            state.called = false;
            if state.stopped {
                return;
            }
            drop(state);
            last.fill(Seen::default());
            while queued() > 0 && !self.monitor.state.lock().stopped {
                self.look(&mut last);
                sleep(LOOK);
            }
        }
    }

    /// One look: whoever is still in the visit it was in at the last look loses its permit; while more than a quarter of
    /// the holders moves, only who has been in it for `LAGGING` looks.
    fn look(&self, last: &mut [Seen]) {
        let mut stuck = 0;
        for (holder, last) in self.holders.iter().zip(last.iter_mut()) {
            let hold = holder.hold.load(Ordering::SeqCst);
            let stays = hold & BUSY != 0 && hold == last.hold && !holder.yields.load(Ordering::Relaxed);
            last.looks = if stays { last.looks + 1 } else { 0 };
            last.hold = hold;
            stuck += usize::from(last.looks > 0);
        }
        let patience = if 4 * stuck >= 3 * self.total { 1 } else { LAGGING };
        for (worker, last) in last.iter_mut().enumerate() {
            if last.looks >= patience && self.take_back(worker, last.hold) {
                *last = Seen::default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_that_stays_in_one_visit_loses_its_permit_and_a_moving_one_does_not() {
        let permits = Permits::new(2, 1);
        let mut last = vec![Seen::default(); 2];
        assert!(permits.acquire(0));
        permits.begin(0);
        permits.look(&mut last);
        assert!(permits.end(0), "one look takes nothing");
        permits.begin(0);
        permits.look(&mut last);
        assert!(permits.end(0), "another visit");
        permits.begin(0);
        permits.look(&mut last);
        permits.look(&mut last);
        assert_eq!(permits.at_rest(), 1, "taken back, and free");
        assert!(!permits.end(0));
        assert!(permits.acquire(0));
    }

    #[test]
    fn who_lags_behind_moving_holders_is_left_alone_for_a_while() {
        let permits = Permits::new(4, 4);
        let mut last = vec![Seen::default(); 4];
        for worker in 0..4 {
            assert!(permits.acquire(worker));
            permits.begin(worker);
        }
        for _ in 0..LAGGING {
            permits.look(&mut last);
            for worker in 1..4 {
                assert!(permits.end(worker));
                permits.begin(worker);
            }
        }
        assert_eq!(permits.at_rest(), 0);
        permits.look(&mut last);
        assert_eq!(permits.at_rest(), 1, "taken back at last");
        assert!(!permits.end(0));
    }

    #[test]
    fn who_lets_others_run_is_left_alone() {
        let permits = Permits::new(1, 1);
        let mut last = vec![Seen::default(); 1];
        assert!(permits.acquire(0));
        permits.begin(0);
        permits.yielding(0, || {
            for _ in 0..2 * LAGGING {
                permits.look(&mut last);
            }
        });
        assert_eq!(permits.at_rest(), 0);
        permits.look(&mut last);
        assert_eq!(permits.at_rest(), 1, "now it is somebody else whom it waits for");
    }

    #[test]
    fn an_idle_holder_is_left_alone() {
        let permits = Permits::new(1, 1);
        let mut last = vec![Seen::default(); 1];
        assert!(permits.acquire(0));
        for _ in 0..3 {
            permits.look(&mut last);
        }
        assert_eq!(permits.at_rest(), 1);
        permits.begin(0);
        assert!(permits.end(0));
    }

    #[test]
    fn who_has_a_permit_again_is_not_taken_for_the_holder_that_it_was() {
        let permits = Permits::new(1, 1);
        let mut last = vec![Seen::default(); 1];
        assert!(permits.acquire(0));
        permits.begin(0);
        permits.look(&mut last);
        permits.release(0);
        assert!(!permits.end(0));
        // Its first visit, as that was.
        assert!(permits.acquire(0));
        permits.begin(0);
        permits.look(&mut last);
        assert!(permits.end(0), "one look takes nothing");
    }
}
