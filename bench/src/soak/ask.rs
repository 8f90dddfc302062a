//! One request of a client, and the judgement of its answer: it must be the answer to this request, from an origin that
//! its route leads to, whole and right in every byte; or it must have failed in a way that is excused.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use super::configuration::{Way, weight};
use super::deed::{Act, Deed, Ending};
use super::ledger::{End, Record};
use super::message::{Broken, Framing, Head, Reader};
use super::pattern::Pattern;
use super::world::World;

/// What is counted of answers by the router where one of a backend was due.
pub const FAILED: &str = "failed (502) while a backend was down";
/// Interim answers of one request.
const INTERIM_MAX: usize = 4;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Ask {
    pub token: String,
    pub method: &'static str,
    pub way: &'static Way,
    pub deed: Deed,
    /// It is sent in chunks, if it has a body.
    pub chunked: bool,
    pub expects: bool,
    /// HTTP/1.0
    pub old: bool,
    /// It says that it is the last of its connection.
    pub last: bool,
}

/// What came of it.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    /// The answer came in full; whether the connection stays.
    Answered { stays: bool },
    /// A 101: what follows is a tunnel.
    Switched,
    /// The connection is of no more use: excused, or a finding that has been told.
    Over,
}

/// When an exchange began, and what may have become of its connection before.
#[derive(Debug, Clone, Copy)]
pub struct Since {
    pub began: Instant,
    /// The configuration that was known to be in force.
    pub oldest: u64,
    /// It was silent so long, or came by a listen that comes and goes: the router may close it without a word.
    pub may_be_closed: bool,
}

/// Who came in by the listen that comes and goes: the oldest generation that may answer. It may just have been closed, and
/// its sessions end on the last configuration that knew it.
pub type Guest = Option<u64>;

impl Since {
    pub fn now(world: &World, guest: Guest) -> Self {
        let oldest = guest.unwrap_or_else(|| world.oldest.load(SeqCst));
        Self { began: Instant::now(), oldest, may_be_closed: guest.is_some() }
    }
}

/// What is wrong with an answer.
#[derive(Debug)]
enum Fault {
    /// Never allowed.
    Wrong(String),
    /// It ended before its first byte.
    Nothing(Broken),
    /// It broke off.
    Cut(String),
}

impl Ask {
    pub fn new(token: String, way: &'static Way, deed: Deed) -> Self {
        let has_body = matches!(deed.act, Act::Sum | Act::Echo | Act::Early);
        let method = if has_body { "POST" } else { "GET" };
        Self { token, method, way, deed, chunked: false, expects: false, old: false, last: false }
    }

    pub fn head(&self) -> String {
        let Self { token, method, way, deed, .. } = self;
        let version = if self.old { "1.0" } else { "1.1" };
        let mut head = format!(
            "{method} {}{token}?{} HTTP/{version}\r\nHost: {}\r\nX-Request-Id: {token}\r\nX-Token: {token}\r\n{}",
            way.path,
            deed.query(),
            way.host,
            way.field,
        );
        if deed.act == Act::Tunnel {
            head += "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        } else if self.last {
            head += "Connection: close\r\n";
        }
        if self.expects {
            head += "Expect: 100-continue\r\n";
        }
        match (self.method, self.chunked) {
            ("POST", true) => head += "Transfer-Encoding: chunked\r\n",
            ("POST", false) => head += &format!("Content-Length: {}\r\n", deed.request),
            _ => {}
        }
        head + "\r\n"
    }

    /// Something follows the head.
    pub fn has_body(&self) -> bool {
        self.method == "POST" && (self.chunked || self.deed.request > 0)
    }

    /// What the ledger is told when nothing of the answer is known.
    pub fn record(&self, end: End) -> Record {
        let (way, route) = (Some(self.way), self.way.route);
        Record { token: self.token.clone(), way, route, end, sent: None, backend: None, generation: None }
    }

    /// Reads the answer, judges it, and tells the ledger.
    pub fn answer(&self, world: &World, reader: &mut Reader<'_>, since: Since) -> Outcome {
        self.answer_after(world, reader, since, &mut || {})
    }

    /// As `answer`, with something to do when a 100 has come.
    pub fn answer_after(
        &self,
        world: &World,
        reader: &mut Reader<'_>,
        since: Since,
        continued: &mut dyn FnMut(),
    ) -> Outcome {
        let mut record = self.record(End::Cut);
        let received = self.receive(world, reader, since, continued, &mut record);
        let excused = world.excuses(self.way, since.began);
        let outcome = match received {
            Ok(Outcome::Switched) => return Outcome::Switched,
            Ok(outcome) => match record.end {
                End::Whole { status: 200, .. } => {
                    world.count(if self.method == "HEAD" { "head" } else { self.deed.name() }, 1);
                    outcome
                }
                End::Whole { status: 504, .. } if self.deed.act == Act::Late => {
                    world.count("late (504)", 1);
                    outcome
                }
                End::Whole { .. } if excused => {
                    world.count(FAILED, 1);
                    outcome
                }
                _ => return self.found(world, &format!("a failure that nothing excuses, {record:?}")),
            },
            Err(Fault::Cut(_)) if self.deed.act == Act::Cut => {
                world.count("cut by its origin", 1);
                Outcome::Over
            }
            // The reset has overtaken the head.
            Err(Fault::Nothing(Broken::Reset)) if self.deed.act == Act::Cut => {
                world.count("cut by its origin", 1);
                Outcome::Over
            }
            Err(Fault::Cut(_)) if excused => {
                world.count("cut while a backend was down", 1);
                // Its origin ended it by closing: then nobody can know.
                if self.deed.ending == Ending::Close {
                    record.end = End::Left;
                }
                Outcome::Over
            }
            // Who still sends when the router has given up may lose the answer to it.
            Err(Fault::Nothing(_)) if since.may_be_closed || (excused && self.deed.request > 0) => {
                world.count("closed before an answer, excused", 1);
                record.end = End::Left;
                Outcome::Over
            }
            Err(Fault::Nothing(how)) => return self.found(world, &format!("no answer ({how:?})")),
            Err(Fault::Cut(what) | Fault::Wrong(what)) => return self.found(world, &what),
        };
        world.record(record);
        outcome
    }

    /// Something that must not be.
    pub fn found(&self, world: &World, what: &str) -> Outcome {
        world.finding(&format!("{what}: {self:?}"));
        Outcome::Over
    }

    fn receive(
        &self,
        world: &World,
        reader: &mut Reader<'_>,
        since: Since,
        continued: &mut dyn FnMut(),
        record: &mut Record,
    ) -> Result<Outcome, Fault> {
        let head = self.final_head(reader, continued)?;
        let wrong = |what: &str| Fault::Wrong(format!("{what}: {head:?}"));
        let status = head.status().ok_or_else(|| wrong("no status"))?;
        if status == 200 || status == 101 {
            self.judge(world, &head, since, record).map_err(|what| wrong(&what))?;
        } else if head.field("x-request-id") != Some(&self.token) {
            return Err(wrong("a failure of another request"));
        }
        if status == 101 {
            return if self.deed.act == Act::Tunnel {
                Ok(Outcome::Switched)
            } else {
                Err(wrong("nobody asked for it"))
            };
        }
        let without = self.method == "HEAD";
        let framing = head.framing(Framing::UntilClose).map_err(|_| wrong("framing"))?;
        let (pattern, length) = match self.deed.act {
            Act::Echo => (Pattern::of_request(&self.token), self.deed.request),
            _ => (Pattern::of_answer(&self.token), self.deed.answer),
        };
        let mut text = Vec::new();
        let mut at = 0;
        let read = reader.body(if without { Framing::None } else { framing }, |bytes| {
            if status == 200 {
                pattern.compare(at, bytes).map_err(|what| Broken::Wrong(format!("the answer's body is {what}")))?;
            } else {
                text.extend_from_slice(bytes);
            }
            at += bytes.len() as u64;
            Ok(())
        });
        let bytes = read.map_err(|how| match how {
            Broken::Wrong(what) => Fault::Wrong(what),
            Broken::Late => Fault::Wrong(format!("an answer that stops after {at} of {length} bytes")),
            Broken::Ended | Broken::Reset => Fault::Cut(format!("an answer cut after {at} of {length} bytes")),
        })?;
        world.count("bytes received", bytes);
        if status == 200 && self.deed.act == Act::Cut {
            return Err(Fault::Wrong(format!("an answer that broke off looks whole, with {bytes} of {length} bytes")));
        }
        if status == 200 && !without && bytes != length {
            let what = format!("an answer of {bytes} bytes that looks whole and has {length}");
            // An origin that is killed while it sends such a body has ended it, as far as anybody can see.
            return Err(if self.deed.ending == Ending::Close { Fault::Cut(what) } else { Fault::Wrong(what) });
        }
        if status != 200 && !without && !String::from_utf8_lossy(&text).contains(&self.token) {
            return Err(wrong("a failure without the id of its request"));
        }
        record.end = End::Whole { status, bytes };
        if status == 200 && self.method == "POST" && self.deed.act != Act::Early {
            record.sent = Some(self.deed.request);
        }
        let closes = head.field("connection") == Some("close");
        if self.last && !closes {
            return Err(wrong("the connection's last answer does not say so"));
        }
        let ends_with_it = framing == Framing::UntilClose && !without;
        Ok(Outcome::Answered { stays: !ends_with_it && !closes && !self.old })
    }

    /// The first head that is not 1xx, but for 101.
    fn final_head(&self, reader: &mut Reader<'_>, continued: &mut dyn FnMut()) -> Result<Head, Fault> {
        for _ in 0..=INTERIM_MAX {
            let head = match reader.head() {
                Ok(Some(head)) => head,
                Ok(None) => return Err(Fault::Nothing(Broken::Ended)),
                Err(how @ Broken::Reset) if reader.left().is_empty() => return Err(Fault::Nothing(how)),
                Err(Broken::Wrong(what)) => return Err(Fault::Wrong(what)),
                Err(Broken::Late) => return Err(Fault::Wrong("no answer for very long".to_owned())),
                Err(how) => return Err(Fault::Cut(format!("a head cut in the middle ({how:?})"))),
            };
            match head.status() {
                Some(100) if self.expects => continued(),
                Some(103)
                    if self.deed.act == Act::Interim && !self.old && head.field("x-token") == Some(&self.token) => {}
                Some(100..=199) if head.status() != Some(101) => {
                    return Err(Fault::Wrong(format!("nobody asked for it: {head:?}")));
                }
                _ => return Ok(head),
            }
        }
        Err(Fault::Wrong("interim answers without end".to_owned()))
    }

    /// The fields that the origin and the router have put there.
    fn judge(&self, world: &World, head: &Head, since: Since, record: &mut Record) -> Result<(), String> {
        let must = |name: &str, value: &str| match head.field(name) {
            Some(found) if found == value => Ok(()),
            _ => Err(format!("{name} is not {value}")),
        };
        must("x-token", &self.token)?;
        must("x-path", &format!("{}{}", self.way.seen, self.token))?;
        must("x-seen-route", self.way.route)?;
        must("x-seen-host", self.way.host)?;
        let backend = head.field("x-backend").ok_or("no backend")?;
        let pool = backend.split('-').next().unwrap_or_default();
        record.backend = Some(backend.to_owned());
        if self.way.route == "-" {
            return if self.way.pools.contains(&pool) { Ok(()) } else { Err("another pool".to_owned()) };
        }
        must("x-route", self.way.route)?;
        let generation = head.number("x-config").ok_or("no generation")?;
        let newest = world.newest.load(SeqCst);
        if generation < since.oldest || generation > newest {
            return Err(format!("generation {generation} is not in {}..={newest}", since.oldest));
        }
        record.generation = Some(generation);
        if pool != self.way.pool(generation) {
            return Err(format!("generation {generation} leads to another pool"));
        }
        if weight(backend, generation) == 0 {
            return Err(format!("in generation {generation} this backend has weight 0"));
        }
        Ok(())
    }
}
