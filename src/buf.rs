//! A slice with two cursors: what has arrived and what of it is used up.
//!
//! Only `[consumed..filled]` can be seen, so no byte of an earlier session can. Forwarding moves cursors, not bytes;
//! bytes move only when the tail is too short to read into.

use crate::arena::Lease;

/// Below this much room at the end, what is unread moves to the front first.
const ROOM_MIN: usize = 2048;

/// `0 <= consumed <= filled <= slice.len()`
#[derive(Debug)]
pub struct Buf {
    slice: Lease,
    consumed: usize,
    filled: usize,
}

impl Buf {
    /// An empty buffer over a slice.
    pub fn new(slice: Lease) -> Self {
        Self { slice, consumed: 0, filled: 0 }
    }

    /// What has arrived and is not used up.
    pub fn unread(&self) -> &[u8] {
        &self.slice[self.consumed..self.filled]
    }

    /// The same, for decoding in place.
    pub fn unread_mut(&mut self) -> &mut [u8] {
        &mut self.slice[self.consumed..self.filled]
    }

    /// Nothing is unread.
    pub fn is_empty(&self) -> bool {
        self.consumed == self.filled
    }

    /// Where the next read goes. Empty only when the whole slice is unread.
    pub fn space(&mut self) -> &mut [u8] {
        if self.is_empty() {
            self.clear();
        } else if self.consumed > 0 && self.slice.len() - self.filled < ROOM_MIN {
            self.slice.copy_within(self.consumed..self.filled, 0);
            self.filled -= self.consumed;
            self.consumed = 0;
        }
        &mut self.slice[self.filled..]
    }

    /// `n` bytes were read into `space`.
    pub fn fill(&mut self, n: usize) {
        self.filled += n;
        assert!(self.filled <= self.slice.len(), "a read cannot return more than it was given room for");
    }

    /// `n` unread bytes are used up.
    pub fn consume(&mut self, n: usize) {
        self.consumed += n;
        assert!(self.consumed <= self.filled, "only what was read can be used up");
    }

    /// Returns the slice: what is left has no bytes and no room.
    pub fn give_back(&mut self) {
        self.clear();
        self.slice.give_back();
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.consumed = 0;
        self.filled = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Arena;

    fn buf(size: usize) -> Buf {
        Buf::new(Arena::new(2, size).lease_pair().0)
    }

    fn put(buf: &mut Buf, bytes: &[u8]) {
        buf.space()[..bytes.len()].copy_from_slice(bytes);
        buf.fill(bytes.len());
    }

    #[test]
    fn only_what_arrived_and_is_unused_is_seen() {
        let mut buf = buf(4096);
        put(&mut buf, b"abcdef");
        buf.consume(2);
        assert_eq!(buf.unread(), b"cdef");
        buf.consume(4);
        assert!(buf.is_empty());
        assert_eq!(buf.space().len(), 4096);
    }

    #[test]
    fn a_slice_lent_again_shows_what_arrived_and_nothing_of_before() {
        let arena = Arena::new(2, 4096);
        let (earlier, other) = arena.lease_pair();
        let mut earlier = Buf::new(earlier);
        put(&mut earlier, &[b's'; 4096]);
        drop(other);
        drop(earlier);
        let mut later = Buf::new(arena.lease_pair().0);
        assert_eq!(later.unread(), b"");
        for n in [1, 5, 4000, 90] {
            put(&mut later, &vec![b'n'; n]);
            assert!(
                later.unread().iter().all(|&byte| byte == b'n') && later.unread_mut().iter().all(|&byte| byte == b'n')
            );
            let used = later.unread().len() - 1;
            later.consume(used);
        }
        later.give_back();
        assert!(later.unread().is_empty() && later.space().is_empty());
    }

    #[test]
    fn a_short_tail_makes_room_at_the_front() {
        let mut buf = buf(4096);
        put(&mut buf, &[b'x'; 4000]);
        buf.consume(3990);
        assert_eq!(buf.space().len(), 4086);
        assert_eq!(buf.unread(), b"xxxxxxxxxx");
    }

    #[test]
    fn a_whole_slice_unread_leaves_no_space() {
        let mut buf = buf(4096);
        put(&mut buf, &[b'x'; 4096]);
        assert!(buf.space().is_empty());
    }
}
