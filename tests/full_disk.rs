//! Both logs on a disk that is really full: 128 KB that are mounted for one router alone. (`shortage` has /dev/full, which never
//! has room again and takes no part of a line.)

mod support;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use support::programs::as_root;
use support::router::{Signal, one_pool};
use support::{DEADLINE, Origin, Router, ServingOrigin, Setup, TempDir, eventually, ms, reply};

/// A router whose logs are on a disk of its own, as only it sees it.
struct OnSmallDisk {
    router: Router,
    access: PathBuf,
    log: PathBuf,
    /// What somebody else has on it, a page each.
    ballast: Vec<PathBuf>,
}

impl OnSmallDisk {
    #[track_caller]
    fn start(origin: &ServingOrigin) -> Self {
        let dir = TempDir::new();
        let disk = dir.file("disk");
        std::fs::create_dir(&disk).expect("a directory");
        let script = format!("mount -t tmpfs -o size=128k none {disk} && exec \"$@\"");
        let through = ["unshare", "-m", "sh", "-c", &script, "sh"];
        let ini = one_pool(origin, &format!("[log]\naccess = {disk}/access\nfile = {disk}/log\n"));
        let router = Router::start_in(dir, &ini, &Setup { through: &through, ..Setup::default() });
        let seen = |name: &str| PathBuf::from(format!("/proc/{}/root{disk}/{name}", router.pid()));
        let ballast: Vec<PathBuf> = (0..8).map(|n| seen(&format!("ballast-{n}"))).collect();
        ballast.iter().for_each(|file| std::fs::write(file, [0; 4096]).expect("there is room yet"));
        Self { access: seen("access"), log: seen("log"), ballast, router }
    }

    fn access(&self) -> String {
        std::fs::read_to_string(&self.access).expect("ASCII")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("UTF-8")
    }

    /// Requests until the access log has all there is.
    fn fill(&self) {
        eventually("a full disk", DEADLINE, || {
            ask(&self.router, 30);
            let len = std::fs::metadata(&self.access).expect("it is there").len();
            (len > 30_000 && len.is_multiple_of(4096)).then_some(())
        });
    }

    /// Then lines of the log, until the page that it has is full as well.
    fn fill_log(&self) {
        eventually("a full log", DEADLINE, || {
            self.router.signal(Signal::USR2);
            let len = std::fs::metadata(&self.log).expect("it is there").len();
            (len > 0 && len.is_multiple_of(4096)).then_some(())
        });
    }

    /// Lines come again, and none of them is torn. What was still in the queue may take the room at once: then there is more.
    #[track_caller]
    fn is_written_again(&self, path: &str, make_room: impl Fn()) {
        eventually("lines of both", DEADLINE, || {
            if rustix::fs::statvfs(&self.access).expect("a disk").f_bavail == 0 {
                make_room();
            }
            assert_eq!(self.router.client().get(path).status, 200);
            self.router.signal(Signal::USR2);
            (self.access().contains(&format!("GET {path} ")) && self.log().contains("counters:")).then_some(())
        });
        // The last may be on its way.
        let (access, log) = (self.access(), self.log());
        let whole = |text: &str| text.rsplit_once('\n').map_or(String::new(), |(whole, _)| whole.to_owned());
        for line in whole(&access).lines().filter(|line| !line.is_empty()) {
            assert!(line.starts_with("127.0.0.1 - - [") && line.ends_with(" gen=1"), "torn: {line}\nin {access}");
        }
        for line in whole(&log).lines().filter(|line| !line.is_empty()) {
            assert!(line.starts_with("20") && line.get(24..26) == Some(" ["), "torn: {line}\nin {log}");
        }
    }
}

/// Asks so many times with a long path, which the access log has in each line.
fn ask(router: &Router, times: usize) -> Duration {
    let (mut client, path) = (router.client(), format!("/{}", "x".repeat(3000)));
    let begun = Instant::now();
    for _ in 0..times {
        assert_eq!(client.get(&path).status, 200);
    }
    begun.elapsed()
}

#[test]
fn a_disk_that_is_full_costs_lines_and_no_requests_and_is_written_again_when_it_has_room() {
    if !as_root("a disk of its own") {
        return;
    }
    let origin = Origin::serve(|_| reply(200, &[], "ok"));
    let small = OnSmallDisk::start(&origin);
    small.fill();
    // Said where there was still room, and once.
    let lost = "access log: ";
    let complaint =
        eventually("a complaint", DEADLINE, || small.log().lines().find(|line| line.contains(lost)).map(str::to_owned));
    assert!(complaint.ends_with("lines are lost: No space left on device (os error 28)"), "{complaint}");
    small.fill_log();
    assert_eq!(small.log().matches(lost).count(), 1);
    // Nobody waits for a disk.
    let without = Router::to(&origin);
    let (mut full, mut off) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        full.push(ask(&small.router, 300));
        off.push(ask(&without, 300));
    }
    let (full, off) = (full.into_iter().min().expect("three"), off.into_iter().min().expect("three"));
    assert!(full < 4 * off + ms(300), "{full:?} with full logs, {off:?} without");
    // Somebody makes room, and more, should what is still in the queue take it: what was torn when there was none is a line of
    // its own.
    let mut ballast = small.ballast.iter();
    let own = eventually("a line behind it, and what the log says of itself", DEADLINE, || {
        ballast.by_ref().take(1).for_each(|file| std::fs::remove_file(file).expect("removed"));
        assert_eq!(small.router.client().get("/room").status, 200);
        small.router.signal(Signal::USR2);
        let own = small.log().lines().find(|line| line.contains("] this log: ")).map(str::to_owned);
        own.filter(|own| own.ends_with("(os error 28)") && small.access().contains("GET /room "))
    });
    assert!(own.ends_with("lines are lost: No space left on device (os error 28)"), "{own}");
    let access = small.access();
    assert!(access.lines().all(|line| line.matches("127.0.0.1 - - [").count() <= 1), "joined:\n{access}");
    small.fill();
    small.fill_log();
    // Somebody empties the files.
    small.is_written_again("/emptied", || {
        for file in [&small.access, &small.log] {
            std::fs::File::options().write(true).open(file).and_then(|file| file.set_len(0)).expect("emptied");
        }
    });
    // Each loss is in the counters.
    let log = small.log();
    let counters = log.lines().rev().find(|line| line.contains("counters:")).expect("just seen");
    let count = |key: &str| {
        let word = counters.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        word.and_then(|number| number.parse::<u64>().ok()).unwrap_or_else(|| panic!("no {key} in {counters}"))
    };
    assert!(count("access_dropped") >= 900 && count("log_dropped") >= 1, "{counters}");
    assert_eq!(log.matches("lines are lost").count(), 0, "once a minute, and it has been said: {log}");
    // Or takes them away and says so.
    small.fill();
    small.fill_log();
    for file in [&small.access, &small.log] {
        std::fs::remove_file(file).expect("removed");
    }
    small.router.signal(Signal::USR1);
    eventually("new files", DEADLINE, || (small.access.exists() && small.log.exists()).then_some(()));
    small.is_written_again("/opened-again", || {});
    assert!(!small.access().starts_with('\n') && !small.log().starts_with('\n'), "what was torn was in the old files");
}
