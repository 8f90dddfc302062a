//! The control loop: what a signal means. Runs on the main thread, and is the only place where the router changes.
//!
//! SIGHUP reads the configuration again, SIGUSR1 opens log files again, SIGUSR2 writes the counters to the log. SIGTERM and
//! the first SIGINT drain; a second one, or SIGQUIT, stops now.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use signal_hook::consts::{SIGHUP, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use crate::config::Loaded;
use crate::diff;
use crate::log_file::LogHandle;
use crate::server::Server;
use crate::sys;

/// How often a drain is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// What the control loop is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// SIGHUP
    Reload,
    /// SIGUSR1
    ReopenLogs,
    /// SIGUSR2
    Counters,
    /// SIGTERM, SIGINT
    Finish,
    /// SIGQUIT
    Stop,
}

/// Installs the handlers, before any thread that does I/O exists, and blocks the signals in the calling thread and all it
/// starts later.
pub fn signals() -> std::io::Result<Receiver<Event>> {
    // Room for a storm: what does not fit is a repetition of what is in.
    let (events, received) = crossbeam_channel::bounded(64);
    // SIGINT is ctrlc's, as scripts that start us with `&` ignore it, which is not an error of ours.
    let interrupts = events.clone();
    if let Err(error) = ctrlc::try_set_handler(move || tell(&interrupts, Event::Finish)) {
        log::info!("SIGINT is left as the parent process set it: {error}");
    }
    let mut signals = Signals::new([SIGTERM, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            tell(
                &events,
                match signal {
                    SIGHUP => Event::Reload,
                    SIGUSR1 => Event::ReopenLogs,
                    SIGUSR2 => Event::Counters,
                    SIGQUIT => Event::Stop,
                    _ => Event::Finish,
                },
            );
        }
    })?;
    sys::block_control_signals()?;
    Ok(received)
}

fn tell(events: &Sender<Event>, event: Event) {
    let _full_of_the_same = events.try_send(event);
}

/// Runs until the router has stopped. `load` reads the configuration again.
pub fn run(
    mut server: Server,
    events: &Receiver<Event>,
    log: &LogHandle,
    mut load: impl FnMut() -> Result<Loaded, Vec<String>>,
    level: impl Fn(log::LevelFilter) -> log::LevelFilter,
) {
    loop {
        match events.recv() {
            Ok(Event::Reload) => {
                // A storm is one reload: the file is read after the last signal that is here.
                let mut others: Vec<Event> = events.try_iter().collect();
                others.retain(|event| *event != Event::Reload);
                reload(&mut server, log, &mut load, &level);
                for event in others {
                    match event {
                        Event::Finish => return drain(server, events, log),
                        Event::Stop => return stop(server),
                        other => small(&server, log, other),
                    }
                }
            }
            Ok(Event::Finish) => return drain(server, events, log),
            Ok(Event::Stop) | Err(_) => return stop(server),
            Ok(other) => small(&server, log, other),
        }
    }
}

/// What changes nothing.
fn small(server: &Server, log: &LogHandle, event: Event) {
    match event {
        Event::Counters => log::warn!("{}", server.counters()),
        Event::ReopenLogs => {
            server.reopen_logs();
            match log.reopen() {
                Ok(()) => log::info!("log files are open again"),
                Err(error) => log::error!("the log could not be opened again: {error}; it goes on in the old file"),
            }
        }
        Event::Reload | Event::Finish | Event::Stop => {}
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
    match server.reload(config) {
        Ok(()) => {
            log.set_level(level(new_level));
            for line in restart {
                log::warn!("reload: {line}");
            }
            log::info!("reload: generation {} is in force: {summary}", server.generation());
            for (name, address) in server.bound() {
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

fn drain(mut server: Server, events: &Receiver<Event>, log: &LogHandle) {
    let limit = server.config(|config| config.server.drain_timeout);
    log::info!("draining: {} sessions are open and get {limit:?}", server.sessions());
    server.drain();
    let deadline = Instant::now() + limit;
    while !server.is_drained() {
        match events.recv_timeout(LOOK) {
            Ok(Event::Finish | Event::Stop) => {
                log::warn!("stopping now: {} sessions are cut", server.sessions());
                break;
            }
            Ok(Event::Reload) => log::warn!("reload: not while draining"),
            Ok(other) => small(&server, log, other),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
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
    log::info!("stopped");
}
