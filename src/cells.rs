//! Bytes of sessions that are not running: heads that have not arrived whole, and pipelined requests put away.
//!
//! A fixed stock of 1 KiB cells (`limits.parked_heads`); a head takes a chain of them. A session that is not running
//! holds no slice, so a slow head costs what it has sent and nothing more.

use crate::sync::{Arc, Mutex};

/// Bytes of a cell.
pub const CELL: usize = 1024;
/// No cell.
const NONE: u32 = u32::MAX;

/// The stock.
#[derive(Debug)]
pub struct Cells {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Memory by the block, so that a reload can raise the limit; untouched pages cost nothing.
    blocks: Vec<Box<[u8]>>,
    /// By cell: the one that follows in its chain or in the free list.
    next: Vec<u32>,
    /// First free cell, or `NONE`.
    free: u32,
    used: usize,
    /// Cells that may be in use. Lowered by a reload, it may be under `used` for a while.
    limit: usize,
}

/// Cells of a block.
const BLOCK: usize = 1024;

/// Bytes put away: the cells return when dropped.
#[derive(Debug)]
pub struct Chain {
    cells: Arc<Cells>,
    first: u32,
    len: usize,
}

impl Cells {
    /// A stock of `bytes`, rounded up to whole cells.
    pub fn new(bytes: usize) -> Arc<Self> {
        let cells =
            Self { inner: Mutex::new(Inner { blocks: Vec::new(), next: Vec::new(), free: NONE, used: 0, limit: 0 }) };
        cells.set_limit(bytes);
        Arc::new(cells)
    }

    /// Another limit, at a reload. Memory only grows.
    pub fn set_limit(&self, bytes: usize) {
        let limit = bytes.div_ceil(CELL).min(NONE as usize - 1);
        let mut inner = self.inner.lock();
        while inner.blocks.len() * BLOCK < limit {
            inner.blocks.push(vec![0; BLOCK * CELL].into_boxed_slice());
        }
        inner.limit = limit;
    }

    /// Puts `bytes` away; `None` when the stock does not hold them.
    pub fn store(self: &Arc<Self>, bytes: &[u8]) -> Option<Chain> {
        let need = bytes.len().div_ceil(CELL);
        let mut inner = self.inner.lock();
        if inner.used + need > inner.limit {
            return None;
        }
        let mut first = NONE;
        for part in bytes.chunks(CELL).rev() {
            let cell = inner.take();
            inner.cell_mut(cell)[..part.len()].copy_from_slice(part);
            inner.next[cell as usize] = first;
            first = cell;
        }
        drop(inner);
        Some(Chain { cells: Arc::clone(self), first, len: bytes.len() })
    }

    /// Cells in use.
    pub fn used(&self) -> usize {
        self.inner.lock().used
    }
}

impl Inner {
    /// The caller has checked `limit`, so a block holds every number handed out.
    fn take(&mut self) -> u32 {
        self.used += 1;
        if self.free == NONE {
            self.next.push(NONE);
            return u32::try_from(self.next.len() - 1).expect("the limit is below u32::MAX");
        }
        let cell = self.free;
        self.free = self.next[cell as usize];
        cell
    }

    fn cell_mut(&mut self, cell: u32) -> &mut [u8] {
        let (block, at) = (cell as usize / BLOCK, cell as usize % BLOCK);
        &mut self.blocks[block][at * CELL..(at + 1) * CELL]
    }
}

impl Chain {
    /// Bytes in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies the bytes to the front of `to`, which is at least `len()` long, and returns the cells.
    pub fn restore(self, to: &mut [u8]) -> usize {
        let mut inner = self.cells.inner.lock();
        let mut cell = self.first;
        for part in to[..self.len].chunks_mut(CELL) {
            part.copy_from_slice(&inner.cell_mut(cell)[..part.len()]);
            cell = inner.next[cell as usize];
        }
        self.len
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        let mut inner = self.cells.inner.lock();
        let mut cell = self.first;
        while cell != NONE {
            // As a slice (`arena`): in debug builds a stale byte that leaks out is seen at once.
            #[cfg(debug_assertions)]
            inner.cell_mut(cell).fill(0xdb);
            let next = std::mem::replace(&mut inner.next[cell as usize], NONE);
            inner.next[cell as usize] = inner.free;
            inner.free = cell;
            inner.used -= 1;
            cell = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_away_comes_back() {
        let cells = Cells::new(64 * CELL);
        for len in [0, 1, CELL - 1, CELL, CELL + 1, 32 * CELL] {
            let bytes: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let chain = cells.store(&bytes).expect("room");
            let mut back = vec![0; len + 7];
            assert_eq!(chain.restore(&mut back), len);
            assert_eq!(&back[..len], &bytes[..]);
            assert_eq!(cells.used(), 0);
        }
    }

    #[test]
    fn a_cell_that_came_back_holds_nothing_of_before() {
        let cells = Cells::new(CELL);
        drop(cells.store(&[b's'; CELL]).expect("room"));
        let chain = cells.store(b"new").expect("room");
        let mut back = [0; CELL];
        assert_eq!(cells.inner.lock().cell_mut(chain.first)[..4], *b"new\xdb");
        assert_eq!(chain.restore(&mut back), 3);
        assert_eq!(back[..4], *b"new\0", "it gives back no more than was put away");
    }

    #[test]
    fn a_full_stock_says_so_and_loses_nothing() {
        let cells = Cells::new(2 * CELL);
        let held = cells.store(&[7; 1500]).expect("two cells");
        assert!(cells.store(b"x").is_none());
        drop(held);
        assert!(cells.store(b"x").is_some());
    }

    #[test]
    fn a_reload_may_raise_and_lower_the_limit() {
        let cells = Cells::new(CELL);
        let held = cells.store(b"x").expect("one");
        cells.set_limit(2000 * CELL);
        let more = cells.store(&vec![1; 1999 * CELL]).expect("the rest");
        cells.set_limit(CELL);
        drop(more);
        assert!(cells.store(b"y").is_none());
        drop(held);
        assert!(cells.store(b"y").is_some());
    }
}
