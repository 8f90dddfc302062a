//! What a request head says. The order of the checks decides which status an unlucky request gets.
//!
//! Not here: finding the head (`scan`), limits on its size as a whole, which the caller's buffer sets.

use super::scan::find;
use super::{HeadLimits, Method, RequestHead};
use crate::http::framing::{Body, FramingFields};
use crate::http::names::{Connection, Name, OPTIONS_MAX, classify, elements};
use crate::http::target;
use crate::http::{Field, Fields, Refusal, Version};

/// Reads a head that [`scan()`](super::scan()) found. The caller closes after any refusal: where the next request
/// would begin is not known.
pub fn parse_request<'h, 'b>(
    head: &'b [u8],
    fields: &'h mut Fields<'b>,
    limits: &HeadLimits,
) -> Result<RequestHead<'h, 'b>, Refusal> {
    let mut parsed = httparse::Request::new(&mut []);
    let outcome = parsed.parse_with_uninit_headers(head, &mut fields.lines);
    let (Ok(httparse::Status::Complete(used)), Some(method), Some(raw_target), Some(version)) =
        (outcome, parsed.method, parsed.path, parsed.version)
    else {
        return Err(why_not(head, outcome.err(), limits));
    };
    let raw_target = raw_target.as_bytes();
    if raw_target.len() > limits.uri_size {
        return Err(URI_TOO_LONG);
    }
    let (fields, names): (&'h [Field<'b>], _) = (parsed.headers, &mut fields.names);
    if fields.len() > limits.header_count {
        return Err(TOO_MANY_FIELDS);
    }
    if used != head.len() {
        return Err(Refusal::new(400, "the head does not end where it should"));
    }
    let method = Method::of(method);
    let version = if version == 0 { Version::Http10 } else { Version::Http11 };
    if method == Method::Connect {
        return Err(Refusal::new(405, "this router makes no CONNECT tunnels"));
    }

    let said = Said::by(fields, names);
    if said.framing.has_unknown_coding() {
        return Err(Refusal::new(501, "the only transfer coding taken here is chunked"));
    }
    if said.expect == Expect::Unknown && version == Version::Http11 {
        return Err(Refusal::new(417, "the only expectation met here is 100-continue"));
    }
    let body = said.framing.request(version)?;
    if said.connection.options > OPTIONS_MAX {
        return Err(Refusal::new(400, "Connection names too many options"));
    }
    let target = target::parse(raw_target, method)?;
    let host = agreed_host(&said, target.authority, version)?;

    Ok(RequestHead {
        method,
        version,
        path: target.path,
        query: target.query,
        raw_target,
        host,
        fields,
        names,
        body,
        expects_continue: said.expect == Expect::Continue
            && version == Version::Http11
            && !matches!(body, Body::None | Body::Length(0)),
        // With a body it is an ordinary request: the bytes after the head are not the new protocol's (RFC 9110 section 7.8).
        upgrade_websocket: said.upgrade_websocket
            && said.connection.upgrade
            && version == Version::Http11
            && method == Method::Get
            && body == Body::None,
        trailers_pass: !said.connection.names_fields,
        keep_alive: !said.connection.close && (version == Version::Http11 || said.connection.keep_alive),
        names_fields: said.connection.names_fields,
    })
}

/// Whether a request line that has not ended yet already has a target over the limit.
pub fn uri_too_long(partial: &[u8], uri_size: usize) -> bool {
    let start = partial.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(partial.len());
    let line = partial.get(start..).unwrap_or_default();
    if line.len() <= uri_size {
        return false;
    }
    // Asked again for each segment of a slow head, so not byte by byte.
    let until = |bytes: &'_ [u8], end| find(bytes, 0, end).unwrap_or(bytes.len());
    let line = &line[..until(line, b'\r')];
    let target = line.get(until(line, b' ') + 1..).unwrap_or_default();
    until(target, b' ') > uri_size
}

const URI_TOO_LONG: Refusal = Refusal::new(414, "the request target is too long");
const TOO_MANY_FIELDS: Refusal = Refusal::new(431, "the request has too many header fields");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Absent,
    Continue,
    Unknown,
}

/// What the fields that matter say, over all their lines.
struct Said<'b> {
    host: Option<&'b [u8]>,
    hosts: usize,
    framing: FramingFields,
    connection: Connection,
    upgrade_websocket: bool,
    expect: Expect,
}

impl<'b> Said<'b> {
    /// Notes in `names` what each name is.
    fn by(fields: &[Field<'b>], names: &mut [Name]) -> Self {
        let mut said = Self {
            host: None,
            hosts: 0,
            framing: FramingFields::default(),
            connection: Connection::default(),
            upgrade_websocket: false,
            expect: Expect::Absent,
        };
        for (field, name) in fields.iter().zip(names) {
            *name = classify(field.name);
            match name {
                Name::Host => {
                    said.host = Some(field.value);
                    said.hosts += 1;
                }
                Name::ContentLength => said.framing.content_length(field.value),
                Name::TransferEncoding => said.framing.transfer_encoding(field.value),
                Name::Connection => said.connection.add(field.value),
                Name::Upgrade => {
                    said.upgrade_websocket |= elements(field.value).any(|e| e.eq_ignore_ascii_case(b"websocket"));
                }
                Name::Expect => {
                    let known = elements(field.value).all(|e| e.eq_ignore_ascii_case(b"100-continue"));
                    if !known {
                        said.expect = Expect::Unknown;
                    } else if said.expect == Expect::Absent {
                        said.expect = Expect::Continue;
                    }
                }
                _ => {}
            }
        }
        said
    }
}

/// The one host that Host and an absolute target agree on (RFC 9112 section 3.2).
fn agreed_host<'b>(said: &Said<'b>, authority: Option<&'b [u8]>, version: Version) -> Result<&'b [u8], Refusal> {
    if said.hosts > 1 {
        return Err(Refusal::new(400, "the request has more than one Host field"));
    }
    let host = match (said.host, authority) {
        (None, _) if version == Version::Http11 => {
            return Err(Refusal::new(400, "an HTTP/1.1 request needs a Host field"));
        }
        (None, None) => return Ok(b""),
        (None, Some(authority)) => authority,
        (Some(host), Some(authority)) if !host.eq_ignore_ascii_case(authority) => {
            return Err(Refusal::new(400, "the Host field differs from the authority of the target"));
        }
        (Some(host), _) => host,
    };
    if target::is_host(host) { Ok(host) } else { Err(Refusal::new(400, "the Host field is no host")) }
}

/// The status for a head that the tokeniser refused. Slow and thorough: this connection is about to close.
fn why_not(head: &[u8], error: Option<httparse::Error>, limits: &HeadLimits) -> Refusal {
    if uri_too_long(head, limits.uri_size) {
        return URI_TOO_LONG;
    }
    // The start line and the empty line are no fields.
    let fields = head.iter().filter(|b| **b == b'\n').count().saturating_sub(2);
    if error == Some(httparse::Error::TooManyHeaders) || fields > limits.header_count {
        return TOO_MANY_FIELDS;
    }
    match error {
        Some(httparse::Error::Version) => {
            let line = head.split(|b| matches!(b, b'\r' | b'\n')).next().unwrap_or_default();
            let mut parts = line.split(|b| *b == b' ');
            match (parts.next(), parts.next(), parts.next(), parts.next()) {
                (_, _, Some([b'H', b'T', b'T', b'P', b'/', b'1'..=b'9', b'.', b'0'..=b'9']), None) => {
                    Refusal::new(505, "this router speaks HTTP/1.1 and HTTP/1.0")
                }
                _ => Refusal::new(400, "the request line has no HTTP version"),
            }
        }
        Some(httparse::Error::HeaderName) => Refusal::new(400, "a header field name is malformed"),
        Some(httparse::Error::HeaderValue) => Refusal::new(400, "a header field value is malformed"),
        Some(httparse::Error::NewLine) => Refusal::new(400, "a line of the head does not end with CRLF"),
        _ => Refusal::new(400, "the request line is malformed"),
    }
}
