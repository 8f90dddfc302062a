//! The other direction of a session: what the backend answers, to the client.
//!
//! Interim answers that came together leave together. A fault is returned with what the client can still be told; whoever
//! runs the session tells it. Not here: sockets, and what is done with the connections afterwards.

use std::io::IoSlice;

use layer7router::error::CloseReason;
use layer7router::http::framing::{BodyReader, ResponseBody};
use layer7router::http::head::{Scan, parse_response, scan_response};
use layer7router::http::{BadResponse, no_fields, rebuild};

use crate::bay::Bay;
use crate::facts::Facts;
use crate::outgoing::{Outgoing, PARTS_MAX};
use crate::site::Site;
use crate::up::Flow;

/// Interim answers (1xx) that one request may have.
const INTERIM_MAX: usize = 64;
/// Bytes of interim answers that may wait for the one behind them.
const INTERIM_HELD_MAX: usize = 4096;

/// Why an answer failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Why.
    pub reason: CloseReason,
    /// The backend has sent something, so the request must not be sent again.
    pub answered: bool,
    /// The client has a part of the final answer: nothing but a reset can tell it.
    pub begun: bool,
}

/// Where in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Body,
    /// All of it is in `out`.
    Whole,
}

/// The backend's side.
#[derive(Debug)]
pub struct Down {
    /// What the backend has sent.
    pub bay: Bay,
    /// On its way to the client.
    pub out: Outgoing,
    stage: Stage,
    scanned: usize,
    interims: usize,
    reader: BodyReader,
    chunked: bool,
    trailers_pass: bool,
    /// Something came.
    answered: bool,
    /// A byte of the final answer was taken by the client's socket.
    begun: bool,
    /// The client was told that the session stays.
    keep: bool,
    /// The backend's connection may be kept.
    backend_keeps: bool,
    /// The backend has ended.
    ended: bool,
}

impl Default for Down {
    fn default() -> Self {
        Self {
            bay: Bay::default(),
            out: Outgoing::default(),
            stage: Stage::Head,
            scanned: 0,
            interims: 0,
            reader: BodyReader::response(ResponseBody::None),
            chunked: false,
            trailers_pass: false,
            answered: false,
            begun: false,
            keep: false,
            backend_keeps: false,
            ended: false,
        }
    }
}

impl Down {
    /// A request was sent, or is about to be: its answer comes next. Nothing is on its way to the client.
    pub fn begin(&mut self) {
        self.bay.clear();
        self.out.clear();
        self.stage = Stage::Head;
        (self.scanned, self.interims) = (0, 0);
        (self.answered, self.begun, self.ended) = (false, false, false);
    }

    /// The backend sends no more: it has closed, or the connection broke.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Of an answer that is done: the client's session goes on.
    pub fn keeps_client(&self) -> bool {
        self.keep
    }

    /// Of an answer that is done: its connection may serve another exchange, if all of the request has been sent. Bytes
    /// behind an answer are nobody's (RFC 9112 section 9.2).
    pub fn keeps_backend(&self) -> bool {
        self.backend_keeps && self.bay.unread().len() == self.out.consumes() && !self.ended
    }

    /// All of the answer has been read; the rest of it may still be in `out`.
    pub fn is_whole(&self) -> bool {
        self.stage == Stage::Whole
    }

    /// Puts what is here of the answer into `out`. `whole`: all of the request has been read from the client.
    pub fn pump(&mut self, site: &Site, facts: &Facts, whole: bool) -> Result<Flow, Fault> {
        loop {
            if !self.out.is_empty() && (self.out.has_begun() || self.out.is_loaded()) {
                return Ok(Flow::Write);
            }
            let waits = if self.out.is_empty() { Flow::Read } else { Flow::Write };
            match self.stage {
                Stage::Head => {
                    let len = match scan_response(self.bay.unread(), self.scanned) {
                        Scan::Whole { len, .. } => len,
                        Scan::Bad(why) => return Err(self.bad(why)),
                        Scan::Partial { scanned, .. } => {
                            self.scanned = scanned;
                            self.answered |= scanned > 0;
                            if self.bay.is_full() {
                                return Err(self.bad(BadResponse("the backend's head is larger than a slice")));
                            }
                            if self.ended && waits == Flow::Read {
                                return Err(self.fault(CloseReason::BackendClosed));
                            }
                            return Ok(waits);
                        }
                    };
                    self.answered = true;
                    self.head(len, site, facts, whole)?;
                    if self.stage == Stage::Head && self.out.head.len() >= INTERIM_HELD_MAX {
                        return Ok(Flow::Write);
                    }
                }
                Stage::Body => {
                    let taken = match self.reader.take(self.bay.unread_mut()) {
                        Ok(taken) => taken,
                        Err(fault) => return Err(self.bad(BadResponse(fault.0))),
                    };
                    self.out.load(&self.bay, &taken, self.chunked, self.trailers_pass);
                    self.out.skip_if_empty(&mut self.bay);
                    if taken.end {
                        self.stage = Stage::Whole;
                    } else if !self.out.is_empty() {
                        return Ok(Flow::Write);
                    } else if taken.consumed == 0 || self.bay.is_empty() {
                        if self.bay.is_full() {
                            let why = "a part of the body's framing is larger than a slice";
                            return Err(self.bad(BadResponse(why)));
                        }
                        if !self.ended {
                            return Ok(Flow::Read);
                        }
                        if self.reader.finish().is_err() {
                            return Err(self.fault(CloseReason::AnswerCut));
                        }
                        if self.chunked {
                            self.out.begin_head();
                            self.out.end_chunks(b"");
                        }
                        self.stage = Stage::Whole;
                    }
                }
                Stage::Whole => return Ok(if self.out.is_empty() { Flow::Done } else { Flow::Write }),
            }
        }
    }

    /// One whole head.
    fn head(&mut self, len: usize, site: &Site, facts: &Facts, whole: bool) -> Result<(), Fault> {
        let mut fields = no_fields();
        let parsed = parse_response(&self.bay.unread()[..len], &mut fields, facts.asker.head_request);
        let head = match parsed {
            Ok(head) => head,
            Err(why) => return Err(self.bad(why)),
        };
        match head.status {
            101 => {
                return Err(self.bad(BadResponse("the backend switched to a protocol that nobody asked for")));
            }
            100..=199 if self.interims == INTERIM_MAX => {
                return Err(self.bad(BadResponse("the backend sent too many interim answers")));
            }
            100..=199 => {
                self.interims += 1;
                if facts.reads_chunks() {
                    let Ok(()) = rebuild::interim(&head, self.out.begin_head());
                    self.out.send_head();
                }
            }
            _ => {
                // Chunks are for HTTP/1.1 only; others read until the end.
                let leaves = match head.body {
                    ResponseBody::Chunked if !facts.reads_chunks() => ResponseBody::UntilClose,
                    body => body,
                };
                self.keep = facts.keep && whole && leaves != ResponseBody::UntilClose;
                self.backend_keeps = head.keep_alive;
                self.trailers_pass = head.trailers_pass;
                self.chunked = leaves == ResponseBody::Chunked;
                self.reader = BodyReader::response(head.body);
                let route = facts.route.map(|index| &site.snapshot.config.routes[index]);
                let how = rebuild::ResponseRebuild {
                    set: route.map_or(&[], |route| &route.set_response_header),
                    remove: route.map_or(&[], |route| &route.remove_response_header),
                    client: facts.asker.version,
                    keep: self.keep,
                    switching: false,
                    body: leaves,
                    head_request: facts.asker.head_request,
                };
                let Ok(()) = rebuild::response(&head, &how, self.out.begin_head());
                self.out.send_head();
                self.stage = if self.reader.is_finished() { Stage::Whole } else { Stage::Body };
            }
        }
        self.bay.consume(len);
        self.scanned = 0;
        Ok(())
    }

    fn bad(&self, why: BadResponse) -> Fault {
        Fault { answered: true, ..self.fault(CloseReason::BadAnswer(why.0)) }
    }

    fn fault(&self, reason: CloseReason) -> Fault {
        Fault { reason, answered: self.answered, begun: self.begun }
    }

    /// What is to be written to the client.
    pub fn parts<'a>(&'a self, room: &'a mut [IoSlice<'a>; PARTS_MAX]) -> &'a [IoSlice<'a>] {
        self.out.parts(&self.bay, room)
    }

    /// The client took `n` bytes of it.
    pub fn took(&mut self, n: usize) {
        self.tells();
        self.out.took(n, &mut self.bay);
    }

    /// What is in `out` is being written to the client.
    pub fn tells(&mut self) {
        self.begun |= self.stage != Stage::Head;
    }

    /// The client has a part of the final answer.
    pub fn has_begun(&self) -> bool {
        self.begun
    }
}
