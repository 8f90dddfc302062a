//! Backends that die, refuse, hang and close at the worst moment, under load.
//!
//! Every answer is the right one for its own request, or there is an error that is allowed here.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use crate::origin::{BusyOrigin, STACK};
use crate::support::router::{Signal, one_pool};
use crate::support::{DEADLINE, FullBacklog, Origin, Refusing, Router, Setup, TempDir, eventually, ms};
use crate::wire::{Bytes, Head, read_sum};
use crate::{ACCESS, ends};

/// Bytes of an answer: several reads.
const LENGTH: usize = 40_000;

/// How one request ended for its client.
enum Ending {
    /// With its own whole answer, and with what the first of these said.
    Answered(Option<String>),
    /// An answer of the router.
    Told(u16),
    /// No answer, or a part of one, that is seen to be none.
    Broken,
}

/// A client that asks again and again, on one connection as long as it lasts.
struct Client {
    address: String,
    stream: Option<BufReader<TcpStream>>,
}

impl Client {
    fn new(address: &str) -> Self {
        Self { address: address.to_owned(), stream: None }
    }

    /// `METHOD /TOKEN`: an error is an answer that is wrong, or none in time.
    fn ask(&mut self, method: &str, token: u64) -> io::Result<Ending> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(&self.address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(DEADLINE))?;
                BufReader::new(stream)
            }
        };
        let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
        let sent = write!(stream.get_mut(), "{method} /{token:x} HTTP/1.1\r\nHost: a\r\n{length}\r\n");
        match sent.and_then(|()| answer(&mut stream, token)) {
            Ok((ending, keeps)) => {
                self.stream = keeps.then_some(stream);
                Ok(ending)
            }
            Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => Ok(Ending::Broken),
            Err(e) => Err(e),
        }
    }
}

/// The answer, and whether the connection can be used again.
fn answer(stream: &mut BufReader<TcpStream>, token: u64) -> io::Result<(Ending, bool)> {
    let wrong = |what: String| io::Error::other(format!("{token:x}: {what}"));
    if stream.fill_buf()?.is_empty() {
        return Err(wrong("closed without an answer".into()));
    }
    let head = Head::read(stream)?.ok_or(ErrorKind::UnexpectedEof)?;
    let status = head.start.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let got = read_sum(&mut head.body(stream)?)?;
    if status != 200 {
        return Ok((Ending::Told(status), !head.says_close()));
    }
    if head.get("x-token") != Some(&format!("{token:x}")) || got != (LENGTH, Bytes::of(token).sum(LENGTH)) {
        return Err(wrong(format!("the answer of another: {:?}, {got:?}", head.get("x-token"))));
    }
    Ok((Ending::Answered(head.get("x-by").map(str::to_owned)), !head.says_close()))
}

/// The token of a request.
fn token_of(head: &Head) -> io::Result<u64> {
    let target = head.start.split(' ').nth(1).unwrap_or("/");
    u64::from_str_radix(&target[1..], 16).map_err(|_| ErrorKind::InvalidData.into())
}

/// What belongs to `token` and to no other, in two writes with `pause` between.
fn give(token: u64, chunked: bool, pause: Duration, to: &mut TcpStream) -> io::Result<()> {
    let framing = if chunked { "Transfer-Encoding: chunked".to_owned() } else { format!("Content-Length: {LENGTH}") };
    let mut bytes = Vec::with_capacity(LENGTH + 1000);
    write!(bytes, "HTTP/1.1 200 OK\r\nX-Token: {token:x}\r\n{framing}\r\n\r\n")?;
    Bytes::of(token).write(LENGTH, chunked, &mut bytes)?;
    let (first, rest) = bytes.split_at(LENGTH / 2);
    to.write_all(first)?;
    std::thread::sleep(pause);
    to.write_all(rest)
}

/// Runs `count` clients while `script` runs; each calls `turn` again and again with a client and a token of its own.
fn crowd(
    address: &str,
    count: u64,
    turn: impl Fn(&mut Client, u64) -> io::Result<()> + Sync,
    script: impl FnOnce(&AtomicU64),
) {
    let (stop, turns, faults) = (AtomicBool::new(false), AtomicU64::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let _stop = Stop(&stop);
        for number in 1..=count {
            let (stop, turns, faults, turn) = (&stop, &turns, &faults, &turn);
            let run = move || {
                let mut client = Client::new(address);
                for token in number << 32.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    if let Err(error) = turn(&mut client, token) {
                        return faults.lock().expect("not poisoned").push(error.to_string());
                    }
                    turns.fetch_add(1, Ordering::SeqCst);
                }
            };
            std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run).expect("a thread");
        }
        script(&turns);
    });
    let faults = faults.into_inner().expect("not poisoned");
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Waits for so many turns more.
#[track_caller]
fn after(turns: &AtomicU64, more: u64) {
    let before = turns.load(Ordering::SeqCst);
    eventually("turns", 3 * DEADLINE, || (turns.load(Ordering::SeqCst) >= before + more).then_some(()));
}

/// From 0 to `below` milliseconds, another for every token.
fn some_ms(token: u64, below: u64) -> Duration {
    Duration::from_micros((token.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % (below * 1000))
}

#[test]
fn a_backend_that_is_killed_costs_only_what_ran_there_and_is_used_two_seconds_after_it_returns() {
    let origin = BusyOrigin::start(|head, _, to| {
        let token = token_of(head)?;
        give(token, token % 2 == 0, ms(token % 8), to)
    });
    // The one that is killed is a router too: a process of its own, which passes everything on to the same origin.
    // Its address is nobody's by chance, so that it is free when it returns.
    let id = std::process::id();
    let address = format!("127.{}.{}.{}:18080", 100 + (id >> 16) % 100, (id >> 8) % 256, id % 256);
    let mortal = |address: &str| {
        let ini = one_pool(&origin, "[route:all]\npool = app\nset_response_header = X-By: mortal\n");
        Router::start(&ini.replace("127.0.0.1:0", address))
    };
    let mut first = mortal(&address);
    let more = format!(
        "[server]\nworkers = 32\n[route:all]\npool = both\n[pool:both]\nbackend = {address}\nbackend = {origin}\n{ACCESS}"
    );
    let router = Router::to_with(&origin, &more);

    let by_mortal: Mutex<Vec<Instant>> = Mutex::default();
    let failed: Mutex<Vec<(Instant, String)>> = Mutex::default();
    let turn = |client: &mut Client, token: u64| {
        // Some are idempotent, some are not.
        let method = if token.is_multiple_of(3) { "POST" } else { "GET" };
        let begun = Instant::now();
        let failure = match client.ask(method, token)? {
            Ending::Answered(by) => {
                if by.is_some() {
                    by_mortal.lock().expect("not poisoned").push(Instant::now());
                }
                return Ok(());
            }
            Ending::Told(502) => "502".to_owned(),
            Ending::Told(other) => return Err(io::Error::other(format!("{token:x}: told {other}"))),
            Ending::Broken => "cut".to_owned(),
        };
        failed.lock().expect("not poisoned").push((begun, format!("{method} /{token:x}: {failure}")));
        Ok(())
    };
    let mut gone = None;
    // Until the load has ended.
    let mut _second = None;
    crowd(&router.address(), 16, turn, |turns| {
        after(turns, 500);
        assert!(failed.lock().expect("not poisoned").is_empty(), "before anything was killed");
        first.signal(Signal::KILL);
        first.wait_exit(DEADLINE);
        gone = Some(Instant::now());
        after(turns, 500);
        _second = Some(mortal(&address));
        let ready = Instant::now();
        let used = eventually("the one that returned is used", DEADLINE, || {
            by_mortal.lock().expect("not poisoned").iter().copied().find(|&at| at > ready)
        });
        assert!(used - ready < ms(2000), "used again after {:?}", used - ready);
        after(turns, 200);
    });
    // What was begun before all of its sockets were closed may have run there.
    let failed = failed.into_inner().expect("not poisoned");
    assert!(failed.iter().all(|(begun, _)| Some(*begun) < gone), "{failed:?}, and it was gone at {gone:?}");
    // Whatever did not end well ran there.
    let log = std::fs::read_to_string(router.dir().file("access.log")).expect("an access log");
    let bad: Vec<&str> = log.lines().filter(|line| !line.contains(" end=ok ")).collect();
    assert!(bad.iter().all(|line| line.contains(&format!(" backend={address} "))), "{bad:#?}");
    router.assert_at_rest();
}

#[test]
fn a_backend_that_closes_at_the_worst_moment_costs_no_get_and_gets_no_post_twice() {
    // Answers, and ends the connection up to 5 ms later, just when it is used again: with a FIN, after which everything
    // that still arrives is counted too, or with a RST.
    let seen: Arc<Mutex<HashMap<u64, u32>>> = Arc::default();
    let count = {
        let seen = Arc::clone(&seen);
        move |token| *seen.lock().expect("not poisoned").entry(token).or_default() += 1
    };
    let origin = BusyOrigin::start(move |head, _, to| {
        let token = token_of(head)?;
        count(token);
        give(token, false, Duration::ZERO, to)?;
        std::thread::sleep(some_ms(token, 5));
        if token % 2 == 0 {
            set_socket_linger(&*to, Some(Duration::ZERO))?;
        } else {
            to.shutdown(Shutdown::Write)?;
            while let Some(head) = Head::read(&mut BufReader::new(&mut *to))? {
                count(token_of(&head)?);
            }
        }
        Err(io::Error::other("enough"))
    });
    let router = Router::to_with(&origin, "[server]\nworkers = 32\n");
    let (gets, lost) = (AtomicU64::new(0), AtomicU64::new(0));
    let turn = |client: &mut Client, token: u64| {
        let post = token.is_multiple_of(8);
        match client.ask(if post { "POST" } else { "GET" }, token)? {
            Ending::Answered(_) if post => {}
            Ending::Answered(_) => {
                gets.fetch_add(1, Ordering::SeqCst);
            }
            Ending::Told(502) if post => {
                lost.fetch_add(1, Ordering::SeqCst);
            }
            Ending::Told(status) => return Err(io::Error::other(format!("{token:x}: told {status}"))),
            Ending::Broken => return Err(io::Error::other(format!("{token:x}: cut"))),
        }
        std::thread::sleep(some_ms(token.rotate_left(7), 5));
        Ok(())
    };
    crowd(&router.address(), 16, turn, |_| {
        eventually("3000 GETs", 3 * DEADLINE, || (gets.load(Ordering::SeqCst) >= 3000).then_some(()));
    });
    let seen = seen.lock().expect("not poisoned");
    let twice: Vec<_> = seen.iter().filter(|(token, times)| *token % 8 == 0 && **times > 1).collect();
    assert!(twice.is_empty(), "{twice:x?}");
    let counters = router.assert_at_rest();
    println!("{} retries, {} POSTs of {} lost", counters["retries"], lost.into_inner(), counters["exchanges"]);
    assert!(counters["retries"] > 0, "the moment never came: {counters:?}");
}

#[test]
fn when_every_backend_is_down_nobody_waits_longer_than_the_timeout_and_one_that_returns_is_used() {
    let dir = TempDir::new();
    let (refusing, silent, absent) = (Refusing::bind(), FullBacklog::bind(), dir.file("nobody.sock"));
    let router = Router::start_in(
        dir,
        &format!(
            "[listen:http]\naddress = 127.0.0.1:0\npool = app\n[pool:app]\nbackend = {refusing}\nbackend = {silent}\n\
             backend = unix:{absent}\n[server]\nworkers = 4\n[timeouts]\nconnect = 500ms\n{ACCESS}"
        ),
        &Setup::default(),
    );
    let mut clients: Vec<_> = (0..8).map(|_| router.client()).collect();
    let begun = Instant::now();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for client in &mut clients {
        let status = client.read_response().status;
        assert!(matches!(status, 502 | 504), "{status}");
    }
    // Two for each worker.
    assert!(begun.elapsed() < ms(3000), "{:?}", begun.elapsed());
    for end in ends(router.dir(), 8) {
        assert!(matches!(&*end, "502 backend_refused" | "504 connect_late"), "{end}");
    }
    router.assert_at_rest();
    let origin = refusing.listen().serving(|_| crate::support::reply(200, &[], "back"));
    let response = eventually("the one that returned", ms(2000), || {
        let response = clients[0].get("/");
        (response.status == 200).then_some(response)
    });
    assert_eq!(response.text(), "back");
    // Those that are still down cost time, not answers.
    for client in &mut clients {
        assert_eq!(client.get("/").text(), "back");
    }
    drop(origin);
    router.assert_at_rest();
}

#[test]
fn a_backend_that_answers_garbage_and_reads_nothing_does_not_hold_the_exchange() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, ACCESS);
    let mut client = router.client();
    let (mut sender, sent) = (client.sender(), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let sent = &sent;
        scope.spawn(move || {
            sender.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
            // Until nobody takes any more, and then until it is closed.
            while sender.try_send([b'x'; 65536]).is_ok() {
                sent.fetch_add(1, Ordering::SeqCst);
            }
        });
        let mut conn = origin.accept();
        conn.read_head();
        let mut before = 0;
        eventually("everything between is full", DEADLINE, || {
            std::thread::sleep(ms(100));
            (std::mem::replace(&mut before, sent.load(Ordering::SeqCst)) == before && before > 0).then_some(())
        });
        let garbage = Instant::now();
        conn.send("no answer\r\n\r\n");
        assert_eq!(client.read_response().status, 502);
        assert!(garbage.elapsed() < ms(3000), "{:?}", garbage.elapsed());
        client.expect_closed_within(ms(4000));
    });
    assert_eq!(ends(router.dir(), 1), ["502 bad_answer"]);
    router.assert_at_rest();
}
