//! The rows: what is required of an intermediary, what the head parser lets through that must be refused by others, and
//! what past vulnerabilities teach. Each has a case; the numbers are what tables and failures call them by.

/// What httparse accepts, run once each: everything that is to be refused of it is refused here.
pub const HTTPARSE: [&str; 15] = [
    "heads with bare LF: refused, never passed on",
    "empty lines before a request line: a few are skipped, then 400",
    "no semantics: doubled Content-Length, TE beside CL, two Hosts, no Host are ours to refuse",
    "targets are anything printable: origin form, absolute form, * with OPTIONS, no #",
    "a target over 0x7e: 400",
    "versions and blanks of the request line: 400 or 505",
    "blank before the colon, folds, empty names, control bytes: 400 and 502",
    "bytes above ASCII in values pass unchanged",
    "more fields than the array: 431, of a response 502",
    "a status outside of 100 to 599: 502; no reason: the canonical one",
    "a reason with obs-text passes as it is",
    "a chunk line without a digit is no last chunk",
    "a chunk extension over a LF, or with a NUL: refused",
    "a chunk size of 2^63 and more: refused",
    "a head byte by byte is found as it is when whole",
];

/// RFC 9112 and 9110.
pub const REQUIRED: [&str; 36] = [
    "9112 6.1, 6.3(3): TE and CL: 400 and close; of a response 502",
    "9112 6.3(4): chunked is not the last coding, or twice: 400; 502",
    "9112 6.1: an unknown coding: 501 and close; 502",
    "9112 6.1: TE in HTTP/1.0: 400; 502",
    "9112 6.3(5): a bad or doubled CL: 400; 502",
    "9112 6.3(7,8): without framing a request has no body, a response ends by close",
    "9112 6.3(1): HEAD, 1xx, 204 and 304 have no body",
    "9112 8: what is incomplete never looks whole",
    "9112 7.1: chunk lines are exact, extensions limited and dropped",
    "9112 7.1.2, 9110 6.5.1: trailers never frame, route or identify",
    "9112 5.1: a blank before the colon: 400; 502",
    "9112 5.2: obs-fold: 400; 502",
    "9112 2.2, 9110 5.5: bare CR, NUL: 400; 502",
    "9112 2.2: a bare LF MAY end a line: not here, 400; 502",
    "9112 2.2: a blank line start after the start line: 400; 502",
    "9112 2.2: an empty line before the request line is skipped",
    "9112 3.2: no Host, two Hosts, no host in Host: 400",
    "9112 3.2.2: absolute form goes on as origin form; it agrees with Host, or 400",
    "9112 3.2.3, 3.2.4: authority form is CONNECT's: 405 and close; * is OPTIONS's",
    "9112 3: an invalid request line: 400",
    "9112 3, RFC 6585: too long: 414, 431; 8000 bytes of request line are taken",
    "9110 2.5: HTTP/1.1 goes on; another major version: 505, 502",
    "9110 7.6.1: what Connection names is removed: requests, responses, 1xx, trailers",
    "9110 7.6.1: fields of one hop are removed anyhow",
    "9110 7.6.3: Via is added; one's own is a loop: 508",
    "9110 7.6.2: Max-Forwards counts down for TRACE and OPTIONS",
    "9110 7.8, 15.2.2: a tunnel only after a 101 that was asked for",
    "9110 15.2: 1xx pass, not to HTTP/1.0, up to 64",
    "9110 10.1.1: 100-continue passes, others 417; HTTP/1.0 has none",
    "9112 9.3, 9.6: persistence; nothing after close; lingering close",
    "9112 9.3.2: pipelined requests are answered in order",
    "9112 9.2: unsolicited bytes of a backend are nobody's answer",
    "9110 9.2.2: only idempotent requests without a body go twice, on a kept connection, before any byte of an answer",
    "9110 5.3: order of equal names; Set-Cookie is never joined",
    "9112 6.1: no TE to HTTP/1.0, in 1xx, in 204",
    "9110 15.6: 502 for a bad or no answer, 504 for a late one",
];

/// By what was wrong.
pub const LESSONS: [&str; 31] = [
    "HAProxy CVE-2021-40346: the length of a name overflowed and hid a second CL",
    "HAProxy CVE-2023-25725: an empty name ended the list of fields",
    "HAProxy CVE-2023-40225: an empty CL was forwarded",
    "HAProxy CVE-2023-45539: # in the target fooled routing",
    "Pingora CVE-2025-4366: answered without reading the body, which became a request",
    "Pingora CVE-2026-2833: a tunnel before any 101",
    "Pingora CVE-2026-2835: HTTP/1.0 with TE; a request never ends by close",
    "Envoy CVE-2025-64763: early data after CONNECT",
    "nghttpx CVE-2026-58055: Upgrade with a body",
    "Envoy CVE-2019-9900: NUL in values",
    "Pound CVE-2016-10711: TE beside CL, doubled fields",
    "ATS CVE-2018-8004: bad names, double CL, no close after 400",
    "Varnish CVE-2022-23959: a body left on the connection after an own answer",
    "Varnish VSV00018: absolute form with an empty path went on unprocessed",
    "Varnish VSV00009: a crafted reason made it assert",
    "Squid CVE-2020-15810: blank before the colon, prefixes in CL",
    "Squid CVE-2023-46846: a lax chunk decoder",
    "nginx CVE-2013-2028: a chunk size over 2^63",
    "nginx CVE-2019-20372: error_page left the body",
    "hyper CVE-2021-21299: several TE lines combined wrongly",
    "hyper RUSTSEC-2021-0078: + in CL",
    "hyper RUSTSEC-2021-0079: chunk size overflow",
    "hyper CVE-2020-35863: framing follows the message, not the method",
    "tiny_http RUSTSEC-2020-0031: Transfer-Encoding with a blank",
    "Go CVE-2021-33197, CVE-2023-39326: an empty first Connection line; endless extensions; hop-by-hop in 1xx",
    "Apache CVE-2022-31813: Connection removed what the proxy had added",
    "Apache CVE-2023-25690: decoded CR LF in the request line",
    "Apache CVE-2016-8743: odd blanks",
    "oauth2-proxy CVE-2025-64484: an underscore for a dash",
    "Netty CVE-2019-20445, Node CVE-2022-32213: TE on several lines, with odd ends",
    "HTTP/1.1 must die, 2025: a hidden CL, an obfuscated Expect",
];

#[test]
fn every_row_has_a_case() {
    let tables =
        [crate::requests::cases(), crate::responses::cases(), crate::connection_fields::cases(), crate::cves::cases()];
    let held: Vec<&str> = tables
        .iter()
        .flatten()
        .map(|case| case.rows())
        .chain(crate::connections::HELD.iter().map(|(rows, _)| *rows))
        .flat_map(|rows| rows.split(", "))
        .collect();
    for (kind, count) in [("httparse", HTTPARSE.len()), ("9112", REQUIRED.len()), ("CVE", LESSONS.len())] {
        let missing: Vec<usize> = (1..=count).filter(|n| !held.contains(&format!("{kind} {n}").as_str())).collect();
        assert!(missing.is_empty(), "no case for {kind} {missing:?}");
    }
    let known = |row: &str| {
        let (kind, number) = row.split_once(' ').unwrap_or_default();
        let count = match kind {
            "httparse" => HTTPARSE.len(),
            "9112" => REQUIRED.len(),
            "CVE" => LESSONS.len(),
            _ => 0,
        };
        number.parse::<usize>().is_ok_and(|number| (1..=count).contains(&number))
    };
    let unknown: Vec<&&str> = held.iter().filter(|row| !known(row)).collect();
    assert!(unknown.is_empty(), "there are no such rows: {unknown:?}");
}
