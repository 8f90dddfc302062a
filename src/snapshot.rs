//! Everything that a request can consult, built whole from one configuration, never changed, and swapped at once.
//!
//! Each worker keeps a reference and compares one number per exchange. A running exchange finishes on the snapshot it
//! began with; the next one of the same session sees the new one. Backends that stay in the configuration are the same
//! objects in the next snapshot, with their kept connections and counts; so are the buckets of clients whose rate stays.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::backend::Backend;
use crate::config::model::{BackendAddress, Config, Route};
use crate::pool::Pool;
use crate::rate::{Buckets, Rate};
use crate::resolver;
use crate::route::Conditions;
use crate::sync::{Arc, AtomicU64, Mutex, Ordering};

/// The result of one configuration load.
#[derive(Debug)]
pub struct Snapshot {
    /// 1 for the first, one more for each reload.
    pub generation: u64,
    /// What was written.
    pub config: Config,
    /// By index of `config.routes`.
    pub conditions: Vec<Conditions>,
    /// By index of `config.pools`.
    pub pools: Vec<Pool>,
    /// By index of `config.listens`; `None`: everyone may ask as often as he likes.
    pub listen_buckets: Vec<Option<Arc<Buckets>>>,
    /// By index of `config.routes`.
    pub route_buckets: Vec<Option<Arc<Buckets>>>,
    /// Bound address to index of `config.listens`.
    pub entrances: Vec<(u32, usize)>,
}

impl Snapshot {
    /// Builds one. `demo` tells where a demo backend listens; backends of `before` that stay are taken over.
    pub fn build(
        config: Config,
        generation: u64,
        entrances: Vec<(u32, usize)>,
        before: Option<&Self>,
        demo: impl Fn(usize) -> Option<SocketAddr>,
    ) -> Self {
        // Each old one is taken over once, also where an address stands twice; by a pool of the same name if there is one.
        let mut old: Vec<(&str, Arc<Backend>)> = before
            .into_iter()
            .flat_map(|before| &before.pools)
            .flat_map(|pool| pool.backends.iter().map(|backend| (pool.name.as_str(), Arc::clone(backend))))
            .collect();
        let pools = config
            .pools
            .iter()
            .map(|pool| {
                let backends = pool.backends.iter().map(|backend| {
                    let same = |(_, other): &(&str, Arc<Backend>)| other.address == backend.address;
                    let at = old
                        .iter()
                        .position(|entry| entry.0 == pool.name && same(entry))
                        .or_else(|| old.iter().position(same));
                    match at {
                        Some(at) => {
                            let (_, kept) = old.remove(at);
                            kept.set_keepalive(pool.keepalive);
                            kept
                        }
                        None => {
                            let known = match &backend.address {
                                BackendAddress::Tcp { host, port } => resolver::known(host, *port).unwrap_or_default(),
                                BackendAddress::Demo(n) => demo(*n).into_iter().collect(),
                                BackendAddress::Unix(_) => Vec::new(),
                            };
                            Backend::new(backend.address.clone(), known, pool.keepalive)
                        }
                    }
                });
                let backends: Vec<Arc<Backend>> = backends.collect();
                let weights = pool.backends.iter().map(|backend| backend.weight).collect();
                Pool::new(pool.name.clone(), backends, weights)
            })
            .collect();
        let conditions = config.routes.iter().map(conditions).collect();
        let listens = before.into_iter().flat_map(|before| before.config.listens.iter().zip(&before.listen_buckets));
        let listens: HashMap<_, _> = listens.map(|(listen, buckets)| (listen.name.as_str(), buckets)).collect();
        let listen_buckets =
            config.listens.iter().map(|listen| buckets(listen.rate, listens.get(listen.name.as_str()))).collect();
        let routes = before.into_iter().flat_map(|before| before.config.routes.iter().zip(&before.route_buckets));
        let routes: HashMap<_, _> = routes.map(|(route, buckets)| (route.name.as_str(), buckets)).collect();
        let route_buckets =
            config.routes.iter().map(|route| buckets(route.rate, routes.get(route.name.as_str()))).collect();
        Self { generation, config, conditions, pools, listen_buckets, route_buckets, entrances }
    }

    /// The listener of a bound address; `None` when it was taken out of the configuration.
    pub fn listen_of(&self, entrance: u32) -> Option<usize> {
        self.entrances.iter().find(|(id, _)| *id == entrance).map(|(_, listen)| *listen)
    }

    /// All backends.
    pub fn backends(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.pools.iter().flat_map(|pool| &pool.backends)
    }
}

/// Of a section that stays as often as it was, those of before: a reload fills nobody's bucket.
fn buckets(rate: Option<Rate>, before: Option<&&Option<Arc<Buckets>>>) -> Option<Arc<Buckets>> {
    let rate = rate?;
    let before = before.and_then(|before| before.as_ref()).filter(|before| before.rate() == rate);
    Some(before.map_or_else(|| Arc::new(Buckets::new(rate)), Arc::clone))
}

fn conditions(route: &Route) -> Conditions {
    Conditions {
        listens: route.listens.clone(),
        hosts: route.hosts.clone(),
        paths: route.paths.clone(),
        methods: route.methods.clone(),
        headers: route.headers.clone(),
    }
}

/// The snapshot in force.
#[derive(Debug)]
pub struct Published {
    current: Mutex<Arc<Snapshot>>,
    generation: AtomicU64,
}

impl Published {
    /// The first one.
    pub fn new(first: Snapshot) -> Self {
        Self { generation: AtomicU64::new(first.generation), current: Mutex::new(Arc::new(first)) }
    }

    /// From now on, this one.
    pub fn publish(&self, next: Arc<Snapshot>) {
        let generation = next.generation;
        let before = std::mem::replace(&mut *self.current.lock(), next);
        self.generation.store(generation, Ordering::Release);
        // Outside of the lock: it may be the last reference, and close connections.
        drop(before);
    }

    /// Its number.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// It.
    pub fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current.lock())
    }

    /// The same, at the cost of one comparison while `cached` is still in force.
    pub fn refresh(&self, cached: Option<Arc<Snapshot>>) -> Arc<Snapshot> {
        match cached {
            Some(cached) if cached.generation == self.generation() => cached,
            _ => self.current(),
        }
    }
}
