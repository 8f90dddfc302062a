//! What a hostile byte costs: CPU of the router's process for each byte that a peer sends, beside a byte of a plain body.
//!
//! CPU time, as the kernel accounts it to the router's threads, and only ratios of it, with all three actors on one
//! processor: so they hold on a loaded machine and on a slow one. (On two, what a wake-up costs depends on where the other
//! side happens to run and on whether that processor sleeps: the same exchange takes 8 or 40 us.) A message costs an exchange and a segment a wake-up, however small they are, and those alone are more than
//! 20 bytes of a body. So an exchange is one unit, what its bytes cost beyond it another, and each thing is held against
//! the one that an attacker would multiply. `cargo test --release --test load costs -- --nocapture` prints all figures.

use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::alone;
use crate::origin::BusyOrigin;
use crate::support::{DEADLINE, Router};
use crate::wire::Head;

/// The middle one of so many measurements is taken.
const ROUNDS: usize = 3;

/// What a case may cost.
#[derive(Clone, Copy)]
enum Bound {
    /// So many times a byte of a plain body for each byte, besides an ordinary exchange for each message.
    Bytes(f64),
    /// So many ordinary exchanges for each message.
    Messages(f64),
    /// So many ordinary exchanges for each segment.
    Segments(f64),
}

/// How the bytes of one side are written.
#[derive(Clone, Copy)]
enum Pace {
    /// As fast as they are taken.
    Whole,
    /// After so many bytes, so many a segment, a moment apart: none is read together with the next.
    Apart { after: usize, each: usize },
}

const BYTES: Pace = Pace::Apart { after: 0, each: 1 };

impl Pace {
    fn write(self, bytes: &[u8], to: &mut TcpStream) -> io::Result<()> {
        let Self::Apart { after, each } = self else { return to.write_all(bytes) };
        let (first, rest) = bytes.split_at(after);
        to.write_all(first)?;
        for segment in rest.chunks(each) {
            to.write_all(segment)?;
            // What is measured is segments that do not meet; those that do are fewer, and cost less.
            std::thread::sleep(Duration::from_micros(30));
        }
        Ok(())
    }

    fn segments(self, bytes: usize) -> usize {
        match self {
            Self::Whole => 0,
            Self::Apart { after, each } => (bytes - after).div_ceil(each),
        }
    }
}

/// Exchanges one after another on one connection: what each side says, and how.
struct Case {
    name: &'static str,
    bound: Bound,
    times: usize,
    /// Requests of one write.
    at_once: usize,
    request: Vec<u8>,
    request_pace: Pace,
    answer: Vec<u8>,
    answer_pace: Pace,
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

impl Case {
    fn up(name: &'static str, bound: Bound, times: usize, request: Vec<u8>) -> Self {
        let (request_pace, answer_pace) = (Pace::Whole, Pace::Whole);
        Self { name, bound, times, at_once: 1, request, request_pace, answer: OK.to_vec(), answer_pace }
    }

    fn down(name: &'static str, bound: Bound, times: usize, answer: Vec<u8>) -> Self {
        Self { answer, ..Self::up(name, bound, times, GET.to_vec()) }
    }

    fn messages(&self) -> usize {
        self.times * self.at_once
    }

    fn bytes(&self) -> usize {
        self.messages() * (self.request.len() + self.answer.len())
    }

    fn segments(&self) -> usize {
        let one = self.request_pace.segments(self.request.len()) + self.answer_pace.segments(self.answer.len());
        self.messages() * one
    }

    /// Nanoseconds of CPU for all of its exchanges.
    fn cost(&self) -> f64 {
        let mut rounds: Vec<u64> = (0..ROUNDS).map(|_| self.run()).collect();
        rounds.sort_unstable();
        rounds[ROUNDS / 2] as f64
    }

    fn run(&self) -> u64 {
        let (answer, pace) = (self.answer.clone(), self.answer_pace);
        let origin = BusyOrigin::start(move |_, mut body, to| {
            drain(&mut body)?;
            pace.write(&answer, to)
        });
        let router = Router::to_with(&origin, "[route:own]\npath = /own\nrespond = 200 \"ok\"");
        let stream = TcpStream::connect(router.address()).expect("connect");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_read_timeout(Some(3 * DEADLINE)).expect("a timeout");
        let mut client = BufReader::with_capacity(64 * 1024, stream);
        let requests = self.request.repeat(self.at_once);
        let mut exchange = || {
            self.request_pace.write(&requests, client.get_mut()).expect("all is taken");
            (0..self.at_once).for_each(|_| read_answer(&mut client));
        };
        // Connections are made and memory is touched by the first, which does not count.
        exchange();
        let before = cpu(&router);
        (0..self.times).for_each(|_| exchange());
        let ran = cpu(&router) - before;
        origin.assert_no_faults();
        ran
    }
}

/// Keeps this thread, and all threads and processes that it starts, on one of the processors it may use.
fn stay_on_one_processor() {
    let may = sched_getaffinity(None).expect("sched_getaffinity");
    let last = (0..CpuSet::MAX_CPU).rev().find(|cpu| may.is_set(*cpu)).expect("a processor");
    let mut one = CpuSet::new();
    one.set(last);
    sched_setaffinity(None, &one).expect("sched_setaffinity");
}

/// Nanoseconds that all threads of the router have run.
fn cpu(router: &Router) -> u64 {
    let ran = |task: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(task.path().join("schedstat")).expect("CONFIG_SCHED_INFO");
        stat.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).expect("a number first")
    };
    let tasks = std::fs::read_dir(format!("/proc/{}/task", router.pid())).expect("a running process");
    tasks.map(|task| ran(task.expect("an entry"))).sum()
}

fn drain(from: &mut impl Read) -> io::Result<()> {
    let mut space = vec![0; 64 * 1024];
    while from.read(&mut space)? > 0 {}
    Ok(())
}

/// To the end of a 200, over its interim answers.
fn read_answer(client: &mut BufReader<TcpStream>) {
    loop {
        let head = Head::read(client).expect("a head").expect("an answer");
        drain(&mut head.body(client).expect("a body")).expect("all of it");
        match head.start.split(' ').nth(1) {
            Some("200") => return,
            Some("103") => {}
            _ => panic!("{}", head.start),
        }
    }
}

fn get(target: &str, fields: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes()
}

fn post(framing: &str, body: &[u8]) -> Vec<u8> {
    [format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n").as_bytes(), body].concat()
}

fn reply(framing: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n").as_bytes(), body].concat()
}

/// As many of this chunk, and the end.
fn chunks(count: usize, chunk: &str) -> Vec<u8> {
    (chunk.repeat(count) + "0\r\n\r\n").into_bytes()
}

const CHUNKED: &str = "Transfer-Encoding: chunked";

/// Those to hold the others against: a plain body up, one down, an exchange.
fn units() -> [Case; 3] {
    const LENGTH: usize = 32 << 20;
    let (framing, plain) = (format!("Content-Length: {LENGTH}"), vec![b'x'; LENGTH]);
    let bound = Bound::Bytes(f64::INFINITY);
    [
        Case::up("plain body, up", bound, 3, post(&framing, &plain)),
        Case::down("plain body, down", bound, 3, reply(&framing, &plain)),
        Case::up("ordinary exchange", bound, 2000, get("/", "")),
    ]
}

/// One body, both ways.
fn both_ways(names: [&'static str; 2], bound: f64, times: usize, body: &[u8]) -> [Case; 2] {
    let bound = Bound::Bytes(bound);
    [Case::up(names[0], bound, times, post(CHUNKED, body)), Case::down(names[1], bound, times, reply(CHUNKED, body))]
}

fn cases() -> Vec<Case> {
    const TIMES: f64 = 20.0;
    let large = format!("8000\r\n{}\r\n", "x".repeat(32 << 10));
    let extended = format!("1;{}\r\nx\r\n", "e".repeat(4000));
    let trailers = ["1\r\nx\r\n0\r\n", &"a:\r\n".repeat(2000), "\r\n"].concat();
    let slow_trailers = ["1\r\nx\r\n0\r\nX: ", &"x".repeat(1000), "\r\n\r\n"].concat();
    let early = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(64);
    let named = format!("Connection: {}\r\n{}", "bbbb,".repeat(32), "aaaa:\r\n".repeat(98));
    let method = ["A".repeat(31_000).as_bytes(), b" / HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
    let (length, small) = ("Content-Length: 1000", [b'x'; 1000]);
    let slow_head = format!("Content-Length: 0\r\nX-A: {}", "x".repeat(1000));
    let segments = Bound::Segments(2.0);
    let mut all = Vec::new();
    all.extend(both_ways(["chunks of 32 KB, up", "chunks of 32 KB, down"], 3.0, 3, &chunks(1000, &large)));
    all.extend(both_ways(
        ["chunks of 1 byte, up", "chunks of 1 byte, down"],
        TIMES,
        10,
        &chunks(100_000, "1\r\nx\r\n"),
    ));
    let zeros = chunks(30_000, "0000000000000001\r\nx\r\n");
    all.extend(both_ways(["with zeros before, up", "with zeros before, down"], TIMES, 10, &zeros));
    all.extend(both_ways(["extensions, up", "extensions, down"], TIMES, 200, &chunks(4, &extended)));
    all.extend(both_ways(["trailers, up", "trailers, down"], TIMES, 200, trailers.as_bytes()));
    all.extend([
        Case::up("target of escapes", Bound::Bytes(TIMES), 500, get(&format!("/{}", "%41.".repeat(2000)), "")),
        Case::up("long Via", Bound::Bytes(TIMES), 200, get("/", &format!("Via: {}\r\n", "1.1 a, ".repeat(4500)))),
        Case::up("large field", Bound::Bytes(TIMES), 200, get("/", &format!("X-A: {}\r\n", "x".repeat(32_000)))),
        Case::up("100 fields", Bound::Messages(3.0), 1000, get("/", &"a:\r\n".repeat(99))),
        Case::up("100 fields, 32 named", Bound::Messages(4.0), 1000, get("/", &named)),
        Case::down("64 interim answers", Bound::Messages(4.0), 500, [early.as_bytes(), OK].concat()),
        Case { at_once: 1000, ..Case::up("pipelined", Bound::Messages(1.5), 10, get("/", "")) },
        Case { at_once: 1000, ..Case::up("pipelined, own answer", Bound::Messages(1.0), 10, get("/own", "")) },
    ]);
    all.extend([
        Case { request_pace: BYTES, ..Case::up("body by the byte, up", segments, 1, post(length, &small)) },
        Case { answer_pace: BYTES, ..Case::down("body by the byte, down", segments, 1, reply(length, &small)) },
        Case {
            request_pace: Pace::Apart { after: 0, each: 6 },
            ..Case::up("chunk of 1 byte a segment", segments, 1, post(CHUNKED, &chunks(1000, "1\r\nx\r\n")))
        },
        Case {
            request_pace: BYTES,
            ..Case::up("trailer by the byte", segments, 1, post(CHUNKED, slow_trailers.as_bytes()))
        },
        Case {
            request_pace: BYTES,
            ..Case::up("head by the byte", segments, 2, get("/", &"X-A: 0123456789\r\n".repeat(60)))
        },
        Case { answer_pace: BYTES, ..Case::down("answer's head by the byte", segments, 1, reply(&slow_head, b"")) },
        // What was read of a head is put away and looked at again, for each of its segments.
        Case {
            request_pace: Pace::Apart { after: 30_000, each: 1 },
            ..Case::up("end of a 31 KB head by the byte", Bound::Segments(4.0), 1, method)
        },
    ]);
    all
}

#[test]
fn the_costs_of_hostile_bytes_are_bounded() {
    let _alone = alone();
    stay_on_one_processor();
    let [up, down, exchange] = units();
    let plain = [up.cost() / up.bytes() as f64, down.cost() / down.bytes() as f64];
    let ordinary = exchange.cost() / exchange.messages() as f64;
    println!("a byte of a plain body: {:.2} ns up, {:.2} ns down", plain[0], plain[1]);
    println!("an ordinary exchange: {:.1} us\n", ordinary / 1000.0);
    println!(
        "| what | bytes | ns/byte | a byte beyond the exchange, in plain bytes | a message, in exchanges | us/segment |"
    );
    println!("|---|---|---|---|---|---|");
    let mut over = Vec::new();
    for case in cases() {
        let cost = case.cost();
        let plain = plain[usize::from(case.request == GET)];
        let (bytes, messages, segments) = (case.bytes() as f64, case.messages() as f64, case.segments() as f64);
        let in_plain = (cost - messages * ordinary) / bytes / plain;
        let in_exchanges = cost / messages / ordinary;
        let a_segment = cost / segments;
        let name = case.name;
        let (is, limit) = match case.bound {
            Bound::Bytes(limit) => (in_plain, limit),
            Bound::Messages(limit) => (in_exchanges, limit),
            Bound::Segments(limit) => (a_segment / ordinary, limit),
        };
        let a_message = case.bytes() / case.messages();
        print!("| {name} | {a_message} | {:.2} | ", cost / bytes);
        match case.bound {
            Bound::Bytes(_) => println!("{in_plain:.1} | - | - |"),
            Bound::Messages(_) => println!("- | {in_exchanges:.1} | - |"),
            Bound::Segments(_) => println!("- | - | {:.1} |", a_segment / 1000.0),
        }
        if is > limit {
            over.push(format!("{name}: {is:.1}, allowed {limit}"));
        }
    }
    assert!(over.is_empty(), "{over:#?}");
}
