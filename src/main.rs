//! The program: reads the command line, decides, delegates, and turns the outcome into an exit code.

#![cfg_attr(not(test), warn(clippy::disallowed_methods, clippy::disallowed_types))]
#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use layer7router::cli::{self, Cli, Command};
use layer7router::config::model::Identity;
use layer7router::config::{self, Config, Loaded, Reports};
use layer7router::control::{self, Events};
use layer7router::inherited::Inherited;
use layer7router::log_file::{self, LogHandle};
use layer7router::panics;
use layer7router::pid_file::PidFile;
use layer7router::printable::printable;
use layer7router::privilege;
use layer7router::server::{Prepared, Server, StartError};
use layer7router::stdio;

/// Failed while running.
const FAILED: u8 = 1;
/// The configuration, or the host it is for (sysexits.h EX_CONFIG).
const CONFIG: u8 = 78;

fn main() -> ExitCode {
    panics::tell(None);
    let outcome = match Cli::try_parse() {
        Ok(cli) => command(&cli),
        Err(said) => usage(&said),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(code) => ExitCode::from(code),
    }
}

fn command(cli: &Cli) -> Result<(), u8> {
    match cli.command {
        _ if cli.test => check(cli),
        None | Some(Command::Run) => run(cli),
        Some(Command::Check) => check(cli),
        Some(Command::Config) => show(cli),
        Some(Command::Completions { shell }) => stdio::wanted(&cli::completions(shell)),
        Some(Command::Man) => stdio::wanted(&cli::manual().map_err(failed)?),
    }
}

/// `--help` and `--version`, which are output, and what is wrong with the command line.
fn usage(said: &clap::Error) -> Result<(), u8> {
    let rendered = said.render();
    let text = |styled: bool| if styled { rendered.ansi().to_string() } else { rendered.to_string() };
    match u8::try_from(said.exit_code()) {
        Ok(0) => stdio::wanted(&text(stdio::out_is_styled())),
        code => {
            stdio::err(&text(stdio::err_is_styled()));
            Err(code.unwrap_or(FAILED))
        }
    }
}

/// The top-level entry point for `run`.
fn run(cli: &Cli) -> Result<(), u8> {
    // First, while nothing else is open.
    let inherited = Inherited::take().map_err(failed)?;
    // Second, so that it holds for every thread.
    privilege::gain_nothing().map_err(|error| failed(format_args!("PR_SET_NO_NEW_PRIVS: {error}")))?;
    let loaded = load(cli)?;
    let (file, config) = (loaded.path, loaded.config);
    let events = control::signals().map_err(|error| failed(format_args!("signals cannot be handled: {error}")))?;
    let reload = || match &cli.from[..] {
        [] => read(&file).map_err(|reports| reports.iter().collect()),
        from => config::from_flags(from, &cli.to).map_err(|reports| reports.iter().collect()),
    };
    let level = |file| cli.options.level(file);
    let (server, log, _pid_file) = start(config, inherited, &events, level, reload)?;
    announce(&server, cli.options.quiet);
    control::run(server, &events, &log, reload, level);
    log.flush();
    Ok(())
}

/// Everything in its order: ports, then `user`, then whatever has a path, then threads.
fn start(
    config: Config,
    inherited: Inherited,
    events: &Events,
    level: impl Fn(log::LevelFilter) -> log::LevelFilter,
    reload: impl Fn() -> Result<Loaded, Vec<String>>,
) -> Result<(Server, LogHandle, Option<PidFile>), u8> {
    let (identity, log_to, pid_path) =
        (config.server.identity.clone(), config.log.clone(), config.server.pid_file.clone());
    let pid_failed = |error| match &pid_path {
        Some(path) => failed(format_args!("pid_file {}: {error}", path.display())),
        None => FAILED,
    };
    let become_whom = privilege::to_become(identity.as_ref()).map_err(failed)?;
    let prepared = Prepared::new(config, inherited).map_err(not_started)?;
    let mut pid_file = pid_path.as_deref().map(PidFile::open).transpose().map_err(pid_failed)?;
    if let Some(identity) = become_whom {
        privilege::become_user(identity).map_err(failed)?;
    }
    let log = log_file::start(&log_to.file, level(log_to.level)).map_err(|error| {
        failed(format_args!("the log cannot be started: {}", privilege::explained(error, identity.as_ref())))
    })?;
    panics::tell(Some(log.clone()));
    if let Err(why) = &events.interrupt {
        log::info!("{why}");
    }
    if let Some(Identity { user, uid, gid, .. }) = become_whom {
        log::info!("running as user {user}, {uid}:{gid}");
        // What root can read this user may not be able to: said now, not at the first reload.
        for report in reload().err().unwrap_or_default() {
            log::warn!("user {user} cannot read the configuration again, a reload will be refused: {report}");
        }
    }
    let server = Server::start(prepared).map_err(not_started)?;
    if let Some(file) = &mut pid_file {
        file.write().map_err(pid_failed)?;
    }
    Ok((server, log, pid_file))
}

/// Says why on stderr, and gives the exit code.
fn failed(why: impl std::fmt::Display) -> u8 {
    // It may name a path, and has lines of its own.
    let why = why.to_string();
    let lines: Vec<_> = why.lines().map(printable).collect();
    stdio::err(&format!("layer7router: {}\n", lines.join("\n")));
    FAILED
}

fn not_started(error: StartError) -> u8 {
    let code = failed(&error);
    if matches!(error, StartError::Bill(_)) { CONFIG } else { code }
}

/// The bill and the addresses. Whoever started us may have closed stdout: that is no reason not to run.
fn announce(server: &Server, quiet: bool) {
    let mut text = if quiet { String::new() } else { format!("{}\n", server.bill()) };
    for (name, address) in server.bound() {
        text.push_str(&printable(&format!("listening on {name} {address}")));
        text.push('\n');
    }
    text.push_str("ready\n");
    let _closed = stdio::out(&text);
    log::info!("layer7router {} is ready, generation {}", env!("CARGO_PKG_VERSION"), server.generation());
}

/// The top-level entry point for `check`.
fn check(cli: &Cli) -> Result<(), u8> {
    let loaded = load(cli)?;
    let config = &loaded.config;
    stdio::wanted(&format!(
        "{} is good: {} listeners, {} routes, {} pools\n",
        printable(&shown(&loaded.path)),
        config.listens.len(),
        config.routes.len(),
        config.pools.len()
    ))
}

/// The top-level entry point for `config`.
fn show(cli: &Cli) -> Result<(), u8> {
    let loaded = load(cli)?;
    let (mut section, mut text) = ("", String::new());
    for setting in &loaded.settings {
        if setting.section != section {
            let space = if section.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{space}[{}]\n", setting.section));
            section = &setting.section;
        }
        let line = format!("{} = {}", setting.key, setting.value);
        text.push_str(&printable(&format!("{line:<48} {}", setting.origin)));
        text.push('\n');
    }
    stdio::wanted(&text)
}

fn load(cli: &Cli) -> Result<Loaded, u8> {
    let loaded = if cli.from.is_empty() {
        let Some(path) = cli.options.file() else {
            stdio::err(&format!(
                "layer7router: no configuration: neither {} exists. The smallest useful one is\n\n{}\n\
                 or, with no file at all: layer7router --from :8080 --to 127.0.0.1:3000\n",
                cli::DEFAULT_PATHS.join(" nor "),
                cli::SMALLEST
            ));
            return Err(CONFIG);
        };
        read(&path)
    } else {
        config::from_flags(&cli.from, &cli.to)
    };
    loaded.map_err(|reports| {
        if matches!(cli.command, None | Some(Command::Run)) && !cli.test && !stdio::err_is_terminal() {
            // What a service manager puts into its log has no lines of the file in it: there may be a secret on one.
            reports.iter().for_each(|report| stdio::err(&format!("layer7router: {report}\n")));
        } else {
            stdio::err(&format!("{}\n", reports.render(stdio::err_is_styled())));
        }
        CONFIG
    })
}

fn read(path: &Path) -> Result<Loaded, Reports> {
    config::load(path, &|name| std::env::var(name).ok())
}

fn shown(path: &Path) -> String {
    if path.as_os_str().is_empty() { "the command line".to_owned() } else { path.display().to_string() }
}
