//! Heads: found, parsed, judged, and written anew as they go on.
//!
//! What the product does with one between two system calls, without its route and its plan.

use std::fmt::Debug;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use layer7router::http::forwarded::{Forwarded, Peer};
use layer7router::http::head::{HeadLimits, Scan, parse_request, parse_response, scan, scan_response};
use layer7router::http::rebuild::{self, RequestRebuild, ResponseRebuild};
use layer7router::http::template::Values;
use layer7router::http::{Sink, Version, no_fields};
use layer7router::outgoing::HeadBuffer;

use crate::part::{Batch, again};

/// As Chrome asks for a part of a page.
pub const BROWSER: &str = "\
GET /app/assets/main.4f2a1c9e.js?v=20261123 HTTP/1.1\r\n\
Host: www.example.org\r\n\
Connection: keep-alive\r\n\
sec-ch-ua-platform: \"Linux\"\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\n\
sec-ch-ua: \"Not/A)Brand\";v=\"8\", \"Chromium\";v=\"126\", \"Google Chrome\";v=\"126\"\r\n\
sec-ch-ua-mobile: ?0\r\n\
Accept: */*\r\n\
Sec-Fetch-Site: same-origin\r\n\
Sec-Fetch-Mode: no-cors\r\n\
Sec-Fetch-Dest: script\r\n\
Referer: https://www.example.org/app/\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Accept-Language: en-US,en;q=0.9,de;q=0.8\r\n\
Cookie: session=5f9e7c1b2a4d4e0f8c6b3a29d1e0f7a6; theme=dark; consent=1\r\n\
\r\n";

/// As curl asks.
pub const CURL: &str = "\
GET /index.html HTTP/1.1\r\n\
Host: www.example.org:8080\r\n\
User-Agent: curl/7.88.1\r\n\
Accept: */*\r\n\
\r\n";

/// As nginx answers with a file.
pub const NGINX: &str = "\
HTTP/1.1 200 OK\r\n\
Server: nginx/1.22.1\r\n\
Date: Mon, 23 Nov 2026 08:12:31 GMT\r\n\
Content-Type: application/javascript\r\n\
Content-Length: 1024\r\n\
Last-Modified: Sun, 22 Nov 2026 17:00:00 GMT\r\n\
Connection: keep-alive\r\n\
ETag: \"6740b2f0-400\"\r\n\
Accept-Ranges: bytes\r\n\
\r\n";

/// The defaults.
const LIMITS: HeadLimits = HeadLimits { uri_size: 8 * 1024, header_count: 100 };
const PEER: Peer = Peer::Ip(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 17)));

/// The head of a request, again and again.
pub fn requests(head: &'static str) -> Batch {
    let mut out = HeadBuffer::new();
    again(move || {
        out.clear();
        request(black_box(head.as_bytes()), &mut out);
        out.len()
    })
}

/// The head of a response, again and again.
pub fn responses(head: &'static str) -> Batch {
    let mut out = HeadBuffer::new();
    again(move || {
        out.clear();
        response(black_box(head.as_bytes()), &mut out);
        out.len()
    })
}

fn request<S: Sink<Error: Debug>>(bytes: &[u8], out: &mut S) {
    let Scan::Whole { skip, len } = scan(bytes, 0) else { panic!("it is whole") };
    let mut fields = no_fields();
    let head = parse_request(&bytes[skip..skip + len], &mut fields, &LIMITS).expect("nothing is wrong with it");
    let values = Values {
        host: head.host,
        uri: head.path,
        query: head.query,
        client: PEER,
        scheme: "http",
        request_id: b"5bd1e995c2b2ae3d27d4eb2f165667b1",
    };
    let how = RequestRebuild {
        path: head.path,
        query: head.query,
        set: &[],
        remove: &[],
        values: &values,
        forwarded: &Forwarded { peer: PEER, trusted: false },
        via: "layer7router-165667b1",
        host_if_none: "app",
    };
    rebuild::request(&head, &how, out).expect("there is room");
}

fn response<S: Sink<Error: Debug>>(bytes: &[u8], out: &mut S) {
    let Scan::Whole { len, .. } = scan_response(bytes, 0) else { panic!("it is whole") };
    let mut fields = no_fields();
    let head = parse_response(&bytes[..len], &mut fields, false).expect("nothing is wrong with it");
    let how = ResponseRebuild {
        set: &[],
        remove: &[],
        client: Version::Http11,
        keep: true,
        switching: false,
        body: head.body,
        head_request: false,
    };
    rebuild::response(&head, &how, out).expect("there is room");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is added to each request for this host.
    fn added(host: &str) -> String {
        format!(
            "X-Forwarded-For: 192.0.2.17\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: {host}\r\n\
             X-Real-IP: 192.0.2.17\r\nVia: 1.1 layer7router-165667b1\r\n\
             X-Request-Id: 5bd1e995c2b2ae3d27d4eb2f165667b1\r\n\r\n"
        )
    }

    #[test]
    fn a_request_goes_on_without_connection_and_with_our_fields() {
        for (head, host) in [(BROWSER, "www.example.org"), (CURL, "www.example.org:8080")] {
            let kept = head.replace("Connection: keep-alive\r\n", "");
            let due = kept.strip_suffix("\r\n").expect("the empty line").to_owned() + &added(host);
            let (mut text, mut buffer) = (Vec::new(), HeadBuffer::new());
            request(head.as_bytes(), &mut text);
            assert_eq!(String::from_utf8(text).expect("ASCII"), due);
            request(head.as_bytes(), &mut buffer);
            assert_eq!(buffer.len(), due.len());
        }
    }

    #[test]
    fn a_response_goes_on_without_connection_and_its_length_comes_last() {
        let length = "Content-Length: 1024\r\n";
        let kept = NGINX.replace("Connection: keep-alive\r\n", "").replace(length, "");
        let due = kept.strip_suffix("\r\n").expect("the empty line").to_owned() + length + "\r\n";
        let (mut text, mut buffer) = (Vec::new(), HeadBuffer::new());
        response(NGINX.as_bytes(), &mut text);
        assert_eq!(String::from_utf8(text).expect("ASCII"), due);
        response(NGINX.as_bytes(), &mut buffer);
        assert_eq!(buffer.len(), due.len());
    }
}
