//! One way of a tunnel: after the backend's 101, bytes pass as they come until both sides have ended.
//!
//! End of input on one side finishes the writing on the other, never both: what is still on its way back arrives.

use std::io::IoSlice;

use crate::buf::Buf;
use crate::error::CloseReason;
use crate::outgoing::Wire;
use crate::registry::{Slot, Waiting};
use crate::transport::Socket;

/// One way, and what it is called when it breaks.
#[derive(Debug)]
pub struct OneWay<'a> {
    /// Where from.
    pub from: &'a Socket,
    /// Where to.
    pub to: Wire<'a>,
    /// Whoever breaks first gives the reason there.
    pub slot: &'a Slot,
    /// When reading breaks.
    pub from_broke: CloseReason,
    /// When writing breaks.
    pub to_broke: CloseReason,
}

impl OneWay<'_> {
    /// Moves bytes until the end of input: how many, and why it ended. After an end that was not orderly both connections
    /// are reset: the other way ends too, and nobody takes what he has for all there was.
    pub fn run(&self, buf: &mut Buf) -> (u64, CloseReason) {
        let mut bytes = 0;
        let reason = loop {
            if !buf.is_empty() {
                if self.to.write_all(&mut [IoSlice::new(buf.unread())]).is_err() {
                    break self.to_broke;
                }
                bytes += buf.unread().len() as u64;
                buf.clear();
            }
            self.to.half.wait(self.to.waiting);
            match self.from.read(buf.space(), self.to.company) {
                // Asked before the other side is told: a Unix client that has ended both ways looks like one that is gone.
                Ok(0) => match self.slot.cut_reason() {
                    None => break CloseReason::Done,
                    Some(own) => {
                        self.to.half.wait(Waiting::BUSY);
                        return (bytes, own);
                    }
                },
                Ok(n) => {
                    self.to.half.progress(n);
                    buf.fill(n);
                }
                Err(_) => break self.from_broke,
            }
        };
        self.to.half.wait(Waiting::BUSY);
        if reason == CloseReason::Done {
            self.to.socket.finish_writing();
        } else {
            // First: what the other way sees then is our doing.
            self.slot.note(reason);
            self.from.abort();
            self.to.socket.abort();
        }
        (bytes, reason)
    }
}
