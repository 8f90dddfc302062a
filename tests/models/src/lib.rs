//! Models of what is easy to get wrong, in the product's own source: `run.sh` builds it with `--cfg loom`, and each test
//! here runs a few threads through every order of their steps that loom tells apart, weak memory included. Sockets and
//! epoll are the kernel's own, used where they cannot block. `breaks.list` tells what each finds.
//!
//! Not here: whether the whole works (`tests/*.rs`), and anything with time in it: a model has no clock.

#![cfg(all(test, loom))]

mod arena;
mod pair;
mod permits;
mod slot;
mod snapshot;
mod support;
mod visit;
