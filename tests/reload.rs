//! SIGHUP: all of a good file at once, nothing of a bad one, and no exchange is disturbed.

mod support;

use std::net::TcpListener;
use std::time::Instant;

use support::router::{Signal, one_pool};
use support::{Client, Origin, Router, Setup, TempDir, eventually, ms, reply, run};

/// A file whose every path answers `text`.
fn says(text: &str) -> String {
    format!("[listen:http]\naddress = 127.0.0.1:0\n[route:all]\nrespond = 200 \"{text}\"\n")
}

#[test]
fn a_new_file_is_in_force_200_ms_after_the_signal() {
    let router = Router::start(&says("0"));
    let mut kept = router.client();
    for n in 1..=5 {
        router.write_config(&says(&n.to_string()));
        router.signal(Signal::HUP);
        // The promise is about this time, so the test waits it out.
        std::thread::sleep(ms(200));
        assert_eq!(kept.get("/").text().trim_end(), n.to_string(), "on a kept session");
        assert_eq!(router.client().get("/").text().trim_end(), n.to_string(), "on a new one");
    }
}

#[test]
fn a_bad_file_changes_nothing_and_the_log_says_what_check_says() {
    let router = Router::start(&says("good"));
    let before = router.counter("generation");
    let mark = router.log_mark();
    router.write_config("[listen:http]\naddress = 127.0.0.1:0\n[route:all]\nrespnd = 200 \"bad\"\n");
    router.signal(Signal::HUP);
    let line = router.wait_log_after(mark, "config.ini:4");
    assert!(!line.is_empty());
    router.wait_log_after(mark, "did you mean `respond`?");
    assert_eq!(router.client().get("/").text().trim_end(), "good");
    assert_eq!(router.counter("generation"), before);
    let file = router.dir().file("config.ini");
    let check = run(router.dir(), &["check", "-c", &file], &Setup::default());
    assert_eq!(check.code, Some(78));
    assert!(check.stderr.contains("config.ini:4") && check.stderr.contains("did you mean `respond`?"));
}

#[test]
fn no_kind_of_broken_file_stops_the_service() {
    let router = Router::start(&says("good"));
    let changed = |from: &str, to: &str| {
        let ini = says("x");
        assert!(ini.contains(from), "{from}");
        ini.replace(from, to).into_bytes()
    };
    let more = |lines: &str| format!("{}{lines}\n", says("x")).into_bytes();
    let broken: [(&str, Vec<u8>); 21] = [
        ("empty", Vec::new()),
        ("NUL", more("# \0")),
        ("bad UTF-8", [says("x").as_bytes(), b"# \xff\n"].concat()),
        ("UTF-16", [b"\xff\xfe".to_vec(), says("x").encode_utf16().flat_map(u16::to_le_bytes).collect()].concat()),
        ("too large", b"# filler\n".repeat(120_000)),
        ("a line of 10 MB", [b"# ".to_vec(), vec![b'x'; 10_000_000], b"\n".to_vec(), says("x").into_bytes()].concat()),
        ("duplicate section", [says("x"), says("y")].concat().into_bytes()),
        ("unknown section", more("[rout:x]\npath = /")),
        ("unknown key", more("pth = /x")),
        ("no value", more("path =")),
        ("no equals sign", more("path /x")),
        ("unknown pool", changed("respond = 200 \"x\"", "pool = nowhere")),
        ("a pool without a backend", more("[pool:p]")),
        ("bad port", changed(":0", ":70000")),
        ("no listener", b"[route:all]\nrespond = 200 \"x\"\n".to_vec()),
        ("repeated key", changed("[route", "backlog = 1\nbacklog = 2\n[route")),
        ("no unit", more("[timeouts]\nidle = 5")),
        ("out of range", more("[limits]\nheader_count = 1000000")),
        ("cut off", b"[listen:http".to_vec()),
        ("an include that is not there", [b"include = nowhere.ini\n".to_vec(), says("x").into_bytes()].concat()),
        ("an include that is a directory", [b"include = .\n".to_vec(), says("x").into_bytes()].concat()),
    ];
    let mut client = router.client();
    let before = router.counters();
    let path = router.dir().file("config.ini");
    let refused = |kind: &str, why: &str, client: &mut Client| {
        let mark = router.log_mark();
        router.signal(Signal::HUP);
        let said = router.wait_log_after(mark, "config.ini");
        assert!(said.contains(why), "{kind}: {said}");
        router.wait_log_after(mark, "stays in force");
        assert_eq!(client.get("/").text().trim_end(), "good", "{kind}");
        let check = run(router.dir(), &["check", "-c", &path], &Setup::default());
        assert_eq!(check.code, Some(78), "{kind}: {}", check.stderr);
    };
    let mut kinds = broken.len() as u64;
    for (kind, bytes) in broken {
        router.write_config_bytes(bytes);
        refused(kind, "config.ini", &mut client);
    }
    // What is no file at all, or cannot be read as one.
    type Make = fn(&str);
    let no_files: [(&str, &str, Make); 6] = [
        ("no file", "there is no such file", |_| {}),
        ("a directory", "is a directory", |path| std::fs::create_dir(path).expect("mkdir")),
        ("a link to nothing", "there is no such file", |path| {
            std::os::unix::fs::symlink("nowhere", path).expect("symlink");
        }),
        ("a link to itself", "symbolic link", |path| std::os::unix::fs::symlink("config.ini", path).expect("symlink")),
        ("a pipe that nobody writes to", "is not a regular file", |path| {
            let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
            rustix::fs::mkfifoat(rustix::fs::CWD, path, mode).expect("mkfifo");
        }),
        ("a socket", "No such device", |path| drop(std::os::unix::net::UnixListener::bind(path).expect("bind"))),
    ];
    kinds += no_files.len() as u64;
    for (kind, why, make) in no_files {
        let _ = std::fs::remove_dir(&path);
        let _ = std::fs::remove_file(&path);
        make(&path);
        refused(kind, why, &mut client);
    }
    let _ = std::fs::remove_file(&path);
    let after = router.assert_at_rest();
    assert_eq!(after["generation"], before["generation"]);
    assert_eq!(after["reloads_failed"], kinds, "each is one");
    // What only looks odd is a file.
    router.reload(&format!("\u{feff}{}", says("new").replace('\n', "\r\n")));
    assert_eq!(client.get("/").text().trim_end(), "new");
}

#[test]
fn a_running_exchange_ends_on_the_file_it_began_with() {
    let origin = Origin::bind();
    let with = |value: &str| {
        format!(
            "[listen:http]\naddress = 127.0.0.1:0\n[route:all]\nset_response_header = X-File: {value}\npool = app\n\
             [pool:app]\nbackend = {origin}\n"
        )
    };
    let router = Router::start(&with("old"));
    let mut client = router.client();
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut conn, _) = origin.accept_request();
    router.reload(&with("new"));
    conn.reply(200, "1");
    assert_eq!(client.read_response().fields.get("X-File"), Some("old"));
    conn.read_request();
    conn.reply(200, "2");
    assert_eq!(client.read_response().fields.get("X-File"), Some("new"));
}

#[test]
fn limits_and_timeouts_are_of_the_new_file() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let mut client = router.client();
    router.reload(&one_pool(&origin, "[limits]\nbody_size = 1b\n[timeouts]\nresponse = 300ms"));
    assert_eq!(client.get("/").status, 504);
    assert_eq!(router.client().ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").status, 413);
}

#[test]
fn kept_backend_connections_survive_and_those_of_a_removed_backend_do_not() {
    let (stays, goes) = (Origin::bind(), Origin::bind());
    let ini = |pools: &str| format!("[listen:http]\naddress = 127.0.0.1:0\n{pools}");
    let both = ini(&format!(
        "[route:a]\npath = /a\npool = a\n[route:b]\npath = /b\npool = b\n[pool:a]\nbackend = {stays}\n[pool:b]\nbackend = {goes}\n"
    ));
    let router = Router::start(&both);
    let mut client = router.client();
    let mut visit = |path: &str, origin: &Origin| {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let (mut conn, _) = origin.accept_request();
        conn.reply(200, "");
        client.read_response();
        conn
    };
    let mut kept = visit("/a", &stays);
    let mut dropped = visit("/b", &goes);
    router.wait_counter("backend_idle", |n| n == 2);
    router.reload(&ini(&format!("[route:a]\npath = /other\npool = a\n[pool:a]\nbackend = {stays}\n")));
    dropped.expect_closed_within(ms(3000));
    let mut client = router.client();
    client.send("GET /other HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(kept.read_request().line(), "GET /other");
    kept.reply(200, "kept");
    assert_eq!(client.read_response().text(), "kept");
}

#[test]
fn a_new_address_is_served_and_a_removed_one_is_not() {
    let dir = TempDir::new();
    let socket = dir.file("second.sock");
    let router = Router::start(&says("one"));
    let with_second = says("two").replace(":0\n", &format!(":0\naddress = unix:{socket}\n"));
    router.reload(&with_second);
    let mut second = Client::connect(&format!("unix:{socket}"));
    assert_eq!(second.get("/").text().trim_end(), "two");
    assert_eq!(router.client().get("/").text().trim_end(), "two", "the address that stayed");
    router.reload(&says("three"));
    eventually("the removed address refuses", ms(3000), || {
        std::os::unix::net::UnixStream::connect(&socket).err().map(|_| ())
    });
    second.read_until_end();
    assert_eq!(router.client().get("/").text().trim_end(), "three");
    router.wait_counter("sessions", |n| n == 0);
    router.assert_at_rest();
}

#[test]
fn an_exchange_on_a_removed_address_is_finished() {
    let (dir, origin) = (TempDir::new(), Origin::bind());
    let socket = dir.file("second.sock");
    let one = one_pool(&origin, "");
    let router = Router::start(&one.replace(":0\n", &format!(":0\naddress = unix:{socket}\n")));
    let mut client = Client::connect(&format!("unix:{socket}"));
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut conn, _) = origin.accept_request();
    router.reload(&one);
    conn.reply(200, "finished");
    assert_eq!(client.read_response().text(), "finished");
    client.expect_closed();
}

#[test]
fn a_parked_session_of_a_removed_address_gets_one_last_request() {
    let dir = TempDir::new();
    let socket = dir.file("second.sock");
    let router = Router::start(&says("one").replace(":0\n", &format!(":0\naddress = unix:{socket}\n")));
    let mut client = Client::connect(&format!("unix:{socket}"));
    assert!(!client.get("/").says_close());
    router.wait_counter("parked", |n| n == 1);
    router.reload(&says("two"));
    let last = client.get("/");
    assert_eq!((last.status, last.says_close()), (200, true));
    client.expect_closed();
}

#[test]
fn an_address_that_cannot_be_bound_refuses_the_whole_file() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
    let taken = (taken.local_addr().expect("address").to_string(), taken);
    let dir = TempDir::new();
    let socket = dir.file("third.sock");
    let router = Router::start(&says("old"));
    let before = router.counter("generation");
    let mark = router.log_mark();
    let more = format!(":0\naddress = unix:{socket}\naddress = {}\n", taken.0);
    router.write_config(&says("new").replace(":0\n", &more));
    router.signal(Signal::HUP);
    router.wait_log_after(mark, &taken.0);
    assert_eq!(router.client().get("/").text().trim_end(), "old");
    assert_eq!(router.counter("generation"), before);
    assert!(std::os::unix::net::UnixStream::connect(&socket).is_err(), "half of a file was applied");
}

#[test]
fn what_needs_a_restart_is_named_and_the_rest_applied() {
    let router = Router::start(&format!("{}[server]\nworkers = 8\n", says("old")));
    let mark = router.log_mark();
    router.reload(&format!("{}[server]\nworkers = 9\nqueue = 99\n[log]\nfile = other.log\n", says("new")));
    for (key, running, file) in [("workers", "8", "9"), ("queue", "1024", "99"), ("file", "stderr", "other.log")] {
        let line = eventually(&format!("a line about {key}"), ms(3000), || {
            let log = router.log();
            let lines = log.lines().skip(mark).filter(|line| line.contains("restart"));
            lines.filter(|line| line.contains(key) && line.contains(file)).map(str::to_owned).next()
        });
        assert!(line.contains(running), "{line}");
    }
    assert_eq!(router.client().get("/").text().trim_end(), "new");
    assert_eq!(router.counter("slices_total"), 16);
    // And so each time, until it is restarted.
    for (key, running) in [("workers", "8"), ("file", "stderr")] {
        let mark = router.log_mark();
        router.reload(&format!("{}[server]\nworkers = 9\n[log]\nfile = other.log\n", says("newer")));
        let line = router.wait_log_after(mark, &format!("{key} is "));
        assert!(line.contains(running) && line.contains("restart"), "{line}");
    }
}

#[test]
fn what_needs_a_restart_is_as_it_was_at_the_start() {
    let origin = Origin::bind();
    let server = |drain: &str| one_pool(&origin, &format!("[server]\nworkers = 2\ndrain_timeout = {drain}\n"));
    let mut router = Router::start(&server("20s"));
    router.reload(&server("0ms"));
    let mut client = router.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut conn, _) = origin.accept_request();
    router.signal(Signal::TERM);
    client.expect_silence_for(ms(300));
    conn.reply(200, "finished");
    assert_eq!(client.read_response().text(), "finished");
    assert!(router.wait_exit(ms(5000)).success());
}

#[test]
fn limits_of_what_is_kept_are_of_the_new_file() {
    let origin = Origin::bind();
    let pool =
        |keepalive: u32| one_pool(&origin, "").replace("[pool:app]", &format!("[pool:app]\nkeepalive = {keepalive}"));
    let router = Router::start(&pool(8));
    let mut clients: Vec<Client> = (0..3).map(|_| router.client()).collect();
    let mut conns = Vec::new();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        conns.push(origin.accept_request().0);
    }
    for (client, conn) in clients.iter_mut().zip(&mut conns) {
        conn.reply(200, "");
        client.read_response();
    }
    router.wait_counter("backend_idle", |n| n == 3);
    router.reload(&pool(1));
    assert_eq!(router.counter("backend_idle"), 1);
    let gone = conns.iter_mut().filter_map(|conn| conn.try_read(ms(100))).count();
    assert_eq!(gone, 2, "the others are closed");

    router.reload(&one_pool(&origin, "[limits]\nparked_heads = 1k\n"));
    let (mut first, mut second) = (router.client(), router.client());
    first.send("GET / HTTP/1.1\r\nHo");
    router.wait_counter("cells_used", |n| n == 1);
    second.send("GET / HTTP/1.1\r\nHo");
    assert_eq!(first.read_response().status, 408, "there is room for one");
    assert_eq!(router.counter("cells_exhausted"), 1);
}

#[test]
fn one_line_tells_the_generation_and_what_is_different() {
    let ini = |routes: &[(&str, &str)]| {
        let routes: String = routes
            .iter()
            .map(|(name, text)| format!("[route:{name}]\npath = /{name}\nrespond = 200 \"{text}\"\n"))
            .collect();
        format!("[listen:http]\naddress = 127.0.0.1:0\n{routes}")
    };
    let router = Router::start(&ini(&[("same", "1"), ("edited", "1"), ("outgoing", "1")]));
    let mark = router.log_mark();
    router.reload(&ini(&[("same", "1"), ("edited", "2"), ("incoming", "1")]));
    let generation = router.counter("generation");
    let line = router.wait_log_after(mark, "incoming");
    assert!(line.contains(&format!("generation {generation}")), "{line}");
    assert!(line.contains("edited") && line.contains("outgoing") && !line.contains("same"), "{line}");
}

#[test]
fn signals_that_come_while_a_file_is_read_are_one_reload() {
    // A file that takes far longer than a request.
    let many: String = (0..3000).map(|n| format!("[route:r{n}]\npath = /r{n}\nrespond = 200 \"{n}\"\n")).collect();
    let ini = |text: &str| format!("{}{many}", says(text));
    let router = Router::start(&ini("first"));
    let mut client = router.client();
    let before = router.counter("generation");
    for _ in 0..50 {
        router.signal(Signal::HUP);
        assert_eq!(client.get("/").status, 200);
    }
    router.reload(&ini("last"));
    eventually("the last file", ms(10_000), || (client.get("/").text().trim_end() == "last").then_some(()));
    let made = router.counter("generation") - before;
    // The storm and the last may be one.
    assert!((1..=25).contains(&made), "{made} reloads");
}

#[test]
fn a_storm_of_signals_is_a_few_reloads() {
    let origin = Origin::serve(|_| reply(200, &[], "ok"));
    let router = Router::to(&origin);
    let mut client = router.client();
    let before = router.counter("generation");
    let begun = Instant::now();
    for n in 0..1000 {
        router.signal(Signal::HUP);
        if n % 50 == 0 {
            assert_eq!(client.get("/").status, 200);
        }
    }
    router.reload(&one_pool(&origin, "[route:last]\npath = /last\nrespond = 200 \"last\"\n"));
    assert_eq!(client.get("/last").text().trim_end(), "last");
    let made = u128::from(router.counter("generation") - before);
    // Each waits 25 ms for more of them.
    let most = begun.elapsed().as_millis() / 25 + 1;
    assert!(made <= most, "{made} reloads, at most {most}");
}

#[test]
fn an_address_that_goes_and_returns_at_once_is_served() {
    let (dir, origin) = (TempDir::new(), Origin::serve(|_| reply(200, &[], "ok")));
    let free = TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("address").to_string();
    for second in [free, format!("unix:{}", dir.file("second.sock"))] {
        let one = one_pool(&origin, "");
        let both = one.replace(":0\n", &format!(":0\naddress = {second}\n"));
        let router = Router::start(&both);
        router.reload(&one);
        // Its acceptor may not have heard yet that the address is gone.
        let mark = router.log_mark();
        router.write_config(&both);
        router.signal(Signal::HUP);
        router.wait_log_after(mark, "reload: ");
        let counters = router.counters();
        assert_eq!(counters["reloads_failed"], 0, "{second}: {}", router.log());
        assert_eq!(counters["accepted"], 0, "{second}: the router connected to itself");
        assert_eq!(Client::connect(&second).get("/").text(), "ok");
    }
}
