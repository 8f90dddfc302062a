//! Heads, bodies and numbered bytes, for clients and origins that move many of them.

use std::io::{self, BufRead, ErrorKind, Read, Write};

/// What stands before a body.
#[derive(Debug)]
pub struct Head {
    pub start: String,
    fields: Vec<(String, String)>,
}

impl Head {
    /// The next one; `None` when the other side ended instead.
    pub fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        if from.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let start = line(from)?;
        let mut fields = Vec::new();
        loop {
            let field = line(from)?;
            if field.is_empty() {
                return Ok(Some(Self { start, fields }));
            }
            let (name, value) = field.split_once(':').ok_or_else(|| bad(&field))?;
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// The first value; `name` in small letters.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn says_close(&self) -> bool {
        self.get("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// The body that follows; without a length and without chunks there is none.
    pub fn body<'a, R: BufRead>(&self, from: &'a mut R) -> io::Result<Body<'a, R>> {
        let left = match (self.get("content-length"), self.get("transfer-encoding")) {
            (Some(length), None) => Left::Length(length.parse().map_err(|_| bad(length))?),
            (None, Some("chunked")) => Left::Chunk(0),
            (None, None) => Left::Length(0),
            both => return Err(bad(&format!("{both:?}"))),
        };
        Ok(Body { from, left })
    }
}

/// A body, decoded. Its end by anything but its framing is an error.
pub struct Body<'a, R> {
    from: &'a mut R,
    left: Left,
}

enum Left {
    Length(u64),
    /// What is left of this chunk; another follows.
    Chunk(u64),
    Done,
}

impl<R: BufRead> Read for Body<'_, R> {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        if let Left::Chunk(0) = self.left {
            let size = line(self.from)?;
            self.left = Left::Chunk(u64::from_str_radix(&size, 16).map_err(|_| bad(&size))?);
            if let Left::Chunk(0) = self.left {
                while !line(self.from)?.is_empty() {}
                self.left = Left::Done;
            }
        }
        let (Left::Length(left) | Left::Chunk(left)) = &mut self.left else { return Ok(0) };
        let room = space.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
        if room == 0 {
            // Asking for nothing would wait for something.
            return Ok(0);
        }
        let n = self.from.read(&mut space[..room])?;
        if n == 0 {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "a body was cut"));
        }
        *left -= n as u64;
        if let Left::Chunk(0) = self.left {
            // Another size is read only when it is asked for, but the line end is due now.
            expect_end_of_chunk(self.from)?;
        }
        Ok(n)
    }
}

fn expect_end_of_chunk(from: &mut impl BufRead) -> io::Result<()> {
    match line(from)? {
        end if end.is_empty() => Ok(()),
        other => Err(bad(&other)),
    }
}

/// A line that ends with CRLF, without it.
fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    from.take(32 * 1024).read_until(b'\n', &mut line)?;
    match line.strip_suffix(b"\r\n") {
        Some(text) => String::from_utf8(text.to_vec()).map_err(|_| bad(&String::from_utf8_lossy(text))),
        None if line.ends_with(b"\n") => Err(bad(&String::from_utf8_lossy(&line))),
        None => Err(io::Error::new(ErrorKind::UnexpectedEof, "a head was cut")),
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("malformed: {what:?}"))
}

/// Bytes that belong to one number and to no other, and their checksum.
pub struct Bytes {
    state: u64,
    sum: Sum,
}

/// How many bytes are made, read or written at a time.
const PIECE: usize = 32 * 1024;

impl Bytes {
    pub fn of(number: u64) -> Self {
        Self { state: number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, sum: Sum::default() }
    }

    /// Fills all of `space`, whose length is a multiple of eight but for the last time.
    fn fill(&mut self, space: &mut [u8]) {
        for word in space.chunks_mut(8) {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            word.copy_from_slice(&self.state.to_le_bytes()[..word.len()]);
        }
        self.sum.add(space);
    }

    /// Writes `len` bytes, as chunks or bare, and tells their checksum.
    pub fn write(mut self, len: usize, chunked: bool, to: &mut impl Write) -> io::Result<u64> {
        let (mut space, mut out) = (vec![0; PIECE], Vec::with_capacity(PIECE + 16));
        let mut left = len;
        while left > 0 {
            let piece = &mut space[..left.min(PIECE)];
            self.fill(piece);
            out.clear();
            if chunked {
                write!(out, "{:x}\r\n", piece.len())?;
            }
            out.extend_from_slice(piece);
            if chunked {
                out.extend_from_slice(b"\r\n");
            }
            to.write_all(&out)?;
            left -= piece.len();
        }
        if chunked {
            to.write_all(b"0\r\n\r\n")?;
        }
        to.flush()?;
        Ok(self.sum.0)
    }

    /// What `write` would have told.
    pub fn sum(self, len: usize) -> u64 {
        self.write(len, false, &mut io::sink()).expect("a sink takes all")
    }
}

/// A checksum in which the order of the bytes counts.
#[derive(Default)]
struct Sum(u64);

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        for word in bytes.chunks(8) {
            let mut padded = [0; 8];
            padded[..word.len()].copy_from_slice(word);
            self.0 = (self.0.rotate_left(5) ^ u64::from_le_bytes(padded)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Length and checksum of all that `from` has.
pub fn read_sum(from: &mut impl Read) -> io::Result<(usize, u64)> {
    let (mut sum, mut len, mut held) = (Sum::default(), 0, 0);
    let mut space = vec![0; PIECE];
    loop {
        match from.read(&mut space[held..]) {
            Ok(0) => {
                sum.add(&space[..held]);
                return Ok((len, sum.0));
            }
            Ok(n) => {
                (len, held) = (len + n, held + n);
                if held == PIECE {
                    sum.add(&space);
                    held = 0;
                }
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
