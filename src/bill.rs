//! What the workers cost, and whether the host can pay: asked once, at start, before anything is taken.
//!
//! Not here: the taking. Nothing here reserves memory, spawns a thread or opens a socket; the one thing that changes is
//! the soft limit of descriptors, which goes up to the hard one. What cannot be read is no limit: a refusal must be able to
//! name the number that is too small.

mod host;

pub use host::Host;
use host::PIDS_RESERVED;

use std::fmt;

/// Descriptors for the log, the eventfds, the signals, the demo, and whatever a library opens for a moment.
const DESCRIPTORS_SPARE: u64 = 64;
/// Stack, its guard, signal stack, its guard.
const MAPPINGS_PER_THREAD: u64 = 4;
/// The program, its libraries, the arena, the heaps.
const MAPPINGS_SPARE: u64 = 100;
/// What the kernel keeps for a thread: 16 KiB of stack, 8 KiB of records.
const KERNEL_BYTES_PER_THREAD: u64 = 24 * 1024;
/// Sessions that tables are made for, however many descriptors a container promises.
const SESSIONS_MAX: u64 = 1024 * 1024;

/// What the configuration asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Two threads and two slices each.
    pub workers: usize,
    /// Bytes of one slice.
    pub slice_size: usize,
    /// Bytes of rebuilt heads, for each worker.
    pub head_buffers: usize,
    /// Bytes of cells for heads that have not arrived whole, all of them.
    pub cells: usize,
    /// Bound sockets.
    pub listeners: usize,
    /// All threads that are no worker's, main included.
    pub helper_threads: usize,
    /// Bytes of one thread's stack; the helpers are counted with the same.
    pub stack_size: usize,
}

/// What that costs. It prints itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bill {
    /// Two a worker, and the helpers.
    pub threads: u64,
    /// Bytes of all slices.
    pub slices: u64,
    /// Bytes of all stacks: address space, most of it never touched.
    pub stacks: u64,
    /// Bytes of all head buffers.
    pub head_buffers: u64,
    /// Entries in the process's table of mappings.
    pub mappings: u64,
    /// Without these not every worker could hold a client and a backend.
    pub descriptors_min: u64,
    /// Sessions at one time, parked ones included: what descriptors are left for, at least one a worker.
    pub sessions_max: usize,
    /// Bytes of the kernel for threads, at most.
    pub kernel_threads: u64,
    /// Bytes of the kernel for socket buffers, at most; `None`: the host does not say.
    pub kernel_sockets: Option<u64>,
    need: Need,
    descriptors: u64,
}

impl Bill {
    /// What `need` costs on `host`.
    pub fn of(need: &Need, host: &Host) -> Self {
        let workers = need.workers as u64;
        let threads = 2 * workers + need.helper_threads as u64;
        let descriptors_min = 2 * workers + need.listeners as u64 + DESCRIPTORS_SPARE;
        let sessions_max = host.nofile.saturating_sub(descriptors_min).min(SESSIONS_MAX).max(workers);
        let sockets = sessions_max.saturating_add(workers);
        let each_full = host.socket_buffers_max.map(|bytes| bytes.saturating_mul(sockets));
        Self {
            threads,
            slices: (2 * workers).saturating_mul(need.slice_size as u64),
            stacks: threads.saturating_mul(need.stack_size as u64),
            head_buffers: workers.saturating_mul(need.head_buffers as u64),
            mappings: MAPPINGS_PER_THREAD * threads + MAPPINGS_SPARE,
            descriptors_min,
            sessions_max: usize::try_from(sessions_max).unwrap_or(usize::MAX),
            kernel_threads: KERNEL_BYTES_PER_THREAD * threads,
            kernel_sockets: each_full.into_iter().chain(host.tcp_memory_max).min(),
            need: *need,
            descriptors: host.nofile,
        }
    }
}

/// Whether `host` can pay: if not, one sentence for each limit that is too small, with the number to change on either side.
pub fn check(bill: &Bill, host: &Host, need: &Need) -> Result<(), Vec<String>> {
    let helpers = need.helper_threads as u64;
    let threads =
        |limit, left, raise| Limit { limit, left, raise, unit: "threads", needs: bill.threads, fixed: helpers };
    let tasks = (host.tasks.unwrap_or(0), "in use");
    let ids = (host.tasks_of_pid_max(), "in use");
    let reserved = (PIDS_RESERVED, "reserved");
    let limits = [
        Limit {
            limit: is("RLIMIT_NOFILE", Some(host.nofile), &[]),
            left: Some(host.nofile),
            raise: "it (ulimit -n, or LimitNOFILE of the systemd unit)",
            unit: "descriptors",
            needs: bill.descriptors_min,
            fixed: need.listeners as u64 + DESCRIPTORS_SPARE,
        },
        threads(is("kernel.threads-max", host.threads_max, &[tasks]), host.threads_left(), "kernel.threads-max"),
        threads(is("kernel.pid_max", host.pid_max, &[ids, reserved]), host.pids_left(), "kernel.pid_max"),
        Limit {
            limit: is("vm.max_map_count", host.max_map_count, &[]),
            left: host.max_map_count,
            raise: "vm.max_map_count",
            unit: "mappings",
            needs: bill.mappings,
            fixed: MAPPINGS_PER_THREAD * helpers + MAPPINGS_SPARE,
        },
        threads(
            is("RLIMIT_NPROC of this user", host.nproc, &[]),
            host.nproc,
            "it (ulimit -u, or LimitNPROC of the systemd unit)",
        ),
        threads(
            format!("pids.max of its cgroup leaves {}", host.cgroup_pids_left.unwrap_or_default()),
            host.cgroup_pids_left,
            "pids.max (TasksMax of the systemd unit, --pids-limit of the container)",
        ),
    ];
    let sentences: Vec<String> = limits.iter().filter_map(|limit| limit.sentence(need.workers as u64)).collect();
    if sentences.is_empty() { Ok(()) } else { Err(sentences) }
}

/// One limit of the host beside what is needed of it: `needs == fixed + workers * (the share of a worker)`.
struct Limit {
    /// Which it is, and how much.
    limit: String,
    /// `None` is no limit.
    left: Option<u64>,
    /// What raising it is called.
    raise: &'static str,
    unit: &'static str,
    needs: u64,
    /// Needed with no worker at all.
    fixed: u64,
}

impl Limit {
    fn sentence(&self, workers: u64) -> Option<String> {
        let left = self.left.filter(|left| *left < self.needs)?;
        let share = (self.needs - self.fixed).checked_div(workers)?;
        let affordable = left.saturating_sub(self.fixed).checked_div(share).unwrap_or(0);
        let Self { limit, raise, unit, needs, fixed, .. } = self;
        let way_out = match affordable {
            0 => format!("one worker needs {}; raise {raise}", fixed + share),
            n => format!("lower workers to {n} in [server], or raise {raise}"),
        };
        Some(format!("workers = {workers} needs {needs} {unit}, and {limit}: {way_out}"))
    }
}

/// `NAME is 4194 with 120 in use and 300 reserved`
fn is(name: &str, limit: Option<u64>, taken: &[(u64, &str)]) -> String {
    let taken: Vec<String> =
        taken.iter().filter(|(count, _)| *count > 0).map(|(count, how)| format!("{count} {how}")).collect();
    let with = if taken.is_empty() { "" } else { " with " };
    format!("{name} is {}{with}{}", limit.unwrap_or_default(), taken.join(" and "))
}

impl fmt::Display for Bill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let need = &self.need;
        writeln!(
            f,
            "workers       {}: {} threads and {} more, {} of stacks (address space; about 10 KiB of each is touched)",
            need.workers,
            2 * need.workers,
            need.helper_threads,
            Size(self.stacks)
        )?;
        writeln!(
            f,
            "slices        {} x {} = {} (touched only when used)",
            2 * need.workers,
            Size(need.slice_size as u64),
            Size(self.slices)
        )?;
        writeln!(
            f,
            "head buffers  {} x {} = {}",
            need.workers,
            Size(need.head_buffers as u64),
            Size(self.head_buffers)
        )?;
        writeln!(f, "parked heads  {}", Size(need.cells as u64))?;
        writeln!(f, "descriptors   {} available, up to {} sessions", self.descriptors, self.sessions_max)?;
        write!(f, "kernel        at most {} for threads", Size(self.kernel_threads))?;
        match self.kernel_sockets {
            Some(bytes) => write!(f, "\nkernel        at most {} for socket buffers", Size(bytes)),
            None => Ok(()),
        }
    }
}

/// Bytes as people read them: `32 KiB`, `1.5 GiB`; not less than they are.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        let Some((unit, name)) = units.into_iter().find(|(unit, _)| self.0 >= *unit) else {
            return write!(f, "{} bytes", self.0);
        };
        // Upwards: what is said is enough.
        match (self.0 / unit, (self.0 % unit * 10).div_ceil(unit)) {
            (whole, 0) => write!(f, "{whole} {name}"),
            (whole, 10) => write!(f, "{} {name}", whole + 1),
            (whole, tenth) => write!(f, "{whole}.{tenth} {name}"),
        }
    }
}

#[cfg(test)]
mod tests;
