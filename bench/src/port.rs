//! A program that must be told its port: started on one that was free, and on another when that was taken meanwhile.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::{Process, pause};
use crate::room::{Room, free_port};

/// From its start to its first answer. Varnish has a compiler run before that.
const START_TIME: Duration = Duration::from_secs(15);
const ATTEMPTS: u32 = 3;

/// Starts it in the room, and waits until it is ready.
pub fn start(
    name: &str,
    room: &Room,
    command: impl Fn(u16) -> Result<Command, String>,
    ready: impl Fn(SocketAddr) -> Result<(), String>,
) -> Result<(Process, SocketAddr), String> {
    let mut failure = String::new();
    for _ in 0..ATTEMPTS {
        let port = free_port()?;
        let address = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
        let process = Process::spawn(name, command(port)?, room)?;
        match wait(&process, || ready(address)) {
            Ok(()) => return Ok((process, address)),
            Err(reason) => failure = format!("{name} does not start: {reason}"),
        }
        pause()?;
    }
    Err(failure)
}

fn wait(process: &Process, ready: impl Fn() -> Result<(), String>) -> Result<(), String> {
    let deadline = Instant::now() + START_TIME;
    loop {
        process.must_run()?;
        match ready() {
            Ok(()) => return Ok(()),
            Err(reason) if Instant::now() > deadline => return Err(format!("{reason}\n{}", process.last_words())),
            Err(_) => pause()?,
        }
    }
}
