//! A scripted origin: what it answers is in the path.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const LARGE: usize = 10 * 1024 * 1024;

/// It serves until it is dropped.
pub struct Origin {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    closed: Receiver<()>,
}

struct Shared {
    connections: AtomicUsize,
    ended: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Origin {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            connections: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let (closing, closed) = channel();
        let ours = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if ours.ended.load(Ordering::SeqCst) {
                    return;
                }
                let stream = stream.expect("a connection");
                ours.connections.fetch_add(1, Ordering::SeqCst);
                ours.open.lock().expect("no panic").push(stream.try_clone().expect("a clone"));
                let closing = closing.clone();
                thread::spawn(move || serve(stream, &closing));
            }
        });
        Self { address, shared, closed }
    }

    /// Accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Until it has closed a connection behind an answer.
    pub fn wait_for_close(&self) {
        self.closed.recv_timeout(Duration::from_secs(20)).expect("it closes");
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        let _woken = TcpStream::connect(self.address);
        for stream in self.shared.open.lock().expect("no panic").drain(..) {
            let _gone = stream.shutdown(Shutdown::Both);
        }
    }
}

/// One connection. Whoever closes it early is none of its business.
fn serve(mut stream: TcpStream, closing: &Sender<()>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a clone"));
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            match reader.read_line(&mut head) {
                Ok(n) if n > 0 => {}
                _ => return,
            }
        }
        let path = head.split(' ').nth(1).expect("a path").to_owned();
        if head.contains("Expect: 100-continue\r\n") {
            let _gone = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let mut body = Vec::new();
        let length =
            head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).map(|n| n.parse().expect("a length"));
        if let Some(length) = length {
            body.resize(length, 0);
            if reader.read_exact(&mut body).is_err() {
                return;
            }
        } else if head.contains("Transfer-Encoding: chunked\r\n") {
            while let Some(chunk) = chunk(&mut reader) {
                if chunk.is_empty() {
                    break;
                }
                body.extend(chunk);
            }
        }
        let pattern = |len: usize| (0..len).map(|at| (at % 251) as u8).collect::<Vec<u8>>();
        let whole = |body: &[u8]| {
            [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
        };
        let (answer, last) = match path.as_str() {
            "/head" => (whole(head.as_bytes()), false),
            "/echo" => {
                let line = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len());
                ([line.as_bytes(), &body, b"\r\n0\r\n\r\n"].concat(), false)
            }
            "/204" => (b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(), false),
            "/until-close" => (b"HTTP/1.1 200 OK\r\n\r\nuntil the end".to_vec(), true),
            "/then-close" => (whole(b"bye"), true),
            "/broken" => (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhal".to_vec(), true),
            "/large" => (whole(&pattern(LARGE)), false),
            "/large-chunked" => {
                let mut all = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
                for part in pattern(LARGE).chunks(50_000) {
                    all.extend(format!("{:x}\r\n", part.len()).bytes());
                    all.extend(part);
                    all.extend(b"\r\n");
                }
                all.extend(b"0\r\n\r\n");
                (all, false)
            }
            "/sum" => (whole(format!("{} {}", body.len(), body == pattern(body.len())).as_bytes()), false),
            other => (whole(if head.starts_with("HEAD") { b"" } else { other.as_bytes() }), false),
        };
        if stream.write_all(&answer).is_err() {
            return;
        }
        if last {
            let _gone = stream.shutdown(Shutdown::Both);
            let _nobody_waits = closing.send(());
            return;
        }
    }
}

/// The next chunk, empty at the end.
fn chunk(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut bytes = vec![0; usize::from_str_radix(line.trim_end(), 16).ok()?];
    reader.read_exact(&mut bytes).ok()?;
    reader.read_line(&mut String::new()).ok()?;
    Some(bytes)
}
