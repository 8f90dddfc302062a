//! At the cap: nobody hangs, nobody is dropped without a word, and idle clients cost nothing.

mod support;

use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use support::{Client, Origin, Router, ServingOrigin, Setup, ms, pattern, reply};

fn quick() -> ServingOrigin {
    Origin::serve(|_| reply(200, &[], "ok"))
}

/// Two workers, both waiting for an origin that says nothing.
#[track_caller]
fn stuck(origin: &Origin, more: &str) -> (Router, Vec<Client>) {
    let router = Router::to_with(origin, &format!("[server]\nworkers = 2\n{more}"));
    let mut clients: Vec<Client> = (0..2).map(|_| router.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        // Held open by the listener's backlog: nobody accepts, nobody answers.
    }
    router.wait_counter("running", |n| n == 2);
    (router, clients)
}

#[test]
fn a_session_queued_too_long_gets_its_503_though_no_worker_comes_free() {
    let origin = Origin::bind();
    let (router, _clients) = stuck(&origin, "[timeouts]\nqueue = 700ms");
    let begun = Instant::now();
    let mut late: Vec<Client> = (0..5).map(|_| router.client()).collect();
    for client in &mut late {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for client in &mut late {
        let response = client.read_response();
        assert_eq!(response.status, 503);
        assert!(response.fields.get("Retry-After").is_some_and(|v| v.parse::<u32>().is_ok()));
        assert!(response.says_close() && response.fields.has("X-Request-Id") && response.fields.has("Date"));
        client.expect_closed();
    }
    let took = begun.elapsed();
    assert!((ms(650)..ms(1300)).contains(&took), "{took:?}");
    assert_eq!(router.counter("refused_queue"), 5);
    router.wait_log("503 all workers are busy");
}

#[test]
fn no_more_sessions_wait_for_a_worker_than_queue_says() {
    let origin = Origin::bind();
    let (router, _clients) = stuck(&origin, "queue = 2");
    let mut waiting: Vec<Client> = (0..10).map(|_| router.client()).collect();
    // Two run, two wait, and the acceptor holds the next: the others are the kernel's.
    router.wait_counter("accepted", |n| n >= 5);
    waiting[9].expect_silence_for(ms(200));
    assert_eq!((router.counter("accepted"), router.counter("queued")), (5, 2));
}

#[test]
fn who_waits_for_a_slow_backend_does_not_keep_others_from_the_workers_that_are_left() {
    let (slow, quick) = (Origin::bind(), quick());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let router = Router::start(&format!(
        "[server]\nworkers = {}\n[listen:http]\naddress = 127.0.0.1:0\npool = quick\n[route:slow]\npath = /slow\npool = slow\n\
         [pool:slow]\nbackend = {slow}\n[pool:quick]\nbackend = {quick}\n",
        16 * cores
    ));
    assert_eq!(router.counter("permits"), 2 * cores as u64, "two a core");
    let mut stuck: Vec<Client> = (0..12 * cores).map(|_| router.client()).collect();
    for client in &mut stuck {
        client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    router.wait_counter("running", |n| n == 12 * cores as u64);
    let begun = Instant::now();
    assert_eq!(router.client().get("/").status, 200);
    assert!(begun.elapsed() < ms(1000), "{:?}", begun.elapsed());
}

#[test]
fn an_accept_without_a_descriptor_makes_room_and_goes_on() {
    let origin = quick();
    let router = Router::to(&origin);
    let mut parked: Vec<Client> = (0..3).map(|_| router.client()).collect();
    for client in &mut parked {
        assert_eq!(client.get("/").status, 200);
    }
    router.wait_counter("parked", |n| n == 3);
    router.leave_no_descriptor();
    // A blocked accept has a descriptor set aside already: the next one has none.
    router.wait_counter("accept_failed", |n| n >= 1);
    let mut late = router.client();
    assert_eq!(late.get("/").status, 200);
    for client in &mut parked {
        client.expect_closed();
    }
    assert!(router.counter("shed") >= 3, "{:?}", router.counters());
}

#[test]
fn without_a_descriptor_for_a_backend_it_is_503() {
    let origin = quick();
    let router = Router::to(&origin);
    let mut client = router.client();
    router.wait_counter("sessions", |n| n == 1);
    router.leave_no_descriptor();
    let response = client.get("/");
    assert_eq!((response.status, response.fields.get("Retry-After")), (503, Some("1")));
    assert!(response.text().contains("descriptor"), "{}", response.text());
}

#[test]
fn a_kept_session_that_queues_too_long_gets_its_503_as_well() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, "[server]\nworkers = 2\n[timeouts]\nqueue = 500ms");
    let mut kept = router.client();
    kept.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut conn, _) = origin.accept_request();
    conn.reply(200, "first");
    kept.read_response();
    // Parked, not merely answered: else its worker could take the next request at once.
    router.wait_counter("parked", |n| n == 1);
    let mut clients: Vec<Client> = (0..2).map(|_| router.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    router.wait_counter("running", |n| n == 2);
    assert_eq!(kept.get("/second").status, 503);
    kept.expect_closed();
}

#[test]
fn a_queued_session_is_served_when_a_worker_comes_free_in_time() {
    let origin = Origin::bind();
    let (router, mut clients) = stuck(&origin, "");
    let mut waiting = router.client();
    waiting.send("GET /waited HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut one, _) = origin.accept_request();
    let (mut two, _) = origin.accept_request();
    waiting.expect_silence_for(ms(100));
    one.reply(200, "1");
    assert_eq!(one.read_request().line(), "GET /waited");
    one.reply(200, "waited");
    assert_eq!(waiting.read_response().text(), "waited");
    two.reply(200, "2");
    for client in &mut clients {
        assert_eq!(client.read_response().status, 200);
    }
    router.assert_at_rest();
}

#[test]
fn idle_sessions_do_not_keep_a_new_client_waiting() {
    let origin = quick();
    let router = Router::to_with(&origin, "[server]\nworkers = 2");
    let mut used: Vec<Client> = (0..8).map(|_| router.client()).collect();
    for client in &mut used {
        assert_eq!(client.get("/").status, 200);
    }
    let _silent: Vec<Client> = (0..8).map(|_| router.client()).collect();
    let mut half: Vec<Client> = (0..8).map(|_| router.client()).collect();
    for client in &mut half {
        client.send("GET / HTTP/1.1\r\nHo");
    }
    let begun = Instant::now();
    assert_eq!(router.client().get("/").status, 200);
    assert!(begun.elapsed() < ms(500), "{:?}", begun.elapsed());
    for client in &mut half {
        client.send("st: a\r\n\r\n");
        assert_eq!(client.read_response().status, 200, "a head in two parts is whole");
    }
    router.assert_at_rest();
}

#[test]
fn kept_sessions_that_wait_are_queued_though_the_worker_comes_to_watch_between_two() {
    let origin = Origin::serve(|request| {
        if request.target == "/slow" {
            std::thread::sleep(ms(50));
        }
        reply(200, &[], "ok")
    });
    let router = Router::to_with(&origin, "[server]\nworkers = 1\n[timeouts]\nqueue = 500ms");
    let mut kept: Vec<Client> = (0..40).map(|_| router.client()).collect();
    for client in &mut kept {
        assert_eq!(client.get("/").status, 200);
    }
    for client in &mut kept {
        client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    // Two seconds of work for one worker.
    let refused = kept.iter_mut().filter_map(|client| (client.read_response().status == 503).then_some(())).count();
    assert!(refused >= 10, "{refused} refused");
}

#[test]
fn two_workers_and_a_hundred_clients_leave_nobody_hanging() {
    let origin = quick();
    let router = Router::to_with(&origin, "[server]\nworkers = 2");
    let address = router.address();
    let counts: Vec<(u32, u32)> = std::thread::scope(|scope| {
        let one_client = || {
            let (mut served, mut refused) = (0, 0);
            let mut client = Client::connect(&address);
            for _ in 0..20 {
                match client.get("/").status {
                    200 => served += 1,
                    503 => {
                        refused += 1;
                        client = Client::connect(&address);
                    }
                    other => panic!("{other}"),
                }
            }
            (served, refused)
        };
        let threads: Vec<_> = (0..100).map(|_| scope.spawn(one_client)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a client")).collect()
    });
    assert_eq!(counts.iter().map(|(served, refused)| served + refused).sum::<u32>(), 2000);
    assert!(counts.iter().all(|(served, _)| *served > 0), "someone was never served: {counts:?}");
    router.assert_at_rest();
    assert_eq!(router.counter("slices_total"), 4);
}

#[test]
fn the_oldest_parked_session_makes_room_when_descriptors_are_short() {
    let origin = quick();
    let ini = support::router::one_pool(&origin, "keepalive = 8\n[server]\nworkers = 2\n[timeouts]\nidle = 10m");
    let router = Router::start_with(&ini, &Setup { open_files: Some(160), ..Setup::default() });
    let mut clients = Vec::new();
    for n in 0..300 {
        let mut client = router.client();
        assert_eq!(client.get("/").status, 200, "client {n}");
        clients.push(client);
    }
    clients[0].expect_closed();
    clients[1].expect_closed();
    let newest = clients.last_mut().expect("300 of them");
    assert_eq!(newest.get("/").status, 200);
    assert!(router.counter("shed") >= 140, "{:?}", router.counters());
    router.assert_at_rest();
}

#[test]
fn the_oldest_half_head_makes_room_when_their_stock_is_empty() {
    let origin = quick();
    // Two cells each: room for 32.
    let router = Router::to_with(&origin, "[limits]\nparked_heads = 64k");
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX-A: {}", "x".repeat(1500));
    let half = |count: usize| -> Vec<Client> {
        let mut clients: Vec<Client> = (0..count).map(|_| router.client()).collect();
        clients.iter_mut().for_each(|client| client.send(&head));
        clients
    };
    let mut old = half(31);
    router.wait_counter("parked", |n| n == 31);
    router.wait_counter("cells_used", |n| n == 62);
    let mut young = half(1);
    router.wait_counter("cells_used", |n| n == 64);
    router.wait_counter("parked", |n| n == 32);
    let mut last = half(1);
    router.wait_counter("cells_exhausted", |n| n >= 1);
    for client in [&mut young[0], &mut last[0]] {
        client.send("\r\n\r\n");
        assert_eq!(client.read_response().status, 200);
    }
    let given_up = router.counter("cells_exhausted");
    let statuses = old.iter_mut().map(|client| {
        let _given_up_already = client.try_send("\r\n\r\n");
        client.read_response().status
    });
    assert_eq!(statuses.filter(|status| *status == 408).count() as u64, given_up, "the others are whole");
}

#[test]
fn a_client_address_has_no_more_sessions_than_allowed() {
    let origin = quick();
    let router = Router::to_with(&origin, "[limits]\nconnections_per_ip = 2");
    let (mut one, mut two) = (router.client(), router.client());
    assert_eq!((one.get("/").status, two.get("/").status), (200, 200));
    let mut three = router.client();
    let _ = three.try_send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (answer, _) = three.read_until_end();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 503 "), "{}", support::shown(&answer));
    assert_eq!(router.counter("refused_per_ip"), 1);
    router.wait_log("127.0.0.1 has 2 sessions already");
    let mut other = Client::connect_from([127, 0, 0, 2].into(), &router.address());
    assert_eq!(other.get("/").status, 200);
    one.close();
    router.wait_counter("sessions", |n| n == 2);
    assert_eq!(router.client().get("/").status, 200);
}

#[test]
fn a_client_that_reads_nothing_is_let_go() {
    let origin = Origin::bind();
    let router = Router::to_with(&origin, "[timeouts]\nsend = 500ms");
    let mut client = router.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut conn, _) = origin.accept_request();
    let answer = reply(200, &[], pattern(100_000_000));
    let begun = Instant::now();
    let sent = conn.try_send(answer);
    assert!(sent.is_err(), "100 MB were taken for a client that reads nothing");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    router.assert_at_rest();
}

#[test]
fn whoever_waits_has_its_turn_before_the_rest_of_what_another_has_pipelined() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let origin = Origin::serve(move |request| {
        if request.target == "/first" {
            let _released = held.lock().expect("not poisoned").recv();
        }
        reply(200, &[], "ok")
    });
    let router = Router::to_with(&origin, "[server]\nworkers = 1");
    let mut greedy = router.client();
    let rest = "GET /greedy HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100);
    greedy.send(format!("GET /first HTTP/1.1\r\nHost: a\r\n\r\n{rest}"));
    router.wait_counter("running", |n| n == 1);
    let mut modest = router.client();
    modest.send("GET /modest HTTP/1.1\r\nHost: a\r\n\r\n");
    router.wait_counter("queued", |n| n == 1);
    release.send(()).expect("the origin waits");
    assert_eq!(modest.read_response().status, 200);
    for _ in 0..101 {
        assert_eq!(greedy.read_response().status, 200);
    }
    let turn = origin.requests().iter().position(|request| request.target == "/modest").expect("it was asked");
    assert_eq!(turn, 1, "behind the one that ran");
}

#[test]
fn sessions_that_were_refused_in_the_queue_make_room_in_it() {
    let origin = Origin::bind();
    let (router, _clients) = stuck(&origin, "queue = 4\n[timeouts]\nqueue = 300ms");
    let mut late: Vec<Client> = (0..20).map(|_| router.client()).collect();
    for client in &mut late {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    // Four at a time, and the one in the acceptor's hand; no worker comes free in all that time.
    for (number, client) in late.iter_mut().enumerate() {
        assert_eq!(client.read_response().status, 503, "client {number}");
    }
    assert_eq!(router.counter("refused_queue"), 20);
}
