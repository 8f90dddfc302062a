//! What another reader makes of it: one that is written straight from the grammar, knows no state and reads only what is
//! whole. Whatever is taken here says the same to it, and whatever goes on is plain to it.
//!
//! Good messages with random faults, in random pieces. The other reader is slow and refuses nothing for its size.

use std::net::{IpAddr, Ipv4Addr};

use super::dice::Dice;
use super::*;
use crate::http::Version;
use crate::http::forwarded::{Forwarded, Peer};
use crate::http::framing::{Body, BodyReader, CHUNK_END, ChunkLine, LAST_CHUNK, ResponseBody, put_trailers};
use crate::http::rebuild::{RequestRebuild, ResponseRebuild, interim, request, response};
use crate::http::template::Values;

type Lines = Vec<(String, Vec<u8>)>;

/// A start line and fields, names in lower case. Every line ends with CRLF, and no other byte below a blank is there but
/// tabs in values.
fn plain_head(head: &[u8]) -> Option<(Vec<u8>, Lines)> {
    let mut lines = crlf_lines(head.strip_suffix(b"\r\n\r\n")?)?.into_iter();
    let start = lines.next()?.to_vec();
    let fields = plain_fields(lines)?;
    Some((start, fields))
}

fn plain_fields<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<Lines> {
    lines
        .map(|line| {
            let colon = line.iter().position(|b| *b == b':')?;
            let name = std::str::from_utf8(&line[..colon]).ok()?.to_ascii_lowercase();
            let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            let (value, blank) = (&line[colon + 1..], |b: &u8| matches!(b, b' ' | b'\t'));
            let from = value.iter().position(|b| !blank(b)).unwrap_or(value.len());
            let to = value.iter().rposition(|b| !blank(b)).map_or(from, |at| at + 1);
            (!name.is_empty() && name.chars().all(token)).then(|| (name, value[from..to].to_vec()))
        })
        .collect()
}

/// The lines between CRLFs; none of them has a byte that no line of a head has.
fn crlf_lines(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n");
        let line = &rest[..end.unwrap_or(rest.len())];
        if line.iter().any(|b| (*b < b' ' && *b != b'\t') || *b == 0x7f) {
            return None;
        }
        lines.push(line);
        match end {
            Some(end) => rest = &rest[end + 2..],
            None => return Some(lines),
        }
    }
}

fn values<'a>(fields: &'a Lines, name: &str) -> Vec<&'a [u8]> {
    fields.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_slice()).collect()
}

/// What frames a message: the one length, or chunks, and never both. `Err`: it can be read in two ways.
fn plain_framing(fields: &Lines) -> Result<Body, ()> {
    match (&values(fields, "content-length")[..], &values(fields, "transfer-encoding")[..]) {
        ([], []) => Ok(Body::None),
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Body::Chunked),
        ([digits], []) if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
            String::from_utf8_lossy(digits).parse().map(Body::Length).map_err(|_| ())
        }
        _ => Err(()),
    }
}

/// `*chunk last-chunk trailer-section CRLF` (RFC 9112 section 7.1), once it is all there: payload, trailer lines, length.
fn plain_chunks(bytes: &[u8]) -> Option<(Vec<u8>, Vec<u8>, usize)> {
    let (mut payload, mut at) = (Vec::new(), 0);
    let line = |at: usize| {
        let end = bytes.get(at..)?.windows(2).position(|two| two == b"\r\n")?;
        Some(&bytes[at..at + end])
    };
    loop {
        let head = line(at)?;
        at += head.len() + 2;
        let digits = head.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        if !plain_extensions(&head[digits..]) {
            return None;
        }
        let size = u64::from_str_radix(std::str::from_utf8(&head[..digits]).ok()?, 16).ok()?;
        let size = usize::try_from(size).ok().filter(|size| *size <= i64::MAX as usize)?;
        if size == 0 {
            break;
        }
        let end = at.checked_add(size)?;
        payload.extend_from_slice(bytes.get(at..end)?);
        if bytes.get(end..end + 2)? != b"\r\n" {
            return None;
        }
        at = end + 2;
    }
    let from = at;
    loop {
        let field = line(at)?;
        at += field.len() + 2;
        if field.is_empty() {
            let lines = crlf_lines(&bytes[from..at - 2])?;
            plain_fields(lines[..lines.len() - 1].iter().copied())?;
            return Some((payload, bytes[from..at - 2].to_vec(), at));
        }
    }
}

/// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )` to the end of the line.
fn plain_extensions(line: &[u8]) -> bool {
    let blanks = |text: &[u8]| text.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    let token =
        |text: &[u8]| text.iter().take_while(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b)).count();
    let mut rest = line;
    while !rest.is_empty() {
        let Some(behind) = rest[blanks(rest)..].strip_prefix(b";") else { return false };
        rest = &behind[blanks(behind)..];
        let name = token(rest);
        if name == 0 {
            return false;
        }
        rest = &rest[name..];
        let Some(behind) = rest[blanks(rest)..].strip_prefix(b"=") else { continue };
        rest = &behind[blanks(behind)..];
        let value = if rest.first() == Some(&b'"') { quoted(rest) } else { Some(token(rest)) };
        match value {
            Some(len) if len > 0 => rest = &rest[len..],
            _ => return false,
        }
    }
    true
}

/// Bytes of the quoted string that `text` begins with.
fn quoted(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match *text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 1,
            _ => {}
        }
        let byte = *text.get(at)?;
        if (byte < b' ' && byte != b'\t') || byte == 0x7f {
            return None;
        }
        at += 1;
    }
}

const REQUESTS: [&str; 6] = [
    "GET /a/b?c HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nConnection: keep-alive, X-A\r\nX-A: 1\r\nX-B: 2\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\nX-B:\r\nx-b: \u{e9}\r\n\r\n",
    "PUT http://a/b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nVia: 1.1 x\r\nX-B: 1\r\nX-B: 2\r\n\r\n",
    "\r\nGET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nCookie: a\r\nCookie: b\r\n\r\n",
    "OPTIONS * HTTP/1.0\r\nHost: a\r\nMax-Forwards: 5\r\nX_Real_IP: 1\r\nKeep-Alive: 5\r\nTE: x\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\nForwarded: for=x\r\nX-Forwarded-Port: 1\r\n\r\n",
];

const RESPONSES: [&str; 5] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close, X-A\r\nX-A: 1\r\nX-B: 2\r\n\r\n",
    "HTTP/1.1 404 Not Here\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nKeep-Alive: 5\r\n\r\n",
    "HTTP/1.0 200\r\nServer: x\r\nUpgrade: h2c\r\nTE: x\r\nProxy-Connection: close\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nETag: \"x\"\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: Link2\r\nLink2: x\r\nContent-Length: 3\r\n\r\n",
];

fn mutated(seeds: &[&str], round: usize, dice: &mut Dice) -> Vec<u8> {
    // Each char a byte: so the seeds can have bytes above ASCII.
    let mut bytes: Vec<u8> = seeds[round % seeds.len()].chars().map(|c| c as u8).collect();
    dice.mutate(&mut bytes);
    bytes
}

/// As a session looks: from where the last look ended.
fn look_in_pieces<E>(input: &[u8], cuts: &[usize], look: impl Fn(&[u8], usize) -> Scan<E>) -> Scan<E> {
    let mut seen = 0;
    for end in cuts {
        match look(&input[..*end], seen) {
            Scan::Partial { scanned, .. } => seen = scanned,
            verdict => return verdict,
        }
    }
    look(input, seen)
}

#[test]
fn a_head_with_faults_is_found_the_same_in_any_pieces() {
    let mut dice = Dice(0x0dd0_51de_5eed_0001);
    for round in 0..60_000 {
        let bytes = mutated(&REQUESTS, round, &mut dice);
        let cuts = dice.cuts(bytes.len());
        assert_eq!(look_in_pieces(&bytes, &cuts, scan), scan(&bytes, 0), "{cuts:?}: {}", bytes.escape_ascii());
        let bytes = mutated(&RESPONSES, round, &mut dice);
        let cuts = dice.cuts(bytes.len());
        let (pieces, whole) = (look_in_pieces(&bytes, &cuts, scan_response), scan_response(&bytes, 0));
        assert_eq!(pieces, whole, "{cuts:?}: {}", bytes.escape_ascii());
    }
}

/// Whether Connection names this field.
fn is_named(fields: &Lines, name: &str) -> bool {
    values(fields, "connection")
        .into_iter()
        .flat_map(|value| value.split(|b| *b == b','))
        .any(|option| option.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
}

const ONE_HOP: [&str; 7] =
    ["connection", "keep-alive", "proxy-connection", "te", "upgrade", "transfer-encoding", "content-length"];
/// Written by the router, whoever has written them before.
const OURS: [&str; 7] =
    ["host", "expect", "x-request-id", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];
/// Added to, or counted down, so nobody can name them away.
const KEPT: [&str; 3] = ["via", "max-forwards", "forwarded"];

/// What of a request from a trusted peer goes on as it is.
fn goes_on(fields: &Lines) -> Lines {
    let passes = |name: &str| {
        let dashed = name.replace('_', "-");
        let known = |name: &str| {
            ONE_HOP.contains(&name) || OURS.contains(&name) || KEPT.contains(&name) || name.starts_with("x-forwarded-")
        };
        // What follows the family's name may have a `_` of its own.
        if known(&dashed) {
            return (dashed == name || name.starts_with("x-forwarded-"))
                && !OURS.contains(&&*dashed)
                && !ONE_HOP.contains(&name);
        }
        !is_named(fields, name)
    };
    fields.iter().filter(|(name, _)| passes(name)).cloned().collect()
}

#[test]
fn a_request_that_is_taken_is_the_same_to_a_plain_reader() {
    const PEER: Peer = Peer::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let mut dice = Dice(0x0dd0_51de_5eed_0002);
    let mut taken = 0;
    for round in 0..100_000 {
        let bytes = mutated(&REQUESTS, round, &mut dice);
        let shown = bytes.escape_ascii().to_string();
        let Scan::Whole { skip, len } = scan(&bytes, 0) else { continue };
        let mut room = no_fields();
        let Ok(head) = parse_request(&bytes[skip..skip + len], &mut room, &LIMITS) else { continue };
        taken += 1;
        let (start, fields) = plain_head(&bytes[skip..skip + len]).unwrap_or_else(|| panic!("not plain: {shown}"));
        let version = if head.version == Version::Http10 { "1.0" } else { "1.1" };
        let due = [head.method.as_str().as_bytes(), b" ", head.raw_target, b" HTTP/", version.as_bytes()].concat();
        assert_eq!(start, due, "{shown}");
        assert_eq!(plain_framing(&fields), Ok(head.body), "{shown}");
        assert!(values(&fields, "host").len() <= 1, "{shown}");

        let values_of = Values {
            host: head.host,
            uri: head.path,
            query: head.query,
            client: PEER,
            scheme: "http",
            request_id: b"id-1",
        };
        let how = RequestRebuild {
            path: head.path,
            query: head.query,
            set: &[],
            remove: &[],
            values: &values_of,
            forwarded: &Forwarded { peer: PEER, trusted: true },
            via: "v",
            host_if_none: "pool",
        };
        let mut out = Vec::new();
        request(&head, &how, &mut out).unwrap();
        let (start, sent) = plain_head(&out).unwrap_or_else(|| panic!("what goes on is not plain: {shown}"));
        let due = [head.method.as_str().as_bytes(), b" ", head.path, head.query, b" HTTP/1.1"].concat();
        assert_eq!(start, due, "{shown}");
        let host = if head.host.is_empty() { b"pool" } else { head.host };
        assert_eq!(sent[0], ("host".to_owned(), host.to_vec()), "{shown}");
        // In their order and unchanged, but for the hops that are left.
        let mut kept = goes_on(&fields);
        for (name, value) in &mut kept {
            if let (Some(hops), "max-forwards") = (head.max_forwards(), name.as_str())
                && value.iter().all(u8::is_ascii_digit)
            {
                *value = hops.saturating_sub(1).to_string().into_bytes();
            }
        }
        assert_eq!(sent[1..=kept.len()], kept[..], "{shown}");
        assert_eq!(plain_framing(&sent), Ok(head.body), "{shown}");
        let ours = &sent[1 + kept.len()..];
        let allowed = |name: &str| {
            OURS.contains(&name)
                || ["via", "content-length", "transfer-encoding"].contains(&name)
                || (head.upgrade_websocket && ["connection", "upgrade"].contains(&name))
        };
        assert!(ours.iter().all(|(name, _)| allowed(name)), "{ours:?} of {shown}");
    }
    assert!(taken > 10_000, "{taken} taken");
}

#[test]
fn a_response_that_is_taken_is_the_same_to_a_plain_reader() {
    let mut dice = Dice(0x0dd0_51de_5eed_0003);
    let mut taken = 0;
    for round in 0..100_000 {
        let bytes = mutated(&RESPONSES, round, &mut dice);
        let shown = bytes.escape_ascii().to_string();
        let to_head = dice.below(4) == 0;
        let Scan::Whole { len, .. } = scan_response(&bytes, 0) else { continue };
        let mut room = no_fields();
        let Ok(head) = parse_response(&bytes[..len], &mut room, to_head) else { continue };
        taken += 1;
        let (start, fields) = plain_head(&bytes[..len]).unwrap_or_else(|| panic!("not plain: {shown}"));
        assert!(start[b"HTTP/1.1 ".len()..].starts_with(head.status.to_string().as_bytes()), "{shown}");
        let framing = plain_framing(&fields);
        let due = match head.body {
            ResponseBody::None => framing.unwrap_or(Body::None),
            ResponseBody::Length(length) => Body::Length(length),
            ResponseBody::Chunked => Body::Chunked,
            ResponseBody::UntilClose => Body::None,
        };
        assert!(framing.is_err() && head.body == ResponseBody::None || framing == Ok(due), "{shown}");

        let kept: Lines = fields
            .iter()
            .filter(|(name, _)| !ONE_HOP.contains(&name.as_str()) && !is_named(&fields, name))
            .cloned()
            .collect();
        let mut out = Vec::new();
        if head.status < 200 {
            interim(&head, &mut out).unwrap();
        } else {
            let keep = dice.below(2) == 0;
            let client = if dice.below(2) == 0 { Version::Http10 } else { Version::Http11 };
            let body = match head.body {
                ResponseBody::Chunked if client == Version::Http10 => ResponseBody::UntilClose,
                other => other,
            };
            let how =
                ResponseRebuild { set: &[], remove: &[], client, keep, switching: false, body, head_request: to_head };
            response(&head, &how, &mut out).unwrap();
        }
        let (start, sent) = plain_head(&out).unwrap_or_else(|| panic!("what goes on is not plain: {shown}"));
        assert!(start.starts_with(format!("HTTP/1.1 {} ", head.status).as_bytes()), "{shown}");
        assert!(head.reason.is_empty() || start.ends_with(head.reason), "{shown}");
        assert_eq!(sent[..kept.len()], kept[..], "{shown}");
        let ours = &sent[kept.len()..];
        let allowed = ["connection", "content-length", "transfer-encoding"];
        assert!(ours.iter().all(|(name, _)| allowed.contains(&name.as_str())), "{ours:?} of {shown}");
        assert!(plain_framing(&sent).is_ok(), "{shown}");
        if matches!(head.status, 100..=199 | 204) {
            assert_eq!(plain_framing(&sent), Ok(Body::None), "{shown}");
        }
    }
    assert!(taken > 10_000, "{taken} taken");
}

/// A chunked body as somebody may write it, and its payload.
fn some_chunks(dice: &mut Dice) -> (Vec<u8>, Vec<u8>) {
    const EXTENSIONS: [&str; 7] = ["", "", "", ";a", ";a=b", " ; a = \"b\\\"\t\u{e9}\" ;c", ";a=\"\";b"];
    const TRAILERS: [&str; 4] = ["", "X-A: b\r\n", "x:\r\nY: \u{ff}\t\r\n", "Content-Length: 3\r\nX: 1\r\n"];
    let bytes = |text: &str| text.chars().map(|c| c as u8).collect::<Vec<u8>>();
    let (mut coded, mut payload) = (Vec::new(), Vec::new());
    for _ in 0..dice.below(4) {
        let chunk: Vec<u8> = (0..1 + dice.below(40)).map(|_| b"\r\n0a;"[dice.below(5)]).collect();
        let (zeros, len) = ("0".repeat(dice.below(3)), chunk.len());
        let size = if dice.below(2) == 0 { format!("{zeros}{len:x}") } else { format!("{zeros}{len:X}") };
        coded.extend([size.as_bytes(), &bytes(EXTENSIONS[dice.below(7)]), b"\r\n", &chunk, b"\r\n"].concat());
        payload.extend(chunk);
    }
    coded
        .extend([b"0", &*bytes(EXTENSIONS[dice.below(7)]), b"\r\n", &bytes(TRAILERS[dice.below(4)]), b"\r\n"].concat());
    (coded, payload)
}

/// Read in pieces, as a session does: payload, trailers, length. `None`: a fault, or no end.
fn read_in_pieces(input: &[u8], cuts: &[usize]) -> Option<(Vec<u8>, Vec<u8>, usize)> {
    let mut reader = BodyReader::response(ResponseBody::Chunked);
    let (mut payload, mut trailers, mut done) = (Vec::new(), Vec::new(), 0);
    for upto in cuts {
        let mut bytes = input[done..*upto].to_vec();
        let taken = reader.take(&mut bytes).ok()?;
        payload.extend_from_slice(&bytes[..taken.payload]);
        trailers.extend_from_slice(&bytes[taken.trailers]);
        done += taken.consumed;
    }
    reader.is_finished().then_some((payload, trailers, done))
}

#[test]
fn chunks_are_taken_exactly_when_a_plain_reader_takes_them() {
    let mut dice = Dice(0x0dd0_51de_5eed_0004);
    let (mut good, mut bad) = (0, 0);
    for _ in 0..100_000 {
        let (mut input, payload) = some_chunks(&mut dice);
        let behind = input.len();
        input.extend_from_slice(b"GET / HTTP/1.1\r\n");
        let whole = plain_chunks(&input).expect("written well");
        assert_eq!((&whole.0, whole.2), (&payload, behind), "{}", input.escape_ascii());
        if dice.below(4) > 0 {
            dice.mutate(&mut input);
        }
        let due = plain_chunks(&input);
        let cuts = dice.cuts(input.len());
        assert_eq!(read_in_pieces(&input, &cuts), due, "{cuts:?}: {}", input.escape_ascii());
        *(if due.is_some() { &mut good } else { &mut bad }) += 1;
    }
    assert!(good > 10_000 && bad > 10_000, "{good} good, {bad} bad");
}

#[test]
fn a_body_that_leaves_in_any_pieces_is_the_same_to_a_plain_reader() {
    let mut dice = Dice(0x0dd0_51de_5eed_0005);
    for _ in 0..20_000 {
        let (_, payload) = some_chunks(&mut dice);
        let names = ["X-A", "content-length", "Host", "X_Forwarded_For", "Set-Cookie", "X-B", "Connection", "x"];
        let section: Vec<&str> = (0..dice.below(6)).map(|_| names[dice.below(names.len())]).collect();
        let raw: String = section.iter().map(|name| format!("{name}: 1\r\n")).collect();
        let mut out = Vec::new();
        let mut from = 0;
        for to in dice.cuts(payload.len()) {
            if to > from {
                out.extend([ChunkLine::new(to - from).as_bytes(), &payload[from..to], CHUNK_END].concat());
            }
            from = to;
        }
        out.extend_from_slice(LAST_CHUNK);
        put_trailers(raw.as_bytes(), &mut out).unwrap();
        out.extend_from_slice(CHUNK_END);
        let passed: String =
            section.iter().filter(|n| ["X-A", "X-B", "x"].contains(n)).map(|n| format!("{n}: 1\r\n")).collect();
        assert_eq!(plain_chunks(&out), Some((payload, passed.into_bytes(), out.len())), "{}", out.escape_ascii());
    }
}
