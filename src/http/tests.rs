//! Promises of the room as a whole; each file of `tests/` has a table of them.
