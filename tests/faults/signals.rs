//! Signals that come by the hundred, to the process and to any of its threads: no client notices.

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::origin::BusyOrigin;
use crate::support::router::Signal;
use crate::support::{Client, DEADLINE, FullBacklog, Origin, OriginConn, Router, ms, reply};
use crate::wire::{Bytes, Head, read_sum};

const LENGTH: usize = 50_000;

/// To one thread, as `pthread_kill` and some tracers do; nothing safe wraps it.
#[expect(unsafe_code, reason = "tgkill(2)")]
fn signal_thread(router: &Router, thread: u32, signal: Signal) {
    let (pid, thread, signal) = (router.pid(), i64::from(thread), i64::from(signal.as_raw()));
    // SAFETY: it reads no memory of ours. A thread that has ended meanwhile is an error that changes nothing.
    unsafe { libc::syscall(libc::SYS_tgkill, i64::from(pid), thread, signal) };
}

/// Stops the process and lets it go on.
#[track_caller]
fn stop_and_continue(router: &Router) {
    stop(router);
    router.signal(Signal::CONT);
}

/// Stops it. A SIGCONT that comes before the stop has happened would only take it back.
#[track_caller]
fn stop(router: &Router) {
    router.signal(Signal::STOP);
    let until = Instant::now() + DEADLINE;
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", router.pid())).expect("a running process");
        if stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')) {
            break;
        }
        assert!(Instant::now() < until, "it never stopped: {stat}");
    }
}

fn threads(router: &Router) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", router.pid())).expect("a running process");
    tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Asks on kept connections and on new ones until `stop`; every answer is whole and its own.
fn ask(address: &str, number: u64, stop: &AtomicBool, answered: &AtomicU64) -> std::io::Result<()> {
    let mut token = number << 32;
    while !stop.load(Ordering::SeqCst) {
        let mut stream = BufReader::new(TcpStream::connect(address)?);
        stream.get_mut().set_read_timeout(Some(DEADLINE))?;
        for _ in 0..20 {
            token += 1;
            let mut request =
                format!("POST /{token} HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\n\r\n").into_bytes();
            Bytes::of(token).write(LENGTH, false, &mut request)?;
            stream.get_mut().write_all(&request)?;
            let head = Head::read(&mut stream)?.ok_or(std::io::ErrorKind::UnexpectedEof)?;
            let got = read_sum(&mut head.body(&mut stream)?)?;
            if head.start != "HTTP/1.1 200 OK" || got != (LENGTH, Bytes::of(token).sum(LENGTH)) {
                return Err(std::io::Error::other(format!("{token:x}: {} {got:?}", head.start)));
            }
            answered.fetch_add(1, Ordering::SeqCst);
        }
    }
    Ok(())
}

#[test]
fn a_storm_of_signals_to_any_thread_fails_no_request() {
    // Gives back what it got, in pieces.
    let origin = BusyOrigin::start(|_, mut body, to| {
        let mut all = Vec::new();
        std::io::Read::read_to_end(&mut body, &mut all)?;
        write!(to, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", all.len())?;
        all.chunks(10_000).try_for_each(|piece| to.write_all(piece))
    });
    let router = Router::to_with(&origin, "keepalive = 2\n[server]\nworkers = 16\n");
    let before = router.counters();
    let (stop, answered, address) = (AtomicBool::new(false), AtomicU64::new(0), router.address());
    std::thread::scope(|scope| {
        let clients: Vec<_> = (1..=8)
            .map(|number| {
                let (stop, answered, address) = (&stop, &answered, &address);
                scope.spawn(move || ask(address, number, stop, answered))
            })
            .collect();
        let harmless = [Signal::WINCH, Signal::CHILD, Signal::PIPE, Signal::URG, Signal::CONT];
        let heard = [Signal::HUP, Signal::USR1];
        let mut round = 0;
        let begun = Instant::now();
        // A rate for a time, and enough answers meanwhile to have been hit.
        while begun.elapsed() < ms(2000) || (answered.load(Ordering::SeqCst) < 500 && begun.elapsed() < 3 * DEADLINE) {
            let threads = threads(&router);
            for signal in harmless {
                router.signal(signal);
                // All of them over some rounds.
                for thread in threads.iter().skip(round % 3).step_by(3) {
                    signal_thread(&router, *thread, signal);
                }
            }
            for signal in heard {
                router.signal(signal);
                signal_thread(&router, threads[round % threads.len()], signal);
            }
            if round % 8 == 0 {
                // What waits with a timeout of its own wakes up with EINTR after this, handler or not (signal(7)).
                stop_and_continue(&router);
            }
            round += 1;
            std::thread::sleep(ms(5));
        }
        stop.store(true, Ordering::SeqCst);
        for client in clients {
            client.join().expect("no panic").unwrap_or_else(|error| panic!("a client saw {error}"));
        }
        assert!(round > 20, "{round} rounds");
    });
    origin.assert_no_faults();
    let after = router.assert_at_rest();
    for never in ["reloads_failed", "accept_failed", "backend_connect_failures"] {
        assert_eq!(after[never], 0, "{never}: {after:?}");
    }
    assert!(after["generation"] > before["generation"], "SIGHUP was heard: {after:?}");
    assert!(!router.log().contains("[ERROR]"), "a call that was interrupted has not failed: {}", router.log());
}

#[test]
fn a_process_that_is_stopped_and_continued_goes_on_with_its_connects() {
    let silent = FullBacklog::bind();
    let router = Router::to_with(&silent, "[timeouts]\nconnect = 2s\n");
    let mut client = router.client();
    let asked = Instant::now();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    router.wait_counter("running", |n| n == 1);
    // Nearly to the end of its time, which does not begin again with each.
    while asked.elapsed() < ms(1800) {
        stop_and_continue(&router);
        std::thread::sleep(ms(20));
    }
    assert_eq!(client.read_response().status, 504, "the backend is late: it has not refused");
    assert!((ms(1900)..ms(3500)).contains(&asked.elapsed()), "{:?}", asked.elapsed());
    router.assert_at_rest();
}

#[test]
fn a_process_that_stood_still_serves_first_what_came_meanwhile_and_then_looks_who_is_late() {
    const EACH: usize = 24;
    let origin = Origin::bind();
    let limits = "[timeouts]\nresponse = 4s\nidle = 4s\nheader = 4s\n[server]\nworkers = 64";
    let router = Router::to_with(&origin, limits);
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = |text: &str| reply(200, &["Connection: close"], text);
    let clients = |bytes: &str| {
        let mut clients: Vec<Client> = (0..EACH).map(|_| router.client()).collect();
        clients.iter_mut().for_each(|client| client.send(bytes));
        clients
    };
    let mut kept = clients(get);
    // In whatever order they come.
    (0..EACH).for_each(|_| origin.accept_request().0.send(answer("first")));
    for client in &mut kept {
        assert_eq!(client.read_response().text(), "first");
    }
    let mut begun = clients(&get[..20]);
    let mut asking = clients(get);
    let mut asked: Vec<OriginConn> = asking.iter().map(|_| origin.accept_request().0).collect();
    stop(&router);
    // Longer than any of them may take, and by more than a second.
    std::thread::sleep(ms(5500));
    asked.iter_mut().for_each(|conn| conn.send(answer("meanwhile")));
    kept.iter_mut().for_each(|client| client.send(get));
    begun.iter_mut().for_each(|client| client.send(&get[20..]));
    router.signal(Signal::CONT);
    for _ in 0..2 * EACH {
        origin.accept_request().0.send(answer("after it"));
    }
    let all = asking.iter_mut().map(|client| (client, "meanwhile"));
    for (client, due) in all.chain(kept.iter_mut().chain(&mut begun).map(|client| (client, "after it"))) {
        assert_eq!(client.read_response().text(), due);
    }
    // Who says nothing more is late as ever.
    kept[0].expect_closed_within(ms(8000));
    router.assert_at_rest();
}
