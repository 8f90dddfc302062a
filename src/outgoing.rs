//! Writing to a socket: rebuilt heads gathered in a small fixed buffer, and bodies straight from their slice.
//!
//! A head and the first bytes of its body leave in one writev(2). A head that outgrows the buffer is sent in parts: growth
//! by our own fields cannot fail, and nothing is allocated.

use std::io::{self, IoSlice};

use crate::company::Company;
use crate::http::Sink;
use crate::registry::{Half, Waiting};
use crate::transport::Socket;

/// Bytes of the buffer: nearly every head fits.
const HEAD_BUFFER: usize = 8 * 1024;

/// A thread's buffer for heads on their way out.
#[derive(Debug, Default)]
pub struct HeadBuffer {
    bytes: Box<[u8]>,
    /// Gathered and not sent.
    len: usize,
    /// Sent since it was last cleared.
    sent: usize,
}

/// A head does not fit into the buffer: it has to be put through a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow;

impl Sink for HeadBuffer {
    type Error = Overflow;

    // Inlined so that the short constants of a head are stores and not calls.
    #[inline(always)]
    fn put(&mut self, bytes: &[u8]) -> Result<(), Overflow> {
        let end = self.len + bytes.len();
        self.bytes.get_mut(self.len..end).ok_or(Overflow)?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }
}

impl HeadBuffer {
    /// An empty one. (`default()` has no room: what a buffer leaves behind that is taken for a while costs nothing.)
    pub fn new() -> Self {
        Self { bytes: vec![0; HEAD_BUFFER].into_boxed_slice(), len: 0, sent: 0 }
    }

    /// Bytes of one.
    pub const SIZE: usize = HEAD_BUFFER;

    /// Begins anew.
    pub fn clear(&mut self) {
        self.len = 0;
        self.sent = 0;
    }

    /// Whether a byte has been sent since it was cleared: the other side has seen the beginning of a message.
    pub fn has_sent(&self) -> bool {
        self.sent > 0
    }

    /// Bytes gathered and not sent.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is something to send.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// A socket to write to, with the words for the reaper.
#[derive(Debug, Clone, Copy)]
pub struct Wire<'a> {
    /// Where to.
    pub socket: &'a Socket,
    /// Who waits.
    pub half: &'a Half,
    /// For whom, and how long it may.
    pub waiting: Waiting,
    /// Whom it lets go before it waits.
    pub company: Company<'a>,
}

impl<'a> Wire<'a> {
    /// Writes all of it.
    pub fn write_all(&self, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut rest = parts;
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            self.half.wait(self.waiting);
            let n = self.socket.write(rest, self.company)?;
            self.half.moved(self.waiting, n);
            IoSlice::advance_slices(&mut rest, n);
        }
        Ok(())
    }

    /// What is gathered in `head`, then `parts`, in as few writes as the kernel takes; `head` is empty after.
    pub fn send<const N: usize>(&self, head: &mut HeadBuffer, parts: [&[u8]; N]) -> io::Result<()> {
        // One more for the head; callers have five parts at most.
        let mut slices = [IoSlice::new(&[]); 6];
        let gathered = head.len;
        head.sent += gathered + parts.iter().map(|part| part.len()).sum::<usize>();
        head.len = 0;
        slices[0] = IoSlice::new(&head.bytes[..gathered]);
        for (slice, part) in slices[1..].iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
        }
        self.write_all(&mut slices[..=N])
    }

    /// A sink that gathers in `head`, and sends it on when it is full.
    pub fn gather<'b>(self, head: &'b mut HeadBuffer) -> Gather<'a, 'b> {
        Gather { wire: self, head }
    }
}

/// Where a rebuilt head is put.
#[derive(Debug)]
pub struct Gather<'a, 'b> {
    wire: Wire<'a>,
    head: &'b mut HeadBuffer,
}

impl Sink for Gather<'_, '_> {
    type Error = io::Error;

    #[inline(always)]
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.head.put(bytes).or_else(|Overflow| self.flush(bytes))
    }
}

impl Gather<'_, '_> {
    #[cold]
    fn flush(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.send(self.head, [bytes])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Phase;
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    #[test]
    fn a_head_that_outgrows_the_buffer_leaves_whole_and_in_order() {
        let (ours, mut theirs) = UnixStream::pair().expect("pair");
        let socket = Socket::accepted(ours.into(), false);
        let half = Half::default();
        let waiting = Waiting::new(Phase::ClientWrite, Duration::from_secs(5));
        let wire = Wire { socket: &socket, half: &half, waiting, company: Company::NONE };
        let lines: Vec<Vec<u8>> = (0..40).map(|n| vec![b'a' + (n % 26) as u8; 100 * n]).collect();
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).expect("read");
            all
        });
        let mut head = HeadBuffer::new();
        for line in &lines {
            wire.gather(&mut head).put(line).expect("sent");
        }
        wire.send(&mut head, [b"body".as_slice(), b"!"]).expect("sent");
        assert!(head.is_empty());
        drop(socket);
        assert_eq!(reader.join().expect("no panic"), [lines.concat(), b"body!".to_vec()].concat());
    }
}
