//! The workers: each a pair of threads, `w017.req` and `w017.rsp`, bounded in number, started once.
//!
//! The request thread takes sessions from the channel when it holds a permit, or watches the parked ones itself (`waiter`),
//! and runs them: a few at once (`round`), as long as none of them blocks. Its partner sleeps until both directions of an
//! exchange can carry bytes at once. If halves were drawn singly from one pool, N sessions could each hold one thread and
//! wait for a second: a deadlock at exactly full load.
//!
//! Workers hold no sender of the channel they consume: a full channel whose consumers are all sending is dead for ever.

use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError};

use crate::crew::{Shared, Worker};
use crate::pair;
use crate::round::{Mail, Round};
use crate::session::Session;
use crate::sync::Arc;

/// At every turn of this number a worker looks at the kept sessions before it looks at the channel.
const KEPT_FIRST: u32 = 16;

/// Starts the two threads of a worker. They end when the permits are closed and the waiter has dismissed who watches.
pub fn spawn(
    index: usize,
    shared: &Arc<Shared>,
    queue: &Receiver<Arc<Session>>,
    mail: &Arc<Mail>,
    spawn: &mut dyn FnMut(String, Box<dyn FnOnce() + Send>) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let (registry, waiter, counters) =
        (Arc::clone(&shared.registry), Arc::clone(&shared.waiter), Arc::clone(&shared.counters));
    let (partner, response) = pair::new(registry, waiter, counters);
    let worker = Worker::new(index, partner, queue.clone());
    let (ours, queue, mail) = (Arc::clone(shared), queue.clone(), Arc::clone(mail));
    let request = move || request_thread(&ours, worker, &queue, &Round::new(index, mail));
    spawn(format!("w{index:03}.req"), Box::new(request))?;
    spawn(format!("w{index:03}.rsp"), Box::new(move || response.run()))
}

fn request_thread(shared: &Shared, mut worker: Worker, queue: &Receiver<Arc<Session>>, round: &Round) {
    let index = worker.index;
    while shared.permits.acquire(index) {
        let mut handed_over = round.take_up();
        loop {
            if !std::mem::take(&mut handed_over) {
                if !next(shared, &mut worker, queue, round) {
                    // What was taken meanwhile is closed.
                    return round.run(shared, &mut worker);
                }
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
            }
            round.run(shared, &mut worker);
            if !shared.permits.end(index) {
                worker.snapshot = None;
                break;
            }
        }
    }
}

/// Takes the next sessions to run: from the channel, or else parked ones that have something to say; at every sixteenth turn
/// the other way round, so that new sessions without end leave something to the kept ones. `false`: the router stops.
fn next(shared: &Shared, worker: &mut Worker, queue: &Receiver<Arc<Session>>, round: &Round) -> bool {
    worker.turns = worker.turns.wrapping_add(1);
    // Who has an answer to pass on does that first, then all look for sessions: so clients and backends get their messages in
    // batches, are woken less often, and find more to do each time.
    worker.yielding.yield_now();
    let mut channel_first = !worker.turns.is_multiple_of(KEPT_FIRST);
    let mut patience = Some(Duration::ZERO);
    while round.taken() == 0 {
        let room = round.room(shared);
        while channel_first && round.taken() < room {
            match queue.try_recv() {
                // It may have been refused meanwhile.
                Ok(session) if session.state.take() => round.take(session),
                Ok(_) => {}
                Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => break,
            }
        }
        channel_first = true;
        if round.taken() == 0 && !shared.waiter.watch(&shared.registry, patience, room, |session| round.take(session)) {
            // A sleeping worker keeps no configuration alive.
            worker.snapshot = None;
            patience = None;
        }
        if shared.permits.is_closed() {
            return false;
        }
    }
    round.take_places(shared);
    true
}

#[cfg(test)]
mod tests;
