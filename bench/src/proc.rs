//! What the kernel accounts to the processes of a session: CPU time, context switches, memory.
//!
//! By session and not by parent: a child whose parent has ended still counts, and nobody else's does.

use std::fs;
use std::ops::Sub;

/// What a session has used since it began.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// User and system.
    pub cpu_us: u64,
    /// Voluntary or not; those of threads that have ended are forgotten.
    pub switches: u64,
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            cpu_us: self.cpu_us.saturating_sub(before.cpu_us),
            switches: self.switches.saturating_sub(before.switches),
        }
    }
}

/// One line of /proc/PID/stat, as far as it concerns us.
#[derive(Debug, PartialEq)]
pub struct Stat {
    state: u8,
    session: u32,
    /// Of all threads, also those that have ended, and of all children that have ended and been reaped. A child that
    /// is reaped between two readings so moves from its own line to its parent's.
    ticks: u64,
}

impl Stat {
    /// Nothing of it runs any more; it only waits to be reaped.
    pub fn ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }
}

/// Of all processes of the session.
pub fn usage(session: u32) -> Usage {
    let tick_us = 1_000_000 / rustix::param::clock_ticks_per_second().max(1);
    members(session).fold(Usage::default(), |sum, (pid, stat)| Usage {
        cpu_us: sum.cpu_us + stat.ticks * tick_us,
        switches: sum.switches + switches(pid),
    })
}

/// Memory of all processes of the session, what they share counted once; kernel stacks not included.
pub fn pss_kb(session: u32) -> u64 {
    let rollup = |pid| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    members(session).filter_map(|(pid, _)| field(&rollup(pid), "Pss:")).sum()
}

/// What the kernel keeps for their threads, 16 KB each, which is in no figure of a process.
pub fn kernel_stacks_kb(session: u32) -> u64 {
    const STACK_KB: u64 = 16;
    members(session).map(|(pid, _)| names(&format!("/proc/{pid}/task")).count() as u64 * STACK_KB).sum()
}

/// Memory that only they have, in the machine or swapped out: heap, stacks, buffers. Pages of files are left out, since what
/// the kernel keeps of those, and counts to whom, depends on everybody else who has them.
pub fn private_kb(session: u32) -> u64 {
    let rollup = |pid| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    members(session).map(|(pid, _)| parse_private(&rollup(pid))).sum()
}

fn parse_private(rollup: &str) -> u64 {
    ["Anonymous:", "Swap:"].iter().filter_map(|name| field(rollup, name)).sum()
}

/// Processes of the session that have not ended.
pub fn living(session: u32) -> Vec<u32> {
    members(session).filter(|(_, stat)| !stat.ended()).map(|(pid, _)| pid).collect()
}

/// Nothing when there is no such process.
pub fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Every process is looked at; one that ends meanwhile is left out.
fn members(session: u32) -> impl Iterator<Item = (u32, Stat)> {
    names("/proc").filter_map(|pid| Some((pid, stat(pid)?))).filter(move |(_, stat)| stat.session == session)
}

fn switches(pid: u32) -> u64 {
    let status = |tid| fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")).unwrap_or_default();
    names(&format!("/proc/{pid}/task")).map(|tid| parse_switches(&status(tid))).sum()
}

/// The entries of a directory that are numbers.
fn names(directory: &str) -> impl Iterator<Item = u32> + use<> {
    fs::read_dir(directory).into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// `PID (NAME) STATE PPID PGRP SESSION ...`: the name may hold blanks and parentheses, so what follows its last one
/// is counted from there.
fn parse_stat(line: &str) -> Option<Stat> {
    let (_, rest) = line.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let state = *fields.first()?.as_bytes().first()?;
    let session = fields.get(3)?.parse().ok()?;
    // utime, stime, cutime, cstime
    let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u64>().ok()).sum::<Option<u64>>()?;
    Some(Stat { state, session, ticks })
}

fn parse_switches(status: &str) -> u64 {
    let of = |name| field(status, name).unwrap_or(0);
    of("voluntary_ctxt_switches:") + of("nonvoluntary_ctxt_switches:")
}

/// The number after a name at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "4242 (nginx: a) b) S 4240 4239 4238 0 -1 4194304 104 0 0 0 250 125 30 5 20 0 1 0 283926 3133440 \
                        416 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0";

    #[test]
    fn private_memory_is_that_of_no_file_also_when_it_is_swapped_out() {
        let rollup =
            "Rss:  900 kB\nPss:  800 kB\nPrivate_Clean: 100 kB\nAnonymous:  70 kB\nSwap:  5 kB\nSwapPss:  4 kB\n";
        assert_eq!(parse_private(rollup), 75);
        assert_eq!(parse_private(""), 0);
    }

    #[test]
    fn a_stat_line_is_read_past_its_name() {
        let stat = parse_stat(LINE).unwrap();
        assert_eq!(stat, Stat { state: b'S', session: 4238, ticks: 250 + 125 + 30 + 5 });
        assert!(!stat.ended());
        assert!(parse_stat(&LINE.replace(" S ", " Z ")).unwrap().ended());
    }

    #[test]
    fn a_stat_line_that_is_cut_is_nothing() {
        let last = LINE.find(" 5 20").unwrap() + 1;
        for end in 0..last {
            assert_eq!(parse_stat(&LINE[..end]), None, "{}", &LINE[..end]);
        }
    }

    #[test]
    fn switches_are_both_kinds() {
        let status = "Name:\tw001.req\nThreads:\t512\nvoluntary_ctxt_switches:\t20\nnonvoluntary_ctxt_switches:\t3\n";
        assert_eq!(parse_switches(status), 23);
        assert_eq!(parse_switches("Name:\tgone\n"), 0);
    }

    #[test]
    fn pss_is_the_whole_and_no_part_of_it() {
        let rollup = "5500-7fff ---p 00000000 00:00 0 [rollup]\nRss:  1748 kB\nPss_Dirty: 108 kB\nPss:   247 kB\n";
        assert_eq!(field(rollup, "Pss:"), Some(247));
        assert_eq!(field("", "Pss:"), None);
    }

    #[test]
    fn our_own_session_is_seen_and_works() {
        let own = stat(std::process::id()).unwrap().session;
        assert!(living(own).contains(&std::process::id()));
        let before = usage(own);
        let start = std::time::Instant::now();
        while start.elapsed().as_millis() < 100 {
            std::hint::spin_loop();
        }
        let used = usage(own) - before;
        assert!(used.cpu_us >= 10_000, "{used:?}");
        assert!(pss_kb(own) > 0 && kernel_stacks_kb(own) >= 16);
    }

    #[test]
    fn a_counter_that_went_back_is_nothing_used() {
        let more = Usage { cpu_us: 5, switches: 7 };
        assert_eq!(Usage::default() - more, Usage::default());
    }
}
