//! Mistakes: where each is, what it is, what was probably meant.
//!
//! Not here: what counts as a mistake, and how one is shown (`render`). Everything that reads a configuration puts its reports into one `Collector`
//! and goes on, so that all of them are shown at once.

use std::path::PathBuf;

use super::Origin;
use super::render::Reports;
use crate::printable;

/// After so many the rest is counted, not kept: a file of another kind has one on every line.
const REPORTS_MAX: usize = 1000;
/// How much of a wrong value a message repeats.
const QUOTED_CHARS_MAX: usize = 60;

/// A piece of one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Which source, as `Collector::add` numbered it.
    pub source: usize,
    /// From 1; 0 is the source as a whole.
    pub line: u32,
    /// `start <= end`, bytes in the line.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
}

impl Span {
    /// The source as a whole.
    pub fn whole(source: usize) -> Self {
        Self { source, line: 0, start: 0, end: 0 }
    }
}

/// A text that was read: a file, or the value of a flag.
#[derive(Debug, Clone)]
pub struct Source {
    /// As it was named.
    pub path: PathBuf,
    text: String,
    /// Where each line begins.
    starts: Vec<usize>,
    /// Then there is one line, and its number is nobody's business.
    pub is_flag: bool,
}

impl Source {
    /// A file and what is in it.
    pub fn file(path: PathBuf, text: String) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { path, text, starts, is_flag: false }
    }

    /// A flag as it was typed: `--from :8080`.
    pub fn flag(flag: &str, typed: String) -> Self {
        Self { path: PathBuf::from(flag), text: typed, starts: vec![0], is_flag: true }
    }

    /// `config.ini:12`; the name alone for the whole of it, and for a flag.
    pub fn place(&self, line: u32) -> String {
        match line {
            0 => self.path.display().to_string(),
            _ if self.is_flag => self.path.display().to_string(),
            line => format!("{}:{line}", self.path.display()),
        }
    }

    /// A line without its end.
    pub fn line(&self, number: u32) -> &str {
        let index = (number as usize).wrapping_sub(1);
        let Some(&start) = self.starts.get(index) else {
            return "";
        };
        if self.is_flag {
            return &self.text;
        }
        let end = self.starts.get(index + 1).map_or(self.text.len(), |next| next - 1);
        let line = self.text.get(start..end).unwrap_or_default();
        line.strip_suffix('\r').unwrap_or(line)
    }
}

/// A mistake inside of one value: bytes of that value, and what is wrong with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which bytes.
    pub at: std::ops::Range<usize>,
    /// One phrase.
    pub what: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Fault {
    /// The whole of `text` is wrong.
    pub fn whole(text: &str, what: impl Into<String>) -> Self {
        Self::part(0..text.len(), what)
    }

    /// Some bytes are.
    pub fn part(at: std::ops::Range<usize>, what: impl Into<String>) -> Self {
        Self { at, what: what.into(), help: None }
    }

    /// With a help, if there is one.
    pub fn help(mut self, help: impl Into<Option<String>>) -> Self {
        self.help = help.into();
        self
    }

    /// The same fault in a text in which this one begins at `offset`.
    pub fn shifted(mut self, offset: usize) -> Self {
        self.at = self.at.start + offset..self.at.end + offset;
        self
    }
}

/// One mistake.
#[derive(Debug, Clone)]
pub struct Report {
    /// Where.
    pub at: Span,
    /// One phrase.
    pub what: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Other places that belong to it.
    pub related: Vec<(Span, String)>,
}

impl Report {
    /// What is wrong, and where.
    pub fn new(at: Span, what: impl Into<String>) -> Self {
        Self { at, what: what.into(), help: None, related: Vec::new() }
    }

    /// With a help, if there is one.
    pub fn help(mut self, help: impl Into<Option<String>>) -> Self {
        self.help = help.into();
        self
    }

    /// With another place shown below.
    pub fn related(mut self, at: Span, label: &str) -> Self {
        self.related.push((at, label.to_owned()));
        self
    }
}

/// Where reports go while a configuration is read.
#[derive(Debug, Default)]
pub struct Collector {
    sources: Vec<Source>,
    reports: Vec<Report>,
    dropped: usize,
    /// A file could not be read: names may be missing that it would have given, and that is not reported again.
    pub is_incomplete: bool,
}

impl Collector {
    /// Keeps a source and numbers it.
    pub fn add(&mut self, source: Source) -> usize {
        self.sources.push(source);
        self.sources.len() - 1
    }

    /// A report, at once with all others.
    pub fn report(&mut self, report: Report) {
        if self.reports.len() < REPORTS_MAX {
            self.reports.push(report);
        } else {
            self.dropped += 1;
        }
    }

    /// `config.ini:12` for messages that name a second place.
    pub fn place(&self, at: Span) -> String {
        self.sources.get(at.source).map(|source| source.place(at.line)).unwrap_or_default()
    }

    /// A piece of a source as it was written.
    pub fn written(&self, at: Span) -> &str {
        self.sources.get(at.source).and_then(|source| source.line(at.line).get(at.start..at.end)).unwrap_or_default()
    }

    /// Where a value was written.
    pub fn origin(&self, at: Span) -> Origin {
        match self.sources.get(at.source) {
            Some(source) if !source.is_flag => Origin::File { file: source.path.clone(), line: at.line },
            _ => Origin::CommandLine,
        }
    }

    /// The verdict: `Err` if anything was reported.
    pub fn finish<T>(mut self, good: T) -> Result<T, Reports> {
        if self.reports.is_empty() {
            return Ok(good);
        }
        self.reports.sort_by_key(|report| (report.at.source, report.at.line, report.at.start));
        Err(Reports::new(self.sources, self.reports, self.dropped))
    }
}

/// `normal, batch or idle`
pub fn alternatives(words: &[&str]) -> String {
    match words.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => words.concat(),
    }
}

/// A wrong text as a message may repeat it: in backquotes, on one line, not too long.
pub fn quoted(text: &str) -> String {
    match text.trim().is_empty() {
        false => format!("`{}`", shown(text)),
        true if text.is_empty() => "an empty text".to_owned(),
        true => "a space".to_owned(),
    }
}

/// The same without the backquotes: what a terminal or a log might take for more than text is escaped.
pub fn shown(text: &str) -> String {
    let mut shown = String::new();
    text.chars().take(QUOTED_CHARS_MAX).for_each(|c| printable::push(&mut shown, c));
    if text.chars().nth(QUOTED_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}
