//! One line an exchange, in a format that tools know, with what they do not: why it ended.

mod support;

use std::collections::HashMap;

use support::router::{Signal, one_pool};
use support::{Client, DEADLINE, Origin, Router, ServingOrigin, Setup, TempDir, eventually, ms, reply};

fn quick() -> ServingOrigin {
    Origin::serve(|_| reply(200, &[], "hello"))
}

/// A router whose access log is `access.log` in its directory, and the path of that.
#[track_caller]
fn logging(backend: &impl std::fmt::Display, log: &str) -> (Router, String) {
    let dir = TempDir::new();
    let path = dir.file("access.log");
    let ini = one_pool(backend, &format!("[log]\naccess = {path}\n{log}"));
    (Router::start_in(dir, &ini, &Setup::default()), path)
}

/// The lines of the file once there are as many as `count`.
#[track_caller]
fn lines(path: &str, count: usize) -> Vec<String> {
    eventually(&format!("{count} lines in {path}"), DEADLINE, || {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        (lines.len() >= count && text.ends_with('\n')).then_some(lines)
    })
}

/// The ` key=value` pairs after the combined part.
fn pairs(line: &str) -> HashMap<String, String> {
    let rest = line.rsplit_once('"').expect("a combined line").1;
    rest.split_whitespace().filter_map(|word| word.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect()
}

#[test]
fn a_line_is_combined_format_and_then_pairs() {
    let origin = quick();
    let (router, path) = logging(&origin, "");
    router.client().ask(
        "POST /a?b=c HTTP/1.1\r\nHost: h.test\r\nReferer: http://r.test/\r\nUser-Agent: scripted/1.0 (test)\r\n\
         X-Request-Id: my-id\r\nContent-Length: 3\r\n\r\nabc",
    );
    let line = lines(&path, 1).remove(0);
    let (who, rest) = line.split_once(" [").expect("a date");
    assert_eq!(who, "127.0.0.1 - -");
    let (date, rest) = rest.split_once("] ").expect("the end of the date");
    let shape: String = date.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert!(shape.len() == 26 && shape.starts_with("00/") && shape[6..].starts_with("/0000:00:00:00 "), "{date}");
    let combined = "\"POST /a?b=c HTTP/1.1\" 200 5 \"http://r.test/\" \"scripted/1.0 (test)\" ";
    assert!(rest.starts_with(combined), "{rest}");
    let pairs = pairs(&line);
    let expected = [("pool", "app"), ("id", "my-id"), ("end", "ok"), ("gen", "1"), ("backend", &origin.to_string())];
    for (key, value) in expected {
        assert_eq!(pairs.get(key).map(String::as_str), Some(value), "{key} in {line}");
    }
    assert!(pairs.contains_key("route"));
    let number = |key: &str| pairs[key].parse::<u64>().unwrap_or_else(|_| panic!("{key} in {line}"));
    assert!(number("in") >= 3 && number("out") >= 5);
    assert!(number("ttfb_us") <= number("total_us") && number("total_us") < 10_000_000);
}

#[test]
fn refusals_of_our_own_have_their_line() {
    let origin = quick();
    let (router, path) = logging(&origin, "");
    let refused = [
        ("GET /x HTTP/1.1\r\nUser-Agent: none\r\n\r\n", 400),
        ("GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405),
    ];
    for (n, (request, status)) in refused.into_iter().enumerate() {
        assert_eq!(router.client().ask(request).status, status);
        // Lines of different sessions have no order, so each is waited for.
        let line = lines(&path, n + 1).remove(n);
        assert!(line.contains(&format!("\" {status} ")), "{line}");
        let pairs = pairs(&line);
        assert_eq!(pairs.get("backend").map(String::as_str), Some("-"), "{line}");
        assert!(pairs["id"].len() > 1 && pairs["end"] != "ok", "{line}");
    }
}

#[test]
fn refusals_of_sessions_that_do_not_run_have_their_line() {
    let origin = Origin::bind();
    let (router, path) = logging(&origin, "[timeouts]\nheader = 300ms\nqueue = 500ms\n[server]\nworkers = 1\n");
    let mut slow = router.client();
    slow.send("GET /");
    assert_eq!(slow.read_response().status, 408);
    let mut running = router.client();
    running.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let _conn = origin.accept_request();
    assert_eq!(router.client().get("/").status, 503);
    let lines = lines(&path, 2);
    for (line, status) in lines.iter().zip(["408", "503"]) {
        assert!(line.starts_with("127.0.0.1 - - [") && line.contains(&format!("\" {status} ")), "{line}");
        assert_eq!(pairs(line)["end"], "refused", "{line}");
    }
}

#[test]
fn a_reload_changes_where_lines_go_and_how_they_look() {
    let dir = TempDir::new();
    let (first, second) = (dir.file("first.log"), dir.file("second.log"));
    let origin = quick();
    let ini = |path: &str, format: &str| one_pool(&origin, &format!("[log]\naccess = {path}\nformat = {format}\n"));
    let router = Router::start_in(dir, &ini(&first, "combined"), &Setup::default());
    let mut client = router.client();
    client.get("/1");
    let line = lines(&first, 1).remove(0);
    assert!(line.contains("GET /1") && pairs(&line)["gen"] == "1", "{line}");
    router.reload(&ini(&second, "json"));
    // The writer may be about to write a batch to the file that was: lines of these milliseconds may be in either.
    let line = eventually("a line in the second file", DEADLINE, || {
        client.get("/2");
        let text = std::fs::read_to_string(&second).unwrap_or_default();
        text.split_once('\n').map(|(line, _)| line.to_owned())
    });
    let object = flat_json(&line);
    assert_eq!((object["request"].as_str(), object["gen"].as_str()), ("GET /2 HTTP/1.1", "2"));
    let before = lines(&first, 1).len();
    client.get("/3");
    eventually("the next line in the second file", DEADLINE, || {
        std::fs::read_to_string(&second).ok().filter(|text| text.contains("GET /3")).map(|_| ())
    });
    assert_eq!(lines(&first, 1).len(), before);
}

#[test]
fn a_reader_that_is_slow_costs_lines_and_not_requests() {
    let dir = TempDir::new();
    let path = dir.file("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
    // Both ends, or opening waits for the other. Nothing is read before the end.
    let mut pipe = std::fs::File::options().read(true).write(true).open(&path).expect("the pipe");
    let origin = quick();
    let ini = one_pool(&origin, &format!("[log]\naccess = {path}\n"));
    let router = Router::start_in(dir, &ini, &Setup::default());
    let mut client = router.client();
    // Each byte of it is four in the log.
    let agent = "\"".repeat(20_000);
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: {agent}\r\n\r\n");
    for _ in 0..100 {
        assert_eq!(client.ask(&request).status, 200);
    }
    let dropped = router.wait_counter("access_dropped", |n| n > 0);
    assert!((50..100).contains(&dropped), "a bounded number of lines waits: {dropped} of 100 were dropped");
    let mut line = Vec::new();
    std::io::BufRead::read_until(&mut std::io::BufReader::new(&mut pipe), b'\n', &mut line).expect("a line");
    assert!(line.starts_with(b"127.0.0.1 - - [") && line.ends_with(b" gen=1\n"), "lines stay whole");
}

#[test]
fn a_route_is_named_and_a_404_has_none() {
    let dir = TempDir::new();
    let path = dir.file("access.log");
    let ini = format!(
        "[listen:http]\naddress = 127.0.0.1:0\n[route:hi]\npath = /hi\nrespond = 200 \"hi\"\n[log]\naccess = {path}\n"
    );
    let router = Router::start_in(dir, &ini, &Setup::default());
    let mut client = router.client();
    assert_eq!((client.get("/hi").status, client.get("/no").status), (200, 404));
    let lines = lines(&path, 2);
    let (hit, miss) = (pairs(&lines[0]), pairs(&lines[1]));
    assert_eq!((hit["route"].as_str(), hit["pool"].as_str(), hit["end"].as_str()), ("hi", "-", "ok"));
    assert_eq!(miss["route"], "-");
    assert!(lines[1].contains("\" 404 "));
}

#[test]
fn a_client_cannot_forge_a_line_or_a_field() {
    let origin = quick();
    let (router, path) = logging(&origin, "");
    let forged = "x\" 200 0 \"y\" \"z\\";
    router.client().ask(format!("GET /\"a HTTP/1.1\r\nHost: a\r\nUser-Agent: {forged}\t\r\nReferer: {forged}\r\n\r\n"));
    assert_eq!(lines(&path, 1).len(), 1);
    router.client().get("/next");
    let lines = lines(&path, 2);
    assert_eq!(lines.len(), 2);
    assert!(!lines[0].contains("x\" 200"), "{}", lines[0]);
    assert!(lines[1].contains("GET /next"));
}

#[test]
fn an_exchange_that_did_not_end_well_says_so() {
    let origin = Origin::bind();
    let (router, path) = logging(&origin, "[timeouts]\nresponse = 1s\n");
    let ends = |line: &str| pairs(line)["end"].clone();

    let mut client = router.client();
    client.send("GET /cut HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut conn, _) = origin.accept_request();
    conn.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart");
    conn.close();
    client.read_until_end();
    let line = lines(&path, 1).remove(0);
    assert!(line.contains("\" 200 4 ") && ends(&line) != "ok", "{line}");

    let mut client = router.client();
    client.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n");
    let _conn = origin.accept_request();
    assert_eq!(client.read_response().status, 504);
    let line = lines(&path, 2).remove(1);
    assert!(line.contains("\" 504 ") && ends(&line) != "ok", "{line}");

    let mut client = router.client();
    client.send("GET /gone HTTP/1.1\r\nHost: a\r\n\r\n");
    let _conn = origin.accept_request();
    client.reset();
    let line = lines(&path, 3).remove(2);
    assert!(line.contains("\" 499 ") && ends(&line) != "ok", "{line}");
}

#[test]
fn the_client_of_a_trusted_proxy_is_the_client() {
    let dir = TempDir::new();
    let path = dir.file("access.log");
    let origin = quick();
    let ini = format!(
        "[listen:http]\naddress = 127.0.0.1:0\ntrusted_proxy = 127.0.0.1/32\npool = app\n[pool:app]\nbackend = {origin}\n\
         [route:ours]\npath = /ours\nrespond = 204\n[log]\naccess = {path}\n"
    );
    let router = Router::start_in(dir, &ini, &Setup::default());
    let mut client = router.client();
    for (path, status) in [("/", 200), ("/ours", 204)] {
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1, 203.0.113.7\r\n\r\n");
        assert_eq!(client.ask(head).status, status);
    }
    for line in lines(&path, 2) {
        assert!(line.starts_with("203.0.113.7 - - ["), "{line}");
        // A 204 has no body, whatever stands in for one.
        assert!(!line.contains("\" 204 ") || pairs(&line)["out"] == "0", "{line}");
    }
}

#[test]
fn json_is_one_object_a_line() {
    let origin = quick();
    let (router, path) = logging(&origin, "format = json\n");
    let agent = "quote \" back \\ slash";
    router.client().ask(format!("GET /a?b HTTP/1.1\r\nHost: a\r\nX-Request-Id: my-id\r\nUser-Agent: {agent}\r\n\r\n"));
    lines(&path, 1);
    router.client().ask("GET /bad HTTP/1.1\r\n\r\n");
    let lines = lines(&path, 2);
    let object = flat_json(&lines[0]);
    assert!(object.values().any(|value| value == agent), "{object:?}");
    let backend = origin.to_string();
    for (key, value) in [("pool", "app"), ("id", "my-id"), ("end", "ok"), ("gen", "1"), ("backend", &backend)] {
        assert_eq!(object.get(key).map(String::as_str), Some(value), "{key} in {object:?}");
    }
    assert!(["200", "my-id", "127.0.0.1"].iter().all(|v| object.values().any(|value| value == v)), "{object:?}");
    assert!(flat_json(&lines[1]).values().any(|value| value == "400"));
}

#[test]
fn sigusr1_opens_the_file_again_and_no_line_is_lost() {
    let origin = quick();
    let (router, path) = logging(&origin, "");
    let mut client = router.client();
    for _ in 0..10 {
        client.get("/before");
    }
    lines(&path, 10);
    let old = format!("{path}.1");
    std::fs::rename(&path, &old).expect("rename");
    router.signal(Signal::USR1);
    let mut after = 0;
    eventually("the new file", DEADLINE, || {
        client.get("/after");
        after += 1;
        std::fs::metadata(&path).ok().filter(|new| new.len() > 0).map(|_| ())
    });
    eventually("every line", DEADLINE, || {
        let count = |path: &str| std::fs::read_to_string(path).map_or(0, |text| text.lines().count());
        (count(&path) + count(&old) == 10 + after).then_some(())
    });
}

#[test]
fn sigusr1_opens_the_log_itself_again() {
    let dir = TempDir::new();
    let path = dir.file("router.log");
    let origin = quick();
    let ini = one_pool(&origin, &format!("[log]\nfile = {path}\n"));
    let router = Router::start_in(dir, &ini, &Setup::default());
    let has = |text: &str| std::fs::read_to_string(&path).unwrap_or_default().contains(text);
    eventually("a log", DEADLINE, || {
        router.signal(Signal::USR2);
        has("counters:").then_some(())
    });
    std::fs::rename(&path, format!("{path}.1")).expect("rename");
    router.signal(Signal::USR1);
    eventually("a new log", DEADLINE, || {
        router.signal(Signal::USR2);
        has("counters:").then_some(())
    });
}

#[test]
fn stdout_is_a_place_for_lines_and_off_is_none() {
    let origin = quick();
    let router = Router::to_with(&origin, "[log]\naccess = stdout");
    router.client().get("/out");
    assert!(router.wait_stdout("GET /out").contains("\" 200 5 "));
    let mut router = Router::to(&origin);
    let mut client: Client = router.client();
    client.get("/silent");
    assert_eq!(client.get("/silent").status, 200);
    router.assert_at_rest();
    assert!(router.stop().success());
    assert!(!router.stdout().contains("/silent") && !router.log().contains("/silent"));
}

#[test]
fn a_full_disk_costs_lines_and_not_requests() {
    let origin = quick();
    let router = Router::to_with(&origin, "[log]\naccess = /dev/full");
    let mut client = router.client();
    for _ in 0..100 {
        assert_eq!(client.get("/").status, 200);
    }
    router.wait_counter("access_dropped", |n| n > 0);
    assert!(router.log().lines().count() < 60, "a log line for every lost line:\n{}", router.log());
}

#[test]
fn a_tunnel_has_its_line_when_it_ends() {
    let origin = Origin::bind();
    let (router, path) = logging(&origin, "");
    let mut client = router.client();
    client.send(
        "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let (mut conn, _) = origin.accept_request();
    conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    client.read_response_head("GET");
    client.send([b'x'; 5000]);
    conn.read_exact(5000);
    assert!(std::fs::read_to_string(&path).unwrap_or_default().is_empty());
    client.close_write();
    conn.expect_closed();
    conn.close();
    client.expect_closed_within(ms(3000));
    let line = lines(&path, 1).remove(0);
    assert!(line.contains("\" 101 "), "{line}");
    let pairs = pairs(&line);
    assert!(pairs["end"] == "ok" && pairs["in"].parse::<u64>().is_ok_and(|n| n >= 5000), "{line}");
}

/// Seen from here, a Unix client that has finished and is told that the backend has too looks like one that is gone.
#[test]
fn a_tunnel_that_both_sides_finish_is_ok_on_a_unix_socket() {
    let origin = Origin::bind();
    let dir = TempDir::new();
    let (path, socket) = (dir.file("access.log"), dir.file("http.sock"));
    let ini =
        one_pool(&origin, &format!("[listen:unix]\naddress = unix:{socket}\npool = app\n[log]\naccess = {path}\n"));
    let _router = Router::start_in(dir, &ini, &Setup::default());
    const ROUNDS: usize = 20;
    for _ in 0..ROUNDS {
        let mut client = Client::connect(&format!("unix:{socket}"));
        client.send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        let (mut conn, _) = origin.accept_request();
        conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        client.read_response_head("GET");
        client.close_write();
        conn.expect_closed();
        conn.close();
        client.expect_closed_within(ms(3000));
    }
    for line in lines(&path, ROUNDS) {
        assert_eq!(pairs(&line)["end"], "ok", "{line}");
    }
}

/// One flat object of strings, numbers, null and booleans; anything else fails.
#[track_caller]
fn flat_json(line: &str) -> HashMap<String, String> {
    let mut rest = line.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).expect("an object");
    let mut object = HashMap::new();
    while !rest.is_empty() {
        let (key, after) = json_value(rest);
        let (value, after) = json_value(after.trim_start().strip_prefix(':').expect("a colon"));
        assert!(object.insert(key, value).is_none(), "a key twice in {line}");
        rest = after.trim_start();
        rest = rest.strip_prefix(',').unwrap_or_else(|| if rest.is_empty() { rest } else { panic!("{line}") });
    }
    object
}

#[track_caller]
fn json_value(text: &str) -> (String, &str) {
    let text = text.trim_start();
    let Some(inside) = text.strip_prefix('"') else {
        let end = text.find([',', '}']).unwrap_or(text.len());
        let word = text[..end].trim();
        assert!(word.parse::<f64>().is_ok() || ["null", "true", "false"].contains(&word), "not JSON: {word}");
        return (word.to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = inside.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &inside[at + 1..]),
            '\\' => match chars.next().expect("an escape").1 {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                'r' => value.push('\r'),
                'u' => {
                    let digits: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                    let code = u32::from_str_radix(&digits, 16).expect("four hex digits");
                    value.push(char::from_u32(code).expect("a character"));
                }
                c @ ('"' | '\\' | '/') => value.push(c),
                c => panic!("bad escape {c}"),
            },
            c => {
                assert!(c >= ' ', "a raw control character");
                value.push(c);
            }
        }
    }
    panic!("a string without its end: {text}")
}
