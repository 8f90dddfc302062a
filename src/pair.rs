//! The pair: how a request thread wakes its partner, hands it the second slice, and gets both back.
//!
//! The request half owns the exchange and waits for the partner's outcome. That always comes: a panic in the partner is
//! caught, cuts both sockets and is an outcome too. It costs one exchange and blocks nobody.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crossbeam_channel::{Receiver, Sender};

use crate::buf::Buf;
use crate::error::CloseReason;
use crate::metrics::Counters;
use crate::outgoing::{HeadBuffer, Wire};
use crate::registry::{Phase, Registry, Slot, Waiting};
use crate::response::{Facts, Outcome, ResponseEnd, ResponseHalf};
use crate::snapshot::Snapshot;
use crate::sync::{Arc, AtomicBool};
use crate::transport::Socket;
use crate::tunnel;
use crate::waiter::Waiter;

/// The response thread, as its request thread sees it.
#[derive(Debug)]
pub struct Partner {
    jobs: Sender<Job>,
    done: Receiver<(Buf, Outcome)>,
    /// It was woken and not joined yet.
    busy: Cell<bool>,
    /// All of the request has been read from the client. Read by the partner while it runs.
    pub request_ended: Arc<AtomicBool>,
}

impl Partner {
    /// Wakes it.
    pub fn start(&self, job: Job) {
        // It lives as long as this sender: the only way it ends is that the sender is dropped.
        self.jobs.send(job).expect("the partner outlives its request thread");
        self.busy.set(true);
    }

    /// Waits until it is done.
    pub fn join(&self) -> (Buf, Outcome) {
        let done = self.done.recv().expect("the partner answers each job, also after a panic");
        self.busy.set(false);
        done
    }

    /// After a panic of the request thread: an outcome that nobody joined for must not become the next exchange's, and its
    /// slice goes back. The sockets are cut already.
    pub fn recover(&self) {
        if self.busy.get() {
            let _outcome_of_nobody = self.join();
        }
    }
}

/// What a partner is woken for.
#[derive(Debug)]
pub struct Job {
    /// The session's connection.
    pub client: Arc<Socket>,
    /// The exchange's.
    pub backend: Arc<Socket>,
    /// The second slice.
    pub buf: Buf,
    /// The exchange's configuration.
    pub snapshot: Arc<Snapshot>,
    /// The response, or one way of a tunnel.
    pub kind: JobKind,
}

/// Which of the two.
#[derive(Debug, Clone, Copy)]
pub enum JobKind {
    /// The response half, while the request is still on its way.
    Response(Facts),
    /// Backend to client.
    Tunnel,
}

/// The response thread's own.
#[derive(Debug)]
pub struct ResponseThread {
    /// Number of the worker, and of its slot.
    pub index: usize,
    /// The words for the reaper.
    pub registry: Arc<Registry>,
    /// Tells whether sessions are kept.
    pub waiter: Arc<Waiter>,
    /// What is counted.
    pub counters: Arc<Counters>,
    jobs: Receiver<Job>,
    done: Sender<(Buf, Outcome)>,
    request_ended: Arc<AtomicBool>,
}

/// Both ends.
pub fn new(
    index: usize,
    registry: Arc<Registry>,
    waiter: Arc<Waiter>,
    counters: Arc<Counters>,
) -> (Partner, ResponseThread) {
    let (jobs, taken) = crossbeam_channel::bounded(1);
    let (done, finished) = crossbeam_channel::bounded(1);
    let request_ended = Arc::new(AtomicBool::new(true));
    let partner = Partner { jobs, done: finished, busy: Cell::new(false), request_ended: Arc::clone(&request_ended) };
    (partner, ResponseThread { index, registry, waiter, counters, jobs: taken, done, request_ended })
}

impl ResponseThread {
    /// Takes jobs until its request thread ends.
    pub fn run(&self) {
        let slot = self.registry.slot(self.index);
        let mut head = HeadBuffer::new();
        for Job { client, backend, mut buf, snapshot, kind } in &self.jobs {
            let outcome = catch_unwind(AssertUnwindSafe(|| match kind {
                JobKind::Response(facts) => {
                    self.respond(facts, slot, &client, &backend, &snapshot, &mut buf, &mut head)
                }
                JobKind::Tunnel => back(slot, &client, &backend, &snapshot, &mut buf),
            }));
            let outcome = outcome.unwrap_or_else(|_| {
                self.counters.panics.add();
                client.cut();
                backend.cut();
                failed(CloseReason::Panic)
            });
            // The request half owns the exchange: nothing of it may live on here.
            drop((client, backend, snapshot));
            if self.done.send((buf, outcome)).is_err() {
                return;
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one job, taken apart so that they outlive a panic")]
    fn respond(
        &self,
        facts: Facts,
        slot: &Slot,
        client: &Socket,
        backend: &Socket,
        snapshot: &Snapshot,
        buf: &mut Buf,
        head: &mut HeadBuffer,
    ) -> Outcome {
        let half = ResponseHalf {
            client,
            backend,
            slot,
            snapshot,
            facts,
            request_ended: &self.request_ended,
            draining: self.waiter.draining(),
        };
        let outcome = half.run(buf, head);
        wake_request_half(&outcome, slot, client, backend);
        slot.set_partner_ended(true);
        outcome
    }
}

/// Backend to client, one way of a tunnel.
fn back(slot: &Slot, client: &Socket, backend: &Socket, snapshot: &Snapshot, buf: &mut Buf) -> Outcome {
    let waiting = Waiting::new(Phase::Tunnel, snapshot.config.timeouts.tunnel);
    let to = Wire { socket: client, half: &slot.response, waiting };
    let (bytes, orderly) = tunnel::one_way(backend, &to, buf);
    let outcome = if orderly {
        Outcome { end: ResponseEnd::Switched, status: None, bytes: 0, first_byte: None }
    } else {
        failed(CloseReason::AnswerCut)
    };
    Outcome { status: Some(101), bytes, ..outcome }
}

fn failed(reason: CloseReason) -> Outcome {
    let end = ResponseEnd::Failed { reason, answered: true, begun: true };
    Outcome { end, status: None, bytes: 0, first_byte: None }
}

/// The request half may be blocked on either socket; it is to see that the answer has failed.
fn wake_request_half(outcome: &Outcome, slot: &Slot, client: &Socket, backend: &Socket) {
    if let ResponseEnd::Failed { reason, begun, .. } = outcome.end {
        // First: what the other half is going to read is our doing.
        slot.note(reason);
        backend.cut();
        if reason == CloseReason::ClientGone || begun {
            // A FIN would make a cut answer look whole.
            client.abort();
        } else {
            client.stop_reading();
        }
    }
}
