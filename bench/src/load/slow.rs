//! Clients that take their time: a few bytes of the request, a pause, a few bytes of the answer, a pause. A thread for
//! each; there are few.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread::{Builder, sleep};
use std::time::{Duration, Instant};

use super::{Errors, Outcome, READY, Target, answer, micros, outcome, say};
use crate::process::interrupted;

/// 6 KB/s: six times what the router asks of a client by default.
const BYTES: usize = 64;
const PAUSE: Duration = Duration::from_millis(10);
const STACK: usize = 128 * 1024;

/// Until we are interrupted.
pub fn run(target: &Target, connections: u32) -> Result<Outcome, String> {
    let mut clients = Vec::new();
    let request: Arc<str> = target.request().into();
    for _ in 0..connections {
        let stream = target.connect().map_err(|error| format!("connect: {error}"))?;
        let request = Arc::clone(&request);
        let client = Builder::new().stack_size(STACK).spawn(move || client(stream, &request));
        clients.push(client.map_err(|error| format!("thread: {error}"))?);
    }
    say(READY);
    let start = Instant::now();
    let (mut latencies, mut errors) = (Vec::new(), Errors::default());
    for client in clients {
        let (own, good) = client.join().map_err(|_| "a client panicked")?;
        latencies.extend(own);
        errors.read += u64::from(!good);
    }
    Ok(outcome(latencies, start.elapsed(), errors))
}

/// How long each exchange took, and whether all went well.
fn client(mut stream: TcpStream, request: &str) -> (Vec<u32>, bool) {
    let mut latencies = Vec::new();
    while !interrupted() {
        let start = Instant::now();
        for part in request.as_bytes().chunks(BYTES) {
            sleep(PAUSE);
            if stream.write_all(part).is_err() {
                return (latencies, false);
            }
        }
        if answer::read(&mut Slowly(&stream)).is_err() {
            return (latencies, false);
        }
        latencies.push(micros(start.elapsed()));
    }
    (latencies, true)
}

struct Slowly<'a>(&'a TcpStream);

impl Read for Slowly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        sleep(PAUSE);
        let most = buffer.len().min(BYTES);
        self.0.read(&mut buffer[..most])
    }
}
