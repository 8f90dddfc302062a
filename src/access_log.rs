//! The access log: one line an exchange, that costs a worker a copy and never a wait.
//!
//! A worker makes its line in a scratch of its own and leaves it in a queue; the writer's thread does the rest. Not here:
//! the program's own log (`log_file`), how lines are written (`line_queue`).

use std::io::{self, Write};
use std::time::Duration;

use crate::clock::Date;
use crate::config::model::{AccessFormat, AccessTarget};
use crate::error::CloseReason;
use crate::http::forwarded::Peer;
use crate::http::reply::put_decimal;
use crate::line_queue::{LineQueue, Output};
use crate::secrets::{hide_credentials, hide_credentials_of_request_line};
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};

/// Bytes of a line that is no request line.
const UNREAD_BYTES_MAX: usize = 256;

/// What one exchange leaves behind.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Who asked: the right-most untrusted address.
    pub client: Peer,
    /// Status sent; 499 when the client was gone before there was one.
    pub status: u16,
    /// Name of the route.
    pub route: &'a str,
    /// Name of the pool.
    pub pool: &'a str,
    /// Address of the backend.
    pub backend: &'a str,
    /// Request id: nothing in it is to be escaped (`ids`).
    pub id: &'a [u8],
    /// From the head read to the first byte of the answer.
    pub first_byte: Option<Duration>,
    /// From the head read to the end.
    pub total: Duration,
    /// Bytes of request body sent on.
    pub bytes_in: u64,
    /// Bytes of response body sent.
    pub bytes_out: u64,
    /// Why it ended.
    pub end: CloseReason,
    /// Number of the configuration it ran on.
    pub generation: u64,
}

/// What of a request is logged, taken before its bytes are gone. A session's own: a worker has several in hand.
#[derive(Debug, Default)]
pub struct Seen {
    request_line: Vec<u8>,
    referer: Vec<u8>,
    agent: Vec<u8>,
}

/// A thread's own part: the line that is being made.
#[derive(Debug)]
pub struct Scratch {
    line: Vec<u8>,
    clf: Date,
    rfc3339: Date,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { line: Vec::new(), clf: Date::clf(), rfc3339: Date::rfc3339() }
    }
}

impl Seen {
    /// What came as the request line, and the fields `Referer` and `User-Agent`.
    pub fn take(&mut self, request_line: &[&[u8]], referer: Option<&[u8]>, agent: Option<&[u8]>) {
        self.request_line.clear();
        for part in request_line {
            self.request_line.extend_from_slice(part);
        }
        hide_credentials_of_request_line(&mut self.request_line);
        for (kept, given) in [(&mut self.referer, referer), (&mut self.agent, agent)] {
            kept.clear();
            kept.extend_from_slice(given.unwrap_or(b"-"));
            hide_credentials(kept);
        }
    }

    /// What came in place of a request that can be read: its first line. One that looks like a field is not shown, since who
    /// has lost count may send `Authorization: ...` first.
    pub fn take_unread(&mut self, bytes: &[u8]) {
        let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
        let shown = line.get(..line.len().min(UNREAD_BYTES_MAX)).unwrap_or_default();
        match shown.iter().find(|byte| matches!(byte, b' ' | b'\t' | b':')) {
            Some(b':') => self.take_nothing(),
            _ => self.take(&[shown], None, None),
        }
    }

    /// There was no request line.
    pub fn take_nothing(&mut self) {
        self.take(&[b"-"], None, None);
    }
}

/// The log as workers see it.
#[derive(Debug)]
pub struct AccessLog {
    on: AtomicBool,
    json: AtomicBool,
    target: Mutex<AccessTarget>,
    queue: LineQueue,
}

impl AccessLog {
    /// Not writing yet: `run` is its writer.
    pub fn new(target: &AccessTarget, format: AccessFormat) -> io::Result<Arc<Self>> {
        let log = Self {
            on: AtomicBool::new(false),
            json: AtomicBool::new(false),
            target: Mutex::new(AccessTarget::Off),
            queue: LineQueue::default(),
        };
        let output = log.open(target)?;
        log.configure(target, format, output);
        Ok(Arc::new(log))
    }

    /// Whether lines are wanted at all.
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Lines dropped so far.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// Opens another target for `configure`; `None` when it is the same.
    pub fn open(&self, target: &AccessTarget) -> io::Result<Option<Output>> {
        if *self.target.lock() == *target { Ok(None) } else { output(target).map(Some) }
    }

    /// Another target or format, at a reload.
    pub fn configure(&self, target: &AccessTarget, format: AccessFormat, opened: Option<Output>) {
        self.json.store(format == AccessFormat::Json, Ordering::Relaxed);
        target.clone_into(&mut self.target.lock());
        if let Some(output) = opened {
            self.queue.aim(output);
        }
        self.on.store(*target != AccessTarget::Off, Ordering::Relaxed);
    }

    /// The file was moved away: open it again (SIGUSR1). On an error the old one stays in use.
    pub fn reopen(&self) -> io::Result<()> {
        let target = self.target.lock().clone();
        self.queue.aim(output(&target)?);
        Ok(())
    }

    /// Ends the writer, after what is pending.
    pub fn stop(&self) {
        self.queue.stop();
    }

    /// One line. Never waits for a disk.
    pub fn log(&self, entry: &Entry<'_>, seen: &Seen, scratch: &mut Scratch) {
        if !self.is_on() {
            return;
        }
        scratch.line.clear();
        let made =
            if self.json.load(Ordering::Relaxed) { scratch.json(entry, seen) } else { scratch.combined(entry, seen) };
        debug_assert!(made.is_ok(), "writing into memory");
        self.queue.append(&scratch.line);
    }

    /// The writer's thread.
    pub fn run(&self) {
        self.queue.run();
    }

    /// Says once a minute at most that lines were lost.
    pub fn complain(&self) {
        if let Some(complaint) = self.queue.complaint() {
            log::error!("access log: {complaint}");
        }
    }
}

fn output(target: &AccessTarget) -> io::Result<Output> {
    match target {
        AccessTarget::Off => Ok(Output::Nowhere),
        AccessTarget::Stdout => Ok(Output::Stdout),
        AccessTarget::Path(path) => {
            Output::open(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
        }
    }
}

impl Scratch {
    fn combined(&mut self, entry: &Entry<'_>, seen: &Seen) -> io::Result<()> {
        let (Self { line, clf, .. }, Seen { request_line, referer, agent }) = (self, seen);
        write!(line, "{} - - [", entry.client)?;
        line.extend_from_slice(clf.now());
        line.extend_from_slice(b"] \"");
        escape(line, request_line, b"\\x");
        write!(line, "\" {} {} \"", entry.status, entry.bytes_out)?;
        escape(line, referer, b"\\x");
        line.extend_from_slice(b"\" \"");
        escape(line, agent, b"\\x");
        line.push(b'"');
        for (key, value) in [("route", entry.route), ("pool", entry.pool), ("backend", entry.backend)] {
            write!(line, " {key}=")?;
            escape(line, value.as_bytes(), b"\\x");
        }
        line.extend_from_slice(b" id=");
        line.extend_from_slice(entry.id);
        match entry.first_byte {
            Some(first_byte) => put_key(line, b" ttfb_us=", micros(first_byte)),
            None => line.extend_from_slice(b" ttfb_us=-"),
        }
        put_key(line, b" total_us=", micros(entry.total));
        put_key(line, b" in=", entry.bytes_in);
        put_key(line, b" out=", entry.bytes_out);
        line.extend_from_slice(b" end=");
        line.extend_from_slice(entry.end.token().as_bytes());
        put_key(line, b" gen=", entry.generation);
        line.push(b'\n');
        Ok(())
    }

    fn json(&mut self, entry: &Entry<'_>, seen: &Seen) -> io::Result<()> {
        let (Self { line, rfc3339, .. }, Seen { request_line, referer, agent }) = (self, seen);
        line.extend_from_slice(b"{\"time\":\"");
        line.extend_from_slice(rfc3339.now());
        write!(line, "\",\"client\":\"{}\",\"request\":\"", entry.client)?;
        escape(line, request_line, b"\\u00");
        write!(line, "\",\"status\":{},\"referer\":\"", entry.status)?;
        escape(line, referer, b"\\u00");
        line.extend_from_slice(b"\",\"agent\":\"");
        escape(line, agent, b"\\u00");
        line.push(b'"');
        for (key, value) in [("route", entry.route), ("pool", entry.pool), ("backend", entry.backend)] {
            write!(line, ",\"{key}\":\"")?;
            escape(line, value.as_bytes(), b"\\u00");
            line.push(b'"');
        }
        line.extend_from_slice(b",\"id\":\"");
        line.extend_from_slice(entry.id);
        line.extend_from_slice(b"\",\"ttfb_us\":");
        match entry.first_byte {
            Some(first_byte) => put_key(line, b"", micros(first_byte)),
            None => line.extend_from_slice(b"null"),
        }
        put_key(line, b",\"total_us\":", micros(entry.total));
        put_key(line, b",\"in\":", entry.bytes_in);
        put_key(line, b",\"out\":", entry.bytes_out);
        write!(line, ",\"end\":\"{}\"", entry.end.token())?;
        put_key(line, b",\"gen\":", entry.generation);
        line.extend_from_slice(b"}\n");
        Ok(())
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn put_key(line: &mut Vec<u8>, key: &[u8], value: u64) {
    line.extend_from_slice(key);
    let Ok(()) = put_decimal(value, line);
}

/// What a peer sent cannot end a quoted string or a line, nor steer a terminal. Bytes over 0x7e are written as code points
/// of one byte: a line is ASCII whatever came.
fn escape(line: &mut Vec<u8>, bytes: &[u8], prefix: &[u8]) {
    for &byte in bytes {
        match byte {
            b'"' | b'\\' if prefix == b"\\u00" => line.extend_from_slice(&[b'\\', byte]),
            0x20..=0x7e if byte != b'"' && byte != b'\\' => line.push(byte),
            _ => {
                line.extend_from_slice(prefix);
                line.push(b"0123456789ABCDEF"[usize::from(byte >> 4)]);
                line.push(b"0123456789ABCDEF"[usize::from(byte & 15)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry<'static> {
        Entry {
            client: Peer::Unix,
            status: 200,
            route: "r",
            pool: "p",
            backend: "127.0.0.1:3000",
            id: b"abc",
            first_byte: Some(Duration::from_micros(5)),
            total: Duration::from_micros(9),
            bytes_in: 1,
            bytes_out: 2,
            end: CloseReason::Done,
            generation: 3,
        }
    }

    #[test]
    fn combined_format_comes_first_and_pairs_follow() {
        let (mut scratch, mut seen) = (Scratch::default(), Seen::default());
        seen.take(&[b"GET ", b"/\"\n\xff", b" HTTP/1.1"], None, Some(b"curl"));
        scratch.combined(&entry(), &seen).expect("memory");
        let line = String::from_utf8(scratch.line).expect("ASCII");
        assert!(line.starts_with("unix: - - ["), "{line}");
        assert!(
            line.ends_with(
                "] \"GET /\\x22\\x0A\\xFF HTTP/1.1\" 200 2 \"-\" \"curl\" route=r pool=p backend=127.0.0.1:3000 id=abc \
                 ttfb_us=5 total_us=9 in=1 out=2 end=ok gen=3\n"
            ),
            "{line}"
        );
    }

    #[test]
    fn json_strings_cannot_be_broken_out_of() {
        let (mut scratch, mut seen) = (Scratch::default(), Seen::default());
        seen.take(&[b"GET /\"\\\n HTTP/1.1"], None, None);
        scratch.json(&entry(), &seen).expect("memory");
        let line = String::from_utf8(scratch.line).expect("ASCII");
        assert!(line.contains(r#""request":"GET /\"\\\u000A HTTP/1.1""#), "{line}");
        assert!(line.ends_with(",\"end\":\"ok\",\"gen\":3}\n"), "{line}");
    }
}
