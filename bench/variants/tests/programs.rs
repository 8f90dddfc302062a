//! Each program as a process, between a scripted client and a scripted origin: the same script for all of them.

mod origin;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use origin::Origin;

const DEADLINE: Duration = Duration::from_secs(20);
const LARGE: usize = 10 * 1024 * 1024;

/// A program that runs; killed when dropped.
struct Program {
    child: Child,
    address: SocketAddr,
    file: std::path::PathBuf,
}

impl Program {
    fn start(path: &str, origin: SocketAddr) -> Self {
        let name = path.rsplit('/').next().expect("a name");
        let file = std::env::temp_dir().join(format!("{name}-{}.ini", std::process::id()));
        let text = format!(
            "[listen:bench]\naddress = 127.0.0.1:0\npool = origin\n[pool:origin]\nbackend = {origin}\n\
             [route:none]\npath = /none\nrespond = 404 \"nothing here\"\n"
        );
        std::fs::write(&file, text).expect("a file");
        let mut child =
            Command::new(path).arg("--config").arg(&file).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut line = || lines.next().expect("a line").expect("text");
        let address = line().strip_prefix("listening on bench ").expect("an address").parse().expect("an address");
        assert_eq!(line(), "ready");
        Self { child, address, file }
    }

    fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        Client { stream, unread: Vec::new() }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
        let _removed = std::fs::remove_file(&self.file);
    }
}

/// A connection to it.
struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("it reads");
    }

    /// Whether there was more.
    fn fill(&mut self) -> bool {
        let mut room = [0; 65536];
        let n = self.stream.read(&mut room).expect("it answers");
        self.unread.extend_from_slice(&room[..n]);
        n > 0
    }

    fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.unread.drain(..end + 2).collect::<Vec<_>>();
                return String::from_utf8(line[..end].to_vec()).expect("text");
            }
            assert!(self.fill(), "it ended in a line: {:?}", String::from_utf8_lossy(&self.unread));
        }
    }

    fn exactly(&mut self, n: usize) -> Vec<u8> {
        while self.unread.len() < n {
            assert!(self.fill(), "it ended in a body");
        }
        self.unread.drain(..n).collect()
    }

    /// Status, fields in lower case, body.
    fn answer(&mut self) -> (u16, Vec<String>, Vec<u8>) {
        let status = self.line().split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let mut fields = Vec::new();
        loop {
            match self.line() {
                line if line.is_empty() => break,
                line => fields.push(line.to_ascii_lowercase()),
            }
        }
        if status < 200 || status == 204 || status == 304 {
            return (status, fields, Vec::new());
        }
        let length =
            fields.iter().find_map(|line| line.strip_prefix("content-length: ")).map(|n| n.parse().expect("a length"));
        let mut body = Vec::new();
        if fields.iter().any(|line| line == "transfer-encoding: chunked") {
            loop {
                let size = usize::from_str_radix(&self.line(), 16).expect("a size");
                if size == 0 {
                    while !self.line().is_empty() {}
                    break;
                }
                body.extend(self.exactly(size));
                assert_eq!(self.line(), "");
            }
        } else if let Some(length) = length {
            body = self.exactly(length);
        } else {
            while self.fill() {}
            body.append(&mut self.unread);
        }
        (status, fields, body)
    }

    fn has_ended(&mut self) -> bool {
        let mut byte = [0];
        self.unread.is_empty() && matches!(self.stream.read(&mut byte), Ok(0))
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// Every byte is another than that 251 before.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

fn the_script(path: &str) {
    let origin = Origin::start();
    let program = Program::start(path, origin.address);
    let mut client = program.client();

    // Kept on both sides, and the head is rebuilt.
    for n in 0..5 {
        client.send(get("/head"));
        let (status, fields, body) = client.answer();
        let head = String::from_utf8(body).expect("text");
        assert_eq!(status, 200, "{n}: {head}");
        assert!(!fields.iter().any(|line| line.starts_with("connection:")), "{fields:?}");
        for field in [
            "GET /head HTTP/1.1\r\nHost: a\r\n",
            "Via: 1.1 layer7router-",
            "X-Forwarded-For: 127.0.0.1\r\n",
            "X-Request-Id: ",
        ] {
            assert!(head.contains(field), "{head}");
        }
    }
    assert_eq!(origin.connections(), 1, "the backend's connection is kept");

    // Chunks, with a pause between head and body; interim answers; the answer has chunks too.
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(client.answer().0, 100);
    client.send("5\r\nhello\r\n");
    client.send("1\r\n!\r\n0\r\n\r\n");
    assert_eq!(client.answer().2, b"hello!");

    // Two at once, and a third that is cut in the middle.
    let three = [get("/1"), get("/2"), get("/3")].concat();
    let (now, later) = three.split_at(three.len() - 5);
    client.send(now);
    assert_eq!(client.answer().2, b"/1");
    assert_eq!(client.answer().2, b"/2");
    client.send(later);
    assert_eq!(client.answer().2, b"/3");

    // Without a body, until the end, of our own.
    client.send("HEAD /1 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.line().starts_with("HTTP/1.1 200"));
    while !client.line().is_empty() {}
    client.send(get("/204"));
    assert_eq!(client.answer().0, 204);
    client.send(get("/none"));
    let (status, _, body) = client.answer();
    assert_eq!((status, body.as_slice()), (404, &b"nothing here\n"[..]));
    client.send(get("/until-close"));
    assert_eq!(client.answer().2, b"until the end");
    origin.wait_for_close();
    assert!(client.has_ended());

    let mut client = program.client();
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let (status, fields, body) = client.answer();
    assert_eq!((status, body.as_slice()), (200, &b"/1"[..]));
    assert!(fields.iter().any(|line| line == "connection: close") && client.has_ended(), "{fields:?}");

    // A kept connection that has died: the origin closes it after its answer without a word.
    let mut client = program.client();
    for _ in 0..3 {
        client.send(get("/then-close"));
        assert_eq!(client.answer().2, b"bye");
        origin.wait_for_close();
        client.send(get("/1"));
        assert_eq!(client.answer().2, b"/1");
    }

    // Refused, and told so.
    client.send("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    assert_eq!(client.answer().0, 400);
    assert!(client.has_ended());

    // Large ones, whole in memory at neither end.
    let mut client = program.client();
    let large = pattern(LARGE);
    client.send(get("/large"));
    assert!(client.answer().2 == large, "down");
    client.send(get("/large-chunked"));
    assert!(client.answer().2 == large, "down, in chunks");
    client.send(format!("POST /sum HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n"));
    client.send(&large);
    assert_eq!(client.answer().2, format!("{LARGE} true").as_bytes(), "up");
    client.send("POST /sum HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for chunk in large.chunks(60_000) {
        client.send(format!("{:x}\r\n", chunk.len()));
        client.send(chunk);
        client.send("\r\n");
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.answer().2, format!("{LARGE} true").as_bytes(), "up, in chunks");
    client.send(get("/1"));
    assert_eq!(client.answer().2, b"/1", "the session is as good as before");

    // An answer that breaks off must not look whole.
    client.send(get("/broken"));
    assert!(client.line().starts_with("HTTP/1.1 200"));
    let mut rest = Vec::new();
    assert!(client.stream.read_to_end(&mut rest).is_err(), "{:?}", String::from_utf8_lossy(&rest));

    // Many at once.
    let mut clients: Vec<Client> = (0..100).map(|_| program.client()).collect();
    for _ in 0..3 {
        clients.iter_mut().for_each(|client| client.send(get("/1")));
        assert!(clients.iter_mut().all(|client| client.answer().2 == b"/1"));
    }

    // Nobody there.
    drop(origin);
    let mut client = program.client();
    client.send(get("/1"));
    assert_eq!(client.answer().0, 502);
}

#[test]
fn epoll() {
    the_script(env!("CARGO_BIN_EXE_variant-epoll"));
}

#[test]
fn tokio() {
    the_script(env!("CARGO_BIN_EXE_variant-tokio"));
}

#[test]
fn pinned() {
    the_script(env!("CARGO_BIN_EXE_variant-pinned"));
}

#[test]
fn coroutine() {
    the_script(env!("CARGO_BIN_EXE_variant-coroutine"));
}

#[test]
fn uring() {
    the_script(env!("CARGO_BIN_EXE_variant-uring"));
}
