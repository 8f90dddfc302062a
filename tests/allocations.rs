//! What a kept exchange costs its worker in memory once it is warm: nothing, with the access log and without.
//!
//! The whole router runs in this program, since an allocator can only count its own. Counted is what the two threads of the
//! worker ask for; who plays client and origin here, and the router's own housekeeping, may take what they like. One test
//! alone in its program, so that there is one worker.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use layer7router::config;
use layer7router::inherited::Inherited;
use layer7router::server::{Prepared, Server};

/// What the threads of workers have asked for.
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

impl Counting {
    /// The threads of worker 0 are `w000.req` and `w000.rsp`; no other name begins so. Asked each time, since a thread gets its
    /// name after its first allocations.
    fn count() {
        let mut name = [0u8; 16];
        #[expect(unsafe_code, reason = "the ways that are safe allocate")]
        // SAFETY: PR_GET_NAME writes at most 16 bytes, which is what there is.
        let asked = unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
        assert_eq!(asked, 0);
        if name.starts_with(b"w000.") {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[expect(unsafe_code, reason = "there is no other way to count allocations")]
// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count();
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::count();
        // SAFETY: as the caller promised.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The worker turns around: nobody else is needed.
const GET: (&str, &str) = ("GET /a?b=c HTTP/1.1\r\nHost: a.example\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n", "");
/// The partner is woken, for the end of the body is held back.
const POST: (&str, &str) =
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "0\r\nX-T: v\r\n\r\n");
const PLAIN: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: v\r\n\r\n";
/// Measured so often.
const BATCHES: usize = 3;
/// More than the two threads take once.
const ONCE: usize = 100;
/// How both answers are known to be whole.
const ENDS: [&[u8]; 2] = [b"\r\n\r\nhello", b"0\r\nX-T: v\r\n\r\n"];

fn read_until(conn: &mut TcpStream, end: &[u8]) {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end) {
        let mut space = [0; 4096];
        let n = conn.read(&mut space).expect("it comes in time");
        assert!(n > 0, "an early end after {}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&space[..n]);
    }
}

/// One after the other, each with an answer.
fn exchanges(client: &mut TcpStream, origin: &mut TcpStream, count: usize) {
    for n in 0..count {
        let chunked = n % 2 == 1;
        let ((request, rest), answer) = if chunked { (POST, CHUNKED) } else { (GET, PLAIN) };
        client.write_all(request.as_bytes()).expect("room");
        if chunked {
            // The rest comes when the router has read all before it.
            read_until(origin, b"hello\r\n");
            client.write_all(rest.as_bytes()).expect("room");
        }
        read_until(origin, if chunked { ENDS[1] } else { b"\r\n\r\n" });
        origin.write_all(answer.as_bytes()).expect("room");
        read_until(client, ENDS[n % 2]);
    }
}

#[test]
fn a_kept_exchange_allocates_nothing() {
    let backend = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = backend.local_addr().expect("an address");
    for access in ["off", "/dev/null"] {
        for format in ["combined", "json"] {
            let begun = ALLOCATIONS.load(Ordering::Relaxed);
            let file = format!(
                "[server]\nworkers = 1\n[listen:a]\naddress = 127.0.0.1:0\npool = p\n[pool:p]\nbackend = {address}\n\
                [log]\naccess = {access}\nformat = {format}\n"
            );
            let loaded = config::parse_str("a.ini", &file, &|_| None).unwrap_or_else(|reports| panic!("{reports}"));
            let inherited = Inherited::take().unwrap_or_else(|error| panic!("{error}"));
            let prepared = Prepared::new(loaded.config, inherited).unwrap_or_else(|error| panic!("{error}"));
            let server = Server::start(prepared).unwrap_or_else(|error| panic!("{error}"));
            let (_, bound) = server.bound().pop().expect("one listener");
            let mut client = TcpStream::connect(bound).expect("connect");
            client.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
            client.write_all(GET.0.as_bytes()).expect("room");
            let (mut origin, _) = backend.accept().expect("accept");
            origin.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
            origin.set_nodelay(true).expect("a flag");
            client.set_nodelay(true).expect("a flag");
            read_until(&mut origin, b"\r\n\r\n");
            origin.write_all(PLAIN.as_bytes()).expect("room");
            read_until(&mut client, ENDS[0]);
            assert!(ALLOCATIONS.load(Ordering::Relaxed) > begun, "what it takes to start is seen");
            // What a thread takes once in its life (for the first wait on a channel, the first line of the log) is no exchange's, and
            // when it takes it is its own affair: it cannot do so in each of these.
            let taken: Vec<usize> = (0..BATCHES)
                .map(|_| {
                    let before = ALLOCATIONS.load(Ordering::Relaxed);
                    exchanges(&mut client, &mut origin, 10_000);
                    ALLOCATIONS.load(Ordering::Relaxed) - before
                })
                .collect();
            assert!(taken.contains(&0) && taken.iter().sum::<usize>() < ONCE, "{access}, {format}: {taken:?}");
            server.stop();
        }
    }
}
