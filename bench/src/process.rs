//! A program that we started: in a session of its own, its output in files, ended by its process id when dropped.
//!
//! A session of its own is a scheduling group of its own (sched_autogroup): with one group for all, the load
//! generator and the proxy would be weighed thread by thread, and who has more threads would get more of the machine.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal};

use crate::proc;
use crate::room::Room;

/// How often we look whether something has happened.
const POLL: Duration = Duration::from_millis(5);
/// What a program gets between SIGTERM and SIGKILL.
const STOP_TIME: Duration = Duration::from_secs(3);
/// What is quoted of a program's output when it failed.
const QUOTED_LINES: usize = 8;
/// More descriptors than this help nobody, and some programs take memory for each.
const DESCRIPTORS: u64 = 65_536;

/// A running program, its session and its output.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    /// Nobody else has this process id before that.
    reaped: bool,
    out: PathBuf,
    err: PathBuf,
}

impl Process {
    /// Output goes to files in the room: a pipe that nobody reads would stop the program.
    pub fn spawn(name: &str, mut command: Command, room: &Room) -> Result<Self, String> {
        let (out, err) = (room.path().join(format!("{name}.out")), room.path().join(format!("{name}.err")));
        let file = |path| File::create(path).map_err(|error| format!("{name}: {error}"));
        command.stdin(Stdio::null()).stdout(file(&out)?).stderr(file(&err)?);
        leave(&mut command);
        let program = command.get_program().to_owned();
        let child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
        Ok(Self { name: name.to_owned(), child, reaped: false, out, err })
    }

    /// The session it and its children are in; also its process id.
    pub fn session(&self) -> u32 {
        self.child.id()
    }

    /// An error with its last words, once it has ended.
    pub fn must_run(&self) -> Result<(), String> {
        if self.ended() { Err(format!("{} has ended: {}", self.name, self.last_words())) } else { Ok(()) }
    }

    /// What it wrote to stderr so far, from this byte on.
    pub fn log_from(&self, at: u64) -> String {
        let mut bytes = Vec::new();
        let read = File::open(&self.err).and_then(|mut file| {
            file.seek(SeekFrom::Start(at))?;
            file.read_to_end(&mut bytes)
        });
        if read.is_ok() { String::from_utf8_lossy(&bytes).into_owned() } else { String::new() }
    }

    /// How many bytes that are.
    pub fn log_length(&self) -> u64 {
        fs::metadata(&self.err).map_or(0, |file| file.len())
    }

    /// What it wrote to stdout so far.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.out).unwrap_or_default()
    }

    /// The end of what it wrote to stderr, or to stdout if it wrote nothing there.
    pub fn last_words(&self) -> String {
        let said = fs::read_to_string(&self.err).ok().filter(|said| !said.trim().is_empty());
        let said = said.unwrap_or_else(|| self.output());
        let lines: Vec<&str> = said.lines().collect();
        match &lines[lines.len().saturating_sub(QUOTED_LINES)..] {
            [] => "it said nothing".to_owned(),
            last => last.join("\n"),
        }
    }

    pub fn signal(&self, signal: Signal) {
        end(self.child.id(), signal);
    }

    /// SIGKILL, to it and its children; it is reaped.
    pub fn kill(&mut self) -> Result<(), String> {
        kill_session(self.session());
        self.finish(STOP_TIME).map(|_| ())
    }

    /// Waits for its end.
    pub fn finish(&mut self, limit: Duration) -> Result<ExitStatus, String> {
        let deadline = Instant::now() + limit;
        while !self.ended() {
            if Instant::now() > deadline {
                return Err(format!("{} did not end within {} s", self.name, limit.as_secs()));
            }
            pause()?;
        }
        let status = self.child.wait().map_err(|error| format!("{}: {error}", self.name))?;
        self.reaped = true;
        Ok(status)
    }

    /// Ended, but its process id is still its own: a zombie until we reap it.
    fn ended(&self) -> bool {
        self.reaped || proc::stat(self.child.id()).is_none_or(|stat| stat.ended())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        // The leader is asked first, since some tidy up; then all that is left of its session is killed.
        end(self.child.id(), Signal::TERM);
        let deadline = Instant::now() + STOP_TIME;
        while Instant::now() < deadline && !proc::living(self.session()).is_empty() {
            sleep(POLL);
        }
        kill_session(self.session());
        let _reaped = self.child.wait();
    }
}

/// A moment, or the end of everything when we were asked to stop.
pub fn pause() -> Result<(), String> {
    if interrupted() {
        return Err("interrupted".to_owned());
    }
    sleep(POLL);
    Ok(())
}

/// As `pause`, for as long as that.
pub fn pause_for(time: Duration) -> Result<(), String> {
    let deadline = Instant::now() + time;
    while Instant::now() < deadline {
        pause()?;
    }
    Ok(())
}

/// As many descriptors as may be had, for us and whatever we start; how many.
pub fn raise_descriptors() -> u64 {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let (soft, hard) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    let wanted = hard.min(DESCRIPTORS).max(soft);
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
    if rustix::process::setrlimit(Resource::Nofile, raised).is_ok() { wanted } else { soft }
}

/// Not only the leader: a worker that outlived its master would be measured with the next candidate. They are gone when
/// this returns, for a signal sent is not an end; and whoever was forked between a look and its signal is seen by the next.
fn kill_session(session: u32) {
    let deadline = Instant::now() + STOP_TIME;
    loop {
        let living = proc::living(session);
        if living.is_empty() || Instant::now() > deadline {
            return;
        }
        living.into_iter().for_each(|pid| end(pid, Signal::KILL));
        sleep(POLL);
    }
}

fn end(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended meanwhile: that is what we want.
        let _gone = rustix::process::kill_process(pid, signal);
    }
}

/// Before it is executed, the program leaves our session, and will be told when we end without having told it.
#[expect(unsafe_code, reason = "what a child does between fork and exec can only be said this way")]
fn leave(command: &mut Command) {
    let leave = || {
        rustix::process::setsid()?;
        rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
        Ok(())
    };
    // SAFETY: between fork and exec only what is async-signal-safe may be done: these are two system calls, and an
    // error of theirs is a number, not an allocation.
    unsafe { command.pre_exec(leave) };
}

/// Whether we were asked to stop.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Relaxed)
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn interrupt(_signal: libc::c_int) {
    INTERRUPTED.store(true, Relaxed);
}

/// From here on, SIGINT, SIGTERM and SIGHUP end us by way of `pause`, so that everything is dropped.
#[expect(unsafe_code, reason = "std knows no signals")]
pub fn handle_interrupts() {
    let handler: extern "C" fn(libc::c_int) = interrupt;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler stores to an atomic and does nothing else, which is async-signal-safe.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_program_and_its_children_end_with_us_also_on_panic() {
        let session = std::thread::spawn(|| {
            let room = Room::new("process").unwrap();
            let process = Process::spawn("sh", shell("sleep 60 & echo started; wait"), &room).unwrap();
            while process.output().trim() != "started" {
                pause().unwrap();
            }
            assert_eq!(proc::living(process.session()).len(), 2);
            std::panic::panic_any(process.session());
        })
        .join()
        .unwrap_err()
        .downcast::<u32>()
        .unwrap();
        assert_eq!(proc::living(*session), []);
    }

    #[test]
    fn what_ended_is_told_with_its_last_words() {
        let room = Room::new("process").unwrap();
        let mut process = Process::spawn("sh", shell("echo why >&2; exit 3"), &room).unwrap();
        while process.must_run().is_ok() {
            pause().unwrap();
        }
        assert_eq!(process.must_run(), Err("sh has ended: why".to_owned()));
        assert_eq!(process.finish(Duration::ZERO).unwrap().code(), Some(3));
    }

    #[test]
    fn what_does_not_end_is_an_error() {
        let room = Room::new("process").unwrap();
        let mut process = Process::spawn("sleep", shell("exec sleep 60"), &room).unwrap();
        let error = process.finish(Duration::from_millis(20)).unwrap_err();
        assert!(error.contains("did not end"), "{error}");
    }
}
