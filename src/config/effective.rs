//! The effective values with their origins, for `config`: what was written, else the default.

use std::fmt;
use std::path::PathBuf;

use super::diagnostics::Collector;
use super::schema::{Key, Kind, SectionKind};
use super::section::Section;

/// One effective value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// `server`, or `listen:http`.
    pub section: String,
    /// The key.
    pub key: &'static str,
    /// As it was written, variables put in; or the default.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It was not given.
    Default,
    /// `config.ini:12`
    File {
        /// As it was named.
        file: PathBuf,
        /// From 1.
        line: u32,
    },
    /// `--from` or `--to`.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line } => write!(f, "{}:{line}", file.display()),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// In the order of the table; sections of one kind in the order of the file. A key that was not given and has no
/// default has no value, and no row.
pub fn settings(collector: &Collector, sections: &[Section]) -> Vec<Setting> {
    let mut settings = Vec::new();
    for kind in SectionKind::ALL {
        let mut of_kind: Vec<&Section> = sections.iter().filter(|section| section.kind == kind).collect();
        let absent = Section::new(kind, String::new(), super::diagnostics::Span::whole(0));
        if of_kind.is_empty() && !kind.is_named() {
            of_kind.push(&absent);
        }
        for section in of_kind {
            add(collector, section, &mut settings);
        }
    }
    settings
}

fn add(collector: &Collector, section: &Section, settings: &mut Vec<Setting>) {
    let title = section.title().trim_matches(['[', ']']).to_owned();
    let setting = |key, value: &str, origin| Setting { section: title.clone(), key, value: value.to_owned(), origin };
    for key in section.kind.keys() {
        let before = settings.len();
        // Their order decides, so they are shown in it, at the first of their keys that was given.
        let together: Vec<&'static Key> = section.kind.keys().filter(|other| shares_order(key, other)).collect();
        if together.iter().take_while(|other| **other != key).any(|other| section.one(other).is_some()) {
            continue;
        }
        for entry in section.any(&together) {
            if let Some(value) = &entry.value {
                settings.push(setting(entry.key.name, &value.text, collector.origin(entry.at)));
            }
        }
        if let Some(default) = key.default.filter(|_| settings.len() == before) {
            settings.push(setting(key.name, default, Origin::Default));
        }
    }
}

/// Whether lines of both keys are one list.
fn shares_order(key: &Key, other: &Key) -> bool {
    key == other || (key.kind == Kind::Admission && other.kind == Kind::Admission)
}
