//! What workers share: the snapshot, the arena, channels. Alone, and where several threads want it at once.

use std::hint::black_box;
use std::thread;
use std::time::Instant;

use layer7router::arena::Arena;
use layer7router::config;
use layer7router::snapshot::{Published, Snapshot};
use layer7router::sync::{Arc, channel};

use crate::part::{Batch, again, at_once};

/// Nobody touches them here.
const SLICE: usize = 4 * 1024;
/// The most that lease at once, each two.
const SLICES: usize = 32;

/// One that reads the configuration in force, as a worker does before each exchange.
pub struct Snapshots {
    published: Published,
    cached: Option<Arc<Snapshot>>,
}

impl Snapshots {
    /// Of a small configuration.
    pub fn new() -> Self {
        Self { published: Published::new(snapshot(1)), cached: None }
    }

    /// It has the one in force already.
    pub fn same_again(mut self) -> Batch {
        self.cached = Some(self.published.current());
        again(move || self.same())
    }

    /// It has none: its first exchange after it has slept, or after a reload.
    pub fn taken_again(self) -> Batch {
        again(move || self.taken())
    }

    fn same(&mut self) -> u64 {
        let snapshot = black_box(&self.published).refresh(self.cached.take());
        let generation = snapshot.generation;
        self.cached = Some(snapshot);
        generation
    }

    fn taken(&self) -> u64 {
        black_box(&self.published).refresh(None).generation
    }
}

fn snapshot(generation: u64) -> Snapshot {
    let text = "[listen:a]\naddress = :1\npool = p\n[pool:p]\nbackend = 127.0.0.1:1\n";
    let loaded = config::parse_str("parts.ini", text, &|_| None).unwrap_or_else(|reports| panic!("{reports}"));
    Snapshot::build(loaded.config, generation, Vec::new(), None, |_| None)
}

/// The two slices of a session, leased and given back.
pub fn leases() -> Batch {
    let arena = Arena::new(SLICES, SLICE);
    again(move || lease(&arena))
}

/// The same by several threads at once.
pub fn leases_of(threads: usize) -> Batch {
    let arena = Arena::new(SLICES, SLICE);
    at_once(threads, move || lease(&arena))
}

fn lease(arena: &Arc<Arena>) {
    drop(black_box(black_box(arena).lease_pair()));
}

/// Into a channel and out of it, by one thread: nobody sleeps.
pub fn passes() -> Batch {
    let (sender, receiver) = channel::bounded(1);
    again(move || pass(&sender, &receiver, 17))
}

fn pass(sender: &channel::Sender<u64>, receiver: &channel::Receiver<u64>, word: u64) -> u64 {
    sender.send(black_box(word)).expect("there is a receiver");
    receiver.recv().expect("it has just been sent")
}

/// From one thread to another that waits for it, and back, as a worker and its partner do. Each way is one operation.
pub fn hops() -> Batch {
    Box::new(|times| {
        let (there, arrived) = channel::bounded(1);
        let (back, returned) = channel::bounded(1);
        let trips = times.div_ceil(2);
        thread::scope(|scope| {
            scope.spawn(move || {
                for word in &arrived {
                    if back.send(word + 1_u64).is_err() {
                        return;
                    }
                }
            });
            let mut word = 0;
            let begun = Instant::now();
            for _ in 0..trips {
                there.send(word).expect("the other thread waits");
                word = returned.recv().expect("the other thread answers");
            }
            let elapsed = begun.elapsed();
            // The other thread ends.
            drop(there);
            assert_eq!(word, trips, "each word went both ways");
            elapsed
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_has_the_snapshot_in_force() {
        let mut reader = Snapshots::new();
        reader.cached = Some(reader.published.current());
        assert_eq!((reader.same(), reader.taken()), (1, 1));
        reader.published.publish(Arc::new(snapshot(2)));
        assert_eq!((reader.same(), reader.taken()), (2, 2));
    }

    #[test]
    fn a_lease_comes_back() {
        let arena = Arena::new(2, SLICE);
        // The second would find nothing else.
        lease(&arena);
        lease(&arena);
        assert_eq!((arena.free(), arena.touched()), (2, 2));
    }

    #[test]
    fn words_arrive() {
        let (sender, receiver) = channel::bounded(1);
        assert_eq!((pass(&sender, &receiver, 3), pass(&sender, &receiver, 4)), (3, 4));
        // It looks at its words itself.
        hops()(100);
    }
}
