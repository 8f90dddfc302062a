//! Reset and half-close, by the client and by the backend, in every phase of a session.
//!
//! A row says what the side that is not broken sees, what becomes of the session and of the backend's connection, and how
//! the exchange is called in the access log.

use crate::phases::Framing::{self, Chunked, Close, Length};
use crate::phases::Phase::{self, HalfAnswer, HalfAnswerHead, HalfBody, HalfHead, Idle, Tunnel, Waiting};
use crate::support::{Ending, Origin, Router, ms};
use crate::{ACCESS, ends};

use Fault::{HalfClose, Reset};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Reset,
    /// `shutdown(Write)`: it sends no more, and would still read.
    HalfClose,
}

/// What the client sees of it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sees {
    /// Nobody is there to see anything.
    Gone,
    /// Nothing happens.
    Nothing,
    /// An end of input, without a byte.
    End,
    /// The backend's whole answer.
    Served,
    /// An answer of the router.
    Told(u16),
    /// A reset after a part of the answer, which does not look whole.
    Cut,
}

struct Row {
    phase: Phase,
    fault: Fault,
    sees: Sees,
    /// Another request is served on the same session.
    goes_on: bool,
    /// Kept backend connections afterwards.
    kept: u64,
    /// Status and token of the exchange; `Idle` and `HalfHead` have none of their own.
    end: Option<&'static str>,
}

const fn row(phase: Phase, fault: Fault, sees: Sees, goes_on: bool, kept: u64, end: Option<&'static str>) -> Row {
    Row { phase, fault, sees, goes_on, kept, end }
}

const BY_CLIENT: [Row; 22] = [
    row(Idle, Reset, Sees::Gone, false, 1, None),
    row(Idle, HalfClose, Sees::End, false, 1, None),
    row(HalfHead, Reset, Sees::Gone, false, 1, None),
    row(HalfHead, HalfClose, Sees::Told(400), false, 1, Some("400 refused")),
    row(HalfBody(Length), Reset, Sees::Gone, false, 0, Some("499 client_gone")),
    row(HalfBody(Length), HalfClose, Sees::Told(400), false, 0, Some("400 refused")),
    row(HalfBody(Chunked), Reset, Sees::Gone, false, 0, Some("499 client_gone")),
    row(HalfBody(Chunked), HalfClose, Sees::Told(400), false, 0, Some("400 refused")),
    row(Waiting, Reset, Sees::Gone, false, 0, Some("499 client_gone")),
    row(Waiting, HalfClose, Sees::Served, false, 1, Some("200 ok")),
    row(HalfAnswerHead, Reset, Sees::Gone, false, 0, Some("499 client_gone")),
    row(HalfAnswerHead, HalfClose, Sees::Served, false, 1, Some("200 ok")),
    row(HalfAnswer(Length), Reset, Sees::Gone, false, 0, Some("200 client_gone")),
    row(HalfAnswer(Length), HalfClose, Sees::Served, false, 1, Some("200 ok")),
    row(HalfAnswer(Chunked), Reset, Sees::Gone, false, 0, Some("200 client_gone")),
    row(HalfAnswer(Chunked), HalfClose, Sees::Served, false, 1, Some("200 ok")),
    row(HalfAnswer(Close), Reset, Sees::Gone, false, 0, Some("200 client_gone")),
    row(HalfAnswer(Close), HalfClose, Sees::Served, false, 0, Some("200 ok")),
    row(HalfAnswer(Framing::Unchunked), Reset, Sees::Gone, false, 0, Some("200 client_gone")),
    row(HalfAnswer(Framing::Unchunked), HalfClose, Sees::Served, false, 1, Some("200 ok")),
    row(Tunnel, Reset, Sees::Gone, false, 0, Some("101 client_gone")),
    row(Tunnel, HalfClose, Sees::Served, false, 0, Some("101 ok")),
];

const BY_BACKEND: [Row; 22] = [
    row(Idle, Reset, Sees::Nothing, true, 0, None),
    row(Idle, HalfClose, Sees::Nothing, true, 0, None),
    row(HalfHead, Reset, Sees::Nothing, true, 0, None),
    row(HalfHead, HalfClose, Sees::Nothing, true, 0, None),
    row(HalfBody(Length), Reset, Sees::Told(502), false, 0, Some("502 backend_closed")),
    row(HalfBody(Length), HalfClose, Sees::Told(502), false, 0, Some("502 backend_closed")),
    row(HalfBody(Chunked), Reset, Sees::Told(502), false, 0, Some("502 backend_closed")),
    row(HalfBody(Chunked), HalfClose, Sees::Told(502), false, 0, Some("502 backend_closed")),
    row(Waiting, Reset, Sees::Told(502), true, 0, Some("502 backend_closed")),
    row(Waiting, HalfClose, Sees::Told(502), true, 0, Some("502 backend_closed")),
    row(HalfAnswerHead, Reset, Sees::Told(502), true, 0, Some("502 backend_closed")),
    row(HalfAnswerHead, HalfClose, Sees::Told(502), true, 0, Some("502 backend_closed")),
    row(HalfAnswer(Length), Reset, Sees::Cut, false, 0, Some("200 answer_cut")),
    row(HalfAnswer(Length), HalfClose, Sees::Cut, false, 0, Some("200 answer_cut")),
    row(HalfAnswer(Chunked), Reset, Sees::Cut, false, 0, Some("200 answer_cut")),
    row(HalfAnswer(Chunked), HalfClose, Sees::Cut, false, 0, Some("200 answer_cut")),
    row(HalfAnswer(Close), Reset, Sees::Cut, false, 0, Some("200 answer_cut")),
    // That is how such an answer ends.
    row(HalfAnswer(Close), HalfClose, Sees::Served, false, 0, Some("200 ok")),
    row(HalfAnswer(Framing::Unchunked), Reset, Sees::Cut, false, 0, Some("200 answer_cut")),
    row(HalfAnswer(Framing::Unchunked), HalfClose, Sees::Cut, false, 0, Some("200 answer_cut")),
    row(Tunnel, Reset, Sees::Cut, false, 0, Some("101 answer_cut")),
    row(Tunnel, HalfClose, Sees::Served, false, 0, Some("101 ok")),
];

#[track_caller]
fn by_client(row: &Row) {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, ACCESS);
    let (client, mut conn) = row.phase.reach(&router, &origin);
    let before = usize::from(matches!(row.phase, Idle | HalfHead));
    let mut client = match row.fault {
        Reset => {
            client.reset();
            None
        }
        HalfClose => {
            let mut client = client;
            client.close_write();
            Some(client)
        }
    };
    match (row.sees, client.as_mut()) {
        (Sees::Gone, None) => {}
        (Sees::End, Some(client)) => assert_eq!(client.expect_closed(), Ending::Fin),
        (Sees::Told(status), Some(client)) => {
            assert_eq!(client.read_response().status, status);
            assert_eq!(client.expect_closed(), Ending::Fin);
        }
        (Sees::Served, Some(client)) if row.phase == Tunnel => {
            // One way has ended, the other has not.
            assert_eq!(conn.expect_closed(), Ending::Fin);
            conn.send("down");
            assert_eq!(client.read_exact(4), b"down");
            conn.close_write();
            assert_eq!(client.expect_closed(), Ending::Fin);
        }
        (Sees::Served, Some(client)) => {
            row.phase.finish(client, &mut conn);
            assert_eq!(client.expect_closed(), Ending::Fin);
        }
        other => unreachable!("{other:?}"),
    }
    drop(client);
    if row.kept == 0 {
        // Whatever of the request had come: the backend cannot take it for a whole one.
        let (rest, _) = conn.read_until_end();
        assert!(rest.is_empty(), "{}", crate::support::shown(&rest));
    }
    settled(row, &router, before);
    // On the kept connection, where there is one.
    let mut next = router.client();
    next.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    if row.kept == 0 {
        conn = origin.accept();
    }
    assert_eq!(conn.read_request().line(), "GET /next");
    conn.reply(200, "next");
    assert_eq!(next.read_response().text(), "next");
}

#[track_caller]
fn by_backend(row: &Row) {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, ACCESS);
    let (mut client, conn) = row.phase.reach(&router, &origin);
    let before = usize::from(matches!(row.phase, Idle | HalfHead));
    let mut conn = match row.fault {
        Reset => {
            conn.reset();
            None
        }
        HalfClose => {
            let mut conn = conn;
            conn.close_write();
            Some(conn)
        }
    };
    match (row.sees, conn.as_mut()) {
        (Sees::Nothing, _) => client.expect_silence_for(ms(20)),
        (Sees::Told(status), _) => {
            assert_eq!(client.read_response().status, status);
            if !row.goes_on {
                assert_eq!(client.expect_closed(), Ending::Fin);
            }
        }
        (Sees::Cut, _) => assert!(client.read_until_reset().is_empty()),
        (Sees::Served, Some(conn)) if row.phase == Tunnel => {
            assert_eq!(client.expect_closed(), Ending::Fin);
            client.send("up");
            assert_eq!(conn.read_exact(2), b"up");
            client.close_write();
        }
        (Sees::Served, Some(_)) => assert_eq!(client.expect_closed(), Ending::Fin),
        other => unreachable!("{other:?}"),
    }
    if let Some(conn) = &mut conn {
        conn.expect_closed();
    }
    if row.phase == HalfHead {
        // It is served whole, by a connection that lives.
        client.send("st: a\r\n\r\n");
        origin.accept_request().0.reply(200, "whole");
        assert_eq!(client.read_response().text(), "whole");
        router.wait_counter("backend_idle", |n| n == 0);
    }
    let stays = row.goes_on.then_some(client);
    settled(row, &router, before + usize::from(row.phase == HalfHead));
    let mut next = stays.unwrap_or_else(|| router.client());
    next.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut conn, request) = origin.accept_request();
    assert_eq!(request.line(), "GET /next");
    conn.reply(200, "next");
    assert_eq!(next.read_response().text(), "next");
}

/// The exchange has its name in the access log, after `before` good ones, and everything is back.
#[track_caller]
fn settled(row: &Row, router: &Router, before: usize) {
    let mut named = vec!["200 ok"; before];
    named.extend(row.end);
    assert_eq!(ends(router.dir(), named.len()), named);
    router.wait_counter("backend_idle", |n| n == row.kept);
    router.wait_counter("sessions", |n| n == u64::from(row.goes_on));
    router.assert_at_rest();
}

/// Rows of one fault, each in a thread of its own: most of each is waiting.
fn all(rows: &[Row], fault: Fault, run: fn(&Row)) {
    std::thread::scope(|scope| {
        for row in rows.iter().filter(|row| row.fault == fault) {
            let name = format!("{:?} {fault:?}", row.phase);
            std::thread::Builder::new().name(name).spawn_scoped(scope, || run(row)).expect("a thread");
        }
    });
}

#[test]
fn a_client_that_resets_is_forgotten_and_its_backend_never_sees_a_whole_request() {
    all(&BY_CLIENT, Reset, by_client);
}

#[test]
fn a_client_that_half_closes_is_served_when_its_request_is_whole_and_told_when_it_is_not() {
    all(&BY_CLIENT, HalfClose, by_client);
}

#[test]
fn a_backend_that_resets_costs_one_exchange_and_its_answer_never_looks_whole() {
    all(&BY_BACKEND, Reset, by_backend);
}

#[test]
fn a_backend_that_half_closes_costs_one_exchange_and_its_answer_never_looks_whole() {
    all(&BY_BACKEND, HalfClose, by_backend);
}

#[test]
fn a_client_that_half_closes_and_then_resets_ends_its_exchange() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, ACCESS);
    let (mut client, mut conn) = Waiting.reach(&router, &origin);
    client.close_write();
    // It is still waited for.
    conn.expect_silence_for(ms(50));
    client.reset();
    conn.expect_closed_within(ms(2000));
    assert_eq!(ends(router.dir(), 1), ["499 client_gone"]);
    router.assert_at_rest();
}
