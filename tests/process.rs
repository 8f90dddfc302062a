//! What the operating system sees of the router: its threads, their class, its sockets, its limits.

mod support;

use std::os::unix::fs::PermissionsExt;

use support::router::{Signal, one_pool};
use support::{Client, DEADLINE, Origin, Refusing, Router, Setup, TempDir, eventually, ms, pattern, reply, run};

/// Every thread: its name, and its scheduling policy (field 41 of proc(5) stat).
fn threads(router: &Router) -> Vec<(String, String)> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", router.pid())).expect("a running process");
    tasks
        .filter_map(|task| {
            let stat = std::fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
            let (name, rest) = stat.split_once(" (")?.1.rsplit_once(") ")?;
            Some((name.to_owned(), rest.split(' ').nth(38)?.to_owned()))
        })
        .collect()
}

fn count(threads: &[(String, String)], name: impl Fn(&str) -> bool) -> usize {
    threads.iter().filter(|(thread, _)| name(thread)).count()
}

#[test]
fn threads_are_two_a_worker_and_all_are_named() {
    let origin = Origin::serve(|_| reply(200, &[], "ok"));
    let router = Router::to_with(&origin, "[server]\nworkers = 20\n");
    assert_eq!(router.client().get("/").status, 200);
    // A thread names itself when it first runs.
    let threads = eventually("two named threads a worker", DEADLINE, || {
        let all = threads(&router);
        let named = |end: &str| count(&all, |name| name.starts_with('w') && name.ends_with(end));
        (named(".req") == 20 && named(".rsp") == 20).then_some(all)
    });
    for name in
        ["w017.req", "w017.rsp", "acceptor", "waiter", "reaper", "monitor", "resolver", "access-log", "log", "signals"]
    {
        assert_eq!(count(&threads, |thread| thread == name), 1, "{name} in {threads:?}");
    }
    // And no more, however many clients come: main and ctrlc's are all that is left.
    let clients: Vec<_> = (0..50).map(|_| router.client()).collect();
    router.wait_counter("sessions", |n| n >= clients.len() as u64);
    assert_eq!(count(&self::threads(&router), |_| true), 20 * 2 + 10);
}

#[test]
fn no_thread_that_does_io_takes_a_control_signal() {
    let origin = Origin::serve(|_| reply(200, &[], "ok"));
    let router = Router::to_with(&origin, "[server]\nworkers = 3\n");
    // Also those that a reload starts.
    router.reload(&one_pool(&origin, "[server]\nworkers = 3\n[listen:more]\naddress = 127.0.0.1:0\npool = app\n"));
    let control = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::USR1, Signal::USR2, Signal::TERM];
    let control = control.into_iter().fold(0_u64, |set, signal| set | 1 << (signal.as_raw() - 1));
    let takers = || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", router.pid())).expect("a running process");
        let statuses = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok());
        let mut names: Vec<String> = statuses
            .filter_map(|status| {
                let value = |key: &str| Some(status.lines().find_map(|line| line.strip_prefix(key))?.trim().to_owned());
                let blocked = u64::from_str_radix(&value("SigBlk:")?, 16).ok()?;
                (blocked & control != control).then(|| value("Name:"))?
            })
            .collect();
        names.sort();
        names
    };
    // A thread names itself when it first runs.
    eventually("the two that wait for signals", DEADLINE, || (takers() == ["ctrl-c", "signals"]).then_some(()));
    assert_eq!(router.client().get("/").status, 200);
}

/// How often this thread has gone to sleep.
fn sleeps(router: &Router, thread: &str) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", router.pid())).expect("a running process");
    let status = tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok())
        .find(|status| status.starts_with(&format!("Name:\t{thread}\n")))
        .expect("a thread of this name");
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).expect("in proc(5)");
    count.trim().parse().expect("a number")
}

#[test]
fn a_router_whose_workers_all_wait_sleeps_and_still_hears_its_parked_sessions() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, "[server]\nworkers = 2\n[timeouts]\nqueue = 300ms");
    let mut parked = router.client();
    parked.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut answering, _request) = origin.accept_request();
    answering.reply(200, "ok");
    assert_eq!(parked.read_response().status, 200);
    answering.close();
    // For some milliseconds it looks whether workers are free; then there are deadlines only, ten times a second.
    let falls_asleep = |parked: &mut Client| {
        (0..5).any(|_| {
            let before = sleeps(&router, "waiter");
            parked.expect_silence_for(ms(200));
            sleeps(&router, "waiter") - before < 20
        })
    };
    assert!(falls_asleep(&mut parked), "the waiter does not sleep though workers are free");
    let mut clients: Vec<_> = (0..2).map(|_| router.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    router.wait_counter("running", |n| n == 2);
    assert!(falls_asleep(&mut parked), "the waiter does not sleep though nothing happens");
    parked.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(parked.read_response().status, 503, "it was heard, and queued");
    let mut parked = router.client();
    // Held until both are answered: which of them is whose is not known.
    let mut answering = [origin.accept_request().0, origin.accept_request().0];
    for conn in &mut answering {
        conn.reply(200, "late");
    }
    for client in &mut clients {
        assert_eq!(client.read_response().status, 200);
    }
    assert!(falls_asleep(&mut parked), "the waiter does not sleep though workers are free again");
}

#[test]
fn stacks_are_small() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, "[server]\nworkers = 50\n");
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", router.pid())).expect("a running process");
    let mappings: Vec<(u64, u64, bool)> = maps
        .lines()
        .filter_map(|line| {
            let (range, rest) = line.split_once(' ')?;
            let (start, end) = range.split_once('-')?;
            Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?, rest.starts_with("---p")))
        })
        .collect();
    // A stack stands right above its guard, which is a page.
    let above_a_guard = mappings.windows(2).filter(|pair| pair[0].2 && pair[0].1 == pair[1].0);
    let stacks: Vec<u64> =
        above_a_guard.filter(|pair| pair[0].1 - pair[0].0 <= 0x10000).map(|pair| pair[1].1 - pair[1].0).collect();
    assert!(stacks.len() >= 100, "two a worker: {stacks:?}");
    // Those that wait for signals have what the library gives them.
    assert!(stacks.iter().filter(|bytes| **bytes > 256 * 1024).count() <= 2, "{stacks:?}");
}

#[test]
fn the_kernel_holds_as_many_connections_as_backlog_says() {
    let origin = Origin::bind();
    for (backlog, all) in [(2, false), (64, true)] {
        let router = Router::start(&one_pool(&origin, "").replace(":0\n", &format!(":0\nbacklog = {backlog}\n")));
        router.signal(Signal::STOP);
        eventually("a stopped process", DEADLINE, || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", router.pid())).ok()?;
            stat.rsplit_once(") ")?.1.starts_with('T').then_some(())
        });
        let address = router.address().parse().expect("an address");
        let connect = |_| std::net::TcpStream::connect_timeout(&address, ms(300)).ok();
        let held: Vec<_> = (0..20).map_while(connect).collect();
        assert_eq!(held.len() == 20, all, "backlog = {backlog} held {}", held.len());
    }
}

#[test]
fn scheduling_is_normal_unless_batch_is_asked_for_and_then_of_workers_only() {
    let origin = Origin::bind();
    for (line, policy) in [("", "0"), ("scheduling = batch\n", "3")] {
        let router = Router::to_with(&origin, &format!("[server]\nworkers = 4\n{line}"));
        // Each thread sets its own class when it begins.
        let acceptor = eventually("the class of each worker", DEADLINE, || {
            let all = threads(&router);
            let workers = count(&all, |name| name.ends_with(".req") || name.ends_with(".rsp"));
            let as_asked = all.iter().filter(|(name, seen)| name.starts_with("w0") && seen == policy).count();
            let acceptor = all.iter().find(|(name, _)| name == "acceptor")?.1.clone();
            (workers == 8 && as_asked == 8).then_some(acceptor)
        });
        assert_eq!(acceptor, "0");
    }
}

#[test]
fn a_unix_socket_has_the_mode_of_the_file_and_goes_with_the_router() {
    let origin = Origin::serve(|_| reply(200, &[], "ok"));
    let dir = TempDir::new();
    let path = dir.file("front.sock");
    // A socket left behind by a process that was killed is replaced.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bind"));
    let ini = |mode: &str| one_pool(&origin, "").replace("127.0.0.1:0", &format!("unix:{path}\nsocket_mode = {mode}"));
    let mut router = Router::start(&ini("0640"));
    let mode = || std::fs::metadata(&path).expect("the socket").permissions().mode() & 0o777;
    assert_eq!(mode(), 0o640);
    assert_eq!(router.client().get("/").status, 200);
    router.reload(&ini("0600"));
    assert_eq!(mode(), 0o600);
    assert!(router.stop().success());
    assert!(!std::path::Path::new(&path).exists(), "the socket was left behind");
}

#[test]
fn the_log_level_of_the_file_is_followed_also_at_a_reload() {
    let origin = Refusing::bind();
    let ini = |level: &str| one_pool(&origin, &format!("[log]\nlevel = {level}\n"));
    let mut router = Router::start(&ini("error"));
    let quiet = router.client().get("/quiet");
    assert_eq!(quiet.status, 502);
    // SIGUSR2 is not heard at this level either, so the reload is waited for by its effect.
    router.write_config(&ini("info"));
    router.signal(Signal::HUP);
    let line = eventually("a line about a refused connection", DEADLINE, || {
        router.client().get("/loud");
        router.log().lines().find(|line| line.contains("backend_refused")).map(str::to_owned)
    });
    assert!(line.contains("[INFO"), "{line}");
    let quiet = quiet.fields.get("X-Request-Id").expect("an id");
    assert!(!router.log().contains(quiet), "at level error: {}", router.log());
    assert!(router.stop().success());
}

#[test]
fn ipv6_and_both_families_of_one_port_are_served() {
    let origin = Origin::serve(|_| reply(200, &[], "ok"));
    let ini = one_pool(&origin, "").replace("127.0.0.1:0", "[::1]:0\naddress = :0");
    let router = Router::start(&ini);
    let listeners = router.listeners();
    let port_of = |at: usize| listeners[at].1.rsplit_once(':').expect("a port").1.to_owned();
    for address in
        [format!("[::1]:{}", port_of(0)), format!("[::1]:{}", port_of(1)), format!("127.0.0.1:{}", port_of(1))]
    {
        assert_eq!(support::Client::connect(&address).get("/").status, 200, "{address}");
    }
}

#[test]
fn a_soft_limit_of_open_files_is_raised_to_the_hard_one() {
    let dir = TempDir::new();
    let origin = Origin::bind();
    let setup = Setup { soft_open_files: Some(300), ..Setup::default() };
    let router = Router::start_in(dir, &one_pool(&origin, ""), &setup);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", router.pid())).expect("limits");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("the limit");
    let numbers: Vec<&str> = line.split_whitespace().skip(3).take(2).collect();
    assert!(numbers[0] == numbers[1] && numbers[0] != "300", "{line}");
}

#[test]
fn a_pid_file_that_cannot_be_written_is_said_and_is_failure() {
    let dir = TempDir::new();
    let file = dir.write(
        "config.ini",
        "[listen:http]\naddress = 127.0.0.1:0\n[server]\nworkers = 2\npid_file = /nonexistent/router.pid\n",
    );
    let failed = run(&dir, &["run", "-c", &file], &Setup::default());
    assert_eq!(failed.code, Some(1));
    assert!(failed.stderr.contains("/nonexistent/router.pid"), "{}", failed.stderr);
}

#[test]
fn a_router_that_was_killed_starts_again_at_once_on_the_port_of_connections_in_time_wait() {
    let origin = Origin::serve(|_| reply(200, &[], "ok"));
    let mut router = Router::to(&origin);
    let (port, address) = (router.port(), router.address());
    for _ in 0..5 {
        let mut client = router.client();
        assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").status, 200);
        client.expect_closed();
    }
    // Who closes first is in TIME_WAIT (06), and that was the router.
    let ours = format!("0100007F:{port:04X}");
    eventually("connections in TIME_WAIT", DEADLINE, || {
        let sockets = std::fs::read_to_string("/proc/net/tcp").expect("proc(5)");
        let mut fields = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        fields.any(|fields| fields.len() > 3 && fields[1] == ours && fields[3] == "06").then_some(())
    });
    router.signal(Signal::KILL);
    router.wait_exit(DEADLINE);
    let again = Router::start(&one_pool(&origin, "").replace("127.0.0.1:0", &address));
    assert_eq!(again.client().get("/").status, 200);
}

/// Memory that it has touched and not given back.
fn resident(router: &Router) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", router.pid())).expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("in proc(5)");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

#[test]
fn memory_is_flat_however_many_clients_reset_in_whatever_phase() {
    let origin = Origin::serve(|_| reply(200, &[], pattern(200_000)));
    let router = Router::to_with(&origin, "[server]\nworkers = 4\n");
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n";
    // The same sequence each time, and no two rounds alike.
    let mut random = 1_u64;
    let mut abort = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut client = router.client();
        let step = (random >> 40) as usize;
        match random >> 61 {
            0 => {}
            1 | 2 => client.send(&head[..step % head.len()]),
            3 | 4 => client.send([head.as_bytes(), &vec![b'x'; step % 20_000]].concat()),
            _ => {
                client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
                client.read_exact(step % 200_000);
            }
        }
        client.reset();
    };
    let mut round = || {
        (0..400).for_each(|_| abort());
        // Those that were reset while parked are found by the kernel's word, the others by their next byte.
        router.wait_counter("sessions", |n| n == 0);
        router.assert_at_rest();
        resident(&router)
    };
    // Slices and stacks are touched the first time, and the heap finds its size.
    let before = (0..3).map(|_| round()).last().expect("three");
    let after: Vec<u64> = (0..4).map(|_| round()).collect();
    let grown = after.iter().max().expect("four").saturating_sub(before);
    // Room for workers and slices that nobody needed before, and not for 160 bytes a client.
    assert!(grown < 256 * 1024, "{grown} bytes more than {before}: {after:?}");
}
