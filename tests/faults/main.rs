//! Faults: whatever breaks, whoever is not broken gets an answer or sees plainly that there is none, and the router is at
//! rest afterwards. One idea a file; each test ends with `assert_at_rest` and a request that works.

mod aborts;
mod kills;
mod matrix;
mod names;
#[allow(dead_code, reason = "a part of it is used here")]
#[path = "../load/origin.rs"]
mod origin;
mod phases;
mod signals;
mod stops;
#[path = "../support/mod.rs"]
mod support;
#[path = "../load/wire.rs"]
mod wire;

use support::{DEADLINE, TempDir, eventually};

/// A line of `[log]` for the file that [`ends`] reads.
const ACCESS: &str = "[log]\naccess = access.log\n";

/// Status and end token of every exchange so far, once there are `count`.
#[track_caller]
fn ends(dir: &TempDir, count: usize) -> Vec<String> {
    let path = dir.file("access.log");
    eventually(&format!("{count} lines in the access log"), DEADLINE, || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let ends: Vec<String> = text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(end).collect();
        (ends.len() >= count).then_some(ends)
    })
}

/// `... "GET / HTTP/1.1" 499 0 ... end=client_gone gen=1` as `499 client_gone`.
fn end(line: &str) -> String {
    let status = line.split("\" ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a status");
    let token = line.split(" end=").nth(1).and_then(|rest| rest.split(' ').next()).expect("a token");
    format!("{status} {token}")
}
