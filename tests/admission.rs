//! Whom a listen and a route serve: `allow` and `deny`, asked of the client that the log shows.

mod support;

use support::{Client, DEADLINE, Origin, Router, Setup, TempDir, eventually, fill, ms, reply};

/// Behind a proxy on 127.0.0.1, so that a client may have any address.
const FILE: &str = r#"
[listen:http]
address = 127.0.0.1:0
trusted_proxy = 127.0.0.1
${LISTEN}

[route:open]
path = /open
respond = 200 "open"

[route:inner]
path = /inner
deny = 10.1.0.0/16
allow = 10.0.0.0/8
allow = 2001:db8::/32
respond = 200 "inner"
set_response_header = X-Inner: yes

[route:below]
path = /inner
respond = 200 "below"

[route:away]
path = /away
allow = 10.0.0.1
redirect = 302 https://{host}/
"#;

fn file(listen: &str) -> String {
    fill(FILE, &[("LISTEN", &listen)])
}

#[track_caller]
fn check(proxy: &mut Client, table: &[(&str, &str, u16)]) {
    for (client, path, status) in table {
        assert_eq!(proxy.get_for(client, path).status, *status, "{client} {path}");
    }
}

#[test]
fn the_first_that_names_the_client_decides_and_an_allow_refuses_the_others() {
    let router = Router::start(&file(""));
    check(
        &mut router.client(),
        &[
            ("10.0.0.1", "/inner", 200),
            ("10.1.0.1", "/inner", 403),
            ("192.0.2.1", "/inner", 403),
            ("2001:db8::7", "/inner", 200),
            ("2001:db9::7", "/inner", 403),
            ("::ffff:10.0.0.1", "/inner", 200),
            ("10.0.0.1", "/away", 302),
            ("10.0.0.2", "/away", 403),
            ("192.0.2.1", "/open", 200),
            ("192.0.2.1", "/none", 404),
        ],
    );
    router.assert_at_rest();
}

#[test]
fn a_list_of_deny_alone_serves_the_others() {
    let router = Router::start(&file("deny = 192.0.2.0/24\ndeny = 2001:db8:1::/48"));
    check(
        &mut router.client(),
        &[
            ("192.0.2.1", "/open", 403),
            ("2001:db8:1::1", "/inner", 403),
            ("2001:db8:2::1", "/inner", 200),
            ("198.51.100.1", "/open", 200),
        ],
    );
}

#[test]
fn the_client_is_the_right_most_address_that_is_not_trusted() {
    let router = Router::start(&file("deny = 192.0.2.1"));
    let mut proxy = router.client();
    assert_eq!(proxy.get_for("198.51.100.1, 192.0.2.1", "/open").status, 403);
    assert_eq!(proxy.get_for("192.0.2.1, 127.0.0.1", "/open").status, 403);
    assert_eq!(proxy.get_for("192.0.2.1, 198.51.100.1", "/open").status, 200, "what the client says of others");

    let mut stranger = Client::connect_from("127.0.0.2".parse().expect("an address"), &router.address());
    assert_eq!(stranger.get_for("192.0.2.1", "/open").status, 200, "nobody believes it");
    assert_eq!(stranger.get_for("10.0.0.1", "/inner").status, 403, "nor this");
}

#[test]
fn the_listen_is_asked_before_any_route_and_both_must_agree() {
    let router = Router::start(&file("allow = 10.0.0.0/8"));
    let mut proxy = router.client();
    check(
        &mut proxy,
        &[
            ("192.0.2.1", "/none", 403),
            ("10.0.0.1", "/none", 404),
            ("192.0.2.1", "/open", 403),
            ("2001:db8::7", "/inner", 403),
            ("10.1.0.1", "/inner", 403),
            ("10.0.0.1", "/inner", 200),
        ],
    );
    let traced = "TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nX-Forwarded-For: ";
    assert_eq!(proxy.ask(format!("{traced}192.0.2.1\r\n\r\n")).status, 403, "not even the methods are told");
    assert_eq!(proxy.ask(format!("{traced}10.0.0.1\r\n\r\n")).status, 204);
}

#[test]
fn a_refused_client_is_told_and_its_session_goes_on() {
    let router = Router::start(&file(""));
    let mut proxy = router.client();
    let refused = proxy.get_for("192.0.2.1", "/inner");
    assert_eq!((refused.status, refused.says_close()), (403, false));
    assert!(refused.text().starts_with("403 Forbidden: this address is not served here\nrequest id: "));
    assert_eq!(refused.fields.get("X-Inner"), None, "it is not the route's answer");
    assert_eq!(proxy.get_for("10.0.0.1", "/inner").text(), "inner\n");
    let body = "GET /open HTTP/1.1\r\nHost: a\r\n\r\n";
    proxy.send(format!(
        "POST /inner HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_eq!(proxy.read_response().status, 403);
    proxy.close_write();
    assert_eq!(proxy.read_until_end().0, b"", "the body was answered");
}

#[test]
fn no_backend_hears_of_a_refused_request() {
    let origin = Origin::bind();
    let router = Router::start(&format!(
        "[listen:http]\naddress = 127.0.0.1:0\ndeny = 127.0.0.2\npool = app\n[route:a]\npath = /a\ndeny = 127.0.0.1\n\
         pool = app\n[pool:app]\nbackend = {origin}\n"
    ));
    assert_eq!(router.client().get("/a").status, 403);
    let mut denied = Client::connect_from("127.0.0.2".parse().expect("an address"), &router.address());
    assert_eq!(denied.get("/").status, 403);
    assert!(origin.accept_within(ms(0)).is_none());
    let mut served = router.client();
    served.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.accept_request().0.reply(200, "");
    assert_eq!(served.read_response().status, 200);
}

#[test]
fn a_client_on_a_unix_socket_is_unix() {
    for (rules, status) in
        [("allow = unix", 200), ("deny = unix", 403), ("allow = 0.0.0.0/0\nallow = ::/0", 403), ("deny = ::/0", 200)]
    {
        let dir = TempDir::new();
        let socket = dir.file("l.sock");
        let router =
            Router::start(&format!("[listen:u]\naddress = unix:{socket}\n{rules}\n[route:a]\nrespond = 200 \"a\"\n"));
        assert_eq!(router.client().get("/").status, status, "{rules}");
    }
}

#[test]
fn a_reload_applies_to_the_next_request_of_a_kept_session() {
    let origin = Origin::serve(|_| reply(200, &[], "ok"));
    let with = |rule: &str| {
        format!("[listen:http]\naddress = 127.0.0.1:0\n{rule}\npool = app\n[pool:app]\nbackend = {origin}\n")
    };
    let router = Router::start(&with(""));
    let mut client = router.client();
    assert_eq!(client.get("/").status, 200);
    router.reload(&with("deny = 127.0.0.0/8"));
    assert_eq!(client.get("/").status, 403);
    router.wait_log("changed listen:http");
    router.reload(&with("allow = 127.0.0.1"));
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn the_log_says_denied_with_the_client_and_the_route() {
    let dir = TempDir::new();
    let path = dir.file("access.log");
    let ini = file("deny = 192.0.2.1") + &format!("[log]\naccess = {path}\n");
    let router = Router::start_in(dir, &ini, &Setup::default());
    let mut proxy = router.client();
    assert_eq!(proxy.get_for("192.0.2.1", "/inner").status, 403);
    assert_eq!(proxy.get_for("192.0.2.2", "/inner").status, 403);
    let text = eventually("two lines", DEADLINE, || {
        std::fs::read_to_string(&path).ok().filter(|text| text.matches('\n').count() == 2)
    });
    let due = [("192.0.2.1 - - [", " route=- "), ("192.0.2.2 - - [", " route=inner ")];
    for (line, (client, route)) in text.lines().zip(due) {
        let told = line.starts_with(client) && line.contains("\" 403 ") && line.contains(route);
        assert!(told && line.contains(" end=denied "), "{line}");
    }
    router.wait_log("403 denied: this address is not served here");
}
