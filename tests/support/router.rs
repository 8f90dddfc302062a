//! The router as a process: started on a file of its own, watched through stdout and stderr, ended in Drop.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use rustix::process::Signal;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, kill_process, prlimit};

use super::rest::Footprint;
use super::{Client, DEADLINE, eventually, ms};

/// The product's binary.
pub const BINARY: &str = env!("CARGO_BIN_EXE_layer7router");

/// A directory for one test: its configuration, sockets and logs.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Short: the path of a Unix socket has 108 bytes.
        let name = format!("l7r-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("temporary directory");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of a file in here, as text.
    pub fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("UTF-8").to_owned()
    }

    /// Writes a file in here and returns its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.file(name);
        std::fs::write(&path, content).unwrap_or_else(|e| panic!("write {path}: {e}"));
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What may differ from `layer7router run -c FILE`.
#[derive(Debug, Default)]
pub struct Setup<'a> {
    /// In place of `run -c FILE`.
    pub args: Option<&'a [&'a str]>,
    /// After it.
    pub more_args: &'a [&'a str],
    /// RLIMIT_NOFILE, soft and hard.
    pub open_files: Option<u32>,
    /// RLIMIT_NOFILE, soft alone.
    pub soft_open_files: Option<u32>,
    /// A program and its arguments that the binary is started through, and that leaves it its process id.
    pub through: &'a [&'a str],
    /// In place of /dev/null.
    pub stdin: Option<OwnedFd>,
    /// Environment variables.
    pub env: &'a [(&'a str, &'a str)],
}

/// A running router.
pub struct Router {
    child: Child,
    stdout: Arc<Lines>,
    stderr: Arc<Lines>,
    readers: Vec<JoinHandle<()>>,
    dir: TempDir,
    at_start: Option<Footprint>,
}

impl Router {
    /// Starts on this file and waits until it serves. A file without `[server]` gets one with 8 workers, at its end,
    /// so that line numbers stay as written.
    #[track_caller]
    pub fn start(ini: &str) -> Self {
        Self::start_with(ini, &Setup::default())
    }

    #[track_caller]
    pub fn start_with(ini: &str, setup: &Setup) -> Self {
        Self::start_in(TempDir::new(), ini, setup)
    }

    /// As [`Router::start_with`], with a directory that the file could already name.
    #[track_caller]
    pub fn start_in(dir: TempDir, ini: &str, setup: &Setup) -> Self {
        let mut router = Self::spawn(dir, ini, setup);
        let ready = router.stdout.wait(0, DEADLINE, |line| line == "ready");
        if ready.is_none() {
            panic!("the router did not get ready\nstdout:\n{}\nstderr:\n{}", router.stdout.text(), router.log());
        }
        router.at_start = Some(Footprint::at_start(router.pid(), router.listeners().len()));
        router
    }

    /// Starts without waiting for anything.
    pub fn spawn(dir: TempDir, ini: &str, setup: &Setup) -> Self {
        let file = dir.write("config.ini", with_server(ini));
        let standard = ["run", "-c", &file];
        let args = [setup.args.unwrap_or(&standard), setup.more_args].concat();
        let mut child = spawn(&dir, &args, setup);
        let (stdout, stderr) = (Arc::<Lines>::default(), Arc::<Lines>::default());
        let readers = vec![
            stdout.fill_from(child.stdout.take().expect("piped")),
            stderr.fill_from(child.stderr.take().expect("piped")),
        ];
        Self { child, stdout, stderr, readers, dir, at_start: None }
    }

    /// One listener, one pool, this backend.
    #[track_caller]
    pub fn to(backend: &impl std::fmt::Display) -> Self {
        Self::to_with(backend, "")
    }

    /// As [`Router::to`], followed by more sections.
    #[track_caller]
    pub fn to_with(backend: &impl std::fmt::Display, more: &str) -> Self {
        Self::start(&one_pool(backend, more))
    }

    /// Each `listening on NAME ADDRESS`, in order.
    pub fn listeners(&self) -> Vec<(String, String)> {
        let listening = |line: &String| {
            let (name, address) = line.strip_prefix("listening on ")?.split_once(' ')?;
            Some((name.to_owned(), address.to_owned()))
        };
        self.stdout.all().iter().filter_map(listening).collect()
    }

    /// The first address of `[listen:NAME]`.
    #[track_caller]
    pub fn address_of(&self, name: &str) -> String {
        let listeners = self.listeners();
        match listeners.iter().find(|(n, _)| n == name) {
            Some((_, address)) => address.clone(),
            None => panic!("no listener {name} in {listeners:?}"),
        }
    }

    /// The first address of all.
    #[track_caller]
    pub fn address(&self) -> String {
        self.listeners().first().expect("a listener").1.clone()
    }

    pub fn port(&self) -> u16 {
        self.address().rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port")
    }

    /// A new connection to the first address.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(&self.address())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap_or_else(|e| panic!("{signal:?}: {e}"));
    }

    /// SIGTERM, then the exit status.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_exit(DEADLINE)
    }

    #[track_caller]
    pub fn wait_exit(&mut self, within: Duration) -> ExitStatus {
        match wait(&mut self.child, within) {
            Some(status) => status,
            None => panic!("the router still runs after {within:?}; its log:\n{}", self.log()),
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_none()
    }

    /// The directory of the configuration file.
    pub fn dir(&self) -> &TempDir {
        &self.dir
    }

    /// Replaces the file; the router does not know yet.
    pub fn write_config(&self, ini: &str) {
        // In one step: a reload never sees half a file.
        let new = self.dir.write("config.ini.new", with_server(ini));
        std::fs::rename(new, self.dir.file("config.ini")).expect("rename");
    }

    /// Replaces the file by exactly these bytes.
    pub fn write_config_bytes(&self, bytes: impl AsRef<[u8]>) {
        let new = self.dir.write("config.ini.new", bytes);
        std::fs::rename(new, self.dir.file("config.ini")).expect("rename");
    }

    /// Replaces the file, sends SIGHUP, waits until the new generation is in force.
    #[track_caller]
    pub fn reload(&self, ini: &str) {
        let before = self.counters()["generation"];
        self.write_config(ini);
        self.signal(Signal::HUP);
        eventually("a new generation", DEADLINE, || (self.counters()["generation"] > before).then_some(()));
    }

    /// Lowers its limit of open files to those that it has; what the limit was.
    #[track_caller]
    pub fn leave_no_descriptor(&self) -> Rlimit {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("a running process");
        let open: Vec<u64> = open.filter_map(|fd| fd.ok()?.file_name().to_str()?.parse().ok()).collect();
        let limit = (0..).find(|fd| !open.contains(fd));
        let maximum = getrlimit(Resource::Nofile).maximum;
        self.limit_descriptors(Rlimit { current: limit, maximum })
    }

    /// Sets its limit of open files; what it was.
    #[track_caller]
    pub fn limit_descriptors(&self, limit: Rlimit) -> Rlimit {
        prlimit(Some(Pid::from_child(&self.child)), Resource::Nofile, limit).expect("it is ours")
    }

    /// Processor time that it has used so far.
    #[track_caller]
    pub fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("a running process");
        let fields: Vec<&str> = stat.rsplit_once(") ").expect("proc(5)").1.split(' ').collect();
        let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
        Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second()).expect("a hundred")
    }

    /// All of stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// The first line of stdout with `text` in it, waiting for it.
    #[track_caller]
    pub fn wait_stdout(&self, text: &str) -> String {
        match self.stdout.wait(0, DEADLINE, |line| line.contains(text)) {
            Some(line) => line,
            None => panic!("no {text:?} on stdout:\n{}", self.stdout.text()),
        }
    }

    /// The log (stderr) so far.
    pub fn log(&self) -> String {
        self.stderr.text()
    }

    /// The first line of the log with `text` in it, waiting for it.
    #[track_caller]
    pub fn wait_log(&self, text: &str) -> String {
        self.wait_log_after(0, text)
    }

    /// How many lines the log has: a mark for [`Router::wait_log_after`].
    pub fn log_mark(&self) -> usize {
        self.stderr.all().len()
    }

    /// As [`Router::wait_log`], from a mark on.
    #[track_caller]
    pub fn wait_log_after(&self, mark: usize, text: &str) -> String {
        match self.stderr.wait(mark, DEADLINE, |line| line.contains(text)) {
            Some(line) => line,
            None => panic!("no {text:?} in the log:\n{}", self.log()),
        }
    }

    /// SIGUSR2, and what it makes the router say.
    #[track_caller]
    pub fn counters(&self) -> HashMap<String, u64> {
        let mark = self.log_mark();
        self.signal(Signal::USR2);
        let line = self.wait_log_after(mark, "counters:");
        let (_, pairs) = line.split_once("counters:").expect("just seen");
        let pair = |word: &str| {
            let (key, value) = word.split_once('=')?;
            Some((key.to_owned(), value.parse().ok()?))
        };
        pairs.split_whitespace().filter_map(pair).collect()
    }

    /// One counter, which must be there.
    #[track_caller]
    pub fn counter(&self, key: &str) -> u64 {
        let counters = self.counters();
        *counters.get(key).unwrap_or_else(|| panic!("no {key} in {counters:?}"))
    }

    /// Waits until a counter satisfies `good`.
    #[track_caller]
    pub fn wait_counter(&self, key: &str, good: impl Fn(u64) -> bool) -> u64 {
        eventually(&format!("counter {key}"), DEADLINE, || Some(self.counter(key)).filter(|&n| good(n)))
    }

    /// What the kernel knew of it when it was ready.
    #[track_caller]
    pub fn footprint_at_start(&self) -> Footprint {
        self.at_start.expect("it was waited for until it was ready")
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        if std::thread::panicking() {
            eprintln!("--- the router's log:\n{}---", self.log());
        }
    }
}

/// The smallest file that sends everything from a free port to `backend`.
pub fn one_pool(backend: &impl std::fmt::Display, more: &str) -> String {
    format!("[listen:http]\naddress = 127.0.0.1:0\npool = app\n\n[pool:app]\nbackend = {backend}\n\n{more}\n")
}

fn with_server(ini: &str) -> String {
    if ini.lines().any(|line| line.trim() == "[server]") {
        ini.to_owned()
    } else {
        format!("{ini}\n[server]\nworkers = 8\n")
    }
}

/// The binary, under a limit of open files if one is given.
fn limited(setup: &Setup) -> Command {
    let limit = match (setup.open_files, setup.soft_open_files) {
        (Some(both), _) => format!("--nofile={both}:{both}"),
        (None, Some(soft)) => format!("--nofile={soft}:"),
        (None, None) => {
            let mut words = setup.through.iter().copied().chain([BINARY]);
            let mut command = Command::new(words.next().expect("the binary is one"));
            command.args(words);
            return command;
        }
    };
    // prlimit replaces itself by the program, so the child's pid stays the router's.
    let mut command = Command::new("prlimit");
    command.arg(limit).arg(BINARY);
    command
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Finished {
    /// `None`: killed by a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// The product's process with these arguments, in this directory, its output piped.
#[track_caller]
fn spawn(dir: &TempDir, args: &[&str], setup: &Setup) -> Child {
    let mut command = limited(setup);
    command.args(args).envs(setup.env.iter().copied()).current_dir(dir.path());
    command
        .stdin(setup.stdin.as_ref().map_or_else(Stdio::null, |fd| Stdio::from(fd.try_clone().expect("a copy"))))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("start {command:?}: {e}"))
}

/// Runs the binary to its end, which must come.
#[track_caller]
pub fn run(dir: &TempDir, args: &[&str], setup: &Setup) -> Finished {
    let mut child = spawn(dir, args, setup);
    let (stdout, stderr) = (Arc::<Lines>::default(), Arc::<Lines>::default());
    let readers =
        [stdout.fill_from(child.stdout.take().expect("piped")), stderr.fill_from(child.stderr.take().expect("piped"))];
    let status = wait(&mut child, DEADLINE);
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    for reader in readers {
        let _ = reader.join();
    }
    let (stdout, stderr) = (stdout.text(), stderr.text());
    match status {
        Some(status) => Finished { code: status.code(), stdout, stderr },
        None => panic!("{args:?} did not end\nstdout:\n{stdout}\nstderr:\n{stderr}"),
    }
}

fn wait(child: &mut Child, within: Duration) -> Option<ExitStatus> {
    let until = Instant::now() + within;
    loop {
        if let Some(status) = child.try_wait().expect("wait") {
            return Some(status);
        }
        if Instant::now() >= until {
            return None;
        }
        std::thread::sleep(ms(2));
    }
}

/// Lines that arrive on a pipe, for whoever waits for one of them.
#[derive(Debug, Default)]
struct Lines {
    lines: Mutex<(Vec<String>, bool)>,
    more: Condvar,
}

impl Lines {
    fn fill_from(self: &Arc<Self>, pipe: impl Read + Send + 'static) -> JoinHandle<()> {
        let lines = Arc::clone(self);
        std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while matches!(pipe.read_until(b'\n', &mut line), Ok(n) if n > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                line.clear();
                lines.lines.lock().expect("not poisoned").0.push(text);
                lines.more.notify_all();
            }
            lines.lines.lock().expect("not poisoned").1 = true;
            lines.more.notify_all();
        })
    }

    fn all(&self) -> Vec<String> {
        self.lines.lock().expect("not poisoned").0.clone()
    }

    fn text(&self) -> String {
        self.all().iter().map(|line| format!("{line}\n")).collect()
    }

    /// The first line from `mark` on that is `wanted`; `None` at the end of the pipe or of the time.
    fn wait(&self, mark: usize, within: Duration, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let until = Instant::now() + within;
        let mut guard = self.lines.lock().expect("not poisoned");
        let mut next = mark;
        loop {
            if let Some(line) = guard.0[next..].iter().find(|line| wanted(line)) {
                return Some(line.clone());
            }
            next = guard.0.len();
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || guard.1 {
                return None;
            }
            guard = self.more.wait_timeout(guard, left).expect("not poisoned").0;
        }
    }
}
