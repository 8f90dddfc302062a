//! How a body leaves: our own chunk lines, never the ones received, and the trailers that may pass.

use crate::http::Sink;
use crate::http::names::{Name, classify};

/// How a body leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyWriter {
    /// As it is: counted by Content-Length, or ended by the close.
    Plain,
    /// In chunks (RFC 9112 section 7.1).
    Chunked,
}

/// After the bytes of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// The last chunk; then trailers, then an empty line.
pub const LAST_CHUNK: &[u8] = b"0\r\n";

/// The line before the bytes of a chunk: `1f40\r\n`. At most 18 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkLine {
    bytes: [u8; 18],
    start: usize,
}

impl ChunkLine {
    /// For a chunk of `len` bytes. 0 would be the last chunk: a caller with nothing to send sends no chunk.
    pub fn new(len: usize) -> Self {
        let mut line = Self { bytes: *b"0000000000000000\r\n", start: 16 };
        let mut left = len;
        for at in (0..16).rev() {
            line.bytes[at] = b"0123456789abcdef"[left & 0xf];
            line.start = at;
            left >>= 4;
            if left == 0 {
                break;
            }
        }
        line
    }

    /// The line with its CRLF.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

/// Writes the trailer lines that may pass: none that frames, routes, authenticates, controls or describes the message
/// (RFC 9110 section 6.5.1), none of one hop, none that says who the client is.
pub fn put_trailers<S: Sink>(raw: &[u8], out: &mut S) -> Result<(), S::Error> {
    // Lines that pass on end are put at once.
    let (mut from, mut to) = (0, 0);
    for line in raw.split_inclusive(|b| *b == b'\n') {
        let name = line.split(|b| *b == b':').next().unwrap_or_default();
        let passes = may_pass(name) && line.ends_with(b"\r\n");
        if !passes {
            out.put(&raw[from..to])?;
            from = to + line.len();
        }
        to += line.len();
    }
    out.put(&raw[from..to])
}

fn may_pass(name: &[u8]) -> bool {
    // By length first: a section may have 2000 names.
    let never: &[&[u8]] = match name.len() {
        3 => &[b"age"],
        4 => &[b"date", b"vary"],
        5 => &[b"allow", b"range"],
        6 => &[b"cookie", b"origin", b"pragma"],
        7 => &[b"cookie2", b"expires", b"referer", b"trailer"],
        8 => &[b"if-match", b"if-range", b"location"],
        10 => &[b"set-cookie"],
        11 => &[b"retry-after", b"set-cookie2"],
        12 => &[b"content-type"],
        13 => &[b"authorization", b"cache-control", b"content-range", b"if-none-match"],
        16 => &[b"content-encoding", b"content-location", b"www-authenticate"],
        17 => &[b"if-modified-since"],
        18 => &[b"proxy-authenticate"],
        19 => &[b"if-unmodified-since", b"proxy-authorization"],
        25 => &[b"proxy-authentication-info", b"upgrade-insecure-requests"],
        _ => &[],
    };
    match std::str::from_utf8(name) {
        Ok(text) if classify(text) == Name::Other => !never.iter().any(|n| n.eq_ignore_ascii_case(name)),
        _ => false,
    }
}
