//! Output that cannot be written: a full disk, a reader that has left, a descriptor that only reads. Never a panic, and the
//! exit code says what became of the command.

mod support;

use std::fs::File;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use support::router::{BINARY, one_pool};
use support::{DEADLINE, Origin, TempDir, eventually, ms, reply};

const GOOD: &str = "[listen:http]\naddress = 127.0.0.1:0\npool = app\n\n[pool:app]\nbackend = 127.0.0.1:3000\n";

/// A disk without room.
fn full() -> Stdio {
    File::options().write(true).open("/dev/full").expect("/dev/full").into()
}

/// A pipe whose reader has left.
fn left() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

/// A descriptor that nobody can write to.
fn read_only() -> Stdio {
    File::open("/dev/null").expect("/dev/null").into()
}

/// Runs the binary to its end; what it said on those of its two outputs that are ours.
#[track_caller]
fn run(dir: &TempDir, args: &[&str], stdout: Stdio, stderr: Stdio) -> (ExitStatus, String, String) {
    let mut command = Command::new(BINARY);
    let command = command.args(args).current_dir(dir.path()).stdin(Stdio::null());
    let mut child = command.stdout(stdout).stderr(stderr).spawn().expect("started");
    let status = ended(&mut child);
    let text = |pipe: Option<Box<dyn std::io::Read>>| pipe.map(|p| std::io::read_to_string(p).expect("UTF-8"));
    let out = text(child.stdout.take().map(|pipe| Box::new(pipe) as _)).unwrap_or_default();
    let err = text(child.stderr.take().map(|pipe| Box::new(pipe) as _)).unwrap_or_default();
    (status, out, err)
}

#[track_caller]
fn ended(child: &mut Child) -> ExitStatus {
    let begun = Instant::now();
    eventually("its end", DEADLINE, || {
        let status = child.try_wait().expect("wait");
        if status.is_none() && begun.elapsed() > DEADLINE / 2 {
            child.kill().expect("it is ours");
        }
        status
    })
}

/// Each command that is asked for output, with a good file in its directory.
const COMMANDS: [&[&str]; 7] =
    [&["check"], &["-t"], &["config"], &["man"], &["completions", "bash"], &["--help"], &["--version"]];

#[test]
fn a_command_whose_output_is_lost_says_so_and_is_74() {
    let dir = TempDir::new();
    dir.write("config.ini", GOOD);
    for args in COMMANDS {
        for (stdout, why) in [(full(), "No space left on device"), (read_only(), "Bad file descriptor")] {
            let (status, _, said) = run(&dir, args, stdout, Stdio::piped());
            assert_eq!(status.code(), Some(74), "{args:?}: {status}, {said}");
            let line = format!("layer7router: standard output: {why}");
            assert!(said.starts_with(&line) && said.lines().count() == 1, "{args:?}: {said}");
        }
        let (status, ..) = run(&dir, args, full(), full());
        assert_eq!(status.code(), Some(74), "{args:?}: {status}");
    }
}

#[test]
fn a_command_whose_reader_has_left_ends_as_sigpipe_ends_others() {
    let dir = TempDir::new();
    dir.write("config.ini", GOOD);
    for args in COMMANDS {
        let (status, _, said) = run(&dir, args, left(), Stdio::piped());
        let signal = rustix::process::Signal::PIPE.as_raw();
        assert_eq!((status.signal(), said.as_str()), (Some(signal), ""), "{args:?}: {status}");
    }
}

#[test]
fn an_error_that_nobody_can_read_keeps_its_exit_code() {
    let dir = TempDir::new();
    dir.write("config.ini", GOOD.replace("backend", "bakend"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("an address").to_string();
    dir.write("taken.ini", GOOD.replace("127.0.0.1:0", &address));
    let empty = TempDir::new();
    for (dir, args, code) in [
        (&dir, &["check"][..], 78),
        (&dir, &["-t"], 78),
        (&dir, &["config"], 78),
        (&dir, &["run"], 78),
        (&dir, &[], 78),
        (&empty, &["run"], 78),
        (&dir, &["run", "-c", "taken.ini"], 1),
        (&dir, &["--nonsense"], 2),
        (&dir, &["completions", "nonsense"], 2),
    ] {
        for stderr in [full, left, read_only] {
            let (status, ..) = run(dir, args, Stdio::piped(), stderr());
            assert_eq!(status.code(), Some(code), "{args:?}: {status}");
        }
    }
}

#[test]
fn a_pipe_that_somebody_else_made_nonblocking_gets_all_of_it() {
    let dir = TempDir::new();
    dir.write("config.ini", GOOD);
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
    rustix::io::ioctl_fionbio(&writer, true).expect("a flag");
    // Full before it begins, so that its first write is told so.
    let mut before = 0;
    while let Ok(n) = writer.write(&[b'x'; 4096]) {
        before += n;
    }
    // The command goes at the end of the line, and our end of the writer with it.
    let mut child = Command::new(BINARY).arg("config").current_dir(dir.path()).stdout(writer).spawn().expect("started");
    let begun = Instant::now();
    while begun.elapsed() < ms(300) {
        assert!(child.try_wait().expect("wait").is_none(), "it did not wait for room");
        std::thread::sleep(ms(10));
    }
    let text = std::io::read_to_string(&mut reader).expect("UTF-8");
    assert_eq!(ended(&mut child).code(), Some(0));
    let whole = run(&dir, &["config"], Stdio::piped(), Stdio::inherit()).1;
    assert_eq!(text.get(before..), Some(whole.as_str()));
}

#[test]
fn a_router_whose_output_nobody_reads_runs_and_is_asked_to_stop() {
    let origin = Origin::serve(|_| reply(200, &[], "ok"));
    for output in [full, left, read_only] {
        let dir = TempDir::new();
        let socket = dir.file("s");
        dir.write(
            "config.ini",
            one_pool(&origin, "[server]\nworkers = 1\n").replace("127.0.0.1:0", &format!("unix:{socket}")),
        );
        let mut child = Command::new(BINARY);
        let mut child = child.current_dir(dir.path()).stdout(output()).stderr(output()).spawn().expect("started");
        eventually("its socket", DEADLINE, || std::os::unix::net::UnixStream::connect(&socket).ok());
        assert_eq!(support::Client::connect(&format!("unix:{socket}")).get("/").status, 200);
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        let status = ended(&mut child);
        assert_eq!(status.code(), Some(0), "{status}");
    }
}
