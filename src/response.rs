//! The response half of an exchange: from the first byte of the backend's head to the last byte of its body.
//!
//! Runs on the response thread while the request is still on its way, else on the request thread that turned around; it is
//! the same code. It never answers by itself: a fault is returned, and the request half, alone again, tells the client.

use std::time::{Duration, Instant};

use crate::buf::Buf;
use crate::company::Company;
use crate::error::CloseReason;
use crate::http::framing::{BodyReader, CHUNK_END, LAST_CHUNK, ResponseBody};
use crate::http::head::{ResponseHead, Scan, parse_response, scan_response};
use crate::http::{BadResponse, Version, no_fields, rebuild};
use crate::outgoing::{HeadBuffer, Wire};
use crate::pump::{Pump, PumpFault};
use crate::registry::{Phase, Slot, Waiting};
use crate::snapshot::Snapshot;
use crate::sync::{AtomicBool, Ordering};
use crate::transport::Socket;

/// Interim answers (1xx) that one request may have.
const INTERIM_MAX: usize = 64;
/// Bytes of interim answers that may wait for the one behind them.
const INTERIM_HELD_MAX: usize = HeadBuffer::SIZE / 2;

/// What of the request decides how its answer is read and written.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// What the client speaks.
    pub version: Version,
    /// The answer has no body.
    pub head_request: bool,
    /// The client may have another exchange on this session.
    pub keep: bool,
    /// A 101 was asked for.
    pub upgrade: bool,
    /// The client waits for a 100 before it sends its body.
    pub expects_continue: bool,
    /// Index of the route, for the fields it sets.
    pub route: Option<usize>,
    /// How long the head may take.
    pub response_limit: Duration,
}

/// What a response half works with.
#[derive(Debug)]
pub struct ResponseHalf<'a> {
    /// Where the answer goes.
    pub client: &'a Socket,
    /// Where it comes from.
    pub backend: &'a Socket,
    /// The words for the reaper.
    pub slot: &'a Slot,
    /// The exchange's configuration.
    pub snapshot: &'a Snapshot,
    /// The exchange.
    pub facts: Facts,
    /// All of the request has been read from the client.
    pub request_ended: &'a AtomicBool,
    /// The router finishes: no session is kept.
    pub draining: &'a AtomicBool,
    /// Whom it lets go before it waits.
    pub company: Company<'a>,
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// How it ended.
    pub end: ResponseEnd,
    /// Status of the final head, when one was sent to the client.
    pub status: Option<u16>,
    /// Bytes of body sent to the client.
    pub bytes: u64,
    /// When the first byte of the answer came.
    pub first_byte: Option<Instant>,
}

/// How a response ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseEnd {
    /// The client has all of it.
    Complete {
        /// The client was told that the session stays.
        keep_client: bool,
        /// The backend's connection can serve another exchange.
        keep_backend: bool,
    },
    /// A 101 was sent on: both ways are a tunnel now.
    Switched,
    /// It did not arrive.
    Failed {
        /// Why.
        reason: CloseReason,
        /// The backend sent something, so the request must not be sent again.
        answered: bool,
        /// The client has a part of the final head: nothing but a cut can tell it.
        begun: bool,
    },
}

/// Why a response failed, before it is known what the client has seen.
struct Fault {
    reason: CloseReason,
    answered: bool,
}

impl ResponseHalf<'_> {
    /// Reads the answer into `buf`, in which some of it may be since `first_byte`, and sends it on.
    pub fn run(&self, buf: &mut Buf, head: &mut HeadBuffer, first_byte: Option<Instant>) -> Outcome {
        let mut outcome = Outcome { end: ResponseEnd::Switched, status: None, bytes: 0, first_byte };
        head.clear();
        match self.relay(buf, head, &mut outcome) {
            Ok(end) => outcome.end = end,
            Err(Fault { reason, answered }) => {
                let begun = outcome.status.is_some() && head.has_sent();
                if !begun {
                    outcome.status = None;
                }
                // Who was first to end it knows why.
                let reason = self.slot.cut_reason().unwrap_or(reason);
                outcome.end = ResponseEnd::Failed { reason, answered, begun };
            }
        }
        self.slot.response.wait(Waiting::BUSY);
        outcome
    }

    fn relay(&self, buf: &mut Buf, out: &mut HeadBuffer, outcome: &mut Outcome) -> Result<ResponseEnd, Fault> {
        let mut continued = false;
        for interims in 0..=INTERIM_MAX {
            let len = self.read_head(buf, outcome)?;
            let mut fields = no_fields();
            let head = parse_response(&buf.unread()[..len], &mut fields, self.facts.head_request).map_err(bad)?;
            match head.status {
                101 if self.facts.upgrade && switches(&head) => {
                    outcome.status = Some(101);
                    self.put_head(&head, ResponseBody::None, true, out)?;
                    self.wire().send(out, []).map_err(|_| client_gone())?;
                    buf.consume(len);
                    return Ok(ResponseEnd::Switched);
                }
                101 => return Err(bad_answer("the backend switched to a protocol that nobody asked for")),
                100..=199 if interims == INTERIM_MAX => break,
                100..=199 => {
                    if head.status == 100 {
                        continued = true;
                        self.slot.request.continued();
                    }
                    if self.facts.version == Version::Http11 {
                        rebuild::interim(&head, &mut self.wire().gather(out)).map_err(|_| client_gone())?;
                    }
                    buf.consume(len);
                    // What came together leaves together: 64 of them are not to be 64 writes. Only a head that is here
                    // already is waited for, so none is held back.
                    let hold = !out.has_sent()
                        && out.len() < INTERIM_HELD_MAX
                        && matches!(scan_response(buf.unread(), 0), Scan::Whole { .. });
                    if !hold {
                        self.wire().send(out, []).map_err(|_| client_gone())?;
                        out.clear();
                    }
                }
                status => {
                    let (body, trailers_pass, backend_keeps) = (head.body, head.trailers_pass, head.keep_alive);
                    let leaves = self.leaving(body);
                    let keep = self.facts.keep
                        && !self.draining.load(Ordering::SeqCst)
                        && self.request_ended.load(Ordering::SeqCst)
                        && leaves != ResponseBody::UntilClose;
                    outcome.status = Some(status);
                    self.put_head(&head, leaves, keep, out)?;
                    buf.consume(len);
                    self.send_body(body, trailers_pass, buf, out, outcome)?;
                    // A client that waits for its 100 sends no body any more: who waits for it is woken.
                    if self.facts.expects_continue && !continued && !self.request_ended.load(Ordering::SeqCst) {
                        self.client.stop_reading();
                    }
                    // Bytes after the answer are nobody's: that connection is not used again (RFC 9112 section 9.2).
                    // One that still takes a request after its answer is closed with it, whatever comes of the rest.
                    let keep_backend = backend_keeps && buf.is_empty() && self.request_ended.load(Ordering::SeqCst);
                    return Ok(ResponseEnd::Complete { keep_client: keep, keep_backend });
                }
            }
        }
        Err(bad_answer("the backend sent too many interim answers"))
    }

    fn read_head(&self, buf: &mut Buf, outcome: &mut Outcome) -> Result<usize, Fault> {
        let limit = self.snapshot.config.limits.header_size;
        let mut scanned = 0;
        loop {
            match scan_response(buf.unread(), scanned) {
                Scan::Whole { len, .. } if len <= limit => return Ok(len),
                Scan::Bad(why) => return Err(bad(why)),
                Scan::Partial { scanned: so_far, .. } if buf.unread().len() < limit => scanned = so_far,
                Scan::Whole { .. } | Scan::Partial { .. } => {
                    return Err(bad_answer("the backend's head is larger than this server takes"));
                }
            }
            // No progress is told until the head is whole: its deadline is for all of it.
            self.slot.response.wait(Waiting::new(Phase::ResponseHead, self.facts.response_limit));
            match self.backend.read(buf.space(), self.company) {
                Ok(n) if n > 0 => {
                    outcome.first_byte.get_or_insert_with(Instant::now);
                    buf.fill(n);
                }
                _ => {
                    let answered = outcome.first_byte.is_some();
                    return Err(Fault { reason: CloseReason::BackendClosed, answered });
                }
            }
        }
    }

    /// Puts the rebuilt head into `out`, and says whether the session stays.
    fn put_head(
        &self,
        head: &ResponseHead<'_, '_>,
        leaves: ResponseBody,
        keep: bool,
        out: &mut HeadBuffer,
    ) -> Result<(), Fault> {
        let route = self.facts.route.map(|index| &self.snapshot.config.routes[index]);
        let how = rebuild::ResponseRebuild {
            set: route.map_or(&[], |route| &route.set_response_header),
            remove: route.map_or(&[], |route| &route.remove_response_header),
            client: self.facts.version,
            keep,
            switching: head.status == 101,
            body: leaves,
            head_request: self.facts.head_request,
        };
        rebuild::response(head, &how, &mut self.wire().gather(out)).map_err(|_| client_gone())
    }

    /// What leaves for the client: chunks are for HTTP/1.1 only, others read until the end. A Unix socket knows no reset, so
    /// there a body that ends with the connection would look whole when it was cut: it leaves in chunks.
    fn leaving(&self, body: ResponseBody) -> ResponseBody {
        match (body, self.facts.version) {
            (ResponseBody::Chunked, Version::Http10) => ResponseBody::UntilClose,
            (ResponseBody::UntilClose, Version::Http11) if !self.client.is_tcp() => ResponseBody::Chunked,
            (other, _) => other,
        }
    }

    /// The head is in `out`, the body's beginning in `buf`.
    fn send_body(
        &self,
        body: ResponseBody,
        trailers_pass: bool,
        buf: &mut Buf,
        out: &mut HeadBuffer,
        outcome: &mut Outcome,
    ) -> Result<(), Fault> {
        let mut pump = Pump {
            from: self.backend,
            half: &self.slot.response,
            reading: Waiting::new(Phase::BackendRead, self.snapshot.config.timeouts.body),
            to: self.wire(),
            reader: BodyReader::response(body),
            chunked: self.leaving(body) == ResponseBody::Chunked,
            trailers_pass,
            limit: None,
            moved: 0,
        };
        let moved = pump.run(buf, out, || {});
        outcome.bytes = pump.moved;
        match moved {
            Ok(()) => Ok(()),
            Err(PumpFault::SourceEnded) if pump.reader.finish().is_ok() && self.slot.cut_reason().is_none() => {
                let end: [&[u8]; 2] = if pump.chunked { [LAST_CHUNK, CHUNK_END] } else { [b"", b""] };
                pump.to.send(out, end).map_err(|_| client_gone())
            }
            Err(PumpFault::Source(_) | PumpFault::SourceEnded) => {
                Err(Fault { reason: CloseReason::AnswerCut, answered: true })
            }
            Err(PumpFault::Sink(_)) => Err(client_gone()),
            Err(PumpFault::Framing(fault)) => Err(bad_answer(fault.0)),
            Err(PumpFault::TooLarge) => Err(bad_answer("the answer is too large")),
        }
    }

    fn wire(&self) -> Wire<'_> {
        Wire {
            socket: self.client,
            half: &self.slot.response,
            waiting: Waiting::new(Phase::ClientWrite, self.snapshot.config.timeouts.send),
            company: self.company,
        }
    }
}

/// To what was asked for, and nothing else (RFC 9110 section 7.8).
fn switches(head: &ResponseHead<'_, '_>) -> bool {
    head.field("upgrade").is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
}

fn bad(why: BadResponse) -> Fault {
    bad_answer(why.0)
}

fn bad_answer(why: &'static str) -> Fault {
    Fault { reason: CloseReason::BadAnswer(why), answered: true }
}

fn client_gone() -> Fault {
    Fault { reason: CloseReason::ClientGone, answered: true }
}
