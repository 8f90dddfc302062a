//! What the router does as root, and that it is never root again. These tests start it as root, so they
//! run as root, or not at all.

mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use support::programs::as_root;
use support::router::{Signal, one_pool};
use support::{Client, DEADLINE, Origin, Router, ServingOrigin, Setup, TempDir, eventually, reply, run};

/// Numbers that no passwd has.
const UID: u32 = 47_110;
const GID: u32 = 47_111;
const SERVER: &str = "[server]\nworkers = 2\nuser = 47110\ngroup = 47111\n";
/// Root, with more groups than it needs.
const GROUPED: &[&str] = &["setpriv", "--groups=0,4,47112"];

fn quick() -> ServingOrigin {
    Origin::serve(|_| reply(200, &[], "ok"))
}

/// A directory with a folder `own` that is the user's.
fn with_folder() -> (TempDir, String) {
    let dir = TempDir::new();
    let own = dir.file("own");
    std::fs::create_dir(&own).expect("a folder");
    chown(&own, Some(UID), Some(GID)).expect("root may");
    (dir, own)
}

/// An address of a port below 1024 that nobody listens on.
fn low_address() -> String {
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let ports = (600..1024).rev().map(|n| 600 + (n + std::process::id() as u16 % 97) % 424);
    let port = ports.into_iter().find(free).expect("a free port below 1024");
    format!("127.0.0.1:{port}")
}

/// What each thread says of itself in proc(5) status, under these names.
fn of_threads(router: &Router, names: &[&str]) -> Vec<Vec<String>> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", router.pid())).expect("a running process");
    tasks
        .map(|task| std::fs::read_to_string(task.expect("an entry").path().join("status")).expect("status"))
        .map(|status| {
            let value = |name: &&str| {
                let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
                line.unwrap_or_else(|| panic!("no {name}")).split_whitespace().collect::<Vec<_>>().join(" ")
            };
            names.iter().map(value).collect()
        })
        .collect()
}

#[test]
fn every_thread_is_the_user_for_good_and_the_low_port_is_served() {
    if !as_root("a router that starts as root") {
        return;
    }
    let origin = quick();
    let address = low_address();
    let ini = format!("{}{SERVER}", one_pool(&origin, "").replace("127.0.0.1:0", &address));
    let setup = Setup { through: GROUPED, ..Setup::default() };
    let router = Router::start_with(&ini, &setup);
    assert_eq!(router.address(), address);
    assert_eq!(router.client().get("/").status, 200);
    let names = ["Uid", "Gid", "Groups", "NoNewPrivs", "CapInh", "CapPrm", "CapEff", "CapAmb"];
    let none = "0000000000000000";
    let uid = [UID.to_string().as_str(); 4].join(" ");
    let gid = [GID.to_string().as_str(); 4].join(" ");
    let threads = of_threads(&router, &names);
    assert!(threads.len() > 10, "{threads:?}");
    for thread in threads {
        assert_eq!(thread, [&uid, &gid, &GID.to_string(), "1", none, none, none, none], "{names:?}");
    }
    router.wait_log("running as user 47110, 47110:47111");
}

#[test]
fn a_user_by_name_has_its_own_groups() {
    if !as_root("a router that starts as root") {
        return;
    }
    let origin = quick();
    let ini = format!("{}[server]\nworkers = 2\nuser = nobody\n", one_pool(&origin, ""));
    let router = Router::start_with(&ini, &Setup { through: GROUPED, ..Setup::default() });
    let id = |flag: &str| {
        let output = std::process::Command::new("id").args([flag, "nobody"]).output().expect("id");
        String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
    };
    let (uid, gid, mut groups) = (id("-u"), id("-g"), id("-G").split(' ').map(str::to_owned).collect::<Vec<_>>());
    groups.sort();
    for mut thread in of_threads(&router, &["Uid", "Gid", "Groups"]) {
        let mut seen: Vec<String> = thread.pop().expect("three").split(' ').map(str::to_owned).collect();
        seen.sort();
        assert_eq!((thread, &seen), (vec![[uid.as_str(); 4].join(" "), [gid.as_str(); 4].join(" ")], &groups));
    }
}

#[test]
fn what_has_a_path_is_the_users_and_can_be_opened_bound_and_removed_again() {
    if !as_root("a router that starts as root") {
        return;
    }
    let origin = quick();
    let (dir, own) = with_folder();
    let (log, access, socket) = (format!("{own}/router.log"), format!("{own}/access.log"), format!("{own}/front.sock"));
    let ini = |mode: &str, more: &str| {
        one_pool(&origin, "").replace(":0\n", &format!(":0\naddress = unix:{socket}\nsocket_mode = {mode}\n{more}"))
            + &format!("[log]\nfile = {log}\naccess = {access}\n{SERVER}")
    };
    let mut router = Router::start_in(dir, &ini("0640", ""), &Setup::default());
    let owner = |path: &str| std::fs::metadata(path).map(|meta| (meta.uid(), meta.gid())).ok();
    for path in [&log, &access, &socket] {
        assert_eq!(owner(path), Some((UID, GID)), "{path}");
    }
    std::fs::rename(&access, format!("{access}.1")).expect("rename");
    std::fs::rename(&log, format!("{log}.1")).expect("rename");
    router.signal(Signal::USR1);
    eventually("both logs are open again", DEADLINE, || {
        [&access, &log].into_iter().all(|path| owner(path) == Some((UID, GID))).then_some(())
    });
    // A reload changes the mode, and binds another socket.
    router.write_config(&ini("0600", &format!("address = unix:{own}/second.sock\n")));
    router.signal(Signal::HUP);
    let said = |text: &str| std::fs::read_to_string(&log).unwrap_or_default().contains(text);
    eventually("the second generation", DEADLINE, || said("generation 2 is in force").then_some(()));
    assert_eq!(std::fs::metadata(&socket).expect("the socket").permissions().mode() & 0o777, 0o600);
    assert_eq!(Client::connect(&format!("unix:{own}/second.sock")).get("/").status, 200);
    assert!(!said("[WARN"), "{}", std::fs::read_to_string(&log).unwrap_or_default());
    assert!(router.stop().success());
    for path in [&socket, &format!("{own}/second.sock")] {
        assert!(!Path::new(path).exists(), "{path} was left behind");
    }
}

#[test]
fn a_path_that_the_user_may_not_write_fails_the_start_and_not_the_rotation() {
    if !as_root("a router that starts as root") {
        return;
    }
    let origin = Origin::bind();
    for (what, line) in [
        ("the access log", "[log]\naccess = ./access.log\n"),
        ("the log", "[log]\nfile = ./router.log\n"),
        ("listen", "[listen:second]\naddress = unix:second.sock\n"),
    ] {
        let dir = TempDir::new();
        let file = dir.write("config.ini", one_pool(&origin, line) + SERVER);
        let failed = run(&dir, &["run", "-c", &file], &Setup::default());
        assert_eq!(failed.code, Some(1), "{what}: {}", failed.stderr);
        assert!(failed.stderr.contains(what) && failed.stderr.contains("user 47110"), "{what}: {}", failed.stderr);
        let left: Vec<_> = std::fs::read_dir(dir.path()).expect("a directory").collect();
        assert_eq!(left.len(), 1, "root has made a file: {left:?}");
    }
}

#[test]
fn the_pid_file_stays_roots_and_names_nobody_afterwards() {
    if !as_root("a router that starts as root") {
        return;
    }
    let origin = quick();
    let dir = TempDir::new();
    let path = dir.file("router.pid");
    let ini = format!("{}{SERVER}pid_file = {path}\n", one_pool(&origin, ""));
    let mut router = Router::start_in(dir, &ini, &Setup::default());
    assert_eq!(std::fs::read_to_string(&path).expect("pid file").trim(), router.pid().to_string());
    assert_eq!(std::fs::metadata(&path).expect("pid file").uid(), 0, "its user could name another process");
    assert!(router.stop().success());
    // Its folder is root's: it cannot be removed.
    assert_eq!(std::fs::read_to_string(&path).expect("pid file"), "");
    let (dir, own) = with_folder();
    let target = dir.write("precious", "precious");
    symlink(&target, format!("{own}/router.pid")).expect("a link");
    let file = dir.write("config.ini", format!("{}{SERVER}pid_file = {own}/router.pid\n", one_pool(&origin, "")));
    let failed = run(&dir, &["run", "-c", &file], &Setup::default());
    assert_eq!(failed.code, Some(1));
    assert!(failed.stderr.contains("router.pid"), "{}", failed.stderr);
    assert_eq!(std::fs::read_to_string(&target).expect("the file"), "precious");
}

#[test]
fn who_is_not_root_is_told_and_who_is_the_user_already_is_not() {
    if !as_root("a router that starts as root") {
        return;
    }
    let origin = quick();
    let dir = TempDir::new();
    let file = dir.write("config.ini", one_pool(&origin, "") + SERVER);
    let other = ["setpriv", "--reuid=47113", "--regid=47111", "--clear-groups"];
    let failed = run(&dir, &["run", "-c", &file], &Setup { through: &other, ..Setup::default() });
    assert_eq!(failed.code, Some(1), "{}", failed.stderr);
    for words in ["cannot become user 47110", "is user 47113", "start it as root", "[server]"] {
        assert!(failed.stderr.contains(words), "{words}: {}", failed.stderr);
    }
    // One that is user or group in effect, and could be root's again whenever it likes.
    for ids in [["--euid=47110", "--regid=47111"], ["--reuid=47110", "--egid=47111"]] {
        let in_effect = ["setpriv", ids[0], ids[1], "--clear-groups"];
        let failed = run(&dir, &["run", "-c", &file], &Setup { through: &in_effect, ..Setup::default() });
        assert_eq!(failed.code, Some(1), "{ids:?}: {}", failed.stderr);
        assert!(failed.stderr.contains("cannot become user 47110"), "{}", failed.stderr);
    }
    let same = ["setpriv", "--reuid=47110", "--regid=47111", "--clear-groups"];
    let setup = Setup { through: &same, ..Setup::default() };
    let router = Router::start_with(&format!("{}{SERVER}", one_pool(&origin, "")), &setup);
    assert_eq!(router.client().get("/").status, 200);
    // A root that may not become another.
    let bound = ["setpriv", "--bounding-set=-setuid,-setgid", "--inh-caps=-setuid,-setgid"];
    let failed = run(&dir, &["run", "-c", &file], &Setup { through: &bound, ..Setup::default() });
    assert_eq!(failed.code, Some(1), "{}", failed.stderr);
    assert!(failed.stderr.contains("CAP_SETUID"), "{}", failed.stderr);
    // One that would keep its capabilities.
    let kept = ["setpriv", "--securebits=+no_setuid_fixup"];
    let failed = run(&dir, &["run", "-c", &file], &Setup { through: &kept, ..Setup::default() });
    assert_eq!(failed.code, Some(1), "{}", failed.stderr);
    assert!(failed.stderr.contains("way back to root"), "{}", failed.stderr);
}

#[test]
fn a_reload_binds_no_low_port_and_changes_no_user() {
    if !as_root("a router that starts as root") {
        return;
    }
    let origin = quick();
    let ini = one_pool(&origin, "") + SERVER;
    let router = Router::start(&ini);
    let mark = router.log_mark();
    let low = low_address();
    router.write_config(&ini.replace(":0\n", &format!(":0\naddress = {low}\n")));
    router.signal(Signal::HUP);
    let line = router.wait_log_after(mark, &low);
    assert!(line.contains("as user 47110") && line.contains("below 1024") && line.contains("restart"), "{line}");
    router.wait_log_after(mark, "refused; generation 1 stays in force");
    assert_eq!(router.client().get("/").status, 200);
    let mark = router.log_mark();
    router.reload(&ini.replace("user = 47110", "user = 47114").replace("group = 47111", "group = 47115"));
    for key in ["user is 47110, and 47114", "group is 47111, and 47115"] {
        assert!(router.wait_log_after(mark, key).contains("restart"), "{key}");
    }
    assert!(of_threads(&router, &["Uid"]).iter().all(|uid| uid[0].starts_with("47110 ")));
}

#[test]
fn a_file_that_the_user_cannot_read_is_said_at_the_start_and_refused_at_a_reload() {
    if !as_root("a router that starts as root") {
        return;
    }
    let origin = quick();
    let dir = TempDir::new();
    dir.write("secret.ini", "[timeouts]\nidle = 7s\n");
    std::fs::set_permissions(dir.file("secret.ini"), std::fs::Permissions::from_mode(0o600)).expect("root may");
    let ini = format!("include = secret.ini\n{}{SERVER}", one_pool(&origin, ""));
    let router = Router::start_in(dir, &ini, &Setup::default());
    let line = router.wait_log("secret.ini");
    assert!(line.contains("[WARN") && line.contains("user 47110 cannot read"), "{line}");
    let mark = router.log_mark();
    router.signal(Signal::HUP);
    router.wait_log_after(mark, "permission denied");
    router.wait_log_after(mark, "generation 1 stays in force");
    assert_eq!(router.client().get("/").status, 200);
}

#[test]
fn a_socket_that_was_passed_needs_no_privilege() {
    if !as_root("a router that starts as root") {
        return;
    }
    let origin = quick();
    let listener = std::net::TcpListener::bind(low_address()).expect("root may");
    let address = listener.local_addr().expect("it").to_string();
    let script = "exec 3<&0 0</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\"";
    let words = ["setpriv", "--reuid=47110", "--regid=47111", "--clear-groups", "sh", "-c", script, "sh"];
    let setup = Setup { through: &words, stdin: Some(listener.into()), ..Setup::default() };
    let ini = one_pool(&origin, "").replace("127.0.0.1:0", "systemd");
    let router = Router::start_with(&ini, &setup);
    assert_eq!(Client::connect(&address).get("/").status, 200);
    assert!(
        of_threads(&router, &["Uid", "CapEff"])
            .iter()
            .all(|of| of[0].starts_with("47110 ") && of[1] == "0000000000000000")
    );
}
