//! One exchange for whoever may wait in a read or a write: threads and coroutines.
//!
//! Each direction is a function of its own, so that two may run at once; what they share is whether the request is whole.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};

use layer7router::error::CloseReason;

use crate::desk::Desk;
use crate::down::{Down, Fault};
use crate::facts::Facts;
use crate::outgoing::PARTS_MAX;
use crate::up::{Flow, Up};

/// A socket that waits until it has done something.
pub trait Wire {
    /// Reads what is there; 0 is the end.
    fn read(&self, space: &mut [u8]) -> io::Result<usize>;
    /// Writes all parts in one call, or as much as is taken.
    fn write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize>;
}

/// Nobody can be told.
const CLIENT_GONE: Fault = Fault { reason: CloseReason::ClientGone, answered: true, begun: true };

/// How a request went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// All of it was sent.
    Whole,
    /// More is to be read of the client first.
    Part,
    /// The backend takes no more: its answer says more than we could.
    Broken,
}

/// Sends what is here of a request.
pub fn send_what_is_here(up: &mut Up, backend: &impl Wire, whole: &AtomicBool) -> Result<Sent, CloseReason> {
    loop {
        let flow = up.pump().map_err(CloseReason::Refused)?;
        if up.is_whole() {
            // Before it is sent: its answer may come at once.
            whole.store(true, Ordering::Release);
        }
        match flow {
            Flow::Done => return Ok(Sent::Whole),
            Flow::Read => return Ok(Sent::Part),
            Flow::Write => {
                let mut room = [IoSlice::new(&[]); PARTS_MAX];
                match backend.write(up.parts(&mut room)) {
                    Ok(n) => up.took(n),
                    Err(_) => return Ok(Sent::Broken),
                }
            }
        }
    }
}

/// Sends a whole request, with all that is still to come.
pub fn send_request(
    up: &mut Up,
    desk: &mut Desk,
    client: &impl Wire,
    backend: &impl Wire,
    whole: &AtomicBool,
) -> Result<Sent, CloseReason> {
    loop {
        match send_what_is_here(up, backend, whole)? {
            Sent::Part => receive(up, desk, client).map_err(|_| CloseReason::ClientGone)?,
            sent => return Ok(sent),
        }
    }
}

/// Waits for more of the client.
pub fn receive(up: &mut Up, desk: &mut Desk, client: &impl Wire) -> io::Result<()> {
    match client.read(up.bay.space(&mut desk.shelf))? {
        0 => up.end(),
        n => up.bay.fill(n),
    }
    Ok(())
}

/// Sends a whole answer.
pub fn send_answer(
    down: &mut Down,
    desk: &mut Desk,
    facts: &Facts,
    backend: &impl Wire,
    client: &impl Wire,
    whole: &AtomicBool,
) -> Result<(), Fault> {
    send_most(down, desk, facts, backend, client, whole)?;
    send_own(down, client).map_err(|_| CLIENT_GONE)
}

/// Sends an answer until all of it has been read: the last of it is in `out`.
pub fn send_most(
    down: &mut Down,
    desk: &mut Desk,
    facts: &Facts,
    backend: &impl Wire,
    client: &impl Wire,
    whole: &AtomicBool,
) -> Result<(), Fault> {
    loop {
        match down.pump(&desk.site, facts, whole.load(Ordering::Acquire))? {
            Flow::Done => return Ok(()),
            Flow::Write => send_out(down, client).map_err(|_| Fault {
                reason: CloseReason::ClientGone,
                answered: true,
                begun: true,
            })?,
            Flow::Read => match backend.read(down.bay.space(&mut desk.shelf)) {
                Ok(n) if n > 0 => down.bay.fill(n),
                _ => down.end(),
            },
        }
    }
}

/// One write of what is on its way to the client.
pub fn send_out(down: &mut Down, client: &impl Wire) -> io::Result<()> {
    let mut room = [IoSlice::new(&[]); PARTS_MAX];
    let n = client.write(down.parts(&mut room))?;
    down.took(n);
    Ok(())
}

/// All of what is on its way to the client: an answer of our own, the last of another.
pub fn send_own(down: &mut Down, client: &impl Wire) -> io::Result<()> {
    while !down.out.is_empty() {
        send_out(down, client)?;
    }
    Ok(())
}
