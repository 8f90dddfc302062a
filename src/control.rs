//! The control loop: what a signal means. Runs on the main thread, and is the only place where the router changes.
//!
//! SIGHUP reads the configuration again, SIGUSR1 opens log files again, SIGUSR2 writes the counters to the log. SIGTERM and
//! the first SIGINT drain; a second one, or SIGQUIT, stops now.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, select_biased};
use signal_hook::consts::{SIGHUP, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use crate::config::Loaded;
use crate::diff;
use crate::flood;
use crate::log_file::LogHandle;
use crate::server::Server;
use crate::sys;

/// Address space of the signal thread's stack.
const STACK_SIZE: usize = 128 * 1024;
/// How long a reload waits for more of the same signal. It is to be in force after 200 ms.
const STORM: Duration = Duration::from_millis(25);
/// How often a drain is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// What the control loop is told, each kind on a channel of its own: a storm of one cannot push another out, and repeats
/// itself into one.
#[derive(Debug)]
pub struct Events {
    /// SIGHUP
    reload: Receiver<()>,
    /// SIGUSR1, SIGUSR2
    small: Receiver<Small>,
    /// SIGTERM, SIGINT, SIGQUIT
    end: Receiver<End>,
    /// Why SIGINT is not heard, if it is not.
    pub interrupt: Result<(), String>,
}

/// What changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Small {
    ReopenLogs,
    Counters,
}

/// How to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Drain; the second time, stop.
    Finish,
    /// At once.
    Stop,
}

/// Installs the handlers, before any thread that does I/O exists, and blocks the signals in the calling thread and all it
/// starts later.
pub fn signals() -> std::io::Result<Events> {
    let (reloads, reload) = crossbeam_channel::bounded(1);
    let (smalls, small) = crossbeam_channel::bounded(16);
    // The third would say nothing that the second has not said.
    let (ends, end) = crossbeam_channel::bounded(2);
    let interrupts = ends.clone();
    let interrupt = match ctrlc::try_set_handler(move || tell(&interrupts, End::Finish)) {
        // As scripts do that start us with `&`.
        Err(ctrlc::Error::MultipleHandlers) => Err("SIGINT is ignored, as whoever started us set it".to_owned()),
        // Its thread: the handler is there already, and SIGINT would do nothing at all.
        Err(ctrlc::Error::System(error)) => return Err(error),
        other => other.map_err(|error| format!("SIGINT is not heard: {error}")),
    };
    let mut signals = Signals::new([SIGTERM, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2])?;
    std::thread::Builder::new().name("signals".into()).stack_size(STACK_SIZE).spawn(move || {
        for signal in signals.forever() {
            match signal {
                SIGHUP => tell(&reloads, ()),
                SIGUSR1 => tell(&smalls, Small::ReopenLogs),
                SIGUSR2 => tell(&smalls, Small::Counters),
                SIGQUIT => tell(&ends, End::Stop),
                _ => tell(&ends, End::Finish),
            }
        }
    })?;
    sys::block_control_signals()?;
    Ok(Events { reload, small, end, interrupt })
}

fn tell<T>(events: &Sender<T>, event: T) {
    let _full_of_the_same = events.try_send(event);
}

/// Runs until the router has stopped. `load` reads the configuration again.
pub fn run(
    mut server: Server,
    events: &Events,
    log: &LogHandle,
    mut load: impl FnMut() -> Result<Loaded, Vec<String>>,
    level: impl Fn(log::LevelFilter) -> log::LevelFilter,
) {
    loop {
        select_biased! {
            recv(events.end) -> end => return match end {
                Ok(End::Finish) => drain(server, events, log),
                Ok(End::Stop) | Err(_) => stop(server),
            },
            recv(events.small) -> event => if let Ok(event) = event {
                small(&server, log, event);
            },
            recv(events.reload) -> _ => {
                // A storm is one reload: the file is read after the last signal that came meanwhile.
                std::thread::sleep(STORM);
                let _came_meanwhile = events.reload.try_recv();
                reload(&mut server, log, &mut load, &level);
            },
        }
    }
}

/// What changes nothing.
fn small(server: &Server, log: &LogHandle, event: Small) {
    match event {
        Small::Counters => log.say(&format!("{} log_dropped={}", server.counters(), log.dropped())),
        Small::ReopenLogs => match (log.reopen(), server.reopen_logs()) {
            (Ok(()), Ok(())) => log::info!("log files are open again"),
            (log, access) => {
                for (which, failed) in [("log", log.err()), ("access log", access.err())] {
                    if let Some(error) = failed {
                        log::error!("the {which} could not be opened again: {error}; it goes on in the old file");
                    }
                }
            }
        },
    }
}

fn reload(
    server: &mut Server,
    log: &LogHandle,
    load: &mut impl FnMut() -> Result<Loaded, Vec<String>>,
    level: &impl Fn(log::LevelFilter) -> log::LevelFilter,
) {
    let generation = server.generation();
    let mut config = match load() {
        Ok(loaded) => loaded.config,
        Err(reports) => {
            server.count_failed_reload();
            for report in reports {
                log::error!("reload: {report}");
            }
            log::error!("reload: refused; generation {generation} stays in force");
            return;
        }
    };
    let before = server.config(Clone::clone);
    let restart = diff::needs_restart(&before, &config);
    // What needs a restart is the start's, so that the next reload says so again.
    config.log.file.clone_from(&before.log.file);
    let summary = diff::summary(&before, &config);
    let new_level = config.log.level;
    let bound = server.bound();
    match server.reload(config) {
        Ok(()) => {
            log.set_level(level(new_level));
            for line in restart {
                log::warn!("reload: {line}");
            }
            log::info!("reload: generation {} is in force: {summary}", server.generation());
            for (name, address) in server.bound().into_iter().filter(|place| !bound.contains(place)) {
                log::info!("listening on {name} {address}");
            }
        }
        Err(error) => {
            server.count_failed_reload();
            log::error!("reload: {error}");
            log::error!("reload: refused; generation {generation} stays in force");
        }
    }
}

fn drain(mut server: Server, events: &Events, log: &LogHandle) {
    let limit = server.config(|config| config.server.drain_timeout);
    let open = server.sessions();
    server.drain();
    // Not before: whoever reads this may rely on it that no answer lets its session go on.
    log::info!("draining: {open} sessions are open and get {limit:?}");
    let deadline = Instant::now() + limit;
    while !server.is_drained() {
        select_biased! {
            recv(events.end) -> _ => {
                log::warn!("stopping now: {} sessions are cut", server.sessions());
                break;
            },
            recv(events.small) -> event => if let Ok(event) = event {
                small(&server, log, event);
            },
            recv(events.reload) -> _ => log::warn!("reload: not while draining"),
            default(LOOK) => {},
        }
        if Instant::now() >= deadline {
            log::warn!("drain_timeout is over: {} sessions are cut", server.sessions());
            break;
        }
    }
    stop(server);
}

fn stop(server: Server) {
    server.stop();
    flood::tell();
    log::info!("stopped");
}
