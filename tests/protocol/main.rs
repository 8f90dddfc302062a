//! What a strict intermediary does with each malformed or ambiguous message, and what each class of past vulnerability
//! teaches: a case or more for every row of [`rows`], over sockets, whole and one byte a segment.
//!
//! A recording backend parses strictly everything that reaches it: for a request that is refused nothing does, else the
//! rebuilt head to the byte, and a body in our own framing. The client must never take an answer that was cut for a
//! whole one. After each case a fresh connection gets an answer of its own.
//!
//! Not here: limits, deadlines, faults and load, which have tests of their own; the same parsers without sockets, split
//! at every position, are tested in `src/http`.

mod connection_fields;
mod connections;
mod cves;
mod lanes;
mod prompt;
mod recorder;
mod requests;
mod responses;
mod rows;
mod strict;
#[path = "../support/mod.rs"]
mod support;
