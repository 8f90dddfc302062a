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

/// PSS, once a second.
#[derive(Debug)]
pub struct Memory {
    begun: Instant,
    /// Seconds and KB.
    samples: Vec<(f64, f64)>,
}

impl Memory {
    pub fn new() -> Self {
        Self { begun: Instant::now(), samples: Vec::new() }
    }

    /// One more, if it is time.
    pub fn sample(&mut self, session: u32) {
        let now = self.begun.elapsed();
        if now >= SAMPLE_EVERY * self.samples.len() as u32 {
            self.samples.push((now.as_secs_f64(), proc::pss_kb(session) as f64));
        }
    }

    pub fn max_kb(&self) -> f64 {
        self.samples.iter().map(|(_, kb)| *kb).fold(0.0, f64::max)
    }

    /// KB a minute, over the second half: in the first everything is touched for the first time.
    pub fn slope_kb(&self) -> f64 {
        slope(self.second_half()) * 60.0
    }

    /// How long that half is.
    pub fn half_minutes(&self) -> f64 {
        let half = self.second_half();
        half.last().zip(half.first()).map_or(0.0, |(last, first)| (last.0 - first.0) / 60.0)
    }

    fn second_half(&self) -> &[(f64, f64)] {
        &self.samples[self.samples.len() / 2..]
    }
}

/// By least squares; 0 of a single point.
fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / n, y + point.1 / n));
    let (above, below) = points.iter().fold((0.0, 0.0), |(above, below), point| {
        (above + (point.0 - x) * (point.1 - y), below + (point.0 - x).powi(2))
    });
    if below > 0.0 { above / below } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slope_is_that_of_the_line_through_the_points() {
        assert_eq!(slope(&[(0.0, 5.0), (1.0, 7.0), (2.0, 9.0)]), 2.0);
        assert_eq!(slope(&[(1.0, 5.0), (2.0, 6.0), (3.0, 5.0)]), 0.0);
        assert_eq!(slope(&[(1.0, 5.0)]), 0.0);
        assert_eq!(slope(&[]), 0.0);
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
