//! At rest: how the router looks when nothing runs, whatever was done to it before.
//!
//! Its own counters are held against what the kernel knows of the process: a descriptor or a thread that nobody counts any
//! more is still there. Kept sessions and kept backend connections are no work: they may stay, and are accounted for.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::{Router, ms};

/// How long everything may take to come back.
const WITHIN: Duration = Duration::from_secs(5);

/// What the kernel knows of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    descriptors: u64,
    threads: u64,
    /// Each is one thread and one descriptor, and a reload adds and removes them.
    acceptors: u64,
}

impl Footprint {
    /// Of a router that is ready; threads name themselves when they first run, so it tells its listeners by itself.
    #[track_caller]
    pub fn at_start(pid: u32, listeners: usize) -> Self {
        Self { acceptors: listeners as u64, ..Self::now(pid) }
    }

    #[track_caller]
    fn now(pid: u32) -> Self {
        let names = threads(pid);
        let acceptors = names.iter().filter(|name| name.starts_with("acceptor")).count() as u64;
        Self { descriptors: descriptors(pid).len() as u64, threads: names.len() as u64, acceptors }
    }
}

impl Router {
    /// Nothing runs and nothing queues; slots, slices, permits, cells, exchanges of backends, threads and descriptors are as
    /// they were when the router became ready (nobody may have been connected then), but for one descriptor a parked session
    /// and one a kept connection. Waits for it, and returns the counters that it was seen in.
    #[track_caller]
    pub fn assert_at_rest(&self) -> HashMap<String, u64> {
        let until = Instant::now() + WITHIN;
        loop {
            let counters = self.counters();
            let unrest = unrest(&counters, self.footprint_at_start(), Footprint::now(self.pid()));
            if unrest.is_empty() {
                return counters;
            }
            if Instant::now() >= until {
                let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
                for name in threads(self.pid()).into_iter().chain(descriptors(self.pid())) {
                    *kinds.entry(kind(&name)).or_default() += 1;
                }
                panic!("not at rest within {WITHIN:?}:\n  {}\nin {counters:?}\nof {kinds:?}", unrest.join("\n  "));
            }
            std::thread::sleep(ms(20));
        }
    }
}

/// What is not at rest, each with what it is and what it is to be.
fn unrest(counters: &HashMap<String, u64>, start: Footprint, now: Footprint) -> Vec<String> {
    let at = |key: &str| *counters.get(key).unwrap_or_else(|| panic!("no {key} in {counters:?}"));
    let listeners = now.acceptors as i64 - start.acceptors as i64;
    let added = |at_start: u64, since: u64| (at_start as i64 + since as i64 + listeners) as u64;
    [
        ("running", at("running"), 0),
        ("queued", at("queued"), 0),
        ("parked, of all sessions", at("parked"), at("sessions")),
        ("slices_free", at("slices_free"), at("slices_total")),
        ("permits_free", at("permits_free"), at("permits")),
        ("cells_used", at("cells_used"), 0),
        ("backend_in_flight", at("backend_in_flight"), 0),
        ("panics", at("panics"), 0),
        ("threads of the process", now.threads, added(start.threads, 0)),
        ("descriptors of the process", now.descriptors, added(start.descriptors, at("sessions") + at("backend_idle"))),
    ]
    .into_iter()
    .filter(|(_, is, rest)| is != rest)
    .map(|(what, is, rest)| format!("{what}: {is}, at rest {rest}"))
    .collect()
}

fn threads(pid: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("a running process");
    tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok()).collect()
}

/// What each descriptor stands for. Files of /sys and /proc are open for moments: the allocator asks how many cores there
/// are when a new thread first needs memory.
fn descriptors(pid: u32) -> Vec<String> {
    let all = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("a running process");
    let links = all.filter_map(|one| std::fs::read_link(one.ok()?.path()).ok());
    let stay = links.filter(|link| !link.starts_with("/sys") && !link.starts_with("/proc"));
    stay.map(|link| link.display().to_string()).collect()
}

/// `socket:[123]` as `socket`, and `w017.req` as `w.req`.
fn kind(name: &str) -> String {
    name.trim_end().chars().filter(|c| !c.is_ascii_digit() && !"[]:".contains(*c)).collect()
}
