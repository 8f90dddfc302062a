//! The demo origins: real HTTP servers on a real port, so that the router does its main job with nothing else installed.
//!
//! Not here: anything that the router itself uses to move bytes. An origin is one thread that waits with epoll, the opposite
//! of the router's model, because it must cost nothing beside it. What it says is `talk`; this file moves the bytes.
//! It trusts its peers no more than the router does, but it is no origin to build on: it answers with what it received.

mod talk;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::clock::Date;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, SocketFlags};
use talk::{INPUT_BYTES_MAX, Talk};

/// More wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 4096;
const BACKLOG: i32 = 4096;
/// Connections taken, and events handled, before the others have their turn.
const ACCEPTS_PER_TURN: usize = 64;
const EVENTS_PER_TURN: usize = 256;
/// What a peer that was told to go gets to read it: closing at once would reset the connection, answer included.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes of such a peer that are read and dropped.
const LINGER_BYTES_MAX: usize = 256 * 1024;
/// How often clocks are looked at, while there is a reason to.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// The token of the listener; others are indices.
const LISTENER: u64 = u64::MAX;

/// Starts `demo-NUMBER` on a free port of 127.0.0.1, on one thread of that name that lives as long as the process.
pub fn start(
    number: usize,
    spawn: &mut dyn FnMut(String, Box<dyn FnOnce() + Send>) -> io::Result<()>,
) -> io::Result<SocketAddr> {
    start_with(number, CONNECTIONS_MAX, spawn)
}

fn start_with(
    number: usize,
    connections_max: usize,
    spawn: &mut dyn FnMut(String, Box<dyn FnOnce() + Send>) -> io::Result<()>,
) -> io::Result<SocketAddr> {
    let name = format!("demo-{number}");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    // Again, for a longer backlog than the library's.
    rustix::net::listen(&listener, BACKLOG)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let token = epoll::EventData::new_u64(LISTENER);
    epoll::add(&epoll, &listener, token, epoll::EventFlags::IN)?;
    let origin = Origin {
        name: name.clone(),
        listener,
        epoll,
        accepting: true,
        connections_max,
        connections: Vec::new(),
        free: Vec::new(),
        lingering: 0,
        date: Date::imf(),
    };
    spawn(
        name,
        Box::new(move || {
            let name = origin.name.clone();
            if let Err(e) = origin.run() {
                log::error!("{name} stopped: {e}");
            }
        }),
    )?;
    Ok(address)
}

/// One origin, all of it.
struct Origin {
    name: String,
    listener: TcpListener,
    epoll: OwnedFd,
    /// The listener is watched.
    accepting: bool,
    connections_max: usize,
    /// By token: `connections.len() <= connections_max`
    connections: Vec<Option<Connection>>,
    /// Indices of `connections` that hold none.
    free: Vec<usize>,
    /// How many linger.
    lingering: usize,
    date: Date,
}

impl Origin {
    fn run(mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_PER_TURN);
        let mut scratch = vec![0; INPUT_BYTES_MAX];
        loop {
            let ticking = self.lingering > 0 || !self.accepting;
            let timeout = ticking.then_some(&TICK);
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(e) => return Err(e.into()),
            }
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    token => self.advance(token as usize, &mut scratch)?,
                }
            }
            if ticking {
                self.tick()?;
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        for _ in 0..ACCEPTS_PER_TURN {
            if self.free.is_empty() && self.connections.len() >= self.connections_max {
                return self.watch_listener(false);
            }
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            match rustix::net::accept_with(&self.listener, flags) {
                Ok(socket) => self.take_up(socket),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR | Errno::CONNABORTED | Errno::PROTO) => {}
                // No descriptors, or no memory: it stays so for a while, and epoll would say so without a pause.
                Err(_) => return self.watch_listener(false),
            }
        }
        Ok(())
    }

    /// One that cannot be watched is dropped, and its peer sees it closed.
    fn take_up(&mut self, socket: OwnedFd) {
        // A connection without it is slower, and still one.
        let _slower = rustix::net::sockopt::set_tcp_nodelay(&socket, true);
        let index = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        let token = epoll::EventData::new_u64(index as u64);
        let watched = epoll::add(&self.epoll, &socket, token, epoll::EventFlags::IN);
        match (watched, self.connections.get_mut(index)) {
            (Ok(()), Some(slot)) => *slot = Some(Connection::new(socket)),
            _ => self.free.push(index),
        }
    }

    /// Whatever the event said: the connection does what it can, and hears of errors where it does it.
    fn advance(&mut self, index: usize, scratch: &mut [u8]) -> io::Result<()> {
        let Some(slot) = self.connections.get_mut(index) else {
            return Ok(());
        };
        // None: it ended earlier in this turn.
        let Some(connection) = slot else {
            return Ok(());
        };
        let lingered = connection.linger.is_some();
        match connection.advance(scratch, &self.name, self.date.now()) {
            Some(wants) if wants == connection.wants => {}
            Some(wants) => {
                connection.wants = wants;
                let token = epoll::EventData::new_u64(index as u64);
                epoll::modify(&self.epoll, connection.socket.as_fd(), token, wants)?;
            }
            None => {
                *slot = None;
                self.free.push(index);
            }
        }
        let lingers = slot.as_ref().is_some_and(|c| c.linger.is_some());
        self.lingering = self.lingering + usize::from(lingers) - usize::from(lingered);
        Ok(())
    }

    /// Ends what has lingered long enough, and looks whether there is room again.
    fn tick(&mut self) -> io::Result<()> {
        let now = Instant::now();
        for (index, slot) in self.connections.iter_mut().enumerate() {
            let linger = slot.as_ref().and_then(|c| c.linger.as_ref());
            if linger.is_some_and(|linger| linger.until <= now) {
                *slot = None;
                self.free.push(index);
                self.lingering -= 1;
            }
        }
        if !self.accepting {
            self.watch_listener(true)?;
        }
        Ok(())
    }

    fn watch_listener(&mut self, accepting: bool) -> io::Result<()> {
        let flags = if accepting { epoll::EventFlags::IN } else { epoll::EventFlags::empty() };
        let token = epoll::EventData::new_u64(LISTENER);
        epoll::modify(&self.epoll, &self.listener, token, flags)?;
        self.accepting = accepting;
        Ok(())
    }
}

/// A socket, and what is said on it.
struct Connection {
    socket: OwnedFd,
    talk: Talk,
    /// What epoll watches it for.
    wants: epoll::EventFlags,
    /// The peer has sent its last byte.
    ended: bool,
    /// All is said, and the peer knows.
    linger: Option<Linger>,
}

struct Linger {
    until: Instant,
    bytes_left: usize,
}

impl Connection {
    fn new(socket: OwnedFd) -> Self {
        Self { socket, talk: Talk::new(), wants: epoll::EventFlags::IN, ended: false, linger: None }
    }

    /// Writes, answers and reads (once: the others wait) until nothing of it goes on. What to wait for; `None` is the end.
    fn advance(&mut self, scratch: &mut [u8], name: &str, date: &[u8]) -> Option<epoll::EventFlags> {
        let mut may_read = true;
        loop {
            while !self.talk.unsent().is_empty() {
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                match rustix::net::send(&self.socket, self.talk.unsent(), flags) {
                    Ok(n) => self.talk.sent(n),
                    Err(Errno::INTR) => {}
                    // Nothing is read meanwhile: a peer that does not read its answers asks for no more of them.
                    Err(Errno::AGAIN) => return Some(epoll::EventFlags::OUT),
                    Err(_) => return None,
                }
            }
            if self.talk.is_over() {
                return self.linger(scratch);
            }
            self.talk.go_on(name, date);
            if !self.talk.unsent().is_empty() {
                continue;
            }
            if self.ended {
                return None;
            }
            if !may_read {
                return Some(epoll::EventFlags::IN);
            }
            let room = scratch.get_mut(..self.talk.room())?;
            match rustix::net::recv(&self.socket, &mut *room, RecvFlags::DONTWAIT) {
                Ok((0, _)) => self.ended = true,
                Ok((n, _)) => self.talk.receive(room.get(..n)?),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Some(epoll::EventFlags::IN),
                Err(_) => return None,
            }
            may_read = false;
        }
    }

    fn linger(&mut self, scratch: &mut [u8]) -> Option<epoll::EventFlags> {
        let socket = &self.socket;
        if self.ended {
            return None;
        }
        let linger = self.linger.get_or_insert_with(|| {
            // It fails when the peer has gone: then the next read says so.
            let _gone = rustix::net::shutdown(socket, Shutdown::Write);
            Linger { until: Instant::now() + LINGER, bytes_left: LINGER_BYTES_MAX }
        });
        loop {
            match rustix::net::recv(socket, &mut *scratch, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return None,
                Ok((n, _)) => linger.bytes_left = linger.bytes_left.checked_sub(n)?,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Some(epoll::EventFlags::IN),
                Err(_) => return None,
            }
        }
    }
}
