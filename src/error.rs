//! Why an exchange or a session ended: one closed list, each with its side, its status and its sentence.
//!
//! A reason is data. It goes into the log and the access log as a token, into an answer as a sentence, and into the
//! counters by its name; nothing else decides what the client is told.

use crate::http::Refusal;

/// Who is the cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Who asked.
    Client,
    /// Who was to answer.
    Backend,
    /// We: a limit, a missing route, a stop.
    Router,
}

/// Why it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The exchange is complete.
    Done,
    /// The router answered instead of a backend, and says why.
    Refused(Refusal),
    /// No route matched.
    NoRoute,
    /// Only the method failed.
    MethodNotAllowed,
    /// The listen or the route does not serve this client (`deny`, or not among `allow`).
    Denied,
    /// The client asks more often than the listen or the route takes (`requests_per_second`).
    RateLimited,
    /// The client closed or reset in the middle of an exchange.
    ClientGone,
    /// The request body stopped coming (`timeouts.body`).
    ClientBodyLate,
    /// The client took nothing of its answer (`timeouts.send`).
    ClientNotReading,
    /// The client was below the minimum for too long (`limits.client_rate_min`).
    ClientTooSlow,
    /// Every backend tried refused or reset the connection.
    BackendRefused,
    /// No backend took the connection in time (`timeouts.connect`).
    ConnectLate,
    /// The backend closed before its answer was begun.
    BackendClosed,
    /// The backend sent something that is not an HTTP answer.
    BadAnswer(&'static str),
    /// The response head was late (`timeouts.response`).
    ResponseLate,
    /// The backend took nothing of the request (`timeouts.send`).
    BackendNotReading,
    /// The answer broke off in the middle.
    AnswerCut,
    /// The answer stopped coming (`timeouts.body`).
    AnswerStalled,
    /// It took longer than it may, whatever was waited for (`timeouts.exchange`).
    ExchangeLate,
    /// All backends of the pool have weight 0 or do not resolve.
    NoBackend,
    /// No descriptor for a connection to a backend.
    NoDescriptor,
    /// No local address or free port for a connection to any backend.
    NoPort,
    /// A tunnel without a byte either way (`timeouts.tunnel`).
    TunnelIdle,
    /// Stopped while it ran: the drain time was over, or a second signal came.
    Stopped,
    /// A fault of ours; it cost this exchange only.
    Panic,
}

impl CloseReason {
    /// One word for logs.
    pub fn token(self) -> &'static str {
        match self {
            Self::Done => "ok",
            Self::Refused(_) => "refused",
            Self::NoRoute => "no_route",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Denied => "denied",
            Self::RateLimited => "rate_limited",
            Self::ClientGone => "client_gone",
            Self::ClientBodyLate => "client_body_late",
            Self::ClientNotReading => "client_not_reading",
            Self::ClientTooSlow => "client_too_slow",
            Self::BackendRefused => "backend_refused",
            Self::ConnectLate => "connect_late",
            Self::BackendClosed => "backend_closed",
            Self::BadAnswer(_) => "bad_answer",
            Self::ResponseLate => "response_late",
            Self::BackendNotReading => "backend_not_reading",
            Self::AnswerCut => "answer_cut",
            Self::AnswerStalled => "answer_stalled",
            Self::ExchangeLate => "exchange_late",
            Self::NoBackend => "no_backend",
            Self::NoDescriptor => "no_descriptor",
            Self::NoPort => "no_port",
            Self::TunnelIdle => "tunnel_idle",
            Self::Stopped => "stopped",
            Self::Panic => "panic",
        }
    }

    /// What a person is told.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Done => "the exchange is complete",
            Self::Refused(refusal) => refusal.why,
            Self::NoRoute => "no route matches this request",
            Self::MethodNotAllowed => "the route does not take this method",
            Self::Denied => "this address is not served here",
            Self::RateLimited => "more requests came from this address than are served",
            Self::ClientGone => "the client closed before the exchange was complete",
            Self::ClientBodyLate => "the request body stopped coming",
            Self::ClientNotReading => "the client took nothing of its answer for too long",
            Self::ClientTooSlow => "the client was slower than this server waits for",
            Self::BackendRefused => "no backend accepted a connection",
            Self::ConnectLate => "no backend accepted a connection in time",
            Self::BackendClosed => "the backend closed the connection before it answered",
            Self::BadAnswer(why) => why,
            Self::ResponseLate => "the backend did not answer in time",
            Self::BackendNotReading => "the backend took nothing of the request for too long",
            Self::AnswerCut => "the backend's answer broke off",
            Self::AnswerStalled => "the backend's answer stopped coming",
            Self::ExchangeLate => "the exchange took longer than it may",
            Self::NoBackend => "the pool has no usable backend",
            Self::NoDescriptor => "the router is out of descriptors",
            Self::NoPort => "the router has no address or free port towards any backend",
            Self::TunnelIdle => "nothing passed through the tunnel for too long",
            Self::Stopped => "the router stopped",
            Self::Panic => "a fault in the router ended the exchange",
        }
    }

    /// Who is the cause.
    pub fn side(self) -> Side {
        match self {
            Self::Refused(_)
            | Self::ClientGone
            | Self::ClientBodyLate
            | Self::ClientNotReading
            | Self::ClientTooSlow => Side::Client,
            Self::BackendRefused
            | Self::ConnectLate
            | Self::BackendClosed
            | Self::BadAnswer(_)
            | Self::ResponseLate
            | Self::BackendNotReading
            | Self::AnswerCut
            | Self::AnswerStalled
            | Self::ExchangeLate => Side::Backend,
            Self::Done
            | Self::NoRoute
            | Self::MethodNotAllowed
            | Self::Denied
            | Self::RateLimited
            | Self::NoBackend
            | Self::NoDescriptor
            | Self::NoPort
            | Self::TunnelIdle
            | Self::Stopped
            | Self::Panic => Side::Router,
        }
    }

    /// The status of the router's own answer, when the client has had none. 499 is only written to the log.
    pub fn status(self) -> u16 {
        match self {
            Self::Done => 200,
            Self::Refused(refusal) => refusal.status,
            Self::NoRoute => 404,
            Self::MethodNotAllowed => 405,
            Self::Denied => 403,
            Self::RateLimited => 429,
            Self::ClientGone | Self::ClientNotReading => 499,
            Self::ClientBodyLate | Self::ClientTooSlow => 408,
            Self::BackendRefused | Self::BackendClosed | Self::BadAnswer(_) | Self::AnswerCut => 502,
            Self::NoBackend | Self::NoDescriptor | Self::NoPort | Self::Stopped => 503,
            Self::ConnectLate
            | Self::ResponseLate
            | Self::BackendNotReading
            | Self::AnswerStalled
            | Self::ExchangeLate
            | Self::TunnelIdle => 504,
            Self::Panic => 500,
        }
    }

    /// Whether the client can still be told: it is there, and the way to it is open.
    pub fn can_be_told(self) -> bool {
        !matches!(self, Self::ClientGone | Self::ClientNotReading)
    }
}
