//! What is compared: nginx as a proxy, the router, a second router; and the origin without a proxy, as the limit.
//!
//! Each is started anew for each cell: only one of them exists at a time, and none has a history.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::nginx;
use crate::origin::Origin;
use crate::process::{Process, pause};
use crate::room::Room;

/// From its start to `ready`.
const START_TIME: Duration = Duration::from_secs(10);
const NGINX_WORKERS: u32 = 2;
/// Of each worker, to the origin: as many as it will want at the levels that are measured.
const NGINX_KEEPALIVE: u32 = 1024;
/// Its name in the table, and what ratios are against.
pub const NGINX: &str = "nginx";
pub const ROUTER: &str = "router";
pub const AGAINST: &str = "against";
pub const NO_PROXY: &str = "no proxy";

/// One of those who are compared.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub name: &'static str,
    program: Program,
}

#[derive(Debug, Clone)]
enum Program {
    None,
    Nginx,
    Router(PathBuf),
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

/// All who take part, in the order of the table.
pub fn all(router: PathBuf, against: Option<PathBuf>) -> Vec<Candidate> {
    let mut all = vec![
        Candidate { name: NO_PROXY, program: Program::None },
        Candidate { name: NGINX, program: Program::Nginx },
        Candidate { name: ROUTER, program: Program::Router(router) },
    ];
    all.extend(against.map(|path| Candidate { name: AGAINST, program: Program::Router(path) }));
    all
}

impl Candidate {
    /// Starts it in front of the origin; it has answered once.
    pub fn start(&self, origin: &Origin) -> Result<Running, String> {
        match &self.program {
            Program::None => Ok(Running { process: None, _room: None, address: origin.address() }),
            Program::Nginx => self.start_nginx(origin),
            Program::Router(path) => self.start_router(path, origin),
        }
    }

    fn start_nginx(&self, origin: &Origin) -> Result<Running, String> {
        let room = Room::new(self.name)?;
        let configuration = |port| nginx::configuration(NGINX_WORKERS, &nginx_http(port, origin.address()));
        let (process, address) = nginx::start(self.name, &room, configuration, |address| origin.is_behind(address))?;
        Ok(Running { process: Some(process), _room: Some(room), address })
    }

    fn start_router(&self, path: &Path, origin: &Origin) -> Result<Running, String> {
        let room = Room::new(self.name)?;
        let file = room.write("config.ini", router_ini(origin.address()).as_bytes())?;
        let mut command = Command::new(path);
        command.arg("--config").arg(file).current_dir(room.path());
        let process = Process::spawn(self.name, command, &room)?;
        let address = ready(&process).map_err(|reason| format!("{} does not start: {reason}", self.name))?;
        origin.is_behind(address).map_err(|reason| format!("{}: {reason}\n{}", self.name, process.last_words()))?;
        Ok(Running { process: Some(process), _room: Some(room), address })
    }
}

/// As its users would tune it for this load: kept connections on both sides, nothing written down.
fn nginx_http(port: u16, origin: SocketAddr) -> String {
    format!(
        "\
    upstream origin {{
        server {origin};
        keepalive {NGINX_KEEPALIVE};
        keepalive_requests 1000000000;
        keepalive_timeout 1h;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=8192;
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
        }}
    }}
"
    )
}

/// Nothing but what it must be told: the defaults are what is measured. The kernel chooses the port.
fn router_ini(origin: SocketAddr) -> String {
    format!(
        "\
[listen:bench]
address = 127.0.0.1:0
pool = origin
[pool:origin]
backend = {origin}
[log]
level = warn
access = off
"
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
        None => {
            let own = std::env::current_exe().map_err(|error| format!("where we are: {error}"))?;
            let target = own.parent().and_then(Path::parent).unwrap_or(Path::new("target"));
            target.join("release/layer7router")
        }
    };
    // Absolute: it is started from another directory.
    match path.canonicalize() {
        Ok(path) if path.is_file() => Ok(path),
        _ => Err(format!("no router at {}: run `cargo build --release` first, or say --router PATH", path.display())),
    }
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
    fn the_second_router_takes_part_when_it_is_there() {
        let names = |against| all("a".into(), against).iter().map(|candidate| candidate.name).collect::<Vec<_>>();
        assert_eq!(names(None), [NO_PROXY, NGINX, ROUTER]);
        assert_eq!(names(Some("b".into())), [NO_PROXY, NGINX, ROUTER, AGAINST]);
    }

    #[test]
    fn a_router_that_is_not_there_is_told_how_to_get() {
        let error = binary(Some(Path::new("/nowhere/layer7router"))).unwrap_err();
        assert!(error.contains("/nowhere/layer7router") && error.contains("cargo build --release"), "{error}");
    }
}
