//! Several exchanges on one session: each on its own terms, in order, and nothing held while nothing happens.

mod support;

use std::time::Instant;

use support::{Origin, Router, ServingOrigin, fill, ms, pattern, reply};

fn echo() -> ServingOrigin {
    Origin::serve(|request| reply(200, &[], format!("{} {}", request.line(), request.body.len())))
}

#[test]
fn each_request_of_a_session_is_routed_by_itself() {
    let (one, two) = (Origin::serve(|_| reply(200, &[], "one")), Origin::serve(|_| reply(200, &[], "two")));
    let router = Router::start(&fill(
        "[listen:http]\naddress = 127.0.0.1:0\n[route:a]\npath = /a/*\npool = one\n[route:b]\nhost = b.test\npool = two\n\
         [pool:one]\nbackend = ${ONE}\n[pool:two]\nbackend = ${TWO}\n",
        &[("ONE", &one), ("TWO", &two)],
    ));
    let mut client = router.client();
    let b = "GET /x HTTP/1.1\r\nHost: b.test\r\n\r\n";
    assert_eq!(client.get("/a/1").text(), "one");
    assert_eq!(client.ask(b).text(), "two");
    assert_eq!(client.get("/none").status, 404);
    assert_eq!(client.get("/a/2").text(), "one");
    assert_eq!(client.ask(b).text(), "two");
    assert_eq!(router.counter("sessions"), 1);
}

#[test]
fn forty_kilobytes_of_pipelined_requests_are_all_answered() {
    let origin = echo();
    let router = Router::to(&origin);
    let mut client = router.client();
    let all: String =
        (0..800).map(|n| format!("GET /{n:03} HTTP/1.1\r\nHost: a\r\nX-Fill: 0123456789abcdef\r\n\r\n")).collect();
    assert!(all.len() > 40_000);
    client.send(&all);
    for n in 0..800 {
        assert_eq!(client.read_response().text(), format!("GET /{n:03} 0"));
    }
    assert_eq!(client.get("/after").text(), "GET /after 0", "the session parked and came back");
}

#[test]
fn what_a_full_slice_has_left_in_the_kernel_is_read_though_no_event_tells_of_it() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, "[server]\nworkers = 1\nslice_size = 32k\n");
    let mut client = router.client();
    client.send("GET /0 HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut conn, _) = origin.accept_request();
    conn.reply(200, "");
    client.read_response();
    router.wait_counter("parked", |n| n == 1);
    let mut other = router.client();
    other.send("GET /other HTTP/1.1\r\nHost: a\r\n\r\n");
    conn.read_request();
    // More than a slice of 32k, all of it there and told of before the only worker has time for it.
    let fill = "x".repeat(12_000);
    client.send((1..=3).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\nX-A: {fill}\r\n\r\n")).collect::<String>());
    router.wait_counter("queued", |n| n == 1);
    conn.reply(200, "");
    for n in 1..=3 {
        assert_eq!(conn.read_request().line(), format!("GET /{n}"));
        conn.reply(200, "");
        assert_eq!(client.read_response().status, 200);
    }
}

#[test]
fn requests_cut_at_any_place_by_a_slice_are_still_whole() {
    let origin = echo();
    let router =
        Router::to_with(&origin, "[server]\nworkers = 2\nslice_size = 4k\n[limits]\nheader_size = 4k\nuri_size = 2k\n");
    let mut client = router.client();
    let lengths: Vec<usize> = (0..60).map(|n| 997 + n * 131).collect();
    for length in &lengths {
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
        client.send(pattern(*length));
    }
    for length in lengths {
        assert_eq!(client.read_response().text(), format!("POST / {length}"));
    }
}

#[test]
fn data_and_fin_in_one_segment_are_answered() {
    let origin = echo();
    let router = Router::to(&origin);
    let mut client = router.client();
    client.get("/first");
    client.send_and_close_write("GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_response().text(), "GET /a 0");
    assert_eq!(client.read_response().text(), "GET /b 0");
    client.expect_closed();
    router.assert_at_rest();
}

#[test]
fn a_half_closed_client_is_served() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let mut client = router.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    client.close_write();
    let (mut conn, request) = origin.accept_request();
    assert_eq!(request.body, b"hi");
    conn.expect_silence_for(ms(100));
    conn.reply(200, "late but whole");
    assert_eq!(client.read_response().text(), "late but whole");
    client.expect_closed();
}

#[test]
fn eight_connections_touch_sixteen_slices_however_many_workers_there_are() {
    let origin = echo();
    let router = Router::to_with(&origin, "[server]\nworkers = 256");
    let mut clients: Vec<_> = (0..8).map(|_| router.client()).collect();
    for round in 0..50 {
        for client in &mut clients {
            client.send(format!("GET /{round} HTTP/1.1\r\nHost: a\r\n\r\n"));
        }
        for client in &mut clients {
            assert_eq!(client.read_response().status, 200);
        }
    }
    let counters = router.assert_at_rest();
    assert_eq!(counters["slices_total"], 512);
    assert!(counters["slices_touched"] <= 16, "{counters:?}");
    assert_eq!(counters["exchanges"], 400);
}

#[test]
fn a_parked_session_holds_no_slice() {
    let origin = echo();
    let router = Router::to(&origin);
    let mut clients: Vec<_> = (0..40).map(|_| router.client()).collect();
    for client in &mut clients {
        client.get("/");
    }
    assert_eq!(router.assert_at_rest()["parked"], 40);
    assert!(clients.iter_mut().all(|client| client.get("/again").status == 200));
}

#[test]
fn a_head_that_is_late_is_408_and_dripping_does_not_extend_it() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, "[timeouts]\nheader = 600ms");
    let mut client = router.client();
    let begun = Instant::now();
    let (answered, hears) = std::sync::mpsc::channel::<()>();
    let mut sender = client.sender();
    let took = std::thread::scope(|scope| {
        scope.spawn(move || {
            sender.send("GET /");
            // For longer than a deadline that each byte extends would be met in time.
            for _ in 0..50 {
                if hears.recv_timeout(ms(60)) != Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                    break;
                }
                let _refused_already = sender.try_send("x");
            }
        });
        assert_eq!(client.read_response().status, 408);
        drop(answered);
        begun.elapsed()
    });
    assert!((ms(550)..ms(1600)).contains(&took), "{took:?}");
    client.read_until_end();
    assert_eq!(router.counter("header_timeouts"), 1);
    router.assert_at_rest();
}

#[test]
fn a_body_that_stalls_before_an_answer_is_408() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, "[timeouts]\nbody = 400ms");
    let mut client = router.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    let mut conn = origin.accept();
    conn.read_request_head();
    let response = client.read_response();
    assert_eq!((response.status, response.says_close()), (408, true));
    client.expect_closed();
    assert_eq!(conn.read_until_end().0, b"half");
    router.assert_at_rest();
}

#[test]
fn an_idle_session_is_closed_without_a_word() {
    let origin = echo();
    let router = Router::to_with(&origin, "[timeouts]\nidle = 400ms\nheader = 400ms");
    let (mut used, mut silent) = (router.client(), router.client());
    used.get("/");
    let since = Instant::now();
    used.expect_closed_within(ms(2000));
    assert!(since.elapsed() >= ms(350), "closed after {:?}", since.elapsed());
    silent.expect_closed_within(ms(2000));
    router.wait_counter("sessions", |n| n == 0);
    assert_eq!(router.counter("idle_timeouts"), 2);
}

#[test]
fn a_client_that_says_nothing_has_the_time_of_a_head() {
    let origin = echo();
    let router = Router::to_with(&origin, "[timeouts]\nidle = 1m\nheader = 300ms");
    let mut silent = router.client();
    let since = Instant::now();
    silent.expect_closed_within(ms(2000));
    assert!(since.elapsed() >= ms(250), "closed after {:?}", since.elapsed());
}

#[test]
fn a_head_may_be_as_large_as_a_slice_is() {
    let origin = echo();
    let more = "[server]\nworkers = 2\nslice_size = 64k\n[limits]\nheader_size = 64k\n";
    let router = Router::to_with(&origin, more);
    let fill = "x".repeat(60_000);
    assert_eq!(router.client().ask(format!("GET / HTTP/1.1\r\nHost: a\r\nX-A: {fill}\r\n\r\n")).status, 200);
    assert_eq!(origin.last().fields.get("X-A"), Some(fill.as_str()));
}

#[test]
fn a_session_ends_after_the_last_request_it_is_allowed() {
    let origin = echo();
    let router = Router::to_with(&origin, "[limits]\nrequests_per_connection = 2");
    let mut client = router.client();
    assert!(!client.get("/1").says_close());
    assert!(client.get("/2").says_close());
    client.expect_closed();
}

#[test]
fn empty_lines_do_not_extend_the_time_of_a_session_without_a_request() {
    let origin = echo();
    let router = Router::to_with(&origin, "[timeouts]\nidle = 1500ms\nheader = 1500ms");
    let mut clients = [router.client(), router.client()];
    clients[0].get("/");
    let since = Instant::now();
    // As many as may come, the last of them late.
    let mut due = [300, 600, 900, 1200].into_iter().peekable();
    while router.counter("sessions") > 0 {
        if due.next_if(|at| since.elapsed() > ms(*at)).is_some() {
            for client in &mut clients {
                client.send("\r\n");
            }
        }
        assert!(since.elapsed() < ms(2500), "still there after {:?}", since.elapsed());
    }
    assert_eq!(router.counter("idle_timeouts"), 2);
}
