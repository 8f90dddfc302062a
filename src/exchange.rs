//! One exchange: a request that is here as a whole head, to the end of its answer.
//!
//! ```text
//!  request thread (w017.req)                              response thread (w017.rsp)
//!  plan: parse, route, rebuild
//!  connection: kept or new
//!  head and body so far ──▶ backend
//!    │ all of it was here,           │ more is to come
//!    ▼                               ├── wake ───────────▶ answer ◀── backend
//!  turn around: answer ◀── backend   body ──▶ backend      answer ──▶ client
//!  answer ──▶ client                 └── join ◀─────────── outcome
//!  conclude: keep the backend's connection, tell a failure, log
//! ```

use std::time::Instant;

use log::Level;

use crate::access_log::{Entry, Seen};
use crate::answer::{Asker, OwnAnswer};
use crate::buf::Buf;
use crate::company::Company;
use crate::crew::{Shared, Worker};
use crate::error::{CloseReason, Side};
use crate::flood;
use crate::http::Refusal;
use crate::http::forwarded::Peer;
use crate::http::framing::BodyReader;
use crate::outgoing::Wire;
use crate::plan::{Course, Forward, METHODS, Maker, Plan};
use crate::registry::{Phase, SlotLease, Waiting};
use crate::request::{Exchanged, RequestHalf, Requested, Sent};
use crate::session::Session;
use crate::snapshot::Snapshot;
use crate::sync::{Arc, Ordering};

/// What becomes of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Another exchange may follow.
    Keep,
    /// Nothing is on its way any more: it is closed.
    Close,
    /// Something may be on its way that would destroy our last answer: it is read and dropped for a while.
    Linger {
        /// Its input was stopped: the end of it says nothing.
        blind: bool,
    },
    /// The client has a part of an answer: it gets a reset.
    Reset,
}

/// How far an exchange has come.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a box would be an allocation for each exchange")]
pub enum Ran {
    /// Its answer is awaited.
    Asked(Asked),
    /// It is over, and this becomes of the session.
    Over(After),
}

/// An exchange whose answer is awaited.
#[derive(Debug)]
pub struct Asked {
    plan: Plan,
    forward: Forward,
    /// What was sent.
    pub sent: Sent,
    /// Of the head, those bytes are still in the first slice.
    head_len: usize,
    /// Since when it runs.
    pub begun: Instant,
    /// Its configuration.
    pub snapshot: Arc<Snapshot>,
    /// Index of the listener it came in by.
    pub listen: usize,
}

/// What an exchange works with.
pub struct Exchange<'a> {
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
    /// Index of the listener it came in by.
    pub listen: usize,
    /// The first slice.
    pub request: &'a mut Buf,
    /// The second slice.
    pub answer: &'a mut Option<Buf>,
    /// What of the request is logged.
    pub seen: &'a mut Seen,
    /// Since when it runs.
    pub begun: Instant,
    /// It read more of the client than the visit had read.
    pub read_on: bool,
    /// Whom this thread lets go before it waits.
    pub company: Company<'a>,
}

impl Exchange<'_> {
    /// Runs it until its answer is awaited, or to its end: `skip` bytes of empty lines and `len` bytes of head are in the first
    /// slice.
    pub fn run(&mut self, skip: usize, len: usize) -> Ran {
        self.shared.counters.exchanges.add();
        let count = self.session.exchanges.fetch_add(1, Ordering::Relaxed) + 1;
        let config = &self.snapshot.config;
        let may_keep = !self.shared.waiter.is_draining()
            && !self.session.entrance.retired.load(Ordering::Relaxed)
            && config.limits.requests_per_connection.is_none_or(|limit| count < limit);
        let maker = Maker {
            snapshot: self.snapshot,
            peer: self.session.peer,
            listen: self.listen,
            may_keep,
            upgrades: true,
            via: &self.shared.via,
            now: self.begun,
        };
        let logged = self.shared.access.is_on();
        let Worker { ids, request_head, .. } = &mut *self.worker;
        let seen = &mut *self.seen;
        let head = &self.request.unread()[skip..skip + len];
        request_head.clear();
        if !logged {
            // It may be on when this ends.
            seen.take_nothing();
        }
        let planned = maker.plan(head, ids, request_head, |head| {
            if logged {
                let version: &[u8] =
                    if head.version == crate::http::Version::Http10 { b" HTTP/1.0" } else { b" HTTP/1.1" };
                seen.take(
                    &[head.method.as_str().as_bytes(), b" ", head.raw_target, version],
                    head.field("referer"),
                    head.field("user-agent"),
                );
            }
        });
        match planned {
            Ok(plan) => self.follow(plan, skip + len),
            Err(refusal) => {
                if logged {
                    seen.take_unread(head);
                }
                Ran::Over(self.refuse(refusal))
            }
        }
    }

    /// Passes on the answer of one that was asked, and ends it.
    pub fn answer(&mut self, asked: Asked) -> After {
        let Asked { plan, forward, sent, head_len, .. } = asked;
        let exchanged = self.half(&plan, head_len).answer(&forward, sent);
        self.forwarded(&plan, &exchanged, forward.pool)
    }

    /// Tells a client why its bytes are no request, and ends the session: nothing after them can be trusted.
    pub fn refuse(&mut self, refusal: Refusal) -> After {
        let asker = Asker::unknown(self.worker.ids.make());
        let reason = CloseReason::Refused(refusal);
        let mut answer = OwnAnswer::failure(reason, &asker.id);
        if refusal.status == 405 {
            // CONNECT, the only method refused before it is routed.
            answer.fields.push(("Allow".to_owned(), METHODS.as_bytes().to_vec()));
        }
        let sent = self.send(&answer, &asker, false);
        self.log(reason, Some(answer.status), self.session.peer, &asker, None, None, (0, sent.unwrap_or(0)), None);
        if sent.is_some() { After::Linger { blind: false } } else { After::Close }
    }

    fn follow(&mut self, plan: Plan, head_len: usize) -> Ran {
        match &plan.course {
            Course::Forward(forward) => {
                let forward = *forward;
                let mut half = self.half(&plan, head_len);
                match half.send(&forward) {
                    Requested::Sent(sent) => {
                        let head_len = half.head_len;
                        let (begun, snapshot, listen) = (self.begun, Arc::clone(self.snapshot), self.listen);
                        Ran::Asked(Asked { plan, forward, sent, head_len, begun, snapshot, listen })
                    }
                    Requested::Over(exchanged) => Ran::Over(self.forwarded(&plan, &exchanged, forward.pool)),
                }
            }
            Course::Answer(answer, reason) => {
                if *reason == CloseReason::RateLimited {
                    self.shared.counters.refused_rate.add();
                }
                self.request.consume(head_len);
                let whole = body_is_here(&plan, self.request);
                let keep = plan.facts.keep && whole;
                let sent = self.send(answer, &plan.asker, keep);
                let out = (0, sent.unwrap_or(0));
                self.log(*reason, Some(answer.status), plan.client, &plan.asker, plan.facts.route, None, out, None);
                Ran::Over(match sent {
                    None => After::Close,
                    Some(_) => after(&plan, keep, whole, false),
                })
            }
        }
    }

    fn half<'b>(&'b mut self, plan: &'b Plan, head_len: usize) -> RequestHalf<'b> {
        RequestHalf {
            shared: self.shared,
            worker: self.worker,
            session: self.session,
            slot: self.slot,
            snapshot: self.snapshot,
            plan,
            buf: self.request,
            head_len,
            answer_buf: self.answer,
            begun: self.begun,
            company: self.company,
        }
    }

    /// It is over, as far as its backend is concerned.
    fn forwarded(&mut self, plan: &Plan, exchanged: &Exchanged, pool: usize) -> After {
        self.read_on = exchanged.read_on;
        if let Some(answer) = self.answer.as_mut() {
            answer.clear();
        }
        self.conclude(plan, exchanged, pool)
    }

    fn conclude(&mut self, plan: &Plan, exchanged: &Exchanged, pool: usize) -> After {
        let reason = exchanged.reason;
        let mut status = exchanged.status;
        let mut bytes_out = exchanged.bytes_out;
        if reason == CloseReason::ClientTooSlow {
            self.shared.counters.slow_clients.add();
        }
        let cut = self.slot.cut_reason();
        let next = if reason == CloseReason::Done {
            after(plan, exchanged.keep, exchanged.request_read, exchanged.blind)
        } else if exchanged.begun {
            After::Reset
        } else if !reason.can_be_told() || !self.client_can_hear(reason) {
            status = Some(499);
            After::Reset
        } else {
            // The whole request was read: the session is as good as before, whatever became of the backend.
            let keep = plan.facts.keep
                && exchanged.request_read
                && cut.is_none_or(|cut| cut.side() == Side::Backend)
                && reason != CloseReason::Stopped;
            if keep {
                self.slot.forgive();
            }
            let answer = OwnAnswer::failure(reason, &plan.asker.id);
            status = Some(answer.status);
            match self.send(&answer, &plan.asker, keep) {
                Some(sent) => {
                    bytes_out = sent;
                    after(plan, keep, exchanged.request_read, exchanged.blind)
                }
                None => After::Close,
            }
        };
        let backend = exchanged.backend.as_deref().map(|backend| backend.name.as_str());
        let bytes = (exchanged.bytes_in, bytes_out);
        let pool = Some((pool, backend));
        self.log(reason, status, plan.client, &plan.asker, plan.facts.route, pool, bytes, exchanged.first_byte);
        next
    }

    /// A cut that shut the client's socket too leaves nothing to write to.
    fn client_can_hear(&self, reason: CloseReason) -> bool {
        !matches!(reason, CloseReason::Stopped | CloseReason::TunnelIdle) || self.slot.cut_reason().is_none()
    }

    /// Bytes of body sent; `None` when the client is gone.
    fn send(&mut self, answer: &OwnAnswer, to: &Asker, keep: bool) -> Option<u64> {
        let waiting = Waiting::new(Phase::ClientWrite, self.snapshot.config.timeouts.send);
        let wire = Wire { socket: &self.session.socket, half: &self.slot.response, waiting, company: self.company };
        let Worker { response_head, date, .. } = &mut *self.worker;
        response_head.clear();
        let sent = answer
            .put(to, date.now(), keep, &mut wire.gather(response_head))
            .and_then(|()| wire.send(response_head, []));
        self.slot.response.wait(Waiting::BUSY);
        let without_body = to.head_request || matches!(answer.status, 204 | 304);
        sent.ok().map(|()| if without_body { 0 } else { answer.body.len() as u64 })
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the facts of one line, each named at the only places that know them"
    )]
    fn log(
        &mut self,
        reason: CloseReason,
        status: Option<u16>,
        client: Peer,
        asker: &Asker,
        route: Option<usize>,
        pool: Option<(usize, Option<&str>)>,
        (bytes_in, bytes_out): (u64, u64),
        first_byte: Option<Instant>,
    ) {
        let status = status.unwrap_or_else(|| reason.status());
        if reason != CloseReason::Done && flood::passes(Level::Info, reason.token(), status, flood::SOME) {
            log::info!(
                "exchange {}: {status} {}: {}",
                String::from_utf8_lossy(asker.id.as_bytes()),
                reason.token(),
                reason.sentence()
            );
        }
        log::debug!("exchange {}: {status} {}", String::from_utf8_lossy(asker.id.as_bytes()), reason.token());
        if !self.shared.access.is_on() {
            return;
        }
        let config = &self.snapshot.config;
        let entry = Entry {
            client,
            status,
            route: route.map_or("-", |index| &config.routes[index].name),
            pool: pool.map_or("-", |(index, _)| &config.pools[index].name),
            backend: pool.and_then(|(_, backend)| backend).unwrap_or("-"),
            id: asker.id.as_bytes(),
            first_byte: first_byte.map(|at| at.saturating_duration_since(self.begun)),
            total: self.begun.elapsed(),
            bytes_in,
            bytes_out,
            end: reason,
            generation: self.snapshot.generation,
        };
        self.shared.access.log(&entry, self.seen, &mut self.worker.scratch);
    }
}

/// What becomes of a session whose client has a whole answer.
fn after(plan: &Plan, keep: bool, request_read: bool, blind: bool) -> After {
    match (keep, request_read) {
        (true, _) => After::Keep,
        // A client that said it was its last request sends nothing more.
        (false, true) if plan.last => After::Close,
        (false, true) => After::Linger { blind: false },
        (false, false) => After::Linger { blind },
    }
}

/// Whether all of a body that nobody wants is in the slice: it is used up then, and the session can go on.
fn body_is_here(plan: &Plan, buf: &mut Buf) -> bool {
    let mut reader = BodyReader::request(plan.body);
    while !reader.is_finished() {
        match reader.take(buf.unread_mut()) {
            Ok(taken) if taken.end || taken.consumed > 0 => buf.consume(taken.consumed),
            _ => return false,
        }
    }
    true
}
