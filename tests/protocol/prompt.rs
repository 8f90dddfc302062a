//! What 100 ms are on a machine that is busy: the time in which somebody who only sleeps was not woken is not counted.
//!
//! Without it a loaded machine fails tests that nothing is wrong with. With a looser limit, or with a median over many, a
//! refusal that lingers before its FIN would pass.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A FIN comes this soon after the answer.
const PROMPT: Duration = Duration::from_millis(100);
/// How long the sleeper sleeps. What it sleeps longer by is the machine's.
const NAP: Duration = Duration::from_millis(2);

/// Sleeps, and notes when it was not woken in time.
pub struct Sleeper {
    notes: Arc<Notes>,
    thread: Option<JoinHandle<()>>,
}

struct Notes {
    stop: AtomicBool,
    state: Mutex<State>,
}

struct State {
    /// From when it was to be woken until it was.
    overslept: Vec<(Instant, Instant)>,
    /// The end of the nap that it takes now.
    due: Instant,
}

impl Sleeper {
    pub fn start() -> Self {
        let state = State { overslept: Vec::new(), due: Instant::now() + NAP };
        let notes = Arc::new(Notes { stop: AtomicBool::new(false), state: Mutex::new(state) });
        let theirs = Arc::clone(&notes);
        let thread = std::thread::spawn(move || {
            while !theirs.stop.load(Ordering::Relaxed) {
                std::thread::sleep(NAP);
                let (mut state, now) = (theirs.state.lock().expect("not poisoned"), Instant::now());
                let due = std::mem::replace(&mut state.due, now + NAP);
                if now > due {
                    state.overslept.push((due, now));
                }
            }
        });
        Self { notes, thread: Some(thread) }
    }

    /// Panics if more than 100 ms have gone by since then, not counted what was overslept.
    #[track_caller]
    pub fn assert_prompt(&self, since: Instant) {
        let state = self.notes.state.lock().expect("not poisoned");
        let now = Instant::now();
        let stalled: Duration = state
            .overslept
            .iter()
            .rev()
            .copied()
            .take_while(|(_, to)| *to > since)
            // It may not have been woken yet.
            .chain([(state.due, now)])
            .map(|(from, to)| to.saturating_duration_since(from.max(since)))
            .sum();
        let took = now - since;
        assert!(took.saturating_sub(stalled) < PROMPT, "the FIN took {took:?}, of which the machine slept {stalled:?}");
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.notes.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
