//! What is compared: the peers, the router, the same router with other I/O models, a second router; and the origin
//! without a proxy, as the limit.
//!
//! Each is started anew for each cell: only one of them exists at a time, and none has a history.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::cargo::Part;
use crate::origin::Origin;
use crate::peer::{self, Demand, Peer};
use crate::process::{Process, pause};
use crate::room::Room;

/// From its start to `ready`.
const START_TIME: Duration = Duration::from_secs(10);
/// Its name in the table, and what ratios are against.
pub const NGINX: &str = "nginx";
pub const ROUTER: &str = "router";
pub const AGAINST: &str = "against";
pub const NO_PROXY: &str = "no proxy";
/// Programs of `bench/variants`, each takes the same file as the router. Their binaries are `variant-NAME`.
pub const VARIANTS: [&str; 5] = ["epoll", "tokio", "pinned", "coroutine", "uring"];

/// One of those who are compared.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub name: &'static str,
    program: Program,
}

#[derive(Debug, Clone)]
enum Program {
    None,
    Peer(&'static Peer),
    Router(PathBuf),
}

/// Who does not take part, and how that is changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Skipped {
    pub name: String,
    pub why: String,
}

/// A candidate that answers.
#[derive(Debug)]
pub struct Running {
    // Dropped in this order: nothing writes to a room that is gone.
    process: Option<Process>,
    _room: Option<Room>,
    pub address: SocketAddr,
}

impl Running {
    /// Where its CPU time is accounted; nowhere when there is no proxy.
    pub fn session(&self) -> Option<u32> {
        self.process.as_ref().map(Process::session)
    }

    pub fn must_run(&self) -> Result<(), String> {
        self.process.as_ref().map_or(Ok(()), Process::must_run)
    }
}

/// The names of all who could take part, in the order of the table.
pub fn everybody(against: bool) -> Vec<&'static str> {
    let peers = peer::ALL.iter().map(|peer| peer.name);
    [NO_PROXY].into_iter().chain(peers).chain([ROUTER]).chain(VARIANTS).chain(against.then_some(AGAINST)).collect()
}

/// All who are there, in the order of the table, and who is not. A router that takes part is there, or it is an error;
/// the others are when they are found, and when building them has not failed just now.
pub fn all(
    router: Option<&Path>,
    against: Option<&Path>,
    taking_part: &[&str],
    unbuilt: Vec<Skipped>,
) -> Result<(Vec<Candidate>, Vec<Skipped>), String> {
    let (mut found, mut skipped) = (Vec::new(), unbuilt);
    for name in everybody(against.is_some()) {
        if skipped.iter().any(|one| one.name == name) {
            continue;
        }
        let program = match name {
            NO_PROXY => Ok(Program::None),
            ROUTER if taking_part.contains(&ROUTER) => Ok(Program::Router(binary(router)?)),
            ROUTER => binary(router).map(Program::Router),
            AGAINST => Ok(Program::Router(binary(against)?)),
            _ => match peer::ALL.iter().find(|peer| peer.name == name) {
                Some(peer) => peer.program().map(|_| Program::Peer(peer)).ok_or_else(|| peer.missing()),
                None => variant(name).map(Program::Router),
            },
        };
        match program {
            Ok(program) => found.push(Candidate { name, program }),
            Err(why) => skipped.push(Skipped { name: name.to_owned(), why }),
        }
    }
    Ok((found, skipped))
}

impl Candidate {
    /// Starts it in front of the origin; it has answered once.
    pub fn start(&self, origin: &Origin, demand: Demand) -> Result<Running, String> {
        match &self.program {
            Program::None => Ok(Running { process: None, _room: None, address: origin.address() }),
            Program::Peer(peer) => {
                let room = Room::new(self.name)?;
                let (process, address) = peer.start(&room, origin, demand)?;
                Ok(Running { process: Some(process), _room: Some(room), address })
            }
            Program::Router(path) => self.start_router(path, origin, demand),
        }
    }

    /// The program and how it is asked for its version; none without a proxy.
    pub fn version(&self) -> Option<(PathBuf, &'static [&'static str])> {
        match &self.program {
            Program::None => None,
            // Of the source tree here, as the commit says.
            Program::Router(_) if VARIANTS.contains(&self.name) => None,
            Program::Peer(peer) => peer.program().map(|program| (program, peer.version)),
            Program::Router(path) => Some((path.clone(), &["--version"])),
        }
    }

    fn start_router(&self, path: &Path, origin: &Origin, demand: Demand) -> Result<Running, String> {
        let room = Room::new(self.name)?;
        let file = room.write("config.ini", router_ini(origin.address(), demand).as_bytes())?;
        let mut command = Command::new(path);
        command.arg("--config").arg(file).current_dir(room.path());
        let process = Process::spawn(self.name, command, &room)?;
        let address = ready(&process).map_err(|reason| format!("{} does not start: {reason}", self.name))?;
        origin.is_behind(address).map_err(|reason| format!("{}: {reason}\n{}", self.name, process.last_words()))?;
        Ok(Running { process: Some(process), _room: Some(room), address })
    }
}

/// Nothing but what it must be told: the defaults are what is measured. The kernel chooses the port.
fn router_ini(origin: SocketAddr, demand: Demand) -> String {
    let server = demand.workers.map_or(String::new(), |workers| format!("[server]\nworkers = {workers}\n"));
    format!(
        "\
[listen:bench]
address = 127.0.0.1:0
backlog = 8192
pool = origin
[pool:origin]
backend = {origin}
[log]
level = warn
access = off
{server}"
    )
}

/// Waits until it says so, and tells where it listens.
fn ready(process: &Process) -> Result<SocketAddr, String> {
    let deadline = Instant::now() + START_TIME;
    loop {
        process.must_run()?;
        if let Some(address) = listening(&process.output()) {
            return Ok(address);
        }
        if Instant::now() > deadline {
            return Err(format!("not ready after {} s: {}", START_TIME.as_secs(), process.last_words()));
        }
        pause()?;
    }
}

/// `listening on NAME ADDRESS`, once `ready` has followed.
fn listening(output: &str) -> Option<SocketAddr> {
    output.lines().find(|line| *line == "ready")?;
    let line = output.lines().find_map(|line| line.strip_prefix("listening on bench "))?;
    line.trim().parse().ok()
}

/// The named one, or the one that `cargo build --release` leaves beside the directory we are in ourselves.
pub fn binary(named: Option<&Path>) -> Result<PathBuf, String> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => Part::Router.program("layer7router")?,
    };
    program(&path).ok_or_else(|| missing(&path))
}

/// The same of a variant.
fn variant(name: &str) -> Result<PathBuf, String> {
    let path = Part::Variants.program(&format!("variant-{name}"))?;
    program(&path).ok_or_else(|| format!("not built: `{}`", Part::Variants.command()))
}

/// Absolute: it is started from another directory.
fn program(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().filter(|path| path.is_file())
}

fn missing(path: &Path) -> String {
    format!("no router at {}: run `cargo build --release` first, or say --router PATH", path.display())
}

/// Somebody of that name, who is never started: for a plan before anybody is there.
pub fn stand_in(name: &'static str) -> Candidate {
    Candidate { name, program: Program::None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_is_ready_when_it_says_so() {
        let address = Some(SocketAddr::from(([127, 0, 0, 1], 18123)));
        let output = "256 workers: 512 threads\nlistening on bench 127.0.0.1:18123\nready\n";
        assert_eq!(listening(output), address);
        for cut in [0, 20, 40, 60, 63] {
            assert_eq!(listening(&output[..cut]), None, "{}", &output[..cut]);
        }
    }

    #[test]
    fn who_is_not_there_is_skipped_by_name() {
        // Any program will do.
        let own = std::env::current_exe().unwrap();
        let failed = Skipped { name: peer::PINGORA.to_owned(), why: "not built: `cargo build` has failed".to_owned() };
        let (found, skipped) = all(Some(&own), Some(&own), &[ROUTER], vec![failed.clone()]).unwrap();
        let mut names: Vec<&str> = found.iter().map(|one| one.name).collect();
        names.extend(skipped.iter().map(|one| one.name.as_str()));
        for name in everybody(true) {
            assert_eq!(names.iter().filter(|other| **other == name).count(), 1, "{name} in {names:?}");
        }
        assert!(skipped.contains(&failed), "{skipped:?}");
        assert!(
            skipped.iter().all(|one| one.why.contains("apt-get") || one.why.contains("cargo build")),
            "{skipped:?}"
        );
    }

    #[test]
    fn a_router_that_is_not_there_is_told_how_to_get() {
        let nowhere = Path::new("/nowhere/layer7router");
        let wanted = all(Some(nowhere), None, &[ROUTER], Vec::new()).unwrap_err();
        let (found, skipped) = all(Some(nowhere), None, &[NGINX], Vec::new()).unwrap();
        assert!(found.iter().all(|one| one.name != ROUTER));
        let unwanted = skipped.into_iter().find(|one| one.name == ROUTER).unwrap().why;
        for error in [binary(Some(nowhere)).unwrap_err(), wanted, unwanted] {
            assert!(error.contains("/nowhere/layer7router") && error.contains("cargo build --release"), "{error}");
        }
    }
}
