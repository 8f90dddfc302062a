//! The workers: each a pair of threads, `w017.req` and `w017.rsp`, bounded in number, started once.
//!
//! The request thread takes a session from the channel when it holds a permit, and runs it. Its partner sleeps until both
//! directions of an exchange can carry bytes at once. If halves were drawn singly from one pool, N sessions could each
//! hold one thread and wait for a second: a deadlock at exactly full load.
//!
//! Workers hold no sender of the channel they consume: a full channel whose consumers are all sending is dead for ever.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crossbeam_channel::{Receiver, TryRecvError};

use crate::crew::{Shared, Worker};
use crate::error::CloseReason;
use crate::session::Session;
use crate::sync::Arc;
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
        loop {
            let session = match queue.try_recv() {
                Ok(session) => session,
                Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => {
                    // A sleeping worker keeps no configuration alive.
                    worker.snapshot = None;
                    match queue.recv() {
                        Ok(session) => session,
                        Err(_) => return,
                    }
                }
            };
            if shared.permits.is_closed() {
                return;
            }
            if shared.permits.begin(index) && !queue.is_empty() {
                shared.permits.call_monitor();
            }
            run(shared, &mut worker, session);
            if !shared.permits.end(index) {
                worker.snapshot = None;
                break;
            }
        }
    }
}

/// A panic costs this session, and nothing else: slices, slot and counts return in `Drop`.
fn run(shared: &Shared, worker: &mut Worker, session: Arc<Session>) {
    if !session.state.take() {
        return;
    }
    let ran = catch_unwind(AssertUnwindSafe(|| visit::run(shared, worker, &session)));
    if ran.is_err() {
        shared.counters.panics.add();
        log::error!("a fault ended a session; please report what stands above this line");
        shared.registry.slot(worker.index).cut(CloseReason::Panic);
        worker.partner.recover();
        let _cut = shared.registry.slot(worker.index).leave();
        session.socket.abort();
        shared.waiter.close(&session);
    }
}
