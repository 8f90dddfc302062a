//! Messages as a strict reader of bytes sees them: whole, to be continued, or wrong.
//!
//! Stricter than `support::message`, which reads from sockets: a field is `Name: value` with one blank, a chunk line the
//! shortest that says its size. Whoever rewrites every message has no reason to write anything else.

use crate::support::message::{chunk_size, trailers};
use crate::support::{BodyEnd, Fields, Request, shown};

/// The first request of `bytes` and how many of them it takes; `None` while more of it may come.
pub fn request(bytes: &[u8]) -> Result<Option<(Request, usize)>, String> {
    let Some(len) = head_len(bytes)? else { return Ok(None) };
    let (head, rest) = bytes.split_at(len);
    let mut request = Request::parse(head)?;
    plain_fields(head, &request.fields)?;
    let Some((body, trailers, used)) = body(rest, request.end)? else { return Ok(None) };
    (request.body, request.trailers) = (body, trailers);
    Ok(Some((request, len + used)))
}

/// A body that begins here: its payload, its trailers, and the bytes it takes. One that ends by close never ends here.
pub fn body(bytes: &[u8], end: BodyEnd) -> Result<Option<(Vec<u8>, Fields, usize)>, String> {
    match end {
        BodyEnd::NoBody => Ok(Some((Vec::new(), Fields::default(), 0))),
        BodyEnd::Close => Ok(None),
        BodyEnd::Length(len) => {
            let len = usize::try_from(len).map_err(|e| e.to_string())?;
            Ok(bytes.get(..len).map(|body| (body.to_vec(), Fields::default(), len)))
        }
        BodyEnd::Chunked => chunks(bytes),
    }
}

fn chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, Fields, usize)>, String> {
    let (mut payload, mut at) = (Vec::new(), 0);
    loop {
        let Some(line) = line(&bytes[at..])? else { return Ok(None) };
        let size = chunk_size(line)?;
        if line != format!("{size:x}").as_bytes() {
            return Err(format!("a chunk line that is not ours: {}", shown(line)));
        }
        at += line.len() + 2;
        if size == 0 {
            break;
        }
        let Some(chunk) = bytes.get(at..at + size + 2) else { return Ok(None) };
        if !chunk.ends_with(b"\r\n") {
            return Err(format!("a chunk ends with {}", shown(&chunk[size..])));
        }
        payload.extend_from_slice(&chunk[..size]);
        at += size + 2;
    }
    let from = at;
    loop {
        let Some(line) = line(&bytes[at..])? else { return Ok(None) };
        at += line.len() + 2;
        if line.is_empty() {
            return Ok(Some((payload, trailers(&bytes[from..at - 2])?, at)));
        }
    }
}

/// A line without its CRLF; `None` while its end may come.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, String> {
    let Some(lf) = bytes.iter().position(|&b| b == b'\n') else { return Ok(None) };
    match &bytes[..lf] {
        [line @ .., b'\r'] if !line.contains(&b'\r') => Ok(Some(line)),
        line => Err(format!("a bare CR or LF at the end of {}", shown(line))),
    }
}

fn head_len(bytes: &[u8]) -> Result<Option<usize>, String> {
    let mut at = 0;
    while let Some(line) = line(&bytes[at..])? {
        at += line.len() + 2;
        if line.is_empty() {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

fn plain_fields(head: &[u8], fields: &Fields) -> Result<(), String> {
    let text: String = head.iter().map(|&b| char::from(b)).collect();
    let (_start, lines) = text.split_once("\r\n").unwrap_or_default();
    let due: String = fields.0.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    if lines == due + "\r\n" { Ok(()) } else { Err(format!("fields that are not written plainly: {lines:?}")) }
}
