//! How often a client may ask: 429 for who asks more often, and for nobody else.
//!
//! Buckets here fill at one request a second and hold few, so that what a test asks at once is more. That time fills them
//! as it should is tested beside the code, with a clock of its own.

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

[route:slow]
path = /slow
deny = 192.0.2.66
requests_per_second = 1 burst=3
respond = 200 "slow"
set_response_header = X-Slow: yes
"#;

fn file(listen: &str) -> String {
    fill(FILE, &[("LISTEN", &listen)])
}

/// Asks until it is refused, and returns how often it was served.
#[track_caller]
fn served(proxy: &mut Client, client: &str, path: &str) -> usize {
    let served = (0..100).take_while(|_| proxy.get_for(client, path).status == 200).count();
    assert!(served < 100, "{client} is never refused");
    served
}

/// A slow machine may let a second pass while a test asks: one or two more are served then, never fewer.
#[track_caller]
fn about(served: usize, burst: usize) {
    assert!((burst..=burst + 2).contains(&served), "{served} served of a burst of {burst}");
}

#[test]
fn who_asks_more_often_is_refused_and_others_are_not() {
    let router = Router::start(&file(""));
    let mut proxy = router.client();
    about(served(&mut proxy, "192.0.2.1", "/slow"), 3);
    about(served(&mut proxy, "192.0.2.2", "/slow"), 3);
    about(served(&mut proxy, "2001:db8::1", "/slow"), 3);
    assert!(served(&mut proxy, "2001:db8::2", "/slow") <= 2, "the same /64");
    about(served(&mut proxy, "2001:db8:0:1::1", "/slow"), 3);
    for _ in 0..20 {
        assert_eq!(proxy.get_for("192.0.2.1", "/open").status, 200, "a route without a rate");
    }
    assert_eq!(router.counter("refused_rate"), 5);
    router.assert_at_rest();
}

#[test]
fn a_refused_client_is_told_when_to_come_back_and_is_served_then() {
    let router = Router::start(&file(""));
    let mut proxy = router.client();
    served(&mut proxy, "192.0.2.1", "/slow");
    let refused = eventually("a refusal", DEADLINE, || {
        Some(proxy.get_for("192.0.2.1", "/slow")).filter(|response| response.status == 429)
    });
    assert_eq!(refused.fields.get("Retry-After"), Some("1"));
    assert!(!refused.says_close());
    assert_eq!(refused.fields.get("X-Slow"), None, "it is not the route's answer");
    let told = "429 Too Many Requests: more requests came from this address than are served\nrequest id: ";
    assert!(refused.text().starts_with(told), "{}", refused.text());
    // What is promised is a time.
    std::thread::sleep(ms(1000));
    assert_eq!(proxy.get_for("192.0.2.1", "/slow").status, 200);
}

#[test]
fn a_listen_counts_whatever_is_asked_of_it() {
    let router = Router::start(&file("requests_per_second = 1 burst=6"));
    let mut proxy = router.client();
    for (path, status) in [("/open", 200), ("/none", 404), ("/slow", 200), ("/slow", 200), ("/slow", 200)] {
        assert_eq!(proxy.get_for("192.0.2.1", path).status, status, "{path}");
    }
    assert!(served(&mut proxy, "192.0.2.1", "/open") <= 3);
    about(served(&mut proxy, "192.0.2.2", "/open"), 6);
    about(served(&mut proxy, "192.0.2.3", "/slow"), 3);
}

#[test]
fn a_denied_client_is_told_that_and_counts_nowhere() {
    let router = Router::start(&file("deny = 192.0.2.67\nrequests_per_second = 100"));
    let mut proxy = router.client();
    for (client, path) in [("192.0.2.66", "/slow"), ("192.0.2.67", "/open")] {
        for _ in 0..20 {
            assert_eq!(proxy.get_for(client, path).status, 403);
        }
    }
    assert_eq!(router.counter("refused_rate"), 0);
}

#[test]
fn who_is_no_proxy_has_one_bucket_whatever_it_says() {
    let router = Router::start(&file("requests_per_second = 1 burst=4"));
    let mut stranger = Client::connect_from("127.0.0.2".parse().expect("an address"), &router.address());
    let served = (0..20).filter(|n| stranger.get_for(&format!("192.0.2.{n}"), "/open").status == 200).count();
    about(served, 4);
}

#[test]
fn no_backend_hears_of_a_refused_request() {
    let origin = Origin::serve(|_| reply(200, &[], "ok"));
    let router = Router::start(&format!(
        "[listen:http]\naddress = 127.0.0.1:0\nrequests_per_second = 1 burst=2\npool = app\n[pool:app]\nbackend = {origin}\n"
    ));
    let mut client = router.client();
    let served = (0..10).filter(|_| client.get("/").status == 200).count();
    assert_eq!(origin.requests().len(), served);
    about(served, 2);
}

#[test]
fn a_reload_fills_no_bucket_whose_numbers_stay() {
    let router = Router::start(&file("requests_per_second = 1 burst=40"));
    let mut proxy = router.client();
    for client in ["192.0.2.1", "192.0.2.2"] {
        served(&mut proxy, client, "/slow");
    }
    served(&mut proxy, "192.0.2.3", "/open");
    router.reload(&(file("requests_per_second = 1 burst=40").replace("\"open\"", "\"new\"")));
    // A full bucket of the listen would be 40.
    assert!(served(&mut proxy, "192.0.2.3", "/open") < 20, "the bucket of the listen was filled");
    assert_eq!(proxy.get_for("192.0.2.4", "/open").text(), "new\n");
    router.reload(&file("requests_per_second = 1 burst=41"));
    about(served(&mut proxy, "192.0.2.3", "/open"), 41);
    router.wait_log("changed listen:http");
    router.reload(&file(""));
    for _ in 0..60 {
        assert_eq!(proxy.get_for("192.0.2.3", "/open").status, 200, "without the key");
    }
}

#[test]
fn the_log_says_rate_limited() {
    let dir = TempDir::new();
    let path = dir.file("access.log");
    let ini = file("") + &format!("[log]\naccess = {path}\n");
    let router = Router::start_in(dir, &ini, &Setup::default());
    served(&mut router.client(), "192.0.2.1", "/slow");
    let line = eventually("a line of a refusal", DEADLINE, || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        text.lines().find(|line| line.contains("\" 429 ")).map(str::to_owned)
    });
    let told = line.starts_with("192.0.2.1 - - [") && line.contains(" route=slow pool=- ");
    assert!(told && line.contains(" end=rate_limited "), "{line}");
    router.wait_log("429 rate_limited: more requests came from this address than are served");
}
