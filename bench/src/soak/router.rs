//! The router that is soaked: the real program, told by files and signals, asked by its log and by the kernel.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::origin::Place;
use super::world::Listens;
use crate::process::{Process, pause};
use crate::room::Room;

const START_TIME: Duration = Duration::from_secs(10);
/// From a signal to what it does, on a machine that is full.
const SIGNAL_TIME: Duration = Duration::from_secs(10);
const COUNTERS: &str = "counters: ";

/// A running router.
#[derive(Debug)]
pub struct Router {
    process: Process,
}

impl Router {
    /// It serves.
    pub fn start(path: &Path, file: &str, room: &Room) -> Result<Self, String> {
        let file = room.write("config.ini", file.as_bytes())?;
        let mut command = Command::new(path);
        command.arg("--config").arg(file).current_dir(room.path());
        let process = Process::spawn("router", command, room)?;
        wait("the router is not ready", START_TIME, || {
            process.must_run()?;
            Ok(process.output().lines().find(|line| *line == "ready").map(|_| ()))
        })?;
        Ok(Self { process })
    }

    pub fn must_run(&self) -> Result<(), String> {
        self.process.must_run()
    }

    pub fn pid(&self) -> u32 {
        self.process.session()
    }

    /// Where it said it listens.
    pub fn listens(&self, room: &Room) -> Result<Listens, String> {
        let output = self.process.output();
        let address = |name: &str| {
            let line = output.lines().find_map(|line| line.strip_prefix("listening on ")?.strip_prefix(name));
            line.ok_or_else(|| format!("the router does not listen on {name}"))?.trim().parse()
        };
        let guest = format!("unix:{}", room.path().join("guest.sock").display()).parse()?;
        Ok(Listens { tcp: address("tcp ")?, unix: address("unix ")?, bare: address("bare ")?, guest })
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Another file, and SIGHUP. In one step: a reload never sees half a file.
    pub fn reload(&self, file: &str, room: &Room) -> Result<(), String> {
        let new = room.write("config.new", file.as_bytes())?;
        fs::rename(&new, room.path().join("config.ini")).map_err(|error| format!("config.ini: {error}"))?;
        self.signal(Signal::HUP);
        Ok(())
    }

    /// Waits until a counter is as wanted.
    pub fn wait_until(&self, counter: &str, wanted: impl Fn(u64) -> bool) -> Result<(), String> {
        wait(&format!("{counter} as it should be"), SIGNAL_TIME, || {
            let counters = self.counters()?;
            Ok(counters.get(counter).is_some_and(|&value| wanted(value)).then_some(()))
        })
    }

    /// SIGUSR2, and what it says.
    pub fn counters(&self) -> Result<BTreeMap<String, u64>, String> {
        let before = self.process.log_length();
        self.signal(Signal::USR2);
        wait("the counters do not come", SIGNAL_TIME, || {
            self.must_run()?;
            let log = self.process.log_from(before);
            let whole = log.rfind('\n').map_or("", |end| &log[..end]);
            Ok(whole.lines().find_map(|line| line.split_once(COUNTERS)).map(|(_, pairs)| {
                let pair =
                    |pair: &str| pair.split_once('=').and_then(|(key, n)| Some((key.to_owned(), n.parse().ok()?)));
                pairs.split_whitespace().filter_map(pair).collect()
            }))
        })
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        self.process.log_from(0)
    }

    /// SIGTERM, and how long it took.
    pub fn stop(&mut self, limit: Duration) -> Result<(ExitStatus, Duration), String> {
        let begun = Instant::now();
        self.signal(Signal::TERM);
        let status = self.process.finish(limit)?;
        Ok((status, begun.elapsed()))
    }
}

/// Asks again until there is an answer.
pub fn wait<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Result<Option<T>, String>) -> Result<T, String> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            return Err(format!("not within {} s: {what}", limit.as_secs()));
        }
        pause()?;
    }
}

/// Lines of a log that must not be there: a warning, an error, or no line of a log, but for what was done to it. `killable`
/// are the origins to which connecting may have failed; of many such lines a second the log tells only how many.
pub fn unexpected<'a>(log: &'a str, killable: &[&Place]) -> Vec<&'a str> {
    let excused = |line: &&str| {
        let connecting = killable.iter().any(|place| {
            line.contains(&format!("pool {}: connecting to {} ", place.pool, place.address))
                || line.contains(&format!("[WARN ] {}: ", place.address)) && line.contains(" more lines like this ")
        });
        let refused = line.contains("[ERROR] reload: ");
        // Asking for the counters lets other lines of that level through.
        connecting || refused || line.contains("[INFO ] ")
    };
    log.lines().filter(|line| !excused(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::stream::Address;

    #[test]
    fn only_what_was_done_to_it_may_be_in_the_log() {
        let place = |pool, port: u16| Place { name: pool, pool, address: Address::Tcp(([127, 0, 0, 1], port).into()) };
        let (red, calm) = (place("red", 7), place("calm", 8));
        let line = |place: &Place| format!("t [WARN ] pool {}: connecting to {} (b): c", place.pool, place.address);
        let more = |place: &Place| format!("t [WARN ] {}: 9 more lines like this were left out", place.address);
        let fine = format!("{}\n{}\nt [ERROR] reload: x\nt [INFO ] counters: a=1\n", line(&red), more(&red));
        assert_eq!(unexpected(&fine, &[&red]), [""; 0]);
        for bad in [line(&calm), more(&calm), "thread 'w1.req' panicked at".into(), "t [ERROR] a fault".into()] {
            assert_eq!(unexpected(&format!("{fine}{bad}\n"), &[&red]), [bad]);
        }
    }
}
