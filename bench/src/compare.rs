//! The comparison: rounds, in each every level, in each every candidate; one after the other, one at a time.

use std::time::Duration;

use crate::candidate::{self, Candidate, NO_PROXY};
use crate::cli::Options;
use crate::origin::{self, Origin};
use crate::peer::Demand;
use crate::proc::{self, Usage};
use crate::process;
use crate::report::{self, Cell};
use crate::room::Room;
use crate::wrk;

const WARM_UP_S: u32 = 1;
/// When memory is read: late in the warm-up, under the same load, so that reading it disturbs no figure.
const MEMORY_AFTER: Duration = Duration::from_millis(800);
/// Descriptors of a proxy that are no connections.
const DESCRIPTORS_SPARE: u64 = 500;

/// Shows the machine, measures, shows the tables; tells how many errors there were.
pub fn run(options: &Options) -> Result<u64, String> {
    process::handle_interrupts();
    enough_descriptors(options)?;
    let (candidates, skipped) = candidate::all(options.router.as_deref(), options.against.as_deref())?;
    let room = Room::new("bench")?;
    println!("{}", crate::machine::describe(&candidates, &skipped, &room)?);

    let mut cells = Vec::new();
    let outcome = rounds(options, &candidates, &room, &mut cells);
    if !cells.is_empty() {
        let incomplete = if outcome.is_err() { ", INCOMPLETE" } else { "" };
        let (rounds, seconds) = (options.rounds, options.seconds);
        println!("Median (min..max), rounds: {rounds}, seconds: {seconds}{incomplete}\n");
        println!("{}", report::figures(&cells));
        println!("Ratios, each of two cells of the same round: median (min..max)\n");
        println!("{}", report::ratios(&cells));
    }
    outcome?;
    Ok(cells.iter().map(|cell| cell.errors.total()).sum())
}

fn rounds(options: &Options, candidates: &[Candidate], room: &Room, cells: &mut Vec<Cell>) -> Result<(), String> {
    let origin = Origin::start()?;
    for round in 1..=options.rounds {
        for &connections in &options.connections {
            for candidate in in_turn(candidates, round) {
                let cell = cell(options, &origin, candidate, connections, round, room)
                    .map_err(|reason| format!("{} with {connections} connections: {reason}", candidate.name))?;
                eprintln!("{}", report::progress(&cell, options.rounds));
                cells.push(cell);
            }
        }
    }
    Ok(())
}

/// One candidate under one load in one round.
fn cell(
    options: &Options,
    origin: &Origin,
    candidate: &Candidate,
    connections: u32,
    round: u32,
    room: &Room,
) -> Result<Cell, String> {
    let running = candidate.start(origin, Demand { connections, busy: connections })?;
    let url = format!("http://{}{}", running.address, origin::PATH);

    let load = wrk::start(&url, connections, WARM_UP_S, room)?;
    process::pause_for(MEMORY_AFTER)?;
    let pss_mb = running.session().map(|session| proc::pss_kb(session) as f64 / 1024.0);
    let warm_up = wrk::finish(load, WARM_UP_S)?;

    let before = usages(&running, origin);
    let outcome = wrk::finish(wrk::start(&url, connections, options.seconds, room)?, options.seconds)?;
    let after = usages(&running, origin);
    // What ended takes its counters with it: its figures would look good.
    running.must_run()?;
    origin.must_run()?;

    let each = |amount: u64| amount as f64 / outcome.requests as f64;
    let used = after.0.zip(before.0).map(|(after, before)| after - before);
    Ok(Cell {
        round,
        connections,
        candidate: candidate.name,
        requests_per_s: outcome.requests_per_s,
        cpu_us: used.map(|used| each(used.cpu_us)),
        origin_cpu_us: each((after.1 - before.1).cpu_us),
        switches: used.map(|used| each(used.switches)),
        pss_mb,
        p50_us: outcome.p50_us,
        p99_us: outcome.p99_us,
        errors: warm_up.errors.plus(outcome.errors),
    })
}

/// The proxy's, if there is one, and the origin's.
fn usages(running: &candidate::Running, origin: &Origin) -> (Option<Usage>, Usage) {
    (running.session().map(proc::usage), proc::usage(origin.session()))
}

/// Each round begins with another one, so that nobody always follows the same neighbour. Without a proxy it is only
/// measured in the first: that is a limit, not a competitor.
fn in_turn(candidates: &[Candidate], round: u32) -> Vec<&Candidate> {
    let (limit, mut turn): (Vec<_>, Vec<_>) = candidates.iter().partition(|candidate| candidate.name == NO_PROXY);
    let shift = (round as usize - 1) % turn.len().max(1);
    turn.rotate_left(shift);
    if round == 1 { limit.into_iter().chain(turn).collect() } else { turn }
}

fn enough_descriptors(options: &Options) -> Result<(), String> {
    let connections = options.connections.iter().copied().max().unwrap_or(0);
    // One to the client and one to the origin.
    let needed = u64::from(connections) * 2 + DESCRIPTORS_SPARE;
    let limit = process::raise_descriptors();
    if limit >= needed {
        return Ok(());
    }
    Err(format!("{connections} connections need {needed} descriptors a process, and {limit} are allowed: `ulimit -Hn`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_begins_with_another_candidate() {
        let own = std::env::current_exe().unwrap();
        let (mut all, _) = candidate::all(Some(&own), Some(&own)).unwrap();
        all.retain(|one| [NO_PROXY, candidate::NGINX, candidate::ROUTER, candidate::AGAINST].contains(&one.name));
        let names = |round| in_turn(&all, round).iter().map(|candidate| candidate.name).collect::<Vec<_>>();
        assert_eq!(names(1), ["no proxy", "nginx", "router", "against"]);
        assert_eq!(names(2), ["router", "against", "nginx"]);
        assert_eq!(names(3), ["against", "nginx", "router"]);
        assert_eq!(names(4), ["nginx", "router", "against"]);
    }
}
