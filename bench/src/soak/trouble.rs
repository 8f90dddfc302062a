//! What is done to the router while its clients work: reloads, good ones and bad ones, log rotations, and origins that are
//! killed and come back.

use std::process::Command;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::configuration;
use super::dice::Dice;
use super::ledger::Ledger;
use super::origin::{self, Place};
use super::router::{Router, wait};
use super::world::World;
use crate::process::{Process, pause_for};
use crate::room::Room;

/// From the start of an origin to its first line.
const START_TIME: Duration = Duration::from_secs(10);
/// How often each kind of trouble comes, at random within these limits.
const RELOAD_MS: (u64, u64) = (500, 4_000);
const ROTATE_MS: (u64, u64) = (3_000, 9_000);
const KILL_MS: (u64, u64) = (2_000, 6_000);
/// How long an origin is down.
const DOWN_MS: (u64, u64) = (50, 1_200);
/// One reload in so many is of a broken file.
const BROKEN_ONE_IN: u64 = 4;
/// Signals of one broken reload, at most: a storm of them may be one reload or several.
const STORM_MAX: u64 = 20;
/// After it, the last of them has come.
const STORM_TIME: Duration = Duration::from_millis(200);

/// All origins, killed or not.
#[derive(Debug)]
pub struct Origins {
    places: Vec<Place>,
    /// In the same order; nothing of one that is down.
    running: Vec<Option<Process>>,
    started: u64,
}

impl Origins {
    pub fn start(room: &Room) -> Result<Self, String> {
        let places = configuration::places(room.path())?;
        let mut origins = Self { running: places.iter().map(|_| None).collect(), places, started: 0 };
        for index in 0..origins.places.len() {
            origins.raise(index, room)?;
        }
        Ok(origins)
    }

    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Those that are down now and then.
    pub fn killable(&self) -> Vec<&Place> {
        self.places.iter().filter(|place| may_be_killed(place)).collect()
    }

    /// Starts one; it serves. Only from the main thread: it ends with the thread that started it.
    fn raise(&mut self, index: usize, room: &Room) -> Result<(), String> {
        let place = &self.places[index];
        let own = std::env::current_exe().map_err(|error| format!("where we are: {error}"))?;
        let mut command = Command::new(own);
        command.arg("origin").arg(place.name).arg(place.address.to_string());
        self.started += 1;
        let process = Process::spawn(&format!("{}.{}", place.name, self.started), command, room)?;
        wait(&format!("{} is not ready", place.name), START_TIME, || {
            process.must_run()?;
            Ok((process.output().lines().next() == Some(origin::READY)).then_some(()))
        })?;
        self.running[index] = Some(process);
        Ok(())
    }

    /// Kills one, and reads what it had found.
    fn kill(&mut self, index: usize, world: &World) -> Result<(), String> {
        let Some(mut process) = self.running[index].take() else { return Ok(()) };
        process.must_run()?;
        process.kill()?;
        judge(&process, world);
        Ok(())
    }

    /// What those that run have found; they must all run.
    pub fn judge(&self, world: &World) {
        for process in self.running.iter().flatten() {
            if let Err(ended) = process.must_run() {
                world.finding(&ended);
            }
            judge(process, world);
        }
    }
}

/// One pool is never excused.
fn may_be_killed(place: &Place) -> bool {
    place.pool != "calm"
}

fn judge(process: &Process, world: &World) {
    for finding in origin::findings(&process.output()) {
        world.finding(&format!("origin {finding}"));
    }
    let said = process.log_from(0);
    if !said.is_empty() {
        world.finding(&format!("an origin failed: {said}"));
    }
}

/// Who makes it, and when next.
pub struct Trouble<'a> {
    world: &'a World,
    router: &'a Router,
    room: &'a Room,
    dice: Dice,
    pub generation: u64,
    reload_at: Instant,
    rotate_at: Instant,
    kill_at: Instant,
    /// Who is down, and until when.
    down: Option<(usize, Instant)>,
}

impl<'a> Trouble<'a> {
    pub fn new(world: &'a World, router: &'a Router, room: &'a Room, generation: u64) -> Self {
        let now = Instant::now();
        let dice = Dice::new(world.seed, "trouble");
        Self { world, router, room, dice, generation, reload_at: now, rotate_at: now, kill_at: now, down: None }
    }

    /// Whatever is due.
    pub fn step(&mut self, origins: &mut Origins, ledger: &mut Ledger) -> Result<(), String> {
        let now = Instant::now();
        if now >= self.reload_at {
            if self.dice.one_in(BROKEN_ONE_IN) {
                self.reload_broken(origins)?
            } else {
                self.reload(origins)?
            }
            self.reload_at = self.in_a_while(RELOAD_MS);
        }
        if now >= self.rotate_at {
            if ledger.rotate()? {
                self.router.signal(Signal::USR1);
                self.world.count("log rotations", 1);
            }
            self.rotate_at = self.in_a_while(ROTATE_MS);
        }
        match self.down {
            Some((index, until)) if now >= until => {
                self.raise(index, origins)?;
                self.kill_at = self.in_a_while(KILL_MS);
            }
            None if now >= self.kill_at => {
                let killable: Vec<usize> =
                    (0..origins.places.len()).filter(|&index| may_be_killed(&origins.places[index])).collect();
                let index = self.dice.pick(&killable);
                self.world.outage_begins(origins.places[index].pool);
                origins.kill(index, self.world)?;
                self.world.count("backends killed", 1);
                self.down = Some((index, self.in_a_while(DOWN_MS)));
            }
            _ => {}
        }
        Ok(())
    }

    /// Everything is up again, and the configuration one with guests, as at the start.
    pub fn calm_down(&mut self, origins: &mut Origins) -> Result<(), String> {
        if let Some((index, _)) = self.down {
            self.raise(index, origins)?;
        }
        self.reload(origins)?;
        if self.generation.is_multiple_of(2) { self.reload(origins) } else { Ok(()) }
    }

    fn raise(&mut self, index: usize, origins: &mut Origins) -> Result<(), String> {
        origins.raise(index, self.room)?;
        self.world.outage_ends(origins.places[index].pool);
        self.down = None;
        Ok(())
    }

    fn reload(&mut self, origins: &Origins) -> Result<(), String> {
        let next = self.generation + 1;
        self.world.newest.store(next, SeqCst);
        self.router.reload(&configuration::file(next, &origins.places, self.room.path()), self.room)?;
        self.world.count("reloads", 1);
        self.router.wait_until("generation", |generation| generation == next)?;
        self.world.oldest.store(next, SeqCst);
        self.generation = next;
        Ok(())
    }

    fn reload_broken(&mut self, origins: &Origins) -> Result<(), String> {
        let before = self.router.counters()?;
        let failed = before.get("reloads_failed").copied().unwrap_or(0);
        self.router
            .reload(&configuration::broken(self.generation + 1, &origins.places, self.room.path()), self.room)?;
        for _ in 1..self.dice.between(1, STORM_MAX) {
            self.router.signal(Signal::HUP);
        }
        self.world.count("reloads of a broken file", 1);
        // A storm is one reload or several: none of them must come after the next good one.
        self.router.wait_until("reloads_failed", |count| count > failed)?;
        pause_for(STORM_TIME)
    }

    fn in_a_while(&mut self, (first, last): (u64, u64)) -> Instant {
        Instant::now() + Duration::from_millis(self.dice.between(first, last))
    }
}
