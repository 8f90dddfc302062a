//! Bodies: read out of a buffer by their framing, never past it, and written with lines of our own.

use crate::http::chunked::{EXTENSIONS_MAX, LINE_MAX, TRAILERS_MAX};
use crate::http::framing::*;

/// Payload, trailers, what is left, and whether that was the end.
type Read = (Vec<u8>, Vec<u8>, Vec<u8>, bool);

/// What is read when everything arrives at once.
fn read(body: ResponseBody, input: &[u8]) -> Result<Read, BodyFault> {
    let mut reader = BodyReader::response(body);
    let mut bytes = input.to_vec();
    let taken = reader.take(&mut bytes)?;
    assert!(taken.payload <= taken.consumed && taken.consumed <= bytes.len());
    assert!(
        taken.trailers.is_empty() || (taken.trailers.start >= taken.payload && taken.trailers.end <= taken.consumed)
    );
    assert_eq!(taken.end, reader.is_finished());
    assert_eq!(&bytes[taken.consumed..], &input[taken.consumed..], "later bytes are left alone");
    let (payload, trailers) = (bytes[..taken.payload].to_vec(), bytes[taken.trailers.clone()].to_vec());
    Ok((payload, trailers, bytes[taken.consumed..].to_vec(), taken.end))
}

fn chunked(input: &str) -> Result<String, BodyFault> {
    read(ResponseBody::Chunked, input.as_bytes()).map(|(payload, _, _, end)| {
        assert!(end, "{input:?} has no end");
        String::from_utf8(payload).unwrap()
    })
}

#[test]
fn a_counted_body_ends_at_its_count() {
    let (payload, _, rest, end) = read(ResponseBody::Length(5), b"helloGET /").unwrap();
    assert_eq!((payload.as_slice(), rest.as_slice(), end), (&b"hello"[..], &b"GET /"[..], true));
    let mut reader = BodyReader::request(Body::Length(5));
    assert_eq!(reader.remaining(), Some(5));
    assert_eq!(
        reader.take(&mut b"hel".to_vec()).unwrap(),
        Taken { payload: 3, consumed: 3, end: false, trailers: 0..0 }
    );
    assert_eq!((reader.remaining(), reader.is_finished()), (Some(2), false));
    assert!(reader.finish().is_err());
    assert!(reader.take(&mut b"loX".to_vec()).unwrap().end);
    assert_eq!(reader.finish(), Ok(()));
    assert_eq!(reader.take(&mut b"X".to_vec()).unwrap(), Taken { payload: 0, consumed: 0, end: true, trailers: 0..0 });
}

#[test]
fn no_body_is_finished_from_the_start() {
    for reader in [
        BodyReader::request(Body::None),
        BodyReader::request(Body::Length(0)),
        BodyReader::response(ResponseBody::None),
        BodyReader::response(ResponseBody::Length(0)),
    ] {
        assert!(reader.is_finished());
        assert_eq!((reader.finish(), reader.remaining()), (Ok(()), Some(0)));
    }
    assert!(!BodyReader::request(Body::Chunked).is_finished());
}

#[test]
fn a_body_until_close_ends_only_there() {
    let mut reader = BodyReader::response(ResponseBody::UntilClose);
    assert_eq!(reader.finish(), Ok(()));
    assert_eq!(
        reader.take(&mut b"abc".to_vec()).unwrap(),
        Taken { payload: 3, consumed: 3, end: false, trailers: 0..0 }
    );
    assert_eq!((reader.is_finished(), reader.remaining()), (false, None));
}

#[test]
fn chunks_are_joined() {
    for (input, due) in [
        ("0\r\n\r\n", ""),
        ("000\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("5\r\nhello\r\n00A\r\n, worldly!\r\n0\r\n\r\n", "hello, worldly!"),
        ("5;a\r\nhello\r\n0;b=c\r\n\r\n", "hello"),
        ("5;a=\"b;\\\"c\"\r\nhello\r\n0\r\n\r\n", "hello"),
        ("5 ; a = b ;c;d=\"\"\r\nhello\r\n0\r\n\r\n", "hello"),
        ("5;chunk-signature=ad80c730a21e5b8d\r\nhello\r\n0\r\n\r\n", "hello"),
        ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n"),
    ] {
        assert_eq!(chunked(input).as_deref(), Ok(due), "{input:?}");
    }
}

#[test]
fn a_chunk_line_has_digits_and_ends_with_crlf() {
    for input in [
        "\r\n",
        ";a=b\r\n\r\n",
        " \r\n\r\n",
        " 5\r\nhello\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello",
        "5\r\rhello",
        "+5\r\nhello\r\n",
        "-1\r\n",
        "0x5\r\nhello\r\n",
        "5h\r\nhello",
        "5,\r\nhello",
        "5 5\r\nhello",
        "5 \r\nhello\r\n",
        "5\t\r\nhello\r\n",
        "5\0\r\n",
        "g\r\n",
        "5\u{b2}\r\n",
        "\0",
        "5 x\r\n",
    ] {
        assert!(chunked(input).is_err(), "{input:?}");
    }
}

#[test]
fn an_extension_is_read_by_its_grammar_and_never_over_a_line_end() {
    for input in [
        "5;\r\nhello\r\n",
        "5;\nxx\r\nhello",
        "5;a\nhello",
        "5;a\0\r\n",
        "5;a=\r\n",
        "5;=b\r\n",
        "5;;a\r\n",
        "5;a=\"b\r\nhello",
        "5;a=\"b\nc\"\r\n",
        "5;a=\"b\"c\r\n",
        "5;a=b c\r\n",
        "5;a \r\n",
        "5;a=b \r\n",
        "5;a=b\rx\n",
        "5;a=\"\\\r\n",
        "5;a=\"\x7f\"\r\n",
        "5;a\u{e9}\r\n",
        "5;a=b=c\r\n",
    ] {
        assert!(chunked(input).is_err(), "{input:?}");
    }
}

#[test]
fn a_chunk_is_below_two_to_the_63() {
    for (size, good) in [
        ("7fffffffffffffff", true),
        ("00007fffffffffffffff", true),
        ("8000000000000000", false),
        ("ffffffffffffffff", false),
        ("10000000000000000", false),
        ("fffffffffffffffff", false),
    ] {
        let got = read(ResponseBody::Chunked, format!("{size}\r\nab").as_bytes());
        assert_eq!(got.is_ok(), good, "{size}");
        if let Ok((payload, _, rest, end)) = got {
            assert_eq!((payload.as_slice(), rest.is_empty(), end), (&b"ab"[..], true, false));
        }
    }
}

#[test]
fn a_chunk_ends_with_crlf_right_after_its_bytes() {
    for input in [
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhell\r\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
    ] {
        assert!(chunked(input).is_err(), "{input:?}");
    }
}

#[test]
fn extensions_and_padding_are_limited() {
    let line = |n: usize| format!("1;{}\r\nx\r\n", "a".repeat(n));
    assert!(chunked(&(line(LINE_MAX - 4) + "0\r\n\r\n")).is_ok());
    assert!(chunked(&(line(LINE_MAX - 3) + "0\r\n\r\n")).is_err());
    let each = 1000;
    let fit = EXTENSIONS_MAX / (each + 1);
    assert!(chunked(&(line(each).repeat(fit - 1) + "0\r\n\r\n")).is_ok());
    assert!(chunked(&(line(each).repeat(fit + 1) + "0\r\n\r\n")).is_err());
    let zeros = format!("{}1\r\nx\r\n", "0".repeat(4000));
    assert!(chunked(&(zeros.repeat(3) + "0\r\n\r\n")).is_ok());
    assert!(chunked(&(zeros.repeat(6) + "0\r\n\r\n")).is_err());
    let many = "10\r\n0123456789abcdef\r\n".repeat(20_000);
    assert!(chunked(&(many + "0\r\n\r\n")).is_ok(), "plain lines cost nothing");
}

#[test]
fn trailers_are_taken_whole_and_later_bytes_are_left() {
    let input = b"5\r\nhello\r\n0\r\nA: b\r\nC:\r\n\r\nGET / HTTP/1.1\r\n";
    let (payload, trailers, rest, end) = read(ResponseBody::Chunked, input).unwrap();
    assert_eq!((payload.as_slice(), trailers.as_slice(), end), (&b"hello"[..], &b"A: b\r\nC:\r\n"[..], true));
    assert_eq!(rest, b"GET / HTTP/1.1\r\n");

    let (payload, trailers, rest, end) = read(ResponseBody::Chunked, b"1\r\nx\r\n0\r\nA: b\r\n\r").unwrap();
    assert_eq!(
        (payload.as_slice(), trailers.as_slice(), rest.as_slice(), end),
        (&b"x"[..], &b""[..], &b"A: b\r\n\r"[..], false)
    );
}

#[test]
fn a_malformed_trailer_is_a_fault() {
    for trailers in [
        "A : b\r\n\r\n",
        ": b\r\n\r\n",
        "A\r\n\r\n",
        " A: b\r\n\r\n",
        "A: b\r\n c\r\n\r\n",
        "A: b\n\r\n",
        "A: \0\r\n\r\n",
        "A: b\rc\r\n\r\n",
        "\n",
        "A: b\r\n\n",
        "A: \x7f\r\n\r\n",
        "\u{e9}: b\r\n\r\n",
    ] {
        assert!(chunked(&format!("0\r\n{trailers}")).is_err(), "{trailers:?}");
    }
    let fill = |n: usize| format!("0\r\nA: {}\r\n\r\n", "b".repeat(n - 7));
    assert!(chunked(&fill(TRAILERS_MAX)).is_ok());
    assert!(chunked(&fill(TRAILERS_MAX + 1)).is_err());
    assert!(read(ResponseBody::Chunked, format!("0\r\nA: {}", "b".repeat(TRAILERS_MAX)).as_bytes()).is_err());
}

#[test]
fn an_incomplete_body_is_never_taken_for_a_whole_one() {
    let whole = b"5;a=\"b\"\r\nhello\r\n0\r\nA: b\r\n\r\n";
    for cut in 0..whole.len() {
        let mut reader = BodyReader::request(Body::Chunked);
        let taken = reader.take(&mut whole[..cut].to_vec()).unwrap();
        assert!(!taken.end && reader.finish().is_err() && !reader.is_finished(), "{cut}");
    }
    let mut reader = BodyReader::request(Body::Chunked);
    assert!(reader.take(&mut whole.to_vec()).unwrap().end);
    assert_eq!((reader.finish(), reader.remaining()), (Ok(()), Some(0)));
}

#[test]
fn chunk_lines_are_ours_and_read_back() {
    for (len, due) in [(0, "0\r\n"), (1, "1\r\n"), (8000, "1f40\r\n"), (usize::MAX, "ffffffffffffffff\r\n")] {
        assert_eq!(ChunkLine::new(len).as_bytes(), due.as_bytes());
    }
    let payload = vec![b'x'; 70_000];
    let mut out = Vec::new();
    for part in payload.chunks(4096) {
        out.extend_from_slice(ChunkLine::new(part.len()).as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(CHUNK_END);
    }
    out.extend_from_slice(LAST_CHUNK);
    out.extend_from_slice(b"\r\n");
    assert_eq!(read(ResponseBody::Chunked, &out).unwrap(), (payload, vec![], vec![], true));
}

#[test]
fn trailers_that_frame_route_or_identify_do_not_pass() {
    let raw = "Server-Timing: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\nHost: b\r\nAuthorization: c\r\n\
        Cookie: d\r\nSet-Cookie: e\r\nX-Forwarded-For: f\r\nX-Forwarded-Prefix: f\r\nX_Forwarded_For: f\r\nX-Real-IP: g\r\n\
        X-Request-Id: h\r\nConnection: i\r\nTE: j\r\nTrailer: k\r\nContent-Type: l\r\nVia: m\r\nETag: n\r\n\
        grpc-status: 0\r\nUpgrade: x\r\nForwarded: y\r\n";
    let mut out = Vec::new();
    put_trailers(raw.as_bytes(), &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "Server-Timing: a\r\nETag: n\r\ngrpc-status: 0\r\n");
}
