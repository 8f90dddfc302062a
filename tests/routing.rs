//! Which route a request takes: first in the file that matches wins, and what happens when none does.

mod support;

use support::{Client, Origin, Router, TempDir, fill, reply};

const TABLE: &str = r#"
[listen:http]
address = 127.0.0.1:0

[route:exact]
host = A.test
path = /exact
respond = 200 "exact"

[route:two]
host = one.test
host = two.test
path = /p
path = /q/*
respond = 200 "two"

[route:suffix]
host = *.b.test
respond = 200 "suffix"

[route:prefix]
path = /v1/*
respond = 200 "prefix"

[route:shadowed]
path = /v1/special
respond = 200 "never"

[route:method]
path = /m
method = GET
method = PUT
respond = 200 "method"

[route:patch]
path = /m
method = PATCH
respond = 200 "patch"

[route:header]
path = /h
header = X-Kind: beta
header = X-Any
respond = 200 "header"
"#;

#[track_caller]
fn check(client: &mut Client, table: &[(&str, &str, &str)]) {
    for (host, path, expected) in table {
        let response = client.ask(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let got = if response.status == 200 { response.text() } else { response.status.to_string() };
        assert_eq!(got.trim_end(), *expected, "{host}{path}");
    }
}

#[test]
fn hosts_compare_without_case_and_port() {
    let router = Router::start(TABLE);
    check(
        &mut router.client(),
        &[
            ("a.test", "/exact", "exact"),
            ("a.TEST:8080", "/exact", "exact"),
            ("aa.test", "/exact", "404"),
            ("one.test", "/p", "two"),
            ("two.test", "/q/x", "two"),
            ("two.test", "/x", "404"),
            ("x.b.test", "/", "suffix"),
            ("X.Y.B.test:1", "/", "suffix"),
            ("b.test", "/", "404"),
            ("xb.test", "/", "404"),
        ],
    );
}

#[test]
fn paths_compare_byte_by_byte_without_the_query() {
    let router = Router::start(TABLE);
    check(
        &mut router.client(),
        &[
            ("a.test", "/exact?x=/y", "exact"),
            ("a.test", "/exact/", "404"),
            ("a.test", "/Exact", "404"),
            ("a.test", "/%65xact", "404"),
            ("c", "/v1", "prefix"),
            ("c", "/v1?x", "prefix"),
            ("c", "/v1/", "prefix"),
            ("c", "/v1/x/y", "prefix"),
            ("c", "/v10", "404"),
            ("c", "//v1/x", "404"),
            ("c", "/v1%2fx", "404"),
        ],
    );
}

#[test]
fn the_first_route_of_the_file_that_matches_wins() {
    let router = Router::start(TABLE);
    check(
        &mut router.client(),
        &[("c", "/v1/special", "prefix"), ("x.b.test", "/v1/x", "suffix"), ("a.test", "/v1/x", "prefix")],
    );
}

#[test]
fn only_the_method_failed_is_405_with_the_methods_that_would_do() {
    let router = Router::start(TABLE);
    let mut client = router.client();
    check(&mut client, &[("c", "/m", "method")]);
    let response = client.ask("DELETE /m HTTP/1.1\r\nHost: c\r\n\r\n");
    assert_eq!(response.status, 405);
    let mut allow: Vec<_> = response.fields.get("Allow").expect("Allow").split(',').map(str::trim).collect();
    allow.sort_unstable();
    assert_eq!(allow, ["GET", "PATCH", "PUT"]);
    assert_eq!(client.ask("PATCH /m HTTP/1.1\r\nHost: c\r\n\r\n").text().trim_end(), "patch");
    assert_eq!(client.ask("DELETE /none HTTP/1.1\r\nHost: c\r\n\r\n").status, 404);
    assert_eq!(client.ask("get /m HTTP/1.1\r\nHost: c\r\n\r\n").status, 405, "methods have case");
}

#[test]
fn header_values_are_alternatives() {
    let router = Router::start(TABLE);
    let mut client = router.client();
    for (field, status) in [
        ("x-kind: beta", 200),
        ("X-Kind: alpha", 404),
        ("X-Kind: alpha\r\nX-Kind: beta", 200),
        ("X-ANY: whatever", 200),
        ("X-Other: beta", 404),
    ] {
        let response = client.ask(format!("GET /h HTTP/1.1\r\nHost: c\r\n{field}\r\n\r\n"));
        assert_eq!(response.status, status, "{field}");
    }
}

#[test]
fn a_dot_segment_is_400_however_it_is_written() {
    let origin = Origin::serve(|r| reply(200, &[], &r.target));
    let router = Router::to(&origin);
    let bad = [
        "/a/../b",
        "/..",
        "/../",
        "/.",
        "/./a",
        "/a/.",
        "/a/..",
        "/a/..?q",
        "/%2e%2e/a",
        "/a/%2E./b",
        "/a/.%2e",
        "/a/%2e",
        "/a/%2e/b?x",
    ];
    for path in bad {
        assert_eq!(router.client().get(path).status, 400, "{path}");
    }
    let mut client = router.client();
    for path in ["/a..b", "/.well-known/x", "/...", "/a.", "/..a", "/a?x=/../y", "/%2e%2ea", "/a//b", "/%2F"] {
        assert_eq!(client.get(path).text(), path, "bytes pass neither decoded nor normalised");
    }
    assert_eq!(origin.requests().len(), 9);
}

const ANSWERS: &str = r#"
[listen:http]
address = 127.0.0.1:0

[route:old]
path = /old/*
redirect = 308 https://{host}/new{uri}

[route:gone]
path = /gone
respond = 410 "{path} is gone, {client_ip}"
set_response_header = X-Why: moved
"#;

#[test]
fn a_redirect_names_where() {
    let router = Router::start(ANSWERS);
    let mut client = router.client();
    let response = client.ask("GET /old/x?q=1&r HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(response.status, 308);
    assert_eq!(response.fields.get("Location"), Some("https://a.test/new/old/x?q=1&r"));
    assert_eq!(client.get("/old").status, 308, "the session goes on");
}

#[test]
fn a_response_of_the_file_has_its_status_text_and_fields() {
    let router = Router::start(ANSWERS);
    let mut client = router.client();
    let response = client.get("/gone");
    assert_eq!((response.status, response.text().trim_end()), (410, "/gone is gone, 127.0.0.1"));
    assert_eq!(response.fields.get("X-Why"), Some("moved"));
    client.send("HEAD /gone HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_response_to("HEAD").status, 410);
    assert_eq!(client.get("/gone").status, 410);
}

#[test]
fn a_field_that_a_route_sets_stands_once_in_an_answer_of_the_file() {
    let router =
        Router::start(&ANSWERS.replace("[route:gone]", "set_response_header = location: /elsewhere\n\n[route:gone]"));
    let response = router.client().get("/old");
    assert_eq!((response.status, response.fields.all("Location")), (308, vec!["/elsewhere"]));
}

#[test]
fn a_body_sent_to_an_answer_of_the_file_is_never_taken_for_a_request() {
    let router = Router::start(ANSWERS);
    let mut client = router.client();
    let body = "GET /old/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send(format!("POST /gone HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    assert_eq!(client.read_response().status, 410);
    client.close_write();
    let (rest, _) = client.read_until_end();
    assert_eq!(rest, b"", "the body was answered");
}

#[test]
fn a_route_of_one_listener_is_not_seen_by_another() {
    let dir = TempDir::new();
    let router = Router::start(&fill(
        "[listen:http]\naddress = 127.0.0.1:0\n[listen:inner]\naddress = 127.0.0.1:0\naddress = unix:${DIR}/inner.sock\n\
         [route:admin]\nlisten = inner\npath = /admin\nrespond = 200 \"admin\"\n[route:all]\npath = /all\nrespond = 200 \"all\"\n",
        &[("DIR", &dir.path().display())],
    ));
    let mut outer = Client::connect(&router.address_of("http"));
    assert_eq!((outer.get("/admin").status, outer.get("/all").status), (404, 200));
    let inner = router.listeners().into_iter().filter(|(name, _)| name == "inner");
    let mut seen = 0;
    for (_, address) in inner {
        assert_eq!(Client::connect(&address).get("/admin").status, 200, "{address}");
        seen += 1;
    }
    assert_eq!(seen, 2);
}

#[test]
fn a_listener_may_have_a_pool_for_what_no_route_takes() {
    let (routed, rest) = (Origin::serve(|_| reply(200, &[], "routed")), Origin::serve(|_| reply(200, &[], "rest")));
    let router = Router::start(&fill(
        "[listen:http]\naddress = 127.0.0.1:0\npool = rest\n[route:a]\npath = /a\nmethod = GET\npool = routed\n\
         [pool:routed]\nbackend = ${ROUTED}\n[pool:rest]\nbackend = ${REST}\n",
        &[("ROUTED", &routed), ("REST", &rest)],
    ));
    check(&mut router.client(), &[("c", "/a", "routed"), ("c", "/b", "rest")]);
}
