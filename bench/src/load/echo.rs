//! WebSocket sessions: each sends a frame, waits until it is back, sends the next.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{Errors, GO, Outcome, READY, Target, WARM_UP, micros, outcome, say};
use crate::poll::Poll;
use crate::process::interrupted;
use crate::websocket;

/// No handshake is answered with more.
const HEAD_MAX: usize = 4096;
/// What is read at once; a frame is much shorter.
const READ_BYTES: usize = 4096;

struct Session {
    stream: TcpStream,
    sent: Instant,
    came: Vec<u8>,
    over: bool,
}

/// Warms up, then counts for so many seconds.
pub fn run(target: &Target, connections: u32, seconds: u32) -> Result<Outcome, String> {
    let mut poll = Poll::new()?;
    let mut sessions = Vec::new();
    for token in 0..connections as usize {
        let stream = handshake(target).map_err(|error| format!("handshake {token}: {error}"))?;
        stream.set_nonblocking(true).map_err(|error| error.to_string())?;
        poll.add(&stream, token)?;
        sessions.push(Session { stream, sent: Instant::now(), came: Vec::new(), over: false });
    }
    say(READY);
    let (frame, echo) = (websocket::frame(b'x'), websocket::echo(b'x'));
    let (mut latencies, mut errors) = (Vec::new(), Errors::default());
    for session in &mut sessions {
        session.send(&frame, &poll, &mut errors);
    }
    let begin = Instant::now() + WARM_UP;
    let end = begin + Duration::from_secs(seconds.into());
    let (mut counts, mut ready) = (false, Vec::new());
    let mut buffer = [0; READ_BYTES];
    while Instant::now() < end && !interrupted() {
        if !counts && Instant::now() >= begin {
            counts = true;
            latencies.clear();
            say(GO);
        }
        poll.wait(Some(if counts { end } else { begin }), &mut ready)?;
        for &token in &ready {
            let session = &mut sessions[token];
            if !session.receive(&mut buffer, &poll, &mut errors) || session.came.len() < echo.len() {
                continue;
            }
            errors.status += u64::from(session.came != echo);
            session.came.clear();
            latencies.push(micros(session.sent.elapsed()));
            session.send(&frame, &poll, &mut errors);
        }
    }
    Ok(outcome(latencies, Duration::from_secs(seconds.into()), errors))
}

fn handshake(target: &Target) -> std::io::Result<TcpStream> {
    let mut stream = target.connect()?;
    stream.write_all(websocket::request(&target.path, &target.address.to_string()).as_bytes())?;
    let mut head = Vec::new();
    // Nothing follows it before we send.
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_MAX {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    if head.starts_with(b"HTTP/1.1 101 ") {
        return Ok(stream);
    }
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    Err(std::io::Error::other(format!("`{}`", line.escape_ascii())))
}

impl Session {
    /// One frame is less than any socket takes at once.
    fn send(&mut self, frame: &[u8], poll: &Poll, errors: &mut Errors) {
        self.sent = Instant::now();
        if !matches!(self.stream.write(frame), Ok(count) if count == frame.len()) {
            errors.write += 1;
            self.end(poll);
        }
    }

    /// False when nothing came.
    fn receive(&mut self, buffer: &mut [u8], poll: &Poll, errors: &mut Errors) -> bool {
        if self.over {
            return false;
        }
        match self.stream.read(buffer) {
            Ok(count) if count > 0 => self.came.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return false,
            _ => {
                errors.read += 1;
                self.end(poll);
                return false;
            }
        }
        true
    }

    /// Counted once, and not looked at again: it would be ready for ever.
    fn end(&mut self, poll: &Poll) {
        self.over = true;
        poll.forget(&self.stream);
    }
}
