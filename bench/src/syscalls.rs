//! How many system calls a session makes, as perf counts them: in a short run of its own, since counting costs.

use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::peer;
use crate::proc;
use crate::process::{self, Process};
use crate::room::Room;

const EVENT: &str = "raw_syscalls:sys_enter";
/// Until it counts; it does not say when it does.
const ATTACH: Duration = Duration::from_millis(500);
const END: Duration = Duration::from_secs(5);

/// Whether it can be asked.
pub fn installed() -> bool {
    peer::installed("perf").is_some()
}

/// Somebody who counts.
#[derive(Debug)]
pub struct Counter {
    perf: Process,
}

impl Counter {
    pub fn start(session: u32, room: &Room) -> Result<Self, String> {
        let pids: Vec<String> = proc::living(session).iter().map(u32::to_string).collect();
        let mut command = Command::new("perf");
        command.args(["stat", "-x", ",", "-e", EVENT, "-p", &pids.join(",")]);
        let perf = Process::spawn("perf", command, room)?;
        process::pause_for(ATTACH)?;
        perf.must_run()?;
        Ok(Self { perf })
    }

    pub fn finish(mut self) -> Result<u64, String> {
        self.perf.signal(Signal::INT);
        self.perf.finish(END)?;
        let said = self.perf.last_words();
        parse(&said).ok_or_else(|| format!("perf: {said}"))
    }
}

/// `1234,,raw_syscalls:sys_enter,..`, whatever else it says.
fn parse(text: &str) -> Option<u64> {
    text.lines().filter(|line| line.contains(EVENT)).find_map(|line| line.split(',').next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_and_nothing_is_no_count() {
        assert_eq!(parse("99,,other:event,99,100.00,,\n12345,,raw_syscalls:sys_enter,99,100.00,,\n"), Some(12_345));
        assert_eq!(parse("<not counted>,,raw_syscalls:sys_enter,0,0.00,,\n"), None);
        assert_eq!(parse("Error: no access to raw_syscalls:sys_enter\n"), None);
    }
}
