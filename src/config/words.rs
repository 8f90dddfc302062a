//! Words of a value, and the option `NAME=N` that may come after the first of them.
//!
//! Not here: what the first word is (`address`, `rate`).

use std::ops::RangeInclusive;

use super::diagnostics::{Fault, quoted};
use super::suggest;

/// Digits only: `parse` alone would take `+80`.
pub fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Words and where they begin.
pub fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let blank = |c: char| c.is_ascii_whitespace();
    let mut from = 0;
    std::iter::from_fn(move || {
        let rest = text.get(from..)?;
        let start = from + rest.find(|c| !blank(c))?;
        let rest = text.get(start..)?;
        let word = rest.get(..rest.find(blank).unwrap_or(rest.len()))?;
        from = start + word.len();
        Some((start, word))
    })
}

/// The one option that `owner` may have, in `words`: its name, the letter that stands for its number, and the range of that.
pub fn option<'t>(
    words: impl Iterator<Item = (usize, &'t str)>,
    owner: &str,
    (option, letter): (&'static str, &str),
    range: RangeInclusive<u32>,
) -> Result<Option<u32>, Fault> {
    let mut given = None;
    for (at, word) in words {
        let fault = |what: String| Fault::part(at..at + word.len(), what);
        let Some((name, number)) = word.split_once('=').filter(|(name, number)| !name.is_empty() && !number.is_empty())
        else {
            return Err(fault(format!("{} is not an option of {owner}", quoted(word)))
                .help(format!("write `{option}={letter}`, without spaces")));
        };
        if name != option {
            let what = format!("unknown option {} of {owner}", quoted(name));
            return Err(fault(what).help(suggest::did_you_mean(name, [option])));
        }
        if given.is_some() {
            return Err(fault(format!("`{option}` is given twice")));
        }
        let number = digits(number).filter(|number| range.contains(number));
        let (least, most) = (range.start(), range.end());
        given = Some(number.ok_or_else(|| fault(format!("`{option}` is {least} to {most}")))?);
    }
    Ok(given)
}
