//! Three actors for black-box tests: a scripted client, the router as a process, a scripted origin.
//!
//! Every step has a deadline, so a hang fails with the name of the step. Nothing here sleeps to let something happen:
//! a script waits by reading, by accepting, or by asking again until its deadline. Nothing here knows the product's
//! insides: what it sees is bytes on sockets, stdout, stderr, exit codes and signals.

#![allow(dead_code, unused_imports, reason = "each test binary uses a part of this")]

pub mod client;
pub mod message;
pub mod origin;
pub mod peer;
pub mod programs;
pub mod rest;
pub mod router;

use std::time::{Duration, Instant};

pub use client::Client;
pub use message::{BodyEnd, Fields, Request, Response, chunked, reply};
pub use origin::{FullBacklog, Origin, OriginConn, Refusing, ServingOrigin};
pub use peer::{Ending, Peer};
pub use router::{Finished, Router, Setup, TempDir, run};

/// What every step of a script gets, unless it says otherwise.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Milliseconds.
pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Asks again, a hundred times a second, until there is an answer; panics with `what` after `within`.
#[track_caller]
pub fn eventually<T>(what: &str, within: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + within;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < until, "not within {within:?}: {what}");
        std::thread::sleep(ms(10));
    }
}

/// `text` with every `${NAME}` of `values` replaced: for files that also use the router's own `{placeholders}`.
pub fn fill(text: &str, values: &[(&str, &dyn std::fmt::Display)]) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${{{name}}}"), &value.to_string()))
}

/// Bytes for a panic message: printable, and no more of them than help.
pub fn shown(bytes: &[u8]) -> String {
    let head = &bytes[..bytes.len().min(300)];
    let more = if bytes.len() > head.len() { format!(" … ({} bytes)", bytes.len()) } else { String::new() };
    format!("\"{}\"{more}", head.escape_ascii())
}

/// Bytes that differ at every place a pump could mix up: a counter in steps of eight bytes.
pub fn pattern(len: usize) -> Vec<u8> {
    (0u64..).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).take(len).collect()
}
