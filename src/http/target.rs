//! Request targets and hosts: the grammar of what is matched and forwarded, byte for byte (RFC 9112 section 3.2).
//!
//! Nothing is decoded or normalised here: what would need it is refused, so that a route and a backend cannot read
//! the same path in two ways.

use std::net::Ipv6Addr;

use super::Refusal;
use super::head::Method;

/// A target taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'b> {
    /// Without query, never empty.
    pub path: &'b [u8],
    /// With its `?`, or empty.
    pub query: &'b [u8],
    /// Of an absolute-form only.
    pub authority: Option<&'b [u8]>,
}

/// Not in a target at all: blanks, control bytes, `#`, bytes over 0x7e.
const NEVER: u8 = 1;
/// Not in a path: a backslash is a slash to some readers. Browsers send it in queries as it is.
const NOT_IN_PATH: u8 = 2;
/// Fine, but may be part of a dot segment or a NUL.
const LOOK_CLOSER: u8 = 4;

static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut b = 0;
    while b < 256 {
        classes[b] = match b as u8 {
            0..=b' ' | 0x7f..=0xff | b'#' => NEVER,
            b'\\' => NOT_IN_PATH,
            b'.' | b'%' => LOOK_CLOSER,
            _ => 0,
        };
        b += 1;
    }
    classes
};

#[inline]
fn classes_of(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |seen, b| seen | CLASSES[usize::from(*b)])
}

/// Takes a request target apart (RFC 9112 sections 3.2.1, 3.2.2 and 3.2.4; authority-form is refused earlier).
pub fn parse<'b>(target: &'b [u8], method: Method<'_>) -> Result<Target<'b>, Refusal> {
    let (authority, rest) = match target {
        [b'/', ..] => (None, target),
        b"*" if method == Method::Options => {
            return Ok(Target { path: target, query: b"", authority: None });
        }
        b"*" => return Err(Refusal::new(400, "the target * is for OPTIONS only")),
        _ => {
            let (authority, rest) = split_absolute(target)?;
            (Some(authority), rest)
        }
    };
    let (path, query) = match rest.iter().position(|b| *b == b'?') {
        Some(at) => rest.split_at_checked(at).unwrap_or((rest, b"")),
        None => (rest, &b""[..]),
    };
    let seen = classes_of(path);
    if (seen | classes_of(query)) & NEVER != 0 {
        return Err(Refusal::new(400, "the target has a byte that no target may have"));
    }
    if seen & NOT_IN_PATH != 0 {
        return Err(Refusal::new(400, "the path has a backslash"));
    }
    if seen & LOOK_CLOSER != 0 {
        check_segments(path)?;
    }
    let path = match path {
        // RFC 9112 section 3.2.4: an absolute OPTIONS without path and query is about the server as a whole.
        [] if method == Method::Options && query.is_empty() => b"*",
        [] => b"/",
        path => path,
    };
    Ok(Target { path, query, authority })
}

/// `http://authority` and what follows it.
fn split_absolute(target: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let after = |scheme: &[u8]| match target.split_at_checked(scheme.len()) {
        Some((start, rest)) if start.eq_ignore_ascii_case(scheme) => Some(rest),
        _ => None,
    };
    let Some(rest) = after(b"http://").or_else(|| after(b"https://")) else {
        return Err(Refusal::new(400, "the target is neither a path nor an http or https URL"));
    };
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end).unwrap_or((rest, b""));
    if authority.contains(&b'@') {
        return Err(Refusal::new(400, "the target has user information"));
    }
    if !is_host(authority) {
        return Err(Refusal::new(400, "the authority of the target is no host"));
    }
    Ok((authority, rest))
}

/// No `.` or `..` segment however its dots are written, and no NUL (RFC 3986 section 5.2.4).
fn check_segments(path: &[u8]) -> Result<(), Refusal> {
    for segment in path.split(|b| *b == b'/') {
        let mut rest = segment;
        let mut dots = 0;
        loop {
            rest = match rest {
                [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => rest,
                _ => break,
            };
            dots += 1;
        }
        if rest.is_empty() && matches!(dots, 1 | 2) {
            return Err(Refusal::new(400, "the path has a dot segment"));
        }
        if segment.windows(3).any(|w| w == b"%00") {
            return Err(Refusal::new(400, "the path has an encoded NUL"));
        }
    }
    Ok(())
}

/// Whether these bytes are `uri-host [ ":" port ]` (RFC 9110 section 7.2): a name, an IPv4 address or an IPv6 address in
/// brackets. Stricter than the RFC in three points: not empty, no empty port, and no comma, which is what two Host
/// fields look like when someone has joined them.
pub fn is_host(host: &[u8]) -> bool {
    let (name, port) = split_port(host);
    let port_is_good = match port {
        None => true,
        Some(digits) => {
            (1..=5).contains(&digits.len()) && super::names::decimal(digits).is_some_and(|p| p <= u64::from(u16::MAX))
        }
    };
    port_is_good && (is_reg_name(name) || is_ipv6_literal(name))
}

/// The host without its port and without the dot of the root.
pub fn host_name(host: &[u8]) -> &[u8] {
    let (name, _) = split_port(host);
    name.strip_suffix(b".").unwrap_or(name)
}

/// At the last colon that is not inside of brackets.
fn split_port(host: &[u8]) -> (&[u8], Option<&[u8]>) {
    match host.iter().rposition(|b| matches!(b, b':' | b']')) {
        Some(at) if host.get(at) == Some(&b':') => {
            (host.get(..at).unwrap_or_default(), Some(host.get(at + 1..).unwrap_or_default()))
        }
        _ => (host, None),
    }
}

/// RFC 3986 section 3.2.2; IPv4 addresses look like names.
fn is_reg_name(name: &[u8]) -> bool {
    let mut rest = name;
    loop {
        rest = match rest {
            [] => return !name.is_empty(),
            [b, rest @ ..] if REG_NAME[usize::from(*b)] => rest,
            [b'%', a, b, rest @ ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => rest,
            _ => return false,
        };
    }
}

/// `unreserved / sub-delims` of RFC 3986, without the comma.
const REG_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut b = 0u8;
    while b < 0x80 {
        table[b as usize] = b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'='
            );
        b += 1;
    }
    table
};

fn is_ipv6_literal(name: &[u8]) -> bool {
    let Some(address) = name.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) else {
        return false;
    };
    std::str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}
