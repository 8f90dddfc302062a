//! The threads of a router: started with small stacks, remembered, and joined.

use std::io;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Address space of a thread's stack. About 10 KiB of it is touched; 16 KiB would abort on a panic with a backtrace.
pub(super) const STACK_SIZE: usize = 128 * 1024;

/// Starts threads with small explicit stacks, and remembers them.
#[derive(Default)]
pub(super) struct Threads {
    /// In the order of their start.
    pub(super) handles: Vec<JoinHandle<()>>,
}

impl Threads {
    /// One that is not remembered.
    pub(super) fn start(name: String, run: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>> {
        // `thread::spawn` would panic where the host has no more threads.
        std::thread::Builder::new().name(name).stack_size(STACK_SIZE).spawn(run)
    }

    /// One more.
    pub(super) fn spawn(&mut self, name: String, run: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        self.handles.push(Self::start(name, run)?);
        Ok(())
    }
}

/// Waits for its end, however long that takes.
pub(super) fn join(thread: JoinHandle<()>) {
    let name = thread.thread().name().unwrap_or("?").to_owned();
    if thread.join().is_err() {
        log::error!("thread {name} had ended by a fault");
    }
}

/// Waits for its end until then.
pub(super) fn join_by(thread: JoinHandle<()>, deadline: Instant) {
    while !thread.is_finished() {
        if Instant::now() >= deadline {
            log::warn!("thread {} did not end; stopping without it", thread.thread().name().unwrap_or("?"));
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    join(thread);
}
