//! Which cells there are: every candidate under every load, what `--only` leaves of them, what `--quick` does; and how
//! long that takes.

use crate::candidate::{AGAINST, Candidate, NGINX, NO_PROXY, ROUTER, Skipped, VARIANTS};
use crate::cli::Options;
use crate::syscalls;
use crate::workload::{self, Kind, PACE_LEVEL, Workload};

/// A cell. Longer ones tell no more: what differs from one to the next is how the threads lie when they start.
const SECONDS: u32 = 2;
const SECONDS_QUICK: u32 = 1;
/// So many connections may have no answer within a second when the machine does something else too.
const MANY: u32 = 4096;
/// The variant with two threads for each connection.
const PINNED: &str = "pinned";
/// Four mappings each, and 65,530 of these are what the kernel allows by default.
const THREADS_MAX: u32 = 16_000;
/// For those whom the goals are about at the levels, and elsewhere.
const ROUNDS: (u32, u32) = (5, 3);
/// Warm-up, start and end of a cell, about.
const AROUND_S: f64 = 1.7;

/// Who is under which load, how often, how long.
#[derive(Debug)]
pub struct Plan {
    pub entries: Vec<Entry>,
    /// Who would take part if he were there.
    pub skipped: Vec<Skipped>,
    /// What else is not as in a whole run.
    pub notes: Vec<String>,
    /// They are counted.
    pub syscalls: bool,
}

/// One workload and those under it.
#[derive(Debug)]
pub struct Entry {
    pub workload: Workload,
    pub seconds: u32,
    /// Each with its number of rounds.
    pub candidates: Vec<(Candidate, u32)>,
}

impl Plan {
    /// Of all who are there, on a machine where a process may have so many descriptors.
    pub fn new(
        options: &Options,
        candidates: &[Candidate],
        absent: Vec<Skipped>,
        descriptors: u64,
    ) -> Result<Self, String> {
        let workloads = workload::all(options.connections.as_deref().unwrap_or(&workload::LEVELS));
        let only = Only::new(&options.only, &workloads, candidates, &absent)?;
        let mut skipped: Vec<Skipped> = absent.into_iter().filter(|one| only.takes_program(&one.name)).collect();
        let (mut entries, mut notes) = (Vec::new(), Vec::new());
        for workload in workloads {
            if !only.takes_workload(&workload.name) {
                continue;
            }
            let needed = workload.descriptors();
            if needed > descriptors {
                let name = &workload.name;
                notes.push(format!("{name} is left out: it needs {needed} descriptors, `ulimit -Hn` is {descriptors}"));
                continue;
            }
            let mut under = Vec::new();
            for candidate in candidates.iter().filter(|candidate| only.takes_program(candidate.name)) {
                if let Some(why) = cannot(&workload, candidate.name) {
                    notes.push(format!("{} is not under {}: {why}", candidate.name, workload.name));
                    continue;
                }
                if !options.quick || only.names_program(candidate.name) || is_quick(&workload, candidate.name) {
                    under.push((candidate.clone(), rounds(options, &workload, candidate.name)));
                }
            }
            let seconds = options.seconds.unwrap_or(match workload.kind {
                _ if options.quick && workload.connections >= MANY => SECONDS_QUICK * 2,
                _ if options.quick => SECONDS_QUICK,
                _ => SECONDS,
            });
            entries.push(Entry { workload, seconds, candidates: under });
        }
        // What has a pace has it from a level that may have been left out.
        let pace = workload::get(PACE_LEVEL);
        let open = |entry: &Entry| matches!(entry.workload.kind, Kind::Open(_));
        if let Some(first) = entries.iter().position(open)
            && !entries.iter().any(|entry| entry.workload.name == pace)
        {
            let workload = workload::all(&[PACE_LEVEL]).swap_remove(0);
            let Entry { seconds, candidates, .. } = &entries[first];
            let once = candidates.iter().map(|(candidate, _)| (candidate.clone(), 1)).collect();
            let entry = Entry { workload, seconds: *seconds, candidates: once };
            entries.insert(0, entry);
            notes.push(format!("{pace} is added once: the pace comes from there"));
        }
        if options.quick {
            notes.push(
                "quick: one round; peers and variants that --only does not name are under get-64 alone".to_owned(),
            );
        }
        if !options.only.is_empty() {
            notes.push(format!("only {}: everything else is left out", options.only.join(", ")));
        }
        entries.retain(|entry| !entry.candidates.is_empty());
        if entries.is_empty() {
            return Err(format!("nothing is left to measure: {}", notes.join("; ")));
        }
        // At one level: it costs each program a second or two, a few times.
        let syscalls = !options.quick && syscalls::installed();
        if !options.quick && !syscalls {
            let why = "not installed: `apt-get install linux-perf` for system calls per request".to_owned();
            skipped.push(Skipped { name: "perf".to_owned(), why });
        }
        Ok(Self { entries, skipped, notes, syscalls })
    }

    /// All who are under any load, each once.
    pub fn candidates(&self) -> Vec<&Candidate> {
        let mut all: Vec<&Candidate> = Vec::new();
        for (candidate, _) in self.entries.iter().flat_map(|entry| &entry.candidates) {
            if all.iter().all(|known| known.name != candidate.name) {
                all.push(candidate);
            }
        }
        all
    }

    pub fn rounds(&self) -> u32 {
        self.entries.iter().flat_map(|entry| &entry.candidates).map(|(_, rounds)| *rounds).max().unwrap_or(0)
    }

    pub fn cells(&self) -> u32 {
        self.entries.iter().flat_map(|entry| &entry.candidates).map(|(_, rounds)| rounds).sum()
    }

    /// About.
    pub fn minutes(&self) -> f64 {
        let entry = |entry: &Entry| {
            let one = f64::from(entry.seconds) + AROUND_S + entry.workload.setup_s();
            one * f64::from(entry.candidates.iter().map(|(_, rounds)| rounds).sum::<u32>())
        };
        self.entries.iter().map(entry).sum::<f64>() / 60.0
    }
}

/// Names of workloads, of programs, or of both; none of a kind is all of that kind.
struct Only {
    workloads: Vec<String>,
    programs: Vec<String>,
}

impl Only {
    fn new(
        names: &[String],
        workloads: &[Workload],
        candidates: &[Candidate],
        absent: &[Skipped],
    ) -> Result<Self, String> {
        let mut only = Self { workloads: Vec::new(), programs: Vec::new() };
        for name in names {
            if workloads.iter().any(|workload| workload.name == *name) {
                only.workloads.push(name.clone());
            } else if candidates.iter().any(|candidate| candidate.name == name) {
                only.programs.push(name.clone());
            } else if let Some(absent) = absent.iter().find(|absent| absent.name == *name) {
                return Err(format!("`--only`: {name} is {}", absent.why));
            } else {
                let known: Vec<&str> = workloads.iter().map(|workload| workload.name.as_str()).collect();
                let programs: Vec<&str> = candidates.iter().map(|candidate| candidate.name).collect();
                return Err(format!(
                    "`--only`: `{name}` is no workload ({}) and no program ({})",
                    known.join(", "),
                    programs.join(", ")
                ));
            }
        }
        Ok(only)
    }

    fn takes_workload(&self, name: &str) -> bool {
        self.workloads.is_empty() || self.workloads.iter().any(|known| known == name)
    }

    fn takes_program(&self, name: &str) -> bool {
        self.programs.is_empty() || self.names_program(name)
    }

    fn names_program(&self, name: &str) -> bool {
        self.programs.iter().any(|known| known == name)
    }
}

/// What is no failure, since nobody claims it: asking for it would only be in the way of others.
fn cannot(workload: &Workload, candidate: &str) -> Option<&'static str> {
    match workload.kind {
        Kind::Socket if VARIANTS.contains(&candidate) => Some("it has no tunnels"),
        _ if candidate == PINNED && workload.connections * 2 > THREADS_MAX => {
            Some("with two threads for each connection it needs more than a process may have")
        }
        _ => None,
    }
}

/// In a quick run: nginx and the router everywhere, all of them at one level, and no proxy where the load is our own.
fn is_quick(workload: &Workload, candidate: &str) -> bool {
    let everywhere = [NGINX, ROUTER, AGAINST].contains(&candidate);
    let own = candidate == NO_PROXY && matches!(workload.kind, Kind::Socket | Kind::Open(50));
    everywhere || own || workload.name == workload::get(PACE_LEVEL)
}

/// Without a proxy it is only measured in the first: that is a limit, not a competitor.
fn rounds(options: &Options, workload: &Workload, candidate: &str) -> u32 {
    let goal = workload.kind == Kind::Get
        && ([NGINX, "haproxy", ROUTER, AGAINST].contains(&candidate) || VARIANTS.contains(&candidate));
    match options.rounds {
        _ if candidate == NO_PROXY => 1,
        Some(rounds) => rounds,
        None if options.quick => 1,
        None if goal => ROUNDS.0,
        None => ROUNDS.1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candidate;

    const ENOUGH: u64 = 20_000;

    /// As if everything was there.
    fn everybody() -> Vec<Candidate> {
        candidate::everybody(false).into_iter().map(candidate::stand_in).collect()
    }

    fn planned(options: &Options) -> Plan {
        Plan::new(options, &everybody(), Vec::new(), ENOUGH).unwrap()
    }

    fn only(names: &[&str]) -> Options {
        Options { only: names.iter().map(|&name| name.to_owned()).collect(), ..Options::default() }
    }

    fn under(entry: &Entry) -> Vec<(&str, u32)> {
        entry.candidates.iter().map(|(candidate, rounds)| (candidate.name, *rounds)).collect()
    }

    #[test]
    fn a_whole_run_takes_less_than_an_hour_and_a_quick_one_three_minutes() {
        let minutes = planned(&Options::default()).minutes();
        assert!((50.0..60.0).contains(&minutes), "{minutes}");
        let minutes = planned(&Options { quick: true, ..Options::default() }).minutes();
        assert!((2.0..3.0).contains(&minutes), "{minutes}");
    }

    #[test]
    fn only_takes_workloads_programs_or_both() {
        let plan = planned(&only(&["get-64", ROUTER, NGINX]));
        assert_eq!(plan.entries.len(), 1);
        assert_eq!(under(&plan.entries[0]), [(NGINX, 5), (ROUTER, 5)]);
        let plan = planned(&only(&["slow-backend"]));
        assert_eq!(under(&plan.entries[0])[..2], [(NO_PROXY, 1), (NGINX, 3)]);
        assert!(planned(&only(&[ROUTER])).entries.iter().all(|entry| under(entry)[0].0 == ROUTER));
    }

    #[test]
    fn a_name_that_nobody_has_is_told_so() {
        let error = Plan::new(&only(&["get-65"]), &everybody(), Vec::new(), ENOUGH).unwrap_err();
        assert!(error.contains("`get-65` is no workload") && error.contains("get-64"), "{error}");
        let absent = Skipped { name: "squid".to_owned(), why: "not installed".to_owned() };
        let error = Plan::new(&only(&["squid"]), &everybody(), vec![absent], ENOUGH).unwrap_err();
        assert!(error.contains("squid is not installed"), "{error}");
    }

    #[test]
    fn a_pace_brings_the_level_it_comes_from() {
        let plan = planned(&only(&["open-80", ROUTER, NGINX]));
        let names: Vec<&str> = plan.entries.iter().map(|entry| entry.workload.name.as_str()).collect();
        assert_eq!(names, ["get-64", "open-80"]);
        assert_eq!(under(&plan.entries[0]), [(NGINX, 1), (ROUTER, 1)]);
        assert!(plan.notes.iter().any(|note| note.contains("get-64 is added")), "{:?}", plan.notes);
    }

    #[test]
    fn what_has_too_few_descriptors_is_left_out_by_name() {
        let plan = Plan::new(&Options::default(), &everybody(), Vec::new(), 10_000).unwrap();
        assert!(plan.entries.iter().all(|entry| entry.workload.name != "idle-16384"));
        assert!(plan.notes.iter().any(|note| note.contains("idle-16384 is left out")), "{:?}", plan.notes);
        let error = Plan::new(&only(&["get-4096"]), &everybody(), Vec::new(), 1024).unwrap_err();
        assert!(error.contains("get-4096 is left out"), "{error}");
    }

    #[test]
    fn variants_have_no_tunnels() {
        let plan = planned(&only(&["websocket-1000", "tokio", ROUTER]));
        assert_eq!(under(&plan.entries[0]), [(ROUTER, 3)]);
        assert!(
            plan.notes.iter().any(|note| note.starts_with("tokio is not under websocket-1000")),
            "{:?}",
            plan.notes
        );
    }

    #[test]
    fn nobody_is_asked_for_more_threads_than_there_can_be() {
        let plan = planned(&only(&["get-4096", "idle-16384", "pinned", ROUTER]));
        let all: Vec<Vec<(&str, u32)>> = plan.entries.iter().map(under).collect();
        assert_eq!(all, [vec![(ROUTER, 5), ("pinned", 5)], vec![(ROUTER, 3)]]);
        assert!(plan.notes.iter().any(|note| note.starts_with("pinned is not under idle-16384")), "{:?}", plan.notes);
    }

    #[test]
    fn what_was_said_is_done() {
        let options = Options { rounds: Some(7), seconds: Some(9), connections: Some(vec![2]), ..Options::default() };
        let plan = planned(&options);
        assert_eq!(plan.rounds(), 7);
        assert!(plan.entries.iter().all(|entry| entry.seconds == 9));
        assert_eq!(plan.entries[1].workload.name, "get-2");
    }
}
