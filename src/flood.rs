//! Log lines that a peer can cause as often as it likes: a few of a kind are written each second, the others are counted
//! and told in one line.
//!
//! Without this a flood of refusals fills the disk, and pushes every other line out of the log's queue. Not here: what only
//! the operator or the host can cause, which is always said; the access log, where each exchange has its line.

use std::sync::LazyLock;

use log::{Level, LevelFilter};

use crate::clock;
use crate::sync::Mutex;

/// Lines of one kind in a second: enough to see every failure of a quiet host, and little enough for a flooded one.
pub const SOME: u32 = 10;
/// For what goes on until somebody acts.
pub const ONE: u32 = 1;

/// The log is one for the whole process, and so is this.
static LINES: LazyLock<Lines> = LazyLock::new(Lines::default);

/// Whether a line of this kind is worth writing now: `what` it tells and, if not 0, a `number` that sets it apart. It is
/// always at level debug.
pub fn passes(level: Level, what: &str, number: u16, each_second: u32) -> bool {
    if level > log::max_level() {
        return false;
    }
    log::max_level() >= LevelFilter::Debug || LINES.passes(level, what, number, each_second, second())
}

/// Tells how many lines were left out since it was last called: once a second.
pub fn tell() {
    for left_out in LINES.take_left_out(second()) {
        log::log!(left_out.level, "{}", left_out.sentence());
    }
}

fn second() -> u64 {
    clock::now_ms() / 1000
}

/// What was said lately. Its kinds are words of ours and names of the configuration; those of no more than a second ago are
/// kept, so there are few.
#[derive(Debug, Default)]
struct Lines {
    kinds: Mutex<Vec<Kind>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Kind {
    level: Level,
    what: String,
    number: u16,
    /// The second of the last line, and how many were written in it.
    second: u64,
    written: u32,
    left_out: u64,
}

impl Lines {
    fn passes(&self, level: Level, what: &str, number: u16, each_second: u32, second: u64) -> bool {
        let mut kinds = self.kinds.lock();
        let known = kinds.iter_mut().find(|kind| kind.what == what && kind.number == number);
        let Some(kind) = known else {
            kinds.push(Kind { level, what: what.to_owned(), number, second, written: 1, left_out: 0 });
            return true;
        };
        if kind.second != second {
            (kind.second, kind.written) = (second, 0);
        }
        let passes = kind.written < each_second;
        if passes {
            kind.written += 1;
        } else {
            kind.left_out += 1;
        }
        passes
    }

    /// Those that left something out, and forgets those that have been silent.
    fn take_left_out(&self, second: u64) -> Vec<Kind> {
        let mut kinds = self.kinds.lock();
        let told = kinds.iter().filter(|kind| kind.left_out > 0).cloned().collect();
        kinds.retain_mut(|kind| std::mem::take(&mut kind.left_out) > 0 || kind.second + 1 >= second);
        told
    }
}

impl Kind {
    fn sentence(&self) -> String {
        let number = if self.number == 0 { String::new() } else { format!("{} ", self.number) };
        format!("{number}{}: {} more lines like this were left out in the last second", self.what, self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_of_a_kind_pass_each_second_and_the_others_are_told_once() {
        let lines = Lines::default();
        let passed =
            |what: &str, second| (0..100).filter(|_| lines.passes(Level::Info, what, 403, SOME, second)).count();
        assert_eq!((passed("denied", 7), passed("rate_limited", 7)), (10, 10), "each kind has its own");
        assert!(lines.passes(Level::Info, "denied", 404, SOME, 7), "and each number");
        assert_eq!(passed("denied", 8), 10);
        let told: Vec<String> = lines.take_left_out(8).iter().map(Kind::sentence).collect();
        assert_eq!(
            told,
            [
                "403 denied: 180 more lines like this were left out in the last second",
                "403 rate_limited: 90 more lines like this were left out in the last second",
            ]
        );
        assert_eq!(lines.take_left_out(8), []);
        assert_eq!(passed("denied", 8), 0, "to be told does not begin a second");
    }

    #[test]
    fn a_kind_that_is_silent_is_forgotten_and_one_that_is_not_told_never() {
        let lines = Lines::default();
        for number in 0..2 {
            lines.passes(Level::Info, "flooding", 0, ONE, 1);
            lines.passes(Level::Info, "once", number, ONE, 1);
        }
        assert_eq!(lines.kinds.lock().len(), 3);
        assert_eq!(lines.take_left_out(9).len(), 1);
        assert_eq!(lines.kinds.lock().len(), 1);
        assert_eq!(lines.take_left_out(9), []);
        assert!(lines.kinds.lock().is_empty());
    }
}
