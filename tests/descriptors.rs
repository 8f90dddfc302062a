//! Descriptors: each of them ends with this program, whatever is executed in its process or a child of it.

mod support;

use std::collections::BTreeMap;
use std::os::unix::net::UnixListener;

use rustix::fs::OFlags;
use support::{DEADLINE, Origin, Router, Setup, TempDir, eventually, reply};

/// Closes what the tests' own starter has left open, so that all but the first three are the router's.
const ALONE: [&str; 4] = [
    "bash",
    "-c",
    "for fd in /proc/$$/fd/*; do n=${fd##*/}; ((n < 3)) || eval \"exec $n>&-\"; done; exec \"$@\"",
    "sh",
];

/// Every descriptor from 3 on: what it stands for, and its flags.
fn descriptors(router: &Router) -> Vec<(String, OFlags)> {
    let process = format!("/proc/{}", router.pid());
    let numbers = std::fs::read_dir(format!("{process}/fd")).expect("a running process");
    let numbers = numbers.filter_map(|fd| fd.ok()?.file_name().to_str()?.parse::<i32>().ok()).filter(|fd| *fd > 2);
    // One that is open for a moment only may be gone.
    let look = |fd: i32| {
        let stands_for = std::fs::read_link(format!("{process}/fd/{fd}")).ok()?;
        let info = std::fs::read_to_string(format!("{process}/fdinfo/{fd}")).ok()?;
        let octal = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("flags").trim();
        let flags = OFlags::from_bits_retain(u32::from_str_radix(octal, 8).expect("octal"));
        Some((stands_for.display().to_string(), flags))
    };
    numbers.filter_map(look).collect()
}

#[test]
fn every_descriptor_is_closed_on_exec() {
    let dir = TempDir::new();
    let (unix, backend, log, access) = (dir.file("in"), dir.file("out"), dir.file("log"), dir.file("access"));
    let held = UnixListener::bind(&backend).expect("bind");
    let quick = Origin::serve(|_| reply(200, &[], "ok"));
    let slow = Origin::bind();
    let ini = format!(
        "[listen:tcp]\naddress = 127.0.0.1:0\npool = quick\n[listen:unix]\naddress = unix:{unix}\npool = unix\n\
         [pool:quick]\nbackend = {quick}\n[pool:unix]\nbackend = unix:{backend}\n[pool:demo]\nbackend = demo\n\
         [pool:slow]\nbackend = {slow}\n[route:slow]\npath = /slow\npool = slow\n[route:demo]\npath = /demo\npool = demo\n\
         [log]\nfile = {log}\naccess = {access}\n"
    );
    let router = Router::start_in(dir, &ini, &Setup { through: &ALONE, ..Setup::default() });
    // A kept session and a kept connection; the demo; exchanges that run: over TCP with a body that both halves move, over
    // Unix sockets to the end of which nobody comes.
    let mut kept = router.client();
    assert_eq!((kept.get("/").status, kept.get("/demo").status), (200, 200));
    let mut sends = router.client();
    sends.send("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab");
    let _at_slow = slow.accept();
    let mut waits = support::Client::connect(&format!("unix:{unix}"));
    waits.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let _at_unix = held.accept().expect("a connection");
    // Two listeners of its own and the demo's, four sessions and the demo's, four connections: all of it is seen at once.
    let all = eventually("all kinds of them", DEADLINE, || {
        let all = descriptors(&router);
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for (stands_for, _) in &all {
            let kind = if stands_for.starts_with("socket:") { "socket" } else { stands_for };
            *kinds.entry(kind.to_owned()).or_default() += 1;
        }
        let has = |kind: &str, least| kinds.get(kind).is_some_and(|count| *count >= least);
        let whole = has("socket", 10)
            && has("anon_inode:[eventpoll]", 2)
            && has("anon_inode:[eventfd]", 2)
            && has(&log, 1)
            && has(&access, 1);
        whole.then_some(all)
    });
    let left: Vec<_> = all.iter().filter(|(_, flags)| !flags.contains(OFlags::CLOEXEC)).collect();
    assert!(left.is_empty(), "{left:?}\nof {all:?}");
}
