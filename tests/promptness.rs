//! Bytes leave when they are there: answers that overtake requests, 100-continue, both directions at once, tunnels.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use support::{Client, Origin, OriginConn, Request, Router, TempDir, ms, pattern, reply};
use tungstenite::Message;

/// A client that has sent `head`, and the origin's end with the head that arrived there.
#[track_caller]
fn begun(router: &Router, origin: &Origin, head: &str) -> (Client, OriginConn, Request) {
    let mut client = router.client();
    client.send(head);
    let mut conn = origin.accept();
    let request = conn.read_request_head();
    (client, conn, request)
}

const POST_1000: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n";
const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

#[test]
fn parts_of_a_body_are_not_held_back() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let (mut client, mut conn, _) = begun(&router, &origin, POST_1000);
    client.send("first");
    assert_eq!(conn.read_exact(5), b"first");
    client.send([b'x'; 995]);
    conn.read_exact(995);
    conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    client.read_response_head("POST");
    assert_eq!(client.read_chunk().as_deref(), Some(&b"one"[..]));
    conn.send("3\r\ntwo\r\n");
    assert_eq!(client.read_chunk().as_deref(), Some(&b"two"[..]));
    conn.send("0\r\n\r\n");
    assert_eq!(client.read_chunk(), None);
    client.read_trailers();
}

#[test]
fn early_response_reaches_a_client_that_is_still_sending() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let (mut client, mut conn, _) = begun(&router, &origin, POST_1000);
    conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nearly");
    assert_eq!(client.read_response_head("POST").status, 200);
    assert_eq!(client.read_exact(5), b"early");
    client.send([b'x'; 1000]);
    assert_eq!(conn.read_exact(1000), [b'x'; 1000], "the request keeps flowing");
    conn.send("later");
    assert_eq!(client.read_exact(5), b"later");
    router.assert_at_rest();
}

#[test]
fn the_rest_of_a_request_is_forwarded_after_its_answer_then_both_close() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let (mut client, mut conn, _) = begun(&router, &origin, POST_1000);
    conn.reply(200, "done already");
    assert_eq!(client.read_response().text(), "done already");
    // So that the answer has ended first in the router's eyes too; the client may take its time.
    client.expect_silence_for(ms(100));
    client.send([b'x'; 1000]);
    assert_eq!(conn.read_exact(1000), [b'x'; 1000]);
    conn.expect_closed_within(ms(3000));
    client.expect_closed_within(ms(3000));
    router.assert_at_rest();
    assert_eq!(router.counter("backend_idle"), 0, "a connection with an unfinished request was kept");
}

#[test]
fn a_client_that_never_finishes_after_its_answer_is_closed_in_a_second() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let (mut client, mut conn, _) = begun(&router, &origin, POST_1000);
    conn.send(reply(403, &["Connection: close"], "no"));
    let answered = Instant::now();
    conn.close();
    assert_eq!(client.read_response().status, 403);
    client.expect_closed_within(ms(3000));
    assert!(answered.elapsed() < ms(3000));
    router.assert_at_rest();
}

#[test]
fn the_rest_that_nobody_takes_is_read_only_so_far() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n";
    let (mut client, mut conn, _) = begun(&router, &origin, head);
    conn.reply(413, "too much");
    conn.close();
    assert_eq!(client.read_response().text(), "too much");
    let begun = Instant::now();
    let piece = pattern(65536);
    let mut taken = 0;
    // What the kernel buffers of both sides hold is a few megabytes; 1 GB is not.
    while taken < 1_000_000_000 && client.try_send(&piece).is_ok() {
        taken += piece.len();
    }
    assert!(taken < 100_000_000 && begun.elapsed() < ms(5000), "{taken} bytes in {:?}", begun.elapsed());
    router.assert_at_rest();
}

#[test]
fn an_answer_is_read_from_a_backend_that_takes_no_more() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n";
    let (mut client, mut conn, _) = begun(&router, &origin, head);
    let mut sender = client.sender();
    std::thread::scope(|scope| {
        scope.spawn(move || sender.try_send(pattern(4_000_000)));
        conn.read_exact(1000);
        conn.reply(400, "enough");
        // With bytes unread this is a reset on the wire.
        conn.close();
        assert_eq!(client.read_response().text(), "enough");
        client.read_until_end();
    });
    router.assert_at_rest();
}

/// While `client` waits for the 502 of an answer that failed, `meanwhile` runs again and again. It comes at once, and not
/// when the rest of the request has not moved for a second.
#[track_caller]
fn told_of_a_failed_answer(client: &mut Client, mut meanwhile: impl FnMut() + Send) {
    let (told, begun) = (AtomicBool::new(false), Instant::now());
    let took = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !told.load(Ordering::SeqCst) {
                meanwhile();
                std::thread::sleep(ms(20));
            }
        });
        let _bytes_or_nothing = client.try_read(ms(5000));
        told.store(true, Ordering::SeqCst);
        begun.elapsed()
    });
    assert!(took < ms(5000), "{took:?}");
    assert_eq!(client.read_response().status, 502);
}

#[test]
fn an_answer_that_fails_is_told_at_once_though_the_client_sends_what_is_not_passed_on() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n5;";
    let (mut client, mut conn, _) = begun(&router, &origin, head);
    assert_eq!(conn.read_until(b"half\r\n"), b"4\r\nhalf\r\n");
    conn.close();
    // An extension of a chunk: the client moves, so nobody is late, and no write to the backend fails.
    let mut sender = client.sender();
    told_of_a_failed_answer(&mut client, || {
        let _gone_already = sender.try_send("x");
    });
    router.assert_at_rest();
}

#[test]
fn expect_continue_is_relayed_both_ways() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let head = "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    let (mut client, mut conn, request) = begun(&router, &origin, head);
    assert!(request.fields.get("Expect").is_some_and(|v| v.eq_ignore_ascii_case("100-continue")));
    client.expect_silence_for(ms(100));
    conn.send("HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.read_response_head("PUT").status, 100);
    client.send("body");
    assert_eq!(conn.read_exact(4), b"body");
    conn.reply(201, "made");
    assert_eq!(client.read_response().status, 201);
    client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(conn.read_request().line(), "GET /next", "both connections are kept");
}

#[test]
fn a_final_answer_in_place_of_continue_ends_the_session() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let head = "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    let (mut client, mut conn, _) = begun(&router, &origin, head);
    conn.reply(401, "who are you");
    let response = client.read_response();
    assert!(response.text() == "who are you" && response.says_close());
    client.expect_closed_within(ms(3000));
    conn.expect_closed_within(ms(3000));
}

#[test]
fn a_session_rests_and_goes_on_after_an_upload() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let (mut client, mut conn, _) = begun(&router, &origin, POST_1000);
    client.send([b'x'; 1000]);
    conn.read_exact(1000);
    conn.reply(200, "taken");
    assert_eq!(client.read_response().text(), "taken");
    router.wait_counter("parked", |n| n == 1);
    client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(conn.read_request().line(), "GET /next");
    conn.reply(200, "next");
    assert_eq!(client.read_response().text(), "next");
}

#[test]
fn ten_megabytes_each_way_cross_when_the_backend_reads_last() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let (up, down) = (pattern(10_000_000), pattern(10_000_001));
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", up.len());
    let (mut client, mut conn, _) = begun(&router, &origin, &head);
    let mut sender = client.sender();
    std::thread::scope(|scope| {
        scope.spawn(|| sender.send(&up));
        scope.spawn(|| {
            conn.send(reply(200, &[], &down));
            assert!(conn.read_exact(up.len()) == up, "the request was damaged");
        });
        assert!(client.read_response().body == down, "the answer was damaged");
    });
    router.assert_at_rest();
}

#[test]
fn no_byte_passes_before_the_101() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let (mut client, mut conn, request) = begun(&router, &origin, UPGRADE);
    assert!(request.fields.get("Upgrade").is_some_and(|v| v.eq_ignore_ascii_case("websocket")));
    assert!(request.fields.get("Connection").is_some_and(|v| v.eq_ignore_ascii_case("upgrade")));
    client.send("too early");
    conn.expect_silence_for(ms(200));
    conn.send(SWITCHED);
    let switched = client.read_response_head("GET");
    assert_eq!((switched.status, switched.fields.get("Upgrade")), (101, Some("websocket")));
    assert_eq!(conn.read_exact(9), b"too early");
    conn.send("and back");
    assert_eq!(client.read_exact(8), b"and back");
}

#[test]
fn an_upgrade_that_is_declined_is_an_ordinary_exchange() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let (mut client, mut conn, _) = begun(&router, &origin, UPGRADE);
    client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    conn.reply(200, "no tunnel here");
    assert_eq!(client.read_response().text(), "no tunnel here");
    assert_eq!(conn.read_request().line(), "GET /next", "what came early is the next request, rebuilt");
    conn.reply(200, "next");
    assert_eq!(client.read_response().text(), "next");
}

#[test]
fn only_websocket_upgrades_and_only_without_a_body() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let h2c = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let (_client, _conn, request) = begun(&router, &origin, h2c);
    assert!(!request.fields.has("Upgrade"));
    let with_body = UPGRADE.replace("Upgrade: websocket", "Content-Length: 2\r\nUpgrade: websocket");
    let (_client, _conn, request) = begun(&router, &origin, &with_body);
    assert!(!request.fields.has("Upgrade"));
}

#[test]
fn a_101_that_nobody_asked_for_is_502() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let (mut client, mut conn, _) = begun(&router, &origin, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    conn.send(SWITCHED);
    assert_eq!(client.read_response().status, 502);
    router.assert_at_rest();
}

#[test]
fn a_websocket_library_at_each_end_sees_only_the_other() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut server = tungstenite::accept(support::Peer::from(origin.accept()).into_tcp()).expect("handshake");
            while let Ok(message) = server.read() {
                if message.is_text() || message.is_binary() {
                    server.send(message).expect("echo");
                }
            }
        });
        let stream = support::Peer::from(router.client()).into_tcp();
        let (mut client, answer) = tungstenite::client("ws://example.test/chat", stream).expect("handshake");
        assert_eq!(answer.status(), 101);
        let sent = [Message::text("hello"), Message::binary(pattern(3_000_000)), Message::text("")];
        for message in sent {
            client.send(message.clone()).expect("send");
            assert!(client.read().expect("echo") == message);
        }
        client.close(None).expect("close");
        while client.read().is_ok() {}
    });
    router.assert_at_rest();
}

#[test]
fn each_side_of_a_tunnel_may_end_first() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    for client_first in [true, false] {
        let (mut client, mut conn, _) = begun(&router, &origin, UPGRADE);
        conn.send(SWITCHED);
        client.read_response_head("GET");
        let (first, second): (&mut support::Peer, &mut support::Peer) =
            if client_first { (&mut client, &mut conn) } else { (&mut conn, &mut client) };
        first.send("last words");
        first.close_write();
        assert_eq!(second.read_until_close(), b"last words");
        second.send(pattern(100_000));
        second.close_write();
        assert!(first.read_until_close() == pattern(100_000));
    }
    router.assert_at_rest();
}

#[test]
fn a_tunnel_without_a_byte_is_closed() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, "[timeouts]\ntunnel = 400ms");
    let (mut client, mut conn, _) = begun(&router, &origin, UPGRADE);
    conn.send(SWITCHED);
    client.read_response_head("GET");
    for _ in 0..4 {
        client.expect_silence_for(ms(200));
        conn.send("x");
        client.read_exact(1);
    }
    let quiet = Instant::now();
    client.expect_closed_within(ms(3000));
    assert!(quiet.elapsed() >= ms(300), "{:?}", quiet.elapsed());
    conn.expect_closed_within(ms(3000));
    router.assert_at_rest();
}

#[test]
fn a_client_that_resets_ends_its_exchange_at_once() {
    for exchanges_before in [0, 1] {
        let origin = Origin::bind();
        let router = Router::to(&origin);
        let mut client = router.client();
        client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
        let (mut conn, _) = origin.accept_request();
        if exchanges_before == 1 {
            conn.reply(200, "");
            client.read_response();
            router.wait_counter("parked", |n| n == 1);
            client.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
            conn.read_request();
        }
        client.reset();
        conn.expect_closed_within(ms(2000));
        router.assert_at_rest();
    }
}

#[test]
fn a_client_of_a_unix_socket_that_goes_while_its_request_is_sent_ends_its_exchange_when_it_is() {
    let dir = TempDir::new();
    let (at, to) = (dir.file("l.sock"), dir.file("b.sock"));
    let origin = Origin::bind_unix(to.as_ref());
    let ini =
        support::router::one_pool(&origin, "[server]\nslice_size = 1m\nworkers = 2\n[limits]\nheader_size = 1m\n");
    let router = Router::start(&ini.replace("127.0.0.1:0", &format!("unix:{at}")));
    let mut client = router.client();
    // A head that is more than the kernel holds on its way to a backend that does not read.
    let fields = format!("X-Fill: {}\r\n", "x".repeat(9000)).repeat(90);
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    let mut conn = origin.accept();
    conn.read_exact(1000);
    origin.expect_no_connection_for(ms(100));
    client.close();
    // Its end is told now, while it is left alone, and not again by itself.
    origin.expect_no_connection_for(ms(100));
    let (rest, _) = conn.read_until_end_within(ms(5000));
    assert!(rest.ends_with(b"\r\n\r\n"), "what a client sent before it went is passed on");
    router.assert_at_rest();
}

#[test]
fn a_client_of_a_unix_socket_that_goes_ends_its_exchange_at_once() {
    let (dir, origin) = (TempDir::new(), Origin::bind());
    let socket = dir.file("l.sock");
    let router =
        Router::start(&support::router::one_pool(&origin, "").replace("127.0.0.1:0", &format!("unix:{socket}")));
    let (client, mut conn, _) = begun(&router, &origin, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.close();
    conn.expect_closed_within(ms(2000));
    router.assert_at_rest();
}
