//! What a host may be short of: descriptors, ports, memory, threads, disk, and somebody who reads the log.
//!
//! Some are made: a limit is lowered, a pipe is not read. For the others strace(1) lets a system call of the real binary
//! fail, the first time or each time that a thread makes it.

mod support;

use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use support::programs::find;
use support::router::{Signal, one_pool};
use support::{
    Client, DEADLINE, Ending, Finished, Origin, Router, ServingOrigin, Setup, TempDir, eventually, ms, reply, run,
};

fn quick() -> ServingOrigin {
    Origin::serve(|_| reply(200, &[], "ok"))
}

/// One worker, so that threads and calls can be counted.
fn one_worker(backend: &impl std::fmt::Display) -> String {
    one_pool(backend, "[server]\nworkers = 1\n")
}

/// The words that start a program with one of its calls failing: `inject` as in `accept4:error=EMFILE:when=1`. The tracer is
/// a grandchild (-D), so that the router is our child. `None`: there is no strace.
fn failing(inject: &str) -> Option<Vec<String>> {
    let call = inject.split(':').next().expect("a call");
    let strace = find("strace")?.to_str().expect("UTF-8").to_owned();
    let words = ["-D", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e"];
    let inject = format!("inject={inject}");
    Some([strace].into_iter().chain(words.into_iter().map(str::to_owned)).chain([inject]).collect())
}

/// A router of which calls fail; `None`: there is no strace.
#[track_caller]
fn router_with(ini: &str, inject: &str) -> Option<Router> {
    let words = failing(inject)?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Some(Router::start_with(ini, &Setup { through: &words, ..Setup::default() }))
}

macro_rules! or_skip {
    ($there:expr) => {
        match $there {
            Some(found) => found,
            None => return,
        }
    };
}

/// Lines of the log with this text.
fn count(router: &Router, text: &str) -> usize {
    router.log().lines().filter(|line| line.contains(text)).count()
}

#[test]
fn an_acceptor_without_descriptors_or_memory_pauses_says_so_once_and_goes_on() {
    let origin = quick();
    for error in ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"] {
        let router = or_skip!(router_with(&one_worker(&origin), &format!("accept4:error={error}:when=1..8")));
        let begun = Instant::now();
        assert_eq!(router.client().get("/").status, 200, "{error}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{error}: {:?}", begun.elapsed());
        // Eight pauses and no more: it did not spin, and nobody was accepted before.
        assert_eq!(router.counter("accept_failed"), 8, "{error}");
        assert_eq!(count(&router, "the oldest idle sessions are closed to make room"), 1, "{error}: {}", router.log());
    }
}

#[test]
fn an_acceptor_that_fails_at_every_other_accept_serves_everyone_and_says_so_once_a_second() {
    let origin = quick();
    let router = or_skip!(router_with(&one_worker(&origin), "accept4:error=EMFILE:when=1+2"));
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(router.client().get("/").status, 200);
    }
    let seconds = begun.elapsed().as_secs() as usize + 2;
    let episodes = router.counter("accept_failed") as usize;
    assert!(episodes >= 20, "{episodes}");
    let said = count(&router, "the oldest idle sessions are closed to make room");
    assert!((1..=seconds).contains(&said), "{said} lines in {seconds} seconds");
    router.wait_log("accept without descriptors: ");
}

#[test]
fn a_client_that_left_before_it_was_accepted_is_no_failure_of_accept() {
    let origin = quick();
    let router = or_skip!(router_with(&one_worker(&origin), "accept4:error=ECONNABORTED:when=1..50"));
    let begun = Instant::now();
    assert_eq!(router.client().get("/").status, 200);
    assert!(begun.elapsed() < Duration::from_secs(4), "a pause for each: {:?}", begun.elapsed());
    assert_eq!((router.counter("accept_failed"), count(&router, "accept:")), (0, 0), "{}", router.log());
}

#[test]
fn two_hundred_clients_without_descriptors_cost_no_processor_time_and_are_served_when_there_are_some() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let origin = Origin::serve(move |request| {
        if request.target == "/running" {
            let _released = held.lock().expect("not poisoned").recv();
        }
        reply(200, &[], "ok")
    });
    // Gone before the origin, which would wait for it, should this fail.
    let release = release;
    let router = Router::to(&origin);
    let mut running = router.client();
    running.send("GET /running HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the origin has it", DEADLINE, || (!origin.requests().is_empty()).then_some(()));
    let limit = router.leave_no_descriptor();
    // Accepted with the descriptor that a blocked accept has set aside; what becomes of it depends on when it speaks.
    let _first = router.client();
    let waited = Instant::now();
    let before = router.wait_counter("accept_failed", |n| n > 0);
    let mut late: Vec<Client> = (0..200).map(|_| router.client()).collect();
    for client in &mut late {
        client.send("GET /late HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    }
    let (used, begun) = (router.processor_time(), Instant::now());
    running.expect_silence_for(ms(1500));
    let (used, took) = (router.processor_time() - used, begun.elapsed());
    assert!(used * 5 < took, "{used:?} of processor time in {took:?}");
    let failed = router.counter("accept_failed") - before;
    let paces = waited.elapsed().as_millis() as u64 / 100 + 1;
    assert!((1..=paces).contains(&failed), "{failed} times in {took:?}");
    assert_eq!(count(&router, "[ERROR] listener "), 1, "{}", router.log());
    // What runs is served all the same.
    release.send(()).expect("the origin waits");
    assert_eq!(running.read_response().status, 200);
    router.limit_descriptors(limit);
    let begun = Instant::now();
    for client in &mut late {
        assert_eq!(client.read_response().status, 200);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    router.assert_at_rest();
}

#[test]
fn a_connection_that_this_host_cannot_make_is_503_and_no_mark_against_the_backend() {
    let origin = quick();
    for (inject, end) in [
        // The main thread's only socket is its listener: the second is the worker's second.
        ("socket:error=EMFILE:when=2", "no_descriptor"),
        ("socket:error=ENFILE:when=2", "no_descriptor"),
        ("socket:error=ENOBUFS:when=2", "no_descriptor"),
        ("socket:error=ENOMEM:when=2", "no_descriptor"),
        ("connect:error=ENOBUFS:when=2", "no_descriptor"),
        ("connect:error=ENOMEM:when=2", "no_descriptor"),
        ("connect:error=EADDRNOTAVAIL:when=2", "no_port"),
    ] {
        let ini = one_worker(&origin).replace("backend =", "keepalive = 0\nbackend =");
        let router = or_skip!(router_with(&ini, inject));
        let mut idle = router.client();
        assert_eq!(idle.get("/first").status, 200, "{inject}");
        router.wait_counter("parked", |n| n == 1);
        let response = router.client().get("/second");
        assert_eq!((response.status, response.fields.get("Retry-After")), (503, Some("1")), "{inject}");
        router.wait_log(&format!("503 {end}"));
        if end == "no_descriptor" {
            // To make room, without a word.
            assert_eq!(idle.expect_closed(), Ending::Fin);
        }
        assert_eq!(router.client().get("/third").status, 200, "{inject}: it is over at once");
        assert_eq!(router.counter("backend_connect_failures"), 0, "{inject}");
        router.assert_at_rest();
    }
}

#[test]
fn a_read_or_a_write_that_is_interrupted_is_done_again() {
    let origin = quick();
    for call in ["recvfrom", "writev"] {
        // Each second one of every thread.
        let router = or_skip!(router_with(&one_worker(&origin), &format!("{call}:error=EINTR:when=1+2")));
        let mut client = router.client();
        for _ in 0..5 {
            let body = "x".repeat(100_000);
            let post = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            assert_eq!(client.ask(&post).text(), "ok", "{call}");
            assert_eq!(client.get("/").text(), "ok", "{call}");
        }
        router.assert_at_rest();
    }
    assert!(origin.requests().iter().all(|request| matches!(request.body.len(), 0 | 100_000)));
}

/// Everything that main starts, with one worker: the handler of SIGINT, the other signals, the log, the worker's two, waiter,
/// reaper, monitor, resolver, access log, acceptor.
const THREADS: usize = 11;

#[test]
fn a_thread_that_cannot_be_started_is_said_in_words_and_is_failure() {
    let origin = Origin::bind();
    for (number, error) in (1..=THREADS).map(|number| (number, "EAGAIN")).chain([(4, "ENOMEM")]) {
        let dir = TempDir::new();
        let file = dir.write("config.ini", one_worker(&origin));
        let words = or_skip!(failing(&format!("clone3:error={error}:when={number}")));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let Finished { code, stderr, stdout } =
            run(&dir, &["run", "-c", &file], &Setup { through: &words, ..Setup::default() });
        assert_eq!(code, Some(1), "thread {number}: {stderr}");
        let line = stderr.lines().find(|line| line.starts_with("layer7router: ")).unwrap_or_default();
        assert!(line.contains("Resource temporarily unavailable"), "thread {number}: {stderr}");
        // Where threads are many, with the number to change.
        assert!(number <= 3 || line.contains("lower `workers` in [server]"), "thread {number}: {stderr}");
        assert!(!stdout.contains("ready") && !stderr.contains("panicked"), "thread {number}: {stderr}");
    }
    let router = or_skip!(router_with(&one_worker(&origin), &format!("clone3:error=EAGAIN:when={}", THREADS + 1)));
    drop(router);
}

#[test]
fn a_reload_for_which_there_is_no_thread_changes_nothing() {
    let origin = quick();
    let old = one_worker(&origin);
    let new =
        format!("{old}[listen:more]\naddress = 127.0.0.1:0\npool = app\n").replace("[listen:http]", "[listen:renamed]");
    let router = or_skip!(router_with(&old, &format!("clone3:error=EAGAIN:when={}", THREADS + 1)));
    router.write_config(&new);
    router.signal(Signal::HUP);
    router.wait_log("cannot start an acceptor");
    router.wait_log("reload: refused; generation 1 stays in force");
    assert_eq!((router.counter("generation"), router.counter("reloads_failed")), (1, 1));
    assert_eq!(router.client().get("/").status, 200);
    // There is one again.
    router.reload(&new);
    let more = router.wait_log("listening on more ");
    let address = more.rsplit_once(' ').expect("an address").1;
    assert_eq!(Client::connect(address).get("/").status, 200);
    assert_eq!(router.client().get("/").status, 200);
    router.assert_at_rest();
}

/// A named pipe with somebody at its other end who reads nothing.
fn pipe_that_nobody_reads(dir: &TempDir, name: &str) -> (String, std::fs::File) {
    let path = dir.file(name);
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).expect("a pipe");
    // Both ways: to open one for reading alone would wait for who writes.
    let end = std::fs::File::options().read(true).write(true).open(&path).expect("open");
    (path, end)
}

/// Asks so many times with a long path, which the access log has in each line.
fn ask(router: &Router, times: usize) -> Duration {
    let (mut client, path) = (router.client(), format!("/{}", "x".repeat(4000)));
    let begun = Instant::now();
    for _ in 0..times {
        assert_eq!(client.get(&path).status, 200);
    }
    begun.elapsed()
}

#[test]
fn logs_on_pipes_that_nobody_reads_cost_lines_and_neither_requests_nor_the_end() {
    let (origin, dir) = (quick(), TempDir::new());
    let (access, reader) = pipe_that_nobody_reads(&dir, "access");
    let (file, _nobody) = pipe_that_nobody_reads(&dir, "log");
    let ini = one_pool(&origin, &format!("[log]\naccess = {access}\nfile = {file}\nlevel = trace\n"));
    let mut router = Router::start_in(dir, &ini, &Setup::default());
    // 64 KB are in the pipe and 1 MB waits twice: the queue and the batch that is being written.
    ask(&router, 1000);
    let (mut full, mut off): (Vec<Duration>, Vec<Duration>) = (Vec::new(), Vec::new());
    let without = Router::to(&origin);
    for _ in 0..3 {
        full.push(ask(&router, 300));
        off.push(ask(&without, 300));
    }
    let (full, off) = (full.into_iter().min().expect("three"), off.into_iter().min().expect("three"));
    // One that waited for the pipe would never end; this is for who would wait a little each time.
    assert!(full < 4 * off + ms(300), "{full:?} with a full log, {off:?} without one");
    let begun = Instant::now();
    assert!(router.stop().success());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    drop(reader);
}

#[test]
fn an_access_log_that_is_not_read_is_counted_and_complained_of_and_goes_on_with_a_whole_line() {
    use std::io::Read;
    let (origin, dir) = (quick(), TempDir::new());
    let (access, mut reader) = pipe_that_nobody_reads(&dir, "access");
    let ini = one_pool(&origin, &format!("[log]\naccess = {access}\n"));
    let router = Router::start_in(dir, &ini, &Setup::default());
    ask(&router, 1000);
    let lost = router.wait_counter("access_dropped", |n| n > 0);
    router
        .wait_log("access log: ")
        .rsplit_once("lines are lost: it is not read as fast as it is written")
        .expect("why");
    ask(&router, 100);
    assert!(router.counter("access_dropped") > lost);
    assert_eq!(count(&router, "access log: "), 1, "{}", router.log());
    // Somebody reads again: what had its place in the queue comes, each line whole.
    let text = eventually("the last line", DEADLINE, {
        let mut text = Vec::new();
        let mut client = router.client();
        let mut space = vec![0; 1 << 20];
        move || {
            client.get("/last");
            let n = reader.read(&mut space).expect("read");
            text.extend_from_slice(&space[..n]);
            String::from_utf8_lossy(&text).contains("GET /last ").then(|| text.clone())
        }
    });
    let text = String::from_utf8(text).expect("ASCII");
    let whole = |line: &&str| line.starts_with("127.0.0.1 - - [") && line.ends_with(" gen=1");
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[..lines.len() - 1].iter().all(whole), "a line was torn");
}

#[test]
fn a_full_disk_costs_lines_of_both_logs_and_is_complained_of_once() {
    let origin = quick();
    let router = Router::to_with(&origin, "[log]\naccess = /dev/full\n");
    let mut client = router.client();
    let lose = |client: &mut Client, lines| (0..lines).for_each(|_| assert_eq!(client.get("/").status, 200));
    lose(&mut client, 50);
    router.wait_log("lines are lost: No space left on device");
    // Each second there would be more to complain of.
    for _ in 0..5 {
        lose(&mut client, 20);
        client.expect_silence_for(ms(500));
    }
    router.wait_counter("access_dropped", |n| n == 150);
    assert_eq!(count(&router, "access log: "), 1, "{}", router.log());
    // The program's own log: it cannot say so, but stays alive.
    let mut silent = Router::to_with(&origin, "[log]\nfile = /dev/full\nlevel = trace\n");
    for _ in 0..50 {
        assert_eq!(silent.client().get("/").status, 200);
    }
    assert!(silent.stop().success());
}

#[test]
fn what_the_log_has_dropped_is_in_the_counters_when_it_is_read_again() {
    let (origin, dir) = (quick(), TempDir::new());
    let (file, mut reader) = pipe_that_nobody_reads(&dir, "log");
    let ini = one_pool(&origin, &format!("[log]\nfile = {file}\nlevel = trace\n"));
    let router = Router::start_in(dir, &ini, &Setup::default());
    let mut client = router.client();
    // Each has its line at debug: with 64 KB in the pipe and 1 MB twice, some are dropped.
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: {}\r\n\r\n", "i".repeat(128));
    for _ in 0..15_000 {
        assert_eq!(client.ask(&head).status, 200);
    }
    let seen = std::sync::Arc::new(Mutex::new(Vec::new()));
    let all = std::sync::Arc::clone(&seen);
    std::thread::spawn(move || {
        use std::io::Read;
        let mut space = vec![0; 1 << 16];
        while let Ok(n) = reader.read(&mut space) {
            all.lock().expect("not poisoned").extend_from_slice(&space[..n]);
        }
    });
    let dropped = eventually("the counters", DEADLINE, || {
        router.signal(Signal::USR2);
        let text = String::from_utf8_lossy(&seen.lock().expect("not poisoned")).into_owned();
        text.rsplit_once(" log_dropped=")?.1.lines().next()?.trim().parse::<u64>().ok()
    });
    assert!(dropped > 0);
}

#[test]
fn logs_whose_directory_is_gone_go_on_in_the_old_files_until_it_is_back() {
    let (origin, dir) = (quick(), TempDir::new());
    let logs = dir.file("logs");
    std::fs::create_dir(&logs).expect("a directory");
    let (access, file) = (format!("{logs}/access.log"), format!("{logs}/router.log"));
    let ini = one_pool(&origin, &format!("[log]\naccess = {access}\nfile = {file}\n"));
    let router = Router::start_in(dir, &ini, &Setup::default());
    // The old files, wherever they are.
    let opened = |path: &str| std::fs::File::open(path).expect("a log");
    let (mut old_access, mut old_file) = (opened(&access), opened(&file));
    let mut read_on = |of: usize| {
        use std::io::Read;
        let mut text = String::new();
        [&mut old_access, &mut old_file][of].read_to_string(&mut text).expect("UTF-8");
        text
    };
    std::fs::remove_dir_all(&logs).expect("ours");
    router.signal(Signal::USR1);
    let mut said = String::new();
    eventually("two errors in the old log", DEADLINE, || {
        said += &read_on(1);
        (said.matches("could not be opened again").count() == 2).then_some(())
    });
    assert!(said.contains("the log could not") && said.contains("the access log could not"), "{said}");
    assert_eq!(router.client().get("/in-the-old-file").status, 200);
    let mut lines = String::new();
    eventually("a line in the old file", DEADLINE, || {
        lines += &read_on(0);
        lines.contains("/in-the-old-file").then_some(())
    });
    std::fs::create_dir(&logs).expect("a directory");
    router.signal(Signal::USR1);
    eventually("the new files", DEADLINE, || {
        router.client().get("/in-the-new-file");
        let has = |path: &str, text: &str| std::fs::read_to_string(path).is_ok_and(|all| all.contains(text));
        (has(&access, "/in-the-new-file") && has(&file, "log files are open again")).then_some(())
    });
}
