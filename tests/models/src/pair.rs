//! The pair: each job has its outcome, also after a panic of either half, and nothing of a job outlives it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use layer7router::arena::Arena;
use layer7router::buf::Buf;
use layer7router::error::CloseReason;
use layer7router::http::Version;
use layer7router::metrics::Counters;
use layer7router::pair::{self, Job, JobKind, Partner};
use layer7router::registry::{Cut, Registry};
use layer7router::response::{Facts, ResponseEnd};
use layer7router::snapshot::Snapshot;
use layer7router::sync::Arc;
use layer7router::transport::Socket;
use layer7router::waiter::Waiter;
use loom::thread;

use crate::support::{FAULT, check, connection, snapshot};

/// One worker.
struct Worker {
    registry: Arc<Registry>,
    arena: Arc<Arena>,
    snapshot: Arc<Snapshot>,
    counters: Arc<Counters>,
    partner: Partner,
    thread: thread::JoinHandle<()>,
}

/// An exchange whose answer waits to be read.
struct Exchange {
    client: Arc<Socket>,
    at_client: UnixStream,
    backend: Arc<Socket>,
    _at_backend: UnixStream,
}

impl Worker {
    fn new() -> Self {
        let (registry, counters) = (Registry::new(1), Arc::new(Counters::default()));
        let waiter = Waiter::new().expect("descriptors");
        let (partner, response) = pair::new(Arc::clone(&registry), waiter, Arc::clone(&counters));
        let thread = thread::spawn(move || response.run());
        let (arena, snapshot) = (Arena::new(2, 512), Arc::new(snapshot(1)));
        Self { registry, arena, snapshot, counters, partner, thread }
    }

    /// Begins an exchange and wakes the partner for its answer. A route that is not there makes it fault in the middle.
    fn start(&self, body: &str, route: Option<usize>) -> Exchange {
        let ((client, at_client), (backend, mut at_backend)) = (connection(), connection());
        let slot = self.registry.slot(0);
        slot.enter(&client, 1);
        slot.enter_backend(&backend, None).expect("not cut");
        write!(at_backend, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).expect("room");
        let facts = Facts {
            version: Version::Http11,
            head_request: false,
            keep: true,
            upgrade: false,
            expects_continue: false,
            route,
            response_limit: Duration::from_secs(5),
        };
        let (_, buf) = self.arena.lease_pair();
        self.partner.start(Job {
            client: Arc::clone(&client),
            backend: Arc::clone(&backend),
            buf: Buf::new(buf),
            snapshot: Arc::clone(&self.snapshot),
            slot: 0,
            kind: JobKind::Response(facts),
        });
        Exchange { client, at_client, backend, _at_backend: at_backend }
    }

    /// Waits for an answer that arrives.
    fn succeed(&self, mut exchange: Exchange, body: &str) {
        let (buf, outcome) = self.partner.join();
        drop(buf);
        assert!(matches!(outcome.end, ResponseEnd::Complete { .. }), "{outcome:?}");
        assert_eq!(outcome.bytes, body.len() as u64, "an outcome is of its own exchange");
        assert_eq!(self.registry.slot(0).leave(), Ok(()));
        self.assert_rest(&exchange);
        let mut answer = [0; 512];
        let n = exchange.at_client.read(&mut answer).expect("an answer");
        assert!(answer[..n].ends_with(body.as_bytes()));
    }

    /// Nothing of the exchange is left with the partner.
    fn assert_rest(&self, exchange: &Exchange) {
        assert_eq!(Arc::strong_count(&exchange.client), 1);
        assert_eq!(Arc::strong_count(&exchange.backend), 1);
        assert_eq!(Arc::strong_count(&self.snapshot), 1);
        assert_eq!(self.arena.free(), 2);
    }

    fn end(self) {
        drop(self.partner);
        self.thread.join().expect("no panic gets out, and the partner ends with its request thread");
    }
}

#[test]
fn a_fault_of_the_partner_is_an_outcome_and_the_next_job_is_as_any() {
    check(Some(4), || {
        let worker = Worker::new();
        let exchange = worker.start("no", Some(FAULT));
        // Blocked on the client, the request half would be woken by this.
        if !exchange.client.is_quiet() {
            assert_eq!(worker.registry.slot(0).cut_reason(), Some(CloseReason::Panic), "woken, and nobody says why");
        }
        let (buf, outcome) = worker.partner.join();
        drop(buf);
        assert!(matches!(outcome.end, ResponseEnd::Failed { reason: CloseReason::Panic, .. }), "{outcome:?}");
        assert!(!exchange.client.is_quiet() && !exchange.backend.is_quiet(), "both are cut");
        assert_eq!(worker.registry.slot(0).leave(), Err(Cut(CloseReason::Panic)));
        worker.assert_rest(&exchange);
        assert_eq!(worker.counters.panics.value(), 1);
        let next = worker.start("yes", None);
        worker.succeed(next, "yes");
        worker.end();
    });
}

#[test]
fn what_a_faulted_request_half_left_behind_is_not_the_next_exchanges() {
    check(Some(4), || {
        let worker = Worker::new();
        let left = worker.start("no", None);
        // What `worker` does after a fault of the request half.
        worker.registry.slot(0).cut(CloseReason::Panic);
        worker.partner.recover();
        assert!(worker.registry.slot(0).leave().is_err());
        worker.assert_rest(&left);
        let next = worker.start("yes", None);
        worker.succeed(next, "yes");
        worker.end();
    });
}
