//! A file's bytes as text: what may be a configuration file at all, and what may be in one.
//!
//! Not here: what the lines mean (`syntax`), which files there are (`include`).

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// The most one file may hold.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// Device and inode: the same file under any name.
pub type Identity = (u64, u64);

/// Opens a file; the phrase says why it cannot be one of ours.
pub fn open(path: &Path) -> Result<(File, Identity), String> {
    // Without O_NONBLOCK a pipe without a writer would hold a reload for ever; for a file it means nothing.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(|e| why(&e))?;
    let meta = file.metadata().map_err(|e| why(&e))?;
    if meta.is_dir() {
        return Err("is a directory".to_owned());
    }
    if !meta.is_file() {
        return Err("is not a regular file".to_owned());
    }
    Ok((file, (meta.dev(), meta.ino())))
}

/// Everything in it.
pub fn bytes(file: File) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    // One byte more than allowed tells too long from just right, whatever the file's length was said to be.
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(|e| why(&e))?;
    match bytes.len() {
        0..=FILE_BYTES_MAX => Ok(bytes),
        _ => Err("is over 1 MB".to_owned()),
    }
}

/// An error of the system as a phrase.
pub fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// Why bytes are not text, and where: the text as far as it can be shown.
#[derive(Debug)]
pub struct NotText {
    /// With replacement characters.
    pub lossy: String,
    /// From 1.
    pub line: u32,
    /// Bytes of that line, as it is shown.
    pub at: std::ops::Range<usize>,
    /// One phrase.
    pub what: String,
}

/// Text without BOM, or the first place that is not text. CRLF may stay: the parser takes it for a line's end.
pub fn text(bytes: Vec<u8>) -> Result<String, NotText> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        let lossy = String::new();
        return Err(NotText { lossy, line: 1, at: 0..0, what: "the file is UTF-16; save it as UTF-8".to_owned() });
    }
    let mut text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let byte = error.as_bytes().get(at).copied().unwrap_or_default();
            let lossy = String::from_utf8_lossy(error.as_bytes()).into_owned();
            return Err(not_text(lossy, at, |at| format!("byte {} of the file, 0x{byte:02x}, is not UTF-8", at + 1)));
        }
    };
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    match refused(&text) {
        None => Ok(text),
        Some((at, c)) => Err(not_text(text, at, |_| refused_name(c))),
    }
}

/// The first character that is refused. (A lone CR would end a line for some readers and not for others.)
fn refused(text: &str) -> Option<(usize, char)> {
    let mut is_comment = false;
    let mut is_begin = true;
    for (at, c) in text.char_indices() {
        match c {
            '\n' => (is_begin, is_comment) = (true, false),
            '\r' if text.as_bytes().get(at + 1) == Some(&b'\n') => {}
            ' ' | '\t' => {}
            c if is_refused(c) && !(is_comment && is_mark(c)) => return Some((at, c)),
            c => {
                is_comment |= is_begin && matches!(c, '#' | ';');
                is_begin = false;
            }
        }
    }
    None
}

/// What no value may hold: control characters, what ends a line for some readers, and what makes text look as if it stood in
/// another order than it does (<https://trojansource.codes>). Of whoever reads the file next, or its picture, each is a trap.
pub fn is_refused(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || is_mark(c)
}

/// Marks of direction: they turn no more than the letters of a language do, and a comment in that language may need them.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}')
}

/// What a refused character is called in a message.
pub fn refused_name(c: char) -> String {
    match c {
        '\0' => "a NUL byte".to_owned(),
        '\r' => "a carriage return that does not end a line".to_owned(),
        c => character_name(c),
    }
}

/// The same where lines do not matter.
pub fn character_name(c: char) -> String {
    match c {
        c if c.is_ascii() => format!("a control character, 0x{:02x}", u32::from(c)),
        c if c.is_control() => format!("a control character, U+{:04X}", u32::from(c)),
        '\u{2028}' | '\u{2029}' => format!("an end of a line that is none here, U+{:04X}", u32::from(c)),
        c => format!("a character that turns the direction of text, U+{:04X}", u32::from(c)),
    }
}

/// `at` is where the text stops being good; up to there the lossy text is the same.
fn not_text(lossy: String, at: usize, what: impl FnOnce(usize) -> String) -> NotText {
    let before = lossy.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = at.saturating_sub(start);
    NotText { line: u32::try_from(line).unwrap_or(u32::MAX), at: column..column + 1, what: what(at), lossy }
}
