//! Programs that nobody here wrote: found, run to their end, or kept running as backends on a port that was free.

use std::ffi::OsStr;
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::router::TempDir;
use super::{eventually, fill, ms};

/// What a program gets that is to end by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where `name` is. Absent, it fails the test when CI is set; else the test prints `SKIPPED name` and is to return.
#[track_caller]
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]);
    let found = places.map(|place| place.join(name)).find(|file| file.is_file());
    if found.is_none() {
        skip(name, &format!("{name} is not installed"));
    }
    found
}

/// Says that something is not here: a failure when CI is set, `SKIPPED name` otherwise.
#[track_caller]
pub fn skip(name: &str, why: &str) {
    assert!(std::env::var_os("CI").as_deref() != Some(OsStr::new("true")), "{why}");
    println!("SKIPPED {name}");
}

/// Whether this runs as root, for `what`; else it is not here, as an absent program is.
#[track_caller]
pub fn as_root(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip("root", &format!("{what} needs root"));
    }
    root
}

/// What a program left behind.
#[derive(Debug)]
pub struct Output {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Output {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Runs a program to its end, which must be good and come in time.
#[track_caller]
pub fn finish(command: &mut Command, stdin: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("start {command:?}: {e}"));
    let stdout = drain(child.stdout.take().expect("piped"));
    let stderr = drain(child.stderr.take().expect("piped"));
    let mut pipe = child.stdin.take().expect("piped");
    let until = Instant::now() + PATIENCE;
    let code = std::thread::scope(|scope| {
        // A program may end without reading all of it; the pipe closes with this thread.
        scope.spawn(move || pipe.write_all(stdin));
        loop {
            if let Some(status) = child.try_wait().expect("wait") {
                break status.code();
            }
            if Instant::now() > until {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            std::thread::sleep(ms(2));
        }
    });
    let stderr = String::from_utf8_lossy(&stderr.join().expect("read")).into_owned();
    let output = Output { code, stdout: stdout.join().expect("read"), stderr };
    assert!(output.code == Some(0), "{command:?} ended with {code:?}\n{}\n{}", shorten(&output.text()), output.stderr);
    output
}

fn drain(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        let _ = pipe.read_to_end(&mut all);
        all
    })
}

fn shorten(text: &str) -> String {
    text.chars().take(500).collect()
}

/// curl, quiet but for errors, as nobody's configuration has it.
pub fn curl() -> Option<Command> {
    let mut command = Command::new(find("curl")?);
    command.args(["--disable", "--silent", "--show-error", "--noproxy", "*", "--max-time", "50"]);
    Some(command)
}

/// What wrk says of its own errors, which must be nothing; the requests it counted.
#[track_caller]
pub fn wrk_without_errors(command: &mut Command) -> u64 {
    let said = finish(command, b"").text();
    assert!(!said.contains("Socket errors") && !said.contains("Non-2xx"), "{command:?}\n{said}");
    let counted = said.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok());
    counted.unwrap_or_else(|| panic!("no count of requests in\n{said}"))
}

/// A backend in a process of its own, gone when this is.
#[derive(Debug)]
pub struct Backend {
    child: Child,
    address: String,
    readers: Vec<JoinHandle<Vec<u8>>>,
}

impl Backend {
    /// nginx serving `dir` on TCP, and on `nginx.sock` in it; PUT stores a file.
    #[track_caller]
    pub fn nginx(dir: &TempDir) -> Option<Self> {
        let program = find("nginx")?;
        // nginx takes no port 0, but it takes over a listening socket, as in an upgrade of its binary: ours is its stdin.
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("local address").to_string();
        let file = dir.write("nginx.conf", fill(NGINX, &[("ADDRESS", &address), ("DIR", &dir.path().display())]));
        let mut command = Command::new(program);
        command.args(["-e", "stderr", "-p"]).arg(dir.path()).args(["-c", &file]).env("NGINX", "0;");
        let backend = Self::start(command.stdin(OwnedFd::from(listener)), |_| address);
        let socket = dir.file("nginx.sock");
        eventually("nginx listens", PATIENCE, || std::os::unix::net::UnixStream::connect(&socket).ok());
        Some(backend)
    }

    /// Node in `dir`, with a script of ours that calls `listen(0)` and prints the port.
    #[track_caller]
    pub fn node(dir: &TempDir, script: &str) -> Option<Self> {
        let mut command = Command::new(find("node")?);
        command.args(["-e", script]).current_dir(dir.path());
        Some(Self::start(command.stdin(Stdio::null()), |stdout| {
            let port = first_line(stdout);
            format!("127.0.0.1:{}", port.trim())
        }))
    }

    /// Python's http.server on `dir`.
    #[track_caller]
    pub fn python(dir: &TempDir, protocol: &str) -> Option<Self> {
        let mut command = Command::new(find("python3")?);
        command.args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--protocol", protocol]);
        Some(Self::start(command.current_dir(dir.path()).stdin(Stdio::null()), |stdout| {
            // Serving HTTP on 127.0.0.1 port 38123 (http://127.0.0.1:38123/) ...
            let line = first_line(stdout);
            let port = line.split_once(" port ").and_then(|(_, rest)| rest.split(' ').next());
            format!("127.0.0.1:{}", port.unwrap_or_else(|| panic!("python said {line:?}")))
        }))
    }

    #[track_caller]
    fn start(command: &mut Command, address: impl FnOnce(&mut BufReader<ChildStdout>) -> String) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("start {command:?}: {e}"));
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let stderr: ChildStderr = child.stderr.take().expect("piped");
        let errors = drain(stderr);
        let address = address(&mut stdout);
        Self { child, address, readers: vec![drain(stdout), errors] }
    }
}

/// Waits for the line, or for the end of a program that failed.
fn first_line(stdout: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    stdout.read_line(&mut line).expect("stdout");
    line
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // Not SIGKILL: nginx is to take its worker with it.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let said = reader.join().unwrap_or_default();
            if std::thread::panicking() {
                eprintln!("--- the backend said:\n{}---", shorten(&String::from_utf8_lossy(&said)));
            }
        }
    }
}

/// Every path in its directory; the user matters only to root. (A process without a master takes over no socket.)
const NGINX: &str = "\
daemon off;
worker_processes 1;
user root;
pid ${DIR}/nginx.pid;
events { worker_connections 8192; }
http {
    access_log off;
    default_type application/octet-stream;
    client_body_temp_path ${DIR}/nginx-body;
    proxy_temp_path ${DIR}/nginx-proxy;
    fastcgi_temp_path ${DIR}/nginx-fastcgi;
    uwsgi_temp_path ${DIR}/nginx-uwsgi;
    scgi_temp_path ${DIR}/nginx-scgi;
    client_max_body_size 0;
    keepalive_requests 1000000000;
    server {
        listen ${ADDRESS} backlog=4096;
        listen unix:${DIR}/nginx.sock;
        root ${DIR};
        location = /ok { return 200 \"ok\"; }
        location /put/ { dav_methods PUT; create_full_put_path on; }
    }
}
";
