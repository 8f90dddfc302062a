//! Every section and key there is, in one table: reading, suggestions, `config` and the shipped file use these rows.
//!
//! Not here: how a value is read (`units`, `address`, `matching`, `headers`), what it becomes (`build`).

/// What stands between `[` and `:` or `]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SectionKind {
    /// `[server]`
    Server,
    /// `[timeouts]`
    Timeouts,
    /// `[limits]`
    Limits,
    /// `[log]`
    Log,
    /// `[listen:NAME]`
    Listen,
    /// `[route:NAME]`
    Route,
    /// `[pool:NAME]`
    Pool,
}

impl SectionKind {
    /// All, in the order of the table.
    pub const ALL: [Self; 7] =
        [Self::Server, Self::Timeouts, Self::Limits, Self::Log, Self::Listen, Self::Route, Self::Pool];

    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Timeouts => "timeouts",
            Self::Limits => "limits",
            Self::Log => "log",
            Self::Listen => "listen",
            Self::Route => "route",
            Self::Pool => "pool",
        }
    }

    /// Whether `:NAME` follows.
    pub fn is_named(self) -> bool {
        matches!(self, Self::Listen | Self::Route | Self::Pool)
    }

    /// `[server]`, `[pool:NAME]`
    pub fn title(self) -> &'static str {
        match self {
            Self::Server => "[server]",
            Self::Timeouts => "[timeouts]",
            Self::Limits => "[limits]",
            Self::Log => "[log]",
            Self::Listen => "[listen:NAME]",
            Self::Route => "[route:NAME]",
            Self::Pool => "[pool:NAME]",
        }
    }

    /// Its rows.
    pub fn keys(self) -> impl Iterator<Item = &'static Key> {
        KEYS.iter().copied().filter(move |key| key.section == self)
    }
}

/// What a value is made of, and its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A number without a unit.
    Count {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A number without a unit; `0` is no limit.
    CountOrNone {
        /// The most.
        max: u64,
    },
    /// Bytes, with a unit.
    Size {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// Bytes, with a unit; `0` is no limit.
    SizeOrNone {
        /// The most.
        max: u64,
    },
    /// A time, with a unit.
    Duration {
        /// The least, in milliseconds.
        min_ms: u64,
        /// The most, in milliseconds.
        max_ms: u64,
    },
    /// A time, with a unit; `0` is no limit.
    DurationOrNone {
        /// The most, in milliseconds.
        max_ms: u64,
    },
    /// Permission bits in octal.
    Mode,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A path.
    File,
    /// A user of the system.
    User,
    /// A group of the system.
    Group,
    /// One of these words, or a path.
    FileOr(&'static [&'static str]),
    /// The name of a section of this kind.
    Reference(SectionKind),
    /// Where to listen.
    Address,
    /// Whom to trust.
    Network,
    /// Whom to serve: all keys of this kind in a section are one list, in the order of the file.
    Admission,
    /// How often a client may ask.
    Rate,
    /// A host pattern.
    Host,
    /// A path pattern.
    Path,
    /// A method.
    Method,
    /// `Name` or `Name: value`.
    Header,
    /// A path prefix.
    Prefix,
    /// `Name: value` with placeholders.
    RequestField,
    /// `Name: value`, literal.
    ResponseField,
    /// The name of a request field.
    RequestFieldName,
    /// The name of a response field.
    ResponseFieldName,
    /// `CODE URL`
    Redirect,
    /// `CODE "text"`
    Respond,
    /// An address and its weight.
    Backend,
}

impl Kind {
    /// Whether a secret may stand in a value: then no message repeats it.
    pub fn may_hold_secret(self) -> bool {
        self.is_free_text() || self == Self::Redirect
    }

    /// Whether ` #` or quotes in a value can be meant: then they belong to it without a question.
    pub fn is_free_text(self) -> bool {
        matches!(self, Self::Header | Self::RequestField | Self::ResponseField | Self::Respond)
    }
}

/// One row.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// Where it stands.
    pub section: SectionKind,
    /// As it is written.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// Whether it may be repeated.
    pub list: bool,
    /// What holds when it is not given; `None`: nothing does.
    pub default: Option<&'static str>,
    /// A value to show where there is no default.
    pub example: &'static str,
    /// One line.
    pub doc: &'static str,
}

impl Key {
    /// The default, or the example.
    pub fn shown_value(&self) -> &'static str {
        self.default.unwrap_or(self.example)
    }
}

/// The one key that stands before every section: `include = conf.d/*.ini`.
pub const INCLUDE: &str = "include";

const SECOND: u64 = 1000;
const HOUR: u64 = 3600 * SECOND;
const DAY: u64 = 24 * HOUR;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// No timeout is zero, and only tunnels live longer than a day.
const TIMEOUT: Kind = Kind::Duration { min_ms: 1, max_ms: DAY };

/// Makes a static of every row, so that code names rows and not strings, and the list of all of them.
macro_rules! keys {
    ($($id:ident: $section:ident $name:literal $kind:expr, $many:ident, $default:expr, $example:literal, $doc:literal;)*) => {
        $(
            #[doc = $doc]
            pub static $id: Key = Key {
                section: SectionKind::$section,
                name: $name,
                kind: $kind,
                list: keys!(@ $many),
                default: $default,
                example: $example,
                doc: $doc,
            };
        )*
        /// Every row, in the order in which they are shown.
        pub static KEYS: &[&Key] = &[$(&$id),*];
    };
    (@ once) => { false };
    (@ list) => { true };
}

keys! {
    WORKERS: Server "workers" Kind::Count { min: 1, max: 16384 }, once, Some("256"), "",
        "The one capacity number: two threads and two slices each (restart).";
    QUEUE: Server "queue" Kind::Count { min: 1, max: 1_048_576 }, once, Some("1024"), "",
        "Sessions that may wait for a worker (restart).";
    SLICE_SIZE: Server "slice_size" Kind::Size { min: 4 * KIB, max: MIB }, once, Some("256k"), "",
        "Bytes of one slice; a head must fit in it (restart).";
    DRAIN_TIMEOUT: Server "drain_timeout" Kind::Duration { min_ms: 0, max_ms: DAY }, once, Some("30s"), "",
        "What running exchanges get after SIGTERM (restart).";
    SCHEDULING: Server "scheduling" Kind::Choice(&["normal", "batch"]), once, Some("normal"), "",
        "How the kernel schedules workers: normal, or batch for a host of its own (restart).";
    PID_FILE: Server "pid_file" Kind::File, once, None, "/run/layer7router.pid",
        "Where the process id is written (restart).";
    USER: Server "user" Kind::User, once, None, "layer7router",
        "Who the process becomes once it has its ports, by name or number; it must be started as root (restart).";
    GROUP: Server "group" Kind::Group, once, None, "layer7router",
        "Its group, by name or number; that of the user if it is not given (restart).";

    HEADER_TIMEOUT: Timeouts "header" TIMEOUT, once, Some("10s"), "",
        "From the first byte of a request head to its last.";
    IDLE_TIMEOUT: Timeouts "idle" TIMEOUT, once, Some("60s"), "",
        "A kept client connection without a request.";
    BODY_TIMEOUT: Timeouts "body" TIMEOUT, once, Some("30s"), "",
        "Between bytes received of a body.";
    SEND_TIMEOUT: Timeouts "send" TIMEOUT, once, Some("60s"), "",
        "Between bytes acknowledged by the receiver.";
    CONNECT_TIMEOUT: Timeouts "connect" TIMEOUT, once, Some("3s"), "",
        "All attempts to connect to a backend for one exchange.";
    RESPONSE_TIMEOUT: Timeouts "response" TIMEOUT, once, Some("60s"), "",
        "From the whole request sent to the whole response head.";
    EXCHANGE_TIMEOUT: Timeouts "exchange" Kind::DurationOrNone { max_ms: DAY }, once, Some("0"), "",
        "From the whole request head read to the last byte of its answer, tunnels apart; 0 is no limit.";
    TUNNEL_TIMEOUT: Timeouts "tunnel" Kind::Duration { min_ms: 1, max_ms: 365 * DAY }, once, Some("1h"), "",
        "A tunnel (WebSocket) without a byte either way.";
    QUEUE_TIMEOUT: Timeouts "queue" TIMEOUT, once, Some("5s"), "",
        "A session waiting for a worker; then 503.";
    BACKEND_IDLE_TIMEOUT: Timeouts "backend_idle" TIMEOUT, once, Some("4s"), "",
        "A kept backend connection without an exchange.";

    HEADER_SIZE: Limits "header_size" Kind::Size { min: 256, max: MIB }, once, Some("32k"), "",
        "Bytes of a head, start line included; at most server.slice_size.";
    URI_SIZE: Limits "uri_size" Kind::Size { min: 16, max: MIB }, once, Some("8k"), "",
        "Bytes of a request target.";
    HEADER_COUNT: Limits "header_count" Kind::Count { min: 1, max: 256 }, once, Some("100"), "",
        "Fields of a head.";
    BODY_SIZE: Limits "body_size" Kind::SizeOrNone { max: i64::MAX.unsigned_abs() }, once, Some("0"), "",
        "Bytes of a request body; 0 is no limit.";
    CONNECTIONS_PER_IP: Limits "connections_per_ip" Kind::CountOrNone { max: 16_777_216 }, once, Some("256"), "",
        "Of one address (v6: /64). Any but 256 also counts trusted proxies, loopback and Unix sockets; 0 is no limit.";
    CLIENT_RATE_MIN: Limits "client_rate_min" Kind::SizeOrNone { max: GIB }, once, Some("1k"), "",
        "Bytes a second of a body, over 10 s, or of an answer, over timeouts.send, that a client must move; 0 is none.";
    REQUESTS_PER_CONNECTION: Limits "requests_per_connection" Kind::CountOrNone { max: 4_294_967_295 }, once, Some("0"), "",
        "Requests of one client connection; 0 is no limit.";
    PARKED_HEADS: Limits "parked_heads" Kind::Size { min: KIB, max: 64 * GIB }, once, Some("16m"), "",
        "Memory for request heads that have not arrived whole.";

    LOG_LEVEL: Log "level" Kind::Choice(&["off", "error", "warn", "info", "debug", "trace"]), once, Some("info"), "",
        "What is worth a line: off, error, warn, info, debug or trace.";
    LOG_FILE: Log "file" Kind::FileOr(&["stderr"]), once, Some("stderr"), "",
        "stderr or a path; SIGUSR1 opens it again (restart).";
    LOG_ACCESS: Log "access" Kind::FileOr(&["off", "stdout"]), once, Some("off"), "",
        "The access log: off, stdout or a path; SIGUSR1 opens it again.";
    LOG_FORMAT: Log "format" Kind::Choice(&["combined", "json"]), once, Some("combined"), "",
        "How an access line is written: combined or json.";

    LISTEN_ADDRESS: Listen "address" Kind::Address, list, None, "127.0.0.1:8080",
        "HOST:PORT, :PORT (every address, IPv4 and IPv6), unix:PATH, systemd or systemd:NAME; repeats.";
    BACKLOG: Listen "backlog" Kind::Count { min: 1, max: 65535 }, once, Some("4096"), "",
        "Connections the kernel holds before they are accepted.";
    SOCKET_MODE: Listen "socket_mode" Kind::Mode, once, Some("0660"), "",
        "Permission bits of unix: addresses, in octal.";
    TRUSTED_PROXY: Listen "trusted_proxy" Kind::Network, list, None, "10.0.0.0/8",
        "Whose X-Forwarded-* fields are believed: a network, an address, or unix; repeats.";
    LISTEN_ALLOW: Listen "allow" Kind::Admission, list, None, "192.0.2.0/24",
        "Serve these clients: a network, an address, or unix; with deny in file order, the first decides; repeats.";
    LISTEN_DENY: Listen "deny" Kind::Admission, list, None, "192.0.2.7",
        "Refuse these clients with 403; who is not named is refused if there is an allow, else served; repeats.";
    LISTEN_RATE: Listen "requests_per_second" Kind::Rate, once, None, "10 burst=50",
        "N, then burst=M (N if not given): what one client address may ask, else 429; 1 to 1000000 each.";
    LISTEN_POOL: Listen "pool" Kind::Reference(SectionKind::Pool), once, None, "demo",
        "Where a request goes that no route matches; without it 404.";

    ROUTE_LISTEN: Route "listen" Kind::Reference(SectionKind::Listen), list, None, "http",
        "Only from these listens; repeats; none is all.";
    ROUTE_HOST: Route "host" Kind::Host, list, None, "example.com",
        "example.com, or *.example.com for every name below it; repeats.";
    ROUTE_PATH: Route "path" Kind::Path, list, None, "/v1/*",
        "/exact, or /v1/* for /v1 and everything below it; repeats.";
    ROUTE_METHOD: Route "method" Kind::Method, list, None, "GET",
        "A request method; repeats.";
    ROUTE_HEADER: Route "header" Kind::Header, list, None, "X-Beta: yes",
        "Name, or Name: value; a request must have it; repeats.";
    ROUTE_ALLOW: Route "allow" Kind::Admission, list, None, "192.0.2.0/24",
        "On this route, serve these clients: a network, an address, or unix; with deny in file order; repeats.";
    ROUTE_DENY: Route "deny" Kind::Admission, list, None, "192.0.2.7",
        "On this route, refuse these clients with 403; as in a listen; repeats.";
    ROUTE_RATE: Route "requests_per_second" Kind::Rate, once, None, "10 burst=50",
        "N, then burst=M: what one client address may ask of this route, else 429.";
    STRIP_PREFIX: Route "strip_prefix" Kind::Prefix, once, None, "/v1",
        "Taken from the front of the path before forwarding.";
    SET_HEADER: Route "set_header" Kind::RequestField, list, None, "X-Client: {client_ip}",
        "Set on the request; {host} {uri} {path} {client_ip} {scheme} {request_id} are filled in; repeats.";
    REMOVE_HEADER: Route "remove_header" Kind::RequestFieldName, list, None, "Cookie",
        "Removed from the request; repeats.";
    SET_RESPONSE_HEADER: Route "set_response_header" Kind::ResponseField, list, None, "Cache-Control: no-store",
        "Set on the response, as it is written; repeats.";
    REMOVE_RESPONSE_HEADER: Route "remove_response_header" Kind::ResponseFieldName, list, None, "Server",
        "Removed from the response; repeats.";
    ROUTE_BODY_SIZE: Route "body_size" Kind::SizeOrNone { max: i64::MAX.unsigned_abs() }, once, None, "10m",
        "Replaces limits.body_size on this route; 0 is no limit.";
    ROUTE_TIMEOUT: Route "timeout" TIMEOUT, once, None, "5m",
        "Replaces timeouts.response on this route.";
    ROUTE_POOL: Route "pool" Kind::Reference(SectionKind::Pool), once, None, "demo",
        "Where a matching request goes; this, redirect or respond.";
    REDIRECT: Route "redirect" Kind::Redirect, once, None, "308 https://{host}{uri}",
        "CODE URL: 301, 302, 303, 307 or 308, and the Location, placeholders filled in.";
    RESPOND: Route "respond" Kind::Respond, once, None, "200 \"ok\"",
        "CODE \"text\": 200 to 599, and the body, placeholders filled in.";

    BACKEND: Pool "backend" Kind::Backend, list, None, "127.0.0.1:3000 weight=2",
        "HOST:PORT, unix:PATH or demo, then weight=N (0 to 256; 0 gets no new exchanges); repeats.";
    BALANCE: Pool "balance" Kind::Choice(&["round_robin"]), once, Some("round_robin"), "",
        "How a backend is chosen: in turn, by weight.";
    KEEPALIVE: Pool "keepalive" Kind::Count { min: 0, max: 65536 }, once, Some("256"), "",
        "Idle connections kept for each backend.";
}
