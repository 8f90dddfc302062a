//! One direction of a session: what the client sends, to the backend.
//!
//! ```text
//! turn ── a whole head ──▶ Forward: `out` has the head ──▶ pump: `out` has what is here of the body ──▶ .. ──▶ Done
//!   ▲  └─ the router's own answer, a refusal                                                                 │
//!   └────────────────────────────── the next request, whose bytes may be here already ◀──────────────────────┘
//! ```
//!
//! Not here: sockets, and what the backend says.

use std::io::IoSlice;
use std::time::Instant;

use layer7router::answer::{Asker, OwnAnswer};
use layer7router::error::CloseReason;
use layer7router::http::Refusal;
use layer7router::http::forwarded::Peer;
use layer7router::http::framing::{Body, BodyReader};
use layer7router::http::head::{Scan, scan, uri_too_long};
use layer7router::plan::{Course, METHODS, Maker, TOO_LARGE};

use crate::bay::Bay;
use crate::desk::Desk;
use crate::facts::Facts;
use crate::outgoing::{Outgoing, PARTS_MAX};

const HEAD_TOO_LARGE: Refusal = Refusal::new(431, "the request head is larger than this server takes");
const PART_TOO_LARGE: Refusal = Refusal::new(400, "a part of the body's framing is larger than a slice");

/// What a session is to do with what has arrived.
#[derive(Debug)]
pub enum Turn {
    /// To read more of the client.
    Read,
    /// To send what is in `out` to this backend, to pump the body, and to wait for the answer.
    Forward(usize, Facts),
    /// To send the client what was put into the answer.
    Answer(After),
    /// Nothing: the client has ended.
    End,
}

/// What becomes of a session when what it has to send is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Another exchange may follow.
    Keep,
    /// It is closed.
    Close,
    /// The client may be sending still: its bytes are dropped until it ends, or our last answer would be destroyed.
    Linger,
    /// The client has a part of an answer: it gets a reset.
    Reset,
}

/// What one direction of a body waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// For its source.
    Read,
    /// For what is in `out` to be taken.
    Write,
    /// All of it has been sent.
    Done,
}

/// The client's side.
#[derive(Debug)]
pub struct Up {
    /// What the client has sent.
    pub bay: Bay,
    /// On its way to the backend.
    pub out: Outgoing,
    scanned: usize,
    reader: BodyReader,
    chunked: bool,
    trailers_pass: bool,
    limit: Option<u64>,
    moved: u64,
    /// All of the request has been read.
    whole: bool,
    /// Without a byte of body: it may be sent again.
    bare: bool,
    /// The client has ended.
    ended: bool,
}

impl Default for Up {
    fn default() -> Self {
        Self {
            bay: Bay::default(),
            out: Outgoing::default(),
            scanned: 0,
            reader: BodyReader::request(Body::None),
            chunked: false,
            trailers_pass: false,
            limit: None,
            moved: 0,
            whole: true,
            bare: true,
            ended: false,
        }
    }
}

impl Up {
    /// The client sends no more.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The client sends no more, and has been heard.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// All of the request has been read.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// The request had no body.
    pub fn is_bare(&self) -> bool {
        self.bare
    }

    /// Looks for the next request. An own answer is put into `answer`, which has been sent whole.
    pub fn turn(&mut self, desk: &mut Desk, peer: Peer, answer: &mut Outgoing) -> Turn {
        let limits = &desk.site.snapshot.config.limits;
        let (limit, uri_size) = (limits.header_size, limits.uri_size);
        let bytes = self.bay.unread();
        let (skip, len) = match scan(bytes, self.scanned) {
            Scan::Whole { len, .. } if len > limit => return self.refuse(HEAD_TOO_LARGE, desk, answer),
            Scan::Whole { skip, len } => (skip, len),
            Scan::Bad(refusal) => return self.refuse(refusal, desk, answer),
            Scan::Partial { begun, scanned } => {
                self.scanned = scanned;
                return if begun && uri_too_long(bytes, uri_size) {
                    self.refuse(Refusal::new(414, "the request target is longer than this server takes"), desk, answer)
                } else if bytes.len() >= limit {
                    self.refuse(HEAD_TOO_LARGE, desk, answer)
                } else if self.ended && begun {
                    self.refuse(Refusal::new(400, "the request ended in the middle of its head"), desk, answer)
                } else if self.ended {
                    Turn::End
                } else {
                    Turn::Read
                };
            }
        };
        self.out.clear();
        let Desk { site, ids, .. } = &mut *desk;
        let maker = Maker {
            snapshot: &site.snapshot,
            peer,
            listen: 0,
            may_keep: true,
            // There are no tunnels here.
            upgrades: false,
            via: &site.via,
            now: Instant::now(),
        };
        let planned = maker.plan(&bytes[skip..skip + len], ids, &mut self.out.head, |_| ());
        let plan = match planned {
            Ok(plan) => plan,
            Err(refusal) => return self.refuse(refusal, desk, answer),
        };
        self.bay.consume(skip + len);
        self.scanned = 0;
        self.reader = BodyReader::request(plan.body);
        self.whole = self.reader.is_finished();
        self.bare = self.whole;
        let facts = Facts::of(&plan);
        let own = match plan.course {
            Course::Forward(forward) => match desk.site.pools[forward.pool].next() {
                Some(backend) => {
                    self.chunked = plan.body == Body::Chunked;
                    self.trailers_pass = plan.trailers_pass;
                    self.limit = plan.body_limit;
                    self.moved = 0;
                    self.out.send_head();
                    return Turn::Forward(backend, facts);
                }
                None => OwnAnswer::failure(CloseReason::NoBackend, &facts.asker.id),
            },
            Course::Answer(own, _) => own,
        };
        self.drop_what_is_here();
        let keep = facts.keep && self.whole;
        answer.clear();
        desk.put_answer(&own, &facts.asker, keep, &mut answer.head);
        answer.send_head();
        Turn::Answer(self.after(keep, &facts))
    }

    /// What becomes of the session when its client has a whole answer, and was told whether it stays.
    pub fn after(&self, keep: bool, facts: &Facts) -> After {
        match (keep, self.whole) {
            (true, true) => After::Keep,
            // Who said that it was the last request sends nothing more.
            (false, true) if !facts.keep || self.ended => After::Close,
            _ => After::Linger,
        }
    }

    /// A body that nobody wants, as far as it is here: the session can go on when that is all.
    fn drop_what_is_here(&mut self) {
        while !self.whole {
            match self.reader.take(self.bay.unread_mut()) {
                Ok(taken) if taken.end || taken.consumed > 0 => {
                    self.bay.consume(taken.consumed);
                    self.whole = taken.end;
                }
                _ => return,
            }
        }
    }

    /// Tells a client why its bytes are no request. Nothing after them can be trusted.
    fn refuse(&mut self, refusal: Refusal, desk: &mut Desk, answer: &mut Outgoing) -> Turn {
        let asker = Asker::unknown(desk.ids.make());
        let mut own = OwnAnswer::failure(CloseReason::Refused(refusal), &asker.id);
        if refusal.status == 405 {
            own.fields.push(("Allow".to_owned(), METHODS.as_bytes().to_vec()));
        }
        answer.clear();
        desk.put_answer(&own, &asker, false, &mut answer.head);
        answer.send_head();
        self.bay.clear();
        Turn::Answer(After::Linger)
    }

    /// Puts what is here of the body into `out`. An error is why the client's bytes are no body.
    pub fn pump(&mut self) -> Result<Flow, Refusal> {
        loop {
            // A head waits for the part of its body that is here, and for no other.
            let head_leaves = !self.out.is_empty() && (self.out.has_begun() || self.bay.is_empty());
            if self.whole || head_leaves || self.out.is_loaded() {
                return Ok(if self.out.is_empty() { Flow::Done } else { Flow::Write });
            }
            let taken = self.reader.take(self.bay.unread_mut()).map_err(|fault| Refusal::new(400, fault.0))?;
            self.moved = self.moved.saturating_add(taken.payload as u64);
            if self.limit.is_some_and(|limit| self.moved > limit) {
                return Err(TOO_LARGE);
            }
            self.whole = taken.end;
            self.out.load(&self.bay, &taken, self.chunked, self.trailers_pass);
            self.out.skip_if_empty(&mut self.bay);
            if !self.out.is_empty() {
                return Ok(Flow::Write);
            }
            if !self.whole && (taken.consumed == 0 || self.bay.is_empty()) {
                if self.bay.is_full() {
                    return Err(PART_TOO_LARGE);
                }
                return if self.ended {
                    Err(Refusal::new(400, "the request body ended early"))
                } else {
                    Ok(Flow::Read)
                };
            }
        }
    }

    /// What is to be written to the backend.
    pub fn parts<'a>(&'a self, room: &'a mut [IoSlice<'a>; PARTS_MAX]) -> &'a [IoSlice<'a>] {
        self.out.parts(&self.bay, room)
    }

    /// The backend took `n` bytes of it.
    pub fn took(&mut self, n: usize) {
        self.out.took(n, &mut self.bay);
    }
}
