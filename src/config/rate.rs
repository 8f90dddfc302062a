//! `requests_per_second`: `N`, or `N burst=M`.
//!
//! Not here: what is done with it (`crate::rate`).

use super::address::{digits, words};
use super::diagnostics::{Fault, quoted};
use super::suggest;
use crate::rate::Rate;

/// The most of both numbers.
const MAX: u32 = 1_000_000;

/// Reads one. Without a burst a bucket holds what comes into it in a second.
pub fn rate(text: &str) -> Result<Rate, Fault> {
    let mut words = words(text);
    let (at, first) = words.next().unwrap_or((0, text));
    let number = |digits: Option<u32>| digits.filter(|number| (1..=MAX).contains(number));
    let per_second = number(digits(first)).ok_or_else(|| {
        let what = format!("`requests_per_second` is 1 to {MAX}, not {}", quoted(first));
        Fault::part(at..at + first.len(), what).help("write 10 or 10 burst=50".to_owned())
    })?;
    let mut burst = None;
    for (at, word) in words {
        let fault = |what: String| Fault::part(at..at + word.len(), what);
        let Some((name, value)) = word.split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty())
        else {
            return Err(fault(format!("{} is not an option of `requests_per_second`", quoted(word)))
                .help("write `burst=M`, without spaces".to_owned()));
        };
        if name != "burst" {
            let what = format!("unknown option {} of `requests_per_second`", quoted(name));
            return Err(fault(what).help(suggest::did_you_mean(name, ["burst"])));
        }
        if burst.is_some() {
            return Err(fault("`burst` is given twice".to_owned()));
        }
        burst = Some(number(digits(value)).ok_or_else(|| fault(format!("`burst` is 1 to {MAX}")))?);
    }
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
