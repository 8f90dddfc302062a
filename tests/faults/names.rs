//! Names of backends that do not resolve, resolve later, move, or hang their resolver.

use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::support::programs::{find, finish};
use crate::support::router::Signal;
use crate::support::{Origin, Router, ServingOrigin, Setup, TempDir, eventually, ms, reply};
use crate::{ACCESS, ends};

/// The library that stands before getaddrinfo(3), built once. `None`: there is no compiler at run time.
fn shim() -> Option<&'static str> {
    static BUILT: OnceLock<Option<&str>> = OnceLock::new();
    let build = || {
        let (rustc, library) = (find("rustc")?, concat!(env!("CARGO_TARGET_TMPDIR"), "/names.so"));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/names/shim.rs");
        // In one step: another run of these tests may be using it.
        let new = format!("{library}.{}", std::process::id());
        let args = ["--edition=2024", "--crate-type=cdylib", "-Cpanic=abort", "-o", &new, source];
        finish(Command::new(rustc).args(args), b"");
        std::fs::rename(new, library).expect("rename");
        Some(library)
    };
    *BUILT.get_or_init(build)
}

/// A router whose resolver knows what `names` says, and the file to change that.
#[track_caller]
fn router(names: &str, ini: &str) -> Option<(Router, String)> {
    let (shim, dir) = (shim()?, TempDir::new());
    let file = dir.write("names", names);
    let env = [("LD_PRELOAD", shim), ("L7R_NAMES", file.as_str())];
    Some((Router::start_in(dir, ini, &Setup { env: &env, ..Setup::default() }), file))
}

/// In one step: the resolver never sees half a file.
fn say(file: &str, names: &str) {
    let new = format!("{file}.new");
    std::fs::write(&new, names).and_then(|()| std::fs::rename(&new, file)).expect("write");
}

/// Answers `name` and closes, so that each request asks for an address.
fn named(origin: Origin, name: &'static str) -> ServingOrigin {
    origin.serving(move |_| reply(200, &["Connection: close"], name))
}

fn two_pools(name: &str, origin: &ServingOrigin, more: &str) -> String {
    format!(
        "[listen:http]\naddress = 127.0.0.1:0\npool = other\n[route:name]\npath = /name\npool = name\n\
         [pool:name]\nbackend = {name}\n[pool:other]\nbackend = {origin}\n{more}"
    )
}

#[test]
fn a_name_that_fails_is_asked_for_again_and_its_last_address_stays() {
    let origin = Origin::bind();
    let (port, there) = (origin.port(), named(origin, "first"));
    let _moved = named(Origin::bind_at(&format!("127.0.0.2:{port}")), "second");
    let ini = two_pools(&format!("later.test:{port}"), &there, ACCESS);
    let Some((router, names)) = router("later.test fail\n", &ini) else { return };
    let mut client = router.client();
    assert_eq!(client.get("/name").status, 503);
    assert_eq!(client.get("/other").text(), "first", "whatever becomes of a name");
    assert_eq!(ends(router.dir(), 2), ["503 no_backend", "200 ok"]);
    router.wait_log("later.test:");

    say(&names, "later.test 127.0.0.1\n");
    // Nobody tells the router: it asks every ten seconds.
    let found = eventually("it asks again", Duration::from_secs(13), || {
        let response = client.get("/name");
        (response.status == 200).then_some(response)
    });
    assert_eq!(found.text(), "first");

    say(&names, "later.test fail\n");
    // A reload asks at once.
    let mark = router.log_mark();
    router.signal(Signal::HUP);
    router.wait_log_after(mark, "its last addresses stay in force");
    assert_eq!(client.get("/name").text(), "first");

    say(&names, "later.test 127.0.0.2\n");
    router.signal(Signal::HUP);
    eventually("the new address", ms(5000), || (client.get("/name").text() == "second").then_some(()));
    router.assert_at_rest();
}

#[test]
fn a_name_that_does_not_resolve_costs_nobody_while_its_pool_has_another_backend() {
    let origin = named(Origin::bind(), "other");
    let ini = two_pools("fails.test:80", &origin, ACCESS)
        .replace("backend = fails.test:80\n", &format!("backend = fails.test:80\nbackend = {origin}\n"));
    let Some((router, _names)) = router("fails.test fail\n", &ini) else { return };
    let mut client = router.client();
    for _ in 0..4 {
        assert_eq!(client.get("/name").text(), "other");
    }
    assert_eq!(ends(router.dir(), 4), ["200 ok"; 4]);
    router.assert_at_rest();
}

#[test]
fn a_resolver_that_hangs_delays_no_request_no_reload_and_no_stop() {
    let origin = named(Origin::bind(), "other");
    let ini = two_pools("hangs.test:80", &origin, ACCESS);
    let begun = Instant::now();
    let Some((mut router, _names)) = router("hangs.test hang\n", &ini) else { return };
    assert!(begun.elapsed() < ms(8000), "it took {:?} to start", begun.elapsed());
    let mut client = router.client();
    for _ in 0..50 {
        assert_eq!(client.get("/other").text(), "other");
        assert_eq!(client.get("/name").status, 503);
    }
    let slowest = std::fs::read_to_string(router.dir().file("access.log")).expect("an access log");
    let slowest = slowest.lines().filter_map(|line| line.split(" total_us=").nth(1)?.split(' ').next()?.parse().ok());
    let slowest: u64 = slowest.max().expect("lines");
    assert!(slowest < 1_000_000, "a request took {slowest} us");
    let asked = Instant::now();
    router.reload(&ini.replace("path = /name", "path = /renamed"));
    assert!(asked.elapsed() < ms(2000), "a reload took {:?}", asked.elapsed());
    assert_eq!(client.get("/renamed").status, 503);
    router.assert_at_rest();
    let stopped = Instant::now();
    assert_eq!(router.stop().code(), Some(0));
    assert!(stopped.elapsed() < ms(5000), "a stop took {:?}", stopped.elapsed());
}
