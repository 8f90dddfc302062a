//! Several sessions in the hands of one worker: none waits for another's peer, and no more run than there are workers.
//!
//! There is one permit, which the test has until all sessions stand in the channel and all workers sleep. Then the monitor
//! takes it, and whoever gets it takes as many as there are places, every time.

use super::*;
use std::thread::JoinHandle;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const PATIENCE: Duration = Duration::from_secs(20);

fn get(session: usize) -> Vec<u8> {
    format!("GET /{session} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

fn half_post(session: usize) -> Vec<u8> {
    format!("POST /{session} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nha").into_bytes()
}

struct Router {
    shared: Arc<Shared>,
    queue: Receiver<Arc<Session>>,
    threads: Vec<JoinHandle<()>>,
    /// By session.
    clients: Vec<UnixStream>,
    /// The other ends of the connections to the backend.
    backend: Vec<UnixStream>,
    path: PathBuf,
}

impl Router {
    /// `workers`, one permit, sessions that have said this, and a kept connection for each. `first` is what each request
    /// thread does before all else.
    fn new(name: &str, workers: usize, said: &[&[u8]], first: fn()) -> Self {
        let mut router = Self::ready(name, workers, said, first);
        router.go();
        router
    }

    /// All workers sleep.
    fn ready(name: &str, workers: usize, said: &[&[u8]], first: fn()) -> Self {
        let shared = shared_by(workers + 1);
        assert!(shared.permits.acquire(workers));
        shared.permits.begin(workers);
        let (_, path) = backend_of(&shared, name);
        let connections = |n: usize| (0..n).map(|_| UnixStream::pair().expect("pair"));
        let (ours, backend): (Vec<_>, Vec<_>) = connections(said.len()).unzip();
        let snapshot = shared.published.current();
        for ours in ours {
            snapshot.pools[0].backends[0].keep(Arc::new(Socket::accepted(ours.into(), false)));
        }
        let entrance = Entrance::new(1);
        let (channel, queue) = crossbeam_channel::bounded(said.len());
        let mut clients = Vec::new();
        for bytes in said {
            let (session, mut client) = session(&shared, &entrance);
            client.write_all(bytes).expect("room");
            channel.send(session).expect("room");
            clients.push(client);
        }
        for stream in clients.iter().chain(&backend) {
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        }
        let (mail, mut threads) = (Mail::new(workers + 1), Vec::new());
        for index in 0..workers {
            super::super::spawn(index, &shared, &queue, &mail, &mut |name, run| {
                let of_request = name.ends_with(".req");
                let run = move || {
                    if of_request {
                        first();
                    }
                    run();
                };
                threads.push(std::thread::Builder::new().name(name).spawn(run)?);
                Ok(())
            })
            .expect("threads");
        }
        // Workers would end with the channel.
        std::mem::forget(channel);
        wait_until(|| shared.permits.places() == workers);
        Self { shared, queue, threads, clients, backend, path }
    }

    fn go(&mut self) {
        let (permits, queued) = (Arc::clone(&self.shared.permits), self.queue.clone());
        self.threads.push(std::thread::spawn(move || permits.run_monitor(|| queued.len())));
    }

    /// The backend gets a request on each of its connections, and answers none: they are sorted by the digit in the path.
    fn all_are_asked(&mut self) {
        let mut asked: Vec<(u8, UnixStream)> = self.backend.drain(..).map(|conn| (asked(&conn), conn)).collect();
        asked.sort_by_key(|(digit, _)| *digit);
        self.backend = asked.into_iter().map(|(_, conn)| conn).collect();
    }

    fn answer(&mut self, session: usize, bytes: &[u8]) {
        self.backend[session].write_all(bytes).expect("room");
    }

    fn client_hears(&mut self, session: usize) {
        let mut answer = [0; b"HTTP/1.1 200".len()];
        self.clients[session].read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 200");
    }

    /// All that was lent is back, and the workers end.
    fn end(self) {
        let (workers, shared) = (self.threads.len() / 2, &self.shared);
        wait_until(|| {
            let lent = (2 * (workers + 1) - shared.arena.free(), shared.registry.running());
            (lent, shared.permits.at_rest(), shared.permits.places()) == ((0, 0), 1, workers - 1)
        });
        shared.permits.close();
        shared.waiter.dismiss();
        for thread in self.threads {
            thread.join().expect("no fault got out");
        }
        std::fs::remove_file(&self.path).expect("ours");
    }
}

fn wait_until(holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "something did not come back");
        std::thread::yield_now();
    }
}

/// Reads one head: the digit in its path.
fn asked(mut conn: &UnixStream) -> u8 {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0; 1];
        conn.read_exact(&mut byte).expect("a whole head");
        head.push(byte[0]);
    }
    head[head.iter().position(|&byte| byte == b'/').expect("a path") + 1]
}

#[test]
fn requests_of_a_round_are_all_sent_before_one_is_answered_and_answers_pass_in_any_order() {
    let said = [get(0), get(1), get(2)];
    let mut router = Router::new("order", 3, &said.each_ref().map(Vec::as_slice), || {});
    router.all_are_asked();
    for session in [2, 0, 1] {
        router.answer(session, OK);
        router.client_hears(session);
    }
    router.end();
}

#[test]
fn no_more_sessions_run_than_there_are_workers() {
    let said: Vec<_> = (0..5).map(get).collect();
    let mut router = Router::new("places", 3, &said.iter().map(Vec::as_slice).collect::<Vec<_>>(), || {});
    // Two of five kept connections stay for later.
    let mut later = Vec::new();
    let mut wait: Vec<_> = router.backend.drain(..).collect();
    while wait.len() > 3 {
        // Used last first.
        later.push(wait.remove(0));
    }
    router.backend = wait;
    router.all_are_asked();
    assert_eq!((router.shared.registry.running(), router.queue.len(), router.shared.permits.places()), (3, 2, 0));
    for session in 0..3 {
        router.answer(session, OK);
        router.client_hears(session);
    }
    let served: Vec<_> = router.backend.drain(..).chain(later).map(|conn| std::thread::spawn(|| serve(conn))).collect();
    for session in 3..5 {
        router.client_hears(session);
    }
    router.end();
    for thread in served {
        thread.join().expect("no panic");
    }
}

/// Answers whatever comes, until the end.
fn serve(mut conn: UnixStream) {
    let (mut head, mut byte) = (Vec::new(), [0; 1]);
    while conn.read(&mut byte).is_ok_and(|n| n == 1) {
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            conn.write_all(OK).expect("room");
        }
    }
}

#[test]
fn who_waits_for_the_rest_of_a_body_lets_the_others_go() {
    for (long, short) in [(0, 1), (1, 0)] {
        let said = [0, 1].map(|session| if session == long { half_post(session) } else { get(session) });
        let mut router = Router::new("body", 2, &said.each_ref().map(Vec::as_slice), || {});
        router.all_are_asked();
        router.answer(short, OK);
        router.client_hears(short);
        router.clients[long].write_all(b"lf").expect("room");
        router.backend[long].read_exact(&mut [0; 4]).expect("the whole body");
        router.answer(long, OK);
        router.client_hears(long);
        router.end();
    }
}

#[test]
fn who_waits_for_the_rest_of_an_answer_lets_the_others_go() {
    let mut router = Router::new("half", 2, &[&get(0), &get(1)], || {});
    router.all_are_asked();
    router.answer(0, &OK[..9]);
    router.answer(1, OK);
    router.client_hears(1);
    router.answer(0, &OK[9..]);
    router.client_hears(0);
    router.end();
}

#[test]
fn whose_client_takes_nothing_lets_the_others_go() {
    const BODY: usize = 4 << 20;
    let mut router = Router::new("slow", 2, &[&get(0), &get(1)], || {});
    router.all_are_asked();
    let mut backend = router.backend[0].try_clone().expect("a descriptor");
    let writer = std::thread::spawn(move || {
        backend.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n").as_bytes())?;
        backend.write_all(&vec![b'x'; BODY])
    });
    // Its answer has begun, and more of it than the kernel holds is on its way.
    router.client_hears(0);
    router.answer(1, OK);
    router.client_hears(1);
    let mut rest = vec![0; BODY];
    router.clients[0].read_exact(&mut rest).expect("all of it");
    writer.join().expect("no panic").expect("taken");
    router.clients.remove(0);
    router.end();
}

#[test]
fn a_fault_in_a_round_costs_one_session() {
    let mut router = Router::new("faults", 2, &[&get(0), &get(1), &get(2)], faults::panic_in_read);
    let third = router.backend.remove(0);
    router.all_are_asked();
    // Both threads fault, each at its first read that waits.
    router.answer(0, &OK[..9]);
    router.answer(1, &OK[..9]);
    for session in [0, 1] {
        assert!(!matches!(router.clients[session].read(&mut [0; 1]), Ok(n) if n > 0), "nothing of an answer");
    }
    let served = std::thread::spawn(|| serve(third));
    router.client_hears(2);
    assert_eq!(router.shared.counters.panics.value(), 2);
    router.end();
    served.join().expect("no panic");
}

#[test]
fn while_all_who_hold_a_permit_wait_for_answers_somebody_is_woken_to_watch() {
    // Alone, and with another in hand.
    for sessions in [1, 2] {
        let said: Vec<_> = (0..sessions).map(get).collect();
        let mut router = Router::new("watch", 3, &said.iter().map(Vec::as_slice).collect::<Vec<_>>(), || {});
        router.all_are_asked();
        // Nothing is queued, so the monitor takes no permit.
        wait_until(|| router.shared.permits.at_rest() == 1);
        for session in 0..sessions {
            router.answer(session, OK);
            router.client_hears(session);
        }
        router.end();
    }
}

#[test]
fn each_line_of_the_access_log_is_of_its_own_request() {
    let said = [get(0), get(1), half_post(2)];
    let mut router = Router::ready("log", 3, &said.each_ref().map(Vec::as_slice), || {});
    let path = std::env::temp_dir().join(format!("l7r-rounds-{}.log", std::process::id()));
    let (target, access) = (AccessTarget::Path(path.clone()), Arc::clone(&router.shared.access));
    access.configure(&target, AccessFormat::Combined, access.open(&target).expect("a file"));
    let writer = std::thread::spawn(move || access.run());
    router.go();
    router.all_are_asked();
    for session in [1, 0] {
        router.answer(session, OK);
        router.client_hears(session);
    }
    router.clients[2].write_all(b"lf").expect("room");
    router.backend[2].read_exact(&mut [0; 4]).expect("the whole body");
    router.answer(2, OK);
    router.client_hears(2);
    let access = Arc::clone(&router.shared.access);
    router.end();
    access.stop();
    writer.join().expect("no panic");
    let log = std::fs::read_to_string(&path).expect("a file");
    let mut requests: Vec<&str> = log.lines().filter_map(|line| line.split('"').nth(1)).collect();
    requests.sort_unstable();
    assert_eq!(requests, ["GET /0 HTTP/1.1", "GET /1 HTTP/1.1", "POST /2 HTTP/1.1"], "{log}");
    std::fs::remove_file(&path).expect("ours");
}
