//! Sockets that whoever started the router has bound: LISTEN_FDS, as systemd and others pass them (sd_listen_fds(3)).
//!
//! All are taken at the start and kept until the end, whatever the file names: they cannot be had again, and a reload may name
//! them later. The variables stay in the environment: nothing is ever executed, and LISTEN_PID names this process alone.
//! Not here: accepting (`listener`, on a copy of the descriptor), and which section wants which (`server`).

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

use rustix::net::sockopt;
use rustix::net::{AddressFamily, SocketType};

use crate::config::suggest;
use crate::sys;

/// The first of them.
const FIRST: i32 = 3;
/// What sd_listen_fds_with_names(3) calls a socket without a name.
const NAMELESS: &str = "unknown";

/// Every socket that was passed, in order.
#[derive(Debug)]
pub struct Inherited {
    sockets: Vec<Passed>,
    /// Why there is none.
    absent: Option<String>,
}

#[derive(Debug)]
struct Passed {
    number: i32,
    name: String,
    fd: OwnedFd,
}

/// Why an inherited socket cannot be used.
#[derive(Debug)]
pub enum Unusable {
    /// The variables contradict themselves.
    Variables(String),
    /// A descriptor is not open, or was not passed.
    Descriptor(i32, io::Error),
    /// There is none at all, and why.
    NoneAtAll(String),
    /// There is none of this name, and those there are.
    NoneOfName(String, Vec<String>),
}

impl Inherited {
    /// Takes them over, as the variables of this process say. Before anything else is opened.
    pub fn take() -> Result<Self, Unusable> {
        let variable = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        let names = match announced(&variable, std::process::id())? {
            Announced::Names(names) => names,
            Announced::Nothing(why) => return Ok(Self { sockets: Vec::new(), absent: Some(why) }),
        };
        let mut sockets = Vec::new();
        for (number, name) in (FIRST..).zip(names) {
            let fd = sys::adopt(number).map_err(|error| Unusable::Descriptor(number, error))?;
            sockets.push(Passed { number, name, fd });
        }
        Ok(Self { sockets, absent: None })
    }

    /// The numbers of all sockets of this name; of all there are if none is asked for.
    pub fn named(&self, name: Option<&str>) -> Result<Vec<i32>, Unusable> {
        if let Some(why) = &self.absent {
            return Err(Unusable::NoneAtAll(why.clone()));
        }
        let wanted = self.sockets.iter().filter(|socket| name.is_none_or(|name| socket.name == name));
        let numbers: Vec<i32> = wanted.map(|socket| socket.number).collect();
        match name {
            Some(name) if numbers.is_empty() => {
                let mut names: Vec<String> = self.sockets.iter().map(|socket| socket.name.clone()).collect();
                names.sort();
                names.dedup();
                Err(Unusable::NoneOfName(name.to_owned(), names))
            }
            _ => Ok(numbers),
        }
    }

    /// A copy of a socket's descriptor, and whether it is TCP.
    pub fn open(&self, number: i32) -> io::Result<(OwnedFd, bool)> {
        let Some(Passed { fd, .. }) = self.sockets.iter().find(|socket| socket.number == number) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let tcp = match sockopt::socket_domain(fd)? {
            AddressFamily::INET | AddressFamily::INET6 => true,
            AddressFamily::UNIX => false,
            _ => return Err(io::Error::other("it is neither TCP nor a Unix socket")),
        };
        if sockopt::socket_type(fd)? != SocketType::STREAM {
            return Err(io::Error::other("it is no stream socket (ListenStream= of a systemd unit)"));
        }
        if !sockopt::socket_acceptconn(fd)? {
            return Err(io::Error::other("it does not listen (Accept=no of a systemd unit)"));
        }
        // Who bound it may have made it nonblocking; an acceptor would never rest.
        rustix::io::ioctl_fionbio(fd, false)?;
        Ok((fd.try_clone()?, tcp))
    }

    /// Those that are not among these, as a message names them.
    pub fn others(&self, used: &[i32]) -> Vec<String> {
        let others = self.sockets.iter().filter(|socket| !used.contains(&socket.number));
        others.map(|socket| format!("descriptor {} (`{}`)", socket.number, socket.name)).collect()
    }
}

/// What the variables say.
#[derive(Debug, PartialEq, Eq)]
enum Announced {
    /// The name of each socket, in order.
    Names(Vec<String>),
    /// There is none, and why.
    Nothing(String),
}

fn announced(variable: &dyn Fn(&str) -> Option<String>, own: u32) -> Result<Announced, Unusable> {
    let Some(count) = variable("LISTEN_FDS") else {
        return Ok(Announced::Nothing("LISTEN_FDS is not set".to_owned()));
    };
    let pid = variable("LISTEN_PID").unwrap_or_else(|| "not set".to_owned());
    if pid != own.to_string() {
        // They were passed to an ancestor, and its descriptors may be anything here.
        return Ok(Announced::Nothing(format!("LISTEN_PID is {pid}, and this process is {own}")));
    }
    let Ok(number) = count.parse::<u16>() else {
        return Err(Unusable::Variables(format!("LISTEN_FDS is {count}, which is no number of sockets")));
    };
    let number = usize::from(number);
    let names = match variable("LISTEN_FDNAMES") {
        Some(names) => names.split(':').map(str::to_owned).collect(),
        None => vec![NAMELESS.to_owned(); number],
    };
    match (number, names.len()) {
        (0, _) => Ok(Announced::Nothing("LISTEN_FDS is 0".to_owned())),
        (number, names) if number != names => {
            Err(Unusable::Variables(format!("LISTEN_FDS is {number}, and LISTEN_FDNAMES has {names} names")))
        }
        _ => Ok(Announced::Names(names)),
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variables(why) => write!(f, "the inherited sockets cannot be counted: {why}"),
            Self::Descriptor(number, error) => {
                write!(f, "descriptor {number}, which LISTEN_FDS counts, cannot be taken: {error}")
            }
            Self::NoneAtAll(why) => write!(
                f,
                "no socket was inherited: {why}; start the router by a systemd .socket unit, or bind the address here"
            ),
            Self::NoneOfName(name, names) => {
                let known = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                write!(f, "no inherited socket is called `{name}`; there are {known}")?;
                match suggest::did_you_mean(name, names.iter().map(String::as_str)) {
                    Some(meant) => write!(f, "; {meant}"),
                    None => write!(f, " (FileDescriptorName= of a systemd unit)"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_variables_say() {
        let say = |values: &[(&str, &str)]| {
            let find =
                |name: &str| values.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            match announced(&find, 7) {
                Ok(Announced::Names(names)) => names.join(" "),
                Ok(Announced::Nothing(why)) => format!("none: {why}"),
                Err(error) => format!("error: {error}"),
            }
        };
        let (pid, two) = (("LISTEN_PID", "7"), ("LISTEN_FDS", "2"));
        assert_eq!(say(&[pid, two, ("LISTEN_FDNAMES", "web:web")]), "web web");
        assert_eq!(say(&[pid, two]), "unknown unknown");
        assert_eq!(say(&[pid]), "none: LISTEN_FDS is not set");
        assert_eq!(say(&[two]), "none: LISTEN_PID is not set, and this process is 7");
        assert_eq!(say(&[("LISTEN_PID", "8"), two]), "none: LISTEN_PID is 8, and this process is 7");
        assert_eq!(say(&[pid, ("LISTEN_FDS", "0")]), "none: LISTEN_FDS is 0");
        assert!(say(&[pid, two, ("LISTEN_FDNAMES", "web")]).starts_with("error: "));
        for count in ["-1", "two", "65536", ""] {
            assert!(say(&[pid, ("LISTEN_FDS", count)]).starts_with("error: "), "{count}");
        }
    }
}
