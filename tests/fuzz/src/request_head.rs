//! Request heads: found the same however they arrive, and what was understood is what goes on.
//!
//! The fields that go on are foretold line by line, by a second reading of the rules of `http::rebuild`. Not here:
//! fields that a route sets or removes.

use std::net::{IpAddr, Ipv4Addr};

use layer7router::http::forwarded::{Forwarded, Peer};
use layer7router::http::framing::Body;
use layer7router::http::head::{HeadLimits, Method, RequestHead, Scan, parse_request, scan};
use layer7router::http::rebuild::{RequestRebuild, request};
use layer7router::http::template::Values;
use layer7router::http::{FIELDS_MAX, Version, no_fields};

use crate::pieces::{Line, Pieces, lines, named_by_connection};

const LIMITS: HeadLimits = HeadLimits { uri_size: 2048, header_count: 100 };
/// What goes on has a few fields more.
const LIMITS_AGAIN: HeadLimits = HeadLimits { uri_size: 2048, header_count: FIELDS_MAX };
const PEER: Peer = Peer::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
const CLIENT: Peer = Peer::Ip(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
const HOST_IF_NONE: &str = "none.example";

/// Checks one input. Bit 0 of the flags: the peer is trusted.
pub fn check(input: &[u8]) {
    let Some(pieces) = Pieces::of(input) else { return };
    let Scan::Whole { skip, len } = pieces.scanned(scan) else { return };
    let mut fields = no_fields();
    let text = &pieces.message[skip..skip + len];
    let Ok(head) = parse_request(text, &mut fields, &LIMITS) else { return };
    sound(&head, text);

    let trusted = pieces.flag(0);
    let out = rebuilt(&head, trusted);
    assert_eq!(scan(&out, 0), Scan::Whole { skip: 0, len: out.len() }, "{}", String::from_utf8_lossy(&out));
    let mut fields = no_fields();
    let again = parse_request(&out, &mut fields, &LIMITS_AGAIN);
    let again = again.unwrap_or_else(|refusal| panic!("{refusal:?}: {}", String::from_utf8_lossy(&out)));
    assert_eq!((again.method, again.version), (head.method, Version::Http11));
    assert_eq!((again.path, again.query, again.host), (head.path, head.query, host(&head)));
    assert_eq!(again.body, head.body);
    assert_eq!(again.expects_continue, head.expects_continue);
    assert_eq!(again.upgrade_websocket, head.upgrade_websocket);
    assert!(again.keep_alive, "only the router says when its connection to a backend ends");
    assert_eq!(lines(again.fields), foretold(&head, trusted));
}

/// What holds of every head that is taken.
fn sound(head: &RequestHead<'_, '_>, text: &[u8]) {
    assert!(head.method != Method::Connect);
    assert!(head.path.starts_with(b"/") || (head.path == b"*" && head.method == Method::Options));
    assert!(head.query.is_empty() || head.query.starts_with(b"?"));
    assert!(!head.host.is_empty() || head.version == Version::Http10);
    assert!(text.ends_with(b"\r\n\r\n") && !text.contains(&0));
    let fields = lines(head.fields);
    let count = |name: &str| fields.iter().filter(|(n, _)| n == name).count();
    assert!(count("host") <= 1 && count("content-length") <= 1);
    assert_eq!(count("content-length") == 1, matches!(head.body, Body::Length(_)));
    if head.body == Body::Chunked {
        assert_eq!((head.version, count("content-length")), (Version::Http11, 0));
    }
    // A line's end is CRLF and nothing else, so nobody can read other lines into it.
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'\n' => assert_eq!(text[at - 1], b'\r'),
            b'\r' => assert_eq!(text[at + 1], b'\n'),
            _ => {}
        }
    }
    let ends = text.windows(2).filter(|w| *w == b"\r\n").count();
    assert_eq!(ends, head.fields.len() + 2, "a start line, one line a field, an empty line");
}

fn host<'b>(head: &RequestHead<'_, 'b>) -> &'b [u8] {
    if head.host.is_empty() { HOST_IF_NONE.as_bytes() } else { head.host }
}

fn rebuilt(head: &RequestHead<'_, '_>, trusted: bool) -> Vec<u8> {
    let values = Values {
        host: head.host,
        uri: head.path,
        query: head.query,
        client: CLIENT,
        scheme: "http",
        request_id: b"id-1",
    };
    let how = RequestRebuild {
        path: head.path,
        query: head.query,
        set: &[],
        remove: &[],
        values: &values,
        forwarded: &Forwarded { peer: PEER, trusted },
        via: "v",
        host_if_none: HOST_IF_NONE,
    };
    let mut out = Vec::new();
    let Ok(()) = request(head, &how, &mut out);
    out
}

/// The fields that must go on, in order.
fn foretold(head: &RequestHead<'_, '_>, trusted: bool) -> Vec<Line> {
    let received = lines(head.fields);
    let named = named_by_connection(&received);
    let mut due: Vec<Line> = vec![("host".to_owned(), host(head).to_vec())];
    for (name, value) in &received {
        if goes_on(name, &named, trusted) {
            let value = match head.max_forwards().filter(|_| name == "max-forwards") {
                Some(hops) => hops.saturating_sub(1).to_string().into_bytes(),
                None => value.clone(),
            };
            due.push((name.clone(), value));
        }
    }
    let mut add = |name: &str, value: &[u8]| due.push((name.to_owned(), value.to_vec()));
    match head.body {
        Body::None => {}
        Body::Length(length) => add("content-length", length.to_string().as_bytes()),
        Body::Chunked => add("transfer-encoding", b"chunked"),
    }
    if head.expects_continue {
        add("expect", b"100-continue");
    }
    if head.upgrade_websocket {
        add("connection", b"Upgrade");
        add("upgrade", b"websocket");
    }
    let told = |name: &str| -> Vec<&[u8]> {
        received.iter().filter(|(n, _)| trusted && n == name).map(|(_, value)| &value[..]).collect()
    };
    let mut hops = told("x-forwarded-for");
    hops.retain(|hop| !hop.is_empty());
    hops.push(b"127.0.0.1");
    add("x-forwarded-for", &hops.join(&b", "[..]));
    add("x-forwarded-proto", told("x-forwarded-proto").first().unwrap_or(&&b"http"[..]));
    add("x-forwarded-host", told("x-forwarded-host").first().unwrap_or(&head.host));
    add("x-real-ip", b"192.0.2.1");
    add("via", if head.version == Version::Http10 { b"1.0 v" } else { b"1.1 v" });
    add("x-request-id", b"id-1");
    due
}

/// Whether a field that was received may go on; its name is in lower case.
fn goes_on(name: &str, named: &[String], trusted: bool) -> bool {
    const OURS: &[&str] = &[
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "transfer-encoding",
        "upgrade",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-real-ip",
        "x-request-id",
    ];
    const PASSING: &[&str] = &["via", "max-forwards"];
    const FAMILY: &str = "x-forwarded-";
    let dashed = name.replace('_', "-");
    let is_known = |name: &str| OURS.contains(&name) || PASSING.contains(&name);
    match name {
        // A CGI-like backend would take it for one of these.
        _ if dashed != name && is_known(&dashed) => false,
        _ if dashed.starts_with(FAMILY) && !name.starts_with(FAMILY) => false,
        _ if OURS.contains(&name) => false,
        _ if PASSING.contains(&name) => true,
        _ if name == "forwarded" || name.starts_with(FAMILY) => trusted,
        _ => !named.contains(&name.to_owned()),
    }
}
