//! Threads: two for each connection, for its life, and one backend connection of their own.
//!
//! ```text
//!  request thread:  read(client) ─▶ plan, note the exchange ─▶ write(backend) ─▶ read(client) ..
//!  response thread: read(backend) ─▶ take the note ─▶ write(client) ─▶ read(backend) ..
//! ```
//!
//! Each sleeps in the read of its own socket, so the kernel wakes whom the bytes are for, and nobody wakes anybody else
//! between two exchanges. The note and a spare copy of the head are behind one lock that both take in turn; they wait on it
//! only where a client pipelines, and where there is no backend connection yet.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use layer7router::answer::OwnAnswer;
use layer7router::error::CloseReason;
use layer7router::http::forwarded::Peer;
use variants::blocking::{self, Sent, Wire};
use variants::desk::Desk;
use variants::down::{Down, Fault};
use variants::facts::Facts;
use variants::outgoing::Outgoing;
use variants::site::Site;
use variants::socket;
use variants::start::{self, Start};
use variants::up::{After, Turn, Up};

/// As the product's threads have it.
const STACK: usize = 128 * 1024;

fn main() -> ExitCode {
    start::run(|start| run(&start).map_err(|error| error.to_string()))
}

fn run(start: &Start) -> io::Result<()> {
    let listener = socket::listen(start.address, false)?;
    start.ready(listener.local_addr()?);
    loop {
        match listener.accept() {
            // No thread for it: it is closed.
            Ok((client, peer)) => drop(welcome(client, peer, &start.site)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Out of descriptors: those who have some give them back when they are done.
            Err(_) => thread::yield_now(),
        }
    }
}

fn welcome(client: TcpStream, peer: SocketAddr, site: &Arc<Site>) -> io::Result<()> {
    let shared = Arc::new(Shared {
        client: Socket(client),
        whole: AtomicBool::new(true),
        writing: AtomicBool::new(false),
        state: Mutex::new(State::default()),
        changed: Condvar::new(),
    });
    let thread = |name: &str| thread::Builder::new().name(name.to_owned()).stack_size(STACK);
    let (ours, desk) = (Arc::clone(&shared), Desk::new(Arc::clone(site)));
    thread("response").spawn(move || Response { shared: ours, down: Down::default(), desk }.run())?;
    let (ours, desk) = (Arc::clone(&shared), Desk::new(Arc::clone(site)));
    let request =
        Request { shared: ours, up: Up::default(), answer: Outgoing::default(), desk, peer: Peer::from(peer) };
    thread("request").spawn(move || request.run()).map(drop).inspect_err(|_| shared.end())
}

/// A socket that blocks.
struct Socket(TcpStream);

impl Wire for Socket {
    fn read(&self, space: &mut [u8]) -> io::Result<usize> {
        loop {
            match (&self.0).read(space) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            match (&self.0).write_vectored(parts) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

impl Socket {
    fn connect(address: SocketAddr) -> io::Result<Arc<Self>> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Arc::new(Self(stream)))
    }

    /// Wakes who waits for it.
    fn cut(&self) {
        let _gone = self.0.shutdown(Shutdown::Both);
    }
}

/// What both threads of a connection see.
struct Shared {
    client: Socket,
    /// All of the request has been read.
    whole: AtomicBool,
    /// The last of an answer is being written, though its exchange is over.
    writing: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Whose answer is to come.
    exchange: Option<Exchange>,
    /// The rebuilt head, to be sent again.
    head: Vec<u8>,
    /// The backend connection, and whose it is.
    backend: Option<(usize, Arc<Socket>)>,
    /// Why the request half gave up.
    reason: Option<CloseReason>,
    /// Set by who tells the client: nothing of it is served any more.
    last: Option<After>,
    /// The client's side has ended.
    over: bool,
    /// A thread waits for a change. The condition itself does not know: it would ask the kernel to wake nobody.
    waits: bool,
}

#[derive(Clone, Copy)]
struct Exchange {
    facts: Facts,
    /// The connection has served before: it may have died.
    reused: bool,
    /// The request may be sent again.
    again: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.waits = true;
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever waits looks again.
    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let waits = std::mem::take(&mut state.waits);
        drop(state);
        if waits {
            self.changed.notify_all();
        }
    }

    /// The client's side is over.
    fn end(&self) {
        let mut state = self.lock();
        state.over = true;
        if let Some((_, backend)) = state.backend.take() {
            backend.cut();
        }
        self.wake(state);
    }
}

/// The request thread.
struct Request {
    shared: Arc<Shared>,
    up: Up,
    /// Our own answers to requests that have no exchange.
    answer: Outgoing,
    desk: Desk,
    peer: Peer,
}

impl Request {
    fn run(mut self) {
        self.serve();
        self.shared.end();
    }

    fn serve(&mut self) {
        loop {
            // Answers leave in their order: an own one waits for that of the exchange before it.
            let turn = match self.up.turn(&mut self.desk, self.peer, &mut self.answer) {
                Turn::Read => match blocking::receive(&mut self.up, &mut self.desk, &self.shared.client) {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                turn => turn,
            };
            if let Some(after) = self.previous() {
                return self.finish(after);
            }
            match turn {
                Turn::Read => {}
                Turn::End => return,
                Turn::Answer(after) => {
                    if self.send_own().is_err() {
                        return;
                    }
                    if after != After::Keep {
                        return self.finish(after);
                    }
                }
                Turn::Forward(backend, facts) => match self.connect(backend, &facts) {
                    Some(connection) => {
                        if let Err(reason) = self.send(&connection) {
                            // Who waits for the answer is woken, and tells the client.
                            self.shared.lock().reason = Some(reason);
                            connection.cut();
                        }
                        if !self.up.is_whole() {
                            // What still comes is no request.
                            let last = self.previous();
                            return self.finish(last.unwrap_or(After::Linger));
                        }
                    }
                    None => {
                        let keep = facts.keep && self.up.is_whole();
                        let own = OwnAnswer::failure(CloseReason::BackendRefused, &facts.asker.id);
                        self.answer.clear();
                        self.desk.put_answer(&own, &facts.asker, keep, &mut self.answer.head);
                        self.answer.send_head();
                        if self.send_own().is_err() {
                            return;
                        }
                        if !keep {
                            return self.finish(After::Linger);
                        }
                    }
                },
            }
        }
    }

    /// Waits for the end of the exchange before. What that made of the session, if it does not go on.
    fn previous(&self) -> Option<After> {
        let mut state = self.shared.lock();
        while state.exchange.is_some() {
            state = self.shared.wait(state);
        }
        state.last
    }

    /// The exchange is noted, and there is a connection for it.
    fn connect(&mut self, backend: usize, facts: &Facts) -> Option<Arc<Socket>> {
        self.shared.whole.store(self.up.is_whole(), Ordering::Release);
        let mut state = self.shared.lock();
        let kept = match state.backend.take() {
            Some((whose, kept)) if whose == backend => Some(kept),
            Some((_, other)) => {
                other.cut();
                None
            }
            None => None,
        };
        let reused = kept.is_some();
        let connection = match kept {
            Some(kept) => kept,
            None => Socket::connect(self.desk.site.backends[backend]).ok()?,
        };
        state.exchange = Some(Exchange { facts: *facts, reused, again: facts.idempotent && self.up.is_bare() });
        state.head.clone_from(&self.up.out.head);
        state.reason = None;
        state.backend = Some((backend, Arc::clone(&connection)));
        self.shared.wake(state);
        Some(connection)
    }

    /// A backend that takes no more is judged by its answer.
    fn send(&mut self, backend: &Socket) -> Result<Sent, CloseReason> {
        blocking::send_request(&mut self.up, &mut self.desk, &self.shared.client, backend, &self.shared.whole)
    }

    fn send_own(&mut self) -> io::Result<()> {
        while self.shared.writing.load(Ordering::Acquire) {
            // Only a client that pipelines comes here, and not for long.
            thread::yield_now();
        }
        let nothing = variants::bay::Bay::default();
        while !self.answer.is_empty() {
            let mut room = [IoSlice::new(&[]); variants::outgoing::PARTS_MAX];
            let n = self.shared.client.write(self.answer.parts(&nothing, &mut room))?;
            self.answer.took(n, &mut variants::bay::Bay::default());
        }
        Ok(())
    }

    fn finish(&mut self, after: After) {
        match after {
            After::Reset => socket::abort_on_close(&self.shared.client.0),
            After::Linger => {
                socket::finish_writing(&self.shared.client.0);
                let mut dropped = [0; 4096];
                while self.shared.client.read(&mut dropped).is_ok_and(|n| n > 0) {}
            }
            After::Close | After::Keep => {}
        }
    }
}

/// The response thread.
struct Response {
    shared: Arc<Shared>,
    down: Down,
    desk: Desk,
}

impl Response {
    fn run(mut self) {
        while let Some(backend) = self.connection() {
            self.down.begin();
            // Between two exchanges too: that is where this thread sleeps.
            match backend.read(self.down.bay.space(&mut self.desk.shelf)) {
                Ok(n) if n > 0 => self.down.bay.fill(n),
                _ => self.down.end(),
            }
            let exchange = self.shared.lock().exchange;
            match exchange {
                Some(exchange) => self.answer(backend, exchange),
                // Closed, or unasked bytes.
                None => self.forget(&backend),
            }
        }
    }

    fn connection(&self) -> Option<Arc<Socket>> {
        let mut state = self.shared.lock();
        loop {
            if state.over {
                return None;
            }
            if let Some((_, backend)) = &state.backend {
                return Some(Arc::clone(backend));
            }
            state = self.shared.wait(state);
        }
    }

    fn forget(&self, backend: &Arc<Socket>) {
        let mut state = self.shared.lock();
        // An exchange may have begun on it meanwhile: its thread writes, and we read the end once more.
        if state.exchange.is_none() && state.backend.as_ref().is_some_and(|(_, current)| Arc::ptr_eq(current, backend))
        {
            state.backend = None;
            backend.cut();
        }
    }

    fn answer(&mut self, mut backend: Arc<Socket>, exchange: Exchange) {
        let shared = Arc::clone(&self.shared);
        let mut sent = self.relay(&backend, &exchange);
        if let Err(Fault { reason: CloseReason::BackendClosed, answered: false, .. }) = sent
            && exchange.reused
            && exchange.again
            && let Some(fresh) = self.again(&backend)
        {
            backend = fresh;
            self.down.begin();
            sent = self.relay(&backend, &exchange);
        }
        let whole = shared.whole.load(Ordering::Acquire);
        let (mut keep_backend, mut last) = (false, None);
        match sent {
            Ok(()) => {
                keep_backend = self.down.keeps_backend() && whole;
                let keep_client = self.down.keeps_client() && whole;
                if keep_client && keep_backend {
                    return self.finish(&shared);
                }
                if blocking::send_own(&mut self.down, &shared.client).is_err() {
                    last = Some(After::Reset);
                } else if !keep_client {
                    // Who said that it was the last request sends nothing more.
                    last = Some(if whole && !exchange.facts.keep { After::Close } else { After::Linger });
                }
            }
            Err(fault) if fault.begun => last = Some(After::Reset),
            Err(fault) => {
                let reason = shared.lock().reason.unwrap_or(fault.reason);
                let keep = exchange.facts.keep && whole;
                self.down.begin();
                let own = OwnAnswer::failure(reason, &exchange.facts.asker.id);
                self.desk.put_answer(&own, &exchange.facts.asker, keep, &mut self.down.out.head);
                self.down.out.send_head();
                if blocking::send_own(&mut self.down, &shared.client).is_err() {
                    last = Some(After::Close);
                } else if !keep {
                    last = Some(After::Linger);
                }
            }
        }
        let mut state = shared.lock();
        state.exchange = None;
        state.last = last;
        if !keep_backend {
            state.backend = None;
            backend.cut();
        }
        shared.wake(state);
        match last {
            None => {}
            // The request thread may be reading: it is woken by the client's end, or by ours.
            Some(After::Linger) => socket::finish_writing(&shared.client.0),
            Some(After::Close) => shared.client.cut(),
            Some(_) => {
                socket::abort_on_close(&shared.client.0);
                let _woken = shared.client.0.shutdown(Shutdown::Read);
            }
        }
    }

    /// The exchange is over before its last bytes leave: the client's next request may come sooner than we would be back.
    fn finish(&mut self, shared: &Shared) {
        shared.writing.store(true, Ordering::Release);
        let mut state = shared.lock();
        state.exchange = None;
        shared.wake(state);
        let sent = blocking::send_own(&mut self.down, &shared.client);
        shared.writing.store(false, Ordering::Release);
        if sent.is_err() {
            shared.lock().last = Some(After::Reset);
            socket::abort_on_close(&shared.client.0);
            shared.client.cut();
        }
    }

    fn relay(&mut self, backend: &Socket, exchange: &Exchange) -> Result<(), Fault> {
        let shared = &self.shared;
        blocking::send_most(&mut self.down, &mut self.desk, &exchange.facts, backend, &shared.client, &shared.whole)
    }

    /// The same head on a fresh connection.
    fn again(&mut self, dead: &Arc<Socket>) -> Option<Arc<Socket>> {
        let mut state = self.shared.lock();
        let whose = state.backend.as_ref().map(|(whose, _)| *whose)?;
        dead.cut();
        let fresh = Socket::connect(self.desk.site.backends[whose]).ok()?;
        let mut head = state.head.as_slice();
        while !head.is_empty() {
            let n = fresh.write(&[IoSlice::new(head)]).ok().filter(|n| *n > 0)?;
            head = &head[n..];
        }
        state.backend = Some((whose, Arc::clone(&fresh)));
        Some(fresh)
    }
}
