//! `limits.client_rate_min`: who keeps a worker waiting and moves less is let go, the others are not.
//!
//! Not here: the arithmetic of it (`reaper::pace`), and crowds of such clients (`load`).

mod support;

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use support::client::connect_with_small_buffer;
use support::{Client, DEADLINE, Origin, Peer, Router, ms, pattern, reply};

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const ACCESS: &str = "[log]\naccess = stdout\n";

/// Sends ten bytes every 100 ms, which is in time for every deadline between bytes, until `seen_by` is at its end or
/// `length` is over; whether it was.
#[track_caller]
fn drips(from: &mut Peer, seen_by: &mut Peer, length: Duration) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < length {
        let _cut_already = from.try_send("ten bytes.");
        if seen_by.try_read(ms(100)).is_some() {
            return true;
        }
    }
    false
}

#[test]
fn a_body_below_the_minimum_for_ten_seconds_is_408() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, ACCESS);
    let mut client = router.client();
    client.send(POST);
    let mut conn = origin.accept();
    conn.read_request_head();
    let begun = Instant::now();
    let mut sender = client.sender();
    assert!(drips(&mut sender, &mut client, 2 * DEADLINE), "100 bytes a second are enough");
    assert!(begun.elapsed() > ms(9900), "{:?}", begun.elapsed());
    assert_eq!(client.read_response().status, 408);
    router.wait_stdout("end=client_too_slow");
    router.assert_at_rest();
    assert_eq!(router.counter("slow_clients"), 1);
}

#[test]
fn an_answer_taken_below_the_minimum_for_ten_seconds_is_reset() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, &format!("{ACCESS}[timeouts]\nsend = 10s"));
    let mut client = connect_with_small_buffer(&router.address());
    client.write_all(GET.as_bytes()).expect("room");
    let (mut conn, _) = origin.accept_request();
    let answer = reply(200, &[], pattern(50_000_000));
    let begun = Instant::now();
    let ended = std::thread::scope(|scope| {
        let sending = scope.spawn(|| conn.try_send(answer));
        while !sending.is_finished() && begun.elapsed() < 2 * DEADLINE {
            client.read_exact(&mut [0; 50]).expect("an answer");
            std::thread::sleep(ms(100));
        }
        sending.join().expect("no panic")
    });
    assert!(ended.is_err(), "50 MB were taken at 500 bytes a second");
    assert!(begun.elapsed() > ms(9900), "{:?}", begun.elapsed());
    router.wait_stdout("end=client_too_slow");
    let error = client.read_to_end(&mut Vec::new()).expect_err("no orderly end");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    router.assert_at_rest();
}

#[test]
fn a_slow_backend_is_no_slow_client() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, "");
    let mut client = router.client();
    client.send(GET);
    let (mut conn, _) = origin.accept_request();
    conn.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    client.read_response_head("GET");
    let begun = Instant::now();
    while begun.elapsed() < ms(12_000) {
        conn.send("x");
        client.read_exact(1);
        client.expect_silence_for(ms(100));
    }
    assert_eq!(router.counter("slow_clients"), 0);
}

#[test]
fn without_a_minimum_a_body_may_drip() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, "[limits]\nclient_rate_min = 0");
    let mut client = router.client();
    client.send(POST);
    let mut conn = origin.accept();
    conn.read_request_head();
    let mut sender = client.sender();
    assert!(!drips(&mut sender, &mut client, ms(12_000)), "it was answered");
}

#[test]
fn when_no_worker_is_free_slow_clients_make_room_and_no_others_do() {
    let origin = Origin::bind();
    let more = "[route:quick]\npath = /quick\nrespond = 200 \"here\"\n[server]\nworkers = 8\n[timeouts]\nqueue = 1m";
    let router = Router::to_with(&origin, more);
    let mut waiting = router.client();
    waiting.send(GET);
    let (mut late, _) = origin.accept_request();
    let mut slow: Vec<Client> = (0..20).map(|_| router.client()).collect();
    for client in &mut slow {
        client.send(POST);
    }
    router.wait_counter("running", |n| n == 8);
    let asked = Instant::now();
    let mut normal = router.client();
    normal.send("GET /quick HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(normal.read_response().text(), "here\n");
    assert!(asked.elapsed() > ms(500), "nobody is cut before none was free for a second: {:?}", asked.elapsed());
    assert!(router.counter("slow_clients") >= 13, "all but those who have the workers that are left");
    late.reply(200, "late");
    assert_eq!(waiting.read_response().text(), "late");
    for client in &mut slow {
        // The last few keep their workers for ten seconds: nobody waits any more.
        client.set_patience(2 * DEADLINE);
        assert_eq!(client.read_response().status, 408);
    }
    assert_eq!(router.counter("slow_clients"), 20);
    router.assert_at_rest();
}
