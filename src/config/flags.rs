//! `--from :8080 --to 127.0.0.1:3000`: the four-line file, written as flags.

use super::diagnostics::{Collector, Report, Source, Span};
use super::schema::{self, Key, SectionKind};
use super::section::{Entry, Section};
use super::source::{is_refused, refused_name};
use super::substitute::Value;

/// The one listen.
const LISTEN: &str = "http";
/// The one pool.
const POOL: &str = "app";

/// The sections that the file would have. Nothing is substituted: the shell has done that.
pub fn sections(collector: &mut Collector, from: &[String], to: &[String]) -> Vec<Section> {
    for (values, missing, help) in [
        (from, "--from", "it says where to listen, for example `--from :8080`"),
        (to, "--to", "it says where to forward, for example `--to 127.0.0.1:3000`"),
    ] {
        if values.is_empty() {
            let source = collector.add(Source::flag(missing, missing.to_owned()));
            collector.report(Report::new(Span::whole(source), "is missing").help(help.to_owned()));
        }
    }
    let mut listen = Section::new(SectionKind::Listen, LISTEN.to_owned(), Span::whole(0));
    for entry in entries(collector, "--from", &schema::LISTEN_ADDRESS, from) {
        listen.push(entry);
    }
    listen.push(Entry {
        key: &schema::LISTEN_POOL,
        at: Span::whole(usize::MAX),
        value: Some(Value::literal(POOL, Span::whole(usize::MAX))),
    });
    let mut pool = Section::new(SectionKind::Pool, POOL.to_owned(), Span::whole(0));
    for entry in entries(collector, "--to", &schema::BACKEND, to) {
        pool.push(entry);
    }
    vec![listen, pool]
}

fn entries(collector: &mut Collector, flag: &str, key: &'static Key, values: &[String]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for text in values {
        let source = collector.add(Source::flag(flag, format!("{flag} {text}")));
        let start = flag.len() + 1;
        let at = Span { source, line: 1, start, end: start + text.len() };
        let value = match text.chars().find(|c| is_refused(*c)) {
            Some(c) => {
                collector.report(Report::new(at, format!("the value holds {}", refused_name(c))));
                None
            }
            None => Some(Value::literal(text, at)),
        };
        entries.push(Entry { key, at, value });
    }
    if values.is_empty() {
        // That the flag is missing has been reported; that its key is would be the same again.
        entries.push(Entry { key, at: Span::whole(0), value: None });
    }
    entries
}
