//! layer7router: an HTTP router with blocking I/O on a bounded pool of thread pairs.

pub mod bill;
pub mod config;
pub mod demo;
pub mod http;
pub mod log_file;
