//! Watching the parked sessions: what free workers do, and the waiter's thread while there are none.

use std::time::Duration;

use rustix::event::epoll;
use rustix::io::Errno;

use super::{BELL, SWEEP, TAKE_MAX, Waiter, signal, timespec};
use crate::error::CloseReason;
use crate::park::{OnEvent, ParkState};
use crate::registry::{Phase, Registry};
use crate::session::Session;
use crate::sync::{Arc, Ordering, ask_kernel, fence, sleep};

/// What a list of events is made of before the kernel fills it.
pub(super) const NO_EVENT: epoll::Event =
    epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(BELL) };

impl Waiter {
    /// A free worker waits for parked sessions that have something to say, and runs them then: up to `most` are `taken`, and
    /// what else there is stays with the kernel, for others to take. `patience`: not for longer. `false`: nothing came in time.
    pub fn watch(
        &self,
        registry: &Registry,
        patience: Option<Duration>,
        most: usize,
        mut taken: impl FnMut(Arc<Session>),
    ) -> bool {
        if !self.watched.load(Ordering::Relaxed) {
            self.watched.store(true, Ordering::Relaxed);
        }
        let mut events = [NO_EVENT; TAKE_MAX];
        let found = self.poll(&mut events[..most.clamp(1, TAKE_MAX)], patience);
        for event in found {
            if let Some(session) = self.event(event, registry, ParkState::event_and_take) {
                taken(session);
            }
        }
        !found.is_empty()
    }

    /// Events, as many as fit; none after `patience`.
    pub(super) fn poll<'a>(&self, events: &'a mut [epoll::Event], patience: Option<Duration>) -> &'a [epoll::Event] {
        ask_kernel();
        match epoll::wait(&self.epoll, &mut *events, patience.map(timespec).as_ref()) {
            Ok(found) => &events[..found],
            Err(Errno::INTR) => &[],
            Err(errno) => {
                log::error!("waiter: epoll_wait: {errno}");
                // Nothing known does this; whoever calls again does not spin.
                sleep(SWEEP);
                &[]
            }
        }
    }

    /// What an event means: the session, if it was parked and `take` has made it the caller's.
    pub(super) fn event(
        &self,
        event: &epoll::Event,
        registry: &Registry,
        take: impl Fn(&ParkState, bool) -> OnEvent,
    ) -> Option<Arc<Session>> {
        let (flags, token) = (event.flags, event.data.u64());
        let ended = epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
        let session = self.table.find(token)?;
        match take(&session.state, flags.intersects(ended)) {
            OnEvent::Yours => return Some(session),
            OnEvent::Running => {
                // A reset ends the exchange. An end of input does not: a client may finish writing and wait for its
                // answer. On a Unix socket HUP means that the peer is gone for good, on TCP only ERR does; what it sent
                // before it went is still passed on.
                let slot = registry.slot(session.slot.load(Ordering::Acquire));
                // Its worker says what it waits for and then looks whether the session is hung up: one of the two is seen.
                fence(Ordering::SeqCst);
                let closed = !session.socket.is_tcp() && flags.contains(epoll::EventFlags::HUP);
                let nothing_to_come = slot.request.look().0.phase() == Phase::Busy;
                if flags.contains(epoll::EventFlags::ERR) || (closed && nothing_to_come) {
                    slot.cut_session(session.token.as_u64(), CloseReason::ClientGone);
                }
            }
            OnEvent::Nothing => {}
        }
        None
    }

    /// There is a session on the channel: one of the workers that watch looks.
    pub fn ring(&self) {
        signal(&self.bell);
    }

    /// The router stops: nobody watches any more.
    pub fn dismiss(&self) {
        // Level-triggered from now on, and never read: it rings for everybody, for ever.
        let _known = epoll::modify(&self.epoll, &self.bell, epoll::EventData::new_u64(BELL), epoll::EventFlags::IN);
        self.ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::forwarded::Peer;
    use crate::session::Entrance;
    use crate::transport::Socket;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    /// Whether something came, and the sessions that run now.
    fn watch(
        waiter: &Waiter,
        registry: &Registry,
        patience: Option<Duration>,
        most: usize,
    ) -> (bool, Vec<Arc<Session>>) {
        let mut taken = Vec::new();
        let came = waiter.watch(registry, patience, most, |session| taken.push(session));
        (came, taken)
    }

    const NOW: Option<Duration> = Some(Duration::ZERO);
    const SOON: Option<Duration> = Some(Duration::from_secs(5));

    #[test]
    fn a_parked_session_that_has_something_to_say_is_run_by_one_that_watches() {
        let (waiter, registry) = (Waiter::new().expect("descriptors"), Registry::new(1));
        let (ours, mut theirs) = UnixStream::pair().expect("pair");
        let socket = Socket::accepted(ours.into(), false);
        let session = waiter.table.insert(socket, Peer::Unix, &Entrance::new(0), None, 0, 0);
        assert!(session.state.take());
        waiter.register(&session).expect("watched");
        assert!(session.state.park());
        assert!(!watch(&waiter, &registry, NOW, 1).0);
        theirs.write_all(b"GET").expect("room");
        let (_, taken) = watch(&waiter, &registry, SOON, 1);
        assert_eq!(taken.iter().map(|taken| taken.token).collect::<Vec<_>>(), [session.token]);
        assert!(!session.state.is_queued() && !session.state.is_parked());
        // While it runs, news of it are told to it and to nobody else.
        theirs.write_all(b" /").expect("room");
        assert!(matches!(watch(&waiter, &registry, SOON, 1), (true, none) if none.is_empty()));
        assert!(session.state.has_news() && !session.state.park());
    }

    #[test]
    fn the_bell_rings_once_and_at_the_end_for_everybody() {
        let (waiter, registry) = (Waiter::new().expect("descriptors"), Registry::new(1));
        waiter.ring();
        assert!(matches!(watch(&waiter, &registry, SOON, 1), (true, none) if none.is_empty()));
        assert!(!watch(&waiter, &registry, NOW, 1).0);
        waiter.dismiss();
        for _ in 0..2 {
            assert!(matches!(watch(&waiter, &registry, SOON, 1), (true, none) if none.is_empty()));
        }
    }
}
