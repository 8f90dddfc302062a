//! Many large bodies at once, each with bytes of its own: by length and in chunks, down and up.

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::sync::Barrier;

use crate::alone;
use crate::origin::{BusyOrigin, STACK};
use crate::support::{DEADLINE, Router};
use crate::wire::{Bytes, Head, read_sum};

const LENGTH: usize = 10_000_000;
const AT_ONCE: u64 = 64;

/// Every second one has no length.
fn framing(number: u64) -> (bool, String) {
    match number % 2 {
        0 => (false, format!("Content-Length: {LENGTH}")),
        _ => (true, "Transfer-Encoding: chunked".to_owned()),
    }
}

/// The number at the end of `GET /12 HTTP/1.1`.
fn number_of(head: &Head) -> u64 {
    let target = head.start.split(' ').nth(1).expect("a target");
    target[1..].parse().expect("a number")
}

/// Runs `one` 64 times at the same time, each on its own connection and with its own number.
#[track_caller]
fn all_at_once(router: &Router, one: impl Fn(u64, BufReader<TcpStream>) + Sync) {
    let (address, start) = (router.address(), Barrier::new(64));
    std::thread::scope(|scope| {
        for number in 0..AT_ONCE {
            let (address, start, one) = (&address, &start, &one);
            let run = move || {
                let stream = TcpStream::connect(address).expect("connect");
                for set in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
                    set(&stream, Some(3 * DEADLINE)).expect("a timeout");
                }
                start.wait();
                one(number, BufReader::new(stream));
            };
            std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run).expect("a thread");
        }
    });
    router.assert_at_rest();
}

#[test]
fn sixty_four_downloads_of_ten_megabytes_arrive_whole() {
    let _alone = alone();
    let origin = BusyOrigin::start(|head, _, to| {
        let (chunked, framing) = framing(number_of(head));
        write!(to, "HTTP/1.1 200 OK\r\n{framing}\r\n\r\n")?;
        Bytes::of(number_of(head)).write(LENGTH, chunked, to).map(drop)
    });
    let router = Router::to_with(&origin, "[server]\nworkers = 64");
    all_at_once(&router, |number, mut stream| {
        write!(stream.get_mut(), "GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n").expect("send");
        let head = Head::read(&mut stream).expect("a head").expect("an answer");
        assert_eq!(head.start, "HTTP/1.1 200 OK");
        let got = read_sum(&mut head.body(&mut stream).expect("a body")).expect("all of it");
        assert_eq!(got, (LENGTH, Bytes::of(number).sum(LENGTH)), "number {number}");
    });
    origin.assert_no_faults();
}

#[test]
fn sixty_four_uploads_of_ten_megabytes_arrive_whole() {
    let _alone = alone();
    let origin = BusyOrigin::start(|_, mut body, to| {
        let (len, sum) = read_sum(&mut body)?;
        let answer = format!("{len} {sum}");
        write!(to, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len())
    });
    let router = Router::to_with(&origin, "[server]\nworkers = 64");
    all_at_once(&router, |number, mut stream| {
        let (chunked, framing) = framing(number);
        write!(stream.get_mut(), "POST /{number} HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n").expect("send");
        let sum = Bytes::of(number).write(LENGTH, chunked, stream.get_mut()).expect("all is taken");
        let head = Head::read(&mut stream).expect("a head").expect("an answer");
        assert_eq!(head.start, "HTTP/1.1 200 OK");
        let answer = std::io::read_to_string(head.body(&mut stream).expect("a body")).expect("all of it");
        assert_eq!(answer, format!("{LENGTH} {sum}"), "number {number}");
    });
    origin.assert_no_faults();
}
