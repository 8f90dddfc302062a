//! The router as a whole: builds everything in order, changes it at a reload, and joins everything in reverse.
//!
//! Not here: when any of this happens (`control`).

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use crate::access_log::AccessLog;
use crate::arena::Arena;
use crate::bill::Bill;
use crate::canned::Canned;
use crate::cells::Cells;
use crate::config::model::{BackendAddress, Config, Scheduling};
use crate::crew::Shared;
use crate::error::CloseReason;
use crate::ids;
use crate::inherited::Inherited;
use crate::listener::{Acceptor, Listener, Place};
use crate::metrics::Counters;
use crate::permits::Permits;
use crate::privilege::explained;
use crate::registry::Registry;
use crate::resolver::{self, Resolver, ResolverThread};
use crate::round::Mail;
use crate::session::{Entrance, PerAddress, Session};
use crate::snapshot::{Published, Snapshot};
use crate::sync::{Arc, Weak};
use crate::waiter::{Waiter, WaiterThread};
use crate::worker;
use crate::{demo, flood, reaper, sys};

mod prepared;
mod reload;
mod start_error;
mod threads;

pub use prepared::Prepared;
pub use start_error::StartError;
use threads::{STACK_SIZE, Threads, join, join_by};

/// Workers of the hot set, for each core.
const PERMITS_PER_CORE: usize = 2;
/// Threads that are no worker, no acceptor and no demo: waiter, reaper, monitor, resolver, both logs, signals (two), main.
const HELPER_THREADS: usize = 9;
/// How long cut exchanges get to end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A running router.
pub struct Server {
    shared: Arc<Shared>,
    acceptor: Acceptor,
    /// Dropped when everything stops at once.
    stop: Option<Sender<()>>,
    listeners: Vec<Running>,
    /// Acceptors of addresses that a reload took away.
    retired: Vec<(Place, JoinHandle<()>)>,
    resolver: Resolver,
    queue: Receiver<Arc<Session>>,
    demos: HashMap<usize, SocketAddr>,
    next_entrance: u32,
    threads: Threads,
    bill: Bill,
    inherited: Inherited,
}

/// A listener with its acceptor.
struct Running {
    /// Owned by the acceptor's thread alone: when that ends, the address is free.
    listener: Weak<Listener>,
    place: Place,
    entrance: Arc<Entrance>,
    /// Where it is bound, with the port the kernel chose.
    bound: String,
    /// NAME of its section.
    name: String,
    thread: JoinHandle<()>,
}

impl Running {
    fn stop(&self) {
        if let Some(listener) = self.listener.upgrade() {
            listener.stop();
        }
    }
}

impl Server {
    /// Binds what is left, and starts every thread. Control signals are to be blocked in the calling thread before.
    pub fn start(prepared: Prepared) -> Result<Self, StartError> {
        let (config, bill, inherited, bound) = prepared.finish()?;
        let next_entrance = u32::try_from(bound.len()).unwrap_or(u32::MAX);
        let mut threads = Threads::default();
        let mut demos = HashMap::new();
        start_demos(&config, &mut demos, &mut threads)?;
        let workers = config.server.workers;
        let counters = Arc::new(Counters::default());
        let access = AccessLog::new(&config.log.access, config.log.format)
            .map_err(|error| explained(error, config.server.identity.as_ref()))
            .map_err(|error| StartError::Resource("the access log", error))?;
        let entrances = bound.iter().map(|(listener, listen)| (listener.entrance.id, *listen)).collect();
        let server = config.server.clone();
        let cells = Cells::new(config.limits.parked_heads);
        let snapshot = Snapshot::build(config, 1, entrances, None, |n| demos.get(&n).copied());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shared = Arc::new(Shared {
            arena: Arena::new(2 * workers, server.slice_size),
            cells,
            registry: Registry::new(workers),
            permits: Arc::new(Permits::new(workers, PERMITS_PER_CORE * cores)),
            waiter: Waiter::new().map_err(|error| StartError::Resource("the waiter", error))?,
            published: Arc::new(Published::new(snapshot)),
            counters,
            access,
            via: ids::via_token(),
        });
        let (channel, queue) = crossbeam_channel::bounded(server.queue);
        let (stop, stopped) = crossbeam_channel::bounded(0);
        let (resolver, names) = resolver::new();
        let acceptor = Acceptor {
            channel,
            stop: stopped,
            waiter: Arc::clone(&shared.waiter),
            permits: Arc::clone(&shared.permits),
            published: Arc::clone(&shared.published),
            per_address: Arc::new(PerAddress::default()),
            counters: Arc::clone(&shared.counters),
            sessions_max: bill.sessions_max,
        };
        let mut server = Self {
            shared,
            acceptor,
            stop: Some(stop),
            listeners: Vec::new(),
            retired: Vec::new(),
            resolver,
            queue,
            demos,
            next_entrance,
            threads,
            bill,
            inherited,
        };
        server.warn_of_unused();
        server.start_threads(names).map_err(|error| StartError::Resource("a thread", error))?;
        let first = server.shared.published.current();
        server.resolver.watch(first.backends(), resolver::AT_START);
        drop(first);
        for (listener, listen) in bound {
            let name = server.config(|config| config.listens[listen].name.clone());
            let prepared = server.prepare(listener, name);
            server.open(prepared.map_err(|error| StartError::Resource("an acceptor", error))?);
        }
        Ok(server)
    }

    fn start_threads(&mut self, names: ResolverThread) -> io::Result<()> {
        let shared = &self.shared;
        let scheduling = self.config(|config| config.server.scheduling);
        let threads = &mut self.threads;
        let mut spawn_worker = |name: String, run: Box<dyn FnOnce() + Send>| {
            threads.spawn(
                name,
                match scheduling {
                    Scheduling::Normal => run,
                    Scheduling::Batch => Box::new(move || {
                        if let Err(error) = sys::schedule_as_batch() {
                            log::warn!("scheduling = batch: {error}; this worker runs as normal");
                        }
                        run();
                    }),
                },
            )
        };
        let workers = shared.registry.slots().len();
        let mail = Mail::new(workers);
        for index in 0..workers {
            worker::spawn(index, shared, &self.queue, &mail, &mut spawn_worker)?;
        }
        let published = Arc::clone(&shared.published);
        let waiter = WaiterThread {
            waiter: Arc::clone(&shared.waiter),
            channel: self.acceptor.channel.clone(),
            queued: self.queue.clone(),
            permits: Arc::clone(&shared.permits),
            registry: Arc::clone(&shared.registry),
            counters: Arc::clone(&shared.counters),
            queue_timeout: Box::new(move || published.current().config.timeouts.queue),
            refuse: Canned::new(Arc::clone(&shared.access), Arc::clone(&shared.published)),
        };
        threads.spawn("waiter".into(), Box::new(move || waiter.run()))?;
        let (registry, published, stop) =
            (Arc::clone(&shared.registry), Arc::clone(&shared.published), self.acceptor.stop.clone());
        let (access, queue) = (Arc::clone(&shared.access), self.queue.clone());
        threads.spawn(
            "reaper".into(),
            Box::new(move || {
                let rate_min = || published.current().config.limits.client_rate_min;
                reaper::run(
                    &registry,
                    &stop,
                    rate_min,
                    || !queue.is_empty(),
                    || {
                        let snapshot = published.current();
                        let limit = snapshot.config.timeouts.backend_idle;
                        snapshot.backends().for_each(|backend| backend.sweep(limit));
                        flood::tell();
                        access.complain();
                    },
                );
            }),
        )?;
        let (permits, queue) = (Arc::clone(&shared.permits), self.queue.clone());
        threads.spawn("monitor".into(), Box::new(move || permits.run_monitor(|| queue.len())))?;
        threads.spawn("resolver".into(), Box::new(move || names.run()))?;
        let access = Arc::clone(&shared.access);
        threads.spawn("access-log".into(), Box::new(move || access.run()))
    }

    /// Starts the acceptor of a bound address. It accepts nothing before it is told to, and ends if it never is.
    fn prepare(&self, listener: Arc<Listener>, name: String) -> io::Result<(Running, Sender<()>)> {
        let ours = Arc::downgrade(&listener);
        let (place, entrance, bound) = (listener.place.clone(), Arc::clone(&listener.entrance), listener.bound());
        let acceptor = self.acceptor.clone();
        let number = listener.entrance.id;
        let thread_name = if number == 1 { "acceptor".to_owned() } else { format!("acceptor.{number}") };
        let (go, told) = crossbeam_channel::bounded(1);
        let run = move || {
            if told.recv().is_ok() {
                listener.run(&acceptor);
            }
        };
        let thread = Threads::start(thread_name, Box::new(run))?;
        Ok((Running { listener: ours, place, entrance, bound, name, thread }, go))
    }

    /// Lets a prepared acceptor begin.
    fn open(&mut self, (running, go): (Running, Sender<()>)) {
        let _it_waits = go.send(());
        self.listeners.push(running);
    }

    /// The bill of the start.
    pub fn bill(&self) -> &Bill {
        &self.bill
    }

    /// `[listen:NAME]` and bound address of each listener.
    pub fn bound(&self) -> Vec<(String, String)> {
        self.listeners.iter().map(|running| (running.name.clone(), running.bound.clone())).collect()
    }

    /// Looks at the configuration in force.
    pub fn config<T>(&self, look: impl FnOnce(&Config) -> T) -> T {
        look(&self.shared.published.current().config)
    }

    /// Number of the configuration in force.
    pub fn generation(&self) -> u64 {
        self.shared.published.generation()
    }

    /// Inherited sockets that no section names: whoever connects there waits for nobody.
    fn warn_of_unused(&self) {
        let used = self.config(|config| wanted(config, &self.inherited)).unwrap_or_default();
        let used: Vec<i32> = used
            .into_iter()
            .filter_map(|(place, _)| if let Place::Inherited(number) = place { Some(number) } else { None })
            .collect();
        for unused in self.inherited.others(&used) {
            log::warn!("no section names the inherited {unused}: whoever connects there is not served");
        }
    }

    /// Opens the access log again. On an error the old file stays in use.
    pub fn reopen_logs(&self) -> io::Result<()> {
        let reopened = self.shared.access.reopen();
        reopened.map_err(|error| self.config(|config| explained(error, config.server.identity.as_ref())))
    }

    /// The counters, as one line.
    pub fn counters(&self) -> String {
        use std::fmt::Write;
        let shared = &self.shared;
        let snapshot = shared.published.current();
        let mut parked = Vec::new();
        shared.waiter.table.pick(&mut parked, |session| session.state.is_parked());
        let gauges = [
            ("generation", snapshot.generation),
            ("sessions", shared.waiter.table.len() as u64),
            ("parked", parked.len() as u64),
            ("queued", self.queue.len() as u64),
            ("running", shared.registry.running() as u64),
            ("workers", shared.registry.slots().len() as u64),
            ("permits", shared.permits.total() as u64),
            ("permits_free", shared.permits.at_rest() as u64),
            ("slices_total", shared.arena.total() as u64),
            ("slices_free", shared.arena.free() as u64),
            ("slices_touched", shared.arena.touched() as u64),
            ("cells_used", shared.cells.used() as u64),
            ("backend_idle", snapshot.backends().map(|backend| backend.kept() as u64).sum()),
            ("backend_in_flight", snapshot.backends().map(|backend| backend.in_flight() as u64).sum()),
            ("access_dropped", shared.access.dropped()),
        ];
        let mut line = String::from("counters:");
        for (name, value) in gauges.into_iter().chain(shared.counters.list()) {
            // Writing into a String cannot fail.
            let _always_fits = write!(line, " {name}={value}");
        }
        line
    }

    /// A reload was refused.
    pub fn count_failed_reload(&self) {
        self.shared.counters.reloads_failed.add();
    }

    /// Begins to drain: nothing new is accepted but what is in the accept queues, and no session gets another exchange.
    pub fn drain(&self) {
        for running in &self.listeners {
            running.stop();
        }
        self.shared.waiter.drain();
    }

    /// Whether every session has ended and no acceptor will make another. Listeners whose queue is empty are closed.
    pub fn is_drained(&mut self) -> bool {
        let (done, accepting): (Vec<Running>, Vec<Running>) =
            std::mem::take(&mut self.listeners).into_iter().partition(|running| running.thread.is_finished());
        self.listeners = accepting;
        for running in done {
            join(running.thread);
        }
        self.listeners.is_empty() && self.shared.waiter.table.is_empty()
    }

    /// Sessions that are still open.
    pub fn sessions(&self) -> usize {
        self.shared.waiter.table.len()
    }

    /// Ends everything: what still runs is cut, then every thread is joined, the last started first.
    ///
    /// A thread that the kernel holds (a connect in progress, a write to a log that nobody reads) is not waited for longer
    /// than its last words: the process ends, and the thread with it.
    pub fn stop(mut self) {
        let shared = &self.shared;
        for running in &self.listeners {
            running.stop();
        }
        self.stop = None;
        // No worker takes another session, so what is cut now is all there is.
        shared.permits.close();
        shared.waiter.dismiss();
        let deadline = Instant::now() + LAST_WORDS;
        while shared.registry.running() > 0 && Instant::now() < deadline {
            for slot in shared.registry.slots() {
                slot.cut(CloseReason::Stopped);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        shared.waiter.stop();
        shared.access.stop();
        drop(self.resolver);
        // The last sender but the waiter's, which ends now: nothing is put onto the channel any more.
        drop(self.acceptor);
        drop(self.queue);
        let acceptors = self
            .listeners
            .drain(..)
            .map(|running| running.thread)
            .chain(self.retired.drain(..).map(|(_, thread)| thread));
        let deadline = Instant::now() + LAST_WORDS;
        for thread in acceptors.chain(self.threads.handles.drain(..).rev()) {
            // Demo origins live as long as the process.
            if thread.thread().name().is_none_or(|name| !name.starts_with("demo-")) {
                join_by(thread, deadline);
            }
        }
    }
}

/// Every place to bind, with the index of its listener. Port 0 is a new place each time it stands.
fn wanted(config: &Config, inherited: &Inherited) -> Result<Vec<(Place, usize)>, StartError> {
    let mut wanted = Vec::new();
    for (index, listen) in config.listens.iter().enumerate() {
        for address in &listen.addresses {
            let places = Place::of(address, inherited)
                .map_err(|error| StartError::Inherited(listen.name.clone(), address.clone(), error))?;
            wanted.extend(places.into_iter().map(|place| (place, index)));
        }
    }
    Ok(wanted)
}

fn start_demos(
    config: &Config,
    demos: &mut HashMap<usize, SocketAddr>,
    threads: &mut Threads,
) -> Result<(), StartError> {
    for backend in config.pools.iter().flat_map(|pool| &pool.backends) {
        if let BackendAddress::Demo(number) = backend.address
            && !demos.contains_key(&number)
        {
            let address = demo::start(number, &mut |name, run| threads.spawn(name, run))
                .map_err(|error| StartError::Resource("a demo backend", error))?;
            demos.insert(number, address);
        }
    }
    Ok(())
}
