//! Many cases over one router: a lane is a listener with a backend of its own, on which one case runs at a time, so that
//! whatever the backend hears belongs to that case.

use std::any::Any;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::prompt::Sleeper;
use crate::recorder::Recorder;
use crate::support::origin::readable;
use crate::support::peer::Wire;
use crate::support::{Client, Ending, Router, shown};

/// How bytes are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Whole,
    /// One byte a segment.
    Slow,
}

impl Way {
    pub const BOTH: [Self; 2] = [Self::Whole, Self::Slow];
    /// Bytes sent one by one, at the end of what is longer: a large head would take seconds.
    const SINGLE: usize = 1500;

    /// All of it, as far as the other side takes it.
    pub fn write(self, to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
        let (first, single) = self.split(bytes);
        to.write_all(first)?;
        single.iter().try_for_each(|byte| to.write_all(&[*byte]))
    }

    /// All of it. Once the other side has answered the rest goes at once, before it stops listening.
    pub fn send(self, client: &mut Client, bytes: &[u8]) {
        let Wire::Tcp(tcp) = client.wire_again() else { panic!("a TCP client") };
        let (first, mut single) = self.split(bytes);
        let _refused_already = client.try_send(first);
        while let [byte, rest @ ..] = single {
            if rest.len() % 16 == 0 && readable(&tcp, Duration::ZERO) {
                break;
            }
            let _refused_already = client.try_send([*byte]);
            single = rest;
        }
        let _refused_already = client.try_send(single);
    }

    fn split(self, bytes: &[u8]) -> (&[u8], &[u8]) {
        match self {
            Self::Whole => (bytes, &[]),
            Self::Slow => bytes.split_at(bytes.len().saturating_sub(Self::SINGLE)),
        }
    }
}

/// What a table holds.
pub trait Case: Send + Sync {
    /// The rows it holds: `9112 6, CVE 30`.
    fn rows(&self) -> &'static str;
    /// What is sent, for the message of a failure.
    fn bytes(&self) -> &[u8];
    /// Panics with what was seen.
    fn run(&self, lane: &Lane<'_>, way: Way);
}

/// A listener, and the one backend behind it.
pub struct Lane<'a> {
    pub address: String,
    /// A listener without a pool.
    pub bare: String,
    pub backend: &'a Recorder,
    sleeper: &'a Sleeper,
    next: AtomicUsize,
}

impl Lane<'_> {
    pub fn client(&self) -> Client {
        Client::connect(&self.address)
    }

    /// The end of a connection whose answer has just been read: at once, and no reset.
    #[track_caller]
    pub fn expect_fin(&self, client: &mut Client) {
        let since = Instant::now();
        assert_eq!(client.expect_closed(), Ending::Fin, "how the connection ended");
        self.sleeper.assert_prompt(since);
    }

    /// A request of its own on this connection has an answer of its own.
    #[track_caller]
    pub fn next_on(&self, client: &mut Client) {
        let path = format!("/next-{}", self.next.fetch_add(1, Ordering::Relaxed));
        let response = client.get(&path);
        assert_eq!(
            (response.status, response.text()),
            (200, format!("GET {path} 0")),
            "the answer to the next request"
        );
    }

    /// What the backend has heard since `mark`, follow-ups left out: whole requests, each with its connection.
    #[track_caller]
    pub fn heard(&self, mark: (usize, usize)) -> Vec<(usize, crate::support::Request)> {
        let faults: Vec<String> = self.backend.connections().into_iter().filter_map(|c| c.fault).collect();
        assert!(faults.is_empty(), "the backend got what no request begins with: {faults:?}");
        let mut requests = self.backend.requests_since(mark.0);
        requests.retain(|(_, request)| !request.target.starts_with("/next-"));
        requests
    }
}

const LANES: usize = 6;
/// Failures after which the rest of a table is left out: each may have waited for its deadline.
const ENOUGH: usize = 12;

/// Every time is an hour: whatever is closed is closed for a better reason.
const PATIENT: &str = "\
[server]
workers = 32
[log]
level = warn
[limits]
body_size = 64k
[timeouts]
header = 1h
idle = 1h
body = 1h
send = 1h
connect = 1h
response = 1h
queue = 1h
backend_idle = 1h
[listen:bare]
address = 127.0.0.1:0
[route:own]
path = /own
respond = 200 \"own\"
[route:moved]
path = /moved
redirect = 308 http://{host}{uri}
[route:denied]
path = /denied
deny = 127.0.0.0/8
respond = 200 \"not for you\"
[route:only]
path = /only
method = GET
listen = bare
respond = 200 \"only\"
";

fn lane_ini(number: usize, backend: &Recorder) -> String {
    format!(
        "[listen:l{number}]\naddress = 127.0.0.1:0\npool = p{number}\n[pool:p{number}]\nbackend = {}\n\
         [route:strip{number}]\nlisten = l{number}\npath = /strip/*\nstrip_prefix = /strip\npool = p{number}\n",
        backend.address()
    )
}

/// Runs every case both ways; all that fail are told at the end.
pub fn run(cases: &[Box<dyn Case>]) {
    let mut backends: Vec<Recorder> = (0..LANES).map(|_| Recorder::start()).collect();
    let lanes: String = backends.iter().enumerate().map(|(number, backend)| lane_ini(number, backend)).collect();
    let mut router = Router::start(&format!("{PATIENT}{lanes}"));
    let jobs: Vec<(&dyn Case, Way)> = cases.iter().flat_map(|case| Way::BOTH.map(|way| (case.as_ref(), way))).collect();
    let (taken, failures, sleeper) = (AtomicUsize::new(0), Mutex::new(Vec::<String>::new()), Sleeper::start());
    std::thread::scope(|scope| {
        for (number, backend) in backends.iter().enumerate() {
            let lane = Lane {
                address: router.address_of(&format!("l{number}")),
                bare: router.address_of("bare"),
                backend,
                sleeper: &sleeper,
                next: AtomicUsize::new(0),
            };
            let (taken, failures, jobs) = (&taken, &failures, &jobs);
            scope.spawn(move || {
                while let Some((case, way)) = jobs.get(taken.fetch_add(1, Ordering::Relaxed)) {
                    if failures.lock().expect("not poisoned").len() >= ENOUGH {
                        break;
                    }
                    // A case that failed is told with the others; its lane goes on from where it is.
                    if let Err(why) = catch_unwind(AssertUnwindSafe(|| case.run(&lane, *way))) {
                        lane.backend.forget();
                        let told = format!("{} ({way:?}): {}\n    {}", case.rows(), text(&*why), shown(case.bytes()));
                        failures.lock().expect("not poisoned").push(told);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("not poisoned");
    assert!(failures.is_empty(), "{} of {} failed:\n{}", failures.len(), jobs.len(), failures.join("\n"));
    router.assert_at_rest();
    assert_eq!(router.counter("panics"), 0);
    assert!(router.stop().success());
    // What came so late that no case has seen it.
    for (number, backend) in backends.iter_mut().enumerate() {
        for connection in backend.finish() {
            assert_eq!(connection.fault, None, "lane {number}");
        }
    }
}

pub fn text(panic: &(dyn Any + Send)) -> &str {
    panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?")
}
