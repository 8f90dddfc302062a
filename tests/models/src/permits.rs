//! Permits that are taken back: nobody waits for ever, none is lost, and never do more watch than there are permits.

use std::collections::VecDeque;

use layer7router::permits::Permits;
use layer7router::sync::{Arc, AtomicUsize, Condvar, Mutex, Ordering};
use loom::thread;

use crate::support::check;

/// Sessions that wait for a worker, and who waits for one: what the channel and epoll are to the workers.
#[derive(Default)]
struct Queue {
    state: Mutex<VecDeque<u8>>,
    len: AtomicUsize,
    came: Condvar,
}

impl Queue {
    fn push(&self, session: u8) {
        self.state.lock().push_back(session);
        self.len.fetch_add(1, Ordering::SeqCst);
        self.came.notify_one();
    }

    fn take(&self) -> u8 {
        let mut state = self.state.lock();
        loop {
            if let Some(session) = state.pop_front() {
                self.len.fetch_sub(1, Ordering::SeqCst);
                return session;
            }
            self.came.wait(&mut state);
        }
    }

    fn len(&self) -> usize {
        self.len.load(Ordering::SeqCst)
    }
}

/// An event that is waited for.
#[derive(Default)]
struct Done {
    is: Mutex<bool>,
    told: Condvar,
}

impl Done {
    fn tell(&self) {
        *self.is.lock() = true;
        self.told.notify_all();
    }

    fn wait(&self) {
        let mut is = self.is.lock();
        while !*is {
            self.told.wait(&mut is);
        }
    }
}

struct Router {
    permits: Permits,
    queue: Queue,
    /// Sessions run to their end.
    ended: Done,
    watching: AtomicUsize,
}

const END: u8 = 0;
/// Blocks until the other has been run.
const SLOW: u8 = 1;
const FAST: u8 = 2;

impl Router {
    fn new(permits: usize) -> Arc<Self> {
        Arc::new(Self {
            permits: Permits::new(2, permits),
            queue: Queue::default(),
            ended: Done::default(),
            watching: AtomicUsize::new(0),
        })
    }

    /// What the acceptor and the waiter do.
    fn send(&self, session: u8) {
        self.queue.push(session);
        self.permits.call_monitor();
    }

    /// What a request thread does.
    fn work(&self, worker: usize) {
        while self.permits.acquire(worker) {
            loop {
                let watching = self.watching.fetch_add(1, Ordering::SeqCst) + 1;
                assert!(watching <= self.permits.total(), "{watching} watch");
                let session = self.queue.take();
                self.watching.fetch_sub(1, Ordering::SeqCst);
                if session == END {
                    return;
                }
                if self.permits.begin(worker) && self.queue.len() > 0 {
                    self.permits.call_monitor();
                }
                match session {
                    SLOW => self.ended.wait(),
                    _ => self.ended.tell(),
                }
                if !self.permits.end(worker) {
                    break;
                }
            }
        }
    }
}

fn spawn<T: 'static>(router: &Arc<Router>, run: impl FnOnce(&Router) -> T + 'static) -> thread::JoinHandle<T> {
    let router = Arc::clone(router);
    thread::spawn(move || run(&router))
}

/// One permit, and its holder blocks until a session behind it has been served: the monitor has to see that, whoever calls
/// it and whenever, and the other worker has to wake.
#[test]
fn a_permit_of_a_blocked_holder_is_taken_back() {
    check(Some(2), || {
        let router = Router::new(1);
        let monitor = spawn(&router, |router| router.permits.run_monitor(|| router.queue.len()));
        let workers = [0, 1].map(|worker| spawn(&router, move |router| router.work(worker)));
        router.send(SLOW);
        router.send(FAST);
        router.ended.wait();
        // One of them watches, the other sleeps for a permit.
        router.queue.push(END);
        router.permits.close();
        for thread in workers {
            thread.join().expect("no panic");
        }
        monitor.join().expect("no panic");
    });
}

/// One permit, whose holder goes from session to session while the monitor comes to take it: he keeps it or has lost it, and
/// whoever waits for it has it only then.
#[test]
fn a_permit_is_never_in_two_hands() {
    check(Some(3), || {
        let router = Router::new(1);
        let watch = |router: &Router| {
            let watching = router.watching.fetch_add(1, Ordering::SeqCst) + 1;
            assert!(watching <= router.permits.total(), "{watching} watch");
        };
        assert!(router.permits.acquire(0));
        // Something always waits.
        let monitor = spawn(&router, |router| router.permits.run_monitor(|| 1));
        let other = spawn(&router, move |router| {
            if router.permits.acquire(1) {
                watch(router);
            }
        });
        for _ in 0..2 {
            router.permits.begin(0);
            if !router.permits.end(0) {
                break;
            }
            watch(&router);
            router.watching.fetch_sub(1, Ordering::SeqCst);
        }
        router.permits.close();
        other.join().expect("no panic");
        monitor.join().expect("no panic");
        assert_eq!(router.permits.at_rest(), 1, "held by one of them, or free");
    });
}

/// One permit: its holder, 0, has a session, and 1 goes to sleep for it.
fn one_works_and_one_sleeps() -> (Arc<Router>, thread::JoinHandle<bool>) {
    let router = Router::new(1);
    assert!(router.permits.acquire(0));
    router.permits.begin(0);
    let other = spawn(&router, |router| router.permits.acquire(1));
    (router, other)
}

/// A worker gives its permit back before it waits, while the monitor comes to take it: it is free once, and the sleeper has it.
#[test]
fn a_permit_that_is_given_back_is_free_once() {
    check(Some(3), || {
        let (router, other) = one_works_and_one_sleeps();
        let monitor = spawn(&router, |router| router.permits.run_monitor(|| 1));
        router.permits.release(0);
        assert!(other.join().expect("no panic"));
        assert!(!router.permits.end(0));
        assert_eq!(router.permits.at_rest(), 1);
        router.permits.close();
        monitor.join().expect("no panic");
    });
}

/// A worker goes to sleep while another takes a place that is free: whoever has the place finds a sleeper.
#[test]
fn who_lets_sessions_go_finds_a_sleeper() {
    check(Some(3), || {
        let (router, other) = one_works_and_one_sleeps();
        // The permit is wanted too.
        let monitor = spawn(&router, |router| router.permits.run_monitor(|| 1));
        if router.permits.take_places(1) == 1 {
            let sleeper = router.permits.promise().expect("a sleeper for each place");
            router.permits.hand_over(0, sleeper);
        }
        router.permits.close();
        other.join().expect("no panic");
        monitor.join().expect("no panic");
    });
}

/// A stop comes while sessions are handed over: the sleeper is woken for them, or it was too late to let them go.
#[test]
fn what_is_handed_over_at_a_stop_is_in_one_hand() {
    check(Some(3), || {
        let (router, other) = one_works_and_one_sleeps();
        let stop = spawn(&router, |router| router.permits.close());
        let promised = router.permits.promise();
        if let Some(sleeper) = promised {
            router.permits.hand_over(0, sleeper);
        }
        stop.join().expect("no panic");
        assert_eq!(other.join().expect("no panic"), promised.is_some());
    });
}

/// The permit of a stuck worker is taken back while it has the place of the only sleeper: who gets that back wakes it.
#[test]
fn who_sleeps_for_a_place_is_woken_by_whoever_gives_one_back() {
    check(Some(3), || {
        let (router, other) = one_works_and_one_sleeps();
        let places = router.permits.take_places(1);
        // It takes back at its second look, which comes after the third time it asks.
        let (asked, looks) = (AtomicUsize::new(0), Arc::new(Done::default()));
        let second = Arc::clone(&looks);
        let monitor = spawn(&router, move |router| {
            router.permits.run_monitor(|| {
                if asked.fetch_add(1, Ordering::SeqCst) == 2 {
                    second.tell();
                }
                1
            });
        });
        looks.wait();
        router.permits.give_places(places);
        assert!(other.join().expect("no panic"));
        router.permits.close();
        monitor.join().expect("no panic");
    });
}
