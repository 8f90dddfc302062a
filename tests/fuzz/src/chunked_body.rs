//! Chunked bodies: however the bytes arrive the body is the same, a naive reader agrees, and what is written anew reads
//! back.
//!
//! Not here: who frames a body as chunked (`request_head`, `response_head`).

use layer7router::http::framing::{
    BodyFault, BodyReader, CHUNK_END, ChunkLine, LAST_CHUNK, ResponseBody, put_trailers,
};

use crate::pieces::Pieces;

/// What was read of a body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Read {
    payload: Vec<u8>,
    trailers: Vec<u8>,
    consumed: usize,
    end: bool,
}

/// Checks one input.
pub fn check(input: &[u8]) {
    let Some(pieces) = Pieces::of(input) else { return };
    let whole = read(pieces.message, &[pieces.message.len()]);
    assert_eq!(read(pieces.message, &pieces.ends), whole, "cut at {:?}", pieces.ends);
    assert_eq!(read(pieces.message, &pieces.each_byte()), whole, "byte by byte");
    let naive = naive(pieces.message);
    let Some(body) = whole.ok().filter(|body| body.end) else { return };
    let (payload, rest) = naive.expect("a body that is taken is one to a naive reader");
    assert_eq!((payload, &pieces.message[body.consumed - rest.len()..body.consumed]), (body.payload.clone(), rest));
    assert_eq!([&body.trailers[..], b"\r\n"].concat(), rest, "the trailers");

    let (written, trailers) = write(&body, &pieces.ends);
    let due = Read { payload: body.payload, trailers: trailers.clone(), consumed: written.len(), end: true };
    assert_eq!(read(&written, &[written.len()]), Ok(due), "written anew");
    let mut left = body.trailers.split_inclusive(|b| *b == b'\n');
    for line in trailers.split_inclusive(|b| *b == b'\n') {
        assert!(left.any(|received| received == line), "a trailer was invented or moved");
    }
    assert_eq!(passed(&trailers), trailers, "what may pass may pass again");
}

/// Reads as a session does: what is not consumed stays in front of what comes next.
fn read(message: &[u8], ends: &[usize]) -> Result<Read, BodyFault> {
    let mut reader = BodyReader::response(ResponseBody::Chunked);
    let mut read = Read::default();
    for end in ends {
        let mut bytes = message[read.consumed..*end].to_vec();
        let taken = reader.take(&mut bytes)?;
        assert!(taken.payload <= taken.consumed && taken.consumed <= bytes.len());
        assert_eq!(&bytes[taken.consumed..], &message[read.consumed + taken.consumed..*end], "later bytes changed");
        assert_eq!(taken.end, reader.is_finished());
        assert_eq!(reader.finish().is_ok(), taken.end);
        read.payload.extend_from_slice(&bytes[..taken.payload]);
        read.trailers.extend_from_slice(&bytes[taken.trailers]);
        read.consumed += taken.consumed;
        read.end = taken.end;
    }
    Ok(read)
}

/// The payload, and the trailer section with its empty line, believing everything else.
fn naive(mut message: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut payload = Vec::new();
    loop {
        let line_end = message.windows(2).position(|w| w == b"\r\n")?;
        let line = std::str::from_utf8(message.get(..line_end)?.split(|b| b";\t ".contains(b)).next()?).ok()?;
        let size = usize::from_str_radix(line, 16).ok()?;
        message = message.get(line_end + 2..)?;
        if size == 0 {
            break;
        }
        payload.extend_from_slice(message.get(..size)?);
        message = message.get(size..)?.strip_prefix(b"\r\n")?;
    }
    if message.starts_with(b"\r\n") {
        return Some((payload, &message[..2]));
    }
    let end = message.windows(4).position(|w| w == b"\r\n\r\n")?;
    Some((payload, &message[..end + 4]))
}

/// The body as the router sends it, in chunks that end where `ends` says, and its trailers.
fn write(body: &Read, ends: &[usize]) -> (Vec<u8>, Vec<u8>) {
    let mut out = Vec::new();
    let mut from = 0;
    for end in ends.iter().map(|end| *end.min(&body.payload.len())).chain([body.payload.len()]) {
        if end > from {
            out.extend_from_slice(ChunkLine::new(end - from).as_bytes());
            out.extend_from_slice(&body.payload[from..end]);
            out.extend_from_slice(CHUNK_END);
            from = end;
        }
    }
    let trailers = passed(&body.trailers);
    for part in [LAST_CHUNK, &trailers, b"\r\n"] {
        out.extend_from_slice(part);
    }
    (out, trailers)
}

fn passed(trailers: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let Ok(()) = put_trailers(trailers, &mut out);
    out
}
