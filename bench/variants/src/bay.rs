//! Where one direction's bytes arrive: a slice that is there only while it holds any, and two cursors.
//!
//! As the product's `buf`, which is bound to its arena. A session that waits has no slice, so few are in use, and those are
//! in the cache.

use crate::desk::Shelf;

/// Bytes of a slice, one a direction: the product's default.
pub const SLICE: usize = 256 * 1024;
/// Below this much room at the end, what is unread moves to the front first.
const ROOM_MIN: usize = 2048;

/// `0 <= consumed <= filled <= SLICE`; without a slice both are 0.
#[derive(Debug, Default)]
pub struct Bay {
    slice: Option<Box<[u8]>>,
    consumed: usize,
    filled: usize,
}

impl Bay {
    /// What has arrived and is not used up.
    #[inline]
    pub fn unread(&self) -> &[u8] {
        self.slice.as_deref().map_or(&[], |slice| &slice[self.consumed..self.filled])
    }

    /// The same, for decoding in place.
    #[inline]
    pub fn unread_mut(&mut self) -> &mut [u8] {
        self.slice.as_deref_mut().map_or(&mut [], |slice| &mut slice[self.consumed..self.filled])
    }

    /// Nothing is unread.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.consumed == self.filled
    }

    /// All of the slice is unread.
    pub fn is_full(&self) -> bool {
        self.filled - self.consumed == SLICE
    }

    /// Where the next read goes. Empty only when the whole slice is unread.
    pub fn space(&mut self, shelf: &mut Shelf) -> &mut [u8] {
        let slice = self.slice.get_or_insert_with(|| shelf.take());
        make_room(slice, &mut self.consumed, &mut self.filled);
        &mut slice[self.filled..]
    }

    /// The slice itself and where the next read goes in it, for who reads by ownership. `put_back` must follow.
    pub fn lend(&mut self, shelf: &mut Shelf) -> (Box<[u8]>, usize) {
        let mut slice = self.slice.take().unwrap_or_else(|| shelf.take());
        make_room(&mut slice, &mut self.consumed, &mut self.filled);
        (slice, self.filled)
    }

    /// The same slice comes back, with `n` bytes more.
    pub fn put_back(&mut self, slice: Box<[u8]>, n: usize) {
        self.slice = Some(slice);
        self.fill(n);
    }

    /// `n` bytes were read into `space`.
    pub fn fill(&mut self, n: usize) {
        self.filled += n;
        assert!(self.filled <= SLICE, "a read cannot return more than it was given room for");
    }

    /// `n` unread bytes are used up.
    pub fn consume(&mut self, n: usize) {
        self.consumed += n;
        assert!(self.consumed <= self.filled, "only what was read can be used up");
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.consumed = 0;
        self.filled = 0;
    }

    /// Gives the slice back if it holds nothing.
    pub fn settle(&mut self, shelf: &mut Shelf) {
        if self.is_empty()
            && let Some(slice) = self.slice.take()
        {
            self.clear();
            shelf.put(slice);
        }
    }
}

fn make_room(slice: &mut [u8], consumed: &mut usize, filled: &mut usize) {
    if consumed == filled {
        (*consumed, *filled) = (0, 0);
    } else if *consumed > 0 && SLICE - *filled < ROOM_MIN {
        slice.copy_within(*consumed..*filled, 0);
        (*consumed, *filled) = (0, *filled - *consumed);
    }
}
