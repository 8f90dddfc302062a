//! nginx as the origin, started with a configuration of ours. As a proxy it is a peer.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use crate::peer;
use crate::port;
use crate::process::Process;
use crate::room::Room;

/// Nothing is logged for a request, nothing is closed by count or age while measuring, and every file is in the room.
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
pub fn program() -> PathBuf {
    peer::installed("nginx").unwrap_or_else(|| PathBuf::from("nginx"))
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
    let command = |port| {
        let file = room.write("nginx.conf", configuration(port).as_bytes())?;
        let mut command = Command::new(program());
        command.arg("-p").arg(room.path()).arg("-c").arg(file).args(["-e", "stderr"]);
        Ok(command)
    };
    port::start(name, room, command, ready)
}
