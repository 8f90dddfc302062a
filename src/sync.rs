//! The few primitives of shared state, named once, so that a model checker can stand in for all of them.
//!
//! With `--cfg loom` they are loom's, and the models of `tests/models` run this source through every order of its steps.
//! Whatever has a model has its channels and its sleeps from here too; elsewhere they are used by their own name.
//! `tests/layers.rs` holds both. `std::sync::Mutex` is not used anywhere: it poisons, and a panic here costs one exchange,
//! not the lock.

pub use std::sync::{Arc, Weak};

#[cfg(not(loom))]
mod real {
    pub use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence};
    pub use std::thread::sleep;

    pub use crossbeam_channel as channel;
    pub use parking_lot::{Condvar, Mutex, MutexGuard};

    /// Before a system call whose outcome depends on what other threads have done: nothing. A model checker that does not
    /// know of the kernel would not try it in another order.
    #[inline(always)]
    pub fn ask_kernel() {}
}
#[cfg(not(loom))]
pub use real::*;

#[cfg(loom)]
mod modelled;
#[cfg(loom)]
pub use modelled::*;
