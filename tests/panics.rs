//! A panic of the real binary: told by one line of the log, and by nothing else.
//!
//! No message makes one. strace(1) lets the kernel say that a read returned more than there was room for.

mod support;

use support::programs::find;
use support::router::one_pool;
use support::{DEADLINE, Origin, Router, Setup, TempDir, eventually, reply};

/// The first read of a worker is answered with a lie. `None`: there is no strace.
fn lied_to(log: &str) -> Option<(Router, String)> {
    let strace = find("strace")?.to_str().expect("UTF-8").to_owned();
    let words = [&strace, "-D", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=recvfrom", "-e"];
    let words = [&words[..], &["inject=recvfrom:retval=100000000:when=1"]].concat();
    let dir = TempDir::new();
    let file = dir.file("log");
    let origin = Origin::serve(|_| reply(200, &[], "ok"));
    let ini = one_pool(&origin, &format!("[server]\nworkers = 1\n[log]\nfile = {}\n", log.replace("FILE", &file)));
    let router = Router::start_in(dir, &ini, &Setup { through: &words, ..Setup::default() });
    let mut client = router.client();
    client.send("GET /?s3cr3t HTTP/1.1\r\nHost: a\r\nAuthorization: s3cr3t\r\n\r\n");
    client.expect_closed();
    // It has cost this session alone.
    assert_eq!(router.client().get("/").status, 200);
    Some((router, file))
}

const PANICKED: &str = " [ERROR] thread w000.req panicked at src/buf.rs:";
const WHY: &str = ": a read cannot return more than it was given room for";

#[test]
fn a_panic_is_one_line_of_the_log_before_what_it_cost() {
    let Some((router, file)) = lied_to("FILE") else { return };
    let text = eventually("what it cost", DEADLINE, || {
        std::fs::read_to_string(&file).ok().filter(|text| text.contains("a fault ended a session"))
    });
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("[ERROR]")).collect();
    let [panicked, cost] = lines.as_slice() else { panic!("not two errors:\n{text}") };
    assert!(panicked.contains(PANICKED) && panicked.ends_with(WHY), "{panicked}");
    assert_eq!(panicked.find('Z'), cost.find('Z'), "one form of time:\n{text}");
    assert!(!text.contains("s3cr3t"), "{text}");
    assert_eq!(router.log(), "", "stderr has nothing of it");
}

#[test]
fn a_panic_with_no_log_to_be_in_is_a_line_of_stderr() {
    for log in ["stderr", "FILE\nlevel = off"] {
        let Some((router, _)) = lied_to(log) else { return };
        let line = router.wait_log(PANICKED);
        assert!(line.ends_with(WHY), "{line}");
        assert!(!router.log().contains("s3cr3t") && router.log().matches("panicked").count() == 1, "{}", router.log());
    }
}
