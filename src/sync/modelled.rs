//! The primitives as loom has them, with the interfaces that the product uses. Only in builds with `--cfg loom`.

use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

pub use loom::sync::atomic::{Ordering, fence};

/// loom takes a SeqCst load or store for an acquire or release only, and so finds orders that cannot be. It knows fences
/// for what they are, and a fence before each load and after each store makes them what they say. Such a store is a swap,
/// because loom lets a plain one fall between what a swap elsewhere reads and what it writes.
macro_rules! atomics {
    ($($name:ident of $value:ty;)*) => {$(
        /// loom's, and its SeqCst accesses are.
        #[derive(Debug, Default)]
        pub struct $name(loom::sync::atomic::$name);

        impl $name {
            /// As std's.
            pub fn new(value: $value) -> Self {
                Self(loom::sync::atomic::$name::new(value))
            }

            /// As std's.
            pub fn load(&self, order: Ordering) -> $value {
                if order == Ordering::SeqCst {
                    fence(order);
                }
                self.0.load(order)
            }

            /// As std's.
            pub fn store(&self, value: $value, order: Ordering) {
                if order == Ordering::SeqCst {
                    self.0.swap(value, order);
                    fence(order);
                } else {
                    self.0.store(value, order);
                }
            }
        }

        impl Deref for $name {
            type Target = loom::sync::atomic::$name;

            fn deref(&self) -> &Self::Target {
                &self.0
            }
        }
    )*};
}

atomics! {
    AtomicBool of bool;
    AtomicU8 of u8;
    AtomicU64 of u64;
    AtomicUsize of usize;
}

loom::lazy_static! {
    /// Stands for all that the kernel knows.
    static ref KERNEL: AtomicUsize = AtomicUsize::new(0);
}

/// A step that loom tries before and after each other one of its kind.
pub fn ask_kernel() {
    KERNEL.fetch_add(1, Ordering::AcqRel);
}

/// A step of its own for all others, however short.
pub fn sleep(_: Duration) {
    loom::thread::yield_now();
}

/// loom's, without a word of poison.
#[derive(Debug, Default)]
pub struct Mutex<T>(loom::sync::Mutex<T>);

/// Unlocks when dropped. `None` only while a [`Condvar`] has it.
#[derive(Debug)]
pub struct MutexGuard<'a, T>(Option<loom::sync::MutexGuard<'a, T>>);

impl<T> Mutex<T> {
    /// As parking_lot's.
    pub fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    /// As parking_lot's.
    #[track_caller]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(self.0.lock().ok())
    }

    /// As parking_lot's, without its patience.
    pub fn try_lock_for(&self, _: Duration) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok().map(|guard| MutexGuard(Some(guard)))
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("no condition variable has it")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("no condition variable has it")
    }
}

/// loom's. It never wakes without a cause, and its waits have no end of time.
#[derive(Debug, Default)]
pub struct Condvar(loom::sync::Condvar);

/// Whether a wait came to the end of its time: never, here.
#[derive(Debug)]
pub struct TimedOut;

impl TimedOut {
    /// As parking_lot's.
    pub fn timed_out(&self) -> bool {
        false
    }
}

impl Condvar {
    /// As parking_lot's.
    pub fn new() -> Self {
        Self::default()
    }

    /// As parking_lot's.
    #[track_caller]
    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        if let Some(held) = guard.0.take() {
            guard.0 = self.0.wait(held).ok();
        }
    }

    /// As parking_lot's.
    pub fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, _: Instant) -> TimedOut {
        self.wait(guard);
        TimedOut
    }

    /// As parking_lot's.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// As parking_lot's.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// A bounded channel with the part of crossbeam's interface that the pair uses.
pub mod channel {
    use std::collections::VecDeque;

    use crossbeam_channel::{RecvError, SendError};

    use super::{Condvar, Mutex};
    use crate::sync::Arc;

    #[derive(Debug)]
    struct Channel<T> {
        state: Mutex<State<T>>,
        moved: Condvar,
        room: usize,
    }

    #[derive(Debug)]
    struct State<T> {
        waiting: VecDeque<T>,
        sender_gone: bool,
        receiver_gone: bool,
    }

    /// There is one.
    #[derive(Debug)]
    pub struct Sender<T>(Arc<Channel<T>>);

    /// There is one.
    #[derive(Debug)]
    pub struct Receiver<T>(Arc<Channel<T>>);

    /// As crossbeam's.
    pub fn bounded<T>(room: usize) -> (Sender<T>, Receiver<T>) {
        let state = State { waiting: VecDeque::new(), sender_gone: false, receiver_gone: false };
        let channel = Arc::new(Channel { state: Mutex::new(state), moved: Condvar::default(), room });
        (Sender(Arc::clone(&channel)), Receiver(channel))
    }

    impl<T> Channel<T> {
        /// The other end may go on before this one does: another step, or loom would not try it.
        fn tell(&self) {
            self.moved.notify_all();
            drop(self.state.lock());
        }
    }

    impl<T> Sender<T> {
        /// As crossbeam's.
        pub fn send(&self, item: T) -> Result<(), SendError<T>> {
            let mut state = self.0.state.lock();
            while state.waiting.len() == self.0.room && !state.receiver_gone {
                self.0.moved.wait(&mut state);
            }
            if state.receiver_gone {
                return Err(SendError(item));
            }
            state.waiting.push_back(item);
            drop(state);
            self.0.tell();
            Ok(())
        }
    }

    impl<T> Receiver<T> {
        /// As crossbeam's.
        pub fn recv(&self) -> Result<T, RecvError> {
            let mut state = self.0.state.lock();
            loop {
                if let Some(item) = state.waiting.pop_front() {
                    drop(state);
                    self.0.tell();
                    return Ok(item);
                }
                if state.sender_gone {
                    return Err(RecvError);
                }
                self.0.moved.wait(&mut state);
            }
        }
    }

    impl<'a, T> IntoIterator for &'a Receiver<T> {
        type Item = T;
        type IntoIter = Box<dyn Iterator<Item = T> + 'a>;

        fn into_iter(self) -> Self::IntoIter {
            Box::new(std::iter::from_fn(|| self.recv().ok()))
        }
    }

    impl<T> Drop for Sender<T> {
        fn drop(&mut self) {
            self.0.state.lock().sender_gone = true;
            self.0.tell();
        }
    }

    impl<T> Drop for Receiver<T> {
        fn drop(&mut self) {
            self.0.state.lock().receiver_gone = true;
            self.0.tell();
        }
    }
}
