//! What a response head says. A backend is a peer like any other: nothing it sends is believed unread.
//!
//! Not here: which responses answer which request; an unasked 101 is the caller's to refuse.

use super::ResponseHead;
use crate::http::framing::{FramingFields, ResponseBody};
use crate::http::names::{Connection, Name, OPTIONS_MAX, classify};
use crate::http::{BadResponse, Field, Fields, Version};

/// Reads a head that [`scan_response`](super::scan_response) found.
pub fn parse_response<'h, 'b>(
    head: &'b [u8],
    fields: &'h mut Fields<'b>,
    request_was_head: bool,
) -> Result<ResponseHead<'h, 'b>, BadResponse> {
    let mut parsed = httparse::Response::new(&mut []);
    let outcome =
        httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, head, &mut fields.lines);
    let (Ok(httparse::Status::Complete(used)), Some(version), Some(status)) = (outcome, parsed.version, parsed.code)
    else {
        return Err(BadResponse(match outcome {
            Err(httparse::Error::TooManyHeaders) => "the response has too many header fields",
            Err(httparse::Error::Version | httparse::Error::Status) => "the status line is malformed",
            Err(httparse::Error::HeaderName) => "a header field name of the response is malformed",
            Err(httparse::Error::HeaderValue) => "a header field value of the response is malformed",
            _ => "the response head is malformed",
        }));
    };
    if used != head.len() {
        return Err(BadResponse("the response head does not end where it should"));
    }
    if !(100..=599).contains(&status) {
        return Err(BadResponse("the status is not between 100 and 599"));
    }
    let version = if version == 0 { Version::Http10 } else { Version::Http11 };
    let (fields, names): (&'h [Field<'b>], _) = (parsed.headers, &mut fields.names);

    let mut framing = FramingFields::default();
    let mut connection = Connection::default();
    for (field, name) in fields.iter().zip(names.iter_mut()) {
        *name = classify(field.name);
        match name {
            Name::ContentLength => framing.content_length(field.value),
            Name::TransferEncoding => framing.transfer_encoding(field.value),
            Name::Connection => connection.add(field.value),
            _ => {}
        }
    }
    if connection.options > OPTIONS_MAX {
        return Err(BadResponse("Connection of the response names too many options"));
    }
    let body = framing.response(version, status, request_was_head)?;
    Ok(ResponseHead {
        version,
        status,
        reason: reason(head),
        fields,
        names,
        body,
        trailers_pass: !connection.names_fields,
        keep_alive: !connection.close
            && (version == Version::Http11 || connection.keep_alive)
            && body != ResponseBody::UntilClose
            && status != 101,
        names_fields: connection.names_fields,
    })
}

/// The reason of a status line. Its bytes were checked with the line; obs-text, which the tokeniser hides, is kept raw.
fn reason(head: &[u8]) -> &[u8] {
    const BEFORE: usize = "HTTP/1.1 200 ".len();
    let line = head.split(|b| matches!(b, b'\r' | b'\n')).next().unwrap_or_default();
    line.get(BEFORE..).unwrap_or_default()
}
