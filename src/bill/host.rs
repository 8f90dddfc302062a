//! What the host has: limits of this process, of its cgroup and of the kernel.
//!
//! Not here: whether they are enough (`bill`).

use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, getuid, setrlimit};

/// Process ids that the kernel does not hand out again after the first round (RESERVED_PIDS).
pub(super) const PIDS_RESERVED: u64 = 300;

/// Limits; `None` is no limit, or one that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// RLIMIT_NOFILE.
    pub nofile: u64,
    /// RLIMIT_NPROC, where it applies.
    pub nproc: Option<u64>,
    /// kernel.threads-max
    pub threads_max: Option<u64>,
    /// kernel.pid_max
    pub pid_max: Option<u64>,
    /// Threads that run on this kernel now.
    pub tasks: Option<u64>,
    /// vm.max_map_count
    pub max_map_count: Option<u64>,
    /// pids.max less pids.current, the smallest over the cgroup and those above it.
    pub cgroup_pids_left: Option<u64>,
    /// Bytes that the kernel may hold for one TCP socket, both directions.
    pub socket_buffers_max: Option<u64>,
    /// Bytes that it may hold for all of them.
    pub tcp_memory_max: Option<u64>,
}

impl Host {
    /// Raises the soft limit of descriptors to the hard one, then reads what there is. Who leaves root has the limits of
    /// any other user.
    pub fn read(leaves_root: bool) -> Self {
        let page = rustix::param::page_size() as u64;
        let buffers = |name| third_number(&read(Path::new(name))?);
        Self {
            nofile: raise_nofile(),
            // For root the kernel does not ask.
            nproc: (leaves_root || !getuid().is_root()).then(|| getrlimit(Resource::Nproc).current).flatten(),
            threads_max: number("/proc/sys/kernel/threads-max"),
            pid_max: number("/proc/sys/kernel/pid_max"),
            tasks: read(Path::new("/proc/loadavg")).and_then(|text| tasks(&text)),
            max_map_count: number("/proc/sys/vm/max_map_count"),
            cgroup_pids_left: cgroup_pids_left(),
            socket_buffers_max: buffers("/proc/sys/net/ipv4/tcp_rmem")
                .zip(buffers("/proc/sys/net/ipv4/tcp_wmem"))
                .map(|(receive, send)| receive.saturating_add(send)),
            tcp_memory_max: buffers("/proc/sys/net/ipv4/tcp_mem").map(|pages| pages.saturating_mul(page)),
        }
    }

    /// Threads that the kernel still makes.
    pub(super) fn threads_left(&self) -> Option<u64> {
        Some(self.threads_max?.saturating_sub(self.tasks.unwrap_or(0)))
    }

    /// Process ids that are free.
    pub(super) fn pids_left(&self) -> Option<u64> {
        let usable = self.pid_max?.saturating_sub(PIDS_RESERVED);
        Some(usable.saturating_sub(self.tasks_of_pid_max()))
    }

    /// Threads that have their ids out of `pid_max`. More than it holds: then it is a pid namespace's own, and the threads are
    /// those of the whole host.
    pub(super) fn tasks_of_pid_max(&self) -> u64 {
        self.tasks.filter(|tasks| self.pid_max.is_some_and(|max| *tasks < max)).unwrap_or(0)
    }
}

/// The limit in force afterwards. One that cannot be raised is what it was.
fn raise_nofile() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let _refused = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn number(path: &str) -> Option<u64> {
    read(Path::new(path))?.trim().parse().ok()
}

/// Of `min default max`.
fn third_number(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().nth(2)?.parse().ok()
}

/// Of `0.20 0.18 0.12 1/80 11206`: 80.
pub(super) fn tasks(loadavg: &str) -> Option<u64> {
    let of = loadavg.split_ascii_whitespace().nth(3)?;
    of.split_once('/')?.1.parse().ok()
}

fn cgroup_pids_left() -> Option<u64> {
    let cgroups = read(Path::new("/proc/self/cgroup"))?;
    let mounts = read(Path::new("/proc/self/mountinfo"))?;
    cgroup_directories(&cgroups, &mounts).iter().filter_map(|directory| pids_left(directory)).min()
}

/// What one cgroup leaves; `max` is no number and no limit.
pub(super) fn pids_left(directory: &Path) -> Option<u64> {
    let max: u64 = read(&directory.join("pids.max"))?.trim().parse().ok()?;
    let current = read(&directory.join("pids.current")).and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    Some(max.saturating_sub(current))
}

/// Our cgroup and those above it, as directories, of version 2 and of version 1's pids controller. `cgroups` is
/// /proc/self/cgroup (`0::/a/b`, `8:pids:/a`), `mounts` is /proc/self/mountinfo (`36 32 0:31 ROOT POINT .. - TYPE SOURCE OPTIONS`).
pub(super) fn cgroup_directories(cgroups: &str, mounts: &str) -> Vec<PathBuf> {
    let mut directories = Vec::new();
    for line in cgroups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let unified = controllers.is_empty();
        if !unified && !controllers.split(',').any(|c| c == "pids") {
            continue;
        }
        for mount in mounts.lines() {
            if let Some((root, point)) = cgroup_mount(mount, unified) {
                directories.extend(upward(path, root, point));
            }
        }
    }
    directories
}

/// Root and mount point, if it is the hierarchy that is looked for.
fn cgroup_mount(line: &str, unified: bool) -> Option<(&str, &str)> {
    let (left, right) = line.split_once(" - ")?;
    let mut right = right.split(' ');
    let kind = right.next()?;
    let ours = match unified {
        true => kind == "cgroup2",
        false => kind == "cgroup" && right.nth(1)?.split(',').any(|option| option == "pids"),
    };
    let mut left = left.split(' ').skip(3);
    ours.then_some((left.next()?, left.next()?))
}

/// From the cgroup `path` up to the mount point. A container may see a part of the tree only: what lies outside of it is
/// left out.
fn upward(path: &str, root: &str, point: &str) -> Vec<PathBuf> {
    let point = Path::new(point);
    let inside = Path::new(path)
        .strip_prefix(root)
        .ok()
        .filter(|inside| !path.contains("/..") && inside.is_relative())
        .unwrap_or(Path::new(""));
    let whole = point.join(inside);
    whole.ancestors().take_while(|directory| directory.starts_with(point)).map(Path::to_path_buf).collect()
}
