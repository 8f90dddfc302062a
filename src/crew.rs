//! What all workers share, and what each request thread has of its own.
//!
//! Passed by reference down the whole of an exchange; nothing here does anything.

use crossbeam_channel::Receiver;

use crate::access_log::{AccessLog, Scratch, Seen};
use crate::arena::Arena;
use crate::cells::Cells;
use crate::clock::Date;
use crate::ids::IdMaker;
use crate::metrics::Counters;
use crate::outgoing::HeadBuffer;
use crate::pair::Partner;
use crate::permits::Permits;
use crate::registry::Registry;
use crate::session::Session;
use crate::snapshot::{Published, Snapshot};
use crate::sync::Arc;
use crate::waiter::Waiter;
use crate::yielding::Yielding;

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    /// Slices.
    pub arena: Arc<Arena>,
    /// Put-away heads.
    pub cells: Arc<Cells>,
    /// A slot for each session that runs.
    pub registry: Arc<Registry>,
    /// The hot set.
    pub permits: Arc<Permits>,
    /// Where sessions park.
    pub waiter: Arc<Waiter>,
    /// The configuration in force.
    pub published: Arc<Published>,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// One line an exchange.
    pub access: Arc<AccessLog>,
    /// What we call ourselves in Via.
    pub via: String,
}

/// A request thread's own.
#[derive(Debug)]
pub struct Worker {
    /// Its number.
    pub index: usize,
    /// The snapshot of its last exchange.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Request heads on their way to a backend.
    pub request_head: HeadBuffer,
    /// Response heads, while it has turned around, and own answers.
    pub response_head: HeadBuffer,
    /// Makes request ids.
    pub ids: IdMaker,
    /// For the Date field.
    pub date: Date,
    /// For the access log.
    pub scratch: Scratch,
    /// The same, for sessions that it will run.
    pub seen: Vec<Seen>,
    /// Its partner.
    pub partner: Partner,
    /// Sessions it has looked for.
    pub turns: u32,
    /// Whether it lets others run before it waits for an answer.
    pub yielding: Yielding,
    /// Whether other sessions wait for a worker.
    queue: Receiver<Arc<Session>>,
}

impl Worker {
    /// The tools of worker `index`.
    pub fn new(index: usize, partner: Partner, queue: Receiver<Arc<Session>>) -> Self {
        Self {
            index,
            snapshot: None,
            request_head: HeadBuffer::new(),
            response_head: HeadBuffer::new(),
            ids: IdMaker::default(),
            date: Date::imf(),
            scratch: Scratch::default(),
            seen: Vec::new(),
            partner,
            turns: 0,
            yielding: Yielding::default(),
            queue,
        }
    }

    /// Whether other sessions wait.
    pub fn others_wait(&self) -> bool {
        !self.queue.is_empty()
    }
}
