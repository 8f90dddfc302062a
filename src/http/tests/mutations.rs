//! Good messages with random faults: whatever is taken goes on as the same message, and nothing panics.

use std::net::{IpAddr, Ipv4Addr};

use super::dice::Dice;
use super::*;
use crate::http::forwarded::{Forwarded, Peer};
use crate::http::framing::{BodyReader, ResponseBody};
use crate::http::rebuild::{RequestRebuild, ResponseRebuild, request, response};
use crate::http::template::Values;
use crate::http::{Version, names};

const PEER: Peer = Peer::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST));

fn rebuilt(head: &RequestHead<'_, '_>) -> Vec<u8> {
    let values = Values {
        host: head.host,
        uri: head.path,
        query: head.query,
        client: PEER,
        scheme: "http",
        request_id: b"id-1",
    };
    let forwarded = Forwarded { peer: PEER, trusted: true };
    let how = RequestRebuild {
        path: head.path,
        query: head.query,
        set: &[],
        remove: &[],
        values: &values,
        forwarded: &forwarded,
        via: "v",
        host_if_none: "",
    };
    let mut out = Vec::new();
    request(head, &how, &mut out).unwrap();
    out
}

#[test]
fn a_request_that_is_taken_goes_on_as_the_same_request() {
    let seeds = [
        get_with(&["Accept: */*", "Connection: keep-alive, X-A", "X-A: 1", "X-Forwarded-For: 1.1.1.1"]),
        request_with("POST /a/b?c HTTP/1.1", &["Content-Length: 5", "Expect: 100-continue"]),
        request_with("PUT http://a.example/b HTTP/1.1", &["Transfer-Encoding: chunked", "Via: 1.1 x"]),
        request_with("GET /ws HTTP/1.1", &["Connection: Upgrade", "Upgrade: websocket"]),
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
    ];
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (mut taken, mut refused) = (0, 0);
    for round in 0..150_000 {
        let mut bytes = seeds[round % seeds.len()].clone().into_bytes();
        dice.mutate(&mut bytes);
        let Scan::Whole { skip, len } = scan(&bytes, 0) else {
            continue;
        };
        let mut fields = no_fields();
        let Ok(head) = parse_request(&bytes[skip..skip + len], &mut fields, &LIMITS) else {
            refused += 1;
            continue;
        };
        taken += 1;
        let out = rebuilt(&head);
        if head.host.is_empty() {
            // Only HTTP/1.0 can do without, and what goes on is HTTP/1.1 with an empty Host.
            assert_eq!(head.version, Version::Http10);
            continue;
        }
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        with_request(&out, |again| {
            assert_eq!(again.method, head.method, "{shown}");
            assert_eq!((again.path, again.query, again.host), (head.path, head.query, head.host), "{shown}");
            assert_eq!(again.body, head.body, "{shown}");
            assert_eq!(again.expects_continue, head.expects_continue, "{shown}");
            assert_eq!(again.upgrade_websocket, head.upgrade_websocket, "{shown}");
            for field in again.fields {
                let may = match names::classify(field.name) {
                    names::Name::Connection | names::Name::Upgrade => head.upgrade_websocket,
                    names::Name::KeepAlive | names::Name::ProxyConnection | names::Name::Te => false,
                    names::Name::Alias => false,
                    _ => !field.name.eq_ignore_ascii_case("x-a") || !names_x_a(&head),
                };
                assert!(may, "{} went on: {shown}", field.name);
            }
        })
        .unwrap_or_else(|refusal| panic!("{refusal:?}: {shown}"));
    }
    assert!(taken > 10_000 && refused > 10_000, "{taken} taken, {refused} refused");
}

/// Whether Connection does.
fn names_x_a(head: &RequestHead<'_, '_>) -> bool {
    let lines = head.fields.iter().filter(|f| f.name.eq_ignore_ascii_case("connection"));
    lines.flat_map(|f| names::elements(f.value)).any(|e| e.eq_ignore_ascii_case(b"x-a"))
}

#[test]
fn a_response_that_is_taken_goes_on_as_the_same_response() {
    let seeds = [
        response_with("HTTP/1.1 200 OK", &["Content-Length: 5", "Connection: close, X", "X: 1"]),
        response_with("HTTP/1.1 404 Not Here", &["Transfer-Encoding: chunked", "Set-Cookie: a"]),
        response_with("HTTP/1.0 200 OK", &["Server: x"]),
        response_with("HTTP/1.1 304 Not Modified", &["Content-Length: 7"]),
    ];
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let mut taken = 0;
    for round in 0..100_000 {
        let mut bytes = seeds[round % seeds.len()].clone().into_bytes();
        dice.mutate(&mut bytes);
        let to_head = dice.below(4) == 0;
        let Scan::Whole { len, .. } = scan_response(&bytes, 0) else {
            continue;
        };
        let mut fields = no_fields();
        let Ok(head) = parse_response(&bytes[..len], &mut fields, to_head) else {
            continue;
        };
        taken += 1;
        let how = ResponseRebuild {
            set: &[],
            remove: &[],
            client: Version::Http11,
            keep: head.keep_alive,
            switching: false,
            body: head.body,
            head_request: to_head,
        };
        let mut out = Vec::new();
        response(&head, &how, &mut out).unwrap();
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        with_response(&out, to_head, |again| {
            assert_eq!((again.status, again.body), (head.status, head.body), "{shown}");
        })
        .unwrap_or_else(|bad| panic!("{bad:?}: {shown}"));
    }
    assert!(taken > 10_000, "{taken} taken");
}

#[test]
fn a_chunked_body_reads_the_same_in_any_pieces() {
    let seed = b"5;a=\"b\\\"c\"\r\nhello\r\n1F\r\n0123456789abcdef0123456789abcde\r\n0\r\nA: b\r\nC: d\r\n\r\nGET /";
    let mut dice = Dice(0x1234_5678_9abc_def1);
    for _ in 0..100_000 {
        let mut input = seed.to_vec();
        dice.mutate(&mut input);
        let mut reader = BodyReader::response(ResponseBody::Chunked);
        let mut whole = input.clone();
        let once = reader.take(&mut whole).map(|t| (whole[..t.payload].to_vec(), t.consumed, t.end));

        let mut reader = BodyReader::response(ResponseBody::Chunked);
        let (mut payload, mut done, mut upto, mut end) = (Vec::new(), 0, 0, false);
        let mut pieces = Ok(());
        while upto < input.len() && pieces.is_ok() {
            upto = (upto + 1 + dice.below(12)).min(input.len());
            let mut bytes = input[done..upto].to_vec();
            pieces = reader.take(&mut bytes).map(|t| {
                payload.extend_from_slice(&bytes[..t.payload]);
                done += t.consumed;
                end = t.end;
            });
        }
        assert_eq!(pieces.map(|()| (payload, done, end)), once, "{}", String::from_utf8_lossy(&input));
    }
}
