//! Event loops: one a thread, edge-triggered epoll through mio, everything of a session in the loop that accepted it.
//!
//! A socket is registered once, for reading; for writing too from the first time that it did not take all. A read that
//! comes back short is the last until the kernel tells of more. Each loop has its own port (SO_REUSEPORT) and its own kept
//! backend connections. The kernel spreads clients by a hash, which leaves one loop with more of them than the others: a
//! loop that has too many hands the next one over.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::thread;

use layer7router::error::CloseReason;
use layer7router::http::forwarded::Peer;
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Registry, Token, Waker};
use slab::Slab;
use variants::desk::Desk;
use variants::relay::{Next, Port, Relay};
use variants::socket;
use variants::start::{self, Start};
use variants::up::After;

/// Events of one look.
const EVENTS: usize = 1024;
/// How often one session may go from socket to socket before others get their turn.
const ROUNDS: usize = 64;
/// So many clients more than another loop are too many.
const LEAD: usize = 1;
const LISTENER: Token = Token(0);
const INBOX: Token = Token(1);

fn main() -> ExitCode {
    start::run(|start| run(&start).map_err(|error| error.to_string()))
}

fn run(start: &Start) -> io::Result<()> {
    let listeners = socket::listen_shared(start.address, start.threads)?;
    let bound = listeners[0].local_addr()?;
    let polls = listeners.iter().map(|_| mio::Poll::new()).collect::<io::Result<Vec<_>>>()?;
    let doors = polls.iter().map(|poll| Door::new(poll.registry())).collect::<io::Result<Vec<_>>>()?;
    let doors: Arc<[Door]> = doors.into();
    let mut threads = Vec::new();
    for (index, (listener, poll)) in listeners.into_iter().zip(polls).enumerate() {
        listener.set_nonblocking(true)?;
        let mut listener = TcpListener::from_std(listener);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let (site, doors) = (Arc::clone(&start.site), Arc::clone(&doors));
        let idle = start.site.backends.iter().map(|_| Vec::new()).collect();
        let event_loop = Loop {
            poll,
            listener,
            index,
            doors,
            kept_max: site.kept_max,
            desk: Desk::new(site),
            sessions: Slab::new(),
            connections: Slab::new(),
            idle,
            again: VecDeque::new(),
        };
        threads.push(thread::Builder::new().name(format!("loop-{index}")).spawn(move || event_loop.run())?);
    }
    start.ready(bound);
    threads
        .into_iter()
        .try_for_each(|thread| thread.join().unwrap_or_else(|_| Err(io::Error::other("a loop panicked"))))
}

/// What other loops see of one.
struct Door {
    clients: AtomicUsize,
    inbox: Mutex<Vec<(TcpStream, SocketAddr)>>,
    waker: Waker,
}

impl Door {
    fn new(registry: &Registry) -> io::Result<Self> {
        Ok(Self { clients: AtomicUsize::new(0), inbox: Mutex::default(), waker: Waker::new(registry, INBOX)? })
    }
}

/// A socket, and what the kernel has told of it.
struct Socket {
    stream: TcpStream,
    readable: bool,
    writable: bool,
    /// Its end is among what can be read: a short read is not the last.
    ended: bool,
    /// Registered for writing too.
    watched: bool,
}

impl Socket {
    fn new(stream: TcpStream) -> Self {
        Self { stream, readable: false, writable: true, ended: false, watched: false }
    }

    fn told(&mut self, event: &Event) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.writable |= event.is_writable() || event.is_error();
        self.ended |= event.is_read_closed() || event.is_error();
    }

    /// The first time that it did not take all.
    fn watch(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        if self.writable || self.watched {
            return Ok(());
        }
        self.watched = true;
        registry.reregister(&mut self.stream, token, Interest::READABLE | Interest::WRITABLE)
    }
}

impl Port for Socket {
    fn recv(&mut self, space: &mut [u8]) -> Poll<io::Result<usize>> {
        while self.readable {
            match self.stream.read(space) {
                Ok(n) => {
                    self.readable = n == space.len() || self.ended;
                    return Poll::Ready(Ok(n));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Pending
    }

    fn send(&mut self, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        while self.writable {
            match self.stream.write_vectored(parts) {
                Ok(n) => {
                    self.writable = n == parts.iter().map(|part| part.len()).sum::<usize>();
                    return Poll::Ready(Ok(n));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Pending
    }
}

struct Session {
    client: Socket,
    relay: Relay,
    /// Its backend connection.
    connection: Option<usize>,
    /// Our last answer is out.
    lingers: bool,
}

struct Connection {
    socket: Socket,
    backend: usize,
    /// Whose it is; nobody's while it is kept.
    session: Option<usize>,
}

struct Loop {
    poll: mio::Poll,
    listener: TcpListener,
    index: usize,
    doors: Arc<[Door]>,
    desk: Desk,
    sessions: Slab<Session>,
    connections: Slab<Connection>,
    /// Kept connections by backend, the newest last.
    idle: Vec<Vec<usize>>,
    kept_max: usize,
    /// Sessions that were interrupted.
    again: VecDeque<usize>,
}

fn session_token(key: usize) -> Token {
    Token(2 + 2 * key)
}

fn connection_token(key: usize) -> Token {
    Token(3 + 2 * key)
}

impl Loop {
    fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let wait = if self.again.is_empty() { None } else { Some(std::time::Duration::ZERO) };
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(),
                    INBOX => self.take_in(),
                    Token(token) if token % 2 == 0 => {
                        let key = (token - 2) / 2;
                        if let Some(session) = self.sessions.get_mut(key) {
                            session.client.told(event);
                            self.advance(key);
                        }
                    }
                    Token(token) => self.backend_event((token - 3) / 2, event),
                }
            }
            for _ in 0..self.again.len() {
                if let Some(key) = self.again.pop_front() {
                    self.advance(key);
                }
            }
        }
    }

    fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((stream, peer)) => {
                    let own = &self.doors[self.index];
                    let count = |door: &Door| door.clients.load(Ordering::Relaxed);
                    let emptiest =
                        self.doors.iter().min_by_key(|door| count(door)).filter(|d| count(d) + LEAD < count(own));
                    match emptiest {
                        None => {
                            own.clients.fetch_add(1, Ordering::Relaxed);
                            self.welcome(stream, peer);
                        }
                        Some(other) => {
                            other.clients.fetch_add(1, Ordering::Relaxed);
                            other.inbox.lock().unwrap_or_else(PoisonError::into_inner).push((stream, peer));
                            let _it_looks_later = other.waker.wake();
                        }
                    }
                }
                // A client that has gone again: the next one may be there.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // Nobody is there, or there is no descriptor: the next client tells of itself.
                Err(_) => return,
            }
        }
    }

    fn take_in(&mut self) {
        let arrived = std::mem::take(&mut *self.doors[self.index].inbox.lock().unwrap_or_else(PoisonError::into_inner));
        for (stream, peer) in arrived {
            self.welcome(stream, peer);
        }
    }

    /// Registering tells of what has arrived already.
    fn welcome(&mut self, stream: TcpStream, peer: SocketAddr) {
        let entry = self.sessions.vacant_entry();
        let token = session_token(entry.key());
        let mut client = Socket::new(stream);
        if self.poll.registry().register(&mut client.stream, token, Interest::READABLE).is_ok() {
            entry.insert(Session { client, relay: Relay::new(Peer::from(peer)), connection: None, lingers: false });
        } else {
            self.doors[self.index].clients.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn backend_event(&mut self, key: usize, event: &Event) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.socket.told(event);
        match connection.session {
            Some(session) => self.advance(session),
            // A kept one has ended, or spoken without being asked.
            None if connection.socket.readable => {
                let backend = connection.backend;
                self.idle[backend].retain(|kept| *kept != key);
                self.connections.remove(key);
            }
            None => {}
        }
    }

    /// Runs a session as far as it goes.
    fn advance(&mut self, key: usize) {
        loop {
            let Some(session) = self.sessions.get_mut(key) else { return };
            if session.lingers {
                return self.linger(key);
            }
            let socket = session.connection.map(|connection| &mut self.connections[connection].socket);
            match session.relay.run(&mut self.desk, &mut session.client, socket, ROUNDS) {
                Next::Wait => {
                    session.relay.settle(&mut self.desk.shelf);
                    return self.watch(key);
                }
                Next::Yield => return self.again.push_back(key),
                Next::Connect { backend, fresh } => self.connect(key, backend, fresh),
                Next::Release { keep } => self.release(key, keep),
                Next::End(After::Linger) => {
                    socket::finish_writing(&session.client.stream);
                    session.lingers = true;
                    // What has arrived is not told again.
                    session.client.readable = true;
                }
                Next::End(after) => {
                    if after == After::Reset {
                        socket::abort_on_close(&session.client.stream);
                    }
                    return self.close(key);
                }
            }
        }
    }

    fn watch(&mut self, key: usize) {
        let session = &mut self.sessions[key];
        let registry = self.poll.registry();
        let mut watched = session.client.watch(registry, session_token(key));
        if let Some(connection) = session.connection {
            let socket = &mut self.connections[connection].socket;
            watched = watched.and(socket.watch(registry, connection_token(connection)));
        }
        if watched.is_err() {
            self.close(key);
        }
    }

    fn connect(&mut self, key: usize, backend: usize, fresh: bool) {
        self.release(key, false);
        let kept = if fresh { None } else { self.idle[backend].pop() };
        let opened = match kept {
            Some(kept) => Ok(kept),
            None => self.open(backend),
        };
        let session = &mut self.sessions[key];
        match opened {
            Ok(connection) => {
                self.connections[connection].session = Some(key);
                session.connection = Some(connection);
                session.relay.connected(kept.is_some());
            }
            Err(_) => session.relay.not_connected(CloseReason::BackendRefused, &mut self.desk),
        }
    }

    /// Whether it is connected already is found out by writing to it.
    fn open(&mut self, backend: usize) -> io::Result<usize> {
        let mut socket = Socket::new(TcpStream::connect(self.desk.site.backends[backend])?);
        socket.stream.set_nodelay(true)?;
        let entry = self.connections.vacant_entry();
        let key = entry.key();
        self.poll.registry().register(&mut socket.stream, connection_token(key), Interest::READABLE)?;
        entry.insert(Connection { socket, backend, session: None });
        Ok(key)
    }

    fn release(&mut self, key: usize, keep: bool) {
        let Some(connection) = self.sessions[key].connection.take() else { return };
        let Connection { socket, backend, session } = &mut self.connections[connection];
        let idle = &mut self.idle[*backend];
        if keep && !socket.ended && idle.len() < self.kept_max {
            *session = None;
            idle.push(connection);
        } else {
            self.connections.remove(connection);
        }
    }

    /// Drops what the client still sends.
    fn linger(&mut self, key: usize) {
        let mut dropped = self.desk.shelf.take();
        let client = &mut self.sessions[key].client;
        let gone = loop {
            match client.recv(&mut dropped) {
                Poll::Ready(Ok(n)) if n > 0 => {}
                Poll::Ready(_) => break true,
                Poll::Pending => break false,
            }
        };
        self.desk.shelf.put(dropped);
        if gone {
            self.close(key);
        }
    }

    fn close(&mut self, key: usize) {
        self.release(key, false);
        self.sessions.remove(key);
        self.doors[self.index].clients.fetch_sub(1, Ordering::Relaxed);
    }
}
