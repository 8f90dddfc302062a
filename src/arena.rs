//! The arena: every slice that a session ever pumps bytes through, taken once at start and lent by the pair.
//!
//! A slice belongs to no worker. The last one returned is lent first, so that few sessions touch few pages however many
//! workers there are. Not here: what a slice holds (`buf`).

use crate::sync::{Arc, Mutex};

/// `2 x workers` slices behind one lock: as many sessions run at most.
#[derive(Debug)]
pub struct Arena {
    inner: Mutex<Inner>,
    slice_size: usize,
    total: usize,
}

#[derive(Debug)]
struct Inner {
    /// Free slices with their number; the last is lent first.
    free: Vec<(usize, &'static mut [u8])>,
    /// By number: whether the slice was ever lent.
    touched: Vec<bool>,
    touched_count: usize,
}

/// A slice on loan: returned when dropped.
#[derive(Debug)]
pub struct Lease {
    arena: Arc<Arena>,
    number: usize,
    /// Taken when it is returned.
    slice: Option<&'static mut [u8]>,
}

impl Arena {
    /// Takes the memory of `count` slices of `slice_size` bytes. The kernel gives pages when they are first touched.
    pub fn new(count: usize, slice_size: usize) -> Arc<Self> {
        // Leaked on purpose: the arena lives as long as the process, and leases that need no lifetime of their own can
        // cross threads without `unsafe`.
        let memory: &'static mut [u8] = Box::leak(vec![0; count * slice_size].into_boxed_slice());
        let free = memory.chunks_exact_mut(slice_size).enumerate().collect::<Vec<_>>();
        Arc::new(Self {
            inner: Mutex::new(Inner { free, touched: vec![false; count], touched_count: 0 }),
            slice_size,
            total: count,
        })
    }

    /// The two slices of a session, under one lock.
    ///
    /// There are two for each session that may run (`permits`), so this cannot run out.
    pub fn lease_pair(self: &Arc<Self>) -> (Lease, Lease) {
        let mut inner = self.inner.lock();
        let first = inner.lend();
        let second = inner.lend();
        drop(inner);
        (self.lease(first), self.lease(second))
    }

    fn lease(self: &Arc<Self>, (number, slice): (usize, &'static mut [u8])) -> Lease {
        Lease { arena: Arc::clone(self), number, slice: Some(slice) }
    }

    /// Bytes of a slice.
    pub fn slice_size(&self) -> usize {
        self.slice_size
    }

    /// Slices there are.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Slices at rest.
    pub fn free(&self) -> usize {
        self.inner.lock().free.len()
    }

    /// Slices that were ever lent: what the arena costs in memory.
    pub fn touched(&self) -> usize {
        self.inner.lock().touched_count
    }
}

impl Inner {
    fn lend(&mut self) -> (usize, &'static mut [u8]) {
        let (number, slice) = self.free.pop().expect("two slices for each session that may run");
        if !std::mem::replace(&mut self.touched[number], true) {
            self.touched_count += 1;
        }
        (number, slice)
    }
}

impl std::ops::Deref for Lease {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.slice.as_deref().unwrap_or_default()
    }
}

impl std::ops::DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.slice.as_deref_mut().unwrap_or_default()
    }
}

impl Lease {
    /// Returns the slice before the lease goes out of scope. What is left is empty.
    pub fn give_back(&mut self) {
        if let Some(slice) = self.slice.take() {
            // In debug builds a stale byte that leaks out is seen at once. What lies behind is reached by large bodies only, and
            // filling all of it made a thousand short visits slow.
            #[cfg(debug_assertions)]
            slice[..self.arena.slice_size.min(32 * 1024)].fill(0xdb);
            self.arena.inner.lock().free.push((self.number, slice));
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_returned_is_lent_first() {
        let arena = Arena::new(4, 64);
        let (a, b) = arena.lease_pair();
        let numbers = (a.number, b.number);
        assert_eq!(arena.free(), 2);
        drop(b);
        drop(a);
        let (a, b) = arena.lease_pair();
        assert_eq!((a.number, b.number), numbers);
        assert_eq!(arena.touched(), 2);
    }

    #[test]
    fn every_lease_comes_back_also_after_a_panic() {
        let arena = Arena::new(2, 64);
        let theirs = Arc::clone(&arena);
        let gone = std::thread::spawn(move || {
            let _pair = theirs.lease_pair();
            panic!("as a test");
        });
        assert!(gone.join().is_err());
        assert_eq!(arena.free(), 2);
    }

    #[test]
    fn a_slice_that_came_back_holds_nothing_of_before() {
        let arena = Arena::new(2, 16);
        let (mut a, mut b) = arena.lease_pair();
        a.fill(b's');
        b.fill(b's');
        drop(a);
        // Early, as of an exchange that has ended; both are lent again.
        b.give_back();
        let (a, b) = arena.lease_pair();
        assert!(a.iter().chain(b.iter()).all(|&byte| byte == 0xdb), "the tests are a debug build");
    }

    #[test]
    fn leases_are_disjoint() {
        let arena = Arena::new(4, 16);
        let (mut a, mut b) = arena.lease_pair();
        a.fill(1);
        b.fill(2);
        assert!(a.iter().all(|&x| x == 1) && b.iter().all(|&x| x == 2));
        assert_eq!(a.len(), 16);
    }
}
