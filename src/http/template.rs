//! Values with placeholders, parsed once when the configuration is read.
//!
//! Not here: what a placeholder stands for in a request; `Values` is made by the caller, and its bytes are already known
//! to be harmless in a field: nothing is decoded or escaped on the way out.

use std::fmt;

use super::Sink;
use super::forwarded::Peer;

/// A text with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Segment>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Placeholder(Placeholder),
}

/// What stands in braces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholder {
    /// `{host}`: the authority as received, with its port.
    Host,
    /// `{uri}`: path and query as received.
    Uri,
    /// `{path}`: the path as received.
    Path,
    /// `{client_ip}`
    ClientIp,
    /// `{scheme}`
    Scheme,
    /// `{request_id}`
    RequestId,
}

/// The names that may stand in braces, in the order of [`Placeholder`].
pub const PLACEHOLDERS: &[&str] = &["host", "uri", "path", "client_ip", "scheme", "request_id"];

impl Placeholder {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "host" => Self::Host,
            "uri" => Self::Uri,
            "path" => Self::Path,
            "client_ip" => Self::ClientIp,
            "scheme" => Self::Scheme,
            "request_id" => Self::RequestId,
            _ => return None,
        })
    }

    /// Its name, without braces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Uri => "uri",
            Self::Path => "path",
            Self::ClientIp => "client_ip",
            Self::Scheme => "scheme",
            Self::RequestId => "request_id",
        }
    }
}

/// What the placeholders of one request stand for.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// As received, with port.
    pub host: &'a [u8],
    /// The path as received.
    pub uri: &'a [u8],
    /// With its `?`, or empty.
    pub query: &'a [u8],
    /// Who asks.
    pub client: Peer,
    /// `http`
    pub scheme: &'a str,
    /// The id of this request.
    pub request_id: &'a [u8],
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// Byte offset into the text.
    pub at: usize,
    /// What is wrong there.
    pub what: String,
    /// The unknown placeholder, or empty: for "did you mean".
    pub name: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for TemplateError {}

impl Template {
    /// Reads a text: `{name}` is a placeholder, `{{` and `}}` are braces, control characters are refused (they would
    /// end a field).
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let error =
            |at, what: &str, name: &str| Err(TemplateError { at, what: what.to_owned(), name: name.to_owned() });
        let mut segments = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let at = text.len() - rest.len();
            if let Some(after) = rest.strip_prefix("{{").or_else(|| rest.strip_prefix("}}")) {
                literal.push(c);
                rest = after;
            } else if let Some(inner) = rest.strip_prefix('{') {
                let Some((name, after)) = inner.split_once('}') else {
                    return error(at, "`{` without its `}`; a brace itself is written `{{`", "");
                };
                let Some(placeholder) = Placeholder::of(name) else {
                    return error(at, &format!("there is no placeholder `{{{name}}}`"), name);
                };
                if !literal.is_empty() {
                    segments.push(Segment::Literal(std::mem::take(&mut literal)));
                }
                segments.push(Segment::Placeholder(placeholder));
                rest = after;
            } else if c == '}' {
                return error(at, "`}` without its `{`; a brace itself is written `}}`", "");
            } else if c.is_ascii_control() && c != '\t' {
                return error(at, "a control character", "");
            } else {
                literal.push(c);
                rest = rest.get(c.len_utf8()..).unwrap_or_default();
            }
        }
        if !literal.is_empty() {
            segments.push(Segment::Literal(literal));
        }
        Ok(Self(segments))
    }

    /// Writes the text with its placeholders filled in.
    pub fn put<S: Sink>(&self, values: &Values<'_>, out: &mut S) -> Result<(), S::Error> {
        for segment in &self.0 {
            match segment {
                Segment::Literal(text) => out.put(text.as_bytes())?,
                Segment::Placeholder(Placeholder::Host) => out.put(values.host)?,
                Segment::Placeholder(Placeholder::Uri) => {
                    out.put(values.uri)?;
                    out.put(values.query)?;
                }
                Segment::Placeholder(Placeholder::Path) => out.put(values.uri)?,
                Segment::Placeholder(Placeholder::ClientIp) => values.client.put(out)?,
                Segment::Placeholder(Placeholder::Scheme) => out.put(values.scheme.as_bytes())?,
                Segment::Placeholder(Placeholder::RequestId) => out.put(values.request_id)?,
            }
        }
        Ok(())
    }

    /// The text, if it has no placeholder.
    pub fn is_literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Segment::Literal(text)] => Some(text),
            _ => None,
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.0 {
            match segment {
                Segment::Literal(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}"))?,
                Segment::Placeholder(placeholder) => write!(f, "{{{}}}", placeholder.name())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn filled(text: &str) -> String {
        let values = Values {
            host: b"a.example:80",
            uri: b"/p",
            query: b"?q",
            client: Peer::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            scheme: "http",
            request_id: b"id-1",
        };
        let mut out = Vec::new();
        Template::parse(text).unwrap().put(&values, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_placeholder_is_filled_in() {
        let text = PLACEHOLDERS.iter().map(|p| format!("{{{p}}}")).collect::<Vec<_>>().join(" ");
        assert_eq!(filled(&text), "a.example:80 /p?q /p 127.0.0.1 http id-1");
        for name in PLACEHOLDERS {
            assert_eq!(Placeholder::of(name).map(Placeholder::name), Some(*name));
        }
    }

    #[test]
    fn doubled_braces_are_braces() {
        assert_eq!(filled("{{host}} }}{{ {{{host}}}"), "{host} }{ {a.example:80}");
    }

    #[test]
    fn a_template_is_shown_as_it_was_written() {
        for text in ["", "plain", "https://{host}{uri}", "{{x}} {path}", "a\tb é"] {
            let template = Template::parse(text).unwrap();
            assert_eq!(template.to_string(), text);
            assert_eq!(Template::parse(&template.to_string()), Ok(template));
        }
    }

    #[test]
    fn a_text_without_placeholder_is_literal() {
        assert_eq!(Template::parse("").unwrap().is_literal(), Some(""));
        assert_eq!(Template::parse("a {{b}}").unwrap().is_literal(), Some("a {b}"));
        assert_eq!(Template::parse("{host}").unwrap().is_literal(), None);
    }

    #[test]
    fn mistakes_are_named_and_placed() {
        for (text, at, name) in [
            ("a {hst}", 2, "hst"),
            ("{}", 0, ""),
            ("{ host}", 0, " host"),
            ("a {host", 2, ""),
            ("é}", 2, ""),
            ("{host}}", 6, ""),
            ("a\nb", 1, ""),
            ("a\r", 1, ""),
            ("\0", 0, ""),
            ("\x7f", 0, ""),
        ] {
            let error = Template::parse(text).unwrap_err();
            assert_eq!((error.at, error.name.as_str()), (at, name), "{text:?}: {error}");
            assert!(!error.what.is_empty());
        }
    }
}
