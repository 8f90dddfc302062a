//! How a message's body is read out of a buffer, whatever frames it.
//!
//! Not here: the reading from a socket, and what is done with the payload.

use std::ops::Range;

use super::{Body, ResponseBody};
use crate::http::chunked::Decoder;

/// A body that does not keep to its framing. In a request 400, in a response the end of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyFault(pub &'static str);

/// What one look at the buffer gave: `payload <= consumed <= bytes.len()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The payload is `bytes[..payload]`.
    pub payload: usize,
    /// These bytes are done with.
    pub consumed: usize,
    /// The body is over.
    pub end: bool,
    /// Inside of `bytes[..consumed]`, behind the payload: raw field lines each with its CRLF, without the final empty
    /// line, well formed. Empty when there are none.
    pub trailers: Range<usize>,
}

impl Taken {
    pub(crate) fn plain(bytes: usize, end: bool) -> Self {
        Self { payload: bytes, consumed: bytes, end, trailers: 0..0 }
    }
}

#[derive(Debug, Clone)]
enum Framing {
    Length(u64),
    Chunked(Decoder),
    UntilClose,
}

/// Reads one body. Pure: it holds counts, never bytes.
#[derive(Debug, Clone)]
pub struct BodyReader {
    framing: Framing,
}

impl BodyReader {
    /// For the body of a request.
    pub fn request(body: Body) -> Self {
        Self::response(match body {
            Body::None => ResponseBody::None,
            Body::Length(length) => ResponseBody::Length(length),
            Body::Chunked => ResponseBody::Chunked,
        })
    }

    /// For the body of a response.
    pub fn response(body: ResponseBody) -> Self {
        let framing = match body {
            ResponseBody::None => Framing::Length(0),
            ResponseBody::Length(length) => Framing::Length(length),
            ResponseBody::Chunked => Framing::Chunked(Decoder::new()),
            ResponseBody::UntilClose => Framing::UntilClose,
        };
        Self { framing }
    }

    /// Looks at `bytes`: all that is unread. Payload moves to the front (chunked is decoded in place); bytes of later
    /// messages are left alone. To be called again with `bytes[consumed..]` and what was read since, until the end.
    pub fn take(&mut self, bytes: &mut [u8]) -> Result<Taken, BodyFault> {
        match &mut self.framing {
            Framing::Length(left) => {
                // A length that does not fit in memory is more than the buffer holds.
                let now = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= now as u64;
                Ok(Taken::plain(now, *left == 0))
            }
            Framing::Chunked(decoder) => decoder.take(bytes),
            Framing::UntilClose => Ok(Taken::plain(bytes.len(), false)),
        }
    }

    /// No more input comes: whether the body may end here (RFC 9112 section 8).
    pub fn finish(&self) -> Result<(), BodyFault> {
        match self.framing {
            Framing::UntilClose => Ok(()),
            _ if self.is_finished() => Ok(()),
            _ => Err(BodyFault("the body ends too early")),
        }
    }

    /// Whether the body is over; one without a byte is so from the start.
    pub fn is_finished(&self) -> bool {
        match &self.framing {
            Framing::Length(left) => *left == 0,
            Framing::Chunked(decoder) => decoder.is_finished(),
            Framing::UntilClose => false,
        }
    }

    /// Bytes of body this reader may still accept, if that is known.
    pub fn remaining(&self) -> Option<u64> {
        match &self.framing {
            Framing::Length(left) => Some(*left),
            Framing::Chunked(decoder) if decoder.is_finished() => Some(0),
            _ => None,
        }
    }
}
