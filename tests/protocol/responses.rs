//! Answers of a backend that are malformed, ambiguous, cut or only odd: what the client gets, and what becomes of the
//! connection to the backend.

use crate::lanes::{self, Case, Lane, Way};
use crate::recorder::{Script, Then};
use crate::strict;
use crate::support::{Ending, Response, chunked, shown};

/// One answer to one request.
pub struct Answered {
    rows: &'static str,
    request: &'static str,
    answer: Vec<u8>,
    then: Then,
    gets: Gets,
}

/// What the client gets.
enum Gets {
    /// The router's own 502. The session stays, the backend's connection does not.
    BadGateway,
    /// 502, or the beginning of the answer and then a reset.
    NotWhole,
    /// Final answers and interim ones, to the byte of their heads.
    Whole {
        interim: Vec<Vec<u8>>,
        head: Vec<u8>,
        body: Vec<u8>,
        trailers: Vec<(&'static str, &'static str)>,
        keeps: Keeps,
    },
}

/// Which connections go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    Both,
    /// That of the backend is closed.
    Client,
    /// The client's is closed.
    Backend,
    Neither,
}

const GET: &str = "GET /case HTTP/1.1\r\nHost: a\r\n\r\n";
const HEAD: &str = "HEAD /case HTTP/1.1\r\nHost: a\r\n\r\n";
const OLD: &str = "GET /case HTTP/1.0\r\nHost: a\r\n\r\n";

pub fn bad(rows: &'static str, answer: impl AsRef<[u8]>) -> Box<dyn Case> {
    bad_then(rows, answer, Then::Stay)
}

fn bad_then(rows: &'static str, answer: impl AsRef<[u8]>, then: Then) -> Box<dyn Case> {
    let answer = answer.as_ref().to_vec();
    Box::new(Answered { rows, request: GET, answer, then, gets: Gets::BadGateway })
}

fn bad_to(request: &'static str, rows: &'static str, answer: impl AsRef<[u8]>) -> Box<dyn Case> {
    let answer = answer.as_ref().to_vec();
    Box::new(Answered { rows, request, answer, then: Then::Stay, gets: Gets::BadGateway })
}

/// An answer that cannot be completed.
pub fn cut(rows: &'static str, answer: impl AsRef<[u8]>, then: Then) -> Box<dyn Case> {
    let answer = answer.as_ref().to_vec();
    Box::new(Answered { rows, request: GET, answer, then, gets: Gets::NotWhole })
}

/// An answer that arrives whole: to a plain GET, with a head that begins like this.
pub fn whole(rows: &'static str, answer: impl AsRef<[u8]>, head: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Answered {
    let gets = Gets::Whole {
        interim: Vec::new(),
        head: head.as_ref().to_vec(),
        body: body.as_ref().to_vec(),
        trailers: Vec::new(),
        keeps: Keeps::Both,
    };
    Answered { rows, request: GET, answer: answer.as_ref().to_vec(), then: Then::Stay, gets }
}

impl Answered {
    pub fn to(self, request: &'static str) -> Self {
        Self { request, ..self }
    }

    pub fn then(self, then: Then) -> Self {
        Self { then, ..self }
    }

    pub fn keeps(mut self, which: Keeps) -> Self {
        let Gets::Whole { keeps, .. } = &mut self.gets else { panic!("of a whole answer") };
        *keeps = which;
        self
    }

    pub fn trailers(mut self, lines: &[(&'static str, &'static str)]) -> Self {
        let Gets::Whole { trailers, .. } = &mut self.gets else { panic!("of a whole answer") };
        *trailers = lines.to_vec();
        self
    }

    pub fn interim(mut self, heads: &[&str]) -> Self {
        let Gets::Whole { interim, .. } = &mut self.gets else { panic!("of a whole answer") };
        *interim = heads.iter().map(|head| head.as_bytes().to_vec()).collect();
        self
    }

    pub fn case(self) -> Box<dyn Case> {
        Box::new(self)
    }
}

impl Case for Answered {
    fn rows(&self) -> &'static str {
        self.rows
    }

    fn bytes(&self) -> &[u8] {
        &self.answer
    }

    fn run(&self, lane: &Lane<'_>, way: Way) {
        lane.backend.script(Script { answer: self.answer.clone(), way, then: self.then });
        let mut client = lane.client();
        client.send(self.request);
        let method = self.request.split(' ').next().unwrap_or_default();
        let mut stays = true;
        match &self.gets {
            Gets::BadGateway => {
                let mut response = client.read_response_head(method);
                while response.status < 200 {
                    response = client.read_response_head(method);
                }
                client.read_body(response.end);
                assert_eq!((response.status, response.says_close()), (502, false));
            }
            Gets::NotWhole => {
                let mut response = client.read_response_head(method);
                if response.status == 502 {
                    (response.body, _) = client.read_body(response.end);
                } else {
                    let (bytes, ending) = client.read_until_end();
                    assert_eq!(ending, Ending::Reset, "after {}", shown(&bytes));
                    let taken = strict::body(&bytes, response.end);
                    assert!(matches!(taken, Ok(None)), "what came looks whole: {}", shown(&bytes));
                    stays = false;
                }
            }
            Gets::Whole { interim, head, body, trailers, keeps } => {
                for due in interim {
                    assert_head(&client.read_response_head(method), due);
                }
                let mut response = client.read_response_head(method);
                assert_head(&response, head);
                (response.body, response.trailers) = client.read_body(response.end);
                assert_eq!(shown(&response.body), shown(body), "the body");
                let seen: Vec<(&str, &str)> =
                    response.trailers.0.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
                assert_eq!(&seen, trailers, "the trailers");
                stays = matches!(keeps, Keeps::Both | Keeps::Client);
                if !stays {
                    lane.expect_fin(&mut client);
                }
            }
        }
        // All that the backend had to say is there before anything else is asked of it.
        let connection = lane.backend.played();
        let before = lane.backend.mark();
        // On the session, or after its end: the connection to the backend has been put back by then, if it is.
        let mut fresh = lane.client();
        lane.next_on(if stays { &mut client } else { &mut fresh });
        let after = lane.backend.mark();
        lane.next_on(&mut lane.client());
        match &self.gets {
            Gets::Whole { keeps: Keeps::Both | Keeps::Backend, .. } => {
                assert_eq!(after.1, before.1, "the backend's connection was not kept");
            }
            _ => lane.backend.wait_ended(connection),
        }
        lane.heard((before.0, before.1));
    }
}

#[track_caller]
fn assert_head(got: &Response, due: &[u8]) {
    let due = [due, b"\r\n"].concat();
    assert_eq!(got.raw_head.escape_ascii().to_string(), due.escape_ascii().to_string(), "the head that the client saw");
}

fn ok(lines: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{lines}\r\n{body}").into_bytes()
}

const OK_2: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n";

pub fn cases() -> Vec<Box<dyn Case>> {
    [heads(), framing(), chunk_lines(), without_body(), interim(), beyond()].into_iter().flatten().collect()
}

fn heads() -> Vec<Box<dyn Case>> {
    let mut cases = Vec::new();
    for line in [
        "HTTP/1.1 099 X",
        "HTTP/1.1 099",
        "HTTP/1.1 600 X",
        "HTTP/1.1 999 X",
        "HTTP/1.1 000 X",
        "HTTP/1.1 99 X",
        "HTTP/1.1 2000 X",
        "HTTP/1.1 2x0 X",
        "HTTP/1.1 +20 X",
        "HTTP/1.1  200 OK",
        "HTTP/1.1\t200 OK",
        "HTTP/1.1",
        "HTTP/1.1 ",
        " HTTP/1.1 200 OK",
        "HTTP/1.1 200 a\0b",
        "HTTP/1.1 200 a\x0bb",
        "HTTP/1.1 200 a\rb",
        "HTTP/1.1 200 \x7f",
    ] {
        cases.push(bad("httparse 10, CVE 15", format!("{line}\r\nContent-Length: 0\r\n\r\n")));
    }
    for line in
        ["HTTP/2.0 200 OK", "HTTP/1.2 200 OK", "HTTP/0.9 200 OK", "http/1.1 200 OK", "ICY 200 OK", "HTTP/11 200 OK"]
    {
        cases.push(bad("9112 22, 9112 36", format!("{line}\r\nContent-Length: 0\r\n\r\n")));
    }
    cases.extend([
        bad("httparse 1", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
        bad("httparse 1", "HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n"),
        bad("httparse 1", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\nX-A: b\r\n\r\n"),
        bad("httparse 2", "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        bad("9112 36", "hello"),
        bad("9112 36", "<html>\r\n\r\n"),
        bad("9112 36", b"\x15\x03\x01\x00\x02\x02\x16"),
        bad_then("9112 8, 9112 36", "HTTP/1.1 200 OK\r\nContent-Le", Then::Close),
        bad_then("9112 8, 9112 36", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", Then::Close),
        bad_then("9112 8, 9112 36", "HTTP/1.1 2", Then::Reset),
        bad_then("9112 36", "HTTP/1.1 100 Continue\r\n\r\n", Then::Close),
        bad("httparse 9", format!("HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n", "X-A: b\r\n".repeat(256))),
        bad("9112 21", format!("HTTP/1.1 200 OK\r\nX-A: {}\r\nContent-Length: 0\r\n\r\n", "a".repeat(33_000))),
        whole("httparse 10, CVE 15", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", OK_2, "ok").case(),
        whole("httparse 10", "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok", OK_2, "ok").case(),
        whole(
            "httparse 10",
            "HTTP/1.1 599 Odd\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 599 Odd\r\nContent-Length: 2\r\n",
            "ok",
        )
        .case(),
        whole(
            "httparse 11, CVE 15",
            b"HTTP/1.1 200 \xe9t\xe9 \t!\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.1 200 \xe9t\xe9 \t!\r\nContent-Length: 2\r\n",
            "ok",
        )
        .case(),
        whole(
            "httparse 11, CVE 15",
            format!("HTTP/1.1 200 {}\r\nContent-Length: 2\r\n\r\nok", "r".repeat(20_000)),
            format!("HTTP/1.1 200 {}\r\nContent-Length: 2\r\n", "r".repeat(20_000)),
            "ok",
        )
        .case(),
        whole(
            "httparse 8, 9112 34",
            b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1, b\r\nX-A: \x80\xff\r\nset-cookie:  c=2 \r\nX-B:\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1, b\r\nX-A: \x80\xff\r\nset-cookie: c=2\r\nX-B: \r\nContent-Length: 2\r\n",
            "ok",
        )
        .case(),
    ]);
    for (rows, lines) in [
        ("httparse 7, 9112 11", "X-A : b\r\n"),
        ("9112 11", "Content-Length : 2\r\n"),
        ("httparse 7, 9112 12", "X-A: b\r\n c\r\n"),
        ("9112 12", "X-A: b\r\n\tc\r\n"),
        ("httparse 7, 9112 13", "X-A: b\rc\r\n"),
        ("9112 13, CVE 10", "X-A: \0\r\n"),
        ("9112 15", " X-A: b\r\n"),
        ("httparse 7, CVE 2", ": b\r\n"),
        ("httparse 7", "X-A\r\n"),
        ("httparse 7", "X-A: \x7f\r\n"),
        ("httparse 7", "X-A: \x01\r\n"),
        ("httparse 7", "X A: b\r\n"),
    ] {
        cases.push(bad(rows, format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 2\r\n\r\nok")));
    }
    cases
}

fn framing() -> Vec<Box<dyn Case>> {
    let mut cases = Vec::new();
    for length in
        ["", "+2", "-2", "0x2", "2 2", "2, 2", "2,3", "2.0", "9223372036854775808", "18446744073709551618", "two"]
    {
        cases.push(bad("9112 5, CVE 21, CVE 3", ok(&format!("Content-Length: {length}\r\n"), "ok")));
        cases.push(bad_to(HEAD, "9112 5", ok(&format!("Content-Length: {length}\r\n"), "")));
    }
    for coding in [
        "chunked, chunked",
        "chunked, gzip",
        "gzip, chunked",
        "gzip",
        "identity",
        "xchunked",
        "",
        "chunked,",
        "chunked;a=b",
    ] {
        let answer = ok(&format!("Transfer-Encoding: {coding}\r\n"), "2\r\nok\r\n0\r\n\r\n");
        cases.push(bad("9112 2, 9112 3, CVE 20", answer));
    }
    let body = "2\r\nok\r\n0\r\n\r\n";
    cases.extend([
        bad("9112 5", ok("Content-Length: 2\r\nContent-Length: 2\r\n", "ok")),
        bad("9112 5, CVE 11", ok("Content-Length: 2\r\nContent-Length: 3\r\n", "ok!")),
        bad("9112 1, CVE 30", ok("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", body)),
        bad("9112 1, CVE 30", ok("Transfer-Encoding: chunked\r\nContent-Length: 12\r\n", body)),
        bad("9112 1, CVE 20", ok("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", body)),
        bad("9112 3, CVE 20", ok("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", body)),
        bad("9112 4", format!("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}")),
        whole("9112 5", ok("content-length: 002\r\n", "ok"), OK_2, "ok").case(),
        whole("9112 5", ok("Content-Length: 0\r\n", ""), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", "").case(),
        whole("9112 9", ok("Transfer-Encoding: CHUNKED\r\n", body), CHUNKED, "ok").case(),
        whole("9112 22", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", OK_2, "ok").keeps(Keeps::Client).case(),
        whole("9112 30", ok("Content-Length: 2\r\nConnection: close\r\n", "ok"), OK_2, "ok")
            .keeps(Keeps::Client)
            .case(),
        whole("9112 6", ok("", "until the end"), "HTTP/1.1 200 OK\r\nConnection: close\r\n", "until the end")
            .then(Then::Close)
            .keeps(Keeps::Neither)
            .case(),
        whole("9112 6", "HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\n", "")
            .then(Then::Close)
            .keeps(Keeps::Neither)
            .case(),
        // What was broken off never looks whole.
        cut("9112 8", ok("Content-Length: 10\r\n", "part"), Then::Close),
        cut("9112 8", ok("Content-Length: 10\r\n", "part"), Then::Reset),
        cut("9112 8", ok("Content-Length: 10\r\n", ""), Then::Close),
        cut("9112 8", ok("", "part"), Then::Reset),
    ]);
    for body in [
        "",
        "4\r\n",
        "4\r\npart",
        "4\r\npart\r\n",
        "4\r\npart\r\n0",
        "4\r\npart\r\n0\r\n",
        "4\r\npart\r\n0\r\nX-Half: ",
    ] {
        for then in [Then::Close, Then::Reset] {
            cases.push(cut("9112 8", ok("Transfer-Encoding: chunked\r\n", body), then));
        }
    }
    cases
}

fn chunk_lines() -> Vec<Box<dyn Case>> {
    let mut cases = Vec::new();
    for (rows, body) in [
        ("httparse 12", "\r\n0\r\n\r\n"),
        ("httparse 12", "\r\n\r\n"),
        ("httparse 12", ";a=b\r\n0\r\n\r\n"),
        ("httparse 12", ";a=b\r\n\r\n"),
        ("httparse 12", " \r\n\r\n"),
        ("httparse 13, CVE 17", "2;\nxx\r\nok\r\n0\r\n\r\n"),
        ("httparse 13", "2;a=\0\r\nok\r\n0\r\n\r\n"),
        ("httparse 14, CVE 18", "ffffffffffffffff\r\nok"),
        ("httparse 14, CVE 18", "8000000000000000\r\nok"),
        ("CVE 22", "10000000000000002\r\nok\r\n0\r\n\r\n"),
        ("9112 9", "+2\r\nok\r\n0\r\n\r\n"),
        ("9112 9", "0x2\r\nok\r\n0\r\n\r\n"),
        ("9112 9", "2 \r\nok\r\n0\r\n\r\n"),
        ("9112 9, CVE 17", "2\nok\r\n0\r\n\r\n"),
        ("9112 9, CVE 17", "2\r\nok\n0\r\n\r\n"),
        ("9112 9, CVE 17", "2\r\nokXX0\r\n\r\n"),
        ("9112 9, CVE 17", "2\r\nok\r\n0\n\r\n"),
        ("9112 9, CVE 17", "2\r\nok\r\n0\r\n\n"),
        ("9112 10", "2\r\nok\r\n0\r\nX-T : 1\r\n\r\n"),
        ("9112 10", "2\r\nok\r\n0\r\nX-T: \0\r\n\r\n"),
        ("9112 10", "2\r\nok\r\n0\r\nHTTP/1.1 200 OK\r\n\r\n"),
    ] {
        cases.push(cut(rows, ok("Transfer-Encoding: chunked\r\n", body), Then::Stay));
    }
    let flood = format!("1;a={}\r\nx\r\n", "b".repeat(3000)).repeat(6);
    let trailer = format!("0\r\nX-T: {}\r\n\r\n", "t".repeat(8192));
    cases.extend([
        cut("9112 9, CVE 25", ok("Transfer-Encoding: chunked\r\n", &flood), Then::Stay),
        cut("9112 10", ok("Transfer-Encoding: chunked\r\n", &trailer), Then::Stay),
        whole(
            "9112 9",
            ok("Transfer-Encoding: chunked\r\n", "02;a=\"b\"\r\nok\r\n0 ;c\r\n\r\n"),
            CHUNKED,
            "ok",
        )
        .case(),
        whole(
            "9112 10",
            ok(
                "Transfer-Encoding: chunked\r\n",
                "2\r\nok\r\n0\r\nX-T: 1\r\nContent-Length: 9\r\nSet-Cookie: x\r\nConnection: close\r\nWWW-Authenticate: x\r\n\r\n",
            ),
            CHUNKED,
            "ok",
        )
        .trailers(&[("X-T", "1")])
        .case(),
        whole(
            "9112 35",
            [ok("Transfer-Encoding: chunked\r\n", "").as_slice(), &chunked(b"hello, old world", 3, &["X-T: 1"])].concat(),
            "HTTP/1.1 200 OK\r\nConnection: close\r\n",
            "hello, old world",
        )
        .to(OLD)
        .keeps(Keeps::Backend)
        .case(),
    ]);
    cases
}

fn without_body() -> Vec<Box<dyn Case>> {
    let head_204 = "HTTP/1.1 204 No Content\r\nETag: x\r\n";
    let head_304 = "HTTP/1.1 304 Not Modified\r\nETag: x\r\n";
    let mut cases = vec![
        whole("9112 7", ok("Content-Length: 1000\r\n", ""), "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n", "")
            .to(HEAD)
            .case(),
        whole("9112 7", ok("Transfer-Encoding: chunked\r\n", ""), "HTTP/1.1 200 OK\r\n", "").to(HEAD).case(),
        whole("9112 7", ok("", ""), "HTTP/1.1 200 OK\r\n", "").to(HEAD).case(),
        whole("9112 7", ok("Content-Length: 2\r\n", "ok"), OK_2, "").to(HEAD).keeps(Keeps::Client).case(),
        whole("9112 7", format!("{head_304}Content-Length: 9\r\n\r\n"), format!("{head_304}Content-Length: 9\r\n"), "")
            .case(),
        whole("9112 7", format!("{head_304}Transfer-Encoding: chunked\r\n\r\n"), head_304, "").case(),
    ];
    for lines in [
        "",
        "Content-Length: 2\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Content-Length: 2\r\nTransfer-Encoding: gzip\r\n",
    ] {
        cases.push(whole("9112 7, 9112 35", format!("{head_204}{lines}\r\n"), head_204, "").case());
    }
    cases
}

fn interim() -> Vec<Box<dyn Case>> {
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n";
    vec![
        whole(
            "9112 28, 9112 23, CVE 25",
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: x\r\nTE: x\r\nUpgrade: x\r\n\
             Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
             HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            OK_2,
            "ok",
        )
        .interim(&[hint, "HTTP/1.1 102 Processing\r\n"])
        .case(),
        whole(
            "9112 28",
            [hint, "\r\n"].concat().repeat(64) + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            OK_2,
            "ok",
        )
        .interim(&[hint; 64])
        .case(),
        whole("9112 28", [hint, "\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"].concat(), [OK_2, "Connection: close\r\n"].concat(), "ok")
            .to(OLD)
            .keeps(Keeps::Backend)
            .case(),
        // Nobody asked for it.
        bad("9112 27", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
        bad_to(
            "GET /case HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
            "9112 27",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        ),
    ]
}

/// Bytes behind an answer are nobody's.
fn beyond() -> Vec<Box<dyn Case>> {
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    vec![
        whole("9112 32", ok("Content-Length: 2\r\n", &format!("ok{evil}")), OK_2, "ok").keeps(Keeps::Client).case(),
        whole("9112 32", ok("Content-Length: 2\r\n", "ok!"), OK_2, "ok").keeps(Keeps::Client).case(),
        whole("9112 32", ok("Transfer-Encoding: chunked\r\n", &format!("2\r\nok\r\n0\r\n\r\n{evil}")), CHUNKED, "ok")
            .keeps(Keeps::Client)
            .case(),
        whole("9112 7, 9112 32", format!("HTTP/1.1 204 No Content\r\n\r\n{evil}"), "HTTP/1.1 204 No Content\r\n", "")
            .keeps(Keeps::Client)
            .case(),
        whole(
            "9112 7, 9112 32",
            format!("HTTP/1.1 304 Not Modified\r\n\r\n{evil}"),
            "HTTP/1.1 304 Not Modified\r\n",
            "",
        )
        .keeps(Keeps::Client)
        .case(),
        whole("9112 7, 9112 32", ok("Content-Length: 45\r\n", evil), "HTTP/1.1 200 OK\r\nContent-Length: 45\r\n", "")
            .to(HEAD)
            .keeps(Keeps::Client)
            .case(),
        whole("9112 32", ok("Content-Length: 0\r\n", "\r\n"), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", "")
            .keeps(Keeps::Client)
            .case(),
    ]
}

#[test]
fn every_answer_is_passed_on_or_replaced_as_it_should() {
    lanes::run(&cases());
}
