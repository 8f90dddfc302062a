//! `${NAME}` and `${NAME:-default}` in a value, from the environment.
//!
//! As in a shell, `:-` also stands in for a variable that is empty. What comes in is not looked at again: a variable
//! cannot name another. A lone `$` is a `$`; `$${` is a literal `${`.

use super::diagnostics::{Fault, Span, quoted};
use super::source::{character_name, is_refused};

/// Where a value's text is looked up.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A value after substitution that still knows where each of its bytes was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// After substitution.
    pub text: String,
    /// As it was written.
    pub at: Span,
    pieces: Vec<Piece>,
}

/// `text[start..end]` was written at `from..from + len`; a literal piece byte by byte, another as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    start: usize,
    end: usize,
    from: usize,
    len: usize,
    is_literal: bool,
}

impl Value {
    /// A value that is what was written.
    pub fn literal(text: &str, at: Span) -> Self {
        let pieces = vec![Piece { start: 0, end: text.len(), from: 0, len: text.len(), is_literal: true }];
        Self { text: text.to_owned(), at, pieces }
    }

    /// Whether it is what was written.
    pub fn is_literal(&self) -> bool {
        self.pieces.iter().all(|piece| piece.is_literal)
    }

    /// Where bytes of the text were written.
    pub fn span(&self, part: &std::ops::Range<usize>) -> Span {
        let find = |byte: usize| self.pieces.iter().find(|piece| (piece.start..piece.end).contains(&byte));
        let written = self.at.end - self.at.start;
        let start = find(part.start).map_or(written, |piece| match piece.is_literal {
            true => piece.from + (part.start - piece.start),
            false => piece.from,
        });
        let end = match part.end.checked_sub(1).filter(|last| *last >= part.start).and_then(find) {
            Some(piece) if piece.is_literal => piece.from + (part.end - piece.start),
            Some(piece) => piece.from + piece.len,
            None => start,
        };
        Span { start: self.at.start + start, end: self.at.start + end.max(start), ..self.at }
    }
}

/// Replaces every reference; the faults are in `written`.
pub fn substitute(written: &str, at: Span, env: Environment<'_>) -> Result<Value, Vec<Fault>> {
    if !written.contains("${") {
        return Ok(Value::literal(written, at));
    }
    let mut value = Value { text: String::new(), at, pieces: Vec::new() };
    let mut faults = Vec::new();
    let mut from = 0;
    while let Some(rest) = written.get(from..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("$${") {
            value.push("${", from, 3, false);
            from += 3;
        } else if rest.starts_with("${") {
            let len = rest.find('}').map_or(rest.len(), |end| end + 1);
            let reference = rest.get(..len).unwrap_or_default();
            match resolve(reference, env) {
                Ok(text) => value.push(&text, from, len, false),
                Err(fault) => faults.push(fault.shifted(from)),
            }
            from += len;
        } else {
            // Up to the next thing that may be one of the above; the first character is not.
            let first = rest.chars().next().map_or(1, char::len_utf8);
            let len = rest.get(first..).and_then(|tail| tail.find('$')).map_or(rest.len(), |next| first + next);
            value.push(rest.get(..len).unwrap_or_default(), from, len, true);
            from += len;
        }
    }
    if faults.is_empty() { Ok(value) } else { Err(faults) }
}

impl Value {
    fn push(&mut self, text: &str, from: usize, len: usize, is_literal: bool) {
        let start = self.text.len();
        self.text.push_str(text);
        self.pieces.push(Piece { start, end: self.text.len(), from, len, is_literal });
    }
}

/// `reference` is `${...}`, or `${...` to the end of the value.
fn resolve(reference: &str, env: Environment<'_>) -> Result<String, Fault> {
    let Some(inner) = reference.strip_prefix("${").and_then(|inner| inner.strip_suffix('}')) else {
        return Err(Fault::whole(reference, "`${` without `}`").help("a literal `${` is written `$${`".to_owned()));
    };
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    if !is_name {
        let what = format!("{} is not the name of a variable", quoted(name));
        return Err(Fault::whole(reference, what).help("write `${NAME}` or `${NAME:-default}`".to_owned()));
    }
    let text = match (env(name), default) {
        (Some(text), None) => text,
        (Some(text), Some(_)) if !text.is_empty() => text,
        (_, Some(default)) => default.to_owned(),
        (None, None) => {
            return Err(Fault::whole(reference, format!("the variable `{name}` is not set"))
                .help(format!("set it, or write `${{{name}:-default}}`")));
        }
    };
    // A line's end in a variable would be a second header field, or a second line of the log.
    match text.chars().find(|c| is_refused(*c) && *c != '\t') {
        Some(c) => Err(Fault::whole(reference, format!("the variable `{name}` holds {}", character_name(c)))),
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(len: usize) -> Span {
        Span { source: 0, line: 1, start: 10, end: 10 + len }
    }

    fn run(written: &str) -> Result<Value, Vec<Fault>> {
        let env = |name: &str| match name {
            "A" => Some("long value".to_owned()),
            "EMPTY" => Some(String::new()),
            "AGAIN" => Some("${A}".to_owned()),
            "LINES" => Some("a\nb".to_owned()),
            _ => None,
        };
        substitute(written, at(written.len()), &env)
    }

    #[test]
    fn references_defaults_and_dollars() {
        let text = |written: &str| run(written).map(|value| value.text).map_err(|faults| faults.len());
        assert_eq!(text("x ${A} y"), Ok("x long value y".to_owned()));
        assert_eq!(text("${B:-d}"), Ok("d".to_owned()));
        assert_eq!(text("${EMPTY:-d}${EMPTY}"), Ok("d".to_owned()));
        assert_eq!(text("${AGAIN}"), Ok("${A}".to_owned()));
        assert_eq!(text("$ $$ $A $${A} $$${A}"), Ok("$ $$ $A ${A} $${A}".to_owned()));
        assert_eq!(text("${B} ${C}"), Err(2));
        assert_eq!(text("${A"), Err(1));
        assert_eq!(text("${} ${1A} ${A-b}"), Err(3));
        assert_eq!(text("${LINES}"), Err(1));
    }

    #[test]
    fn places_after_a_substitution_are_where_they_were_written() {
        let value = run("x ${A} yz").unwrap_or_else(|_| Value::literal("", at(0)));
        assert_eq!(value.text, "x long value yz");
        let part = |range| (value.span(&range).start, value.span(&range).end);
        assert_eq!(part(13..15), (17, 19));
        assert_eq!(part(4..6), (12, 16));
        assert_eq!(part(0..15), (10, 19));
        assert_eq!(part(15..15), (19, 19));
    }
}
