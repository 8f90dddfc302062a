//! One session, both directions, for whoever is told when a socket is ready: loops and tasks.
//!
//! ```text
//! Head ──▶ Connecting ──▶ Running ──▶ Sending ──▶ Head | End
//!   └─ the router's own answer ────────▲
//! ```
//!
//! [`Relay::run`] moves all that can be moved without waiting, and says what only the driver can do. It calls a socket only
//! where a byte is wanted, so the driver's sockets need not be asked twice. Not here: sockets, and who waits how.

use std::io::{self, IoSlice};
use std::task::Poll;

use layer7router::answer::OwnAnswer;
use layer7router::error::CloseReason;
use layer7router::http::forwarded::Peer;

use crate::desk::{Desk, Shelf};
use crate::down::{Down, Fault};
use crate::facts::Facts;
use crate::outgoing::PARTS_MAX;
use crate::up::{After, Flow, Turn, Up};

/// A socket that does not block. `Pending` means that the driver will be told; then the session is run again.
pub trait Port {
    /// Reads what is there; 0 is the end.
    fn recv(&mut self, space: &mut [u8]) -> Poll<io::Result<usize>>;
    /// Writes all parts in one call, or as much as is taken.
    fn send(&mut self, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;
}

/// What only the driver can do. The session is run again after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Wait until a socket is ready.
    Wait,
    /// Others may have their turn; this one has more to do.
    Yield,
    /// Get a connection to this backend; the one that the session has, if any, is closed. `fresh`: a new one.
    Connect {
        /// Index into the site's backends.
        backend: usize,
        /// A kept one has just failed.
        fresh: bool,
    },
    /// Take the backend's connection away: to the kept ones, or to be closed.
    Release {
        /// It may serve another exchange.
        keep: bool,
    },
    /// Close the session; never `Keep`.
    End(After),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Connecting {
        fresh: bool,
    },
    Running {
        reused: bool,
    },
    /// The rest of what goes to the client.
    Sending(After),
}

/// One session.
#[derive(Debug)]
pub struct Relay {
    peer: Peer,
    up: Up,
    down: Down,
    state: State,
    facts: Option<Facts>,
    backend: usize,
    /// The backend takes no more of the request: its answer says more than we could.
    broken: bool,
}

impl Relay {
    /// Of a client that has just come.
    pub fn new(peer: Peer) -> Self {
        Self {
            peer,
            up: Up::default(),
            down: Down::default(),
            state: State::Head,
            facts: None,
            backend: 0,
            broken: false,
        }
    }

    /// The connection that was asked for is there, or on its way. `reused`: it was a kept one.
    pub fn connected(&mut self, reused: bool) {
        self.down.begin();
        self.broken = false;
        self.state = State::Running { reused };
    }

    /// There is none.
    pub fn not_connected(&mut self, reason: CloseReason, desk: &mut Desk) {
        let _nothing_to_release = self.fail(Fault { reason, answered: false, begun: false }, desk);
    }

    /// Between two exchanges, and nothing of the next has come.
    pub fn is_idle(&self) -> bool {
        self.state == State::Head && self.up.bay.is_empty()
    }

    /// Gives back what holds nothing: to be called before waiting.
    pub fn settle(&mut self, shelf: &mut Shelf) {
        self.up.bay.settle(shelf);
        self.down.bay.settle(shelf);
    }

    /// Moves what can be moved, at most `rounds` times from socket to socket. `backend` is there from `connected` to
    /// `Release` or the next `Connect`.
    pub fn run<C: Port, B: Port>(
        &mut self,
        desk: &mut Desk,
        client: &mut C,
        mut backend: Option<&mut B>,
        rounds: usize,
    ) -> Next {
        for _ in 0..rounds {
            let (up, down) = match self.decide(desk) {
                Ok(flows) => flows,
                Err(next) => return next,
            };
            let mut moved = false;
            // The whole request has left, and there is no answer yet: nothing can move before somebody says so.
            let mut answer_to_come = false;
            let mut room = [IoSlice::new(&[]); PARTS_MAX];
            if let (Flow::Write, Some(backend)) = (up, backend.as_deref_mut()) {
                match backend.send(self.up.parts(&mut room)) {
                    Poll::Ready(Ok(n)) => {
                        self.up.took(n);
                        moved = true;
                    }
                    Poll::Ready(Err(_)) => {
                        self.broken = true;
                        moved = true;
                    }
                    Poll::Pending => {}
                }
            }
            let mut room = [IoSlice::new(&[]); PARTS_MAX];
            if down == Flow::Write {
                match client.send(self.down.parts(&mut room)) {
                    Poll::Ready(Ok(n)) => {
                        self.down.took(n);
                        moved = true;
                    }
                    Poll::Ready(Err(_)) => return Next::End(After::Close),
                    Poll::Pending => {}
                }
            }
            if up == Flow::Read {
                match client.recv(self.up.bay.space(&mut desk.shelf)) {
                    Poll::Ready(Ok(0)) => {
                        self.up.end();
                        moved = true;
                    }
                    Poll::Ready(Ok(n)) => {
                        self.up.bay.fill(n);
                        moved = true;
                    }
                    Poll::Ready(Err(_)) => return Next::End(After::Close),
                    Poll::Pending => {}
                }
            }
            if let (Flow::Read, Some(backend)) = (down, backend.as_deref_mut()) {
                match backend.recv(self.down.bay.space(&mut desk.shelf)) {
                    Poll::Ready(Ok(n)) if n > 0 => {
                        self.down.bay.fill(n);
                        moved = true;
                    }
                    Poll::Ready(_) => {
                        self.down.end();
                        moved = true;
                    }
                    Poll::Pending => answer_to_come = self.up.is_whole() && self.up.out.is_empty(),
                }
            }
            if !moved || answer_to_come {
                return Next::Wait;
            }
        }
        Next::Yield
    }

    /// What each direction waits for, or what the driver has to do first.
    fn decide(&mut self, desk: &mut Desk) -> Result<(Flow, Flow), Next> {
        loop {
            match self.state {
                State::Head => match self.up.turn(desk, self.peer, &mut self.down.out) {
                    Turn::Read => return Ok((Flow::Read, Flow::Done)),
                    Turn::Forward(backend, facts) => {
                        self.facts = Some(facts);
                        self.backend = backend;
                        self.state = State::Connecting { fresh: false };
                    }
                    Turn::Answer(after) => self.state = State::Sending(after),
                    Turn::End => return Err(Next::End(After::Close)),
                },
                State::Connecting { fresh } => return Err(Next::Connect { backend: self.backend, fresh }),
                State::Running { reused } => return self.exchange(reused, desk),
                State::Sending(after) if !self.down.out.is_empty() => {
                    debug_assert!(after != After::Reset, "who is reset is sent nothing");
                    return Ok((Flow::Done, Flow::Write));
                }
                State::Sending(After::Keep) => self.state = State::Head,
                State::Sending(after) => return Err(Next::End(after)),
            }
        }
    }

    fn exchange(&mut self, reused: bool, desk: &mut Desk) -> Result<(Flow, Flow), Next> {
        let Some(facts) = &self.facts else { return Err(Next::End(After::Close)) };
        let up = match self.up.pump() {
            _ if self.broken => Flow::Done,
            Ok(flow) => flow,
            Err(refusal) => {
                let fault =
                    Fault { reason: CloseReason::Refused(refusal), answered: true, begun: self.down.has_begun() };
                return Err(self.fail(fault, desk));
            }
        };
        match self.down.pump(&desk.site, facts, self.up.is_whole()) {
            Ok(Flow::Done) => {
                let keep = up == Flow::Done && !self.broken && self.down.keeps_backend() && self.up.is_whole();
                self.state = State::Sending(self.up.after(self.down.keeps_client(), facts));
                Err(Next::Release { keep })
            }
            Ok(down) => Ok((up, down)),
            Err(Fault { reason: CloseReason::BackendClosed, answered: false, .. })
                if reused && facts.idempotent && self.up.is_bare() =>
            {
                self.up.out.again();
                self.state = State::Connecting { fresh: true };
                Err(Next::Connect { backend: self.backend, fresh: true })
            }
            Err(fault) => Err(self.fail(fault, desk)),
        }
    }

    /// The client is told, if it can be.
    fn fail(&mut self, fault: Fault, desk: &mut Desk) -> Next {
        let Some(facts) = self.facts.filter(|_| !fault.begun) else {
            self.down.out.clear();
            self.state = State::Sending(After::Reset);
            return Next::Release { keep: false };
        };
        let keep = facts.keep && self.up.is_whole();
        let own = OwnAnswer::failure(fault.reason, &facts.asker.id);
        // What is there of the backend's answer is dropped, interim answers too.
        self.down.begin();
        desk.put_answer(&own, &facts.asker, keep, &mut self.down.out.head);
        self.down.out.send_head();
        self.state = State::Sending(if keep { After::Keep } else { After::Linger });
        Next::Release { keep: false }
    }
}
