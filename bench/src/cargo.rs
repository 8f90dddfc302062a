//! What is built before anything is measured: the router, its variants, and the peer that no package has.
//!
//! Always in release, by the cargo that started us, into the target directory that we are in ourselves: what is
//! measured is the source tree here, and not what somebody once built of it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::candidate::{ROUTER, Skipped, VARIANTS};
use crate::peer::PINGORA;
use crate::process::{self, Process, pause};
use crate::room::Room;

/// The source tree that we were built from.
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// What one call of cargo builds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Part {
    Router,
    Variants,
    Pingora,
}

impl Part {
    /// In the source tree; where to is said besides.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Router => &["build", "--release", "--locked"],
            Self::Variants => &["build", "--release", "--locked", "-p", "variants"],
            Self::Pingora => &["build", "--release", "--locked", "--manifest-path", "bench/peers/pingora/Cargo.toml"],
        }
    }

    /// What to type in the source tree for the same.
    pub fn command(self) -> String {
        let directory = if self == Self::Pingora { " --target-dir target/peers" } else { "" };
        format!("cargo {}{directory}", self.arguments().join(" "))
    }

    /// A workspace of its own has a directory of its own: neither makes the other build again.
    fn directory(self) -> Result<PathBuf, String> {
        let target = target()?;
        Ok(if self == Self::Pingora { target.join("peers") } else { target })
    }

    /// Where a program of that name is, once it is built.
    pub fn program(self, name: &str) -> Result<PathBuf, String> {
        Ok(self.directory()?.join("release").join(name))
    }
}

/// What there is to build for those who take part, each once. A router that was named is not ours to build.
pub fn parts(taking_part: &[&str], router_is_named: bool) -> Vec<Part> {
    let mut parts = Vec::new();
    for &name in taking_part {
        let part = match name {
            ROUTER if !router_is_named => Part::Router,
            PINGORA => Part::Pingora,
            _ if VARIANTS.contains(&name) => Part::Variants,
            _ => continue,
        };
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    parts
}

/// Builds them, one after the other. Pingora's crates are not needed for anything else here, so there may be no way to
/// get them: then it is skipped like a peer that is not installed. Without the others there is nothing to compare.
pub fn build(parts: &[Part], room: &Room) -> Result<Vec<Skipped>, String> {
    let mut skipped = Vec::new();
    for &part in parts {
        match build_one(part, room) {
            Ok(()) => {}
            Err(reason) if process::interrupted() => return Err(reason),
            Err(reason) if part == Part::Pingora => {
                let why = format!("not built: `{}` has failed: {reason}", part.command());
                skipped.push(Skipped { name: PINGORA.to_owned(), why });
            }
            Err(reason) => {
                return Err(format!(
                    "`{}` has failed: {reason}\nMend that; or say --no-build, and what was built before is measured",
                    part.command()
                ));
            }
        }
    }
    Ok(skipped)
}

/// What cargo says goes to stderr as it comes.
fn build_one(part: Part, room: &Room) -> Result<(), String> {
    eprintln!("{}", part.command());
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(part.arguments()).arg("--target-dir").arg(part.directory()?).current_dir(SOURCE);
    let mut cargo = Process::spawn("cargo", command, room)?;
    let mut shown = 0;
    loop {
        let running = cargo.must_run().is_ok();
        shown += show(&cargo.log_from(shown));
        if !running {
            break;
        }
        pause()?;
    }
    if cargo.finish(Duration::ZERO)?.success() { Ok(()) } else { Err(reason(&cargo.log_from(0))) }
}

/// The whole lines of it; how many bytes that are.
fn show(log: &str) -> u64 {
    let whole = log.rfind('\n').map_or(0, |at| at + 1);
    eprint!("{}", &log[..whole]);
    whole as u64
}

/// Why it failed, in a line: the first error, and what it says last, which is often the cause.
fn reason(log: &str) -> String {
    let lines = || log.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut said = lines().filter(|line| !line.starts_with("warning") && !line.starts_with("note:"));
    let told = match (lines().find(|line| line.starts_with("error")), said.next_back()) {
        (Some(first), Some(last)) if first != last => format!("{first}: {last}"),
        (Some(only), _) | (None, Some(only)) => only.to_owned(),
        (None, None) => "it said nothing".to_owned(),
    };
    told.trim_start_matches("error: ").to_owned()
}

/// Where cargo puts everything, the profile's directory that we are in ourselves included.
pub fn target() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| format!("where we are: {error}"))?;
    let directories = own.ancestors().skip(1);
    // A test is one level deeper.
    let profile = directories.into_iter().find(|directory| !directory.ends_with("deps"));
    Ok(profile.and_then(Path::parent).unwrap_or(Path::new("target")).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_takes_part_is_built_and_once() {
        assert_eq!(parts(&["no proxy", "nginx"], false), []);
        assert_eq!(parts(&["nginx", "pingora", "router"], false), [Part::Pingora, Part::Router]);
        assert_eq!(parts(&["router", "epoll", "uring"], false), [Part::Router, Part::Variants]);
        assert_eq!(parts(&["router", "tokio", "against"], true), [Part::Variants]);
    }

    #[test]
    fn what_is_built_is_where_it_is_looked_for() {
        let target = target().unwrap();
        assert_eq!(Part::Router.program("layer7router").unwrap(), target.join("release/layer7router"));
        assert_eq!(Part::Pingora.program("peer-pingora").unwrap(), target.join("peers/release/peer-pingora"));
        for part in [Part::Router, Part::Variants, Part::Pingora] {
            assert!(part.command().starts_with("cargo build --release --locked"), "{}", part.command());
        }
        assert!(Part::Pingora.command().ends_with("--target-dir target/peers"));
        assert!(Path::new(SOURCE).join("bench/peers/pingora/Cargo.toml").is_file());
    }

    #[test]
    fn a_failure_is_told_with_its_cause() {
        let offline = "    Updating crates.io index\nwarning: spurious network error (3 tries remaining): [6]\n\
            error: failed to get `pingora` as a dependency of package `peer-pingora`\n\n\
            Caused by:\n  [6] no such host\n";
        assert_eq!(
            reason(offline),
            "failed to get `pingora` as a dependency of package `peer-pingora`: [6] no such host"
        );
        let twice = "error: could not compile\nwarning: build failed, waiting for other jobs to finish...\n";
        assert_eq!(reason(twice), "could not compile");
        assert_eq!(reason("Killed\n"), "Killed");
        assert_eq!(reason(""), "it said nothing");
    }

    #[test]
    fn half_a_line_waits_for_its_end() {
        assert_eq!(show(""), 0);
        assert_eq!(show("   Compiling libc\n   Compi"), 18);
    }
}
