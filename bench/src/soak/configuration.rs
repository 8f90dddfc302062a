//! The configurations of a soak: what the router is told, and so what must come of each request. Each reload is another
//! number, which is the router's generation too; routes, weights and a listener depend on it.

use std::path::Path;

use super::origin::Place;
use super::stream::Address;
use crate::room;

/// As `idle` of the file: a connection that was quiet that long may be closed.
pub const IDLE_S: u64 = 6;
/// As `drain_timeout` of the file.
pub const DRAIN_S: u64 = 5;

/// One way to be routed.
#[derive(Debug)]
pub struct Way {
    /// What the log calls it.
    pub route: &'static str,
    pub host: &'static str,
    /// What the path begins with.
    pub path: &'static str,
    /// What the origin sees in its place.
    pub seen: &'static str,
    /// A field of the request, or nothing.
    pub field: &'static str,
    /// Where it leads in even and in odd configurations.
    pub pools: [&'static str; 2],
}

/// Ways that lead to an origin.
pub const WAYS: [Way; 6] = [
    way("calm", "calm.test", "/calm/", "/calm/", "", ["calm", "calm"]),
    way("red", "red.test", "/red/v1/", "/v1/", "", ["red", "red"]),
    way("blue", "a.blue.test", "/any/", "/any/", "", ["blue", "blue"]),
    way("field", "calm.test", "/field/", "/field/", "X-Way: field\r\n", ["red", "red"]),
    way("moving", "calm.test", "/moving/", "/moving/", "", ["red", "calm"]),
    // No route: the pool of the listen.
    way("-", "other.test", "/other/", "/other/", "", ["calm", "calm"]),
];
/// The route that does not wait for late answers.
pub const LATE: Way = way("late", "calm.test", "/late/", "/late/", "", ["calm", "calm"]);

const fn way(
    route: &'static str,
    host: &'static str,
    path: &'static str,
    seen: &'static str,
    field: &'static str,
    pools: [&'static str; 2],
) -> Way {
    Way { route, host, path, seen, field, pools }
}

impl Way {
    pub fn pool(&self, generation: u64) -> &'static str {
        self.pools[(generation % 2) as usize]
    }
}

/// Weights of the pools' backends, in their order.
const RED: [[u64; 3]; 4] = [[1, 1, 1], [1, 2, 3], [0, 1, 1], [3, 1, 0]];
const CALM_WEIGHTS: [[u64; 2]; 4] = [[1, 1], [1, 3], [0, 1], [2, 1]];

/// Origins in the order in which they stand in the file.
pub fn places(room: &Path) -> Result<Vec<Place>, String> {
    let tcp = || Ok::<_, String>(Address::Tcp(([127, 0, 0, 1], room::free_port()?).into()));
    let unix = |name: &str| Address::Unix(room.join(name));
    Ok(vec![
        Place { name: "calm-1", pool: "calm", address: tcp()? },
        Place { name: "calm-2", pool: "calm", address: unix("calm-2.sock") },
        Place { name: "red-1", pool: "red", address: tcp()? },
        Place { name: "red-2", pool: "red", address: tcp()? },
        Place { name: "red-3", pool: "red", address: tcp()? },
        Place { name: "blue-1", pool: "blue", address: unix("blue-1.sock") },
    ])
}

/// What a backend weighs: 0 is to get nothing.
pub fn weight(name: &str, generation: u64) -> u64 {
    let turn = (generation % 4) as usize;
    match name.split_once('-').map(|(pool, n)| (pool, n.parse::<usize>().unwrap_or(1) - 1)) {
        Some(("red", n)) => RED[turn].get(n).copied().unwrap_or(0),
        Some(("calm", n)) => CALM_WEIGHTS[turn].get(n).copied().unwrap_or(0),
        _ => 1,
    }
}

/// The file of a generation, for a router whose directory is the room. Its slices are the smallest there are: heads and
/// bodies meet the end of one all the time.
pub fn file(generation: u64, places: &[Place], room: &Path) -> String {
    let room = room.display();
    let mut text = format!(
        "\
[server]
workers = 32
slice_size = 4k
drain_timeout = {DRAIN_S}s
[timeouts]
header = 8s
idle = {IDLE_S}s
response = 20s
queue = 20s
[limits]
header_size = 4k
[log]
level = warn
access = {room}/access.log
[listen:tcp]
address = 127.0.0.1:0
pool = calm
[listen:unix]
address = unix:{room}/unix.sock
pool = calm
[listen:bare]
address = 127.0.0.1:0
"
    );
    if generation % 2 == 1 {
        text += &format!("[listen:guest]\naddress = unix:{room}/guest.sock\npool = calm\n");
    }
    let answer = format!("set_response_header = X-Config: {generation}\n");
    for (route, conditions) in [
        ("own", "path = /own/*\nrespond = 200 \"own {request_id}\"\n".to_owned()),
        ("away", "path = /away/*\nredirect = 307 http://{host}/to{uri}\n".to_owned()),
        ("late", to_pool("late", "path = /late/*\ntimeout = 200ms", "calm")),
        ("red", to_pool("red", "path = /red/v1/*\nstrip_prefix = /red", "red")),
        ("blue", to_pool("blue", "host = *.blue.test", "blue")),
        ("field", to_pool("field", "header = X-Way: field\npath = /field/*", "red")),
        ("moving", to_pool("moving", "path = /moving/*", WAYS[4].pool(generation))),
        ("calm", to_pool("calm", "path = /calm/*", "calm")),
    ] {
        text += &format!("[route:{route}]\n{conditions}{answer}set_response_header = X-Route: {route}\n");
    }
    for pool in ["calm", "red", "blue"] {
        text += &format!("[pool:{pool}]\n");
        for place in places.iter().filter(|place| place.pool == pool) {
            text += &format!("backend = {} weight={}\n", place.address, weight(place.name, generation));
        }
    }
    text
}

fn to_pool(route: &str, conditions: &str, pool: &str) -> String {
    format!("{conditions}\nset_header = X-Route: {route}\npool = {pool}\n")
}

/// A file with a mistake in it.
pub fn broken(generation: u64, places: &[Place], room: &Path) -> String {
    file(generation, places, room).replace("[pool:blue]", "[pool:bleu]")
}
