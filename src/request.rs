//! The request half of an exchange: a backend is found, the rebuilt head and the body go out, the answer is awaited.
//!
//! When the whole request is here, only one direction can carry bytes: this thread sends it, perhaps those of other sessions
//! too (`round`), turns around and reads the answer itself, and its partner sleeps. When more of the request is to come, the
//! partner is woken for the answer before the rest is pumped, so that answers may overtake it (`partner`). Not here: which backend
//! pool (`plan`), and what the client is told when it fails (`exchange`).

use std::time::Instant;

use crate::backend::Backend;
use crate::buf::Buf;
use crate::company::Company;
use crate::crew::{Shared, Worker};
use crate::error::CloseReason;
use crate::http::framing::BodyReader;
use crate::outgoing::{HeadBuffer, Wire};
use crate::plan::{Forward, Plan};
use crate::pool::{Connection, Patience};
use crate::registry::{Phase, Slot, SlotLease, Waiting};
use crate::response::{Outcome, ResponseEnd, ResponseHalf};
use crate::session::Session;
use crate::snapshot::Snapshot;
use crate::sync::{Arc, AtomicBool, Ordering, fence};
use crate::waiter::SHED_BATCH;

mod partner;

/// What a request half works with.
pub struct RequestHalf<'a> {
    /// What all workers share.
    pub shared: &'a Shared,
    /// This thread's own.
    pub worker: &'a mut Worker,
    /// The session.
    pub session: &'a Arc<Session>,
    /// The words for the reaper.
    pub slot: &'a SlotLease,
    /// The exchange's configuration.
    pub snapshot: &'a Arc<Snapshot>,
    /// What was decided.
    pub plan: &'a Plan,
    /// The first slice: `head_len` bytes of head, then what is here of the body.
    pub buf: &'a mut Buf,
    /// Bytes of the head, empty lines before it included.
    pub head_len: usize,
    /// The second slice. Taken while the partner has it.
    pub answer_buf: &'a mut Option<Buf>,
    /// When the exchange began.
    pub begun: Instant,
    /// Whom this thread lets go before it waits.
    pub company: Company<'a>,
}

/// How far a request has come.
#[derive(Debug)]
pub enum Requested {
    /// All of it is on its way, and only its answer is awaited.
    Sent(Sent),
    /// The exchange is over.
    Over(Exchanged),
}

/// A request whose answer is awaited.
#[derive(Debug)]
pub struct Sent {
    /// Where it went, and the answer comes from.
    pub connection: Connection,
    /// Bytes of body sent on.
    bytes_in: u64,
    /// Its head was all of it.
    bodiless: bool,
    /// When the first byte of the answer came, if it has.
    first_byte: Option<Instant>,
}

impl Sent {
    /// Whether something of the answer is here: read into `buf`, or an end that the next read will find.
    pub fn is_answered(&mut self, buf: &mut Buf) -> bool {
        match self.connection.socket.probe(buf.space()) {
            Ok(Some(n)) => {
                if n > 0 {
                    self.first_byte = Some(Instant::now());
                    buf.fill(n);
                }
                true
            }
            Ok(None) => false,
            Err(_) => true,
        }
    }
}

/// What came of an exchange with a backend.
#[derive(Debug)]
pub struct Exchanged {
    /// Which backend, if one was reached.
    pub backend: Option<Arc<Backend>>,
    /// Status sent to the client, if a final head was.
    pub status: Option<u16>,
    /// When the first byte of the answer came.
    pub first_byte: Option<Instant>,
    /// Bytes of request body sent on.
    pub bytes_in: u64,
    /// Bytes of response body sent.
    pub bytes_out: u64,
    /// Why it ended.
    pub reason: CloseReason,
    /// The client has a part of the answer that cannot be completed.
    pub begun: bool,
    /// All of the request was read from the client.
    pub request_read: bool,
    /// The client was told that the session stays.
    pub keep: bool,
    /// Its input was stopped to wake us: the end of it says nothing any more.
    pub blind: bool,
    /// More was read of the client than the visit had read.
    pub read_on: bool,
}

impl Exchanged {
    fn failed(reason: CloseReason, request_read: bool) -> Self {
        Self {
            backend: None,
            status: None,
            first_byte: None,
            bytes_in: 0,
            bytes_out: 0,
            reason,
            begun: false,
            request_read,
            keep: false,
            blind: false,
            read_on: false,
        }
    }
}

impl RequestHalf<'_> {
    /// Sends the request to the pool that the plan names.
    pub fn send(&mut self, forward: &Forward) -> Requested {
        let pool = &self.snapshot.pools[forward.pool];
        let has_body = !BodyReader::request(self.plan.body).is_finished();
        let connection = match pool.connection(self.patience(), &self.shared.counters, self.company) {
            Ok(connection) => connection,
            Err(reason) => {
                if reason == CloseReason::NoDescriptor {
                    self.shared.waiter.shed(SHED_BATCH);
                }
                return Requested::Over(self.over(Exchanged::failed(reason, !has_body)));
            }
        };
        let sent = if has_body {
            self.send_with_body(connection, forward)
        } else {
            match self.slot.enter_backend(&connection.socket, self.due()) {
                Err(cut) => Err(Exchanged::failed(cut.0, true)),
                Ok(()) => {
                    // A failed write is not the end: a backend that closes may have answered first, and the read finds out.
                    let gathered = !forward.overflowed;
                    let _judged_by_the_answer = self.send_head(&connection, forward.pool, gathered);
                    Ok(Sent { connection, bytes_in: 0, bodiless: true, first_byte: None })
                }
            }
        };
        match sent {
            Ok(sent) => {
                self.await_answer();
                Requested::Sent(sent)
            }
            Err(exchanged) => Requested::Over(self.over(exchanged)),
        }
    }

    /// Reads the answer of a request that was sent whole, and passes it on. A kept connection that died before the first
    /// byte of it is replaced by a fresh one, once, if the method may be repeated (RFC 9110 section 9.2.2).
    pub fn answer(&mut self, forward: &Forward, sent: Sent) -> Exchanged {
        let exchanged = self.answered(forward, sent);
        self.over(exchanged)
    }

    fn answered(&mut self, forward: &Forward, sent: Sent) -> Exchanged {
        let Sent { mut connection, bytes_in, bodiless, mut first_byte } = sent;
        let ended = AtomicBool::new(true);
        loop {
            let outcome = self.read_answer(&connection, &ended, first_byte.take());
            if let ResponseEnd::Failed { reason: CloseReason::BackendClosed, answered: false, .. } = outcome.end
                && connection.reused
                && bodiless
                && forward.idempotent
                && self.slot.leave_backend().is_ok()
            {
                self.shared.counters.retries.add();
                let pool = &self.snapshot.pools[forward.pool];
                match pool.fresh_connection(&connection.backend, self.patience(), &self.shared.counters, self.company) {
                    Ok(fresh) => connection = fresh,
                    Err(reason) => return Exchanged::failed(reason, true),
                }
                if let Err(cut) = self.slot.enter_backend(&connection.socket, self.due()) {
                    return Exchanged::failed(cut.0, true);
                }
                // The buffer has held other heads since.
                let _judged_by_the_answer = self.send_head(&connection, forward.pool, false);
                self.await_answer();
                continue;
            }
            if outcome.end == ResponseEnd::Switched {
                return self.tunnel(&connection, &outcome);
            }
            return self.conclude(&connection, &outcome, bytes_in, true);
        }
    }

    fn over(&mut self, exchanged: Exchanged) -> Exchanged {
        self.consume_head();
        self.slot.request.wait(Waiting::BUSY);
        exchanged
    }

    fn patience(&self) -> Patience {
        let timeouts = &self.snapshot.config.timeouts;
        Patience { connect: timeouts.connect, backend_idle: timeouts.backend_idle }
    }

    /// When the exchange is over, whatever is waited for.
    fn due(&self) -> Option<Instant> {
        Some(self.begun + self.snapshot.config.timeouts.exchange?)
    }

    /// The head's bytes are used up, once: what follows them is the body, or the next request.
    fn consume_head(&mut self) {
        self.buf.consume(std::mem::take(&mut self.head_len));
    }

    /// `gathered`: it is in the buffer already.
    fn send_head(&mut self, connection: &Connection, pool: usize, gathered: bool) -> std::io::Result<()> {
        let mut head = std::mem::take(&mut self.worker.request_head);
        let gathered = if gathered { Ok(()) } else { self.gather_again(connection, pool, &mut head) };
        let wire = to_backend(self.slot, self.snapshot, connection, self.company);
        let sent = gathered.and_then(|()| wire.send(&mut head, []));
        self.worker.request_head = head;
        sent
    }

    /// The head outgrew the buffer when it was planned, or is to be sent again: once more, through the wire.
    fn gather_again(&mut self, connection: &Connection, pool: usize, head: &mut HeadBuffer) -> std::io::Result<()> {
        head.clear();
        let bytes = &self.buf.unread()[..self.head_len];
        let wire = to_backend(self.slot, self.snapshot, connection, self.company);
        let (peer, via) = (self.session.peer, &self.shared.via);
        self.plan.put_head_again(bytes, pool, self.snapshot, peer, via, &mut wire.gather(head))
    }

    /// The whole request is sent, or as much of it as the backend took.
    fn await_answer(&mut self) {
        self.slot.request.wait(Waiting::BUSY);
        self.slot.response.wait(Waiting::new(Phase::ResponseHead, self.plan.facts.response_limit));
        if !self.session.socket.is_tcp() {
            // A Unix client that closed while the request was sent was left alone: asked for again, now that it matters.
            fence(Ordering::SeqCst);
            if self.session.state.is_hung_up() {
                self.shared.waiter.watch_all(self.session);
            }
        }
    }

    /// This thread turns around and reads the answer itself.
    fn read_answer(
        &mut self,
        connection: &Connection,
        request_ended: &AtomicBool,
        first_byte: Option<Instant>,
    ) -> Outcome {
        let half = ResponseHalf {
            client: &self.session.socket,
            backend: &connection.socket,
            slot: self.slot,
            snapshot: self.snapshot,
            facts: self.plan.facts,
            request_ended,
            draining: self.shared.waiter.draining(),
            company: self.company,
        };
        let buf = self.answer_buf.as_mut().expect("the partner has it only while it runs");
        half.run(buf, &mut self.worker.response_head, first_byte)
    }

    /// What is kept of it. Whether all of the request had been read was asked when the answer was (`response`): it stays so.
    fn conclude(&mut self, connection: &Connection, outcome: &Outcome, bytes_in: u64, request_read: bool) -> Exchanged {
        let uncut = self.slot.leave_backend().is_ok();
        let (reason, keep, begun) = match outcome.end {
            ResponseEnd::Complete { keep_client, keep_backend } => {
                if keep_backend && uncut {
                    connection.backend.keep(Arc::clone(&connection.socket));
                }
                // A backend that was cut as late when its answer was here already costs its own connection. The client has the
                // whole answer, and was told that its session stays.
                (CloseReason::Done, keep_client && (uncut || self.slot.forgive()), false)
            }
            // A tunnel does not come here: without a body it was handled, and with one no upgrade is asked for.
            ResponseEnd::Switched => (CloseReason::Done, false, true),
            ResponseEnd::Failed { reason, begun, .. } => (reason, false, begun),
        };
        Exchanged {
            backend: Some(Arc::clone(&connection.backend)),
            status: outcome.status,
            first_byte: outcome.first_byte,
            bytes_in,
            bytes_out: outcome.bytes,
            reason,
            begun,
            request_read,
            keep,
            blind: !request_read,
            read_on: false,
        }
    }
}

fn to_backend<'a>(slot: &'a Slot, snapshot: &Snapshot, connection: &'a Connection, company: Company<'a>) -> Wire<'a> {
    let waiting = Waiting::new(Phase::BackendWrite, snapshot.config.timeouts.send);
    Wire { socket: &connection.socket, half: &slot.request, waiting, company }
}
