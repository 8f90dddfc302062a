//! Field names this router knows, and the small grammar that lists and tokens share.
//!
//! Names are told apart by length and first letter: most fields of a head are none of these and are compared with nothing.
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

/// Which name this is. Length and first letter leave at most one to compare with.
#[inline]
pub(crate) fn classify(name: &str) -> Name {
    let name = name.as_bytes();
    let Some(first) = name.first() else { return Name::Other };
    let (text, what): (&[u8], Name) = match (name.len(), FOLDED[usize::from(*first)]) {
        (2, b't') => (b"te", Name::Te),
        (3, b'v') => (b"via", Name::Via),
        (4, b'h') => (b"host", Name::Host),
        (6, b'e') => (b"expect", Name::Expect),
        (7, b'u') => (b"upgrade", Name::Upgrade),
        (9, b'f') => (b"forwarded", Name::Forwarded),
        (9, b'x') => (b"x-real-ip", Name::XRealIp),
        (10, b'c') => (b"connection", Name::Connection),
        (10, b'k') => (b"keep-alive", Name::KeepAlive),
        (12, b'm') => (b"max-forwards", Name::MaxForwards),
        (12, b'x') => (b"x-request-id", Name::XRequestId),
        (14, b'c') => (b"content-length", Name::ContentLength),
        (15, b'x') => (b"x-forwarded-for", Name::XForwardedFor),
        (16, b'p') => (b"proxy-connection", Name::ProxyConnection),
        (16, b'x') => (b"x-forwarded-host", Name::XForwardedHost),
        (17, b't') => (b"transfer-encoding", Name::TransferEncoding),
        (17, b'x') => (b"x-forwarded-proto", Name::XForwardedProto),
        (13.., b'x') => return forwarding_family(name),
        _ => return Name::Other,
    };
    compared(name, text, what)
}

/// What a name is that begins like a known one and is as long.
fn compared(name: &[u8], text: &[u8], what: Name) -> Name {
    if same_but_for_case(name, text) {
        what
    } else if same_but_for_dashes(name, text) {
        // None of the known names has a `_`: this one has.
        Name::Alias
    } else {
        forwarding_family(name)
    }
}

/// `X-Forwarded-` and what is none of the names above.
fn forwarding_family(name: &[u8]) -> Name {
    const FAMILY: &[u8] = b"x-forwarded-";
    match name.get(..FAMILY.len()) {
        Some(head) if same_but_for_case(head, FAMILY) => Name::XForwardedOther,
        Some(head) if same_but_for_dashes(head, FAMILY) => Name::Alias,
        _ => Name::Other,
    }
}

/// As `eq_ignore_ascii_case` for two of the same length, of which the second has no capital: eight bytes at a time.
#[inline]
fn same_but_for_case(name: &[u8], text: &[u8]) -> bool {
    let (Some(name_end), Some(text_end)) = (name.last_chunk::<8>(), text.last_chunk::<8>()) else {
        return name.eq_ignore_ascii_case(text);
    };
    let same = |a: &[u8; 8], b: &[u8; 8]| lower_case(*a) == u64::from_le_bytes(*b);
    // The last word may overlap the one before.
    same(name_end, text_end) && name.as_chunks().0.iter().zip(text.as_chunks().0).all(|(a, b)| same(a, b))
}

/// Eight bytes, the letters among them in lower case.
#[inline]
fn lower_case(word: [u8; 8]) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let word = u64::from_le_bytes(word);
    let low = word & (ONES * 0x7f);
    // The high bit of each sum: at least `A`, over `Z`. No carry leaves its byte.
    let from_a = low.wrapping_add(ONES * (0x80 - b'A' as u64));
    let over_z = low.wrapping_add(ONES * (0x7f - b'Z' as u64));
    word | ((from_a & !over_z & !word & (ONES * 0x80)) >> 2)
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
    /// There are others than the three above: fields that must not go on.
    pub names_fields: bool,
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
                _ => self.names_fields = true,
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
        self.names.iter().take(self.len).any(|n| n.eq_ignore_ascii_case(name.as_bytes()))
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
