//! Choosing a backend, keeping its connections, and what the client hears when one fails.

mod support;

use std::net::{Shutdown, TcpListener};
use std::time::Instant;

use support::{Client, FullBacklog, Origin, OriginConn, Refusing, Router, ServingOrigin, TempDir, ms, reply};

/// A pool of these backends (each may have ` weight=N`), and more sections.
#[track_caller]
fn pool(backends: &[String], more: &str) -> Router {
    let lines: String = backends.iter().map(|b| format!("backend = {b}\n")).collect();
    Router::start(&format!("[listen:http]\naddress = 127.0.0.1:0\npool = app\n[pool:app]\n{lines}{more}\n"))
}

fn named(name: &'static str) -> ServingOrigin {
    Origin::serve(move |_| reply(200, &[], name))
}

/// A router, and a session whose first exchange left a kept connection to the origin: `conn`.
#[track_caller]
fn with_kept_connection(origin: &Origin) -> (Router, Client, OriginConn) {
    let router = Router::to(origin);
    let mut client = router.client();
    client.send("GET /first HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut conn, _) = origin.accept_request();
    conn.reply(200, "first");
    assert_eq!(client.read_response().text(), "first");
    router.wait_counter("backend_idle", |n| n == 1);
    (router, client, conn)
}

#[test]
fn a_backend_connection_is_kept_and_shared_by_all_sessions() {
    let origin = named("x");
    let router = Router::to(&origin);
    for _ in 0..10 {
        assert_eq!(router.client().get("/").status, 200);
        router.wait_counter("backend_idle", |n| n == 1);
    }
    assert_eq!(origin.connections(), 1);
    let counters = router.counters();
    assert_eq!((counters["backend_connects"], counters["backend_reuses"]), (1, 9));
}

#[test]
fn the_newest_kept_connection_is_used_first() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let (mut one, mut two) = (router.client(), router.client());
    one.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut older, _) = origin.accept_request();
    two.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut newer, _) = origin.accept_request();
    // Newest is by when it came to rest, not by when it was made.
    newer.reply(200, "2");
    two.read_response();
    router.wait_counter("backend_idle", |n| n == 1);
    older.reply(200, "1");
    one.read_response();
    router.wait_counter("backend_idle", |n| n == 2);
    two.send("GET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(older.read_request().line(), "GET /3");
}

#[test]
fn no_more_connections_are_kept_than_keepalive_says() {
    let origin = Origin::bind();
    let router = pool(&[origin.to_string()], "keepalive = 1\n[timeouts]\nbackend_idle = 1m");
    let (mut one, mut two) = (router.client(), router.client());
    one.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut first, _) = origin.accept_request();
    two.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut second, _) = origin.accept_request();
    first.reply(200, "1");
    one.read_response();
    router.wait_counter("backend_idle", |n| n == 1);
    second.reply(200, "2");
    two.read_response();
    // One of the two is closed, whichever.
    support::eventually("one connection closed", ms(5000), || {
        let closed = [&mut first, &mut second].map(|c| c.try_read(ms(10)).is_some());
        closed.contains(&true).then_some(())
    });
    assert_eq!(router.counter("backend_idle"), 1);
}

#[test]
fn a_kept_connection_is_closed_when_it_is_over_age_or_the_backend_closes_it() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, "[timeouts]\nbackend_idle = 300ms");
    let mut client = router.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut conn, _) = origin.accept_request();
    conn.reply(200, "");
    client.read_response();
    conn.expect_closed_within(ms(3000));
    drop(router);

    let router = Router::to_with(&origin, "[timeouts]\nbackend_idle = 1m");
    let mut client = router.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut conn, _) = origin.accept_request();
    conn.reply(200, "");
    client.read_response();
    router.wait_counter("backend_idle", |n| n == 1);
    conn.close();
    router.wait_counter("backend_idle", |n| n == 0);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    origin.accept_request().0.reply(200, "fresh");
    assert_eq!(client.read_response().text(), "fresh");
}

#[test]
fn a_kept_connection_over_age_is_not_used_though_nobody_has_closed_it_yet() {
    let origin = named("x");
    let router = Router::to_with(&origin, "[timeouts]\nbackend_idle = 150ms");
    let mut client = router.client();
    // More often than once a second, which is how often kept connections are looked at.
    for n in 1..=6 {
        assert_eq!(client.get("/").status, 200);
        assert_eq!(origin.connections(), n);
        client.expect_silence_for(ms(250));
    }
}

#[test]
fn a_backend_that_says_close_is_not_asked_again() {
    let origin = Origin::serve(|_| reply(200, &["Connection: close"], "bye"));
    let router = Router::to(&origin);
    let mut client = router.client();
    for _ in 0..3 {
        let response = client.get("/");
        assert!(response.text() == "bye" && !response.says_close(), "the client's session is its own");
    }
    assert_eq!(origin.connections(), 3);
}

#[test]
fn a_get_on_a_stale_connection_goes_once_more_on_a_fresh_one() {
    for request in ["GET /again", "HEAD /again", "OPTIONS /again", "TRACE /again", "PUT /again", "DELETE /again"] {
        let origin = Origin::bind();
        let (router, mut client, mut stale) = with_kept_connection(&origin);
        client.send(format!("{request} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(stale.read_request().line(), request);
        stale.close();
        let (mut fresh, again) = origin.accept_request();
        assert_eq!(again.line(), request);
        fresh.send(reply(200, &[], ""));
        let method = request.split(' ').next().expect("a method");
        assert_eq!(client.read_response_to(method).status, 200);
        assert_eq!(router.counter("retries"), 1);
    }
}

#[test]
fn once_more_is_on_a_fresh_connection_though_another_is_kept() {
    let origin = Origin::bind();
    let (router, mut client, mut older) = with_kept_connection(&origin);
    let mut other = router.client();
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
    older.read_request();
    other.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut newer, _) = origin.accept_request();
    older.reply(200, "1");
    client.read_response();
    router.wait_counter("backend_idle", |n| n == 1);
    newer.reply(200, "2");
    other.read_response();
    router.wait_counter("backend_idle", |n| n == 2);
    client.send("GET /again HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(newer.read_request().line(), "GET /again");
    newer.close();
    let (mut fresh, again) = origin.accept_request();
    assert_eq!(again.line(), "GET /again");
    fresh.reply(200, "fresh");
    assert_eq!(client.read_response().text(), "fresh");
    older.expect_silence_for(ms(50));
}

#[test]
fn the_second_failure_is_502() {
    let origin = Origin::bind();
    let (router, mut client, mut stale) = with_kept_connection(&origin);
    client.send("GET /again HTTP/1.1\r\nHost: a\r\n\r\n");
    stale.read_request();
    stale.reset();
    origin.accept_request().0.close();
    assert_eq!(client.read_response().status, 502);
    origin.expect_no_connection_for(ms(200));
    router.assert_at_rest();
}

#[test]
fn a_post_is_never_sent_twice() {
    let unsafe_to_repeat = [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
        "PATCH / HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    for request in unsafe_to_repeat {
        let origin = Origin::bind();
        let (_router, mut client, mut stale) = with_kept_connection(&origin);
        client.send(request);
        stale.read_request();
        stale.close();
        assert_eq!(client.read_response().status, 502, "{request:?}");
        origin.expect_no_connection_for(ms(200));
    }
}

#[test]
fn a_body_that_its_backend_did_not_take_is_not_the_next_request() {
    let dir = TempDir::new();
    let origin = Origin::bind_unix(&dir.path().join("app.sock"));
    let (router, mut client, conn) = with_kept_connection(&origin);
    // Whoever writes to it gets an error, and it does not look closed.
    conn.wire_again().shutdown(Shutdown::Read).expect("open");
    let body = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    router.wait_counter("backend_reuses", |n| n == 1);
    conn.close();
    assert_eq!(client.read_response().status, 502);
    client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut conn, request) = origin.accept_request();
    assert_eq!(request.line(), "GET /next");
    conn.reply(200, "");
    assert_eq!(client.read_response().status, 200);
}

/// The request half was woken by an end of input that is of our own making: there is no other request after it.
#[test]
fn a_session_whose_backend_went_while_a_body_came_is_told_that_it_ends() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let mut client = router.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n");
    let mut conn = origin.accept();
    conn.read_request_head();
    client.send("body");
    assert_eq!(conn.read_exact(4), b"body");
    conn.close();
    let response = client.read_response();
    assert!(response.status == 502 && response.says_close(), "{response:?}");
    client.expect_closed();
    router.assert_at_rest();
}

#[test]
fn nothing_is_sent_again_after_the_first_byte_of_an_answer() {
    for first in ["HTTP/1.1 103 Early Hints\r\n\r\n", "HTTP"] {
        let origin = Origin::bind();
        let (_router, mut client, mut stale) = with_kept_connection(&origin);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        stale.read_request();
        stale.send(first);
        stale.close();
        let mut response = client.read_response_head("GET");
        if response.status == 103 {
            response = client.read_response_head("GET");
        }
        assert_eq!(response.status, 502, "{first:?}");
        origin.expect_no_connection_for(ms(200));
    }
}

#[test]
fn bytes_that_nobody_asked_for_end_a_backend_connection() {
    let extra = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let mut client = router.client();
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut conn, _) = origin.accept_request();
    conn.send([reply(200, &[], "good"), extra.into()].concat());
    assert_eq!(client.read_response().text(), "good");
    client.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.accept_request().0.reply(200, "fresh");
    assert_eq!(client.read_response().text(), "fresh");
}

#[test]
fn what_a_backend_says_before_it_is_asked_is_served_to_nobody() {
    let unasked = [
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "x",
    ];
    for bytes in unasked {
        // Whether anybody asks before the connection is looked at, or nobody does.
        for asks_at_once in [true, false] {
            let origin = Origin::bind();
            let (router, mut client, mut conn) = with_kept_connection(&origin);
            conn.send(bytes);
            if !asks_at_once {
                conn.expect_closed_within(ms(3000));
                router.wait_counter("backend_idle", |n| n == 0);
            }
            client.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
            origin.accept_request().0.reply(200, "fresh");
            assert_eq!(client.read_response().text(), "fresh", "{bytes:?}");
            conn.expect_closed();
            router.assert_at_rest();
        }
    }
}

#[test]
fn a_backend_that_greets_is_no_http_server() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let mut client = router.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut conn = origin.accept();
    conn.send("SSH-2.0-OpenSSH_9.2\r\n");
    assert_eq!(client.read_response().status, 502);
    conn.read_until_end();
    router.assert_at_rest();
}

#[test]
fn a_backend_that_refuses_is_passed_over() {
    let (refusing, good) = (Refusing::bind(), named("good"));
    let router = pool(&[refusing.to_string(), good.to_string()], "");
    let mut client = router.client();
    for _ in 0..6 {
        assert_eq!(client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").text(), "good");
    }
    assert_eq!(good.requests().len(), 6);
}

#[test]
fn who_stands_in_for_one_that_refuses_is_asked_on_a_kept_connection() {
    let (refusing, good) = (Refusing::bind(), named("good"));
    let router = pool(&[refusing.to_string(), good.to_string()], "");
    let mut client = router.client();
    for _ in 0..10 {
        assert_eq!(client.get("/").text(), "good");
        router.wait_counter("backend_idle", |n| n == 1);
    }
    assert_eq!(good.connections(), 1);
    assert_eq!(router.counter("backend_connect_failures"), 5, "each at its turn");
}

#[test]
fn when_all_refuse_it_is_502_and_the_session_goes_on() {
    let (one, two) = (Refusing::bind(), Refusing::bind());
    let router = pool(&[one.to_string(), two.to_string()], "");
    let mut client = router.client();
    for _ in 0..2 {
        let response = client.get("/");
        assert_eq!((response.status, response.says_close()), (502, false));
    }
    client.expect_silence_for(ms(100));
    router.assert_at_rest();
    assert_eq!(router.counter("exchanges"), 2, "a request was answered more than once");
}

#[test]
fn a_head_that_no_backend_took_is_not_sent_before_the_next() {
    let (refusing, good) = (Refusing::bind(), named("good"));
    // One worker, whose buffer both have.
    let more =
        format!("[pool:none]\nbackend = {refusing}\n[route:none]\npath = /hidden\npool = none\n[server]\nworkers = 1");
    let router = pool(&[good.to_string()], &more);
    let mut client = router.client();
    assert_eq!(client.get("/hidden").status, 502);
    assert_eq!(client.get("/next").text(), "good");
    let requests = good.requests();
    assert_eq!(requests.iter().map(|request| request.line()).collect::<Vec<_>>(), ["GET /next"]);
}

#[test]
fn localhost_is_both_families() {
    let v4 = named("v4");
    let port = v4.to_string().rsplit_once(':').expect("a port").1.to_owned();
    assert_eq!(pool(&[format!("localhost:{port}")], "").client().get("/").text(), "v4");
    if TcpListener::bind("[::1]:0").is_err() {
        println!("SKIPPED ::1: this machine has none");
        return;
    }
    let v6 = Origin::bind_at("[::1]:0");
    let port = v6.port();
    let v6 = v6.serving(|_| reply(200, &[], "v6"));
    assert_eq!(pool(&[format!("localhost:{port}")], "").client().get("/").text(), "v6");
    assert_eq!(pool(&[v6.to_string()], "").client().get("/").text(), "v6");
}

#[test]
fn a_unix_socket_is_a_backend() {
    let dir = TempDir::new();
    let origin = Origin::bind_unix(&dir.path().join("app.sock")).serving(|r| reply(200, &[], &r.target));
    let router = Router::to(&origin);
    let mut client = router.client();
    assert_eq!(client.get("/a").text(), "/a");
    assert_eq!(client.get("/b").text(), "/b");
    assert_eq!(origin.connections(), 1);
}

#[test]
fn weights_are_shares() {
    let (one, three, none) = (named("1"), named("3"), named("0"));
    let backends = [one.to_string(), format!("{three} weight=3"), format!("{none} weight=0")];
    let router = pool(&backends, "balance = round_robin");
    let mut client = router.client();
    let mut row = String::new();
    for _ in 0..40 {
        row.push_str(&client.get("/").text());
    }
    assert_eq!(row.matches('1').count(), 10, "{row}");
    assert_eq!(row.matches('3').count(), 30, "{row}");
}

#[test]
fn a_pool_of_weight_zero_is_503() {
    let origin = named("x");
    let router = pool(&[format!("{origin} weight=0")], "");
    let response = router.client().get("/");
    assert_eq!(response.status, 503);
    assert!(response.fields.get("Retry-After").is_some_and(|v| v.parse::<u32>().is_ok()));
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_backend_of_weight_zero_gets_nothing_though_the_others_refuse() {
    let (refusing, resting) = (Refusing::bind(), named("resting"));
    let router = pool(&[refusing.to_string(), format!("{resting} weight=0")], "");
    assert_eq!(router.client().get("/").status, 502);
    assert_eq!(resting.connections(), 0);
}

#[test]
fn an_attempt_to_connect_gets_a_quarter_of_a_second_though_its_share_is_less() {
    let (full, good) = (FullBacklog::bind(), named("good"));
    let router = pool(&[full.to_string(), good.to_string()], "[timeouts]\nconnect = 300ms");
    let asked = Instant::now();
    assert_eq!(router.client().get("/").text(), "good");
    assert!((ms(250)..ms(1500)).contains(&asked.elapsed()), "{:?}", asked.elapsed());
}

#[test]
fn a_late_answer_is_504() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, "[timeouts]\nresponse = 400ms");
    let mut client = router.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut conn, _) = origin.accept_request();
    let asked = Instant::now();
    conn.send("HTTP/1.1 200 OK\r\nX-Half");
    assert_eq!(client.read_response().status, 504);
    assert!((ms(350)..ms(1500)).contains(&asked.elapsed()), "{:?}", asked.elapsed());
    conn.expect_closed();
    client.send("GET /again HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.accept_request().0.reply(200, "the session goes on");
    assert_eq!(client.read_response().text(), "the session goes on");
    router.assert_at_rest();
}

#[test]
fn a_head_of_an_answer_that_drips_is_504_all_the_same() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, "[timeouts]\nresponse = 500ms");
    let mut client = router.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut conn, _) = origin.accept_request();
    let asked = Instant::now();
    conn.send("HTTP/1.1 200 OK\r\nX-A: ");
    // For longer than a deadline that each byte extends would be met in time.
    while asked.elapsed() < ms(2500) && conn.try_read(ms(60)).is_none() {
        let _cut_already = conn.try_send("a");
    }
    assert!((ms(450)..ms(1500)).contains(&asked.elapsed()), "{:?}", asked.elapsed());
    assert_eq!(client.read_response().status, 504);
    router.assert_at_rest();
}

#[test]
fn a_backend_that_takes_nothing_of_a_request_is_504() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, "[timeouts]\nsend = 500ms");
    let mut client = router.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
    let mut sender = client.sender();
    std::thread::scope(|scope| {
        scope.spawn(move || sender.try_send(vec![b'x'; 100_000_000]));
        let _conn = origin.accept();
        let response = client.read_response();
        assert_eq!((response.status, response.says_close()), (504, true));
        client.read_until_end();
    });
    router.assert_at_rest();
}

#[test]
fn a_route_has_its_own_patience() {
    let origin = Origin::bind();
    let router = Router::start(&format!(
        "[listen:http]\naddress = 127.0.0.1:0\n[route:a]\ntimeout = 300ms\npool = app\n[pool:app]\nbackend = {origin}\n"
    ));
    let asked = Instant::now();
    assert_eq!(router.client().get("/").status, 504);
    assert!(asked.elapsed() < ms(1500), "{:?}", asked.elapsed());
}

#[test]
fn a_late_connect_is_504_or_the_next_backend() {
    let full = FullBacklog::bind();
    let router = Router::to_with(&full, "[timeouts]\nconnect = 500ms");
    let asked = Instant::now();
    assert_eq!(router.client().get("/").status, 504);
    assert!((ms(450)..ms(1500)).contains(&asked.elapsed()), "{:?}", asked.elapsed());

    let good = named("good");
    let router = pool(&[full.to_string(), good.to_string()], "[timeouts]\nconnect = 600ms");
    let mut client = router.client();
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "good");
    }
    drop((client, router));

    // Who comes last has what is left, and that may be nothing.
    let router = pool(&[full.to_string(), good.to_string()], "[timeouts]\nconnect = 250ms");
    assert_eq!(router.client().get("/").status, 504);
    assert_eq!(router.counter("backend_connects"), 0);
}

#[test]
fn an_answer_that_stalls_halfway_is_cut() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, "[timeouts]\nbody = 400ms");
    let mut client = router.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut conn, _) = origin.accept_request();
    conn.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    client.read_until(b"half");
    assert_eq!(client.read_until_reset(), b"");
    router.wait_log("200 answer_stalled");
    conn.expect_closed();
    router.assert_at_rest();
}

#[test]
fn garbage_from_a_backend_is_502() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let large = format!("HTTP/1.1 200 OK\r\nX-A: {}\r\n\r\n", "x".repeat(40_000));
    let bad = [
        "",
        "hello\r\n\r\n",
        "HTTP/1.1 99 Low\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        large.as_str(),
    ];
    for answer in bad {
        let mut client = router.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let (mut conn, _) = origin.accept_request();
        let _ = conn.try_send(answer);
        conn.close_write();
        assert_eq!(client.read_response().status, 502, "{}", support::shown(answer.as_bytes()));
        conn.read_until_end();
    }
    router.assert_at_rest();
    assert_eq!(router.counter("backend_idle"), 0);
}
