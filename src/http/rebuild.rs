//! The head that goes on: built anew from what was understood, never copied from what was received.
//!
//! Order, which is the point: fields of one hop and those that Connection names are dropped first, then what the route
//! removes, then ours are added, then what the route sets replaces all. So nobody can name away what we add.

mod request;
mod response;

pub use request::{RequestRebuild, request};
pub(crate) use response::put_connection;
pub use response::{ResponseRebuild, interim, response};

use super::Sink;
use super::names::{Name, classify, is_hop_by_hop};

/// `Name: value` and the line end.
#[inline]
pub(crate) fn put_field<S: Sink>(name: &[u8], value: &[u8], out: &mut S) -> Result<(), S::Error> {
    out.put(name)?;
    out.put(b": ")?;
    out.put(value)?;
    out.put(b"\r\n")
}

/// Whether a route may set this field: framing and the fields of one hop are the router's alone.
#[inline]
pub(crate) fn may_be_set(name: &str) -> bool {
    let name = classify(name);
    !is_hop_by_hop(name) && name != Name::Alias
}
