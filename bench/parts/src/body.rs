//! Bodies: read into a slice, and their payload found in it, as the product's `pump` does.
//!
//! They are read from a file in memory, as from a socket: the kernel copies the bytes, which takes its time and none of our
//! instructions. So what framing adds to `body-length`, which touches no byte, is what framing costs.

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::os::unix::fs::FileExt;

use layer7router::arena::Arena;
use layer7router::buf::Buf;
use layer7router::http::framing::{BodyReader, CHUNK_END, ChunkLine, LAST_CHUNK, ResponseBody};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::part::{Batch, again};

/// Bytes of payload.
pub const PAYLOAD: usize = 64 * 1024;
/// `server.slice_size`, its default.
const SLICE: usize = 32 * 1024;

/// Framed by Content-Length.
pub fn by_length() -> Batch {
    passes(Body::new(ResponseBody::Length(PAYLOAD as u64), &payload()))
}

/// In chunks of this many bytes.
pub fn in_chunks(size: usize) -> Batch {
    passes(Body::new(ResponseBody::Chunked, &chunked(&payload(), size)))
}

fn passes(mut body: Body) -> Batch {
    again(move || {
        let mut moved = 0;
        body.pass(|payload| moved += black_box(payload).len());
        moved
    })
}

/// A body that can be read again and again.
struct Body {
    framing: ResponseBody,
    source: File,
    buf: Buf,
}

impl Body {
    fn new(framing: ResponseBody, bytes: &[u8]) -> Self {
        let mut source = File::from(memfd_create("body", MemfdFlags::CLOEXEC).expect("a file in memory"));
        source.write_all(bytes).expect("memory");
        let (slice, _) = Arena::new(2, SLICE).lease_pair();
        Self { framing, source, buf: Buf::new(slice) }
    }

    /// Reads all of it; `send` is shown the payload, a fill at a time.
    fn pass(&mut self, mut send: impl FnMut(&[u8])) {
        let mut reader = BodyReader::response(self.framing);
        let mut read = 0;
        self.buf.clear();
        while !reader.is_finished() {
            let n = self.source.read_at(self.buf.space(), read).expect("memory");
            assert!(n > 0, "the body ends where its framing says");
            read += n as u64;
            self.buf.fill(n);
            loop {
                let taken = reader.take(self.buf.unread_mut()).expect("its framing is right");
                send(&self.buf.unread()[..taken.payload]);
                self.buf.consume(taken.consumed);
                if taken.end || taken.consumed == 0 || self.buf.is_empty() {
                    break;
                }
            }
        }
    }
}

/// No two of its pieces look alike for long.
fn payload() -> Vec<u8> {
    (0..PAYLOAD).map(|n| b'!' + (n % 89) as u8).collect()
}

fn chunked(payload: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for chunk in payload.chunks(size) {
        bytes.extend_from_slice(ChunkLine::new(chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(CHUNK_END);
    }
    bytes.extend_from_slice(LAST_CHUNK);
    bytes.extend_from_slice(CHUNK_END);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_passes_whole_each_time() {
        let due = payload();
        for mut body in [
            Body::new(ResponseBody::Length(PAYLOAD as u64), &due),
            Body::new(ResponseBody::Chunked, &chunked(&due, 8 * 1024)),
            Body::new(ResponseBody::Chunked, &chunked(&due, 16)),
        ] {
            for _ in 0..2 {
                let mut seen = Vec::new();
                body.pass(|payload| seen.extend_from_slice(payload));
                assert!(seen == due, "{:?}", body.framing);
            }
        }
    }

    #[test]
    fn chunks_are_as_large_as_said() {
        assert_eq!(chunked(b"abcde", 2), b"2\r\nab\r\n2\r\ncd\r\n1\r\ne\r\n0\r\n\r\n");
        let lines = |size| chunked(&payload(), size).len() - PAYLOAD - "0\r\n\r\n".len();
        assert_eq!((lines(8 * 1024), lines(16)), (8 * "2000\r\n\r\n".len(), 4096 * "10\r\n\r\n".len()));
    }
}
