//! What is done to a candidate: the catalogue of loads, each under a name of its own.

use crate::origin::{self, BODY_BYTES, LARGE, LARGE_BYTES};
use crate::peer::Demand;
use crate::stage;

/// Connections of those loads that do not have them in their name.
const NEW_CONNECTIONS: u32 = 64;
const LARGE_CONNECTIONS: u32 = 8;
const CHUNKED_CONNECTIONS: u32 = 64;
const SLOW_BACKEND_CONNECTIONS: u32 = 512;
const SLOW_CLIENTS_CONNECTIONS: u32 = 256;
const SOCKETS: u32 = 1000;
const OPEN_CONNECTIONS: u32 = 64;
/// One in so many clients is slow.
const SLOW_ONE_IN: u32 = 10;
/// The router's workers where every request holds one for 50 ms.
const SLOW_BACKEND_WORKERS: u32 = 600;
/// Of each session the router holds one for as long as it lasts; some more for what else there is.
const SOCKET_WORKERS: u32 = SOCKETS + 64;
/// Descriptors of a proxy that are no connections.
const DESCRIPTORS_SPARE: u64 = 500;
/// Levels of kept connections without any wish.
pub const LEVELS: [u32; 5] = [1, 64, 256, 1024, 4096];
/// Whose throughput tells the pace of the open loop.
pub const PACE_LEVEL: u32 = OPEN_CONNECTIONS;

/// One load.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    pub name: String,
    pub connections: u32,
    pub kind: Kind,
}

/// How it goes about it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Kept connections, a file of 1 KB.
    Get,
    /// A connection for each request.
    NewConnection,
    Download,
    Upload,
    /// 64 KB in chunks.
    Chunked,
    /// A backend that takes 50 ms.
    SlowBackend,
    /// One client in ten is slow; the figures are those of the others.
    SlowClients,
    /// A process that spins, for each processor.
    Busy,
    /// So many connections that say nothing; the figures are those of one that does.
    Idle,
    /// WebSocket sessions.
    Socket,
    /// At so many percent of what the weakest can do, whatever the answers do.
    Open(u32),
}

/// All of them, in the order in which they are measured.
pub fn all(levels: &[u32]) -> Vec<Workload> {
    let one = |name: &str, connections, kind| Workload { name: name.to_owned(), connections, kind };
    let mut all: Vec<Workload> = levels.iter().map(|&level| one(&get(level), level, Kind::Get)).collect();
    all.extend([
        one("new-connection", NEW_CONNECTIONS, Kind::NewConnection),
        one("download-10m", LARGE_CONNECTIONS, Kind::Download),
        one("upload-10m", LARGE_CONNECTIONS, Kind::Upload),
        one("chunked-64k", CHUNKED_CONNECTIONS, Kind::Chunked),
        one("slow-backend", SLOW_BACKEND_CONNECTIONS, Kind::SlowBackend),
        one("slow-clients", SLOW_CLIENTS_CONNECTIONS, Kind::SlowClients),
        one("busy-1", 1, Kind::Busy),
        one("busy-64", 64, Kind::Busy),
        one("idle-4096", 4096, Kind::Idle),
        one("idle-16384", 16_384, Kind::Idle),
        one("websocket-1000", SOCKETS, Kind::Socket),
        one("open-50", OPEN_CONNECTIONS, Kind::Open(50)),
        one("open-80", OPEN_CONNECTIONS, Kind::Open(80)),
    ]);
    all
}

/// The name of a level.
pub fn get(level: u32) -> String {
    format!("get-{level}")
}

impl Workload {
    /// What a program must be ready for.
    pub fn demand(&self) -> Demand {
        let Workload { connections, kind, .. } = *self;
        match kind {
            // One more, which talks.
            Kind::Idle => Demand { connections: connections + 1, busy: 1, workers: None },
            Kind::SlowBackend => Demand { connections, busy: connections, workers: Some(SLOW_BACKEND_WORKERS) },
            Kind::Socket => Demand { connections, busy: connections, workers: Some(SOCKET_WORKERS) },
            _ => Demand { connections, busy: connections, workers: None },
        }
    }

    /// What is asked for, and of which origin: nginx has these, the other one the others.
    pub fn path(&self) -> &'static str {
        match self.kind {
            Kind::Download => LARGE,
            Kind::Upload => stage::UPLOAD,
            Kind::Chunked => stage::CHUNKED,
            Kind::SlowBackend => stage::SLOW,
            Kind::Socket => stage::SOCKET,
            _ => origin::PATH,
        }
    }

    pub fn on_stage(&self) -> bool {
        matches!(self.kind, Kind::Upload | Kind::Chunked | Kind::SlowBackend | Kind::Socket)
    }

    /// Those of wrk; of the others there may be more.
    pub fn wrk_connections(&self) -> u32 {
        match self.kind {
            Kind::SlowClients => self.connections - self.slow_connections(),
            Kind::Idle => 1,
            _ => self.connections,
        }
    }

    /// wrk shares its connections between two threads: what remains for it is even.
    pub fn slow_connections(&self) -> u32 {
        (self.connections / SLOW_ONE_IN).next_multiple_of(2)
    }

    /// Of the proxy: one to the client and one to the origin for each connection; those who say nothing need none there.
    pub fn descriptors(&self) -> u64 {
        let each = if self.kind == Kind::Idle { 1 } else { 2 };
        u64::from(self.connections) * each + DESCRIPTORS_SPARE
    }

    pub fn body_bytes(&self) -> usize {
        if self.kind == Kind::Upload { LARGE_BYTES } else { 0 }
    }

    pub fn answer_bytes(&self) -> usize {
        match self.kind {
            Kind::Download => LARGE_BYTES,
            Kind::Upload => stage::UPLOAD_ANSWER.len(),
            Kind::Chunked => stage::CHUNKED_BYTES,
            _ => BODY_BYTES,
        }
    }

    /// Seconds it takes to set up, about, beyond those of every cell: for the estimate.
    pub fn setup_s(&self) -> f64 {
        match self.kind {
            Kind::Idle => f64::from(self.connections) / 4096.0,
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_load_has_a_name_of_its_own() {
        let all = all(&LEVELS);
        for workload in &all {
            assert_eq!(all.iter().filter(|other| other.name == workload.name).count(), 1, "{}", workload.name);
        }
        assert_eq!(all[1].name, "get-64");
    }

    #[test]
    fn wrk_can_share_its_connections() {
        for workload in all(&LEVELS) {
            let connections = workload.wrk_connections();
            assert!(connections == 1 || connections.is_multiple_of(2), "{}: {connections}", workload.name);
        }
    }

    #[test]
    fn one_client_in_ten_is_slow() {
        let all = all(&LEVELS);
        let slow = all.iter().find(|workload| workload.kind == Kind::SlowClients).unwrap();
        assert_eq!((slow.wrk_connections(), slow.slow_connections()), (230, 26));
    }
}
