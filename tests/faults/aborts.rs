//! Clients that go away at any byte of any conversation, in any way; and requests that come back to the router.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use crate::origin::BusyOrigin;
use crate::support::{DEADLINE, Origin, Router, TempDir, ms};
use crate::wire::{Bytes, Head, read_sum};
use crate::{ACCESS, ends};

const COUNT: usize = 10_000;
const AT_ONCE: usize = 8;
/// More than sockets hold.
const BIG: usize = 1_000_000;

/// Whole conversations, as a client would send them.
fn conversations() -> Vec<Vec<u8>> {
    let chunk = format!("3e8\r\n{}\r\n", "c".repeat(1000));
    vec![
        b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"GET /small HTTP/1.0\r\nHost: a\r\n\r\n".to_vec(),
        [b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n".to_vec(), vec![b'b'; 20_000]].concat(),
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(20)).into(),
        format!("GET / HTTP/1.1\r\nHost: a\r\nX-Long: {}\r\n\r\n", "x".repeat(7000)).into(),
        b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n".repeat(40),
        b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nand some bytes for the other side"
            .to_vec(),
    ]
}

fn origin() -> BusyOrigin {
    BusyOrigin::start(|head, mut body, to| {
        read_sum(&mut body)?;
        match head.start.split(' ').nth(1) {
            Some("/ws") => {
                to.write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")?;
                let mut from = to.try_clone()?;
                io::copy(&mut from, to)?;
                Err(io::Error::other("it has ended"))
            }
            Some("/big") => {
                write!(to, "HTTP/1.1 200 OK\r\nContent-Length: {BIG}\r\n\r\n")?;
                Bytes::of(1).write(BIG, false, to).map(drop)
            }
            _ => to.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        }
    })
}

/// Goes away: which conversation, after how many bytes, how, and how much it reads before, all from `number`. Whether
/// the router hears of it: of who resets and has said nothing the kernel tells nobody.
fn abort(address: &str, conversations: &[Vec<u8>], number: usize) -> io::Result<bool> {
    let mut state = number as u64 + 1;
    let mut below = |limit: usize| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 33) as usize % limit
    };
    let bytes = &conversations[below(conversations.len())];
    // Half of them send all of it.
    let sent = if below(2) == 0 { bytes.len() } else { below(bytes.len()) };
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ms(5)))?;
    stream.set_nodelay(true)?;
    // A router that has refused it already is no failure of the test's.
    let _answered_already = stream.write_all(&bytes[..sent]);
    if below(3) > 0 {
        let _nothing_yet = stream.read(&mut vec![0; 1 + below(100_000)]);
    }
    let how = below(3);
    match how {
        0 => {}
        1 => set_socket_linger(&stream, Some(Duration::ZERO))?,
        _ => {
            let _reset_already = stream.shutdown(Shutdown::Write);
            std::thread::sleep(Duration::from_micros(below(500) as u64));
            set_socket_linger(&stream, Some(Duration::ZERO))?;
        }
    }
    Ok(sent > 0 || how != 1)
}

#[test]
fn clients_that_go_away_at_any_byte_leave_nothing_behind_and_nobody_else_is_blamed() {
    let origin = origin();
    let router = Router::to_with(&origin, &format!("[server]\nworkers = 16\n{ACCESS}"));
    let (address, conversations) = (router.address(), conversations());
    let (next, heard_of) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= COUNT {
                        return;
                    }
                    let heard =
                        abort(&address, &conversations, number).unwrap_or_else(|e| panic!("client {number}: {e}"));
                    heard_of.fetch_add(usize::from(heard), Ordering::SeqCst);
                }
            });
        }
    });
    router.wait_counter("sessions", |n| n == 0);
    let counters = router.assert_at_rest();
    // A client that was not run for a second is accepted all the same.
    let heard_of = heard_of.load(Ordering::SeqCst) as u64;
    assert!((heard_of..=COUNT as u64).contains(&counters["accepted"]), "{} of {heard_of}", counters["accepted"]);
    let mut ends = ends(router.dir(), counters["exchanges"] as usize);
    ends.sort();
    ends.dedup();
    let allowed = |end: &String| {
        let token = end.split_once(' ').expect("a token").1;
        matches!(token, "ok" | "client_gone" | "refused")
    };
    assert!(ends.iter().all(allowed), "{ends:?}");
    let mut stream = BufReader::new(TcpStream::connect(&address).expect("connect"));
    stream.get_mut().set_read_timeout(Some(DEADLINE)).expect("a timeout");
    for _ in 0..20 {
        stream.get_mut().write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n").expect("send");
        let head = Head::read(&mut stream).expect("a head").expect("an answer");
        let got = read_sum(&mut head.body(&mut stream).expect("a body")).expect("all of it");
        assert_eq!(got, (BIG, Bytes::of(1).sum(BIG)));
    }
}

#[test]
fn a_client_that_resets_while_its_request_waits_for_a_worker_ends_its_exchange() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, &format!("[server]\nworkers = 1\n{ACCESS}"));
    let mut queued = router.client();
    queued.send("GET /first HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut conn, _) = origin.accept_request();
    conn.reply(200, "");
    assert_eq!(queued.read_response().status, 200);
    router.wait_counter("parked", |n| n == 1);
    let mut running = router.client();
    running.send("GET /running HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(conn.read_request().line(), "GET /running");
    // The kernel tells of the reset now, and not again when the session runs.
    queued.send("GET /queued HTTP/1.1\r\nHost: a\r\n\r\n");
    queued.reset();
    router.wait_counter("queued", |n| n == 1);
    running.expect_silence_for(ms(50));
    conn.reply(200, "");
    assert_eq!(running.read_response().status, 200);
    // Whether it was sent at all or not: nobody waits for its answer.
    let (_what_came, _) = conn.read_until_end_within(ms(5000));
    assert_eq!(ends(router.dir(), 3), ["200 ok", "200 ok", "499 client_gone"]);
    router.assert_at_rest();
}

#[test]
fn two_routers_that_are_each_others_backend_stop_at_the_first_turn() {
    let dir = TempDir::new();
    let [one, two] = ["1.sock", "2.sock"].map(|name| dir.file(name));
    let between = |at: &str, to: &str| {
        Router::start(&format!("[listen:u]\naddress = unix:{at}\npool = p\n[pool:p]\nbackend = unix:{to}\n"))
    };
    let (first, second) = (between(&one, &two), between(&two, &one));
    assert_eq!(first.client().get("/").status, 508);
    assert_eq!(second.assert_at_rest()["exchanges"], 1);
    assert_eq!(first.assert_at_rest()["exchanges"], 2);
}

#[test]
fn a_loop_that_hides_its_via_ends_within_the_limits() {
    // Everything comes back to the router by way of somebody who takes its Via away: no router can see that it is a loop.
    let back = TcpListener::bind("127.0.0.1:0").expect("bind");
    let router = Router::to_with(
        &back.local_addr().expect("address"),
        &format!("[server]\nworkers = 4\n[timeouts]\nqueue = 500ms\n{ACCESS}"),
    );
    let address = router.address();
    let relay = move |mut from: TcpStream| -> io::Result<()> {
        let mut reader = BufReader::new(from.try_clone()?);
        let Some(head) = Head::read(&mut reader)? else { return Ok(()) };
        let mut to = TcpStream::connect(&address)?;
        write!(to, "{}\r\nHost: a\r\nConnection: close\r\n\r\n", head.start)?;
        io::copy(&mut to, &mut from).map(drop)
    };
    std::thread::scope(|scope| {
        let (listener, relay) = (&back, &relay);
        scope.spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                scope.spawn(move || relay(stream));
            }
        });
        let begun = Instant::now();
        let mut client = router.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        // Four turns hold the four workers, and the fifth waits for one.
        assert_eq!(client.read_response().status, 503);
        assert!(begun.elapsed() < ms(3000), "{:?}", begun.elapsed());
        assert_eq!(ends(router.dir(), 5).iter().filter(|end| *end == "503 refused").count(), 1);
        // Wakes the accept above with an error.
        rustix::net::shutdown(listener, rustix::net::Shutdown::Both).expect("shutdown");
    });
    router.assert_at_rest();
}
