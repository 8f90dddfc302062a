//! A session: one client connection from accept to close, and what is kept of it while it does not run.
//!
//! Not here: what happens while it runs (`visit`), who watches it while it does not (`waiter`).

use std::collections::HashMap;

use crate::cells::Chain;
use crate::client::Client;
use crate::http::forwarded::Peer;
use crate::park::ParkState;
use crate::snapshot::Snapshot;
use crate::sync::{Arc, AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering};
use crate::transport::Socket;

/// Where a session came in: what it needs to know of its listener.
#[derive(Debug)]
pub struct Entrance {
    /// Number of the bound address, unique in the life of the process. A snapshot maps it to a `[listen:NAME]`.
    pub id: u32,
    /// It no longer stands in the configuration: sessions end after their exchange.
    pub retired: AtomicBool,
    /// When the time for last requests is over, once it is retired.
    pub last_ms: AtomicU64,
    /// Sessions that came in here and are still open.
    pub sessions: AtomicUsize,
    /// The last configuration that knew it, once it is retired: its sessions finish on that.
    last: Mutex<Option<Arc<Snapshot>>>,
}

impl Entrance {
    /// A bound address.
    pub fn new(id: u32) -> Arc<Self> {
        Arc::new(Self {
            id,
            retired: AtomicBool::new(false),
            last_ms: AtomicU64::new(u64::MAX),
            sessions: AtomicUsize::new(0),
            last: Mutex::new(None),
        })
    }

    /// It was taken out of the configuration; `last` is the one before, and its sessions wait for requests until `last_ms`.
    pub fn retire(&self, last: Arc<Snapshot>, last_ms: u64) {
        *self.last.lock() = Some(last);
        self.last_ms.store(last_ms, Ordering::SeqCst);
        self.retired.store(true, Ordering::SeqCst);
    }

    /// The configuration its sessions finish on, once it is retired.
    pub fn last(&self) -> Option<Arc<Snapshot>> {
        self.last.lock().clone()
    }
}

/// One client connection.
#[derive(Debug)]
pub struct Session {
    /// Its place in the table, unique: epoll's token and the registry's session number.
    pub token: Token,
    /// The connection. Shared with the registry while it runs.
    pub socket: Arc<Socket>,
    /// Who is at the other end.
    pub peer: Peer,
    /// Where it came in.
    pub entrance: Arc<Entrance>,
    /// Running, parked, queued or closed.
    pub state: ParkState,
    /// Its slot while it runs, for cuts.
    pub slot: AtomicUsize,
    /// When the waiter acts, in `clock` milliseconds: idle, header, queue or lingering time is over.
    pub due_ms: AtomicU64,
    /// When it was parked or queued, for "oldest first".
    pub since_ms: AtomicU64,
    /// Exchanges begun on it.
    pub exchanges: AtomicU64,
    /// Whether epoll knows it.
    pub registered: AtomicBool,
    /// What it left behind when it was last put away.
    pub kept: Mutex<Kept>,
    /// Its place in the count of its address, if that is counted.
    _place: Option<Place>,
}

/// What is kept of a session that does not run.
#[derive(Debug, Default)]
pub enum Kept {
    /// Nothing: new, or running.
    #[default]
    Nothing,
    /// Between two exchanges, or nothing said yet.
    Idle {
        /// When it is closed.
        due_ms: u64,
        /// Those that came before the request that has not begun: they count, however they arrive.
        empty_lines: &'static [u8],
    },
    /// The beginning of a head. `due_ms` counts from its first byte and does not move.
    Head {
        /// The bytes.
        chain: Chain,
        /// How many of them were looked at.
        scanned: usize,
        /// When it is late.
        due_ms: u64,
    },
    /// Whole requests, put away so that others get their turn.
    Pipelined(Chain),
    /// The answer is out and our side is finished; what still comes is dropped.
    Lingering {
        /// Bytes that may still come.
        left: usize,
        /// Its input was stopped by us: an end of it says nothing.
        blind: bool,
        /// When it is over. Counts from the answer and does not move.
        due_ms: u64,
    },
}

/// Table index and generation: a late event of a closed session finds nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token {
    index: u32,
    generation: u32,
}

impl Token {
    /// In one word, never 0 and never `u64::MAX`.
    pub fn as_u64(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    fn from_u64(word: u64) -> Self {
        Self { index: word as u32, generation: (word >> 32) as u32 }
    }
}

impl Session {
    /// Sets when the waiter acts on it.
    pub fn set_due(&self, due_ms: u64) {
        self.due_ms.store(due_ms, Ordering::Release);
    }

    /// What it left behind.
    pub fn take_kept(&self) -> Kept {
        std::mem::take(&mut *self.kept.lock())
    }

    /// Puts away what is needed when it runs again.
    pub fn keep(&self, kept: Kept) {
        *self.kept.lock() = kept;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.entrance.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All open sessions.
#[derive(Debug, Default)]
pub struct Table {
    inner: Mutex<Entries>,
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Entries {
    entries: Vec<Entry>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Entry {
    generation: u32,
    session: Option<Arc<Session>>,
}

impl Table {
    /// A new session, queued.
    pub fn insert(
        &self,
        socket: Socket,
        peer: Peer,
        entrance: &Arc<Entrance>,
        place: Option<Place>,
        due_ms: u64,
        now_ms: u64,
    ) -> Arc<Session> {
        entrance.sessions.fetch_add(1, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut inner = self.inner.lock();
        let index = inner.free.pop().unwrap_or_else(|| {
            inner.entries.push(Entry { generation: 0, session: None });
            u32::try_from(inner.entries.len() - 1).expect("descriptors are fewer than u32::MAX")
        });
        let entry = &mut inner.entries[index as usize];
        // From 1, so that no token is 0; a wrap after 4 billion sessions in one place skips 0 and the last.
        entry.generation = entry.generation % (u32::MAX - 1) + 1;
        let session = Arc::new(Session {
            token: Token { index, generation: entry.generation },
            socket: Arc::new(socket),
            peer,
            entrance: Arc::clone(entrance),
            state: ParkState::queued(),
            slot: AtomicUsize::new(0),
            due_ms: AtomicU64::new(due_ms),
            since_ms: AtomicU64::new(now_ms),
            exchanges: AtomicU64::new(0),
            registered: AtomicBool::new(false),
            kept: Mutex::new(Kept::Nothing),
            _place: place,
        });
        entry.session = Some(Arc::clone(&session));
        session
    }

    /// The session of an event, if it is still open.
    pub fn find(&self, token: u64) -> Option<Arc<Session>> {
        let token = Token::from_u64(token);
        let inner = self.inner.lock();
        let entry = inner.entries.get(token.index as usize)?;
        if entry.generation == token.generation { entry.session.clone() } else { None }
    }

    /// Closes its place. The connection is closed when the last holder lets go.
    pub fn remove(&self, token: Token) {
        let mut inner = self.inner.lock();
        let Some(entry) = inner.entries.get_mut(token.index as usize) else { return };
        if entry.generation != token.generation {
            return;
        }
        let session = entry.session.take();
        if session.is_some() {
            inner.free.push(token.index);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        drop(inner);
        // Outside of the lock: it may close a socket.
        drop(session);
    }

    /// Copies of those that `wanted` picks, into `to`.
    pub fn pick(&self, to: &mut Vec<Arc<Session>>, wanted: impl Fn(&Session) -> bool) {
        let inner = self.inner.lock();
        to.extend(inner.entries.iter().filter_map(|entry| entry.session.as_ref()).filter(|s| wanted(s)).cloned());
    }

    /// Open sessions.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How many sessions each client has (`limits.connections_per_ip`).
#[derive(Debug, Default)]
pub struct PerAddress {
    counts: Mutex<HashMap<Client, u32>>,
}

/// One session's place in that count: given back when dropped.
#[derive(Debug)]
pub struct Place {
    counts: Arc<PerAddress>,
    client: Client,
}

impl PerAddress {
    /// A place, unless the client has `limit` already.
    pub fn take(self: &Arc<Self>, client: Client, limit: u32) -> Option<Place> {
        let mut counts = self.counts.lock();
        let count = counts.entry(client).or_insert(0);
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Place { counts: Arc::clone(self), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.counts.counts.lock();
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn session(table: &Table) -> Arc<Session> {
        let entrance = Entrance::new(0);
        let (ours, _theirs) = UnixStream::pair().expect("pair");
        table.insert(Socket::accepted(ours.into(), false), Peer::Unix, &entrance, None, 0, 0)
    }

    #[test]
    fn a_late_event_of_a_closed_session_finds_nobody() {
        let table = Table::default();
        let first = session(&table);
        let token = first.token;
        assert!(table.find(token.as_u64()).is_some());
        table.remove(token);
        table.remove(token);
        let second = session(&table);
        assert_eq!(second.token.index, token.index, "the place is used again");
        assert!(table.find(token.as_u64()).is_none());
        assert!(table.find(second.token.as_u64()).is_some());
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn places_of_an_address_come_back() {
        let counts = Arc::new(PerAddress::default());
        let client = |text: &str| Client::from(Peer::Ip(text.parse().expect("an address")));
        let address = client("2001:db8::1");
        let first = counts.take(address, 1);
        assert!(first.is_some() && counts.take(address, 1).is_none());
        assert!(counts.take(client("2001:db8::2"), 1).is_none(), "the same /64");
        assert!(counts.take(client("2001:db8:0:1::1"), 1).is_some());
        drop(first);
        assert!(counts.take(address, 1).is_some());
        assert!(counts.counts.lock().is_empty(), "nothing is kept of who is gone");
    }
}
