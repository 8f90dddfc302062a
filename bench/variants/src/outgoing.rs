//! What is on its way out in one direction: a rebuilt head, the part of a body that is here, and how much was taken.
//!
//! All of it is one list of parts, so that it leaves in one call; whatever the socket takes of it, the rest is a list again.

use std::io::IoSlice;

use layer7router::http::framing::{CHUNK_END, ChunkLine, LAST_CHUNK, Taken, put_trailers};

use crate::bay::Bay;

/// Parts of one list: head, chunk line, payload, end of the chunk, end of the body.
pub const PARTS_MAX: usize = 5;

/// What is on its way.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// A whole rebuilt head, or several; kept until the next, so that it can be sent again.
    pub head: Vec<u8>,
    line: Option<ChunkLine>,
    /// Bytes at the beginning of what is unread in the bay.
    payload: usize,
    /// The last chunk, with its trailers.
    tail: Vec<u8>,
    /// To be used up in the bay once all is taken.
    consumed: usize,
    /// Bytes of all parts.
    total: usize,
    /// Of those, taken.
    taken: usize,
}

impl Outgoing {
    /// Everything was taken.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.taken == self.total
    }

    /// Some of it was taken.
    pub fn has_begun(&self) -> bool {
        self.taken > 0
    }

    /// A part of a body is among it.
    pub fn is_loaded(&self) -> bool {
        self.consumed > 0 || self.total > self.head.len()
    }

    /// Bytes of the bay that are used up once all is taken.
    pub fn consumes(&self) -> usize {
        self.consumed
    }

    /// Room for one more head, behind those that are not sent yet.
    pub fn begin_head(&mut self) -> &mut Vec<u8> {
        if self.is_empty() {
            self.clear();
        }
        &mut self.head
    }

    /// Forgets everything. A part of the body that was still to be sent stays unread.
    pub fn clear(&mut self) {
        self.head.clear();
        self.line = None;
        self.tail.clear();
        (self.payload, self.consumed, self.total, self.taken) = (0, 0, 0, 0);
    }

    /// `head` was changed: it is to be sent.
    pub fn send_head(&mut self) {
        debug_assert!(self.payload == 0 && self.consumed == 0);
        self.total = self.head.len();
    }

    /// The head once more; nothing came after it.
    pub fn again(&mut self) {
        debug_assert!(self.payload == 0 && self.consumed == 0);
        self.taken = 0;
    }

    /// Adds the part of a body that was taken out of the bay, behind a head that is not sent yet.
    pub fn load(&mut self, bay: &Bay, taken: &Taken, chunked: bool, trailers_pass: bool) {
        if self.is_empty() {
            self.clear();
        }
        self.payload = taken.payload;
        self.consumed = taken.consumed;
        self.total += taken.payload;
        if chunked {
            if taken.payload > 0 {
                let line = ChunkLine::new(taken.payload);
                self.total += line.as_bytes().len() + CHUNK_END.len();
                self.line = Some(line);
            }
            if taken.end {
                let trailers = bay.unread().get(taken.trailers.clone()).unwrap_or_default();
                self.end_chunks(if trailers_pass { trailers } else { b"" });
            }
        }
    }

    /// Adds the end of a chunked body.
    pub fn end_chunks(&mut self, trailers: &[u8]) {
        self.tail.extend_from_slice(LAST_CHUNK);
        let Ok(()) = put_trailers(trailers, &mut self.tail);
        self.tail.extend_from_slice(CHUNK_END);
        self.total += self.tail.len();
    }

    /// A load without a byte to send: what it was made of is used up.
    pub fn skip_if_empty(&mut self, bay: &mut Bay) {
        if self.is_empty() {
            self.done(bay);
        }
    }

    /// What is still to be sent.
    pub fn parts<'a>(&'a self, bay: &'a Bay, room: &'a mut [IoSlice<'a>; PARTS_MAX]) -> &'a [IoSlice<'a>] {
        let line = self.line.as_ref().map_or(&[][..], |line| line.as_bytes());
        let close = if self.line.is_some() { CHUNK_END } else { b"" };
        let payload = &bay.unread()[..self.payload];
        let (mut skip, mut n) = (self.taken, 0);
        for part in [self.head.as_slice(), line, payload, close, self.tail.as_slice()] {
            let cut = skip.min(part.len());
            skip -= cut;
            if cut < part.len() {
                room[n] = IoSlice::new(&part[cut..]);
                n += 1;
            }
        }
        &room[..n]
    }

    /// The socket took `n` bytes.
    pub fn took(&mut self, n: usize, bay: &mut Bay) {
        self.taken += n;
        assert!(self.taken <= self.total, "a write cannot take more than it was given");
        if self.is_empty() {
            self.done(bay);
        }
    }

    fn done(&mut self, bay: &mut Bay) {
        bay.consume(std::mem::take(&mut self.consumed));
        self.payload = 0;
        self.line = None;
        self.tail.clear();
        // What is left is the head, sent.
        self.total = self.head.len();
        self.taken = self.total;
    }
}
