//! Sockets that someone else has bound (LISTEN_FDS): served, kept, and never taken from who bound them.

mod support;

use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;

use rustix::fs::OFlags;
use rustix::net::{AddressFamily, SocketType, sockopt};
use support::router::{Signal, one_pool};
use support::{Client, DEADLINE, Origin, Router, ServingOrigin, Setup, TempDir, eventually, ms, reply, run};

fn quick() -> ServingOrigin {
    Origin::serve(|_| reply(200, &[], "ok"))
}

/// Copies of sockets that a child inherits under the numbers from 3 on, and the script that puts them there.
struct Passed {
    _copies: Vec<OwnedFd>,
    script: String,
}

impl Passed {
    fn new(sockets: &[&dyn AsFd], variables: &str) -> Self {
        let mut script = String::new();
        let copy = |(at, socket): (usize, &&dyn AsFd)| {
            let copy = rustix::io::fcntl_dupfd_cloexec(socket, 20).expect("a copy");
            rustix::io::fcntl_setfd(&copy, rustix::io::FdFlags::empty()).expect("inherited by every child");
            // Moved, so that nothing else is left of it.
            script += &format!("exec {}<&{}-; ", at + 3, copy.as_raw_fd());
            copy
        };
        let copies = sockets.iter().enumerate().map(copy).collect();
        let script = format!("{script} export LISTEN_PID=$$ {variables}; exec \"$@\"");
        Self { _copies: copies, script }
    }

    fn start(&self, ini: &str) -> Router {
        let launcher = ["bash", "-c", &self.script, "sh"];
        Router::start_with(ini, &Setup { through: &launcher, ..Setup::default() })
    }

    /// stderr of a start that fails.
    #[track_caller]
    fn fails(&self, ini: &str) -> String {
        let dir = TempDir::new();
        let file = dir.write("config.ini", format!("{ini}[server]\nworkers = 2\n"));
        let launcher = ["bash", "-c", &self.script, "sh"];
        let failed = run(&dir, &["run", "-c", &file], &Setup { through: &launcher, ..Setup::default() });
        assert_eq!(failed.code, Some(1), "{}", failed.stderr);
        failed.stderr
    }
}

/// Flags of a descriptor of the router, from proc(5) fdinfo.
fn flags(router: &Router, number: i32) -> OFlags {
    let info = std::fs::read_to_string(format!("/proc/{}/fdinfo/{number}", router.pid())).expect("an open descriptor");
    let octal = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("flags").trim();
    OFlags::from_bits_retain(u32::from_str_radix(octal, 8).expect("octal"))
}

#[test]
fn a_socket_that_was_passed_is_served_and_outlives_the_router() {
    let (origin, listener) = (quick(), TcpListener::bind("127.0.0.1:0").expect("bind"));
    let address = listener.local_addr().expect("address").to_string();
    // Whoever bound it may poll it.
    listener.set_nonblocking(true).expect("nonblocking");
    let ini = one_pool(&origin, "").replace("127.0.0.1:0", "systemd");
    let passed = Passed::new(&[&listener], "LISTEN_FDS=1");
    let mut router = passed.start(&ini);
    assert_eq!(router.listeners(), [("http".to_owned(), address.clone())]);
    assert_eq!(Client::connect(&address).get("/").status, 200);
    let seen = flags(&router, 3);
    assert!(seen.contains(OFlags::CLOEXEC), "whatever it executed would have it");
    assert!(!seen.contains(OFlags::NONBLOCK), "its acceptor would never sleep");
    assert!(sockopt::tcp_nodelay(&listener).expect("the option"), "connections have it from their listener");
    router.assert_at_rest();
    assert!(router.stop().success());
    assert!(!rustix::fs::fcntl_getfl(&listener).expect("flags").contains(OFlags::NONBLOCK), "changed while draining");
    // Between two processes a client waits, and is served by the next.
    let mut waiting = Client::connect(&address);
    waiting.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let _next = passed.start(&ini);
    assert_eq!(waiting.read_response().status, 200);
}

#[test]
fn sockets_are_told_apart_by_their_names_and_stay_over_a_reload() {
    let dir = TempDir::new();
    let path = dir.file("front.sock");
    let (web, more) = (TcpListener::bind("127.0.0.1:0").expect("bind"), TcpListener::bind("[::1]:0").expect("bind"));
    let unix = UnixListener::bind(&path).expect("bind");
    let section = |name: &str, address: &str| {
        format!("[listen:{name}]\naddress = {address}\n[route:{name}]\nlisten = {name}\nrespond = 200 \"{name}\"\n")
    };
    let (tcp, local) = (section("tcp", "systemd:web"), section("local", "systemd:admin.socket"));
    let passed = Passed::new(&[&web, &unix, &more], "LISTEN_FDS=3 LISTEN_FDNAMES=web:admin.socket:web");
    let mut router = passed.start(&format!("{local}{tcp}"));
    let places =
        [format!("unix:{path}"), web.local_addr().expect("it").to_string(), more.local_addr().expect("it").to_string()];
    let listeners = router.listeners();
    assert_eq!(listeners.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["local", "tcp", "tcp"]);
    for ((name, address), place) in listeners.iter().zip(&places) {
        assert_eq!(address, place);
        assert_eq!(Client::connect(place).get("/").text().trim_end(), name);
    }
    let mut kept = Client::connect(&places[0]);
    assert_eq!(kept.get("/").status, 200);
    // Still named, in the other order: neither its session nor a newcomer notices.
    router.reload(&format!("{tcp}{local}"));
    assert!(!kept.get("/").says_close());
    assert_eq!(Client::connect(&places[0]).get("/").text().trim_end(), "local");
    // Taken away: it stays open, and nobody accepts; the log says so. Then it comes back.
    let mark = router.log_mark();
    router.reload(&tcp);
    let line = router.wait_log_after(mark, "admin.socket");
    assert!(line.contains("[WARN") && line.contains("not served"), "{line}");
    kept.read_until_end();
    eventually("its acceptor has ended", DEADLINE, || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", router.pid())).ok()?;
        let acceptors = tasks.filter(|task| task.as_ref().is_ok_and(|task| name_is_acceptor(&task.path()))).count();
        (acceptors == 2).then_some(())
    });
    let mut waiting = Client::connect(&places[0]);
    waiting.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    waiting.expect_silence_for(ms(100));
    router.reload(&format!("{tcp}{local}"));
    assert_eq!(waiting.read_response().text().trim_end(), "local");
    // What there is not is refused, and the rest of the file with it.
    let mark = router.log_mark();
    router.write_config(&tcp.replace("systemd:web", "systemd:webs"));
    router.signal(Signal::HUP);
    let line = router.wait_log_after(mark, "webs");
    assert!(line.contains("[listen:tcp]") && line.contains("did you mean `web`?"), "{line}");
    assert_eq!(Client::connect(&places[1]).get("/").text().trim_end(), "tcp");
    assert!(router.stop().success());
    assert!(std::path::Path::new(&path).exists(), "the socket is not ours to remove");
}

fn name_is_acceptor(task: &std::path::Path) -> bool {
    std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("acceptor"))
}

#[test]
fn a_socket_that_no_section_names_is_said() {
    let (origin, listener) = (quick(), TcpListener::bind("127.0.0.1:0").expect("bind"));
    let router = Passed::new(&[&listener], "LISTEN_FDS=1 LISTEN_FDNAMES=web").start(&one_pool(&origin, ""));
    let line = router.wait_log("no section names");
    assert!(line.contains("[WARN") && line.contains("`web`") && line.contains("descriptor 3"), "{line}");
    assert_eq!(router.client().get("/").status, 200);
}

#[test]
fn what_cannot_be_taken_is_explained() {
    let origin = Origin::bind();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let ini = |address: &str| one_pool(&origin, "").replace("127.0.0.1:0", address);
    let any = ini("systemd");
    let none = Passed::new(&[], "LISTEN_FDNAMES=web");
    let said = none.fails(&any);
    assert!(said.contains("[listen:http] address = systemd: no socket was inherited: LISTEN_FDS is not set"), "{said}");
    let said = Passed::new(&[&listener], "LISTEN_FDS=1 LISTEN_PID=1").fails(&any);
    assert!(said.contains("LISTEN_PID is 1, and this process is "), "{said}");
    let said = Passed::new(&[&listener], "LISTEN_FDS=1 LISTEN_FDNAMES=web").fails(&ini("systemd:webs"));
    for words in ["systemd:webs", "called `webs`", "there are `web`", "did you mean `web`?"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let said = Passed::new(&[&listener], "LISTEN_FDS=many").fails(&any);
    assert!(said.contains("LISTEN_FDS is many"), "{said}");
    let said = Passed::new(&[&listener], "LISTEN_FDS=2").fails(&any);
    assert!(said.contains("descriptor 4"), "{said}");
    let said = Passed::new(&[&listener], "LISTEN_FDS=1 LISTEN_FDNAMES=a:b").fails(&any);
    assert!(said.contains("LISTEN_FDNAMES has 2 names"), "{said}");
    let (client, udp) = (
        std::net::TcpStream::connect(listener.local_addr().expect("it")).expect("connect"),
        UdpSocket::bind("127.0.0.1:0").expect("bind"),
    );
    let file = std::fs::File::open("/dev/null").expect("open");
    let other = rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None).expect("a socket");
    for (socket, what) in [
        (&client as &dyn AsFd, "does not listen"),
        (&udp, "no stream socket"),
        (&other, "neither TCP nor a Unix socket"),
        (&file, "descriptor 3"),
    ] {
        let said = Passed::new(&[socket], "LISTEN_FDS=1").fails(&any);
        assert!(said.contains("cannot listen on") && said.contains(what), "{what}: {said}");
    }
}
