//! What the router refuses by itself, with which status, and that no backend ever hears of it.

mod support;

use std::time::Instant;

use support::{Client, Ending, Origin, OriginConn, Refusing, Response, Router, ms, reply};

/// What a router whose `[limits]` are `limits` answers to `request`; it must then close.
#[track_caller]
fn refused(limits: &str, request: impl AsRef<[u8]>) -> Response {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, limits);
    let mut client = router.client();
    client.send(request);
    let response = client.read_response();
    assert!(response.says_close(), "no Connection: close on {}", response.status);
    assert_eq!(client.expect_closed(), Ending::Fin);
    assert!(origin.accept_within(ms(0)).is_none(), "the backend heard of a request that was refused");
    response
}

#[test]
fn a_body_over_the_limit_is_413_before_or_while_it_streams() {
    let limits = "[limits]\nbody_size = 1k";
    let by_length = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n";
    assert_eq!(refused(limits, by_length).status, 413);

    let origin = Origin::bind();
    let router = Router::to_with(&origin, limits);
    let mut client = router.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("400\r\n");
    client.send([b'x'; 1024]);
    let mut conn = origin.accept();
    conn.read_request_head();
    client.send("\r\n1\r\ny\r\n0\r\n\r\n");
    assert_eq!(client.read_response().status, 413);
    client.expect_closed();
    let (got, _) = conn.read_until_end();
    assert!(!got.ends_with(b"0\r\n\r\n"), "the backend took a body over the limit for whole");

    let mut client = router.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1024\r\n\r\n");
    client.send([b'x'; 1024]);
    origin.accept_request().0.reply(200, "just fits");
    assert_eq!(client.read_response().status, 200);
}

#[test]
fn a_route_may_take_more_or_less_of_a_body_than_the_others() {
    let origin = Origin::serve(|_| reply(200, &[], "taken"));
    let routes = "[limits]\nbody_size = 1k\n\
                  [route:less]\npath = /less\nbody_size = 10b\npool = app\n\
                  [route:more]\npath = /more\nbody_size = 2k\npool = app\n\
                  [route:any]\npath = /any\nbody_size = 0\npool = app";
    let router = Router::to_with(&origin, routes);
    let ask = |path: &str, len: usize, framing: &str| {
        let mut client = router.client();
        client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"));
        let body = "x".repeat(len);
        client.send(if framing.starts_with('T') { format!("{len:x}\r\n{body}\r\n0\r\n\r\n") } else { body });
        client.read_response().status
    };
    for (path, limit) in [("/less", Some(10)), ("/more", Some(2048)), ("/any", None), ("/", Some(1024))] {
        for len in [limit.unwrap_or(65536), limit.unwrap_or(65536) + 1] {
            let due = if limit.is_some_and(|limit| len > limit) { 413 } else { 200 };
            assert_eq!(ask(path, len, &format!("Content-Length: {len}")), due, "{len} bytes to {path}");
            assert_eq!(ask(path, len, "Transfer-Encoding: chunked"), due, "{len} bytes in a chunk to {path}");
        }
    }
    router.assert_at_rest();
}

#[test]
fn heads_that_are_too_large_are_named_by_what_was_too_large() {
    let long = "x".repeat(8 * 1024);
    assert_eq!(refused("", format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")).status, 414);
    let fields = "X-A: b\r\n".repeat(101);
    assert_eq!(refused("", format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).status, 431);
    let limits = "[limits]\nheader_size = 4k\nuri_size = 2k";
    let large = "x".repeat(5000);
    assert_eq!(refused(limits, format!("GET / HTTP/1.1\r\nHost: a\r\nX-A: {large}\r\n\r\n")).status, 431);
    assert_eq!(refused(limits, format!("GET / HTTP/1.1\r\nHost: a\r\nX-A: {large}")).status, 431, "without its end");
}

#[test]
fn the_log_says_why_under_the_id_that_the_answer_has() {
    let origin = Origin::bind();
    let router = Router::to_with(
        &origin,
        "[route:get]\npath = /get\nmethod = GET\npool = app\n[listen:none]\naddress = 127.0.0.1:0",
    );
    let none = router.address_of("none");
    for (address, request, why) in [
        (router.address(), "GET / HTTP/1.1\r\n\r\n", "Host"),
        (router.address(), "GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n", "dot segment"),
        (none.clone(), "GET /none HTTP/1.1\r\nHost: a\r\n\r\n", "no route"),
        (none, "PUT /get HTTP/1.1\r\nHost: a\r\n\r\n", "method"),
    ] {
        let response = support::Client::connect(&address).ask(request);
        let id = response.fields.get("X-Request-Id").expect("an id");
        let line = router.wait_log(id);
        assert!(line.contains(&format!(" {} ", response.status)) && line.contains(why), "{line}");
    }
}

/// A refused client, whose answer has ended.
#[track_caller]
fn lingering() -> (Router, Client) {
    let router = Router::to(&Origin::bind());
    let mut client = router.client();
    assert_eq!(client.ask("GET / HTTP/1.1\r\n\r\n").status, 400);
    assert_eq!(client.expect_closed(), Ending::Fin);
    (router, client)
}

#[test]
fn a_refused_client_that_stays_is_let_go_in_a_second() {
    let (router, _client) = lingering();
    let since = Instant::now();
    router.wait_counter("sessions", |n| n == 0);
    assert!((ms(800)..ms(4000)).contains(&since.elapsed()), "{:?}", since.elapsed());
}

#[test]
fn whoever_did_not_ask_for_the_end_has_a_second_to_take_its_last_answer() {
    const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf";
    const EXPECTS: &str = "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    type Backend = fn(OriginConn);
    let answers: Backend = |mut conn| conn.reply(200, "the last");
    let hangs_up: Backend = |conn| conn.close();
    let declines: Backend = |mut conn| conn.reply(401, "who are you");
    std::thread::scope(|scope| {
        for (more, request, backend, status) in [
            ("[limits]\nrequests_per_connection = 1\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", Some(answers), 200),
            ("", POST, None, 502),
            // The client's input was stopped: that it has ended says nothing.
            ("", POST, Some(hangs_up), 502),
            ("", EXPECTS, Some(declines), 401),
            // This one never runs again: its answer is canned.
            ("[timeouts]\nheader = 200ms\n", "GET / HTTP/1.1\r\nHo", None, 408),
        ] {
            scope.spawn(move || {
                let (origin, refusing) = (Origin::bind(), Refusing::bind());
                let backend_address = if backend.is_some() { origin.to_string() } else { refusing.to_string() };
                let router = Router::to_with(&backend_address, more);
                let mut client = router.client();
                client.send(request);
                if let Some(script) = backend {
                    let mut conn = origin.accept();
                    conn.read_request_head();
                    if request == POST {
                        assert_eq!(conn.read_exact(4), b"half");
                    }
                    script(conn);
                }
                assert_eq!(client.read_response().status, status);
                assert_eq!(client.expect_closed(), Ending::Fin);
                let since = Instant::now();
                router.wait_counter("sessions", |n| n == 0);
                assert!((ms(800)..ms(4000)).contains(&since.elapsed()), "{status} to {request}: {:?}", since.elapsed());
                router.assert_at_rest();
            });
        }
    });
}

#[test]
fn an_answer_of_our_own_says_why_when_and_which() {
    let response = refused("", "GET / HTTP/1.1\r\nX-Request-Id: mine\r\n\r\n");
    assert!(response.fields.get("Date").is_some_and(|date| date.ends_with(" GMT")));
    assert!(response.fields.get("Content-Type").is_some_and(|kind| kind.starts_with("text/plain")));
    let id = response.fields.get("X-Request-Id").expect("an id").to_owned();
    assert!(response.text().contains(&id), "{}", response.text());
    assert!(response.text().to_ascii_lowercase().contains("host"), "no reason in {:?}", response.text());
}

#[test]
fn dripping_does_not_extend_the_second_that_a_refused_client_gets() {
    let (router, mut client) = lingering();
    let since = Instant::now();
    while router.counter("sessions") > 0 {
        let _ = client.try_send("x");
        assert!(since.elapsed() < ms(4000), "still there after {:?}", since.elapsed());
    }
}
