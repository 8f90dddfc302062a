//! The program: reads the command line, compares or soaks, and turns the outcome into an exit code.
//!
//! One cell of a comparison is one candidate under one load in one round: `compare` tells that story, `plan` which cells
//! there are, `cell` how one is measured. `origin` (with `stage`) and `candidate` (with `peer`) are what runs, built by
//! `cargo` where it is ours, `workload` is what is done to them, by `wrk` or by `load`, `proc` and `syscalls` are what
//! the kernel says it cost, `report` is what is shown, `results` (with `chart`) what remains.
//! A soak is another thing: it measures nothing and judges everything. `soak` tells that story.

mod candidate;
mod cargo;
mod cell;
mod chart;
mod cli;
mod compare;
mod load;
mod machine;
mod nginx;
mod origin;
mod peer;
mod plan;
mod poll;
mod port;
mod proc;
mod process;
mod report;
mod results;
mod room;
mod soak;
mod spread;
mod stage;
mod syscalls;
mod websocket;
mod workload;
mod wrk;

use std::process::ExitCode;

use cli::Command;

/// At least one request failed: the figures are not to be believed. Or a soak has found something.
const ERRORS_SEEN: u8 = 1;
/// Not measured: usage, a program that is missing, a candidate that does not start.
const NOT_MEASURED: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (outcome, verdict) = match cli::parse(&arguments) {
        Ok(Command::Help) => {
            print!("{}", cli::USAGE);
            return ExitCode::SUCCESS;
        }
        Ok(Command::Compare(options)) => (compare::run(&options), "errors: the figures are not to be believed"),
        Ok(Command::Soak(options)) => (soak::run(&options), "findings"),
        Ok(Command::Stage { address, file }) => (stage::serve(&address, &file), ""),
        Ok(Command::Load { address, path, kind }) => (load::run(&address, &path, &kind), ""),
        Ok(Command::Origin { name, address }) => (soak::origin::serve(&name, &address), ""),
        Err(mistake) => (Err(format!("{mistake}\n\n{}", cli::USAGE)), ""),
    };
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(count) => {
            eprintln!("bench: {count} {verdict}");
            ExitCode::from(ERRORS_SEEN)
        }
        Err(reason) => {
            eprintln!("bench: {reason}");
            ExitCode::from(NOT_MEASURED)
        }
    }
}
