//! HTTP messages as both ends of a soak read them: strictly, and saying how one broke off. It is no part of the router:
//! an oracle that shared code with what it judges would share its mistakes.

use std::io::{self, Read};
use std::thread::sleep;
use std::time::Duration;

use super::stream::Stream;

const HEAD_MAX: usize = 64 * 1024;
const BUFFER: usize = 64 * 1024;
const CHUNK_LINE_MAX: usize = 32;

/// Why there is no more of a message.
#[derive(Debug, PartialEq)]
pub enum Broken {
    /// An orderly end of input, too early.
    Ended,
    /// A reset.
    Reset,
    /// Nothing came, for very long.
    Late,
    /// What came is not HTTP, or not what was asked for.
    Wrong(String),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Late,
            _ => Self::Reset,
        }
    }
}

/// Start line and fields.
#[derive(Debug)]
pub struct Head {
    pub line: String,
    fields: Vec<(String, String)>,
}

impl Head {
    /// The value of the only field of that name; two are as wrong as none.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        self.field(name)?.parse().ok()
    }

    /// The number in `HTTP/1.1 200 OK`.
    pub fn status(&self) -> Option<u16> {
        self.line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
    }

    /// How the body ends that these fields announce.
    pub fn framing(&self, otherwise: Framing) -> Result<Framing, Broken> {
        match (self.field("transfer-encoding"), self.field("content-length")) {
            (Some("chunked"), None) => Ok(Framing::Chunked),
            (None, Some(_)) => self
                .number("content-length")
                .map(Framing::Length)
                .ok_or_else(|| Broken::Wrong(format!("bad length: {self:?}"))),
            (None, None) if !self.names("transfer-encoding") && !self.names("content-length") => Ok(otherwise),
            _ => Err(Broken::Wrong(format!("ambiguous framing: {self:?}"))),
        }
    }

    pub fn names(&self, name: &str) -> bool {
        self.fields.iter().any(|(other, _)| other.eq_ignore_ascii_case(name))
    }

    fn parse(bytes: &[u8]) -> Result<Self, Broken> {
        let wrong = || Broken::Wrong(format!("no head: \"{}\"", bytes[..bytes.len().min(200)].escape_ascii()));
        let text = std::str::from_utf8(bytes).map_err(|_| wrong())?;
        let mut lines = text.split("\r\n");
        let line = lines.next().filter(|line| line.contains("HTTP/1.1")).ok_or_else(wrong)?.to_owned();
        let pair = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
        let fields = lines.map(pair).collect::<Option<_>>().ok_or_else(wrong)?;
        Ok(Self { line, fields })
    }
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Framing {
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

/// Reads messages of one connection.
#[derive(Debug)]
pub struct Reader<'a> {
    stream: &'a Stream,
    bytes: Vec<u8>,
    /// `at <= bytes.len()`: read, and not yet used.
    at: usize,
    /// Bytes a read, and what is slept before each.
    slow: Option<(usize, Duration)>,
}

impl<'a> Reader<'a> {
    pub fn new(stream: &'a Stream) -> Self {
        Self { stream, bytes: Vec::new(), at: 0, slow: None }
    }

    /// From here on, few bytes at a time.
    pub fn slow_down(&mut self, bytes: usize, pause: Duration) {
        self.slow = Some((bytes.clamp(1, BUFFER), pause));
    }

    /// What has been read and is not used: of the next message, or of nobody's.
    pub fn left(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// `None` when the input has ended where a message could have begun.
    pub fn head(&mut self) -> Result<Option<Head>, Broken> {
        let mut looked = 0;
        loop {
            let left = self.left();
            if let Some(end) = left[looked..].windows(4).position(|four| four == b"\r\n\r\n") {
                let head = Head::parse(&left[..looked + end])?;
                self.at += looked + end + 4;
                return Ok(Some(head));
            }
            looked = left.len().saturating_sub(3);
            if left.len() > HEAD_MAX {
                return Err(Broken::Wrong("a head without an end".to_owned()));
            }
            if self.more()? == 0 {
                return if self.left().is_empty() { Ok(None) } else { Err(Broken::Ended) };
            }
        }
    }

    /// All of a body, piece by piece, to somebody who says what is wrong with it: how many bytes.
    pub fn body(&mut self, framing: Framing, mut to: impl FnMut(&[u8]) -> Result<(), Broken>) -> Result<u64, Broken> {
        match framing {
            Framing::None => Ok(0),
            Framing::Length(length) => {
                self.exactly(length, &mut to)?;
                Ok(length)
            }
            Framing::UntilClose => {
                let mut total = 0;
                loop {
                    total += self.left().len() as u64;
                    to(self.left())?;
                    self.at = self.bytes.len();
                    if self.more()? == 0 {
                        return Ok(total);
                    }
                }
            }
            Framing::Chunked => {
                let mut total = 0;
                loop {
                    let line = self.chunk_line()?;
                    let size = u64::from_str_radix(&line, 16)
                        .map_err(|_| Broken::Wrong(format!("no chunk: \"{}\"", line.escape_debug())))?;
                    if size == 0 {
                        return self.line_end().map(|()| total);
                    }
                    self.exactly(size, &mut to)?;
                    self.line_end()?;
                    total += size;
                }
            }
        }
    }

    /// Bytes as they come; none at the end.
    pub fn some(&mut self, mut to: impl FnMut(&[u8]) -> Result<(), Broken>) -> Result<usize, Broken> {
        if self.left().is_empty() && self.more()? == 0 {
            return Ok(0);
        }
        let n = self.left().len();
        to(self.left())?;
        self.at += n;
        Ok(n)
    }

    fn exactly(&mut self, length: u64, to: &mut impl FnMut(&[u8]) -> Result<(), Broken>) -> Result<(), Broken> {
        let mut rest = length;
        while rest > 0 {
            if self.left().is_empty() && self.more()? == 0 {
                return Err(Broken::Ended);
            }
            let n = self.left().len().min(usize::try_from(rest).unwrap_or(usize::MAX));
            to(&self.left()[..n])?;
            self.at += n;
            rest -= n as u64;
        }
        Ok(())
    }

    fn chunk_line(&mut self) -> Result<String, Broken> {
        loop {
            if let Some(end) = self.left().windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8_lossy(&self.left()[..end]).into_owned();
                self.at += end + 2;
                return Ok(line);
            }
            if self.left().len() > CHUNK_LINE_MAX {
                let shown = self.left()[..CHUNK_LINE_MAX].escape_ascii();
                return Err(Broken::Wrong(format!("no chunk: \"{shown}\"")));
            }
            if self.more()? == 0 {
                return Err(Broken::Ended);
            }
        }
    }

    fn line_end(&mut self) -> Result<(), Broken> {
        match self.chunk_line()?.as_str() {
            "" => Ok(()),
            other => Err(Broken::Wrong(format!("after a chunk: \"{}\"", other.escape_debug()))),
        }
    }

    fn more(&mut self) -> Result<usize, Broken> {
        self.bytes.drain(..self.at);
        self.at = 0;
        let room = match self.slow {
            None => BUFFER,
            Some((bytes, pause)) => {
                sleep(pause);
                bytes
            }
        };
        let filled = self.bytes.len();
        self.bytes.resize(filled + room, 0);
        let read = loop {
            match (&*self.stream).read(&mut self.bytes[filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.bytes.truncate(filled + *read.as_ref().unwrap_or(&0));
        Ok(read?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    fn read<T>(sent: &[u8], script: impl FnOnce(&mut Reader<'_>) -> T) -> T {
        let (mut theirs, ours) = UnixStream::pair().unwrap();
        theirs.write_all(sent).unwrap();
        drop(theirs);
        script(&mut Reader::new(&Stream::Unix(ours)))
    }

    fn body(sent: &[u8], framing: Framing) -> Result<Vec<u8>, Broken> {
        let mut all = Vec::new();
        read(sent, |reader| {
            reader.body(framing, |bytes| {
                all.extend_from_slice(bytes);
                Ok(())
            })
        })?;
        Ok(all)
    }

    #[test]
    fn bodies_end_where_they_say() {
        assert_eq!(body(b"abcdef", Framing::Length(3)), Ok(b"abc".to_vec()));
        assert_eq!(body(b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\nx", Framing::Chunked), Ok(b"abc".to_vec()));
        assert_eq!(body(b"abc", Framing::UntilClose), Ok(b"abc".to_vec()));
    }

    #[test]
    fn what_is_cut_is_not_whole() {
        assert_eq!(body(b"ab", Framing::Length(3)), Err(Broken::Ended));
        for cut in ["1\r\na\r\n0\r\n\r", "1\r\na\r\n0\r\n", "1\r\na\r\n", "1\r\na", "1"] {
            assert_eq!(body(cut.as_bytes(), Framing::Chunked), Err(Broken::Ended), "{cut:?}");
        }
        assert!(matches!(body(b"1\r\nab\r\n0\r\n\r\n", Framing::Chunked), Err(Broken::Wrong(_))));
    }

    #[test]
    fn a_head_is_told_from_the_end_and_from_nonsense() {
        let head = read(b"HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\nB: 3\r\n\r\nrest", |reader| {
            let head = reader.head().unwrap().unwrap();
            assert_eq!(reader.left(), b"rest");
            head
        });
        assert_eq!((head.status(), head.number("a"), head.field("b")), (Some(200), Some(1), None));
        assert!(read(b"", |reader| reader.head().unwrap().is_none()));
        assert_eq!(read(b"HTTP/1.1 200", |reader| reader.head().unwrap_err()), Broken::Ended);
        assert!(matches!(read(b"rest of a body\r\n\r\n", |reader| reader.head().unwrap_err()), Broken::Wrong(_)));
    }
}
