//! The actors against each other, without a router: what a test sees is what was sent.

mod support;

use support::{BodyEnd, Client, Ending, FullBacklog, Origin, Refusing, TempDir, chunked, ms, pattern, reply};

#[test]
fn a_script_hears_what_the_other_side_sends() {
    let origin = Origin::bind();
    let mut client = Client::connect(&origin.to_string());
    client.send_slowly("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    let (mut conn, request) = origin.accept_request();
    assert_eq!((request.line().as_str(), request.body.as_slice()), ("POST /a", &b"hello"[..]));
    conn.send(reply(200, &["X-A: b"], "there"));
    let response = client.read_response();
    assert_eq!((response.status, response.text().as_str()), (200, "there"));
    assert_eq!(response.fields.get("x-a"), Some("b"));
}

#[test]
fn chunks_and_trailers_are_read_strictly() {
    let origin = Origin::bind();
    let mut client = Client::connect(&origin.to_string());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let body = pattern(100_000);
    client.send(chunked(&body, 999, &["X-Sum: 1"]));
    let (mut conn, request) = origin.accept_request();
    assert!(request.body == body);
    assert_eq!(request.trailers.get("X-Sum"), Some("1"));
    conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\n");
    let mut response = client.read_response_head("GET");
    assert_eq!(response.end, BodyEnd::Chunked);
    let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| client.read_chunk()));
    assert!(refused.is_err(), "a chunk extension passed as strict");
    response.body.clear();
}

#[test]
fn a_fin_and_a_reset_are_told_apart() {
    let origin = Origin::bind();
    let (mut one, mut two) = (Client::connect(&origin.to_string()), Client::connect(&origin.to_string()));
    let mut first = origin.accept();
    let mut second = origin.accept();
    first.send("some");
    first.close();
    second.send("some");
    second.reset();
    assert_eq!(one.read_until_end(), (b"some".to_vec(), Ending::Fin));
    assert_eq!(two.read_until_end(), (b"some".to_vec(), Ending::Reset));
}

#[test]
fn a_serving_origin_remembers_requests_and_ends() {
    let origin = Origin::serve(|request| reply(200, &[], &request.target));
    let mut client = Client::connect(&origin.to_string());
    assert_eq!(client.get("/one").text(), "/one");
    assert_eq!(client.get("/two").text(), "/two");
    assert_eq!(Client::connect(&origin.to_string()).get("/three").text(), "/three");
    let lines: Vec<_> = origin.requests_by_connection().into_iter().map(|(n, r)| (n, r.line())).collect();
    assert_eq!(lines, [(0, "GET /one".into()), (0, "GET /two".into()), (1, "GET /three".into())]);
}

#[test]
fn unix_sockets_are_scripted_alike() {
    let dir = TempDir::new();
    let origin = Origin::bind_unix(&dir.path().join("s"));
    let mut client = Client::connect(&origin.to_string());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.accept_request().0.reply(204, "");
}

#[test]
fn addresses_misbehave_as_their_names_say() {
    let refusing = Refusing::bind();
    let refused = std::net::TcpStream::connect(refusing.to_string()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let full = FullBacklog::bind();
    let late = std::net::TcpStream::connect_timeout(&full.to_string().parse().unwrap(), ms(200)).unwrap_err();
    assert_eq!(late.kind(), std::io::ErrorKind::TimedOut);
}
