//! Mistakes: where each is, what it is, what was probably meant; one line for the log, a picture for a person.
//!
//! Not here: what counts as a mistake. Everything that reads a configuration puts its reports into one `Collector`
//! and goes on, so that all of them are shown at once.

use std::fmt;
use std::path::PathBuf;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, normalize_untrusted_str};

use super::Origin;

/// After so many the rest is counted, not kept: a file of another kind has one on every line.
const REPORTS_MAX: usize = 1000;
/// A longer line is named, not shown.
const SHOWN_LINE_BYTES_MAX: usize = 2000;
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
        Self {
            source,
            line: 0,
            start: 0,
            end: 0,
        }
    }
}

/// A text that was read: a file, or the value of a flag.
#[derive(Debug, Clone)]
pub struct Source {
    path: PathBuf,
    text: String,
    /// Where each line begins.
    starts: Vec<usize>,
    is_flag: bool,
}

impl Source {
    /// A file and what is in it.
    pub fn file(path: PathBuf, text: String) -> Self {
        let starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Self {
            path,
            text,
            starts,
            is_flag: false,
        }
    }

    /// A flag as it was typed: `--from :8080`.
    pub fn flag(flag: &str, typed: String) -> Self {
        Self {
            path: PathBuf::from(flag),
            text: typed,
            starts: vec![0],
            is_flag: true,
        }
    }

    /// A line without its end.
    fn line(&self, number: u32) -> &str {
        let index = (number as usize).wrapping_sub(1);
        let Some(&start) = self.starts.get(index) else {
            return "";
        };
        if self.is_flag {
            return &self.text;
        }
        let end = self
            .starts
            .get(index + 1)
            .map_or(self.text.len(), |next| next - 1);
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
        Self {
            at,
            what: what.into(),
            help: None,
        }
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
    at: Span,
    what: String,
    help: Option<String>,
    /// Other places that belong to it.
    related: Vec<(Span, String)>,
}

impl Report {
    /// What is wrong, and where.
    pub fn new(at: Span, what: impl Into<String>) -> Self {
        Self {
            at,
            what: what.into(),
            help: None,
            related: Vec::new(),
        }
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
        self.sources
            .get(at.source)
            .map(|source| source.place(at.line))
            .unwrap_or_default()
    }

    /// Where a value was written.
    pub fn origin(&self, at: Span) -> Origin {
        match self.sources.get(at.source) {
            Some(source) if !source.is_flag => Origin::File {
                file: source.path.clone(),
                line: at.line,
            },
            _ => Origin::CommandLine,
        }
    }

    /// The verdict: `Err` if anything was reported.
    pub fn finish<T>(mut self, good: T) -> Result<T, Reports> {
        if self.reports.is_empty() {
            return Ok(good);
        }
        self.reports
            .sort_by_key(|report| (report.at.source, report.at.line, report.at.start));
        Err(Reports {
            sources: self.sources,
            reports: self.reports,
            dropped: self.dropped,
        })
    }
}

impl Source {
    fn place(&self, line: u32) -> String {
        match line {
            0 => self.path.display().to_string(),
            _ if self.is_flag => self.path.display().to_string(),
            line => format!("{}:{line}", self.path.display()),
        }
    }
}

/// Every mistake of a configuration, in the order of the files.
#[derive(Debug)]
pub struct Reports {
    sources: Vec<Source>,
    reports: Vec<Report>,
    dropped: usize,
}

impl Reports {
    /// How many mistakes there are.
    #[allow(clippy::len_without_is_empty)] // There is never none.
    pub fn len(&self) -> usize {
        self.reports.len() + self.dropped
    }

    /// One line each, for a log: ``config.ini:12:3: unknown key `bakend` in [pool:app]; did you mean `backend`?``
    pub fn iter(&self) -> impl Iterator<Item = String> {
        let more = (self.dropped > 0).then(|| format!("and {} more", self.dropped));
        self.reports
            .iter()
            .map(|report| self.summary(report))
            .chain(more)
    }

    /// All of them for a person: message, file, line, caret, help.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let mut text = String::new();
        for report in &self.reports {
            text.push_str(&renderer.render(&[self.group(report)]));
            text.push_str("\n\n");
        }
        if self.dropped > 0 {
            text.push_str(&format!("and {} more\n", self.dropped));
        }
        text.truncate(text.trim_end_matches('\n').len());
        text.push('\n');
        text
    }

    fn summary(&self, report: &Report) -> String {
        let mut line = self
            .sources
            .get(report.at.source)
            .map_or_else(String::new, |source| {
                let place = source.place(report.at.line);
                if report.at.line == 0 || source.is_flag {
                    return place;
                }
                format!(
                    "{place}:{}",
                    column(source.line(report.at.line), report.at.start)
                )
            });
        line.push_str(": ");
        line.push_str(&report.what);
        if let Some(help) = &report.help {
            line.push_str("; ");
            line.push_str(help);
        }
        line
    }

    fn group<'a>(&'a self, report: &'a Report) -> Group<'a> {
        let mut group = Level::ERROR
            .primary_title(self.title(report))
            .elements(self.snippet(report.at, AnnotationKind::Primary, None));
        for (at, label) in &report.related {
            group = group.elements(self.snippet(*at, AnnotationKind::Context, Some(label)));
        }
        if let Some(help) = &report.help {
            group = group.element(Level::HELP.message(normalize_untrusted_str(help)));
        }
        group
    }

    /// The message; with its place where no line can be shown.
    fn title(&self, report: &Report) -> String {
        match self.sources.get(report.at.source) {
            Some(source)
                if report.at.line == 0
                    || source.line(report.at.line).len() > SHOWN_LINE_BYTES_MAX =>
            {
                let place = match report.at.line {
                    0 => source.place(0),
                    line => format!(
                        "{}:{}",
                        source.place(line),
                        column(source.line(line), report.at.start)
                    ),
                };
                format!("{place}: {}", report.what)
            }
            _ => report.what.clone(),
        }
    }

    fn snippet<'a>(
        &'a self,
        at: Span,
        kind: AnnotationKind,
        label: Option<&'a String>,
    ) -> Option<Snippet<'a, annotate_snippets::Annotation<'a>>> {
        let source = self.sources.get(at.source)?;
        let line = source.line(at.line);
        if at.line == 0 || line.len() > SHOWN_LINE_BYTES_MAX {
            return None;
        }
        let start = line.floor_char_boundary(at.start);
        let end = line.ceil_char_boundary(at.end.max(start));
        let snippet = Snippet::source(line)
            .line_start(at.line as usize)
            .annotation(kind.span(start..end).label(label));
        Some(if source.is_flag {
            snippet.line_numbering(false)
        } else {
            snippet.path(source.path.display().to_string())
        })
    }
}

impl fmt::Display for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Reports {}

/// Columns count characters, from 1.
fn column(line: &str, byte: usize) -> usize {
    line.get(..line.floor_char_boundary(byte))
        .unwrap_or_default()
        .chars()
        .count()
        + 1
}

/// A wrong text as a message may repeat it: in backquotes, on one line, not too long.
pub fn quoted(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(QUOTED_CHARS_MAX)
        .flat_map(escaped)
        .collect();
    if text.chars().nth(QUOTED_CHARS_MAX).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

fn escaped(c: char) -> impl Iterator<Item = char> {
    // `escape_debug` also escapes quotes, which are harmless here.
    let plain = (!c.is_control()).then_some(c);
    plain.into_iter().chain(
        c.is_control()
            .then(|| c.escape_debug())
            .into_iter()
            .flatten(),
    )
}
