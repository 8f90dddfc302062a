//! One way of a tunnel: after the backend's 101, bytes pass as they come until both sides have ended.
//!
//! End of input on one side finishes the writing on the other, never both: what is still on its way back arrives.

use std::io::IoSlice;

use crate::buf::Buf;
use crate::outgoing::Wire;
use crate::registry::Waiting;
use crate::transport::Socket;

/// Moves bytes from `from` to `to` until the end of input: how many, and whether it was an orderly end. Both ends are cut
/// when it was not, so that the other way ends too.
pub fn one_way(from: &Socket, to: &Wire<'_>, buf: &mut Buf) -> (u64, bool) {
    let mut bytes = 0;
    let orderly = loop {
        if !buf.is_empty() {
            if to.write_all(&mut [IoSlice::new(buf.unread())]).is_err() {
                break false;
            }
            bytes += buf.unread().len() as u64;
            buf.clear();
        }
        to.half.wait(to.waiting);
        match from.read(buf.space()) {
            Ok(0) => break true,
            Ok(n) => {
                to.half.progress(n);
                buf.fill(n);
            }
            Err(_) => break false,
        }
    };
    to.half.wait(Waiting::BUSY);
    if orderly {
        to.socket.finish_writing();
    } else {
        from.cut();
        to.socket.cut();
    }
    (bytes, orderly)
}
