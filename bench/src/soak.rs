//! The soak: everything at once, for a while, and every byte compared.
//!
//! ```text
//!  clients: threads, each plays one part     the router      origins: processes, killed now and then
//!  every request has a token, every  ───────▶ reloaded, ────▶ judge each request, answer with the
//!  answer is judged (`ask`)                   its logs        token and bytes that belong to it
//!            │                                moved away
//!            └──▶ `ledger`: what the clients saw against the access log, line by line
//! ```
//!
//! Here is the story: start, load, rest, end. What is done to the router meanwhile is `trouble`, what it holds is
//! `footprint`. Nothing is measured here but memory: the load is bounded, and says nothing about speed.

mod actor;
mod ask;
mod browse;
mod configuration;
mod deed;
mod dice;
mod footprint;
mod ledger;
mod message;
pub mod origin;
mod pattern;
mod router;
mod rude;
mod slow;
mod stream;
mod trouble;
mod tunnel;
mod upload;
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use actor::{Actor, CAST};
use footprint::{Footprint, Memory};
use ledger::Ledger;
use router::Router;
use trouble::{Origins, Trouble};
use world::World;

use crate::candidate;
use crate::cli::Soak;
use crate::process::{self, pause};
use crate::room::Room;

/// The router keeps backend connections for 4 s, and a client may have gone without a word.
const REST_TIME: Duration = Duration::from_secs(20);
/// The router's memory may grow by so much from the third quarter to the last, however long they are: some 50 KB are usual
/// in runs of a minute, and 140 in those of seven.
const GROWTH_KB_MAX: i64 = 512;
const MEMORY_KB_MAX: u64 = 64 * 1024;
const CLIENT_STACK: usize = 512 * 1024;

/// Soaks, shows what came of it, tells how many findings there were.
pub fn run(options: &Soak) -> Result<u64, String> {
    process::handle_interrupts();
    process::raise_descriptors();
    let path = candidate::binary(options.router.as_deref())?;
    let room = Room::new("soak")?;
    println!("{}", crate::machine::describe_soak(&path, &room)?);

    let mut origins = Origins::start(&room)?;
    let first = configuration::file(1, origins.places(), room.path());
    let mut router = Router::start(&path, &first, &room)?;
    let world = World::new(options.seed, router.listens(&room)?, 1);
    let mut ledger = Ledger::open(&room.path().join("access.log"), origins.places(), &actor::prefix(options.seed))?;
    let mut trouble = Trouble::new(&world, &router, &room, 1);
    let before = Footprint::of(router.pid());
    let mut memory = Memory::new();

    let outcome = load(options, &world, &router, &mut trouble, &mut origins, &mut ledger, &mut memory);
    if let Err(reason) = outcome {
        world.finding(&reason);
    }
    router.must_run()?;
    trouble.calm_down(&mut origins)?;
    let after = rest(&world, &router, &before, &mut ledger)?;
    origins.judge(&world);
    let log = router.log();
    for line in router::unexpected(&log, &origins.killable()) {
        world.finding(&format!("in the router's log: {line}"));
    }
    let limit = Duration::from_secs(configuration::DRAIN_S);
    let (status, took) = router.stop(limit)?;
    if !status.success() {
        world.finding(&format!("after SIGTERM: {status}"));
    }
    ledger.close(&world);
    judge_memory(&world, &memory);
    report(options, &world, &ledger, &memory, &after);
    println!("end           {status}, {:.1} s after SIGTERM", took.as_secs_f64());
    println!("findings      {}", world.findings());
    Ok(world.findings() as u64)
}

/// Clients and trouble, for the time that was asked for; then the clients end what they have begun.
fn load(
    options: &Soak,
    world: &World,
    router: &Router,
    trouble: &mut Trouble<'_>,
    origins: &mut Origins,
    ledger: &mut Ledger,
    memory: &mut Memory,
) -> Result<(), String> {
    let until = Instant::now() + Duration::from_secs(options.seconds.into());
    thread::scope(|scope| {
        let mut step = || {
            router.must_run()?;
            trouble.step(origins, ledger)?;
            ledger.read(world);
            memory.sample(router.pid());
            let slept = Instant::now();
            pause()?;
            world.slept(slept.elapsed());
            Ok(())
        };
        let parts = CAST.iter().flat_map(|&(part, play, count)| (0..count).map(move |n| (format!("{part}{n}"), play)));
        let mut outcome = Ok(());
        for (name, play) in parts {
            let mut actor = Actor::new(world, name);
            let started = Builder::new().stack_size(CLIENT_STACK).spawn_scoped(scope, move || actor.run(play));
            outcome = outcome.and(started.map(drop).map_err(|error| format!("a client: {error}")));
        }
        while outcome.is_ok() && Instant::now() < until {
            outcome = step();
        }
        world.stop.store(true, SeqCst);
        outcome
    })
}

/// Waits until nothing is left of the load; what is left for too long is found.
fn rest(world: &World, router: &Router, before: &Footprint, ledger: &mut Ledger) -> Result<Footprint, String> {
    let mut last = (Footprint::of(router.pid()), Vec::new());
    let rested = router::wait("rest", REST_TIME, || {
        ledger.read(world);
        let counters = router.counters()?;
        last = (Footprint::of(router.pid()), held(&counters));
        Ok((last.0 == *before && last.1.is_empty() && ledger.settled()).then_some(()))
    });
    if rested.is_err() {
        let (after, held) = &last;
        if after != before || !held.is_empty() {
            world.finding(&format!("not at rest after {REST_TIME:?}: {held:?}; before {before:?}, after {after:?}"));
        }
    }
    let counters = router.counters()?;
    let exchanges = counters.get("exchanges").copied().unwrap_or(0);
    if exchanges != ledger.named {
        world.finding(&format!("{exchanges} exchanges were counted, and {} are in the access log", ledger.named));
    }
    judge_nameless(world, ledger);
    for counter in ["panics", "access_dropped", "refused_queue", "shed", "cells_exhausted", "accept_failed"] {
        if counters.get(counter).is_none_or(|&count| count > 0) {
            world.finding(&format!("{counter} is {:?}", counters.get(counter)));
        }
    }
    Ok(last.0)
}

/// Lines of heads that ended early: those that were told so, and some of those that did not stay to hear it, since a Unix
/// socket that is closed looks like one that has finished.
fn judge_nameless(world: &World, ledger: &Ledger) {
    let counts = world.counts();
    let of = |what: &str| counts.get(what).copied().unwrap_or(0);
    let told = of(rude::HALF_A_HEAD);
    let gone = of(rude::RESET_IN_THE_HEAD) + of(rude::HALF_A_HEAD_CLOSED);
    if ledger.nameless < told || ledger.nameless > told + gone {
        world.finding(&format!("{} lines of {told} to {} heads that ended early", ledger.nameless, told + gone));
    }
}

/// What a router at rest does not have.
fn held(counters: &BTreeMap<String, u64>) -> Vec<String> {
    let of = |name: &str| counters.get(name).copied().unwrap_or(u64::MAX);
    let none = ["sessions", "parked", "queued", "running", "cells_used", "backend_idle", "backend_in_flight"];
    let all = [("permits_free", "permits"), ("slices_free", "slices_total")];
    let some = none.iter().filter(|name| of(name) != 0).map(|name| format!("{name}={}", of(name)));
    let few = all.iter().filter(|(free, total)| of(free) != of(total)).map(|(free, _)| format!("{free}={}", of(free)));
    some.chain(few).collect()
}

fn judge_memory(world: &World, memory: &Memory) {
    if memory.growth_kb() > GROWTH_KB_MAX {
        world.finding(&format!("memory grows: {:+} KB from the third quarter to the last", memory.growth_kb()));
    }
    if memory.max_kb() > MEMORY_KB_MAX {
        world.finding(&format!("memory: {} KB", memory.max_kb()));
    }
}

fn report(options: &Soak, world: &World, ledger: &Ledger, memory: &Memory, after: &Footprint) {
    let counts = world.counts();
    println!("soak          {} s, seed {}", options.seconds, world.seed);
    for (what, count) in &counts {
        println!("  {what:<42} {count:>9}");
    }
    println!("access log    {} lines of exchanges, {} of heads that ended early", ledger.named, ledger.nameless);
    println!(
        "memory        private: {:.1} MB at most; {:+} KB from the third quarter to the last, {GROWTH_KB_MAX} allowed",
        memory.max_kb() as f64 / 1024.0,
        memory.growth_kb(),
    );
    println!("stood still   {:.2} s at most", world.longest_sleep().as_secs_f64());
    println!("rest          {} threads, {} descriptors: as before", after.threads, after.descriptor_count());
}
