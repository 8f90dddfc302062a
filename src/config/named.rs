//! `[listen:NAME]`, `[route:NAME]` and `[pool:NAME]`: what each says, and the names by which they find each other.
//!
//! Not here: sections without a name (`build`), the syntax of one value (`address`, `matching`, `headers`).

use std::collections::HashMap;

use super::address;
use super::admission::admission;
use super::build::{Builder, choice};
use super::diagnostics::{Fault, Report, Span, quoted};
use super::headers::{self, Direction};
use super::matching;
use super::model::{Action, Balance, Config, Listen, ListenAddress, Pool, Route, Trusted};
use super::overlap::Overlap;
use super::rate::rate;
use super::schema::{self, Key, SectionKind};
use super::section::{Entry, Section};
use super::{suggest, units};

/// The names of one kind, in order: a name's place is its index.
struct Names<'a> {
    kind: SectionKind,
    order: Vec<&'a str>,
    index: HashMap<&'a str, usize>,
}

impl<'a> Names<'a> {
    fn new(kind: SectionKind, sections: &'a [Section]) -> Self {
        let order: Vec<&str> =
            sections.iter().filter(|section| section.kind == kind).map(|section| section.name.as_str()).collect();
        // Of a name that is given twice the first counts, for what that is worth.
        let index = order.iter().enumerate().rev().map(|(index, name)| (*name, index)).collect();
        Self { kind, order, index }
    }

    fn find(&self, b: &mut Builder<'_>, entry: &Entry) -> Option<usize> {
        let value = entry.value.as_ref()?;
        let found = self.index.get(value.text.as_str()).copied();
        // In a file that cannot be read the section may well be.
        if found.is_none() && !b.collector.is_incomplete {
            let word = self.kind.word();
            let help = suggest::did_you_mean(&value.text, self.order.iter().copied()).unwrap_or_else(|| {
                match self.order.as_slice() {
                    [] => format!("there is no [{word}:NAME] section"),
                    _ => format!("write a section [{word}:NAME] of that name"),
                }
            });
            b.fault(value, Fault::whole(&value.text, format!("there is no {word} {}", quoted(&value.text))).help(help));
        }
        found
    }
}

/// Adds what has a name to what has none.
pub fn build(b: &mut Builder<'_>, sections: &[Section], mut config: Config) -> Config {
    let listens = Names::new(SectionKind::Listen, sections);
    let pools = Names::new(SectionKind::Pool, sections);
    if listens.order.is_empty() && !b.collector.is_incomplete {
        let report = Report::new(Span::whole(0), "there is no [listen:NAME] section: nothing to listen on");
        b.collector.report(report.help("write [listen:http] with `address = :8080` and `pool = NAME`".to_owned()));
    }
    let mut overlap = Overlap::default();
    let mut demos = 0;
    for section in sections {
        match section.kind {
            SectionKind::Listen => config.listens.push(listen(b, section, &pools, &mut overlap)),
            // A route without an action has been reported, and no index points at routes.
            SectionKind::Route => config.routes.extend(route(b, section, &listens, &pools)),
            SectionKind::Pool => config.pools.push(pool(b, section, &mut demos)),
            SectionKind::Server | SectionKind::Timeouts | SectionKind::Limits | SectionKind::Log => {}
        }
    }
    config
}

fn listen(b: &mut Builder<'_>, s: &Section, pools: &Names<'_>, overlap: &mut Overlap) -> Listen {
    required(b, s, &schema::LISTEN_ADDRESS);
    let mut addresses = Vec::new();
    for entry in s.all(&schema::LISTEN_ADDRESS) {
        let resolve = b.resolve;
        let Some(address) = b.read(entry, |_, text| address::listen(text, resolve)) else {
            continue;
        };
        if let Some(value) = &entry.value
            && let Some(first) = overlap.add(&address, value.at)
        {
            let what = format!("{} is taken already, at {}", quoted(&value.text), b.collector.place(first));
            b.collector.report(Report::new(value.at, what).related(first, "by this one"));
        }
        addresses.push(address);
    }
    if !addresses.is_empty() && addresses.iter().all(|address| matches!(address, ListenAddress::Inherited(_))) {
        for entry in s.any(&[&schema::BACKLOG, &schema::SOCKET_MODE]) {
            let what = format!("`{}` has no effect on an inherited socket", entry.key.name);
            let help = "whoever binds it decides: Backlog= and SocketMode= of a systemd unit".to_owned();
            b.collector.report(Report::new(entry.at, what).help(help));
        }
    }
    let mut trusted = Trusted::default();
    for network in b.list(s, &schema::TRUSTED_PROXY, |_, text| address::network(text)) {
        match network {
            Some(network) => trusted.networks.push(network),
            None => trusted.unix = true,
        }
    }
    Listen {
        name: s.name.clone(),
        addresses,
        backlog: u32::try_from(b.count(s, &schema::BACKLOG)).unwrap_or(u32::MAX),
        socket_mode: b.scalar(s, &schema::SOCKET_MODE, units::mode),
        trusted,
        admission: admission(b, s, &schema::LISTEN_ALLOW, &schema::LISTEN_DENY),
        rate: b.optional(s, &schema::LISTEN_RATE, |_, text| rate(text)),
        pool: s.one(&schema::LISTEN_POOL).and_then(|entry| pools.find(b, entry)),
    }
}

fn pool(b: &mut Builder<'_>, s: &Section, demos: &mut usize) -> Pool {
    required(b, s, &schema::BACKEND);
    let mut backends = Vec::new();
    for entry in s.all(&schema::BACKEND) {
        let Some(backend) = b.read(entry, |_, text| address::backend(text, *demos + 1)) else {
            continue;
        };
        if matches!(backend.address, super::model::BackendAddress::Demo(_)) {
            *demos += 1;
        }
        backends.push(backend);
    }
    // Read for its mistakes: there is one way so far.
    let _round_robin: &str = b.scalar(s, &schema::BALANCE, choice);
    Pool { name: s.name.clone(), backends, balance: Balance::RoundRobin, keepalive: b.count(s, &schema::KEEPALIVE) }
}

fn route(b: &mut Builder<'_>, s: &Section, listens: &Names<'_>, pools: &Names<'_>) -> Option<Route> {
    let route = Route {
        name: s.name.clone(),
        listens: s.all(&schema::ROUTE_LISTEN).filter_map(|entry| listens.find(b, entry)).collect(),
        hosts: b.list(s, &schema::ROUTE_HOST, |_, text| matching::host(text)),
        paths: b.list(s, &schema::ROUTE_PATH, |_, text| matching::path(text)),
        methods: b.list(s, &schema::ROUTE_METHOD, |_, text| matching::method(text)),
        headers: b.list(s, &schema::ROUTE_HEADER, |_, text| matching::header(text)),
        admission: admission(b, s, &schema::ROUTE_ALLOW, &schema::ROUTE_DENY),
        rate: b.optional(s, &schema::ROUTE_RATE, |_, text| rate(text)),
        strip_prefix: b.optional(s, &schema::STRIP_PREFIX, |_, text| matching::prefix(text)),
        set_header: b.list(s, &schema::SET_HEADER, |_, text| headers::set_request(text)),
        remove_header: b.list(s, &schema::REMOVE_HEADER, |_, text| headers::remove(text, Direction::Request)),
        set_response_header: b.list(s, &schema::SET_RESPONSE_HEADER, |_, text| headers::set_response(text)),
        remove_response_header: b
            .list(s, &schema::REMOVE_RESPONSE_HEADER, |_, text| headers::remove(text, Direction::Response)),
        body_size: b.optional(s, &schema::ROUTE_BODY_SIZE, units::size).map(units::limit),
        timeout: b.optional(s, &schema::ROUTE_TIMEOUT, units::duration),
        // A stand-in until the actions have been looked at, so that all mistakes are found before that.
        action: Action::Pool(0),
    };
    strips_what_it_matches(b, s, &route);
    action(b, s, pools).map(|action| Route { action, ..route })
}

/// Exactly one of `pool`, `redirect` and `respond`.
fn action(b: &mut Builder<'_>, s: &Section, pools: &Names<'_>) -> Option<Action> {
    let keys: [&'static Key; 3] = [&schema::ROUTE_POOL, &schema::REDIRECT, &schema::RESPOND];
    let given: Vec<&Entry> = s.any(&keys).collect();
    let Some((first, others)) = given.split_first() else {
        let what = format!("{} does nothing: it needs `pool`, `redirect` or `respond`", s.title());
        b.collector.report(Report::new(s.at, what));
        return None;
    };
    for other in others {
        let place = b.collector.place(first.at);
        let what = format!("`{}` beside `{}` at {place}: a route has one of them", other.key.name, first.key.name);
        b.collector.report(Report::new(other.at, what).related(first.at, "the first"));
    }
    if first.key != &schema::ROUTE_POOL && others.is_empty() {
        forwards_nothing(b, s, first);
    }
    let mut action = None;
    for entry in &given {
        let this = match entry.key.name {
            "pool" => pools.find(b, entry).map(Action::Pool),
            "redirect" => b.read(entry, |_, text| headers::redirect(text)),
            _ => b.read(entry, |_, text| headers::respond(text)),
        };
        action = action.or(this);
    }
    action
}

/// A key that changes what is forwarded has no effect where nothing is, and no key is without effect.
fn forwards_nothing(b: &mut Builder<'_>, s: &Section, action: &Entry) {
    let keys: [&'static Key; 6] = [
        &schema::STRIP_PREFIX,
        &schema::SET_HEADER,
        &schema::REMOVE_HEADER,
        &schema::REMOVE_RESPONSE_HEADER,
        &schema::ROUTE_BODY_SIZE,
        &schema::ROUTE_TIMEOUT,
    ];
    for entry in s.any(&keys) {
        let place = b.collector.place(action.at);
        let what = format!("`{}` has no effect beside `{}` at {place}", entry.key.name, action.key.name);
        b.collector.report(Report::new(entry.at, what).related(action.at, "nothing is forwarded"));
    }
}

fn strips_what_it_matches(b: &mut Builder<'_>, s: &Section, route: &Route) {
    let (Some(prefix), Some(entry)) = (&route.strip_prefix, s.one(&schema::STRIP_PREFIX)) else {
        return;
    };
    if s.one(&schema::ROUTE_PATH).is_none() {
        let what = format!("`strip_prefix` needs a `path` under it: {} takes every path", s.title());
        b.collector.report(Report::new(entry.at, what).help(format!("add `path = {prefix}/*`")));
    }
    for path in s.all(&schema::ROUTE_PATH) {
        let Some(value) = &path.value else { continue };
        let is_outside = matching::path(&value.text).is_ok_and(|pattern| !matching::lies_under(&pattern, prefix));
        if is_outside {
            let place = b.collector.place(entry.at);
            let what = format!("{} is not under the `strip_prefix` {} at {place}", quoted(&value.text), quoted(prefix));
            b.collector.report(Report::new(value.at, what).related(entry.at, "the prefix"));
        }
    }
}

fn required(b: &mut Builder<'_>, s: &Section, key: &'static Key) {
    if s.one(key).is_none() {
        let help = format!("write `{} = {}`", key.name, key.example);
        b.collector.report(Report::new(s.at, format!("{} has no `{}`", s.title(), key.name)).help(help));
    }
}
