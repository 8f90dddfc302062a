//! Under load and against the clock: one test at a time, each bounded, none of them about how fast the machine is.
//!
//! What is asserted is the absence of errors, whole bytes, and time limits that the router promises; where a limit is
//! short, the worst delay that this machine gave a sleeping thread meanwhile is added to it.

mod clients;
mod costs;
mod crowds;
mod origin;
mod signals;
mod slow;
mod storms;
#[path = "../support/mod.rs"]
mod support;
mod transfers;
mod wire;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Whoever holds this has the machine to itself, as far as this binary is concerned.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    // A test that failed does not fail the others.
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long this machine lets a thread wait that is ready to run.
struct Hiccups {
    stop: Arc<AtomicBool>,
    worst_us: Arc<AtomicU64>,
    watcher: Option<JoinHandle<()>>,
}

impl Hiccups {
    fn watch() -> Self {
        let (stop, worst_us) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (theirs, worst) = (Arc::clone(&stop), Arc::clone(&worst_us));
        let watcher = std::thread::spawn(move || {
            let nap = Duration::from_millis(2);
            while !theirs.load(Ordering::Relaxed) {
                let begun = Instant::now();
                std::thread::sleep(nap);
                let late = begun.elapsed().saturating_sub(nap).as_micros();
                worst.fetch_max(u64::try_from(late).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        });
        Self { stop, worst_us, watcher: Some(watcher) }
    }

    /// What a chain of `threads`, each of them late, may take on top of a promise.
    fn allowance(&self, threads: u32) -> Duration {
        Duration::from_micros(self.worst_us.load(Ordering::Relaxed)) * threads
    }
}

impl Drop for Hiccups {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
    }
}
