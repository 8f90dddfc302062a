//! What the router counts. Written to the log on SIGUSR2; nothing here decides anything.

use crate::sync::{AtomicU64, Ordering};

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections closed at accept: the client address had too many.
    pub refused_per_ip: Counter,
    /// `accept` failed for want of descriptors or memory.
    pub accept_failed: Counter,
    /// Exchanges begun.
    pub exchanges: Counter,
    /// Connections opened to backends.
    pub backend_connects: Counter,
    /// Exchanges on a kept backend connection.
    pub backend_reuses: Counter,
    /// Connect attempts that failed.
    pub backend_connect_failures: Counter,
    /// Exchanges sent once more after a kept connection had died.
    pub retries: Counter,
    /// Sessions refused after `timeouts.queue`.
    pub refused_queue: Counter,
    /// Requests refused by a `requests_per_second` (429).
    pub refused_rate: Counter,
    /// Exchanges ended because their client was below `limits.client_rate_min`.
    pub slow_clients: Counter,
    /// Heads that came too late (408).
    pub header_timeouts: Counter,
    /// Sessions closed after `timeouts.idle`.
    pub idle_timeouts: Counter,
    /// Parked sessions closed because descriptors were short.
    pub shed: Counter,
    /// Heads given up because the stock of cells was empty.
    pub cells_exhausted: Counter,
    /// Exchanges ended by a fault of ours.
    pub panics: Counter,
    /// Reloads that were refused.
    pub reloads_failed: Counter,
}

impl Counters {
    /// Name and value of each, in one order.
    pub fn list(&self) -> [(&'static str, u64); 17] {
        [
            ("accepted", self.accepted.value()),
            ("refused_per_ip", self.refused_per_ip.value()),
            ("accept_failed", self.accept_failed.value()),
            ("exchanges", self.exchanges.value()),
            ("backend_connects", self.backend_connects.value()),
            ("backend_reuses", self.backend_reuses.value()),
            ("backend_connect_failures", self.backend_connect_failures.value()),
            ("retries", self.retries.value()),
            ("refused_queue", self.refused_queue.value()),
            ("refused_rate", self.refused_rate.value()),
            ("slow_clients", self.slow_clients.value()),
            ("header_timeouts", self.header_timeouts.value()),
            ("idle_timeouts", self.idle_timeouts.value()),
            ("shed", self.shed.value()),
            ("cells_exhausted", self.cells_exhausted.value()),
            ("panics", self.panics.value()),
            ("reloads_failed", self.reloads_failed.value()),
        ]
    }
}
