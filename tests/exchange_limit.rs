//! `timeouts.exchange`: an exchange ends at its limit whatever it waits for, though each byte comes in time for the other
//! deadlines.
//!
//! Not here: those other deadlines, which are between bytes or for one phase (`keepalive`, `backends`, `overload`).

mod support;

use std::ops::Range;
use std::time::{Duration, Instant};

use support::{Client, Ending, Origin, OriginConn, Peer, Router, ms, pattern, reply};

const LIMITED: &str = "[timeouts]\nexchange = 800ms\n[log]\naccess = stdout\n";
/// Late by one look of the reaper at most; the rest is for a busy machine.
const IN_TIME: Range<Duration> = ms(750)..ms(2500);
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A client that has asked, the origin's end with its request head read, and when it was asked.
#[track_caller]
fn asked(router: &Router, origin: &Origin, head: &str) -> (Client, OriginConn, Instant) {
    let mut client = router.client();
    let at = Instant::now();
    client.send(head);
    let mut conn = origin.accept();
    conn.read_request_head();
    (client, conn, at)
}

/// Sends a byte every 20 ms until the other side, at its end, sees one: which, and how long that took.
#[track_caller]
fn drips(from: &mut Peer, seen_by: &mut Peer, since: Instant) -> (Option<Ending>, Duration) {
    let mut ending = None;
    while ending.is_none() && since.elapsed() < ms(5000) {
        let _cut_already = from.try_send("x");
        ending = seen_by.try_read(ms(20));
    }
    (ending, since.elapsed())
}

#[track_caller]
fn assert_in_time(took: Duration) {
    assert!(IN_TIME.contains(&took), "{took:?}");
}

#[test]
fn an_answer_that_drips_is_cut_at_the_limit() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, LIMITED);
    let (mut client, mut conn, at) = asked(&router, &origin, GET);
    conn.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    client.read_response_head("GET");
    let (ending, took) = drips(&mut conn, &mut client, at);
    assert_eq!(ending, Some(Ending::Reset));
    assert_in_time(took);
    router.wait_stdout("end=exchange_late");
    router.assert_at_rest();
}

#[test]
fn a_backend_that_has_not_answered_at_the_limit_is_504_and_the_session_goes_on() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, LIMITED);
    let (mut client, mut conn, at) = asked(&router, &origin, GET);
    // Interim answers are no answer.
    conn.send("HTTP/1.1 103 Early Hints\r\n\r\n");
    client.read_head();
    assert_eq!(client.read_response().status, 504);
    assert_in_time(at.elapsed());
    conn.expect_closed();
    client.send(GET);
    let (mut conn, _) = origin.accept_request();
    // The next exchange has all of its own time.
    client.expect_silence_for(ms(500));
    conn.reply(200, "in time");
    assert_eq!(client.read_response().text(), "in time");
    router.wait_stdout("504");
    router.assert_at_rest();
}

#[test]
fn a_request_that_is_sent_again_gets_no_more_time() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, "[timeouts]\nexchange = 2s");
    let mut client = router.client();
    client.send(GET);
    let (mut kept, _) = origin.accept_request();
    kept.reply(200, "kept");
    assert_eq!(client.read_response().text(), "kept");
    let at = Instant::now();
    client.send(GET);
    kept.read_request_head();
    client.expect_silence_for(ms(1500));
    drop(kept);
    let _again = origin.accept_request();
    assert_eq!(client.read_response().status, 504);
    assert!((ms(1950)..ms(3400)).contains(&at.elapsed()), "{:?}", at.elapsed());
}

#[test]
fn a_request_that_drips_is_504_at_the_limit_and_never_looks_whole() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, LIMITED);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n";
    let (mut client, mut conn, at) = asked(&router, &origin, head);
    let mut sender = client.sender();
    let (_, took) = drips(&mut sender, &mut client, at);
    assert_in_time(took);
    assert_eq!(client.read_response().status, 504);
    let (got, _) = conn.read_until_end();
    assert!(!got.ends_with(b"0\r\n\r\n"));
    router.assert_at_rest();
}

#[test]
fn a_client_that_takes_its_answer_too_slowly_is_reset_at_the_limit() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, LIMITED);
    let answer = reply(200, &[], pattern(100_000_000));
    let (client, mut conn, at) = asked(&router, &origin, GET);
    assert!(conn.try_send(answer).is_err(), "all of it was taken");
    assert_in_time(at.elapsed());
    drop(client);
    router.wait_stdout("end=exchange_late");
    router.assert_at_rest();
}

#[test]
fn a_tunnel_has_no_such_limit() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, LIMITED);
    let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let (mut client, mut conn, at) = asked(&router, &origin, upgrade);
    conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    client.read_response_head("GET");
    client.expect_silence_for(ms(1500).saturating_sub(at.elapsed()));
    client.send("there");
    assert_eq!(conn.read_exact(5), b"there");
    conn.send("back");
    assert_eq!(client.read_exact(4), b"back");
}

#[test]
fn without_the_key_there_is_no_such_limit() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let (mut client, mut conn, _) = asked(&router, &origin, GET);
    client.expect_silence_for(ms(1500));
    conn.reply(200, "late");
    assert_eq!(client.read_response().text(), "late");
}
