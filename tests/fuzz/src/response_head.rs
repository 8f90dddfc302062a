//! Response heads: found the same however they arrive, and what was understood is what the client gets.
//!
//! The fields that go on are foretold line by line, by a second reading of the rules of `http::rebuild`. Not here:
//! fields that a route sets or removes.

use layer7router::http::framing::ResponseBody;
use layer7router::http::head::{ResponseHead, Scan, parse_response, scan_response};
use layer7router::http::rebuild::{ResponseRebuild, interim, response};
use layer7router::http::reply::reason_phrase;
use layer7router::http::{Version, no_fields};

use crate::pieces::{Line, Pieces, lines, named_by_connection};

/// Checks one input. Flags: the request was HEAD, the client speaks 1.0, the session is kept, a 101 was asked for.
pub fn check(input: &[u8]) {
    let Some(pieces) = Pieces::of(input) else { return };
    let Scan::Whole { skip, len } = pieces.scanned(scan_response) else { return };
    assert_eq!(skip, 0);
    let to_head = pieces.flag(0);
    let mut fields = no_fields();
    let Ok(head) = parse_response(&pieces.message[..len], &mut fields, to_head) else { return };
    let no_body = to_head || matches!(head.status, 100..=199 | 204 | 304);
    assert!((100..=599).contains(&head.status));
    assert!(!no_body || head.body == ResponseBody::None);
    assert!(!head.keep_alive || head.body != ResponseBody::UntilClose);

    let client = if pieces.flag(1) { Version::Http10 } else { Version::Http11 };
    let body = match head.body {
        ResponseBody::Chunked if client == Version::Http10 => ResponseBody::UntilClose,
        body => body,
    };
    let how = ResponseRebuild {
        set: &[],
        remove: &[],
        client,
        // A body without an end ends with the session.
        keep: pieces.flag(2) && body != ResponseBody::UntilClose,
        switching: head.status == 101 && pieces.flag(3),
        body,
        head_request: to_head,
    };
    let is_interim = head.status < 200 && !how.switching;
    let mut out = Vec::new();
    let Ok(()) = if is_interim { interim(&head, &mut out) } else { response(&head, &how, &mut out) };
    assert_eq!(scan_response(&out, 0), Scan::Whole { skip: 0, len: out.len() });
    let mut fields = no_fields();
    let again = match parse_response(&out, &mut fields, to_head) {
        Ok(again) => again,
        // Its fields were as many as there may be, and ours came on top.
        Err(_) if head.fields.len() >= 250 => return,
        Err(bad) => panic!("{bad:?}: {}", String::from_utf8_lossy(&out)),
    };
    let reason = if head.reason.is_empty() { reason_phrase(head.status).as_bytes() } else { head.reason };
    assert_eq!((again.version, again.status, again.reason), (Version::Http11, head.status, reason));
    assert_eq!(again.body, how.body);
    assert_eq!(lines(again.fields), foretold(&head, &how, is_interim));
}

/// The fields that must go on, in order.
fn foretold(head: &ResponseHead<'_, '_>, how: &ResponseRebuild<'_>, is_interim: bool) -> Vec<Line> {
    const OF_ONE_HOP: &[&str] =
        &["connection", "content-length", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"];
    let received = lines(head.fields);
    let named = named_by_connection(&received);
    let mut due = received.clone();
    due.retain(|(name, _)| !OF_ONE_HOP.contains(&name.as_str()) && !named.contains(name));
    if is_interim {
        return due;
    }
    let mut add = |name: &str, value: &str| due.push((name.to_owned(), value.as_bytes().to_vec()));
    let said = received.iter().find(|(name, _)| name == "content-length");
    let said = said.and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse::<u64>().ok());
    let length = match (head.status, how.body) {
        (100..=199 | 204, _) | (_, ResponseBody::UntilClose | ResponseBody::Chunked) => None,
        (304, _) => said,
        _ if how.head_request => said,
        (_, ResponseBody::Length(length)) => Some(length),
        (_, ResponseBody::None) => Some(0),
    };
    if let Some(length) = length {
        add("content-length", &length.to_string());
    } else if how.body == ResponseBody::Chunked {
        add("transfer-encoding", "chunked");
    }
    if how.switching {
        add("connection", "Upgrade");
        add("upgrade", "websocket");
    } else if !how.keep {
        add("connection", "close");
    } else if how.client == Version::Http10 {
        add("connection", "keep-alive");
    }
    due
}
