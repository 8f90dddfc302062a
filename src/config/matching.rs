//! What a route asks of a request, from text: hosts, paths, methods, fields, and the prefix to strip.
//!
//! Not here: matching itself. A pattern that could never match is a mistake, not a pattern.

use super::diagnostics::{Fault, quoted};
use super::headers::{field, is_token};
use super::model::{HeaderPattern, HostPattern, PathPattern};

/// The methods of RFC 9110 and PATCH: written in lower case one of these is a slip.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// `example.com` or `*.example.com`
pub fn host(text: &str) -> Result<HostPattern, Fault> {
    if text == "*" {
        return Err(Fault::whole(text, "`*` is not a host").help("without `host` a route takes every host".to_owned()));
    }
    let (name, offset, is_suffix) = match text.strip_prefix("*.") {
        Some(name) => (name, 2, true),
        None => (text, 0, false),
    };
    let fault = |what: String| Fault::part(offset..text.len(), what);
    if let Some(inner) = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        return match inner.parse::<std::net::Ipv6Addr>() {
            Ok(_) => Ok(HostPattern::Exact(text.to_ascii_lowercase())),
            Err(_) => Err(Fault::whole(text, format!("{} is not an IPv6 address", quoted(inner)))),
        };
    }
    if let Some((host, port)) = name.rsplit_once(':')
        && !host.is_empty()
        && port.bytes().all(|b| b.is_ascii_digit())
    {
        let at = offset + host.len()..text.len();
        return Err(
            Fault::part(at, "a host is compared without its port").help(format!("did you mean {}?", quoted(host)))
        );
    }
    if name.contains('*') {
        return Err(fault("`*` stands only at the front of a host, as in `*.example.com`".to_owned()));
    }
    if !name.is_ascii() {
        return Err(fault(format!("{} is not ASCII", quoted(name))).help("write the xn-- form of it".to_owned()));
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if name.len() > 253 || !name.split('.').all(is_label) {
        return Err(fault(format!("{} is not a host", quoted(name))).help(one_a_line(name)));
    }
    let name = name.to_ascii_lowercase();
    Ok(if is_suffix { HostPattern::Suffix(format!(".{name}")) } else { HostPattern::Exact(name) })
}

/// `/exact` or `/prefix/*`
pub fn path(text: &str) -> Result<PathPattern, Fault> {
    let (path, is_prefix) = match text.strip_suffix("/*") {
        Some(path) => (path, true),
        None => (text, false),
    };
    if !text.starts_with('/') {
        return Err(Fault::whole(text, "a path begins with `/`"));
    }
    if let Some(at) = path.find('*') {
        let what = "`*` stands only at the end of a path, as in `/v1/*`";
        return Err(Fault::part(at..at + 1, what));
    }
    path_bytes(path)?;
    Ok(if is_prefix { PathPattern::Prefix(path.to_owned()) } else { PathPattern::Exact(path.to_owned()) })
}

/// `/v1`
pub fn prefix(text: &str) -> Result<String, Fault> {
    if !text.starts_with('/') {
        return Err(Fault::whole(text, "`strip_prefix` begins with `/`"));
    }
    if let Some(shorter) = text.strip_suffix("/*").or_else(|| text.strip_suffix('/')) {
        let help = (!shorter.is_empty()).then(|| format!("did you mean {}?", quoted(shorter)));
        return Err(Fault::whole(text, "`strip_prefix` does not end in `/` or `/*`").help(help));
    }
    path_bytes(text)?;
    Ok(text.to_owned())
}

/// Whether all that a pattern matches begins with the prefix, as whole segments.
pub fn lies_under(pattern: &PathPattern, prefix: &str) -> bool {
    let (PathPattern::Exact(path) | PathPattern::Prefix(path)) = pattern;
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// `GET`
pub fn method(text: &str) -> Result<String, Fault> {
    if !is_token(text) {
        return Err(Fault::whole(text, format!("{} is not a method", quoted(text))).help(one_a_line(text)));
    }
    let upper = text.to_ascii_uppercase();
    if text != upper && METHODS.contains(&upper.as_str()) {
        return Err(Fault::whole(text, format!("{} matches nothing: methods are upper case", quoted(text)))
            .help(format!("did you mean `{upper}`?")));
    }
    Ok(text.to_owned())
}

/// `Name` or `Name: value`
pub fn header(text: &str) -> Result<HeaderPattern, Fault> {
    match text.contains(':') {
        true => {
            field(text).map(|field| HeaderPattern { name: field.name.to_owned(), value: Some(field.value.to_owned()) })
        }
        false if is_token(text) => Ok(HeaderPattern { name: text.to_owned(), value: None }),
        false => {
            Err(Fault::whole(text, "this is not the name of a field").help("write `Name` or `Name: value`".to_owned()))
        }
    }
}

/// Bytes that a request's path can have.
fn path_bytes(path: &str) -> Result<(), Fault> {
    if let Some((at, c)) = path.char_indices().find(|(_, c)| !c.is_ascii_graphic() || matches!(c, '?' | '#')) {
        let what = match c {
            '?' => "the query is not part of a path".to_owned(),
            '#' => "`#` cannot be in a path".to_owned(),
            c if c.is_ascii() => "a path has no spaces".to_owned(),
            c => format!("{} has to be percent-encoded", quoted(&c.to_string())),
        };
        return Err(Fault::part(at..at + c.len_utf8(), what).help(one_a_line(path)));
    }
    let mut at = 0;
    for segment in path.split('/') {
        let plain = segment.to_ascii_lowercase().replace("%2e", ".");
        if plain == "." || plain == ".." {
            let what = format!("{} never matches: a path with a dot segment is 400", quoted(segment));
            return Err(Fault::part(at..at + segment.len(), what));
        }
        at += segment.len() + 1;
    }
    Ok(())
}

fn one_a_line(text: &str) -> Option<String> {
    text.contains([',', ' ', '\t', '|']).then(|| "repeat the key for alternatives, one a line".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        assert_eq!(host("Example.COM."), Ok(HostPattern::Exact("example.com".to_owned())));
        assert_eq!(host("*.a.b"), Ok(HostPattern::Suffix(".a.b".to_owned())));
        assert_eq!(host("[::1]"), Ok(HostPattern::Exact("[::1]".to_owned())));
        for bad in ["*", "*.", "a.*", "**.a", "a:80", "a b", "a,b", "", "é.fr", "http://a", "a/b", "[x]"] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths() {
        assert_eq!(path("/v1/*"), Ok(PathPattern::Prefix("/v1".to_owned())));
        assert_eq!(path("/*"), Ok(PathPattern::Prefix(String::new())));
        assert_eq!(path("/"), Ok(PathPattern::Exact("/".to_owned())));
        for bad in ["v1", "*", "/v1*", "/*/x", "/a?b", "/a#b", "/a b", "/é", "/a/../b", "/.", "/%2E%2e/x"] {
            assert!(path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pattern_lies_under_a_prefix_by_segments() {
        let under = |pattern, prefix| path(pattern).is_ok_and(|pattern| lies_under(&pattern, prefix));
        assert!(under("/v1/*", "/v1"));
        assert!(under("/v1", "/v1"));
        assert!(under("/v1/a", "/v1"));
        assert!(!under("/v10", "/v1"));
        assert!(!under("/*", "/v1"));
        assert!(prefix("/v1").is_ok());
        assert!(prefix("/").is_err() && prefix("/v1/").is_err() && prefix("v1").is_err());
    }

    #[test]
    fn methods_and_fields() {
        assert!(method("GET").is_ok() && method("purge").is_ok());
        assert!(method("get").is_err() && method("GET, POST").is_err());
        assert_eq!(header("X-A"), Ok(HeaderPattern { name: "X-A".to_owned(), value: None }));
        assert_eq!(header("X-A:  b "), Ok(HeaderPattern { name: "X-A".to_owned(), value: Some("b".to_owned()) }));
        assert!(header("X A").is_err() && header(": b").is_err());
    }
}
