//! What of a head reaches the other side: everything that is the message's, nothing that is the connection's.

mod support;

use support::{Client, Origin, Request, Router, TempDir, fill, reply};

/// Sends `request` through a router of its own and says what the origin got.
#[track_caller]
fn forwarded(request: &str) -> Request {
    let origin = Origin::serve(|_| reply(200, &[], "ok"));
    let router = Router::to(&origin);
    let response = router.client().ask(request);
    assert_eq!(response.status, 200, "{}", response.text());
    origin.last()
}

const FORWARDED: [&str; 4] = ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-IP"];

#[test]
fn a_request_arrives_with_its_target_fields_and_body() {
    let request = forwarded(
        "POST /a/b;c?d=%20&e HTTP/1.1\r\nHost: example.test:81\r\nX-CaSe: one\r\nContent-Length: 5\r\nx-case: two\r\n\r\nhello",
    );
    assert_eq!(request.line(), "POST /a/b;c?d=%20&e");
    assert_eq!(request.fields.get("Host"), Some("example.test:81"));
    assert_eq!(request.fields.all("X-Case"), ["one", "two"]);
    assert!(String::from_utf8_lossy(&request.raw_head).contains("\r\nX-CaSe: one\r\n"));
    assert_eq!(request.body, b"hello");
}

#[test]
fn forwarding_fields_tell_the_backend_who_asked() {
    let request = forwarded("GET / HTTP/1.1\r\nHost: example.test\r\n\r\n");
    assert_eq!(request.fields.get("X-Forwarded-For"), Some("127.0.0.1"));
    assert_eq!(request.fields.get("X-Forwarded-Proto"), Some("http"));
    assert_eq!(request.fields.get("X-Forwarded-Host"), Some("example.test"));
    assert_eq!(request.fields.get("X-Real-IP"), Some("127.0.0.1"));
}

#[test]
fn forwarding_fields_of_a_stranger_are_replaced() {
    let request = forwarded(
        "GET / HTTP/1.1\r\nHost: example.test\r\nX-Forwarded-For: 203.0.113.7\r\nx-forwarded-for: 10.0.0.1\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\nX-Real-IP: 203.0.113.7\r\n\r\n",
    );
    let got = FORWARDED.map(|name| request.fields.get(name));
    assert_eq!(got, [Some("127.0.0.1"), Some("http"), Some("example.test"), Some("127.0.0.1")]);
}

const TRUSTING: &str = "\
[listen:http]
address = 127.0.0.1:0
trusted_proxy = 127.0.0.0/8
trusted_proxy = 198.51.100.0/24

[route:all]
set_header = X-Seen: {client_ip}
pool = app

[pool:app]
backend = ${ORIGIN}
";

#[test]
fn a_trusted_proxy_is_believed_and_appended_to() {
    let origin = Origin::serve(|_| reply(200, &[], "ok"));
    let router = Router::start(&fill(TRUSTING, &[("ORIGIN", &origin)]));
    router.client().ask(
        "GET / HTTP/1.1\r\nHost: inner\r\nX-Forwarded-For: 192.0.2.66, 203.0.113.7\r\nX-Forwarded-For: 198.51.100.9\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-Host: outer.test\r\n\r\n",
    );
    let request = origin.last();
    assert_eq!(request.fields.all("X-Forwarded-For").join(", "), "192.0.2.66, 203.0.113.7, 198.51.100.9, 127.0.0.1");
    assert_eq!(request.fields.get("X-Forwarded-Proto"), Some("https"));
    assert_eq!(request.fields.get("X-Forwarded-Host"), Some("outer.test"));
    assert_eq!(request.fields.get("X-Seen"), Some("203.0.113.7"), "the right-most untrusted address");
}

#[test]
fn a_unix_peer_is_trusted_only_when_the_file_says_so() {
    for (trusted, chain) in [("trusted_proxy = unix", "203.0.113.7"), ("", "")] {
        let dir = TempDir::new();
        let socket = dir.file("l.sock");
        let origin = Origin::serve(|_| reply(200, &[], "ok"));
        let ini =
            format!("[listen:u]\naddress = unix:{socket}\n{trusted}\npool = app\n[pool:app]\nbackend = {origin}\n");
        let router = Router::start(&ini);
        assert_eq!(router.address_of("u"), format!("unix:{socket}"));
        let mut client = Client::connect(&router.address());
        client.ask("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n");
        let got = origin.last().fields.all("X-Forwarded-For").join(", ");
        assert_eq!(got.contains("203.0.113.7"), !chain.is_empty(), "X-Forwarded-For: {got}");
    }
}

#[test]
fn via_names_this_router_after_those_before_it() {
    let request = forwarded("GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 edge\r\n\r\n");
    let via = request.fields.all("Via").join(", ");
    assert!(via.starts_with("1.1 edge, 1.1 layer7router-"), "Via: {via}");
    let request = forwarded("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    let via = request.fields.get("Via").unwrap_or_default();
    assert!(via.starts_with("1.0 layer7router-"), "Via: {via}");
}

#[test]
fn a_router_that_is_its_own_backend_stops_at_the_first_turn() {
    let dir = TempDir::new();
    let socket = dir.file("l.sock");
    let ini = format!("[listen:u]\naddress = unix:{socket}\npool = me\n[pool:me]\nbackend = unix:{socket}\n");
    let router = Router::start(&ini);
    assert_eq!(router.client().get("/").status, 508);
    router.assert_at_rest();
}

#[test]
fn a_request_id_is_kept_when_it_is_harmless_and_made_when_not() {
    let longest = "i".repeat(128);
    for good in ["a", "0123-._~+/=Z", longest.as_str()] {
        let request = forwarded(&format!("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: {good}\r\n\r\n"));
        assert_eq!(request.fields.get("X-Request-Id"), Some(good));
    }
    let mut made = Vec::new();
    let too_long = "i".repeat(129);
    for bad in [
        "",
        "X-Request-Id:\r\n",
        "X-Request-Id: a b\r\n",
        "X-Request-Id: a\"b\r\n",
        &format!("X-Request-Id: {too_long}\r\n"),
    ] {
        let request = forwarded(&format!("GET / HTTP/1.1\r\nHost: a\r\n{bad}\r\n"));
        let id = request.fields.get("X-Request-Id").expect("an id").to_owned();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._~+/=-".contains(&b);
        assert!((1..=128).contains(&id.len()) && id.bytes().all(plain), "made {id:?} for {bad:?}");
        made.push(id);
    }
    made.sort();
    made.dedup();
    assert_eq!(made.len(), 5, "ids repeat: {made:?}");
}

#[test]
fn a_request_of_http_1_0_leaves_as_1_1_with_a_host() {
    let request = forwarded("GET /old HTTP/1.0\r\n\r\n");
    assert_eq!(request.line(), "GET /old");
    // The pool's name, as nginx names its upstream.
    assert_eq!(request.fields.get("Host"), Some("app"));
}

#[test]
fn max_forwards_counts_down_and_ends_here_at_zero() {
    let origin = Origin::serve(|_| reply(200, &[], "ok"));
    let router = Router::to(&origin);
    let mut client = router.client();
    client.ask("OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 3\r\n\r\n");
    assert_eq!(origin.last().fields.get("Max-Forwards"), Some("2"));
    let response = router.client().ask("OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n");
    assert!(response.status < 300, "{}", response.status);
    assert_eq!(origin.requests().len(), 1, "a request with Max-Forwards 0 went on");
}

const DRESSED: &str = "\
[listen:http]
address = 127.0.0.1:0

[route:api]
path = /v1/*
strip_prefix = /v1
set_header = Host: inner.test
set_header = X-Where: {scheme}://{host}{uri} at {path} by {client_ip} as {request_id}
set_header = X-Plain: replaced
remove_header = X-Secret
remove_header = cookie
set_response_header = X-Frame-Options: DENY
remove_response_header = Server
pool = app

[pool:app]
backend = ${ORIGIN}
";

#[test]
fn a_route_sets_and_removes_fields_both_ways() {
    let origin = Origin::serve(|_| reply(200, &["Server: old", "X-Frame-Options: ALLOW", "X-Other: x"], "ok"));
    let router = Router::start(&fill(DRESSED, &[("ORIGIN", &origin)]));
    let response = router.client().ask(
        "GET /v1/x?q=1 HTTP/1.1\r\nHost: Outer.test:80\r\nX-Request-Id: r1\r\nX-Plain: a\r\nX-Plain: b\r\n\
         X-Secret: s\r\nCookie: c\r\nX-Keeps: k\r\n\r\n",
    );
    assert_eq!(response.fields.all("X-Frame-Options"), ["DENY"]);
    assert!(!response.fields.has("Server"));
    assert_eq!(response.fields.get("X-Other"), Some("x"));
    let request = origin.last();
    assert_eq!(request.target, "/x?q=1");
    assert_eq!(request.fields.get("Host"), Some("inner.test"));
    assert_eq!(request.fields.all("X-Plain"), ["replaced"]);
    assert!(!request.fields.has("X-Secret") && !request.fields.has("Cookie"));
    assert_eq!(request.fields.get("X-Keeps"), Some("k"));
    let place = request.fields.get("X-Where").expect("set").to_ascii_lowercase();
    assert!(place.starts_with("http://outer.test"), "{place}");
    assert!(place.ends_with("/v1/x?q=1 at /v1/x by 127.0.0.1 as r1"), "{place}");
}

#[test]
fn a_stripped_prefix_leaves_a_path_and_the_query() {
    let origin = Origin::serve(|_| reply(200, &[], "ok"));
    let router = Router::start(&fill(DRESSED, &[("ORIGIN", &origin)]));
    let mut client = router.client();
    for (sent, arrives) in [("/v1", "/"), ("/v1/", "/"), ("/v1?a=b", "/?a=b"), ("/v1/v1/x", "/v1/x"), ("/v1//x", "//x")]
    {
        assert_eq!(client.get(sent).status, 200, "{sent}");
        assert_eq!(origin.last().target, arrives, "{sent}");
    }
}
