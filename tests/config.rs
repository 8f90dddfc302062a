//! Whole files: what is accepted and what it means, and what every mistake says.
//!
//! `config/valid/*.ini` load. `config/invalid/*.ini` do not, and begin with what is said: one comment a report.
//! Not here: single values, which are tested beside the code that reads them.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use layer7router::admission::Admission;
use layer7router::config::model::{
    AccessFormat, AccessTarget, Action, BackendAddress, HostPattern, ListenAddress, LogFile, PathPattern, PerIp,
    Scheduling,
};
use layer7router::config::schema::{KEYS, SectionKind};
use layer7router::config::{Loaded, Origin, Reports, from_flags, load, parse_str};
use layer7router::http::forwarded::Peer;
use layer7router::rate::Rate;

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config");
const SHIPPED: &str = include_str!("../config.ini");
/// The smallest useful file.
const FOUR_LINES: &str = "[listen:http]\naddress = :8080\npool = app\n[pool:app]\nbackend = 127.0.0.1:3000\n";

fn environment(name: &str) -> Option<String> {
    match name {
        "PORT" => Some("8081".to_owned()),
        "WORKERS" => Some("none".to_owned()),
        "EMPTY" => Some(String::new()),
        "TWO_LINES" => Some("a\r\nX-Evil: b".to_owned()),
        "TURNED" => Some("a\u{202e}b".to_owned()),
        _ => None,
    }
}

fn parse(text: &str) -> Result<Loaded, Reports> {
    parse_str("config.ini", text, &environment)
}

/// A good text; the reports are the failure's message.
fn good(text: &str) -> Loaded {
    parse(text).unwrap_or_else(|reports| panic!("{reports}"))
}

fn summaries(result: Result<Loaded, Reports>) -> Vec<String> {
    result.err().map(|reports| reports.iter().collect()).unwrap_or_default()
}

fn ini_files(directory: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(Path::new(DIRECTORY).join(directory)).expect("the directory is in the tree");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "ini"));
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

/// An empty directory of this test's own, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("layer7router-config-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a scratch directory");
        Self(path)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("it has a parent")).expect("a directory");
        std::fs::write(&path, bytes).expect("a file");
        path
    }

    /// Summaries with this directory taken out of them.
    fn summaries(&self, path: &Path) -> Vec<String> {
        let prefix = format!("{}/", self.0.display());
        summaries(load(path, &environment)).into_iter().map(|line| line.replace(&prefix, "")).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn valid_files_load() {
    for path in ini_files("valid") {
        if let Err(reports) = load(&path, &environment) {
            panic!("{}:\n{reports}", path.display());
        }
    }
}

#[test]
fn invalid_files_say_what_their_first_lines_say() {
    let mut wrong = String::new();
    for path in ini_files("invalid") {
        let text = String::from_utf8_lossy(&std::fs::read(&path).expect("it is in the tree")).into_owned();
        let expected: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("# ")).collect();
        let prefix = format!("{DIRECTORY}/invalid/");
        let said: Vec<_> = summaries(load(&path, &environment)).iter().map(|line| line.replace(&prefix, "")).collect();
        if said != expected {
            let name = path.strip_prefix(&prefix).unwrap_or(&path).display();
            wrong.push_str(&format!("{name}\n  expected {expected:#?}\n  said {said:#?}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_report_is_shown_where_its_summary_says() {
    for path in ini_files("invalid") {
        let reports = load(&path, &environment).expect_err("it is invalid");
        let picture = reports.to_string();
        assert_eq!(picture.matches("error: ").count(), reports.len(), "{picture}");
        for line in reports.iter() {
            let (place, _) = line.split_once(": ").expect("a summary has a place");
            let is_whole_file = place == path.display().to_string();
            assert!(picture.contains(&format!("--> {place}\n")) || is_whole_file, "{place}\n{picture}");
        }
    }
}

#[test]
fn a_report_is_a_picture() {
    let text = "[listen:http]\naddress = :80\npool = app\n\n[pool:app]\n  bakend = 127.0.0.1:3000\nkeepalive = 3\nkeepalive = 4\n";
    let reports = parse(text).expect_err("two mistakes");
    let expected = "\
error: unknown key `bakend` in [pool:app]
 --> config.ini:6:3
  |
6 |   bakend = 127.0.0.1:3000
  |   ^^^^^^
  |
  = help: did you mean `backend`?

error: `keepalive` is given twice in [pool:app], first at config.ini:7
 --> config.ini:8:1
  |
8 | keepalive = 4
  | ^^^^^^^^^
  |
 ::: config.ini:7:1
  |
7 | keepalive = 3
  | --------- first here
";
    assert_eq!(reports.to_string(), expected);
    assert!(reports.render(true).contains("\x1b["));
    assert_eq!(
        reports.iter().next().as_deref(),
        Some("config.ini:6:3: unknown key `bakend` in [pool:app]; did you mean `backend`?")
    );
}

#[test]
fn the_shipped_file_is_the_demo() {
    let config = good(SHIPPED).config;
    let text = "127.0.0.1:8080".to_owned();
    let addresses = vec![SocketAddr::from(([127, 0, 0, 1], 8080))];
    assert_eq!(config.listens[0].addresses, [ListenAddress::Tcp { text, addresses }]);
    let [route] = config.routes.as_slice() else { panic!("{:?}", config.routes) };
    assert!(route.listens.is_empty() && route.hosts.is_empty() && route.paths.is_empty());
    assert_eq!(route.action, Action::Pool(0));
    assert_eq!((route.set_header[0].0.as_str(), route.set_header[0].1.to_string()), ("X-Route", "demo".to_owned()));
    let backends: Vec<_> = config.pools[0].backends.iter().map(|backend| backend.address.to_string()).collect();
    assert_eq!(backends, ["demo-1", "demo-2"]);
}

#[test]
fn the_shipped_file_shows_every_key_with_its_default_below_its_line() {
    for kind in SectionKind::ALL {
        let section = SHIPPED.split("\n[").find(|part| part.split([':', ']']).next() == Some(kind.word()));
        let section = section.unwrap_or_else(|| panic!("{} is not in config.ini", kind.title()));
        for key in kind.keys() {
            let mut above = "";
            let shown = section.lines().any(|line| {
                let set = line.strip_prefix(';').unwrap_or(line);
                let found = set.strip_prefix(key.name).is_some_and(|rest| rest.starts_with(" = "))
                    && above.strip_prefix("# ") == Some(key.doc)
                    && (line == set || set == format!("{} = {}", key.name, key.shown_value()));
                above = line;
                found
            });
            assert!(
                shown,
                "config.ini, {}: wanted\n# {}\n;{} = {}",
                kind.title(),
                key.doc,
                key.name,
                key.shown_value()
            );
        }
    }
    assert!(SHIPPED.contains("\n;include = "));
}

#[test]
fn the_defaults_that_the_shipped_file_shows_are_the_defaults() {
    let is_default = |line: &&str| {
        KEYS.iter().any(|key| key.default.is_some_and(|default| *line == format!("{} = {default}", key.name)))
    };
    let uncommented: Vec<&str> =
        SHIPPED.lines().map(|line| line.strip_prefix(';').filter(is_default).unwrap_or(line)).collect();
    let loaded = good(&uncommented.join("\n"));
    assert_eq!(loaded.config, good(SHIPPED).config);
    assert!(loaded.settings.iter().all(|setting| setting.origin != Origin::Default));
}

#[test]
fn names_of_the_table_are_unique_within_a_section() {
    let mut seen = HashSet::new();
    for key in KEYS {
        assert!(seen.insert((key.section, key.name)), "{} {}", key.section.title(), key.name);
        assert!(key.default.is_some() == key.example.is_empty(), "{}: a default or an example", key.name);
    }
}

#[test]
fn the_keys_that_repeat_are_those_of_the_issue() {
    let listed: HashSet<&str> = KEYS.iter().filter(|key| key.list).map(|key| key.name).collect();
    let issue = "address backend host path method header listen set_header remove_header set_response_header \
                 remove_response_header trusted_proxy allow deny";
    assert_eq!(listed, issue.split_whitespace().collect());
}

#[test]
fn defaults_are_those_of_the_issue() {
    let config = good(FOUR_LINES).config;
    let (server, timeouts, limits) = (&config.server, &config.timeouts, &config.limits);
    assert_eq!((server.workers, server.queue, server.slice_size), (256, 1024, 256 << 10));
    assert_eq!((server.drain_timeout, server.scheduling), (Duration::from_secs(30), Scheduling::Normal));
    assert_eq!(server.pid_file, None);
    let seconds = [
        timeouts.header,
        timeouts.idle,
        timeouts.body,
        timeouts.send,
        timeouts.connect,
        timeouts.response,
        timeouts.tunnel,
        timeouts.queue,
        timeouts.backend_idle,
    ];
    assert_eq!(seconds.map(|timeout| timeout.as_millis()), [10, 60, 30, 60, 3, 60, 3600, 5, 4].map(|s| s * 1000));
    assert_eq!((timeouts.exchange, limits.client_rate_min), (None, Some(1024)));
    assert_eq!((limits.header_size, limits.uri_size, limits.header_count), (32 << 10, 8 << 10, 100));
    assert_eq!((limits.body_size, limits.requests_per_connection), (None, None));
    assert_eq!(limits.connections_per_ip, PerIp { limit: Some(256), everyone: false });
    assert_eq!(limits.parked_heads, 16 << 20);
    assert_eq!((config.log.level, &config.log.file), (log::LevelFilter::Info, &LogFile::Stderr));
    assert_eq!((&config.log.access, config.log.format), (&AccessTarget::Off, AccessFormat::Combined));
    let (listen, pool) = (&config.listens[0], &config.pools[0]);
    assert_eq!(listen.addresses, [ListenAddress::AnyTcp(8080)]);
    assert_eq!((listen.backlog, listen.socket_mode, listen.pool), (4096, 0o660, Some(0)));
    assert_eq!((pool.keepalive, pool.backends[0].weight), (256, 1));
    assert!(config.routes.is_empty());
}

#[test]
fn every_key_means_what_it_says() {
    let path = Path::new(DIRECTORY).join("valid/everything.ini");
    let config = load(&path, &environment).unwrap_or_else(|reports| panic!("{reports}")).config;
    assert_eq!(config.server.scheduling, Scheduling::Batch);
    assert_eq!(config.server.pid_file.as_deref(), Some(Path::new("run/router.pid")));
    let identity = config.server.identity.as_ref().expect("a user");
    assert_eq!(
        (identity.user.as_str(), identity.uid, identity.group.as_deref(), identity.gid),
        ("nobody", 65534, Some("7"), 7)
    );
    assert!(identity.groups.contains(&7), "{identity:?}");
    assert_eq!(config.timeouts.exchange, Some(Duration::from_secs(600)));
    assert_eq!(config.limits.client_rate_min, None);
    assert_eq!(config.limits.body_size, Some(2 << 30));
    assert_eq!(config.limits.connections_per_ip, PerIp { limit: Some(10), everyone: true });
    assert_eq!(config.log.file, LogFile::Path("./router.log".into()));
    assert_eq!(config.log.access, AccessTarget::Path("/var/log/access".into()));
    assert_eq!(config.log.format, AccessFormat::Json);

    let http = &config.listens[0];
    let addresses: Vec<_> = http.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["127.0.0.1:8081", "[::1]:8081", "unix:/run/router.sock"]);
    let networks: Vec<_> = http.trusted.networks.iter().map(ToString::to_string).collect();
    assert_eq!((networks.as_slice(), http.trusted.unix), (&["127.0.0.0/8".to_owned(), "::1/128".to_owned()][..], true));
    assert_eq!((http.backlog, http.socket_mode), (1, 0o600));
    let served = |admission: &Admission, client: &str| admission.admits(Peer::Ip(client.parse().expect("an address")));
    let due = [("192.0.2.66", false), ("192.0.2.67", true), ("192.0.3.1", false), ("::1", true)];
    for (client, due) in due {
        assert_eq!(served(&http.admission, client), due, "{client}");
    }
    assert!(!http.admission.admits(Peer::Unix));
    assert_eq!(http.rate, Some(Rate { per_second: 10, burst: 10 }));

    // Included sections come first: the include is at the top.
    let names: Vec<_> = config.routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["from_b", "api", "moved", "teapot"]);
    let names: Vec<_> = config.pools.iter().map(|pool| pool.name.as_str()).collect();
    assert_eq!(names, ["from_a", "from_c", "app"]);
    assert_eq!(http.pool, Some(2));

    let api = &config.routes[1];
    assert_eq!(api.listens, [0, 1]);
    let exact = HostPattern::Exact("api.example.com".to_owned());
    assert_eq!(api.hosts, [exact, HostPattern::Suffix(".api.example.com".to_owned())]);
    assert_eq!(api.paths, [PathPattern::Prefix("/v1".to_owned()), PathPattern::Exact("/v1".to_owned())]);
    assert_eq!(api.methods, ["GET", "PURGE"]);
    assert!(served(&api.admission, "2001:db8::1") && !served(&api.admission, "2001:db8::2"));
    assert_eq!(api.rate, Some(Rate { per_second: 1, burst: 1_000_000 }));
    let headers: Vec<_> = api.headers.iter().map(|header| (header.name.as_str(), header.value.as_deref())).collect();
    assert_eq!(headers, [("X-Beta", None), ("X-Mode", Some("a # b"))]);
    let set: Vec<_> = api.set_header.iter().map(|(name, value)| format!("{name}|{value}")).collect();
    assert_eq!(set, ["Host|backend.local", "X-Client|{client_ip} ${{literal}}"]);
    let literal = ("X-Frame-Options".to_owned(), "DENY {not a placeholder}".to_owned());
    assert_eq!(api.set_response_header, [literal]);
    assert_eq!((api.strip_prefix.as_deref(), api.timeout), (Some("/v1"), Some(Duration::from_secs(300))));
    assert_eq!(api.body_size, Some(None), "no limit, whatever [limits] says");
    assert_eq!(api.action, Action::Pool(2));
    assert!(matches!(config.routes[2].action, Action::Redirect { code: 308, .. }));
    let Action::Respond { code, text } = &config.routes[3].action else { panic!("{:?}", config.routes[3]) };
    assert_eq!((*code, text.to_string()), (418, "a \"teapot\"; # no coffee".to_owned()));

    let app: Vec<_> = config.pools[2].backends.iter().map(|b| (b.address.to_string(), b.weight)).collect();
    let app: Vec<_> = app.iter().map(|(address, weight)| (address.as_str(), *weight)).collect();
    // `demo` is counted over all files, in order.
    let expected = [
        ("127.0.0.1:3000", 1),
        ("[::1]:3000", 256),
        ("app.internal:3000", 0),
        ("unix:/run/app.sock", 1),
        ("demo-3", 2),
    ];
    assert_eq!(app, expected);
    assert_eq!(config.pools[1].backends[0].address, BackendAddress::Demo(2));
}

#[test]
fn effective_values_say_where_they_come_from() {
    let loaded = good("[listen:http]\naddress = :${PORT}\naddress = :9\n[timeouts]\nidle = 3s\n[server]\n");
    let shown: Vec<_> =
        loaded.settings.iter().map(|s| format!("{} {}={} {}", s.section, s.key, s.value, s.origin)).collect();
    assert_eq!(shown[0], "server workers=256 default");
    assert!(shown.contains(&"timeouts idle=3s config.ini:5".to_owned()));
    let listen = shown.iter().position(|line| line == "listen:http address=:8081 config.ini:2").expect("it is there");
    assert_eq!(shown[listen + 1], "listen:http address=:9 config.ini:3");
    assert_eq!(shown[listen + 2], "listen:http backlog=4096 default");
    assert_eq!(loaded.path, Path::new("config.ini"));
}

#[test]
fn effective_values_that_are_one_list_are_shown_in_its_order() {
    let rules = "deny = 10.0.0.1\nallow = 10.0.0.0/8\ndeny = 10.0.0.0/7\n";
    let loaded = good(&format!("[listen:http]\naddress = :8080\n{rules}"));
    let shown: Vec<_> = loaded.settings.iter().filter(|setting| setting.section == "listen:http").collect();
    let keys: String = shown.iter().map(|setting| format!("{} = {}\n", setting.key, setting.value)).collect();
    assert!(keys.ends_with(rules), "{keys}");
    assert_eq!(shown.len(), 6, "{keys}");
}

#[test]
fn flags_do_what_the_four_lines_do() {
    let strings = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
    let loaded = from_flags(&strings(&[":8080"]), &strings(&["127.0.0.1:3000"])).unwrap_or_else(|r| panic!("{r}"));
    assert_eq!(loaded.config, good(FOUR_LINES).config);
    let backend = loaded.settings.iter().find(|setting| setting.key == "backend").expect("it was given");
    assert_eq!((backend.section.as_str(), backend.origin.to_string().as_str()), ("pool:app", "command line"));
    let many = from_flags(&strings(&[":1", "unix:/x"]), &strings(&["demo", "app:80 weight=3"]));
    assert!(many.is_ok_and(|loaded| loaded.config.pools[0].backends.len() == 2));

    let wrong = from_flags(&strings(&[":8080", ":8080", "::1"]), &strings(&["3000", "a\nb:1"])).expect_err("wrong");
    assert_eq!(
        wrong.iter().collect::<Vec<_>>(),
        [
            "--from: `:8080` is taken already, at --from",
            "--from: an IPv6 address stands in brackets; write [::1]:8080",
            "--to: `3000` has no port; did you mean `127.0.0.1:3000`?",
            "--to: the value holds a control character, 0x0a",
        ]
    );
    assert!(wrong.to_string().contains("--to 3000\n"), "{wrong}");
    assert_eq!(
        summaries(from_flags(&[], &[])),
        [
            "--from: is missing; it says where to listen, for example `--from :8080`",
            "--to: is missing; it says where to forward, for example `--to 127.0.0.1:3000`",
        ]
    );
}

#[test]
fn what_is_not_a_text_file_is_refused() {
    let scratch = Scratch::new("files");
    assert_eq!(scratch.summaries(&scratch.0.join("x.ini")), ["x.ini: there is no such file"]);
    let directory = scratch.write("d.ini/x", "");
    let directory = directory.parent().expect("it has one");
    assert_eq!(scratch.summaries(directory), ["d.ini: is a directory"]);
    assert_eq!(summaries(load(Path::new("/dev/null"), &environment)), ["/dev/null: is not a regular file"]);

    let just_right = format!("{FOUR_LINES}#{}", "x".repeat((1 << 20) - FOUR_LINES.len() - 1));
    let path = scratch.write("big.ini", &just_right);
    assert!(load(&path, &environment).is_ok());
    scratch.write("big.ini", just_right + "x");
    assert_eq!(scratch.summaries(&path), ["big.ini: is over 1 MB"]);

    let utf16: Vec<u8> = "\u{feff}[server]".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(
        scratch.summaries(&scratch.write("utf16.ini", utf16)),
        ["utf16.ini:1:1: the file is UTF-16; save it as UTF-8"]
    );

    let path = scratch.write("secret.ini", FOUR_LINES);
    let none = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    std::fs::set_permissions(&path, none).expect("it is ours");
    // Root reads everything.
    if std::fs::read(&path).is_err() {
        assert_eq!(scratch.summaries(&path), ["secret.ini: permission denied"]);
    }
}

#[test]
fn includes_are_sorted_and_each_is_read_once() {
    let scratch = Scratch::new("include");
    let pool = |name: &str| format!("[pool:{name}]\nbackend = demo\n");
    scratch.write("conf.d/b.ini", pool("b"));
    scratch.write("conf.d/a.ini", format!("include = ../main.ini\ninclude = b.ini\n{}", pool("a")));
    scratch.write("conf.d/.hidden.ini", "nonsense");
    scratch.write("conf.d/c.ini~", "nonsense");
    let main = scratch.write("main.ini", format!("include = conf.d/*.ini\ninclude = conf.d/a.ini\n{FOUR_LINES}"));
    let loaded = load(&main, &environment).unwrap_or_else(|reports| panic!("{reports}"));
    let names: Vec<_> = loaded.config.pools.iter().map(|pool| pool.name.as_str()).collect();
    assert_eq!(names, ["b", "a", "app"]);
    let origin = loaded.settings.iter().find(|setting| setting.section == "pool:a").expect("it is there");
    assert!(origin.origin.to_string().ends_with("conf.d/a.ini:4"), "{}", origin.origin);

    for number in 0..260 {
        scratch.write(&format!("many/{number:03}.ini"), "");
    }
    let many = scratch.write("many.ini", format!("include = many/*\n{FOUR_LINES}"));
    assert_eq!(scratch.summaries(&many), ["many.ini:1:11: more than 256 files match"]);
    let many =
        scratch.write("many.ini", format!("include = many/0*\ninclude = many/1*\ninclude = many/2*\n{FOUR_LINES}"));
    let said = scratch.summaries(&many);
    assert_eq!(said[0], "many.ini:3:11: many/255.ini: is one file too many: 256 at most");
}

#[test]
fn a_text_touches_neither_files_nor_the_network() {
    let said = summaries(parse("include = *.ini\n[listen:http]\naddress = somewhere.example:80\n"));
    assert_eq!(
        said,
        [
            "config.ini:1:11: `include` needs a file to be relative to",
            "config.ini:3:11: `somewhere.example` cannot be resolved: names are not looked up here",
        ]
    );
}

#[test]
fn too_many_mistakes_are_counted() {
    let reports = parse(&"nonsense\n".repeat(2000)).expect_err("nonsense");
    assert_eq!(reports.len(), 2001);
    assert_eq!(reports.iter().last().as_deref(), Some("and 1001 more"));
}

/// xorshift64*: the same mutations in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        number as usize % limit.max(1)
    }
}

/// Bytes that mean something somewhere.
const PIECES: &[&str] = &[
    "\0",
    "\r",
    "\n",
    "\r\n",
    "\t",
    " ",
    "=",
    "[",
    "]",
    ":",
    "#",
    ";",
    "$",
    "${",
    "$${",
    "}",
    "{",
    "{host}",
    "\"",
    "/",
    "*",
    "?",
    "..",
    "%2e",
    "é",
    "\u{feff}",
    "漢",
    "\u{1b}",
    "9",
    "0",
    "-",
    "99999999999999999999",
    "k",
    "ms",
    "weight=",
    "unix:",
    "demo",
    "${PORT}",
    "${NOBODY:-}",
    "[pool:app]\n",
    "backend = demo\n",
    "\u{202e}",
    "\u{9b}",
    "\u{200f}",
    "\u{2028}",
    "\u{ad}",
    "# \u{200e}\n",
    "e\u{301}",
    "👩‍👩‍👧",
];

/// What a terminal or a reader of lines would obey.
fn is_trap(c: char) -> bool {
    let marks = ['\u{ad}', '\u{61c}', '\u{feff}', '\u{fffe}'];
    c.is_control()
        || marks.contains(&c)
        || ('\u{200b}'..='\u{200f}').contains(&c)
        || ('\u{2028}'..='\u{206f}').contains(&c) && c != '\u{202f}' && !('\u{2030}'..='\u{205f}').contains(&c)
}

#[test]
fn no_text_is_a_panic() {
    let mut random = Random(0x1b87_3593_cc9e_2d51);
    let read =
        |directory| ini_files(directory).iter().map(|path| std::fs::read(path).expect("it is in the tree")).collect();
    let mut good: Vec<Vec<u8>> = read("valid");
    good.push(SHIPPED.as_bytes().to_vec());
    let bad: Vec<Vec<u8>> = read("invalid");
    let mut accepted = 0;
    for round in 0..8000 {
        let corpus = if round % 4 == 0 { &bad } else { &good };
        let mut bytes = corpus[random.below(corpus.len())].clone();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len() + 1);
            let end = (at + random.below(12)).min(bytes.len());
            match random.below(4) {
                0 => drop(bytes.drain(at..end)),
                1 => drop(bytes.splice(at..end, PIECES[random.below(PIECES.len())].bytes())),
                2 => drop(bytes.splice(at..at, PIECES[random.below(PIECES.len())].bytes())),
                _ => drop(bytes.splice(at..at, bytes[at..end].repeat(3))),
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        match parse(&text) {
            Ok(_) => accepted += 1,
            Err(reports) => {
                assert!(reports.len() > 0);
                let picture = reports.render(round % 2 == 0);
                // With colours a picture has escape sequences of its own.
                assert!(!picture.replace(['\n', '\x1b'], "").contains(is_trap), "{picture:?}");
                assert!(round % 2 == 0 || !picture.contains('\x1b'), "{picture:?}");
                for line in reports.iter().filter(|_| round % 2 == 1) {
                    let (place, _) = line.split_once(": ").expect("a summary has a place");
                    let is_pictured =
                        picture.contains(&format!("--> {place}\n")) || picture.contains(&format!("error: {place}"));
                    assert!(is_pictured, "{place}\n{picture}");
                }
                assert!(reports.iter().all(|line| !line.contains(is_trap)), "{picture}");
            }
        }
    }
    // The loop is worth something only if it sees both sides.
    assert!((500..7500).contains(&accepted), "{accepted}");
}
