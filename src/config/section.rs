//! One section as it was written: its name, its keys, and where they are.
//!
//! Not here: how it comes out of files (`document`), what it means (`build`, `named`).

use super::diagnostics::{Span, shown};
use super::schema::{Key, SectionKind};
use super::substitute::Value;

/// The longest name of a listen, a route or a pool: it is in every line of the access log.
pub const NAME_BYTES_MAX: usize = 64;

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
    entries: Vec<Entry>,
    /// The first entry of each key: a section has few keys, and may have very many lines.
    first: Vec<(&'static Key, usize)>,
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
        Self { kind, name, at, entries: Vec::new(), first: Vec::new() }
    }

    /// `[pool:app]`
    pub fn title(&self) -> String {
        if self.kind.is_named() {
            format!("[{}:{}]", self.kind.word(), shown(&self.name))
        } else {
            self.kind.title().to_owned()
        }
    }

    /// Adds a line.
    pub fn push(&mut self, entry: Entry) {
        if self.one(entry.key).is_none() {
            self.first.push((entry.key, self.entries.len()));
        }
        self.entries.push(entry);
    }

    /// Every line of any of these keys, in order.
    pub fn any(&self, keys: &[&'static Key]) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| keys.contains(&entry.key))
    }

    /// Every line of a key.
    pub fn all(&self, key: &'static Key) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.key == key)
    }

    /// The first line of a key: the only one if it is not a list.
    pub fn one(&self, key: &'static Key) -> Option<&Entry> {
        let (_, index) = self.first.iter().find(|(of, _)| *of == key)?;
        self.entries.get(*index)
    }
}

/// Whether a listen, a route or a pool may be called so.
pub fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}
