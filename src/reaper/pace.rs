//! How fast clients are while they are waited for: the minimum of `limits.client_rate_min`, and who goes first when no
//! worker is free.
//!
//! A client that keeps a worker waiting for its body, or does not take its answer, is measured only while it is waited
//! for: a slow backend is nobody's fault here. Over ten seconds of that it has to move the minimum; for who takes an answer
//! it is `timeouts.send` where that is longer, because what he takes is acknowledged in steps: a kernel tells of room when a
//! good part of its buffer is free, which is 32 KB to 400 KB. A player that has read ahead and takes 20 KB/s acknowledges
//! nothing for seconds, and over ten was taken for one that does not read.
//!
//! That alone would let a thousand slow clients hold every worker for as long, so while sessions wait and no worker has been
//! free for a second those below the minimum go earlier, at each look the half that have been so for longest. Not here: how
//! a cut is done.

use std::time::{Duration, Instant};

/// How much waiting one judgement takes, at the least.
pub const WINDOW: Duration = Duration::from_secs(10);
/// How long no worker is free before clients are cut to make room.
const PATIENCE: Duration = Duration::from_secs(1);
/// The least time below the minimum that a cut to make room takes: a process that was not run for a moment is not slow.
const SLOW_MIN: Duration = Duration::from_millis(100);
/// And the most, whatever a client makes of its round trips.
const SLOW_MAX: Duration = Duration::from_secs(1);

/// What one look sees of a client that is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// Which exchange it is, of those that the slot has had.
    pub exchange: u64,
    /// Bytes that it has sent, or acknowledged; wraps, since what another worker wrote is acknowledged here.
    pub taken: u64,
}

/// The pace of the client of one half.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The last look, if that found the half waiting for its client.
    last: Option<(Sight, Instant)>,
    exchange: u64,
    /// Of this window: how long the client was waited for, and what it moved.
    waited: Duration,
    moved: u64,
    /// It moved less than the minimum at each look since.
    slow_since: Instant,
}

impl Pace {
    /// Nothing seen yet.
    pub fn new(now: Instant) -> Self {
        Self { last: None, exchange: 0, waited: Duration::ZERO, moved: 0, slow_since: now }
    }

    /// The half waits for somebody else, or for nobody.
    pub fn rest(&mut self) {
        self.last = None;
    }

    /// Looks once more at a client that is waited for: whether it has moved less than `rate_min` bytes a second over a whole
    /// window.
    pub fn look(&mut self, sight: Sight, now: Instant, rate_min: u64, window: Duration) -> bool {
        if sight.exchange != self.exchange {
            *self = Self { exchange: sight.exchange, ..Self::new(now) };
        }
        let Some((before, at)) = self.last.replace((sight, now)) else {
            self.slow_since = now;
            return false;
        };
        // A write that the kernel took in part is not counted yet, but not acknowledged already: less than nothing.
        let moved = u64::try_from(sight.taken.wrapping_sub(before.taken).cast_signed()).unwrap_or(0);
        let passed = now.duration_since(at);
        // Nothing is below every minimum, also where that is less than a byte from look to look.
        if moved >= bytes(rate_min, passed).max(1) {
            self.slow_since = now;
        }
        self.waited += passed;
        self.moved += moved;
        if self.waited < window {
            return false;
        }
        let too_slow = self.moved < bytes(rate_min, self.waited);
        (self.waited, self.moved) = (Duration::ZERO, 0);
        too_slow
    }

    /// Since when it is below the minimum, if that is long enough for a client this far away. What a window of data takes to
    /// be acknowledged is a round trip: between two of them nothing moves, however fast the client is.
    pub fn is_slow_since(&self, now: Instant, round_trip: impl FnOnce() -> Duration) -> Option<Instant> {
        let slow_for = now.duration_since(self.slow_since);
        let is_slow = self.last.is_some() && slow_for >= SLOW_MIN && slow_for >= SLOW_MAX.min(4 * round_trip());
        is_slow.then_some(self.slow_since)
    }
}

/// What `rate` a second is in that time.
fn bytes(rate: u64, time: Duration) -> u64 {
    u64::try_from(u128::from(rate) * time.as_millis() / 1000).unwrap_or(u64::MAX)
}

/// Whether sessions wait for a worker and none has been free for a while.
#[derive(Debug, Default)]
pub struct Shortage {
    since: Option<Instant>,
}

impl Shortage {
    /// Looks once more: whether room is to be made.
    pub fn look(&mut self, running: usize, workers: usize, sessions_wait: bool, now: Instant) -> bool {
        // Those who were cut at the last look may be on their way out: while sessions wait that is no free worker yet.
        let goes_on = self.since.is_some() && sessions_wait && 2 * running >= workers;
        if running < workers && !goes_on {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        sessions_wait && now.duration_since(since) >= PATIENCE
    }

    /// No worker was free at the last look.
    pub fn is_near(&self) -> bool {
        self.since.is_some()
    }
}

/// Of those that are below the minimum, each with since when, the half that have been so for longest.
///
/// Not the slowest by bytes: between two looks a good client may move nothing, and a bad one its byte a second.
pub fn slowest_half<T>(mut slow: Vec<(Instant, T)>) -> impl Iterator<Item = T> {
    slow.sort_by_key(|(since, _)| *since);
    let half = slow.len().div_ceil(2);
    slow.into_iter().take(half).map(|(_, which)| which)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_millis(100);
    const MIN: u64 = 1000;

    /// Looks every 100 ms; `taken` tells how much it is by then. The look at which it was too slow.
    fn judged(
        pace: &mut Pace,
        from: u64,
        looks: u64,
        start: Instant,
        taken: impl Fn(u64) -> Option<u64>,
    ) -> Option<u64> {
        (from..from + looks).find(|&n| {
            let now = start + LOOK * u32::try_from(n).expect("few");
            match taken(n) {
                Some(taken) => pace.look(Sight { exchange: 1, taken }, now, MIN, WINDOW),
                None => {
                    pace.rest();
                    false
                }
            }
        })
    }

    #[test]
    fn less_than_the_minimum_over_ten_seconds_is_too_slow_and_the_minimum_is_not() {
        let start = Instant::now();
        assert_eq!(judged(&mut Pace::new(start), 0, 1000, start, |n| Some(n * 99)), Some(100));
        assert_eq!(judged(&mut Pace::new(start), 0, 1000, start, |n| Some(n * 100)), None);
        // Not made up for by what was moved before.
        assert_eq!(judged(&mut Pace::new(start), 0, 1000, start, |n| Some(n.min(200) * 100)), Some(300));
        // In one go, at the end of the time.
        assert_eq!(judged(&mut Pace::new(start), 0, 101, start, |n| Some(if n == 100 { 10_000 } else { 0 })), None);
    }

    /// 20 KB/s of a buffer that tells of room in steps of 400 KB, and 5 KB/s in steps of 64.
    #[test]
    fn who_takes_steadily_what_is_acknowledged_in_steps_is_not_slow_over_a_minute_and_is_over_ten_seconds() {
        let minute = Duration::from_secs(60);
        for (rate, step) in [(20_000, 400_000), (5_000, 64_000)] {
            for (window, due) in [(minute, false), (WINDOW, true)] {
                let (start, mut pace) = (Instant::now(), Pace::new(Instant::now()));
                let too_slow = (0..6000).any(|n| {
                    let taken = u64::from(n) * rate / 10 / step * step;
                    pace.look(Sight { exchange: 1, taken }, start + LOOK * n, MIN, window)
                });
                assert_eq!(too_slow, due, "{rate} bytes/s in steps of {step}, over {window:?}");
            }
        }
    }

    #[test]
    fn only_the_time_in_which_the_client_is_waited_for_counts() {
        let start = Instant::now();
        // At every third look somebody else is waited for: no two looks on end but one of three.
        let taken = |n: u64| (!n.is_multiple_of(3)).then_some(n);
        assert_eq!(judged(&mut Pace::new(start), 0, 1000, start, taken), Some(3 * 100 - 1));
    }

    #[test]
    fn the_next_exchange_has_a_window_of_its_own() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!(judged(&mut pace, 0, 100, start, |_| Some(0)), None);
        let next = Sight { exchange: 2, taken: 0 };
        assert!(!pace.look(next, start + 100 * LOOK, MIN, WINDOW));
        assert!(!pace.look(next, start + 199 * LOOK, MIN, WINDOW));
        assert!(pace.look(next, start + 200 * LOOK, MIN, WINDOW));
    }

    #[test]
    fn who_is_far_away_is_given_four_round_trips_and_nobody_more_than_a_second() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        judged(&mut pace, 0, 2, start, |n| Some(n * 100));
        let slow_since = start + LOOK;
        judged(&mut pace, 2, 30, start, |_| Some(100));
        let after = |time: u64, round_trip: u64| {
            pace.is_slow_since(slow_since + Duration::from_millis(time), || Duration::from_millis(round_trip))
        };
        assert_eq!((after(99, 0), after(100, 0)), (None, Some(slow_since)));
        assert_eq!((after(399, 100), after(400, 100)), (None, Some(slow_since)));
        assert_eq!((after(999, 60_000), after(1000, 60_000)), (None, Some(slow_since)));
        pace.rest();
        assert_eq!(pace.is_slow_since(start + 100 * LOOK, || Duration::ZERO), None);
        judged(&mut pace, 100, 1, start, |_| Some(100));
        assert_eq!(pace.is_slow_since(start + 100 * LOOK, || Duration::ZERO), None, "it is waited for anew");
    }

    #[test]
    fn who_moves_nothing_is_slow_by_every_minimum() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for n in 0..=10 {
            assert!(!pace.look(Sight { exchange: 1, taken: 0 }, start + LOOK * n, 1, WINDOW));
        }
        assert_eq!(pace.is_slow_since(start + 10 * LOOK, || Duration::ZERO), Some(start));
    }

    #[test]
    fn what_another_worker_wrote_is_acknowledged_to_this_one() {
        let start = Instant::now();
        let taken = |n: u64| Some((n * 100).wrapping_sub(9_950));
        assert_eq!(judged(&mut Pace::new(start), 0, 1000, start, taken), None);
    }

    #[test]
    fn room_is_made_once_no_worker_has_been_free_for_a_second_and_while_sessions_wait() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut shortage = Shortage::default();
        assert!(!shortage.look(8, 8, true, at(0)));
        assert!(!shortage.look(8, 8, true, at(999)));
        assert!(shortage.look(8, 8, true, at(1000)));
        assert!(shortage.look(4, 8, true, at(1050)), "those that were cut are on their way");
        assert!(!shortage.look(3, 8, true, at(1100)), "workers are free");
        assert!(!shortage.look(8, 8, true, at(1200)));
        assert!(!shortage.look(7, 8, false, at(1300)), "one was free, and nobody waited");
        assert!(!shortage.look(8, 8, false, at(1400)));
        assert!(!shortage.look(8, 8, true, at(2399)), "none has been free since then only");
        assert!(!shortage.look(8, 8, false, at(9000)), "nobody waits");
        assert!(shortage.look(8, 8, true, at(9100)), "and who comes then has not to wait for a second");
    }

    #[test]
    fn the_half_that_have_been_slow_for_longest_go_first() {
        let now = Instant::now();
        let slow = [3, 9, 1, 7, 5].map(|seconds| (now - Duration::from_secs(seconds), seconds));
        assert_eq!(slowest_half(slow.into()).collect::<Vec<_>>(), [9, 7, 5]);
        assert_eq!(slowest_half(Vec::<(Instant, u32)>::new()).count(), 0);
    }
}
