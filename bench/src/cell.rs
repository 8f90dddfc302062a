//! One candidate under one load in one round: started, warmed up, measured, ended.

use std::time::Duration;

use crate::candidate::{Candidate, Running};
use crate::load::{self, Load};
use crate::origin::Origin;
use crate::proc::{self, Usage};
use crate::process;
use crate::report::Cell;
use crate::room::Room;
use crate::syscalls::Counter;
use crate::workload::{Kind, Workload};
use crate::wrk::{self, Errors, Outcome, Task};

const WARM_UP_S: u32 = 1;
/// How much more time one gets in which there was no answer at all, but not without end.
const LONGER: u32 = 5;
const LONGER_MAX_S: u32 = 60;
/// Counting system calls is a run of its own.
const COUNTED_S: u32 = 1;
/// When memory is read: late in the warm-up, under the same load, so that reading it disturbs no figure.
const MEMORY_AFTER: Duration = Duration::from_millis(800);

/// What a cell is made of.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    pub workload: &'a Workload,
    pub candidate: &'a Candidate,
    pub origin: &'a Origin,
    pub round: u32,
    pub seconds: u32,
    /// Requests a second, where the load has a pace.
    pub rate: u32,
    /// System calls are to be counted too, after everything else.
    pub syscalls: bool,
    pub room: &'a Room,
}

/// What was seen while it was measured.
struct Seen {
    outcome: Outcome,
    syscalls: Option<f64>,
    memory: Option<Memory>,
    /// The candidate's and the origin's, before and after.
    before: (Option<Usage>, Usage),
    after: (Option<Usage>, Usage),
}

#[derive(Debug, Clone, Copy)]
struct Memory {
    pss_mb: f64,
    stacks_mb: f64,
}

/// Measures it.
pub fn measure(setting: Setting) -> Result<Cell, String> {
    let running = setting.candidate.start(setting.origin, setting.workload.demand())?;
    let beside = beside(setting, &running)?;
    let mut seen = match setting.workload.kind {
        Kind::Socket | Kind::Open(_) => own_load(setting, &running)?,
        _ => wrk_load(setting, &running)?,
    };
    // What ended takes its counters with it: its figures would look good.
    running.must_run()?;
    setting.origin.must_run()?;
    for load in beside {
        seen.outcome.errors = seen.outcome.errors.plus(load.stop()?.errors);
    }

    let Seen { outcome, syscalls, memory, before, after } = seen;
    let each = |amount: u64| amount as f64 / outcome.requests as f64;
    let used = after.0.zip(before.0).map(|(after, before)| after - before);
    Ok(Cell {
        round: setting.round,
        workload: setting.workload.name.clone(),
        connections: setting.workload.connections,
        candidate: setting.candidate.name,
        requests_per_s: outcome.requests_per_s,
        cpu_us: used.map(|used| each(used.cpu_us)),
        origin_cpu_us: each((after.1 - before.1).cpu_us),
        switches: used.map(|used| each(used.switches)),
        syscalls,
        pss_mb: memory.map(|memory| memory.pss_mb),
        stacks_mb: memory.map(|memory| memory.stacks_mb),
        p50_us: outcome.p50_us,
        p99_us: outcome.p99_us,
        p999_us: outcome.p999_us,
        errors: outcome.errors,
    })
}

/// Who is there meanwhile, and is not asked how it fared, except for errors.
fn beside(setting: Setting, running: &Running) -> Result<Vec<Load>, String> {
    let Setting { workload, room, .. } = setting;
    let start = |kind| load::start(kind, running.address, workload.path(), room);
    match workload.kind {
        Kind::SlowClients => Ok(vec![start(load::Kind::Slow { connections: workload.slow_connections() })?]),
        Kind::Idle => Ok(vec![start(load::Kind::Idle { connections: workload.connections })?]),
        Kind::Busy => {
            let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            (0..processors).map(|_| start(load::Kind::Spin)).collect()
        }
        _ => Ok(Vec::new()),
    }
}

fn wrk_load(setting: Setting, running: &Running) -> Result<Seen, String> {
    let Setting { workload, origin, seconds, room, .. } = setting;
    let url = format!("http://{}{}", running.address, workload.path());
    let task = Task {
        url: &url,
        connections: workload.wrk_connections(),
        field: (workload.kind == Kind::NewConnection).then_some("Connection: close"),
        body_bytes: workload.body_bytes(),
        answer_bytes: workload.answer_bytes(),
    };
    let load = wrk::start(task, WARM_UP_S, room)?;
    process::pause_for(MEMORY_AFTER)?;
    let memory = memory(running);
    let warm_up = wrk::finish(load, task, WARM_UP_S)?;

    let measured = |seconds| {
        let before = usages(running, origin);
        let outcome = wrk::finish(wrk::start(task, seconds, room)?, task, seconds)?;
        Ok::<_, String>((outcome, before, usages(running, origin)))
    };
    let (mut outcome, mut before, mut after) = measured(seconds)?;
    if outcome.requests == 0 {
        // 4,096 connections on a machine that does something else as well: nobody came to his turn in that time.
        (outcome, before, after) = measured((seconds * LONGER).min(LONGER_MAX_S))?;
    }
    // That there was no time for an answer in a second is no error yet; it is one while measuring.
    let warm_up = Errors { runs: 0, ..warm_up.errors };
    outcome.errors = outcome.errors.plus(warm_up);
    let syscalls = match running.session().filter(|_| setting.syscalls) {
        Some(session) => counted(session, task, room)?,
        None => None,
    };
    Ok(Seen { outcome, syscalls, memory, before, after })
}

/// System calls per request. Who counts is in nobody's way: the figures have been taken.
fn counted(session: u32, task: Task, room: &Room) -> Result<Option<f64>, String> {
    let counter = match Counter::start(session, room) {
        Ok(counter) => counter,
        // It is there and must not: a figure less, and no error of the candidate's.
        Err(reason) => {
            eprintln!("system calls are not counted: {reason}");
            return Ok(None);
        }
    };
    let requests = wrk::finish(wrk::start(task, COUNTED_S, room)?, task, COUNTED_S)?.requests;
    Ok(Some(counter.finish()? as f64 / requests as f64))
}

/// It warms up by itself, on the connections that it will have.
fn own_load(setting: Setting, running: &Running) -> Result<Seen, String> {
    let Setting { workload, origin, seconds, rate, room, .. } = setting;
    let connections = workload.connections;
    let kind = match workload.kind {
        Kind::Socket => load::Kind::Echo { connections, seconds },
        _ => load::Kind::Paced { connections, seconds, rate },
    };
    let load = load::start(kind, running.address, workload.path(), room)?;
    process::pause_for(MEMORY_AFTER)?;
    let memory = memory(running);
    load.counts()?;
    let before = usages(running, origin);
    let outcome = load.finish(seconds)?;
    Ok(Seen { outcome, syscalls: None, memory, before, after: usages(running, origin) })
}

fn memory(running: &Running) -> Option<Memory> {
    let session = running.session()?;
    let mb = |kb: u64| kb as f64 / 1024.0;
    Some(Memory { pss_mb: mb(proc::pss_kb(session)), stacks_mb: mb(proc::kernel_stacks_kb(session)) })
}

/// The proxy's, if there is one, and the origin's.
fn usages(running: &Running, origin: &Origin) -> (Option<Usage>, Usage) {
    (running.session().map(proc::usage), proc::usage(origin.session()))
}
