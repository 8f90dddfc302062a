//! Sessions that take turns, what a fault costs, and what a late cut does not. Rounds of several sessions are in `rounds`.

use super::*;
use crate::access_log::AccessLog;
use crate::arena::Arena;
use crate::cells::Cells;
use crate::config;
use crate::config::model::{AccessFormat, AccessTarget};
use crate::error::CloseReason;
use crate::http::forwarded::Peer;
use crate::metrics::Counters;
use crate::permits::Permits;
use crate::registry::Registry;
use crate::session::Entrance;
use crate::snapshot::{Published, Snapshot};
use crate::sync::Ordering;
use crate::transport::{Socket, faults};
use crate::waiter::Waiter;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Instant;

mod rounds;

const FILE: &str = "[listen:a]\naddress = :1\n[route:r]\nrespond = 200 \"ok\"\n";

fn snapshot(generation: u64, change: impl FnOnce(&mut config::Config)) -> Snapshot {
    let loaded = config::parse_str("a.ini", FILE, &|_| None).unwrap_or_else(|reports| panic!("{reports}"));
    let mut config = loaded.config;
    change(&mut config);
    Snapshot::build(config, generation, vec![(1, 0)], None, |_| None)
}

fn shared() -> Arc<Shared> {
    shared_by(1)
}

/// One permit for so many workers.
fn shared_by(workers: usize) -> Arc<Shared> {
    Arc::new(Shared {
        arena: Arena::new(2 * workers, 4096),
        cells: Cells::new(4096),
        registry: Registry::new(workers),
        permits: Arc::new(Permits::new(workers, 1)),
        waiter: Waiter::new().expect("descriptors"),
        published: Arc::new(Published::new(snapshot(1, |_| {}))),
        counters: Arc::new(Counters::default()),
        access: AccessLog::new(&AccessTarget::Off, AccessFormat::Combined).expect("off"),
        via: "test".to_owned(),
    })
}

/// Of the only worker.
fn round() -> Round {
    Round::new(0, Mail::new(1))
}

fn run(shared: &Shared, worker: &mut Worker, session: &Arc<Session>) {
    let round = round();
    round.take(Arc::clone(session));
    round.run(shared, worker);
}

/// A queued session, and its client.
fn session(shared: &Shared, entrance: &Arc<Entrance>) -> (Arc<Session>, UnixStream) {
    let (ours, client) = UnixStream::pair().expect("pair");
    let socket = Socket::accepted(ours.into(), false);
    (shared.waiter.table.insert(socket, Peer::Unix, entrance, None, u64::MAX, 0), client)
}

/// A request thread's tools, and what its partner would run.
fn worker_of(shared: &Shared, queue: &Receiver<Arc<Session>>) -> (Worker, pair::ResponseThread) {
    let (registry, waiter) = (Arc::clone(&shared.registry), Arc::clone(&shared.waiter));
    let (partner, response) = pair::new(registry, waiter, Arc::clone(&shared.counters));
    (Worker::new(0, partner, queue.clone()), response)
}

#[test]
fn kept_sessions_have_a_turn_however_many_new_ones_there_are() {
    let (shared, entrance) = (shared(), Entrance::new(1));
    assert!(shared.permits.acquire(0));
    let (channel, queue) = crossbeam_channel::bounded(64);
    let (mut worker, _response) = worker_of(&shared, &queue);
    let (kept, mut client) = session(&shared, &entrance);
    assert!(kept.state.take());
    shared.waiter.register(&kept).expect("watched");
    assert!(kept.state.park());
    client.write_all(b"GET").expect("room");
    let new: Vec<_> = (0..64).map(|_| session(&shared, &entrance)).collect();
    for (session, _client) in &new {
        channel.send(Arc::clone(session)).expect("room");
    }
    for _ in 0..2 * KEPT_FIRST {
        let round = round();
        assert!(next(&shared, &mut worker, &queue, &round), "there are more");
        assert_eq!(round.taken(), 1, "one worker, one session");
    }
    assert!(!kept.state.is_parked());
    assert_eq!(queue.len(), 64 - (2 * KEPT_FIRST as usize - 1));
}

#[test]
fn after_thirty_two_pipelined_requests_the_rest_waits_for_its_turn() {
    let (shared, entrance) = (shared(), Entrance::new(1));
    let (_channel, queue) = crossbeam_channel::bounded(1);
    let (mut worker, _response) = worker_of(&shared, &queue);
    let (greedy, mut client) = session(&shared, &entrance);
    assert!(greedy.state.take());
    client.write_all(&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(70)).expect("room");
    for answered in [32, 64, 70] {
        // Also though nobody else is known to wait.
        run(&shared, &mut worker, &greedy);
        assert_eq!(greedy.exchanges.load(Ordering::SeqCst), answered);
        assert_eq!(greedy.state.take(), answered < 70, "it is queued as long as there is a rest");
    }
    assert!(greedy.state.is_parked());
}

#[test]
fn who_finds_no_place_waits_for_a_turn_and_is_not_due_meanwhile() {
    let (shared, entrance, round) = (shared(), Entrance::new(1), round());
    let [(first, _a), (second, _b)] = [(); 2].map(|()| session(&shared, &entrance));
    for session in [&first, &second] {
        assert!(session.state.take());
        session.set_due(7);
        round.take(Arc::clone(session));
    }
    round.take_places(&shared);
    assert_eq!(round.taken(), 1, "one worker, one session");
    assert!(second.state.is_queued());
    // Until it is queued again, and due for that.
    assert_eq!(second.due_ms.load(Ordering::SeqCst), u64::MAX);
}

#[test]
fn what_was_taken_when_the_router_stops_is_cut() {
    let shared = shared();
    let (_channel, queue) = crossbeam_channel::bounded(1);
    let (mut worker, _response) = worker_of(&shared, &queue);
    let (session, mut client) = session(&shared, &Entrance::new(1));
    assert!(session.state.take());
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("room");
    shared.permits.close();
    run(&shared, &mut worker, &session);
    assert!(session.state.is_closed() && shared.waiter.table.is_empty());
    assert!(!matches!(client.read(&mut [0; 1]), Ok(n) if n > 0), "nothing of an answer");
}

/// From now on everything goes to this backend, whose socket file is the test's to remove.
fn backend_of(shared: &Shared, name: &str) -> (UnixListener, PathBuf) {
    let path = std::env::temp_dir().join(format!("l7r-{name}-{}.sock", std::process::id()));
    let backend = UnixListener::bind(&path).expect("bind");
    let file = format!("[listen:a]\naddress = :1\npool = p\n[pool:p]\nbackend = unix:{}\n", path.display());
    let loaded = config::parse_str("a.ini", &file, &|_| None).unwrap_or_else(|reports| panic!("{reports}"));
    shared.published.publish(Arc::new(Snapshot::build(loaded.config, 2, vec![(1, 0)], None, |_| None)));
    (backend, path)
}

/// It was not run for a while, say, and when it goes on the answer is here and the reaper comes at the same moment.
#[test]
fn a_backend_that_is_cut_as_late_when_its_answer_is_here_costs_no_session() {
    let shared = shared();
    let (backend, path) = backend_of(&shared, "late");
    let (_channel, queue) = crossbeam_channel::bounded(1);
    let registry = Arc::clone(&shared.registry);
    let (mut worker, _response) = worker_of(&shared, &queue);
    let (session, mut client) = session(&shared, &Entrance::new(1));
    assert!(session.state.take());
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("room");
    let origin = std::thread::Builder::new().spawn(move || {
        let (mut conn, _) = backend.accept().expect("a connection");
        conn.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("room");
        conn.read_to_end(&mut Vec::new()).expect("it is closed, not kept");
    });
    faults::after_read(move || {
        registry.slot(0).with_sockets(|sockets| {
            sockets.backend.as_ref().expect("it was asked").cut();
            sockets.note(CloseReason::ResponseLate);
        });
    });
    run(&shared, &mut worker, &session);
    let mut answer = vec![0; b"HTTP/1.1 200".len()];
    client.read_exact(&mut answer).expect("an answer");
    assert_eq!(answer, b"HTTP/1.1 200");
    assert!(session.state.is_parked(), "it was told that it stays");
    drop(worker);
    origin.expect("a thread").join().expect("no panic");
    std::fs::remove_file(&path).expect("ours");
}

#[test]
fn a_fault_while_the_partner_runs_costs_its_session_and_nothing_else() {
    let shared = shared();
    let (backend, path) = backend_of(&shared, "fault");
    let (channel, queue) = crossbeam_channel::bounded(1);
    let mut threads = Vec::new();
    super::spawn(0, &shared, &queue, &Mail::new(1), &mut |name, run| {
        let faulty = name.ends_with(".req");
        let run = move || {
            if faulty {
                // The first read that waits: for the rest of the first body, after the partner was woken.
                faults::panic_in_read();
            }
            run();
        };
        threads.push(std::thread::Builder::new().name(name).spawn(run)?);
        Ok(())
    })
    .expect("threads");
    let entrance = Entrance::new(1);
    let begin = || {
        let (session, mut client) = session(&shared, &entrance);
        client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nha").expect("room");
        channel.send(session).expect("room");
        shared.waiter.ring();
        (client, backend.accept().expect("a connection").0)
    };
    let (mut client, mut at_backend) = begin();
    let (mut answer, mut request) = (Vec::new(), Vec::new());
    assert!(client.read_to_end(&mut answer).is_err() || answer.is_empty(), "not a part of an answer");
    at_backend.read_to_end(&mut request).expect("closed");
    assert!(request.ends_with(b"\r\n\r\nha"), "and not a whole request");
    // The next has the partner again, with the second slice, and gets an answer of its own.
    let (mut client, mut at_backend) = begin();
    client.write_all(b"lf").expect("room");
    at_backend.read_exact(&mut vec![0; request.len() + 2]).expect("the whole request");
    at_backend.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").expect("room");
    let mut answer = vec![0; b"HTTP/1.1 200".len()];
    client.read_exact(&mut answer).expect("an answer");
    assert_eq!(answer, b"HTTP/1.1 200");
    drop((client, at_backend));
    let begun = Instant::now();
    while (shared.arena.free(), shared.registry.running(), shared.permits.at_rest()) != (2, 0, 1) {
        assert!(begun.elapsed() < Duration::from_secs(5), "something did not come back");
        std::thread::yield_now();
    }
    assert_eq!(shared.counters.panics.value(), 1);
    std::fs::remove_file(&path).expect("ours");
    shared.permits.close();
    shared.waiter.dismiss();
    for thread in threads {
        thread.join().expect("no fault got out");
    }
}

#[test]
fn a_fault_costs_its_session_and_nothing_else() {
    let shared = shared();
    let (channel, queue) = crossbeam_channel::bounded(1);
    let mut threads = Vec::new();
    super::spawn(0, &shared, &queue, &Mail::new(1), &mut |name, run| {
        threads.push(std::thread::Builder::new().name(name).spawn(run)?);
        Ok(())
    })
    .expect("threads");
    let entrance = Entrance::new(1);
    let ask = || {
        let (session, mut client) = session(&shared, &entrance);
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("room");
        channel.send(session).expect("room");
        shared.waiter.ring();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).expect("closed");
        answer
    };
    let is_at_rest = || {
        (shared.arena.free(), shared.registry.running(), shared.permits.at_rest()) == (2, 0, 1)
            && shared.waiter.table.is_empty()
    };
    let comes_to_rest = || {
        let begun = Instant::now();
        while !is_at_rest() {
            assert!(begun.elapsed() < Duration::from_secs(5), "something did not come back");
            std::thread::yield_now();
        }
    };
    assert!(ask().starts_with(b"HTTP/1.1 200 "));
    comes_to_rest();
    // No file makes this: the listener of the session is not there, and the worker faults in the middle of it.
    shared.published.publish(Arc::new(snapshot(2, |config| config.listens.clear())));
    assert!(ask().is_empty());
    comes_to_rest();
    shared.published.publish(Arc::new(snapshot(3, |_| {})));
    assert!(ask().starts_with(b"HTTP/1.1 200 "));
    comes_to_rest();
    assert_eq!(shared.counters.panics.value(), 1);
    shared.permits.close();
    shared.waiter.dismiss();
    for thread in threads {
        thread.join().expect("no fault got out");
    }
}
