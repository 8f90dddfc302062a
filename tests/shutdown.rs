//! Stopping: what runs is finished, what waits gets its chance, and a second word is the last.

mod support;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use support::router::{Signal, one_pool};
use support::{Client, Origin, OriginConn, Router, Setup, TempDir, eventually, ms, reply};

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// SIGTERM (or another), and the listener is gone: the drain has begun.
#[track_caller]
fn drain(router: &Router, signal: Signal) {
    let port = router.port();
    assert!(is_listening(port));
    router.signal(signal);
    eventually("the listener is closed", ms(3000), || (!is_listening(port)).then_some(()));
}

/// Asked of the kernel, not by connecting: a drain first serves whoever connects.
fn is_listening(port: u16) -> bool {
    let sockets = std::fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp");
    let local = format!("0100007F:{port:04X}");
    // 0A is TCP_LISTEN.
    sockets.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some(&local) && words.nth(1) == Some("0A")
    })
}

/// An exchange that waits for its answer.
#[track_caller]
fn running(router: &Router, origin: &Origin) -> (Client, OriginConn) {
    let mut client = router.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (conn, _) = origin.accept_request();
    (client, conn)
}

#[track_caller]
fn exits_with_0(mut router: Router, within: Duration) {
    assert_eq!(router.wait_exit(within).code(), Some(0), "{}", router.log());
}

#[test]
fn a_router_with_nothing_to_do_stops_at_once() {
    let origin = Origin::bind();
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let router = Router::to(&origin);
        let begun = Instant::now();
        router.signal(signal);
        exits_with_0(router, ms(5000));
        assert!(begun.elapsed() < ms(1500), "{signal:?}: {:?}", begun.elapsed());
    }
}

#[test]
fn a_running_exchange_is_finished_and_its_session_closed() {
    for signal in [Signal::TERM, Signal::INT] {
        let origin = Origin::bind();
        let mut router = Router::to(&origin);
        let (mut client, mut conn) = running(&router, &origin);
        drain(&router, signal);
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nstill ");
        client.read_until(b"still ");
        assert!(router.is_running());
        conn.send("served");
        assert_eq!(client.read_exact(6), b"served");
        client.expect_closed();
        exits_with_0(router, ms(5000));
    }
}

#[test]
fn an_answer_that_begins_during_the_drain_says_close() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let (mut client, mut conn) = running(&router, &origin);
    drain(&router, Signal::TERM);
    conn.reply(200, "bye");
    let response = client.read_response();
    assert!(response.says_close() && response.text() == "bye");
    client.expect_closed();
    exits_with_0(router, ms(5000));
}

#[test]
fn nobody_new_is_left_waiting_during_a_drain() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let (mut client, mut conn) = running(&router, &origin);
    drain(&router, Signal::TERM);
    let refused = TcpStream::connect(router.address()).expect_err("a connection that nobody will accept");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    conn.reply(200, "bye");
    assert_eq!(client.read_response().text(), "bye");
    exits_with_0(router, ms(5000));
}

#[test]
fn a_parked_session_gets_one_last_request() {
    let origin = Origin::serve(|_| reply(200, &[], "ok"));
    let router = Router::to_with(&origin, "[route:ours]\npath = /ours\nrespond = 200 \"ours\"");
    let mut clients: Vec<Client> = (0..20).map(|_| router.client()).collect();
    for client in &mut clients {
        client.get("/");
    }
    router.signal(Signal::TERM);
    // Whoever is answered with Connection: close has heard of the drain.
    let mut first = clients.remove(0);
    while !first.get("/until").says_close() {}
    first.expect_closed();
    for (client, path) in clients.iter_mut().zip(["/last", "/ours"].into_iter().cycle()) {
        let response = client.get(path);
        assert!(response.status == 200 && response.says_close());
        client.expect_closed();
    }
    exits_with_0(router, ms(5000));
}

#[test]
fn a_parked_session_that_asks_nothing_is_closed_after_half_a_second() {
    let origin = Origin::serve(|_| reply(200, &[], "ok"));
    let router = Router::to(&origin);
    let mut client = router.client();
    client.get("/");
    let begun = Instant::now();
    router.signal(Signal::TERM);
    client.expect_closed_within(ms(2000));
    assert!((ms(400)..ms(1500)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    exits_with_0(router, ms(2000));
}

#[test]
fn whoever_had_connected_is_answered() {
    let origin = Origin::serve(|_| reply(200, &[], "ok"));
    let router = Router::to_with(&origin, "[server]\nworkers = 2");
    let mut clients: Vec<Client> = (0..100).map(|_| router.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    router.signal(Signal::TERM);
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.read_response().status, 200, "client {n}");
        client.expect_closed();
    }
    exits_with_0(router, ms(5000));
}

#[test]
fn clients_that_keep_coming_do_not_keep_a_draining_router_open() {
    let origin = Origin::serve(|_| reply(200, &[], "ok"));
    let mut router = Router::to(&origin);
    let address = router.address();
    router.signal(Signal::TERM);
    let begun = Instant::now();
    while router.is_running() {
        assert!(begun.elapsed() < ms(3000), "still accepting");
        if let Ok(client) = TcpStream::connect(&address) {
            drop(client);
        }
        std::thread::sleep(ms(5));
    }
    exits_with_0(router, ms(0));
}

#[test]
fn whoever_is_still_in_the_backlog_is_answered() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, "[server]\nworkers = 1\nqueue = 1");
    let (client, mut conn) = running(&router, &origin);
    let mut clients = vec![client];
    for _ in 1..20 {
        let mut client = router.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        clients.push(client);
    }
    // One runs, one waits, and the rest is with the acceptor, in its backlog or with the waiter.
    router.signal(Signal::TERM);
    router.wait_log("draining");
    for n in 1..20 {
        conn.reply(200, "ok");
        assert_eq!(conn.read_request().line(), "GET /", "the request after {n}");
    }
    conn.reply(200, "ok");
    for client in &mut clients {
        assert_eq!(client.read_response().status, 200);
    }
    exits_with_0(router, ms(5000));
}

#[test]
fn a_tunnel_lives_until_the_drain_times_out() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, "[server]\nworkers = 2\ndrain_timeout = 3s");
    let mut client = router.client();
    client.send(UPGRADE);
    let (mut conn, _) = origin.accept_request();
    conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    client.read_response_head("GET");
    let begun = Instant::now();
    drain(&router, Signal::TERM);
    client.send("up");
    assert_eq!(conn.read_exact(2), b"up");
    conn.send("down");
    assert_eq!(client.read_exact(4), b"down");
    client.expect_closed_within(ms(8000));
    conn.expect_closed_within(ms(8000));
    assert!((ms(2900)..ms(7000)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    exits_with_0(router, ms(5000));
}

#[test]
fn an_exchange_that_outlives_the_drain_is_cut_visibly() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, "[server]\nworkers = 2\ndrain_timeout = 600ms");
    let (mut client, mut conn) = running(&router, &origin);
    conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n");
    client.read_until(b"part");
    router.signal(Signal::TERM);
    assert!(!client.read_until_end().0.ends_with(b"0\r\n\r\n"));
    exits_with_0(router, ms(3000));
}

#[test]
fn a_second_signal_stops_now() {
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::INT), (Signal::TERM, Signal::INT)] {
        let origin = Origin::bind();
        let mut router = Router::to(&origin);
        let (mut client, _conn) = running(&router, &origin);
        drain(&router, first);
        client.expect_silence_for(ms(700));
        assert!(router.is_running());
        let begun = Instant::now();
        router.signal(second);
        exits_with_0(router, ms(5000));
        assert!(begun.elapsed() < ms(1000), "{:?}", begun.elapsed());
        client.read_until_end();
    }
}

#[test]
fn sigquit_stops_now() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let (mut client, _conn) = running(&router, &origin);
    let begun = Instant::now();
    router.signal(Signal::QUIT);
    exits_with_0(router, ms(5000));
    assert!(begun.elapsed() < ms(1000), "{:?}", begun.elapsed());
    client.read_until_end();
}

#[test]
fn a_full_queue_does_not_delay_the_stop() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, "[server]\nworkers = 2\nqueue = 2\ndrain_timeout = 800ms");
    let mut clients: Vec<Client> = (0..20).map(|_| router.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    router.wait_counter("running", |n| n == 2);
    let begun = Instant::now();
    router.signal(Signal::TERM);
    exits_with_0(router, ms(8000));
    assert!(begun.elapsed() < ms(3000), "{:?}", begun.elapsed());
}

#[test]
fn the_pid_file_names_the_process() {
    let origin = Origin::bind();
    let mut router = Router::to_with(&origin, "[server]\nworkers = 2\npid_file = router.pid");
    let path = router.dir().file("router.pid");
    let written = std::fs::read_to_string(&path).expect("pid file");
    assert_eq!(written.trim(), router.pid().to_string());
    assert!(router.stop().success());
    assert!(!std::path::Path::new(&path).exists(), "it was left behind");
}

#[test]
fn an_address_is_free_again_at_once() {
    let origin = Origin::serve(|_| reply(200, &["Connection: close"], "ok"));
    let mut first = Router::to(&origin);
    let address = first.address();
    // The router closes first, so its side is the one that stays in TIME_WAIT.
    let mut client = first.client();
    client.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    client.expect_closed();
    assert!(first.stop().success());
    let ini = support::router::one_pool(&origin, "").replace("127.0.0.1:0", &address);
    assert_eq!(Router::start(&ini).client().get("/").status, 200);
}

#[test]
fn a_stop_does_not_wait_for_a_log_that_nobody_reads() {
    let origin = Origin::serve(|_| reply(200, &[], "ok"));
    let dir = TempDir::new();
    let fifo = dir.file("access.fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).expect("mkfifo");
    // Open, so that the router can open it too; never read, so that it fills up.
    let _reader = std::fs::File::options().read(true).write(true).open(&fifo).expect("open");
    let ini = one_pool(&origin, &format!("[log]\naccess = {fifo}\n"));
    let router = Router::start_in(dir, &ini, &Setup::default());
    let mut client = router.client();
    let long = "a".repeat(4000);
    for _ in 0..100 {
        assert_eq!(client.get(&format!("/{long}")).status, 200);
    }
    drop(client);
    router.signal(Signal::QUIT);
    exits_with_0(router, ms(5000));
}

#[test]
fn an_answer_that_ends_with_its_connection_does_not_look_whole_when_it_outlives_the_drain() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, "[server]\nworkers = 2\ndrain_timeout = 600ms");
    let (mut client, mut conn) = running(&router, &origin);
    conn.send("HTTP/1.1 200 OK\r\n\r\npart");
    client.read_until(b"part");
    router.signal(Signal::TERM);
    client.read_until_reset();
    exits_with_0(router, ms(3000));
}

#[test]
fn empty_lines_do_not_extend_the_half_second_of_a_parked_session() {
    let origin = Origin::serve(|_| reply(200, &[], "ok"));
    let mut router = Router::to(&origin);
    let mut client = router.client();
    client.get("/");
    let begun = Instant::now();
    router.signal(Signal::TERM);
    while router.is_running() {
        let _closed_already = client.try_send("\r\n");
        assert!(begun.elapsed() < ms(3000), "still there after {:?}", begun.elapsed());
        std::thread::sleep(ms(20));
    }
}

#[test]
fn sigterm_is_heard_in_a_storm_of_sighup() {
    let many: String = (0..15_000).map(|n| format!("[route:r{n}]\npath = /r{n}\nrespond = 200 \"x\"\n")).collect();
    let router = Router::start(&format!("[listen:http]\naddress = 127.0.0.1:0\n{many}"));
    for _ in 0..300 {
        router.signal(Signal::HUP);
        std::thread::sleep(ms(1));
    }
    router.signal(Signal::TERM);
    exits_with_0(router, ms(10_000));
}
