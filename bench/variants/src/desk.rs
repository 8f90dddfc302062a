//! What one thread has for all of its sessions: request ids, the date, and slices that nobody uses now.

use std::sync::Arc;

use layer7router::answer::{Asker, OwnAnswer};
use layer7router::clock::Date;
use layer7router::ids::IdMaker;

use crate::bay::SLICE;
use crate::site::Site;

/// Slices that are kept; more than this were in use at once, and are given to the allocator.
const SHELF_MAX: usize = 4096;

/// What one thread has.
#[derive(Debug)]
pub struct Desk {
    /// The configuration, made ready.
    pub site: Arc<Site>,
    /// Of requests that come without one.
    pub ids: IdMaker,
    /// Of our own answers.
    pub date: Date,
    /// Slices.
    pub shelf: Shelf,
}

impl Desk {
    /// A new one.
    pub fn new(site: Arc<Site>) -> Self {
        Self { site, ids: IdMaker::default(), date: Date::imf(), shelf: Shelf::default() }
    }

    /// The router's own answer, put where answers go.
    pub fn put_answer(&mut self, answer: &OwnAnswer, asker: &Asker, keep: bool, out: &mut Vec<u8>) {
        let Ok(()) = answer.put(asker, self.date.now(), keep, out);
    }
}

/// Slices that nobody uses: the last one put there is taken first.
#[derive(Debug, Default)]
pub struct Shelf(Vec<Box<[u8]>>);

impl Shelf {
    /// One slice.
    pub fn take(&mut self) -> Box<[u8]> {
        self.0.pop().unwrap_or_else(|| vec![0; SLICE].into_boxed_slice())
    }

    /// It is used no more.
    pub fn put(&mut self, slice: Box<[u8]>) {
        if self.0.len() < SHELF_MAX {
            self.0.push(slice);
        }
    }
}
