//! Yielding: a thread that has sent a request on lets others run once, before it waits for the answer.
//!
//! When the cores are full the answer is there when it comes back, so that nobody sleeps, nobody is woken, and no core
//! interrupts another, which is what waiting for an answer costs most of all. When they are not, it is one short system
//! call. But the kernel does not ask whom it gives the core to: beside a stranger that computes without end in the same
//! scheduling group (the same container, the same shell) each time takes a whole slice, and 64 connections got a quarter
//! of their throughput. So a yield that took long is followed by a pause, and each long one in a row doubles it. Not here:
//! what is sent and what is waited for.

use std::time::{Duration, Instant};

/// Among our own kind a yield takes up to 1 or 2 ms at full load, beside a stranger 3 or 4. At 1 ms nearly all that it is worth
/// was lost, at 2.5 ms nothing.
const LONG: Duration = Duration::from_micros(2500);
const PAUSE_MIN: Duration = Duration::from_millis(4);
/// A slice of 4 ms in such a pause is less than two percent.
const PAUSE_MAX: Duration = Duration::from_millis(256);

/// Whether a thread yields now.
#[derive(Debug, Default)]
pub struct Yielding {
    not_before: Option<Instant>,
    /// The last pause, while yields are long.
    pause: Duration,
}

impl Yielding {
    /// Lets others run, unless that has lately taken long.
    pub fn yield_now(&mut self) {
        let begun = Instant::now();
        if self.not_before.is_none_or(|end| begun >= end) {
            std::thread::yield_now();
            self.judge(begun, begun.elapsed());
        }
    }

    fn judge(&mut self, begun: Instant, took: Duration) {
        if took < LONG {
            *self = Self::default();
        } else {
            self.pause = (2 * self.pause).clamp(PAUSE_MIN, PAUSE_MAX);
            self.not_before = Some(begun + took + self.pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_yields_are_followed_by_longer_and_longer_pauses_until_one_is_short() {
        let mut yielding = Yielding::default();
        let begun = Instant::now();
        let pauses: Vec<_> = (0..9)
            .map(|_| {
                yielding.judge(begun, LONG);
                yielding.not_before.expect("a pause").duration_since(begun + LONG).as_millis()
            })
            .collect();
        assert_eq!(pauses, [4, 8, 16, 32, 64, 128, 256, 256, 256]);
        yielding.judge(begun, LONG / 2);
        assert_eq!((yielding.not_before, yielding.pause), (None, Duration::ZERO));
    }

    #[test]
    fn nobody_yields_in_a_pause() {
        let end = Some(Instant::now() + Duration::from_secs(3600));
        let mut yielding = Yielding { not_before: end, pause: PAUSE_MAX };
        yielding.yield_now();
        assert_eq!((yielding.not_before, yielding.pause), (end, PAUSE_MAX));
    }
}
