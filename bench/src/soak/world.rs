//! What everybody in a soak knows: where the router listens, what is being done to it, and what was found so far.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::configuration::Way;
use super::ledger::Record;
use super::stream::Address;

/// Findings that are shown; all are counted.
const SHOWN: usize = 20;
/// A few milliseconds that took so long are told at once.
const STANDSTILL: Duration = Duration::from_secs(1);

/// Where the router listens.
#[derive(Debug, Clone)]
pub struct Listens {
    pub tcp: Address,
    pub unix: Address,
    /// Without a pool of its own.
    pub bare: Address,
    /// In odd configurations only.
    pub guest: Address,
}

/// One soak.
#[derive(Debug)]
pub struct World {
    pub seed: u64,
    pub listens: Listens,
    /// No new exchange begins.
    pub stop: AtomicBool,
    /// Generations that may be in force: the last that is known to be, and the last that was asked for.
    pub oldest: AtomicU64,
    pub newest: AtomicU64,
    /// Milliseconds that the shortest of sleeps has taken at most.
    longest_sleep: AtomicU64,
    outages: Mutex<Vec<Outage>>,
    findings: Mutex<Vec<String>>,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    records: Mutex<Vec<Record>>,
}

/// A backend is down, or was.
#[derive(Debug)]
struct Outage {
    pool: &'static str,
    until: Option<Instant>,
}

impl World {
    pub fn new(seed: u64, listens: Listens, generation: u64) -> Self {
        Self {
            seed,
            listens,
            stop: AtomicBool::new(false),
            oldest: AtomicU64::new(generation),
            newest: AtomicU64::new(generation),
            longest_sleep: AtomicU64::new(0),
            outages: Mutex::default(),
            findings: Mutex::default(),
            counts: Mutex::default(),
            records: Mutex::default(),
        }
    }

    pub fn stopping(&self) -> bool {
        self.stop.load(SeqCst)
    }

    /// Something that must not be.
    pub fn finding(&self, what: &str) {
        let mut findings = lock(&self.findings);
        if findings.len() < SHOWN {
            eprintln!("bench: FOUND (seed {}): {what}", self.seed);
        }
        findings.push(what.to_owned());
    }

    pub fn findings(&self) -> usize {
        lock(&self.findings).len()
    }

    pub fn count(&self, what: &'static str, how_many: u64) {
        *lock(&self.counts).entry(what).or_default() += how_many;
    }

    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.counts).clone()
    }

    /// A sleep of a few milliseconds took so long. When it was seconds the machine stood still, and every deadline that came
    /// meanwhile has been met by the router as soon as it went on: findings of that moment are to be read with this in mind.
    pub fn slept(&self, took: Duration) {
        if took > STANDSTILL {
            eprintln!("bench: the machine stood still for {:.1} s", took.as_secs_f64());
        }
        self.longest_sleep.fetch_max(took.as_millis() as u64, SeqCst);
    }

    pub fn longest_sleep(&self) -> Duration {
        Duration::from_millis(self.longest_sleep.load(SeqCst))
    }

    pub fn record(&self, record: Record) {
        lock(&self.records).push(record);
    }

    pub fn take_records(&self) -> Vec<Record> {
        std::mem::take(&mut *lock(&self.records))
    }

    /// From this moment on a pool may fail; said before its backend is killed.
    pub fn outage_begins(&self, pool: &'static str) {
        lock(&self.outages).push(Outage { pool, until: None });
    }

    /// Its backend serves again.
    pub fn outage_ends(&self, pool: &'static str) {
        let now = Instant::now();
        let mut outages = lock(&self.outages);
        for outage in outages.iter_mut().filter(|outage| outage.pool == pool && outage.until.is_none()) {
            outage.until = Some(now);
        }
        // Nothing lasts that long.
        outages.retain(|outage| outage.until.is_none_or(|until| now - until < Duration::from_secs(120)));
    }

    /// Whether a backend of this way was down while an exchange that began then ran. Who begins after its return has no
    /// excuse: what was kept of the dead one must not be used.
    pub fn excuses(&self, way: &Way, began: Instant) -> bool {
        let while_it_ran = |outage: &Outage| outage.until.is_none_or(|until| began < until);
        lock(&self.outages).iter().any(|outage| way.pools.contains(&outage.pool) && while_it_ran(outage))
    }
}

/// Nobody panics while he holds it; if he did, what he wrote is still there.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::configuration::WAYS;

    #[test]
    fn only_a_pool_that_was_down_is_excused() {
        let nowhere = Address::Unix("x".into());
        let listens = Listens { tcp: nowhere.clone(), unix: nowhere.clone(), bare: nowhere.clone(), guest: nowhere };
        let world = World::new(1, listens, 1);
        let began = Instant::now();
        assert!(!world.excuses(&WAYS[1], began));
        world.outage_begins("red");
        assert!(world.excuses(&WAYS[1], began) && !world.excuses(&WAYS[0], began));
        world.outage_ends("red");
        assert!(world.excuses(&WAYS[1], began));
        assert!(!world.excuses(&WAYS[1], Instant::now()));
    }
}
