//! Connections that had an answer and say nothing more: what they cost is memory, and whatever is in somebody's way.

use std::io::ErrorKind;
use std::thread::sleep;
use std::time::Duration;

use super::{Errors, Outcome, READY, Target, say};
use crate::process::interrupted;

const LOOK: Duration = Duration::from_millis(5);

/// Until we are interrupted; then each must still be there, and must have said nothing.
pub fn run(target: &Target, connections: u32) -> Result<Outcome, String> {
    let mut errors = Errors::default();
    let mut open = Vec::new();
    for _ in 0..connections {
        match target.used() {
            Ok(stream) => open.push(stream),
            Err(_) => errors.connect += 1,
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
