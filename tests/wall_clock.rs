//! The wall clock may jump by a day, either way: dates follow it, and nothing else does.

mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use support::programs::{find, finish};
use support::router::one_pool;
use support::{DEADLINE, Origin, Router, Setup, TempDir, eventually, ms};
use time::OffsetDateTime;
use time::macros::format_description;

const DAY: i32 = 24 * 60 * 60;

/// Its wall clock is as far from ours as `offset` in its directory says. Its other clocks are ours. `None`: no faketime.
fn router_in_another_time(ini: impl Fn(&TempDir) -> String) -> Option<Router> {
    // faketime knows where its library is, and what its variables are called in this version.
    let mut command = Command::new(find("faketime")?);
    let said = finish(command.args(["--exclude-monotonic", "-f", "+0", "env"]), b"").text();
    let dir = TempDir::new();
    let offset = dir.write("offset", "+0");
    let its_own = |(name, _): &(&str, &str)| *name == "LD_PRELOAD" || name.contains("MONOTONIC");
    let mut env: Vec<(&str, &str)> = said.lines().filter_map(|line| line.split_once('=')).filter(its_own).collect();
    assert!(env.len() >= 2, "{said}");
    env.extend([("FAKETIME_TIMESTAMP_FILE", offset.as_str()), ("FAKETIME_NO_CACHE", "1")]);
    let ini = ini(&dir);
    Some(Router::start_in(dir, &ini, &Setup { env: &env, ..Setup::default() }))
}

/// Sets its wall clock.
fn step(router: &Router, seconds: i32) {
    let new = router.dir().write("offset.new", format!("{seconds:+}"));
    // In one step: it reads the file whenever it reads the clock.
    std::fs::rename(new, router.dir().file("offset")).expect("rename");
}

/// The day that it should be for the router, as Date fields, as access lines and as the program's log write it. At midnight
/// any of two days.
fn day(seconds: i32) -> [String; 3] {
    let then = OffsetDateTime::now_utc() + Duration::from_secs(DAY as u64 * 2)
        - Duration::from_secs((2 * DAY - seconds) as u64);
    let text = |format| then.format(format).expect("a date");
    [
        text(format_description!("[weekday repr:short], [day] [month repr:short] [year] ")),
        text(format_description!("[[[day]/[month repr:short]/[year]:")),
        text(format_description!("[year]-[month]-[day]T")),
    ]
}

macro_rules! or_skip {
    ($there:expr) => {
        match $there {
            Some(found) => found,
            None => return,
        }
    };
}

const HEAD: &str = "GET /backend HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn a_clock_that_jumps_by_a_day_cuts_nobody_and_dates_follow_it() {
    let origin = Origin::bind();
    let router = or_skip!(router_in_another_time(|dir| one_pool(
        &origin,
        &format!(
            "keepalive = 0\n[route:own]\npath = /own\nrespond = 200 \"ok\"\n[log]\naccess = {}\n",
            dir.file("access.log")
        )
    )));
    let access = router.dir().file("access.log");
    // All at their defaults: the shortest timeout that matters here is 10 s, the queue's 5 s.
    for (number, seconds) in [0, DAY, -DAY, 0].into_iter().enumerate() {
        let (mut idle, mut half, mut running) = (router.client(), router.client(), router.client());
        assert_eq!(idle.get("/own").status, 200);
        half.send(&HEAD[..20]);
        running.send(HEAD);
        let (mut conn, _request) = origin.accept_request();
        step(&router, seconds);
        running.expect_silence_for(ms(500));
        conn.reply(200, "late");
        assert_eq!(running.read_response().text(), "late");
        half.send(&HEAD[20..]);
        let (mut conn, _request) = origin.accept_request();
        conn.reply(200, "in two parts");
        assert_eq!(half.read_response().text(), "in two parts");
        let path = format!("/own?{number}");
        let before = day(seconds);
        let response = idle.get(&path);
        let is_of_the_day =
            |text: &str, which: usize| text.starts_with(&before[which]) || text.starts_with(&day(seconds)[which]);
        let date = response.fields.get("Date").expect("a Date").to_owned();
        assert!(response.status == 200 && is_of_the_day(&date, 0), "{date} after {seconds:+}");
        let line = eventually("its access line", DEADLINE, || {
            let text = std::fs::read_to_string(&access).unwrap_or_default();
            text.lines().find(|line| line.contains(&path)).map(str::to_owned)
        });
        let (_, date) = line.split_once(" - - ").expect("a combined line");
        assert!(is_of_the_day(date, 1), "{line} after {seconds:+}");
        let mark = router.log_mark();
        router.signal(support::router::Signal::USR2);
        let line = router.wait_log_after(mark, "counters:");
        assert!(is_of_the_day(&line, 2), "{line} after {seconds:+}");
    }
    router.assert_at_rest();
}

#[test]
fn deadlines_come_neither_early_nor_late_when_the_clock_jumps_meanwhile() {
    let origin = Origin::bind();
    let timeouts = "[timeouts]\nheader = 1500ms\nidle = 1500ms\nresponse = 1500ms\n[server]\nworkers = 4\ndrain_timeout = 1500ms\n";
    let mut router = or_skip!(router_in_another_time(|_| one_pool(
        &origin,
        &format!("[route:own]\npath = /own\nrespond = 200 \"ok\"\n{timeouts}")
    )));
    // It counts in whole milliseconds, and began in one of them.
    let limits = ms(1499)..ms(4000);
    for seconds in [DAY, -DAY] {
        let (mut idle, mut half, mut running) = (router.client(), router.client(), router.client());
        // Before the exchange after which it is idle: who reads its answer late would see it closed early.
        let begun = Instant::now();
        assert_eq!(idle.get("/own").status, 200);
        half.send(&HEAD[..20]);
        running.send(HEAD);
        let (conn, _request) = origin.accept_request();
        step(&router, seconds);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert_eq!(running.read_response().status, 504);
                assert!(limits.contains(&begun.elapsed()), "504 after {:?}", begun.elapsed());
            });
            scope.spawn(|| {
                assert_eq!(half.read_response().status, 408);
                assert!(limits.contains(&begun.elapsed()), "408 after {:?}", begun.elapsed());
            });
            idle.expect_closed_within(ms(5000));
            assert!(limits.contains(&begun.elapsed()), "idle for {:?}", begun.elapsed());
        });
        drop(conn);
    }
    let mut running = router.client();
    running.send(HEAD);
    let (_conn, _request) = origin.accept_request();
    let begun = Instant::now();
    router.signal(support::router::Signal::TERM);
    router.wait_log("draining");
    step(&router, DAY);
    assert!(router.wait_exit(DEADLINE).success());
    assert!((ms(1400)..ms(5000)).contains(&begun.elapsed()), "drained for {:?}", begun.elapsed());
}
