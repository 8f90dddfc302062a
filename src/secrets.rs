//! What is never shown, in a log or elsewhere: credentials in URLs, and values of the fields that carry them.
//!
//! Not here: queries. They are a part of what was asked for, and every access log has them; README says so.

/// Stands for what is not shown.
const HIDDEN: &[u8] = b"***";

/// Whether the value of a field is a secret by its definition (RFC 9110 section 11, RFC 6265).
pub fn is_secret_field(name: &str) -> bool {
    ["authorization", "proxy-authorization", "cookie", "set-cookie"]
        .iter()
        .any(|secret| name.eq_ignore_ascii_case(secret))
}

/// `http://user:password@host/` becomes `http://***@host/`, as often as there is one.
pub fn hide_credentials(text: &mut Vec<u8>) {
    // Nearly every text ends here.
    if !text.contains(&b'@') {
        return;
    }
    let mut from = 0;
    while let Some(slashes) = text.get(from..).and_then(|rest| rest.windows(2).position(|two| two == b"//")) {
        from = hide_in_authority(text, from + slashes + 2);
    }
}

/// A request line: its target may begin with an authority (CONNECT), or be one by mistake.
pub fn hide_credentials_of_request_line(line: &mut Vec<u8>) {
    if !line.contains(&b'@') {
        return;
    }
    if let Some(space) = line.iter().position(|&byte| byte == b' ') {
        hide_in_authority(line, space + 1);
    }
    hide_credentials(line);
}

/// The authority that begins here; where to look on.
fn hide_in_authority(text: &mut Vec<u8>, start: usize) -> usize {
    let rest = text.get(start..).unwrap_or_default();
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#' | b' ' | b'"')).unwrap_or(rest.len());
    match rest.get(..end).and_then(|authority| authority.iter().rposition(|&byte| byte == b'@')) {
        Some(at) => {
            text.splice(start..start + at, HIDDEN.iter().copied());
            start + HIDDEN.len()
        }
        None => start,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_hidden_and_nothing_else_is() {
        let hidden = |hide: fn(&mut Vec<u8>), text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            hide(&mut bytes);
            String::from_utf8(bytes).expect("UTF-8")
        };
        for (text, due) in [
            ("http://u:p@h/a", "http://***@h/a"),
            ("https://u:p@q@h?b@c", "https://***@h?b@c"),
            ("//u@h //v@i", "//***@h //***@i"),
            ("/?to=http://u:p@h/", "/?to=http://***@h/"),
            ("https://h/@someone/post", "https://h/@someone/post"),
            ("bot (bot@example.com)", "bot (bot@example.com)"),
            ("http://@@h//@", "http://***@h//***@"),
            ("@//", "@//"),
        ] {
            assert_eq!(hidden(hide_credentials, text), due);
        }
        for (text, due) in [
            ("CONNECT u:p@h:443 HTTP/1.1", "CONNECT ***@h:443 HTTP/1.1"),
            ("GET http://u:p@h/x@y HTTP/1.1", "GET http://***@h/x@y HTTP/1.1"),
            ("GET /a@b HTTP/1.1", "GET /a@b HTTP/1.1"),
            ("@", "@"),
        ] {
            assert_eq!(hidden(hide_credentials_of_request_line, text), due);
        }
    }
}
