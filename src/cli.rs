//! The command line: what was asked for, read by clap, from which help, completions and the manual are made too.

use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

/// Where a configuration is looked for, in this order.
pub const DEFAULT_PATHS: [&str; 2] = ["config.ini", "/etc/layer7router/config.ini"];

/// The smallest useful file, shown to whoever has none.
pub const SMALLEST: &str = "[listen:http]\naddress = :8080\npool = app\n\n[pool:app]\nbackend = 127.0.0.1:3000\n";

/// An HTTP router for small hosts: blocking I/O on a bounded pool of thread pairs.
#[derive(Debug, Parser)]
#[command(
    name = "layer7router",
    version,
    args_conflicts_with_subcommands = false,
    after_help = "Signals: HUP reads the file again, TERM and INT finish, QUIT stops now, USR1 opens the logs again, \
                  USR2 writes the counters to the log.\n\
                  Exit codes: 0 asked to stop, 1 failed while running, 2 usage, 74 output not written, 78 configuration."
)]
pub struct Cli {
    /// What to do; `run` when nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What may stand anywhere.
    #[command(flatten)]
    pub options: Options,
    /// The same as `check`
    #[arg(short = 't', long = "test")]
    pub test: bool,
    /// Listen here, without a file: `:8080`, `127.0.0.1:8080` or `unix:/path` (repeats)
    #[arg(long, value_name = "ADDRESS", requires = "to", conflicts_with = "config")]
    pub from: Vec<String>,
    /// Route to this backend, without a file: `127.0.0.1:3000` or `unix:/path` (repeats)
    #[arg(long, value_name = "BACKEND", requires = "from", conflicts_with = "config")]
    pub to: Vec<String>,
}

/// What may stand anywhere.
#[derive(Debug, Args)]
pub struct Options {
    /// The configuration file [default: ./config.ini, then /etc/layer7router/config.ini]
    #[arg(short, long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Log more: once debug, twice trace
    #[arg(short, long, action = clap::ArgAction::Count, global = true, conflicts_with = "quiet")]
    pub verbose: u8,
    /// Log errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Route, until a signal says otherwise (the default)
    Run,
    /// Read the configuration and say whether it is good
    Check,
    /// Show the effective values, each with its origin
    Config,
    /// Write completions for a shell to stdout
    Completions {
        /// Which one
        shell: Shell,
    },
    /// Write the manual page to stdout
    Man,
}

impl Options {
    /// The level to log at: the file's, unless the command line says otherwise.
    pub fn level(&self, file: log::LevelFilter) -> log::LevelFilter {
        match (self.quiet, self.verbose) {
            (true, _) => log::LevelFilter::Error,
            (_, 0) => file,
            (_, 1) => file.max(log::LevelFilter::Debug),
            _ => log::LevelFilter::Trace,
        }
    }

    /// The file that was named, or the first of the usual places that has one.
    pub fn file(&self) -> Option<PathBuf> {
        self.config.clone().or_else(|| DEFAULT_PATHS.iter().map(Path::new).find(|path| path.exists()).map(Into::into))
    }
}

/// Completions for a shell. Made in memory: clap_complete panics where it cannot write.
pub fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "layer7router", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The manual page.
pub fn manual() -> std::io::Result<String> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_smallest_file_is_four_lines_that_work() {
        assert!(crate::config::parse_str("config.ini", SMALLEST, &|_| None).is_ok());
        assert_eq!(SMALLEST.lines().filter(|line| line.contains('=')).count(), 3);
    }
}
