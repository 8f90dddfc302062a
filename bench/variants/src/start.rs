//! What every program begins with: its command line, its file, and the two lines that the bench waits for.
//!
//! `-c FILE` or `--config FILE`, and `--threads N`. It runs in the foreground until it is killed.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use layer7router::config;

use crate::site::Site;

/// Threads, unless the command line says otherwise: as many workers as nginx has in the same bench.
const THREADS: usize = 2;

/// What a program is to run.
#[derive(Debug, Clone)]
pub struct Start {
    /// The configuration.
    pub site: Arc<Site>,
    /// Where to listen.
    pub address: SocketAddr,
    /// Loops, or workers of a runtime.
    pub threads: usize,
}

/// Reads the command line and the file, and runs the program. It ends only when that has failed.
pub fn run(program: impl FnOnce(Start) -> Result<(), String>) -> ExitCode {
    match read(std::env::args().skip(1)).and_then(program) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn read(mut arguments: impl Iterator<Item = String>) -> Result<Start, String> {
    const USAGE: &str = "usage: --config FILE [--threads N]";
    let (mut file, mut threads) = (None, THREADS);
    while let Some(option) = arguments.next() {
        let value = arguments.next().ok_or(USAGE)?;
        match option.as_str() {
            "-c" | "--config" => file = Some(PathBuf::from(value)),
            "--threads" => threads = value.parse().ok().filter(|n| (1..=256).contains(n)).ok_or(USAGE)?,
            _ => return Err(USAGE.to_owned()),
        }
    }
    let file = file.ok_or(USAGE)?;
    let loaded = config::load(&file, &|name| std::env::var(name).ok())
        .map_err(|reports| reports.iter().map(|report| format!("{report}\n")).collect::<String>())?;
    let site = Arc::new(Site::new(loaded.config)?);
    let address = site.listen()?;
    Ok(Start { site, address, threads })
}

impl Start {
    /// Says that it listens, as the product does.
    pub fn ready(&self, bound: SocketAddr) {
        let name = &self.site.snapshot.config.listens[0].name;
        let mut out = std::io::stdout().lock();
        let _closed = writeln!(out, "listening on {name} {bound}\nready").and_then(|()| out.flush());
    }
}
