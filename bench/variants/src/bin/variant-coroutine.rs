//! Stackful coroutines: blocking code, one coroutine a session, on the scheduler of `may`.
//!
//! When the whole request is here, its coroutine sends it, turns around and reads the answer, as a worker of the product
//! does. When more of it is to come, a second coroutine takes the answer; a socket of `may` has one coroutine that waits for
//! it, so each side then has a duplicate of its own.
//!
//! The reads and writes of `may` are not used: they ask a socket before they wait, always, and forget what it was told until
//! then. Here an edge is waited for, and what it says is remembered.

use std::cell::Cell;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use layer7router::answer::OwnAnswer;
use layer7router::error::CloseReason;
use layer7router::http::forwarded::Peer;
use may::coroutine::{self, Builder};
use may::io::WaitIo;
use may::net::{TcpListener, TcpStream};
use variants::blocking::{self, Sent, Wire};
use variants::desk::Desk;
use variants::down::{Down, Fault};
use variants::facts::Facts;
use variants::site::Site;
use variants::socket;
use variants::start::{self, Start};
use variants::up::{After, Turn, Up};

/// Of a coroutine, in words: 64 KB, of which what is used is memory.
const STACK_WORDS: usize = 8 * 1024;
/// Coroutines that are kept for new sessions.
const SPARE: usize = 256;
/// Between two tries to accept when there is no descriptor.
const PAUSE: Duration = Duration::from_millis(1);
/// epoll's flags. Besides these there are the end (RDHUP) and two that come with it: all of them are for a reader.
const IN: usize = 0x1;
const OUT: usize = 0x4;
const RDHUP: usize = 0x2000;

fn main() -> ExitCode {
    start::run(|start| run(&start).map_err(|error| error.to_string()))
}

fn run(start: &Start) -> io::Result<()> {
    may::config().set_workers(start.threads).set_stack_size(STACK_WORDS).set_pool_capacity(SPARE);
    // It would give each worker a core, which nobody else here has.
    may::config().set_worker_pin(false);
    let listener = TcpListener::bind(start.address)?;
    // It asks for 1024.
    socket::deepen(listener.inner())?;
    start.ready(listener.local_addr()?);
    let threads = start.threads;
    let stacks = || start.site.backends.iter().map(|_| Mutex::default()).collect();
    let kept = Arc::new(Kept { by_worker: (0..threads).map(|_| stacks()).collect() });
    let site = Arc::clone(&start.site);
    let accepting = may::go!(move || {
        loop {
            let Ok((client, peer)) = listener.accept() else {
                // A yield would come back before any session could end.
                coroutine::sleep(PAUSE);
                continue;
            };
            let client = Socket::new(client, 0);
            let (site, kept) = (Arc::clone(&site), Arc::clone(&kept));
            let home = Builder::new().id(client.worker(threads));
            let _spawned = may::go!(home, move || Session::new(client, peer, site, kept).run());
        }
    });
    accepting.join().map_err(|_| io::Error::other("the accepting coroutine panicked"))
}

/// A socket, and what is known of it. Only ever one coroutine has it.
struct Socket {
    stream: TcpStream,
    /// Flags of epoll that have been told and may still be so.
    told: Cell<usize>,
}

impl Socket {
    fn new(stream: TcpStream, told: usize) -> Self {
        Self { stream, told: Cell::new(told) }
    }

    fn duplicate(&self) -> io::Result<Self> {
        Ok(Self::new(self.stream.try_clone()?, 0))
    }

    fn shut(&self, how: Shutdown) {
        let _gone = self.stream.shutdown(how);
    }

    /// Whose events they are: as `may` deals descriptors.
    fn worker(&self, workers: usize) -> usize {
        self.stream.as_raw_fd().unsigned_abs() as usize % workers
    }

    fn wait(&self) {
        self.told.set(self.told.get() | self.stream.wait_io());
    }
}

impl Wire for Socket {
    fn read(&self, space: &mut [u8]) -> io::Result<usize> {
        loop {
            while self.told.get() & !OUT == 0 {
                self.wait();
            }
            match self.stream.inner().read(space) {
                Ok(n) => {
                    if n < space.len() {
                        // It was all there is, but for an end: that gives no second edge.
                        self.told.set(self.told.get() & !IN);
                    }
                    return Ok(n);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.told.set(0),
                Err(error) => return Err(error),
            }
        }
    }

    fn write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            match self.stream.inner().write_vectored(parts) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(),
                done => return done,
            }
        }
    }
}

/// Kept connections, the newest last: by the worker whose events they are, by backend.
struct Kept {
    by_worker: Vec<Vec<Mutex<Vec<Socket>>>>,
}

impl Kept {
    /// One of the worker that has the client's events too, if there is one: the whole exchange is then that worker's.
    fn take(&self, client: &Socket, backend: usize) -> Option<Socket> {
        let (others, own) = self.by_worker.split_at(client.worker(self.by_worker.len()));
        own.iter().chain(others).find_map(|stacks| Self::lock(&stacks[backend]).pop())
    }

    fn put(&self, socket: Socket, backend: usize, max: usize) {
        let mut kept = Self::lock(&self.by_worker[socket.worker(self.by_worker.len())][backend]);
        if kept.len() < max {
            kept.push(socket);
        }
    }

    fn lock(stack: &Mutex<Vec<Socket>>) -> MutexGuard<'_, Vec<Socket>> {
        stack.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Session {
    client: Socket,
    peer: Peer,
    kept: Arc<Kept>,
    desk: Desk,
    up: Up,
    down: Down,
}

impl Session {
    fn new(client: Socket, peer: SocketAddr, site: Arc<Site>, kept: Arc<Kept>) -> Self {
        let desk = Desk::new(site);
        Self { client, peer: Peer::from(peer), kept, desk, up: Up::default(), down: Down::default() }
    }

    fn run(mut self) {
        let after = loop {
            let after = match self.up.turn(&mut self.desk, self.peer, &mut self.down.out) {
                Turn::Read => match blocking::receive(&mut self.up, &mut self.desk, &self.client) {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                Turn::End => return,
                Turn::Answer(after) => after,
                Turn::Forward(backend, facts) => self.exchange(backend, &facts),
            };
            if after != After::Reset && blocking::send_own(&mut self.down, &self.client).is_err() {
                return;
            }
            if after != After::Keep {
                break after;
            }
        };
        match after {
            After::Reset => socket::abort_on_close(self.client.stream.inner()),
            After::Linger => {
                self.client.shut(Shutdown::Write);
                let mut dropped = [0; 4096];
                while self.client.read(&mut dropped).is_ok_and(|n| n > 0) {}
            }
            After::Keep | After::Close => {}
        }
    }

    /// What is left of the answer is in `down.out`.
    fn exchange(&mut self, index: usize, facts: &Facts) -> After {
        let whole = AtomicBool::new(self.up.is_whole());
        let mut fresh = false;
        loop {
            let kept = if fresh { None } else { self.kept.take(&self.client, index) };
            let reused = kept.is_some();
            let Ok(backend) = kept.map_or_else(|| self.connect(index), Ok) else {
                let reason = CloseReason::BackendRefused;
                return self.fail(facts, Fault { reason, answered: false, begun: false });
            };
            self.down.begin();
            let (sent, answered) = match blocking::send_what_is_here(&mut self.up, &backend, &whole) {
                Ok(Sent::Part) => self.both(&backend, facts, &whole),
                Ok(sent) => {
                    let (down, desk) = (&mut self.down, &mut self.desk);
                    (Ok(sent), blocking::send_answer(down, desk, facts, &backend, &self.client, &whole))
                }
                Err(reason) => (Err(reason), Err(Fault { reason, answered: true, begun: false })),
            };
            match (sent, answered) {
                (_, Err(Fault { reason: CloseReason::BackendClosed, answered: false, .. }))
                    if reused && facts.idempotent && self.up.is_bare() =>
                {
                    self.up.out.again();
                    fresh = true;
                }
                // Who gave up first knows why.
                (Err(reason), Err(fault)) => return self.fail(facts, Fault { reason, ..fault }),
                (_, Err(fault)) => return self.fail(facts, fault),
                (sent, Ok(())) => {
                    if sent == Ok(Sent::Whole) && self.down.keeps_backend() {
                        self.kept.put(backend, index, self.desk.site.kept_max);
                    }
                    return self.up.after(self.down.keeps_client(), facts);
                }
            }
        }
    }

    fn connect(&self, index: usize) -> io::Result<Socket> {
        let stream = TcpStream::connect(self.desk.site.backends[index])?;
        stream.set_nodelay(true)?;
        // What it was told while it connected is forgotten: whether that was an end, only a read can say.
        Ok(Socket::new(stream, RDHUP))
    }

    fn fail(&mut self, facts: &Facts, fault: Fault) -> After {
        if fault.begun {
            return After::Reset;
        }
        let keep = facts.keep && self.up.is_whole();
        self.down.begin();
        let own = OwnAnswer::failure(fault.reason, &facts.asker.id);
        self.desk.put_answer(&own, &facts.asker, keep, &mut self.down.out.head);
        self.down.out.send_head();
        if keep { After::Keep } else { After::Linger }
    }

    /// The rest of the request here, its answer in a coroutine of its own.
    fn both(
        &mut self,
        backend: &Socket,
        facts: &Facts,
        whole: &AtomicBool,
    ) -> (Result<Sent, CloseReason>, Result<(), Fault>) {
        let gone = Fault { reason: CloseReason::NoDescriptor, answered: true, begun: false };
        let (Ok(client), Ok(from)) = (self.client.duplicate(), backend.duplicate()) else {
            return (Ok(Sent::Broken), Err(gone));
        };
        let mut desk = Desk::new(Arc::clone(&self.desk.site));
        let (mut sent, mut answered) = (Ok(Sent::Part), Err(gone));
        let (down, answered_there) = (&mut self.down, &mut answered);
        coroutine::scope(|scope| {
            may::go!(scope, move || {
                *answered_there = blocking::send_answer(down, &mut desk, facts, &from, &client, whole);
                if !whole.load(Ordering::Acquire) {
                    // Nobody wants the rest of the request: who reads it is woken.
                    client.shut(Shutdown::Read);
                }
            });
            sent = blocking::send_request(&mut self.up, &mut self.desk, &self.client, backend, whole);
            if sent.is_err() {
                // What was sent must not be taken for a whole request, and who waits for its answer is woken.
                backend.shut(Shutdown::Both);
            }
        });
        (sent, answered)
    }
}
