//! Rows that are about several messages on one connection, or about time: scripts, each run whole and one byte a segment.

use crate::lanes::{Way, text};
use crate::support::{Client, Ending, Origin, OriginConn, Router, ms, reply};

/// What both ends of a script speak.
trait Speaks {
    fn says(&mut self, way: Way, bytes: impl AsRef<[u8]>);
}

impl Speaks for Client {
    fn says(&mut self, way: Way, bytes: impl AsRef<[u8]>) {
        match way {
            Way::Whole => self.send(bytes),
            Way::Slow => self.send_slowly(bytes),
        }
    }
}

impl Speaks for OriginConn {
    fn says(&mut self, way: Way, bytes: impl AsRef<[u8]>) {
        match way {
            Way::Whole => self.send(bytes),
            Way::Slow => self.send_slowly(bytes),
        }
    }
}

/// Each promise as a test of its own, with the rows it holds.
macro_rules! scripts {
    ($($rows:literal $name:ident)*) => {
        pub const HELD: &[(&str, &str)] = &[$(($rows, stringify!($name))),*];
        mod each {
            $(#[test] fn $name() { super::both_ways($rows, super::$name); })*
        }
    };
}

scripts! {
    "9112 25" a_request_that_comes_back_is_a_loop
    "9112 27, CVE 6" no_byte_goes_through_before_the_101
    "9112 27, CVE 6" a_switch_that_is_refused_is_an_ordinary_answer
    "9112 27" a_switch_to_what_nobody_asked_for_is_502
    "9112 29" an_expectation_is_met_by_the_backend
    "9112 29, CVE 5" a_final_answer_in_place_of_the_100_closes
    "9112 28" too_many_interim_answers_are_502
    "9112 32" bytes_before_any_request_are_nobodys_answer
    "9112 33" a_get_on_a_stale_connection_goes_once_more
    "9112 33" what_may_not_be_repeated_is_502
    "9112 33" a_request_that_was_answered_in_part_is_not_repeated
    "9112 36" a_late_answer_is_504
    "9112 36" a_backend_that_refuses_is_502
    "9112 8" a_request_that_breaks_off_has_no_end
    "9112 8" an_answer_that_breaks_off_when_half_is_read_is_a_reset
}

fn both_ways(rows: &str, script: fn(Way)) {
    for way in Way::BOTH {
        if let Err(why) = std::panic::catch_unwind(|| script(way)) {
            panic!("{rows} ({way:?}): {}", text(&*why));
        }
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const WEBSOCKET: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";

/// Every time an hour.
const PATIENT: &str =
    "[timeouts]\nheader = 1h\nidle = 1h\nbody = 1h\nsend = 1h\nresponse = 1h\ntunnel = 1h\nbackend_idle = 1h\n";

fn between() -> (Client, Origin, Router) {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, PATIENT);
    (router.client(), origin, router)
}

fn a_request_that_comes_back_is_a_loop(way: Way) {
    let origin = Origin::serve(|_| reply(200, &[], "ok"));
    let router = Router::to_with(&origin, PATIENT);
    router.client().get("/");
    let via = origin.last().fields.get("Via").expect("one").to_owned();
    let mut client = router.client();
    client.says(way, format!("GET / HTTP/1.1\r\nHost: a\r\nVia: 1.0 x, {via}, 1.1 y\r\n\r\n"));
    assert_eq!(client.read_response().status, 508);
    client.says(way, "GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 layer7router-00000000\r\n\r\n");
    assert_eq!(client.read_response().status, 200, "another router of this kind is no loop");
    assert_eq!(origin.requests().len(), 2);
}

fn no_byte_goes_through_before_the_101(way: Way) {
    let (mut client, origin, router) = between();
    client.says(way, [WEBSOCKET, "early"].concat());
    let (mut conn, request) = origin.accept_request();
    assert_eq!(request.fields.get("Upgrade"), Some("websocket"));
    // An interim answer proves that the router has had all the time it needs.
    conn.says(way, "HTTP/1.1 103 Early Hints\r\n\r\n");
    client.read_response_head("GET");
    conn.expect_silence_for(ms(50));
    conn.says(way, [SWITCHED, "\r\nhello"].concat());
    assert_eq!(client.read_response_head("GET").raw_head, [SWITCHED, "\r\n"].concat().as_bytes());
    assert_eq!(client.read_exact(5), b"hello");
    assert_eq!(conn.read_exact(5), b"early");
    client.close_write();
    assert_eq!(conn.expect_closed(), Ending::Fin);
    conn.close();
    client.expect_closed();
    router.assert_at_rest();
}

fn a_switch_that_is_refused_is_an_ordinary_answer(way: Way) {
    let (mut client, origin, _router) = between();
    client.says(way, [WEBSOCKET, GET].concat());
    let (mut conn, _) = origin.accept_request();
    conn.says(way, reply(403, &[], "no"));
    assert_eq!(client.read_response().status, 403);
    assert_eq!(conn.read_request().line(), "GET /", "what follows is the next request");
    conn.reply(200, "next");
    assert_eq!(client.read_response().text(), "next");
}

fn a_switch_to_what_nobody_asked_for_is_502(way: Way) {
    for switched in ["Upgrade: h2c", "Upgrade: websocket, h2c", "X-A: b"] {
        let (mut client, origin, _router) = between();
        client.says(way, WEBSOCKET);
        let (mut conn, _) = origin.accept_request();
        conn.says(way, format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n{switched}\r\n\r\n"));
        assert_eq!(client.read_response().status, 502, "{switched}");
        conn.read_until_end();
    }
}

fn an_expectation_is_met_by_the_backend(way: Way) {
    let (mut client, origin, _router) = between();
    client.says(way, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    let mut conn = origin.accept();
    assert_eq!(conn.read_request_head().fields.get("Expect"), Some("100-continue"));
    conn.says(way, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.read_response_head("POST").status, 100);
    client.says(way, "hello");
    assert_eq!(conn.read_exact(5), b"hello");
    conn.says(way, reply(200, &[], "thanks"));
    assert_eq!(client.read_response().text(), "thanks");
    client.says(way, GET);
    assert_eq!(conn.read_request().line(), "GET /");
}

fn a_final_answer_in_place_of_the_100_closes(way: Way) {
    for waits in [true, false] {
        let (mut client, origin, router) = between();
        client.says(way, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 38\r\n\r\n");
        let mut conn = origin.accept();
        conn.read_request_head();
        conn.says(way, reply(413, &[], "no"));
        let response = client.read_response();
        assert_eq!((response.status, response.says_close()), (413, true));
        if waits {
            assert_eq!(client.expect_closed(), Ending::Fin, "a body is waited for that will not come");
        }
        // It is the body if it comes in time, else nothing; it is never a request.
        let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
        let _closed_already = client.try_send(smuggled);
        if !waits {
            client.expect_closed();
        }
        let (bytes, _) = conn.read_until_end();
        let may = if waits { b"" } else { smuggled.as_bytes() };
        assert!(may.starts_with(&bytes), "{}", bytes.escape_ascii());
        assert!(origin.accept_within(ms(0)).is_none());
        drop(client);
        router.assert_at_rest();
    }
}

fn too_many_interim_answers_are_502(way: Way) {
    let (mut client, origin, _router) = between();
    client.send(GET);
    let (mut conn, _) = origin.accept_request();
    conn.says(way, "HTTP/1.1 102 Processing\r\n\r\n".repeat(65));
    // Those that wait for the one behind them are lost with it, so there may be fewer.
    let mut passed = 0;
    let last = loop {
        match client.read_response_head("GET").status {
            102 => passed += 1,
            status => break status,
        }
    };
    assert!(last == 502 && passed <= 64, "{passed} interim answers, then {last}");
    conn.read_until_end();
}

fn bytes_before_any_request_are_nobodys_answer(way: Way) {
    let (mut client, origin, _router) = between();
    client.send(GET);
    let (mut conn, _) = origin.accept_request();
    conn.reply(200, "first");
    assert_eq!(client.read_response().text(), "first");
    conn.says(way, reply(200, &[], "evil"));
    client.send(GET);
    let (mut fresh, _) = origin.accept_request();
    fresh.reply(200, "second");
    assert_eq!(client.read_response().text(), "second");
    assert!(conn.read_until_end().0.is_empty(), "the connection with bytes of its own was used again");
}

/// A kept backend connection: its origin's end, and the client that will make the router use it again.
fn kept(client: &mut Client, origin: &Origin) -> OriginConn {
    client.send(GET);
    let (mut conn, _) = origin.accept_request();
    conn.reply(200, "kept");
    assert_eq!(client.read_response().text(), "kept");
    conn
}

fn a_get_on_a_stale_connection_goes_once_more(way: Way) {
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"] {
        let (mut client, origin, router) = between();
        let mut conn = kept(&mut client, &origin);
        client.says(way, format!("{method} /again HTTP/1.1\r\nHost: a\r\n\r\n"));
        let head = conn.read_request().raw_head;
        conn.close();
        let (conn, again) = origin.accept_request();
        assert_eq!(again.raw_head.escape_ascii().to_string(), head.escape_ascii().to_string(), "{method}");
        conn.close();
        let response = client.read_response_to(method);
        assert_eq!(response.status, 502, "{method}: a fresh connection is not tried again");
        assert_eq!(router.counter("retries"), 1);
    }
}

fn what_may_not_be_repeated_is_502(way: Way) {
    for request in [
        "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
        "PATCH / HTTP/1.1\r\nHost: a\r\n\r\n",
        "OTHER / HTTP/1.1\r\nHost: a\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
    ] {
        let (mut client, origin, router) = between();
        let mut conn = kept(&mut client, &origin);
        client.says(way, request);
        conn.read_request();
        conn.close();
        assert_eq!(client.read_response().status, 502, "{request}");
        assert!(origin.accept_within(ms(0)).is_none(), "{request}: sent again");
        assert_eq!(router.counter("retries"), 0);
    }
}

fn a_request_that_was_answered_in_part_is_not_repeated(way: Way) {
    for part in ["H", "HTTP/1.1 103 Early Hints\r\n\r\n"] {
        let (mut client, origin, router) = between();
        let mut conn = kept(&mut client, &origin);
        client.says(way, GET);
        conn.read_request();
        conn.says(way, part);
        if part.len() > 1 {
            client.read_response_head("GET");
        }
        conn.close();
        assert_eq!(client.read_response().status, 502);
        assert!(origin.accept_within(ms(0)).is_none(), "sent again");
        assert_eq!(router.counter("retries"), 0);
    }
}

fn a_late_answer_is_504(way: Way) {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, "[timeouts]\nresponse = 200ms");
    let mut client = router.client();
    client.says(way, GET);
    let (mut conn, _) = origin.accept_request();
    conn.says(way, "HTTP/1.1 200 OK\r\nContent-");
    let response = client.read_response();
    assert_eq!((response.status, response.says_close()), (504, false));
    conn.read_until_end();
    client.says(way, GET);
    origin.accept_request().0.reply(200, "next");
    assert_eq!(client.read_response().text(), "next");
}

fn a_backend_that_refuses_is_502(way: Way) {
    let router = Router::to_with(&crate::support::Refusing::bind(), PATIENT);
    let mut client = router.client();
    for _ in 0..2 {
        client.says(way, GET);
        let response = client.read_response();
        assert_eq!((response.status, response.says_close()), (502, false));
    }
}

fn a_request_that_breaks_off_has_no_end(way: Way) {
    for (framing, part) in [
        ("Content-Length: 10", "part"),
        ("Transfer-Encoding: chunked", "4\r\npart\r\n"),
        ("Transfer-Encoding: chunked", "4\r\npart\r\n0\r\n"),
        ("Transfer-Encoding: chunked", "a\r\npart"),
    ] {
        for reset in [false, true] {
            let (mut client, origin, router) = between();
            client.says(way, format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{part}"));
            let mut conn = origin.accept();
            let end = conn.read_request_head().end;
            if reset {
                client.reset();
            } else {
                client.close_write();
                assert_eq!(client.read_response().status, 400);
                client.expect_closed();
            }
            let (bytes, _) = conn.read_until_end();
            assert!(matches!(crate::strict::body(&bytes, end), Ok(None)), "it looks whole: {}", bytes.escape_ascii());
            router.assert_at_rest();
        }
    }
}

fn an_answer_that_breaks_off_when_half_is_read_is_a_reset(way: Way) {
    let starts = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart", ""),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n", ""),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n", "0\r\nX-Half"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n", "zz\r\n"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n", "\r\n"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n", "0\r\nX : 1\r\n\r\n"),
    ];
    for ((start, then), reset) in starts.into_iter().flat_map(|start| [(start, false), (start, true)]) {
        let (mut client, origin, router) = between();
        client.send(GET);
        let (mut conn, _) = origin.accept_request();
        // In one chunk: a byte a segment would be a byte a chunk.
        conn.send(start);
        client.read_until(b"part");
        match (then.ends_with('\n'), reset) {
            // What is malformed is told without the backend's end: at its first bad byte, so that none behind it may arrive.
            (true, _) => {
                let pieces = then.as_bytes().chunks(if matches!(way, Way::Slow) { 1 } else { then.len() });
                let _cut = pieces.map(|piece| conn.try_send(piece)).find(Result::is_err);
            }
            (false, true) => {
                conn.says(way, then);
                conn.reset();
            }
            (false, false) => {
                conn.says(way, then);
                conn.close();
            }
        }
        let rest = client.read_until_reset();
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{start:?}: an end was made up");
        router.assert_at_rest();
    }
}
