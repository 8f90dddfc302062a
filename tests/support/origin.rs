//! The scripted origin, and addresses that misbehave.

use std::collections::HashMap;
use std::fmt;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::DEADLINE;
use super::message::Request;
use super::peer::{Peer, Wire};

/// A listening socket whose connections a script accepts one by one.
#[derive(Debug)]
pub struct Origin {
    socket: Socket,
    address: String,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// One connection that the router made. Everything a [`Peer`] can do, and reading requests.
#[derive(Debug)]
pub struct OriginConn(Peer);

impl Origin {
    /// On 127.0.0.1, a port that was free.
    pub fn bind() -> Self {
        Self::bind_at("127.0.0.1:0")
    }

    /// On an address of the script's choice, `[::1]:0` for instance.
    #[track_caller]
    pub fn bind_at(address: &str) -> Self {
        let listener = TcpListener::bind(address).unwrap_or_else(|e| panic!("origin: bind {address}: {e}"));
        let address = listener.local_addr().expect("local address").to_string();
        Self { socket: Socket::Tcp(listener), address }
    }

    #[track_caller]
    pub fn bind_unix(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap_or_else(|e| panic!("origin: bind {}: {e}", path.display()));
        Self { socket: Socket::Unix(listener, path.to_owned()), address: format!("unix:{}", path.display()) }
    }

    /// Answers every request of every connection, on threads of its own; see [`ServingOrigin`].
    pub fn serve(answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> ServingOrigin {
        Self::bind().serving(answer)
    }

    /// As [`Origin::serve`], on this socket.
    pub fn serving(self, answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> ServingOrigin {
        ServingOrigin::start(self, Arc::new(answer))
    }

    pub fn port(&self) -> u16 {
        self.address.parse::<SocketAddr>().expect("a TCP origin").port()
    }

    /// The next connection.
    #[track_caller]
    pub fn accept(&self) -> OriginConn {
        match self.accept_within(DEADLINE) {
            Some(conn) => conn,
            None => panic!("origin {self}: no connection within {DEADLINE:?}"),
        }
    }

    /// The next connection and the first whole request on it.
    #[track_caller]
    pub fn accept_request(&self) -> (OriginConn, Request) {
        let mut conn = self.accept();
        let request = conn.read_request();
        (conn, request)
    }

    pub fn accept_within(&self, within: Duration) -> Option<OriginConn> {
        let fd = match &self.socket {
            Socket::Tcp(listener) => listener.as_fd(),
            Socket::Unix(listener, _) => listener.as_fd(),
        };
        if !readable(fd, within) {
            return None;
        }
        let wire = match &self.socket {
            Socket::Tcp(listener) => Wire::Tcp(listener.accept().expect("accept").0),
            Socket::Unix(listener, _) => Wire::Unix(listener.accept().expect("accept").0),
        };
        Some(OriginConn(Peer::new(wire, &format!("origin {self}"))))
    }

    /// Nobody connects for `length`. A promise of silence cannot be tested without waiting.
    #[track_caller]
    pub fn expect_no_connection_for(&self, length: Duration) {
        assert!(self.accept_within(length).is_none(), "origin {self}: a connection that should not be");
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

impl OriginConn {
    /// A whole request, parsed strictly.
    #[track_caller]
    pub fn read_request(&mut self) -> Request {
        let mut request = self.read_request_head();
        (request.body, request.trailers) = self.read_body(request.end);
        request
    }

    /// The head alone, parsed strictly; the script reads the body.
    #[track_caller]
    pub fn read_request_head(&mut self) -> Request {
        let head = self.read_head();
        self.sound(Request::parse(&head))
    }

    /// Sends an answer with a `Content-Length`.
    #[track_caller]
    pub fn reply(&mut self, status: u16, body: &str) {
        self.send(super::reply(status, &[], body));
    }
}

impl OriginConn {
    pub fn close(self) {
        self.0.close();
    }

    /// Closes with a RST.
    pub fn reset(self) {
        self.0.reset();
    }
}

impl Deref for OriginConn {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.0
    }
}

impl DerefMut for OriginConn {
    fn deref_mut(&mut self) -> &mut Peer {
        &mut self.0
    }
}

impl From<OriginConn> for Peer {
    fn from(conn: OriginConn) -> Peer {
        conn.0
    }
}

/// An origin that answers by itself and remembers everything it was sent.
pub struct ServingOrigin {
    address: String,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

type Answer = Arc<dyn Fn(&Request) -> Vec<u8> + Send + Sync>;

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    requests: Vec<(usize, Request)>,
    faults: Vec<String>,
    connections: usize,
    open: HashMap<usize, Wire>,
}

impl ServingOrigin {
    fn start(origin: Origin, answer: Answer) -> Self {
        let address = origin.to_string();
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || accept_all(&origin, &theirs, &answer));
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// Every request so far, in order of arrival. A request that was not well-formed fails here.
    #[track_caller]
    pub fn requests(&self) -> Vec<Request> {
        self.requests_by_connection().into_iter().map(|(_, request)| request).collect()
    }

    /// Each with the number of the connection that it came on, from 0.
    #[track_caller]
    pub fn requests_by_connection(&self) -> Vec<(usize, Request)> {
        let seen = self.shared.seen.lock().expect("not poisoned");
        assert!(seen.faults.is_empty(), "origin {}: {:?}", self.address, seen.faults);
        seen.requests.clone()
    }

    /// The last request, which must be there.
    #[track_caller]
    pub fn last(&self) -> Request {
        self.requests().pop().unwrap_or_else(|| panic!("origin {}: no request came", self.address))
    }

    /// How many connections were ever accepted.
    pub fn connections(&self) -> usize {
        self.shared.seen.lock().expect("not poisoned").connections
    }
}

impl fmt::Display for ServingOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

impl Drop for ServingOrigin {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn accept_all(origin: &Origin, shared: &Arc<Shared>, answer: &Answer) {
    let mut threads = Vec::new();
    while !shared.stop.load(Ordering::SeqCst) {
        // The wait is short so that Drop is heard.
        let Some(conn) = origin.accept_within(Duration::from_millis(20)) else {
            continue;
        };
        let number = {
            let mut seen = shared.seen.lock().expect("not poisoned");
            let number = seen.connections;
            seen.connections += 1;
            seen.open.insert(number, conn.wire_again());
            number
        };
        let (shared, answer) = (Arc::clone(shared), Arc::clone(answer));
        threads.push(std::thread::spawn(move || {
            serve_one(conn, number, &shared, &answer);
            shared.seen.lock().expect("not poisoned").open.remove(&number);
        }));
    }
    for wire in shared.seen.lock().expect("not poisoned").open.values() {
        let _ = wire.shutdown(Shutdown::Both);
    }
    for thread in threads {
        let _ = thread.join();
    }
}

/// Requests until the router closes; what is not a request is remembered as a fault.
fn serve_one(mut conn: OriginConn, number: usize, shared: &Shared, answer: &Answer) {
    // Idle as long as the router likes: Drop shuts the socket.
    conn.set_patience(Duration::from_secs(600));
    loop {
        let request = match conn.try_request() {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(why) => {
                if !shared.stop.load(Ordering::SeqCst) {
                    shared.seen.lock().expect("not poisoned").faults.push(why);
                }
                return;
            }
        };
        shared.seen.lock().expect("not poisoned").requests.push((number, request.clone()));
        let bytes = answer(&request);
        // No bytes: the script wants the connection closed.
        if bytes.is_empty() || conn.try_send(&bytes).is_err() {
            return;
        }
    }
}

/// An address that refuses every connection, and is nobody else's while this lives: bound, never listening.
#[derive(Debug)]
pub struct Refusing(OwnedFd, SocketAddr);

impl Refusing {
    pub fn bind() -> Self {
        use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("socket");
        bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).expect("bind");
        let address = getsockname(&socket).expect("getsockname").try_into().expect("an IP address");
        Self(socket, address)
    }

    /// From now on it accepts.
    pub fn listen(self) -> Origin {
        rustix::net::listen(&self.0, 128).expect("listen");
        Origin { socket: Socket::Tcp(TcpListener::from(self.0)), address: self.1.to_string() }
    }
}

impl fmt::Display for Refusing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.1.fmt(f)
    }
}

/// An address where a connect hangs: its backlog is full and nobody accepts.
#[derive(Debug)]
pub struct FullBacklog {
    address: SocketAddr,
    _listener: OwnedFd,
    _waiting: Vec<OwnedFd>,
}

impl FullBacklog {
    pub fn bind() -> Self {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, listen};
        use rustix::net::{socket, socket_with};
        let listener = socket(AddressFamily::INET, SocketType::STREAM, None).expect("socket");
        bind(&listener, &SocketAddr::from(([127, 0, 0, 1], 0))).expect("bind");
        listen(&listener, 0).expect("listen");
        let address: SocketAddr = getsockname(&listener).expect("getsockname").try_into().expect("an IP address");
        let mut waiting = Vec::new();
        for _ in 0..16 {
            let one =
                socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::NONBLOCK, None).expect("socket");
            let _ = connect(&one, &address);
            let connected = ready(one.as_fd(), PollFlags::OUT, Duration::from_millis(50));
            waiting.push(one);
            if !connected {
                return Self { address, _listener: listener, _waiting: waiting };
            }
        }
        panic!("the backlog of {address} never filled");
    }
}

impl fmt::Display for FullBacklog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// Whether `fd` can be read (or accepted from) before `within` is over.
pub fn readable(fd: impl AsFd, within: Duration) -> bool {
    ready(fd, PollFlags::IN, within)
}

fn ready(fd: impl AsFd, events: PollFlags, within: Duration) -> bool {
    let until = Instant::now() + within;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).expect("a short wait");
        match poll(&mut [PollFd::new(&fd, events)], Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(n) => return n > 0,
            Err(e) => panic!("poll: {e}"),
        }
    }
}
