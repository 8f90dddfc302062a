//! The promises of the bill. Hosts are made by hand; one test reads the real one.

use std::path::PathBuf;

use super::host::{cgroup_directories, pids_left, tasks};
use super::*;

const NEED: Need = Need {
    workers: 256,
    slice_size: 256 * 1024,
    head_buffers: 64 * 1024,
    cells: 16 * 1024 * 1024,
    listeners: 2,
    helper_threads: 8,
    stack_size: 128 * 1024,
};

const RICH: Host = Host {
    nofile: 20_000,
    nproc: None,
    threads_max: None,
    pid_max: None,
    tasks: None,
    max_map_count: None,
    cgroup_pids_left: None,
    socket_buffers_max: None,
    tcp_memory_max: None,
};

fn sentences(need: &Need, host: &Host) -> Vec<String> {
    check(&Bill::of(need, host), host, need).err().unwrap_or_default()
}

#[test]
fn the_bill_adds_up() {
    let bill = Bill::of(&NEED, &RICH);
    assert_eq!(bill.threads, 520);
    assert_eq!(bill.slices, 128 << 20);
    assert_eq!(bill.stacks, 65 << 20);
    assert_eq!(bill.mappings, 4 * 520 + 100);
    assert_eq!(bill.descriptors_min, 512 + 2 + 64);
    assert_eq!(bill.sessions_max, 20_000 - 578);
    assert_eq!(sentences(&NEED, &RICH), [""; 0]);
}

#[test]
fn sessions_are_at_least_one_a_worker_and_bounded() {
    let poor = Host { nofile: 64, ..RICH };
    assert_eq!(Bill::of(&NEED, &poor).sessions_max, 256);
    let endless = Host { nofile: u64::MAX, ..RICH };
    assert_eq!(Bill::of(&NEED, &endless).sessions_max, 1 << 20);
}

#[test]
fn each_limit_names_both_numbers() {
    let cases = [
        (
            Host { nofile: 256, ..RICH },
            "workers = 256 needs 578 descriptors, and RLIMIT_NOFILE is 256: lower workers to 95 in [server], or raise it (ulimit -n, or LimitNOFILE of the systemd unit)",
        ),
        (
            Host { threads_max: Some(500), tasks: Some(100), ..RICH },
            "workers = 256 needs 520 threads, and kernel.threads-max is 500 with 100 in use: lower workers to 196 in [server], or raise kernel.threads-max",
        ),
        (
            Host { pid_max: Some(800), ..RICH },
            "workers = 256 needs 520 threads, and kernel.pid_max is 800 with 300 reserved: lower workers to 246 in [server], or raise kernel.pid_max",
        ),
        (
            Host { max_map_count: Some(2000), ..RICH },
            "workers = 256 needs 2180 mappings, and vm.max_map_count is 2000: lower workers to 233 in [server], or raise vm.max_map_count",
        ),
        (
            Host { nproc: Some(100), ..RICH },
            "workers = 256 needs 520 threads, and RLIMIT_NPROC of this user is 100: lower workers to 46 in [server], or raise it (ulimit -u, or LimitNPROC of the systemd unit)",
        ),
        (
            Host { cgroup_pids_left: Some(12), ..RICH },
            "workers = 256 needs 520 threads, and pids.max of its cgroup leaves 12: lower workers to 2 in [server], or raise pids.max (TasksMax of the systemd unit, --pids-limit of the container)",
        ),
        (
            Host { cgroup_pids_left: Some(9), ..RICH },
            "workers = 256 needs 520 threads, and pids.max of its cgroup leaves 9: one worker needs 10; raise pids.max (TasksMax of the systemd unit, --pids-limit of the container)",
        ),
    ];
    for (host, sentence) in cases {
        assert_eq!(sentences(&NEED, &host), [sentence]);
    }
}

#[test]
fn the_number_that_is_named_is_enough_and_one_more_is_not() {
    let hosts = [
        Host { nofile: 301, ..RICH },
        Host { threads_max: Some(301), tasks: Some(7), ..RICH },
        Host { pid_max: Some(701), tasks: Some(7), ..RICH },
        Host { max_map_count: Some(1301), ..RICH },
        Host { nproc: Some(301), ..RICH },
        Host { cgroup_pids_left: Some(301), ..RICH },
    ];
    for host in hosts {
        let said = sentences(&NEED, &host);
        let [sentence] = said.as_slice() else {
            panic!("{said:?}");
        };
        let (_, rest) = sentence.split_once("lower workers to ").expect("a way out");
        let (number, _) = rest.split_once(' ').expect("a number");
        let workers = number.parse().expect("a number");
        assert!(sentences(&Need { workers, ..NEED }, &host).is_empty(), "{sentence}");
        let workers = workers + 1;
        assert_eq!(sentences(&Need { workers, ..NEED }, &host).len(), 1, "{sentence}");
    }
}

#[test]
fn all_limits_are_told_at_once() {
    let poor = Host {
        nofile: 100,
        nproc: Some(100),
        threads_max: Some(100),
        pid_max: Some(400),
        tasks: Some(4),
        max_map_count: Some(100),
        cgroup_pids_left: Some(100),
        ..RICH
    };
    assert_eq!(sentences(&NEED, &poor).len(), 6);
}

#[test]
fn a_namespace_with_its_own_pid_max_does_not_pay_for_the_whole_host() {
    let host = Host { pid_max: Some(1024), tasks: Some(5000), ..RICH };
    assert_eq!(sentences(&NEED, &host), [""; 0]);
}

#[test]
fn it_prints_aligned_lines() {
    let host = Host { socket_buffers_max: Some(6 << 20), tcp_memory_max: Some(1536 << 20), ..RICH };
    assert_eq!(
        Bill::of(&NEED, &host).to_string(),
        "\
workers       256: 512 threads and 8 more, 65 MiB of stacks (address space; about 10 KiB of each is touched)
slices        512 x 256 KiB = 128 MiB (touched only when used)
head buffers  256 x 64 KiB = 16 MiB
parked heads  16 MiB
descriptors   20000 available, up to 19422 sessions
kernel        at most 12.2 MiB for threads
kernel        at most 1.5 GiB for socket buffers"
    );
    assert!(!Bill::of(&NEED, &RICH).to_string().contains("socket buffers"));
    for (bytes, text) in [(1000, "1000 bytes"), (1025, "1.1 KiB"), (2047, "2 KiB"), (2048, "2 KiB")] {
        assert_eq!(Size(bytes).to_string(), text);
    }
}

#[test]
fn cgroups_are_found_up_to_the_mount_point() {
    let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect::<Vec<_>>();
    let v2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    assert_eq!(
        cgroup_directories("0::/system.slice/l7r.service\n", v2),
        paths(&["/sys/fs/cgroup/system.slice/l7r.service", "/sys/fs/cgroup/system.slice", "/sys/fs/cgroup",])
    );
    let v1 = "39 31 0:36 /docker/abc /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
              40 31 0:37 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
    let cgroups = "8:pids:/docker/abc/x\n4:memory:/docker/abc\n0::/\n";
    assert_eq!(cgroup_directories(cgroups, v1), paths(&["/sys/fs/cgroup/pids/x", "/sys/fs/cgroup/pids"]));
    // Outside of what is mounted: the top of what is seen still counts.
    assert_eq!(cgroup_directories("0::/../../x\n", v2), paths(&["/sys/fs/cgroup"]));
    for junk in ["", "0", "0:", "::::", "a - b", "1 2 3 - cgroup2"] {
        assert_eq!(cgroup_directories(junk, junk), paths(&[]));
    }
}

#[test]
fn a_cgroup_leaves_its_maximum_less_what_runs() {
    let directory = std::env::temp_dir().join(format!("l7r-pids-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    assert_eq!(pids_left(&directory), None);
    std::fs::write(directory.join("pids.max"), "100\n").expect("a file");
    assert_eq!(pids_left(&directory), Some(100));
    std::fs::write(directory.join("pids.current"), "30\n").expect("a file");
    assert_eq!(pids_left(&directory), Some(70));
    std::fs::write(directory.join("pids.max"), "max\n").expect("a file");
    assert_eq!(pids_left(&directory), None);
    std::fs::remove_dir_all(&directory).expect("the directory is ours");
    assert_eq!(tasks("0.20 0.18 0.12 1/80 11206\n"), Some(80));
    assert_eq!(tasks("0.20"), None);
}

#[test]
fn the_real_host_is_read_and_its_soft_limit_raised() {
    let host = Host::read(false);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    assert_eq!(limit.current, limit.maximum);
    assert_eq!(limit.current, Some(host.nofile));
    assert!(host.max_map_count.is_some_and(|n| n > 0));
}
