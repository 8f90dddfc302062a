//! What a request head must be to go on, and the status of those that are not.

use super::*;
use crate::http::Version;
use crate::http::framing::Body;
use crate::http::head::{Method, uri_too_long};

#[test]
fn a_plain_request_says_what_it_says() {
    let text = "POST /a/b?c=d HTTP/1.1\r\nHost: A.example:8080\r\nContent-Length: 5\r\nX: 1\r\nx: 2\r\n\r\n";
    with_request(text.as_bytes(), |head| {
        assert_eq!(head.method, Method::Post);
        assert_eq!(head.version, Version::Http11);
        assert_eq!((head.path, head.query), (&b"/a/b"[..], &b"?c=d"[..]));
        assert_eq!(head.raw_target, b"/a/b?c=d");
        assert_eq!((head.host, head.host_name()), (&b"A.example:8080"[..], &b"A.example"[..]));
        assert_eq!(head.body, Body::Length(5));
        assert_eq!(head.field("X"), Some(&b"1"[..]));
        assert_eq!(head.field("absent"), None);
        assert_eq!(head.fields.len(), 4);
        assert!(head.keep_alive && !head.expects_continue && !head.upgrade_websocket);
    })
    .unwrap();
}

#[test]
fn methods_are_case_sensitive_and_any_token_is_one() {
    for (name, due) in [("GET", Method::Get), ("get", Method::Other("get")), ("PURGE", Method::Other("PURGE"))] {
        let text = request_with(&format!("{name} / HTTP/1.1"), &[]);
        with_request(text.as_bytes(), |head| {
            assert_eq!(head.method, due);
            assert_eq!(head.method.as_str(), name);
        })
        .unwrap();
    }
    assert!(Method::Put.is_idempotent() && !Method::Post.is_idempotent() && !Method::Patch.is_idempotent());
    assert!(!Method::Other("get").is_idempotent());
}

// Section 1: what the tokeniser lets through.

#[test]
fn a_bare_lf_never_ends_a_line() {
    for text in [
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\nHost: a\n\nGET /b HTTP/1.1\r\n\r\n",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\n",
    ] {
        assert_eq!(refused(text), 400, "{text:?}");
    }
}

#[test]
fn a_few_empty_lines_before_a_request_are_skipped_and_no_more() {
    for n in 0..=4 {
        let text = "\r\n".repeat(n) + &get_with(&[]);
        assert!(
            matches!(scan(text.as_bytes(), 0), Scan::Whole { skip, len } if skip == 2 * n && skip + len == text.len())
        );
    }
    assert_eq!(refused("\r\n".repeat(5) + &get_with(&[])), 400);
    assert_eq!(refused("\r\n".repeat(5)), 400);
    assert_eq!(refused(format!("\r\r\n{}", get_with(&[]))), 400);
}

#[test]
fn only_leading_empty_lines_are_no_beginning() {
    for (text, due) in
        [("", false), ("\r", false), ("\r\n", false), ("\r\n\r\n", false), ("\r\nG", true), ("GET / H", true)]
    {
        let Scan::Partial { begun, scanned } = scan(text.as_bytes(), 0) else { panic!("{text:?}") };
        assert_eq!((begun, scanned), (due, text.len()), "{text:?}");
    }
}

#[test]
fn a_first_byte_that_begins_no_message_is_refused_at_once() {
    for first in [b"\x16\x03\x01".as_slice(), b"\0", b" GET", b"\x80\x2e", b"(", b"\x7f", b"\t"] {
        assert!(matches!(scan(first, 0), Scan::Bad(r) if r.status == 400), "{first:?}");
    }
    let Scan::Bad(refusal) = scan(b"\x16\x03", 0) else { panic!() };
    assert!(refusal.why.contains("TLS"));
}

#[test]
fn http_0_9_is_refused_without_waiting_for_more() {
    assert!(matches!(scan(b"GET /\r\n", 0), Scan::Bad(r) if r.status == 400));
    assert_eq!(refused("GET / HTTP/0.9\r\nHost: a\r\n\r\n"), 400);
}

#[test]
fn versions_and_blanks_of_the_request_line_are_exact() {
    for (line, status) in [
        ("GET / HTTP/1.1", 0),
        ("GET / HTTP/1.0", 0),
        ("GET / HTTP/2.0", 505),
        ("GET / HTTP/3.0", 505),
        ("GET / HTTP/1.2", 505),
        ("GET / HTTP/1.10", 400),
        ("GET / HTTP/11", 400),
        ("GET / HTTP/1", 400),
        ("GET / HTTP/1.", 400),
        ("GET / http/1.1", 400),
        ("GET / HTTP/1.1 ", 400),
        ("GET /  HTTP/1.1", 400),
        ("GET  / HTTP/1.1", 400),
        ("GET\t/ HTTP/1.1", 400),
        ("GET /\tHTTP/1.1", 400),
        ("GET / HTTP/1.1\t", 400),
        ("GET /\x0b HTTP/1.1", 400),
        ("GET HTTP/1.1", 400),
        ("GET / x HTTP/1.1", 400),
        ("G(T / HTTP/1.1", 400),
        ("GET: / HTTP/1.1", 400),
        ("GET / HTTP/1.1\r", 400),
    ] {
        assert_eq!(refused(request_with(line, &[])), status, "{line:?}");
    }
    assert_eq!(refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505, "the preface of HTTP/2");
}

#[test]
fn malformed_fields_are_refused() {
    for line in [
        "Transfer-Encoding : chunked",
        "Content-Length\t: 5",
        " X: 1",
        "\tX: 1",
        ": empty name",
        "X",
        "X 1",
        "X: a\0b",
        "X: a\rb",
        "X: a\x7fb",
        "X: a\x01b",
        "X: a\x0bb",
        "X\0: a",
        "X\u{e9}: a",
        "X(: a",
        "X: 1\r\n folded",
        "X: 1\r\n\tfolded",
        "X: 1\r\n ",
        "X:\r\n \r\nY: 1",
    ] {
        assert_eq!(refused(get_with(&[line])), 400, "{line:?}");
        assert_eq!(refused(get_with(&["A: 1", line, "B: 2"])), 400, "{line:?}");
    }
    assert_eq!(
        refused("GET / HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n"),
        400,
        "a blank line start after the start line"
    );
}

#[test]
fn obs_text_in_a_value_passes_unchanged() {
    let text = b"GET / HTTP/1.1\r\nHost: a\r\nX: \x80\xff\xe9\r\n\r\n";
    assert_eq!(with_request(text, |head| head.field("x").map(<[u8]>::to_vec)), Ok(Some(b"\x80\xff\xe9".to_vec())));
}

#[test]
fn names_and_values_may_be_larger_than_any_packed_length() {
    // HAProxy CVE-2021-40346: a name of 256 + n bytes hid a second Content-Length.
    let name = format!("Content-Length{}", "0".repeat(256));
    let value = "v".repeat(70_000);
    let text = request_with("POST / HTTP/1.1", &[&format!("{name}: {value}"), "Content-Length: 3"]);
    with_request(text.as_bytes(), |head| {
        assert_eq!(head.body, Body::Length(3));
        assert_eq!(head.field(&name).map(<[u8]>::len), Some(70_000));
    })
    .unwrap();
}

#[test]
fn too_long_a_target_is_414_before_anything_else() {
    let line = |n: usize| format!("GET /{} HTTP/1.1", "a".repeat(n));
    assert_eq!(refused(request_with(&line(8191), &[])), 0);
    assert_eq!(refused(request_with(&line(8192), &[])), 414);
    assert_eq!(refused(request_with(&line(8192), &["bad : field", "Content-Length: x"])), 414);
    assert!(uri_too_long(format!("GET /{}", "a".repeat(8192)).as_bytes(), 8192));
    assert!(!uri_too_long(format!("GET /{}", "a".repeat(8191)).as_bytes(), 8192));
    assert!(uri_too_long(format!("\r\nGET /{}", "a".repeat(8192)).as_bytes(), 8192));
    assert!(!uri_too_long(b"", 0) && !uri_too_long(b"GET", 0) && !uri_too_long(b"GET /a HTTP/1.1\r\nA: b", 2));
}

#[test]
fn too_many_fields_is_431() {
    let lines = |n: usize| vec!["X: 1"; n];
    assert_eq!(refused(get_with(&lines(99))), 0);
    assert_eq!(refused(get_with(&lines(100))), 431);
    assert_eq!(refused(get_with(&lines(300))), 431);
    let mut bad = lines(300);
    bad.push("bad : field");
    assert_eq!(refused(get_with(&bad)), 431);
}

// Section 2, in its order; section 3 by number.

#[test]
fn transfer_encoding_beside_content_length_is_refused() {
    for lines in [
        ["Transfer-Encoding: chunked", "Content-Length: 5"],
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Content-Length: 0", "transfer-encoding: CHUNKED"],
        ["Content-Length: ", "Transfer-Encoding: chunked"],
    ] {
        assert_eq!(refused(request_with("POST / HTTP/1.1", &lines)), 400, "{lines:?}");
    }
}

#[test]
fn only_exactly_chunked_frames_a_body() {
    for (lines, status) in [
        (&["Transfer-Encoding: chunked"][..], 0),
        (&["transfer-encoding:\tChunked "], 0),
        (&["Transfer-Encoding: gzip"], 501),
        (&["Transfer-Encoding: gzip, chunked"], 501),
        (&["Transfer-Encoding: identity"], 501),
        (&["Transfer-Encoding: xchunked"], 501),
        (&["Transfer-Encoding: chunke"], 501),
        (&["Transfer-Encoding: gzip", "Transfer-Encoding: chunked"], 501),
        (&["Transfer-Encoding: gzip;q=1, chunked"], 501),
        (&["Transfer-Encoding: chunked, gzip"], 400),
        (&["Transfer-Encoding: chunked", "Transfer-Encoding: gzip"], 400),
        (&["Transfer-Encoding: chunked, chunked"], 400),
        (&["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], 400),
        (&["Transfer-Encoding: chunked, identity"], 400),
        (&["Transfer-Encoding: "], 400),
        (&["Transfer-Encoding: ,chunked"], 400),
        (&["Transfer-Encoding: chunked,"], 400),
        (&["Transfer-Encoding: ", "Transfer-Encoding: chunked"], 400),
        (&["Transfer-Encoding: chunked;a=b"], 400),
        (&["Transfer-Encoding: \"chunked\""], 400),
        (&["Transfer-Encoding: chu nked"], 400),
        (&["Transfer-Encoding: chunk\u{212a}ed"], 400),
        (&["Transfer-Encoding: chunked\u{a0}"], 400),
    ] {
        assert_eq!(refused(request_with("POST / HTTP/1.1", lines)), status, "{lines:?}");
    }
}

#[test]
fn an_http_1_0_request_has_no_transfer_encoding() {
    assert_eq!(refused(request_with("POST / HTTP/1.0", &["Transfer-Encoding: chunked"])), 400);
    assert_eq!(refused(request_with("POST / HTTP/1.0", &["Transfer-Encoding: chunked", "Content-Length: 3"])), 400);
}

#[test]
fn a_content_length_is_one_line_of_digits() {
    for (lines, status) in [
        (&["Content-Length: 0"][..], 0),
        (&["Content-Length: 007"], 0),
        (&["Content-Length: 9223372036854775807"], 0),
        (&["Content-Length: 9223372036854775808"], 400),
        (&["Content-Length: 18446744073709551617"], 400),
        (&["Content-Length: "], 400),
        (&["Content-Length: +5"], 400),
        (&["Content-Length: -5"], 400),
        (&["Content-Length: 5 5"], 400),
        (&["Content-Length: 5, 5"], 400),
        (&["Content-Length: 0x5"], 400),
        (&["Content-Length: 5.0"], 400),
        (&["Content-Length: 5;"], 400),
        (&["Content-Length: 5a"], 400),
        (&["Content-Length: ٥"], 400),
        (&["Content-Length: 5", "Content-Length: 5"], 400),
        (&["Content-Length: 5", "Content-Length: 6"], 400),
        (&["Content-Length: ", "Content-Length: 5"], 400),
        (&["Content-Length: 5", "content-length: "], 400),
    ] {
        assert_eq!(refused(request_with("POST / HTTP/1.1", lines)), status, "{lines:?}");
    }
}

#[test]
fn a_request_without_framing_fields_has_no_body_whatever_its_method() {
    for method in ["GET", "POST", "PUT", "DELETE"] {
        for version in ["HTTP/1.1", "HTTP/1.0"] {
            let text = request_with(&format!("{method} / {version}"), &[]);
            assert_eq!(with_request(text.as_bytes(), |h| h.body), Ok(Body::None));
        }
    }
    let text = get_with(&["Content-Length: 4"]);
    assert_eq!(with_request(text.as_bytes(), |h| h.body), Ok(Body::Length(4)), "a GET may have one");
}

#[test]
fn an_underscore_never_frames() {
    let text = get_with(&["Content_Length: 4", "Transfer_Encoding: chunked"]);
    assert_eq!(with_request(text.as_bytes(), |h| h.body), Ok(Body::None));
}

#[test]
fn connect_is_refused_whatever_else_is_wrong() {
    assert_eq!(refused(request_with("CONNECT a.example:443 HTTP/1.1", &[])), 405);
    assert_eq!(refused("CONNECT a.example:443 HTTP/1.1\r\n\r\n"), 405);
    assert_eq!(
        refused(request_with("connect a.example:443 HTTP/1.1", &[])),
        400,
        "another method, and no target of its"
    );
}

#[test]
fn expectations_are_known_or_refused() {
    for (lines, status, expects) in [
        (&["Expect: 100-continue", "Content-Length: 5"][..], 0, true),
        (&["expect: 100-Continue", "Transfer-Encoding: chunked"], 0, true),
        (&["Expect: 100-continue"], 0, false),
        (&["Expect: 100-continue", "Content-Length: 0"], 0, false),
        (&["Expect: 200-ok", "Content-Length: 5"], 417, false),
        (&["Expect: ", "Content-Length: 5"], 417, false),
        (&["Expect: y 100-continue", "Content-Length: 5"], 417, false),
        (&["Expect: 100-continue, x", "Content-Length: 5"], 417, false),
        (&["Expect: x", "Expect: 100-continue", "Content-Length: 5"], 417, false),
        (&["Expect: 100-continue", "Expect: x", "Content-Length: 5"], 417, false),
    ] {
        let text = request_with("POST / HTTP/1.1", lines);
        let got = with_request(text.as_bytes(), |h| h.expects_continue);
        assert_eq!(got.map_err(|r| r.status), if status == 0 { Ok(expects) } else { Err(status) }, "{lines:?}");
    }
    for line in ["Expect: 100-continue", "Expect: whatever"] {
        let text = request_with("POST / HTTP/1.0", &[line, "Content-Length: 5"]);
        assert_eq!(with_request(text.as_bytes(), |h| (h.expects_continue, h.body)), Ok((false, Body::Length(5))));
    }
}

#[test]
fn an_expectation_never_changes_the_framing() {
    let text = request_with("POST / HTTP/1.1", &["Expect: 100-continue", "Content-Length: 5", "Content-Length: 0"]);
    assert_eq!(refused(text), 400);
}

#[test]
fn persistence_follows_version_and_connection() {
    for (start, lines, keep) in [
        ("GET / HTTP/1.1", &[][..], true),
        ("GET / HTTP/1.1", &["Connection: close"], false),
        ("GET / HTTP/1.1", &["Connection: CLOSE"], false),
        ("GET / HTTP/1.1", &["Connection: ", "Connection: x, close"], false),
        ("GET / HTTP/1.1", &["Connection: keep-alive, close"], false),
        ("GET / HTTP/1.1", &["Connection: closed"], true),
        ("GET / HTTP/1.0", &[], false),
        ("GET / HTTP/1.0", &["Connection: Keep-Alive"], true),
        ("GET / HTTP/1.0", &["Connection: keep-alive", "Connection: close"], false),
        ("GET / HTTP/1.0", &["Keep-Alive: timeout=5"], false),
    ] {
        let text = request_with(start, lines);
        assert_eq!(with_request(text.as_bytes(), |h| h.keep_alive), Ok(keep), "{start} {lines:?}");
    }
}

#[test]
fn connection_may_not_name_a_multitude() {
    let names = |n: usize| format!("Connection: {}", vec!["x"; n].join(","));
    assert_eq!(refused(get_with(&[&names(32)])), 0);
    assert_eq!(refused(get_with(&[&names(33)])), 400);
    assert_eq!(refused(get_with(&[&names(20), &names(20)])), 400);
    assert_eq!(refused(get_with(&[&format!("Connection: {}", ",".repeat(100))])), 0, "empty elements name nothing");
}

#[test]
fn an_upgrade_is_for_websocket_on_a_get_without_a_body() {
    let both = ["Connection: keep-alive, Upgrade", "Upgrade: WebSocket"];
    let asks =
        |start: &str, lines: &[&str]| with_request(request_with(start, lines).as_bytes(), |h| h.upgrade_websocket);
    assert_eq!(asks("GET / HTTP/1.1", &both), Ok(true));
    assert_eq!(
        asks("GET / HTTP/1.1", &["Connection: ", "Connection: upgrade", "Upgrade: x", "Upgrade: y, websocket"]),
        Ok(true)
    );
    assert_eq!(asks("POST / HTTP/1.1", &both), Ok(false));
    assert_eq!(asks("GET / HTTP/1.0", &both), Ok(false));
    assert_eq!(asks("GET / HTTP/1.1", &["Upgrade: websocket"]), Ok(false));
    assert_eq!(asks("GET / HTTP/1.1", &["Connection: upgrade", "Upgrade: h2c"]), Ok(false));
    assert_eq!(asks("GET / HTTP/1.1", &["Connection: upgrade", "Upgrade: websockets"]), Ok(false));
    for body in ["Content-Length: 5", "Content-Length: 0", "Transfer-Encoding: chunked"] {
        assert_eq!(asks("GET / HTTP/1.1", &[both[0], both[1], body]), Ok(false), "{body}");
    }
}

#[test]
fn max_forwards_counts_for_options_and_trace_only() {
    let hops = |start: &str, line: &str| with_request(request_with(start, &[line]).as_bytes(), |h| h.max_forwards());
    assert_eq!(hops("OPTIONS * HTTP/1.1", "Max-Forwards: 0"), Ok(Some(0)));
    assert_eq!(hops("TRACE / HTTP/1.1", "max-forwards: 7"), Ok(Some(7)));
    assert_eq!(hops("GET / HTTP/1.1", "Max-Forwards: 7"), Ok(None));
    assert_eq!(hops("TRACE / HTTP/1.1", "Max-Forwards: +7"), Ok(None));
}

#[test]
fn a_head_must_be_one_head() {
    let mut fields = no_fields();
    for bytes in [&b"GET / HTTP/1.1\r\nHost: a\r\n"[..], b"", b"GET / HTTP/1.1\r\nHost: a\r\n\r\nX", b"\r\n\r\n"] {
        assert_eq!(parse_request(bytes, &mut fields, &LIMITS).err().map(|r| r.status), Some(400), "{bytes:?}");
    }
}
