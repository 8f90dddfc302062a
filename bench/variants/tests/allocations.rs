//! What an exchange costs in memory once a session is warm: nothing.
//!
//! One test alone in its program, since every allocation of the process is counted.

mod script;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use script::{Session, site};
use variants::relay::Next;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

#[expect(unsafe_code, reason = "there is no other way to count allocations")]
// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
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

#[test]
fn an_exchange_allocates_nothing() {
    let get = "GET /a?b=c HTTP/1.1\r\nHost: a.example\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: v\r\n\r\n";
    let length = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: v\r\n\r\n";
    let mut session = Session::new(&site(""));
    let mut exchange = |n: usize| {
        let (request, answer) = if n.is_multiple_of(2) { (get, length) } else { (post, chunked) };
        session.client.feed(request.as_bytes());
        assert_eq!(session.run(), Next::Wait);
        session.backend.feed(answer.as_bytes());
        assert_eq!(session.run(), Next::Wait);
        assert!(session.client.output.ends_with(b"hello") || session.client.output.ends_with(b"\r\n\r\n"));
        session.client.output.clear();
        session.backend.output.clear();
        session.released.clear();
    };
    (0..10).for_each(&mut exchange);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    (0..10_000).for_each(&mut exchange);
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0);
}
