//! The router's own answers, written to a client: what happened, why, and the id to look for in the log.
//!
//! Only the request half answers, and only while its partner sleeps. Not here: which reason has which status (`error`).

use crate::error::CloseReason;
use crate::http::reply::{Reply, refusal_body, reply};
use crate::http::{Refusal, Sink, Version};
use crate::ids::RequestId;

/// What of the request decides how it is answered.
#[derive(Debug, Clone, Copy)]
pub struct Asker {
    /// What the client speaks, as far as is known.
    pub version: Version,
    /// The answer has no body.
    pub head_request: bool,
    /// The exchange.
    pub id: RequestId,
}

impl Asker {
    /// Somebody whose request could not be read.
    pub fn unknown(id: RequestId) -> Self {
        Self { version: Version::Http11, head_request: false, id }
    }
}

/// An answer that is no failure: a route's own, or one with fields of its own.
#[derive(Debug, Clone, Default)]
pub struct OwnAnswer {
    /// The status.
    pub status: u16,
    /// The text.
    pub body: Vec<u8>,
    /// Further fields.
    pub fields: Vec<(String, Vec<u8>)>,
}

impl OwnAnswer {
    /// What a failed exchange is answered with.
    pub fn failure(reason: CloseReason, id: &RequestId) -> Self {
        let status = reason.status();
        let mut body = Vec::with_capacity(256);
        let Ok(()) = refusal_body(&Refusal::new(status, reason.sentence()), id.as_bytes(), &mut body);
        // When to come back: the shortest time that is worth a try, since what is short returns with the next exchange.
        let fields = if status == 503 { vec![("Retry-After".to_owned(), b"1".to_vec())] } else { Vec::new() };
        Self { status, body, fields }
    }

    /// Puts it into `out`.
    pub fn put<S: Sink>(&self, to: &Asker, date: &[u8], keep: bool, out: &mut S) -> Result<(), S::Error> {
        let extra: Vec<(&str, &[u8])> =
            self.fields.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        reply(
            &Reply {
                status: self.status,
                body: &self.body,
                request_id: to.id.as_bytes(),
                date,
                keep,
                client: to.version,
                head_request: to.head_request,
                extra: &extra,
            },
            out,
        )
    }
}
