//! The system calls of `transport` that tests let fail, as a host does that is short of something. It is not in the product.

use std::cell::{Cell, RefCell};

use rustix::io::Errno;

/// Which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// accept(2)
    Accept,
    /// socket(2) of a connection to a backend.
    Socket,
    /// connect(2)
    Connect,
}

thread_local! {
    static NEXT: RefCell<Vec<(Call, Result<(), Errno>)>> = const { RefCell::new(Vec::new()) };
}

thread_local! {
    static PANICS: Cell<bool> = const { Cell::new(false) };
}

/// The next read of the calling thread that waits is a fault of ours.
pub fn panic_in_read() {
    PANICS.set(true);
}

/// Panics if it is to.
pub fn read() {
    assert!(!PANICS.take(), "a fault of ours");
}

thread_local! {
    static AFTER_READ: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// What happens when the next read of the calling thread that waits has got something, before the thread knows.
pub fn after_read(what: impl FnOnce() + 'static) {
    AFTER_READ.set(Some(Box::new(what)));
}

/// Lets it happen.
pub fn has_read() {
    if let Some(what) = AFTER_READ.take() {
        what();
    }
}

/// The next calls of this kind on the calling thread fail with these, in order.
pub fn inject(call: Call, errors: &[Errno]) {
    NEXT.with_borrow_mut(|next| next.extend(errors.iter().map(|&errno| (call, Err(errno)))));
}

/// The call before those that are injected next does not fail.
pub fn spare(call: Call) {
    NEXT.with_borrow_mut(|next| next.push((call, Ok(()))));
}

/// How many of them have not happened.
pub fn left() -> usize {
    NEXT.with_borrow(Vec::len)
}

/// Fails if it is to.
pub fn strike(call: Call) -> Result<(), Errno> {
    NEXT.with_borrow_mut(|next| {
        let due = next.iter().position(|(which, _)| *which == call);
        due.map_or(Ok(()), |at| next.remove(at).1)
    })
}
