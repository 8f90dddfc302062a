//! Files to sections: includes followed, values substituted, every section, key and name known, each once.
//!
//! Not here: what a value means (`build`).

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::diagnostics::{Collector, Fault, Report, Source, Span, quoted};
use super::include::{self, FILES_MAX};
use super::schema::{self, Key, SectionKind};
use super::source::{self, Identity};
use super::substitute::{Environment, Value, substitute};
use super::suggest;
use super::syntax::{self, Line};

/// The longest name of a listen, a route or a pool: it is in every line of the access log.
const NAME_BYTES_MAX: usize = 64;

/// One section with the keys that are its own.
#[derive(Debug, Clone)]
pub struct Section {
    /// What it is.
    pub kind: SectionKind,
    /// Empty where there is none.
    pub name: String,
    /// Its header.
    pub at: Span,
    /// In order; a key that is not a list is here once.
    pub entries: Vec<Entry>,
}

/// One key that was given.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its row.
    pub key: &'static Key,
    /// Where the key is.
    pub at: Span,
    /// `None`: there was a mistake in it, which has been reported.
    pub value: Option<Value>,
}

impl Section {
    /// A section that may as well not be there.
    pub fn new(kind: SectionKind, name: String, at: Span) -> Self {
        Self {
            kind,
            name,
            at,
            entries: Vec::new(),
        }
    }

    /// `[pool:app]`
    pub fn title(&self) -> String {
        if self.kind.is_named() {
            format!("[{}:{}]", self.kind.word(), self.name)
        } else {
            self.kind.title().to_owned()
        }
    }

    /// Every line of a key.
    pub fn all(&self, key: &'static Key) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.key == key)
    }

    /// The line of a key that is not a list.
    pub fn one(&self, key: &'static Key) -> Option<&Entry> {
        self.all(key).next()
    }
}

/// What the main file and all it includes hold, in order.
pub fn read(collector: &mut Collector, main: &Path, env: Environment<'_>) -> Vec<Section> {
    let mut reader = Reader::new(collector, env, true);
    reader.file(main, None);
    reader.sections
}

/// The same of a text; it may not include.
pub fn read_str(
    collector: &mut Collector,
    name: &str,
    text: &str,
    env: Environment<'_>,
) -> Vec<Section> {
    let mut reader = Reader::new(collector, env, false);
    reader.bytes(PathBuf::from(name), text.as_bytes().to_vec());
    reader.sections
}

struct Reader<'a> {
    collector: &'a mut Collector,
    env: Environment<'a>,
    may_include: bool,
    sections: Vec<Section>,
    /// Where each section was first.
    first: HashMap<(SectionKind, String), Span>,
    /// Files that have been read: each once, so includes cannot go in circles.
    files: HashSet<Identity>,
}

/// Where in a file the reader is.
enum Position {
    /// Before the first section: includes only.
    Top,
    /// In the last of `sections`.
    Section,
    /// In a section that is none of ours: its keys are not looked at.
    Unknown,
}

impl<'a> Reader<'a> {
    fn new(collector: &'a mut Collector, env: Environment<'a>, may_include: bool) -> Self {
        let (sections, first, files) = (Vec::new(), HashMap::new(), HashSet::new());
        Self {
            collector,
            env,
            may_include,
            sections,
            first,
            files,
        }
    }

    /// `from` is where it was included.
    fn file(&mut self, path: &Path, from: Option<Span>) {
        let read = source::open(path).and_then(|(file, identity)| {
            if !self.files.insert(identity) {
                return Ok(None);
            }
            if self.files.len() > FILES_MAX {
                return Err(format!("is one file too many: {FILES_MAX} at most"));
            }
            source::bytes(file).map(Some)
        });
        match read {
            Ok(Some(bytes)) => self.bytes(path.to_owned(), bytes),
            Ok(None) => {}
            Err(what) => {
                self.collector.is_incomplete = true;
                let report = match from {
                    Some(at) => Report::new(at, format!("{}: {what}", path.display())),
                    None => {
                        let source = self
                            .collector
                            .add(Source::file(path.to_owned(), String::new()));
                        Report::new(Span::whole(source), what)
                    }
                };
                self.collector.report(report);
            }
        }
    }

    fn bytes(&mut self, path: PathBuf, bytes: Vec<u8>) {
        match source::text(bytes) {
            Ok(text) => {
                let base = path.parent().unwrap_or(Path::new("")).to_owned();
                let source = self.collector.add(Source::file(path, text.clone()));
                self.lines(source, &text, &base);
            }
            Err(bad) => {
                self.collector.is_incomplete = true;
                let source = self.collector.add(Source::file(path, bad.lossy));
                let at = Span {
                    source,
                    line: bad.line,
                    start: bad.at.start,
                    end: bad.at.end,
                };
                self.collector.report(Report::new(at, bad.what));
            }
        }
    }

    fn lines(&mut self, source: usize, text: &str, base: &Path) {
        let mut position = Position::Top;
        for line in syntax::lines(source, text) {
            match line {
                Line::Section { inner, at } => position = self.section(inner, at),
                Line::BadSection { raw, at } => {
                    self.collector.report(bad_section(raw, at));
                    position = Position::Unknown;
                }
                Line::Property {
                    key,
                    key_at,
                    value,
                    value_at,
                } => {
                    let Some(value) = self.written(key, key_at, value, value_at) else {
                        continue;
                    };
                    match position {
                        Position::Top if key == schema::INCLUDE => {
                            self.include(value, value_at, base)
                        }
                        Position::Top => self.stray(key, key_at),
                        Position::Section => self.entry(key, key_at, value, value_at),
                        Position::Unknown => {}
                    }
                }
            }
        }
    }

    /// The value of a line that has both key and value.
    fn written<'v>(
        &mut self,
        key: &str,
        key_at: Span,
        value: Option<&'v str>,
        value_at: Span,
    ) -> Option<&'v str> {
        let report = match value {
            _ if key.is_empty() => Report::new(
                Span {
                    end: key_at.start + 1,
                    ..key_at
                },
                "there is no key before `=`",
            ),
            None => Report::new(
                key_at,
                format!("{} is neither a section nor `key = value`", quoted(key)),
            ),
            Some("") => Report::new(value_at, format!("{} has no value", quoted(key)))
                .help("leave the line out for the default".to_owned()),
            Some(value) => return Some(value),
        };
        self.collector.report(report);
        None
    }

    fn section(&mut self, inner: &str, at: Span) -> Position {
        let (word, name) = match inner.split_once(':') {
            Some((word, name)) => (word, Some(name)),
            None => (inner, None),
        };
        let Some(kind) = SectionKind::ALL
            .into_iter()
            .find(|kind| kind.word() == word)
        else {
            self.collector.report(unknown_section(inner, word, at));
            return Position::Unknown;
        };
        let name = match (kind.is_named(), name) {
            (true, Some(name)) if is_name(name) => name,
            (true, Some(name)) => {
                let what = format!(
                    "{} is not a name: 1 to {NAME_BYTES_MAX} of letters, digits, `.`, `_`, `-`",
                    quoted(name)
                );
                self.collector.report(Report::new(at, what));
                name
            }
            (true, None) => {
                let what = format!("[{word}] needs a name: {}", kind.title());
                self.collector.report(Report::new(at, what));
                ""
            }
            (false, Some(_)) => {
                self.collector
                    .report(Report::new(at, format!("{} has no name", kind.title())));
                ""
            }
            (false, None) => "",
        };
        let section = Section::new(kind, name.to_owned(), at);
        match self.first.get(&(kind, name.to_owned())) {
            Some(&first) if !name.is_empty() || !kind.is_named() => {
                let what = format!(
                    "{} is given twice, first at {}",
                    section.title(),
                    self.collector.place(first)
                );
                self.collector
                    .report(Report::new(at, what).related(first, "first here"));
            }
            Some(_) => {}
            None => {
                self.first.insert((kind, name.to_owned()), at);
            }
        }
        // A second one is kept as well: what is wrong in it is reported now, not after the first has been mended.
        self.sections.push(section);
        Position::Section
    }

    fn entry(&mut self, word: &str, at: Span, written: &str, value_at: Span) {
        let Some(section) = self.sections.last_mut() else {
            return;
        };
        let Some(key) = section.kind.keys().find(|key| key.name == word) else {
            let report = unknown_key(section, word, at);
            self.collector.report(report);
            return;
        };
        if let Some(first) = section.one(key).filter(|_| !key.list).map(|first| first.at) {
            let title = section.title();
            let place = self.collector.place(first);
            let what = format!("`{word}` is given twice in {title}, first at {place}");
            self.collector
                .report(Report::new(at, what).related(first, "first here"));
            return;
        }
        let value = match misplaced(key, written) {
            Some(fault) => Err(vec![fault]),
            None => substitute(written, value_at, self.env),
        };
        let value = match value {
            Ok(value) if value.text.trim().is_empty() => {
                let what = format!("`{word}` has no value: its variables are empty");
                self.collector.report(Report::new(value_at, what));
                None
            }
            Ok(value) => Some(value),
            Err(faults) => {
                report_all(self.collector, written, value_at, faults);
                None
            }
        };
        section.entries.push(Entry { key, at, value });
    }

    fn include(&mut self, written: &str, at: Span, base: &Path) {
        if !self.may_include {
            self.collector
                .report(Report::new(at, "`include` needs a file to be relative to"));
            return;
        }
        let value = match trailing_comment(written) {
            Some(fault) => Err(vec![fault]),
            None => substitute(written, at, self.env),
        };
        let value = match value {
            Ok(value) => value,
            Err(faults) => {
                self.collector.is_incomplete = true;
                return report_all(self.collector, written, at, faults);
            }
        };
        match include::expand(base, &value.text) {
            Ok(paths) => paths.iter().for_each(|path| self.file(path, Some(at))),
            Err(what) => {
                self.collector.is_incomplete = true;
                self.collector.report(Report::new(at, what));
            }
        }
    }

    /// A key before every section that is not `include`.
    fn stray(&mut self, word: &str, at: Span) {
        let help = match homes(word) {
            Some(homes) => Some(format!("`{word}` belongs in {homes}")),
            None => suggest::did_you_mean(word, [schema::INCLUDE]),
        };
        let what = format!(
            "{} is before every section; only `include` may be",
            quoted(word)
        );
        self.collector.report(Report::new(at, what).help(help));
    }
}

fn report_all(collector: &mut Collector, written: &str, at: Span, faults: Vec<Fault>) {
    let value = Value::literal(written, at);
    for fault in faults {
        collector.report(Report::new(value.span(&fault.at), fault.what).help(fault.help));
    }
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn bad_section(raw: &str, at: Span) -> Report {
    match raw.split_once(']') {
        Some((_, after)) if after.trim_start().starts_with(['#', ';']) => {
            let start = at.start + raw.len() - after.trim_start().len();
            Report::new(
                Span { start, ..at },
                "a comment begins a line; it cannot follow a section",
            )
        }
        _ => Report::new(
            at,
            "a section is written [TYPE] or [TYPE:NAME], alone on its line",
        ),
    }
}

fn unknown_section(inner: &str, word: &str, at: Span) -> Report {
    // `[listen:http] # see [1]` ends in a bracket as well.
    if let Some((_, after)) = inner.split_once(']')
        && after.trim_start().starts_with(['#', ';'])
    {
        return Report::new(at, "a comment begins a line; it cannot follow a section");
    }
    let meant = suggest::nearest(word, SectionKind::ALL.map(SectionKind::word));
    let kind = SectionKind::ALL
        .into_iter()
        .find(|kind| Some(kind.word()) == meant);
    let help = match kind {
        Some(kind) => format!("did you mean `{}`?", kind.title()),
        None => format!(
            "sections are {}",
            SectionKind::ALL.map(SectionKind::title).join(" ")
        ),
    };
    Report::new(
        at,
        format!("unknown section {}", quoted(&format!("[{inner}]"))),
    )
    .help(help)
}

fn unknown_key(section: &Section, word: &str, at: Span) -> Report {
    let here = section.kind.keys().map(|key| key.name);
    let help = if word == schema::INCLUDE {
        Some("`include` belongs at the top, before every section".to_owned())
    } else if let Some(homes) = homes(word) {
        Some(format!("`{word}` belongs in {homes}"))
    } else if let Some(meant) = suggest::did_you_mean(word, here) {
        Some(meant)
    } else {
        let meant = suggest::nearest(word, schema::KEYS.iter().map(|key| key.name));
        meant.and_then(|meant| {
            homes(meant).map(|homes| format!("did you mean `{meant}`, which belongs in {homes}?"))
        })
    };
    Report::new(
        at,
        format!("unknown key {} in {}", quoted(word), section.title()),
    )
    .help(help)
}

/// The sections that have such a key: `[timeouts] or [route:NAME]`.
fn homes(word: &str) -> Option<String> {
    let titles: Vec<_> = schema::KEYS
        .iter()
        .filter(|key| key.name == word)
        .map(|key| key.section.title())
        .collect();
    (!titles.is_empty()).then(|| titles.join(" or "))
}

/// What other dialects allow and this one does not: comments behind values, and quotes around them.
fn misplaced(key: &Key, written: &str) -> Option<Fault> {
    if key.kind.is_free_text() {
        return None;
    }
    let inner = written
        .strip_prefix('"')
        .and_then(|inner| inner.strip_suffix('"'));
    let quotes = inner.map(|inner| {
        Fault::whole(written, "values are written without quotes")
            .help(format!("did you mean {}?", quoted(inner)))
    });
    trailing_comment(written).or(quotes)
}

fn trailing_comment(written: &str) -> Option<Fault> {
    let mut before = ' ';
    for (at, c) in written.char_indices() {
        if matches!(c, '#' | ';') && before.is_ascii_whitespace() {
            let comment = quoted(written.get(at..).unwrap_or_default());
            let what = format!("a comment begins a line; here {comment} would belong to the value");
            return Some(
                Fault::part(at..written.len(), what).help("put it on a line of its own".to_owned()),
            );
        }
        before = c;
    }
    None
}
