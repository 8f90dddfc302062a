//! An origin for many connections: a thread with a small stack for each, which remembers nothing.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufReader};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::wire::{Body, Head};

/// Of an origin's threads and of clients that come in hundreds.
pub const STACK: usize = 128 * 1024;

/// What a request is answered with: reads the body, writes the whole answer.
type Answer = dyn Fn(&Head, Body<'_, BufReader<TcpStream>>, &mut TcpStream) -> io::Result<()> + Send + Sync;

pub struct BusyOrigin {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    answer: Box<Answer>,
    stop: AtomicBool,
    open: Mutex<HashMap<usize, TcpStream>>,
    faults: Mutex<Vec<String>>,
}

impl BusyOrigin {
    pub fn start(
        answer: impl Fn(&Head, Body<'_, BufReader<TcpStream>>, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        rustix::net::listen(&listener, 4096).expect("a longer backlog");
        let address = listener.local_addr().expect("local address");
        let (open, faults) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { answer: Box::new(answer), stop: AtomicBool::new(false), open, faults });
        let theirs = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || accept_all(&listener, &theirs));
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// Every request was well-formed, and every one that was answered was taken.
    #[track_caller]
    pub fn assert_no_faults(&self) {
        let faults = self.shared.faults.lock().expect("not poisoned");
        assert!(faults.is_empty(), "origin: {} faults, {:?}", faults.len(), &faults[..faults.len().min(5)]);
    }
}

impl fmt::Display for BusyOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl Drop for BusyOrigin {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // The acceptor looks at the flag after each connection; this is one.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn accept_all(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads = Vec::new();
    for number in 0.. {
        let (stream, _) = listener.accept().expect("accept");
        if shared.stop.load(Ordering::SeqCst) {
            break;
        }
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let again = stream.try_clone().expect("dup");
        shared.open.lock().expect("not poisoned").insert(number, again);
        let shared = Arc::clone(shared);
        let serve = move || {
            if let Err(error) = serve_one(stream, &shared.answer)
                && !shared.stop.load(Ordering::SeqCst)
            {
                shared.faults.lock().expect("not poisoned").push(error.to_string());
            }
            shared.open.lock().expect("not poisoned").remove(&number);
        };
        threads.push(std::thread::Builder::new().stack_size(STACK).spawn(serve).expect("a thread"));
    }
    for stream in shared.open.lock().expect("not poisoned").values() {
        let _ = stream.shutdown(Shutdown::Both);
    }
    for thread in threads {
        let _ = thread.join();
    }
}

fn serve_one(mut stream: TcpStream, answer: &Answer) -> io::Result<()> {
    let mut from = BufReader::new(stream.try_clone()?);
    while let Some(head) = Head::read(&mut from)? {
        let body = head.body(&mut from)?;
        answer(&head, body, &mut stream)?;
    }
    Ok(())
}
