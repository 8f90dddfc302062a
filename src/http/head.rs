//! Heads: where one ends, and what it says once the strict reading agrees with every other reading.
//!
//! Not here: how a target and a host look (`target`), what frames a body (`framing`), what goes on (`rebuild`).

mod request;
mod response;
mod scan;

pub use request::{parse_request, uri_too_long};
pub use response::parse_response;
pub use scan::{Scan, empty_lines, scan, scan_response};

use super::framing::{Body, ResponseBody};
use super::names::{Name, decimal};
use super::target;
use super::{Field, Version};

/// What a request head may measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the target; more is 414.
    pub uri_size: usize,
    /// Fields; more is 431.
    pub header_count: usize,
}

/// A request's method: case-sensitive (RFC 9110 section 9.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method<'b> {
    /// GET
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
    /// OPTIONS
    Options,
    /// TRACE
    Trace,
    /// CONNECT
    Connect,
    /// PATCH
    Patch,
    /// Any other token.
    Other(&'b str),
}

impl<'b> Method<'b> {
    /// The method with this name.
    pub fn of(name: &'b str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            "TRACE" => Self::Trace,
            "CONNECT" => Self::Connect,
            "PATCH" => Self::Patch,
            other => Self::Other(other),
        }
    }

    /// As it is written.
    pub fn as_str(self) -> &'b str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Connect => "CONNECT",
            Self::Patch => "PATCH",
            Self::Other(name) => name,
        }
    }

    /// Whether sending it twice means the same as once (RFC 9110 section 9.2.2); an unknown method is not.
    pub fn is_idempotent(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options | Self::Trace | Self::Put | Self::Delete)
    }
}

/// A request head that may go on.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'h, 'b> {
    /// The method.
    pub method: Method<'b>,
    /// The version received.
    pub version: Version,
    /// The path as it is matched and forwarded: without query, `*` for `OPTIONS *`; never empty.
    pub path: &'b [u8],
    /// With its `?`, or empty.
    pub query: &'b [u8],
    /// As written on the request line, for the log.
    pub raw_target: &'b [u8],
    /// The authority as written: the Host field, or absolute-form's, which agrees with it. Empty only in HTTP/1.0
    /// without Host.
    pub host: &'b [u8],
    /// All fields, in order.
    pub fields: &'h [Field<'b>],
    /// What their names are; longer than `fields`.
    pub(super) names: &'h [Name],
    /// How the body is framed.
    pub body: Body,
    /// `Expect: 100-continue`, in HTTP/1.1 and with a body (RFC 9110 section 10.1.1).
    pub expects_continue: bool,
    /// `Upgrade: websocket` on a GET of HTTP/1.1, named by Connection, without a body.
    pub upgrade_websocket: bool,
    /// Connection names no field that could be among the trailers (RFC 9110 section 7.6.1): else all are dropped, as any
    /// recipient may (section 6.5.1), since its list is gone when they come.
    pub trailers_pass: bool,
    /// The client wants, and may have, another exchange on this session (RFC 9112 section 9.3).
    pub keep_alive: bool,
    /// Connection names fields: those do not go on (RFC 9110 section 7.6.1).
    pub names_fields: bool,
}

impl<'h, 'b> RequestHead<'h, 'b> {
    /// The value of the first field of this name.
    pub fn field(&self, name: &str) -> Option<&'b [u8]> {
        self.fields.iter().find(|f| f.name.eq_ignore_ascii_case(name)).map(|f| f.value)
    }

    /// The fields, and what their names are.
    pub(super) fn named_fields(&self) -> impl Iterator<Item = (Name, &'h Field<'b>)> + use<'h, 'b> {
        self.names.iter().copied().zip(self.fields)
    }

    /// The values of this name, in order.
    fn values(&self, wanted: Name) -> impl Iterator<Item = &'b [u8]> {
        self.named_fields().filter(move |(name, _)| *name == wanted).map(|(_, field)| field.value)
    }

    /// X-Request-Id, as the client wrote it.
    pub fn request_id(&self) -> Option<&'b [u8]> {
        self.values(Name::XRequestId).next()
    }

    /// The lines of Via.
    pub fn via(&self) -> impl Iterator<Item = &'b [u8]> {
        self.values(Name::Via)
    }

    /// The host for matching: without port, without the dot of the root. An IPv6 address keeps its brackets.
    pub fn host_name(&self) -> &'b [u8] {
        target::host_name(self.host)
    }

    /// Max-Forwards where it counts: OPTIONS and TRACE (RFC 9110 section 7.6.2). At 0 the router is the last recipient.
    pub fn max_forwards(&self) -> Option<u64> {
        matches!(self.method, Method::Options | Method::Trace)
            .then(|| self.values(Name::MaxForwards).next().and_then(decimal))
            .flatten()
    }
}

/// A response head that may go on.
#[derive(Debug, Clone, Copy)]
pub struct ResponseHead<'h, 'b> {
    /// The version received.
    pub version: Version,
    /// 100 to 599.
    pub status: u16,
    /// The reason as written, or empty.
    pub reason: &'b [u8],
    /// All fields, in order.
    pub fields: &'h [Field<'b>],
    /// What their names are; longer than `fields`.
    pub(super) names: &'h [Name],
    /// How the body is framed.
    pub body: ResponseBody,
    /// As of a request.
    pub trailers_pass: bool,
    /// The backend connection may be kept after this message.
    pub keep_alive: bool,
    /// Connection names fields: those do not go on (RFC 9110 section 7.6.1).
    pub names_fields: bool,
}

impl<'h, 'b> ResponseHead<'h, 'b> {
    /// The value of the first field of this name.
    pub fn field(&self, name: &str) -> Option<&'b [u8]> {
        self.fields.iter().find(|f| f.name.eq_ignore_ascii_case(name)).map(|f| f.value)
    }

    /// The fields, and what their names are.
    pub(super) fn named_fields(&self) -> impl Iterator<Item = (Name, &'h Field<'b>)> + use<'h, 'b> {
        self.names.iter().copied().zip(self.fields)
    }
}
