use super::*;
use crate::config;
use crate::snapshot::Snapshot;
use crate::transport::faults::{self, Call};
use std::io::Write;
use std::net::{Ipv6Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// What a listener needs; sessions go to the receiver. `more` follows the address of its section.
fn acceptor(more: &str) -> (Acceptor, Receiver<Arc<Session>>, Sender<()>) {
    acceptor_of(1000, more)
}

/// The same, with `room` on the channel.
fn acceptor_of(room: usize, more: &str) -> (Acceptor, Receiver<Arc<Session>>, Sender<()>) {
    let file = format!("[listen:a]\naddress = 127.0.0.1:0\n{more}\n[route:r]\nrespond = 200 \"ok\"\n");
    let loaded = config::parse_str("a.ini", &file, &|_| None).unwrap_or_else(|reports| panic!("{reports}"));
    let snapshot = Snapshot::build(loaded.config, 1, vec![(1, 0)], None, |_| None);
    let (channel, queue) = crossbeam_channel::bounded(room);
    let (stop, stopped) = crossbeam_channel::bounded(0);
    let acceptor = Acceptor {
        channel,
        stop: stopped,
        waiter: Waiter::new().expect("descriptors"),
        permits: Arc::new(Permits::new(1, 1)),
        published: Arc::new(Published::new(snapshot)),
        per_address: Arc::new(PerAddress::default()),
        counters: Arc::new(Counters::default()),
        sessions_max: 4096,
    };
    (acceptor, queue, stop)
}

fn listener(acceptor: &Acceptor) -> Arc<Listener> {
    listener_at(acceptor, |listen, inherited| {
        Place::of(&listen.addresses[0], inherited).expect("a TCP address").remove(0)
    })
}

fn listener_at(acceptor: &Acceptor, place: impl FnOnce(&Listen, &Inherited) -> Place) -> Arc<Listener> {
    let listen = &acceptor.published.current().config.listens[0];
    let inherited = Inherited::take().expect("nothing was passed");
    Listener::bind(&place(listen, &inherited), listen, &inherited, 1).expect("it is free")
}

/// A listener at whose socket so many are, all of them connected, and what they connected by.
fn crowded(acceptor: &Acceptor, name: &str, clients: usize) -> (Arc<Listener>, Vec<UnixStream>) {
    let path = std::env::temp_dir().join(format!("l7r-listener-{name}-{}.sock", std::process::id()));
    let listener = listener_at(acceptor, |_, _| Place::Unix(path.clone()));
    let clients = (0..clients).map(|_| UnixStream::connect(&path).expect("in the backlog")).collect();
    // There is a worker that watches.
    assert!(acceptor.permits.acquire(0));
    (listener, clients)
}

/// What is asked while the acceptor runs. It ends whatever comes of that.
fn while_it_runs(
    acceptor: &Acceptor,
    listener: &Listener,
    stop: Sender<()>,
    failures: &[Errno],
    script: impl FnOnce(),
) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            faults::spare(Call::Accept);
            faults::inject(Call::Accept, failures);
            listener.run(acceptor);
        });
        let judged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(script));
        listener.stop();
        drop(stop);
        judged.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// Until workers were rung for.
fn rung(acceptor: &Acceptor) -> u64 {
    let begun = Instant::now();
    loop {
        match acceptor.waiter.rings() {
            0 => assert!(begun.elapsed() < Duration::from_secs(10), "nobody was told"),
            rings => return rings,
        }
        std::thread::yield_now();
    }
}

#[test]
fn workers_are_told_once_of_those_that_come_together() {
    let (acceptor, queue, stop) = acceptor("");
    let (listener, _clients) = crowded(&acceptor, "together", TAKE_MAX + 3);
    while_it_runs(&acceptor, &listener, stop, &[], || {
        let mut rings = 0;
        while rings < 2 {
            rings += rung(&acceptor);
        }
        // As many as a worker takes, and those who are left.
        assert_eq!((queue.len(), rings), (TAKE_MAX + 3, 2));
    });
    assert_eq!(acceptor.waiter.rings(), 0, "of nobody twice");
}

#[test]
fn workers_are_told_of_each_at_a_socket_that_another_process_may_accept_from() {
    let (acceptor, queue, stop) = acceptor("");
    let (mut listener, _clients) = crowded(&acceptor, "shared", 3);
    let path = std::mem::replace(&mut Arc::get_mut(&mut listener).expect("nobody else").place, Place::Inherited(3));
    while_it_runs(&acceptor, &listener, stop, &[], || {
        let mut rings = 0;
        while rings < 3 {
            rings += rung(&acceptor);
        }
        assert_eq!((queue.len(), rings), (3, 3));
    });
    std::fs::remove_file(path.to_string().trim_start_matches("unix:")).expect("it was bound");
}

#[test]
fn workers_are_told_before_the_acceptor_waits_for_room() {
    let (acceptor, queue, stop) = acceptor_of(1, "");
    let (listener, _clients) = crowded(&acceptor, "room", 3);
    while_it_runs(&acceptor, &listener, stop, &[], || {
        for _ in 0..3 {
            assert_eq!((rung(&acceptor), queue.len()), (1, 1));
            queue.try_recv().expect("what was told");
        }
    });
}

#[test]
fn workers_are_told_before_an_accept_that_failed_is_tried_again() {
    let (acceptor, queue, stop) = acceptor("");
    let (listener, _clients) = crowded(&acceptor, "pause", 2);
    while_it_runs(&acceptor, &listener, stop, &[Errno::MFILE; 1000], || {
        assert_eq!((rung(&acceptor), queue.len()), (1, 1));
    });
}

#[test]
fn workers_are_told_of_those_before_one_that_is_refused_or_gone() {
    let (limited, queue, _stop) = acceptor("[limits]\nconnections_per_ip = 2");
    let (listener, _clients) = crowded(&limited, "refused", 0);
    let mut untold = 0;
    for _ in 0..3 {
        let (fd, _other) = UnixStream::pair().expect("a pair");
        assert!(listener.admit(&limited, fd.into(), None, &mut untold));
    }
    assert_eq!((queue.len(), untold, limited.waiter.rings()), (2, 0, 1));
    listener.stop();

    let (acceptor, queue, stop) = acceptor("");
    let (listener, _clients) = crowded(&acceptor, "gone", 2);
    while_it_runs(&acceptor, &listener, stop, &[Errno::CONNABORTED], || {
        let mut rings = 0;
        while rings < 2 {
            rings += rung(&acceptor);
        }
        assert_eq!(queue.len(), 2);
    });
}

#[test]
fn workers_are_told_before_an_acceptor_ends() {
    let (acceptor, queue, _stop) = acceptor("");
    let (listener, _clients) = crowded(&acceptor, "end", 2);
    listener.stop();
    listener.run(&acceptor);
    assert_eq!((queue.len(), acceptor.waiter.rings()), (2, 2));
}

/// Runs an acceptor whose first accepts fail so, with a client in its backlog: how long the client waited.
fn accepts_after(errors: &[Errno]) -> (Duration, u64) {
    let (acceptor, queue, stop) = acceptor("");
    let listener = listener(&acceptor);
    let _client = TcpStream::connect(listener.bound()).expect("in the backlog");
    let begun = Instant::now();
    let failed = std::thread::scope(|scope| {
        let ours = &acceptor;
        let thread = std::thread::Builder::new().spawn_scoped(scope, || {
            faults::inject(Call::Accept, errors);
            listener.run(ours);
            faults::left()
        });
        let session = queue.recv_timeout(Duration::from_secs(10));
        let took = begun.elapsed();
        listener.stop();
        assert_eq!(thread.expect("a thread").join().expect("no panic"), 0, "all of them happened");
        assert!(session.is_ok(), "the acceptor goes on after {errors:?}");
        took
    });
    drop(stop);
    (failed, acceptor.counters.accept_failed.value())
}

#[test]
fn an_accept_that_fails_for_want_of_something_is_tried_again_after_a_pause() {
    for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::PERM] {
        let (took, counted) = accepts_after(&[errno; 3]);
        assert!((3 * PAUSE..Duration::from_secs(5)).contains(&took), "{errno}: {took:?}");
        assert_eq!(counted, 3);
    }
}

#[test]
fn a_connection_that_went_before_it_was_accepted_costs_nothing() {
    let (took, counted) = accepts_after(&[[Errno::CONNABORTED, Errno::INTR, Errno::AGAIN]; 20].concat());
    assert!(took < 20 * PAUSE, "not one pause for each: {took:?}");
    assert_eq!(counted, 0);
}

#[test]
fn an_acceptor_in_its_pause_hears_a_stop() {
    let (acceptor, _queue, stop) = acceptor("");
    let listener = listener(&acceptor);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, || {
            faults::inject(Call::Accept, &[Errno::MFILE; 100]);
            listener.run(&acceptor);
            faults::left()
        });
        let begun = Instant::now();
        while acceptor.counters.accept_failed.value() == 0 {
            assert!(begun.elapsed() < Duration::from_secs(5), "no accept failed");
            std::thread::yield_now();
        }
        drop(stop);
        assert!(thread.expect("a thread").join().expect("no panic") > 90, "it did not wait for its turn");
    });
}

/// How many of these connections in a row are admitted, of `tries` at most.
fn admitted(more: &str, peers: impl Iterator<Item = Option<SocketAddrAny>>, tcp: bool) -> usize {
    let (acceptor, queue, _stop) = acceptor(more);
    let mut listener = listener(&acceptor);
    Arc::get_mut(&mut listener).expect("nobody else has it").tcp = tcp;
    for peer in peers {
        let (fd, _other) = UnixStream::pair().expect("a pair");
        assert!(listener.admit(&acceptor, fd.into(), peer, &mut 0));
    }
    let admitted = queue.try_iter().count();
    assert_eq!(acceptor.counters.accepted.value(), admitted as u64);
    admitted
}

#[test]
fn an_address_has_256_connections_and_who_may_be_many_clients_has_more_unless_the_number_is_another() {
    const TRIES: usize = 260;
    let many = |more: &str, peer: &str| {
        let address: SocketAddr = peer.parse().expect("an address");
        admitted(more, std::iter::repeat_n(Some(SocketAddrAny::from(address)), TRIES), true)
    };
    let trusted = "trusted_proxy = 192.0.2.1\n";
    assert_eq!(many("", "192.0.2.1:1"), 256);
    assert_eq!(many("", "[::ffff:192.0.2.1]:1"), 256);
    assert_eq!(many(trusted, "192.0.2.2:1"), 256);
    assert_eq!(many(trusted, "192.0.2.1:1"), TRIES);
    assert_eq!(many("", "127.0.0.1:1"), TRIES);
    assert_eq!(many("", "[::1]:1"), TRIES);
    assert_eq!(many("", "[::ffff:127.0.0.1]:1"), TRIES);
    let written = "[limits]\nconnections_per_ip = 9";
    for (more, peer) in [("", "192.0.2.1:1"), (trusted, "192.0.2.1:1"), ("", "127.0.0.1:1"), ("", "[::1]:1")] {
        assert_eq!(many(&format!("{more}{written}"), peer), 9, "{peer}");
    }
    assert_eq!(many("[limits]\nconnections_per_ip = 0", "192.0.2.1:1"), TRIES);

    assert_eq!(admitted("", std::iter::repeat_n(None, TRIES), false), TRIES);
    assert_eq!(admitted(written, std::iter::repeat_n(None, TRIES), false), 9, "all of the Unix sockets are one");

    let network = |n: u16| SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, n, 0, 0, 1), 1));
    assert_eq!(admitted("", (0..260).map(|n| Some(network(n).into())), true), 256, "one /64");
    let networks = |n: u16| SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 0, n, 0, 0, 0, 1), 1));
    assert_eq!(admitted("", (0..260).map(|n| Some(networks(n).into())), true), TRIES);
}

#[test]
fn who_waits_when_an_acceptor_stops_is_accepted_though_others_went() {
    let (acceptor, queue, _stop) = acceptor("");
    let listener = listener(&acceptor);
    let mut clients = [(); 2].map(|()| TcpStream::connect(listener.bound()).expect("in the backlog"));
    clients[0].write_all(b"G").expect("room");
    listener.stop();
    // Its first byte was on its way.
    clients[1].write_all(b"G").expect("room");
    // There is no time any more to wait for what it says.
    let _newcomer = TcpStream::connect(listener.bound()).expect("connected");
    faults::inject(Call::Accept, &[Errno::CONNABORTED, Errno::INTR]);
    listener.run(&acceptor);
    assert_eq!((queue.len(), faults::left()), (3, 0));
}

#[test]
fn an_acceptor_that_stops_gives_first_bytes_a_moment() {
    let (acceptor, _queue, _stop) = acceptor("");
    let listener = listener(&acceptor);
    listener.stop();
    let begun = Instant::now();
    listener.run(&acceptor);
    assert!(begun.elapsed() >= GRACE);
}

#[test]
fn a_connection_is_accepted_when_its_first_bytes_are_here() {
    let (acceptor, _queue, _stop) = acceptor("");
    let listener = listener(&acceptor);
    let waits = |seconds| {
        let limit = Timespec { tv_sec: seconds, tv_nsec: 0 };
        poll(&mut [PollFd::new(&listener.fd, PollFlags::IN)], Some(&limit)) == Ok(1)
    };
    let begun = Instant::now();
    let mut client = TcpStream::connect(listener.bound()).expect("connected, as far as it knows");
    let silent_waits = waits(0);
    assert!(!silent_waits || begun.elapsed() >= Duration::from_secs(bind::DEFER_SECONDS.into()));
    client.write_all(b"G").expect("room");
    assert!(waits(0));
    let _silent = TcpStream::connect(listener.bound()).expect("connected");
    assert!(transport::accept(listener.fd.as_fd()).is_ok());
    assert!(waits(10), "after a while also who says nothing");
}
