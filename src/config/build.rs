//! Sections to a `Config`: every value read, every name resolved, and what two values say together checked.
//!
//! Nothing stops at the first mistake: a wrong value is reported and a stand-in takes its place, and the verdict
//! falls at the end. Sections with a name are in `named`.

use std::path::PathBuf;
use std::time::Duration;

use super::account::{self, Accounts};
use super::address::Resolver;
use super::diagnostics::{Collector, Fault, Report, Span, alternatives, quoted};
use super::model::{AccessFormat, AccessTarget, Config, Limits, Log, LogFile, PerIp, Scheduling, Server, Timeouts};
use super::named;
use super::schema::{self, Key, Kind, SectionKind};
use super::section::{Entry, Section};
use super::substitute::Value;
use super::{suggest, units};

/// Where values are read and their mistakes go.
pub struct Builder<'a> {
    /// All reports.
    pub collector: &'a mut Collector,
    /// How the name of a listener becomes addresses.
    pub resolve: Resolver<'a>,
    /// Who knows users and groups.
    pub accounts: Accounts,
}

/// The configuration; it counts only if nothing was reported.
pub fn build(builder: &mut Builder<'_>, sections: &[Section]) -> Config {
    // The first of its kind is the one; another has been reported, and is read for its mistakes alone.
    let mut first = |kind: SectionKind| -> Section {
        let mut of_kind = sections.iter().filter(|section| section.kind == kind);
        let first = of_kind.next();
        for other in of_kind {
            globals(builder, kind, other);
        }
        match first {
            Some(section) => section.clone(),
            None => Section::new(kind, String::new(), Span::whole(0)),
        }
    };
    let [server, timeouts, limits, log] =
        [SectionKind::Server, SectionKind::Timeouts, SectionKind::Limits, SectionKind::Log].map(&mut first);
    let config = Config {
        server: self::server(builder, &server),
        timeouts: self::timeouts(builder, &timeouts),
        limits: self::limits(builder, &limits),
        log: self::log(builder, &log),
        listens: Vec::new(),
        routes: Vec::new(),
        pools: Vec::new(),
    };
    head_fits_slice(builder, &config, &server, &limits);
    named::build(builder, sections, config)
}

fn globals(builder: &mut Builder<'_>, kind: SectionKind, section: &Section) {
    match kind {
        SectionKind::Server => drop(server(builder, section)),
        SectionKind::Timeouts => drop(timeouts(builder, section)),
        SectionKind::Limits => drop(limits(builder, section)),
        SectionKind::Log => drop(log(builder, section)),
        SectionKind::Listen | SectionKind::Route | SectionKind::Pool => {}
    }
}

fn server(b: &mut Builder<'_>, s: &Section) -> Server {
    Server {
        workers: b.count(s, &schema::WORKERS),
        queue: b.count(s, &schema::QUEUE),
        slice_size: b.size(s, &schema::SLICE_SIZE),
        drain_timeout: b.scalar(s, &schema::DRAIN_TIMEOUT, units::duration),
        scheduling: match b.scalar(s, &schema::SCHEDULING, choice) {
            "batch" => Scheduling::Batch,
            _ => Scheduling::Normal,
        },
        pid_file: b.optional(s, &schema::PID_FILE, |_, text| Ok(PathBuf::from(text))),
        identity: account::identity(b, s),
    }
}

fn timeouts(b: &mut Builder<'_>, s: &Section) -> Timeouts {
    let mut duration = |key| -> Duration { b.scalar(s, key, units::duration) };
    Timeouts {
        header: duration(&schema::HEADER_TIMEOUT),
        idle: duration(&schema::IDLE_TIMEOUT),
        body: duration(&schema::BODY_TIMEOUT),
        send: duration(&schema::SEND_TIMEOUT),
        connect: duration(&schema::CONNECT_TIMEOUT),
        response: duration(&schema::RESPONSE_TIMEOUT),
        exchange: Some(duration(&schema::EXCHANGE_TIMEOUT)).filter(|limit| !limit.is_zero()),
        tunnel: duration(&schema::TUNNEL_TIMEOUT),
        queue: duration(&schema::QUEUE_TIMEOUT),
        backend_idle: duration(&schema::BACKEND_IDLE_TIMEOUT),
    }
}

fn limits(b: &mut Builder<'_>, s: &Section) -> Limits {
    Limits {
        header_size: b.size(s, &schema::HEADER_SIZE),
        uri_size: b.size(s, &schema::URI_SIZE),
        header_count: b.count(s, &schema::HEADER_COUNT),
        body_size: units::limit(b.scalar(s, &schema::BODY_SIZE, units::size)),
        connections_per_ip: per_ip(b, s),
        client_rate_min: units::limit(b.scalar(s, &schema::CLIENT_RATE_MIN, units::size)),
        requests_per_connection: units::limit(b.scalar(s, &schema::REQUESTS_PER_CONNECTION, units::count)),
        parked_heads: b.size(s, &schema::PARKED_HEADS),
    }
}

/// The default written down is still the default.
fn per_ip(b: &mut Builder<'_>, s: &Section) -> PerIp {
    let number = b.scalar(s, &schema::CONNECTIONS_PER_IP, units::count);
    PerIp {
        limit: units::limit(number).and_then(|number| u32::try_from(number).ok()),
        everyone: schema::CONNECTIONS_PER_IP.default != Some(number.to_string().as_str()),
    }
}

fn log(b: &mut Builder<'_>, s: &Section) -> Log {
    let level: &str = b.scalar(s, &schema::LOG_LEVEL, choice);
    let file: String = b.scalar(s, &schema::LOG_FILE, word_or_path);
    let access: String = b.scalar(s, &schema::LOG_ACCESS, word_or_path);
    Log {
        level: level.parse().unwrap_or(log::LevelFilter::Info),
        file: match file.as_str() {
            "stderr" => LogFile::Stderr,
            path => LogFile::Path(PathBuf::from(path)),
        },
        access: match access.as_str() {
            "off" => AccessTarget::Off,
            "stdout" => AccessTarget::Stdout,
            path => AccessTarget::Path(PathBuf::from(path)),
        },
        format: match b.scalar(s, &schema::LOG_FORMAT, choice) {
            "json" => AccessFormat::Json,
            _ => AccessFormat::Combined,
        },
    }
}

/// A head is read into one slice, whole.
fn head_fits_slice(b: &mut Builder<'_>, config: &Config, server: &Section, limits: &Section) {
    if config.limits.header_size <= config.server.slice_size {
        return;
    }
    let (header, slice) = (limits.one(&schema::HEADER_SIZE), server.one(&schema::SLICE_SIZE));
    // A value that was wrong has its report, and its stand-in is nobody's mistake.
    let is_good = |entry: Option<&Entry>| entry.is_none_or(|entry| entry.value.is_some());
    let Some(at) = header.or(slice).and_then(|entry| entry.value.as_ref()).map(|value| value.at) else {
        return;
    };
    if !is_good(header) || !is_good(slice) {
        return;
    }
    let shown = |entry: Option<&Entry>, key: &Key| match entry.and_then(|entry| entry.value.as_ref()) {
        Some(value) => format!("`{}` ({}, {})", key.name, value.text, b.collector.place(value.at)),
        None => format!("`{}` ({}, default)", key.name, key.shown_value()),
    };
    let what = format!("{} is more than {}", shown(header, &schema::HEADER_SIZE), shown(slice, &schema::SLICE_SIZE));
    let mut report = Report::new(at, what).help("a head must fit in a slice".to_owned());
    if let (Some(_), Some(slice)) = (header, slice.and_then(|entry| entry.value.as_ref())) {
        report = report.related(slice.at, "the slice");
    }
    b.collector.report(report);
}

impl Builder<'_> {
    /// Reads a value, or reports why it cannot be.
    pub fn read<T>(&mut self, entry: &Entry, parse: impl FnOnce(&'static Key, &str) -> Result<T, Fault>) -> Option<T> {
        let value = entry.value.as_ref()?;
        match parse(entry.key, &value.text) {
            Ok(good) => Some(good),
            Err(fault) => {
                self.fault(value, fault);
                None
            }
        }
    }

    /// A fault of a value at its place in the file.
    pub fn fault(&mut self, value: &Value, fault: Fault) {
        self.collector.report(Report::new(value.span(&fault.at), fault.what).help(fault.help));
    }

    /// A key with a default.
    pub fn scalar<T: Default>(
        &mut self,
        section: &Section,
        key: &'static Key,
        parse: impl Fn(&'static Key, &str) -> Result<T, Fault>,
    ) -> T {
        section
            .one(key)
            .and_then(|entry| self.read(entry, &parse))
            // A test reads every default of the table.
            .unwrap_or_else(|| parse(key, key.default.unwrap_or_default()).unwrap_or_default())
    }

    /// A key without a default.
    pub fn optional<T>(
        &mut self,
        section: &Section,
        key: &'static Key,
        parse: impl FnOnce(&'static Key, &str) -> Result<T, Fault>,
    ) -> Option<T> {
        section.one(key).and_then(|entry| self.read(entry, parse))
    }

    /// Every line of a list.
    pub fn list<T>(
        &mut self,
        section: &Section,
        key: &'static Key,
        parse: impl Fn(&'static Key, &str) -> Result<T, Fault>,
    ) -> Vec<T> {
        section.all(key).filter_map(|entry| self.read(entry, &parse)).collect()
    }

    /// A number that this machine can count to.
    pub fn count(&mut self, section: &Section, key: &'static Key) -> usize {
        usize::try_from(self.scalar(section, key, units::count)).unwrap_or(usize::MAX)
    }

    fn size(&mut self, section: &Section, key: &'static Key) -> usize {
        usize::try_from(self.scalar(section, key, units::size)).unwrap_or(usize::MAX)
    }
}

/// One of the words of the row.
pub fn choice(key: &'static Key, text: &str) -> Result<&'static str, Fault> {
    let words = match key.kind {
        Kind::Choice(words) => words,
        _ => &[],
    };
    words.iter().copied().find(|word| *word == text).ok_or_else(|| {
        let what = format!("`{}` is {}, not {}", key.name, alternatives(words), quoted(text));
        Fault::whole(text, what).help(suggest::did_you_mean(text, words.iter().copied()))
    })
}

/// One of the words of the row, or what cannot be taken for a word that is wrong.
fn word_or_path(key: &'static Key, text: &str) -> Result<String, Fault> {
    let words = match key.kind {
        Kind::FileOr(words) => words,
        _ => &[],
    };
    if words.contains(&text) || text.contains(['/', '.']) {
        return Ok(text.to_owned());
    }
    // `access = stderr` would else be a file of that name, found a week later.
    let what = format!("`{}` is {}, not {}", key.name, alternatives(&[words, &["a path"]].concat()), quoted(text));
    let help = suggest::did_you_mean(text, words.iter().copied());
    Err(Fault::whole(text, what).help(help.unwrap_or_else(|| format!("a file of that name is written `./{text}`"))))
}
