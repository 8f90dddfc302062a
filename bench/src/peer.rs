//! What users run today: from Debian's packages, each with the configuration in `bench/peers/` that suits this load
//! best, and Pingora, which is a library, as the program there. Kept connections to the origin, no log, two workers or
//! threads, a backlog of 8,192.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo::Part;
use crate::origin::Origin;
use crate::port;
use crate::process::Process;
use crate::room::Room;

/// Where Debian puts servers, which is not in everybody's PATH.
const USUAL_PLACE: &str = "/usr/sbin";
/// What all are installed with; the last two are for what Pingora is built of.
pub const PACKAGES: &str = "nginx-light haproxy h2o caddy apache2-bin varnish wrk cmake make";
/// The one that is built here.
pub const PINGORA: &str = "pingora";
/// Threads that Apache has beyond one for each connection, or for each request: its two processes do not get the same number.
const THREADS_SPARE: u32 = 128;

/// One of them.
#[derive(Debug, PartialEq)]
pub struct Peer {
    pub name: &'static str,
    program: Program,
    /// Its name in the room, and what is in it, before anything is filled in.
    file: Option<(&'static str, &'static str)>,
    /// Filled in as the file is.
    arguments: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
    /// How it says its version.
    pub version: &'static [&'static str],
}

/// By what name it is found, and where.
#[derive(Debug, PartialEq)]
enum Program {
    Installed(&'static str),
    Built(Part, &'static str),
}

/// What a program must be ready for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Demand {
    pub connections: u32,
    /// Of these, with a request at the same time.
    pub busy: u32,
    /// For the router and its variants, when its default is not what this load needs.
    pub workers: Option<u32>,
}

/// Varnish writes every request to memory that it shares with its log programs; this is each of the lines it can
/// leave out.
const VARNISH_SILENT: &str = "vsl_mask=-Begin,-End,-Link,-SessOpen,-SessClose,-ReqStart,-ReqMethod,-ReqURL,-ReqProtocol,\
    -ReqHeader,-ReqUnset,-ReqAcct,-RespProtocol,-RespStatus,-RespReason,-RespHeader,-RespUnset,-BereqMethod,-BereqURL,\
    -BereqProtocol,-BereqHeader,-BereqUnset,-BereqAcct,-BerespProtocol,-BerespStatus,-BerespReason,-BerespHeader,\
    -BerespUnset,-BackendOpen,-BackendClose,-VCL_call,-VCL_return,-VCL_use,-Timestamp,-TTL,-Fetch_Body,-Storage,-Filters,\
    -Length,-PipeAcct,-Hit,-HitMiss,-HitPass";

/// In the order of the table.
pub const ALL: [Peer; 8] = [
    Peer {
        name: "nginx",
        program: Program::Installed("nginx"),
        file: Some(("nginx.conf", include_str!("../peers/nginx.conf"))),
        arguments: &["-p", "@ROOM@", "-c", "@FILE@", "-e", "stderr"],
        environment: &[],
        version: &["-v"],
    },
    Peer {
        name: "haproxy",
        program: Program::Installed("haproxy"),
        file: Some(("haproxy.cfg", include_str!("../peers/haproxy.cfg"))),
        arguments: &["-db", "-f", "@FILE@"],
        environment: &[],
        version: &["-v"],
    },
    Peer {
        name: "h2o",
        program: Program::Installed("h2o"),
        file: Some(("h2o.yaml", include_str!("../peers/h2o.yaml"))),
        arguments: &["-m", "worker", "-c", "@FILE@"],
        environment: &[],
        version: &["--version"],
    },
    Peer {
        name: "caddy",
        program: Program::Installed("caddy"),
        file: Some(("Caddyfile", include_str!("../peers/Caddyfile"))),
        arguments: &["run", "--adapter", "caddyfile", "--config", "@FILE@"],
        environment: &[("GOMAXPROCS", "2"), ("GOGC", "400"), ("HOME", "@ROOM@"), ("XDG_CONFIG_HOME", "@ROOM@")],
        version: &["version"],
    },
    Peer {
        name: "apache-worker",
        program: Program::Installed("apache2"),
        file: Some(("apache.conf", include_str!("../peers/apache.conf"))),
        arguments: &["-D", "FOREGROUND", "-D", "WORKER", "-f", "@FILE@"],
        environment: &[],
        version: &["-v"],
    },
    Peer {
        name: "apache-event",
        program: Program::Installed("apache2"),
        file: Some(("apache.conf", include_str!("../peers/apache.conf"))),
        arguments: &["-D", "FOREGROUND", "-D", "EVENT", "-f", "@FILE@"],
        environment: &[],
        version: &["-v"],
    },
    Peer {
        name: "varnish",
        program: Program::Installed("varnishd"),
        file: Some(("varnish.vcl", include_str!("../peers/varnish.vcl"))),
        // No jail: it would give the room to a user of its own. Its threads wait for the origin, one for each request.
        arguments: &[
            "-F",
            "-j",
            "none",
            "-n",
            "@ROOM@/varnish",
            "-a",
            "127.0.0.1:@PORT@",
            "-f",
            "@FILE@",
            "-s",
            "malloc,16m",
            "-T",
            "none",
            "-p",
            "thread_pools=2",
            "-p",
            "thread_pool_max=5000",
            "-p",
            "listen_depth=8192",
            "-p",
            "timeout_idle=3600",
            "-p",
            "backend_idle_timeout=3600",
            "-p",
            "pipe_timeout=3600",
            "-p",
            VARNISH_SILENT,
        ],
        environment: &[],
        version: &["-V"],
    },
    Peer {
        name: PINGORA,
        program: Program::Built(Part::Pingora, "peer-pingora"),
        file: None,
        arguments: &["127.0.0.1:@PORT@", "@ORIGIN@"],
        environment: &[],
        version: &["--version"],
    },
];

impl Peer {
    /// The program, when it is there.
    pub fn program(&self) -> Option<PathBuf> {
        match self.program {
            Program::Installed(name) => installed(name),
            Program::Built(part, name) => part.program(name).ok().filter(|path| path.is_file()),
        }
    }

    /// Why it is not, and how to change that.
    pub fn missing(&self) -> String {
        match self.program {
            Program::Installed(_) => format!("not installed: `apt-get install {PACKAGES}`, see bench/README.md"),
            Program::Built(part, _) => format!("not built: `{}`", part.command()),
        }
    }

    /// Starts it in front of the origin; it has answered once.
    pub fn start(&self, room: &Room, origin: &Origin, demand: Demand) -> Result<(Process, SocketAddr), String> {
        let program = self.program().ok_or_else(|| format!("{} is {}", self.name, self.missing()))?;
        let (each, busy) = (demand.connections / 2 + THREADS_SPARE, demand.busy + THREADS_SPARE);
        let address = origin.address();
        let command = |port: u16| {
            let known = [
                ("@FILE@", room.path().join(self.file.map_or("", |(name, _)| name)).display().to_string()),
                ("@ROOM@", room.path().display().to_string()),
                ("@PORT@", port.to_string()),
                ("@ORIGIN@", address.to_string()),
                ("@ORIGIN_HOST@", address.ip().to_string()),
                ("@ORIGIN_PORT@", address.port().to_string()),
                ("@THREADS_EACH@", each.to_string()),
                ("@THREADS_ALL@", (each * 2).to_string()),
                ("@THREADS_BUSY_EACH@", busy.to_string()),
                ("@THREADS_BUSY_ALL@", (busy * 2).to_string()),
            ];
            let root = rustix::process::geteuid().is_root();
            if let Some((name, text)) = self.file {
                room.write(name, filled_in(text, &known, root).as_bytes())?;
            }
            let mut command = Command::new(&program);
            command.args(self.arguments.iter().map(|argument| filled_in(argument, &known, root)));
            command.envs(self.environment.iter().map(|(name, value)| (name, filled_in(value, &known, root))));
            command.current_dir(room.path());
            Ok(command)
        };
        port::start(self.name, room, command, |address| origin.is_behind(address))
    }
}

/// On PATH, or where Debian puts servers.
pub fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain([Path::new(USUAL_PLACE).to_owned()]);
    directories.map(|directory| directory.join(program)).find(|path| path.is_file())
}

/// Every name is replaced. A line that begins with the mark of root goes, unless root starts the program.
fn filled_in(text: &str, known: &[(&str, String)], root: bool) -> String {
    const MARK: &str = "@ROOT@";
    let lines = text.split_inclusive('\n');
    let lines = lines.filter_map(|line| match line.strip_prefix(MARK) {
        Some(rest) => root.then_some(rest),
        None => Some(line),
    });
    known.iter().fold(lines.collect(), |text: String, (name, value)| text.replace(name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in_and_lines_of_root_are_roots() {
        let known = [("@PORT@", "80".to_owned()), ("@ROOM@", "/tmp/r".to_owned())];
        let text = "@ROOT@user root;\nlisten @PORT@ @PORT@;\npid @ROOM@/pid\n";
        assert_eq!(filled_in(text, &known, true), "user root;\nlisten 80 80;\npid /tmp/r/pid\n");
        assert_eq!(filled_in(text, &known, false), "listen 80 80;\npid /tmp/r/pid\n");
    }

    #[test]
    fn what_is_installed_is_found() {
        assert!(installed("sh").is_some_and(|path| path.is_absolute()));
        assert_eq!(installed("no-such-program"), None);
    }

    #[test]
    fn every_peer_has_a_name_and_a_way_to_get_it() {
        for peer in &ALL {
            assert_eq!(ALL.iter().filter(|other| other.name == peer.name).count(), 1, "{}", peer.name);
            let way = if peer.name == PINGORA { "cargo build" } else { "apt-get install" };
            assert!(peer.missing().contains(way), "{}", peer.missing());
        }
    }
}
