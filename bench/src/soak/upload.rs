//! Clients that send a body: by length and in chunks, in pieces of all sizes, with and without Expect, to origins that
//! read it first, that answer first, and that send it back while it comes.

use std::thread;
use std::time::Duration;

use super::actor::{Actor, BODY_MAX};
use super::ask::{Ask, Outcome, Since};
use super::deed::{Act, Deed};
use super::dice::Dice;
use super::message::Reader;
use super::pattern::Pattern;
use super::stream::Stream;

const PIECE_MAX: u64 = 64 * 1024;
const UPLOADS_MAX: u64 = 6;
const PAUSE_MS: u64 = 80;
const ANSWER_MAX: u64 = 4096;

/// A body that its origin compares, then answers.
pub fn visit(actor: &mut Actor<'_>) {
    let Some((stream, guest)) = actor.connect() else { return };
    let mut reader = Reader::new(&stream);
    let count = actor.dice.between(1, UPLOADS_MAX);
    for n in 1..=count {
        let mut ask = any(actor, Act::Sum);
        ask.expects = actor.dice.one_in(6);
        ask.last = n == count && actor.dice.one_in(2);
        let since = Since::now(actor.world, guest);
        let dice = actor.dice.clone();
        actor.dice.roll();
        let mut sent = false;
        let mut go_on = || {
            sent = true;
            send_body(&stream, &ask, dice.clone(), None);
        };
        if actor.send(&stream, ask.head().as_bytes()) && !ask.expects {
            go_on();
        }
        match ask.answer_after(actor.world, &mut reader, since, &mut go_on) {
            Outcome::Answered { stays: true } if !sent && ask.has_body() => {
                ask.found(actor.world, "the connection stays, and its body was never sent");
                return;
            }
            Outcome::Answered { stays: true } if actor.is_quiet(&reader, &ask) => {}
            Outcome::Answered { stays: false } => return actor.expect_end(&stream, &mut reader, &ask),
            _ => return,
        }
        if actor.world.stopping() {
            return;
        }
        actor.pause(PAUSE_MS);
    }
}

/// A body that comes back while it is sent, or whose answer comes before it.
pub fn echo(actor: &mut Actor<'_>) {
    let Some((stream, guest)) = actor.connect() else { return };
    let mut reader = Reader::new(&stream);
    let act = actor.dice.pick(&[Act::Echo, Act::Echo, Act::Early]);
    let mut ask = any(actor, act);
    ask.last = true;
    let since = Since::now(actor.world, guest);
    let dice = actor.dice.clone();
    actor.dice.roll();
    let outcome = thread::scope(|scope| {
        scope.spawn(|| {
            if actor.send(&stream, ask.head().as_bytes()) {
                send_body(&stream, &ask, dice, None);
            }
        });
        ask.answer(actor.world, &mut reader, since)
    });
    if let Outcome::Answered { .. } = outcome {
        actor.expect_end(&stream, &mut reader, &ask);
    }
}

pub fn any(actor: &mut Actor<'_>, act: Act) -> Ask {
    let ending = actor.ending();
    let deed = Deed { act, ending, request: actor.dice.size(BODY_MAX), answer: actor.dice.size(ANSWER_MAX) };
    let mut ask = Ask::new(actor.token(), actor.way(), deed);
    ask.chunked = actor.dice.one_in(2);
    ask
}

/// All of the body, in pieces; `slow`: the largest, and the pause before each. Who cannot send any more stops: why, is
/// told by the answer.
pub fn send_body(stream: &Stream, ask: &Ask, dice: Dice, slow: Option<(u64, Duration)>) {
    let length = ask.deed.request;
    send_part(stream, ask, dice, slow, length);
    if ask.chunked {
        let _told_by_the_answer = std::io::Write::write_all(&mut &*stream, b"0\r\n\r\n");
    }
}

/// The first so many bytes of a body.
pub fn send_part(mut stream: &Stream, ask: &Ask, mut dice: Dice, slow: Option<(u64, Duration)>, length: u64) {
    use std::io::Write;
    let pattern = Pattern::of_request(&ask.token);
    let mut at = 0;
    while at < length {
        let max = slow.map_or(PIECE_MAX, |(max, _)| max);
        // Pieces of one byte, but not for a megabyte.
        let n = (dice.size(max - 1) + 1).max(length / 128).min(max).min(length - at);
        let mut piece = vec![0; n as usize];
        pattern.fill(at, &mut piece);
        if ask.chunked {
            piece = [format!("{n:x}\r\n").as_bytes(), &piece, b"\r\n"].concat();
        }
        if let Some((_, pause)) = slow {
            thread::sleep(pause);
        }
        if stream.write_all(&piece).is_err() {
            return;
        }
        at += n;
    }
}
