//! What a configuration file means once it is known to be good: typed, with every name resolved.
//!
//! Not here: how a file is read (`source`), which keys there are (`schema`), how a mistake is shown (`diagnostics`).
//! A value of these types is a proof: nothing that reads one checks it again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::admission::Admission;
use crate::http::template::Template;
use crate::rate::Rate;
pub use crate::route::{HeaderPattern, HostPattern, PathPattern};

/// One configuration, whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[timeouts]`
    pub timeouts: Timeouts,
    /// `[limits]`
    pub limits: Limits,
    /// `[log]`
    pub log: Log,
    /// `[listen:NAME]`, in file order.
    pub listens: Vec<Listen>,
    /// `[route:NAME]`, in file order: the first that matches wins.
    pub routes: Vec<Route>,
    /// `[pool:NAME]`, in file order.
    pub pools: Vec<Pool>,
}

/// `[server]`: what is taken once, at start. A change needs a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The one capacity number: two threads and two slices each. 1 to 16384.
    pub workers: usize,
    /// Sessions that may wait for a worker, 1 to 1048576.
    pub queue: usize,
    /// Bytes of one slice, 4 KiB to 1 MiB.
    pub slice_size: usize,
    /// What running exchanges get after SIGTERM.
    pub drain_timeout: Duration,
    /// How the kernel schedules workers.
    pub scheduling: Scheduling,
    /// Where the process id is written, if anywhere.
    pub pid_file: Option<PathBuf>,
    /// Who the process becomes once its ports are bound; `None`: it stays who started it.
    pub identity: Option<Identity>,
}

/// `[server] user` and `group`: never root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// As it was written.
    pub user: String,
    /// As it was written; `None` is the primary group of the user.
    pub group: Option<String>,
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Every group of the user, and `gid`.
    pub groups: Vec<u32>,
}

/// `[server] scheduling`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduling {
    /// The kernel's default class.
    Normal,
    /// SCHED_BATCH: fewer preemptions, later wake-ups beside a busy neighbour.
    Batch,
}

/// `[timeouts]`: every one is greater than zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first byte of a head to its last.
    pub header: Duration,
    /// A kept session without a request.
    pub idle: Duration,
    /// Between bytes received of a body.
    pub body: Duration,
    /// Between bytes acknowledged by the receiver.
    pub send: Duration,
    /// All attempts to connect for one exchange.
    pub connect: Duration,
    /// From the whole request sent to the whole response head; a route may replace it.
    pub response: Duration,
    /// From the whole request head read to the last byte of the answer; `None` is written `0`.
    pub exchange: Option<Duration>,
    /// A tunnel without a byte either way.
    pub tunnel: Duration,
    /// A session waiting for a worker.
    pub queue: Duration,
    /// A kept backend connection without an exchange.
    pub backend_idle: Duration,
}

/// `[limits] connections_per_ip`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerIp {
    /// How many; `0` is none.
    pub limit: Option<u32>,
    /// It is not the default, and holds for everyone. The default leaves alone whoever may be many clients: trusted proxies,
    /// loopback and Unix sockets.
    pub everyone: bool,
}

/// `[limits]`: in those that say so, `None` is written `0` and means no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head, start line and final empty line included; at most `slice_size`.
    pub header_size: usize,
    /// Bytes of a request target.
    pub uri_size: usize,
    /// Fields of a head, 1 to 256.
    pub header_count: usize,
    /// Bytes of a request body; `0` is none.
    pub body_size: Option<u64>,
    /// Sessions of one client.
    pub connections_per_ip: PerIp,
    /// Bytes a second that a client must move while it is waited for; `0` is none.
    pub client_rate_min: Option<u64>,
    /// Exchanges of one session; `0` is none.
    pub requests_per_connection: Option<u64>,
    /// Bytes set aside for heads that have not arrived whole.
    pub parked_heads: usize,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// What is worth a line: off, error, warn, info, debug or trace.
    pub level: log::LevelFilter,
    /// Where the log goes. A change needs a restart.
    pub file: LogFile,
    /// Where the access log goes.
    pub access: AccessTarget,
    /// How an access line is written.
    pub format: AccessFormat,
}

/// `[log] file`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogFile {
    /// `stderr`
    Stderr,
    /// A path; SIGUSR1 opens it again.
    Path(PathBuf),
}

/// `[log] access`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessTarget {
    /// `off`
    Off,
    /// `stdout`
    Stdout,
    /// A path; SIGUSR1 opens it again.
    Path(PathBuf),
}

/// `[log] format`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessFormat {
    /// Combined format, then ` key=value` pairs.
    Combined,
    /// One JSON object a line, same facts.
    Json,
}

/// `[listen:NAME]`
#[derive(Debug, Clone, PartialEq)]
pub struct Listen {
    /// NAME
    pub name: String,
    /// At least one.
    pub addresses: Vec<ListenAddress>,
    /// Connections the kernel holds for us before `accept`.
    pub backlog: u32,
    /// Permission bits of Unix sockets.
    pub socket_mode: u32,
    /// Whose forwarding fields are believed.
    pub trusted: Trusted,
    /// Whom it serves.
    pub admission: Admission,
    /// How often one client may ask.
    pub rate: Option<Rate>,
    /// Index into `pools`: where a request goes that no route matches; `None` is 404.
    pub pool: Option<usize>,
}

/// `[listen] trusted_proxy`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trusted {
    /// Networks.
    pub networks: Vec<IpNet>,
    /// `unix`: every peer of a Unix socket.
    pub unix: bool,
}

/// `[listen] address`
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// `HOST:PORT` with HOST an IP address or a name, resolved when the file was read: at least one address.
    Tcp {
        /// As it was written.
        text: String,
        /// What to bind, each.
        addresses: Vec<SocketAddr>,
    },
    /// `:PORT`, both families.
    AnyTcp(u16),
    /// `unix:PATH`
    Unix(PathBuf),
    /// `systemd:NAME`: every inherited socket of that name; `systemd`: every one.
    Inherited(Option<String>),
}

/// `[route:NAME]`
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// NAME
    pub name: String,
    /// Indices into `listens`; empty is all.
    pub listens: Vec<usize>,
    /// Alternatives; empty is any.
    pub hosts: Vec<HostPattern>,
    /// Alternatives; empty is any.
    pub paths: Vec<PathPattern>,
    /// Alternatives, as written (methods are case-sensitive); empty is any.
    pub methods: Vec<String>,
    /// Alternatives; empty is any.
    pub headers: Vec<HeaderPattern>,
    /// Whom it serves of those whose request matches.
    pub admission: Admission,
    /// How often one client may ask it.
    pub rate: Option<Rate>,
    /// A path prefix to take away before forwarding: begins with `/`, does not end with `/`.
    pub strip_prefix: Option<String>,
    /// Fields set on the request, in order. `Host` may be among them.
    pub set_header: Vec<(String, Template)>,
    /// Fields removed from the request.
    pub remove_header: Vec<String>,
    /// Fields set on the response, in order; values are literal.
    pub set_response_header: Vec<(String, String)>,
    /// Fields removed from the response.
    pub remove_response_header: Vec<String>,
    /// Replaces `limits.body_size`; `Some(None)` is written `0` and is no limit.
    pub body_size: Option<Option<u64>>,
    /// Replaces `timeouts.response`.
    pub timeout: Option<Duration>,
    /// What a matching request gets.
    pub action: Action,
}

/// `[route] pool | redirect | respond`: one of them.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Index into `pools`.
    Pool(usize),
    /// `redirect = CODE URL`: 301, 302, 303, 307 or 308.
    Redirect {
        /// The status.
        code: u16,
        /// The Location.
        location: Template,
    },
    /// `respond = CODE "text"`: 200 to 599.
    Respond {
        /// The status.
        code: u16,
        /// The body.
        text: Template,
    },
}

/// `[pool:NAME]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// NAME
    pub name: String,
    /// At least one.
    pub backends: Vec<Backend>,
    /// How one is chosen.
    pub balance: Balance,
    /// Idle connections kept for each backend.
    pub keepalive: usize,
}

/// `[pool] backend`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// Where it is.
    pub address: BackendAddress,
    /// Its share; 0 gets no new exchanges. At most 256.
    pub weight: u32,
}

/// Where a backend is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum BackendAddress {
    /// `HOST:PORT`. Names are resolved outside of the configuration.
    Tcp {
        /// A name or an IP address, without brackets.
        host: String,
        /// 1 to 65535.
        port: u16,
    },
    /// `unix:PATH`
    Unix(PathBuf),
    /// `demo`: the n-th of the file, from 1, so that they are called `demo-1`, `demo-2`.
    Demo(usize),
}

/// `[pool] balance`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// In turn, by weight.
    RoundRobin,
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { text, .. } => f.write_str(text),
            Self::AnyTcp(port) => write!(f, ":{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Inherited(Some(name)) => write!(f, "systemd:{name}"),
            Self::Inherited(None) => f.write_str("systemd"),
        }
    }
}

impl std::fmt::Display for BackendAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Demo(n) => write!(f, "demo-{n}"),
        }
    }
}
