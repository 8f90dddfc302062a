//! What a look of the reaper cuts, and when.

use super::*;
use crate::company::Company;
use crate::transport::Socket;
use std::os::unix::net::UnixStream;

fn pair() -> (Arc<Socket>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("pair");
    (Arc::new(Socket::accepted(ours.into(), false)), theirs)
}

#[test]
fn a_late_head_is_cut_at_its_limit_and_not_before() {
    let slot = Slot::default();
    let (client, _client_peer) = pair();
    let (backend, _backend_peer) = pair();
    slot.enter(&client, 1);
    slot.enter_backend(&backend, None).expect("not cut");
    slot.response.wait(Waiting::new(Phase::ResponseHead, Duration::from_secs(5)));
    let start = Instant::now();
    let mut seen = SeenSlot::nothing(start);
    look(&slot, &mut seen, start, None);
    look(&slot, &mut seen, start + Duration::from_millis(4999), None);
    assert_eq!(slot.cut_reason(), None);
    look(&slot, &mut seen, start + Duration::from_secs(5), None);
    assert_eq!(slot.cut_reason(), Some(CloseReason::ResponseLate));
    assert_eq!(backend.read(&mut [0; 1], Company::NONE).expect("woken"), 0);
}

#[test]
fn an_answer_is_not_late_while_its_request_is_on_its_way() {
    let slot = Slot::default();
    let (client, _peer) = pair();
    slot.enter(&client, 1);
    slot.request.wait(Waiting::new(Phase::ClientRead, Duration::from_secs(90)));
    slot.response.wait(Waiting::new(Phase::ResponseHead, Duration::from_secs(5)));
    let start = Instant::now();
    let mut seen = SeenSlot::nothing(start);
    look(&slot, &mut seen, start, None);
    look(&slot, &mut seen, start + Duration::from_secs(60), None);
    assert_eq!(slot.cut_reason(), None);
    slot.request.wait(Waiting::BUSY);
    look(&slot, &mut seen, start + Duration::from_secs(64), None);
    assert_eq!(slot.cut_reason(), None);
    look(&slot, &mut seen, start + Duration::from_secs(66), None);
    assert_eq!(slot.cut_reason(), Some(CloseReason::ResponseLate));
}

#[test]
fn a_client_that_acknowledges_slowly_is_not_cut_and_one_that_stops_is() {
    let slot = Slot::default();
    let (client, mut peer) = pair();
    client.write(&[std::io::IoSlice::new(&[b'x'; 2000])], Company::NONE).expect("room");
    slot.enter(&client, 1);
    slot.response.wait(Waiting::new(Phase::ClientWrite, Duration::from_secs(1)));
    let start = Instant::now();
    let mut seen = SeenSlot::nothing(start);
    look(&slot, &mut seen, start, None);
    look(&slot, &mut seen, start + Duration::from_millis(100), None);
    std::io::Read::read_exact(&mut peer, &mut [0; 2000]).expect("read");
    look(&slot, &mut seen, start + Duration::from_millis(1050), None);
    assert_eq!(slot.cut_reason(), None, "2000 bytes were taken");
    look(&slot, &mut seen, start + Duration::from_millis(2100), None);
    assert_eq!(slot.cut_reason(), Some(CloseReason::ClientNotReading));
}

#[test]
fn a_tunnel_lives_while_either_way_moves() {
    let slot = Slot::default();
    let (client, _peer) = pair();
    slot.enter(&client, 1);
    let tunnel = Waiting::new(Phase::Tunnel, Duration::from_secs(10));
    slot.request.wait(tunnel);
    slot.response.wait(tunnel);
    let start = Instant::now();
    let mut seen = SeenSlot::nothing(start);
    look(&slot, &mut seen, start, None);
    slot.response.progress(1);
    look(&slot, &mut seen, start + Duration::from_secs(9), None);
    look(&slot, &mut seen, start + Duration::from_secs(18), None);
    assert_eq!(slot.cut_reason(), None);
    look(&slot, &mut seen, start + Duration::from_secs(19), None);
    assert_eq!(slot.cut_reason(), Some(CloseReason::TunnelIdle));
}

const LOOK: Duration = Duration::from_millis(100);
const MINUTE: Duration = Duration::from_secs(60);
const MIN: Option<u64> = Some(1000);

/// A slot with a session and the connection of its exchange, and both other ends.
fn exchange(due: Option<Instant>) -> (Slot, [Arc<Socket>; 2], [UnixStream; 2]) {
    let (slot, (client, at_client), (backend, at_backend)) = (Slot::default(), pair(), pair());
    slot.enter(&client, 1);
    slot.enter_backend(&backend, due).expect("not cut");
    for end in [&at_client, &at_backend] {
        end.set_nonblocking(true).expect("set");
    }
    (slot, [client, backend], [at_client, at_backend])
}

/// Looks every 100 ms, each time after `meanwhile`: the look that cut, and why.
fn looked(
    slot: &Slot,
    seen: &mut SeenSlot,
    looks: std::ops::Range<u32>,
    start: Instant,
    mut meanwhile: impl FnMut(u32),
) -> Option<(u32, CloseReason)> {
    looks.into_iter().find_map(|n| {
        meanwhile(n);
        look(slot, seen, start + LOOK * n, MIN);
        slot.cut_reason().map(|reason| (n, reason))
    })
}

#[test]
fn of_a_body_counts_what_the_client_sent_and_not_what_the_backend_took() {
    let (reading, writing) = (Waiting::new(Phase::ClientRead, MINUTE), Waiting::new(Phase::BackendWrite, MINUTE));
    for (each, due) in [(99, Some((100, CloseReason::ClientTooSlow))), (100, None)] {
        let (slot, [_client, backend], [mut at_client, _at_backend]) = exchange(None);
        let start = Instant::now();
        let ended = looked(&slot, &mut SeenSlot::nothing(start), 0..201, start, |_| {
            slot.request.moved(reading, each);
            slot.request
                .moved(writing, backend.write(&[std::io::IoSlice::new(&[b'x'; 100])], Company::NONE).expect("room"));
            slot.request.wait(reading);
        });
        assert_eq!(ended, due, "{each} bytes every 100 ms");
        if due.is_some() {
            let refused = std::io::Write::write(&mut at_client, b"x").expect_err("nobody reads");
            assert_eq!(refused.kind(), std::io::ErrorKind::BrokenPipe);
        }
    }
}

#[test]
fn of_an_answer_counts_what_the_client_acknowledged_over_the_time_of_send() {
    let too_slow = Some((100, CloseReason::ClientTooSlow));
    for (send, reads, due) in [(10, false, too_slow), (10, true, None), (60, false, None)] {
        let writing = Waiting::new(Phase::ClientWrite, Duration::from_secs(send));
        let (slot, [client, _backend], [mut at_client, _at_backend]) = exchange(None);
        let start = Instant::now();
        let ended = looked(&slot, &mut SeenSlot::nothing(start), 0..150, start, |_| {
            let n = client.write(&[std::io::IoSlice::new(&[b'x'; 100])], Company::NONE).expect("room");
            slot.response.moved(writing, n);
            slot.response.wait(writing);
            if reads {
                std::io::Read::read_exact(&mut at_client, &mut [0; 100]).expect("all of it");
            }
        });
        assert_eq!(ended, due, "it reads: {reads}, send = {send}s");
    }
}

#[test]
fn what_comes_right_behind_a_100_counts() {
    let before = Waiting::new(Phase::ClientContinue, MINUTE);
    let (slot, _ours, _theirs) = exchange(None);
    let start = Instant::now();
    slot.request.wait(before);
    let ended = looked(&slot, &mut SeenSlot::nothing(start), 0..102, start, |n| match n {
        0 => slot.request.continued(),
        99 => slot.request.moved(before, 10_000),
        _ => {}
    });
    assert_eq!(ended, None);
}

#[test]
fn each_exchange_and_each_session_has_ten_seconds_of_its_own() {
    let reading = Waiting::new(Phase::ClientRead, MINUTE);
    let writing = Waiting::new(Phase::ClientWrite, pace::WINDOW);
    let (slot, [client, backend], _theirs) = exchange(None);
    let start = Instant::now();
    let mut seen = SeenSlot::nothing(start);
    slot.request.wait(reading);
    assert_eq!(looked(&slot, &mut seen, 0..100, start, |_| {}), None);
    slot.leave_backend().expect("not cut");
    slot.enter_backend(&backend, None).expect("not cut");
    assert_eq!(looked(&slot, &mut seen, 100..200, start, |_| {}), None);
    slot.request.wait(Waiting::BUSY);
    slot.response.wait(writing);
    assert_eq!(looked(&slot, &mut seen, 200..300, start, |_| {}), None);
    slot.leave().expect("not cut");
    // An answer of the router's own, for which no backend enters.
    slot.enter(&client, 2);
    slot.response.wait(writing);
    assert_eq!(looked(&slot, &mut seen, 300..500, start, |_| {}), Some((400, CloseReason::ClientTooSlow)));
}

#[test]
fn only_the_client_is_too_slow_and_only_while_it_is_waited_for() {
    let [reading, writing] = [Phase::ClientRead, Phase::ClientWrite].map(|phase| Waiting::new(phase, MINUTE));
    let [sending, taking] = [Phase::BackendWrite, Phase::BackendRead].map(|phase| Waiting::new(phase, MINUTE));
    for others in [(Waiting::BUSY, Waiting::BUSY), (sending, taking)] {
        let (slot, _ours, _theirs) = exchange(None);
        let start = Instant::now();
        let ended = looked(&slot, &mut SeenSlot::nothing(start), 0..300, start, |n| {
            // Two looks in a row of two hundred.
            let (request, response) = if n % 200 < 2 { (reading, writing) } else { others };
            slot.request.wait(request);
            slot.response.wait(response);
        });
        assert_eq!(ended, None, "{others:?}");
    }
}

#[test]
fn room_is_made_by_those_that_still_wait_for_their_client() {
    let reading = Waiting::new(Phase::ClientRead, MINUTE);
    let registry = Registry::new(2);
    let clients = [pair(), pair()];
    let start = Instant::now();
    let mut seen = [SeenSlot::nothing(start); 2];
    for ((slot, seen), (client, _peer)) in registry.slots().iter().zip(&mut seen).zip(&clients) {
        slot.enter(client, 1);
        slot.request.wait(reading);
        assert_eq!(looked(slot, seen, 0..5, start, |_| {}), None);
    }
    let reasons = || [0, 1].map(|n| registry.slot(n).cut_reason());
    // Both have been slow for equally long: one of them is the half, and it is the first.
    registry.slot(0).request.moved(reading, 100);
    make_room(&registry, &seen, start + 5 * LOOK);
    assert_eq!(reasons(), [None, None], "it has moved since");
    // Which is enough for a look: now the other one has been slow for longer.
    assert_eq!(looked(registry.slot(0), &mut seen[0], 5..10, start, |_| {}), None);
    make_room(&registry, &seen, start + 10 * LOOK);
    assert_eq!(reasons(), [None, Some(CloseReason::ClientTooSlow)]);
}

#[test]
fn an_exchange_that_is_over_its_time_leaves_the_client_what_can_tell_it() {
    use Phase::{BackendRead, BackendWrite, Busy, ClientContinue, ClientRead, ClientWrite, ResponseHead};
    // Whether the client can still send, and be written to.
    for (request, response, sends, hears) in [
        (ClientRead, ResponseHead, false, true),
        (ClientContinue, ResponseHead, false, true),
        (ClientRead, Busy, false, true),
        (BackendWrite, ResponseHead, true, true),
        (Busy, ResponseHead, true, true),
        (Busy, BackendRead, true, true),
        (Busy, ClientWrite, false, false),
        (ClientRead, ClientWrite, false, false),
        (ClientRead, BackendRead, false, true),
    ] {
        let start = Instant::now();
        let (slot, _ours, [mut at_client, mut at_backend]) = exchange(Some(start + LOOK));
        slot.request.wait(Waiting::new(request, MINUTE));
        slot.response.wait(Waiting::new(response, MINUTE));
        let mut seen = SeenSlot::nothing(start);
        look(&slot, &mut seen, start + LOOK - Duration::from_millis(1), None);
        assert_eq!(slot.cut_reason(), None);
        look(&slot, &mut seen, start + LOOK, None);
        assert_eq!(slot.cut_reason(), Some(CloseReason::ExchangeLate));
        let is_open = |end: &mut UnixStream| std::io::Read::read(end, &mut [0]).is_err();
        assert!(!is_open(&mut at_backend), "{request:?} {response:?}");
        assert_eq!(is_open(&mut at_client), hears, "{request:?} {response:?}");
        assert_eq!(std::io::Write::write(&mut at_client, b"x").is_ok(), sends, "{request:?} {response:?}");
    }
}

#[test]
fn the_time_of_an_exchange_ends_with_it_and_is_lifted_from_a_tunnel() {
    let start = Instant::now();
    for lift in [|slot: &Slot| slot.leave_backend().expect("not cut"), Slot::lift_due] {
        let (slot, _ours, _theirs) = exchange(Some(start + LOOK));
        lift(&slot);
        // The next exchange of the session is an answer of the router's own.
        slot.response.wait(Waiting::new(Phase::ClientWrite, MINUTE));
        assert_eq!(looked(&slot, &mut SeenSlot::nothing(start), 0..20, start, |_| {}), None);
    }
}
