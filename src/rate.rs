//! How often a client may ask: a bucket for each address, filled at a steady rate, in a table of fixed size.
//!
//! A bucket is one number, the moment at which it will be full again: a request moves it on by the time that one takes, and
//! is refused where it would come to lie further ahead than a whole bucket is worth. So a full bucket is a moment that has
//! passed, the same as no bucket, and nothing ever has to be swept. Not here: who the client is (`http::forwarded`), what
//! the refused are told (`plan`), what the clock says: whoever calls has both.

use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use crate::client::Client;
use crate::http::forwarded::Peer;
use crate::sync::Mutex;

const SECOND: u64 = 1_000_000_000;
/// Parts of the table that are locked by themselves.
const SHARDS: usize = 64;
/// Sets of a shard: a client has its place in one of them.
const SETS: usize = 128;
/// Buckets of a set.
const WAYS: usize = 8;
/// Buckets of a table, 24 bytes each: 1.5 MiB.
pub const BUCKETS: usize = SHARDS * SETS * WAYS;

/// `requests_per_second = N burst=M`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// N, 1 to 1000000.
    pub per_second: u32,
    /// M, 1 to 1000000: what a full bucket holds.
    pub burst: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// Whose it is.
    client: Client,
    /// When it is full, in nanoseconds of the table's own time. What has passed is free for anybody.
    full_at: u64,
}

/// The buckets of one section.
#[derive(Debug)]
pub struct Buckets {
    rate: Rate,
    begun: Instant,
    /// A secret of this process: nobody can choose addresses that fall into one set.
    hasher: RandomState,
    /// Each is empty until its first client, and then never grows.
    shards: Vec<Mutex<Vec<Bucket>>>,
}

impl Buckets {
    /// All full.
    pub fn new(rate: Rate) -> Self {
        let shards = std::iter::repeat_with(Mutex::default).take(SHARDS).collect();
        Self { rate, begun: Instant::now(), hasher: RandomState::new(), shards }
    }

    /// What it was made for.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes one request out of the client's bucket; if there is none in it, the whole seconds until there is one.
    pub fn take(&self, client: Peer, now: Instant) -> Result<(), u64> {
        let now = now.saturating_duration_since(self.begun).as_nanos();
        self.take_at(client.into(), u64::try_from(now).unwrap_or(u64::MAX))
    }

    fn take_at(&self, client: Client, now: u64) -> Result<(), u64> {
        let hash = self.hasher.hash_one(client) as usize;
        let Some(shard) = self.shards.get(hash % SHARDS) else { return Ok(()) };
        let from = hash / SHARDS % SETS * WAYS;
        let mut shard = shard.lock();
        if shard.is_empty() {
            *shard = vec![Bucket::default(); SETS * WAYS];
        }
        let Some(set) = shard.get_mut(from..from + WAYS) else { return Ok(()) };
        // Its own, else the one that is full for longest, or will be soonest: that one's client loses the least.
        let rank = |bucket: &&mut Bucket| (bucket.client != client, bucket.full_at);
        let Some(bucket) = set.iter_mut().min_by_key(rank) else { return Ok(()) };
        let full_at = if bucket.client == client { bucket.full_at.max(now) } else { now };
        let interval = SECOND / u64::from(self.rate.per_second.max(1));
        let next = full_at.saturating_add(interval);
        let latest = now.saturating_add(interval.saturating_mul(u64::from(self.rate.burst)));
        if next > latest {
            return Err((next - latest).div_ceil(SECOND));
        }
        *bucket = Bucket { client, full_at: next };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> Client {
        Peer::Ip(text.parse().unwrap()).into()
    }

    fn buckets(per_second: u32, burst: u32) -> Buckets {
        Buckets::new(Rate { per_second, burst })
    }

    /// How many of 100 requests at this moment pass.
    fn passed(buckets: &Buckets, client: Client, now: u64) -> usize {
        (0..100).filter(|_| buckets.take_at(client, now).is_ok()).count()
    }

    #[test]
    fn a_full_bucket_holds_the_burst_and_fills_at_the_rate() {
        let (buckets, a) = (buckets(2, 5), client("192.0.2.1"));
        assert_eq!(passed(&buckets, a, 0), 5);
        assert_eq!(passed(&buckets, a, SECOND / 2 - 1), 0);
        assert_eq!(passed(&buckets, a, SECOND / 2), 1);
        assert_eq!(passed(&buckets, a, 2 * SECOND), 3);
        assert_eq!(passed(&buckets, a, 1000 * SECOND), 5, "and never holds more");
    }

    #[test]
    fn over_a_long_time_the_rate_holds() {
        for (per_second, burst) in [(1, 1), (3, 1), (7, 20), (1000, 10)] {
            let (buckets, a) = (buckets(per_second, burst), client("192.0.2.1"));
            let tries = (0..60_000).filter(|ms| buckets.take_at(a, ms * SECOND / 1000).is_ok()).count();
            let due = 60 * per_second as usize;
            assert!((due..=due + burst as usize).contains(&tries), "{per_second} burst={burst}: {tries}");
        }
    }

    #[test]
    fn the_wait_is_whole_seconds_and_enough() {
        for (per_second, burst, seconds) in [(1000, 1000, 1), (1, 1, 1), (1, 50, 1)] {
            let (buckets, a) = (buckets(per_second, burst), client("192.0.2.1"));
            while buckets.take_at(a, 5).is_ok() {}
            assert_eq!(buckets.take_at(a, 5), Err(seconds));
            assert_eq!(buckets.take_at(a, 5 + seconds * SECOND), Ok(()), "who waits is served");
        }
    }

    #[test]
    fn refused_requests_cost_nothing() {
        let (buckets, a) = (buckets(1, 1), client("192.0.2.1"));
        assert_eq!(passed(&buckets, a, 0), 1);
        assert_eq!(passed(&buckets, a, SECOND - 1), 0);
        assert_eq!(passed(&buckets, a, SECOND), 1);
    }

    #[test]
    fn each_address_has_its_own_and_a_64_of_ipv6_has_one() {
        let buckets = buckets(1, 1);
        assert_eq!(passed(&buckets, client("2001:db8::1"), 0), 1);
        assert_eq!(passed(&buckets, client("2001:db8::ffff:2"), 0), 0, "the same /64");
        // Those that could be taken for each other.
        for other in ["2001:db8:0:1::1", "::", "0.0.0.0", "0.0.0.1", "192.0.2.1", "192.0.2.2", "::1:0:0:0:0"] {
            assert_eq!(passed(&buckets, client(other), 0), 1, "{other}");
        }
        assert_eq!(passed(&buckets, Peer::Unix.into(), 0), 1);
    }

    #[test]
    fn a_clock_that_lags_behind_gives_nothing_away() {
        let (buckets, a) = (buckets(1, 2), client("192.0.2.1"));
        assert_eq!(passed(&buckets, a, 10 * SECOND), 2);
        assert_eq!(passed(&buckets, a, 9 * SECOND), 0, "another thread read it a moment ago");
    }

    #[test]
    fn more_clients_than_buckets_take_the_fullest_ones_and_no_memory() {
        let (buckets, greedy) = (buckets(10, 100), client("192.0.2.1"));
        let network = |n: u64| Peer::Ip(std::net::Ipv6Addr::from(u128::from(n) << 64).into());
        assert_eq!(passed(&buckets, greedy, 0), 100);
        for n in 0..2 * BUCKETS as u64 {
            assert_eq!(buckets.take(network(n), buckets.begun), Ok(()), "a new one is served");
        }
        assert_eq!(passed(&buckets, greedy, 0), 0, "who owes most is kept in mind");
        let rooms: usize = buckets.shards.iter().map(|shard| shard.lock().capacity()).sum();
        assert_eq!(rooms, BUCKETS);
    }

    #[test]
    fn many_threads_share_one_bucket() {
        let buckets = buckets(1, 1000);
        let served: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1000).filter(|_| buckets.take_at(client("192.0.2.1"), 7).is_ok()).count()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(served, 1000);
    }
}
