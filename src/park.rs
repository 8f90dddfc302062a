//! The states of a session, and the rule by which it parks without losing a wake-up.
//!
//! ```text
//!       take(), put_away()        park(), event_and_take()
//!  QUEUED ◀──────────▶ RUNNING ◀────────────────────────▶ PARKED
//!    ▲                   │  ▲   an event sets NEWS          │
//!    │                   ▼  │   clear_news()                │ event()
//!    │               RUNNING+NEWS                           │
//!    └──────────────────────────────────────────────────────┘
//!  any of them ──▶ CLOSED, which is final
//! ```
//!
//! Events are edge-triggered, registered once: the kernel tells of new bytes once, whoever runs the session then. An event
//! of a running session is remembered as NEWS, and a session with NEWS does not park: it reads once more first. HUP is
//! sticky: the kernel tells of an end of input only once, also when data came with it.
//!
//! This module is only the state machine; who reads, and what else must hold before parking, is `session`.

use crate::sync::{AtomicU8, Ordering};

/// A session's state.
#[derive(Debug)]
pub struct ParkState(AtomicU8);

const QUEUED: u8 = 0;
const RUNNING: u8 = 1;
const PARKED: u8 = 2;
const CLOSED: u8 = 3;
const STATE: u8 = 3;
/// An event came while it ran.
const NEWS: u8 = 4;
/// The client has ended its input, or reset.
const HUP: u8 = 8;

/// What an event means for whoever got it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnEvent {
    /// It was parked: whoever got the event has it now, to put on the channel or to run.
    Yours,
    /// It runs: its worker will see.
    Running,
    /// It waits for a worker already, or is closed.
    Nothing,
}

impl ParkState {
    /// A new session, on its way to the channel.
    pub fn queued() -> Self {
        Self(AtomicU8::new(QUEUED))
    }

    /// A worker takes it from the channel, *before* its first read. `false`: it was refused meanwhile.
    pub fn take(&self) -> bool {
        self.change(|state| (state & STATE == QUEUED).then_some((state & !(STATE | NEWS)) | RUNNING)).is_ok()
    }

    /// The worker parks it. `false`: there is news or an end of input; read once more.
    pub fn park(&self) -> bool {
        self.0.compare_exchange(RUNNING, PARKED, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// The worker parks it although its input has ended: nothing more is expected but the end of time (lingering).
    pub fn park_ended(&self) {
        let _never_fails = self.change(|state| Some((state & HUP) | PARKED));
    }

    /// An event came since it runs.
    pub fn has_news(&self) -> bool {
        self.0.load(Ordering::SeqCst) & (NEWS | HUP) != 0
    }

    /// The worker will read once more: what was news is so no longer.
    pub fn clear_news(&self) {
        self.0.fetch_and(!NEWS, Ordering::SeqCst);
    }

    /// The client has ended its input: the next read finds it.
    pub fn is_hung_up(&self) -> bool {
        self.0.load(Ordering::SeqCst) & HUP != 0
    }

    /// The kernel told the waiter of it: if it is parked it is queued now.
    pub fn event(&self, hung_up: bool) -> OnEvent {
        self.event_for(QUEUED, hung_up)
    }

    /// The kernel told a worker of it that is free: if it is parked it runs now, and was never queued, so that nobody
    /// refuses it for having waited too long.
    pub fn event_and_take(&self, hung_up: bool) -> OnEvent {
        self.event_for(RUNNING, hung_up)
    }

    fn event_for(&self, next: u8, hung_up: bool) -> OnEvent {
        let sticky = if hung_up { HUP } else { 0 };
        let before = self.change(|state| match state & STATE {
            PARKED => Some((state & !STATE) | next | sticky),
            RUNNING => Some(state | NEWS | sticky),
            _ => (state | sticky != state).then_some(state | sticky),
        });
        match before.map(|state| state & STATE) {
            Ok(PARKED) => OnEvent::Yours,
            Ok(RUNNING) => OnEvent::Running,
            _ => OnEvent::Nothing,
        }
    }

    /// The worker puts it away with whole requests, for the waiter to queue. It is never parked meanwhile, or an event would
    /// bring it back before its turn.
    pub fn put_away(&self) {
        let _never_fails = self.change(|state| Some((state & HUP) | QUEUED));
    }

    /// Its worker closes it.
    pub fn close(&self) {
        let _never_fails = self.change(|state| Some((state & HUP) | CLOSED));
    }

    /// The waiter closes a parked one.
    pub fn close_parked(&self) -> bool {
        self.change(|state| (state & STATE == PARKED).then_some((state & HUP) | CLOSED)).is_ok()
    }

    /// The waiter refuses one that nobody took from the channel.
    pub fn close_queued(&self) -> bool {
        self.change(|state| (state & STATE == QUEUED).then_some((state & HUP) | CLOSED)).is_ok()
    }

    /// Whether it is parked.
    pub fn is_parked(&self) -> bool {
        self.0.load(Ordering::SeqCst) & STATE == PARKED
    }

    /// Whether it waits for a worker.
    pub fn is_queued(&self) -> bool {
        self.0.load(Ordering::SeqCst) & STATE == QUEUED
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.0.load(Ordering::SeqCst) & STATE == CLOSED
    }

    /// The state before, if `next` allowed the change.
    fn change(&self, next: impl FnMut(u8) -> Option<u8>) -> Result<u8, u8> {
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_a_running_session_keeps_it_from_parking_once() {
        let state = ParkState::queued();
        assert!(state.take());
        assert_eq!(state.event(false), OnEvent::Running);
        assert!(!state.park());
        state.clear_news();
        assert!(state.park());
        assert_eq!(state.event(false), OnEvent::Yours);
        assert_eq!(state.event(false), OnEvent::Nothing, "one wake-up, one visit");
        assert!(state.take());
        assert!(state.park(), "what came while it was queued is read by the visit itself");
    }

    #[test]
    fn an_end_of_input_that_came_with_data_keeps_it_from_parking_for_good() {
        let state = ParkState::queued();
        assert!(state.take());
        assert!(state.park());
        assert_eq!(state.event(true), OnEvent::Yours);
        assert!(state.take());
        assert!(!state.park());
        state.clear_news();
        assert!(!state.park());
        assert!(state.is_hung_up());
    }

    #[test]
    fn a_parked_session_is_taken_by_one_event_only() {
        let state = ParkState::queued();
        assert!(state.take() && state.park());
        assert_eq!(state.event_and_take(true), OnEvent::Yours);
        assert!(!state.is_queued() && state.is_hung_up());
        assert_eq!(state.event_and_take(false), OnEvent::Running);
        assert_eq!(state.event(false), OnEvent::Running);
        assert!(!state.close_parked() && !state.close_queued() && !state.take());
    }

    #[test]
    fn what_was_put_away_waits_for_its_turn_whatever_comes_meanwhile() {
        let state = ParkState::queued();
        assert!(state.take());
        state.put_away();
        assert_eq!(state.event_and_take(true), OnEvent::Nothing);
        assert_eq!(state.event(false), OnEvent::Nothing);
        assert!(!state.close_parked() && state.take());
        assert!(state.is_hung_up(), "and is told of what came");
    }

    #[test]
    fn closed_is_final() {
        let state = ParkState::queued();
        assert!(state.close_queued());
        assert!(!state.take());
        assert_eq!(state.event(true), OnEvent::Nothing);
        assert!(!state.close_parked() && !state.close_queued());
        assert!(state.is_closed());
    }

    #[test]
    fn a_running_session_is_nobody_elses_to_close() {
        let state = ParkState::queued();
        assert!(state.take());
        assert!(!state.close_parked() && !state.close_queued());
        assert!(!state.take());
    }
}
