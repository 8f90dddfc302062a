//! Programs that nobody here wrote, on both sides: curl, wrk and a WebSocket library as clients, Python, nginx, Node
//! and the same library as backends. A program that is absent fails its test in CI, and elsewhere skips it.

mod support;

use std::net::TcpStream;
use std::process::Command;

use support::programs::{Backend, curl, find, finish, wrk_without_errors};
use support::router::one_pool;
use support::{Origin, Router, ServingOrigin, TempDir, chunked, pattern, reply};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

/// Runs curl on a path of the router.
#[track_caller]
fn curl_says(mut curl: Command, args: &[&str], router: &Router, path: &str, stdin: &[u8]) -> Vec<u8> {
    let url = format!("http://{}{path}", router.address());
    finish(curl.args(args).arg(url), stdin).stdout
}

macro_rules! or_skip {
    ($program:expr) => {
        match $program {
            Some(found) => found,
            None => return,
        }
    };
}

/// Answers with how the body came, and the body.
fn echo() -> ServingOrigin {
    Origin::serve(|request| {
        let fields = [format!("X-Line: {}", request.line()), format!("X-End: {:?}", request.end)];
        reply(200, &fields.each_ref().map(String::as_str), &request.body)
    })
}

#[test]
fn curl_gets_what_the_origin_sent() {
    let origin = Origin::serve(|_| chunked_answer(&pattern(1_000_000)));
    let router = Router::to(&origin);
    assert!(curl_says(or_skip!(curl()), &[], &router, "/a?b=c", b"") == pattern(1_000_000));
    assert_eq!(origin.last().line(), "GET /a?b=c");
}

fn chunked_answer(body: &[u8]) -> Vec<u8> {
    let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    answer.extend_from_slice(&chunked(body, 30_000, &[]));
    answer
}

#[test]
fn curl_posts_a_stream_of_unknown_length() {
    let origin = echo();
    let router = Router::to(&origin);
    let sent = pattern(3_000_000);
    let got = curl_says(or_skip!(curl()), &["-X", "POST", "-T", "-"], &router, "/up", &sent);
    assert!(got == sent, "{} bytes came back", got.len());
    let request = origin.last();
    assert_eq!((request.line().as_str(), request.end), ("POST /up", support::BodyEnd::Chunked));
}

#[test]
fn curl_puts_a_file_with_its_length() {
    let (origin, dir) = (echo(), TempDir::new());
    let router = Router::to(&origin);
    let sent = pattern(500_000);
    let file = dir.write("upload", &sent);
    let got = curl_says(or_skip!(curl()), &["--expect100-timeout", "0.01", "-T", &file], &router, "/up", b"");
    assert!(got == sent, "{} bytes came back", got.len());
    let request = origin.last();
    assert_eq!((request.line().as_str(), request.end), ("PUT /up", support::BodyEnd::Length(500_000)));
}

#[test]
fn curl_asks_for_a_head_and_waits_for_no_body() {
    let origin = Origin::serve(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\nX-A: b\r\n\r\n".to_vec());
    let router = Router::to(&origin);
    let args = ["-I", "-w", "%{http_code} %{size_download}"];
    let got = String::from_utf8(curl_says(or_skip!(curl()), &args, &router, "/", b"")).expect("text");
    assert!(got.ends_with("200 0") && got.contains("Content-Length: 12345\r\n") && got.contains("X-A: b\r\n"), "{got}");
}

#[test]
fn curl_of_1996_gets_a_body_without_chunks() {
    let origin = Origin::serve(|_| chunked_answer(&pattern(200_000)));
    let router = Router::to(&origin);
    let got = curl_says(or_skip!(curl()), &["--http1.0", "-i"], &router, "/", b"");
    let end = got.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
    let head = String::from_utf8_lossy(&got[..end]).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200 ") && !head.contains("transfer-encoding"), "{head}");
    assert!(got[end..] == pattern(200_000));
    assert!(origin.last().raw_head.starts_with(b"GET / HTTP/1.1\r\n"));
}

#[test]
fn curl_waits_for_100_continue_and_gets_it() {
    let (origin, dir) = (Origin::bind(), TempDir::new());
    let router = Router::to(&origin);
    let curl = or_skip!(curl());
    let file = dir.write("upload", pattern(2_000_000));
    let data = format!("@{file}");
    // Nothing of the body would come within curl's own time if the 100 did not.
    let args = ["-H", "Expect: 100-continue", "--expect100-timeout", "45", "--data-binary", &data];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut conn = origin.accept();
            let request = conn.read_request_head();
            conn.expect_silence_for(support::ms(100));
            conn.send("HTTP/1.1 100 Continue\r\n\r\n");
            assert!(conn.read_body(request.end).0 == pattern(2_000_000));
            conn.reply(200, "got it");
        });
        assert_eq!(curl_says(curl, &args, &router, "/", b""), b"got it");
    });
}

#[test]
fn curl_fetches_two_urls_on_one_connection() {
    let origin = echo();
    let router = Router::to(&origin);
    let second = format!("http://{}/2", router.address());
    let args = ["-o", "/dev/null", "-o", "/dev/null", "-w", "%{http_code} %{num_connects}\n", &second];
    let got = curl_says(or_skip!(curl()), &args, &router, "/1", b"");
    assert_eq!(String::from_utf8_lossy(&got), "200 1\n200 0\n");
    assert_eq!((router.counter("accepted"), origin.connections()), (1, 1));
}

#[test]
fn wrk_sees_no_error() {
    let origin = Origin::serve(|_| reply(200, &[], "ok"));
    let router = Router::to(&origin);
    let mut wrk = Command::new(or_skip!(find("wrk")));
    let url = format!("http://{}/", router.address());
    let counted = wrk_without_errors(wrk.args(["-t1", "-c8", "-d1s", "--timeout", "10s", &url]));
    assert!(counted > 0);
    // Answers that wrk did not wait for at its end are the only difference.
    assert!((counted..=counted + 8).contains(&router.counter("exchanges")), "{counted}: {:?}", router.counters());
}

#[test]
fn a_websocket_conversation_ends_with_its_own_handshake() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let bye = |reason: &str| CloseFrame { code: CloseCode::Away, reason: reason.to_owned().into() };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut server = tungstenite::accept(support::Peer::from(origin.accept()).into_tcp()).expect("handshake");
            let ended = loop {
                match server.read().expect("a message") {
                    Message::Close(frame) => break frame,
                    // The library itself answers a ping.
                    Message::Ping(_) => server.flush().expect("pong"),
                    message => server.send(message).expect("echo"),
                }
            };
            assert_eq!(ended, Some(bye("enough")));
            // The close is answered, then the server ends the connection.
            while server.read().is_ok() {}
        });
        let tcp = TcpStream::connect(router.address()).expect("connect");
        tcp.set_read_timeout(Some(support::DEADLINE)).expect("SO_RCVTIMEO");
        let url = format!("ws://{}/chat?room=1", router.address());
        let (mut client, answer) = tungstenite::client(url, tcp).expect("handshake");
        assert_eq!(answer.status(), 101);
        for message in [
            Message::text("grüße"),
            Message::binary(vec![0, 255, 1]),
            Message::binary(pattern(1_000_000)),
            Message::text("x".repeat(1_000_000)),
            Message::text(""),
        ] {
            client.send(message.clone()).expect("send");
            assert!(client.read().expect("echo") == message);
        }
        client.send(Message::Ping("are you there".into())).expect("ping");
        assert_eq!(client.read().expect("pong"), Message::Pong("are you there".into()));
        client.close(Some(bye("enough"))).expect("close");
        assert_eq!(closing_frame(&mut client), Some(bye("enough")));
    });
    router.assert_at_rest();
}

/// The answer to a close, and the end of the connection after it.
fn closing_frame(client: &mut WebSocket<TcpStream>) -> Option<CloseFrame> {
    let mut frame = None;
    loop {
        match client.read() {
            Ok(Message::Close(answer)) => frame = answer,
            Ok(other) => panic!("after the close: {other:?}"),
            Err(tungstenite::Error::ConnectionClosed) => return frame,
            Err(error) => panic!("{error}"),
        }
    }
}

/// What every backend serves: `small` and `big`.
fn documents() -> TempDir {
    let dir = TempDir::new();
    dir.write("small", "small\n");
    dir.write("big", pattern(10_000_000));
    dir
}

/// GET small and 10 MB, HEAD, and an absent file; then ten requests of one curl, and how they reached the backend.
#[track_caller]
fn serves_its_documents(router: &Router, reuses: bool) {
    let Some(_) = curl() else { return };
    let ask = |args: &[&str], path| curl_says(curl().expect("just seen"), args, router, path, b"");
    assert_eq!(ask(&[], "/small"), b"small\n");
    assert!(ask(&[], "/big") == pattern(10_000_000), "the 10 MB are damaged");
    assert!(ask(&["--http1.0"], "/big") == pattern(10_000_000), "the 10 MB are damaged for HTTP/1.0");
    let status = ["-o", "/dev/null", "-w", "%{http_code} %{size_download}"];
    let head = String::from_utf8(ask(&["-I"], "/big")).expect("text");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.to_ascii_lowercase().contains("content-length: 10000000\r\n"));
    assert!(String::from_utf8_lossy(&ask(&status, "/absent")).starts_with("404 "));
    let before = router.counters();
    assert_eq!(ask(&[], "/small?[1-10]"), b"small\n".repeat(10));
    let grown = |key: &str| router.counter(key) - before[key];
    assert_eq!(grown("backend_connects") + grown("backend_reuses"), 10, "{:?}", router.counters());
    assert_eq!(grown("accepted"), 1);
    if reuses {
        assert!(grown("backend_reuses") >= 9, "{:?}", router.counters());
    } else {
        assert_eq!(grown("backend_reuses"), 0);
    }
    router.assert_at_rest();
}

#[test]
fn python_closes_after_each_answer_and_is_a_backend() {
    let dir = documents();
    let backend = or_skip!(Backend::python(&dir, "HTTP/1.0"));
    serves_its_documents(&Router::to(&backend), false);
}

#[test]
fn python_that_keeps_connections_is_reused() {
    let dir = documents();
    let backend = or_skip!(Backend::python(&dir, "HTTP/1.1"));
    let router = Router::to(&backend);
    serves_its_documents(&router, true);
    let status = ["-o", "/dev/null", "-w", "%{http_code}", "-d", "body"];
    assert_eq!(curl_says(or_skip!(curl()), &status, &router, "/small", b""), b"501", "its own answer to a POST");
}

#[test]
fn nginx_is_a_backend_on_tcp_and_on_a_unix_socket() {
    let dir = documents();
    let backend = or_skip!(Backend::nginx(&dir));
    for address in [backend.to_string(), format!("unix:{}", dir.file("nginx.sock"))] {
        let router = Router::to(&address);
        serves_its_documents(&router, true);
        let sent = pattern(2_000_000);
        let file = dir.write("upload", &sent);
        for (name, from, stdin) in [("by-length", file.as_str(), &b""[..]), ("by-chunks", "-", &sent)] {
            let path = format!("/put/{name}");
            let status = ["-o", "/dev/null", "-w", "%{http_code}", "-T", from];
            let code = curl_says(or_skip!(curl()), &status, &router, &path, stdin);
            assert!(code == b"201" || code == b"204", "{}", String::from_utf8_lossy(&code));
            assert!(std::fs::read(dir.file(&path[1..])).expect("stored") == sent, "{name} was damaged");
        }
        router.assert_at_rest();
    }
}

const NODE: &str = r#"
const fs = require('fs'), http = require('http');
const server = http.createServer((request, response) => {
    if (request.method === 'POST' || request.method === 'PUT') {
        const length = request.headers['content-length'];
        response.writeHead(200, length ? { 'Content-Length': length } : {});
        request.pipe(response);
        return;
    }
    fs.readFile(process.cwd() + request.url.split('?')[0], (error, data) => {
        if (error) { response.writeHead(404); response.end('not here'); return; }
        response.writeHead(200, { 'Content-Length': data.length });
        response.end(data);
    });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
"#;

#[test]
fn node_is_a_backend_that_answers_while_it_is_asked() {
    let dir = documents();
    let backend = or_skip!(Backend::node(&dir, NODE));
    let router = Router::start(&one_pool(&backend, ""));
    serves_its_documents(&router, true);
    let sent = pattern(10_000_000);
    let file = dir.write("upload", &sent);
    let data = format!("@{file}");
    for (what, args) in [
        ("POST by length", &["--data-binary", data.as_str()][..]),
        ("POST by chunks", &["-X", "POST", "-T", "-"]),
        ("PUT by length", &["-T", &file]),
        ("PUT by chunks", &["-T", "-"]),
    ] {
        let stdin = if args.ends_with(&["-"]) { &sent[..] } else { b"" };
        let got = curl_says(or_skip!(curl()), args, &router, "/echo", stdin);
        assert!(got == sent, "{what}: {} bytes came back", got.len());
    }
    router.assert_at_rest();
}
