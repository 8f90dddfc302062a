//! wrk before nginx, which is behind the router: no socket error and no answer but 200, however many connections.

use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::alone;
use crate::support::programs::{Backend, find, skip, wrk_without_errors};
use crate::support::{Router, TempDir};

/// This many connections for this long; the workers are as many as nobody configured.
#[track_caller]
fn storm(connections: u64, seconds: u32) {
    let (Some(wrk), dir) = (find("wrk"), TempDir::new()) else { return };
    if !enough_files(2 * connections + 1000) {
        return skip("wrk", "too few open files are allowed");
    }
    let Some(nginx) = Backend::nginx(&dir) else { return };
    let router = Router::to_with(&nginx, "[server]\nqueue = 1024");
    let url = format!("http://{}/ok", router.address());
    let (connections_arg, seconds_arg) = (format!("-c{connections}"), format!("-d{seconds}s"));
    // A machine may be slow; an answer may not be missing.
    let args = ["-t2", &connections_arg, &seconds_arg, "--timeout", "20s", &url];
    let counted = wrk_without_errors(Command::new(wrk).args(args));
    assert!(counted >= connections, "{counted} answers for {connections} connections");
    let after = router.counters();
    assert!(after["exchanges"] >= counted, "{counted}: {after:?}");
    for never in ["shed", "refused_queue", "accept_failed", "backend_connect_failures", "panics"] {
        assert_eq!(after[never], 0, "{never}: {after:?}");
    }
    router.assert_at_rest();
}

/// Raises the limit that programs started from here inherit.
pub fn enough_files(needed: u64) -> bool {
    let hard = getrlimit(Resource::Nofile).maximum;
    if hard.is_some_and(|hard| hard < needed) {
        return false;
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(hard.unwrap_or(needed)), maximum: hard }).is_ok()
}

#[test]
fn wrk_with_64_connections_sees_no_error() {
    let _alone = alone();
    storm(64, 3);
}

#[test]
fn wrk_with_1024_connections_sees_no_error() {
    let _alone = alone();
    storm(1024, 3);
}

#[test]
fn wrk_with_4096_connections_for_ten_seconds_sees_no_error() {
    let _alone = alone();
    storm(4096, 10);
}
