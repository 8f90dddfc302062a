//! Values with placeholders, parsed once when the configuration is read.

/// A text with placeholders.
#[derive(Debug, Clone, PartialEq)]
pub struct Template(String);
