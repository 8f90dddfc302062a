//! The few primitives of shared state, named once, so that a model checker can stand in for all of them.
//!
//! Channels are crossbeam's and are used by their own name. `std::sync::Mutex` is not used anywhere: it poisons, and a
//! panic here costs one exchange, not the lock.

pub use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
pub use std::sync::{Arc, Weak};

pub use parking_lot::{Condvar, Mutex, MutexGuard};
