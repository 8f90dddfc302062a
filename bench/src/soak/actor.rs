//! A client of a soak: a thread that plays one part, connection after connection, until it is told to stop.

use std::io::Write;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::sleep;
use std::time::Duration;

use super::ask::{Ask, Guest, Outcome, Since};
use super::configuration::{IDLE_S, WAYS, Way};
use super::deed::Ending;
use super::dice::Dice;
use super::message::{Broken, Reader};
use super::stream::{Address, PATIENCE, Stream};
use super::world::World;
use super::{browse, rude, slow, tunnel, upload};

/// The largest body.
pub const BODY_MAX: u64 = 1 << 20;
/// A client rests that long between two connections, at most: what bounds the load.
const REST_MS: u64 = 60;
/// An end of input that is due comes within this time: sooner than that of a connection that is only silent.
const END_TIME: Duration = Duration::from_secs(IDLE_S - 1);

/// What somebody does with one connection.
pub type Play = fn(&mut Actor<'_>);

/// Each part, and how many play it.
pub const CAST: [(&str, Play, usize); 9] = [
    ("browser", browse::visit, 8),
    ("own", browse::own, 1),
    ("pipeliner", browse::pipeline, 3),
    ("uploader", upload::visit, 6),
    ("echo", upload::echo, 3),
    ("tunnel", tunnel::visit, 4),
    ("rude", rude::visit, 6),
    ("slow", slow::visit, 5),
    ("idle", slow::idle, 4),
];

/// Who plays.
#[derive(Debug)]
pub struct Actor<'a> {
    pub world: &'a World,
    pub dice: Dice,
    name: String,
    asked: u64,
}

/// How the tokens of a run begin.
pub fn prefix(seed: u64) -> String {
    format!("soak-{seed:x}-")
}

impl<'a> Actor<'a> {
    pub fn new(world: &'a World, name: String) -> Self {
        Self { world, dice: Dice::new(world.seed, &name), name, asked: 0 }
    }

    /// One connection after the other.
    pub fn run(&mut self, play: Play) {
        while !self.world.stopping() {
            play(self);
            self.pause(REST_MS);
        }
    }

    /// At most so many milliseconds, and 0 as likely as any other.
    pub fn pause(&mut self, max_ms: u64) {
        sleep(Duration::from_millis(self.dice.below(max_ms + 1)));
    }

    /// Nobody has had it before, nor will.
    pub fn token(&mut self) -> String {
        self.asked += 1;
        format!("{}{}-{}", prefix(self.world.seed), self.name, self.asked)
    }

    pub fn way(&mut self) -> &'static Way {
        let n = self.dice.below(WAYS.len() as u64) as usize;
        &WAYS[n]
    }

    pub fn ending(&mut self) -> Ending {
        Ending::any_kept(&mut self.dice)
    }

    /// A connection to one of the listens, or nothing if the guests' is not there.
    pub fn connect(&mut self) -> Option<(Stream, Guest)> {
        let oldest = self.world.oldest.load(SeqCst).saturating_sub(2);
        let listens = &self.world.listens;
        let guest = self.dice.one_in(16);
        let address = if guest { &listens.guest } else { self.dice.pick(&[&listens.tcp, &listens.tcp, &listens.unix]) };
        Some((self.connect_to(address, guest)?, guest.then_some(oldest)))
    }

    pub fn connect_to(&mut self, address: &Address, may_fail: bool) -> Option<Stream> {
        let stream = Stream::connect(address).and_then(|stream| {
            stream.read_within(Some(PATIENCE))?;
            Ok(stream)
        });
        match stream {
            Ok(stream) => Some(stream),
            Err(_) if may_fail => {
                self.world.count("guests who found the door shut", 1);
                None
            }
            Err(error) => {
                self.world.finding(&format!("{}: {address}: {error}", self.name));
                None
            }
        }
    }

    /// Sends all of it; a failure is seen by whoever reads the answer.
    pub fn send(&self, mut stream: &Stream, bytes: &[u8]) -> bool {
        stream.write_all(bytes).is_ok()
    }

    /// Sends the head, reads the answer.
    pub fn exchange(&self, stream: &Stream, reader: &mut Reader<'_>, ask: &Ask, since: Since) -> Outcome {
        self.send(stream, ask.head().as_bytes());
        ask.answer(self.world, reader, since)
    }

    /// After the last answer: nothing more comes but the end.
    pub fn expect_end(&self, stream: &Stream, reader: &mut Reader<'_>, after: &Ask) {
        let _gone = stream.read_within(Some(END_TIME));
        let nothing = |bytes: &[u8]| Err(Broken::Wrong(bytes[..bytes.len().min(100)].escape_ascii().to_string()));
        match reader.some(nothing) {
            Ok(_) | Err(Broken::Reset | Broken::Ended) => {}
            Err(how) => {
                after.found(self.world, &format!("instead of the end of the connection: {how:?}"));
            }
        }
    }

    /// Before the next request: nothing has come that nobody asked for.
    pub fn is_quiet(&self, reader: &Reader<'_>, after: &Ask) -> bool {
        let left = reader.left();
        if !left.is_empty() {
            after.found(
                self.world,
                &format!("bytes behind an answer: \"{}\"", left[..left.len().min(500)].escape_ascii()),
            );
        }
        left.is_empty()
    }
}
