//! What a peer may make of a message without end: each way has a limit, an answer of its own, and a close.
//!
//! The limits that have a key are in `refusals` and `keepalive`; what a hostile byte costs is measured by `load`. Here
//! are those without a key, from both sides, and that what comes in pieces without number leaves in few.

mod support;

use support::{Client, Ending, Origin, OriginConn, Router, chunked, pattern};

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n\r\n";

/// A client whose chunked upload the origin has begun to read.
#[track_caller]
fn uploading(router: &Router, origin: &Origin) -> (Client, OriginConn) {
    let mut client = router.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{CHUNKED}"));
    let mut conn = origin.accept();
    conn.read_request_head();
    (client, conn)
}

/// A client that has the head of a chunked answer, and the origin that is to send the rest.
#[track_caller]
fn downloading(router: &Router, origin: &Origin) -> (Client, OriginConn) {
    let mut client = router.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut conn, _) = origin.accept_request();
    conn.send(format!("HTTP/1.1 200 OK\r\n{CHUNKED}"));
    client.read_response_head("GET");
    (client, conn)
}

/// `good` passes whole both ways; `bad` is 400, and a reset where an answer has begun, and nobody takes it for whole.
#[track_caller]
fn limited(good: &[u8], bad: &[u8]) {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let mut client = router.client();
    client.send([format!("POST / HTTP/1.1\r\nHost: a\r\n{CHUNKED}").as_bytes(), good].concat());
    let (mut conn, request) = origin.accept_request();
    assert!(!request.body.is_empty());
    // Not kept: a connection that the origin closes in the same moment in which it is used again costs a POST its answer.
    conn.send([format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{CHUNKED}").as_bytes(), good].concat());
    let response = client.read_response();
    assert_eq!((response.status, &response.body), (200, &request.body));
    assert_eq!(response.trailers.0, request.trailers.0);
    drop((client, conn));

    let (mut client, mut conn) = uploading(&router, &origin);
    let _refused_before_the_end = client.try_send(bad);
    let response = client.read_response();
    assert_eq!((response.status, response.says_close()), (400, true));
    client.expect_closed();
    assert!(!conn.read_until_end().0.ends_with(b"0\r\n\r\n"), "the backend saw an end");

    let (mut client, mut conn) = downloading(&router, &origin);
    let _cut_before_the_end = conn.try_send(bad);
    client.read_until_reset();
    conn.read_until_end();
    router.assert_at_rest();
}

/// One chunk with `len` bytes of extension.
fn extended(len: usize) -> String {
    format!("1;{}\r\nx\r\n", "e".repeat(len - 1))
}

#[test]
fn a_chunk_line_has_four_kilobytes() {
    let end = "0\r\n\r\n";
    // Size and line end are its bytes too.
    limited((extended(4096 - 3) + end).as_bytes(), (extended(4096 - 2) + end).as_bytes());
}

#[test]
fn the_extensions_of_a_message_have_sixteen_kilobytes() {
    let end = "0\r\n\r\n";
    let fit = extended(1024).repeat(16);
    limited((fit.clone() + end).as_bytes(), (fit + &extended(2) + end).as_bytes());
}

#[test]
fn a_trailer_section_has_eight_kilobytes() {
    let trailers = |len: usize| {
        let line = "X-A: b\r\n";
        let fill = "x".repeat(line.len() + (len - 2) % line.len() - 6);
        format!("1\r\nx\r\n0\r\n{}X: {fill}\r\n\r\n", line.repeat((len - 2) / line.len() - 1))
    };
    assert_eq!(trailers(8192).len(), 9 + 8192 - 1);
    limited(trailers(8191).as_bytes(), trailers(8200).as_bytes());
}

#[test]
fn a_hundred_thousand_chunks_leave_in_few() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let body = pattern(100_000);
    let many = chunked(&body, 1, &[]);
    let few = |chunks: Vec<Vec<u8>>| {
        assert!(chunks.len() < 10_000, "{} chunks", chunks.len());
        assert_eq!(chunks.concat(), body);
    };
    let (mut client, mut conn) = uploading(&router, &origin);
    let mut sender = client.sender();
    std::thread::scope(|scope| {
        scope.spawn(|| sender.send(&many));
        few(std::iter::from_fn(|| conn.read_chunk()).collect());
    });
    conn.read_trailers();
    conn.reply(200, "");
    assert_eq!(client.read_response().status, 200);
    drop(conn);

    let (mut client, conn) = downloading(&router, &origin);
    let mut sender = conn.sender();
    std::thread::scope(|scope| {
        scope.spawn(|| sender.send(&many));
        few(std::iter::from_fn(|| client.read_chunk()).collect());
    });
    client.read_trailers();
    drop((client, conn));
    router.assert_at_rest();
}

#[test]
fn a_request_has_sixty_four_interim_answers() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    // Short ones come in one read; long ones outgrow every buffer of heads.
    for fill in [0, 1000, 20_000] {
        let interim = |n: usize| format!("HTTP/1.1 103 Early Hints\r\nLink: {n}{}\r\n\r\n", "x".repeat(fill));
        let all = |count: usize| (0..count).map(interim).collect::<String>() + "HTTP/1.1 204 None\r\n\r\n";
        let mut client = router.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let (mut conn, _) = origin.accept_request();
        conn.send(all(64));
        for n in 0..64 {
            let head = client.read_response_head("GET");
            let link = head.fields.get("Link").expect("a link");
            assert_eq!((head.status, link.trim_end_matches('x')), (103, &*n.to_string()));
            assert_eq!(link.len(), n.to_string().len() + fill);
        }
        assert_eq!(client.read_response_head("GET").status, 204);

        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        conn.read_request();
        let _cut_before_the_end = conn.try_send(all(65));
        // Those that waited for the next one are not passed on either.
        let statuses = std::iter::repeat_with(|| client.read_response_head("GET").status);
        assert!(statuses.take_while(|status| *status == 103).count() <= 64, "the sixty-fifth is not passed on");
        conn.read_until_end();
    }
    router.assert_at_rest();
}

/// The status behind the interim answers.
#[track_caller]
fn last_of(client: &mut Client) -> u16 {
    loop {
        let head = client.read_response_head("GET");
        if head.status >= 200 {
            return head.status;
        }
    }
}

#[test]
fn an_interim_answer_waits_for_nothing_that_is_still_to_come() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let mut client = router.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut conn, _) = origin.accept_request();
    conn.send("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 O");
    for _ in 0..2 {
        assert_eq!(client.read_response_head("GET").status, 103);
    }
    conn.send("K\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.read_response().text(), "ok");
}

#[test]
fn a_broken_answer_behind_interim_ones_is_still_502() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    // The longer ones leave before the broken one is looked at.
    for fill in [0, 9_000] {
        let mut client = router.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let (mut conn, _) = origin.accept_request();
        let interim = format!("HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\n", "x".repeat(fill));
        conn.send(interim.repeat(2) + "HTTP/1.1 200 OK\r\n" + CHUNKED + "no size\r\n");
        assert_eq!(last_of(&mut client), 502, "the final answer had not begun");
        conn.read_until_end();
    }
    router.assert_at_rest();
}

#[test]
fn four_empty_lines_may_come_before_a_request_however_they_arrive() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    for split in [10, 2, 1, 3] {
        // One after another: each piece is read before the next is sent.
        let send = |client: &mut Client, bytes: &str| {
            for piece in bytes.as_bytes().chunks(split) {
                let _refused_already = client.try_send(piece);
                router.wait_counter("running", |n| n == 0);
            }
        };
        let mut client = router.client();
        for round in 0..2 {
            send(&mut client, &"\r\n".repeat(4));
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            let (mut conn, _) = origin.accept_request();
            conn.reply(200, "each request has its own");
            assert_eq!(client.read_response().status, 200, "round {round}, pieces of {split}");
            conn.close();
        }
        send(&mut client, &"\r\n".repeat(5));
        assert_eq!(client.read_response().status, 400, "pieces of {split}");
        assert_eq!(client.expect_closed(), Ending::Fin);
    }
    router.assert_at_rest();
}

#[test]
fn connection_names_thirty_two_fields_and_no_more() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let head = |start: &str, count: usize| {
        let names: Vec<String> = (0..count).map(|n| format!("x{n}")).collect();
        format!("{start}\r\nConnection: {}\r\nConnection:\r\nx31: secret\r\n", names.join(", "))
    };
    let get = "GET / HTTP/1.1\r\nHost: a";
    let mut client = router.client();
    client.send(head(get, 32) + "\r\n");
    let (mut conn, request) = origin.accept_request();
    assert!(!request.fields.has("x31"));
    conn.send(head("HTTP/1.1 200 OK\r\nContent-Length: 0", 32) + "\r\n");
    let response = client.read_response();
    assert_eq!((response.status, response.fields.has("x31")), (200, false));

    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    conn.read_request();
    conn.send(head("HTTP/1.1 200 OK\r\nContent-Length: 0", 33) + "\r\n");
    assert_eq!(client.read_response().status, 502);
    client.send(head(get, 33) + "\r\n");
    assert_eq!(client.read_response().status, 400);
    client.expect_closed();
}

#[test]
fn a_response_head_has_256_fields() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    for (count, status) in [(256, 204), (257, 502)] {
        let mut client = router.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let (mut conn, _) = origin.accept_request();
        conn.send(format!("HTTP/1.1 204 None\r\n{}\r\n", "a: b\r\n".repeat(count)));
        assert_eq!(client.read_response().status, status);
    }
}
