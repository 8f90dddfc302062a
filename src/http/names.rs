//! Field names this router knows, and the small grammar that lists and tokens share.
//!
//! Names are told apart by length first: most fields of a head are none of these and cost one comparison of lengths.
//! Not here: what a field means for a message; that is `framing`, `head` and `rebuild`.

use super::Field;

/// The names that decide something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Te,
    Via,
    Host,
    Expect,
    Upgrade,
    Forwarded,
    XRealIp,
    Connection,
    KeepAlive,
    MaxForwards,
    XRequestId,
    ContentLength,
    XForwardedFor,
    XForwardedHost,
    ProxyConnection,
    TransferEncoding,
    XForwardedProto,
    /// `X-Forwarded-` and something else.
    XForwardedOther,
    /// One of the above written with `_` for `-`: a CGI-like backend cannot tell the two apart, so it never frames
    /// anything here and never goes on in a request.
    Alias,
    Other,
}

/// Which name this is.
#[inline]
pub(crate) fn classify(name: &str) -> Name {
    let name = name.as_bytes();
    let known: &[(&[u8], Name)] = match name.len() {
        2 => &[(b"te", Name::Te)],
        3 => &[(b"via", Name::Via)],
        4 => &[(b"host", Name::Host)],
        6 => &[(b"expect", Name::Expect)],
        7 => &[(b"upgrade", Name::Upgrade)],
        9 => &[(b"x-real-ip", Name::XRealIp), (b"forwarded", Name::Forwarded)],
        10 => &[(b"connection", Name::Connection), (b"keep-alive", Name::KeepAlive)],
        12 => &[(b"x-request-id", Name::XRequestId), (b"max-forwards", Name::MaxForwards)],
        14 => &[(b"content-length", Name::ContentLength)],
        15 => &[(b"x-forwarded-for", Name::XForwardedFor)],
        16 => &[(b"x-forwarded-host", Name::XForwardedHost), (b"proxy-connection", Name::ProxyConnection)],
        17 => &[(b"transfer-encoding", Name::TransferEncoding), (b"x-forwarded-proto", Name::XForwardedProto)],
        0..=12 => return Name::Other,
        _ => &[],
    };
    for (text, what) in known {
        if same_but_for_dashes(name, text) {
            return exactly(name, *what);
        }
    }
    const FAMILY: &[u8] = b"x-forwarded-";
    match name.get(..FAMILY.len()) {
        Some(head) if same_but_for_dashes(head, FAMILY) => exactly(head, Name::XForwardedOther),
        _ => Name::Other,
    }
}

/// None of the known names has a `_`: one that equals it but for dashes, and has one, is an alias of it.
fn exactly(name: &[u8], what: Name) -> Name {
    if name.contains(&b'_') { Name::Alias } else { what }
}

/// Whether two names are equal to whoever turns `-` into `_`, as CGI does (RFC 3875 section 4.1.18).
#[inline]
pub(crate) fn same_but_for_dashes(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(x, y)| FOLDED[usize::from(*x)] == FOLDED[usize::from(*y)])
}

/// Each byte in lower case, and `_` as `-`. A table, since every field of every head is looked at twice.
const FOLDED: [u8; 256] = {
    let mut table = [0; 256];
    let mut b = 0;
    while b < 256 {
        table[b] = if b as u8 == b'_' { b'-' } else { (b as u8).to_ascii_lowercase() };
        b += 1;
    }
    table
};

/// Fields of one hop only, whatever Connection says (RFC 9110 section 7.6.1), and the two that frame.
#[inline]
pub(crate) fn is_hop_by_hop(name: Name) -> bool {
    matches!(
        name,
        Name::Connection
            | Name::KeepAlive
            | Name::ProxyConnection
            | Name::Te
            | Name::Upgrade
            | Name::TransferEncoding
            | Name::ContentLength
    )
}

/// Without the blanks around it: SP and HTAB, nothing else is optional whitespace (RFC 9110 section 5.6.3).
#[inline]
pub(crate) fn trim_ows(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The elements of a list, empty ones too (RFC 9110 section 5.6.1).
#[inline]
pub(crate) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(trim_ows)
}

/// `tchar` of RFC 9110 section 5.6.2.
#[inline]
pub(crate) const fn is_tchar(b: u8) -> bool {
    matches!(b,
        b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.'
        | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// `token` of RFC 9110 section 5.6.2.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().copied().all(is_tchar)
}

/// What a field value may hold: HTAB, SP, visible ASCII, obs-text (RFC 9110 section 5.5).
#[inline]
pub(crate) const fn is_value_byte(b: u8) -> bool {
    b == b'\t' || (b >= b' ' && b != 0x7f)
}

/// Digits only, no sign, no blank, at most `i64::MAX`: Rust's own `parse` would take a leading plus.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let mut value: u64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    (value <= i64::MAX as u64).then_some(value)
}

/// Most options one message's Connection lines may name: each is compared with each field.
pub(crate) const OPTIONS_MAX: usize = 32;

/// What the Connection lines of a message say, joined (RFC 9110 section 7.6.1).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Connection {
    pub close: bool,
    pub keep_alive: bool,
    pub upgrade: bool,
    /// Elements that are not empty.
    pub options: usize,
}

impl Connection {
    /// Adds one line.
    pub fn add(&mut self, value: &[u8]) {
        for option in elements(value) {
            if option.is_empty() {
                continue;
            }
            self.options += 1;
            match option.len() {
                5 if option.eq_ignore_ascii_case(b"close") => self.close = true,
                7 if option.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
                10 if option.eq_ignore_ascii_case(b"keep-alive") => self.keep_alive = true,
                _ => {}
            }
        }
    }
}

/// The fields that Connection names beyond the well-known options: what must not go on.
pub(crate) struct Named<'b> {
    names: [&'b [u8]; OPTIONS_MAX],
    len: usize,
}

impl<'b> Named<'b> {
    /// Collected over all Connection lines: an empty first line must not end the search.
    pub fn of(fields: &[Field<'b>]) -> Self {
        let mut named = Self { names: [&[]; OPTIONS_MAX], len: 0 };
        for field in fields {
            if field.name.len() != 10 || classify(field.name) != Name::Connection {
                continue;
            }
            for option in elements(field.value) {
                let plain = match option.len() {
                    0 => true,
                    5 => option.eq_ignore_ascii_case(b"close"),
                    7 => option.eq_ignore_ascii_case(b"upgrade"),
                    10 => option.eq_ignore_ascii_case(b"keep-alive"),
                    _ => false,
                };
                if plain {
                    continue;
                }
                // A head with more options was refused when it was parsed.
                if let Some(slot) = named.names.get_mut(named.len) {
                    *slot = option;
                    named.len += 1;
                }
            }
        }
        named
    }

    /// Whether Connection names this field.
    #[inline]
    pub fn contains(&self, name: &str) -> bool {
        self.len != 0 && self.names.iter().take(self.len).any(|n| n.eq_ignore_ascii_case(name.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case_and_aliases_are_not_them() {
        assert_eq!(classify("Transfer-Encoding"), Name::TransferEncoding);
        assert_eq!(classify("TRANSFER-ENCODING"), Name::TransferEncoding);
        assert_eq!(classify("transfer_encoding"), Name::Alias);
        assert_eq!(classify("X-Forwarded-Port"), Name::XForwardedOther);
        assert_eq!(classify("X_Forwarded-Port"), Name::Alias);
        assert_eq!(classify("x_real_ip"), Name::Alias);
        assert_eq!(classify("Accept"), Name::Other);
        assert_eq!(classify("X-Auth-User-Of-This-House"), Name::Other);
        assert_eq!(classify(""), Name::Other);
    }

    #[test]
    fn decimal_takes_digits_only_below_two_to_the_63() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"007"), Some(7));
        assert_eq!(decimal(b"9223372036854775807"), Some(i64::MAX as u64));
        for bad in [
            &b""[..],
            b"+5",
            b"-1",
            b" 5",
            b"5 ",
            b"0x5",
            b"5,5",
            b"9223372036854775808",
            b"99999999999999999999",
            b"\xb2",
        ] {
            assert_eq!(decimal(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn only_space_and_tab_are_trimmed() {
        assert_eq!(trim_ows(b" \ta b\t "), b"a b");
        assert_eq!(trim_ows(b"\x0ca\x0b"), b"\x0ca\x0b");
        assert_eq!(trim_ows(b"\xa0"), b"\xa0");
        assert_eq!(trim_ows(b"  "), b"");
    }
}
