//! Requests at a pace of their own: each has its moment, whatever became of those before it, and its latency counts
//! from that moment. Without that, a server that stands still for a second is asked nothing in that second, and looks
//! as if it had kept one request waiting (coordinated omission).

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{Errors, GO, Outcome, READY, Target, WARM_UP, answer, micros, outcome, say};
use crate::poll::Poll;
use crate::process::interrupted;

/// What the last answers get beyond the end; what has not come then is an error.
const LATE: Duration = Duration::from_secs(2);
const READ_BYTES: usize = 16 * 1024;

struct Connection {
    stream: TcpStream,
    /// The moment of the request that is on its way.
    due: Option<Instant>,
    came: Vec<u8>,
}

/// Warms up, then counts for so many seconds.
pub fn run(target: &Target, connections: u32, seconds: u32, rate: u32) -> Result<Outcome, String> {
    let mut poll = Poll::new()?;
    let mut all = Vec::new();
    for token in 0..connections as usize {
        all.push(connection(target, &poll, token)?);
    }
    say(READY);
    let request = target.request();
    let start = Instant::now();
    let (begin, time) = (start + WARM_UP, Duration::from_secs(seconds.into()));
    let end = begin + time;
    let mut moments = Moments { start, rate, count: 0 };
    let mut free: Vec<usize> = (0..all.len()).collect();
    let mut waiting = VecDeque::new();
    let (mut latencies, mut errors) = (Vec::new(), Errors::default());
    let (mut counts, mut ready) = (false, Vec::new());
    let mut buffer = vec![0; READ_BYTES];
    while !interrupted() {
        let now = Instant::now();
        if !counts && now >= begin {
            counts = true;
            say(GO);
        }
        while moments.next() <= now.min(end) {
            waiting.push_back(moments.next());
            moments.count += 1;
        }
        while let Some((&due, &token)) = waiting.front().zip(free.last()) {
            waiting.pop_front();
            free.pop();
            let connection = &mut all[token];
            connection.due = Some(due);
            if !matches!(connection.stream.write(request.as_bytes()), Ok(count) if count == request.len()) {
                errors.write += 1;
                *connection = self::connection(target, &poll, token)?;
                free.push(token);
            }
        }
        let open = all.len() - free.len() + waiting.len();
        if now >= end && (open == 0 || now >= end + LATE) {
            errors.timeout += open as u64;
            break;
        }
        poll.wait(Some(if now < end { moments.next().min(end) } else { end + LATE }), &mut ready)?;
        for &token in &ready {
            let Some(outcome) = all[token].receive(&mut buffer) else { continue };
            match (outcome, all[token].due.take()) {
                (Ok(()), Some(due)) => {
                    if due >= begin {
                        latencies.push(micros(due.elapsed()));
                    }
                }
                // Not asked for, cut, or no good one.
                _ => {
                    errors.read += 1;
                    all[token] = connection(target, &poll, token)?;
                }
            }
            if !free.contains(&token) {
                free.push(token);
            }
        }
    }
    Ok(outcome(latencies, time, errors))
}

/// One after the other, the same time apart; no error adds up.
struct Moments {
    start: Instant,
    rate: u32,
    count: u64,
}

impl Moments {
    fn next(&self) -> Instant {
        self.start + Duration::from_nanos(self.count * 1_000_000_000 / u64::from(self.rate.max(1)))
    }
}

fn connection(target: &Target, poll: &Poll, token: usize) -> Result<Connection, String> {
    let stream = target.used().map_err(|error| format!("connect: {error}"))?;
    stream.set_nonblocking(true).map_err(|error| error.to_string())?;
    poll.add(&stream, token)?;
    Ok(Connection { stream, due: None, came: Vec::new() })
}

impl Connection {
    /// Whether the answer is there and good; nothing while it is not whole.
    fn receive(&mut self, buffer: &mut [u8]) -> Option<Result<(), ()>> {
        match self.stream.read(buffer) {
            Ok(count) if count > 0 => self.came.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return None,
            _ => return Some(Err(())),
        }
        match answer::length(&self.came) {
            Ok(Some(length)) if self.came.len() == length => {
                self.came.clear();
                Some(Ok(()))
            }
            Ok(Some(length)) if self.came.len() > length => Some(Err(())),
            Ok(_) => None,
            Err(()) => Some(Err(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_keep_their_pace() {
        let start = Instant::now();
        let mut moments = Moments { start, rate: 3, count: 0 };
        assert_eq!(moments.next(), start);
        moments.count = 3;
        assert_eq!(moments.next(), start + Duration::from_secs(1));
        moments.count = 1;
        assert_eq!(moments.next(), start + Duration::from_nanos(333_333_333));
    }
}
