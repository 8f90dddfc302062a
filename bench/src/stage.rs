//! The other origin, for what nginx cannot be without modules: answers in chunks or after a while, large bodies that
//! are read to their end, WebSocket. One thread; like nginx, it is a process of its own.
//!
//! It trusts what it is sent: whoever is behind a proxy of this bench is nobody's attacker.

use std::collections::VecDeque;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};

use crate::poll::Poll;
use crate::websocket;

/// 64 KB in eight chunks.
pub const CHUNKED: &str = "/chunked";
pub const CHUNKED_BYTES: usize = 64 * 1024;
/// The file, 50 ms after it was asked for.
pub const SLOW: &str = "/slow";
const SLOW_TIME: Duration = Duration::from_millis(50);
/// A body by Content-Length is read, then two bytes are answered.
pub const UPLOAD: &str = "/upload";
pub const UPLOAD_ANSWER: &str = "ok";
/// Turns into WebSocket, and echoes.
pub const SOCKET: &str = "/socket";

const BACKLOG: i32 = 8192;
const LISTENER: usize = usize::MAX - 1;
const READ_BYTES: usize = 256 * 1024;
const CHUNK_BYTES: usize = 8 * 1024;
/// No proxy here sends a longer one.
const HEAD_MAX: usize = 16 * 1024;

/// Serves until it is killed; the file is what `/1k` and `/slow` are answered with.
pub fn serve(address: &str, file: &str) -> Result<u64, String> {
    let address: SocketAddr = address.parse().map_err(|_| format!("`{address}` is not an address"))?;
    let file = fs::read(file).map_err(|error| format!("{file}: {error}"))?;
    let listener = listener(address).map_err(|error| format!("{address}: {error}"))?;
    let mut stage = Stage {
        poll: Poll::new()?,
        listener,
        connections: Vec::new(),
        free: Vec::new(),
        late: VecDeque::new(),
        serial: 0,
        answers: Answers::new(&file),
    };
    stage.poll.add(&stage.listener, LISTENER)?;
    let mut buffer = vec![0; READ_BYTES];
    let mut ready = Vec::new();
    loop {
        let due = stage.late.front().map(|late| late.due);
        stage.poll.wait(due, &mut ready)?;
        stage.answer_late();
        for &token in &ready {
            if token == LISTENER { stage.accept()? } else { stage.turn(token, &mut buffer) }
        }
    }
}

/// std listens with a backlog of its own choice.
fn listener(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Whole answers, made once.
#[derive(Debug)]
struct Answers {
    file: Vec<u8>,
    chunked: Vec<u8>,
    upload: Vec<u8>,
    unknown: Vec<u8>,
}

impl Answers {
    fn new(file: &[u8]) -> Self {
        let plain = |status: &str, body: &[u8]| {
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
            [head.as_bytes(), body].concat()
        };
        let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for _ in 0..CHUNKED_BYTES / CHUNK_BYTES {
            chunked.extend_from_slice(format!("{CHUNK_BYTES:x}\r\n").as_bytes());
            chunked.extend(file.iter().cycle().take(CHUNK_BYTES));
            chunked.extend_from_slice(b"\r\n");
        }
        chunked.extend_from_slice(b"0\r\n\r\n");
        let upload = plain("200 OK", UPLOAD_ANSWER.as_bytes());
        Self { file: plain("200 OK", file), chunked, upload, unknown: plain("404 Not Found", b"") }
    }
}

/// An answer that is not due yet.
#[derive(Debug)]
struct Late {
    due: Instant,
    token: usize,
    /// The connection that it belongs to: another one may have its token by then.
    serial: u64,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    serial: u64,
    /// What has come and is not understood yet.
    input: Vec<u8>,
    /// What could not be written yet.
    output: VecDeque<u8>,
    /// Of a body, still to come.
    body: u64,
    websocket: bool,
    /// Closed when all is written.
    last: bool,
}

struct Stage {
    poll: Poll,
    listener: TcpListener,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    late: VecDeque<Late>,
    serial: u64,
    answers: Answers,
}

impl Stage {
    fn accept(&mut self) -> Result<(), String> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(format!("accept: {error}")),
            };
            if stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true)).is_err() {
                continue;
            }
            let token = self.free.pop().unwrap_or(self.connections.len());
            self.poll.add(&stream, token)?;
            self.serial += 1;
            let connection = Connection {
                stream,
                serial: self.serial,
                input: Vec::new(),
                output: VecDeque::new(),
                body: 0,
                websocket: false,
                last: false,
            };
            if token == self.connections.len() {
                self.connections.push(Some(connection));
            } else {
                self.connections[token] = Some(connection);
            }
        }
    }

    fn answer_late(&mut self) {
        let now = Instant::now();
        while let Some(late) = self.late.pop_front_if(|late| late.due <= now) {
            let Some(connection) = &mut self.connections[late.token] else { continue };
            if connection.serial == late.serial && !connection.write(&self.poll, late.token, &self.answers.file) {
                self.close(late.token);
            }
        }
    }

    /// Reads once, and answers whatever is whole.
    fn turn(&mut self, token: usize, buffer: &mut [u8]) {
        let Some(connection) = &mut self.connections[token] else { return };
        if !connection.output.is_empty() && !connection.write(&self.poll, token, b"") {
            return self.close(token);
        }
        let read = match connection.stream.read(buffer) {
            Ok(0) => return self.close(token),
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return,
            Err(_) => return self.close(token),
        };
        let mut arrived = &buffer[..read];
        if connection.body > 0 {
            let (of_body, rest) = arrived.split_at(arrived.len().min(connection.body as usize));
            arrived = rest;
            connection.body -= of_body.len() as u64;
            if connection.body == 0 && !connection.write(&self.poll, token, &self.answers.upload) {
                return self.close(token);
            }
        }
        connection.input.extend_from_slice(arrived);
        if !self.understood(token) {
            self.close(token);
        }
    }

    /// False when the connection has to end.
    fn understood(&mut self, token: usize) -> bool {
        let Some(connection) = &mut self.connections[token] else { return true };
        loop {
            if connection.websocket {
                let (used, answer) = websocket::echoed(&connection.input);
                connection.input.drain(..used);
                return answer.is_empty() || connection.write(&self.poll, token, &answer);
            }
            let Some(end) = connection.input.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
                return connection.input.len() < HEAD_MAX;
            };
            let mut rest = connection.input.split_off(end + 4);
            let head = String::from_utf8_lossy(&connection.input).into_owned();
            connection.last = field(&head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
            let good = match head.split(' ').nth(1) {
                Some(SLOW) => {
                    let (due, serial) = (Instant::now() + SLOW_TIME, connection.serial);
                    self.late.push_back(Late { due, token, serial });
                    true
                }
                Some(CHUNKED) => connection.write(&self.poll, token, &self.answers.chunked),
                Some(UPLOAD) => {
                    let Some(length) = field(&head, "content-length").and_then(|value| value.parse::<u64>().ok())
                    else {
                        return false;
                    };
                    let here = rest.len().min(length as usize);
                    rest.drain(..here);
                    connection.body = length - here as u64;
                    connection.body > 0 || connection.write(&self.poll, token, &self.answers.upload)
                }
                Some(SOCKET) => {
                    connection.websocket = true;
                    connection.write(&self.poll, token, websocket::ACCEPTED.as_bytes())
                }
                Some(crate::origin::PATH) => connection.write(&self.poll, token, &self.answers.file),
                _ => connection.write(&self.poll, token, &self.answers.unknown),
            };
            connection.input = rest;
            if !good {
                return false;
            }
        }
    }

    fn close(&mut self, token: usize) {
        if self.connections[token].take().is_some() {
            self.free.push(token);
        }
    }
}

impl Connection {
    /// As much as goes; the rest when there is room. False when the connection has ended, or should.
    fn write(&mut self, poll: &Poll, token: usize, bytes: &[u8]) -> bool {
        let waited = !self.output.is_empty();
        let mut bytes = bytes;
        if waited {
            self.output.extend(bytes);
        }
        loop {
            let next = if waited { self.output.as_slices().0 } else { bytes };
            if next.is_empty() {
                break;
            }
            match self.stream.write(next) {
                Ok(0) => return false,
                Ok(written) if waited => drop(self.output.drain(..written)),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !waited {
                        self.output.extend(bytes);
                    }
                    return waited || poll.write_too(&self.stream, token, true).is_ok();
                }
                Err(_) => return false,
            }
        }
        let quiet = !waited || poll.write_too(&self.stream, token, false).is_ok();
        quiet && !self.last
    }
}

/// The value of a header field; the name in lower case.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (known, value) = line.split_once(':')?;
        known.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::{Room, free_port};

    /// One that serves until the test has ended.
    fn stage() -> SocketAddr {
        let room = Room::new("stage-test").unwrap();
        let file = room.write("file", b"the file").unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
        std::thread::spawn(move || serve(&address.to_string(), &file.display().to_string()));
        while TcpStream::connect(address).is_err() {
            std::thread::yield_now();
        }
        address
    }

    fn asked(stream: &mut TcpStream, request: &[u8], answer_bytes: usize) -> String {
        stream.write_all(request).unwrap();
        let mut answer = vec![0; answer_bytes];
        stream.read_exact(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    }

    #[test]
    fn every_part_is_played_on_one_connection() {
        let mut stream = TcpStream::connect(stage()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let file = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nthe file";
        assert_eq!(asked(&mut stream, b"GET /1k HTTP/1.1\r\n\r\n", file.len()), file);
        let start = Instant::now();
        assert_eq!(asked(&mut stream, b"GET /slow HTTP/1.1\r\n\r\n", file.len()), file);
        assert!(start.elapsed() >= SLOW_TIME);
        let chunked = Answers::new(b"the file").chunked;
        let answer = asked(&mut stream, b"GET /chunked HTTP/1.1\r\n\r\n", chunked.len());
        assert_eq!(answer.as_bytes(), chunked);
        // More than is read at once, so that its end is another turn's.
        let length = READ_BYTES * 3;
        let head = format!("POST /upload HTTP/1.1\r\nContent-Length: {length}\r\n\r\n");
        let upload = [head.as_bytes(), &vec![b'x'; length]].concat();
        assert_eq!(asked(&mut stream, &upload, 40), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let accepted = websocket::ACCEPTED;
        assert_eq!(asked(&mut stream, websocket::request(SOCKET, "a").as_bytes(), accepted.len()), accepted);
        stream.write_all(&websocket::frame(b'x')).unwrap();
        let mut echo = websocket::echo(b'y');
        stream.read_exact(&mut echo).unwrap();
        assert_eq!(echo, websocket::echo(b'x'));
    }

    #[test]
    fn a_connection_that_was_to_be_closed_is_closed_after_its_answer() {
        let mut stream = TcpStream::connect(stage()).unwrap();
        stream.write_all(b"GET /slow HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("\r\n\r\nthe file"), "{answer}");
    }

    #[test]
    fn what_has_a_pace_or_talks_in_frames_finds_no_error_here() {
        let address = stage();
        let of = |path, kind| std::thread::spawn(move || crate::load::outcome_of(kind, address, path).unwrap());
        let paced = of(crate::origin::PATH, crate::load::Kind::Paced { connections: 4, seconds: 1, rate: 200 });
        let echo = of(SOCKET, crate::load::Kind::Echo { connections: 4, seconds: 1 });
        let (paced, echo) = (paced.join().unwrap(), echo.join().unwrap());
        // Each moment of the second, the first and the last included, whatever the machine did meanwhile.
        assert_eq!((paced.requests, paced.errors.total()), (201, 0));
        assert!(echo.requests > 0 && echo.errors.total() == 0, "{echo:?}");
    }

    #[test]
    fn a_field_is_found_in_any_case() {
        let head = "POST /upload HTTP/1.1\r\nHost: a\r\nCONTENT-length:  12 \r\n\r\n";
        assert_eq!(field(head, "content-length"), Some("12"));
        assert_eq!(field(head, "connection"), None);
    }

    #[test]
    fn an_answer_in_chunks_has_all_of_its_bytes() {
        let answer = Answers::new(b"file").chunked;
        let bytes = CHUNKED_BYTES + (CHUNKED_BYTES / CHUNK_BYTES) * "2000\r\n\r\n".len() + "0\r\n\r\n".len();
        assert_eq!(answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4 + bytes, answer.len());
    }
}
