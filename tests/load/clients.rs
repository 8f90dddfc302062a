//! Clients that verify every answer: each request carries a token, and only its own answer has what belongs to it.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use crate::origin::{BusyOrigin, STACK};
use crate::support::router::Signal;
use crate::support::{DEADLINE, Router, ms};
use crate::wire::{Bytes, Head, read_sum};

/// The router promises half a second for one last request; this much of it is held against it.
const LAST_REQUEST: Duration = Duration::from_millis(400);
/// A client that asks late does so this much before.
const MARGIN: Duration = Duration::from_millis(50);
/// Length of a body, up or down: many reads, no wait.
const LENGTH: usize = 40_000;

/// What a client does between two requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// Asks on one connection as long as it lasts.
    Keeps,
    /// Asks to close after each answer, and connects anew.
    Reconnects,
    /// As `Keeps`, but after the signal it says nothing more, and waits to be let go.
    FallsSilent,
    /// As `Keeps`, but after the signal it asks once more when there is hardly time.
    AsksLate,
}

/// Clients at work, and what they saw.
pub struct Clients {
    address: String,
    stop: AtomicBool,
    /// When the router was told to drain.
    term: OnceLock<Instant>,
    answered: AtomicU64,
    failures: Mutex<Vec<String>>,
}

/// How one request ended.
enum Ending {
    Answered {
        closes: bool,
        /// `X-File` of the answer, 0 without one.
        file: u64,
    },
    /// The connection ended without a byte of an answer; when all of the request had been taken by the kernel.
    Unanswered { sent: Instant },
}

impl Clients {
    /// Runs one client for each habit while `script` runs; what they saw is judged at the end.
    #[track_caller]
    pub fn run(address: &str, habits: impl Iterator<Item = Habit>, script: impl FnOnce(&Self)) {
        let clients = Self {
            address: address.to_owned(),
            stop: AtomicBool::new(false),
            term: OnceLock::new(),
            answered: AtomicU64::new(0),
            failures: Mutex::default(),
        };
        std::thread::scope(|scope| {
            let _stop = StopOnDrop(&clients.stop);
            for (number, habit) in (1..).zip(habits) {
                let clients = &clients;
                let run = move || clients.converse(number, habit);
                std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run).expect("a thread");
            }
            script(&clients);
        });
        let failures = clients.failures.into_inner().expect("not poisoned");
        assert!(
            failures.is_empty(),
            "{} of {} requests failed: {:#?}",
            failures.len(),
            clients.answered.into_inner(),
            &failures[..failures.len().min(10)]
        );
    }

    /// Whole and right answers so far.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }

    /// SIGTERM. From here on an end of the service is no failure, within its rules.
    pub fn terminate(&self, router: &Router) {
        self.term.set(Instant::now()).expect("once");
        router.signal(Signal::TERM);
    }

    fn converse(&self, number: u64, habit: Habit) {
        let (mut token, mut last_file) = (number << 32, 0);
        while !self.stop.load(Ordering::SeqCst) {
            let Some(mut stream) = self.connect() else { return };
            let connected = Instant::now();
            loop {
                if self.stop.load(Ordering::SeqCst) {
                    return;
                }
                match (habit, self.term.get()) {
                    (Habit::FallsSilent, Some(_)) => return self.expect_the_end(&mut stream),
                    // Time that passes is what this one is about.
                    (Habit::AsksLate, Some(term)) => {
                        std::thread::sleep((LAST_REQUEST - MARGIN).saturating_sub(term.elapsed()))
                    }
                    _ => {}
                }
                token += 1;
                match ask(&mut stream, token, habit == Habit::Reconnects) {
                    Ok(Ending::Answered { closes, file }) => {
                        self.answered.fetch_add(1, Ordering::SeqCst);
                        if file < last_file {
                            return self.fail(format!("{token:x}: file {file} answers after file {last_file}"));
                        }
                        last_file = file;
                        match habit {
                            Habit::Keeps | Habit::Reconnects if closes => break,
                            // Theirs was about this connection.
                            Habit::FallsSilent | Habit::AsksLate if closes => return,
                            _ => {}
                        }
                    }
                    Ok(Ending::Unanswered { sent }) => match self.term.get() {
                        // Not begun: it came too late, or its connection did.
                        Some(term) if connected > *term || sent > *term + LAST_REQUEST => break,
                        term => {
                            let after = term.map(|term| sent.saturating_duration_since(*term));
                            return self.fail(format!("{token:x}: no answer; sent {after:?} after the signal"));
                        }
                    },
                    Err(error) => return self.fail(format!("{token:x}: {error}")),
                }
            }
        }
    }

    /// `None`: there is no service any more.
    fn connect(&self) -> Option<BufReader<TcpStream>> {
        let connected = TcpStream::connect(&self.address).and_then(|stream| {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(DEADLINE))?;
            stream.set_write_timeout(Some(DEADLINE))?;
            // Nobody listens, and the kernel happened to choose the same port for this end.
            let itself = stream.local_addr()? == stream.peer_addr()?;
            if itself { Err(ErrorKind::ConnectionRefused.into()) } else { Ok(stream) }
        });
        match connected {
            Ok(stream) => Some(BufReader::new(stream)),
            // A reset is a connection that was in the queue when the listener closed.
            Err(e) if self.term.get().is_some() && (is_reset(&e) || e.kind() == ErrorKind::ConnectionRefused) => None,
            Err(e) => {
                self.fail(format!("connect: {e}"));
                None
            }
        }
    }

    fn expect_the_end(&self, stream: &mut BufReader<TcpStream>) {
        match stream.read(&mut [0]) {
            Ok(0) => {}
            other => self.fail(format!("a session that asks nothing is not let go: {other:?}")),
        }
    }

    fn fail(&self, why: String) {
        self.failures.lock().expect("not poisoned").push(why);
    }
}

/// Lets threads end that look at it, also when their script panics.
pub struct StopOnDrop<'a>(pub &'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// One request of the token's kind, and its answer. An error is an answer that is cut, late or not its own.
fn ask(stream: &mut BufReader<TcpStream>, token: u64, close: bool) -> io::Result<Ending> {
    let connection = if close { "Connection: close\r\n" } else { "" };
    let (up, chunked) = (token % 4 == 1 || token % 4 == 2, token % 2 == 1);
    let mut request = Vec::with_capacity(LENGTH + 1000);
    let method = if up { "POST" } else { "GET" };
    write!(request, "{method} /{token:x} HTTP/1.1\r\nHost: a\r\n{connection}")?;
    let mut sum = 0;
    if up {
        request.extend_from_slice(framing(chunked).as_bytes());
        sum = Bytes::of(token).write(LENGTH, chunked, &mut request)?;
    } else {
        request.extend_from_slice(b"\r\n");
    }
    let written = stream.get_mut().write_all(&request);
    let sent = Instant::now();
    match written {
        Err(e) if !is_reset(&e) => return Err(e),
        // What was answered before the reset is still to be read.
        _ => {}
    }
    match stream.fill_buf() {
        Ok([]) => return Ok(Ending::Unanswered { sent }),
        Err(e) if is_reset(&e) => return Ok(Ending::Unanswered { sent }),
        Err(e) => return Err(e),
        Ok(_) => {}
    }
    let Some(head) = Head::read(stream)? else { unreachable!("a byte is there") };
    if head.start != "HTTP/1.1 200 OK" {
        let text = io::read_to_string(head.body(stream)?)?;
        return Err(io::Error::other(format!("{}: {text}", head.start)));
    }
    let got = read_sum(&mut head.body(stream)?)?;
    let due = match token % 4 {
        3 => (LENGTH, Bytes::of(token).sum(LENGTH)),
        _ => (0, 0),
    };
    let said = (head.get("x-token").unwrap_or(""), head.get("x-sum").unwrap_or(""));
    if got != due || said != (&format!("{token:x}"), &format!("{sum:x}")) {
        return Err(io::Error::other(format!("the answer of another: {said:?}, {got:?}")));
    }
    let file = head.get("x-file").and_then(|file| file.parse().ok()).unwrap_or(0);
    Ok(Ending::Answered { closes: close || head.says_close(), file })
}

fn framing(chunked: bool) -> String {
    if chunked { "Transfer-Encoding: chunked\r\n\r\n".into() } else { format!("Content-Length: {LENGTH}\r\n\r\n") }
}

fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted)
}

/// The origin for these clients; every eighth answer takes its time.
pub fn answering() -> BusyOrigin {
    BusyOrigin::start(|head, mut body, to| {
        let token = head.start.split(' ').nth(1).and_then(|target| u64::from_str_radix(&target[1..], 16).ok());
        let token = token.ok_or(ErrorKind::InvalidData)?;
        let (_, sum) = read_sum(&mut body)?;
        if token % 8 == 0 {
            std::thread::sleep(ms(token / 8 % 16));
        }
        let mut answer = Vec::with_capacity(LENGTH + 1000);
        write!(answer, "HTTP/1.1 200 OK\r\nX-Token: {token:x}\r\nX-Sum: {sum:x}\r\n")?;
        if token % 4 == 3 {
            // Chunks for one token, a length for the next of its kind.
            let chunked = token % 8 == 3;
            answer.extend_from_slice(framing(chunked).as_bytes());
            Bytes::of(token).write(LENGTH, chunked, &mut answer)?;
        } else {
            answer.extend_from_slice(b"Content-Length: 0\r\n\r\n");
        }
        to.write_all(&answer)
    })
}
