//! Clients of tunnels: an upgrade, then bytes both ways at once, and every way to end that.

use std::io::Write;
use std::thread;
use std::time::Duration;

use super::actor::Actor;
use super::ask::{Ask, Outcome, Since};
use super::deed::{Act, Deed, Ending};
use super::dice::Dice;
use super::ledger::End;
use super::message::{Broken, Reader};
use super::pattern::Pattern;
use super::stream::Stream;

const BYTES_MAX: u64 = 512 * 1024;
const BURST_MAX: u64 = 16 * 1024;
const PAUSE_MS: u64 = 10;

/// What is sent comes back; then one side finishes, or the client resets.
pub fn visit(actor: &mut Actor<'_>) {
    let world = actor.world;
    let Some((stream, guest)) = actor.connect() else { return };
    let sent = actor.dice.size(BYTES_MAX);
    // The origin finishes first, after a part of it; 0: the client does.
    let last = if actor.dice.one_in(3) { actor.dice.size(sent) } else { 0 };
    let deed = Deed { act: Act::Tunnel, ending: Ending::Length, request: 0, answer: last };
    let ask = Ask::new(actor.token(), actor.way(), deed);
    let mut reader = Reader::new(&stream);
    let since = Since::now(world, guest);
    if actor.exchange(&stream, &mut reader, &ask, since) != Outcome::Switched {
        return;
    }
    let resets = actor.dice.one_in(4);
    let due = if last == 0 { sent } else { last };
    let dice = actor.dice.clone();
    actor.dice.roll();
    let read_until = if resets { actor.dice.below(due + 1) } else { u64::MAX };
    let came = thread::scope(|scope| {
        scope.spawn(|| send(&stream, &ask, dice, sent, last == 0 && !resets));
        let came = compare(&mut reader, &ask, read_until);
        if last > 0 {
            stream.finish();
        }
        came
    });
    let mut record = ask.record(End::Left);
    match came {
        Err(Broken::Wrong(what)) => {
            ask.found(world, &format!("tunnel {what}"));
        }
        _ if resets => {
            world.record(record);
            world.count("tunnel, reset by the client", 1);
            stream.abort();
        }
        Ok(bytes) if bytes == due => {
            // Who finishes first has no word for how much the other had sent.
            if last == 0 {
                record.end = End::Whole { status: 101, bytes };
                record.sent = Some(sent);
            }
            world.count("bytes received", bytes);
            world.record(record);
            world.count("tunnel", 1);
        }
        _ if world.excuses(ask.way, since.began) => {
            world.record(record);
            world.count("cut while a backend was down", 1);
        }
        other => {
            ask.found(world, &format!("a tunnel that ended with {other:?}, and {due} bytes were due"));
        }
    }
}

fn send(mut stream: &Stream, ask: &Ask, mut dice: Dice, length: u64, finish: bool) {
    let pattern = Pattern::of_request(&ask.token);
    let mut at = 0;
    while at < length {
        let n = (dice.size(BURST_MAX - 1) + 1).max(length / 64).min(BURST_MAX).min(length - at);
        let mut burst = vec![0; n as usize];
        pattern.fill(at, &mut burst);
        if stream.write_all(&burst).is_err() {
            return;
        }
        at += n;
        thread::sleep(Duration::from_millis(dice.below(PAUSE_MS + 1)));
    }
    if finish {
        stream.finish();
    }
}

/// Bytes until the end of input, or until so many have come.
fn compare(reader: &mut Reader<'_>, ask: &Ask, until: u64) -> Result<u64, Broken> {
    let pattern = Pattern::of_request(&ask.token);
    let mut at = 0;
    while at < until {
        let n = reader.some(|bytes| {
            let compared = pattern.compare(at, bytes).map_err(Broken::Wrong);
            at += bytes.len() as u64;
            compared
        })?;
        if n == 0 {
            break;
        }
    }
    Ok(at)
}
