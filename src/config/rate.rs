//! `requests_per_second`: `N`, or `N burst=M`.
//!
//! Not here: what is done with it (`crate::rate`).

use super::diagnostics::{Fault, quoted};
use super::words::{digits, option, words};
use crate::rate::Rate;

/// The most of both numbers.
const MAX: u32 = 1_000_000;

/// Reads one. Without a burst a bucket holds what comes into it in a second.
pub fn rate(text: &str) -> Result<Rate, Fault> {
    let mut words = words(text);
    let (at, first) = words.next().unwrap_or((0, text));
    let per_second = digits(first).filter(|number| (1..=MAX).contains(number)).ok_or_else(|| {
        let what = format!("`requests_per_second` is 1 to {MAX}, not {}", quoted(first));
        Fault::part(at..at + first.len(), what).help("write 10 or 10 burst=50".to_owned())
    })?;
    let burst = option(words, "`requests_per_second`", ("burst", "M"), 1..=MAX)?;
    Ok(Rate { per_second, burst: burst.unwrap_or(per_second) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_their_bursts() {
        for (text, per_second, burst) in
            [("1", 1, 1), ("10", 10, 10), ("10 burst=1", 10, 1), ("1000000\tburst=1000000", 1_000_000, 1_000_000)]
        {
            assert_eq!(rate(text), Ok(Rate { per_second, burst }), "{text}");
        }
        for bad in [
            "",
            "0",
            "+1",
            "1.5",
            "1/s",
            "1000001",
            "99999999999999999999",
            "burst=3",
            "1 burst=0",
            "1 burst=1000001",
            "1 burst = 3",
            "1 burst=",
            "1 bursts=3",
            "1 3",
            "1 burst=2 burst=2",
        ] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }
}
