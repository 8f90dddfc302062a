//! Where a head ends: one look at each byte, however it arrives.
//!
//! Not here: what the head says. Only what must be known before it is whole is judged: line ends, the first byte,
//! a request line without a version.

use crate::http::names::is_tchar;
use crate::http::{BadResponse, Refusal};

/// What a look at the unread bytes gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan<E = Refusal> {
    /// The head is there: `bytes[skip..skip + len]`.
    Whole {
        /// Bytes of empty lines before the start line.
        skip: usize,
        /// Bytes of the head, its final empty line included.
        len: usize,
    },
    /// More is needed.
    Partial {
        /// At least one byte that is not part of a leading empty line has arrived.
        begun: bool,
        /// For the next call.
        scanned: usize,
    },
    /// No message begins like this.
    Bad(E),
}

/// Empty lines that may come before a request line (RFC 9112 section 2.2: "at least one").
const EMPTY_LINES_MAX: usize = 4;

/// As many empty lines as have `len` bytes, for who has to say later which came before a request; never more than may.
pub fn empty_lines(len: usize) -> &'static [u8] {
    const ALL: &[u8; 2 * EMPTY_LINES_MAX] = b"\r\n\r\n\r\n\r\n";
    &ALL[..len.min(ALL.len())]
}

const BARE_LF: &str = "a line of the head ends with a bare LF";

/// Looks for the end of a request head. `bytes` begins at the first byte that is not consumed yet; `scanned` of them were
/// seen by an earlier call (0 is always right).
pub fn scan(bytes: &[u8], scanned: usize) -> Scan {
    let mut skip = 0;
    while let Some(rest) = bytes.get(skip..) {
        match rest {
            [b'\r', b'\n', ..] if skip >= 2 * EMPTY_LINES_MAX => {
                return Scan::Bad(Refusal::new(400, "too many empty lines before the request"));
            }
            [b'\r', b'\n', ..] => skip += 2,
            [] | [b'\r'] => {
                return Scan::Partial { begun: false, scanned: bytes.len() };
            }
            [b'\r', ..] => {
                return Scan::Bad(Refusal::new(400, "a CR without its LF before the request"));
            }
            [b'\n', ..] => return Scan::Bad(Refusal::new(400, BARE_LF)),
            [0x16, ..] => {
                return Scan::Bad(Refusal::new(400, "this is a TLS handshake, and this port speaks plain HTTP"));
            }
            [first, ..] if !is_tchar(*first) => {
                return Scan::Bad(Refusal::new(400, "no method begins with the first byte of the request"));
            }
            _ => break,
        }
    }
    match lines(bytes, skip, scanned) {
        // HTTP/0.9 would wait for an answer here, and we for more: said now, and first, as when the line comes alone.
        _ if !has_version(bytes.get(skip..).unwrap_or_default()) => {
            Scan::Bad(Refusal::new(400, "the request line has no HTTP version"))
        }
        Lines::BareLf => Scan::Bad(Refusal::new(400, BARE_LF)),
        Lines::End(len) => Scan::Whole { skip, len },
        Lines::More => Scan::Partial { begun: true, scanned: bytes.len() },
    }
}

/// Whether the request line, if it is whole and well ended, names a version.
fn has_version(head: &[u8]) -> bool {
    let Some(lf) = find(head, 0, b'\n') else { return true };
    let line = head.get(..lf).unwrap_or_default();
    if !line.ends_with(b"\r") {
        return true;
    }
    // Nearly always at its end, `HTTP/1.1` and CR.
    let ends_in_one = line.last_chunk::<10>().is_some_and(|end| end.starts_with(b" HTTP/"));
    ends_in_one || line.windows(6).any(|part| part == b" HTTP/")
}

/// Looks for the end of a response head: as [`scan()`], but no empty line may come first.
pub fn scan_response(bytes: &[u8], scanned: usize) -> Scan<BadResponse> {
    const BEGIN: &[u8; 7] = b"HTTP/1.";
    let begins_well = match bytes.first_chunk::<{ BEGIN.len() }>() {
        Some(begin) => begin == BEGIN,
        None => BEGIN.starts_with(bytes),
    };
    if !begins_well {
        return Scan::Bad(BadResponse("the backend's answer does not begin with HTTP/1"));
    }
    match lines(bytes, 0, scanned.max(BEGIN.len())) {
        Lines::End(len) => Scan::Whole { skip: 0, len },
        Lines::More => Scan::Partial { begun: !bytes.is_empty(), scanned: bytes.len() },
        Lines::BareLf => Scan::Bad(BadResponse(BARE_LF)),
    }
}

enum Lines {
    /// Length of the head.
    End(usize),
    More,
    BareLf,
}

/// Walks the line ends of a head that begins at `from`, and not with an empty line.
#[inline]
fn lines(bytes: &[u8], from: usize, scanned: usize) -> Lines {
    let mut at = scanned.clamp(from, bytes.len().max(from));
    loop {
        if is_dull(bytes, at) {
            at += BLOCK;
            continue;
        }
        let block = bytes.get(..at + BLOCK).unwrap_or(bytes);
        while let Some(lf) = find(block, at, b'\n') {
            match bytes.get(from..=lf).unwrap_or_default() {
                line @ [.., b'\n', b'\r', b'\n'] => return Lines::End(line.len()),
                [.., b'\r', b'\n'] => {}
                _ => return Lines::BareLf,
            }
            at = lf + 1;
        }
        if block.len() == bytes.len() {
            return Lines::More;
        }
        at = block.len();
    }
}

/// Bytes that are looked at in one go.
const BLOCK: usize = 32;

/// Whether a block is there, and each LF in it only ends a line: none ends an empty one, none comes without its CR.
/// Written so that the compiler makes a handful of vector instructions of it.
#[inline]
fn is_dull(bytes: &[u8], at: usize) -> bool {
    let block = at.checked_sub(2).and_then(|two_before| bytes.get(two_before..)?.first_chunk::<{ BLOCK + 2 }>());
    let Some(block) = block else { return false };
    let look = |n: usize| (block[n + 2] == b'\n') & ((block[n + 1] != b'\r') | (block[n] == b'\n'));
    !(0..BLOCK).fold(false, |seen, n| seen | look(n))
}

/// The first `byte` at or after `from`, eight bytes at a time.
#[inline]
pub(super) fn find(bytes: &[u8], from: usize, byte: u8) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let wanted = ONES * u64::from(byte);
    let rest = bytes.get(from..)?;
    let (words, tail) = rest.as_chunks::<8>();
    for (n, word) in words.iter().enumerate() {
        let x = u64::from_le_bytes(*word) ^ wanted;
        // The lowest byte that is zero is exact; higher ones may be false, and are not asked for.
        let zeros = x.wrapping_sub(ONES) & !x & HIGH;
        if zeros != 0 {
            return Some(from + n * 8 + zeros.trailing_zeros() as usize / 8);
        }
    }
    tail.iter().position(|b| *b == byte).map(|n| from + words.len() * 8 + n)
}
