//! Crowds of slow clients: those that hold no worker disturb nobody, those that do make room for the others.
//!
//! Not here: one slow client and what it is told (`keepalive`, `slow_clients`).

use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::net::sockopt;

use crate::origin::{BusyOrigin, STACK};
use crate::storms::enough_files;
use crate::support::client::connect_with_small_buffer;
use crate::support::{DEADLINE, Router, eventually, ms};
use crate::wire::Head;
use crate::{Hiccups, alone};

const GET: &[u8] = b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n";

/// What a slow client does: first, and then once a second.
#[derive(Clone, Copy)]
enum Habit {
    /// One byte of a head that never ends.
    SendHead,
    /// Nothing.
    Silent,
    /// Takes one byte of the answer to `GET` this.
    Read(&'static str),
    /// Sends one byte of a body of 10 MB.
    SendBody,
}

/// Many slow clients on one thread, spread evenly over the second. Who is let go comes again.
struct Crowd {
    stop: Arc<AtomicBool>,
    /// How often one of them came.
    arrivals: Arc<AtomicU64>,
    driver: Option<JoinHandle<()>>,
}

impl Crowd {
    fn start(address: &str, count: usize, habit: Habit) -> Self {
        let (stop, arrivals) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (theirs, came, address) = (Arc::clone(&stop), Arc::clone(&arrivals), address.to_owned());
        let arrive = move || {
            let mut client = match habit {
                // What they cost is their slowness, not what the kernel takes for them.
                Habit::Read("/10m") => connect_with_small_buffer(&address),
                _ => TcpStream::connect(&address).expect("the backlog has room"),
            };
            client.write_all(habit.begins().as_bytes()).expect("the socket has room");
            client.set_nonblocking(true).expect("O_NONBLOCK");
            came.fetch_add(1, Ordering::Relaxed);
            client
        };
        let driver = move || {
            let mut clients: Vec<TcpStream> = (0..count).map(|_| arrive()).collect();
            let (begun, mut turns) = (Instant::now(), 0_u64);
            while !theirs.load(Ordering::Relaxed) {
                std::thread::sleep(ms(1));
                // As many turns as are due by now, one of each client a second.
                let due = begun.elapsed().as_micros() as u64 * count as u64 / 1_000_000;
                for turn in turns..due {
                    let client = &mut clients[(turn % count as u64) as usize];
                    if !habit.goes_on(client) {
                        *client = arrive();
                    }
                }
                turns = due;
            }
        };
        let driver = std::thread::Builder::new().spawn(driver).expect("a thread");
        Self { stop, arrivals, driver: Some(driver) }
    }

    fn arrivals(&self) -> u64 {
        self.arrivals.load(Ordering::Relaxed)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.driver.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))) || std::thread::panicking(), "the crowd's thread failed");
    }
}

impl Habit {
    fn begins(self) -> String {
        match self {
            Self::SendHead => "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ".to_owned(),
            Self::Silent => String::new(),
            Self::Read(path) => format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"),
            Self::SendBody => "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n".to_owned(),
        }
    }

    /// One byte. `false`: the router has let it go.
    fn goes_on(self, client: &mut TcpStream) -> bool {
        let done = match self {
            Self::Silent => return true,
            // What has arrived can be read for a long time after a reset.
            Self::Read(_) => match client.take_error() {
                Ok(None) => client.read(&mut [0; 1]),
                _ => return false,
            },
            Self::SendHead => client.write(b"x"),
            // What the router says to it is the end of its request.
            Self::SendBody => match client.read(&mut [0; 1]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => client.write(b"x"),
                _ => return false,
            },
        };
        match done {
            Ok(n) => n > 0,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }
}

/// A small answer, one of 64 KB, and one of 10 MB.
fn origin() -> BusyOrigin {
    BusyOrigin::start(|head, mut body, to| {
        let _gone = std::io::copy(&mut body, &mut std::io::sink());
        let len = match head.start.split(' ').nth(1) {
            Some("/64k") => 65_536,
            Some("/10m") => 10_000_000,
            _ => 1000,
        };
        // Megabytes in the kernel for each who does not read them are no part of what is measured.
        sockopt::set_socket_send_buffer_size(&*to, 65_536)?;
        write!(to, "HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n")?;
        // The router goes when its client has gone.
        let _ended = std::io::copy(&mut std::io::repeat(b'x').take(len), to);
        Ok(())
    })
}

/// Asks for the small answer on a connection: how long it took.
fn ask(stream: &mut BufReader<TcpStream>) -> Duration {
    let asked = Instant::now();
    stream.get_mut().write_all(GET).expect("send");
    let head = Head::read(stream).expect("a head").expect("an answer");
    assert_eq!(head.start, "HTTP/1.1 200 OK");
    let body = head.body(stream).expect("a body");
    assert_eq!(std::io::read_to_string(body).expect("all of it").len(), 1000);
    asked.elapsed()
}

fn connect(router: &Router) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(router.address()).expect("connect");
    stream.set_read_timeout(Some(3 * DEADLINE)).expect("SO_RCVTIMEO");
    BufReader::new(stream)
}

/// Median and p99 of a client that asks 200 times a second, for three seconds, every fourth time on a new connection.
fn undisturbed_or_not(router: &Router) -> (Duration, Duration) {
    let mut kept = connect(router);
    let mut times: Vec<Duration> = (0..600)
        .map(|n| {
            std::thread::sleep(ms(5));
            if n % 4 == 0 { ask(&mut connect(router)) } else { ask(&mut kept) }
        })
        .collect();
    times.sort();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

#[test]
fn seven_thousand_slow_clients_that_hold_no_worker_disturb_nobody() {
    let _alone = alone();
    assert!(enough_files(8192), "a limit of open files of 8192 is needed");
    let origin = origin();
    let router = Router::to_with(&origin, "[server]\nworkers = 16\n[timeouts]\nheader = 5m\nidle = 5m");
    let (mut alone, mut among) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        alone.push(undisturbed_or_not(&router));
        let crowds = [(4000, Habit::SendHead), (2000, Habit::Silent), (1000, Habit::Read("/64k"))]
            .map(|(count, habit)| Crowd::start(&router.address(), count, habit));
        router.wait_counter("sessions", |n| n >= 7000);
        router.wait_counter("exchanges", |n| n >= 1000);
        eventually("all of them are parked", DEADLINE, || {
            let counters = router.counters();
            // A byte of a head is a moment's work.
            (counters["running"] < 8 && counters["queued"] < 8 && counters["cells_used"] >= 4000).then_some(())
        });
        among.push(undisturbed_or_not(&router));
        assert!(router.counter("running") < 16, "a slow client holds no worker");
        assert_eq!(crowds.iter().map(Crowd::arrivals).sum::<u64>(), 7000, "some were let go");
        drop(crowds);
        router.wait_counter("sessions", |n| n == 0);
    }
    println!("alone {alone:?}\namong {among:?}");
    // The middle one of three rounds, each figure by itself.
    let middle = |rounds: &[(Duration, Duration)], which: fn(&(Duration, Duration)) -> Duration| {
        let mut all: Vec<Duration> = rounds.iter().map(which).collect();
        all.sort();
        all[all.len() / 2]
    };
    let (median, p99) = (middle(&alone, |round| round.0), middle(&alone, |round| round.1));
    let (median_among, p99_among) = (middle(&among, |round| round.0), middle(&among, |round| round.1));
    assert!(median_among <= 2 * median, "median {median:?} alone, {median_among:?} among them");
    assert!(p99_among <= p99 + ms(20), "p99 {p99:?} alone, {p99_among:?} among them");
    router.assert_at_rest();
}

/// A thousand that hold their workers, against everybody else.
fn nobody_waits_long_behind(habit: Habit) {
    let _alone = alone();
    assert!(enough_files(8192), "a limit of open files of 8192 is needed");
    let origin = origin();
    let router = Router::to_with(&origin, "[server]\nworkers = 256");
    let (hiccups, stop) = (Hiccups::watch(), AtomicBool::new(false));
    let crowd = Crowd::start(&router.address(), 1000, habit);
    router.wait_counter("running", |n| n == 256);
    let times: Vec<Duration> = std::thread::scope(|scope| {
        let _stop = crate::clients::StopOnDrop(&stop);
        let normal: Vec<_> = (0..8)
            .map(|n| {
                let (router, stop) = (&router, &stop);
                let run = move || {
                    let mut times = Vec::new();
                    std::thread::sleep(ms(40 * n));
                    while !stop.load(Ordering::Relaxed) {
                        times.push(ask(&mut connect(router)));
                        std::thread::sleep(ms(100));
                    }
                    times
                };
                std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run).expect("a thread")
            })
            .collect();
        // Long enough for each of the crowd to have been let go, and to have come again.
        eventually("the crowd has come three times", 6 * DEADLINE, || (crowd.arrivals() >= 3000).then_some(()));
        stop.store(true, Ordering::Relaxed);
        normal.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    let (worst, count) = (times.iter().max().expect("some"), times.len());
    println!("{count} requests, the slowest {worst:?}, {} arrivals", crowd.arrivals());
    let limit = Duration::from_secs(2) + hiccups.allowance(4);
    assert!(*worst <= limit, "{worst:?} of {count}, allowed {limit:?}");
    assert_eq!(router.counter("refused_queue"), 0);
    drop(crowd);
    router.assert_at_rest();
}

#[test]
fn a_thousand_who_take_ten_megabytes_a_byte_a_second_keep_nobody_waiting_over_two_seconds() {
    nobody_waits_long_behind(Habit::Read("/10m"));
}

#[test]
fn a_thousand_who_send_a_body_a_byte_a_second_keep_nobody_waiting_over_two_seconds() {
    nobody_waits_long_behind(Habit::SendBody);
}
