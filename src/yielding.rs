//! Yielding: a thread lets others run once, when it has sent the requests of a round on and before it waits for answers, and
//! again when it is done with the round.
//!
//! When the cores are full the answer is there when it comes back, so that nobody sleeps, nobody is woken, and no core
//! interrupts another, which is what waiting for an answer costs most of all. When they are not, it is one short system
//! call. But the kernel does not ask whom it gives the core to: beside a stranger that computes without end in the same
//! scheduling group (the same container, the same shell) each time takes a whole slice, and 64 connections got a quarter
//! of their throughput. So yields that took long are followed by a pause, and each further one doubles it. Not here: what is
//! sent and what is waited for.

use std::time::{Duration, Instant};

/// Beside a stranger a yield takes 2 to 4 ms, each time. Among our own kind 0.3 to 0.6 ms on average at full load of a slow
/// machine, and one in some hundreds takes longer than 2 all the same. So it is the average that tells. With a pause after the
/// first that was over 2.5 ms, workers yielded at one answer in ten or five: 12 % less throughput, and four times the p99, for
/// who waits asleep is overtaken.
const LONG: Duration = Duration::from_micros(1500);
/// One yield counts for so much at most.
const LONGEST: Duration = Duration::from_millis(4);
/// Weight of the past in the average.
const PAST: u32 = 7;
const PAUSE_MIN: Duration = Duration::from_millis(4);
/// A slice of 4 ms in such a pause is less than two percent.
const PAUSE_MAX: Duration = Duration::from_millis(256);

/// Whether a thread yields now.
#[derive(Debug, Default)]
pub struct Yielding {
    not_before: Option<Instant>,
    /// What a yield takes.
    average: Duration,
    /// The last pause, while that is long.
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
        self.average = (PAST * self.average + took.min(LONGEST)) / (PAST + 1);
        if self.average < LONG {
            (self.not_before, self.pause) = (None, Duration::ZERO);
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
    fn yields_that_are_long_on_average_are_followed_by_longer_and_longer_pauses() {
        let mut yielding = Yielding::default();
        let begun = Instant::now();
        let ms = Duration::from_millis;
        // Among our own kind, now and then a very long one.
        for took in [ms(0), ms(100), ms(1), ms(1), ms(0), ms(1), ms(1), ms(0)].repeat(20) {
            yielding.judge(begun, took);
            assert_eq!(yielding.not_before, None);
        }
        let mut pauses = Vec::new();
        while pauses.len() < 9 {
            yielding.judge(begun, ms(3));
            let pause = yielding.not_before.map(|end| end.duration_since(begun + ms(3)).as_millis());
            pauses.extend(pause);
        }
        assert_eq!(pauses, [4, 8, 16, 32, 64, 128, 256, 256, 256]);
        // The stranger has gone.
        let probes = (1..).find(|_| {
            yielding.judge(begun, ms(0));
            yielding.not_before.is_none()
        });
        assert!(probes.is_some_and(|probes| (2..8).contains(&probes)), "{probes:?}");
        assert_eq!(yielding.pause, Duration::ZERO);
    }

    #[test]
    fn nobody_yields_in_a_pause() {
        let end = Some(Instant::now() + Duration::from_secs(3600));
        let mut yielding = Yielding { not_before: end, average: LONG, pause: PAUSE_MAX };
        yielding.yield_now();
        assert_eq!((yielding.not_before, yielding.pause), (end, PAUSE_MAX));
    }
}
