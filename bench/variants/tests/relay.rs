//! The session without a socket: whatever comes, cut anywhere, and however little is taken at once.

mod script;

use layer7router::http::framing::{BodyReader, ResponseBody};
use script::{Session, site};
use variants::relay::Next;
use variants::up::After;

const GET: &str = "GET /a?b HTTP/1.1\r\nHost: a\r\nX-Request-Id: one\r\n\r\n";

/// A request, the backend's answer, and what each side has read in the end: start line, fields that are looked at, body.
struct Exchange {
    request: String,
    answer: &'static str,
    /// The backend ends behind its answer.
    ends: bool,
    to_backend: (&'static str, &'static str),
    to_client: (&'static str, &'static str),
    keep: bool,
}

fn exchanges() -> Vec<Exchange> {
    let request = |line: &str, rest: &str| format!("{line}\r\nHost: a\r\nX-Request-Id: one\r\n{rest}");
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello";
    let plain = |to_backend, rest: &str, line: &str| Exchange {
        request: request(line, rest),
        answer: ok,
        ends: false,
        to_backend,
        to_client: ("HTTP/1.1 200 OK", "hello"),
        keep: true,
    };
    let answered = |line: &str, answer, ends, to_client, keep| Exchange {
        request: request(line, "\r\n"),
        answer,
        ends,
        to_backend: ("", ""),
        to_client,
        keep,
    };
    vec![
        plain(("GET /a HTTP/1.1", ""), "\r\n", "GET /a HTTP/1.1"),
        plain(("POST / HTTP/1.1", "0123456789"), "Content-Length: 10\r\n\r\n0123456789", "POST / HTTP/1.1"),
        plain(
            ("POST / HTTP/1.1", "abcde"),
            "Transfer-Encoding: chunked\r\n\r\n3;x=\"y\"\r\nabc\r\n2\r\nde\r\n0\r\nX-T: v\r\n\r\n",
            "POST / HTTP/1.1",
        ),
        answered(
            "HEAD / HTTP/1.1",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            false,
            ("HTTP/1.1 200 OK", ""),
            true,
        ),
        answered("GET / HTTP/1.1", "HTTP/1.1 204 No Content\r\n\r\n", false, ("HTTP/1.1 204 No Content", ""), true),
        answered(
            "GET / HTTP/1.1",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
            false,
            ("HTTP/1.1 304 Not Modified", ""),
            true,
        ),
        answered(
            "GET / HTTP/1.1",
            "HTTP/1.1 200 OK\r\n\r\nuntil the end",
            true,
            ("HTTP/1.1 200 OK", "until the end"),
            false,
        ),
        answered(
            "GET / HTTP/1.1",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n001\r\n!\r\n0\r\nX-T: v\r\n\r\n",
            false,
            ("HTTP/1.1 200 OK", "hello!"),
            true,
        ),
        answered(
            "GET / HTTP/1.0",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            false,
            ("HTTP/1.1 200 OK", "hello"),
            false,
        ),
        answered(
            "GET / HTTP/1.1",
            "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            false,
            ("HTTP/1.1 103 Early Hints", "ok"),
            true,
        ),
    ]
}

/// Runs one exchange; `request` and `answer` arrive in these pieces, and sockets take `take` bytes a write.
fn run(exchange: &Exchange, request: &[&[u8]], answer: &[&[u8]], take: usize) {
    let mut session = Session::new(&site(""));
    (session.client.take, session.backend.take) = (take, take);
    for piece in request {
        session.client.feed(piece);
        session.run();
    }
    let to_backend = String::from_utf8(session.backend.output.clone()).expect("text");
    if !exchange.to_backend.0.is_empty() {
        assert!(to_backend.starts_with(exchange.to_backend.0), "{to_backend}");
        assert_eq!(body_of(&to_backend), exchange.to_backend.1, "{to_backend}");
    }
    for field in ["X-Forwarded-For: 127.0.0.9\r\n", "X-Request-Id: one\r\n", "Via: 1.", "X-Real-IP: "] {
        assert_eq!(to_backend.matches(field).count(), 1, "{field}: {to_backend}");
    }
    assert_eq!(to_backend.contains("X-T: v\r\n"), exchange.request.contains("X-T: v\r\n"), "{to_backend}");
    for piece in answer {
        session.backend.feed(piece);
        session.run();
    }
    session.backend.ended = exchange.ends;
    let next = session.run();
    let to_client = String::from_utf8(session.client.output.clone()).expect("text");
    assert!(to_client.starts_with(exchange.to_client.0), "{to_client}");
    assert_eq!(body_of(&to_client), exchange.to_client.1, "{to_client}");
    let bodiless =
        ["HEAD", "204", "304"].iter().any(|word| exchange.request.contains(word) || to_client.contains(word));
    assert!(!bodiless || to_client.ends_with("\r\n\r\n"), "{to_client}");
    // Who speaks HTTP/1.0 said that it was its last request.
    let end = if exchange.request.contains("HTTP/1.0") { After::Close } else { After::Linger };
    assert_eq!(next, if exchange.keep { Next::Wait } else { Next::End(end) }, "{to_client}");
    assert_eq!(session.released, [exchange.keep || !exchange.ends], "{to_client}");
}

#[test]
fn a_message_may_be_cut_anywhere() {
    for exchange in exchanges() {
        let (request, answer) = (exchange.request.as_bytes(), exchange.answer.as_bytes());
        run(&exchange, &[request], &[answer], usize::MAX);
        for cut in 0..=request.len() {
            let (a, b) = request.split_at(cut);
            run(&exchange, &[a, b], &[answer], usize::MAX);
        }
        for cut in 0..=answer.len() {
            let (a, b) = answer.split_at(cut);
            run(&exchange, &[request], &[a, b], usize::MAX);
        }
    }
}

#[test]
fn bytes_may_come_and_leave_one_by_one() {
    for exchange in exchanges() {
        let request: Vec<&[u8]> = exchange.request.as_bytes().chunks(1).collect();
        let answer: Vec<&[u8]> = exchange.answer.as_bytes().chunks(1).collect();
        run(&exchange, &request, &answer, 1);
        run(&exchange, &[exchange.request.as_bytes()], &[exchange.answer.as_bytes()], 7);
    }
}

#[test]
fn pipelined_requests_are_served_in_turn_wherever_they_are_cut() {
    let two = "POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    for cut in 0..=two.len() {
        let mut session = Session::new(&site(""));
        let (a, b) = two.as_bytes().split_at(cut);
        for piece in [a, b] {
            session.client.feed(piece);
            session.run();
        }
        let sent = String::from_utf8(std::mem::take(&mut session.backend.output)).expect("text");
        assert!(sent.starts_with("POST /1 ") && !sent.contains("GET"), "{sent}");
        session.backend.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1");
        session.run();
        let sent = String::from_utf8(std::mem::take(&mut session.backend.output)).expect("text");
        assert!(sent.starts_with("GET /2 "), "{sent}");
        session.backend.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2");
        assert_eq!(session.run(), Next::Wait);
        let got = String::from_utf8(session.client.output.clone()).expect("text");
        assert!(got.contains("\r\n\r\n1HTTP/1.1 200 OK") && got.ends_with("\r\n\r\n2"), "{got}");
        assert_eq!(session.released, [true, true]);
    }
}

#[test]
fn a_head_and_its_body_leave_in_one_write() {
    let mut session = Session::new(&site(""));
    session.client.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    session.run();
    session.backend.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    session.run();
    assert_eq!((session.backend.writes, session.client.writes), (1, 1));
    assert_eq!((session.client.reads, session.backend.reads), (1, 1), "nothing is asked for twice");
}

#[test]
fn what_is_no_request_is_refused_and_never_forwarded() {
    let bad: [(&str, u16); 18] = [
        ("GET / HTTP/1.1\nHost: a\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /../x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        ("GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", 417),
        ("\x16\x03\x01", 400),
    ];
    for (text, status) in bad {
        for pieces in [vec![text.as_bytes()], text.as_bytes().chunks(1).collect()] {
            let mut session = Session::new(&site(""));
            let mut next = Next::Wait;
            for piece in pieces {
                if next == Next::Wait {
                    session.client.feed(piece);
                    next = session.run();
                }
            }
            let got = String::from_utf8(session.client.output.clone()).expect("text");
            assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{text:?}: {got}");
            assert!(got.contains("Connection: close\r\n"), "{got}");
            assert_eq!(next, Next::End(After::Linger), "{text:?}");
            assert!(session.backend.output.is_empty() && session.connects == 0, "{text:?}");
        }
    }
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    let mut session = Session::new(&site(""));
    session.client.feed(long.as_bytes());
    assert_eq!(session.run(), Next::End(After::Linger));
    assert!(session.client.output.starts_with(b"HTTP/1.1 431 "));
}

#[test]
fn a_body_that_breaks_its_framing_ends_the_session() {
    for rest in ["3\r\nabcd", "x\r\n", "3;\"\r\n", "-1\r\n"] {
        let mut session = Session::new(&site(""));
        session.client.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(session.run(), Next::Wait);
        session.client.feed(rest.as_bytes());
        assert_eq!(session.run(), Next::End(After::Linger), "{rest:?}");
        assert!(session.client.output.starts_with(b"HTTP/1.1 400 "), "{rest:?}");
        assert_eq!(session.released, [false]);
    }
    let mut session = Session::new(&site(""));
    session.client.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc");
    session.client.ended = true;
    assert_eq!(session.run(), Next::End(After::Linger));
    assert!(session.client.output.starts_with(b"HTTP/1.1 400 "));
}

#[test]
fn an_answer_that_is_none_is_a_502_and_one_that_breaks_off_a_reset() {
    for answer in [
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "hello",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let mut session = Session::new(&site(""));
        session.client.feed(GET.as_bytes());
        session.run();
        session.backend.feed(answer.as_bytes());
        assert_eq!(session.run(), Next::Wait, "the session is as good as before: {answer:?}");
        assert!(session.client.output.starts_with(b"HTTP/1.1 502 "), "{answer:?}");
        assert_eq!(session.released, [false]);
    }
    let mut session = Session::new(&site(""));
    session.client.feed(GET.as_bytes());
    session.run();
    session.backend.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhal");
    session.run();
    session.backend.ended = true;
    assert_eq!(session.run(), Next::End(After::Reset));
    assert!(session.client.output.ends_with(b"hal"));
}

#[test]
fn a_kept_connection_that_had_died_is_replaced_once() {
    for (request, kept, status, connects) in [
        (GET, true, 200, 2),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", true, 502, 1),
        ("POST / HTTP/1.1\r\nHost: a\r\n\r\n", true, 502, 1),
        (GET, false, 502, 1),
    ] {
        let mut session = Session::new(&site(""));
        session.reused = kept;
        session.backend.ended = true;
        session.fresh_answer = Some(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        session.client.feed(request.as_bytes());
        session.run();
        let got = String::from_utf8(session.client.output.clone()).expect("text");
        assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {got}");
        assert_eq!(session.connects, connects, "{request:?}");
    }
}

#[test]
fn routes_are_the_products() {
    let site = site(
        "[route:no]\npath = /no/*\nrespond = 403 \"not here\"\n[route:strip]\npath = /s/*\nmethod = GET\nstrip_prefix = /s\n\
         set_header = X-Set: {client_ip}\npool = origin\n",
    );
    let mut session = Session::new(&site);
    session.client.feed(b"GET /no/x HTTP/1.1\r\nHost: a\r\n\r\nGET /s/y HTTP/1.1\r\nHost: a\r\n\r\n");
    session.run();
    assert!(session.client.output.starts_with(b"HTTP/1.1 403 "));
    let sent = String::from_utf8(session.backend.output.clone()).expect("text");
    assert!(sent.starts_with("GET /y HTTP/1.1\r\n") && sent.contains("X-Set: 127.0.0.9\r\n"), "{sent}");
}

#[test]
fn who_is_served_and_how_often_is_as_in_the_product() {
    let site = site(
        "[route:shut]\npath = /shut\ndeny = 127.0.0.0/8\nrespond = 200 \"in\"\n\
         [route:rare]\npath = /rare\nrequests_per_second = 1\nrespond = 200 \"in\"\n",
    );
    let mut session = Session::new(&site);
    let mut ask = |path: &str| {
        session.client.output.clear();
        session.client.feed(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        assert_eq!(session.run(), Next::Wait);
        String::from_utf8(session.client.output.clone()).expect("text")
    };
    assert!(ask("/shut").starts_with("HTTP/1.1 403 "));
    assert!(ask("/rare").starts_with("HTTP/1.1 200 "));
    // Who is slow to ask may be served a few times more.
    let refused =
        (0..100).map(|_| ask("/rare")).find(|answer| !answer.starts_with("HTTP/1.1 200 ")).expect("a refusal");
    assert!(refused.starts_with("HTTP/1.1 429 ") && refused.contains("\r\nRetry-After: 1\r\n"), "{refused}");
}

#[test]
fn who_asks_for_a_tunnel_is_passed_on_as_who_does_not() {
    let mut session = Session::new(&site(""));
    session.client.feed(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    session.run();
    let sent = String::from_utf8(session.backend.output.clone()).expect("text");
    assert!(sent.starts_with("GET / HTTP/1.1\r\n") && !sent.to_lowercase().contains("upgrade"), "{sent}");
    session.backend.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(session.run(), Next::Wait);
    assert!(session.client.output.starts_with(b"HTTP/1.1 200 OK\r\n") && session.released == [true]);
}

#[test]
fn a_backend_that_speaks_behind_its_answer_is_not_kept() {
    let mut session = Session::new(&site(""));
    session.client.feed(GET.as_bytes());
    session.run();
    session.backend.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n");
    assert_eq!(session.run(), Next::Wait);
    assert!(session.client.output.ends_with(b"\r\n\r\nok"));
    assert_eq!(session.released, [false]);
}

#[test]
fn an_answer_before_the_end_of_its_request_ends_the_session() {
    let mut session = Session::new(&site(""));
    session.client.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc");
    session.run();
    session.backend.feed(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno");
    assert_eq!(session.run(), Next::End(After::Linger));
    let got = String::from_utf8(session.client.output.clone()).expect("text");
    assert!(got.contains("Connection: close\r\n") && got.ends_with("no"), "{got}");
    assert_eq!(session.released, [false]);
}

/// What a message carries behind its heads, chunks undone.
fn body_of(message: &str) -> String {
    let mut rest = message;
    let (head, body) = loop {
        let (head, body) = rest.split_once("\r\n\r\n").expect("a whole head");
        if !head.starts_with("HTTP/1.1 1") {
            break (head, body);
        }
        rest = body;
    };
    if !head.contains("Transfer-Encoding: chunked") {
        return body.to_owned();
    }
    let mut bytes = body.as_bytes().to_vec();
    let taken = BodyReader::response(ResponseBody::Chunked).take(&mut bytes).expect("chunks");
    assert!(taken.end && taken.consumed == bytes.len(), "{message}");
    String::from_utf8(bytes[..taken.payload].to_vec()).expect("text")
}
