//! Fields of one hop, and those that Connection names: removed from requests, responses, interim answers and trailers,
//! but for what the router itself writes.

use crate::lanes::{self, Case};
use crate::requests::{Answer, chunks, passes, post, refused, sees, served};
use crate::responses::{Keeps, bad, whole};

fn get(lines: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes()
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n";

fn answer(lines: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 2\r\n\r\nok").into_bytes()
}

pub fn cases() -> Vec<Box<dyn Case>> {
    let mut cases = requests();
    cases.extend(responses());
    cases
}

fn requests() -> Vec<Box<dyn Case>> {
    let many = |n: usize| get(&format!("Connection: {}\r\n", vec!["X-A"; n].join(",")));
    let mut cases = vec![
        passes(
            "9112 24",
            get("Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nUpgrade: h2c\r\nX-A: 1\r\n"),
            sees("GET /").fields("X-A: 1\r\n"),
        ),
        passes(
            "9112 23",
            get(
                "Connection: keep-alive, X-Mine\r\nX-Mine: 1\r\nCONNECTION: x-too\r\nX-A: 1\r\nX-TOO: 2\r\nx-mine: 3\r\n",
            ),
            sees("GET /").fields("X-A: 1\r\n"),
        ),
        passes("9112 23, CVE 25", get("Connection:\r\nConnection: X-Mine\r\nX-Mine: 1\r\n"), sees("GET /")),
        passes("9112 23, CVE 25", get("Connection: , ,\tX-Mine ,,\r\nX-Mine: 1\r\n"), sees("GET /")),
        passes("9112 23", get("Connection: X-Mine\r\nX-Mine-Too: 1\r\n"), sees("GET /").fields("X-Mine-Too: 1\r\n")),
        // A field before the line that names it, and one that is no name of a field.
        passes("9112 23", get("X-Mine: 1\r\nConnection: X-Mine, \"x\"\r\n"), sees("GET /")),
        passes("9112 23", many(32), sees("GET /")),
        refused("9112 23", 400, many(33)),
        // What the router needs or writes cannot be named away.
        passes(
            "9112 23",
            post("Connection: Host, Content-Length\r\nContent-Length: 5\r\n", "hello"),
            sees("POST /").length("hello"),
        ),
        passes(
            "9112 23",
            post("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n", "2\r\nhi\r\n0\r\n\r\n"),
            sees("POST /").chunked(b"hi"),
        ),
        passes(
            "9112 23, CVE 26",
            get(
                "Connection: X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, X-Real-IP, Via, X-Request-Id, Host\r\n",
            ),
            sees("GET /"),
        ),
        passes(
            "9112 23, CVE 26",
            get("Connection: Via, Max-Forwards\r\nVia: 1.1 edge\r\n"),
            sees("GET /").fields("Via: 1.1 edge\r\n"),
        ),
        served(
            "9112 23, 9112 30",
            get("Connection: X-Mine\r\nConnection: close\r\nX-Mine: 1\r\n"),
            vec![Answer::To(sees("GET /"))],
            true,
        ),
        // Trailers that Connection names.
        passes(
            "9112 23, 9112 10",
            post("Connection: X-T\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n", "2\r\nhi\r\n0\r\nX-T: 1\r\n\r\n"),
            sees("POST /").fields("Trailer: X-T\r\n").chunked(b"hi"),
        ),
        passes(
            "9112 23, 9112 10",
            chunks(
                "2\r\nhi\r\n0\r\nConnection: X-T\r\nKeep-Alive: x\r\nTE: x\r\nUpgrade: x\r\nProxy-Connection: x\r\nX-T: 1\r\n\r\n",
            ),
            sees("POST /").trailers(b"hi", &[("X-T", "1")]),
        ),
    ];
    // Written with an underscore, none of them goes on.
    let aliases = "Content_Length: 9\r\nTransfer_Encoding: chunked\r\nX_Forwarded_For: 1.1.1.1\r\nX_Real_IP: 1.1.1.1\r\n\
                   X-Forwarded_Proto: https\r\nKeep_Alive: x\r\nProxy_Connection: x\r\nX_Request_Id: x\r\nX_Forwarded_Port: 1\r\n";
    cases.push(passes(
        "9112 24, CVE 29",
        get(&format!("{aliases}X_Good: 1\r\n")),
        sees("GET /").fields("X_Good: 1\r\n"),
    ));
    cases
}

fn responses() -> Vec<Box<dyn Case>> {
    let many = |n: usize| answer(&format!("Connection: {}\r\n", vec!["X-A"; n].join(",")));
    vec![
        whole(
            "9112 24",
            answer("Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: x\r\nUpgrade: h2c\r\n"),
            OK,
            "ok",
        )
        .case(),
        whole("9112 23", answer("Connection: X-Mine, keep-alive\r\nx-mine: 1\r\n"), OK, "ok").case(),
        whole("9112 23, CVE 25", answer("Connection:\r\nConnection: X-Mine\r\nX-Mine: 1\r\n"), OK, "ok").case(),
        whole("9112 23", answer("Connection: Content-Length, Set-Cookie\r\nSet-Cookie: a\r\n"), OK, "ok").case(),
        whole("9112 23, 9112 30", answer("Connection: X-Mine\r\nConnection: close\r\nX-Mine: 1\r\n"), OK, "ok")
            .keeps(Keeps::Client)
            .case(),
        whole("9112 23", many(32), OK, "ok").case(),
        bad("9112 23", many(33)),
        whole(
            "9112 23, 9112 10",
            "HTTP/1.1 200 OK\r\nConnection: X-T\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n",
            "ok",
        )
        .case(),
    ]
}

#[test]
fn what_belongs_to_one_connection_stays_on_it() {
    lanes::run(&cases());
}
