//! Slices and cells are used again and not wiped: no byte of an earlier client is in a later message, nor what debug builds
//! fill them with when they come back (0xdb).

mod support;

use support::router::one_pool;
use support::{Client, Origin, Request, Router, reply};

/// What the earlier client sends and gets, at each place of a slice.
const OLD: &str = "s3cr3t/";

/// Nothing that was not sent for this exchange.
#[track_caller]
fn assert_own(what: &str, bytes: &[u8]) {
    let stale = bytes.windows(OLD.len()).any(|window| window == OLD.as_bytes());
    assert!(!stale && !bytes.contains(&0xdb), "{what}: {}", support::shown(bytes));
}

/// Both ways: plain and chunked, and lengths around what a slice and a cell hold.
#[test]
fn no_byte_of_an_earlier_session_is_in_a_message() {
    let origin = Origin::serve(|request: &Request| match request.target.as_str() {
        "/old" => reply(200, &[&format!("X-Old: {}", OLD.repeat(200))], OLD.repeat(4000)),
        _ => reply(200, &[&format!("X-Back: {}", "n".repeat(request.body.len() % 700))], &request.body),
    });
    // One worker: each session has the same two slices.
    let router =
        Router::start(&one_pool(&origin, "[server]\nworkers = 1\nslice_size = 4k\n[limits]\nheader_size = 4k\n"));
    let old = format!(
        "POST /old HTTP/1.1\r\nHost: a\r\nX-Old: {}\r\nContent-Length: {}\r\n\r\n{}",
        OLD.repeat(400),
        20_000 * OLD.len(),
        OLD.repeat(20_000)
    );
    for len in [0, 1, 2, 1023, 1024, 1025, 3000, 4095, 4096, 4097, 9000] {
        let mut earlier = router.client();
        assert_eq!(earlier.ask(&old).status, 200);
        // A head that has not arrived whole is put away in cells, and given up.
        earlier.send(format!("GET /old HTTP/1.1\r\nX-Old: {}", OLD.repeat(300)));
        router.wait_counter("cells_used", |n| n > 0);
        earlier.close();
        router.assert_at_rest();
        let body = "n".repeat(len);
        let length = format!("POST /new HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n{body}");
        let chunk = if len == 0 { String::new() } else { format!("{len:x}\r\n{body}\r\n") };
        let chunked = format!("POST /new HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n");
        for request in [length, chunked] {
            // Also with a head of which the first part was put away.
            let mut later: Client = router.client();
            let (first, second) = request.split_at(30);
            later.send(first);
            router.wait_counter("cells_used", |n| n > 0);
            let response = later.ask(second);
            assert_eq!(response.status, 200);
            assert_own("the answer's head", &response.raw_head);
            assert_own("the answer's body", &response.body);
            assert_eq!(response.body, body.as_bytes(), "{len}");
            let seen = origin.last();
            assert_own("the request's head", &seen.raw_head);
            assert_eq!(seen.body, body.as_bytes(), "{len}");
            later.close();
            router.assert_at_rest();
        }
    }
}
