//! The same router with other I/O models, so that a bench compares I/O models and nothing else.
//!
//! Each program of this package parses, routes, balances and rebuilds with the code of the product (its `plan`, as it is),
//! reads the same file and says `ready` as it does. What is here is what they have in common: one session as a machine that never touches a socket.
//!
//! ```text
//!             bytes in            bytes out
//!  client ──▶ Up: head, plan, rebuilt head, body ──▶ backend        site: the file, made ready; balance
//!  client ◀── Down: rebuilt head, body ◀──────────── backend        desk: what one thread has: ids, date, slices
//!         └── Relay: both, and what comes next ──┘                  socket, start: what every program begins with
//! ```
//!
//! [`relay::Relay`] is for loops and for tasks: it is told how to read and write what is ready ([`relay::Port`]) and says
//! when a backend connection is wanted or done with. Threads and coroutines that block take [`up::Up`] and [`down::Down`]
//! in their own hands ([`blocking`]).
//!
//! | program | model |
//! |---|---|
//! | `variant-epoll` | a loop a thread on mio, edge-triggered |
//! | `variant-tokio` | tasks on tokio's multi-thread runtime |
//! | `variant-pinned` | two blocking threads a connection, for its life |
//! | `variant-coroutine` | blocking code on stackful coroutines, `may` |
//! | `variant-uring` | io_uring: a `monoio` runtime a thread |
//!
//! In scope: kept connections on both sides, bodies by length and in chunks both ways, HEAD, 204, 304, bodies that end with
//! the connection, 1xx, pipelines, refusals, one more try where a kept backend connection had died.
//! Out of scope, and left out by all of them alike: TLS, Unix sockets, upgrades (such a request is passed on as a plain one),
//! reloads, deadlines, logs. Nothing here is fit for an open network.

pub mod bay;
pub mod blocking;
pub mod desk;
pub mod down;
pub mod facts;
pub mod outgoing;
pub mod relay;
pub mod site;
pub mod socket;
pub mod start;
pub mod up;
