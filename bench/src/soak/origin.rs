//! An origin: a process of its own, so that it can be killed. It does what a request asks of it, and judges each request
//! as strictly as it can: what it finds it writes to stdout, for whoever started it.

use std::collections::HashSet;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, sleep};
use std::time::Duration;

use super::deed::{Act, Deed, Ending};
use super::dice::{Dice, hash};
use super::message::{Broken, Framing, Head, Reader};
use super::pattern::Pattern;
use super::stream::{Address, Listener, Stream};

/// How a line on stdout begins that tells what is wrong with a request.
pub const FINDING: &str = "FINDING ";
/// The first line, when it serves.
pub const READY: &str = "ready";
/// How late a late answer is; the router gives it up much sooner.
const LATE: Duration = Duration::from_millis(900);
/// One answer in so many is the last of its connection.
const LAST_ONE_IN: u64 = 40;
const STACK: usize = 256 * 1024;

/// Which origin this is.
#[derive(Debug)]
struct Origin {
    name: String,
    /// What must not come twice.
    seen: Mutex<HashSet<u64>>,
}

/// Serves until it is killed.
pub fn serve(name: &str, address: &str) -> Result<u64, String> {
    let told = |error: std::io::Error| format!("{name} at {address}: {error}");
    let listener = Listener::bind(&address.parse()?).map_err(told)?;
    let origin = Arc::new(Origin { name: name.to_owned(), seen: Mutex::default() });
    println!("{READY}");
    loop {
        let stream = listener.accept().map_err(told)?;
        let origin = Arc::clone(&origin);
        Builder::new().stack_size(STACK).spawn(move || origin.connection(&stream)).map_err(told)?;
    }
}

impl Origin {
    /// Requests until one end has ended.
    fn connection(&self, stream: &Stream) {
        let mut reader = Reader::new(stream);
        let mut token = "none yet".to_owned();
        let ended = loop {
            match reader.head() {
                Ok(None) => break Ok(()),
                Ok(Some(head)) => match self.request(stream, &mut reader, &head, &mut token) {
                    Ok(true) => {}
                    Ok(false) => break Ok(()),
                    Err(broken) => break Err(broken),
                },
                Err(broken) => break Err(broken),
            }
        };
        // A message that broke off is somebody's right; one that is wrong is not.
        if let Err(Broken::Wrong(what)) = ended {
            println!("{FINDING}{} after token {token}: {what}", self.name);
        }
    }

    /// One exchange: whether another may follow.
    fn request(
        &self,
        stream: &Stream,
        reader: &mut Reader<'_>,
        head: &Head,
        last_token: &mut String,
    ) -> Result<bool, Broken> {
        let wrong = |what: &str| Broken::Wrong(format!("{what}: {head:?}"));
        let mut words = head.line.split(' ');
        let (Some(method), Some(target), Some("HTTP/1.1"), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(wrong("no request line"));
        };
        let (path, query) = target.split_once('?').ok_or_else(|| wrong("no query"))?;
        let deed = Deed::parse(query).ok_or_else(|| wrong("no deed"))?;
        let token = path.rsplit('/').next().unwrap_or_default();
        token.clone_into(last_token);
        if head.field("x-request-id") != Some(token) || head.field("x-token") != Some(token) {
            return Err(wrong("fields of another request"));
        }
        let via = head.field("via").and_then(|via| via.strip_prefix("1."));
        if via.is_none_or(|via| !via.contains(" layer7router-")) || head.field("host").is_none() {
            return Err(wrong("no Via, or no Host"));
        }
        let framing = head.framing(Framing::None)?;
        let fits = match framing {
            Framing::Length(length) => length == deed.request,
            Framing::Chunked => true,
            _ => deed.request == 0,
        };
        if !fits {
            return Err(wrong("a body of another length"));
        }
        if method == "POST" && !self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(hash(token)) {
            return Err(wrong("a POST came twice"));
        }
        if head.field("expect") == Some("100-continue") {
            write_all(stream, b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }

        let mut dice = Dice::new(0, token);
        let keep = deed.ending != Ending::Close && !dice.one_in(LAST_ONE_IN);
        let mut answer = Answer {
            stream,
            ending: deed.ending,
            pattern: Pattern::of_answer(token),
            dice,
            head: format!(
                "X-Token: {token}\r\nX-Backend: {}\r\nX-Path: {path}\r\nX-Seen-Route: {}\r\nX-Seen-Host: {}\r\n{}",
                self.name,
                head.field("x-route").unwrap_or("-"),
                head.field("host").unwrap_or("-"),
                if keep || deed.act == Act::Tunnel { "" } else { "Connection: close\r\n" },
            ),
        };
        let upload = Upload { pattern: Pattern::of_request(token), length: deed.request, framing };
        match deed.act {
            Act::Get if method == "HEAD" => answer.only_head(deed.answer)?,
            Act::Get => answer.whole(deed.answer)?,
            Act::Sum => {
                upload.read(reader, |_| Ok(()))?;
                answer.whole(deed.answer)?;
            }
            Act::Echo => {
                answer.only_head(deed.request)?;
                upload.read(reader, |bytes| answer.piece(bytes))?;
                answer.end()?;
            }
            Act::Early => {
                answer.whole(deed.answer)?;
                upload.read(reader, |_| Ok(()))?;
            }
            Act::Late => {
                sleep(LATE);
                answer.whole(deed.answer)?;
            }
            Act::Interim => {
                let interim = format!("HTTP/1.1 103 Early Hints\r\nX-Token: {token}\r\n\r\n");
                write_all(stream, interim.repeat(2).as_bytes())?;
                answer.whole(deed.answer)?;
            }
            Act::Cut => {
                answer.cut(deed.answer)?;
                return Ok(false);
            }
            Act::Tunnel => {
                answer.switch()?;
                tunnel(stream, reader, upload.pattern, deed.answer)?;
                return Ok(false);
            }
        }
        Ok(keep)
    }
}

/// The body of a request.
struct Upload {
    pattern: Pattern,
    length: u64,
    framing: Framing,
}

impl Upload {
    fn read(&self, reader: &mut Reader<'_>, mut then: impl FnMut(&[u8]) -> Result<(), Broken>) -> Result<(), Broken> {
        let mut at = 0;
        let total = reader.body(self.framing, |bytes| {
            self.pattern.compare(at, bytes).map_err(|what| Broken::Wrong(format!("request body {what}")))?;
            at += bytes.len() as u64;
            then(bytes)
        })?;
        if total == self.length {
            return Ok(());
        }
        Err(Broken::Wrong(format!("a request body of {total} bytes that looks whole and has {}", self.length)))
    }
}

/// An answer on its way.
struct Answer<'a> {
    stream: &'a Stream,
    ending: Ending,
    pattern: Pattern,
    dice: Dice,
    /// Its own fields.
    head: String,
}

impl Answer<'_> {
    fn only_head(&self, length: u64) -> Result<(), Broken> {
        let framing = match self.ending {
            Ending::Length => format!("Content-Length: {length}\r\n"),
            Ending::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
            Ending::Close => String::new(),
        };
        write_all(self.stream, format!("HTTP/1.1 200 OK\r\n{}{framing}\r\n", self.head).as_bytes())
    }

    fn whole(&mut self, length: u64) -> Result<(), Broken> {
        self.only_head(length)?;
        self.body(length)?;
        self.end()
    }

    /// All but the end of it: broken off behind a chunk, or in one.
    fn cut(&mut self, length: u64) -> Result<(), Broken> {
        // Without its last chunk an answer has no end, though nothing of the body is missing.
        let part = self.dice.below(length + u64::from(self.ending == Ending::Chunked));
        self.only_head(length)?;
        self.body(part)?;
        if self.ending == Ending::Chunked && part < length && self.dice.one_in(2) {
            write_all(self.stream, format!("{:x}\r\n", length - part).as_bytes())?;
        }
        Ok(())
    }

    fn body(&mut self, length: u64) -> Result<(), Broken> {
        let mut bytes = vec![0; 64 * 1024];
        let mut at = 0;
        while at < length {
            let n = (self.dice.size(64 * 1024 - 1) + 1).max(length / 64).min(length - at).min(64 * 1024);
            let piece = &mut bytes[..n as usize];
            self.pattern.fill(at, piece);
            self.piece(piece)?;
            at += n;
        }
        Ok(())
    }

    fn piece(&self, bytes: &[u8]) -> Result<(), Broken> {
        if self.ending != Ending::Chunked {
            return write_all(self.stream, bytes);
        }
        if bytes.is_empty() {
            return Ok(());
        }
        write_all(self.stream, &[format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat())
    }

    fn end(&self) -> Result<(), Broken> {
        if self.ending == Ending::Chunked { write_all(self.stream, b"0\r\n\r\n") } else { Ok(()) }
    }

    fn switch(&self) -> Result<(), Broken> {
        let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n";
        write_all(self.stream, format!("HTTP/1.1 101 Switching Protocols\r\n{}{fields}\r\n", self.head).as_bytes())
    }
}

/// Sends back what comes; after `last` bytes, if that is not 0, it finishes first and reads the rest.
fn tunnel(stream: &Stream, reader: &mut Reader<'_>, pattern: Pattern, last: u64) -> Result<(), Broken> {
    let mut at = 0;
    let mut echoed = 0;
    let echo = |bytes: &[u8]| {
        pattern.compare(at, bytes).map_err(|what| Broken::Wrong(format!("tunnel {what}")))?;
        at += bytes.len() as u64;
        let wanted = if last == 0 { bytes.len() as u64 } else { (last - echoed).min(bytes.len() as u64) };
        write_all(stream, &bytes[..wanted as usize])?;
        echoed += wanted;
        if last > 0 && echoed == last && wanted > 0 {
            stream.finish();
        }
        Ok(())
    };
    let mut echo = echo;
    while reader.some(&mut echo)? > 0 {}
    Ok(())
}

fn write_all(mut stream: &Stream, bytes: &[u8]) -> Result<(), Broken> {
    Ok(stream.write_all(bytes)?)
}

/// What one of them has found, from what it wrote.
pub fn findings(output: &str) -> impl Iterator<Item = &str> {
    output.lines().filter_map(|line| line.strip_prefix(FINDING))
}

/// Where it is, and who it is.
#[derive(Debug, Clone)]
pub struct Place {
    pub name: &'static str,
    pub pool: &'static str,
    pub address: Address,
}
