//! Mistakes as they are shown: one line each for the log, a picture each for a person.
//!
//! A message may repeat what somebody wrote, and a path be called anything: all of it is escaped here, on its way out.
//!
//! Not here: what they are (`diagnostics`).

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};

use super::diagnostics::{Report, Source, Span};
use crate::printable::{self, printable};

/// A longer line is named, not shown.
const SHOWN_LINE_BYTES_MAX: usize = 2000;

/// Every mistake of a configuration, in the order of the files.
#[derive(Debug)]
pub struct Reports {
    sources: Vec<Source>,
    reports: Vec<Report>,
    dropped: usize,
}

impl Reports {
    /// What a `Collector` has: at least one report.
    pub(super) fn new(sources: Vec<Source>, reports: Vec<Report>, dropped: usize) -> Self {
        Self { sources, reports, dropped }
    }

    /// How many mistakes there are.
    #[allow(clippy::len_without_is_empty)] // There is never none.
    pub fn len(&self) -> usize {
        self.reports.len() + self.dropped
    }

    /// One line each, for a log: ``config.ini:12:3: unknown key `bakend` in [pool:app]; did you mean `backend`?``
    pub fn iter(&self) -> impl Iterator<Item = String> {
        let more = (self.dropped > 0).then(|| format!("and {} more", self.dropped));
        self.reports.iter().map(|report| self.summary(report)).chain(more)
    }

    /// All of them for a person: message, file, line, caret, help.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for report in &self.reports {
            text.push_str(&self.picture(&renderer, report));
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
        let mut line = format!("{}: {}", self.place(report), report.what);
        if let Some(help) = &report.help {
            line.push_str("; ");
            line.push_str(help);
        }
        printable(&line).into_owned()
    }

    /// `config.ini:12:3`, or the name alone.
    fn place(&self, report: &Report) -> String {
        let Some(source) = self.sources.get(report.at.source) else {
            return String::new();
        };
        let place = source.place(report.at.line);
        if report.at.line == 0 || source.is_flag {
            return place;
        }
        format!("{place}:{}", column(source.line(report.at.line), report.at.start))
    }

    /// The renderer counts columns in the line as it is shown; who goes to that place needs those of the file.
    fn picture(&self, renderer: &Renderer, report: &Report) -> String {
        let mut picture = renderer.render(&[self.group(report)]);
        for at in std::iter::once(report.at).chain(report.related.iter().map(|(at, _)| *at)) {
            let Some(source) = self.sources.get(at.source) else { continue };
            let (line, place) = (source.line(at.line), printable(&source.place(at.line)).into_owned());
            let before = pictured(line.get(..line.floor_char_boundary(at.start)).unwrap_or_default());
            let (shown, real) = (column(&before, before.len()), column(line, at.start));
            if shown != real {
                picture = picture.replacen(&format!("{place}:{shown}"), &format!("{place}:{real}"), 1);
            }
        }
        picture
    }

    fn group<'a>(&'a self, report: &'a Report) -> Group<'a> {
        let mut group = Level::ERROR.primary_title(self.title(report)).elements(self.snippet(
            report.at,
            AnnotationKind::Primary,
            None,
        ));
        for (at, label) in &report.related {
            group = group.elements(self.snippet(*at, AnnotationKind::Context, Some(label)));
        }
        if let Some(help) = &report.help {
            group = group.element(Level::HELP.message(printable(help)));
        }
        group
    }

    /// The message; with its place where no line can be shown.
    fn title<'a>(&self, report: &'a Report) -> Cow<'a, str> {
        match self.snippet(report.at, AnnotationKind::Primary, None) {
            Some(_) => printable(&report.what),
            None => Cow::Owned(printable(&format!("{}: {}", self.place(report), report.what)).into_owned()),
        }
    }

    fn snippet<'a>(
        &'a self,
        at: Span,
        kind: AnnotationKind,
        label: Option<&'a String>,
    ) -> Option<Snippet<'a, Annotation<'a>>> {
        let source = self.sources.get(at.source)?;
        let line = source.line(at.line);
        if at.line == 0 || line.len() > SHOWN_LINE_BYTES_MAX {
            return None;
        }
        let start = line.floor_char_boundary(at.start);
        let end = line.ceil_char_boundary(at.end.max(start));
        let part = |range: Range<usize>| pictured(line.get(range).unwrap_or_default());
        let (before, marked, after) = (part(0..start), part(start..end), part(end..line.len()));
        let span = before.len()..before.len() + marked.len();
        let snippet = Snippet::source(before + &marked + &after)
            .line_start(at.line as usize)
            .annotation(kind.span(span).label(label.map(|label| printable(label))));
        Some(if source.is_flag {
            snippet.line_numbering(false)
        } else {
            snippet.path(printable(&source.path.display().to_string()).into_owned())
        })
    }
}

impl fmt::Display for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Reports {}

/// A piece of a line in a picture; the renderer has its own way with tabs.
fn pictured(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => shown.push(c),
            c => printable::push(&mut shown, c),
        }
    }
    shown
}

/// Columns count characters, from 1.
fn column(line: &str, byte: usize) -> usize {
    line.get(..line.floor_char_boundary(byte)).unwrap_or_default().chars().count() + 1
}
