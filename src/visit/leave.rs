//! How a session leaves its visit: parked, put away behind others, closed, or lingering.

use std::time::Duration;

use log::Level;

use super::Visit;
use crate::buf::Buf;
use crate::clock;
use crate::crew::Shared;
use crate::exchange::After;
use crate::flood;
use crate::http::head::empty_lines;
use crate::session::{Kept, Session};
use crate::snapshot::Snapshot;
use crate::sync::{Arc, Ordering};
use crate::waiter::{LINGER, LINGER_BYTES};

/// Whether a session was parked.
pub(super) enum Parked {
    /// It is the waiter's now.
    Yes,
    /// There is news: read once more.
    No,
    /// It was cut.
    Ended,
    /// Nowhere to put the beginning of its head.
    NoRoom,
}

impl Visit {
    pub(super) fn park(&mut self, shared: &Shared, begun: bool, snapshot: &Snapshot) -> Parked {
        if self.session.state.has_news() {
            self.session.state.clear_news();
            return Parked::No;
        }
        let now = clock::now_ms();
        let timeouts = &snapshot.config.timeouts;
        let (kept, due_ms) = if begun {
            let due_ms = *self.head_due_ms.get_or_insert(now + millis(timeouts.header));
            let Some(chain) = self.store(shared) else { return Parked::NoRoom };
            (Kept::Head { chain, scanned: self.scanned, due_ms }, due_ms)
        } else {
            // A client that connects and says nothing has the time of a head.
            let first = self.session.exchanges.load(Ordering::Relaxed) == 0;
            let limit = if first { timeouts.header } else { timeouts.idle };
            let due_ms = *self.idle_due_ms.get_or_insert(now + millis(limit));
            (Kept::Idle { due_ms, empty_lines: empty_lines(self.request.unread().len()) }, due_ms)
        };
        self.session.keep(kept);
        self.session.set_due(due_ms);
        // Before it is parked: the next worker that runs it leases two of its own.
        self.give_back();
        self.session.since_ms.store(now, Ordering::Relaxed);
        if self.slot.leave().is_err() {
            return Parked::Ended;
        }
        if let Err(error) = shared.waiter.register(&self.session) {
            if flood::passes(Level::Error, "a session cannot be watched", 0, flood::ONE) {
                log::error!("session of {}: it cannot be watched and is closed: {error}", self.session.peer);
            }
            return Parked::Ended;
        }
        if self.session.state.park() {
            // Looked at after parking: a drain that begins before it finds the session parked, one that begins after it is
            // seen here.
            let last_ms = shared.waiter.last_ms(&self.session);
            if last_ms < due_ms {
                self.session.due_ms.fetch_min(last_ms, Ordering::AcqRel);
            }
            return Parked::Yes;
        }
        // News came while it was put away.
        self.session.state.clear_news();
        let (first, second) = shared.arena.lease_pair();
        (self.request, self.answer) = (Buf::new(first), Some(Buf::new(second)));
        self.restore(self.session.take_kept());
        self.slot.enter(&self.session.socket, self.session.token.as_u64());
        Parked::No
    }

    fn give_back(&mut self) {
        self.request.give_back();
        self.answer = None;
    }

    /// The bytes of an unfinished head, in cells. When there are none left, the oldest such heads give theirs up.
    fn store(&self, shared: &Shared) -> Option<crate::cells::Chain> {
        let bytes = self.request.unread();
        shared.cells.store(bytes).or_else(|| {
            shared.waiter.shed_heads(bytes.len());
            shared.cells.store(bytes)
        })
    }

    /// Whole requests go into cells, and the session to the end of the line. `false`: no room, so they are served now.
    pub(super) fn put_away(&mut self, shared: &Shared) -> bool {
        let Some(chain) = shared.cells.store(self.request.unread()) else { return false };
        if self.slot.leave().is_err() {
            shared.waiter.close(&self.session);
            return true;
        }
        self.give_back();
        self.session.keep(Kept::Pipelined(chain));
        self.session.set_due(u64::MAX);
        self.session.state.put_away();
        shared.waiter.requeue(Arc::clone(&self.session));
        true
    }

    pub(super) fn end(&mut self, shared: &Shared, after: After) {
        let cut = self.slot.leave().is_err();
        self.give_back();
        match after {
            After::Reset => {
                self.session.socket.abort();
                shared.waiter.close(&self.session);
            }
            After::Linger { blind } if !cut || blind => {
                self.session.socket.finish_writing();
                linger(shared, &self.session, LINGER_BYTES, blind, clock::due_ms(LINGER));
            }
            After::Keep | After::Close | After::Linger { .. } => shared.waiter.close(&self.session),
        }
    }
}

/// Our last answer is out and our side is finished. What still comes is read and dropped, so that the kernel does not
/// answer it with a reset that destroys the answer on its way (RFC 9112 section 9.6). Without waiting, without a slice.
pub(super) fn linger(shared: &Shared, session: &Arc<Session>, mut left: usize, blind: bool, due_ms: u64) {
    let mut dropped = [0; 8192];
    loop {
        match session.socket.probe(&mut dropped) {
            Ok(Some(n)) if n > 0 => {
                left = left.saturating_sub(n);
                if left == 0 {
                    break;
                }
            }
            Ok(Some(_)) if !blind => break,
            Ok(_) if clock::now_ms() >= due_ms => break,
            Ok(_) => {
                session.keep(Kept::Lingering { left, blind, due_ms });
                session.set_due(due_ms);
                if shared.waiter.register(session).is_err() {
                    break;
                }
                if blind {
                    return session.state.park_ended();
                }
                if session.state.park() {
                    return;
                }
                let _again = session.take_kept();
                session.state.clear_news();
            }
            Err(_) => break,
        }
    }
    shared.waiter.close(session);
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 2)
}
