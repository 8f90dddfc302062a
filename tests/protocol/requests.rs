//! Requests that are malformed, ambiguous or only odd: what becomes of each.

use crate::lanes::{self, Case, Lane, Way};
use crate::support::{BodyEnd, Client, Request, shown};

/// A request, or several, on one connection.
pub struct Sent {
    rows: &'static str,
    bytes: Vec<u8>,
    due: Due,
    /// To the listener that has no pool.
    bare: bool,
}

enum Due {
    /// The router answers and closes; no backend hears a byte.
    Refused(u16),
    /// The head may be on its way already: the same, and no backend hears an end.
    Broken(u16),
    /// The router answers; it closes, unless it has used up the body first. No backend hears a byte.
    Own(u16),
    /// Each is answered in turn.
    Served { answers: Vec<Answer>, closes: bool },
}

/// Whose answer is next.
pub enum Answer {
    /// The backend's, to a request that it saw like this.
    To(Sees),
    /// The router's own.
    Own(u16),
}

/// A request as the backend is to see it.
pub struct Sees {
    line: &'static str,
    host: &'static str,
    fields: Vec<u8>,
    body: Body,
    expects: bool,
    via: &'static str,
}

enum Body {
    None,
    Length(Vec<u8>),
    Chunked(&'static [u8], &'static [(&'static str, &'static str)]),
}

pub fn refused(rows: &'static str, status: u16, bytes: impl AsRef<[u8]>) -> Box<dyn Case> {
    Box::new(Sent { rows, bytes: bytes.as_ref().to_vec(), due: Due::Refused(status), bare: false })
}

pub fn broken(rows: &'static str, status: u16, bytes: impl AsRef<[u8]>) -> Box<dyn Case> {
    Box::new(Sent { rows, bytes: bytes.as_ref().to_vec(), due: Due::Broken(status), bare: false })
}

pub fn own(rows: &'static str, bytes: impl AsRef<[u8]>, status: u16) -> Box<dyn Case> {
    Box::new(Sent { rows, bytes: bytes.as_ref().to_vec(), due: Due::Own(status), bare: false })
}

/// One request, passed on, and the session stays.
pub fn passes(rows: &'static str, bytes: impl AsRef<[u8]>, sees: Sees) -> Box<dyn Case> {
    served(rows, bytes, vec![Answer::To(sees)], false)
}

pub fn served(rows: &'static str, bytes: impl AsRef<[u8]>, answers: Vec<Answer>, closes: bool) -> Box<dyn Case> {
    Box::new(Sent { rows, bytes: bytes.as_ref().to_vec(), due: Due::Served { answers, closes }, bare: false })
}

/// On the listener without a pool.
pub fn bare(rows: &'static str, bytes: impl AsRef<[u8]>, status: u16, closes: bool) -> Box<dyn Case> {
    let due = Due::Served { answers: vec![Answer::Own(status)], closes };
    Box::new(Sent { rows, bytes: bytes.as_ref().to_vec(), due, bare: true })
}

/// Of host `a`, without fields and body, from HTTP/1.1.
pub fn sees(line: &'static str) -> Sees {
    Sees { line, host: "a", fields: Vec::new(), body: Body::None, expects: false, via: "1.1" }
}

impl Sees {
    pub fn host(self, host: &'static str) -> Self {
        Self { host, ..self }
    }

    /// End-to-end fields in order, each with its CRLF.
    pub fn fields(self, fields: impl AsRef<[u8]>) -> Self {
        Self { fields: fields.as_ref().to_vec(), ..self }
    }

    pub fn length(self, body: impl AsRef<[u8]>) -> Self {
        Self { body: Body::Length(body.as_ref().to_vec()), ..self }
    }

    pub fn chunked(self, body: &'static [u8]) -> Self {
        self.trailers(body, &[])
    }

    pub fn trailers(self, body: &'static [u8], trailers: &'static [(&'static str, &'static str)]) -> Self {
        Self { body: Body::Chunked(body, trailers), ..self }
    }

    /// With Expect: 100-continue.
    pub fn expecting(self) -> Self {
        Self { expects: true, ..self }
    }

    pub fn of_1_0(self) -> Self {
        Self { via: "1.0", ..self }
    }

    fn body_len(&self) -> usize {
        match &self.body {
            Body::None => 0,
            Body::Length(body) => body.len(),
            Body::Chunked(body, _) => body.len(),
        }
    }

    fn head(&self) -> Vec<u8> {
        let framing = match &self.body {
            Body::None => String::new(),
            Body::Length(body) => format!("Content-Length: {}\r\n", body.len()),
            Body::Chunked(..) => "Transfer-Encoding: chunked\r\n".to_owned(),
        };
        let start = format!("{} HTTP/1.1\r\nHost: {}\r\n", self.line, self.host);
        let ours = format!(
            "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: {}\r\nX-Real-IP: 127.0.0.1\r\n\
             Via: {} layer7router-????????\r\nX-Request-Id: ?\r\n\r\n",
            self.host, self.via
        );
        let expect = if self.expects { "Expect: 100-continue\r\n" } else { "" };
        [start.as_bytes(), &self.fields, framing.as_bytes(), expect.as_bytes(), ours.as_bytes()].concat()
    }

    #[track_caller]
    fn assert_is(&self, got: &Request) {
        let (due, head) = (self.head(), without_chance(&got.raw_head));
        assert_eq!(head.escape_ascii().to_string(), due.escape_ascii().to_string(), "the head that the backend saw");
        let empty: &[(&str, &str)] = &[];
        let (end, body, trailers) = match &self.body {
            Body::None => (BodyEnd::NoBody, &b""[..], empty),
            Body::Length(body) => (BodyEnd::Length(body.len() as u64), &**body, empty),
            Body::Chunked(body, trailers) => (BodyEnd::Chunked, *body, *trailers),
        };
        assert_eq!(got.end, end);
        assert_eq!(
            got.body.escape_ascii().to_string(),
            body.escape_ascii().to_string(),
            "the body that the backend saw"
        );
        let seen: Vec<(&str, &str)> = got.trailers.0.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(seen, trailers, "the trailers that the backend saw");
    }
}

/// The router's token and the ids that it made are left out.
pub fn without_chance(head: &[u8]) -> Vec<u8> {
    let mut shown = Vec::new();
    for line in head.split_inclusive(|&b| b == b'\n') {
        let id = line.strip_prefix(b"X-Request-Id: ").and_then(|rest| rest.strip_suffix(b"\r\n"));
        if id.is_some_and(|id| id.len() == 32 && id.iter().all(u8::is_ascii_hexdigit)) {
            shown.extend_from_slice(b"X-Request-Id: ?\r\n");
        } else if let Some(at) = line.windows(13).position(|w| w == b"layer7router-") {
            let token = &line[at + 13..];
            assert!(token.len() == 10 && token[..8].iter().all(u8::is_ascii_hexdigit), "Via: {}", token.escape_ascii());
            shown.extend_from_slice(&line[..at + 13]);
            shown.extend_from_slice(b"????????\r\n");
        } else {
            shown.extend_from_slice(line);
        }
    }
    shown
}

impl Case for Sent {
    fn rows(&self) -> &'static str {
        self.rows
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn run(&self, lane: &Lane<'_>, way: Way) {
        let mark = lane.backend.mark();
        let mut client = if self.bare { Client::connect(&lane.bare) } else { lane.client() };
        way.send(&mut client, &self.bytes);
        match &self.due {
            Due::Refused(status) | Due::Broken(status) => {
                let response = client.read_response();
                assert_eq!((response.status, response.says_close()), (*status, true), "{}", response.text());
                assert_eq!(response.fields.has("Allow"), *status == 405);
                lane.expect_fin(&mut client);
            }
            Due::Own(status) => {
                let response = client.read_response();
                assert_eq!(response.status, *status, "{}", response.text());
                if response.says_close() {
                    lane.expect_fin(&mut client);
                } else {
                    lane.next_on(&mut client);
                }
            }
            Due::Served { answers, closes } => {
                read_answers(&mut client, answers, *closes);
                if *closes && way == Way::Slow {
                    // A client that goes on after its last request may hear a RST behind the answer.
                    client.expect_closed();
                } else if *closes {
                    lane.expect_fin(&mut client);
                } else if !self.bare {
                    lane.next_on(&mut client);
                }
            }
        }
        let fresh = &mut lane.client();
        lane.next_on(fresh);
        let due: Vec<&Sees> = match &self.due {
            Due::Served { answers, .. } => answers.iter().filter_map(Answer::sees).collect(),
            _ => Vec::new(),
        };
        let heard = lane.heard(mark);
        let lines: Vec<String> = heard.iter().map(|(_, request)| request.line()).collect();
        assert_eq!(heard.len(), due.len(), "the requests that the backend saw: {lines:?}");
        for ((_, request), sees) in heard.iter().zip(due) {
            sees.assert_is(request);
        }
        if matches!(self.due, Due::Broken(_)) {
            // A part may have come: no more than the beginning of a well-formed request, and its connection is closed.
            let connections = lane.backend.connections();
            for (number, _) in connections.iter().enumerate().filter(|(_, c)| !c.tail.is_empty()) {
                lane.backend.wait_ended(number);
            }
        } else {
            let connections = lane.backend.connections();
            let (old, new) = connections.split_at(mark.1);
            let part = old.iter().filter(|c| !c.ended).chain(new).find(|c| !c.tail.is_empty());
            assert!(part.is_none(), "the backend heard a part: {}", shown(&part.expect("found").tail));
        }
    }
}

#[track_caller]
fn read_answers(client: &mut Client, answers: &[Answer], closes: bool) {
    for (number, answer) in answers.iter().enumerate() {
        let method = answer.sees().map_or("GET", |sees| sees.line.split(' ').next().unwrap_or_default());
        let response = client.read_response_to(method);
        let last = number + 1 == answers.len();
        assert_eq!(response.says_close(), last && closes, "whether answer {number} says close");
        match answer {
            Answer::Own(status) => assert_eq!(response.status, *status, "{}", response.text()),
            Answer::To(sees) => {
                let due = if method == "HEAD" { String::new() } else { format!("{} {}", sees.line, sees.body_len()) };
                assert_eq!((response.status, response.text()), (200, due), "answer {number}");
            }
        }
    }
}

impl Answer {
    fn sees(&self) -> Option<&Sees> {
        match self {
            Self::To(sees) => Some(sees),
            Self::Own(_) => None,
        }
    }
}

/// A GET of `/` whose head has these lines besides its Host.
fn get(lines: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes()
}

/// A POST of `/` with these lines and this body.
pub fn post(lines: &str, body: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n{body}").into_bytes()
}

/// A POST of `/` in chunks.
pub fn chunks(body: &str) -> Vec<u8> {
    post("Transfer-Encoding: chunked\r\n", body)
}

const OK_CHUNKS: &str = "5\r\nhello\r\n0\r\n\r\n";

pub fn cases() -> Vec<Box<dyn Case>> {
    [lines(), hosts_and_targets(), fields(), framing(), chunk_lines(), persistence()].into_iter().flatten().collect()
}

fn lines() -> Vec<Box<dyn Case>> {
    let mut cases = vec![
        // Line ends.
        refused("httparse 1, 9112 14", 400, b"GET / HTTP/1.1\nHost: a\n\n"),
        refused("httparse 1, 9112 14", 400, b"GET / HTTP/1.1\r\nHost: a\n\r\n"),
        refused("httparse 1, 9112 14", 400, b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
        refused("httparse 1, 9112 14", 400, b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\n\r\n"),
        refused("httparse 1, 9112 14", 400, b"GET / HTTP/1.1\r\nHost: a\n\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused("httparse 1, 9112 14", 400, b"GET / HTTP/1.1\r\nHost: a\r\n\nX-A: b\r\n\r\n"),
        // Empty lines before a request.
        passes("httparse 2, 9112 16", b"\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\n", sees("GET /1")),
        passes("httparse 2, 9112 16", b"\r\n\r\n\r\n\r\nGET /4 HTTP/1.1\r\nHost: a\r\n\r\n", sees("GET /4")),
        refused("httparse 2", 400, [b"\r\n".repeat(5).as_slice(), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"].concat()),
        refused("httparse 2", 400, b"\r\n".repeat(1000)),
        refused("httparse 2, 9112 14", 400, b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused("httparse 2, 9112 13", 400, b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        // The request line.
        refused("httparse 6, 9112 20", 400, b"GET /\r\nHost: a\r\n\r\n"),
        refused("httparse 6, 9112 20", 400, b"GET\r\nHost: a\r\n\r\n"),
        refused("httparse 6, 9112 20, CVE 28", 400, b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused("httparse 6, 9112 20, CVE 28", 400, b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused("httparse 6, 9112 20, CVE 28", 400, b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
        refused("httparse 6, 9112 20, CVE 28", 400, b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused("httparse 6, 9112 20, CVE 28", 400, b"GET /\tHTTP/1.1\r\nHost: a\r\n\r\n"),
        refused("httparse 6, 9112 20, CVE 28", 400, b"GET / \x0bHTTP/1.1\r\nHost: a\r\n\r\n"),
        refused("9112 20, CVE 28", 400, b" GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused("9112 20", 400, b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused("9112 20", 400, b"GET / HTTP/1.1 X\r\nHost: a\r\n\r\n"),
        refused("9112 20", 400, b"GET /a /b HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused("9112 20", 400, b"\x16\x03\x01\x02\x00\x01"),
        refused("9112 13, 9112 20", 400, b"GET /\rx HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused("9112 13, 9112 20, CVE 10", 400, b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
        passes("9112 20", b"get / HTTP/1.1\r\nHost: a\r\n\r\n", sees("get /")),
        passes("9112 20", b"M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n", sees("M-SEARCH /")),
    ];
    let versions = [
        ("HTTP/2.0", 505),
        ("HTTP/3.1", 505),
        ("HTTP/1.2", 505),
        ("HTTP/1.10", 400),
        ("HTTP/01.1", 400),
        ("HTTP/1.01", 400),
        ("HTTP/1", 400),
        ("HTTP/1.", 400),
        ("HTTP/0.9", 400),
        ("http/1.1", 400),
        ("HTTPS/1.1", 400),
        ("HTTP /1.1", 400),
        ("HTTP/1.1\t", 400),
    ];
    for (version, status) in versions {
        let bytes = format!("GET / {version}\r\nHost: a\r\n\r\n").into_bytes();
        cases.push(refused("httparse 6, 9112 22", status, bytes));
    }
    cases.extend([
        passes("9112 22", b"GET /old HTTP/1.1\r\nHost: a\r\n\r\n", sees("GET /old")),
        served(
            "9112 22, 9112 30",
            b"GET /old HTTP/1.0\r\nHost: a\r\n\r\n",
            vec![Answer::To(sees("GET /old").of_1_0())],
            true,
        ),
    ]);
    cases
}

fn hosts_and_targets() -> Vec<Box<dyn Case>> {
    let mut cases = vec![
        refused("httparse 3, 9112 17", 400, b"GET / HTTP/1.1\r\n\r\n"),
        refused("httparse 3, 9112 17", 400, b"GET http://a/ HTTP/1.1\r\n\r\n"),
        refused("httparse 3, 9112 17", 400, get("Host: a\r\n")),
        refused("httparse 3, 9112 17", 400, get("Host: b\r\n")),
        refused("9112 18", 400, b"GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n"),
        refused("9112 18", 400, b"GET http://a/ HTTP/1.1\r\nHost: a:80\r\n\r\n"),
        refused("9112 18", 400, b"GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        passes("9112 18", b"GET http://a/x?y HTTP/1.1\r\nHost: a\r\n\r\n", sees("GET /x?y")),
        passes("9112 18", b"GET HTTPS://A/x HTTP/1.1\r\nHost: a\r\n\r\n", sees("GET /x")),
        refused("9112 19", 405, b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
        refused("9112 19", 405, b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused("9112 19", 400, b"GET a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
        refused("9112 19", 400, b"GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused("9112 19", 400, b"OPTIONS *x HTTP/1.1\r\nHost: a\r\n\r\n"),
        passes("9112 19", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", sees("OPTIONS *")),
    ];
    for host in [
        "", "a b", "a/b", "a@b", "a?b", "a#b", "a\\b", "a,b", "a, a", "http://a", "[::1", "::1", "[::1]x", "[a]", "a:",
        "a:99999", "a:+80", "a:8o", "a:80:80", "a\"b", "<a>", "%zz", "a\tb",
    ] {
        let bytes = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes();
        cases.push(refused("9112 17", 400, bytes));
    }
    for host in ["a:80", "[::1]:80", "A.Example", "xn--bcher-kva.example", "127.0.0.1", "a_b", "%41"] {
        let bytes = format!("GET / HTTP/1.1\r\nHost:\t {host} \r\n\r\n").into_bytes();
        cases.push(passes("9112 17", bytes, sees("GET /").host(host)));
    }
    for target in [
        "t",
        "@x",
        "http://a@a/",
        "http://a:b@a/",
        "http://",
        "http:///",
        "ftp://a/",
        "#",
        "/#",
        "/a#b",
        "/?#",
        "?",
        "a/",
        "/\\",
        "/a/../b",
        "/..",
        "/./",
        "/%2e%2e/",
        "/.%2E",
        "/%00",
        "/a%00b",
        "http://a#b",
        "http://a b/",
        "*?",
    ] {
        let rows = if target.contains('#') { "httparse 4, CVE 4" } else { "httparse 4" };
        cases.push(refused(rows, 400, format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()));
    }
    for target in [&b"/\xff"[..], b"/\xc3\xa9", b"/\x80?", b"/?\xfe", b"/\x7f", b"/\x01", b"/a\x0bb", b"/a\x0cb"] {
        let bytes = [b"GET ", target, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        cases.push(refused("httparse 5, 9112 20", 400, bytes));
    }
    for line in [
        "GET //x",
        "GET /a;b=c",
        "GET /~!$&'()*+,;=:@-._",
        "GET /?a=\\&b=|^{}[]<>\"`",
        "GET /..a",
        "GET /...",
        "GET /%41%20",
    ] {
        cases.push(passes("httparse 4", format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes(), sees(line)));
    }
    let target = format!("/{}", "x".repeat(7999 - "GET  HTTP/1.1".len()));
    let line: &'static str = format!("GET {target}").leak();
    cases.push(passes("9112 21", format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes(), sees(line)));
    cases.push(refused("9112 21", 414, format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(8192)).into_bytes()));
    cases.push(refused("9112 21", 414, format!("GET /{}", "x".repeat(9000)).into_bytes()));
    cases
}

fn fields() -> Vec<Box<dyn Case>> {
    let mut cases = vec![
        refused("httparse 7, 9112 11", 400, get("X-A : b\r\n")),
        refused("httparse 7, 9112 11", 400, get("X-A\t: b\r\n")),
        refused("9112 11", 400, get("X A: b\r\n")),
        refused("httparse 7, 9112 12", 400, get("X-A: b\r\n c\r\n")),
        refused("httparse 7, 9112 12", 400, get("X-A: b\r\n\tc\r\n")),
        refused("9112 12", 400, get("X-A: b\r\n \r\n")),
        refused("9112 12", 400, get("Transfer-Encoding:\r\n chunked\r\n")),
        refused("httparse 7, 9112 13", 400, get("X-A: b\rc\r\n")),
        refused("9112 13", 400, get("X-A: b\r\r\n")),
        refused("9112 13", 400, get("X-A: b\rTransfer-Encoding: chunked\r\n")),
        refused("9112 13, CVE 10", 400, get("X-A: \0\r\n")),
        refused("9112 13, CVE 10", 400, get("X-A: a\0b\r\n")),
        refused("httparse 7, 9112 15", 400, b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
        refused("9112 15", 400, b"GET / HTTP/1.1\r\n\tX-A: b\r\nHost: a\r\n\r\n"),
        refused("9112 15", 400, b"GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n"),
        refused("httparse 7", 400, get(": b\r\n")),
        refused("httparse 7", 400, get("X-A\r\n")),
        refused("httparse 7", 400, get("X\x7f: b\r\n")),
        refused("httparse 7", 400, get("X-A: b\x7f\r\n")),
        refused("httparse 7", 400, get("X-A: \x01\r\n")),
        refused("httparse 7", 400, get("X-A: \x0b\r\n")),
        refused("httparse 7", 400, get("X-A: \x1f\r\n")),
        refused("httparse 7", 400, get("X(A): b\r\n")),
        refused("httparse 7", 400, get("X-\u{e9}: b\r\n")),
        refused("httparse 7", 400, get("\"X\": b\r\n")),
        passes(
            "httparse 8",
            b"GET / HTTP/1.1\r\nHost: a\r\nX-A: \x80\xff \xc3\xa9\t\x7e\r\n\r\n",
            sees("GET /").fields(b"X-A: \x80\xff \xc3\xa9\t\x7e\r\n"),
        ),
        passes("httparse 7", get("X-A:\r\nX-B:b\r\nX-C: \t c \t \r\n"), {
            sees("GET /").fields(b"X-A: \r\nX-B: b\r\nX-C: c\r\n")
        }),
        passes(
            "9112 34",
            get("Cookie: a=1\r\nX-A: 1\r\nX-B: 2\r\nx-a: 3\r\nX-A: 4, 5\r\nCookie: b=2\r\n"),
            sees("GET /").fields(b"Cookie: a=1\r\nX-A: 1\r\nX-B: 2\r\nx-a: 3\r\nX-A: 4, 5\r\nCookie: b=2\r\n"),
        ),
        refused("httparse 9, 9112 21", 431, get(&"X-A: b\r\n".repeat(100))),
        refused("httparse 9, 9112 21", 431, get(&"X-A: b\r\n".repeat(300))),
        refused("9112 21", 431, get(&format!("X-A: {}\r\n", "b".repeat(33_000)))),
        passes("9112 21", get(&"X-A: b\r\n".repeat(99)), sees("GET /").fields(b"X-A: b\r\n".repeat(99))),
    ];
    let long = format!("X-A: {}\r\n", "b".repeat(30_000));
    cases.push(passes("httparse 15, 9112 21", get(&long), sees("GET /").fields(long.into_bytes())));
    cases
}

fn framing() -> Vec<Box<dyn Case>> {
    let mut cases = vec![
        passes("9112 6", get(""), sees("GET /")),
        passes("9112 6", post("", ""), sees("POST /")),
        passes("9112 5", post("Content-Length: 0\r\n", ""), sees("POST /").length(b"")),
        passes("9112 5", post("Content-Length: 005\r\n", "hello"), sees("POST /").length(b"hello")),
        passes("9112 5", post("content-LENGTH:5\r\n", "hello"), sees("POST /").length(b"hello")),
        passes("9112 3", post("Transfer-Encoding:\t CHUNKED \r\n", OK_CHUNKS), sees("POST /").chunked(b"hello")),
        refused(
            "9112 1, httparse 3, CVE 30",
            400,
            post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", OK_CHUNKS),
        ),
        refused("9112 1, httparse 3", 400, post("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", OK_CHUNKS)),
        refused(
            "9112 1",
            400,
            post("Transfer-Encoding: chunked\r\nContent-Length: 0\r\nContent-Length: 5\r\n", OK_CHUNKS),
        ),
        refused("9112 1", 501, post("Content-Length: 5\r\nTransfer-Encoding: identity\r\n", "hello")),
        refused("9112 5, httparse 3", 400, post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello")),
        refused("9112 5, httparse 3", 400, post("Content-Length: 5\r\nContent-Length: 0\r\n", "hello")),
        refused("9112 4", 400, b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        refused(
            "9112 4",
            400,
            b"POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
    ];
    for length in [
        "",
        "+5",
        "-5",
        "0x5",
        "5 5",
        "5,5",
        "5, 5",
        "5;5",
        "\"5\"",
        "5.0",
        "1e1",
        "\x0c5",
        "9223372036854775808",
        "18446744073709551616",
        "99999999999999999999999999",
        "five",
        "\u{b2}",
    ] {
        cases.push(refused("9112 5", 400, post(&format!("Content-Length: {length}\r\n"), "hello")));
    }
    for (status, coding) in [
        (400, "chunked, chunked"),
        (400, "chunked, gzip"),
        (400, "chunked, identity"),
        (400, "chunked,"),
        (400, ",chunked"),
        (400, ""),
        (400, "chunked;q=1"),
        (400, "chunked; "),
        (400, "\"chunked\""),
        (400, "chun ked"),
        (400, "\u{212a}chunked"),
        (501, "gzip, chunked"),
        (501, "gzip"),
        (501, "identity"),
        (501, "xchunked"),
        (501, "chunkedx"),
        (501, "gzip;q=1, chunked"),
    ] {
        let rows = if status == 501 { "9112 3" } else { "9112 2" };
        cases.push(refused(rows, status, post(&format!("Transfer-Encoding: {coding}\r\n"), OK_CHUNKS)));
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
        ("httparse 13, CVE 17", "5;\nxx\r\nhello\r\n0\r\n\r\n"),
        ("httparse 13", "5;a=\0\r\nhello\r\n0\r\n\r\n"),
        ("httparse 13", "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n"),
        ("httparse 13", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
        ("httparse 13", "5;a=\"b\r\nhello\r\n0\r\n\r\n"),
        ("httparse 14, CVE 18", "ffffffffffffffff\r\nhello"),
        ("httparse 14, CVE 18", "8000000000000000\r\nhello"),
        ("CVE 22", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("CVE 22", "fffffffffffffffff5\r\nhello\r\n0\r\n\r\n"),
        ("9112 9", "g\r\n0\r\n\r\n"),
        ("9112 9", "+5\r\nhello\r\n0\r\n\r\n"),
        ("9112 9", "-5\r\nhello\r\n0\r\n\r\n"),
        ("9112 9", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("9112 9", " 5\r\nhello\r\n0\r\n\r\n"),
        ("9112 9", "5 \r\nhello\r\n0\r\n\r\n"),
        ("9112 9", "5 5\r\nhello\r\n0\r\n\r\n"),
        ("9112 9", "5\rhello\r\n0\r\n\r\n"),
        ("9112 9, CVE 17", "5\nhello\r\n0\r\n\r\n"),
        ("9112 9, CVE 17", "5\r\nhello\n0\r\n\r\n"),
        ("9112 9, CVE 17", "5\r\nhelloXX0\r\n\r\n"),
        ("9112 9, CVE 17", "5\r\nhello0\r\n\r\n"),
        ("9112 9, CVE 17", "5\r\nhello!\r\n0\r\n\r\n"),
        ("9112 9, CVE 17", "5\r\nhello\r\n0\n\r\n"),
        ("9112 9, CVE 17", "5\r\nhello\r\n0\r\n\n"),
        ("9112 9, CVE 17", "5\r\nhello\r\n0\r\n\rX\n\r\n"),
        ("9112 9, CVE 17", "5;\r\nhello\r\n0\r\n\r\n"),
        ("9112 9", "5 a=b\r\nhello\r\n0\r\n\r\n"),
        ("9112 9", "5;a=b c\r\nhello\r\n0\r\n\r\n"),
        ("9112 10", "0\r\nX-T\r\n\r\n"),
        ("9112 10", "0\r\nX-T : 1\r\n\r\n"),
        ("9112 10", "0\r\n: 1\r\n\r\n"),
        ("9112 10", "0\r\nX-T: 1\nX-U: 2\r\n\r\n"),
        ("9112 10", "0\r\nX-T: 1\r\n fold\r\n\r\n"),
        ("9112 10", "0\r\nX-T: \0\r\n\r\n"),
        ("9112 10", "0\r\nGET /smuggled HTTP/1.1\r\n\r\n"),
    ] {
        cases.push(broken(rows, 400, chunks(body)));
    }
    cases.extend([
        broken("9112 9", 400, chunks(&format!("5;a={}\r\nhello\r\n0\r\n\r\n", "b".repeat(4096)))),
        broken("9112 9, CVE 25", 400, chunks(&format!("1;a={}\r\nx\r\n", "b".repeat(3000)).repeat(6))),
        broken("9112 9", 400, chunks(&format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(4096)))),
        broken("9112 10", 400, chunks(&format!("0\r\nX-T: {}\r\n\r\n", "t".repeat(8192)))),
        passes("9112 9", chunks(OK_CHUNKS), sees("POST /").chunked(b"hello")),
        passes(
            "9112 9, httparse 13",
            chunks("05;a=b;c=\"d;\\\"e\" ; f\r\nhello\r\n1 ;x\r\n!\r\n00;y\r\n\r\n"),
            sees("POST /").chunked(b"hello!"),
        ),
        passes("9112 9", chunks("A\r\n0123456789\r\n0\r\n\r\n"), sees("POST /").chunked(b"0123456789")),
        passes("9112 9", chunks("0\r\n\r\n"), sees("POST /").chunked(b"")),
        passes(
            "9112 9",
            b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            sees("GET /").chunked(b"hi"),
        ),
        passes(
            "9112 10",
            chunks("2\r\nhi\r\n0\r\nX-T: 1\r\nX-t:2 \r\n\r\n"),
            sees("POST /").trailers(b"hi", &[("X-T", "1"), ("X-t", "2")]),
        ),
        passes(
            "9112 10",
            chunks(
                "2\r\nhi\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\nHost: evil\r\nX-Forwarded-For: 1.1.1.1\r\n\
                 Forwarded: for=x\r\nX-Real-IP: 1.1.1.1\r\nAuthorization: x\r\nCookie: x\r\nTrailer: x\r\nConnection: X-T\r\n\
                 Expect: 100-continue\r\nVia: x\r\nX-Request-Id: x\r\ncontent_length: 9\r\nUpgrade: x\r\nTE: x\r\n\
                 Content-Type: x\r\nMax-Forwards: 1\r\nX-Good: 1\r\n\r\n",
            ),
            sees("POST /").trailers(b"hi", &[("X-Good", "1")]),
        ),
    ]);
    cases
}

fn persistence() -> Vec<Box<dyn Case>> {
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    vec![
        served("9112 30", get("Connection: close\r\n"), vec![Answer::To(sees("GET /"))], true),
        served(
            "9112 30",
            [get("Connection: close\r\n").as_slice(), smuggled.as_bytes()].concat(),
            vec![Answer::To(sees("GET /"))],
            true,
        ),
        served("9112 30", get("Connection: keep-alive, CLOSE\r\n"), vec![Answer::To(sees("GET /"))], true),
        served(
            "9112 30",
            b"GET / HTTP/1.0\r\nHost: a\r\n\r\nGET /smuggled HTTP/1.0\r\nHost: a\r\n\r\n",
            vec![Answer::To(sees("GET /").of_1_0())],
            true,
        ),
        served(
            "9112 30, 9112 31",
            b"GET /1 HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\nGET /2 HTTP/1.0\r\nHost: a\r\n\r\n",
            vec![Answer::To(sees("GET /1").of_1_0()), Answer::To(sees("GET /2").of_1_0())],
            true,
        ),
        refused("9112 30, CVE 12", 400, [b"GET / HTTP/1.1\r\n\r\n".as_slice(), smuggled.as_bytes()].concat()),
        served(
            "9112 31",
            [
                get("").as_slice(),
                &post("Content-Length: 5\r\n", "GET /"),
                &chunks(OK_CHUNKS),
                b"HEAD /h HTTP/1.1\r\nHost: a\r\n\r\n\r\n",
                &get("X-A: b\r\n"),
            ]
            .concat(),
            vec![
                Answer::To(sees("GET /")),
                Answer::To(sees("POST /").length(b"GET /")),
                Answer::To(sees("POST /").chunked(b"hello")),
                Answer::To(sees("HEAD /h")),
                Answer::To(sees("GET /").fields(b"X-A: b\r\n")),
            ],
            false,
        ),
        // The first of two is answered before the second is refused.
        served("9112 26", b"OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n", vec![Answer::Own(204)], false),
        served("9112 26", b"TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n", vec![Answer::Own(204)], false),
        passes(
            "9112 26",
            b"TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 10\r\n\r\n",
            sees("TRACE /").fields(b"Max-Forwards: 9\r\n"),
        ),
        passes("9112 26", get("Max-Forwards: 0\r\n"), sees("GET /").fields(b"Max-Forwards: 0\r\n")),
        refused("9112 29", 417, post("Expect: magic\r\nContent-Length: 5\r\n", "hello")),
        served(
            "9112 29",
            b"POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
            vec![Answer::To(sees("POST /").length(b"hello").of_1_0())],
            true,
        ),
    ]
}

#[test]
fn every_request_is_refused_or_passed_on_as_it_should() {
    lanes::run(&cases());
}
