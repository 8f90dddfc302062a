//! How an address becomes a listener's descriptor: TCP of one family or both, and a Unix socket's file. Not here: what was
//! bound by whoever started us (`inherited`), and accepting.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use crate::sys;
use crate::transport::NOTSENT_LOWAT;

/// A connection is accepted when its first bytes are here, or after so long without: its first visit finds a whole head
/// then, and is the only one. HTTP clients speak first. Not tried longer: who says nothing is to be counted and timed.
pub(super) const DEFER_SECONDS: u32 = 1;

/// `both`: an IPv6 address that takes IPv4 too.
pub(super) fn tcp(address: SocketAddr, both: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // A restart binds while old connections are in TIME_WAIT.
    sockopt::set_socket_reuseaddr(&fd, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&fd, !both)?;
    }
    for_accepted(&fd)?;
    rustix::net::bind(&fd, &address)?;
    Ok(fd)
}

/// What a TCP listener is told, whoever bound it. The first two are for accepted sockets, which take them over.
pub(super) fn for_accepted(fd: &OwnedFd) -> io::Result<()> {
    sockopt::set_tcp_nodelay(fd, true)?;
    sys::set_notsent_lowat(fd.as_fd(), NOTSENT_LOWAT)?;
    sys::set_defer_accept(fd.as_fd(), DEFER_SECONDS)
}

/// Both families on one socket; a kernel without IPv6 gets IPv4.
pub(super) fn any(port: u16) -> io::Result<OwnedFd> {
    tcp(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port), true).or_else(|error| {
        match Errno::from_io_error(&error) {
            Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) => {
                tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port), false)
            }
            _ => Err(error),
        }
    })
}

/// A socket file that nobody answers on was left by a process that is gone, and is replaced.
pub(super) fn unix(path: &Path, mode: u32) -> io::Result<OwnedFd> {
    let address = SocketAddrUnix::new(path)?;
    let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    match rustix::net::bind(&fd, &address) {
        Err(Errno::ADDRINUSE) => {
            let probe = rustix::net::socket_with(
                AddressFamily::UNIX,
                SocketType::STREAM,
                SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
                None,
            )?;
            if rustix::net::connect(&probe, &address) != Err(Errno::CONNREFUSED) {
                return Err(Errno::ADDRINUSE.into());
            }
            std::fs::remove_file(path)?;
            rustix::net::bind(&fd, &address)?;
        }
        other => other?,
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(fd)
}
