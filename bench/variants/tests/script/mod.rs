//! A session between two scripted peers, and no socket.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::Poll;

use layer7router::config;
use layer7router::http::forwarded::Peer;
use variants::desk::Desk;
use variants::relay::{Next, Port, Relay};
use variants::site::Site;

/// As the bench writes it, and what the test adds.
pub fn site(more: &str) -> Arc<Site> {
    let text =
        format!("[listen:bench]\naddress = 127.0.0.1:0\npool = origin\n[pool:origin]\nbackend = 127.0.0.1:1\n{more}");
    let loaded = config::parse_str("test", &text, &|_| None).unwrap_or_else(|_| panic!("{text}"));
    Arc::new(Site::new(loaded.config).expect("a site"))
}

/// One peer.
#[derive(Debug)]
pub struct Pipe {
    input: VecDeque<u8>,
    /// Bytes of the pieces that arrive one by one.
    pieces: VecDeque<usize>,
    /// It has ended, behind its input.
    pub ended: bool,
    /// What it was sent.
    pub output: Vec<u8>,
    /// Bytes it takes at once.
    pub take: usize,
    /// Reads that gave something, writes that took something.
    pub reads: usize,
    pub writes: usize,
}

impl Pipe {
    fn new() -> Self {
        Self {
            input: VecDeque::with_capacity(65536),
            pieces: VecDeque::with_capacity(64),
            ended: false,
            output: Vec::with_capacity(65536),
            take: usize::MAX,
            reads: 0,
            writes: 0,
        }
    }

    /// It sends this.
    pub fn feed(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.input.extend(bytes);
            self.pieces.push_back(bytes.len());
        }
    }
}

impl Port for Pipe {
    fn recv(&mut self, space: &mut [u8]) -> Poll<io::Result<usize>> {
        assert!(!space.is_empty(), "a read without room would look like an end");
        let Some(piece) = self.pieces.front_mut() else {
            return if self.ended { Poll::Ready(Ok(0)) } else { Poll::Pending };
        };
        let n = space.len().min(*piece);
        *piece -= n;
        if *piece == 0 {
            self.pieces.pop_front();
        }
        for (to, from) in space.iter_mut().zip(self.input.drain(..n)) {
            *to = from;
        }
        self.reads += 1;
        Poll::Ready(Ok(n))
    }

    fn send(&mut self, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        assert!(parts.iter().any(|part| !part.is_empty()), "a write of nothing");
        let mut left = self.take;
        for part in parts {
            let n = part.len().min(left);
            left -= n;
            self.output.extend_from_slice(&part[..n]);
        }
        self.writes += 1;
        Poll::Ready(Ok(self.take - left))
    }
}

/// A session and its peers.
pub struct Session {
    pub client: Pipe,
    pub backend: Pipe,
    pub desk: Desk,
    relay: Relay,
    connected: bool,
    /// Its first backend connection was a kept one.
    pub reused: bool,
    /// What a fresh backend connection answers.
    pub fresh_answer: Option<&'static [u8]>,
    /// Backend connections asked for.
    pub connects: usize,
    /// Those that were given back: whether they may be kept.
    pub released: Vec<bool>,
}

impl Session {
    pub fn new(site: &Arc<Site>) -> Self {
        Self {
            client: Pipe::new(),
            backend: Pipe::new(),
            desk: Desk::new(Arc::clone(site)),
            relay: Relay::new(Peer::Ip([127, 0, 0, 9].into())),
            connected: false,
            reused: false,
            fresh_answer: None,
            connects: 0,
            released: Vec::with_capacity(64),
        }
    }

    /// Until it waits or ends.
    pub fn run(&mut self) -> Next {
        loop {
            let backend = self.connected.then_some(&mut self.backend);
            match self.relay.run(&mut self.desk, &mut self.client, backend, 5) {
                Next::Yield => {}
                Next::Connect { backend, fresh } => {
                    assert_eq!(backend, 0);
                    self.connects += 1;
                    self.connected = true;
                    if fresh {
                        self.backend = Pipe::new();
                        if let Some(answer) = self.fresh_answer {
                            self.backend.feed(answer);
                        }
                    }
                    self.relay.connected(self.reused && !fresh);
                }
                Next::Release { keep } => {
                    assert!(self.connected, "only what it has");
                    self.connected = false;
                    self.released.push(keep);
                }
                next => {
                    self.relay.settle(&mut self.desk.shelf);
                    return next;
                }
            }
        }
    }
}
