//! One end of a connection, scripted: what client and origin have in common.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::message::{self, BodyEnd, Fields, Request, Response};
use super::{DEADLINE, shown};

/// TCP or Unix: scripts do not care.
#[derive(Debug)]
pub enum Wire {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The other side said that it sends no more.
    Fin,
    /// The other side broke the connection: an answer cut short is to look like this.
    Reset,
}

enum Got {
    Bytes,
    End(Ending),
    Nothing,
}

/// Why a step did not get what it waited for.
enum Stuck {
    Ended(String, Ending),
    Late(String),
    Malformed(String),
}

/// A connected socket with what was read from it and not yet asked for.
#[derive(Debug)]
pub struct Peer {
    wire: Wire,
    held: Vec<u8>,
    name: String,
    patience: Duration,
}

impl Peer {
    pub fn new(wire: Wire, name: &str) -> Self {
        if let Wire::Tcp(tcp) = &wire {
            tcp.set_nodelay(true).expect("TCP_NODELAY");
        }
        wire.set_write_timeout(DEADLINE);
        Self { wire, held: Vec::new(), name: name.to_owned(), patience: DEADLINE }
    }

    /// A second handle on the same socket, so that another thread can send while this one reads.
    pub fn sender(&self) -> Peer {
        let name = format!("{} (sender)", self.name);
        Self { wire: self.wire.again(), held: Vec::new(), name, patience: self.patience }
    }

    /// The bare socket, to be shut down by another thread.
    pub fn wire_again(&self) -> Wire {
        self.wire.again()
    }

    /// What every step gets from now on.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// This side's own address.
    pub fn local_port(&self) -> u16 {
        match &self.wire {
            Wire::Tcp(tcp) => tcp.local_addr().expect("local address").port(),
            Wire::Unix(_) => 0,
        }
    }

    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        if let Err(e) = self.wire.write_all(bytes) {
            panic!("{}: send {}: {e}", self.name, shown(bytes));
        }
    }

    /// Sends what the other side takes: it may close first.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.write_all(bytes.as_ref())
    }

    /// The last bytes and the FIN in one segment.
    #[track_caller]
    pub fn send_and_close_write(&mut self, bytes: impl AsRef<[u8]>) {
        let Wire::Tcp(tcp) = &self.wire else { panic!("{}: only TCP has segments", self.name) };
        rustix::net::sockopt::set_tcp_nodelay(tcp, false).expect("TCP_NODELAY");
        rustix::net::sockopt::set_tcp_cork(tcp, true).expect("TCP_CORK");
        self.send(bytes);
        self.close_write();
    }

    /// One byte a segment.
    #[track_caller]
    pub fn send_slowly(&mut self, bytes: impl AsRef<[u8]>) {
        for byte in bytes.as_ref() {
            self.send([*byte]);
        }
    }

    /// `shutdown(Write)`: no more from here, but still listening.
    pub fn close_write(&mut self) {
        let _ = self.wire.shutdown(Shutdown::Write);
    }

    pub fn close(self) {}

    /// Closes with a RST.
    pub fn reset(self) {
        let Wire::Tcp(tcp) = &self.wire else { panic!("{}: only TCP can reset", self.name) };
        rustix::net::sockopt::set_socket_linger(tcp, Some(Duration::ZERO)).expect("SO_LINGER");
    }

    #[track_caller]
    pub fn read_exact(&mut self, len: usize) -> Vec<u8> {
        let read = self.try_exact(len);
        self.done(read)
    }

    /// Up to and with `mark`.
    #[track_caller]
    pub fn read_until(&mut self, mark: &[u8]) -> Vec<u8> {
        let read = self.try_until(mark);
        self.done(read)
    }

    /// A head as bytes, with its final empty line.
    #[track_caller]
    pub fn read_head(&mut self) -> Vec<u8> {
        self.read_until(b"\r\n\r\n")
    }

    /// A body and its trailers.
    #[track_caller]
    pub fn read_body(&mut self, end: BodyEnd) -> (Vec<u8>, Fields) {
        if end == BodyEnd::Close {
            return (self.read_until_close(), Fields::default());
        }
        let read = self.try_body(end);
        self.done(read)
    }

    /// The next chunk; `None` is the last one, whose trailers are then to be read.
    #[track_caller]
    pub fn read_chunk(&mut self) -> Option<Vec<u8>> {
        let read = self.try_chunk();
        self.done(read)
    }

    #[track_caller]
    pub fn read_trailers(&mut self) -> Fields {
        let read = self.try_trailers();
        self.done(read)
    }

    /// A whole request; `None` when the other side ended first.
    pub fn try_request(&mut self) -> Result<Option<Request>, String> {
        let read = self.try_until(b"\r\n\r\n").and_then(|head| {
            let mut request = Request::parse(&head).map_err(Stuck::Malformed)?;
            (request.body, request.trailers) = self.try_body(request.end)?;
            Ok(request)
        });
        match read {
            Ok(request) => Ok(Some(request)),
            Err(Stuck::Ended(..)) => Ok(None),
            Err(Stuck::Late(step)) => Err(format!("{step}: nothing came")),
            Err(Stuck::Malformed(why)) => Err(why),
        }
    }

    /// Everything up to a FIN; a reset fails.
    #[track_caller]
    pub fn read_until_close(&mut self) -> Vec<u8> {
        let (bytes, ending) = self.read_until_end();
        assert_eq!(ending, Ending::Fin, "{}: after {}", self.name, shown(&bytes));
        bytes
    }

    /// Everything up to a RST: what is left of an answer that was cut. A FIN fails.
    #[track_caller]
    pub fn read_until_reset(&mut self) -> Vec<u8> {
        let (bytes, ending) = self.read_until_end();
        assert_eq!(ending, Ending::Reset, "{}: after {}", self.name, shown(&bytes));
        bytes
    }

    #[track_caller]
    pub fn read_until_end(&mut self) -> (Vec<u8>, Ending) {
        self.read_until_end_within(DEADLINE)
    }

    #[track_caller]
    pub fn read_until_end_within(&mut self, within: Duration) -> (Vec<u8>, Ending) {
        let until = Instant::now() + within;
        loop {
            match self.fill(until) {
                Got::Bytes => {}
                Got::End(ending) => return (std::mem::take(&mut self.held), ending),
                Got::Nothing => {
                    panic!("{}: not closed within {within:?}; holds {}", self.name, shown(&self.held))
                }
            }
        }
    }

    /// The other side ends the connection without another byte.
    #[track_caller]
    pub fn expect_closed(&mut self) -> Ending {
        self.expect_closed_within(DEADLINE)
    }

    #[track_caller]
    pub fn expect_closed_within(&mut self, within: Duration) -> Ending {
        let (bytes, ending) = self.read_until_end_within(within);
        assert!(bytes.is_empty(), "{}: expected the end, got {}", self.name, shown(&bytes));
        ending
    }

    /// Nothing comes and nothing closes for `length`. A promise of silence cannot be tested without waiting.
    #[track_caller]
    pub fn expect_silence_for(&mut self, length: Duration) {
        assert!(self.held.is_empty(), "{}: expected silence, holds {}", self.name, shown(&self.held));
        match self.fill(Instant::now() + length) {
            Got::Nothing => {}
            Got::Bytes => panic!("{}: expected silence, got {}", self.name, shown(&self.held)),
            Got::End(ending) => panic!("{}: expected silence, got {ending:?}", self.name),
        }
    }

    /// What comes first `within` that time: bytes (then held) are `None`, as is nothing; an end is `Some`.
    pub fn try_read(&mut self, within: Duration) -> Option<Ending> {
        match self.fill(Instant::now() + within) {
            Got::End(ending) => Some(ending),
            Got::Bytes | Got::Nothing => None,
        }
    }

    /// The head of a response to `method`: an interim one, or one whose body the script reads itself.
    #[track_caller]
    pub fn read_response_head(&mut self, method: &str) -> Response {
        let head = self.read_head();
        self.sound(Response::parse(&head, method))
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The socket itself, for a library that wants to speak over it; nothing may be held.
    #[track_caller]
    pub fn into_tcp(self) -> TcpStream {
        assert!(self.held.is_empty(), "{}: still holds {}", self.name, shown(&self.held));
        match self.wire {
            Wire::Tcp(tcp) => {
                tcp.set_read_timeout(Some(DEADLINE)).expect("SO_RCVTIMEO");
                tcp
            }
            Wire::Unix(_) => panic!("{}: not TCP", self.name),
        }
    }

    #[track_caller]
    pub fn sound<T>(&self, parsed: Result<T, String>) -> T {
        parsed.unwrap_or_else(|why| panic!("{}: malformed: {why}", self.name))
    }

    #[track_caller]
    fn done<T>(&self, read: Result<T, Stuck>) -> T {
        let why = match read {
            Ok(value) => return value,
            Err(Stuck::Ended(step, ending)) => format!("{step}: the other side ended ({ending:?})"),
            Err(Stuck::Late(step)) => format!("{step}: not within {:?}", self.patience),
            Err(Stuck::Malformed(why)) => format!("malformed: {why}"),
        };
        panic!("{}: {why}; holds {}", self.name, shown(&self.held));
    }

    fn try_exact(&mut self, len: usize) -> Result<Vec<u8>, Stuck> {
        self.hold(|| format!("read {len} bytes"), |held| held.len() >= len)?;
        Ok(self.held.drain(..len).collect())
    }

    fn try_until(&mut self, mark: &[u8]) -> Result<Vec<u8>, Stuck> {
        let (mut seen, mut at) = (0, None);
        self.hold(
            || format!("read until {}", shown(mark)),
            |held| {
                at = held[seen..].windows(mark.len()).position(|w| w == mark).map(|at| seen + at);
                seen = held.len().saturating_sub(mark.len() - 1);
                at.is_some()
            },
        )?;
        let end = at.expect("found") + mark.len();
        Ok(self.held.drain(..end).collect())
    }

    fn try_body(&mut self, end: BodyEnd) -> Result<(Vec<u8>, Fields), Stuck> {
        match end {
            BodyEnd::NoBody => Ok((Vec::new(), Fields::default())),
            BodyEnd::Length(len) => Ok((self.try_exact(usize::try_from(len).expect("length"))?, Fields::default())),
            BodyEnd::Chunked => {
                let mut body = Vec::new();
                while let Some(chunk) = self.try_chunk()? {
                    body.extend_from_slice(&chunk);
                }
                Ok((body, self.try_trailers()?))
            }
            BodyEnd::Close => {
                unreachable!("a request never ends by close, and a response is read by read_body")
            }
        }
    }

    fn try_chunk(&mut self) -> Result<Option<Vec<u8>>, Stuck> {
        let line = self.try_until(b"\r\n")?;
        let size = message::chunk_size(&line[..line.len() - 2]).map_err(Stuck::Malformed)?;
        if size == 0 {
            return Ok(None);
        }
        let chunk = self.try_exact(size)?;
        match self.try_exact(2)?.as_slice() {
            b"\r\n" => Ok(Some(chunk)),
            end => Err(Stuck::Malformed(format!("a chunk ends with {}", shown(end)))),
        }
    }

    fn try_trailers(&mut self) -> Result<Fields, Stuck> {
        let mut lines = Vec::new();
        loop {
            let line = self.try_until(b"\r\n")?;
            if line == b"\r\n" {
                return message::trailers(&lines).map_err(Stuck::Malformed);
            }
            lines.extend_from_slice(&line);
        }
    }

    /// Reads until `enough`.
    fn hold(&mut self, step: impl Fn() -> String, mut enough: impl FnMut(&[u8]) -> bool) -> Result<(), Stuck> {
        let until = Instant::now() + self.patience;
        while !enough(&self.held) {
            match self.fill(until) {
                Got::Bytes => {}
                Got::End(ending) => return Err(Stuck::Ended(step(), ending)),
                Got::Nothing => return Err(Stuck::Late(step())),
            }
        }
        Ok(())
    }

    fn fill(&mut self, until: Instant) -> Got {
        let mut space = [0; 65536];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Got::Nothing;
            }
            self.wire.set_read_timeout(left);
            match self.wire.read(&mut space) {
                Ok(0) => return Got::End(Ending::Fin),
                Ok(n) => {
                    self.held.extend_from_slice(&space[..n]);
                    return Got::Bytes;
                }
                Err(e) => match e.kind() {
                    ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut => {}
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                        return Got::End(Ending::Reset);
                    }
                    _ => panic!("{}: read: {e}", self.name),
                },
            }
        }
    }
}

impl Wire {
    pub fn again(&self) -> Wire {
        match self {
            Self::Tcp(s) => Self::Tcp(s.try_clone().expect("dup")),
            Self::Unix(s) => Self::Unix(s.try_clone().expect("dup")),
        }
    }

    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::Tcp(s) => s.shutdown(how),
            Self::Unix(s) => s.shutdown(how),
        }
    }

    fn set_read_timeout(&self, after: Duration) {
        match self {
            Self::Tcp(s) => s.set_read_timeout(Some(after)),
            Self::Unix(s) => s.set_read_timeout(Some(after)),
        }
        .expect("SO_RCVTIMEO");
    }

    fn set_write_timeout(&self, after: Duration) {
        match self {
            Self::Tcp(s) => s.set_write_timeout(Some(after)),
            Self::Unix(s) => s.set_write_timeout(Some(after)),
        }
        .expect("SO_SNDTIMEO");
    }
}

impl Read for Wire {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(s) => s.read(space),
            Self::Unix(s) => s.read(space),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(s) => s.write(bytes),
            Self::Unix(s) => s.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
