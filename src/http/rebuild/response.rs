//! The response head towards a client.

use super::{may_be_set, put_field};
use crate::http::framing::ResponseBody;
use crate::http::head::ResponseHead;
use crate::http::names::{Name, Named, decimal, is_hop_by_hop};
use crate::http::reply::{put_decimal, put_status_line};
use crate::http::{Sink, Version};

/// What the route and the session add to a response.
#[derive(Debug, Clone, Copy)]
pub struct ResponseRebuild<'a> {
    /// Each replaces all fields of its name. Framing and fields of one hop are not set.
    pub set: &'a [(String, String)],
    /// Removed from what was received.
    pub remove: &'a [String],
    /// What the client speaks.
    pub client: Version,
    /// Another exchange follows on this session. A 1.0 client asked for it and is told.
    pub keep: bool,
    /// A 101 that was asked for.
    pub switching: bool,
    /// Framing towards the client; chunked only to 1.1 clients.
    pub body: ResponseBody,
    /// It answers a HEAD.
    pub head_request: bool,
}

/// Writes the head of a final response, or of a 101 that was asked for.
pub fn response<S: Sink>(head: &ResponseHead<'_, '_>, how: &ResponseRebuild<'_>, out: &mut S) -> Result<(), S::Error> {
    put_status_line(head.status, head.reason, out)?;
    let touched = !how.set.is_empty() || !how.remove.is_empty();
    put_kept(head, out, |name| {
        touched
            && (how.remove.iter().any(|n| n.eq_ignore_ascii_case(name))
                || how.set.iter().any(|(n, _)| n.eq_ignore_ascii_case(name)))
    })?;
    put_framing(head, how, out)?;
    for (name, value) in how.set {
        if may_be_set(name) {
            put_field(name.as_bytes(), value.as_bytes(), out)?;
        }
    }
    if how.switching {
        out.put(b"Connection: Upgrade\r\nUpgrade: websocket\r\n")?;
    } else {
        put_connection(how.keep, how.client, out)?;
    }
    out.put(b"\r\n")
}

/// Writes a 1xx that is not the end of its exchange: fields of one hop are dropped here too (RFC 9110 section 7.6.1),
/// and nothing frames a body (RFC 9112 section 6.1).
pub fn interim<S: Sink>(head: &ResponseHead<'_, '_>, out: &mut S) -> Result<(), S::Error> {
    put_status_line(head.status, head.reason, out)?;
    put_kept(head, out, |_| false)?;
    out.put(b"\r\n")
}

/// Whether the session goes on (RFC 9112 section 9.3): said only where it is not the default.
pub(crate) fn put_connection<S: Sink>(keep: bool, client: Version, out: &mut S) -> Result<(), S::Error> {
    match (keep, client) {
        (false, _) => out.put(b"Connection: close\r\n"),
        (true, Version::Http10) => out.put(b"Connection: keep-alive\r\n"),
        (true, Version::Http11) => Ok(()),
    }
}

fn put_kept<S: Sink>(head: &ResponseHead<'_, '_>, out: &mut S, dropped: impl Fn(&str) -> bool) -> Result<(), S::Error> {
    let named = head.names_fields.then(|| Named::of(head.fields));
    for (name, field) in head.named_fields() {
        let is_named = named.as_ref().is_some_and(|named| named.contains(field.name));
        if !is_named && !is_hop_by_hop(name) && !dropped(field.name) {
            put_field(field.name.as_bytes(), field.value, out)?;
        }
    }
    Ok(())
}

fn put_framing<S: Sink>(head: &ResponseHead<'_, '_>, how: &ResponseRebuild<'_>, out: &mut S) -> Result<(), S::Error> {
    let length = match (head.status, how.body) {
        (100..=199 | 204, _) => None,
        // What the body would measure, said by the backend: one line, a number, or the head was refused.
        (304, _) => received_length(head),
        _ if how.head_request => received_length(head),
        (_, ResponseBody::Length(length)) => Some(length),
        (_, ResponseBody::None) => Some(0),
        (_, ResponseBody::Chunked) => {
            debug_assert!(how.client == Version::Http11, "a 1.0 client cannot read chunks");
            return out.put(b"Transfer-Encoding: chunked\r\n");
        }
        (_, ResponseBody::UntilClose) => None,
    };
    if let Some(length) = length {
        out.put(b"Content-Length: ")?;
        put_decimal(length, out)?;
        out.put(b"\r\n")?;
    }
    Ok(())
}

fn received_length(head: &ResponseHead<'_, '_>) -> Option<u64> {
    head.named_fields().find(|(name, _)| *name == Name::ContentLength).and_then(|(_, field)| decimal(field.value))
}
