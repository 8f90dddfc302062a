//! The phases of a session, each reached by a script with three actors, so that something can be done to it there.

use crate::support::{Client, Origin, OriginConn, Router};

use Framing::{Chunked, Close, Length};
use Phase::{HalfAnswer, HalfAnswerHead, HalfBody, HalfHead, Idle, Tunnel, Waiting};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Framing {
    Length,
    Chunked,
    /// Until close. A request is never so.
    Close,
    /// Chunks of the backend, to a client of HTTP/1.0: until close on its way out.
    Unchunked,
}

/// How far the session is when it happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Phase {
    /// The session is parked and a connection to the backend is kept.
    Idle,
    /// As `Idle`, and the next request has begun.
    HalfHead,
    HalfBody(Framing),
    /// The backend has the whole request.
    Waiting,
    HalfAnswerHead,
    HalfAnswer(Framing),
    Tunnel,
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

impl Phase {
    /// A session that is there, and its backend connection.
    #[track_caller]
    pub fn reach(self, router: &Router, origin: &Origin) -> (Client, OriginConn) {
        let mut client = router.client();
        let request = match self {
            Idle | HalfHead => {
                client.send("GET /first HTTP/1.1\r\nHost: a\r\n\r\n");
                let (mut conn, _) = origin.accept_request();
                conn.reply(200, "first");
                assert_eq!(client.read_response().text(), "first");
                router.wait_counter("backend_idle", |n| n == 1);
                if self == HalfHead {
                    client.send("GET / HTTP/1.1\r\nHo");
                    router.wait_counter("cells_used", |n| n == 1);
                }
                router.wait_counter("parked", |n| n == 1);
                return (client, conn);
            }
            HalfBody(Length) => "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf",
            HalfBody(_) => "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            HalfAnswer(Framing::Unchunked) => "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
            Tunnel => UPGRADE,
            _ => "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        };
        client.send(request);
        let mut conn = origin.accept();
        conn.read_request_head();
        match self {
            HalfBody(Length) => assert_eq!(conn.read_exact(4), b"half"),
            HalfBody(_) => assert_eq!(conn.read_exact(9), b"4\r\nhalf\r\n"),
            // In one segment: who has heard of the first has read the second.
            HalfAnswerHead => {
                conn.send("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-");
                assert_eq!(client.read_response_head("GET").status, 103);
            }
            HalfAnswer(framing) => {
                conn.send(match framing {
                    Length => "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf",
                    Close => "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf",
                    Chunked | Framing::Unchunked => {
                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"
                    }
                });
                assert_eq!(client.read_response_head("GET").status, 200);
                client.read_until(b"half");
                if framing == Chunked {
                    client.read_until(b"\r\n");
                }
            }
            Tunnel => {
                conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello");
                assert_eq!(client.read_response_head("GET").status, 101);
                assert_eq!(client.read_exact(5), b"hello");
                client.send("up");
                assert_eq!(conn.read_exact(2), b"up");
            }
            Idle | HalfHead | Waiting => {}
        }
        (client, conn)
    }

    /// The backend ends its answer, and the client sees all of it.
    #[track_caller]
    pub fn finish(self, client: &mut Client, conn: &mut OriginConn) {
        match self {
            Waiting => conn.reply(200, "halfhalf"),
            HalfAnswerHead => conn.send("Length: 8\r\n\r\nhalfhalf"),
            HalfAnswer(Chunked | Framing::Unchunked) => conn.send("4\r\nhalf\r\n0\r\n\r\n"),
            HalfAnswer(Length) => conn.send("half"),
            HalfAnswer(_) => {
                conn.send("half");
                conn.close_write();
            }
            _ => unreachable!("no answer is on its way"),
        }
        self.read_rest(client, b"half");
    }

    /// What the client has not had yet: `rest` of the body, and what follows it.
    #[track_caller]
    fn read_rest(self, client: &mut Client, rest: &[u8]) {
        match self {
            Waiting | HalfAnswerHead => assert_eq!(client.read_response().text(), "halfhalf"),
            HalfAnswer(Chunked) => {
                assert_eq!(client.read_chunk().as_deref(), Some(rest));
                assert_eq!(client.read_chunk(), None);
                client.read_until(b"\r\n");
            }
            _ => assert_eq!(client.read_exact(rest.len()), rest),
        }
    }
}
