//! The response head that goes on, interim responses, and the router's own answers.

use super::*;
use crate::http::Version;
use crate::http::framing::ResponseBody;
use crate::http::rebuild::{ResponseRebuild, interim, response};
use crate::http::reply::{Reply, put_decimal, reason_phrase, refusal_body, reply};

const PLAIN: ResponseRebuild<'static> = ResponseRebuild {
    set: &[],
    remove: &[],
    client: Version::Http11,
    keep: true,
    switching: false,
    body: ResponseBody::None,
    head_request: false,
};

/// With the framing that was received, unless `how` says another.
fn rebuild(text: impl AsRef<[u8]>, how: ResponseRebuild<'_>) -> String {
    let out = with_response(text.as_ref(), how.head_request, |head| {
        let body = if how.body == ResponseBody::None { head.body } else { how.body };
        let mut out = Vec::new();
        response(head, &ResponseRebuild { body, ..how }, &mut out).unwrap();
        out
    });
    let out = out.unwrap();
    with_response(&out, how.head_request, |_| ()).expect("what goes on would be taken from a backend");
    String::from_utf8(out).unwrap()
}

#[test]
fn a_plain_response_keeps_its_fields_in_order() {
    let text = response_with(
        "HTTP/1.0 200 Fine",
        &["Set-Cookie: a", "Server:x ", "Content-Length: 03", "Set-Cookie: b", "Via: 1.1 y", "X-Request-Id: z"],
    );
    let due = "HTTP/1.1 200 Fine\r\nSet-Cookie: a\r\nServer: x\r\nSet-Cookie: b\r\nVia: 1.1 y\r\nX-Request-Id: z\r\nContent-Length: 3\r\n\r\n";
    assert_eq!(rebuild(text, PLAIN), due);
}

#[test]
fn an_empty_reason_becomes_the_canonical_one() {
    assert_eq!(
        rebuild("HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", PLAIN),
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    );
    assert!(rebuild("HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n", PLAIN).starts_with("HTTP/1.1 299 Unknown\r\n"));
}

#[test]
fn fields_of_one_hop_never_reach_the_client() {
    let text = response_with(
        "HTTP/1.1 200 OK",
        &[
            "Connection: ",
            "Connection: close, X-Hop",
            "X-Hop: 1",
            "Keep-Alive: 5",
            "Proxy-Connection: x",
            "Upgrade: h2c",
            "TE: x",
            "Transfer-Encoding: chunked",
            "Trailer: T",
            "X: 1",
        ],
    );
    assert_eq!(rebuild(text, PLAIN), "HTTP/1.1 200 OK\r\nTrailer: T\r\nX: 1\r\nTransfer-Encoding: chunked\r\n\r\n");
}

#[test]
fn connection_says_only_what_is_not_the_default() {
    let text = response_with("HTTP/1.1 200 OK", &["Content-Length: 0"]);
    for (keep, client, due) in [
        (true, Version::Http11, ""),
        (false, Version::Http11, "Connection: close\r\n"),
        (true, Version::Http10, "Connection: keep-alive\r\n"),
        (false, Version::Http10, "Connection: close\r\n"),
    ] {
        let out = rebuild(&text, ResponseRebuild { keep, client, ..PLAIN });
        assert_eq!(out, format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{due}\r\n"));
    }
}

#[test]
fn a_1_0_client_gets_chunks_undone_until_close() {
    let text = response_with("HTTP/1.1 200 OK", &["Transfer-Encoding: chunked"]);
    let how = ResponseRebuild { client: Version::Http10, keep: false, body: ResponseBody::UntilClose, ..PLAIN };
    assert_eq!(rebuild(text, how), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
}

#[test]
fn a_response_without_an_end_may_leave_in_chunks() {
    let how = ResponseRebuild { body: ResponseBody::Chunked, ..PLAIN };
    assert_eq!(rebuild("HTTP/1.0 200 OK\r\n\r\n", how), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
}

#[test]
fn head_and_304_say_the_length_of_the_body_that_is_not_there() {
    let text = |status: &str| response_with(&format!("HTTP/1.1 {status}"), &["Content-Length: 1234"]);
    let to_head = ResponseRebuild { head_request: true, ..PLAIN };
    assert_eq!(rebuild(text("200 OK"), to_head), text("200 OK"));
    assert_eq!(rebuild(text("304 Not Modified"), PLAIN), text("304 Not Modified"));
    assert_eq!(rebuild("HTTP/1.1 200 OK\r\n\r\n", to_head), "HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(rebuild("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", to_head), "HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(rebuild("HTTP/1.1 304 x\r\nTransfer-Encoding: chunked\r\n\r\n", PLAIN), "HTTP/1.1 304 x\r\n\r\n");
}

#[test]
fn no_framing_field_in_1xx_and_204() {
    for lines in
        [&["Content-Length: 5"][..], &["Transfer-Encoding: chunked"], &["Content-Length: x", "Transfer-Encoding: y"]]
    {
        assert_eq!(rebuild(response_with("HTTP/1.1 204 x", lines), PLAIN), "HTTP/1.1 204 x\r\n\r\n");
        let mut all = vec!["Connection: Link, keep-alive", "Link: a", "Keep-Alive: 5", "X: 1"];
        all.extend(lines);
        let mut out = Vec::new();
        with_response(response_with("HTTP/1.1 103", &all).as_bytes(), false, |head| interim(head, &mut out))
            .unwrap()
            .unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "HTTP/1.1 103 Early Hints\r\nX: 1\r\n\r\n");
    }
}

#[test]
fn a_101_that_was_asked_for_switches_to_websocket() {
    let text = response_with(
        "HTTP/1.1 101 x",
        &["Connection: Upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Accept: k", "Content-Length: 0"],
    );
    let out = rebuild(text, ResponseRebuild { switching: true, ..PLAIN });
    assert_eq!(out, "HTTP/1.1 101 x\r\nSec-WebSocket-Accept: k\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
}

#[test]
fn a_route_removes_and_sets_but_never_framing() {
    let set = [("X-A", "1"), ("server", "us"), ("Content-Length", "9"), ("Connection", "x")]
        .map(|(n, v)| (n.to_owned(), v.to_owned()));
    let remove = ["x-powered-by", "content-length"].map(str::to_owned);
    let text = response_with(
        "HTTP/1.1 200 OK",
        &["Server: them", "X-Powered-By: y", "Content-Length: 3", "x-a: 0", "X-a: 00"],
    );
    let out = rebuild(text, ResponseRebuild { set: &set, remove: &remove, ..PLAIN });
    assert_eq!(out, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-A: 1\r\nserver: us\r\n\r\n");
}

const REPLY: Reply<'static> = Reply {
    status: 404,
    body: b"nothing\n",
    request_id: b"id-1",
    date: b"Sun, 06 Nov 1994 08:49:37 GMT",
    keep: true,
    client: Version::Http11,
    head_request: false,
    extra: &[],
};

fn replied(what: Reply<'_>) -> String {
    let mut out = Vec::new();
    reply(&what, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn our_answers_are_whole() {
    let due = "HTTP/1.1 404 Not Found\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain; charset=utf-8\r\n\
        Content-Length: 8\r\nX-Request-Id: id-1\r\n";
    assert_eq!(replied(REPLY), format!("{due}\r\nnothing\n"));
    assert_eq!(replied(Reply { head_request: true, ..REPLY }), format!("{due}\r\n"));
    assert_eq!(replied(Reply { keep: false, ..REPLY }), format!("{due}Connection: close\r\n\r\nnothing\n"));
    assert_eq!(
        replied(Reply { client: Version::Http10, ..REPLY }),
        format!("{due}Connection: keep-alive\r\n\r\nnothing\n")
    );
    let extra: &[(&str, &[u8])] = &[("Retry-After", b"1"), ("Content-Length", b"9"), ("Connection", b"x")];
    assert_eq!(replied(Reply { extra, ..REPLY }), format!("{due}Retry-After: 1\r\n\r\nnothing\n"));
}

#[test]
fn an_extra_field_takes_the_place_of_ours() {
    let extra: &[(&str, &[u8])] = &[("content-type", b"text/html"), ("X-Request-Id", b"x"), ("date", b"now")];
    let out = replied(Reply { extra, ..REPLY });
    assert_eq!(
        out,
        "HTTP/1.1 404 Not Found\r\nContent-Length: 8\r\ncontent-type: text/html\r\nX-Request-Id: x\r\ndate: now\r\n\r\nnothing\n"
    );
}

#[test]
fn an_answer_without_content_has_no_byte_of_it() {
    for status in [204, 304] {
        let out = replied(Reply { status, ..REPLY });
        assert!(out.ends_with("\r\n\r\n") && !out.contains("Content-"), "{out}");
    }
}

#[test]
fn a_refusal_says_why_and_which_request() {
    let mut out = Vec::new();
    refusal_body(&Refusal::new(400, "the path has a dot segment"), b"id-1", &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "400 Bad Request: the path has a dot segment\nrequest id: id-1\n");
}

#[test]
fn numbers_and_reasons() {
    for n in [0, 7, 10, 8192, u64::MAX] {
        let mut out = Vec::new();
        put_decimal(n, &mut out).unwrap();
        assert_eq!(out, n.to_string().as_bytes());
    }
    assert_eq!((reason_phrase(431), reason_phrase(508)), ("Request Header Fields Too Large", "Loop Detected"));
}
