//! The pump: bytes of one body from one socket to the other, through one slice.
//!
//! Fill the slice, ask framing how many of the bytes are the message's, write exactly those. A chunked body is decoded in
//! place and leaves as one chunk a fill: a one-byte chunk must not become a system call. Both halves of an exchange use
//! it, for opposite directions. Not here: heads, and what a fault means for the client.

use std::io;

use crate::buf::Buf;
use crate::http::framing::{BodyFault, BodyReader, CHUNK_END, ChunkLine, LAST_CHUNK, put_trailers};
use crate::outgoing::{HeadBuffer, Wire};
use crate::registry::{Half, Waiting};
use crate::transport::Socket;

/// Bytes of a body that others wait for at most: a backend that sends and a client that takes as fast as this thread copies
/// never block it.
const IN_COMPANY_MAX: u64 = 256 * 1024;

/// Why a body did not arrive whole.
#[derive(Debug)]
pub enum PumpFault {
    /// Reading failed.
    Source(io::Error),
    /// The input ended before the body did.
    SourceEnded,
    /// Writing failed.
    Sink(io::Error),
    /// What was read is no body.
    Framing(BodyFault),
    /// The body is over its limit.
    TooLarge,
}

/// One body on its way.
#[derive(Debug)]
pub struct Pump<'a> {
    /// Where from.
    pub from: &'a Socket,
    /// Who waits.
    pub half: &'a Half,
    /// For whom, while reading.
    pub reading: Waiting,
    /// Where to.
    pub to: Wire<'a>,
    /// Where the body ends.
    pub reader: BodyReader,
    /// It leaves in chunks.
    pub chunked: bool,
    /// Its trailers may go on.
    pub trailers_pass: bool,
    /// Bytes of payload it may have.
    pub limit: Option<u64>,
    /// Bytes of payload sent so far.
    pub moved: u64,
}

impl Pump<'_> {
    /// Moves all of it. `at_end` is called when the last byte has been read, before it is written.
    pub fn run(&mut self, buf: &mut Buf, head: &mut HeadBuffer, at_end: impl Fn()) -> Result<(), PumpFault> {
        while !self.forward(buf, head, &at_end)? {
            if self.moved > IN_COMPANY_MAX {
                self.to.company.let_go();
            }
            self.fill(buf)?;
        }
        Ok(())
    }

    /// Sends what is in `head` and all payload that is in `buf`: whether the body is complete.
    pub fn forward(&mut self, buf: &mut Buf, head: &mut HeadBuffer, at_end: impl Fn()) -> Result<bool, PumpFault> {
        loop {
            let taken = self.reader.take(buf.unread_mut()).map_err(PumpFault::Framing)?;
            let payload = taken.payload as u64;
            if self.limit.is_some_and(|limit| self.moved.saturating_add(payload) > limit) {
                return Err(PumpFault::TooLarge);
            }
            if taken.end {
                at_end();
            }
            let bytes = &buf.unread()[..taken.payload];
            let trailers = &buf.unread()[taken.trailers.clone()];
            let sent = self.send(head, bytes, taken.end, trailers);
            // Also when nobody takes them: what is left in the slice would be taken for the next message.
            buf.consume(taken.consumed);
            sent.map_err(PumpFault::Sink)?;
            self.moved += payload;
            if taken.end {
                return Ok(true);
            }
            if taken.consumed == 0 || buf.is_empty() {
                break;
            }
        }
        if buf.space().is_empty() {
            return Err(PumpFault::Framing(BodyFault("a part of the body's framing is larger than a slice")));
        }
        Ok(false)
    }

    fn send(&self, head: &mut HeadBuffer, bytes: &[u8], end: bool, trailers: &[u8]) -> io::Result<()> {
        if !self.chunked {
            return if bytes.is_empty() && head.is_empty() { Ok(()) } else { self.to.send(head, [bytes]) };
        }
        let last: &[u8] = if end { LAST_CHUNK } else { b"" };
        if end && self.trailers_pass && !trailers.is_empty() {
            let line = ChunkLine::new(bytes.len());
            if !bytes.is_empty() {
                self.to.send(head, [line.as_bytes(), bytes, CHUNK_END])?;
            }
            self.to.send(head, [last])?;
            put_trailers(trailers, &mut self.to.gather(head))?;
            return self.to.send(head, [CHUNK_END]);
        }
        let close: &[u8] = if end { CHUNK_END } else { b"" };
        if bytes.is_empty() {
            return if end || !head.is_empty() { self.to.send(head, [last, close]) } else { Ok(()) };
        }
        self.to.send(head, [ChunkLine::new(bytes.len()).as_bytes(), bytes, CHUNK_END, last, close])
    }

    /// Waits for more of it.
    pub fn fill(&mut self, buf: &mut Buf) -> Result<(), PumpFault> {
        self.half.wait(self.reading);
        match self.from.read(buf.space(), self.to.company) {
            Ok(0) => Err(PumpFault::SourceEnded),
            Ok(n) => {
                self.half.moved(self.reading, n);
                buf.fill(n);
                Ok(())
            }
            Err(error) => Err(PumpFault::Source(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Arena;
    use crate::company::{Company, OneOther};
    use crate::http::framing::ResponseBody;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    /// All of it is here as soon as it is read, and there is room for it: nothing ever blocks.
    #[test]
    fn nobody_waits_for_a_long_body_however_fast_it_is() {
        for (moved, lets_go) in [(0, false), (IN_COMPANY_MAX + 1, true)] {
            let ((from, mut backend), (to, mut client)) =
                (UnixStream::pair().expect("pair"), UnixStream::pair().expect("pair"));
            let (from, to) = (Socket::accepted(from.into(), false), Socket::accepted(to.into(), false));
            backend.write_all(b"cd").expect("room");
            let (mut buf, half, other) =
                (Buf::new(Arena::new(2, 4096).lease_pair().0), Half::default(), OneOther::default());
            buf.space()[..2].copy_from_slice(b"ab");
            buf.fill(2);
            let company = Company::of(&other);
            let mut pump = Pump {
                from: &from,
                half: &half,
                reading: Waiting::BUSY,
                to: Wire { socket: &to, half: &half, waiting: Waiting::BUSY, company },
                reader: BodyReader::response(ResponseBody::Length(4)),
                chunked: false,
                trailers_pass: false,
                limit: None,
                moved,
            };
            pump.run(&mut buf, &mut HeadBuffer::new(), || {}).expect("all of it");
            let mut body = [0; 4];
            client.read_exact(&mut body).expect("all of it");
            assert_eq!((&body, other.is_let_go.get()), (b"abcd", lets_go));
        }
    }
}
