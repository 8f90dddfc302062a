//! Which files an `include` names: a path, or a pattern in a path's last part.
//!
//! Not here: reading them (`document`).

use std::io;
use std::path::{Path, PathBuf};

use super::source::why;

/// The most files of one configuration: a pattern that takes more has taken the wrong directory.
pub const FILES_MAX: usize = 256;

/// The files, sorted by name. Without `*` and `?` it is the one path, there or not; with them there may be none.
pub fn expand(base: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let path = base.join(pattern);
    let (directory, last) = match pattern.rsplit_once('/') {
        Some((directory, last)) => (base.join(if directory.is_empty() { "/" } else { directory }), last),
        None => (base.to_owned(), pattern),
    };
    let above = pattern.len() - last.len();
    if pattern.get(..above).is_some_and(has_wildcard) {
        return Err("`*` and `?` may stand in the last part of a path only".to_owned());
    }
    if !has_wildcard(last) {
        return Ok(vec![path]);
    }
    let listed = if directory.as_os_str().is_empty() { Path::new(".") } else { &directory };
    let entries = match std::fs::read_dir(listed) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {}", listed.display(), why(&error))),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| format!("{}: {}", listed.display(), why(&error)))?.file_name();
        // As in a shell a leading dot has to be asked for: editors leave `.#x.ini` behind.
        let text = name.to_string_lossy();
        if text.starts_with('.') == last.starts_with('.') && matches(last, &text) {
            names.push(name);
        }
        if names.len() > FILES_MAX {
            return Err(format!("more than {FILES_MAX} files match"));
        }
    }
    names.sort();
    Ok(names.into_iter().map(|name| directory.join(name)).collect())
}

fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// `*` is any number of characters, `?` is one. Going back only to the last `*` keeps it from being exponential.
fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || name.get(n) == Some(c) => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    n = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, name, expected) in [
            ("*.ini", "a.ini", true),
            ("*.ini", "a.ini.bak", false),
            ("*.ini", ".ini", true),
            ("?.ini", "ab.ini", false),
            ("a*b*c", "aXbXbXc", true),
            ("*", "", true),
            ("a?", "aé", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_above_the_last_part_is_refused() {
        assert!(expand(Path::new("."), "*/a.ini").is_err());
        assert_eq!(expand(Path::new(""), "x/a.ini"), Ok(vec![PathBuf::from("x/a.ini")]));
        assert_eq!(expand(Path::new("/nowhere/at/all"), "*.ini"), Ok(Vec::new()));
    }
}
