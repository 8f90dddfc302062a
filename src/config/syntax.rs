//! Text to lines that mean something: a section's header, a key and its value, or nonsense, each with its place.
//!
//! The syntax is ini-roundtrip's; this adds places, and takes indented headers and comments for what they are.

use ini_roundtrip::{Item, Parser};

use super::diagnostics::Span;

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// `[inner]`
    Section {
        /// What is between the brackets.
        inner: &'a str,
        /// With the brackets.
        at: Span,
    },
    /// `key = value`
    Property {
        /// May be empty.
        key: &'a str,
        /// Where it is.
        key_at: Span,
        /// `None` without `=`; may be empty.
        value: Option<&'a str>,
        /// Where it is.
        value_at: Span,
    },
    /// Begins with `[` and is not a header.
    BadSection {
        /// The line.
        raw: &'a str,
        /// Where it is.
        at: Span,
    },
}

/// The lines of a text that are neither blank nor comments.
pub fn lines(source: usize, text: &str) -> impl Iterator<Item = Line<'_>> {
    let mut parser = Parser::new(text);
    std::iter::from_fn(move || {
        loop {
            let number = parser.line().saturating_add(1);
            let item = parser.next()?;
            if let Some(line) = line(source, number, 0, item) {
                return Some(line);
            }
        }
    })
}

fn line(source: usize, number: u32, indent: usize, item: Item<'_>) -> Option<Line<'_>> {
    let span =
        |start: usize, len: usize| Span { source, line: number, start: indent + start, end: indent + start + len };
    match item {
        Item::SectionEnd | Item::Comment { .. } | Item::Blank { .. } => None,
        Item::Error(raw) => Some(Line::BadSection { raw, at: span(0, raw.trim_end().len()) }),
        Item::Section { name, raw } => Some(Line::Section { inner: name, at: span(0, raw.trim_end().len()) }),
        Item::Property { key, val, raw } => {
            let unindented = raw.trim_start();
            if unindented.len() < raw.len() && unindented.starts_with(['[', '#', ';']) {
                // The library takes every indented line for a property. Once unindented this cannot come again.
                let mut inner = Parser::new(unindented).filter(|item| *item != Item::SectionEnd);
                return line(source, number, raw.len() - unindented.len(), inner.next()?);
            }
            let key_start = raw.len() - unindented.len();
            let (value_start, value_len) = match raw.split_once('=') {
                Some((before, after)) => {
                    let blank = after.len() - after.trim_start().len();
                    (before.len() + 1 + blank, val.unwrap_or_default().len())
                }
                None => (raw.trim_end().len(), 0),
            };
            let value_start = value_start.min(raw.len());
            Some(Line::Property {
                key,
                key_at: span(key_start, key.len()),
                value: val,
                value_at: span(value_start, value_len),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bytes_of_the_line() {
        let text = "# c\r\n\r\n  [a:b]\r\n\tkey =  v w \n  # c = d\n[x\nlone";
        let lines: Vec<_> = lines(0, text).collect();
        let span = |line, start, end| Span { source: 0, line, start, end };
        assert_eq!(
            lines,
            [
                Line::Section { inner: "a:b", at: span(3, 2, 7) },
                Line::Property { key: "key", key_at: span(4, 1, 4), value: Some("v w"), value_at: span(4, 8, 11) },
                Line::BadSection { raw: "[x", at: span(6, 0, 2) },
                Line::Property { key: "lone", key_at: span(7, 0, 4), value: None, value_at: span(7, 4, 4) },
            ]
        );
    }
}
