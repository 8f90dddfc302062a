//! What a look of the reaper cuts, and when.

use super::*;
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
    assert_eq!(backend.read(&mut [0; 1]).expect("woken"), 0);
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
    client.write(&[std::io::IoSlice::new(&[b'x'; 2000])]).expect("room");
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
