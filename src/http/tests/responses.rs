//! What a response head must be to go on: a backend is a peer like any other.

use super::*;
use crate::http::Version;
use crate::http::framing::ResponseBody;

fn bad(bytes: impl AsRef<[u8]>) -> bool {
    with_response(bytes.as_ref(), false, |_| ()).is_err()
}

fn body(status: u16, lines: &[&str], to_head: bool) -> Option<ResponseBody> {
    let text = response_with(&format!("HTTP/1.1 {status} x"), lines);
    with_response(text.as_bytes(), to_head, |h| h.body).ok()
}

#[test]
fn a_status_line_is_exact() {
    for line in [
        "HTTP/1.1 200 OK",
        "HTTP/1.0 200 OK",
        "HTTP/1.1 200 ",
        "HTTP/1.1 200",
        "HTTP/1.1 100 Continue",
        "HTTP/1.1 599 x",
        "HTTP/1.1 200 a\tb \u{e9}",
    ] {
        assert!(!bad(response_with(line, &[])), "{line:?}");
    }
    for line in [
        "HTTP/1.1 099 x",
        "HTTP/1.1 000 x",
        "HTTP/1.1 600 x",
        "HTTP/1.1 999 x",
        "HTTP/1.1 20 x",
        "HTTP/1.1 2000 x",
        "HTTP/1.1 2x0 x",
        "HTTP/1.1  200 x",
        "HTTP/1.1\t200 x",
        "HTTP/2.0 200 x",
        "HTTP/1.2 200 x",
        "HTTP/0.9 200 x",
        "http/1.1 200 x",
        " HTTP/1.1 200 x",
        "ICY 200 x",
        "HTTP/1.1",
        "HTTP/1.1 200\tx",
        "HTTP/1.1 200 a\0b",
        "HTTP/1.1 200 a\rb",
        "HTTP/1.1 200 a\x7fb",
        "\r\nHTTP/1.1 200 OK",
        "HTTP/1.1 +20 x",
        "\x16\x03\x01",
    ] {
        assert!(bad(response_with(line, &[])), "{line:?}");
    }
}

#[test]
fn a_reason_is_kept_raw_or_is_empty() {
    let reason = |bytes: &[u8]| with_response(bytes, false, |h| h.reason.to_vec()).unwrap();
    assert_eq!(reason(b"HTTP/1.1 404 Not  Here\r\n\r\n"), b"Not  Here");
    assert_eq!(reason(b"HTTP/1.1 404 caf\xe9\r\n\r\n"), b"caf\xe9");
    assert_eq!(reason(b"HTTP/1.1 404 \r\n\r\n"), b"");
    assert_eq!(reason(b"HTTP/1.1 404\r\n\r\n"), b"");
}

#[test]
fn malformed_fields_and_line_ends_are_bad() {
    for text in [
        "HTTP/1.1 200 OK\n\n",
        "HTTP/1.1 200 OK\r\nX: 1\n\r\n",
        "HTTP/1.1 200 OK\r\nX: 1\r\n\n",
        "HTTP/1.1 200 OK\r\nX : 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: 1\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\n X: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX\r\n\r\n",
    ] {
        assert!(bad(text), "{text:?}");
    }
    assert!(bad(response_with("HTTP/1.1 200 OK", &vec!["X: 1"; 257])));
    assert!(!bad(response_with("HTTP/1.1 200 OK", &vec!["X: 1"; 256])));
}

#[test]
fn framing_that_two_readers_may_read_in_two_ways_is_bad() {
    for lines in [
        &["Content-Length: 5", "Content-Length: 5"][..],
        &["Content-Length: 5", "Content-Length: 6"],
        &["Content-Length: 5, 5"],
        &["Content-Length: +5"],
        &["Content-Length: -1"],
        &["Content-Length: "],
        &["Content-Length: 9223372036854775808"],
        &["Content-Length: 5", "Transfer-Encoding: chunked"],
        &["Transfer-Encoding: gzip"],
        &["Transfer-Encoding: gzip, chunked"],
        &["Transfer-Encoding: chunked, chunked"],
        &["Transfer-Encoding: chunked, gzip"],
        &["Transfer-Encoding: "],
    ] {
        assert_eq!(body(200, lines, false), None, "{lines:?}");
    }
    assert!(bad("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"));
}

#[test]
fn a_body_is_framed_by_its_fields_or_ends_with_the_connection() {
    assert_eq!(body(200, &["Content-Length: 5"], false), Some(ResponseBody::Length(5)));
    assert_eq!(body(200, &["Transfer-Encoding: Chunked"], false), Some(ResponseBody::Chunked));
    assert_eq!(body(200, &[], false), Some(ResponseBody::UntilClose));
    assert_eq!(body(200, &["Content_Length: 5"], false), Some(ResponseBody::UntilClose));
}

#[test]
fn head_1xx_204_and_304_have_no_body_whatever_their_fields_say() {
    for lines in [&[][..], &["Content-Length: 5"], &["Transfer-Encoding: chunked"]] {
        for status in [100, 101, 103, 199, 204, 304] {
            assert_eq!(body(status, lines, false), Some(ResponseBody::None), "{status} {lines:?}");
        }
        assert_eq!(body(200, lines, true), Some(ResponseBody::None), "{lines:?}");
    }
    assert_eq!(body(204, &["Content-Length: x", "Transfer-Encoding: y"], false), Some(ResponseBody::None));
    // These two say the length of a body that is elsewhere, and it would go on.
    assert_eq!(body(304, &["Content-Length: x"], false), None);
    assert_eq!(body(200, &["Content-Length: 1", "Content-Length: 2"], true), None);
}

#[test]
fn a_backend_connection_is_kept_only_after_a_message_with_an_end() {
    for (start, lines, keep) in [
        ("HTTP/1.1 200 OK", &["Content-Length: 0"][..], true),
        ("HTTP/1.1 200 OK", &["Transfer-Encoding: chunked"], true),
        ("HTTP/1.1 204 x", &[], true),
        ("HTTP/1.1 200 OK", &[], false),
        ("HTTP/1.1 200 OK", &["Content-Length: 0", "Connection: close"], false),
        ("HTTP/1.1 200 OK", &["Content-Length: 0", "Connection: ", "Connection: a, Close"], false),
        ("HTTP/1.0 200 OK", &["Content-Length: 0"], false),
        ("HTTP/1.0 200 OK", &["Content-Length: 0", "Connection: keep-alive"], true),
        ("HTTP/1.0 200 OK", &["Connection: keep-alive"], false),
        ("HTTP/1.1 101 x", &["Connection: upgrade", "Upgrade: websocket"], false),
    ] {
        let text = response_with(start, lines);
        assert_eq!(with_response(text.as_bytes(), false, |h| h.keep_alive), Ok(keep), "{start} {lines:?}");
    }
    let text = response_with("HTTP/1.0 200 OK", &[]);
    assert_eq!(with_response(text.as_bytes(), false, |h| h.version), Ok(Version::Http10));
}

#[test]
fn connection_of_a_response_may_not_name_a_multitude() {
    let line = format!("Connection: {}", vec!["x"; 33].join(","));
    assert!(bad(response_with("HTTP/1.1 204 x", &[&line])));
}

#[test]
fn no_response_makes_the_parser_panic() {
    // A cheap walk through broken heads: each byte of a good one replaced by each awkward byte, and cut anywhere.
    let good =
        response_with("HTTP/1.1 200 OK", &["Content-Length: 5", "Connection: close, x", "X: \u{e9}"]).into_bytes();
    let mut fields = no_fields();
    for at in 0..good.len() {
        for byte in [0, 9, 10, 13, 32, b':', b',', b'0', b'9', 0x7f, 0x80, 0xff] {
            let mut text = good.clone();
            text[at] = byte;
            let _ = scan_response(&text, at);
            let mut own = no_fields();
            let _ = parse_response(&text, &mut own, false);
        }
        let _ = parse_response(&good[..at], &mut fields, true);
    }
}
