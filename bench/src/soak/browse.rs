//! Clients that keep their connection: one request after the other, several at once, and those that no origin answers.

use super::actor::{Actor, BODY_MAX};
use super::ask::{Ask, Outcome, Since};
use super::configuration::LATE;
use super::deed::{Act, Deed, Ending};
use super::ledger::{End, Record};
use super::message::{Framing, Reader};

const REQUESTS_MAX: u64 = 20;
const PAUSE_MS: u64 = 50;
/// More heads than a slice holds.
const PIPELINED_MAX: u64 = 24;

/// GET and HEAD, in all framings.
pub fn visit(actor: &mut Actor<'_>) {
    let Some((stream, guest)) = actor.connect() else { return };
    let is_tcp = matches!(stream, super::stream::Stream::Tcp(_));
    let mut reader = Reader::new(&stream);
    let count = actor.dice.between(1, REQUESTS_MAX);
    for n in 1..=count {
        let mut ask = any_get(actor);
        if n == count {
            ask.last = actor.dice.one_in(2);
            // A Unix socket cannot be reset: there a cut answer without a length would look whole.
            ask.old = is_tcp && actor.dice.one_in(4);
            if ask.deed.act != Act::Cut && actor.dice.one_in(3) {
                ask.deed.ending = Ending::Close;
            }
        }
        let since = Since::now(actor.world, guest);
        actor.send(&stream, ask.head().as_bytes());
        if n == count && actor.dice.one_in(4) {
            // Half closed: who has asked is still answered.
            stream.finish();
        }
        match ask.answer(actor.world, &mut reader, since) {
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

fn any_get(actor: &mut Actor<'_>) -> Ask {
    let ending = actor.ending();
    let deed = Deed::get(actor.dice.size(BODY_MAX), ending);
    let mut ask = Ask::new(actor.token(), actor.way(), deed);
    match actor.dice.below(16) {
        0..=1 => ask.method = "HEAD",
        2 => ask.deed.act = Act::Interim,
        // Nothing is no answer that breaks off.
        4 if ask.deed.answer > 0 => ask.deed.act = Act::Cut,
        3 => {
            ask.way = &LATE;
            ask.deed.act = Act::Late;
        }
        _ => {}
    }
    ask
}

/// Several requests in one write: the answers come in their order.
pub fn pipeline(actor: &mut Actor<'_>) {
    let Some((stream, guest)) = actor.connect() else { return };
    let mut reader = Reader::new(&stream);
    let asks: Vec<Ask> = (0..actor.dice.between(2, PIPELINED_MAX))
        .map(|_| {
            let ending = actor.ending();
            let deed = Deed::get(actor.dice.size(BODY_MAX / 16), ending);
            Ask::new(actor.token(), actor.way(), deed)
        })
        .collect();
    let since = Since::now(actor.world, guest);
    let heads: String = asks.iter().map(Ask::head).collect();
    actor.send(&stream, heads.as_bytes());
    let mut asks = asks.into_iter();
    for ask in asks.by_ref() {
        match ask.answer(actor.world, &mut reader, since) {
            Outcome::Answered { stays: true } => {}
            _ => break,
        }
    }
    // Those behind one that ended the connection were asked in vain.
    for ask in asks {
        actor.world.record(ask.record(End::Left));
    }
}

/// What the router answers by itself.
pub fn own(actor: &mut Actor<'_>) {
    let world = actor.world;
    let bare = actor.dice.one_in(3);
    let address = if bare { &world.listens.bare } else { &world.listens.tcp };
    let Some(stream) = actor.connect_to(address, false) else { return };
    let mut reader = Reader::new(&stream);
    for _ in 0..actor.dice.between(1, REQUESTS_MAX) {
        let token = actor.token();
        let (route, path, status) = match (bare, actor.dice.one_in(2)) {
            (true, _) => ("-", "/none/", 404),
            (false, true) => ("own", "/own/", 200),
            (false, false) => ("away", "/away/", 307),
        };
        let head = format!("GET {path}{token} HTTP/1.1\r\nHost: own.test\r\nX-Request-Id: {token}\r\n\r\n");
        actor.send(&stream, head.as_bytes());
        let wrong = |what: String| world.finding(&format!("own answer to {token}: {what}"));
        let answer = match reader.head() {
            Ok(Some(answer)) if answer.status() == Some(status) => answer,
            other => return wrong(format!("{other:?} and not {status}")),
        };
        let mut body = Vec::new();
        let read = answer.framing(Framing::None).and_then(|framing| {
            reader.body(framing, |bytes| {
                body.extend_from_slice(bytes);
                Ok(())
            })
        });
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(broken) => return wrong(format!("{broken:?} in {answer:?}")),
        };
        let body = String::from_utf8_lossy(&body);
        let right = match route {
            "own" => body == format!("own {token}\n"),
            "away" => answer.field("location") == Some(&format!("http://own.test/to/away/{token}")),
            _ => body.contains(&token),
        };
        if !right || !reader.left().is_empty() {
            return wrong(format!("{answer:?} {body:?}"));
        }
        world.count("own", 1);
        let generation = answer.number("x-config");
        let end = End::Whole { status, bytes };
        world.record(Record { token, way: None, route, end, sent: None, backend: None, generation });
        actor.pause(PAUSE_MS);
    }
}
