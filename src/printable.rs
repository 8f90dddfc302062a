//! Text that others wrote, made safe to look at: what a terminal or a reader of lines would obey is shown, not done.
//!
//! For eyes, not for reading back: a backslash stays as it is. The access log, which programs read, has an escape of its own.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether it does something where it is shown: moves a cursor, ends a line, turns the direction of text, or is not seen at
/// all. That is every control character and, beyond ASCII, what has no glyph: C1, marks of direction, tags.
pub fn is_obeyed(c: char) -> bool {
    if c.is_ascii() {
        return c.is_control();
    }
    // The library has a table, and one way in: how it would show a text. Behind a letter it shows an accent as it is.
    let mut text = [b'a'; 5];
    let len = 1 + c.encode_utf8(&mut text[1..]).len();
    std::str::from_utf8(&text[..len]).map_or(true, |text| text.escape_debug().nth(2).is_some())
}

/// One character, as it is or as `\n`, `\u{1b}`.
pub fn push(text: &mut String, c: char) {
    if is_obeyed(c) {
        // Cannot fail: a String takes everything.
        let _ = write!(text, "{}", c.escape_default());
    } else {
        text.push(c);
    }
}

/// The text on one line, with nothing in it that is obeyed.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    text.chars().for_each(|c| push(&mut shown, c));
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_obeyed_is_shown() {
        for (text, due) in [
            ("\u{1b}[2J\u{9b}2J\u{85}\r\n\t\0\u{7f}", r"\u{1b}[2J\u{9b}2J\u{85}\r\n\t\u{0}\u{7f}"),
            ("\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}", r"\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}"),
            ("\u{2066}\u{2069}\u{200b}\u{200d}\u{feff}\u{ad}", r"\u{2066}\u{2069}\u{200b}\u{200d}\u{feff}\u{ad}"),
            ("\u{2028}\u{2029}\u{e0041}\u{fff9}", r"\u{2028}\u{2029}\u{e0041}\u{fff9}"),
        ] {
            assert_eq!(printable(text), due);
            assert!(text.chars().all(is_obeyed) || text.contains('['), "{due}");
        }
    }

    #[test]
    fn what_people_write_stays_as_it_is() {
        for text in ["plain", r"back\slash", "naïve", "e\u{301}", "漢字", "ไทยที่", "سلام", "👩", "“quoted”"]
        {
            assert!(matches!(printable(text), Cow::Borrowed(_)), "{text}");
        }
    }
}
