//! What the kernel says that a process holds: threads, descriptors by kind, memory.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use crate::proc;

const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// What it holds at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footprint {
    pub threads: usize,
    /// `socket`, `pipe`, `anon_inode:[eventpoll]`, or the path of a file.
    pub descriptors: BTreeMap<String, usize>,
}

impl Footprint {
    pub fn of(pid: u32) -> Self {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
        let mut descriptors = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
            if let Ok(target) = fs::read_link(entry.path()) {
                *descriptors.entry(kind(&target.to_string_lossy())).or_default() += 1;
            }
        }
        Self { threads, descriptors }
    }

    pub fn descriptor_count(&self) -> usize {
        self.descriptors.values().sum()
    }
}

/// `socket:[4242]` is a socket, whichever.
fn kind(target: &str) -> String {
    match target.split_once(":[").filter(|(kind, _)| *kind != "anon_inode") {
        Some((kind, _)) => kind.to_owned(),
        None => target.to_owned(),
    }
}

/// Private memory, once a second.
///
/// It grows for as long as something happens for the first time. Slices are touched when so many exchanges run at once; and
/// each thread keeps a few of the blocks that it frees (malloc's tcache), so that what one thread makes and any other lets
/// go, a configuration above all, costs a little more until every thread has its share. Both end, after more and more time:
/// what is gained from one quarter of a run to the next is about the same for a minute and for an hour. A leak goes on, and
/// gains more the longer it runs. So the rule is an amount, not a rate.
#[derive(Debug)]
pub struct Memory {
    begun: Instant,
    /// KB
    samples: Vec<u64>,
}

impl Memory {
    pub fn new() -> Self {
        Self { begun: Instant::now(), samples: Vec::new() }
    }

    /// One more, if it is time.
    pub fn sample(&mut self, session: u32) {
        if self.begun.elapsed() >= SAMPLE_EVERY * self.samples.len() as u32 {
            self.samples.push(proc::private_kb(session));
        }
    }

    pub fn max_kb(&self) -> u64 {
        self.samples.iter().copied().max().unwrap_or(0)
    }

    /// From the third quarter of the time to the last, KB. By their medians: a moment with much to do is no growth.
    pub fn growth_kb(&self) -> i64 {
        let n = self.samples.len();
        median(&self.samples[n * 3 / 4..]) - median(&self.samples[n / 2..n * 3 / 4])
    }
}

/// 0 of nothing.
fn median(samples: &[u64]) -> i64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).map_or(0, |&kb| kb as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growth(samples: impl IntoIterator<Item = u64>) -> i64 {
        Memory { begun: Instant::now(), samples: samples.into_iter().collect() }.growth_kb()
    }

    #[test]
    fn growth_is_from_the_third_quarter_to_the_last() {
        assert_eq!(growth((0..60).map(|second| 5000 + 10 * second)), 150);
        assert_eq!(growth((0..60).map(|second| 5000 - 10 * second)), -150);
        assert_eq!(growth((0..60).map(|second| 5000 + 10 * second.min(30))), 0, "it came to an end before");
        assert_eq!(growth((0..60).map(|second| 5000 + if second % 10 == 0 { 900 } else { 0 })), 0, "moments");
        assert_eq!(growth([]), 0);
    }

    #[test]
    fn descriptors_are_told_by_kind() {
        assert_eq!(kind("socket:[12]"), "socket");
        assert_eq!(kind("anon_inode:[eventpoll]"), "anon_inode:[eventpoll]");
        assert_eq!(kind("/dev/null"), "/dev/null");
    }

    #[test]
    fn our_own_footprint_is_seen() {
        let before = Footprint::of(std::process::id());
        let file = fs::File::open("/proc/self/stat").unwrap();
        let with = Footprint::of(std::process::id());
        assert!(before.threads > 0);
        let stat = |footprint: &Footprint| footprint.descriptors.keys().any(|path| path.ends_with("/stat"));
        assert!(stat(&with));
        drop(file);
    }
}
