//! The request head towards a backend.

use super::{may_be_set, put_field};
use crate::http::forwarded::Forwarded;
use crate::http::framing::Body;
use crate::http::head::RequestHead;
use crate::http::names::{Name, Named, same_but_for_dashes};
use crate::http::reply::put_decimal;
use crate::http::template::{Template, Values};
use crate::http::{Sink, Version};

/// What the route and the session add to a request.
#[derive(Debug, Clone, Copy)]
pub struct RequestRebuild<'a> {
    /// The path to forward, `strip_prefix` applied.
    pub path: &'a [u8],
    /// The query to forward, with its `?`, or empty.
    pub query: &'a [u8],
    /// Each replaces all fields of its name; `Host` may be among them. Framing and fields of one hop are not set.
    pub set: &'a [(String, Template)],
    /// Removed from what was received.
    pub remove: &'a [String],
    /// For templates and forwarding fields.
    pub values: &'a Values<'a>,
    /// From whom it came.
    pub forwarded: &'a Forwarded,
    /// Our name in Via: a token.
    pub via: &'a str,
    /// The Host of a request that came without one.
    pub host_if_none: &'a str,
}

impl RequestRebuild<'_> {
    fn removes(&self, name: &str) -> bool {
        self.remove.iter().any(|n| same_but_for_dashes(n.as_bytes(), name.as_bytes()))
    }

    /// A CGI-like backend takes `X_User` for `X-User`: setting the one replaces the other.
    fn sets(&self, name: &str) -> bool {
        self.set.iter().any(|(n, _)| same_but_for_dashes(n.as_bytes(), name.as_bytes()))
    }
}

/// Writes the head of the forwarded request: always HTTP/1.1, one Host first, framing and forwarding fields ours.
pub fn request<S: Sink>(head: &RequestHead<'_, '_>, how: &RequestRebuild<'_>, out: &mut S) -> Result<(), S::Error> {
    out.put(head.method.as_str().as_bytes())?;
    out.put(b" ")?;
    out.put(how.path)?;
    out.put(how.query)?;
    out.put(b" HTTP/1.1\r\n")?;
    if !how.sets("host") {
        // RFC 9112 section 3.2 asks for one; HTTP/1.0 clients need not name any.
        let host = if head.host.is_empty() { how.host_if_none.as_bytes() } else { head.host };
        put_field(b"Host", host, out)?;
    }
    let named = head.names_fields.then(|| Named::of(head.fields));
    let touched = !how.set.is_empty() || !how.remove.is_empty();
    for (name, field) in head.named_fields() {
        let keep = match name {
            // Not ours to write, so Connection may name it.
            Name::Other => !named.as_ref().is_some_and(|named| named.contains(field.name)),
            Name::Via | Name::MaxForwards => true,
            Name::Forwarded | Name::XForwardedOther => how.forwarded.trusted,
            // Host, framing, Expect, X-Request-Id and the forwarding fields are written by us.
            _ => false,
        };
        if !keep || (touched && (how.removes(field.name) || how.sets(field.name))) {
            continue;
        }
        let hops = if name == Name::MaxForwards { head.max_forwards() } else { None };
        match hops {
            Some(hops) => put_hops(hops, out)?,
            None => put_field(field.name.as_bytes(), field.value, out)?,
        }
    }
    put_framing(head, how, out)?;
    put_forwarding(head, how, out)?;
    if !how.sets("via") {
        out.put(if head.version == Version::Http10 { b"Via: 1.0 " } else { b"Via: 1.1 " })?;
        out.put(how.via.as_bytes())?;
        out.put(b"\r\n")?;
    }
    if !how.sets("x-request-id") {
        put_field(b"X-Request-Id", how.values.request_id, out)?;
    }
    for (name, template) in how.set {
        if may_be_set(name) {
            out.put(name.as_bytes())?;
            out.put(b": ")?;
            template.put(how.values, out)?;
            out.put(b"\r\n")?;
        }
    }
    out.put(b"\r\n")
}

/// One hop fewer (RFC 9110 section 7.6.2). At 0 the caller has answered the request itself.
fn put_hops<S: Sink>(hops: u64, out: &mut S) -> Result<(), S::Error> {
    out.put(b"Max-Forwards: ")?;
    put_decimal(hops.saturating_sub(1), out)?;
    out.put(b"\r\n")
}

/// Follows the message, never the method: a GET may have a body.
fn put_framing<S: Sink>(head: &RequestHead<'_, '_>, how: &RequestRebuild<'_>, out: &mut S) -> Result<(), S::Error> {
    match head.body {
        Body::None => {}
        Body::Length(length) => {
            out.put(b"Content-Length: ")?;
            put_decimal(length, out)?;
            out.put(b"\r\n")?;
        }
        Body::Chunked => out.put(b"Transfer-Encoding: chunked\r\n")?,
    }
    if head.expects_continue && !how.removes("expect") && !how.sets("expect") {
        out.put(b"Expect: 100-continue\r\n")?;
    }
    if head.upgrade_websocket {
        out.put(b"Connection: Upgrade\r\nUpgrade: websocket\r\n")?;
    }
    Ok(())
}

fn put_forwarding<S: Sink>(head: &RequestHead<'_, '_>, how: &RequestRebuild<'_>, out: &mut S) -> Result<(), S::Error> {
    // What a trusted peer said, unless the route removes it.
    let kept = |what: Name, name: &str| {
        let lines = (how.forwarded.trusted && !how.removes(name)).then(|| head.named_fields());
        lines.into_iter().flatten().filter(move |(name, _)| *name == what).map(|(_, field)| field.value)
    };
    if !how.sets("x-forwarded-for") {
        out.put(b"X-Forwarded-For: ")?;
        for line in kept(Name::XForwardedFor, "x-forwarded-for").filter(|line| !line.is_empty()) {
            out.put(line)?;
            out.put(b", ")?;
        }
        how.forwarded.peer.put(out)?;
        out.put(b"\r\n")?;
    }
    if !how.sets("x-forwarded-proto") {
        let line = kept(Name::XForwardedProto, "x-forwarded-proto").next();
        put_field(b"X-Forwarded-Proto", line.unwrap_or(how.values.scheme.as_bytes()), out)?;
    }
    if !how.sets("x-forwarded-host") {
        let line = kept(Name::XForwardedHost, "x-forwarded-host").next();
        put_field(b"X-Forwarded-Host", line.unwrap_or(head.host), out)?;
    }
    if !how.sets("x-real-ip") {
        out.put(b"X-Real-IP: ")?;
        how.values.client.put(out)?;
        out.put(b"\r\n")?;
    }
    Ok(())
}
