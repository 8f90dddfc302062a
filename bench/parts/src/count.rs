//! Counting: each part runs under callgrind N times and 2 N times, and the difference is N operations and nothing else.
//!
//! A count is the same on a busy machine. Not here: what it is compared with (`counts`).

use std::process::{Command, Stdio};

use crate::counts::{Counts, WRITE};
use crate::part::{ALL, Part};

/// Committed with the source.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/counts.txt");

/// Counts, shows, judges: how many parts are not as they should be.
pub fn compare() -> Result<usize, String> {
    let text = std::fs::read_to_string(FILE).map_err(|error| format!("{FILE}: {error}; `{WRITE}` makes one"))?;
    let known = Counts::parse(&text).map_err(|mistake| format!("{FILE}: {mistake}"))?;
    let now = counted()?;
    let (table, findings) = known.compare(&now);
    print!("{table}");
    if known.made_with != now.made_with {
        println!("\nNOT JUDGED, since counts hold only for what they were made with:");
        println!("  the file: {}\n  here:     {}", known.made_with, now.made_with);
        return Ok(0);
    }
    for finding in &findings {
        eprintln!("parts: {finding}");
    }
    if !findings.is_empty() {
        eprintln!("parts: if that is meant, this writes the new counts: {WRITE}");
    }
    Ok(findings.len())
}

/// Counts, and writes that down.
pub fn write() -> Result<(), String> {
    let now = counted()?;
    std::fs::write(FILE, now.to_string()).map_err(|error| format!("{FILE}: {error}"))?;
    print!("{now}");
    Ok(())
}

fn counted() -> Result<Counts, String> {
    if cfg!(debug_assertions) {
        return Err("counts are of a release build: cargo run --release -p parts -- --count".to_owned());
    }
    let mut counts = Counts { made_with: made_with()?, parts: Default::default() };
    for (part, times) in ALL.iter().filter_map(|part| Some((part, part.counted?))) {
        let (single, double) = (instructions(part, times)?, instructions(part, 2 * times)?);
        let more = double.checked_sub(single).ok_or_else(|| format!("{}: more operations were fewer", part.name))?;
        counts.parts.insert(part.name.to_owned(), (more + times / 2) / times);
    }
    Ok(counts)
}

/// What else a count depends on: compiler and target, and the C library, whose memcpy is another on a processor with other
/// vectors, of which valgrind has a say too.
fn made_with() -> Result<String, String> {
    let (compiler, target) = (env!("MADE_BY"), env!("MADE_FOR"));
    let (valgrind, libc) = (said("valgrind", "--version")?, said("getconf", "GNU_LIBC_VERSION")?);
    Ok(format!("{compiler}, {target}, {libc}, {valgrind}, {}", vectors()))
}

#[cfg(target_arch = "x86_64")]
fn vectors() -> &'static str {
    if std::arch::is_x86_feature_detected!("avx2") { "with avx2" } else { "without avx2" }
}

#[cfg(not(target_arch = "x86_64"))]
fn vectors() -> &'static str {
    "any processor"
}

fn said(program: &str, argument: &str) -> Result<String, String> {
    let output = Command::new(program).arg(argument).stdin(Stdio::null()).output();
    let output =
        output.map_err(|error| format!("{program}: {error}; `apt-get install valgrind libc-bin` on Debian"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// All that one run of this program takes, from its first instruction to its last.
fn instructions(part: &Part, times: u64) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command.arg(program).args(["--run", part.name, &times.to_string()]).stdin(Stdio::null());
    let output = command.output().map_err(|error| format!("valgrind: {error}"))?;
    let words = String::from_utf8_lossy(&output.stderr);
    match collected(&words) {
        Some(count) if output.status.success() => Ok(count),
        _ => Err(format!("{} under valgrind, {}:\n{words}", part.name, output.status)),
    }
}

/// `==1234== Collected : 567890`
fn collected(words: &str) -> Option<u64> {
    words.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_each_part_that_is_counted_and_no_other() {
        let text = std::fs::read_to_string(FILE).expect("it is committed");
        let known = Counts::parse(&text).expect("it is in order");
        let mut counted: Vec<&str> = ALL.iter().filter(|part| part.counted.is_some()).map(|part| part.name).collect();
        counted.sort_unstable();
        assert_eq!(known.parts.keys().collect::<Vec<_>>(), counted);
        assert_eq!(known.to_string(), text, "as it is written");
    }

    #[test]
    fn the_total_is_read_from_what_callgrind_says() {
        let words = "==7== For interactive control, run 'callgrind_control -h'.\n==7== \n==7== Events    : Ir\n\
                     ==7== Collected : 1234567\n==7== \n==7== I   refs:      1,234,567\n";
        assert_eq!(collected(words), Some(1_234_567));
        assert_eq!(collected("==7== Collected : \n"), None);
    }
}
