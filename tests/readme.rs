//! README.md is the reference: what it lists is what there is, all of it, and its examples work.

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use layer7router::access_log::{AccessLog, Entry, Scratch, Seen};
use layer7router::cli::SMALLEST;
use layer7router::config::model::{AccessFormat, AccessTarget};
use layer7router::config::parse_str;
use layer7router::config::schema::SectionKind;
use layer7router::error::CloseReason;
use layer7router::http::forwarded::Peer;
use layer7router::http::template::PLACEHOLDERS;
use support::{Router, TempDir};

const README: &str = include_str!("../README.md");
const SHIPPED: &str = include_str!("../config.ini");

/// The lines from a heading to the next one.
#[track_caller]
fn chapter(title: &str) -> Vec<&'static str> {
    let is_heading = |line: &&str| line.starts_with('#') && line.trim_start_matches('#').starts_with(' ');
    let mut lines = README.lines().skip_while(|line| !is_heading(line) || line.trim_start_matches(['#', ' ']) != title);
    assert!(lines.next().is_some(), "README has no heading {title}");
    lines.take_while(|line| !is_heading(line)).collect()
}

/// First and second cell of each row of the tables in a chapter; a first cell in backticks loses them.
fn rows(title: &str) -> Vec<(&'static str, &'static str)> {
    let is_rule = |line: &str| line.starts_with("|---");
    let lines = chapter(title);
    let row = |line: &&'static str| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        Some((cells.next()?.trim_matches('`'), cells.next()?))
    };
    let after_rule = |at: usize| lines[..at].iter().rev().take_while(|line| line.starts_with('|')).any(|l| is_rule(l));
    (0..lines.len()).filter(|&at| after_rule(at)).filter_map(|at| row(&lines[at])).collect()
}

fn first_cells(title: &str) -> BTreeSet<&'static str> {
    rows(title).into_iter().map(|(first, _)| first).collect()
}

/// Language and text of each fenced block.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let fenced = README.split("\n```").skip(1).step_by(2);
    fenced.map(|block| block.split_once('\n').expect("a block has lines")).collect()
}

/// What stands in quotes in a part of a source.
fn quoted(source: &'static str, from: &str) -> BTreeSet<&'static str> {
    let (_, rest) = source.split_once(from).expect("the part is there");
    let part = rest.split("\n    }\n").next().expect("split has a first");
    part.split('"').skip(1).step_by(2).collect()
}

#[test]
fn every_key_has_its_row_with_its_default_under_its_section() {
    for kind in SectionKind::ALL {
        let rows = rows(&format!("`{}`", kind.title()));
        for key in kind.keys() {
            let Some((_, default)) = rows.iter().find(|(name, _)| *name == key.name) else {
                panic!("{} of {} has no row", key.name, kind.title());
            };
            match key.default {
                Some(value) => assert!(default.starts_with(&format!("`{value}`")), "{}: {default}", key.name),
                None => assert!(default.starts_with("none") || default.starts_with("needed"), "{}", key.name),
            }
            assert_eq!(default.contains("repeats"), key.list, "{} of {}: repeats?", key.name, kind.title());
        }
        assert_eq!(rows.len(), kind.keys().count(), "{} has rows of keys that there are not", kind.title());
        for row in chapter(&format!("`{}`", kind.title())) {
            let key = kind.keys().find(|key| row.starts_with(&format!("| `{}` |", key.name)));
            let restart = key.is_some_and(|key| key.doc.contains("(restart)"));
            assert_eq!(row.contains("(restart)"), restart, "{row}");
        }
    }
}

#[test]
fn the_two_commands_are_there() {
    assert!(blocks().contains(&("sh", "cargo run --release")));
    assert!(blocks().contains(&("sh", "curl http://127.0.0.1:8080/")));
    assert!(README.contains("\n<!-- ci: test -->\n```sh\ncargo test\n```\n"), ".ci/run reads this block");
}

#[test]
fn the_demo_answers_as_it_is_shown() {
    let shown =
        blocks().into_iter().find(|(_, text)| text.starts_with("backend: demo-1")).expect("the demo's answer").1;
    let names = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.split_once(": ")).map(|(name, _)| name.to_owned()).collect()
    };
    let router = Router::start(&SHIPPED.replace("\naddress = 127.0.0.1:8080\n", "\naddress = 127.0.0.1:0\n"));
    let answer =
        router.client().ask("GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n");
    assert_eq!(names(&answer.text()), names(shown));
}

#[test]
fn every_example_of_a_file_is_good() {
    let examples: Vec<&str> = blocks().into_iter().filter(|(language, _)| *language == "ini").map(|(_, t)| t).collect();
    assert!(examples.len() >= 2);
    for example in &examples {
        if let Err(reports) = parse_str("README.md", example, &|_| None) {
            panic!("{reports}");
        }
    }
    let smallest: Vec<&str> = SMALLEST.lines().filter(|line| !line.is_empty()).collect();
    assert!(examples.iter().any(|example| example.lines().collect::<Vec<_>>() == smallest));
}

#[test]
fn every_end_token_has_a_row() {
    let tokens = quoted(include_str!("../src/error.rs"), "pub fn token");
    assert!(tokens.contains("ok") && tokens.len() > 15, "{tokens:?}");
    assert_eq!(first_cells("The `end=` tokens"), tokens);
}

#[test]
fn every_placeholder_has_a_row() {
    let braced: Vec<String> = PLACEHOLDERS.iter().map(|name| format!("{{{name}}}")).collect();
    assert_eq!(first_cells("Routing rules"), braced.iter().map(String::as_str).collect());
}

#[test]
fn every_status_of_a_refusal_has_a_row() {
    let listed: Vec<&str> = rows("The router's own answers").into_iter().map(|(status, _)| status).collect();
    let mut sources = Vec::new();
    collect(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut sources);
    let mut statuses = BTreeSet::new();
    for source in &sources {
        let literals = source.split("Refusal::new(").skip(1);
        statuses.extend(literals.filter_map(|rest| rest.get(..3)?.parse::<u16>().ok()));
    }
    assert!(statuses.len() > 8, "{statuses:?}");
    statuses.extend([403, 404, 405, 429, 502, 503, 504]);
    for status in statuses {
        assert!(listed.contains(&status.to_string().as_str()), "{status} has no row");
    }
}

fn collect(folder: &Path, sources: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("src") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, sources);
        } else {
            sources.push(std::fs::read_to_string(&path).expect("UTF-8"));
        }
    }
}

/// One line of the access log, by its own writer.
fn access_line(format: AccessFormat) -> String {
    let dir = TempDir::new();
    let path = dir.file("access.log");
    let log = AccessLog::new(&AccessTarget::Path(path.clone().into()), format).expect("an open file");
    let entry = Entry {
        client: Peer::Unix,
        status: 200,
        route: "r",
        pool: "p",
        backend: "b",
        id: b"i",
        first_byte: Some(Duration::from_micros(1)),
        total: Duration::from_micros(2),
        bytes_in: 3,
        bytes_out: 4,
        end: CloseReason::Done,
        generation: 5,
    };
    let (mut scratch, mut seen) = (Scratch::default(), Seen::default());
    seen.take(&[b"GET / HTTP/1.1"], None, None);
    log.log(&entry, &seen, &mut scratch);
    log.stop();
    log.run();
    std::fs::read_to_string(path).expect("a log")
}

#[test]
fn every_pair_of_an_access_line_has_a_row() {
    let line = access_line(AccessFormat::Combined);
    let pairs = line.rsplit_once('"').expect("the agent").1;
    let keys = pairs.split_whitespace().map(|pair| pair.split_once('=').expect("a pair").0);
    assert_eq!(first_cells("Logs"), keys.collect());

    let json = access_line(AccessFormat::Json);
    let names: Vec<&str> = json.split(['{', ',']).skip(1).filter_map(|pair| pair.split('"').nth(1)).collect();
    assert!(names.contains(&"gen"), "{names:?}");
    let text = chapter("Logs").join("\n");
    for name in names {
        assert!(text.contains(&format!("`{name}`")), "{name} of the JSON line");
    }
}

#[test]
fn every_counter_is_named() {
    let router = Router::start("[listen:http]\naddress = 127.0.0.1:0\n");
    let text = chapter("Signals and reload").join("\n");
    for name in router.counters().keys() {
        assert!(text.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn every_exit_code_has_a_row() {
    assert_eq!(first_cells("Command line"), BTreeSet::from(["0", "1", "2", "74", "78"]));
}
