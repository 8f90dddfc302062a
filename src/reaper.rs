//! The thread that enforces the deadlines of running exchanges, through the registry.
//!
//! It looks ten times a second at what each half waits for. A half that has waited for the same thing over its limit
//! without moving a byte is cut, and one whose client is too slow ([`pace`]): the reason is written into the slot, then the
//! sockets it names are shut. It never closes a socket and never writes. Deadlines of sessions that are not running are the
//! waiter's.
//!
//! | ran out while waiting for | shut | the client gets |
//! |---|---|---|
//! | client, for its body | client, reading | 408 (the other way is open) |
//! | client, which waits for its 100 | nothing: it is the backend that is late | - |
//! | backend, writing to it or for its head | backend | 504 |
//! | backend, between bytes of its body | backend | a visibly cut answer |
//! | client, writing to it | client, reset | nothing, or a visibly cut answer |
//! | tunnel | both | nothing |
//! | the end of the exchange | backend, and the client's reading | 504, or a visibly cut answer |
//! | the end of the exchange, writing to the client | both, the client with a reset | a visibly cut answer |

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::clock::Looks;
use crate::error::CloseReason;
use crate::registry::{Half, Phase, Registry, Slot, Sockets, Waiting};
use crate::sync::Arc;

pub mod pace;

use pace::{Pace, Shortage, Sight};

/// How often it looks. A deadline is met late by one look at most, never early.
pub const TICK: Duration = Duration::from_millis(100);
/// And while sessions wait and no worker is free: a thousand slow clients are to be gone before anybody else has waited for
/// 2 s. With 50 ms, and only once room was made, it was 0.4 s more.
const HURRIED: Duration = Duration::from_millis(25);

/// What the rest of a request gets between bytes, once its answer has ended.
const UNWANTED: Duration = Duration::from_secs(1);

/// What the reaper saw of a half when it last moved.
#[derive(Debug, Clone, Copy)]
struct Seen {
    waiting: Waiting,
    bytes: u64,
    /// Bytes not acknowledged by who is written to, at the last look at a write that did not move.
    unacknowledged: u64,
    since: Instant,
    pace: Pace,
}

/// What it saw of both halves of a slot.
#[derive(Debug, Clone, Copy)]
pub struct SeenSlot {
    request: Seen,
    response: Seen,
}

impl SeenSlot {
    /// Nothing yet.
    pub fn nothing(now: Instant) -> Self {
        let unseen = Seen { waiting: Waiting::BUSY, bytes: 0, unacknowledged: 0, since: now, pace: Pace::new(now) };
        Self { request: unseen, response: unseen }
    }
}

/// Looks until the stop channel closes. `rate_min` is what clients have to move a second, `sessions_wait` whether there
/// are any without a worker; `each_second` is for the sweeps that need no thread of their own.
pub fn run(
    registry: &Arc<Registry>,
    stop: &Receiver<()>,
    rate_min: impl Fn() -> Option<u64>,
    sessions_wait: impl Fn() -> bool,
    mut each_second: impl FnMut(),
) {
    let start = Instant::now();
    let mut seen = vec![SeenSlot::nothing(start); registry.slots().len()];
    let (mut swept, mut shortage, mut tick) = (start, Shortage::default(), TICK);
    // While room is made it looks more often.
    let mut looks = Looks::new(HURRIED, start);
    loop {
        match stop.recv_timeout(tick) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
        let (now, rate_min) = (Instant::now(), rate_min());
        if !looks.is_due(now) {
            continue;
        }
        for (slot, seen) in registry.slots().iter().zip(&mut seen) {
            look(slot, seen, now, rate_min);
        }
        let wait = rate_min.is_some() && sessions_wait();
        if shortage.look(registry.running(), registry.slots().len(), wait, now) {
            make_room(registry, &seen, now);
        }
        tick = if wait && shortage.is_near() { HURRIED } else { TICK };
        if now.duration_since(swept) >= Duration::from_secs(1) {
            swept = now;
            each_second();
        }
    }
}

/// Cuts the half of the slow clients that have been slow for longest, so that others get their workers.
fn make_room(registry: &Registry, seen: &[SeenSlot], now: Instant) {
    let halves = registry
        .slots()
        .iter()
        .zip(seen)
        .flat_map(|(slot, seen)| [(slot, &slot.request, &seen.request), (slot, &slot.response, &seen.response)]);
    let slow = halves.filter_map(|(slot, half, seen)| {
        let round_trip = || slot.with_sockets(|sockets| sockets.client.as_ref().map(|client| client.round_trip()));
        let since = seen.pace.is_slow_since(now, || round_trip().unwrap_or_default())?;
        Some((since, (slot, half, seen)))
    });
    for (slot, half, seen) in pace::slowest_half(slow.collect()) {
        slot.with_sockets(|sockets| {
            // Read again under the lock: it may have moved since.
            if half.look() == (seen.waiting, seen.bytes) {
                cut(sockets, seen.waiting.phase(), Some(CloseReason::ClientTooSlow));
            }
        });
    }
}

/// Looks at one slot, and cuts what is late in it, and whose client moves less than `rate_min` bytes a second.
pub fn look(slot: &Slot, seen: &mut SeenSlot, now: Instant, rate_min: Option<u64>) {
    seen.request.update(&slot.request, now);
    seen.response.update(&slot.response, now);
    let (request, response) = (seen.request.waiting.phase(), seen.response.waiting.phase());
    if request == Phase::Busy && response == Phase::Busy {
        seen.request.pace.rest();
        seen.response.pace.rest();
        return;
    }
    slot.with_sockets(|sockets| {
        if sockets.due.is_some_and(|due| now >= due) {
            // What it waits for now: both may have moved since.
            cut_overdue(sockets, slot.request.look().0.phase(), slot.response.look().0.phase());
        }
    });
    // The answer is not late while the request is still on its way.
    if response == Phase::ResponseHead && matches!(request, Phase::ClientRead | Phase::BackendWrite) {
        seen.response.since = now;
    }
    // The answer has ended before its request: who sends or takes nothing more of that for a second is not waited for.
    if matches!(request, Phase::ClientRead | Phase::BackendWrite)
        && slot.partner_has_ended()
        && response == Phase::Busy
        && now.duration_since(seen.request.since.max(seen.response.since)) >= UNWANTED
    {
        seen.request.cut_unwanted(slot);
        return;
    }
    // A tunnel lives while either way moves.
    if request == Phase::Tunnel && response == Phase::Tunnel {
        let latest = seen.request.since.max(seen.response.since);
        seen.request.since = latest;
        seen.response.since = latest;
    }
    for (half, seen) in [(&slot.request, &mut seen.request), (&slot.response, &mut seen.response)] {
        seen.enforce(slot, half, now, rate_min);
    }
}

impl Seen {
    fn update(&mut self, half: &Half, now: Instant) {
        let (waiting, bytes) = half.look();
        if waiting != self.waiting || bytes != self.bytes {
            *self = Self { waiting, bytes, unacknowledged: u64::MAX, since: now, pace: self.pace };
        }
    }

    /// Cuts the request half, whose answer has ended, if it still waits for the same.
    fn cut_unwanted(&self, slot: &Slot) {
        slot.with_sockets(|sockets| {
            if slot.request.look() == (self.waiting, self.bytes) {
                cut(sockets, self.waiting.phase(), None);
            }
        });
    }

    fn enforce(&mut self, slot: &Slot, half: &Half, now: Instant, rate_min: Option<u64>) {
        let phase = self.waiting.phase();
        let rate_min = rate_min.filter(|_| phase.is_client());
        if rate_min.is_none() {
            self.pace.rest();
        }
        if matches!(phase, Phase::Busy | Phase::ClientContinue) {
            return;
        }
        let overdue = now.duration_since(self.since) >= self.waiting.limit();
        // Progress of a write is what the peer acknowledged, not what the kernel took: to a client of 20 KB/s one write
        // moves nothing for half a minute.
        let writing = matches!(phase, Phase::ClientWrite | Phase::BackendWrite);
        let stuck = writing && self.since != now;
        if !overdue && !stuck && rate_min.is_none() {
            return;
        }
        slot.with_sockets(|sockets| {
            // Read again under the lock: the half may have moved, or the slot may be another session's by now.
            if half.look() != (self.waiting, self.bytes) {
                return;
            }
            let peer = if phase == Phase::ClientWrite { &sockets.client } else { &sockets.backend };
            let unacknowledged = peer.as_ref().filter(|_| writing).map_or(0, |to| to.unacknowledged().unwrap_or(0));
            if stuck && unacknowledged != self.unacknowledged {
                self.unacknowledged = unacknowledged;
                self.since = now;
            } else if overdue {
                return cut(sockets, phase, None);
            }
            if let Some(rate_min) = rate_min {
                let taken = half.client_bytes().wrapping_sub(unacknowledged);
                let sight = Sight { exchange: sockets.exchange(), taken };
                let window = if writing { pace::WINDOW.max(self.waiting.limit()) } else { pace::WINDOW };
                if self.pace.look(sight, now, rate_min, window) {
                    cut(sockets, phase, Some(CloseReason::ClientTooSlow));
                }
            }
        });
    }
}

/// The first reason stays, but a half that blocks after it is cut all the same. Without a reason it is that of the phase's
/// own limit.
fn cut(sockets: &mut Sockets, phase: Phase, reason: Option<CloseReason>) {
    let Some(client) = &sockets.client else { return };
    let backend = sockets.backend.as_ref();
    let late = match phase {
        Phase::Busy | Phase::ClientContinue => return,
        Phase::ClientRead => {
            client.stop_reading();
            CloseReason::ClientBodyLate
        }
        Phase::ClientWrite => {
            client.abort();
            if let Some(backend) = backend {
                backend.cut();
            }
            CloseReason::ClientNotReading
        }
        Phase::BackendWrite | Phase::ResponseHead | Phase::BackendRead => {
            if let Some(backend) = backend {
                backend.cut();
            }
            match phase {
                Phase::BackendWrite => CloseReason::BackendNotReading,
                Phase::ResponseHead => CloseReason::ResponseLate,
                _ => CloseReason::AnswerStalled,
            }
        }
        Phase::Tunnel => {
            client.abort();
            if let Some(backend) = backend {
                backend.cut();
            }
            CloseReason::TunnelIdle
        }
    };
    sockets.note(reason.unwrap_or(late));
}

/// The exchange is over its time. Who waits for the client is woken by the client's socket, everybody else by the backend's.
fn cut_overdue(sockets: &mut Sockets, request: Phase, response: Phase) {
    let Some(client) = &sockets.client else { return };
    match (request, response) {
        (_, Phase::ClientWrite) => client.abort(),
        (Phase::ClientRead | Phase::ClientContinue, _) => client.stop_reading(),
        _ => {}
    }
    if let Some(backend) = &sockets.backend {
        backend.cut();
    }
    sockets.note(CloseReason::ExchangeLate);
}

#[cfg(test)]
mod tests;
