//! Sockets as every program here has them: a port that many may share, and no delay for small writes.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

/// Connections that the kernel holds for us before `accept`: as nginx has it in the same bench.
const BACKLOG: i32 = 8192;

/// A listening socket. `shared`: others bind the same port, and the kernel spreads connections over all.
pub fn listen(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if shared {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    net::bind(&socket, &address)?;
    deepen(&socket)?;
    Ok(TcpListener::from(socket))
}

/// One for each of `count` threads; the kernel's port of the first is that of all.
pub fn listen_shared(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let first = listen(address, true)?;
    let address = first.local_addr()?;
    let mut all = vec![first];
    for _ in 1..count {
        all.push(listen(address, true)?);
    }
    Ok(all)
}

/// The client reads an end of input behind what was written.
pub fn finish_writing(socket: &impl AsFd) {
    // Not connected any more: there is nothing left to finish.
    let _gone = net::shutdown(socket, net::Shutdown::Write);
}

/// When it is closed the client gets a reset, so that an answer that was cut short cannot look whole.
pub fn abort_on_close(socket: &impl AsFd) {
    let _gone = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

/// A backlog as all have it, and connections come out of it with their first bytes; also for a socket that listens already.
pub fn deepen(socket: &impl AsFd) -> io::Result<()> {
    // Who is accepted takes it over.
    sockopt::set_tcp_nodelay(socket, true)?;
    layer7router::sys::set_defer_accept(socket.as_fd(), 1)?;
    Ok(net::listen(socket, BACKLOG)?)
}
