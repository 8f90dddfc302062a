//! The access log against what the clients saw: each exchange is in both, once, and they say the same.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::configuration::{Way, weight};
use super::origin::Place;
use super::world::World;

/// How long a line is waited for that need not come.
const OPTIONAL: Duration = Duration::from_secs(20);

/// How an exchange ended, as its client saw it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum End {
    /// All of the answer came.
    Whole { status: u16, bytes: u64 },
    /// The answer broke off, visibly.
    Cut,
    /// The client broke it off. The router may not have seen it at all.
    Left,
}

/// What a client knows of an exchange.
#[derive(Debug)]
pub struct Record {
    pub token: String,
    /// Nothing: the router answered by itself.
    pub way: Option<&'static Way>,
    /// What the log is to call the route.
    pub route: &'static str,
    pub end: End,
    /// Bytes of body that the backend got all of.
    pub sent: Option<u64>,
    pub backend: Option<String>,
    pub generation: Option<u64>,
}

/// One line, of the combined format.
#[derive(Debug, PartialEq)]
struct Line {
    id: String,
    status: u16,
    route: String,
    pool: String,
    backend: String,
    bytes_in: u64,
    out: u64,
    end: String,
    generation: u64,
}

/// The log as far as it has been read, and what has no counterpart yet.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    file: File,
    /// The beginning of a line whose end is not there yet.
    rest: Vec<u8>,
    /// Moved away; read to its end as soon as the next one has a line.
    moved: Option<PathBuf>,
    places: Vec<Place>,
    /// How a token of this run begins.
    prefix: String,
    lines: HashMap<String, Line>,
    records: HashMap<String, (Record, Instant)>,
    /// Lines with a token of ours, and those of requests that the router could not read whole.
    pub named: u64,
    pub nameless: u64,
}

impl Ledger {
    pub fn open(path: &Path, places: &[Place], prefix: &str) -> Result<Self, String> {
        Ok(Self {
            path: path.to_owned(),
            file: File::open(path).map_err(|error| format!("{}: {error}", path.display()))?,
            rest: Vec::new(),
            moved: None,
            places: places.to_vec(),
            prefix: prefix.to_owned(),
            lines: HashMap::new(),
            records: HashMap::new(),
            named: 0,
            nameless: 0,
        })
    }

    /// Moves the file away, as logrotate does; the router is to be told after it. `false` while the last one is not done.
    pub fn rotate(&mut self) -> Result<bool, String> {
        if self.moved.is_some() {
            return Ok(false);
        }
        let to = self.path.with_extension("old");
        fs::rename(&self.path, &to).map_err(|error| format!("{}: {error}", to.display()))?;
        self.moved = Some(to);
        Ok(true)
    }

    /// Reads what is new, and judges what is complete.
    pub fn read(&mut self, world: &World) {
        self.read_file(world);
        // One thread writes both files: when the next one has a line, this one has its last.
        if let Some(moved) = &self.moved
            && fs::metadata(&self.path).is_ok_and(|file| file.len() > 0)
            && let Ok(next) = File::open(&self.path)
        {
            let _gone = fs::remove_file(moved);
            self.moved = None;
            self.read_file(world);
            if !self.rest.is_empty() {
                world.finding(&format!("the log ends within a line: {}", self.rest.escape_ascii()));
                self.rest.clear();
            }
            self.file = next;
            self.read_file(world);
        }
        for record in world.take_records() {
            match self.lines.remove(&record.token) {
                Some(line) => self.judge(world, &record, &line),
                None => {
                    self.records.insert(record.token.clone(), (record, Instant::now()));
                }
            }
        }
        self.records.retain(|_, (record, since)| record.end != End::Left || since.elapsed() < OPTIONAL);
    }

    /// Exchanges that only one side knows, when nothing more is to come.
    pub fn close(&mut self, world: &World) {
        self.read(world);
        if !self.rest.is_empty() || self.moved.is_some() {
            world.finding("the access log has no end");
        }
        for line in self.lines.values() {
            world.finding(&format!("a line of no exchange, or its second one: {line:?}"));
        }
        for (record, _) in self.records.values().filter(|(record, _)| record.end != End::Left) {
            world.finding(&format!("an exchange without a line: {record:?}"));
        }
    }

    /// Whether everything that must have a counterpart has one.
    pub fn settled(&self) -> bool {
        self.moved.is_none()
            && self.lines.is_empty()
            && self.records.values().all(|(record, _)| record.end == End::Left)
    }

    fn read_file(&mut self, world: &World) {
        let mut bytes = std::mem::take(&mut self.rest);
        if let Err(error) = self.file.read_to_end(&mut bytes) {
            world.finding(&format!("{}: {error}", self.path.display()));
        }
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        self.rest = bytes.split_off(whole);
        for text in String::from_utf8_lossy(&bytes).lines() {
            match parse(text) {
                None => world.finding(&format!("no line of a log: {text}")),
                Some(line) if !line.id.starts_with(&self.prefix) => {
                    self.nameless += 1;
                    if line.status != 400 || line.end != "refused" {
                        world.finding(&format!("a line of nobody's request: {text}"));
                    }
                }
                Some(line) => {
                    self.named += 1;
                    match self.records.remove(&line.id) {
                        Some((record, _)) => self.judge(world, &record, &line),
                        None => {
                            if let Some(first) = self.lines.insert(line.id.clone(), line) {
                                world.finding(&format!("two lines of one exchange: {first:?}"));
                            }
                        }
                    }
                }
            }
        }
    }

    fn judge(&self, world: &World, record: &Record, line: &Line) {
        let mut wrong = Vec::new();
        let mut must = |holds: bool, what: &'static str| {
            if !holds {
                wrong.push(what);
            }
        };
        must(line.route == record.route, "route");
        must(line.pool == record.way.map_or("-", |way| way.pool(line.generation)), "pool");
        must(record.generation.is_none_or(|generation| generation == line.generation), "generation");
        if line.backend != "-" {
            let place = self.places.iter().find(|place| place.address.to_string() == line.backend);
            must(place.is_some_and(|place| place.pool == line.pool), "backend of another pool");
            must(place.is_some_and(|place| weight(place.name, line.generation) > 0), "backend of weight 0");
            must(
                record.backend.as_ref().is_none_or(|name| place.is_some_and(|place| place.name == name)),
                "backend that answered",
            );
        }
        match record.end {
            End::Whole { status, bytes } => {
                must(line.status == status, "status");
                must(line.out == bytes, "bytes out");
                must((line.end == "ok") == (status < 400), "end");
                must(record.sent.is_none_or(|sent| line.bytes_in == sent), "bytes in");
            }
            End::Cut => must(line.end != "ok", "end of a cut answer"),
            End::Left => {}
        }
        if !wrong.is_empty() {
            world.finding(&format!("client and log differ in {}: {record:?}, {line:?}", wrong.join(", ")));
        }
    }
}

/// `... "GET / HTTP/1.1" 200 17 "-" "-" route=r pool=p ...`
fn parse(text: &str) -> Option<Line> {
    let (rest, pairs) = text.rsplit_once('"')?;
    let status = rest.split('"').nth(2)?.split_whitespace().next()?.parse().ok()?;
    let value = |key: &str| pairs.split(' ').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    Some(Line {
        id: value("id")?.to_owned(),
        status,
        route: value("route")?.to_owned(),
        pool: value("pool")?.to_owned(),
        backend: value("backend")?.to_owned(),
        bytes_in: value("in")?.parse().ok()?,
        out: value("out")?.parse().ok()?,
        end: value("end")?.to_owned(),
        generation: value("gen")?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "127.0.0.1 - - [23/Nov/2026:05:49:52 +0000] \"GET /slow HTTP/1.1\" 504 101 \"-\" \"-\" route=slow \
                        pool=slow backend=127.0.0.1:18099 id=af ttfb_us=- total_us=600657 in=0 out=101 \
                        end=response_late gen=1";

    #[test]
    fn a_line_is_read() {
        let line = parse(LINE).unwrap();
        assert_eq!((line.id.as_str(), line.status, line.out, line.generation), ("af", 504, 101, 1));
        assert_eq!((line.backend.as_str(), line.end.as_str()), ("127.0.0.1:18099", "response_late"));
        assert_eq!(parse(&LINE.replace(" in=0", "")), None);
        assert_eq!(parse(""), None);
    }
}
