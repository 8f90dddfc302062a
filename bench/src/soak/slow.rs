//! Clients that take their time: with the head, with the body, with the answer, and between two requests.

use std::thread::sleep;
use std::time::Duration;

use super::actor::Actor;
use super::ask::{Ask, Outcome, Since};
use super::configuration::IDLE_S;
use super::deed::{Act, Deed};
use super::message::Reader;
use super::upload;

const MS: Duration = Duration::from_millis(1);
/// Bytes of a slow head at a time.
const DRIBBLE: usize = 24;
const SLOW_UPLOAD: u64 = 40 * 1024;
const SLOW_ANSWER: u64 = 400 * 1024;
/// From here on the router may have closed a connection that was silent.
const IDLE: Duration = Duration::from_secs(IDLE_S - 2);

/// A slow head, a slow body, or a slow reader.
pub fn visit(actor: &mut Actor<'_>) {
    let Some((stream, guest)) = actor.connect() else { return };
    let mut reader = Reader::new(&stream);
    for _ in 0..actor.dice.between(1, 4) {
        let ending = actor.ending();
        let (way, pause) = (actor.way(), MS * actor.dice.between(2, 12) as u32);
        let ask = match actor.dice.below(3) {
            0 => Ask::new(actor.token(), way, Deed::get(actor.dice.size(4096), ending)),
            1 => {
                let mut ask = upload::any(actor, Act::Sum);
                ask.deed.request = actor.dice.size(SLOW_UPLOAD);
                ask
            }
            _ => {
                let _gone = stream.take_little();
                reader.slow_down(4096, pause);
                Ask::new(actor.token(), way, Deed::get(actor.dice.size(SLOW_ANSWER), ending))
            }
        };
        let since = Since::now(actor.world, guest);
        let head = ask.head();
        // The guests' listen may go away meanwhile, and then a head gets half a second, not the eight of the others.
        if guest.is_some() || ask.deed.answer > 0 && ask.deed.answer % 2 == 0 || ask.deed.act == Act::Sum {
            actor.send(&stream, head.as_bytes());
        } else {
            for part in head.as_bytes().chunks(DRIBBLE) {
                actor.send(&stream, part);
                sleep(pause);
            }
        }
        if ask.deed.act == Act::Sum {
            upload::send_body(&stream, &ask, actor.dice.clone(), Some((1024, pause)));
        }
        match ask.answer(actor.world, &mut reader, since) {
            Outcome::Answered { stays: true } if actor.is_quiet(&reader, &ask) => {}
            _ => return,
        }
        if actor.world.stopping() {
            return;
        }
    }
}

/// Says nothing for a while, at the beginning or between two requests; sometimes for longer than the router waits.
pub fn idle(actor: &mut Actor<'_>) {
    let Some((stream, guest)) = actor.connect() else { return };
    let mut reader = Reader::new(&stream);
    for _ in 0..actor.dice.between(1, 3) {
        let quiet = if actor.dice.one_in(8) { IDLE + MS * 2300 } else { MS * actor.dice.below(2000) as u32 };
        let silent_since = std::time::Instant::now();
        while silent_since.elapsed() < quiet && !actor.world.stopping() {
            sleep(MS * 50);
        }
        let ending = actor.ending();
        let ask = Ask::new(actor.token(), actor.way(), Deed::get(actor.dice.size(4096), ending));
        let mut since = Since::now(actor.world, guest);
        since.may_be_closed |= silent_since.elapsed() > IDLE;
        match actor.exchange(&stream, &mut reader, &ask, since) {
            Outcome::Answered { stays: true } if actor.is_quiet(&reader, &ask) => {}
            _ => return,
        }
    }
}
