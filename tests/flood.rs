//! Whoever floods the router does not flood its log, and nothing of it is lost without a word.

mod support;

use support::router::one_pool;
use support::{DEADLINE, Refusing, Router, eventually, ms};

/// Lines that say `what`, and how many more were told as left out.
fn said(router: &Router, what: &str) -> (usize, usize) {
    let log = router.log();
    let (told, lines): (Vec<&str>, Vec<&str>) =
        log.lines().filter(|line| line.contains(what)).partition(|line| line.contains(" more lines like this"));
    let number = |line: &&str| {
        line.split_once(&format!("{what}: ")).and_then(|(_, rest)| rest.split(' ').next()?.parse::<usize>().ok())
    };
    (lines.len(), told.iter().filter_map(number).sum::<usize>())
}

/// How many seconds of the router's clock a flood has touched, at most.
fn seconds(begun: std::time::Instant) -> usize {
    begun.elapsed().as_secs() as usize + 2
}

#[test]
fn a_flood_of_refusals_is_ten_lines_a_second_and_a_number() {
    const DENY: &str = "[listen:http]\naddress = 127.0.0.1:0\ndeny = 127.0.0.1\n[server]\nworkers = 2\n";
    const RATE: &str = "[listen:http]\naddress = 127.0.0.1:0\nrequests_per_second = 1\n[server]\nworkers = 2\n";
    const GOOD: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for (ini, request, status, what) in [
        (DENY, GOOD, 403, "403 denied"),
        (RATE, GOOD, 429, "429 rate_limited"),
        (DENY, "GET / HTTP/1.1\r\n\r\n", 400, "400 refused"),
    ] {
        let router = Router::start(ini);
        let begun = std::time::Instant::now();
        let mut refused = 0;
        let mut client = router.client();
        while refused < 500 {
            let response = client.ask(request);
            refused += usize::from(response.status == status);
            if response.says_close() {
                client = router.client();
            }
        }
        let at_most = 10 * seconds(begun);
        // Whole: what was written and what was told as left out is all there was.
        let (written, left_out) = eventually("a line with the number of the others", DEADLINE, || {
            let (written, left_out) = said(&router, what);
            (written + left_out == refused).then_some((written, left_out))
        });
        assert!((10..=at_most).contains(&written), "{written} lines {what}, at most {at_most}");
        assert!(left_out > 0);
    }
}

#[test]
fn connections_that_a_backend_refuses_are_told_by_their_number() {
    let origin = Refusing::bind();
    let router = Router::to(&origin);
    let begun = std::time::Instant::now();
    let mut client = router.client();
    for _ in 0..300 {
        assert_eq!(client.get("/").status, 502);
    }
    let at_most = 10 * seconds(begun);
    for (line, told) in [
        (format!("connecting to {origin}"), origin.to_string()),
        ("502 backend_refused".into(), "502 backend_refused".into()),
    ] {
        eventually("a line with the number of the others", DEADLINE, || {
            let (written, left_out) = (said(&router, &line).0, said(&router, &told).1);
            assert!(written <= at_most, "{written} lines {line}, at most {at_most}");
            (written + left_out == 300).then_some(())
        });
    }
}

#[test]
fn at_level_debug_every_refusal_has_its_line() {
    let origin = Refusing::bind();
    let router = Router::start(&one_pool(&origin, "[log]\nlevel = debug\n"));
    let mut client = router.client();
    for _ in 0..100 {
        client.get("/");
    }
    eventually("all of them", DEADLINE, || (said(&router, "502 backend_refused: no backend").0 == 100).then_some(()));
    client.expect_silence_for(ms(1200));
    assert!(!router.log().contains(" more lines like this"), "{}", router.log());
}
