//! What wrk cannot do, in a process of its own as wrk is: clients that are slow, that say nothing, that talk in frames,
//! that keep a pace whatever the answers do; and a neighbour that spins. Each is `bench load KIND ..`.

mod answer;
mod echo;
mod idle;
mod paced;
mod slow;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use crate::process::{self, Process, pause};
use crate::room::Room;
use crate::wrk::{Errors, Outcome};

/// The first line of one that has all of its connections.
const READY: &str = "ready";
/// The line of one that has warmed up: from here on it counts.
const GO: &str = "go";
/// Warming up, of those that count.
const WARM_UP: Duration = Duration::from_secs(1);
/// Until all connections are there, 16,384 of them on a full machine.
const CONNECT_TIME: Duration = Duration::from_secs(120);
/// What a load may take beyond its time.
const SLACK: Duration = Duration::from_secs(15);
/// No answer here takes longer, unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(10);

/// One of the kinds, with what it must know.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Does nothing, as fast as it can.
    Spin,
    /// So many clients that send and read a few bytes at a time.
    Slow { connections: u32 },
    /// So many connections that were of use once and say nothing more.
    Idle { connections: u32 },
    /// So many WebSocket sessions, each with one frame on its way.
    Echo { connections: u32, seconds: u32 },
    /// So many requests a second, on so many connections.
    Paced { connections: u32, seconds: u32, rate: u32 },
}

impl Kind {
    fn arguments(self) -> Vec<String> {
        let (name, numbers) = match self {
            Kind::Spin => ("spin", vec![]),
            Kind::Slow { connections } => ("slow", vec![connections]),
            Kind::Idle { connections } => ("idle", vec![connections]),
            Kind::Echo { connections, seconds } => ("echo", vec![connections, seconds]),
            Kind::Paced { connections, seconds, rate } => ("paced", vec![connections, seconds, rate]),
        };
        std::iter::once(name.to_owned()).chain(numbers.iter().map(u32::to_string)).collect()
    }

    /// What `arguments` made.
    pub fn parse(arguments: &[String]) -> Option<Self> {
        let (name, numbers) = arguments.split_first()?;
        let numbers: Option<Vec<u32>> = numbers.iter().map(|number| number.parse().ok()).collect();
        Some(match (name.as_str(), numbers?.as_slice()) {
            ("spin", []) => Kind::Spin,
            ("slow", &[connections]) => Kind::Slow { connections },
            ("idle", &[connections]) => Kind::Idle { connections },
            ("echo", &[connections, seconds]) => Kind::Echo { connections, seconds },
            ("paced", &[connections, seconds, rate]) => Kind::Paced { connections, seconds, rate },
            _ => return None,
        })
    }
}

/// A load that runs.
#[derive(Debug)]
pub struct Load {
    process: Process,
}

/// Starts it; it has all of its connections.
pub fn start(kind: Kind, address: SocketAddr, path: &str, room: &Room) -> Result<Load, String> {
    let arguments = kind.arguments();
    let mut command = Command::new(own()?);
    command.args(["load", &address.to_string(), path]).args(&arguments);
    // Of some there are several at a time, each with its own output.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("load-{}-{}", arguments[0], COUNT.fetch_add(1, Relaxed));
    let load = Load { process: Process::spawn(&name, command, room)? };
    load.until(READY, CONNECT_TIME)?;
    Ok(load)
}

/// This program, to be started again as something else.
pub fn own() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|error| format!("where we are: {error}"))
}

impl Load {
    /// Waits until it counts.
    pub fn counts(&self) -> Result<(), String> {
        self.until(GO, WARM_UP + SLACK)
    }

    /// Waits for its end, which is its own.
    pub fn finish(mut self, seconds: u32) -> Result<Outcome, String> {
        self.process.finish(Duration::from_secs(seconds.into()) + SLACK)?;
        self.outcome()
    }

    /// Ends it: what it has seen until now.
    pub fn stop(mut self) -> Result<Outcome, String> {
        self.process.signal(rustix::process::Signal::TERM);
        self.process.finish(SLACK)?;
        self.outcome()
    }

    fn outcome(&self) -> Result<Outcome, String> {
        parse(&self.process.output()).ok_or_else(|| format!("no outcome: {}", self.process.last_words()))
    }

    fn until(&self, line: &str, limit: Duration) -> Result<(), String> {
        let deadline = std::time::Instant::now() + limit;
        while !self.process.output().lines().any(|said| said == line) {
            // One that has ended has said why.
            self.process.must_run()?;
            if std::time::Instant::now() > deadline {
                return Err(format!("no `{line}` after {} s: {}", limit.as_secs(), self.process.last_words()));
            }
            pause()?;
        }
        Ok(())
    }
}

/// What is started: shows its lines on stdout.
pub fn run(address: &str, path: &str, arguments: &[String]) -> Result<u64, String> {
    process::handle_interrupts();
    process::raise_descriptors();
    let kind = Kind::parse(arguments).ok_or("no such load")?;
    let outcome = outcome_of(kind, address.parse().map_err(|_| "no address")?, path)?;
    print!("{}", shown(&outcome));
    Ok(0)
}

/// Does it, here.
pub fn outcome_of(kind: Kind, address: SocketAddr, path: &str) -> Result<Outcome, String> {
    let target = Target { address, path: path.to_owned() };
    match kind {
        Kind::Spin => Ok(spin()),
        Kind::Slow { connections } => slow::run(&target, connections),
        Kind::Idle { connections } => idle::run(&target, connections),
        Kind::Echo { connections, seconds } => echo::run(&target, connections, seconds),
        Kind::Paced { connections, seconds, rate } => paced::run(&target, connections, seconds, rate),
    }
}

/// What is asked, and of whom.
#[derive(Debug)]
struct Target {
    address: SocketAddr,
    path: String,
}

impl Target {
    fn connect(&self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    fn request(&self) -> String {
        format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", self.path, self.address)
    }

    /// A connection that has been of use once.
    fn used(&self) -> std::io::Result<TcpStream> {
        let mut stream = self.connect()?;
        stream.write_all(self.request().as_bytes())?;
        answer::read(&mut stream)?;
        Ok(stream)
    }
}

fn say(line: &str) {
    println!("{line}");
}

fn spin() -> Outcome {
    say(READY);
    while !process::interrupted() {
        std::hint::spin_loop();
    }
    Outcome::default()
}

/// The outcome of answers that took so many microseconds each.
fn outcome(mut latencies_us: Vec<u32>, time: Duration, errors: Errors) -> Outcome {
    latencies_us.sort_unstable();
    let at = |share: f64| {
        let index = (latencies_us.len() as f64 * share) as usize;
        latencies_us.get(index.min(latencies_us.len().saturating_sub(1))).copied().map_or(f64::NAN, f64::from)
    };
    Outcome {
        requests: latencies_us.len() as u64,
        requests_per_s: latencies_us.len() as f64 / time.as_secs_f64(),
        p50_us: at(0.5),
        p99_us: at(0.99),
        p999_us: at(0.999),
        errors,
    }
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

/// A name and a number in each line.
fn shown(outcome: &Outcome) -> String {
    let mut text = format!(
        "requests {}\nrequests_per_s {}\np50_us {}\np99_us {}\np999_us {}\n",
        outcome.requests, outcome.requests_per_s, outcome.p50_us, outcome.p99_us, outcome.p999_us
    );
    for (name, count) in outcome.errors.named() {
        text += &format!("{name} {count}\n");
    }
    text
}

/// What `shown` made; nothing when anything is missing.
fn parse(text: &str) -> Option<Outcome> {
    let after = |name: &str| {
        text.lines().find_map(|line| line.split_once(' ').filter(|(known, _)| *known == name)).map(|(_, value)| value)
    };
    let number = |name: &str| after(name)?.parse::<f64>().ok();
    let count = |name: &str| after(name)?.parse::<u64>().ok();
    Some(Outcome {
        requests: count("requests")?,
        requests_per_s: number("requests_per_s")?,
        p50_us: number("p50_us")?,
        p99_us: number("p99_us")?,
        p999_us: number("p999_us")?,
        errors: Errors {
            connect: count("connect")?,
            read: count("read")?,
            write: count("write")?,
            timeout: count("timeout")?,
            status: count("status")?,
            runs: count("run")?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_as_they_were_written() {
        for kind in [
            Kind::Spin,
            Kind::Slow { connections: 1 },
            Kind::Idle { connections: 2 },
            Kind::Echo { connections: 3, seconds: 4 },
            Kind::Paced { connections: 5, seconds: 6, rate: 7 },
        ] {
            assert_eq!(Kind::parse(&kind.arguments()), Some(kind));
        }
        assert_eq!(Kind::parse(&["slow".to_owned()]), None);
        assert_eq!(Kind::parse(&["slow".to_owned(), "x".to_owned()]), None);
    }

    #[test]
    fn an_outcome_is_read_as_it_was_shown() {
        let errors = Errors { connect: 1, read: 2, write: 3, timeout: 4, status: 5, runs: 6 };
        let latencies = (1..=1000).rev().collect();
        let whole = outcome(latencies, Duration::from_secs(2), errors);
        assert_eq!((whole.requests, whole.requests_per_s), (1000, 500.0));
        assert_eq!((whole.p50_us, whole.p99_us, whole.p999_us), (501.0, 991.0, 1000.0));
        assert_eq!(parse(&shown(&whole)), Some(whole.clone()));
        for line in shown(&whole).lines() {
            assert_eq!(parse(&shown(&whole).replace(line, "")), None, "{line}");
        }
    }

    #[test]
    fn nothing_answered_has_no_latency() {
        let none = outcome(Vec::new(), Duration::from_secs(1), Errors::default());
        assert_eq!(none.requests, 0);
        assert!(none.p50_us.is_nan() && none.p999_us.is_nan());
    }
}
