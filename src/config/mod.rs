//! The configuration: an INI file in, a `Config` out, every mistake shown at once.

pub mod model;
