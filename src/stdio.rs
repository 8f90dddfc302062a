//! Standard output and standard error of a command: the one place that prints.
//!
//! `println!` panics when the disk is full, and its buffer forgets what became of a batch. Here a text is written at once, a
//! write that fails is an error, and what an error means is decided in one place. Not here: both logs (`line_queue`).

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// What was asked for could not be written (sysexits.h EX_IOERR).
pub const NOT_WRITTEN: u8 = 74;

/// What somebody who reads stderr slowly gets of a thread that may not wait.
const ROOM: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Output that a command was asked for: without it the command has failed, and this is the exit code. When nobody reads on,
/// as in `layer7router config | head -1`, it ends as SIGPIPE ends other programs: without a word.
pub fn wanted(text: &str) -> Result<(), u8> {
    out(text).map_err(|error| {
        if error.kind() == io::ErrorKind::BrokenPipe {
            // Rust's runtime ignores the signal, as a router has to. Whoever waits for us is to see that it was this one.
            let _unheard_of = signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGPIPE);
        }
        err(&format!("layer7router: standard output: {error}\n"));
        NOT_WRITTEN
    })
}

/// Output that somebody may read: all of it, or an error.
pub fn out(text: &str) -> io::Result<()> {
    write(stdout().as_fd(), text.as_bytes())
}

/// For whoever looks at stderr. That nobody can is no reason to end in another way.
pub fn err(text: &str) {
    let _nobody_is_told = write(stderr().as_fd(), text.as_bytes());
}

/// The same, from a thread that may wait for nothing: not said where nobody has read for a while. One write takes it.
pub fn err_unless_stuck(text: &str) {
    let stderr = stderr();
    let room = poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], Some(&ROOM));
    if room.is_ok_and(|ready| ready > 0) {
        let _nobody_is_told = rustix::io::write(&stderr, text.as_bytes());
    }
}

/// Whether somebody looks at stderr now.
pub fn err_is_terminal() -> bool {
    stderr().is_terminal()
}

/// Whether colours are of use on stdout.
pub fn out_is_styled() -> bool {
    stdout().is_terminal() && wants_colours()
}

/// Whether colours are of use on stderr.
pub fn err_is_styled() -> bool {
    err_is_terminal() && wants_colours()
}

/// <https://no-color.org>, and terminals that would show the codes.
fn wants_colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Standard output, for a descriptor and nothing else.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn stdout() -> io::Stdout {
    io::stdout()
}

/// Standard error, for a descriptor and nothing else.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn stderr() -> io::Stderr {
    io::stderr()
}

/// Not through the library's handle: it takes a descriptor that cannot be written to for a success.
fn write(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            // Nothing known does this to who asks for more than nothing.
            Ok(0) => return Err(Errno::IO.into()),
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            // Whoever shares the pipe with us has made it nonblocking.
            Err(Errno::AGAIN) => match poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            },
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
