//! SIGTERM, and a second one, in every phase of a session.

use crate::phases::Framing::{Chunked, Close, Length, Unchunked};
use crate::phases::Phase::{self, HalfAnswer, HalfAnswerHead, HalfBody, HalfHead, Idle, Tunnel, Waiting};
use crate::support::router::Signal;
use crate::support::{Client, Ending, Origin, OriginConn, Router, ms};
use crate::{ACCESS, ends};

const PHASES: [Phase; 11] = [
    Idle,
    HalfHead,
    HalfBody(Length),
    HalfBody(Chunked),
    Waiting,
    HalfAnswerHead,
    HalfAnswer(Length),
    HalfAnswer(Chunked),
    HalfAnswer(Close),
    HalfAnswer(Unchunked),
    Tunnel,
];

/// Runs `script` for each phase, at the same time, each with a router that was told to stop in it.
fn in_each_phase(script: fn(Phase, &mut Router, Client, OriginConn, &Origin)) {
    std::thread::scope(|scope| {
        for phase in PHASES {
            let run = move || {
                let origin = Origin::bind();
                let mut router = Router::to_with(&origin, ACCESS);
                let (client, conn) = phase.reach(&router, &origin);
                router.signal(Signal::TERM);
                router.wait_log("draining");
                script(phase, &mut router, client, conn, &origin);
            };
            std::thread::Builder::new().name(format!("{phase:?}")).spawn_scoped(scope, run).expect("a thread");
        }
    });
}

#[test]
fn a_stop_in_any_phase_finishes_what_has_begun_and_closes() {
    in_each_phase(|phase, router, mut client, mut conn, origin| {
        match phase {
            // Half a second for one more request, and this one does not ask.
            Idle => {}
            HalfHead => {
                client.send("st: a\r\n\r\n");
                assert_eq!(conn.read_request().line(), "GET /");
                conn.reply(200, "whole");
                let response = client.read_response();
                assert!(response.text() == "whole" && response.says_close());
            }
            HalfBody(framing) => {
                client.send(if framing == Length { "half" } else { "4\r\nhalf\r\n0\r\n\r\n" });
                conn.read_until(if framing == Length { b"half" } else { b"0\r\n\r\n" });
                conn.reply(200, "taken");
                let response = client.read_response();
                assert!(response.text() == "taken" && response.says_close());
            }
            Tunnel => {
                client.send("still up");
                assert_eq!(conn.read_exact(8), b"still up");
                conn.send("still down");
                assert_eq!(client.read_exact(10), b"still down");
                conn.close_write();
            }
            Waiting | HalfAnswerHead | HalfAnswer(_) => phase.finish(&mut client, &mut conn),
        }
        assert_eq!(client.expect_closed(), Ending::Fin);
        client.close();
        assert_eq!(router.wait_exit(ms(8000)).code(), Some(0), "{}", router.log());
        origin.expect_no_connection_for(ms(0));
        // The first request of those that begin with one, and the one that was finished.
        let all = match phase {
            Idle => vec!["200 ok"],
            HalfHead => vec!["200 ok"; 2],
            Tunnel => vec!["101 ok"],
            _ => vec!["200 ok"],
        };
        assert_eq!(ends(router.dir(), all.len()), all);
    });
}

#[test]
fn a_second_stop_in_any_phase_cuts_and_no_part_looks_whole() {
    in_each_phase(|phase, router, mut client, mut conn, _| {
        if !matches!(phase, Idle | HalfHead) {
            // It would be finished, however long that takes.
            client.expect_silence_for(ms(300));
        }
        router.signal(Signal::TERM);
        assert_eq!(router.wait_exit(ms(8000)).code(), Some(0), "{}", router.log());
        let (rest, ending) = client.read_until_end();
        assert!(rest.is_empty(), "{}", crate::support::shown(&rest));
        let (rest, _) = conn.read_until_end();
        assert!(rest.is_empty(), "{}", crate::support::shown(&rest));
        let end = match phase {
            Idle | HalfHead => {
                assert_eq!(ending, Ending::Fin, "nothing was promised");
                "200 ok"
            }
            HalfAnswer(_) => "200 stopped",
            Tunnel => "101 stopped",
            _ => "499 stopped",
        };
        if !matches!(phase, Idle | HalfHead) {
            assert_eq!(ending, Ending::Reset);
        }
        assert_eq!(ends(router.dir(), 1), [end]);
    });
}
