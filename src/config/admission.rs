//! `allow` and `deny` of a section: one list in the order of the file, whichever key a line has.
//!
//! Not here: how one value is read (`address`), what the list means for a client (`crate::admission`).

use std::collections::HashMap;

use ipnet::IpNet;

use super::address;
use super::build::Builder;
use super::diagnostics::{Report, Span, quoted};
use super::schema::Key;
use super::section::{Entry, Section};
use crate::admission::{Admission, Rule, Who};

/// Reads both keys.
pub fn admission(b: &mut Builder<'_>, s: &Section, allow: &'static Key, deny: &'static Key) -> Admission {
    let mut rules = Vec::new();
    let mut seen = Seen::default();
    for entry in s.any(&[allow, deny]) {
        let Some(network) = b.read(entry, |_, text| address::network(text)) else {
            continue;
        };
        let rule = Rule { allow: entry.key == allow, who: network.map_or(Who::Unix, Who::Network) };
        if let Some(first) = seen.add(rule, entry.at)
            && first.allow != rule.allow
        {
            without_effect(b, entry, &first, if first.allow { allow } else { deny });
        }
        rules.push(rule);
    }
    Admission::new(rules)
}

/// A rule whose every client an earlier one of the other key has named: its author believes what is not so. Beside one of
/// the same key it is merely said twice, as lists from several sources do.
fn without_effect(b: &mut Builder<'_>, entry: &Entry, first: &Earlier, key: &Key) {
    let Some(value) = &entry.value else { return };
    let place = b.collector.place(first.at);
    let what = format!("`{}` of {} has no effect after `{}` at {place}", entry.key.name, quoted(&value.text), key.name);
    let report = Report::new(value.at, what).related(first.at, "this one decides");
    b.collector
        .report(report.help("the first that names a client decides: write the smaller network first".to_owned()));
}

/// An earlier rule.
#[derive(Debug, Clone, Copy)]
struct Earlier {
    /// Its place in the list.
    order: usize,
    allow: bool,
    at: Span,
}

/// Every rule so far. A file may have very many: each is looked up by the networks that it lies in, never compared with
/// all others.
#[derive(Debug, Default)]
struct Seen(HashMap<Who, Earlier>);

impl Seen {
    /// Takes a rule; the first of those that name all its clients already, if there is one.
    fn add(&mut self, rule: Rule, at: Span) -> Option<Earlier> {
        let first = match rule.who {
            Who::Unix => self.0.get(&Who::Unix).copied(),
            Who::Network(network) => (0..=network.prefix_len())
                .filter_map(|bits| IpNet::new(network.addr(), bits).ok())
                .filter_map(|around| self.0.get(&Who::Network(around.trunc())))
                .min_by_key(|earlier| earlier.order)
                .copied(),
        };
        let order = self.0.len();
        self.0.entry(rule.who).or_insert(Earlier { order, allow: rule.allow, at });
        first
    }
}
