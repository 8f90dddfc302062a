//! What frames a body: the one strict place that decides it (RFC 9112 section 6).
//!
//! Everything that two readers could read in two ways is refused here. Not here: the chunk decoder (`chunked`).

mod reader;
mod writer;

pub use reader::{BodyFault, BodyReader, Taken};
pub use writer::{BodyWriter, CHUNK_END, ChunkLine, LAST_CHUNK, put_trailers};

use super::names::{decimal, elements, is_token, trim_ows};
use super::{BadResponse, Refusal, Version};

/// How a request's body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    None,
    /// Content-Length
    Length(u64),
    /// Transfer-Encoding: chunked
    Chunked,
}

/// How a response's body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseBody {
    /// There is none, whatever the fields say.
    None,
    /// Content-Length
    Length(u64),
    /// Transfer-Encoding: chunked
    Chunked,
    /// Until the backend closes.
    UntilClose,
}

/// What the Transfer-Encoding lines say, joined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Coding {
    #[default]
    Absent,
    /// Exactly `chunked`.
    Chunked,
    /// Something that is not for us to undo.
    Unknown,
    /// No list of codings, or chunked not once and last: nobody knows where such a body ends.
    Broken,
}

/// The framing fields of one head, gathered line by line.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FramingFields {
    lengths: usize,
    /// Of the last line; `None` is not a number.
    length: Option<u64>,
    coding: Coding,
}

impl FramingFields {
    /// One Content-Length line, also an empty one.
    pub(crate) fn content_length(&mut self, value: &[u8]) {
        self.lengths += 1;
        self.length = decimal(value);
    }

    /// One Transfer-Encoding line.
    pub(crate) fn transfer_encoding(&mut self, value: &[u8]) {
        for element in elements(value) {
            let name = trim_ows(element.split(|b| *b == b';').next().unwrap_or_default());
            let chunked = name.eq_ignore_ascii_case(b"chunked");
            self.coding = match self.coding {
                Coding::Broken | Coding::Chunked => Coding::Broken,
                Coding::Absent if chunked && name.len() == element.len() => Coding::Chunked,
                Coding::Unknown if chunked && name.len() == element.len() => Coding::Unknown,
                _ if chunked || !is_token(name) => Coding::Broken,
                _ => Coding::Unknown,
            };
        }
    }

    /// A coding that is well formed and not ours: 501, not 400.
    pub(crate) fn has_unknown_coding(&self) -> bool {
        self.coding == Coding::Unknown
    }

    /// RFC 9112 section 6.3 for a request, with no leniency taken.
    pub(crate) fn request(&self, version: Version) -> Result<Body, Refusal> {
        match (self.coding, self.lengths) {
            (Coding::Unknown, _) => Err(Refusal::new(501, "the only transfer coding taken here is chunked")),
            (Coding::Broken, _) => Err(Refusal::new(400, "Transfer-Encoding does not say where the body ends")),
            (Coding::Chunked, _) if version == Version::Http10 => {
                Err(Refusal::new(400, "HTTP/1.0 has no Transfer-Encoding"))
            }
            (Coding::Chunked, 0) => Ok(Body::Chunked),
            (Coding::Chunked, _) => Err(Refusal::new(400, "Content-Length beside Transfer-Encoding")),
            (Coding::Absent, 0) => Ok(Body::None),
            (Coding::Absent, 1) => match self.length {
                Some(length) => Ok(Body::Length(length)),
                None => Err(Refusal::new(400, "Content-Length is not a number")),
            },
            (Coding::Absent, _) => Err(Refusal::new(400, "more than one Content-Length")),
        }
    }

    /// RFC 9112 section 6.3 for a response.
    pub(crate) fn response(
        &self,
        version: Version,
        status: u16,
        request_was_head: bool,
    ) -> Result<ResponseBody, BadResponse> {
        let bodiless = request_was_head || matches!(status, 100..=199 | 204 | 304);
        if matches!(status, 100..=199 | 204) {
            // Neither field goes on, so it does not matter what they say.
            return Ok(ResponseBody::None);
        }
        if self.lengths > 1 {
            return Err(BadResponse("the response has more than one Content-Length"));
        }
        if self.lengths == 1 && self.length.is_none() {
            return Err(BadResponse("Content-Length of the response is not a number"));
        }
        if self.lengths == 1 && self.coding != Coding::Absent {
            return Err(BadResponse("Content-Length beside Transfer-Encoding in the response"));
        }
        if bodiless {
            return Ok(ResponseBody::None);
        }
        match (self.coding, self.length) {
            (Coding::Unknown, _) => Err(BadResponse("the response has a transfer coding other than chunked")),
            (Coding::Broken, _) => Err(BadResponse("Transfer-Encoding of the response is malformed")),
            (Coding::Chunked, _) if version == Version::Http10 => {
                Err(BadResponse("an HTTP/1.0 response with Transfer-Encoding"))
            }
            (Coding::Chunked, _) => Ok(ResponseBody::Chunked),
            (Coding::Absent, Some(length)) => Ok(ResponseBody::Length(length)),
            (Coding::Absent, None) => Ok(ResponseBody::UntilClose),
        }
    }
}
