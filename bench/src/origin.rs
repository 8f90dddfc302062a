//! The origins: an nginx that serves one file of 1 KB and one of 10 MB, and `stage` for what it cannot do; and a request
//! that tells whether a program passes on what they serve.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::load;
use crate::nginx;
use crate::port;
use crate::process::Process;
use crate::room::Room;

/// The file's size.
pub const BODY_BYTES: usize = 1024;
/// The file's path.
pub const PATH: &str = "/1k";
/// The large file, which nginx alone has.
pub const LARGE_BYTES: usize = 10 * 1024 * 1024;
pub const LARGE: &str = "/10m";

const ANSWER_TIME: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// One worker serves more than any proxy passes on here, as the row without a proxy shows, and with one there is no
/// luck in how a proxy's connections are spread over them. Without sendfile, head and body leave in one write; with
/// the cache, the file is opened once.
const WORKERS: u32 = 1;
const SETTINGS: &str = "\
    sendfile off;
    open_file_cache max=16 inactive=1h;
    open_file_cache_valid 1h;
    default_type application/octet-stream;
";

/// A running origin.
#[derive(Debug)]
pub struct Origin {
    // Dropped in this order: nothing writes to a room that is gone.
    process: Process,
    _room: Room,
    address: SocketAddr,
    body: Vec<u8>,
}

impl Origin {
    pub fn start() -> Result<Self, String> {
        let room = Room::new("origin")?;
        let body = body();
        let files = room.path().join("files");
        fs::create_dir(&files).map_err(|error| format!("{}: {error}", files.display()))?;
        room.write(&format!("files{PATH}"), &body)?;
        room.write(&format!("files{LARGE}"), &body.iter().copied().cycle().take(LARGE_BYTES).collect::<Vec<_>>())?;
        let (process, address) =
            nginx::start("origin", &room, configuration, |address| check(address, &body, ANSWER_TIME))?;
        Ok(Self { process, _room: room, address, body })
    }

    /// The other one.
    pub fn stage() -> Result<Self, String> {
        let room = Room::new("stage")?;
        let body = body();
        let file = room.write("file", &body)?;
        let program = load::own()?;
        let command = |port| {
            let mut command = Command::new(&program);
            command.args(["stage", &format!("127.0.0.1:{port}")]).arg(&file);
            Ok(command)
        };
        let (process, address) = port::start("stage", &room, command, |address| check(address, &body, ANSWER_TIME))?;
        Ok(Self { process, _room: room, address, body })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn session(&self) -> u32 {
        self.process.session()
    }

    pub fn must_run(&self) -> Result<(), String> {
        self.process.must_run()
    }

    /// Whether whoever listens there passes on what this origin serves: 200 and the whole file.
    pub fn is_behind(&self, address: SocketAddr) -> Result<(), String> {
        check(address, &self.body, ANSWER_TIME)
    }
}

fn configuration(port: u16) -> String {
    let server = format!(
        "    server {{\n        listen 127.0.0.1:{port} backlog=8192;\n        root files;\n        location = {LARGE} {{ sendfile on; }}\n    }}\n"
    );
    nginx::configuration(WORKERS, &format!("{SETTINGS}{server}"))
}

/// Different in each run: an answer of somebody else's origin is not taken for ours.
fn body() -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let line = format!("layer7router bench {} {now}\n", std::process::id());
    line.bytes().cycle().take(BODY_BYTES).collect()
}

fn check(address: SocketAddr, body: &[u8], limit: Duration) -> Result<(), String> {
    let answer = get(address, limit).map_err(|error| format!("{address}: {error}"))?;
    if answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(body) {
        return Ok(());
    }
    let line = answer.split(|&byte| byte == b'\r').next().unwrap_or_default();
    Err(format!("{address} does not answer with the origin's file but with `{}`", line.escape_ascii()))
}

fn get(address: SocketAddr, limit: Duration) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    write!(stream, "GET {PATH} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn answered_with(answer: &[u8]) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut stream = listener.accept().unwrap().0;
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    request.push(byte[0]);
                }
                stream.write_all(answer).unwrap();
            });
            check(address, b"the file", ANSWER_TIME)
        })
    }

    #[test]
    fn only_the_file_with_200_is_the_origin() {
        assert_eq!(answered_with(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nthe file"), Ok(()));
        for answer in ["HTTP/1.1 200 OK\r\n\r\nanother", "HTTP/1.1 502 Bad Gateway\r\n\r\nthe file", ""] {
            let error = answered_with(answer.as_bytes()).unwrap_err();
            assert!(error.contains("does not answer with the origin's file"), "{error}");
        }
    }

    #[test]
    fn the_file_has_its_size() {
        assert_eq!(body().len(), BODY_BYTES);
    }
}
