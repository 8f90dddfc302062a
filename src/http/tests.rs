//! Promises of the room as a whole: each file of `tests/` holds those of one concern, named after what is promised.
//!
//! Inputs go through the same door as in a session: scanned for their end, then parsed.

mod bodies;
mod dice;
mod heads;
mod hosts_and_targets;
mod mutations;
mod plain;
mod rebuilt_requests;
mod rebuilt_responses;
mod responses;
mod splits;

use super::head::{HeadLimits, RequestHead, ResponseHead, Scan, parse_request, parse_response, scan, scan_response};
use super::{BadResponse, Refusal, no_fields};

const LIMITS: HeadLimits = HeadLimits { uri_size: 8192, header_count: 100 };

/// Reads a request and shows its head to `see`.
fn with_request<T>(bytes: &[u8], see: impl FnOnce(&RequestHead<'_, '_>) -> T) -> Result<T, Refusal> {
    let (skip, len) = match scan(bytes, 0) {
        Scan::Whole { skip, len } => (skip, len),
        Scan::Bad(refusal) => return Err(refusal),
        Scan::Partial { .. } => panic!("the head has no end: {:?}", String::from_utf8_lossy(bytes)),
    };
    let mut fields = no_fields();
    parse_request(&bytes[skip..skip + len], &mut fields, &LIMITS).map(|head| see(&head))
}

/// Reads a response and shows its head to `see`.
fn with_response<T>(
    bytes: &[u8],
    to_head: bool,
    see: impl FnOnce(&ResponseHead<'_, '_>) -> T,
) -> Result<T, BadResponse> {
    let len = match scan_response(bytes, 0) {
        Scan::Whole { skip: 0, len } => len,
        Scan::Bad(bad) => return Err(bad),
        other => panic!("the head has no end: {other:?}"),
    };
    let mut fields = no_fields();
    parse_response(&bytes[..len], &mut fields, to_head).map(|head| see(&head))
}

/// The status a request is refused with; 0 if it is not.
fn refused(bytes: impl AsRef<[u8]>) -> u16 {
    with_request(bytes.as_ref(), |_| ()).err().map_or(0, |r| r.status)
}

/// `GET / HTTP/1.1`, Host, and these lines, each without its CRLF.
fn get_with(lines: &[&str]) -> String {
    request_with("GET / HTTP/1.1", lines)
}

fn request_with(start: &str, lines: &[&str]) -> String {
    let mut text = format!("{start}\r\nHost: a.example\r\n");
    for line in lines {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text + "\r\n"
}

fn response_with(start: &str, lines: &[&str]) -> String {
    let mut text = format!("{start}\r\n");
    for line in lines {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text + "\r\n"
}
