//! The comparison: rounds, in each every load, in each every candidate; one after the other, one at a time.

use std::path::PathBuf;

use crate::candidate::{self, Candidate, NO_PROXY};
use crate::cargo;
use crate::cell::{self, Setting};
use crate::cli::Options;
use crate::machine;
use crate::origin::Origin;
use crate::plan::{Entry, Plan};
use crate::process;
use crate::report::{self, Cell};
use crate::results;
use crate::room::Room;
use crate::workload::{self, Kind, PACE_LEVEL};

/// Where the results of whole runs are, in the source tree that this was built from.
const RESULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/results");
/// Those of others, in the target directory: they would be taken for whole ones.
const RESULTS_OTHER: &str = "bench-results";

/// In how many rounds system calls are counted: one second of one round may be a bad one.
const COUNTED_ROUNDS: u32 = 3;

/// Builds, shows the machine, measures, shows and writes the tables; tells how many errors there were.
pub fn run(options: &Options) -> Result<u64, String> {
    process::handle_interrupts();
    let descriptors = process::raise_descriptors();
    let room = Room::new("bench")?;
    // Before we build: what is asked is whether somebody else works here.
    let load = machine::load();
    // A plan with everybody, so that nothing is built for a name that nobody has, or for who does not take part.
    let everybody = candidate::everybody(options.against.is_some());
    let everybody: Vec<Candidate> = everybody.into_iter().map(candidate::stand_in).collect();
    let wanted = Plan::new(options, &everybody, Vec::new(), descriptors)?;
    let taking_part: Vec<&str> = wanted.candidates().iter().map(|one| one.name).collect();
    let parts = cargo::parts(&taking_part, options.router.is_some());
    let unbuilt = if options.no_build { Vec::new() } else { cargo::build(&parts, &room)? };
    let (router, against) = (options.router.as_deref(), options.against.as_deref());
    let (candidates, absent) = candidate::all(router, against, &taking_part, unbuilt)?;
    let plan = Plan::new(options, &candidates, absent, descriptors)?;
    let head = machine::describe(&plan, &load, &room)?;
    println!("{head}");
    eprintln!("{} cells, about {:.0} minutes", plan.cells(), plan.minutes().ceil());

    let mut cells = Vec::new();
    let outcome = rounds(&plan, &room, &mut cells);
    if !cells.is_empty() {
        let incomplete = if outcome.is_err() { ", INCOMPLETE" } else { "" };
        let tables = format!(
            "Median (min..max) of the rounds{incomplete}\n\n{}\n\
            Ratios, each of two cells of the same round: median (min..max)\n\n{}",
            report::figures(&cells),
            report::ratios(&cells)
        );
        println!("{tables}");
        let directory = directory(options, outcome.is_ok())?;
        results::write(&directory, &head, &tables, &cells)?;
        eprintln!("written to {}", directory.display());
    }
    outcome?;
    Ok(cells.iter().map(|cell| cell.errors.total()).sum())
}

fn directory(options: &Options, complete: bool) -> Result<PathBuf, String> {
    let Options { quick, only, connections, seconds, rounds, results, .. } = options;
    let whole = !quick && only.is_empty() && connections.is_none() && seconds.is_none() && rounds.is_none();
    match results {
        Some(directory) => Ok(directory.clone()),
        None if whole && complete => Ok(PathBuf::from(RESULTS)),
        None => Ok(cargo::target()?.join(RESULTS_OTHER)),
    }
}

fn rounds(plan: &Plan, room: &Room, cells: &mut Vec<Cell>) -> Result<(), String> {
    let files = Origin::start()?;
    let stage = Origin::stage()?;
    let at_pace = workload::get(PACE_LEVEL);
    for round in 1..=plan.rounds() {
        for entry in &plan.entries {
            let workload = &entry.workload;
            let origin = if workload.on_stage() { &stage } else { &files };
            for candidate in in_turn(entry, round) {
                let rate = match workload.kind {
                    Kind::Open(percent) => pace(cells, entry, percent),
                    _ => 0,
                };
                let syscalls = plan.syscalls && round <= COUNTED_ROUNDS && workload.name == at_pace;
                let seconds = entry.seconds;
                let cell = cell::measure(Setting { workload, candidate, origin, round, seconds, rate, syscalls, room });
                let cell = match cell {
                    Ok(cell) => cell,
                    Err(reason) if process::interrupted() => return Err(reason),
                    // One that fails is an error, and no reason to do without the others.
                    Err(reason) => {
                        eprintln!("FAILED: {} under {}: {reason}", candidate.name, workload.name);
                        origin.must_run()?;
                        Cell::failed(round, workload, candidate.name)
                    }
                };
                eprintln!("{}", report::progress(&cell));
                cells.push(cell);
            }
        }
    }
    Ok(())
}

/// Each round begins with another one, so that nobody always follows the same neighbour.
fn in_turn(entry: &Entry, round: u32) -> Vec<&Candidate> {
    let here = entry.candidates.iter().filter(|(_, rounds)| *rounds >= round).map(|(candidate, _)| candidate);
    let (limit, mut turn): (Vec<_>, Vec<_>) = here.partition(|candidate| candidate.name == NO_PROXY);
    let shift = (round as usize - 1) % turn.len().max(1);
    turn.rotate_left(shift);
    limit.into_iter().chain(turn).collect()
}

/// So many percent of what the weakest of them did in the first round, on as many connections in a closed loop: each
/// has the same pace in all rounds, and nobody is asked what he cannot do.
fn pace(cells: &[Cell], entry: &Entry, percent: u32) -> u32 {
    let level = workload::get(PACE_LEVEL);
    let rates = entry.candidates.iter().filter(|(candidate, _)| candidate.name != NO_PROXY).filter_map(|(one, _)| {
        let mut own = report::group(cells, &level, one.name).filter(|cell| cell.round == 1);
        own.next().map(|cell| cell.requests_per_s).filter(|rate| rate.is_finite())
    });
    let weakest = rates.fold(f64::INFINITY, f64::min);
    // Without any proxy there is no weakest: then any pace will do.
    if weakest.is_finite() { ((weakest * f64::from(percent) / 100.0) as u32).max(1) } else { 1000 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candidate::{NGINX, ROUTER, stand_in};
    use crate::wrk::Errors;

    fn entry(candidates: &[(&'static str, u32)]) -> Entry {
        let workload = workload::all(&[PACE_LEVEL]).swap_remove(0);
        let candidates = candidates.iter().map(|&(name, rounds)| (stand_in(name), rounds)).collect();
        Entry { workload, seconds: 1, candidates }
    }

    #[test]
    fn every_round_begins_with_another_candidate() {
        let entry = entry(&[(NO_PROXY, 1), (NGINX, 4), (ROUTER, 4), ("against", 4), ("h2o", 2)]);
        let names = |round| in_turn(&entry, round).iter().map(|candidate| candidate.name).collect::<Vec<_>>();
        assert_eq!(names(1), ["no proxy", "nginx", "router", "against", "h2o"]);
        assert_eq!(names(2), ["router", "against", "h2o", "nginx"]);
        assert_eq!(names(3), ["against", "nginx", "router"]);
        assert_eq!(names(4), ["nginx", "router", "against"]);
        assert_eq!(names(5), [""; 0]);
    }

    #[test]
    fn only_a_whole_run_is_written_to_the_source_tree() {
        let written = |options: &Options, complete| directory(options, complete).unwrap().display().to_string();
        let whole = Options::default();
        assert!(written(&whole, true).ends_with("bench/results"));
        let other = Options { rounds: Some(1), ..Options::default() };
        for path in [written(&whole, false), written(&other, true)] {
            assert!(path.ends_with("bench-results"), "{path}");
        }
        let named = Options { results: Some("a".into()), quick: true, ..Options::default() };
        assert_eq!(written(&named, true), "a");
    }

    #[test]
    fn the_pace_is_the_weakests_of_the_first_round() {
        let entry = entry(&[(NO_PROXY, 1), (NGINX, 1), (ROUTER, 1)]);
        let cell = |round, candidate, requests_per_s| Cell {
            requests_per_s,
            errors: Errors::default(),
            ..Cell::failed(round, &entry.workload, candidate)
        };
        let cells = [
            cell(2, NGINX, 30.0),
            cell(1, NO_PROXY, 10.0),
            cell(1, NGINX, 900.0),
            cell(1, ROUTER, 800.0),
            cell(1, "varnish", 20.0),
        ];
        assert_eq!(pace(&cells, &entry, 50), 400);
        assert_eq!(pace(&[], &entry, 50), 1000);
    }
}
