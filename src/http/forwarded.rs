//! Who the client is, and the fields that tell the backend.
//!
//! What a peer says about others is believed only when the listener trusts the peer; the walk through X-Forwarded-For
//! goes from the right, because only what trusted hops appended is true.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use super::names::{Name, classify, decimal, trim_ows};
use super::{Field, Sink};

/// One end of a connection, without its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// An address; never an IPv4 address mapped into IPv6.
    Ip(IpAddr),
    /// The other end of a Unix socket.
    Unix,
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address.ip().to_canonical())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix => f.write_str("unix:"),
        }
    }
}

impl Peer {
    /// Writes it as `Display` does, without allocating.
    pub fn put<S: Sink>(&self, out: &mut S) -> Result<(), S::Error> {
        let mut text = Text { bytes: [0; 48], len: 0 };
        // The longest address has 45 bytes: nothing is ever cut.
        let _ = match self {
            Self::Ip(IpAddr::V4(address)) => text.put_v4(*address),
            _ => write!(text, "{self}"),
        };
        out.put(text.bytes.get(..text.len).unwrap_or_default())
    }
}

/// Each octet in decimal, from the left, and how many digits it has.
static OCTETS: [([u8; 3], u8); 256] = {
    let mut table = [([0; 3], 0); 256];
    let mut octet = 0;
    while octet < 256 {
        let digits = [b'0' + (octet / 100) as u8, b'0' + (octet / 10 % 10) as u8, b'0' + (octet % 10) as u8];
        table[octet] = match octet {
            100.. => (digits, 3),
            10.. => ([digits[1], digits[2], 0], 2),
            _ => ([digits[2], 0, 0], 1),
        };
        octet += 1;
    }
    table
};

/// Room for the longest address.
struct Text {
    bytes: [u8; 48],
    len: usize,
}

impl Text {
    /// As `Display`, which takes 900 instructions for it: most requests need it twice.
    fn put_v4(&mut self, address: Ipv4Addr) -> fmt::Result {
        for (at, octet) in address.octets().into_iter().enumerate() {
            if at > 0 {
                self.put(b".")?;
            }
            let (digits, len) = OCTETS[usize::from(octet)];
            self.put(digits.get(..usize::from(len)).unwrap_or_default())?;
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> fmt::Result {
        let end = self.len + bytes.len();
        self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.put(s.as_bytes())
    }
}

/// Whose word about the client is taken.
#[derive(Clone, Copy, Debug)]
pub struct Trusted<'a> {
    /// Networks.
    pub networks: &'a [IpNet],
    /// Every peer of a Unix socket.
    pub unix: bool,
}

impl Trusted<'_> {
    /// Whether this peer is believed.
    pub fn contains(&self, peer: Peer) -> bool {
        match peer {
            Peer::Ip(address) => self.networks.iter().any(|network| network.contains(&address)),
            Peer::Unix => self.unix,
        }
    }
}

/// The client of a request, and whether the peer is trusted. From a trusted peer: the right-most address of all
/// X-Forwarded-For lines that is not trusted itself; an entry that is no address ends the walk at the last good one.
pub fn client_address(peer: Peer, trusted: &Trusted<'_>, fields: &[Field<'_>]) -> (Peer, bool) {
    if !trusted.contains(peer) {
        return (peer, false);
    }
    let mut client = peer;
    let lines = fields.iter().rev().filter(|f| classify(f.name) == Name::XForwardedFor);
    for entry in lines.flat_map(|f| f.value.rsplit(|b| *b == b',')) {
        let Some(address) = address(trim_ows(entry)) else {
            break;
        };
        client = Peer::Ip(address);
        if !trusted.contains(client) {
            break;
        }
    }
    (client, true)
}

/// An address, with or without a port; an IPv6 address with a port is in brackets.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    let address = if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        if !rest.is_empty() {
            port(rest.strip_prefix(':')?)?;
        }
        IpAddr::V6(address.parse::<Ipv6Addr>().ok()?)
    } else if let Ok(address) = text.parse::<IpAddr>() {
        address
    } else {
        let (address, digits) = text.split_once(':')?;
        port(digits)?;
        IpAddr::V4(address.parse::<Ipv4Addr>().ok()?)
    };
    Some(address.to_canonical())
}

fn port(digits: &str) -> Option<u16> {
    decimal(digits.as_bytes()).and_then(|port| u16::try_from(port).ok())
}

/// From whom the request came, for the forwarding fields of the rebuilt head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// The other end of the connection.
    pub peer: Peer,
    /// Its forwarding fields are kept and added to; otherwise they are replaced.
    pub trusted: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Peer {
        Peer::Ip(text.parse().unwrap())
    }

    /// The client, when these networks are trusted and these lines were received.
    fn client(peer: Peer, lines: &[&str]) -> (Peer, bool) {
        let networks: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"].iter().map(|n| n.parse().unwrap()).collect();
        let fields: Vec<Field<'_>> =
            lines.iter().map(|l| Field { name: "x-Forwarded-For", value: l.as_bytes() }).collect();
        client_address(peer, &Trusted { networks: &networks, unix: true }, &fields)
    }

    #[test]
    fn an_untrusted_peer_is_the_client_itself() {
        assert_eq!(client(ip("192.0.2.1"), &["1.1.1.1"]), (ip("192.0.2.1"), false));
        let nobody = Trusted { networks: &[], unix: false };
        assert_eq!(client_address(Peer::Unix, &nobody, &[]), (Peer::Unix, false));
    }

    #[test]
    fn the_client_is_the_right_most_address_that_is_not_trusted() {
        let peer = ip("10.0.0.1");
        for (lines, due) in [
            (&[][..], "10.0.0.1"),
            (&["1.1.1.1"], "1.1.1.1"),
            (&["2.2.2.2, 1.1.1.1"], "1.1.1.1"),
            (&["2.2.2.2, 1.1.1.1 ,10.2.2.2,\tfd00::1"], "1.1.1.1"),
            (&["2.2.2.2", "1.1.1.1", "10.2.2.2"], "1.1.1.1"),
            (&["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
            (&["1.1.1.1, unknown, 10.2.2.2"], "10.2.2.2"),
            (&["1.1.1.1, "], "10.0.0.1"),
            (&["1.1.1.1", ""], "10.0.0.1"),
            (&["1.1.1.1:80"], "1.1.1.1"),
            (&["[2001:db8::1]:80"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["2001:db8::1"], "2001:db8::1"),
            (&["::ffff:1.1.1.1"], "1.1.1.1"),
            (&["9.9.9.9, ::ffff:10.0.0.9"], "9.9.9.9"),
        ] {
            assert_eq!(client(peer, lines), (ip(due), true), "{lines:?}");
            assert!(client(Peer::Unix, lines).1);
        }
        for bad in [
            "1.1.1.1:",
            "1.1.1.1:x",
            "1.1.1.1:+8",
            "1.1.1.1:65536",
            "[1.1.1.1]",
            "[::1",
            "[::1]x",
            "\"1.1.1.1\"",
            "::1%lo",
        ] {
            assert_eq!(client(peer, &[bad]), (peer, true), "{bad:?}");
        }
    }

    #[test]
    fn a_peer_is_written_without_port_and_unmapped() {
        for (text, due) in [
            ("192.0.2.1:80", "192.0.2.1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("[::ffff:192.0.2.1]:80", "192.0.2.1"),
            ("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            let peer = Peer::from(text.parse::<SocketAddr>().unwrap());
            let mut out = Vec::new();
            peer.put(&mut out).unwrap();
            assert_eq!((peer.to_string().as_str(), out.as_slice()), (due, due.as_bytes()));
        }
        // Written without `Display` for speed, and to say the same.
        for octet in 0..=255 {
            let peer = Peer::Ip(Ipv4Addr::new(octet, 0, 10, octet).into());
            let mut out = Vec::new();
            peer.put(&mut out).unwrap();
            assert_eq!(out, peer.to_string().as_bytes());
        }
        assert_eq!(Peer::Unix.to_string(), "unix:");
    }
}
