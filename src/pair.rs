//! The pair: how a request thread wakes its partner, hands it the second slice, and gets both back.
//!
//! The request half owns the exchange and waits for the partner's outcome. That always comes: a panic in the partner is
//! caught, cuts both sockets and is an outcome too. It costs one exchange and blocks nobody.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::buf::Buf;
use crate::company::Company;
use crate::error::CloseReason;
use crate::metrics::Counters;
use crate::outgoing::{HeadBuffer, Wire};
use crate::registry::{Phase, Registry, Slot, Waiting};
use crate::response::{Facts, Outcome, ResponseEnd, ResponseHalf};
use crate::snapshot::Snapshot;
use crate::sync::channel::{self, Receiver, Sender};
use crate::sync::{Arc, AtomicBool};
use crate::transport::Socket;
use crate::tunnel::OneWay;
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
    /// The session's slot, for the reaper.
    pub slot: usize,
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
pub fn new(registry: Arc<Registry>, waiter: Arc<Waiter>, counters: Arc<Counters>) -> (Partner, ResponseThread) {
    let (jobs, taken) = channel::bounded(1);
    let (done, finished) = channel::bounded(1);
    let request_ended = Arc::new(AtomicBool::new(true));
    let partner = Partner { jobs, done: finished, busy: Cell::new(false), request_ended: Arc::clone(&request_ended) };
    (partner, ResponseThread { registry, waiter, counters, jobs: taken, done, request_ended })
}

impl ResponseThread {
    /// Takes jobs until its request thread ends.
    pub fn run(&self) {
        let mut head = HeadBuffer::new();
        for Job { client, backend, mut buf, snapshot, slot, kind } in &self.jobs {
            let slot = self.registry.slot(slot);
            let outcome = catch_unwind(AssertUnwindSafe(|| match kind {
                JobKind::Response(facts) => {
                    self.respond(facts, slot, &client, &backend, &snapshot, &mut buf, &mut head)
                }
                JobKind::Tunnel => back(slot, &client, &backend, &snapshot, &mut buf),
            }));
            let outcome = outcome.unwrap_or_else(|_| {
                self.counters.panics.add();
                let outcome = failed(CloseReason::Panic);
                wake_request_half(&outcome, slot, &client, &backend);
                outcome
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
            company: Company::NONE,
        };
        let outcome = half.run(buf, head, None);
        wake_request_half(&outcome, slot, client, backend);
        slot.set_partner_ended(true);
        outcome
    }
}

/// Backend to client, one way of a tunnel.
fn back(slot: &Slot, client: &Socket, backend: &Socket, snapshot: &Snapshot, buf: &mut Buf) -> Outcome {
    let waiting = Waiting::new(Phase::Tunnel, snapshot.config.timeouts.tunnel);
    let to = Wire { socket: client, half: &slot.response, waiting, company: Company::NONE };
    let (from_broke, to_broke) = (CloseReason::AnswerCut, CloseReason::ClientGone);
    let (bytes, reason) = OneWay { from: backend, to, slot, from_broke, to_broke }.run(buf);
    let outcome = match reason {
        CloseReason::Done => Outcome { end: ResponseEnd::Switched, status: None, bytes: 0, first_byte: None },
        broken => failed(broken),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Arena;
    use crate::config;
    use crate::http::Version;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    #[test]
    fn a_fault_of_the_partner_ends_both_connections_and_is_an_outcome() {
        let text = "[listen:a]\naddress = :1\npool = p\n[pool:p]\nbackend = 127.0.0.1:1\n";
        let config = config::parse_str("a.ini", text, &|_| None).unwrap_or_else(|reports| panic!("{reports}")).config;
        let snapshot = Arc::new(Snapshot::build(config, 1, Vec::new(), None, |_| None));
        let (registry, waiter) = (Registry::new(1), Waiter::new().expect("descriptors"));
        let counters = Arc::new(Counters::default());
        let (partner, response) = new(Arc::clone(&registry), waiter, Arc::clone(&counters));
        let thread = std::thread::Builder::new().spawn(move || response.run()).expect("a thread");
        let arena = Arena::new(2, 4096);
        // There is no such route: the thread faults when the answer's head is rebuilt.
        for route in [Some(99), None] {
            let (client, mut at_client) = UnixStream::pair().expect("pair");
            let (backend, mut at_backend) = UnixStream::pair().expect("pair");
            let client = Arc::new(Socket::accepted(client.into(), false));
            let backend = Arc::new(Socket::accepted(backend.into(), false));
            registry.slot(0).enter(&client, 1);
            registry.slot(0).enter_backend(&backend, None).expect("not cut");
            at_backend.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("room");
            let facts = Facts {
                version: Version::Http11,
                head_request: false,
                keep: true,
                upgrade: false,
                expects_continue: false,
                route,
                response_limit: Duration::from_secs(5),
            };
            let (_, buf) = arena.lease_pair();
            let kind = JobKind::Response(facts);
            partner.start(Job { client, backend, buf: Buf::new(buf), snapshot: Arc::clone(&snapshot), slot: 0, kind });
            let (buf, outcome) = partner.join();
            drop(buf);
            let cut = registry.slot(0).leave();
            if route.is_none() {
                assert!(
                    matches!(outcome.end, ResponseEnd::Complete { .. }),
                    "the next exchange is as any: {outcome:?}"
                );
                assert!(cut.is_ok());
                continue;
            }
            assert!(matches!(outcome.end, ResponseEnd::Failed { reason: CloseReason::Panic, .. }), "{outcome:?}");
            assert_eq!(cut.map_err(|cut| cut.0), Err(CloseReason::Panic));
            let mut seen = Vec::new();
            at_client.read_to_end(&mut seen).expect("closed");
            assert!(seen.is_empty(), "not a part of an answer");
            // With what it had not read.
            assert!(at_backend.read_to_end(&mut seen).is_err() || seen.is_empty());
        }
        assert_eq!(counters.panics.value(), 1);
        assert_eq!(arena.free(), 2);
        drop(partner);
        thread.join().expect("no panic got out");
    }
}
