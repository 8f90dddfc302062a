//! Counts of instructions: the file they are kept in, and what is said when they have changed. Counts nothing itself.

use std::collections::BTreeMap;
use std::fmt;

/// What a part may take more, in percent.
const MORE_MAX: u64 = 3;
/// The command that renews the file.
pub const WRITE: &str = "cargo run --release -p parts -- --count --write";

const HEAD: &str = "\
# Instructions of one operation of each part, compared by `cargo run --release -p parts -- --count`; see bench/README.md.
";
const MADE_WITH: &str = "made with: ";

const TABLE_HEAD: &str = "\
| part                | instructions |     before |           |
|---------------------|-------------:|-----------:|----------:|
";

/// Instructions of one operation, by name of its part.
#[derive(Debug, PartialEq)]
pub struct Counts {
    /// Compiler, target and what else they depend on: counts of two that differ in this say nothing about each other.
    pub made_with: String,
    pub parts: BTreeMap<String, u64>,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HEAD}{MADE_WITH}{}\n\n", self.made_with)?;
        self.parts.iter().try_for_each(|(part, count)| writeln!(f, "{part} {count}"))
    }
}

impl Counts {
    /// As it is displayed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let (mut made_with, mut parts) = (None, BTreeMap::new());
        for line in lines {
            if let Some(words) = line.strip_prefix(MADE_WITH) {
                made_with = Some(words.to_owned());
                continue;
            }
            let (part, count) = line.split_once(' ').unwrap_or((line, ""));
            let count = count.parse().map_err(|_| format!("`{line}` is no part and its count"))?;
            if parts.insert(part.to_owned(), count).is_some() {
                return Err(format!("`{part}` stands there twice"));
            }
        }
        let made_with = made_with.ok_or_else(|| format!("there is no line `{MADE_WITH}`"))?;
        Ok(Self { made_with, parts })
    }

    /// A table of both, and a sentence for each part that takes too much, has no count, or is no more.
    pub fn compare(&self, now: &Self) -> (String, Vec<String>) {
        let mut table = TABLE_HEAD.to_owned();
        let mut findings = Vec::new();
        for (part, &count) in &now.parts {
            let Some(&before) = self.parts.get(part) else {
                table += &line(part, count, "-", "");
                findings.push(format!("{part} has no count"));
                continue;
            };
            table += &line(part, count, &before.to_string(), &change(before, count));
            if count * 100 > before * (100 + MORE_MAX) {
                findings.push(format!(
                    "{part} takes {count} instructions, {before} before: {}, and {MORE_MAX} % is the most",
                    change(before, count)
                ));
            }
        }
        for part in self.parts.keys().filter(|part| !now.parts.contains_key(*part)) {
            findings.push(format!("{part} has a count and is no part"));
        }
        (table, findings)
    }
}

fn line(part: &str, now: u64, before: &str, change: &str) -> String {
    format!("| {part:<19} | {now:>12} | {before:>10} | {change:>9} |\n")
}

fn change(before: u64, now: u64) -> String {
    if before == now {
        return "=".to_owned();
    }
    format!("{:+.1} %", (now as f64 / before as f64 - 1.0) * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(parts: &[(&str, u64)]) -> Counts {
        let parts = parts.iter().map(|(part, count)| ((*part).to_owned(), *count)).collect();
        Counts { made_with: "rustc 1.95.0, x86_64".to_owned(), parts }
    }

    #[test]
    fn a_part_that_takes_more_than_three_percent_more_is_named() {
        let before = counts(&[("body", 1000), ("head", 2000), ("lease", 80)]);
        for (now, finding) in [
            ([("body", 1000), ("head", 2000), ("lease", 80)], None),
            ([("body", 1030), ("head", 2060), ("lease", 82)], None),
            ([("body", 10), ("head", 20), ("lease", 1)], None),
            (
                [("body", 1031), ("head", 2000), ("lease", 80)],
                Some("body takes 1031 instructions, 1000 before: +3.1 %"),
            ),
            (
                [("body", 900), ("head", 4000), ("lease", 80)],
                Some("head takes 4000 instructions, 2000 before: +100.0 %"),
            ),
            ([("body", 1000), ("head", 2000), ("lease", 83)], Some("lease takes 83 instructions, 80 before: +3.8 %")),
        ] {
            let (_, findings) = before.compare(&counts(&now));
            assert_eq!(findings.len(), usize::from(finding.is_some()), "{findings:?}");
            assert!(findings.iter().zip(finding).all(|(found, due)| found.starts_with(due)), "{findings:?}");
        }
    }

    #[test]
    fn a_part_that_is_new_or_gone_is_named_too() {
        let (table, findings) = counts(&[("body", 10), ("old", 5)]).compare(&counts(&[("body", 9), ("new", 7)]));
        assert_eq!(findings, ["new has no count", "old has a count and is no part"]);
        let lines: Vec<String> = table.lines().skip(2).map(|line| line.replace(' ', "")).collect();
        assert_eq!(lines, ["|body|9|10|-10.0%|", "|new|7|-||"]);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let counts = counts(&[("head", 2000), ("body", 1000)]);
        let text = counts.to_string();
        assert!(text.ends_with("made with: rustc 1.95.0, x86_64\n\nbody 1000\nhead 2000\n"), "{text}");
        assert_eq!(Counts::parse(&text), Ok(counts));
    }

    #[test]
    fn a_file_that_is_not_in_order_is_refused() {
        for (text, why) in [
            ("", "there is no line `made with: `"),
            ("body 1\n", "there is no line `made with: `"),
            ("made with: x\nbody\n", "`body` is no part and its count"),
            ("made with: x\nbody -1\n", "`body -1` is no part"),
            ("made with: x\nbody 1\nbody 2\n", "`body` stands there twice"),
        ] {
            let mistake = Counts::parse(text).unwrap_err();
            assert!(mistake.starts_with(why), "{text:?}: {mistake}");
        }
    }
}
