//! Parking without a lost wake-up: whole visits on real sockets, with workers that watch them by epoll.
//!
//! epoll tells each of them of what came to a session that is parked, runs or is just between the two; it may tell once of
//! several things, and (when a session is watched anew) again of the same.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crossbeam_channel::Receiver;
use layer7router::access_log::AccessLog;
use layer7router::arena::Arena;
use layer7router::cells::Cells;
use layer7router::config::model::{AccessFormat, AccessTarget};
use layer7router::crew::{Shared, Worker};
use layer7router::error::CloseReason;
use layer7router::http::forwarded::Peer;
use layer7router::metrics::Counters;
use layer7router::pair;
use layer7router::permits::Permits;
use layer7router::registry::{Phase, Registry, Waiting};
use layer7router::round::{Mail, Round};
use layer7router::session::{Entrance, Session};
use layer7router::snapshot::Published;
use layer7router::sync::{Arc, Ordering, ask_kernel, fence};
use layer7router::transport::Socket;
use layer7router::waiter::Waiter;
use loom::thread;

use crate::support::{check, snapshot};

const WORKERS: usize = 3;

struct Router {
    shared: Shared,
    queue: Receiver<Arc<Session>>,
}

impl Router {
    /// With one session, queued, of which `first` has come.
    fn new(first: &str) -> (Arc<Self>, Arc<Session>, UnixStream) {
        let shared = Shared {
            arena: Arena::new(2 * WORKERS, 512),
            cells: Cells::new(4096),
            registry: Registry::new(WORKERS),
            permits: Arc::new(Permits::new(WORKERS, WORKERS)),
            waiter: Waiter::new().expect("descriptors"),
            published: Arc::new(Published::new(snapshot(1))),
            counters: Arc::new(Counters::default()),
            access: AccessLog::new(&AccessTarget::Off, AccessFormat::Combined).expect("off"),
            via: "model".to_owned(),
        };
        let (ours, mut client) = UnixStream::pair().expect("a pair");
        client.set_nonblocking(true).expect("a flag");
        client.write_all(first.as_bytes()).expect("room");
        let socket = Socket::accepted(ours.into(), false);
        let session = shared.waiter.table.insert(socket, Peer::Unix, &Entrance::new(1), None, u64::MAX, 0);
        let (_, queue) = crossbeam_channel::bounded(1);
        (Arc::new(Self { shared, queue }), session, client)
    }

    fn worker(&self, index: usize) -> Worker {
        let (registry, waiter) = (Arc::clone(&self.shared.registry), Arc::clone(&self.shared.waiter));
        let (partner, _) = pair::new(registry, waiter, Arc::clone(&self.shared.counters));
        Worker::new(index, partner, self.queue.clone())
    }

    /// Looks once for a session that has something to say, and runs it. Whether there was an event.
    fn watch(&self, worker: &mut Worker) -> bool {
        let mut taken = None;
        let came =
            self.shared.waiter.watch(&self.shared.registry, Some(Duration::ZERO), 1, |session| taken = Some(session));
        if let Some(session) = taken {
            self.run(worker, session);
        }
        came
    }

    fn run(&self, worker: &mut Worker, session: Arc<Session>) {
        let round = Round::new(worker.index, Mail::new(WORKERS));
        round.take(session);
        round.run(&self.shared, worker);
    }

    fn write(client: &mut UnixStream, text: &str) {
        ask_kernel();
        client.write_all(text.as_bytes()).expect("room");
    }

    /// The first worker takes it off the channel.
    fn take(self: &Arc<Self>, session: &Arc<Session>) -> thread::JoinHandle<()> {
        let (router, session) = (Arc::clone(self), Arc::clone(session));
        thread::spawn(move || {
            let mut worker = router.worker(0);
            assert!(session.state.take());
            router.run(&mut worker, session);
        })
    }

    /// A worker that is free.
    fn free_worker(self: &Arc<Self>, looks: usize) -> thread::JoinHandle<()> {
        let router = Arc::clone(self);
        thread::spawn(move || {
            let mut worker = router.worker(1);
            for _ in 0..looks {
                router.watch(&mut worker);
            }
        })
    }

    /// All that the kernel still has to tell is told, and all is at rest.
    fn settle(&self) {
        let mut worker = self.worker(2);
        while self.watch(&mut worker) {}
        assert_eq!(self.shared.arena.free(), 2 * WORKERS);
        assert_eq!(self.shared.registry.running(), 0);
        assert_eq!(self.shared.counters.panics.value(), 0);
    }
}

/// How many whole answers the client has.
fn answers(client: &mut UnixStream) -> usize {
    let mut all = Vec::new();
    // It ends with "nothing yet", if the session is open.
    let _open = client.read_to_end(&mut all);
    let text = String::from_utf8(all).expect("text");
    assert!(text.is_empty() || text.ends_with("\r\n\r\nok\n"), "{text}");
    text.matches("HTTP/1.1 200 OK\r\n").count()
}

/// The rest of a head comes while the session is about to park, and is told of to whoever looks.
#[test]
fn no_wake_up_is_lost_between_the_last_read_and_parking() {
    check(Some(4), || {
        let (router, session, mut client) = Router::new("GET / HTTP/1.1\r\nHost: a\r\n");
        let workers = [router.take(&session), router.free_worker(2)];
        Router::write(&mut client, "\r\n");
        for thread in workers {
            thread.join().expect("no panic");
        }
        router.settle();
        assert_eq!(answers(&mut client), 1);
        assert!(session.state.is_parked());
        assert_eq!(router.shared.cells.used(), 0);
    });
}

/// The end of the input comes with the last bytes, and is told of once.
#[test]
fn an_end_of_input_that_came_with_data_closes_the_session_after_its_answer() {
    check(Some(4), || {
        let (router, session, mut client) = Router::new("GET / HTTP/1.1\r\nHost: a\r\n");
        let workers = [router.take(&session), router.free_worker(2)];
        Router::write(&mut client, "\r\n");
        client.shutdown(std::net::Shutdown::Write).expect("open");
        for thread in workers {
            thread.join().expect("no panic");
        }
        router.settle();
        assert_eq!(answers(&mut client), 1);
        assert!(session.state.is_closed() && router.shared.waiter.table.is_empty());
    });
}

/// A request and its successor, and each event told twice.
#[test]
fn an_event_that_is_told_again_costs_no_request() {
    check(Some(4), || {
        let (router, session, mut client) = Router::new("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let workers = [router.take(&session), router.free_worker(3)];
        Router::write(&mut client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        router.shared.waiter.watch_all(&session);
        for thread in workers {
            thread.join().expect("no panic");
        }
        router.settle();
        assert_eq!(answers(&mut client), 2);
        assert!(session.state.is_parked());
    });
}

/// The store of unfinished heads is full: this one is given up, or finishes in time, and not both.
#[test]
fn a_head_is_given_up_or_answered() {
    check(Some(4), || {
        let (router, session, mut client) = Router::new("GET / HTTP/1.1\r\nHost: a\r\n");
        let workers = [router.take(&session), router.free_worker(2)];
        Router::write(&mut client, "\r\n");
        router.shared.waiter.shed_heads(1);
        for thread in workers {
            thread.join().expect("no panic");
        }
        router.settle();
        let (answered, closed) = (answers(&mut client) == 1, session.state.is_closed());
        // Who is given up stays in the table until the waiter's thread has told it so. Who was answered first is idle, and may
        // go as that.
        assert!(answered || closed);
        assert_eq!(router.shared.waiter.table.is_empty(), answered && closed);
        assert_eq!(router.shared.cells.used(), 0);
    });
}

/// A drain begins while the session is about to park: either sees the other.
#[test]
fn a_drain_leaves_no_session_parked_for_its_whole_time() {
    check(Some(4), || {
        let (router, session, _client) = Router::new("GET / HTTP/1.1\r\nHost: a\r\n");
        let worker = router.take(&session);
        let waiter = &router.shared.waiter;
        waiter.drain();
        waiter.finish_soon(&mut Vec::new(), |_| true);
        worker.join().expect("no panic");
        assert!(session.state.is_parked());
        let due_ms = session.due_ms.load(Ordering::Acquire);
        assert!(due_ms <= waiter.last_ms(&session), "{due_ms}");
    });
}

/// A Unix client goes while its request is on its way, when it is left alone, or just after, when it is not: the worker asks
/// for the event again, or the watcher cuts.
#[test]
fn a_client_that_goes_while_its_worker_turns_around_is_noticed() {
    check(None, || {
        let (router, session, client) = Router::new("");
        let slot = router.shared.registry.slot(0);
        assert!(session.state.take());
        slot.enter(&session.socket, session.token.as_u64());
        slot.request.wait(Waiting::new(Phase::BackendWrite, Duration::from_secs(1)));
        router.shared.waiter.register(&session).expect("watched");
        drop(client);
        let watcher = router.free_worker(1);
        // As `request` does.
        slot.request.wait(Waiting::BUSY);
        fence(Ordering::SeqCst);
        let asks_again = session.state.is_hung_up();
        watcher.join().expect("no panic");
        assert!(asks_again || slot.cut_reason() == Some(CloseReason::ClientGone));
    });
}
