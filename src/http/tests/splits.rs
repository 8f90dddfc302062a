//! However bytes arrive, the verdict is that of the whole.

use super::*;
use crate::http::framing::{BodyFault, BodyReader, ResponseBody};

const HEADS: &[&[u8]] = &[
    // Two mistakes: the first to arrive is told.
    b"GET /\r\nTE: a\r\n\n",
    b"GET /\nTE: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    b"\r\nGET / HTTP/1.1\r\nHost: a\r\nA-Long-Field: 0123456789012345678901234567890123456789\r\n\r\nbody",
    b"GET /\r\n\r\n",
    b"GET /\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\nHost: a\n\n",
    b"GET / HTTP/1.1\r\nHost: a\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\r\n\r\n",
    b"\r\rGET / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: \n",
    b"\n",
];

/// What `look` says when `input` grows to each of these lengths in turn.
fn grown<E: Copy>(input: &[u8], ends: &[usize], look: impl Fn(&[u8], usize) -> Scan<E>) -> Scan<E> {
    let mut seen = 0;
    let mut verdict = Scan::Partial { begun: false, scanned: 0 };
    for end in ends {
        verdict = look(&input[..*end], seen);
        match verdict {
            Scan::Partial { scanned, .. } => seen = scanned,
            _ => return verdict,
        }
    }
    verdict
}

#[test]
fn a_request_head_is_found_the_same_however_it_is_split() {
    for input in HEADS {
        let whole = scan(input, 0);
        assert!(!matches!(whole, Scan::Partial { .. }), "{input:?}");
        let bytes: Vec<usize> = (1..=input.len()).collect();
        assert_eq!(grown(input, &bytes, scan), whole, "byte by byte: {}", String::from_utf8_lossy(input));
        for at in 0..=input.len() {
            assert_eq!(grown(input, &[at, input.len()], scan), whole, "{at}: {}", String::from_utf8_lossy(input));
            for second in at..=input.len() {
                assert_eq!(grown(input, &[at, second, input.len()], scan), whole);
            }
        }
    }
}

#[test]
fn a_response_head_is_found_the_same_however_it_is_split() {
    for input in [
        &b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody\n\n"[..],
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\n\n",
        b"HTTP/1.1 200 OK\r\nA: b\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"x",
    ] {
        let whole = scan_response(input, 0);
        let bytes: Vec<usize> = (1..=input.len()).collect();
        assert_eq!(grown(input, &bytes, scan_response), whole);
        for at in 0..=input.len() {
            assert_eq!(grown(input, &[at, input.len()], scan_response), whole, "{at}: {input:?}");
        }
    }
}

#[test]
fn a_partial_head_is_never_whole() {
    let input = b"POST /abc HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n";
    for end in 1..input.len() {
        assert_eq!(scan(&input[..end], 0), Scan::Partial { begun: true, scanned: end });
    }
}

/// Payload, trailers, consumed, end.
type Read = (Vec<u8>, Vec<u8>, usize, bool);

/// Reads as a session does: what is not consumed stays in front of what comes next.
fn read_grown(body: ResponseBody, input: &[u8], ends: &[usize]) -> Result<Read, BodyFault> {
    let mut reader = BodyReader::response(body);
    let (mut payload, mut trailers, mut done, mut end) = (Vec::new(), Vec::new(), 0, reader.is_finished());
    for upto in ends {
        let mut bytes = input[done..*upto].to_vec();
        let taken = reader.take(&mut bytes)?;
        assert!(taken.payload <= taken.consumed && taken.consumed <= bytes.len());
        payload.extend_from_slice(&bytes[..taken.payload]);
        trailers.extend_from_slice(&bytes[taken.trailers.clone()]);
        assert_eq!(&bytes[taken.consumed..], &input[done + taken.consumed..*upto]);
        done += taken.consumed;
        end = taken.end;
    }
    Ok((payload, trailers, done, end))
}

#[test]
fn a_body_is_read_the_same_however_it_is_split() {
    for (body, input) in [
        (
            ResponseBody::Chunked,
            &b"5\r\nhello\r\n10;a=\"b\\\"c\"\r\n0123456789abcdef\r\n0\r\nA: b\r\nC: d\r\n\r\nGET /"[..],
        ),
        (ResponseBody::Chunked, b"0\r\n\r\n"),
        (ResponseBody::Chunked, b"0\r\n\r\n0\r\n\r\n"),
        (ResponseBody::Chunked, b"1\r\nx\r\n0002\r\nyz\r\n"),
        (ResponseBody::Chunked, b"1\r\nx\r\n5;\nxx\r\nhello\r\n0\r\n\r\n"),
        (ResponseBody::Chunked, b"1\r\nx\n0\r\n\r\n"),
        (ResponseBody::Chunked, b"1\r\nx\r\n0\r\nA: b\n\r\n"),
        (ResponseBody::Chunked, b"1\r\nx\r\n0\r\nA : b\r\n\r\n"),
        (ResponseBody::Chunked, b"ffffffffffffffff1\r\n"),
        (ResponseBody::Length(7), b"0123456789"),
        (ResponseBody::Length(20), b"0123456789"),
        (ResponseBody::None, b"GET /"),
        (ResponseBody::UntilClose, b"0123456789"),
    ] {
        let whole = read_grown(body, input, &[input.len()]);
        let bytes: Vec<usize> = (1..=input.len()).collect();
        assert_eq!(read_grown(body, input, &bytes), whole, "byte by byte: {input:?}");
        for at in 0..=input.len() {
            assert_eq!(read_grown(body, input, &[at, input.len()]), whole, "{at}: {input:?}");
            for second in at..=input.len() {
                assert_eq!(read_grown(body, input, &[at, second, input.len()]), whole);
            }
        }
    }
}

#[test]
fn the_limits_of_chunk_lines_are_the_same_however_they_are_split() {
    use crate::http::chunked::{EXTENSIONS_MAX, LINE_MAX};
    let name = |len: usize| format!("1;{}\r\nx\r\n", "a".repeat(len - 1));
    let quoted = |len: usize| format!("1;a=\"{}\"\r\nx\r\n", "b ".repeat((len - 4) / 2));
    let full = name(EXTENSIONS_MAX / 16).repeat(16);
    for (input, good) in [
        (name(LINE_MAX - 3), true),
        (name(LINE_MAX - 2), false),
        (quoted(LINE_MAX - 4), true),
        (quoted(LINE_MAX - 2), false),
        (full.clone(), true),
        (full.clone() + &name(2), false),
        (full + "01\r\nx\r\n", true),
        ("7fffffffffffffff\r\n".into(), true),
        ("8000000000000000\r\n".into(), false),
        ("00000000000000001\r\nx\r\n".into(), true),
    ] {
        let input = input.as_bytes();
        let whole = read_grown(ResponseBody::Chunked, input, &[input.len()]);
        assert_eq!(whole.is_ok(), good, "{} bytes", input.len());
        let bytes: Vec<usize> = (1..=input.len()).collect();
        assert_eq!(read_grown(ResponseBody::Chunked, input, &bytes), whole, "{} bytes", input.len());
    }
}

#[test]
fn broken_chunks_get_the_same_verdict_however_they_are_split() {
    // Each byte of a good body replaced by each awkward one.
    let good = b"3;a=b\r\nxyz\r\n0\r\nA: b\r\n\r\n";
    for at in 0..good.len() {
        for byte in [0, 9, 10, 13, 32, b'"', b'0', b';', b'=', b'f', b'g', 0x7f, 0x80] {
            let mut input = good.to_vec();
            input[at] = byte;
            let whole = read_grown(ResponseBody::Chunked, &input, &[input.len()]);
            let bytes: Vec<usize> = (1..=input.len()).collect();
            assert_eq!(
                read_grown(ResponseBody::Chunked, &input, &bytes),
                whole,
                "{:?}",
                String::from_utf8_lossy(&input)
            );
        }
    }
}
