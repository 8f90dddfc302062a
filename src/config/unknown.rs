//! What is not of this dialect or not in the table, and what was probably meant by it.
//!
//! Where that is clear the reader goes on with what was meant: one slip is one report.

use super::diagnostics::{Fault, Report, Span, quoted};
use super::schema::{self, Key, SectionKind};
use super::section::Section;
use super::suggest;

/// A header that is not `[TYPE]` or `[TYPE:NAME]` alone on its line; `at` is the line, `raw` may lack its brackets.
pub fn bad_section(raw: &str, at: Span) -> Report {
    match raw.split_once(']') {
        Some((_, after)) if after.trim_start().starts_with(['#', ';']) => {
            let bracket = usize::from(!raw.starts_with('['));
            let start = at.end.saturating_sub(after.trim().len() + bracket).max(at.start);
            Report::new(Span { start, ..at }, "a comment begins a line; it cannot follow a section")
        }
        _ => Report::new(at, "a section is written [TYPE] or [TYPE:NAME], alone on its line"),
    }
}

/// A type that there is not.
pub fn section(word: &str, name: Option<&str>, at: Span) -> (Report, Option<SectionKind>) {
    let nearest = suggest::nearest(word, SectionKind::ALL.map(SectionKind::word));
    let meant = SectionKind::ALL.into_iter().find(|kind| Some(kind.word()) == nearest);
    let help = match (meant, name) {
        (Some(kind), Some(name)) if kind.is_named() => {
            format!("did you mean [{}:{name}]?", kind.word())
        }
        (Some(kind), _) => format!("did you mean {}?", kind.title()),
        (None, _) => format!("there are {}", SectionKind::ALL.map(SectionKind::title).join(" ")),
    };
    (Report::new(at, format!("unknown section type {}", quoted(word))).help(help), meant)
}

/// A key that its section has not.
pub fn key(section: &Section, word: &str, at: Span) -> (Report, Option<&'static Key>) {
    let names = || section.kind.keys().map(|key| key.name);
    let mut meant = None;
    let help = if word == schema::INCLUDE {
        "`include` belongs at the top, before every section".to_owned()
    } else if let Some(homes) = homes(word) {
        format!("`{word}` belongs in {homes}")
    } else if let Some(nearest) = suggest::nearest(word, names()) {
        meant = section.kind.keys().find(|key| key.name == nearest);
        format!("did you mean `{nearest}`?")
    } else {
        let elsewhere = suggest::nearest(word, schema::KEYS.iter().map(|key| key.name));
        match elsewhere.and_then(|nearest| homes(nearest).map(|homes| (nearest, homes))) {
            Some((nearest, homes)) => {
                format!("did you mean `{nearest}`, which belongs in {homes}?")
            }
            None => format!("its keys are {}", names().collect::<Vec<_>>().join(", ")),
        }
    };
    (Report::new(at, format!("unknown key {} in {}", quoted(word), section.title())).help(help), meant)
}

/// The sections that have such a key: `[timeouts] or [route:NAME]`.
pub fn homes(word: &str) -> Option<String> {
    let titles: Vec<_> = schema::KEYS.iter().filter(|key| key.name == word).map(|key| key.section.title()).collect();
    (!titles.is_empty()).then(|| titles.join(" or "))
}

/// What other dialects allow and this one does not: comments behind values, and quotes around them.
pub fn dialect(key: &Key, written: &str) -> Option<Fault> {
    if key.kind.is_free_text() {
        return None;
    }
    let inner = written.strip_prefix('"').and_then(|inner| inner.strip_suffix('"'));
    let quotes = inner.map(|inner| {
        Fault::whole(written, "values are written without quotes").help(match key.kind.may_hold_secret() {
            true => "take them away".to_owned(),
            false => format!("did you mean {}?", quoted(inner)),
        })
    });
    trailing_comment(written).or(quotes)
}

/// ` # note` behind a value.
pub fn trailing_comment(written: &str) -> Option<Fault> {
    let mut before = ' ';
    for (at, c) in written.char_indices() {
        if matches!(c, '#' | ';') && before.is_ascii_whitespace() {
            let comment = quoted(written.get(at..).unwrap_or_default());
            let what = format!("a comment begins a line; here {comment} would belong to the value");
            return Some(Fault::part(at..written.len(), what).help("put it on a line of its own".to_owned()));
        }
        before = c;
    }
    None
}
