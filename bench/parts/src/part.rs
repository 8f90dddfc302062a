//! Which parts there are, and what it is to do one again and again.
//!
//! Not here: what each of them does.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::routes::{COUNT, Table};
use crate::{body, head, routes, shared};

/// Something the router does.
pub struct Part {
    /// Its line in the table and in the file.
    pub name: &'static str,
    /// What goes through one operation, where bytes a second say something.
    pub bytes: Option<usize>,
    /// So many operations are counted, enough for those to be many more instructions than the noise of a start. `None` is
    /// timed only: what several threads do depends on how they meet.
    pub counted: Option<u64>,
    /// Makes ready what it works on.
    pub prepare: fn() -> Batch,
}

/// Does it so many times; how long that took.
pub type Batch = Box<dyn FnMut(u64) -> Duration>;

/// In the order of the table.
pub static ALL: &[Part] = &[
    Part { bytes: Some(head::BROWSER.len()), ..alone("request-browser", 500, || head::requests(head::BROWSER)) },
    Part { bytes: Some(head::CURL.len()), ..alone("request-curl", 1_000, || head::requests(head::CURL)) },
    Part { bytes: Some(head::NGINX.len()), ..alone("response-nginx", 1_000, || head::responses(head::NGINX)) },
    Part { bytes: Some(body::PAYLOAD), ..alone("body-length", 2_000, body::by_length) },
    Part { bytes: Some(body::PAYLOAD), ..alone("body-chunks-8k", 50, || body::in_chunks(8 * 1024)) },
    Part { bytes: Some(body::PAYLOAD), ..alone("body-chunks-16", 5, || body::in_chunks(16)) },
    alone("route-host-first", 10_000, || routes::lookups(Table::Hosts, 0)),
    alone("route-host-middle", 100, || routes::lookups(Table::Hosts, COUNT / 2)),
    alone("route-host-last", 50, || routes::lookups(Table::Hosts, COUNT - 1)),
    alone("route-host-none", 50, || routes::lookups(Table::Hosts, COUNT)),
    alone("route-prefix-first", 10_000, || routes::lookups(Table::Prefixes, 0)),
    alone("route-prefix-middle", 100, || routes::lookups(Table::Prefixes, COUNT / 2)),
    alone("route-prefix-last", 50, || routes::lookups(Table::Prefixes, COUNT - 1)),
    alone("route-prefix-none", 50, || routes::lookups(Table::Prefixes, COUNT)),
    alone("snapshot-same", 10_000, || shared::Snapshots::new().same_again()),
    alone("snapshot-taken", 10_000, || shared::Snapshots::new().taken_again()),
    alone("arena-lease", 5_000, shared::leases),
    together("arena-lease-2", || shared::leases_of(2)),
    together("arena-lease-16", || shared::leases_of(16)),
    alone("channel-pass", 5_000, shared::passes),
    together("channel-hop", shared::hops),
];

const fn alone(name: &'static str, counted: u64, prepare: fn() -> Batch) -> Part {
    Part { name, bytes: None, counted: Some(counted), prepare }
}

const fn together(name: &'static str, prepare: fn() -> Batch) -> Part {
    Part { name, bytes: None, counted: None, prepare }
}

/// The part of this name.
pub fn named(name: &str) -> Result<&'static Part, String> {
    ALL.iter().find(|part| part.name == name).ok_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|part| part.name).collect();
        format!("`{name}` is not a part; there are {}", names.join(", "))
    })
}

/// One thread does it.
pub fn again<T>(mut once: impl FnMut() -> T + 'static) -> Batch {
    Box::new(move |times| {
        let begun = Instant::now();
        for _ in 0..times {
            black_box(once());
        }
        begun.elapsed()
    })
}

/// So many threads share the work: the time is from the first that begins to the last that ends.
pub fn at_once(threads: usize, once: impl Fn() + Sync + 'static) -> Batch {
    Box::new(move |times| {
        let (start, share) = (Barrier::new(threads), times.div_ceil(threads as u64));
        let work = || {
            start.wait();
            let begun = Instant::now();
            for _ in 0..share {
                once();
            }
            (begun, Instant::now())
        };
        thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let spans: Vec<_> = running.into_iter().map(|thread| thread.join().expect("no panic")).collect();
            let begun = spans.iter().map(|(begun, _)| begun).min();
            let ended = spans.iter().map(|(_, ended)| ended).max();
            begun.zip(ended).map_or(Duration::ZERO, |(begun, ended)| *ended - *begun)
        })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn every_part_can_be_done_and_has_a_name_of_its_own() {
        for part in ALL {
            assert!(std::ptr::eq(named(part.name).expect("a part"), part), "{} is there twice", part.name);
            (part.prepare)()(16);
        }
        assert!(named("arena").is_err());
    }

    #[test]
    fn a_batch_is_done_as_often_as_asked() {
        let seen = Arc::new(AtomicU64::new(0));
        let count = || {
            let seen = Arc::clone(&seen);
            move || {
                seen.fetch_add(1, Ordering::Relaxed);
            }
        };
        again(count())(5);
        assert_eq!(seen.swap(0, Ordering::Relaxed), 5);
        at_once(4, count())(40);
        assert_eq!(seen.load(Ordering::Relaxed), 40);
    }
}
