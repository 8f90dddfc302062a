//! A visit: what a worker does with a session from taking it off the channel to parking or closing it. It goes in steps, from
//! one request that was sent to the next, so that a worker can do the same for other sessions before it waits (`round`); and
//! it owns all that it needs, so that another worker can go on with it.
//!
//! The first read of a visit is a probe: nothing there, or a head not whole, and the session goes back to the waiter at
//! once, its bytes in cells. So a slow head and a silent client cost no worker. A session parks only if no byte is unread
//! (but empty lines before a request: those are counted), its last read came back short, its input has not ended, and no event
//! came meanwhile; each of the four is an ordinary client without it. Not here: how it leaves (`leave`).

use std::time::Instant;

use crate::access_log::Seen;
use crate::buf::Buf;
use crate::company::Company;
use crate::crew::{Shared, Worker};
use crate::error::CloseReason;
use crate::exchange::{After, Asked, Exchange, Ran};
use crate::http::Refusal;
use crate::http::head::{Scan, scan, uri_too_long};
use crate::pair::Partner;
use crate::registry::SlotLease;
use crate::session::{Kept, Session};
use crate::snapshot::Snapshot;
use crate::sync::{Arc, Ordering};
use crate::transport::Socket;
use crate::waiter::TAKE_MAX;

mod leave;

use leave::{Parked, linger};

/// Exchanges of one visit. After them pipelined bytes are put away, and others get their turn.
const EXCHANGES_MAX: usize = 32;

/// A session that runs.
#[derive(Debug)]
pub struct Visit {
    session: Arc<Session>,
    slot: SlotLease,
    request: Buf,
    answer: Option<Buf>,
    /// What of its request is logged.
    seen: Seen,
    /// The exchange whose answer is awaited.
    asked: Option<Asked>,
    /// Those of this visit.
    exchanges: usize,
    /// Bytes of an unfinished head that were looked at.
    scanned: usize,
    /// The last read came back short: the kernel will tell of more.
    drained: bool,
    /// When the head that has begun is late.
    head_due_ms: Option<u64>,
    /// When a session without a head is idle for too long; counted from its last exchange, whatever else it sends.
    idle_due_ms: Option<u64>,
}

/// What the bytes of a session amount to.
enum Input {
    /// A whole head.
    Head { skip: usize, len: usize },
    /// Not yet. `begun`: a part of one.
    Wait { begun: bool },
    /// No request.
    Bad(Refusal),
    /// The client has ended.
    End,
}

/// Whose hands a session is in.
pub struct Hands<'a> {
    /// What all workers share.
    pub shared: &'a Shared,
    /// The thread's own.
    pub worker: &'a mut Worker,
    /// Whom it lets go before it waits.
    pub company: Company<'a>,
}

/// How far a visit has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It waits for the answer of a backend.
    Asked,
    /// The session is parked, closed, or put away.
    Over,
}

/// Begins to run a session that is not parked any more. `None`: it only lingered, and that has been seen to.
pub fn enter(shared: &Shared, worker: &mut Worker, session: &Arc<Session>) -> Option<Visit> {
    let kept = session.take_kept();
    if let Kept::Lingering { left, blind, due_ms } = kept {
        linger(shared, session, left, blind, due_ms);
        return None;
    }
    // Whatever it was due for while it did not run.
    session.set_due(u64::MAX);
    let slot = shared.registry.lease();
    session.slot.store(slot.index, Ordering::Release);
    slot.enter(&session.socket, session.token.as_u64());
    let (first, second) = shared.arena.lease_pair();
    let mut visit = Visit {
        session: Arc::clone(session),
        slot,
        request: Buf::new(first),
        answer: Some(Buf::new(second)),
        seen: worker.seen.pop().unwrap_or_default(),
        asked: None,
        exchanges: 0,
        scanned: 0,
        drained: false,
        head_due_ms: None,
        idle_due_ms: None,
    };
    visit.restore(kept);
    Some(visit)
}

impl Visit {
    fn restore(&mut self, kept: Kept) {
        let chain = match kept {
            Kept::Head { chain, scanned, due_ms } => {
                self.scanned = scanned;
                self.head_due_ms = Some(due_ms);
                chain
            }
            Kept::Pipelined(chain) => chain,
            Kept::Idle { due_ms, empty_lines } => {
                self.idle_due_ms = Some(due_ms);
                if !empty_lines.is_empty() {
                    self.request.space()[..empty_lines.len()].copy_from_slice(empty_lines);
                    self.request.fill(empty_lines.len());
                }
                return;
            }
            Kept::Nothing | Kept::Lingering { .. } => return,
        };
        let n = chain.restore(self.request.space());
        self.request.fill(n);
    }

    /// Runs it until it waits for the answer of a backend, parks or ends.
    pub fn run(&mut self, hands: &mut Hands<'_>) -> Step {
        let mut snapshot = hands.shared.published.refresh(hands.worker.snapshot.take());
        let step = loop {
            match self.input(&snapshot) {
                Input::Head { skip, len } => {
                    if self.exchanges > 0 {
                        snapshot = hands.shared.published.refresh(Some(snapshot));
                    }
                    self.exchanges += 1;
                    // So that a reset of the client is heard of also while its first exchange waits for a backend.
                    if hands.shared.waiter.register(&self.session).is_err() {
                        self.end(hands.shared, After::Close);
                        break Step::Over;
                    }
                    if self.session.state.is_hung_up() {
                        // It may have been a reset, told while nobody ran the session: the kernel is asked once more.
                        hands.shared.waiter.watch_all(&self.session);
                    }
                    match self.exchange(hands, &snapshot, |exchange| exchange.run(skip, len)) {
                        Ran::Asked(asked) => {
                            self.asked = Some(asked);
                            break Step::Asked;
                        }
                        Ran::Over(after) if !self.goes_on(hands, after) => break Step::Over,
                        Ran::Over(_) => {}
                    }
                }
                Input::Wait { begun } => match self.park(hands.shared, begun, &snapshot) {
                    Parked::Yes => break Step::Over,
                    Parked::No => self.drained = false,
                    Parked::Ended => {
                        self.end(hands.shared, After::Close);
                        break Step::Over;
                    }
                    Parked::NoRoom => {
                        hands.shared.counters.cells_exhausted.add();
                        let late = Refusal::new(408, "the head came in parts, and the server has no room for those");
                        self.refuse(hands, &snapshot, late);
                        break Step::Over;
                    }
                },
                Input::Bad(refusal) => {
                    self.refuse(hands, &snapshot, refusal);
                    break Step::Over;
                }
                Input::End => {
                    self.end(hands.shared, After::Close);
                    break Step::Over;
                }
            }
        };
        hands.worker.snapshot = Some(snapshot);
        step
    }

    /// Passes the awaited answer on, waiting for it, and goes on as `run` does.
    pub fn answer(&mut self, hands: &mut Hands<'_>) -> Step {
        let Some(asked) = self.asked.take() else { return self.run(hands) };
        let (snapshot, listen, begun) = (Arc::clone(&asked.snapshot), asked.listen, asked.begun);
        let after = self.with_exchange(hands, &snapshot, listen, begun, |exchange| exchange.answer(asked));
        if self.goes_on(hands, after) { self.run(hands) } else { Step::Over }
    }

    /// Whether something of the awaited answer is here.
    pub fn is_answered(&mut self) -> bool {
        match (&mut self.asked, &mut self.answer) {
            (Some(asked), Some(buf)) => asked.sent.is_answered(buf),
            _ => true,
        }
    }

    /// The connection whose answer is awaited.
    pub fn awaited(&self) -> Option<&Socket> {
        self.asked.as_ref().map(|asked| &*asked.sent.connection.socket)
    }

    /// It is over: what it took for the log has room for another's, so that an exchange allocates nothing.
    pub fn leave(self, worker: &mut Worker) {
        if worker.seen.len() < TAKE_MAX {
            worker.seen.push(self.seen);
        }
    }

    /// A fault has stopped it: whoever waits for either of its peers is woken, and the client sees that it was cut.
    pub fn fault(&self, shared: &Shared, partner: &Partner) {
        self.slot.cut(CloseReason::Panic);
        partner.recover();
        let _cut = self.slot.leave();
        self.session.socket.abort();
        shared.waiter.close(&self.session);
    }

    /// An exchange is over: whether another may begin now.
    fn goes_on(&mut self, hands: &Hands<'_>, after: After) -> bool {
        if after != After::Keep {
            self.end(hands.shared, after);
            return false;
        }
        self.scanned = 0;
        self.head_due_ms = None;
        self.idle_due_ms = None;
        let turn_over = self.exchanges >= EXCHANGES_MAX || hands.worker.others_wait();
        self.request.is_empty() || !turn_over || !self.put_away(hands.shared)
    }

    fn refuse(&mut self, hands: &mut Hands<'_>, snapshot: &Arc<Snapshot>, refusal: Refusal) {
        if hands.shared.access.is_on() {
            self.seen.take_unread(self.request.unread());
        }
        let after = self.exchange(hands, snapshot, |exchange| exchange.refuse(refusal));
        self.end(hands.shared, after);
    }

    /// Reads, without waiting, until there is a whole head or no more bytes.
    fn input(&mut self, snapshot: &Snapshot) -> Input {
        let limits = &snapshot.config.limits;
        loop {
            let begun = match scan(self.request.unread(), self.scanned) {
                Scan::Whole { len, .. } if len > limits.header_size => return Input::Bad(TOO_LARGE),
                Scan::Whole { skip, len } => return Input::Head { skip, len },
                Scan::Bad(refusal) => return Input::Bad(refusal),
                Scan::Partial { begun, scanned } => {
                    self.scanned = scanned;
                    begun
                }
            };
            if begun && uri_too_long(self.request.unread(), limits.uri_size) {
                return Input::Bad(Refusal::new(414, "the request target is longer than this server takes"));
            }
            if self.request.unread().len() >= limits.header_size {
                return Input::Bad(TOO_LARGE);
            }
            if self.drained {
                // Empty lines before a request are no beginning of one, half of one is: it is kept as it came.
                return Input::Wait { begun: begun || self.request.unread().len() % 2 == 1 };
            }
            let space = self.request.space();
            let room = space.len();
            match self.session.socket.probe(space) {
                Ok(Some(0)) if begun => {
                    return Input::Bad(Refusal::new(400, "the request ended in the middle of its head"));
                }
                Ok(Some(0)) | Err(_) => return Input::End,
                Ok(Some(n)) => {
                    self.request.fill(n);
                    self.drained = n < room;
                }
                Ok(None) => self.drained = true,
            }
        }
    }

    fn exchange<T>(
        &mut self,
        hands: &mut Hands<'_>,
        snapshot: &Arc<Snapshot>,
        run: impl FnOnce(&mut Exchange<'_>) -> T,
    ) -> T {
        // A listener that a reload took away: its sessions finish on the last configuration that knew it.
        let last = match snapshot.listen_of(self.session.entrance.id) {
            Some(_) => None,
            None => self.session.entrance.last(),
        };
        let snapshot = last.as_ref().unwrap_or(snapshot);
        let listen = snapshot.listen_of(self.session.entrance.id).unwrap_or(0);
        self.with_exchange(hands, snapshot, listen, Instant::now(), run)
    }

    fn with_exchange<T>(
        &mut self,
        hands: &mut Hands<'_>,
        snapshot: &Arc<Snapshot>,
        listen: usize,
        begun: Instant,
        run: impl FnOnce(&mut Exchange<'_>) -> T,
    ) -> T {
        let mut exchange = Exchange {
            shared: hands.shared,
            worker: hands.worker,
            session: &self.session,
            slot: &self.slot,
            snapshot,
            listen,
            request: &mut self.request,
            answer: &mut self.answer,
            seen: &mut self.seen,
            begun,
            read_on: false,
            company: hands.company,
        };
        let ran = run(&mut exchange);
        // What was read then may have filled the slice to its end.
        self.drained &= !exchange.read_on;
        ran
    }
}

const TOO_LARGE: Refusal = Refusal::new(431, "the request head is larger than this server takes");
