//! A backend that remembers every byte, parses it strictly, and answers each request with its own line, or as a script
//! says.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::lanes::Way;
use crate::strict;
use crate::support::{BodyEnd, DEADLINE, Origin, Peer, Request, reply, shown};

/// What a script does when its answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Waits for whatever comes.
    Stay,
    /// Closes.
    Close,
    /// Closes with a RST.
    Reset,
}

/// What the next request is answered with.
#[derive(Debug, Clone)]
pub struct Script {
    pub answer: Vec<u8>,
    pub way: Way,
    pub then: Then,
}

/// One connection that the router made.
#[derive(Debug, Default, Clone)]
pub struct Connection {
    /// What is not a whole request yet.
    pub tail: Vec<u8>,
    pub requests: usize,
    /// The router closed or reset it, or the script did.
    pub ended: bool,
    pub fault: Option<String>,
}

#[derive(Debug, Default)]
struct State {
    requests: Vec<(usize, Request)>,
    connections: Vec<Connection>,
    scripts: VecDeque<Script>,
    /// The connection of the last script, and whether all of it is written.
    played: Option<(usize, bool)>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

/// The backend.
pub struct Recorder {
    address: String,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Recorder {
    pub fn start() -> Self {
        let origin = Origin::bind();
        let (address, shared) = (origin.to_string(), Arc::<Shared>::default());
        let theirs = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || accept_all(&origin, &theirs));
        Self { address, shared, acceptor: Some(acceptor) }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// How many requests and connections there were so far.
    pub fn mark(&self) -> (usize, usize) {
        let state = self.state();
        (state.requests.len(), state.connections.len())
    }

    /// Each with the number of its connection.
    pub fn requests_since(&self, mark: usize) -> Vec<(usize, Request)> {
        self.state().requests[mark..].to_vec()
    }

    pub fn connections(&self) -> Vec<Connection> {
        self.state().connections.clone()
    }

    /// For the next request that is not answered yet.
    pub fn script(&self, script: Script) {
        let mut state = self.state();
        state.scripts.push_back(script);
        state.played = None;
    }

    /// Forgets a script that nobody asked for.
    pub fn forget(&self) {
        self.state().scripts.clear();
    }

    /// Waits until the last script is written, or cannot be: on which connection.
    #[track_caller]
    pub fn played(&self) -> usize {
        self.wait("the script was not played", |state| match state.played {
            Some((connection, true)) => Some(connection),
            _ => None,
        })
    }

    #[track_caller]
    pub fn wait_ended(&self, connection: usize) {
        let what = format!("the router keeps backend connection {connection} that it should close");
        self.wait(&what, |state| state.connections[connection].ended.then_some(()));
    }

    #[track_caller]
    fn wait<T>(&self, what: &str, done: impl Fn(&State) -> Option<T>) -> T {
        let until = Instant::now() + DEADLINE;
        let mut state = self.state();
        loop {
            if let Some(value) = done(&state) {
                return value;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let last = state.connections.last().cloned();
                drop(state);
                panic!("{what}; the backend's last connection: {last:?}");
            }
            state = self.shared.changed.wait_timeout(state, left).expect("not poisoned").0;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("not poisoned")
    }

    /// After the router's end: everything that ever came.
    #[track_caller]
    pub fn finish(&mut self) -> Vec<Connection> {
        let all = self.connections().len();
        for connection in 0..all {
            self.wait_ended(connection);
        }
        self.stop();
        self.connections()
    }

    fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop();
    }
}

fn accept_all(origin: &Origin, shared: &Arc<Shared>) {
    while !shared.stop.load(Ordering::SeqCst) {
        // The wait is short so that the end is heard. Connections end with the router.
        let Some(conn) = origin.accept_within(Duration::from_millis(20)) else { continue };
        let number = {
            let mut state = shared.state.lock().expect("not poisoned");
            state.connections.push(Connection::default());
            state.connections.len() - 1
        };
        let tcp = Peer::from(conn).into_tcp();
        tcp.set_read_timeout(None).expect("SO_RCVTIMEO");
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            listen_to(tcp, number, &shared);
            shared.state.lock().expect("not poisoned").connections[number].ended = true;
            shared.changed.notify_all();
        });
    }
}

fn listen_to(mut tcp: TcpStream, number: usize, shared: &Shared) {
    let mut space = [0; 65536];
    loop {
        let n = match tcp.read(&mut space) {
            Ok(0) | Err(_) => return,
            Ok(n) => n,
        };
        let mut new = &space[..n];
        loop {
            let mut state = shared.state.lock().expect("not poisoned");
            let connection = &mut state.connections[number];
            connection.tail.extend_from_slice(std::mem::take(&mut new));
            let (request, used) = match strict::request(&connection.tail) {
                _ if connection.fault.is_some() => break,
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(why) => {
                    connection.fault = Some(format!("{why} in {}", shown(&connection.tail)));
                    break;
                }
            };
            connection.tail.drain(..used);
            connection.requests += 1;
            // A follow-up is never a script's: what was sent on beside its request would be.
            let script = if request.target.starts_with("/next") { None } else { state.scripts.pop_front() };
            state.requests.push((number, request.clone()));
            if script.is_some() {
                state.played = Some((number, false));
            }
            drop(state);
            shared.changed.notify_all();
            match script {
                None => {
                    let _gone = tcp.write_all(&echo(&request));
                }
                Some(script) => {
                    let _gone = script.way.write(&mut tcp, &script.answer);
                    if script.then == Then::Reset {
                        rustix::net::sockopt::set_socket_linger(&tcp, Some(Duration::ZERO)).expect("SO_LINGER");
                    }
                    shared.state.lock().expect("not poisoned").played = Some((number, true));
                    shared.changed.notify_all();
                    if script.then != Then::Stay {
                        return;
                    }
                }
            }
        }
    }
}

/// The body of an answer that belongs to this request and no other.
pub fn own_answer(request: &Request) -> String {
    format!("{} {}", request.line(), request.body.len())
}

fn echo(request: &Request) -> Vec<u8> {
    let whole = reply(200, &[], own_answer(request));
    let body = if request.method == "HEAD" { own_answer(request).len() } else { 0 };
    debug_assert!(request.end != BodyEnd::Close);
    whole[..whole.len() - body].to_vec()
}
