//! The workers: each a pair of threads, `w017.req` and `w017.rsp`, bounded in number, started once.
//!
//! The request thread takes a session from the channel when it holds a permit, or watches the parked ones itself
//! (`waiter`), and runs it. Its partner sleeps until both
//! directions of an exchange can carry bytes at once. If halves were drawn singly from one pool, N sessions could each
//! hold one thread and wait for a second: a deadlock at exactly full load.
//!
//! Workers hold no sender of the channel they consume: a full channel whose consumers are all sending is dead for ever.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError};

use crate::crew::{Shared, Worker};
use crate::error::CloseReason;
use crate::session::Session;
use crate::sync::Arc;
use crate::waiter::Watched;
use crate::{pair, visit};

/// Starts the two threads of a worker. They end when the channel does.
pub fn spawn(
    index: usize,
    shared: &Arc<Shared>,
    queue: &Receiver<Arc<Session>>,
    spawn: &mut dyn FnMut(String, Box<dyn FnOnce() + Send>) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let (registry, waiter, counters) =
        (Arc::clone(&shared.registry), Arc::clone(&shared.waiter), Arc::clone(&shared.counters));
    let (partner, response) = pair::new(index, registry, waiter, counters);
    let worker = Worker::new(index, partner, queue.clone());
    let (ours, queue) = (Arc::clone(shared), queue.clone());
    spawn(format!("w{index:03}.req"), Box::new(move || request_thread(&ours, worker, &queue)))?;
    spawn(format!("w{index:03}.rsp"), Box::new(move || response.run()))
}

fn request_thread(shared: &Shared, mut worker: Worker, queue: &Receiver<Arc<Session>>) {
    let index = worker.index;
    while shared.permits.acquire(index) {
        while let Some(session) = next(shared, &mut worker, queue) {
            if shared.permits.begin(index) {
                // Nobody is left who watches.
                shared.waiter.call();
                if !queue.is_empty() {
                    shared.permits.call_monitor();
                }
            } else if !queue.is_empty() {
                // One ring may have been for several sessions.
                shared.waiter.ring();
            }
            run(shared, &mut worker, &session);
            drop(session);
            if !shared.permits.end(index) {
                worker.snapshot = None;
                break;
            }
        }
    }
}

/// The next session to run: one from the channel, or else the first parked one that has something to say. `None`: the
/// router stops.
fn next(shared: &Shared, worker: &mut Worker, queue: &Receiver<Arc<Session>>) -> Option<Arc<Session>> {
    let mut patience = Some(Duration::ZERO);
    loop {
        let found = match queue.try_recv() {
            // It may have been refused meanwhile.
            Ok(session) => session.state.take().then_some(session),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => match shared.waiter.watch(&shared.registry, patience) {
                Watched::Session(session) => Some(session),
                Watched::Other => None,
                Watched::Nothing => {
                    // A sleeping worker keeps no configuration alive.
                    worker.snapshot = None;
                    patience = None;
                    None
                }
            },
        };
        if shared.permits.is_closed() {
            return None;
        }
        if found.is_some() {
            return found;
        }
    }
}

/// A panic costs this session, and nothing else: slices, slot and counts return in `Drop`.
fn run(shared: &Shared, worker: &mut Worker, session: &Arc<Session>) {
    let ran = catch_unwind(AssertUnwindSafe(|| visit::run(shared, worker, session)));
    if ran.is_err() {
        shared.counters.panics.add();
        log::error!("a fault ended a session; please report what stands above this line");
        shared.registry.slot(worker.index).cut(CloseReason::Panic);
        worker.partner.recover();
        let _cut = shared.registry.slot(worker.index).leave();
        session.socket.abort();
        shared.waiter.close(session);
    }
}
