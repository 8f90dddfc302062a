//! Reloads and the end, under clients that verify every answer.

use std::fmt::Display;
use std::iter::repeat_n;
use std::time::Instant;

use crate::alone;
use crate::clients::{Clients, Habit, answering};
use crate::support::router::Signal;
use crate::support::{DEADLINE, Router, TempDir, eventually, fill, ms};

/// The file with this number: every answer tells it; a backend and a limit come and go, addresses come and are gone.
fn file(number: u64, backends: [&dyn Display; 2], dir: &TempDir) -> String {
    let mut text = fill(
        "[listen:http]\naddress = 127.0.0.1:0\n[server]\nworkers = 32\n\
         [route:all]\npool = app\nset_response_header = X-File: ${NUMBER}\n[pool:app]\nbackend = ${ONE}\n",
        &[("NUMBER", &number), ("ONE", backends[0])],
    );
    if number % 2 == 1 {
        text.push_str(&format!("backend = {}\n[limits]\nheader_count = 50\n", backends[1]));
    }
    if number % 3 == 1 {
        text.push_str(&format!("[listen:more]\naddress = unix:{}\npool = app\n", dir.file(&format!("{number}.sock"))));
    }
    text
}

/// `count` signals, each with a file of its own, one every `every_ms`, under sixteen clients.
#[track_caller]
fn reloads_under_load(count: u64, every_ms: u64) -> u64 {
    let (one, two, dir) = (answering(), answering(), TempDir::new());
    let router = Router::start(&file(0, [&one, &two], &dir));
    let mut made = 0;
    Clients::run(&router.address(), repeat_n(Habit::Keeps, 16), |clients| {
        eventually("a start", DEADLINE, || (clients.answered() > 100).then_some(()));
        let before = router.counters();
        let begun = Instant::now();
        for number in 1..=count {
            // A rate, not a wait for something.
            std::thread::sleep(ms(number * every_ms).saturating_sub(begun.elapsed()));
            router.write_config(&file(number, [&one, &two], &dir));
            router.signal(Signal::HUP);
        }
        let answered = clients.answered();
        eventually("answers after the last", DEADLINE, || (clients.answered() > answered + 100).then_some(()));
        let after = router.counters();
        made = after["generation"] - before["generation"];
        assert_eq!(after["accepted"], 16, "a kept session was closed");
        assert_eq!(after["reloads_failed"], 0, "{}", router.log());
    });
    router.wait_counter("sessions", |n| n == 0);
    // Threads and descriptors of addresses that came and are gone included.
    router.assert_at_rest();
    for origin in [one, two] {
        origin.assert_no_faults();
    }
    made
}

#[test]
fn ten_reloads_a_second_for_ten_seconds_fail_no_request() {
    let _alone = alone();
    let made = reloads_under_load(100, 100);
    assert!((20..=100).contains(&made), "{made} reloads");
}

#[test]
fn a_storm_of_reloads_fails_no_request() {
    let _alone = alone();
    let made = reloads_under_load(300, 10);
    assert!((1..=300).contains(&made), "{made} reloads");
}

#[test]
fn a_drain_under_load_cuts_no_exchange() {
    let _alone = alone();
    for _round in 0..4 {
        let origin = answering();
        let more = "[server]\nworkers = 32\n[log]\naccess = access.log\n";
        let mut router = Router::to_with(&origin, more);
        let mut answered = 0;
        let habits = [Habit::Keeps, Habit::Reconnects, Habit::FallsSilent, Habit::AsksLate];
        Clients::run(&router.address(), habits.into_iter().cycle().take(64), |clients| {
            eventually("a start", DEADLINE, || (clients.answered() > 1500).then_some(()));
            clients.terminate(&router);
            let begun = Instant::now();
            // Far below drain_timeout, which would cut whatever holds on.
            let status = router.wait_exit(DEADLINE);
            assert_eq!(status.code(), Some(0), "{}", router.log());
            assert!(begun.elapsed() < ms(5000), "the drain took {:?}", begun.elapsed());
            answered = clients.answered();
        });
        let log = std::fs::read_to_string(router.dir().file("access.log")).expect("an access log");
        let begun = log.lines().count() as u64;
        assert!(begun > 1500 && begun <= answered, "{begun} exchanges were begun, {answered} answers arrived whole");
        let bad = log.lines().find(|line| !line.contains("\" 200 "));
        assert_eq!(bad, None);
    }
}
