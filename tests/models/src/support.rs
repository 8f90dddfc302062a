//! What the models share: how one is run, and the parts that a router is made of.

use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Once, OnceLock};
use std::time::Instant;

use layer7router::config::{self, Config};
use layer7router::snapshot::Snapshot;
use layer7router::sync::Arc;
use layer7router::transport::Socket;

/// Switches away from a thread that could go on, in one order. Few faults need more than two; `None` is all there are.
pub type Preemptions = Option<usize>;

/// Runs `model` in each order of its steps, and says how many there were.
pub fn check(preemptions: Preemptions, model: impl Fn() + Send + Sync + 'static) {
    quiet_faults();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 50_000;
    let (orders, begun) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let count = Arc::clone(&orders);
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let within = preemptions.map_or("all".to_owned(), |n| format!("{n} preemptions"));
    let (orders, took) = (orders.load(Ordering::Relaxed), begun.elapsed().as_secs_f32());
    println!("{name}: {orders} orders ({within}) in {took:.1} s");
}

/// What a fault that a model makes on purpose says: an index that is nowhere else.
pub const FAULT: usize = 99;

/// Faults on purpose, a hundred thousand of them, are not worth a line each.
fn quiet_faults() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        let on_purpose = format!("the index is {FAULT}");
        std::panic::set_hook(Box::new(move |info| {
            if !info.payload_as_str().is_some_and(|text| text.ends_with(&on_purpose)) {
                print(info);
            }
        }));
    });
}

/// A connection of ours, and its other end.
pub fn connection() -> (Arc<Socket>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    theirs.set_nonblocking(true).expect("a flag");
    (Arc::new(Socket::accepted(ours.into(), false)), theirs)
}

/// A configuration whose every request is answered at once.
pub fn snapshot(generation: u64) -> Snapshot {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    let text = "[listen:a]\naddress = :1\n[route:r]\nrespond = 200 \"ok\"\n";
    let parse = || match config::parse_str("a.ini", text, &|_| None) {
        Ok(loaded) => loaded.config,
        Err(reports) => panic!("{reports}"),
    };
    Snapshot::build(CONFIG.get_or_init(parse).clone(), generation, vec![(1, 0)], None, |_| None)
}
