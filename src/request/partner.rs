//! What needs the partner, or may: a request with a body, beside whose rest it reads the answer; and a tunnel, one way a thread.

use super::{Exchanged, RequestHalf, Sent, to_backend};
use crate::error::CloseReason;
use crate::http::Refusal;
use crate::http::framing::{Body, BodyReader};
use crate::outgoing::Wire;
use crate::pair::{Job, JobKind};
use crate::plan::{Forward, TOO_LARGE};
use crate::pool::Connection;
use crate::pump::{Pump, PumpFault};
use crate::registry::{Phase, Waiting};
use crate::response::{Outcome, ResponseEnd};
use crate::sync::{Arc, Ordering};
use crate::tunnel::OneWay;

impl RequestHalf<'_> {
    /// Some of the request's body is in the slice, and perhaps all of it: then only the answer is awaited. Else more is to come,
    /// and the partner reads the answer meanwhile.
    pub(super) fn send_with_body(&mut self, connection: Connection, forward: &Forward) -> Result<Sent, Exchanged> {
        if let Err(cut) = self.slot.enter_backend(&connection.socket, self.due()) {
            return Err(Exchanged::failed(cut.0, false));
        }
        let ended = Arc::clone(&self.worker.partner.request_ended);
        ended.store(false, Ordering::SeqCst);
        let timeouts = &self.snapshot.config.timeouts;
        let mut head = std::mem::take(&mut self.worker.request_head);
        let gathered =
            if forward.overflowed { self.gather_again(&connection, forward.pool, &mut head) } else { Ok(()) };
        self.consume_head();
        let mut pump = Pump {
            from: &self.session.socket,
            half: &self.slot.request,
            reading: Waiting::new(Phase::ClientRead, timeouts.body),
            to: to_backend(self.slot, self.snapshot, &connection, self.company),
            reader: BodyReader::request(self.plan.body),
            chunked: self.plan.body == Body::Chunked,
            trailers_pass: self.plan.trailers_pass,
            limit: self.plan.body_limit,
            moved: 0,
        };
        let at_end = || ended.store(true, Ordering::SeqCst);
        let first = match gathered {
            Ok(()) => pump.forward(self.buf, &mut head, at_end),
            Err(error) => Err(PumpFault::Sink(error)),
        };
        let read_on = matches!(first, Ok(false));
        let outcome = match first {
            // All of it was here: nobody else is needed.
            Ok(true) => {
                let bytes_in = pump.moved;
                head.clear();
                self.worker.request_head = head;
                return Ok(Sent { connection, bytes_in, bodiless: false, first_byte: None });
            }
            Err(fault) => match blame(&fault) {
                None => {
                    self.await_answer();
                    self.read_answer(&connection, &ended, None)
                }
                // Nobody waits for an answer; what was sent is cut short when the connection is closed.
                Some(reason) => {
                    let end = ResponseEnd::Failed { reason, answered: false, begun: false };
                    Outcome { end, status: None, bytes: 0, first_byte: None }
                }
            },
            Ok(false) => {
                self.start_partner(&connection, JobKind::Response(self.plan.facts));
                if self.plan.facts.expects_continue {
                    pump.reading = Waiting::new(Phase::ClientContinue, timeouts.body);
                }
                let sent = pump.fill(self.buf);
                pump.reading = Waiting::new(Phase::ClientRead, timeouts.body);
                let sent = sent.and_then(|()| pump.run(self.buf, &mut head, at_end));
                if let Some(reason) = sent.err().as_ref().and_then(blame) {
                    // What was sent must not be taken for a whole request, and who waits for its answer is woken: with this
                    // reason, unless it has one of its own already.
                    self.slot.note(reason);
                    connection.socket.cut();
                }
                self.slot.request.wait(Waiting::BUSY);
                self.join_partner()
            }
        };
        let bytes_in = pump.moved;
        head.clear();
        self.worker.request_head = head;
        // Nothing of the client's can break after its last byte was read: with a fault it is false.
        let request_read = ended.load(Ordering::SeqCst);
        // A partner that fails stops the client's input to wake us. All of the body may be here all the same, but no other
        // request can come.
        let stopped = read_on && matches!(outcome.end, ResponseEnd::Failed { .. });
        Err(Exchanged { read_on, ..self.conclude(&connection, &outcome, bytes_in, request_read && !stopped) })
    }

    fn start_partner(&mut self, connection: &Connection, kind: JobKind) {
        // Both threads are this session's now, for as long as it takes.
        self.company.let_go();
        self.shared.waiter.watch_only_resets(self.session);
        let buf = self.answer_buf.take().expect("the partner has it only while it runs");
        self.slot.set_partner_ended(false);
        self.worker.partner.start(Job {
            client: Arc::clone(&self.session.socket),
            backend: Arc::clone(&connection.socket),
            buf,
            snapshot: Arc::clone(self.snapshot),
            slot: self.slot.index,
            kind,
        });
    }

    fn join_partner(&mut self) -> Outcome {
        let (buf, outcome) = self.worker.partner.join();
        self.slot.set_partner_ended(false);
        *self.answer_buf = Some(buf);
        self.shared.waiter.watch_all(self.session);
        outcome
    }

    /// After the 101: the partner takes one way, this thread the other. Bytes that either side has sent already are first.
    pub(super) fn tunnel(&mut self, connection: &Connection, switched: &Outcome) -> Exchanged {
        self.slot.lift_due();
        self.consume_head();
        self.start_partner(connection, JobKind::Tunnel);
        let waiting = Waiting::new(Phase::Tunnel, self.snapshot.config.timeouts.tunnel);
        let company = self.company;
        let to = Wire { socket: &connection.socket, half: &self.slot.request, waiting, company };
        let (from_broke, to_broke) = (CloseReason::ClientGone, CloseReason::AnswerCut);
        let way = OneWay { from: &self.session.socket, to, slot: self.slot, from_broke, to_broke };
        let (bytes_in, there) = way.run(self.buf);
        let back = self.join_partner();
        let reason = match back.end {
            // Both ways ended by themselves: what the slot was told after that changes nothing.
            ResponseEnd::Switched if there == CloseReason::Done => CloseReason::Done,
            ResponseEnd::Failed { reason, .. } => self.slot.cut_reason().unwrap_or(reason),
            _ => self.slot.cut_reason().unwrap_or(there),
        };
        Exchanged {
            backend: Some(Arc::clone(&connection.backend)),
            status: Some(101),
            first_byte: switched.first_byte,
            bytes_in,
            bytes_out: back.bytes,
            reason,
            begun: true,
            request_read: true,
            keep: false,
            blind: false,
            read_on: true,
        }
    }
}

/// Why the request did not get through; `None` where only the backend stopped taking it, since its answer says more.
fn blame(fault: &PumpFault) -> Option<CloseReason> {
    match fault {
        PumpFault::Sink(_) => None,
        PumpFault::Source(_) => Some(CloseReason::ClientGone),
        PumpFault::SourceEnded => Some(CloseReason::Refused(Refusal::new(400, "the request body ended early"))),
        PumpFault::Framing(fault) => Some(CloseReason::Refused(Refusal::new(400, fault.0))),
        PumpFault::TooLarge => Some(CloseReason::Refused(TOO_LARGE)),
    }
}
