//! HTTP/1.x as a pure function: bytes in, verdicts out. No socket, thread or clock is named here.

pub mod template;
