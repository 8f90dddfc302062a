//! A worker's slot against the reaper, the watcher and a stop: a cut hits the exchange it was meant for, or nobody.

use std::time::{Duration, Instant};

use layer7router::error::CloseReason;
use layer7router::reaper::{self, SeenSlot};
use layer7router::registry::{Cut, Phase, Registry, Waiting};
use layer7router::sync::Arc;
use loom::thread;

use crate::support::{check, connection};

/// Far below the time between two looks of a model.
const LIMIT: Duration = Duration::from_secs(1);

/// The reaper, between two looks.
struct Reaper {
    registry: Arc<Registry>,
    seen: SeenSlot,
    now: Instant,
}

impl Reaper {
    fn new(registry: &Arc<Registry>) -> Self {
        let now = Instant::now();
        Self { registry: Arc::clone(registry), seen: SeenSlot::nothing(now), now }
    }

    fn look(mut self) -> Self {
        self.now += 10 * LIMIT;
        reaper::look(self.registry.slot(0), &mut self.seen, self.now, None);
        self
    }

    fn look_meanwhile(self) -> thread::JoinHandle<Self> {
        thread::spawn(move || self.look())
    }
}

/// The reaper has seen one session wait, and comes to cut it while its worker goes on to the next.
#[test]
fn a_session_is_not_cut_for_the_one_before_it() {
    check(None, || {
        let registry = Registry::new(1);
        let slot = registry.slot(0);
        let ((late, _late), (next, _next)) = (connection(), connection());
        let waiting = Waiting::new(Phase::ClientRead, LIMIT);
        slot.enter(&late, 1);
        slot.request.wait(waiting);
        let reaper = Reaper::new(&registry).look().look_meanwhile();
        let left = slot.leave();
        slot.enter(&next, 2);
        slot.request.wait(waiting);
        assert_eq!(slot.leave(), Ok(()), "it has only begun to wait");
        reaper.join().expect("no panic");
        assert!(next.is_quiet());
        // Who leaves without a cut parks, and is found whole; who finds one was woken by it.
        assert!(matches!(left, Ok(()) | Err(Cut(CloseReason::ClientBodyLate))));
        assert_eq!(late.is_quiet(), left.is_ok());
        assert!(!slot.is_taken() && slot.cut_reason().is_none());
    });
}

/// The reaper looks just while one session goes and the next comes, and sees the words of both.
#[test]
fn no_look_blames_a_session_for_the_wait_of_the_one_before_it() {
    check(None, || {
        let registry = Registry::new(1);
        let slot = registry.slot(0);
        let ((first, _first), (next, _next)) = (connection(), connection());
        let waiting = Waiting::new(Phase::ClientRead, LIMIT);
        slot.enter(&first, 1);
        slot.request.wait(waiting);
        let reaper = Reaper::new(&registry).look_meanwhile();
        assert_eq!(slot.leave(), Ok(()));
        slot.enter(&next, 2);
        let reaper = reaper.join().expect("no panic");
        slot.request.wait(waiting);
        let reaper = reaper.look();
        assert_eq!(slot.cut_reason(), None, "it has only begun to wait");
        reaper.look();
        assert_eq!(slot.leave(), Err(Cut(CloseReason::ClientBodyLate)), "late at last");
    });
}

/// The same for the backends of two exchanges of one session.
#[test]
fn a_kept_backend_connection_was_never_cut() {
    check(None, || {
        let registry = Registry::new(1);
        let slot = registry.slot(0);
        let (client, _peer) = connection();
        let ((late, _late), (next, _next)) = (connection(), connection());
        let waiting = Waiting::new(Phase::ResponseHead, LIMIT);
        slot.enter(&client, 1);
        slot.enter_backend(&late, None).expect("not cut");
        slot.response.wait(waiting);
        let reaper = Reaper::new(&registry).look().look_meanwhile();
        slot.response.progress(1);
        slot.response.wait(Waiting::BUSY);
        let left = slot.leave_backend();
        // The client gets its 504, and its session goes on.
        slot.forgive();
        assert_eq!(slot.enter_backend(&next, None), Ok(()));
        slot.response.wait(waiting);
        assert_eq!(slot.leave_backend(), Ok(()), "it was only just asked");
        reaper.join().expect("no panic");
        assert!(next.is_quiet() && client.is_quiet());
        assert!(matches!(left, Ok(()) | Err(Cut(CloseReason::ResponseLate))));
        assert_eq!(late.is_quiet(), left.is_ok());
        assert_eq!(slot.leave(), Ok(()), "a late backend costs no session");
    });
}

/// One exchange of a session is over its time; the next one has no limit, and is not cut for it.
#[test]
fn an_exchange_is_not_cut_for_the_time_of_the_one_before_it() {
    check(None, || {
        let registry = Registry::new(1);
        let slot = registry.slot(0);
        let (client, _peer) = connection();
        let ((late, _late), (next, _next)) = (connection(), connection());
        // No other limit than that of the exchange runs out.
        let waiting = Waiting::new(Phase::ResponseHead, 1000 * LIMIT);
        slot.enter(&client, 1);
        slot.enter_backend(&late, Some(Instant::now())).expect("not cut");
        slot.response.wait(waiting);
        let reaper = Reaper::new(&registry).look_meanwhile();
        slot.response.wait(Waiting::BUSY);
        let left = slot.leave_backend();
        slot.forgive();
        assert_eq!(slot.enter_backend(&next, None), Ok(()));
        slot.response.wait(waiting);
        assert_eq!(slot.leave_backend(), Ok(()), "it has no limit");
        reaper.join().expect("no panic");
        assert!(next.is_quiet() && client.is_quiet());
        assert!(matches!(left, Ok(()) | Err(Cut(CloseReason::ExchangeLate))));
        assert_eq!(late.is_quiet(), left.is_ok());
        assert_eq!(slot.leave(), Ok(()), "it costs no session");
    });
}

/// A stop cuts what runs, backend and all, while its backend connection goes back to be kept.
#[test]
fn a_connection_that_has_left_its_session_is_not_cut_with_it() {
    check(None, || {
        let registry = Registry::new(1);
        let others = Arc::clone(&registry);
        let slot = registry.slot(0);
        let ((client, _peer), (backend, _origin)) = (connection(), connection());
        slot.enter(&client, 1);
        slot.enter_backend(&backend, None).expect("not cut");
        let stop = thread::spawn(move || others.slot(0).cut(CloseReason::Stopped));
        let kept = slot.leave_backend();
        let parked = slot.leave();
        assert_eq!(stop.join().expect("no panic"), parked.is_err());
        assert_eq!(backend.is_quiet(), kept.is_ok());
        assert_eq!(client.is_quiet(), parked.is_ok());
        assert!(kept.is_ok() || parked.is_err(), "a reason stays");
    });
}

/// A watcher that is slow to tell of a reset, beside a drain's end that cuts whatever runs.
#[test]
fn a_late_reset_or_stop_hits_the_session_that_runs_or_none() {
    check(None, || {
        let registry = Registry::new(1);
        let (theirs, others) = (Arc::clone(&registry), Arc::clone(&registry));
        let watcher = thread::spawn(move || theirs.slot(0).cut_session(1, CloseReason::ClientGone));
        let stop = thread::spawn(move || others.slot(0).cut(CloseReason::Stopped));
        let slot = registry.slot(0);
        let mut left = Vec::new();
        let mut cuts = Vec::new();
        for id in 1..=2 {
            let (client, peer) = connection();
            slot.enter(&client, id);
            let known = slot.cut_reason();
            match slot.leave() {
                Ok(()) => {
                    assert_eq!(known, None, "a reason stays");
                    left.push((client, peer));
                }
                Err(cut) => {
                    assert!(known.is_none_or(|known| known == cut.0), "the first reason stays");
                    assert!(!client.is_quiet());
                    assert!(id == 1 || cut.0 == CloseReason::Stopped, "{cut:?} of the session before");
                    cuts.push(cut.0);
                }
            }
        }
        let (reset, stopped) = (watcher.join().expect("no panic"), stop.join().expect("no panic"));
        assert_eq!(reset, cuts.contains(&CloseReason::ClientGone), "who has cut is told so, and nobody else");
        assert_eq!(stopped, cuts.contains(&CloseReason::Stopped));
        assert!(left.iter().all(|(client, _)| client.is_quiet()), "cut after it had left");
    });
}
