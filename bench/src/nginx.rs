//! nginx, started with a configuration of ours: as the origin, and as the proxy to compare with.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::{Process, pause};
use crate::room::{Room, free_port};

/// From its start to its first answer.
const START_TIME: Duration = Duration::from_secs(5);
/// Somebody else may take the port before nginx does: then another one.
const ATTEMPTS: u32 = 3;
/// Where Debian puts it, which is not in everybody's PATH.
const USUAL_PLACE: &str = "/usr/sbin/nginx";

/// What both have in common: nothing is logged for a request, nothing is closed by count or age while measuring, and
/// every file is in the room.
const COMMON: &str = "\
daemon off;
pid nginx.pid;
error_log error.log warn;
events {
    worker_connections 20000;
}
http {
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
";

/// The name to start it by.
pub fn program() -> &'static str {
    let in_path = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|directory| directory.join("nginx").is_file()));
    if !in_path && Path::new(USUAL_PLACE).is_file() { USUAL_PLACE } else { "nginx" }
}

/// A whole configuration: so many workers, and this inside of `http`.
pub fn configuration(workers: u32, http: &str) -> String {
    // Started by root, nginx would give its workers to another user, who cannot be relied on to reach the room.
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    format!("{user}worker_processes {workers};\n{COMMON}{http}}}\n")
}

/// Starts it in the room, on a port of its own, and waits until it is ready.
pub fn start(
    name: &str,
    room: &Room,
    configuration: impl Fn(u16) -> String,
    ready: impl Fn(SocketAddr) -> Result<(), String>,
) -> Result<(Process, SocketAddr), String> {
    let mut failure = String::new();
    for _ in 0..ATTEMPTS {
        let port = free_port()?;
        let address = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
        let file = room.write("nginx.conf", configuration(port).as_bytes())?;
        let mut command = Command::new(program());
        command.arg("-p").arg(room.path()).arg("-c").arg(file).args(["-e", "stderr"]);
        let process = Process::spawn(name, command, room)?;
        match wait(&process, || ready(address)) {
            Ok(()) => return Ok((process, address)),
            Err(reason) => failure = format!("{name} does not start: {reason}"),
        }
        pause()?;
    }
    Err(failure)
}

fn wait(process: &Process, ready: impl Fn() -> Result<(), String>) -> Result<(), String> {
    let deadline = Instant::now() + START_TIME;
    loop {
        process.must_run()?;
        match ready() {
            Ok(()) => return Ok(()),
            Err(reason) if Instant::now() > deadline => return Err(reason),
            Err(_) => pause()?,
        }
    }
}
