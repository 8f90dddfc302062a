//! layer7router: an HTTP/1.x router that threads the busy and parks the idle.
//!
//! # In one picture
//!
//! ```text
//!  acceptor (one a listener) ──accept──▶ bounded channel of sessions ──▶ worker 0..N (request thread + response thread)
//!                                         ▲                                │   ▲
//!                    no worker is free    │        between two exchanges   │   │ readable, and a worker is free
//!                                         └──── parked sessions (epoll) ◀──┘   │
//!                                                          └───────────────────┘
//!  waiter ── deadlines of parked and queued sessions; queues those that are readable while no worker is free
//!  reaper ── ten times a second: running exchanges whose deadline has passed, or whose client is too slow, are cut
//!  monitor ── takes permits back while sessions queue
//!  resolver, access-log ── one thread each;  main ── the control loop: reload, reopen logs, drain, stop
//! ```
//!
//! A **session** is one client connection, an **exchange** one request and its response on it. A session that runs has a
//! **worker**, which is a *pair* of threads, and two **slices** of the **arena**; every byte moves in blocking reads and
//! writes. As long as none of them would block, a worker has several sessions in hand, a **round**: it sends all of their
//! requests and then reads the answers, so that whoever is at the other end is woken once for several. Before it blocks for
//! one, another worker gets the rest. A session that does not run is **parked** with the **waiter** and costs no thread and no slice; workers that are
//! free watch the parked ones themselves, since a hand-over by another thread costs 1.4 to 15 us a request. So connections
//! are bounded by descriptors, running sessions by `workers`, and the pool can stay small enough to be fast.
//!
//! # The life of a byte
//!
//! [`listener`] accepts and puts a [`session`] onto the channel; a [`worker`] takes it, [`visit`]s it: a probing read, then
//! [`http::head`]. A whole head is an [`exchange`]: a [`plan`] is made (route, own fields, rebuilt head), the [`request`] half
//! gets a connection from the [`pool`] and sends; if all of the request was there it turns around and is the [`response`]
//! half too, after the other requests of its [`round`], else it wakes its partner ([`pair`]), and has let the others go
//! ([`company`]). Bodies go through the [`pump`], upgraded connections through the
//! [`tunnel`]. Then the session goes on with its next request, or parks ([`park`], [`waiter`]).
//!
//! # The map
//!
//! An import points only to the right or downwards; `tests/layers.rs` reads the `use` lines and holds this map to them.
//!
//! ```map
//! cli control server
//! diff demo bill panics log_file pid_file privilege listener inherited canned
//! worker round visit exchange request crew plan pair response tunnel pump
//! answer outgoing waiter access_log session
//! reaper registry permits park
//! snapshot pool resolver backend balance metrics cells line_queue flood
//! config error
//! route admission rate
//! client
//! http
//! ids buf arena transport company sys clock yielding sync stdio secrets printable
//! ```
//!
//! To come: `health` and `admin` beside `listener`, TLS beside `transport`.
//!
//! # What never happens
//!
//! - Nobody waits for another session's peer: a thread that has others in hand lets them go before it blocks ([`company`]), and
//!   a worker sleeps for each place that is lent ([`permits`]).
//! - No lock is held across a read, write, connect, send on a channel or log call, and no two locks together. The two
//!   exceptions are in `registry`: a cut shuts sockets down, and looks at SIOCOUTQ, under its slot's own lock; neither waits.
//! - Nothing that a peer sends chooses the size of an allocation. Every queue, buffer, loop and wait has a limit.
//! - No byte of an earlier session can be read from a slice: only `consumed..filled` is visible ([`buf`]).
//! - Leases, counts and connections return in `Drop`: early return and panic are both correct. A panic costs one exchange.
//! - [`http`], [`route`] and [`balance`] do no I/O. The waiter's thread never reads and writes only canned refusals that
//!   cannot block; the acceptor never parses; the reaper never closes, it shuts down; workers hold no sender of the
//!   channel they consume.
//! - `unsafe` only in [`sys`]: system calls that no well-kept crate wraps.

#![cfg_attr(not(test), warn(clippy::disallowed_methods, clippy::disallowed_types))]
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod access_log;
pub mod admission;
pub mod answer;
pub mod arena;
pub mod backend;
pub mod balance;
pub mod bill;
pub mod buf;
pub mod canned;
pub mod cells;
pub mod cli;
pub mod client;
pub mod clock;
pub mod company;
pub mod config;
pub mod control;
pub mod crew;
pub mod demo;
pub mod diff;
pub mod error;
pub mod exchange;
pub mod flood;
pub mod http;
pub mod ids;
pub mod inherited;
pub mod line_queue;
pub mod listener;
pub mod log_file;
pub mod metrics;
pub mod outgoing;
pub mod pair;
pub mod panics;
pub mod park;
pub mod permits;
pub mod pid_file;
pub mod plan;
pub mod pool;
pub mod printable;
pub mod privilege;
pub mod pump;
pub mod rate;
pub mod reaper;
pub mod registry;
pub mod request;
pub mod resolver;
pub mod response;
pub mod round;
pub mod route;
pub mod secrets;
pub mod server;
pub mod session;
pub mod snapshot;
pub mod stdio;
pub mod sync;
pub mod sys;
pub mod transport;
pub mod tunnel;
pub mod visit;
pub mod waiter;
pub mod worker;
pub mod yielding;
