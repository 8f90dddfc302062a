//! The request head that goes on: what is dropped, what is ours, and that it reads back as what was sent.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::http::Version;
use crate::http::forwarded::{Forwarded, Peer};
use crate::http::framing::Body;
use crate::http::rebuild::{RequestRebuild, request};
use crate::http::template::{Template, Values};

const PEER: Peer = Peer::Ip(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)));
const CLIENT: Peer = Peer::Ip(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)));

#[derive(Default)]
struct How {
    set: Vec<(String, Template)>,
    remove: Vec<String>,
    trusted: bool,
}

impl How {
    fn set(mut self, name: &str, text: &str) -> Self {
        self.set.push((name.to_owned(), Template::parse(text).unwrap()));
        self
    }

    fn remove(mut self, name: &str) -> Self {
        self.remove.push(name.to_owned());
        self
    }

    fn trusted() -> Self {
        Self { trusted: true, ..Self::default() }
    }

    fn rebuild(&self, text: impl AsRef<[u8]>) -> String {
        let out = with_request(text.as_ref(), |head| {
            let values = Values {
                host: head.host,
                uri: head.path,
                query: head.query,
                client: if self.trusted { CLIENT } else { PEER },
                scheme: "http",
                request_id: b"id-1",
            };
            let how = RequestRebuild {
                path: head.path,
                query: head.query,
                set: &self.set,
                remove: &self.remove,
                values: &values,
                forwarded: &Forwarded { peer: PEER, trusted: self.trusted },
                via: "layer7router-1",
                host_if_none: "pool",
            };
            let mut out = Vec::new();
            request(head, &how, &mut out).unwrap();
            out
        });
        let out = out.unwrap();
        with_request(&out, |_| ()).expect("what goes on would be taken by a router like this one");
        String::from_utf8(out).unwrap()
    }
}

/// The values of all fields of this name.
fn values<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let lines = head.strip_suffix("\r\n\r\n").unwrap().split("\r\n").skip(1);
    lines.map(|l| l.split_once(": ").unwrap()).filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v).collect()
}

const OURS: &str = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a.example\r\n\
    X-Real-IP: 192.0.2.7\r\nVia: 1.1 layer7router-1\r\nX-Request-Id: id-1\r\n\r\n";

#[test]
fn a_plain_head_keeps_its_fields_in_order_and_gets_ours() {
    let text =
        "GET /a?b HTTP/1.1\r\nAccept:*/*\r\nhost: a.example\r\nCookie:   x \t\r\nX-Empty:\r\nAccept: text/html\r\n\r\n";
    let due = "GET /a?b HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\nCookie: x\r\nX-Empty: \r\nAccept: text/html\r\n";
    assert_eq!(How::default().rebuild(text), due.to_owned() + OURS);
}

#[test]
fn a_rebuilt_head_reads_back_as_the_same_message() {
    for text in [
        get_with(&["A: 1", "B: 2"]),
        request_with("POST /x?y HTTP/1.1", &["Content-Length: 005"]),
        request_with("POST /x?y HTTP/1.1", &["Transfer-Encoding: Chunked", "Expect: 100-continue"]),
        request_with("OPTIONS * HTTP/1.1", &["Max-Forwards: 5"]),
        request_with("GET http://a.example?q HTTP/1.1", &["Connection: close, A", "A: 1"]),
        request_with("GET /ws HTTP/1.1", &["Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: k"]),
        request_with("brew /pot HTTP/1.1", &["Content-Length: 0"]),
        request_with("GET / HTTP/1.0", &["Connection: keep-alive"]),
    ] {
        let facts = |h: &RequestHead<'_, '_>| {
            let text = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
            let what = (h.method.as_str().to_owned(), text(h.path), text(h.query), text(h.host));
            (what, h.body, h.expects_continue, h.upgrade_websocket)
        };
        let out = How::default().rebuild(&text);
        assert_eq!(with_request(out.as_bytes(), facts), with_request(text.as_bytes(), facts), "{text}");
        assert_eq!(with_request(out.as_bytes(), |h| h.version), Ok(Version::Http11));
    }
}

#[test]
fn fields_of_one_hop_never_go_on() {
    let out = How::trusted().rebuild(get_with(&[
        "Connection: keep-alive, X-Secret, Keep-Alive",
        "X-Secret: 1",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: close",
        "TE: trailers",
        "Upgrade: h2c",
        "Trailer: X",
        "X-Kept: 1",
    ]));
    for name in ["connection", "x-secret", "keep-alive", "proxy-connection", "te", "upgrade"] {
        assert!(values(&out, name).is_empty(), "{name}");
    }
    assert_eq!((values(&out, "trailer"), values(&out, "x-kept")), (vec!["X"], vec!["1"]));
}

#[test]
fn connection_lines_are_joined_before_they_are_obeyed() {
    // Go CVE-2021-33197: an empty first line stopped the removal.
    let out = How::default().rebuild(get_with(&[
        "Connection: ",
        "X-A: 1",
        "Connection: ,, x-a",
        "X-B: 2",
        "Connection: close,\tX-B ,",
        "X-C: 3",
    ]));
    assert!(values(&out, "x-a").is_empty() && values(&out, "x-b").is_empty());
    assert_eq!(values(&out, "x-c"), ["3"]);
}

#[test]
fn connection_cannot_name_away_what_is_ours() {
    let names = "Host, Content-Length, Transfer-Encoding, Via, X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, \
        X-Real-IP, X-Request-Id, Expect";
    let text = request_with(
        "POST / HTTP/1.1",
        &[
            &format!("Connection: {names}"),
            "Content-Length: 5",
            "Via: 1.1 earlier",
            "X-Forwarded-For: 203.0.113.1",
            "Expect: 100-continue",
        ],
    );
    let out = How::trusted().rebuild(text);
    assert_eq!(values(&out, "host"), ["a.example"]);
    assert_eq!(values(&out, "content-length"), ["5"]);
    assert_eq!(values(&out, "via"), ["1.1 earlier", "1.1 layer7router-1"]);
    assert_eq!(values(&out, "x-forwarded-for"), ["203.0.113.1, 192.0.2.7"]);
    assert_eq!(values(&out, "x-real-ip"), ["198.51.100.1"]);
    assert_eq!(values(&out, "x-forwarded-proto"), ["http"]);
    assert_eq!(values(&out, "x-forwarded-host"), ["a.example"]);
    assert_eq!(values(&out, "x-request-id"), ["id-1"]);
    assert_eq!(values(&out, "expect"), ["100-continue"]);
}

#[test]
fn framing_is_written_by_us_and_follows_the_message() {
    let out = How::default().rebuild(request_with("POST / HTTP/1.1", &["content-length: 007"]));
    assert_eq!((values(&out, "content-length"), values(&out, "transfer-encoding")), (vec!["7"], vec![]));
    let out = How::default().rebuild(request_with("GET / HTTP/1.1", &["transfer-encoding: CHUNKED"]));
    assert_eq!((values(&out, "content-length"), values(&out, "transfer-encoding")), (vec![], vec!["chunked"]));
    let out = How::default().rebuild(request_with("POST / HTTP/1.1", &[]));
    assert_eq!(with_request(out.as_bytes(), |h| h.body), Ok(Body::None));
    let how = How::default()
        .set("Content-Length", "9")
        .set("Transfer-Encoding", "gzip")
        .set("Connection", "x")
        .remove("Content-Length");
    let out = how.rebuild(request_with("POST / HTTP/1.1", &["Content-Length: 7"]));
    assert_eq!(
        (values(&out, "content-length"), values(&out, "transfer-encoding"), values(&out, "connection")),
        (vec!["7"], vec![], vec![])
    );
}

#[test]
fn an_underscore_for_a_dash_of_a_known_name_does_not_go_on() {
    let out = How::trusted().rebuild(get_with(&[
        "Content_Length: 5",
        "Transfer_Encoding: chunked",
        "X_Forwarded_For: 1",
        "X-Forwarded_For: 1",
        "X_Real_IP: 1",
        "x_request_id: 1",
        "X_Forwarded_Prefix: 1",
        "My_Field: 1",
    ]));
    assert_eq!(out.matches('_').count(), 1);
    assert_eq!(values(&out, "my_field"), ["1"]);
}

#[test]
fn expect_is_passed_on_only_where_it_counts() {
    let expect = |start: &str, lines: &[&str]| {
        let out = How::default().rebuild(request_with(start, lines));
        values(&out, "expect").len()
    };
    assert_eq!(expect("POST / HTTP/1.1", &["Expect: 100-continue", "Expect: 100-continue", "Content-Length: 5"]), 1);
    assert_eq!(expect("POST / HTTP/1.1", &["Expect: 100-continue"]), 0);
    assert_eq!(expect("POST / HTTP/1.0", &["Expect: 100-continue", "Content-Length: 5"]), 0);
}

#[test]
fn only_websocket_is_asked_for_upstream() {
    let out =
        How::default().rebuild(get_with(&["Connection: x, Upgrade", "Upgrade: h2c, websocket", "HTTP2-Settings: AAA"]));
    assert_eq!((values(&out, "connection"), values(&out, "upgrade")), (vec!["Upgrade"], vec!["websocket"]));
    let out = How::default().rebuild(get_with(&[
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAA",
    ]));
    assert!(
        values(&out, "connection").is_empty()
            && values(&out, "upgrade").is_empty()
            && values(&out, "http2-settings").is_empty()
    );
    let out = How::default().rebuild(get_with(&["Connection: Upgrade", "Upgrade: websocket", "Content-Length: 5"]));
    assert!(values(&out, "upgrade").is_empty(), "with a body it is an ordinary request");
}

#[test]
fn via_names_the_version_received_and_keeps_what_was_there() {
    let out = How::default().rebuild(request_with("GET / HTTP/1.0", &["Via: 1.1 x, 1.0 y", "Via: 1.1 z"]));
    assert_eq!(values(&out, "via"), ["1.1 x, 1.0 y", "1.1 z", "1.0 layer7router-1"]);
    let out = How::default().remove("via").rebuild(get_with(&["Via: 1.1 x"]));
    assert_eq!(values(&out, "via"), ["1.1 layer7router-1"]);
}

#[test]
fn a_request_without_host_goes_on_with_an_empty_one() {
    let text = b"GET / HTTP/1.0\r\n\r\n";
    let mut fields = no_fields();
    let head = parse_request(text, &mut fields, &LIMITS).unwrap();
    let values = Values { host: b"", uri: b"/", query: b"", client: PEER, scheme: "http", request_id: b"i" };
    let forwarded = Forwarded { peer: PEER, trusted: false };
    let how = RequestRebuild {
        path: b"/",
        query: b"",
        set: &[],
        remove: &[],
        values: &values,
        forwarded: &forwarded,
        via: "v",
        host_if_none: "pool",
    };
    let mut out = Vec::new();
    request(&head, &how, &mut out).unwrap();
    assert!(out.starts_with(b"GET / HTTP/1.1\r\nHost: pool\r\nX-Forwarded-For: "));
}

#[test]
fn an_untrusted_peer_says_nothing_about_the_client() {
    let out = How::default().rebuild(get_with(&[
        "X-Forwarded-For: 1.1.1.1",
        "x-forwarded-for: 2.2.2.2",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: evil",
        "X-Real-IP: 3.3.3.3",
        "X-Request-Id: mine",
        "Forwarded: for=4.4.4.4",
        "X-Forwarded-Port: 1",
        "X-Forwarded-Prefix: /x",
    ]));
    assert_eq!(out, "GET / HTTP/1.1\r\nHost: a.example\r\n".to_owned() + OURS);
}

#[test]
fn a_trusted_peer_is_added_to() {
    let out = How::trusted().rebuild(get_with(&[
        "X-Forwarded-For: 1.1.1.1, 2.2.2.2",
        "X-Forwarded-For: ",
        "x-forwarded-for: 3.3.3.3",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Host: b",
        "X-Real-IP: 3.3.3.3",
        "Forwarded: for=x",
        "X-Forwarded-Port: 1",
    ]));
    assert_eq!(values(&out, "x-forwarded-for"), ["1.1.1.1, 2.2.2.2, 3.3.3.3, 192.0.2.7"]);
    assert_eq!(values(&out, "x-forwarded-proto"), ["https"]);
    assert_eq!(values(&out, "x-forwarded-host"), ["b"]);
    assert_eq!(values(&out, "x-real-ip"), ["198.51.100.1"]);
    assert_eq!((values(&out, "forwarded"), values(&out, "x-forwarded-port")), (vec!["for=x"], vec!["1"]));
    let out = How::trusted().rebuild(get_with(&[]));
    assert_eq!(values(&out, "x-forwarded-for"), ["192.0.2.7"]);
    assert_eq!(
        (values(&out, "x-forwarded-proto"), values(&out, "x-forwarded-host")),
        (vec!["http"], vec!["a.example"])
    );
}

#[test]
fn a_route_removes_then_we_add_then_a_route_sets() {
    let how = How::trusted()
        .remove("cookie")
        .remove("X-Forwarded-For")
        .remove("Host")
        .set("X-User", "u-{client_ip}")
        .set("Via", "none");
    let out = how.rebuild(get_with(&[
        "Cookie: 1",
        "cookie: 2",
        "X-Forwarded-For: 1.1.1.1",
        "X-User: spoofed",
        "x_user: spoofed",
        "x-user: again",
        "Connection: X-User",
    ]));
    assert!(values(&out, "cookie").is_empty() && !out.contains("spoofed"));
    assert_eq!(values(&out, "x-forwarded-for"), ["192.0.2.7"]);
    assert_eq!(values(&out, "x-user"), ["u-198.51.100.1"]);
    assert_eq!(values(&out, "via"), ["none"]);
    assert_eq!(values(&out, "host"), ["a.example"]);
}

#[test]
fn a_route_sets_host_and_any_of_ours_once() {
    let how = How::default()
        .set("Host", "b.example")
        .set("x-forwarded-for", "f")
        .set("X-Forwarded-Proto", "https")
        .set("X-Forwarded-Host", "{host}")
        .set("X-Real-IP", "r")
        .set("X-Request-Id", "q-{request_id}");
    let out = how.rebuild(get_with(&["X-Request-Id: 1", "X-Forwarded-For: 2"]));
    assert_eq!(values(&out, "host"), ["b.example"]);
    for (name, due) in [
        ("x-forwarded-for", "f"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "a.example"),
        ("x-real-ip", "r"),
        ("x-request-id", "q-id-1"),
    ] {
        assert_eq!(values(&out, name), [due], "{name}");
    }
}

#[test]
fn max_forwards_loses_one_where_it_counts() {
    let hops = |start: &str, line: &str| {
        let out = How::default().rebuild(request_with(start, &[line]));
        values(&out, "max-forwards").concat()
    };
    assert_eq!(hops("OPTIONS / HTTP/1.1", "Max-Forwards: 10"), "9");
    assert_eq!(hops("TRACE / HTTP/1.1", "max-forwards: 1"), "0");
    assert_eq!(hops("GET / HTTP/1.1", "Max-Forwards: 10"), "10");
    assert_eq!(hops("OPTIONS / HTTP/1.1", "Max-Forwards: many"), "many");
}

#[test]
fn nothing_is_decoded_on_the_way_out() {
    let text = get_with(&[]).replace("GET /", "GET /a%0d%0aX:%20y?b%0d%0ac");
    let out = How::default().set("X-Uri", "{uri}").set("X-Path", "{path}").rebuild(text);
    assert!(out.starts_with("GET /a%0d%0aX:%20y?b%0d%0ac HTTP/1.1\r\n"));
    assert_eq!(values(&out, "x-uri"), ["/a%0d%0aX:%20y?b%0d%0ac"]);
    assert_eq!(values(&out, "x-path"), ["/a%0d%0aX:%20y"]);
}

#[test]
fn obs_text_goes_on_unchanged() {
    let text = b"GET / HTTP/1.1\r\nHost: a\r\nX: \x80\xff\r\n\r\n";
    let mut fields = no_fields();
    let head = parse_request(text, &mut fields, &LIMITS).unwrap();
    let values = Values { host: b"a", uri: b"/", query: b"", client: PEER, scheme: "http", request_id: b"i" };
    let forwarded = Forwarded { peer: PEER, trusted: false };
    let how = RequestRebuild {
        path: b"/",
        query: b"",
        set: &[],
        remove: &[],
        values: &values,
        forwarded: &forwarded,
        via: "v",
        host_if_none: "pool",
    };
    let mut out = Vec::new();
    request(&head, &how, &mut out).unwrap();
    assert!(out.windows(7).any(|w| w == b"X: \x80\xff\r\n"));
}
