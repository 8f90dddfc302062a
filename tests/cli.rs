//! The command line: what it prints, where, and with which exit code.

mod support;

use std::net::TcpListener;

use support::router::one_pool;
use support::{Finished, Origin, Router, Setup, TempDir, reply, run};

const GOOD: &str = "[listen:http]\naddress = 127.0.0.1:0\npool = app\n\n[pool:app]\nbackend = 127.0.0.1:3000\n";

/// `check` on this file.
#[track_caller]
fn check(ini: &str) -> Finished {
    let dir = TempDir::new();
    let file = dir.write("config.ini", ini);
    run(&dir, &["check", "-c", &file], &Setup::default())
}

#[track_caller]
fn plainly(args: &[&str]) -> Finished {
    run(&TempDir::new(), args, &Setup::default())
}

#[test]
fn help_and_version_are_0_and_a_wrong_word_is_2() {
    let help = plainly(&["--help"]);
    assert_eq!(help.code, Some(0));
    for word in ["check", "config", "completions", "man", "--from", "--to", "layer7router"] {
        assert!(help.stdout.contains(word), "{word} is missing from --help");
    }
    let version = plainly(&["--version"]);
    assert_eq!(version.code, Some(0));
    assert!(version.stdout.starts_with("layer7router "), "{}", version.stdout);
    for args in [&["--nonsense"][..], &["nonsense"], &["run", "-c"], &["--from", ":0"], &["--to", "127.0.0.1:1"]] {
        let wrong = plainly(args);
        assert_eq!(wrong.code, Some(2), "{args:?}");
        assert!(wrong.stdout.is_empty() && !wrong.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn check_says_one_line_about_a_good_file() {
    let dir = TempDir::new();
    let file = dir.write("config.ini", GOOD);
    for args in [&["check", "-c", file.as_str()][..], &["check"], &["-t", "-c", file.as_str()], &["-t"]] {
        let good = run(&dir, args, &Setup::default());
        assert_eq!((good.code, good.stdout.lines().count()), (Some(0), 1), "{args:?}: {}", good.stderr);
    }
}

#[test]
fn every_mistake_of_a_file_is_shown_at_once_with_its_place() {
    let bad = check(
        "[listen:http]\naddress = 127.0.0.1:0\npool = ap\n[pool:app]\nbakend = 127.0.0.1:1\nbackend = 127.0.0.1:2\n\
         [timeouts]\nidle = 5\n[servr]\nworkers = 1\n",
    );
    assert_eq!(bad.code, Some(78));
    assert_eq!(bad.stdout, "");
    for place in ["config.ini:3:", "config.ini:5:", "config.ini:8:", "config.ini:9:"] {
        assert!(bad.stderr.contains(place), "{place} is missing:\n{}", bad.stderr);
    }
    for word in
        ["did you mean `backend`?", "did you mean `app`?", "did you mean [server]?", "bakend = 127.0.0.1:1", "^"]
    {
        assert!(bad.stderr.contains(word), "{word} is missing:\n{}", bad.stderr);
    }
}

#[test]
fn mistakes_are_explained_where_they_are() {
    let with = |more: &str| check(&format!("{GOOD}{more}"));
    for (more, places) in [
        ("[server]\nworkers = 32 # note\n", &["config.ini:8:", "comment"][..]),
        ("[server]\nworkers = 3\nworkers = 4\n", &["config.ini:9:", "8"]),
        ("[pool:app]\nbackend = 127.0.0.1:1\n", &["config.ini:7:", "5"]),
        ("[limits]\nheader_size = 512k\n", &["config.ini:8:", "slice_size"]),
        ("[route:a]\npath = v1\npool = app\n", &["config.ini:8:", "/"]),
        ("[route:a]\npath = /a\n", &["config.ini:7:", "pool", "redirect", "respond"]),
        ("[server]\nworkers = ${L7R_TEST_UNSET}\n", &["config.ini:8:", "L7R_TEST_UNSET"]),
        ("nonsense\n", &["config.ini:7:"]),
    ] {
        let bad = with(more);
        assert_eq!(bad.code, Some(78), "{more}");
        for place in places {
            assert!(bad.stderr.contains(place), "{more}: {place} is missing:\n{}", bad.stderr);
        }
    }
}

#[test]
fn files_that_editors_of_other_systems_write_are_read() {
    let crlf = GOOD.replace('\n', "\r\n");
    for good in [format!("\u{feff}{GOOD}"), crlf, format!("# one\n; two\n{GOOD}"), GOOD.trim_end().to_owned()] {
        assert_eq!(check(&good).code, Some(0), "{good:?}");
    }
    let dir = TempDir::new();
    for (what, args) in [("a directory", dir.path().to_str()), ("no such file", Some("/nonexistent/config.ini"))] {
        let bad = run(&dir, &["check", "-c", args.expect("UTF-8")], &Setup::default());
        assert_eq!(bad.code, Some(78), "{what}");
    }
}

#[test]
fn config_shows_every_effective_value_with_its_origin() {
    let dir = TempDir::new();
    dir.write("config.ini", format!("include = conf.d/*.ini\n{GOOD}[server]\nworkers = ${{WORKERS:-12}}\n"));
    std::fs::create_dir(dir.path().join("conf.d")).expect("conf.d");
    dir.write("conf.d/b.ini", "[timeouts]\nidle = 5s\n");
    let shown = run(&dir, &["config"], &Setup::default());
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    let line = |key: &str, value: &str| {
        let all = shown.stdout.lines();
        let mut found = all.filter(|line| line.trim_start().starts_with(key) && line.contains(value));
        found.next().unwrap_or_else(|| panic!("no {key} with {value} in:\n{}", shown.stdout)).to_owned()
    };
    assert!(line("workers", "12").contains("config.ini:9"));
    assert!(line("queue", "1024").contains("default"));
    assert!(line("idle", "5s").contains("b.ini:2"));
    assert!(line("backend", "127.0.0.1:3000").contains("config.ini:7"));
    let env = [("WORKERS", "13")];
    let shown = run(&dir, &["config"], &Setup { env: &env, ..Setup::default() });
    assert!(shown.stdout.lines().any(|line| line.starts_with("workers") && line.contains("13")), "{}", shown.stdout);
}

#[test]
fn nothing_that_a_terminal_obeys_is_printed_from_a_file_or_its_name() {
    let dir = TempDir::new();
    std::fs::create_dir(dir.path().join("conf.d")).expect("conf.d");
    let name = "conf.d/\u{1b}[2J\u{9b}\u{202e}.ini";
    dir.write("config.ini", format!("include = conf.d/*.ini\n{GOOD}"));
    let traps = ['\u{1b}', '\u{9b}', '\u{202e}', '\u{2067}', '\u{200d}'];
    let ask = |ini: &str, args: &[&str]| {
        dir.write(name, ini);
        let said = run(&dir, args, &Setup::default());
        let text = said.stdout + &said.stderr;
        assert!(!text.contains(traps), "{args:?}: {text:?}");
        (said.code, text)
    };
    let shown = r"\u{1b}[2J\u{9b}\u{202e}.ini";
    // A good file: a value that has no place for what joins, and where it is from.
    let (code, text) = ask("[route:r]\nrespond = 200 \"👩\u{200d}👧\"\n", &["config"]);
    let line = text.lines().find(|line| line.starts_with("respond = ")).expect("it is in force");
    assert!(line.starts_with(r#"respond = 200 "👩\u{200d}👧""#) && line.ends_with(&format!("{shown}:2")), "{line}");
    assert_eq!(code, Some(0));
    // Bad ones: the picture, and the line for a service's log.
    for (ini, place, picture) in [
        ("[route:r]\nrespond = 200 \"a\u{202e}b\"\n", "2:17", r#"respond = 200 "a\u{202e}b""#),
        ("[route:r]\nrespond = 200 \"a\u{9b}2J\"\n", "2:17", r#"respond = 200 "a\u{9b}2J""#),
        ("[route:r]\n# \u{2067}deny = all\n", "2:3", r"# \u{2067}deny = all"),
        ("[route:\u{200d}]\n", "1:1", r"[route:\u{200d}]"),
    ] {
        for args in [&["check"][..], &["config"]] {
            let (code, text) = ask(ini, args);
            assert_eq!(code, Some(78), "{text}");
            assert!(text.contains(&format!("{shown}:{place}")) && text.contains(picture), "{text}");
        }
        let (code, text) = ask(ini, &["run"]);
        assert_eq!(code, Some(78), "{text}");
        assert!(text.lines().all(|line| line.contains(&format!("{shown}:{place}: "))), "{text}");
    }
    // The caret stands under what is wrong, however long that has become.
    let (_, text) = ask("[route:r]\nrespond = 200 \"a\u{202e}b\"\n", &["check"]);
    let under = text.lines().skip_while(|line| !line.contains("respond")).collect::<Vec<_>>();
    let at = under[0].find(r"\u{202e}").expect("the picture");
    assert_eq!((under[1].find('^'), under[1].matches('^').count()), (Some(at), r"\u{202e}".len()), "{text}");
}

#[test]
fn completions_and_the_manual_are_generated() {
    for shell in ["bash", "zsh", "fish"] {
        let script = plainly(&["completions", shell]);
        assert_eq!(script.code, Some(0));
        assert!(script.stdout.contains("layer7router") && script.stdout.contains("check"), "{shell}");
    }
    assert_eq!(plainly(&["completions", "nonsense"]).code, Some(2));
    let manual = plainly(&["man"]);
    assert_eq!(manual.code, Some(0));
    assert!(manual.stdout.contains(".TH") && manual.stdout.contains("layer7router"));
}

#[test]
fn without_any_file_the_smallest_one_is_shown() {
    for args in [&[][..], &["run"], &["check"]] {
        let lost = plainly(args);
        assert_eq!(lost.code, Some(78));
        for word in
            ["[listen:http]", "address = :8080", "pool = app", "[pool:app]", "backend = 127.0.0.1:3000", "--from :8080"]
        {
            assert!(lost.stderr.contains(word), "{args:?}: {word} is missing:\n{}", lost.stderr);
        }
        let places = "neither config.ini nor /etc/layer7router/config.ini";
        assert!(lost.stderr.contains(places), "{args:?}: where was it looked for?\n{}", lost.stderr);
    }
}

#[test]
fn from_and_to_need_no_file() {
    let (one, two) = (Origin::serve(|_| reply(200, &[], "1")), Origin::serve(|_| reply(200, &[], "2")));
    let (one_at, two_at) = (one.to_string(), two.to_string());
    let args = ["--from", "127.0.0.1:0", "--to", &one_at, "--to", &two_at];
    let router = Router::start_with("", &Setup { args: Some(&args), ..Setup::default() });
    let mut client = router.client();
    let mut answers: Vec<String> = (0..4).map(|_| client.get("/").text()).collect();
    answers.sort();
    assert_eq!(answers, ["1", "1", "2", "2"]);
}

#[test]
fn a_file_in_the_working_directory_is_found() {
    let origin = Origin::serve(|_| reply(200, &[], "ok"));
    let router = Router::start_with(&one_pool(&origin, ""), &Setup { args: Some(&[]), ..Setup::default() });
    assert_eq!(router.client().get("/").status, 200);
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("address").to_string();
    let dir = TempDir::new();
    let file = dir.write("config.ini", GOOD.replace("127.0.0.1:0", &address) + "[server]\nworkers = 2\n");
    let failed = run(&dir, &["run", "-c", &file], &Setup::default());
    assert_eq!(failed.code, Some(1));
    let said = format!("cannot listen on {address}: another process listens there already");
    assert!(failed.stderr.contains(&said), "{}", failed.stderr);
}

#[test]
fn the_bill_and_the_addresses_are_printed_at_start() {
    let origin = Origin::bind();
    let router = Router::to(&origin);
    let said = format!("{}{}", router.stdout(), router.log()).to_lowercase();
    for word in ["slices", "stacks", "threads", "descriptors"] {
        assert!(said.contains(word), "{word} is missing:\n{said}");
    }
    assert!(router.stdout().contains(&format!("listening on http {}", router.address())));
    assert_eq!(router.stdout().lines().last(), Some("ready"));
}

#[test]
fn a_host_that_cannot_pay_is_told_which_number_to_change() {
    let dir = TempDir::new();
    let file = dir.write("config.ini", format!("{GOOD}[server]\nworkers = 256\n"));
    let poor = run(&dir, &["run", "-c", &file], &Setup { open_files: Some(32), ..Setup::default() });
    assert_eq!(poor.code, Some(78), "{}", poor.stderr);
    let said = poor.stderr.to_lowercase();
    assert!(said.contains("nofile") && said.contains("32"), "{}", poor.stderr);
}

#[test]
fn quiet_says_less_and_verbose_says_more() {
    let origin = Origin::serve(|_| reply(200, &[], "ok"));
    let lines = |more: &[&str]| {
        let router = Router::start_with(&one_pool(&origin, ""), &Setup { more_args: more, ..Setup::default() });
        router.client().get("/");
        let mut router = router;
        assert!(router.stop().success());
        router.log().lines().count()
    };
    let (quiet, normal, verbose) = (lines(&["-q"]), lines(&[]), lines(&["-v"]));
    assert!(quiet < normal && normal < verbose, "{quiet}, {normal}, {verbose} lines");
}

#[test]
fn the_shipped_file_is_good_and_does_the_main_job_alone() {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/config.ini");
    let text = std::fs::read_to_string(shipped).expect("the shipped config.ini");
    assert_eq!(run(&TempDir::new(), &["check", "-c", shipped], &Setup::default()).code, Some(0));
    assert!(text.contains("127.0.0.1:8080"));
    let router = Router::start(&text.replace("127.0.0.1:8080", "127.0.0.1:0"));
    let mut seen = Vec::new();
    for _ in 0..2 {
        let response = router.client().get("/");
        assert_eq!(response.status, 200);
        let text = response.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.get(1), Some(&"route: demo"), "{text}");
        let lower = text.to_lowercase();
        assert!(lower.contains("x-forwarded-for: 127.0.0.1") && lower.contains("host: example.test"), "{text}");
        seen.push(lines[0].to_owned());
    }
    seen.sort();
    assert_eq!(seen, ["backend: demo-1", "backend: demo-2"]);
}
