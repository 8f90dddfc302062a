//! Many sockets in one thread: which of them are ready, or that a moment has come.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

const EVENTS: usize = 256;
/// The token of the timer; no socket has it.
const TIMER: u64 = u64::MAX;

/// An epoll set, and a timer in it: timeouts of epoll are whole milliseconds, too coarse for a pace.
pub struct Poll {
    set: OwnedFd,
    timer: OwnedFd,
    armed: Option<Instant>,
    events: Vec<Event>,
}

impl Poll {
    pub fn new() -> Result<Self, String> {
        let set = epoll::create(CreateFlags::CLOEXEC).map_err(told)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags).map_err(told)?;
        // Each time it is set it is reported once, and need not be read.
        let once = EventFlags::IN | EventFlags::ET;
        epoll::add(&set, &timer, EventData::new_u64(TIMER), once).map_err(told)?;
        Ok(Self { set, timer, armed: None, events: Vec::with_capacity(EVENTS) })
    }

    /// Told while there is something to read.
    pub fn add(&self, socket: impl AsFd, token: usize) -> Result<(), String> {
        epoll::add(&self.set, socket, EventData::new_u64(token as u64), EventFlags::IN).map_err(told)
    }

    /// Told while it can be read, or also while it can be written.
    pub fn write_too(&self, socket: impl AsFd, token: usize, write: bool) -> Result<(), String> {
        let flags = if write { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        epoll::modify(&self.set, socket, EventData::new_u64(token as u64), flags).map_err(told)
    }

    /// Nothing more is told of it.
    pub fn forget(&self, socket: impl AsFd) {
        let _gone = epoll::delete(&self.set, socket);
    }

    /// The tokens of sockets that are ready, into a list that was empty; nothing when the moment has come, or a signal.
    pub fn wait(&mut self, until: Option<Instant>, ready: &mut Vec<usize>) -> Result<(), String> {
        ready.clear();
        if until.is_some() && until != self.armed {
            let left = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
            // Zero would disarm it.
            let left = left.max(Duration::from_nanos(1));
            let it_value = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once).map_err(told)?;
            self.armed = until;
        }
        self.events.clear();
        match epoll::wait(&self.set, rustix::buffer::spare_capacity(&mut self.events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(told(error)),
        }
        for event in &self.events {
            let token = { event.data }.u64();
            if token == TIMER {
                self.armed = None;
            } else {
                ready.push(usize::try_from(token).unwrap_or(usize::MAX));
            }
        }
        Ok(())
    }
}

fn told(error: Errno) -> String {
    format!("poll: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_socket_is_told_and_so_is_a_moment_finer_than_a_millisecond() {
        let mut poll = Poll::new().unwrap();
        let (mut near, far) = UnixStream::pair().unwrap();
        poll.add(&far, 7).unwrap();
        let mut ready = Vec::new();
        let start = Instant::now();
        poll.wait(Some(start + Duration::from_micros(300)), &mut ready).unwrap();
        assert!(start.elapsed() >= Duration::from_micros(300) && ready.is_empty(), "{ready:?}");
        near.write_all(b"x").unwrap();
        poll.wait(None, &mut ready).unwrap();
        assert_eq!(ready, [7]);
    }
}
