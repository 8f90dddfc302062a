//! The effective values with their origins, for `config`: what was written, else the default.

use std::fmt;
use std::path::PathBuf;

use super::diagnostics::Collector;
use super::schema::{Key, Kind, SectionKind};
use super::section::Section;
use super::substitute::Value;
use crate::secrets::{hide_credentials, is_secret_field};

/// One effective value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// `server`, or `listen:http`.
    pub section: String,
    /// The key.
    pub key: &'static str,
    /// With its variables put in, unless it may be a secret; or the default.
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
                let shown = shown(collector, entry.key, value);
                settings.push(setting(entry.key.name, &shown, collector.origin(entry.at)));
            }
        }
        if let Some(default) = key.default.filter(|_| settings.len() == before) {
            settings.push(setting(key.name, default, Origin::Default));
        }
    }
}

/// The value, if it is not a secret. One that could be is shown as it was written, variables by their names: those are where
/// secrets belong. What was written out is hidden where it is a secret for certain.
fn shown(collector: &Collector, key: &Key, value: &Value) -> String {
    if !key.kind.may_hold_secret() {
        return value.text.clone();
    }
    if !value.is_literal() {
        return collector.written(value.at).to_owned();
    }
    let name = value.text.split(':').next().unwrap_or_default();
    if matches!(key.kind, Kind::Header | Kind::RequestField | Kind::ResponseField)
        && is_secret_field(name)
        && name.len() < value.text.len()
    {
        return format!("{name}: ***");
    }
    let mut bytes = value.text.clone().into_bytes();
    hide_credentials(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether lines of both keys are one list.
fn shares_order(key: &Key, other: &Key) -> bool {
    key == other || (key.kind == Kind::Admission && other.kind == Kind::Admission)
}
