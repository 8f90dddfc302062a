//! The router's own answers: refusals, redirects, literal texts.
//!
//! Not here: whether the session goes on after one; the caller says so in `keep`.

use super::rebuild::put_field;
use super::{Refusal, Sink, Version};
use crate::http::names::{Name, classify, is_hop_by_hop};

/// One answer.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// 200 to 599.
    pub status: u16,
    /// text/plain; charset=utf-8
    pub body: &'a [u8],
    /// The id of the request it answers.
    pub request_id: &'a [u8],
    /// An IMF-fixdate (RFC 9110 section 5.6.7).
    pub date: &'a [u8],
    /// Another exchange follows on this session.
    pub keep: bool,
    /// What the client speaks.
    pub client: Version,
    /// It answers a HEAD.
    pub head_request: bool,
    /// More fields: Allow, Retry-After, Location, what a route sets. One of ours among them takes its place; framing and
    /// fields of one hop are left out.
    pub extra: &'a [(&'a str, &'a [u8])],
}

/// Writes an answer, head and body.
pub fn reply<S: Sink>(reply: &Reply<'_>, out: &mut S) -> Result<(), S::Error> {
    put_status_line(reply.status, b"", out)?;
    let given = |name: &str| reply.extra.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    // These two have no content, so nothing describes it (RFC 9110 sections 15.3.5 and 15.4.5).
    let content = !matches!(reply.status, 100..=199 | 204 | 304);
    if !given("date") {
        put_field(b"Date", reply.date, out)?;
    }
    if content {
        if !given("content-type") {
            put_field(b"Content-Type", b"text/plain; charset=utf-8", out)?;
        }
        out.put(b"Content-Length: ")?;
        put_decimal(reply.body.len() as u64, out)?;
        out.put(b"\r\n")?;
    }
    if !given("x-request-id") {
        put_field(b"X-Request-Id", reply.request_id, out)?;
    }
    for (name, value) in reply.extra {
        let known = classify(name);
        if !is_hop_by_hop(known) && known != Name::Alias {
            put_field(name.as_bytes(), value, out)?;
        }
    }
    super::rebuild::put_connection(reply.keep, reply.client, out)?;
    out.put(b"\r\n")?;
    if content && !reply.head_request {
        out.put(reply.body)?;
    }
    Ok(())
}

/// Writes what a refused client reads.
pub fn refusal_body<S: Sink>(refusal: &Refusal, request_id: &[u8], out: &mut S) -> Result<(), S::Error> {
    put_decimal(u64::from(refusal.status), out)?;
    out.put(b" ")?;
    out.put(reason_phrase(refusal.status).as_bytes())?;
    out.put(b": ")?;
    out.put(refusal.why.as_bytes())?;
    out.put(b"\nrequest id: ")?;
    out.put(request_id)?;
    out.put(b"\n")
}

/// `HTTP/1.1 code reason`, the canonical reason when there is none.
pub(crate) fn put_status_line<S: Sink>(status: u16, reason: &[u8], out: &mut S) -> Result<(), S::Error> {
    out.put(b"HTTP/1.1 ")?;
    put_decimal(u64::from(status), out)?;
    out.put(b" ")?;
    out.put(if reason.is_empty() { reason_phrase(status).as_bytes() } else { reason })?;
    out.put(b"\r\n")
}

/// Writes a number in decimal.
pub fn put_decimal<S: Sink>(n: u64, out: &mut S) -> Result<(), S::Error> {
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut left = n;
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + (left % 10) as u8;
        start = at;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.put(digits.get(start..).unwrap_or_default())
}

/// What a status is called (RFC 9110 section 15 and the registry).
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        510 => "Not Extended",
        511 => "Network Authentication Required",
        _ => "Unknown",
    }
}
