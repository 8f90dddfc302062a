//! Clients that go away in the middle: of the head, of the body, of the answer; with a reset, or with half a goodbye.

use std::time::Instant;

use super::actor::{Actor, BODY_MAX};
use super::ask::{Ask, FAILED, Guest};
use super::deed::{Act, Deed};
use super::ledger::End;
use super::message::{Broken, Framing, Reader};
use super::pattern::Pattern;
use super::stream::Stream;
use super::upload;

/// What is counted of heads that end early: the log has a line of each first one, and perhaps of the others.
pub const HALF_A_HEAD: &str = "half a head (400)";
pub const HALF_A_HEAD_CLOSED: &str = "half a head, closed";
pub const RESET_IN_THE_HEAD: &str = "reset in the head";
/// One rude client.
pub fn visit(actor: &mut Actor<'_>) {
    let Some((stream, guest)) = actor.connect() else { return };
    match actor.dice.below(6) {
        0 => in_the_head(actor, stream),
        1 => half_a_head(actor, &stream, guest),
        2 => in_the_body(actor, stream),
        3 => half_a_body(actor, &stream, guest),
        _ => in_the_answer(actor, stream),
    }
}

/// Nobody ever hears of such a request.
fn in_the_head(actor: &mut Actor<'_>, stream: Stream) {
    let head = any_get(actor).head();
    let part = actor.dice.below(head.len() as u64) as usize;
    actor.send(&stream, &head.as_bytes()[..part]);
    actor.pause(20);
    actor.world.count(RESET_IN_THE_HEAD, 1);
    stream.abort();
}

/// The end of input in a head is answered with 400; who has sent nothing of it is not.
fn half_a_head(actor: &mut Actor<'_>, stream: &Stream, guest: Guest) {
    let ask = any_get(actor);
    let head = ask.head();
    let sent = actor.dice.below(head.len() as u64) as usize;
    actor.send(stream, &head.as_bytes()[..sent]);
    actor.pause(20);
    stream.finish();
    let mut reader = Reader::new(stream);
    match reader.head() {
        Ok(Some(answer)) if sent > 0 && answer.status() == Some(400) => actor.world.count(HALF_A_HEAD, 1),
        Ok(None) if sent == 0 => {}
        // The guests' listen went away meanwhile.
        Ok(None) | Err(Broken::Reset) if guest.is_some() => actor.world.count(HALF_A_HEAD_CLOSED, 1),
        other => {
            ask.found(actor.world, &format!("{sent} bytes of a head were answered with {other:?}"));
        }
    }
}

fn in_the_body(actor: &mut Actor<'_>, stream: Stream) {
    let ask = upload::any(actor, Act::Sum);
    let part = actor.dice.below(ask.deed.request + 1);
    if actor.send(&stream, ask.head().as_bytes()) {
        upload::send_part(&stream, &ask, actor.dice.clone(), None, part);
    }
    actor.pause(20);
    actor.world.count("reset in the body", 1);
    actor.world.record(ask.record(End::Left));
    stream.abort();
}

/// Refused, and the backend must not take the part for the whole: it would tell.
fn half_a_body(actor: &mut Actor<'_>, stream: &Stream, guest: Guest) {
    let world = actor.world;
    let mut ask = upload::any(actor, Act::Sum);
    ask.deed.request += 1;
    let part = actor.dice.below(ask.deed.request);
    let began = Instant::now();
    if actor.send(stream, ask.head().as_bytes()) {
        upload::send_part(stream, &ask, actor.dice.clone(), None, part);
    }
    stream.finish();
    let mut reader = Reader::new(stream);
    world.record(ask.record(End::Left));
    let answer = reader.head();
    let excused = world.excuses(ask.way, began);
    match answer {
        Ok(Some(answer)) if answer.field("x-request-id") != Some(&ask.token) => {
            ask.found(world, &format!("the answer to another request: {answer:?}"));
        }
        Ok(Some(answer)) if answer.status() == Some(400) => world.count("half a body (400)", 1),
        Ok(Some(answer)) if answer.status() == Some(502) && excused => world.count(FAILED, 1),
        Ok(None) | Err(Broken::Reset) if excused || guest.is_some() => world.count("half a body, closed", 1),
        other => {
            ask.found(world, &format!("{part} bytes of a body were answered with {other:?}"));
        }
    }
}

/// What comes until then is right all the same.
fn in_the_answer(actor: &mut Actor<'_>, stream: Stream) {
    let ask = any_get(actor);
    actor.send(&stream, ask.head().as_bytes());
    actor.world.record(ask.record(End::Left));
    if actor.dice.one_in(3) {
        actor.pause(5);
    } else {
        let until = actor.dice.below(ask.deed.answer + 1);
        if let Err(Broken::Wrong(what)) = a_part(&ask, &stream, until) {
            ask.found(actor.world, &what);
        }
    }
    actor.world.count("reset in the answer", 1);
    stream.abort();
}

fn a_part(ask: &Ask, stream: &Stream, until: u64) -> Result<(), Broken> {
    let mut reader = Reader::new(stream);
    let Some(head) = reader.head()? else { return Ok(()) };
    if head.status() != Some(200) {
        return Ok(());
    }
    if head.field("x-token") != Some(&ask.token) {
        return Err(Broken::Wrong(format!("the answer to another request: {head:?}")));
    }
    let mut at = 0;
    let enough = reader.body(head.framing(Framing::UntilClose)?, |bytes| {
        Pattern::of_answer(&ask.token).compare(at, bytes).map_err(Broken::Wrong)?;
        at += bytes.len() as u64;
        if at < until { Ok(()) } else { Err(Broken::Ended) }
    });
    enough.map(|_| ())
}

fn any_get(actor: &mut Actor<'_>) -> Ask {
    let ending = actor.ending();
    let deed = Deed::get(actor.dice.size(BODY_MAX), ending);
    Ask::new(actor.token(), actor.way(), deed)
}
