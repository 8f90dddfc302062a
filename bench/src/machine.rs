//! What a figure is worth nothing without: the machine, the kernel, the versions, the commit.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::candidate::Skipped;
use crate::nginx;
use crate::peer;
use crate::plan::Plan;
use crate::process::Process;
use crate::room::Room;

/// No program takes that long to say its version.
const VERSION_TIME: Duration = Duration::from_secs(5);
/// From this load average on, somebody else is working here.
const BUSY: f64 = 0.5;

/// One line each: the machine, the load, who takes part with which version, and who does not.
pub fn describe(plan: &Plan, load: &str, room: &Room) -> Result<String, String> {
    let mut text = host();
    text += &format!("origin:        {}\n", said(path(&nginx::program())?, &["-v"], room)?);
    text += &format!("wrk:           {}\n", said("wrk", &["-v"], room)?);
    for candidate in plan.candidates() {
        if let Some((program, arguments)) = candidate.version() {
            let version = said(path(&program)?, arguments, room)?;
            text += &format!("{:<14} {version}\n", format!("{}:", candidate.name));
        }
    }
    for Skipped { name, why } in &plan.skipped {
        text += &format!("skipped:       {name}, {why}\n");
    }
    for note in &plan.notes {
        text += &format!("note:          {note}\n");
    }
    text += &commit(room);
    text += &format!("load:          {load}\n");
    Ok(text)
}

/// The same without what a soak does not need, and with the date.
pub fn describe_soak(router: &Path, room: &Room) -> Result<String, String> {
    let mut text = format!("date:          {}\n", said("date", &["-u", "+%Y-%m-%d %H:%M UTC"], room)?);
    text += &host();
    text += &format!("router:        {}\n", version(router, room)?);
    text += &commit(room);
    text += &format!("load:          {}\n", load());
    Ok(text)
}

fn host() -> String {
    let count = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let machine = format!("machine:       {count} x {}\n", processor(&read("/proc/cpuinfo")));
    machine + &format!("kernel:        {}\n", read("/proc/sys/kernel/osrelease").trim())
}

fn commit(room: &Room) -> String {
    let commit = ask("git", &["describe", "--always", "--dirty", "--abbrev=12"], room);
    let commit = commit.ok().filter(|(known, _)| *known).map_or("unknown".to_owned(), |(_, commit)| commit);
    format!("commit:        {commit} (of the source tree here)\n")
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn version(program: &Path, room: &Room) -> Result<String, String> {
    let program = path(program)?;
    Ok(format!("{} ({program})", said(program, &["--version"], room)?))
}

fn path(path: &Path) -> Result<&str, String> {
    path.to_str().ok_or_else(|| format!("{}: not UTF-8", path.display()))
}

/// The first line it says, wherever: nginx says it on stderr, and wrk calls it a failure.
fn said(program: &str, arguments: &[&str], room: &Room) -> Result<String, String> {
    Ok(ask(program, arguments, room)?.1)
}

/// Whether it succeeded, and the first line.
fn ask(program: &str, arguments: &[&str], room: &Room) -> Result<(bool, String), String> {
    let mut command = Command::new(program);
    command.args(arguments);
    let mut process = Process::spawn("version", command, room)
        .map_err(|error| format!("{error}; `apt-get install {}` on Debian", peer::PACKAGES))?;
    let status = process.finish(VERSION_TIME)?;
    let (output, words) = (process.output(), process.last_words());
    let line = output.lines().chain(words.lines()).map(str::trim).find(|line| !line.is_empty()).unwrap_or("unknown");
    let line = line.trim_start_matches("nginx version: ").trim_start_matches("Server version: ");
    Ok((status.success(), line.split(" Copyright").next().unwrap_or(line).to_owned()))
}

fn processor(cpuinfo: &str) -> &str {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(':')).map_or("unknown processor", |(_, name)| name.trim())
}

/// What the machine did in the minute before this one.
pub fn load() -> String {
    judged(&read("/proc/loadavg"))
}

fn judged(loadavg: &str) -> String {
    let load = loadavg.split(' ').next().unwrap_or_default();
    let busy = load.parse::<f64>().is_ok_and(|load| load > BUSY);
    format!("{load} in the minute before{}", if busy { ": NOT IDLE, expect wide spreads" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_the_first_named() {
        let cpuinfo = "processor\t: 0\nmodel\t\t: 85\nmodel name\t: Some CPU @ 2.50GHz\nmodel name\t: Other\n";
        assert_eq!(processor(cpuinfo), "Some CPU @ 2.50GHz");
        assert_eq!(processor(""), "unknown processor");
    }

    #[test]
    fn a_busy_machine_is_called_so() {
        assert!(!judged("0.12 3.00 3.00 1/300 42").contains("NOT IDLE"));
        assert!(judged("1.12 0.00 0.00 1/300 42").contains("NOT IDLE"));
    }
}
