//! Hosts and targets: what is matched is what is forwarded, and it is one thing to every reader.

use super::*;

#[test]
fn an_http_1_1_request_has_exactly_one_host_that_is_one() {
    let with = |hosts: &[&str]| {
        let lines: String = hosts.iter().map(|h| format!("Host: {h}\r\n")).collect();
        format!("GET / HTTP/1.1\r\n{lines}\r\n")
    };
    assert_eq!(refused(with(&[])), 400);
    assert_eq!(refused(with(&["a", "a"])), 400);
    assert_eq!(refused(with(&["a", "b"])), 400);
    assert_eq!(refused(with(&["", "a"])), 400);
    for good in [
        "a",
        "a.example",
        "A.Example.",
        "a:80",
        "a:0",
        "a:65535",
        "127.0.0.1",
        "127.0.0.1:8080",
        "[::1]",
        "[::1]:80",
        "[::ffff:1.2.3.4]",
        "a_b.example",
        "xn--e1afmkfd",
        "a%20b",
        "a~b",
        "a!$&'()*+;=b",
    ] {
        assert_eq!(refused(with(&[good])), 0, "{good}");
    }
    for bad in [
        "",
        "a b",
        "a/b",
        "a?b",
        "a#b",
        "a@b",
        "u:p@a",
        "a:",
        "a:8x",
        "a:+80",
        "a:80:80",
        "a:65536",
        "a:000080",
        ":80",
        "[::1",
        "::1",
        "::1]",
        "[]",
        "[::1]x",
        "[::1]:",
        "[::g]",
        "[::1%eth0]",
        "[127.0.0.1]",
        "[v1.a]",
        "a\\b",
        "a,b",
        "a, b",
        "a%2",
        "a%zz",
        "\u{e9}",
        "<a>",
        "a\"",
        "a\tb",
        "http://a",
        "a[::1]",
        "[[::1]]",
        "[::1]]:80",
    ] {
        assert_eq!(refused(with(&[bad])), 400, "{bad:?}");
    }
}

#[test]
fn an_http_1_0_request_may_have_no_host_but_no_bad_one() {
    let host = |text: &str| with_request(text.as_bytes(), |h| h.host.to_vec()).map_err(|r| r.status);
    assert_eq!(host("GET / HTTP/1.0\r\n\r\n"), Ok(vec![]));
    assert_eq!(host("GET / HTTP/1.0\r\nHost: a\r\n\r\n"), Ok(b"a".to_vec()));
    assert_eq!(host("GET http://a:1/ HTTP/1.0\r\n\r\n"), Ok(b"a:1".to_vec()));
    assert_eq!(host("GET / HTTP/1.0\r\nHost: a b\r\n\r\n"), Err(400));
    assert_eq!(host("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"), Err(400));
}

#[test]
fn a_host_name_has_no_port_and_no_final_dot() {
    for (host, name) in [
        ("a.example", "a.example"),
        ("a.example:80", "a.example"),
        ("a.example.", "a.example"),
        ("a.example.:80", "a.example"),
        ("[::1]:80", "[::1]"),
        ("[::1]", "[::1]"),
    ] {
        let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(with_request(text.as_bytes(), |h| h.host_name().to_vec()), Ok(name.as_bytes().to_vec()));
    }
}

/// Path and query, or the status.
fn target(method: &str, target: &str, host: &str) -> Result<(String, String), u16> {
    let text = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    with_request(text.as_bytes(), |h| {
        assert_eq!(h.raw_target, target.as_bytes());
        (String::from_utf8_lossy(h.path).into_owned(), String::from_utf8_lossy(h.query).into_owned())
    })
    .map_err(|r| r.status)
}

fn both(path: &str, query: &str) -> Result<(String, String), u16> {
    Ok((path.to_owned(), query.to_owned()))
}

#[test]
fn origin_form_is_split_and_kept_as_it_is() {
    for (text, path, query) in [
        ("/", "/", ""),
        ("/a?b", "/a", "?b"),
        ("/a?", "/a", "?"),
        ("/a?b?c=/../d", "/a", "?b?c=/../d"),
        ("//a//b/", "//a//b/", ""),
        ("/%zz%0%2", "/%zz%0%2", ""),
        ("/a%2Fb", "/a%2Fb", ""),
        ("/?%00", "/", "?%00"),
        ("/a?b\\c", "/a", "?b\\c"),
        ("/a:b@c;d=e,f|g{h}~", "/a:b@c;d=e,f|g{h}~", ""),
        ("/...", "/...", ""),
        ("/.a/..b/c./d../.%2e.", "/.a/..b/c./d../.%2e.", ""),
        ("/%2f..", "/%2f..", ""),
    ] {
        assert_eq!(target("GET", text, "a"), both(path, query), "{text}");
    }
}

#[test]
fn dot_segments_are_refused_however_they_are_written() {
    for text in [
        "/.",
        "/..",
        "/./",
        "/../",
        "/a/..",
        "/a/../b",
        "/a/./b",
        "/%2e",
        "/%2E/",
        "/%2e%2e/a",
        "/.%2e",
        "/%2E.",
        "/a/%2e./b",
        "/..?q",
        "/.?q",
        "/a//../b",
        "http://a/..",
        "http://a/b/%2e%2E/c",
    ] {
        assert_eq!(target("GET", text, "a"), Err(400), "{text}");
    }
}

#[test]
fn bytes_that_no_target_may_have_are_refused() {
    for text in [
        "/a#b",
        "/#",
        "/?a#b",
        "#",
        "/a\\b",
        "\\",
        "/a\\..\\b",
        "/é",
        "/?é",
        "/a%00b",
        "/%00",
        "/\x01",
        "/\x7f",
        "/?\x7f",
        "http://a/#",
    ] {
        assert_eq!(target("GET", text, "a"), Err(400), "{text:?}");
    }
    assert_eq!(refused(b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    assert_eq!(refused(b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
}

#[test]
fn the_asterisk_is_for_options_and_the_authority_for_connect() {
    assert_eq!(target("OPTIONS", "*", "a"), both("*", ""));
    for text in ["*", "a", "a:80", "@x", "t", "a.example:443", "?a", "*a", "/../"] {
        assert_eq!(target("GET", text, "a"), Err(400), "{text}");
    }
    for text in ["*?", "**", "*/", "a:80"] {
        assert_eq!(target("OPTIONS", text, "a"), Err(400), "{text}");
    }
}

#[test]
fn absolute_form_is_always_rewritten() {
    for (method, text, path, query) in [
        ("GET", "http://a/b?c", "/b", "?c"),
        ("GET", "HTTP://a/b", "/b", ""),
        ("GET", "https://a/b", "/b", ""),
        ("GET", "http://A/b", "/b", ""),
        ("GET", "http://a", "/", ""),
        ("GET", "http://a?b", "/", "?b"),
        ("GET", "http://a?b/@c", "/", "?b/@c"),
        ("GET", "http://a/@b", "/@b", ""),
        ("OPTIONS", "http://a", "*", ""),
        ("OPTIONS", "http://a/", "/", ""),
        ("OPTIONS", "http://a?b", "/", "?b"),
    ] {
        assert_eq!(target(method, text, "a"), both(path, query), "{method} {text}");
    }
}

#[test]
fn an_absolute_target_agrees_with_host_and_has_no_user() {
    assert_eq!(target("GET", "http://a:80/", "a:80"), both("/", ""));
    for (text, host) in [
        ("http://a/", "b"),
        ("http://a:80/", "a"),
        ("http://a/", "a:80"),
        ("http://u@a/", "a"),
        ("http://u:p@a/", "a"),
        ("http://u@a/", "u@a"),
        ("http:///b", "a"),
        ("http://", "a"),
        ("http:/a", "a"),
        ("http:a", "a"),
        ("ftp://a/", "a"),
        ("file:///a", "a"),
        ("ws://a/", "a"),
        ("http://a b/", "a"),
        ("http://a\\b/", "a"),
        ("http://a:b/", "a:b"),
        ("//", ""),
    ] {
        assert_eq!(target("GET", text, host), Err(400), "{text} {host}");
    }
    assert_eq!(refused("GET http://a/ HTTP/1.1\r\n\r\n"), 400, "HTTP/1.1 needs Host beside it");
}
