//! The load: wrk, and what it says about a run.
//!
//! wrk sends the next request of a connection when the last is answered: latencies are those of a closed loop.

use std::process::Command;
use std::time::Duration;

use crate::process::Process;
use crate::room::Room;

/// What wrk may take beyond its time: connecting, and requests that time out.
const SLACK: Duration = Duration::from_secs(20);
/// An answer that takes longer is an error; wrk's own two seconds are too few for large bodies on a full machine.
const TIMEOUT: &str = "10s";
/// It only shows up to the 99th percentile by itself.
const DONE: &str = "\
done = function(summary, latency, requests)
    io.write(string.format('99.9%% %dus\\n', latency:percentile(99.9)))
end
";

/// What it is to do.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    pub url: &'a str,
    pub connections: u32,
    /// Another header field.
    pub field: Option<&'a str>,
    /// Sent with each request, which is a POST then.
    pub body_bytes: usize,
    /// Of each answer, at least.
    pub answer_bytes: usize,
}

/// What came out of one run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    pub requests: u64,
    pub requests_per_s: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub errors: Errors,
}

/// What went wrong, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Errors {
    pub connect: u64,
    pub read: u64,
    pub write: u64,
    pub timeout: u64,
    /// Answers with a status from 400 on.
    pub status: u64,
    /// Runs without any answer, or with answers too short to be the file.
    pub runs: u64,
}

impl Errors {
    pub fn total(self) -> u64 {
        self.named().iter().map(|(_, count)| count).sum()
    }

    pub fn plus(self, other: Self) -> Self {
        Self {
            connect: self.connect + other.connect,
            read: self.read + other.read,
            write: self.write + other.write,
            timeout: self.timeout + other.timeout,
            status: self.status + other.status,
            runs: self.runs + other.runs,
        }
    }

    pub fn named(self) -> [(&'static str, u64); 6] {
        [
            ("connect", self.connect),
            ("read", self.read),
            ("write", self.write),
            ("timeout", self.timeout),
            ("status", self.status),
            ("run", self.runs),
        ]
    }
}

/// Starts it; `finish` waits for it.
pub fn start(task: Task, seconds: u32, room: &Room) -> Result<Process, String> {
    let script = room.write("load.lua", script(task.body_bytes).as_bytes())?;
    let mut command = Command::new("wrk");
    command
        .arg(format!("-t{}", task.connections.min(2)))
        .arg(format!("-c{}", task.connections))
        .arg(format!("-d{seconds}"))
        .args(["--latency", "--timeout", TIMEOUT, "-s"])
        .arg(script);
    command.args(task.field.iter().flat_map(|field| ["-H", field])).arg(task.url);
    Process::spawn("wrk", command, room)
}

/// Waits for its end and reads what it says.
pub fn finish(mut process: Process, task: Task, seconds: u32) -> Result<Outcome, String> {
    let status = process.finish(Duration::from_secs(seconds.into()) + SLACK)?;
    if !status.success() {
        return Err(format!("wrk: {}", process.last_words()));
    }
    parse(&process.output(), task.answer_bytes)
}

/// `1.00GB` may be 1.005: more than all heads of answers of 64 KB.
const ROUNDED: f64 = 1.005;

/// The request is made once, whatever its size.
fn script(body_bytes: usize) -> String {
    let body = match body_bytes {
        0 => String::new(),
        _ => format!("wrk.method = 'POST'\nwrk.body = string.rep('x', {body_bytes})\n"),
    };
    body + DONE
}

fn parse(text: &str, answer_bytes: usize) -> Result<Outcome, String> {
    let missing = |what: &str| format!("wrk: no {what} in\n{text}");
    let after = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim);
    let latency = |name: &str| after(name).and_then(time_us).ok_or_else(|| missing(name));

    let (requests, received) = text.lines().find_map(totals).ok_or_else(|| missing("requests"))?;
    let requests_per_s = after("Requests/sec:").and_then(|rate| rate.parse().ok());
    let mut errors = match after("Socket errors:") {
        Some(list) => socket_errors(list).ok_or_else(|| missing("socket errors"))?,
        None => Errors::default(),
    };
    if let Some(count) = after("Non-2xx or 3xx responses:") {
        errors.status = count.parse().map_err(|_| missing("status errors"))?;
    }
    // wrk takes any answer below 400 for a good one: a redirect or an empty answer would look like a fast one.
    let right = requests > 0 && received * ROUNDED / requests as f64 >= answer_bytes as f64;
    errors.runs = u64::from(!right);
    // Of no answer it says that it took no time.
    let known = |us: f64| if requests > 0 { us } else { f64::NAN };
    Ok(Outcome {
        requests,
        requests_per_s: requests_per_s.ok_or_else(|| missing("Requests/sec"))?,
        p50_us: known(latency("50%")?),
        p99_us: known(latency("99%")?),
        p999_us: known(latency("99.9%")?),
        errors,
    })
}

/// `396104 requests in 5.10s, 93.45MB read`: requests and bytes.
fn totals(line: &str) -> Option<(u64, f64)> {
    let (requests, rest) = line.trim().split_once(" requests in ")?;
    let received = rest.split_once(", ")?.1.strip_suffix("B read")?;
    Some((requests.parse().ok()?, scaled(received, &[("K", 1024.0), ("M", 1_048_576.0), ("G", 1_073_741_824.0)])?))
}

/// `connect 0, read 12, write 0, timeout 3`.
fn socket_errors(list: &str) -> Option<Errors> {
    let mut errors = Errors::default();
    for pair in list.split(", ") {
        let (name, count) = pair.split_once(' ')?;
        let count = count.parse().ok()?;
        match name {
            "connect" => errors.connect = count,
            "read" => errors.read = count,
            "write" => errors.write = count,
            "timeout" => errors.timeout = count,
            _ => return None,
        }
    }
    Some(errors)
}

/// `812.00us`, `1.95ms`, `2.01s`, `1.00m`.
fn time_us(text: &str) -> Option<f64> {
    scaled(text, &[("us", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 60e6), ("h", 3_600e6)])
}

/// A number with a unit; without one it is what it says.
fn scaled(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let (name, scale) = units.iter().find(|(name, _)| text.ends_with(name)).copied().unwrap_or(("", 1.0));
    Some(text.strip_suffix(name)?.parse::<f64>().ok()? * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
Running 5s test @ http://127.0.0.1:18123/1k
  2 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.07ms    1.18ms  26.15ms   92.34%
    Req/Sec    38.91k     3.33k   47.79k    68.63%
  Latency Distribution
     50%  812.00us
     75%    1.21ms
     90%    1.90ms
     99%    5.95ms
  394826 requests in 5.10s, 470.66MB read
Requests/sec:  77420.12
Transfer/sec:     92.29MB
99.9% 12345us
";

    fn with(line: &str) -> String {
        GOOD.replace("Requests/sec:", &format!("{line}\nRequests/sec:"))
    }

    #[test]
    fn a_good_run_is_read() {
        let expected = Outcome {
            requests: 394_826,
            requests_per_s: 77_420.12,
            p50_us: 812.0,
            p99_us: 5_950.0,
            p999_us: 12_345.0,
            errors: Errors::default(),
        };
        assert_eq!(parse(GOOD, 1024), Ok(expected));
    }

    #[test]
    fn every_error_is_counted() {
        let text = with("  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 5");
        let errors = parse(&text, 1024).unwrap().errors;
        assert_eq!(errors, Errors { connect: 1, read: 2, write: 3, timeout: 4, status: 5, runs: 0 });
        assert_eq!(errors.total(), 15);
        assert_eq!(errors.plus(errors).total(), 30);
    }

    #[test]
    fn a_run_without_the_file_in_every_answer_is_an_error() {
        for totals in ["0 requests in 5.10s, 0.00B read", "394826 requests in 5.10s, 70.66MB read"] {
            let text = GOOD.replace("394826 requests in 5.10s, 470.66MB read", totals);
            assert_eq!(parse(&text, 1024).unwrap().errors.total(), 1, "{totals}");
        }
        let chunked = |requests| {
            let totals = format!("{requests} requests in 2.00s, 1.00GB read");
            let text = GOOD.replace("394826 requests in 5.10s, 470.66MB read", &totals);
            parse(&text, 65_536).unwrap().errors.total()
        };
        assert_eq!((chunked(16_400), chunked(16_600)), (0, 1), "wrk rounds");
    }

    #[test]
    fn a_body_is_posted() {
        assert_eq!(script(0), DONE);
        assert!(script(12).starts_with("wrk.method = 'POST'\nwrk.body = string.rep('x', 12)\n"));
    }

    #[test]
    fn every_unit_of_time_and_size() {
        for (text, us) in [("812.00us", 812.0), ("1.50ms", 1_500.0), ("2.00s", 2e6), ("1.00m", 60e6)] {
            assert_eq!(time_us(text), Some(us), "{text}");
        }
        for (text, bytes) in [("12.00", 12.0), ("1.50K", 1_536.0), ("2.00M", 2_097_152.0), ("1.00G", 1_073_741_824.0)] {
            assert_eq!(totals(&format!("  1 requests in 1.00s, {text}B read")), Some((1, bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_missing_or_unknown_is_named() {
        for (line, said) in [
            ("50%", "no 50%"),
            ("99%", "no 99%"),
            ("99.9%", "no 99.9%"),
            ("Requests/sec", "no Requests/sec"),
            ("requests in", "no requests"),
        ] {
            let text: String =
                GOOD.lines().filter(|other| !other.contains(line)).map(|line| format!("{line}\n")).collect();
            let error = parse(&text, 1024).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        assert!(parse(&with("Socket errors: connect 0, melt 1"), 1024).unwrap_err().contains("no socket errors"));
        assert!(parse(&with("Non-2xx or 3xx responses: many"), 1024).unwrap_err().contains("no status errors"));
    }
}
