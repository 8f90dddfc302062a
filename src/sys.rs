//! System calls that no well-kept crate wraps safely. The only module where `unsafe` is allowed.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Bytes written to a socket that its peer has not acknowledged (TCP) or not read (Unix). ioctl(2) SIOCOUTQ: rustix has
/// it for neither family.
pub fn unacknowledged(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ (= TIOCOUTQ) writes one int to the address given, and `bytes` outlives the call.
    match unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) } {
        0 => Ok(u64::try_from(bytes).unwrap_or(0)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// How long a segment and its acknowledgement take to the peer of a TCP connection, smoothed (TCP_INFO); rustix has it not.
pub fn round_trip(fd: BorrowedFd<'_>) -> io::Result<Duration> {
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: a tcp_info is numbers alone, for which all zeros is valid; the kernel writes `len` bytes to it at the most.
    let (result, info) = unsafe {
        let mut info: libc::tcp_info = std::mem::zeroed();
        let result =
            libc::getsockopt(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, (&raw mut info).cast(), &raw mut len);
        (result, info)
    };
    if result == 0 { Ok(Duration::from_micros(info.tcpi_rtt.into())) } else { Err(io::Error::last_os_error()) }
}

/// How many bytes the kernel takes that it cannot send yet (TCP_NOTSENT_LOWAT). Set on a listener, accepted sockets have it.
pub fn set_notsent_lowat(fd: BorrowedFd<'_>, bytes: u32) -> io::Result<()> {
    set_tcp_option(fd, libc::TCP_NOTSENT_LOWAT, bytes)
}

/// For how long a listener leaves connections with the kernel whose first bytes are not here (TCP_DEFER_ACCEPT).
pub fn set_defer_accept(fd: BorrowedFd<'_>, seconds: u32) -> io::Result<()> {
    set_tcp_option(fd, libc::TCP_DEFER_ACCEPT, seconds)
}

/// Two options that rustix does not have.
fn set_tcp_option(fd: BorrowedFd<'_>, option: libc::c_int, value: u32) -> io::Result<()> {
    // SAFETY: the option value is one u32 that outlives the call, and its size is given.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            option,
            (&raw const value).cast(),
            size_of::<u32>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Puts the calling thread into SCHED_BATCH (sched(7)); rustix has only affinity.
pub fn schedule_as_batch() -> io::Result<()> {
    // SAFETY: an all-zero sched_param is valid, and priority 0 is what SCHED_BATCH asks for.
    let result = unsafe {
        let param: libc::sched_param = std::mem::zeroed();
        libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const param)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Blocks the signals that the control loop listens to, in the calling thread and those it starts later: sockets with a
/// receive timeout return EINTR even under SA_RESTART, so no thread that does I/O may take one.
pub fn block_control_signals() -> io::Result<()> {
    // SAFETY: the set is initialised by sigemptyset before it is used, and outlives the calls.
    let result = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGQUIT, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2] {
            libc::sigaddset(&raw mut set, signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

/// Takes over a descriptor that was open when this process began, and closes it on exec from now on.
pub fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl only looks at the number; one that is not open is EBADF.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags == -1 {
        return Err(io::Error::last_os_error());
    }
    // What came through exec has no such flag, and what this process opens has it: nobody here owns this one yet.
    if flags & libc::FD_CLOEXEC != 0 {
        return Err(io::Error::other("it was opened by this process"));
    }
    // SAFETY: as above.
    if unsafe { libc::fcntl(number, libc::F_SETFD, flags | libc::FD_CLOEXEC) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and has had no owner before, as the flag showed.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_process_has_opened_is_not_adopted() {
        let ours = std::fs::File::open("/dev/null").expect("open");
        let adopted = adopt(ours.as_raw_fd()).map(std::mem::ManuallyDrop::new);
        assert!(adopted.is_err(), "it would be closed twice");
    }
}
