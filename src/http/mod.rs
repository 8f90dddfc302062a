//! HTTP/1.x as a pure function: bytes in, verdicts out.
//!
//! In scope: where a head ends and what it says, which requests are refused and why, how a body is framed and
//! read out of a buffer, the head that goes on, the router's own answers, who the client is.
//! Out of scope: sockets, threads, clocks, routing, limits of time; whoever calls has those.
//!
//! Nothing here allocates for a message, and nothing here panics on what a peer sent.

pub mod chunked;
pub mod forwarded;
pub mod framing;
pub mod head;
mod names;
pub mod rebuild;
pub mod reply;
pub mod target;
pub mod template;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::mem::MaybeUninit;

use names::Name;

/// A request that is answered by the router itself, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the answer.
    pub status: u16,
    /// One short lower-case sentence without a full stop: it goes into the body and into the log.
    pub why: &'static str,
}

impl Refusal {
    /// A refusal with this status, for this reason.
    pub const fn new(status: u16, why: &'static str) -> Self {
        Self { status, why }
    }
}

/// A backend's message that cannot be used: always 502.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadResponse(pub &'static str);

/// The versions that are spoken (RFC 9110 section 2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// Where rebuilt heads go: the caller's buffer, which may flush to a socket, hence the error type.
pub trait Sink {
    /// What may go wrong while bytes are taken.
    type Error;
    /// Takes all of `bytes`.
    fn put(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;
}

impl Sink for Vec<u8> {
    type Error = Infallible;

    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

/// One field line: a name, and a value without the blanks around it.
pub type Field<'b> = httparse::Header<'b>;

/// Most fields a head may have.
pub const FIELDS_MAX: usize = 256;

/// Room for the fields of one head, and for what each of their names is: told once, when the head is parsed.
#[derive(Debug)]
pub struct Fields<'b> {
    lines: [MaybeUninit<Field<'b>>; FIELDS_MAX],
    names: [Name; FIELDS_MAX],
}

/// Room that holds nothing yet; costs next to nothing to make.
pub const fn no_fields<'b>() -> Fields<'b> {
    Fields { lines: [const { MaybeUninit::uninit() }; FIELDS_MAX], names: [Name::Other; FIELDS_MAX] }
}
