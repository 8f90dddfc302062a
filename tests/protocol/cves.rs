//! What past vulnerabilities of proxies teach: each lesson as requests that would repeat it. Some have their cases among
//! the requirements, where the row names both.

use crate::lanes::{self, Case};
use crate::requests::{Answer, bare, broken, chunks, own, passes, post, refused, sees, served};

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

fn get(lines: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes()
}

pub fn cases() -> Vec<Box<dyn Case>> {
    let mut cases = lines_and_names();
    cases.extend(answered_early());
    cases.extend(targets());
    cases.extend(codings());
    cases.extend(upgrades());
    cases
}

fn lines_and_names() -> Vec<Box<dyn Case>> {
    let mut cases = Vec::new();
    // 1: names around the widths that a packed length could have.
    for width in [255, 256, 257, 270, 512, 1024, 4096, 8192] {
        let name = format!("Content-Length{}", "0".repeat(width - 14));
        let lines = format!("{name}: 9\r\nContent-Length: 5\r\n");
        let fields = format!("{name}: 9\r\n");
        cases.push(passes("CVE 1", post(&lines, "hello"), sees("POST /").fields(&fields).length("hello")));
        let value = "v".repeat(width);
        let lines = format!("X-A: {value}\r\nContent-Length: 5\r\n");
        cases.push(passes(
            "CVE 1",
            post(&lines, "hello"),
            sees("POST /").fields(format!("X-A: {value}\r\n")).length("hello"),
        ));
    }
    cases.extend([
        refused("CVE 2", 400, post(": x\r\nContent-Length: 5\r\n", "hello")),
        refused("CVE 2", 400, post("X-A: 1\r\n:\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
        refused("CVE 2", 400, b"POST / HTTP/1.1\r\n: x\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"),
        refused("CVE 3", 400, post("Content-Length:\r\n", "")),
        refused("CVE 3", 400, post("Content-Length: \r\nContent-Length: 5\r\n", "hello")),
        refused("CVE 3", 400, post("Content-Length: 5\r\nContent-Length:\r\n", "hello")),
        refused("CVE 11", 400, post("Content-Length: 0\r\nContent-Length: 5\r\n", "hello")),
        refused("CVE 11", 400, post("Transfer-Encoding: chunked\r\nContent-Length: 30\r\n", "0\r\n\r\n")),
        refused("CVE 11, CVE 12", 400, post("Content-Length: 5\r\nX-A: b\r\ncontent-length: 5\r\n", "hello")),
        refused("CVE 12", 400, format!("GET / HTTP/1.1\r\nHost: a\r\nX A: b\r\n\r\n{SMUGGLED}")),
        refused("CVE 12", 400, format!("GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n{SMUGGLED}")),
        refused("CVE 12", 400, post("Content-Length: 5\r\nContent-Length: 6\r\n", SMUGGLED)),
        refused("CVE 16", 400, post("Content-Length : 5\r\n", "hello")),
        refused("CVE 16", 400, post("Content-Length\t: 5\r\n", "hello")),
        refused("CVE 16", 400, post("Content-Length: +5\r\n", "hello")),
        refused("CVE 16", 400, post("Content-Length: x5\r\n", "hello")),
        refused("CVE 16", 400, post("Content-Length: 5 x\r\n", "hello")),
        refused("CVE 16", 400, post(" Content-Length: 5\r\n", "hello")),
        refused("CVE 21", 400, post("Content-Length: +0\r\n", "")),
        refused("CVE 21", 400, post("Content-Length: \u{ff15}\r\n", "hello")),
        refused("CVE 24", 400, post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n")),
        refused("CVE 24", 400, post("Transfer-Encoding\t: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n")),
        refused("CVE 28", 400, get("X-A: \x0bb\r\n")),
        refused("CVE 28", 400, get("\x0cX-A: b\r\n")),
        // 29: nothing is framed by a name with an underscore.
        served(
            "CVE 29",
            post("Content_Length: 40\r\n", SMUGGLED),
            vec![Answer::To(sees("POST /")), Answer::To(sees("GET /smuggled"))],
            false,
        ),
        passes(
            "CVE 29",
            post("Transfer_Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
            sees("POST /").length("0\r\n\r\n"),
        ),
        // 23: framing follows the message, not the method.
        passes("CVE 23", post("", ""), sees("POST /")),
        passes("CVE 23", get("Content-Length: 0\r\n"), sees("GET /").length("")),
        passes("CVE 23", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", sees("GET /").length("hello")),
        passes(
            "CVE 23",
            b"DELETE / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            sees("DELETE /").chunked(b""),
        ),
        passes("CVE 23", b"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", sees("HEAD /").length("hi")),
        // 31: an expectation frames nothing, and no other is taken for it.
        passes("CVE 31", get("Expect: 100-continue\r\n"), sees("GET /")),
        passes(
            "CVE 31",
            post(&format!("Expect: 100-continue\r\nContent-Length: {}\r\n", SMUGGLED.len()), SMUGGLED),
            sees("POST /").length(SMUGGLED).expecting(),
        ),
        passes(
            "CVE 31",
            post("Transfer-Encoding: chunked\r\nExpect: 100-Continue\r\n", "2\r\nhi\r\n0\r\n\r\n"),
            sees("POST /").chunked(b"hi").expecting(),
        ),
        refused("CVE 31", 417, post("Expect: y 100-continue\r\nContent-Length: 5\r\n", "hello")),
        refused("CVE 31", 417, post("Expect:\r\nContent-Length: 5\r\n", "hello")),
        refused("CVE 31", 417, post("Expect: 100-continue\r\nExpect: x\r\nContent-Length: 5\r\n", "hello")),
        refused("CVE 31", 417, post("Expect: 100-continue;x\r\nContent-Length: 5\r\n", "hello")),
        refused("CVE 31", 400, post("Expect\r\n: 100-continue\r\nContent-Length: 5\r\n", "hello")),
        refused("CVE 31", 400, get("Expect: 100-continue\r\n Content-Length: 5\r\n")),
    ]);
    cases
}

/// 5, 13, 19: whoever answers early uses the body up, or closes; it is never a request.
fn answered_early() -> Vec<Box<dyn Case>> {
    let whole = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{SMUGGLED}", SMUGGLED.len()).into_bytes()
    };
    let in_chunks = |path: &str| {
        let len = SMUGGLED.len();
        format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{len:x}\r\n{SMUGGLED}\r\n0\r\n\r\n"
        )
        .into_bytes()
    };
    let part = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n{SMUGGLED}").into_bytes()
    };
    let mut cases = Vec::new();
    for (rows, path, status) in
        [("CVE 5, CVE 13", "/own", 200), ("CVE 13, CVE 19", "/moved", 308), ("CVE 13", "/denied", 403)]
    {
        cases.push(own(rows, whole(path), status));
        cases.push(own(rows, in_chunks(path), status));
        cases.push(refused(rows, status, part(path)));
    }
    for (path, status) in [("/none", 404), ("/only", 405)] {
        cases.push(bare("CVE 13", part(path), status, true));
    }
    cases.push(refused("CVE 13", 413, part("/")));
    cases.push(refused("CVE 8, 9112 19", 405, format!("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n{SMUGGLED}")));
    cases.push(refused("CVE 8", 405, b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nContent-Length: 5\r\n\r\nhello"));
    cases
}

/// 4, 14, 27: what is matched is what goes on, byte for byte, and always as a path.
fn targets() -> Vec<Box<dyn Case>> {
    vec![
        refused("CVE 4", 400, b"GET /index.html#.png HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused("CVE 4", 400, b"GET /?a#b HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused("CVE 4", 400, b"GET http://a#/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        passes("CVE 4", b"GET /index%23.png HTTP/1.1\r\nHost: a\r\n\r\n", sees("GET /index%23.png")),
        passes("CVE 14, 9112 18", b"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", sees("GET /")),
        passes("CVE 14, 9112 18", b"GET http://a?b HTTP/1.1\r\nHost: a\r\n\r\n", sees("GET /?b")),
        passes("CVE 14, 9112 18", b"GET https://a HTTP/1.1\r\nHost: a\r\n\r\n", sees("GET /")),
        passes("CVE 14, 9112 18", b"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n", sees("OPTIONS *")),
        passes("CVE 14, 9112 18", b"OPTIONS http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", sees("OPTIONS /")),
        refused("CVE 14", 400, b"GET http://b HTTP/1.1\r\nHost: a\r\n\r\n"),
        passes("CVE 27", b"GET /a%0d%0aX-A:%20b%0d%0a HTTP/1.1\r\nHost: a\r\n\r\n", sees("GET /a%0d%0aX-A:%20b%0d%0a")),
        passes(
            "CVE 27",
            b"GET /strip/%20HTTP/1.1%0D%0AHost:x?%0a HTTP/1.1\r\nHost: a\r\n\r\n",
            sees("GET /%20HTTP/1.1%0D%0AHost:x?%0a"),
        ),
        passes("CVE 27", b"GET /strip HTTP/1.1\r\nHost: a\r\n\r\n", sees("GET /")),
    ]
}

/// 7, 20, 30: one strict place that decides where a request ends.
fn codings() -> Vec<Box<dyn Case>> {
    let mut cases = Vec::new();
    for (status, lines) in [
        (400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        (400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
        (400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n"),
        (400, "Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n"),
        (400, "Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n"),
        (400, "Transfer-Encoding: chunked\r\nX-A: b\r\ntransfer-encoding: x\r\n"),
        (501, "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"),
        (501, "Transfer-Encoding: x\r\nTransfer-Encoding: y\r\n"),
    ] {
        cases.push(refused("CVE 20, CVE 30", status, post(lines, "0\r\n\r\n")));
    }
    for (status, coding) in [
        (400, "\x0bchunked"),
        (400, "chunked\x0b"),
        (400, "chunked\0"),
        (400, "\x00chunked"),
        (400, "chunked;"),
        (400, "[chunked]"),
        (400, "chunk\u{e9}d"),
        (400, "chunked\r\n ,identity"),
        (501, "chunke"),
        (501, "'chunked"),
        (501, "cow"),
    ] {
        cases.push(refused("CVE 30", status, post(&format!("Transfer-Encoding: {coding}\r\n"), "0\r\n\r\n")));
        let beside = post(&format!("Content-Length: 5\r\nTransfer-Encoding: {coding}\r\n"), "0\r\n\r\n");
        cases.push(refused("CVE 30", status, beside));
    }
    cases.extend([
        refused("CVE 7", 400, b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
        refused("CVE 7", 501, b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\nhi"),
        // Without a length an HTTP/1.0 request has no body, and nothing after it is read.
        served(
            "CVE 7",
            format!("POST / HTTP/1.0\r\nHost: a\r\n\r\n{SMUGGLED}"),
            vec![Answer::To(sees("POST /").of_1_0())],
            true,
        ),
        broken("CVE 17", 400, chunks("2;\n\r\nhi\r\n0\r\n\r\n")),
        broken("CVE 17", 400, chunks(&format!("2\r\nhi0\r\n\r\n{SMUGGLED}"))),
        broken("CVE 18", 400, chunks("fffffffffffffffe\r\nhi\r\n0\r\n\r\n")),
        broken("CVE 22", 400, chunks("100000000000000002\r\nhi\r\n0\r\n\r\n")),
    ]);
    cases
}

/// 6, 9: what asks for an upgrade and is none goes on as an ordinary request, with its body and without the asking.
fn upgrades() -> Vec<Box<dyn Case>> {
    let asks = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    vec![
        passes("CVE 9", post(&format!("{asks}Content-Length: 5\r\n"), "hello"), sees("POST /").length("hello")),
        served(
            "CVE 9",
            format!("GET / HTTP/1.1\r\nHost: a\r\n{asks}Content-Length: 5\r\n\r\nhello{SMUGGLED}"),
            vec![Answer::To(sees("GET /").length("hello")), Answer::To(sees("GET /smuggled"))],
            false,
        ),
        passes(
            "CVE 9",
            format!("GET / HTTP/1.1\r\nHost: a\r\n{asks}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
            sees("GET /").chunked(b"hi"),
        ),
        passes(
            "CVE 6",
            get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n"),
            sees("GET /"),
        ),
        passes("CVE 6", get("Upgrade: websocket\r\n"), sees("GET /")),
        served(
            "CVE 6",
            [get("Connection: Upgrade\r\nUpgrade: x\r\n").as_slice(), SMUGGLED.as_bytes()].concat(),
            vec![Answer::To(sees("GET /")), Answer::To(sees("GET /smuggled"))],
            false,
        ),
    ]
}

#[test]
fn no_lesson_has_to_be_learnt_again() {
    lanes::run(&cases());
}
