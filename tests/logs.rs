//! What no log may hold: bytes that a terminal or a reader of lines obeys, and secrets.

mod support;

use support::router::{Signal, one_pool};
use support::{Client, Origin, Router, ServingOrigin, Setup, TempDir, reply, run};

/// An origin that answers with what a header field of the request says, percent-decoded, byte for byte.
fn parrot() -> ServingOrigin {
    Origin::serve(|request| match request.fields.get("X-Answer") {
        Some(text) => unhex(text),
        None => reply(200, &["Set-Cookie: id=s3cr3t"], "ok s3cr3t"),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).expect("hex"), 16).expect("hex")).collect()
}

/// Sends these bytes on a connection of their own and reads whatever comes of them.
fn ask_raw(address: &str, bytes: &[u8]) {
    let mut client = Client::connect(address);
    // The router may have had enough before the end of it.
    if client.try_send(bytes).is_ok() {
        client.close_write();
    }
    client.read_until_end();
}

/// A request with `bytes` at each place that a client fills.
fn requests_with(bytes: &[u8]) -> Vec<Vec<u8>> {
    let head = |line: &str, field: &str| format!("{line}\r\nHost: a\r\n{field}\r\n\r\n");
    let mut templates = vec![
        "{}".to_owned(),
        head("{} / HTTP/1.1", "A: b"),
        head("GET /{} HTTP/1.1", "A: b"),
        head("GET /?{} HTTP/1.1", "A: b"),
        head("GET http://u:{}@h/ HTTP/1.1", "A: b"),
        head("CONNECT {} HTTP/1.1", "A: b"),
        head("GET / {}", "A: b"),
        head("GET / HTTP/1.1", "{}: b"),
        "GET / HTTP/1.1\r\nHost: {}\r\n\r\n".to_owned(),
        "GET /begun-and-not-ended HTTP/1.1\r\nUser-Agent: {}".to_owned(),
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;{}\r\na\r\n{}\r\n".to_owned(),
    ];
    for name in [
        "Referer",
        "User-Agent",
        "X-Request-Id",
        "X-Forwarded-For",
        "Forwarded",
        "Content-Length",
        "Transfer-Encoding",
        "Upgrade",
        "Expect",
        "Connection",
    ] {
        templates.push(head("GET / HTTP/1.1", &format!("{name}: {{}}")));
    }
    let fill = |template: &String| {
        let mut parts = template.split("{}");
        let first = parts.next().unwrap_or_default().as_bytes().to_vec();
        parts.fold(first, |all, part| [&all, bytes, part.as_bytes()].concat())
    };
    templates.iter().map(fill).collect()
}

/// Heads of answers with `bytes` at each place that a backend fills.
fn answers_with(bytes: &[u8]) -> Vec<Vec<u8>> {
    let around = |before: &str, after: &str| [before.as_bytes(), bytes, after.as_bytes()].concat();
    vec![
        bytes.to_vec(),
        around("HTTP/1.1 200 ", "\r\nContent-Length: 0\r\n\r\n"),
        around("HTTP/1.1 ", " OK\r\nContent-Length: 0\r\n\r\n"),
        around("HTTP/1.1 200 OK\r\nServer: ", "\r\nContent-Length: 0\r\n\r\n"),
        around("HTTP/1.1 200 OK\r\nContent-Length: ", "\r\n\r\n"),
        around("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", "\r\na\r\n0\r\n\r\n"),
    ]
}

/// A router on two addresses, one of them behind a trusted proxy, that logs all there is to files.
fn talkative(format: &str, more: &str) -> (Router, ServingOrigin, [String; 2]) {
    let (dir, origin) = (TempDir::new(), parrot());
    let files = [dir.file("router.log"), dir.file("access.log")];
    let [log, access] = &files;
    let ini = one_pool(&origin, &format!("[log]\nfile = {log}\naccess = {access}\nformat = {format}\n{more}"))
        .replace(":0\n", ":0\ntrusted_proxy = 127.0.0.0/8\n");
    let setup = Setup { more_args: &["-vv"], env: &[("L7R_SECRET", "s3cr3t")], ..Setup::default() };
    (Router::start_in(dir, &ini, &setup), origin, files)
}

#[test]
fn each_record_is_one_line_of_printable_characters_whatever_peers_send() {
    let hostile: [&[u8]; 12] = [
        b"\x1b]0;title\x07\x1b[2J",
        b"\0",
        b"\r",
        b"\n2026-11-23T05:46:03.860Z [INFO ] forged",
        b"\r\n127.0.0.1 - - [forged",
        b"\x80\x85\x9b31m",
        b"\xc2\x85\xc2\x9b31m",
        "\u{202e}gpj.exe\u{2066}\u{2028}\u{200b}".as_bytes(),
        b"\xff\xfe\xed\xa0\x80",
        b"\x7f\x08\x08",
        b"\t\x0b\x0c",
        b"\" end=ok \\\",\"end\":\"ok",
    ];
    for format in ["combined", "json"] {
        let (mut router, _origin, files) = talkative(format, "");
        let address = router.address();
        let mut sent = 0;
        for bytes in hostile {
            for request in requests_with(bytes) {
                ask_raw(&address, &request);
                sent += 1;
            }
            for answer in answers_with(bytes) {
                let request =
                    format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Answer: {}\r\n\r\n", hex(&answer));
                ask_raw(&address, request.as_bytes());
                sent += 1;
            }
        }
        assert!(router.stop().success());
        for path in &files {
            let text = String::from_utf8(std::fs::read(path).expect("a log")).expect("UTF-8");
            assert!(text.lines().count() >= sent / 2, "{path} has {} lines of {sent}", text.lines().count());
            for line in text.split_terminator('\n') {
                let printable = |c: char| c == ' ' || c.is_ascii_graphic();
                assert!(line.chars().all(printable), "{path}: {line:?}");
                let begins =
                    [("router.log", "2"), ("access.log", if format == "json" { "{\"time\":\"2" } else { "1" })];
                let (_, begin) = begins.iter().find(|(name, _)| path.ends_with(name)).expect("one of both");
                assert!(line.starts_with(begin) && !line.contains("Z [INFO ] forged"), "{path}: {line:?}");
            }
        }
        let access = std::fs::read_to_string(&files[1]).expect("a log");
        assert!(access.contains(if format == "json" { "\\u001B" } else { "\\x1B" }), "nothing hostile came there");
        assert!(
            router.log().chars().all(|c| c == '\n' || c == ' ' || c.is_ascii_graphic()),
            "stderr: {:?}",
            router.log()
        );
    }
}

/// What a route may say that is nobody's business, as variables and written out.
const SECRET_ROUTES: &str = "\
[route:literal]
path = /literal
set_header = Authorization: Basic s3cr3t
set_header = Cookie: id=s3cr3t
set_response_header = Set-Cookie: id=s3cr3t
pool = app
[route:variable]
path = /variable
header = X-Key: ${L7R_SECRET}
set_header = X-Token: ${L7R_SECRET}
respond = 200 \"${L7R_SECRET}\"
[route:redirect]
path = /redirect
redirect = 302 https://user:s3cr3t@example.com{uri}
";

#[test]
fn no_secret_is_in_any_log_or_output_at_any_level() {
    for format in ["combined", "json"] {
        let variable = SECRET_ROUTES.replace("set_header = X-Token: ${L7R_SECRET}\n", "");
        let (mut router, origin, files) = talkative(format, &variable);
        let address = router.address();
        let fields = "Host: a\r\nAuthorization: Basic s3cr3t\r\nProxy-Authorization: Basic s3cr3t\r\nCookie: id=s3cr3t\r\n\
                      X-Key: s3cr3t\r\nReferer: https://user:s3cr3t@example.com/a\r\nConnection: close\r\n";
        let mut sent = 0;
        let mut ask = |text: String| {
            ask_raw(&address, text.as_bytes());
            sent += 1;
        };
        for target in
            ["/", "/literal", "/variable", "/redirect", "http://user:s3cr3t@a/", "https://s3cr3t@a/", "user:s3cr3t@a:1"]
        {
            ask(format!("GET {target} HTTP/1.1\r\n{fields}\r\n"));
        }
        ask(format!("CONNECT user:s3cr3t@a:443 HTTP/1.1\r\n{fields}\r\n"));
        ask(format!("POST / HTTP/1.1\r\n{fields}Content-Length: 6\r\n\r\ns3cr3t"));
        // Heads that are none: without a CR, without a request line, with a field that no field is, begun and not ended.
        ask(format!("GET / HTTP/1.1\r\n{fields}\r\n").replace("\r\n", "\n"));
        ask(format!("GET / HTTP/1.1\n{}", fields.replace("\r\n", "\n")));
        ask(format!("Authorization: Basic s3cr3t\r\n{fields}\r\n"));
        ask(format!("GET / HTTP/1.1\r\nAuthorization : Basic s3cr3t\r\n{fields}\r\n"));
        ask(format!("GET / HTTP/1.1\r\n{fields}Transfer-Encoding: s3cr3t\r\n\r\n"));
        ask(format!("POST / HTTP/1.1\r\n{fields}Transfer-Encoding: chunked\r\n\r\ns3cr3t"));
        ask(format!("GET / HTTP/1.1\r\n{fields}"));
        for answer in [
            "s3cr3t\r\n\r\n",
            "HTTP/1.1 s3cr3t\r\n\r\n",
            "HTTP/1.1 200 OK\r\nSet-Cookie : s3cr3t\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: s3cr3t\r\n\r\n",
        ] {
            ask(format!("GET / HTTP/1.1\r\n{fields}X-Answer: {}\r\n\r\n", hex(answer.as_bytes())));
        }
        assert!(origin.requests().iter().any(|request| request.fields.get("Authorization") == Some("Basic s3cr3t")));
        // Files that are refused, with mistakes on the lines that have secrets; then one that changes them.
        let good = std::fs::read_to_string(router.dir().file("config.ini")).expect("the file");
        for (right, wrong) in [
            ("Authorization: Basic s3cr3t", "Authorization Basic s3cr3t"),
            ("Cookie: id=s3cr3t", "Coo kie s3cr3t: x"),
            ("header = X-Key: ", "header = X-Key "),
            ("redirect = 302 https", "redirect = https"),
            ("respond = 200 ", "respond = "),
            ("302 https://user:s3cr3t@example.com{uri}", "\"302 https://user:s3cr3t@example.com\""),
        ] {
            assert!(good.contains(right), "{right}");
            let (mark, bad) = (refusals(&files[0]), good.replace(right, wrong));
            router.write_config(&bad);
            router.signal(Signal::HUP);
            support::eventually("a refused file", support::DEADLINE, || (refusals(&files[0]) > mark).then_some(()));
            // The same at a start whose stderr is a log.
            let dir = TempDir::new();
            let file = dir.write("config.ini", &bad);
            let env = [("L7R_SECRET", "s3cr3t")];
            let failed = run(&dir, &["run", "-c", &file], &Setup { env: &env, ..Setup::default() });
            assert_eq!(failed.code, Some(78), "{wrong}");
            assert!(failed.stderr.contains("config.ini:") && !failed.stderr.contains("s3cr3t"), "{}", failed.stderr);
        }
        router.write_config(&good.replace("id=s3cr3t", "id=other-s3cr3t").replace("workers = 8", "workers = 9"));
        router.signal(Signal::HUP);
        router.signal(Signal::USR2);
        assert!(router.stop().success());
        for path in &files {
            let text = std::fs::read_to_string(path).expect("a log");
            assert!(text.lines().count() > sent / 2, "{path}");
            let leaks: Vec<&str> = text.lines().filter(|line| line.contains("s3cr3t")).collect();
            assert!(leaks.is_empty(), "{path}: {leaks:#?}");
        }
        let access = std::fs::read_to_string(&files[1]).expect("a log");
        assert!(
            access.contains("https://***@example.com/a") && access.contains("GET http://***@a/ HTTP/1.1"),
            "{access}"
        );
        assert!(!router.log().contains("s3cr3t") && !router.stdout().contains("s3cr3t"), "{}", router.log());
    }
}

/// How many files the log says were refused.
fn refusals(log: &str) -> usize {
    std::fs::read_to_string(log).unwrap_or_default().matches("reload: refused").count()
}

#[test]
fn config_shows_no_secret_and_still_where_it_is() {
    let dir = TempDir::new();
    let routes = SECRET_ROUTES.replace("respond = 200 \"${L7R_SECRET}\"", "pool = app");
    let file = dir.write(
        "config.ini",
        format!("{routes}[route:rest]\nrespond = 200 \"${{L7R_SECRET}}\"\n{}", one_pool(&"127.0.0.1:1", "")),
    );
    let env = [("L7R_SECRET", "s3cr3t")];
    let shown = run(&dir, &["config", "-c", &file], &Setup { env: &env, ..Setup::default() });
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    assert!(!shown.stdout.contains("s3cr3t"), "{}", shown.stdout);
    for line in [
        "set_header = Authorization: *** ",
        "set_header = Cookie: *** ",
        "set_response_header = Set-Cookie: *** ",
        "header = X-Key: ${L7R_SECRET} ",
        "set_header = X-Token: ${L7R_SECRET} ",
        "respond = 200 \"${L7R_SECRET}\" ",
        "redirect = 302 https://***@example.com{uri} ",
    ] {
        assert!(shown.stdout.contains(line), "{line}:\n{}", shown.stdout);
    }
}
