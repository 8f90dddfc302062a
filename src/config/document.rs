//! Files to sections: includes followed, values substituted, every section, key and name known, each once.
//!
//! Not here: what a value means (`build`).

use std::collections::{HashMap, HashSet, hash_map};
use std::path::{Path, PathBuf};

use super::diagnostics::{Collector, Fault, Report, Source, Span, quoted};
use super::include::{self, FILES_MAX};
use super::schema::{self, SectionKind};
use super::section::{Entry, NAME_BYTES_MAX, Section, is_name};
use super::source::{self, Identity};
use super::substitute::{Environment, Value, substitute};
use super::suggest;
use super::syntax::{self, Line};
use super::unknown;

/// What the main file and all it includes hold, in order.
pub fn read(collector: &mut Collector, main: &Path, env: Environment<'_>) -> Vec<Section> {
    let mut reader = Reader::new(collector, env, true);
    reader.file(main, None);
    reader.sections
}

/// The same of a text; it may not include.
pub fn read_str(collector: &mut Collector, name: &str, text: &str, env: Environment<'_>) -> Vec<Section> {
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
        Self { collector, env, may_include, sections, first, files }
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
                        let source = self.collector.add(Source::file(path.to_owned(), String::new()));
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
                let at = Span { source, line: bad.line, start: bad.at.start, end: bad.at.end };
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
                    self.collector.report(unknown::bad_section(raw, at));
                    // Read on as if it had been closed: what follows is meant to be in a section.
                    let inner = raw.trim_start_matches('[').split(']').next().unwrap_or_default();
                    position = self.section(inner, at);
                }
                Line::Property { key, key_at, value, value_at } => {
                    let Some(value) = self.written(key, key_at, value, value_at) else {
                        continue;
                    };
                    match position {
                        Position::Top | Position::Unknown if value.is_empty() => {}
                        Position::Section => self.entry(key, key_at, value, value_at),
                        Position::Top if key == schema::INCLUDE => self.include(value, value_at, base),
                        Position::Top => self.stray(key, key_at),
                        Position::Unknown => {}
                    }
                }
            }
        }
    }

    /// The value of a line that has both key and value; empty if it has been reported.
    fn written<'v>(&mut self, key: &str, key_at: Span, value: Option<&'v str>, value_at: Span) -> Option<&'v str> {
        if key.is_empty() {
            let at = Span { end: key_at.start + 1, ..key_at };
            self.collector.report(Report::new(at, "there is no key before `=`"));
            return None;
        }
        match value {
            None => {
                let what = format!("{} is neither a section nor `key = value`", quoted(key));
                self.collector.report(Report::new(key_at, what));
            }
            Some("") => {
                self.collector.report(Report::new(value_at, format!("{} has no value", quoted(key))));
            }
            Some(_) => {}
        }
        Some(value.unwrap_or_default())
    }

    fn section(&mut self, inner: &str, at: Span) -> Position {
        // `[listen:http] # see [1]` ends in a bracket as well.
        if let Some((before, _)) = inner.split_once(']') {
            self.collector.report(unknown::bad_section(inner, at));
            return self.section(before, at);
        }
        let (word, name) = match inner.split_once(':') {
            Some((word, name)) => (word, Some(name)),
            None => (inner, None),
        };
        let kind = match SectionKind::ALL.into_iter().find(|kind| kind.word() == word) {
            Some(kind) => kind,
            None => {
                let (report, meant) = unknown::section(word, name.filter(|name| is_name(name)), at);
                self.collector.report(report);
                match meant {
                    // Read on as what was meant, so that its keys are checked and its name is known.
                    Some(kind) => kind,
                    None => return Position::Unknown,
                }
            }
        };
        let fault = match (kind.is_named(), name) {
            (true, None | Some("")) => Some(format!("a {0} needs a name: [{0}:NAME]", kind.word())),
            (true, Some(name)) if !is_name(name) => {
                Some(format!("{} is not a name: 1 to {NAME_BYTES_MAX} of letters, digits, `.`, `_`, `-`", quoted(name)))
            }
            (false, Some(_)) => Some(format!("{} takes no name", kind.title())),
            _ => None,
        };
        if let Some(what) = fault {
            self.collector.report(Report::new(at, what));
        }
        let name = name.filter(|_| kind.is_named()).unwrap_or_default();
        self.once(Section::new(kind, name.to_owned(), at));
        Position::Section
    }

    /// A second section of one name is kept: what is wrong in it is reported now, not after the first has been mended.
    fn once(&mut self, section: Section) {
        match self.first.entry((section.kind, section.name.clone())) {
            hash_map::Entry::Vacant(vacant) => drop(vacant.insert(section.at)),
            hash_map::Entry::Occupied(first) => {
                let first = *first.get();
                let place = self.collector.place(first);
                let what = format!("{} is given twice, first at {place}", section.title());
                self.collector.report(Report::new(section.at, what).related(first, "first here"));
            }
        }
        self.sections.push(section);
    }

    /// An empty value has been reported.
    fn entry(&mut self, word: &str, at: Span, written: &str, value_at: Span) {
        let Some(section) = self.sections.last_mut() else {
            return;
        };
        let key = match section.kind.keys().find(|key| key.name == word) {
            Some(key) => key,
            // A line that is no property at all has had its report; a known key without a value is still there.
            None if written.is_empty() => return,
            None => {
                let (report, meant) = unknown::key(section, word, at);
                self.collector.report(report);
                // Read on as what was meant, unless that has been given as well.
                match meant.filter(|key| key.list || section.one(key).is_none()) {
                    Some(key) => key,
                    None => return,
                }
            }
        };
        let earlier = if key.list { None } else { section.one(key) };
        if let Some(first) = earlier.map(|first| first.at) {
            let place = self.collector.place(first);
            let what = format!("`{word}` is given twice in {}, first at {place}", section.title());
            self.collector.report(Report::new(at, what).related(first, "first here"));
            return;
        }
        let value = match unknown::dialect(key, written) {
            _ if written.is_empty() => Err(Vec::new()),
            Some(fault) => Err(vec![fault]),
            None => substitute(written, value_at, self.env),
        };
        let value = match value {
            Ok(value) if value.text.trim().is_empty() => {
                let what = format!("`{}` has no value: its variables are empty", key.name);
                self.collector.report(Report::new(value_at, what));
                None
            }
            Ok(value) => Some(value),
            Err(faults) => {
                report_all(self.collector, written, value_at, faults);
                None
            }
        };
        section.push(Entry { key, at, value });
    }

    fn include(&mut self, written: &str, at: Span, base: &Path) {
        if !self.may_include {
            self.collector.report(Report::new(at, "`include` needs a file to be relative to"));
            return;
        }
        let value = match unknown::trailing_comment(written) {
            _ if written.is_empty() => Err(Vec::new()),
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
        let help = match unknown::homes(word) {
            Some(homes) => Some(format!("`{word}` belongs in {homes}")),
            None => suggest::did_you_mean(word, [schema::INCLUDE]),
        };
        let what = format!("{} is before every section; only `include` may be", quoted(word));
        self.collector.report(Report::new(at, what).help(help));
    }
}

fn report_all(collector: &mut Collector, written: &str, at: Span, faults: Vec<Fault>) {
    let value = Value::literal(written, at);
    for fault in faults {
        collector.report(Report::new(value.span(&fault.at), fault.what).help(fault.help));
    }
}
