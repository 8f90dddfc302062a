//! The waiter's refusals, each with its date, its id and its line in the access log.
//!
//! They are made by the waiter's thread, which must not block: the text is made in memory, and the access log never waits.

use std::time::Duration;

use log::Level;

use crate::access_log::{AccessLog, Entry, Scratch, Seen};
use crate::answer::{Asker, OwnAnswer};
use crate::clock::Date;
use crate::error::CloseReason;
use crate::flood;
use crate::http::Refusal;
use crate::ids::IdMaker;
use crate::session::Session;
use crate::snapshot::Published;
use crate::sync::Arc;
use crate::waiter::{Refuse, WaiterRefusal};

/// Makes them.
#[derive(Debug)]
pub struct Canned {
    access: Arc<AccessLog>,
    published: Arc<Published>,
    ids: IdMaker,
    date: Date,
    seen: Seen,
    scratch: Scratch,
    text: Vec<u8>,
}

impl Canned {
    /// With the logs it writes to.
    pub fn new(access: Arc<AccessLog>, published: Arc<Published>) -> Self {
        Self {
            access,
            published,
            ids: IdMaker::default(),
            date: Date::imf(),
            seen: Seen::default(),
            scratch: Scratch::default(),
            text: Vec::new(),
        }
    }
}

impl Refuse for Canned {
    fn refuse(&mut self, session: &Session, why: WaiterRefusal) -> &[u8] {
        let refusal = match why {
            WaiterRefusal::QueueTooLong => Refusal::new(503, "all workers are busy"),
            WaiterRefusal::HeadTooSlow => Refusal::new(408, "the request head did not arrive in time"),
            WaiterRefusal::CellsExhausted => Refusal::new(408, "too many request heads are arriving slowly"),
        };
        let reason = CloseReason::Refused(refusal);
        let asker = Asker::unknown(self.ids.make());
        self.text.clear();
        let answer = OwnAnswer::failure(reason, &asker.id);
        let Ok(()) = answer.put(&asker, self.date.now(), false, &mut self.text);
        if flood::passes(Level::Info, reason.token(), refusal.status, flood::SOME) {
            log::info!("session of {}: {} {}", session.peer, refusal.status, refusal.why);
        }
        self.seen.take_nothing();
        let entry = Entry {
            client: session.peer,
            status: refusal.status,
            route: "-",
            pool: "-",
            backend: "-",
            id: asker.id.as_bytes(),
            first_byte: None,
            total: Duration::ZERO,
            bytes_in: 0,
            bytes_out: answer.body.len() as u64,
            end: reason,
            generation: self.published.generation(),
        };
        self.access.log(&entry, &self.seen, &mut self.scratch);
        &self.text
    }
}
