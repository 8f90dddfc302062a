//! The program: reads the command line, decides, delegates, and turns the outcome into an exit code.

#![cfg_attr(not(test), warn(clippy::disallowed_methods, clippy::disallowed_types))]

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use layer7router::cli::{self, Cli, Command};
use layer7router::config::{self, Loaded, Reports};
use layer7router::server::{Server, StartError};
use layer7router::{control, log_file};

/// Failed while running.
const FAILED: u8 = 1;
/// The configuration, or the host it is for (sysexits.h EX_CONFIG).
const CONFIG: u8 = 78;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        _ if cli.test => check(&cli),
        None | Some(Command::Run) => run(&cli),
        Some(Command::Check) => check(&cli),
        Some(Command::Config) => show(&cli),
        Some(Command::Completions { shell }) => {
            cli::completions(shell, &mut std::io::stdout());
            Ok(())
        }
        Some(Command::Man) => cli::manual(&mut std::io::stdout()).map_err(|error| {
            eprintln!("layer7router: {error}");
            FAILED
        }),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(code) => ExitCode::from(code),
    }
}

/// The top-level entry point for `run`.
fn run(cli: &Cli) -> Result<(), u8> {
    let loaded = load(cli)?;
    let events = control::signals().map_err(|error| {
        eprintln!("layer7router: signals cannot be handled: {error}");
        FAILED
    })?;
    let log =
        log_file::start(&loaded.config.log.file, cli.options.level(loaded.config.log.level)).map_err(|error| {
            eprintln!("layer7router: the log cannot be started: {error}");
            FAILED
        })?;
    if let Err(why) = &events.interrupt {
        log::info!("{why}");
    }
    let pid_file = loaded.config.server.pid_file.clone();
    let main_file = loaded.path.clone();
    let server = Server::start(loaded.config).map_err(|error| {
        eprintln!("layer7router: {error}");
        if matches!(error, StartError::Bill(_)) { CONFIG } else { FAILED }
    })?;
    if let Some(path) = &pid_file {
        std::fs::write(path, format!("{}\n", std::process::id())).map_err(|error| {
            eprintln!("layer7router: pid_file {}: {error}", path.display());
            FAILED
        })?;
    }
    announce(&server, cli.options.quiet);
    let reload = || match &cli.from[..] {
        [] => read(&main_file).map_err(|reports| reports.iter().collect()),
        from => config::from_flags(from, &cli.to).map_err(|reports| reports.iter().collect()),
    };
    control::run(server, &events, &log, reload, |file| cli.options.level(file));
    log.flush();
    if let Some(path) = &pid_file {
        let _gone_already = std::fs::remove_file(path);
    }
    Ok(())
}

/// The bill and the addresses. Whoever started us may have closed stdout: that is no reason not to run.
fn announce(server: &Server, quiet: bool) {
    let mut out = std::io::stdout().lock();
    if !quiet {
        let _closed = writeln!(out, "{}", server.bill());
    }
    for (name, address) in server.bound() {
        let _closed = writeln!(out, "listening on {name} {address}");
    }
    let _closed = writeln!(out, "ready").and_then(|()| out.flush());
    log::info!("layer7router {} is ready, generation {}", env!("CARGO_PKG_VERSION"), server.generation());
}

/// The top-level entry point for `check`.
fn check(cli: &Cli) -> Result<(), u8> {
    let loaded = load(cli)?;
    let config = &loaded.config;
    println!(
        "{} is good: {} listeners, {} routes, {} pools",
        shown(&loaded.path),
        config.listens.len(),
        config.routes.len(),
        config.pools.len()
    );
    Ok(())
}

/// The top-level entry point for `config`.
fn show(cli: &Cli) -> Result<(), u8> {
    let loaded = load(cli)?;
    let mut section = String::new();
    let mut out = std::io::stdout().lock();
    for setting in &loaded.settings {
        if setting.section != section {
            let space = if section.is_empty() { "" } else { "\n" };
            let _closed = writeln!(out, "{space}[{}]", setting.section);
            section.clone_from(&setting.section);
        }
        let line = format!("{} = {}", setting.key, setting.value);
        let _closed = writeln!(out, "{line:<48} {}", setting.origin);
    }
    Ok(())
}

fn load(cli: &Cli) -> Result<Loaded, u8> {
    let loaded = if cli.from.is_empty() {
        let Some(path) = cli.options.file() else {
            eprintln!(
                "layer7router: no configuration: neither {} exists. The smallest useful one is\n\n{}\n\
                 or, with no file at all: layer7router --from :8080 --to 127.0.0.1:3000",
                cli::DEFAULT_PATHS.join(" nor "),
                cli::SMALLEST
            );
            return Err(CONFIG);
        };
        read(&path)
    } else {
        config::from_flags(&cli.from, &cli.to)
    };
    loaded.map_err(|reports| {
        eprintln!("{}", reports.render(std::io::stderr().is_terminal()));
        CONFIG
    })
}

fn read(path: &Path) -> Result<Loaded, Reports> {
    config::load(path, &|name| std::env::var(name).ok())
}

fn shown(path: &Path) -> String {
    if path.as_os_str().is_empty() { "the command line".to_owned() } else { path.display().to_string() }
}
