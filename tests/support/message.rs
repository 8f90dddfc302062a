//! Heads and messages as a strict reader sees them. A byte that RFC 9112 does not allow fails the test that met it.

use super::shown;

/// The fields of a head or the trailers of a body, in order; bytes above 0x7f are kept as U+0080 to U+00FF.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// The one value of `name`; two of them fail.
    #[track_caller]
    pub fn get(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} came {} times: {all:?}", all.len());
        all.first().copied()
    }

    /// Every value of `name`, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    /// Whether `name` is there at all.
    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// Reads lines up to the end of `bytes`, which must end with the CRLF of the last line.
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut fields = Vec::new();
        for line in lines(bytes)? {
            let colon = line.iter().position(|&b| b == b':').ok_or_else(|| format!("no colon in {}", shown(line)))?;
            let (name, value) = (&line[..colon], &line[colon + 1..]);
            if name.is_empty() || !name.iter().all(|&b| is_token(b)) {
                return Err(format!("bad field name in {}", shown(line)));
            }
            let value = value.trim_ascii();
            if value.iter().any(|&b| (b < 0x20 && b != b'\t') || b == 0x7f) {
                return Err(format!("control byte in {}", shown(line)));
            }
            fields.push((latin1(name), latin1(value)));
        }
        Ok(Self(fields))
    }
}

/// How the end of a body was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyEnd {
    /// The message cannot have one.
    NoBody,
    /// `Content-Length`
    Length(u64),
    /// `Transfer-Encoding: chunked`
    Chunked,
    /// The sender closes.
    Close,
}

/// A request as an origin received it.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub fields: Fields,
    pub end: BodyEnd,
    pub body: Vec<u8>,
    pub trailers: Fields,
    /// The head as it came.
    pub raw_head: Vec<u8>,
}

impl Request {
    /// Parses a whole head, final empty line included; the body is still to be read.
    pub fn parse(head: &[u8]) -> Result<Self, String> {
        let (start, fields) = split(head)?;
        let words: Vec<&str> = start.split(' ').collect();
        let [method, target, "HTTP/1.1"] = words[..] else {
            return Err(format!("bad request line {start:?}"));
        };
        if method.is_empty() || !method.bytes().all(is_token) {
            return Err(format!("bad method in {start:?}"));
        }
        if !(target.starts_with('/') || target == "*") || !target.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
            return Err(format!("bad target in {start:?}"));
        }
        if fields.all("Host").len() != 1 {
            return Err(format!("{} Host fields", fields.all("Host").len()));
        }
        let end = match declared(&fields)? {
            Some(end) => end,
            None => BodyEnd::NoBody,
        };
        Ok(Self {
            method: method.to_owned(),
            target: target.to_owned(),
            fields,
            end,
            body: Vec::new(),
            trailers: Fields::default(),
            raw_head: head.to_vec(),
        })
    }

    /// `GET /a`: what most scripts want to know first.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}

/// A response as a client received it.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub reason: String,
    pub fields: Fields,
    pub end: BodyEnd,
    pub body: Vec<u8>,
    pub trailers: Fields,
    /// The head as it came.
    pub raw_head: Vec<u8>,
}

impl Response {
    /// Parses a whole head that answers `method`.
    pub fn parse(head: &[u8], method: &str) -> Result<Self, String> {
        let (start, fields) = split(head)?;
        let rest = start.strip_prefix("HTTP/1.1 ").ok_or_else(|| format!("bad status line {start:?}"))?;
        let (code, reason) = rest.split_once(' ').ok_or_else(|| format!("bad status line {start:?}"))?;
        let status = match code.parse::<u16>() {
            Ok(n) if code.len() == 3 && n >= 100 => n,
            _ => return Err(format!("bad status in {start:?}")),
        };
        let declared = declared(&fields)?;
        let end = if method == "HEAD" || status < 200 || status == 204 || status == 304 {
            if (status < 200 || status == 204) && declared.is_some() {
                return Err(format!("a {status} with a body length"));
            }
            BodyEnd::NoBody
        } else {
            declared.unwrap_or(BodyEnd::Close)
        };
        Ok(Self {
            status,
            reason: reason.to_owned(),
            fields,
            end,
            body: Vec::new(),
            trailers: Fields::default(),
            raw_head: head.to_vec(),
        })
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether the sender said that it closes after this.
    pub fn says_close(&self) -> bool {
        self.fields.all("Connection").iter().any(|v| v.split(',').any(|t| t.trim().eq_ignore_ascii_case("close")))
    }
}

/// `size` of a chunk line, without its CRLF: hex digits only, no extension (the router is to re-frame).
pub fn chunk_size(line: &[u8]) -> Result<usize, String> {
    let text = std::str::from_utf8(line).unwrap_or("");
    if text.is_empty() || text.len() > 15 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(format!("bad chunk line {}", shown(line)));
    }
    usize::from_str_radix(text, 16).map_err(|e| e.to_string())
}

/// Trailer lines, each with its CRLF, without the final empty line.
pub fn trailers(bytes: &[u8]) -> Result<Fields, String> {
    Fields::parse(bytes)
}

/// A whole answer with a `Content-Length`.
pub fn reply(status: u16, fields: &[&str], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut out = format!("HTTP/1.1 {status} Scripted\r\nContent-Length: {}\r\n", body.len()).into_bytes();
    for field in fields {
        out.extend_from_slice(field.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    out
}

/// `body` in chunks of `size` bytes, with `trailers` (each line without CRLF) and the end.
pub fn chunked(body: &[u8], size: usize, trailers: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in body.chunks(size) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n");
    for line in trailers {
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

fn split(head: &[u8]) -> Result<(String, Fields), String> {
    let head = head.strip_suffix(b"\r\n").ok_or("head without its end")?;
    let start = *lines(head)?.first().ok_or("empty head")?;
    Ok((latin1(start), Fields::parse(&head[start.len() + 2..])?))
}

/// What the fields declare: at most one of the two ways, said once.
fn declared(fields: &Fields) -> Result<Option<BodyEnd>, String> {
    let (lengths, codings) = (fields.all("Content-Length"), fields.all("Transfer-Encoding"));
    match (&lengths[..], &codings[..]) {
        ([], []) => Ok(None),
        ([length], []) if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {
            length.parse().map(|n| Some(BodyEnd::Length(n))).map_err(|e| e.to_string())
        }
        ([], ["chunked"]) => Ok(Some(BodyEnd::Chunked)),
        _ => Err(format!("ambiguous framing: lengths {lengths:?}, codings {codings:?}")),
    }
}

/// Lines that each end with CRLF; a CR or LF on its own is an error.
fn lines(bytes: &[u8]) -> Result<Vec<&[u8]>, String> {
    let mut rest = bytes;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let at = rest.windows(2).position(|w| w == b"\r\n").ok_or_else(|| format!("no CRLF in {}", shown(rest)))?;
        if rest[..at].iter().any(|&b| b == b'\r' || b == b'\n' || b == 0) {
            return Err(format!("bare CR, LF or NUL in {}", shown(&rest[..at])));
        }
        found.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    Ok(found)
}

fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| char::from(b)).collect()
}
