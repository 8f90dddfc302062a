//! layer7router: an HTTP/1.x router that threads the busy and parks the idle.

pub mod arena;
pub mod balance;
pub mod bill;
pub mod buf;
pub mod cells;
pub mod clock;
pub mod config;
pub mod demo;
pub mod error;
pub mod http;
pub mod ids;
pub mod log_file;
pub mod metrics;
pub mod route;
pub mod sync;
pub mod sys;
pub mod transport;
