//! Addresses from text: where to listen, where a backend is, whom to trust.
//!
//! Not here: whether two listens want the same address (`overlap`), and when a backend's name is looked up.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use super::diagnostics::{Fault, quoted};
use super::model::{Backend, BackendAddress, ListenAddress};
use super::words::{digits, option, words};

/// `sockaddr_un` has room for 108 bytes, one of them the end.
const UNIX_PATH_BYTES_MAX: usize = 107;
/// The most of FileDescriptorName=.
const DESCRIPTOR_NAME_BYTES_MAX: usize = 255;
/// The most of a name in DNS.
const HOST_BYTES_MAX: usize = 253;
/// The most of a share.
const WEIGHT_MAX: u32 = 256;

/// How a name becomes addresses.
pub type Resolver<'a> = &'a dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// Asks the system.
pub fn resolve_system(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    std::net::ToSocketAddrs::to_socket_addrs(&(host, port)).map(Iterator::collect)
}

/// Asks nobody: `localhost` is what it is everywhere, any other name is unknown.
pub fn resolve_nothing(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    match host {
        "localhost" => Ok(vec![
            SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port),
            SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port),
        ]),
        _ => Err(io::Error::new(io::ErrorKind::NotFound, "names are not looked up here")),
    }
}

/// `HOST:PORT`, `:PORT`, `unix:PATH`, `systemd` or `systemd:NAME`.
pub fn listen(text: &str, resolve: Resolver<'_>) -> Result<ListenAddress, Fault> {
    if let Some(name) = text.strip_prefix("systemd").filter(|name| name.is_empty() || name.starts_with(':')) {
        return inherited(text, name);
    }
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path).map(ListenAddress::Unix).map_err(|fault| fault.shifted("unix:".len()));
    }
    if let Some(port) = text.strip_prefix(':').filter(|port| !port.contains(':')) {
        return self::port(port, 0).map(ListenAddress::AnyTcp).map_err(|fault| fault.shifted(1));
    }
    let (host, port) = host_port(text, 0)?;
    let addresses = match host.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, port)],
        Err(_) => {
            let mut addresses = resolve(host, port)
                .map_err(|error| Fault::whole(text, format!("{} cannot be resolved: {error}", quoted(host))))?;
            addresses.sort_unstable();
            addresses.dedup();
            addresses
        }
    };
    if addresses.is_empty() {
        return Err(Fault::whole(text, format!("{} has no address", quoted(host))));
    }
    Ok(ListenAddress::Tcp { text: text.to_owned(), addresses })
}

/// `HOST:PORT`, `unix:PATH` or `demo`, then `weight=N`. The number of a demo backend is the caller's: it counts.
pub fn backend(text: &str, demo_number: usize) -> Result<Backend, Fault> {
    let mut words = words(text);
    let (at, first) = words.next().unwrap_or((0, text));
    let address = if first == "demo" {
        BackendAddress::Demo(demo_number)
    } else if let Some(path) = first.strip_prefix("unix:") {
        BackendAddress::Unix(unix(path).map_err(|fault| fault.shifted(at + "unix:".len()))?)
    } else {
        let (host, port) = host_port(first, 1).map_err(|fault| fault.shifted(at))?;
        BackendAddress::Tcp { host: host.to_owned(), port }
    };
    let weight = option(words, "a backend", ("weight", "N"), 0..=WEIGHT_MAX)?;
    Ok(Backend { address, weight: weight.unwrap_or(1) })
}

/// One of `trusted_proxy`, `allow` or `deny`: `None` is `unix`.
pub fn network(text: &str) -> Result<Option<IpNet>, Fault> {
    if text == "unix" {
        return Ok(None);
    }
    let network = match text.parse::<IpAddr>() {
        Ok(ip) => Ok(IpNet::from(ip.to_canonical())),
        // `127.0.0.1/8` is common and means 127.0.0.0/8 to everyone.
        Err(_) => text.parse::<IpNet>().map(|network| unmapped(network.trunc())),
    };
    network.map(Some).map_err(|_| {
        Fault::whole(text, format!("{} is not a network", quoted(text)))
            .help("write 10.0.0.0/8, fd00::/8, 127.0.0.1 or unix".to_owned())
    })
}

/// `::ffff:10.0.0.0/104` is 10.0.0.0/8: no client's address is ever mapped, so that as written it would name nobody.
fn unmapped(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    match (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) {
        (Some(address), Some(bits)) => IpNet::new(address.into(), bits).unwrap_or(network),
        _ => network,
    }
}

/// A name as FileDescriptorName= of systemd takes it.
fn inherited(text: &str, name: &str) -> Result<ListenAddress, Fault> {
    let Some(name) = name.strip_prefix(':') else {
        return Ok(ListenAddress::Inherited(None));
    };
    let good = (1..=DESCRIPTOR_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
    if !good || name.contains(':') {
        let what = format!("{} is not the name of an inherited socket", quoted(name));
        return Err(Fault::whole(text, what)
            .help("write `systemd:NAME`, as in FileDescriptorName=NAME of the unit, or `systemd`".to_owned()));
    }
    Ok(ListenAddress::Inherited(Some(name.to_owned())))
}

fn unix(path: &str) -> Result<PathBuf, Fault> {
    match path.len() {
        0 => Err(Fault::whole(path, "`unix:` needs a path")),
        1..=UNIX_PATH_BYTES_MAX => Ok(PathBuf::from(path)),
        _ => Err(Fault::whole(path, format!("a socket's path has at most {UNIX_PATH_BYTES_MAX} bytes"))),
    }
}

/// `HOST:PORT`, HOST without its brackets.
fn host_port(text: &str, port_min: u16) -> Result<(&str, u16), Fault> {
    if let Some((scheme, rest)) = text.split_once("://") {
        let host = rest.split('/').next().unwrap_or_default();
        return Err(Fault::part(0..scheme.len() + 3, "an address has no scheme")
            .help((!host.is_empty()).then(|| format!("did you mean {}?", quoted(host)))));
    }
    if let Some(inner) = text.strip_prefix('[') {
        let Some((ip, after)) = inner.split_once(']') else {
            return Err(Fault::whole(text, "`[` without `]`"));
        };
        if ip.parse::<Ipv6Addr>().is_err() {
            return Err(Fault::part(1..1 + ip.len(), format!("{} is not an IPv6 address", quoted(ip))));
        }
        let Some(digits) = after.strip_prefix(':') else {
            return Err(no_port(text));
        };
        return port(digits, port_min).map(|port| (ip, port)).map_err(|fault| fault.shifted(ip.len() + 3));
    }
    if text.parse::<Ipv6Addr>().is_ok() || text.matches(':').count() > 1 {
        return Err(Fault::whole(text, "an IPv6 address stands in brackets").help("write [::1]:8080".to_owned()));
    }
    let Some((host, digits)) = text.split_once(':') else {
        return Err(match self::digits::<u16>(text) {
            Some(_) if port_min == 0 => no_port(text).help(format!("did you mean `:{text}` or `127.0.0.1:{text}`?")),
            Some(_) => no_port(text).help(format!("did you mean `127.0.0.1:{text}`?")),
            None => no_port(text),
        });
    };
    host_name(host)?;
    port(digits, port_min).map(|port| (host, port)).map_err(|fault| fault.shifted(host.len() + 1))
}

fn no_port(text: &str) -> Fault {
    Fault::whole(text, format!("{} has no port", quoted(text))).help("write HOST:PORT or unix:PATH".to_owned())
}

fn port(text: &str, min: u16) -> Result<u16, Fault> {
    let what = format!("{} is not a port: {min} to 65535", quoted(text));
    digits(text).filter(|port| *port >= min).ok_or_else(|| Fault::whole(text, what))
}

/// A name or an IPv4 address. What looks like an address is never asked of DNS.
fn host_name(host: &str) -> Result<(), Fault> {
    if host.is_empty() {
        return Err(Fault::whole(host, "the host is missing").help("write 127.0.0.1:PORT".to_owned()));
    }
    if host == "*" {
        return Err(Fault::whole(host, "`*` is not a host").help("every address is written `:PORT`".to_owned()));
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.len() > HOST_BYTES_MAX || !name.split('.').all(label) {
        return Err(Fault::whole(host, format!("{} is not a host: a name or an IP address", quoted(host))));
    }
    let looks_numeric = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if looks_numeric && host.parse::<Ipv4Addr>().is_err() {
        return Err(Fault::whole(host, format!("{} is not an IPv4 address", quoted(host))));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listens(text: &str) -> bool {
        listen(text, &resolve_nothing).is_ok()
    }

    #[test]
    fn listen_addresses() {
        for good in [
            ":0",
            ":8080",
            "127.0.0.1:80",
            "[::1]:80",
            "[::]:80",
            "localhost:1",
            "unix:/run/x",
            "unix:x",
            "systemd",
            "systemd:web.socket",
        ] {
            assert!(listens(good), "{good}");
        }
        let long = format!("unix:{}", "x".repeat(108));
        for bad in [
            "",
            ":",
            "8080",
            "::1",
            "::1:80",
            "[::1]",
            "[::1]80",
            "[1.2.3.4]:80",
            "127.0.0.1",
            "127.0.0.256:80",
            "127.1:80",
            "*:80",
            "http://127.0.0.1:80",
            "a b:80",
            "-a:80",
            "a..b:80",
            "localhost:+1",
            ":65536",
            "unix:",
            "systemd:",
            "systemd:a:b",
            "systemd:a b",
            "systemd:é",
            "nowhere.invalid:80",
            &long,
        ] {
            assert!(!listens(bad), "{bad}");
        }
    }

    #[test]
    fn backends_and_their_weights() {
        let tcp = |host: &str, port| BackendAddress::Tcp { host: host.to_owned(), port };
        for (text, address, weight) in [
            ("127.0.0.1:3000", tcp("127.0.0.1", 3000), 1),
            ("[::1]:3000  weight=0", tcp("::1", 3000), 0),
            ("app.local:3000\tweight=256", tcp("app.local", 3000), 256),
            ("unix:/run/app", BackendAddress::Unix("/run/app".into()), 1),
            ("demo weight=3", BackendAddress::Demo(7), 3),
        ] {
            assert_eq!(backend(text, 7), Ok(Backend { address, weight }), "{text}");
        }
        for bad in [
            "",
            "app",
            "app:0",
            "app:1 weight=257",
            "app:1 weight=",
            "app:1 weight = 1",
            "app:1 weigth=2",
            "Demo",
            "app:1 weight=1 weight=2",
            "app:1 weight=-1",
        ] {
            assert!(backend(bad, 1).is_err(), "{bad}");
        }
    }

    #[test]
    fn networks() {
        assert_eq!(network("127.0.0.1/8").ok().flatten().map(|n| n.to_string()), Some("127.0.0.0/8".to_owned()));
        assert_eq!(network("::1").ok().flatten().map(|n| n.to_string()), Some("::1/128".to_owned()));
        for (mapped, due) in [("::ffff:10.1.2.3", "10.1.2.3/32"), ("::ffff:10.1.2.3/104", "10.0.0.0/8")] {
            assert_eq!(network(mapped).ok().flatten().map(|n| n.to_string()).as_deref(), Some(due), "{mapped}");
        }
        assert_eq!(network("unix"), Ok(None));
        assert!(network("10.0.0.0/33").is_err());
        assert!(network("all").is_err());
    }
}
