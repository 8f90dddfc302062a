//! Where a message ends, said once and never left to guess: bodies both ways, answers that are cut.

mod support;

use support::{BodyEnd, Client, Ending, Origin, OriginConn, Router, TempDir, chunked, pattern, reply};

/// Through a router of its own: the client, the origin, the router.
fn between() -> (Client, Origin, Router) {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    (router.client(), origin, router)
}

/// A client that has asked `GET /` (or what `method` says) and the origin's end of it.
#[track_caller]
fn asked(client: &mut Client, origin: &Origin, method: &str) -> OriginConn {
    client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
    origin.accept_request().0
}

#[test]
fn a_body_by_length_arrives_whole_both_ways() {
    let body = pattern(300_000);
    let (mut client, origin, _router) = between();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()));
    client.send(&body);
    let (mut conn, request) = origin.accept_request();
    assert!(request.body == body && request.end == BodyEnd::Length(300_000));
    conn.send(reply(200, &[], &body));
    let response = client.read_response();
    assert!(response.body == body && response.end == BodyEnd::Length(300_000));
}

#[test]
fn a_chunked_body_and_its_trailers_arrive_whole_both_ways() {
    for size in [1, 7, 1000, 40_000] {
        let body = pattern(30 * size.max(100));
        let (mut client, origin, _router) = between();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n");
        client.send(chunked(&body, size, &["X-Sum: 1"]));
        let (mut conn, request) = origin.accept_request();
        assert!(request.body == body && request.end == BodyEnd::Chunked, "chunks of {size}");
        assert_eq!(request.trailers.get("X-Sum"), Some("1"));
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        conn.send(chunked(&body, size, &["X-Back: 2"]));
        let response = client.read_response();
        assert!(response.body == body && response.end == BodyEnd::Chunked, "chunks of {size}");
        assert_eq!(response.trailers.get("X-Back"), Some("2"));
    }
}

#[test]
fn a_response_until_close_ends_unmistakably() {
    let body = pattern(200_000);
    let (mut client, origin, _router) = between();
    let mut conn = asked(&mut client, &origin, "GET");
    conn.send("HTTP/1.1 200 OK\r\n\r\n");
    conn.send(&body);
    conn.close();
    // By close or re-framed in chunks: both are whole.
    let response = client.read_response();
    assert!(response.body == body);
    if response.end == BodyEnd::Close {
        assert!(response.says_close());
    }
}

#[test]
fn a_response_until_close_ends_its_backend_connection_and_a_tcp_session_and_no_other() {
    let (dir, origin) = (TempDir::new(), Origin::bind());
    let more = format!("[listen:unix]\naddress = unix:{}\npool = app\n", dir.file("l.sock"));
    let router = Router::to_with(&origin, &more);
    for (listen, framing) in [("http", BodyEnd::Close), ("unix", BodyEnd::Chunked)] {
        let mut client = Client::connect(&router.address_of(listen));
        let mut conn = asked(&mut client, &origin, "GET");
        conn.send("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\nall of it");
        conn.close();
        let response = client.read_response();
        assert_eq!((response.text().as_str(), response.end), ("all of it", framing));
        assert_eq!(response.says_close(), framing == BodyEnd::Close);
        if framing == BodyEnd::Close {
            assert_eq!(client.expect_closed(), Ending::Fin);
        } else {
            let mut conn = asked(&mut client, &origin, "GET");
            conn.reply(200, "the next");
            assert_eq!(client.read_response().text(), "the next");
        }
    }
    router.assert_at_rest();
}

#[test]
fn interim_answers_pass_in_order_before_the_final_one() {
    let (mut client, origin, _router) = between();
    let mut conn = asked(&mut client, &origin, "GET");
    conn.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n");
    let hint = client.read_response_head("GET");
    assert_eq!((hint.status, hint.fields.get("Link")), (103, Some("</a>")));
    assert!(!hint.fields.has("X-Hop"));
    conn.send("HTTP/1.1 102 Processing\r\n\r\n");
    assert_eq!(client.read_response_head("GET").status, 102);
    conn.reply(200, "final");
    assert_eq!(client.read_response().text(), "final");
}

#[test]
fn a_client_of_http_1_0_is_kept_only_when_it_asks_for_that() {
    let origin = Origin::serve(|_| reply(200, &[], "ok"));
    let router = Router::to(&origin);
    let mut client = router.client();
    client.ask("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    client.expect_closed();
    let mut client = router.client();
    for _ in 0..2 {
        let kept = client.ask("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!((kept.status, kept.fields.get("Connection")), (200, Some("keep-alive")));
    }
    assert_eq!(client.ask("GET / HTTP/1.0\r\nHost: a\r\n\r\n").status, 200);
    client.expect_closed();
}

#[test]
fn an_answer_that_was_cut_while_its_request_is_on_its_way_never_looks_whole() {
    for length in ["Content-Length: 1000\r\n", ""] {
        let (mut client, origin, router) = between();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nbegun");
        let mut conn = origin.accept();
        conn.read_request_head();
        conn.read_exact(5);
        conn.send(format!("HTTP/1.1 200 OK\r\n{length}\r\npart"));
        client.read_until(b"part");
        conn.reset();
        client.read_until_reset();
        router.assert_at_rest();
    }
}
