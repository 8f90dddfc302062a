//! More sessions than workers: what waits is answered in time, what is idle is in nobody's way.

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::clients::StopOnDrop;
use crate::origin::{BusyOrigin, STACK};
use crate::support::{Client, DEADLINE, Origin, Router, eventually, ms, reply};
use crate::wire::Head;
use crate::{Hiccups, alone};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Answers `ok` after `delay`.
fn after(delay: Duration) -> BusyOrigin {
    BusyOrigin::start(move |_, _, to| {
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        to.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    })
}

#[test]
fn three_hundred_queued_sessions_get_their_503_in_time() {
    let _alone = alone();
    let origin = Origin::bind();
    let router = Router::to_with(&origin, "[server]\nworkers = 8\n[timeouts]\nqueue = 1s");
    // The origin's backlog takes them, and nobody answers.
    let mut stuck: Vec<Client> = (0..8).map(|_| router.client()).collect();
    for client in &mut stuck {
        client.send(GET);
    }
    router.wait_counter("running", |n| n == 8);
    let hiccups = Hiccups::watch();
    let mut queued: Vec<(Client, Instant)> = Vec::new();
    for _ in 0..300 {
        let mut client = router.client();
        client.send(GET);
        queued.push((client, Instant::now()));
    }
    for (number, (client, sent)) in queued.iter_mut().enumerate() {
        let response = client.read_response();
        let (took, allowance) = (sent.elapsed(), hiccups.allowance(4));
        assert_eq!(response.status, 503);
        let limit = ms(1500) + allowance;
        assert!(took < limit, "session {number}: {took:?}, allowed {limit:?}");
    }
    assert!(router.counter("refused_queue") >= 300);
}

#[test]
fn eight_busy_connections_touch_sixteen_slices() {
    let _alone = alone();
    let origin = after(Duration::ZERO);
    let router = Router::to_with(&origin, "[server]\nworkers = 256");
    let answered = keep_asking(&router, 8, |answered| {
        eventually("20,000 answers", 3 * DEADLINE, || (answered.load(Ordering::Relaxed) > 20_000).then_some(()));
    });
    let counters = router.assert_at_rest();
    assert_eq!(counters["exchanges"], answered);
    assert!(counters["slices_touched"] <= 16, "{counters:?}");
}

#[test]
fn parked_sessions_do_not_delay_a_new_client() {
    let _alone = alone();
    let origin = after(Duration::ZERO);
    let router = Router::to_with(&origin, "[server]\nworkers = 16\n[timeouts]\nheader = 1m");
    let mut used: Vec<Client> = (0..64).map(|_| router.client()).collect();
    for client in &mut used {
        assert_eq!(client.get("/").status, 200);
    }
    let _silent: Vec<Client> = (0..64).map(|_| router.client()).collect();
    let mut begun: Vec<Client> = (0..64).map(|_| router.client()).collect();
    for client in &mut begun {
        client.send("GET / HTTP/1.1\r\nHo");
    }
    router.wait_counter("parked", |n| n == 192);
    let hiccups = Hiccups::watch();
    for number in 0..50 {
        let asked = Instant::now();
        assert_eq!(router.client().get("/").status, 200);
        let (took, limit) = (asked.elapsed(), ms(100) + hiccups.allowance(6));
        assert!(took < limit, "client {number}: {took:?}, allowed {limit:?}");
    }
    for client in &mut used {
        assert_eq!(client.get("/").status, 200);
    }
    router.wait_counter("parked", |n| n == 192);
}

#[test]
fn a_slow_backend_is_asked_by_more_workers_than_hold_permits() {
    let _alone = alone();
    let origin = after(ms(50));
    let router = Router::to_with(&origin, "keepalive = 600\n[server]\nworkers = 600");
    let mut rate = 0.0;
    keep_asking(&router, 512, |answered| {
        eventually("a warm start", 3 * DEADLINE, || (answered.load(Ordering::Relaxed) > 1024).then_some(()));
        let (before, begun) = (answered.load(Ordering::Relaxed), Instant::now());
        // A rate needs a time.
        std::thread::sleep(ms(3000));
        rate = (answered.load(Ordering::Relaxed) - before) as f64 / begun.elapsed().as_secs_f64();
    });
    println!("{rate:.0} answers a second of 10,240");
    // Permits that were never taken back allow 8 a core every 50 ms; a patience of 5 ms allowed 1,210 on two cores.
    let cores = std::thread::available_parallelism().expect("cores").get() as f64;
    let floor = (1.2 * 160.0 * cores).clamp(2000.0, 6000.0);
    assert!(rate > floor, "{rate:.0} answers a second");
    router.assert_at_rest();
}

#[test]
fn a_parked_client_is_heard_at_once_though_all_who_may_watch_are_stuck() {
    let _alone = alone();
    let (silent, origin) = (Origin::bind(), after(Duration::ZERO));
    let router = Router::start(&format!(
        "[server]\nworkers = 256\n[listen:http]\naddress = 127.0.0.1:0\npool = quick\n[route:stuck]\npath = /stuck\n\
         pool = silent\n[pool:silent]\nbackend = {silent}\n[pool:quick]\nbackend = {origin}\n"
    ));
    let permits = router.counter("permits") as usize;
    let mut client = router.client();
    assert_eq!(client.get("/").status, 200);
    let hiccups = Hiccups::watch();
    let mut stuck = Vec::new();
    let mut times: Vec<Duration> = Vec::new();
    while stuck.len() + permits < 256 {
        // Each is run by one that watched, and the last of those is gone when the client asks.
        for _ in 0..permits {
            let mut one = router.client();
            one.send("GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n");
            stuck.push((one, silent.accept_request()));
        }
        let asked = Instant::now();
        assert_eq!(client.get("/").status, 200);
        times.push(asked.elapsed());
        // Those that came in their place are at rest.
        client.expect_silence_for(ms(30));
    }
    assert_most_within(&mut times, ms(20) + hiccups.allowance(4));
}

#[test]
fn new_clients_without_end_do_not_starve_a_kept_one() {
    let _alone = alone();
    let origin = after(ms(5));
    let router = Router::to_with(&origin, "[server]\nworkers = 1\n[timeouts]\nqueue = 1m");
    let mut kept = router.client();
    assert_eq!(kept.get("/").status, 200);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        for _ in 0..48 {
            let ask = || {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(router.client().get("/").status, 200);
                }
            };
            std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, ask).expect("a thread");
        }
        for _ in 0..3 {
            // More than enough to do for one worker: it never comes to watch the kept ones.
            router.wait_counter("queued", |n| n > 20);
            assert_eq!(kept.get("/").status, 200);
        }
    });
}

#[test]
fn sessions_that_come_at_once_are_all_run_though_none_of_them_ends() {
    const CLIENTS: usize = 8;
    let _alone = alone();
    let (arrived, more) = (Mutex::new(0_usize), Condvar::new());
    let origin = Origin::serve(move |_| {
        let mut count = arrived.lock().expect("no panic");
        *count += 1;
        more.notify_all();
        let all = count.next_multiple_of(CLIENTS);
        let waited = more.wait_timeout_while(count, Duration::from_secs(5), |count| *count < all);
        let status = if waited.expect("no panic").1.timed_out() { 500 } else { 200 };
        reply(status, &[], "all are here")
    });
    let router = Router::to(&origin);
    let hiccups = Hiccups::watch();
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..20 {
        // Stopped, so that they are accepted in one go: one ring of the bell may then be for several of them.
        kill_process(Pid::from_raw(router.pid().cast_signed()).expect("a process"), Signal::STOP).expect("it is ours");
        let mut clients: Vec<Client> = (0..CLIENTS).map(|_| router.client()).collect();
        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        kill_process(Pid::from_raw(router.pid().cast_signed()).expect("a process"), Signal::CONT).expect("it is ours");
        let begun = Instant::now();
        for client in &mut clients {
            assert_eq!(client.read_response().status, 200);
        }
        times.push(begun.elapsed());
        // For as long as the waiter looks after workers it would find what was forgotten, and after that a sweep later.
        clients[0].expect_silence_for(ms(30));
    }
    assert_most_within(&mut times, ms(30) + hiccups.allowance(6));
}

#[test]
fn what_was_put_away_goes_on_at_once() {
    let _alone = alone();
    let origin = after(Duration::ZERO);
    let router = Router::to(&origin);
    let hiccups = Hiccups::watch();
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..8 {
        let mut client = router.client();
        let begun = Instant::now();
        // Two turns of 32 exchanges, and a third one.
        client.send(GET.repeat(70));
        for _ in 0..70 {
            assert_eq!(client.read_response().status, 200);
        }
        times.push(begun.elapsed());
        client.expect_silence_for(ms(30));
    }
    assert_most_within(&mut times, ms(30) + hiccups.allowance(6));
}

/// Three of four: one may have been unlucky.
#[track_caller]
fn assert_most_within(times: &mut [Duration], limit: Duration) {
    times.sort();
    assert!(times[3 * times.len() / 4] < limit, "three of four: {times:?}, allowed {limit:?}");
}

/// `count` clients, each on one connection asking again and again while `script` runs; how many answers there were.
#[track_caller]
fn keep_asking(router: &Router, count: usize, script: impl FnOnce(&AtomicU64)) -> u64 {
    let (address, stop, answered) = (router.address(), AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        for _ in 0..count {
            let run = || {
                let stream = TcpStream::connect(&address).expect("connect");
                stream.set_read_timeout(Some(3 * DEADLINE)).expect("SO_RCVTIMEO");
                let mut stream = BufReader::new(stream);
                while !stop.load(Ordering::Relaxed) {
                    stream.get_mut().write_all(GET.as_bytes()).expect("send");
                    let head = Head::read(&mut stream).expect("a head").expect("an answer");
                    assert_eq!(head.start, "HTTP/1.1 200 OK");
                    let body = head.body(&mut stream).expect("a body");
                    assert_eq!(std::io::read_to_string(body).expect("all of it"), "ok");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            };
            std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run).expect("a thread");
        }
        script(&answered);
    });
    answered.into_inner()
}
