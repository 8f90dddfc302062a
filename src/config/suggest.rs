//! What was probably meant: the nearest of the words that would have been right.
//!
//! Not here: which words those are; each caller knows.

/// Below this Jaro-Winkler likeness a suggestion is noise: `port` and `pool` score 0.73, `bakend` and `backend` 0.96.
const LIKENESS_MIN: f64 = 0.8;
/// The longest name there is; a longer word was not a slip of the finger, and comparing is quadratic.
const WORD_BYTES_MAX: usize = 64;
/// A file with more names than this gets suggestions from the first of them.
const CANDIDATES_MAX: usize = 1000;

/// The candidate most like `word`, if one is like it at all. Case is no difference.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.is_empty() || word.len() > WORD_BYTES_MAX {
        return None;
    }
    let word = word.to_ascii_lowercase();
    let mut best: Option<(f64, &str)> = None;
    for candidate in candidates.into_iter().take(CANDIDATES_MAX) {
        let likeness = strsim::jaro_winkler(&word, &candidate.to_ascii_lowercase());
        // The first of equals stays, so that the order of the table decides.
        if likeness >= LIKENESS_MIN && best.is_none_or(|(most, _)| likeness > most) {
            best = Some((likeness, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// `did you mean `x`?` for the nearest.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let keys = ["backend", "balance", "keepalive"];
        assert_eq!(nearest("bakend", keys), Some("backend"));
        assert_eq!(nearest("Backend", keys), Some("backend"));
        assert_eq!(nearest("keep_alive", keys), Some("keepalive"));
        assert_eq!(nearest("upstream", keys), None);
        assert_eq!(nearest("port", ["pool"]), None);
        assert_eq!(nearest(&"b".repeat(65), keys), None);
    }
}
