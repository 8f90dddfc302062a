//! Connections that had an answer and say nothing more: what they cost is memory, and whatever is in somebody's way.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

use super::{Errors, Outcome, READY, Target, answer, say};
use crate::process::interrupted;

const TOGETHER: u64 = 64;
const LOOK: Duration = Duration::from_millis(5);

/// Until we are interrupted; then each must still be there, and must have said nothing.
pub fn run(target: &Target, connections: u32) -> Result<Outcome, String> {
    let mut errors = Errors::default();
    let mut open = Vec::new();
    while (open.len() as u64 + errors.connect) < u64::from(connections) {
        let missing = u64::from(connections) - open.len() as u64 - errors.connect;
        for stream in together(target, missing.min(TOGETHER)) {
            match stream {
                Ok(stream) => open.push(stream),
                Err(_) => errors.connect += 1,
            }
        }
        if interrupted() {
            return Err("interrupted".to_owned());
        }
    }
    say(READY);
    while !interrupted() {
        sleep(LOOK);
    }
    for stream in &open {
        let silent = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
        let silent = silent.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        errors.read += u64::from(!silent);
    }
    Ok(Outcome { errors, ..Outcome::default() })
}

/// So many at a time: on a full machine each turn of the proxy is waited for, and one at a time it would be 16,384 turns.
fn together(target: &Target, count: u64) -> Vec<std::io::Result<TcpStream>> {
    let request = target.request();
    let asked = |_| {
        let mut stream = target.connect()?;
        stream.write_all(request.as_bytes())?;
        Ok(stream)
    };
    let asked: Vec<std::io::Result<TcpStream>> = (0..count).map(asked).collect();
    let answered = |stream: std::io::Result<TcpStream>| {
        let mut stream = stream?;
        answer::read(&mut stream)?;
        Ok(stream)
    };
    asked.into_iter().map(answered).collect()
}
