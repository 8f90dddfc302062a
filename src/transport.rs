//! Sockets as the data path sees them: blocking reads and writes, a probe that does not wait, and the verbs that end one.
//!
//! One type for TCP and Unix sockets; TLS will be another. Not here: deadlines (`registry` keeps them and wakes a blocked
//! call by shutting its socket down), and what the bytes mean.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketAddrAny, SocketAddrUnix, SocketFlags,
    SocketType,
};

use crate::company::Company;
use crate::sync::ask_kernel;
use crate::sys;

#[cfg(test)]
pub mod faults;

/// What the kernel takes of a client's answer before the client has taken it: enough to keep a fast one busy, little
/// enough that a slow one is seen as slow.
pub const NOTSENT_LOWAT: u32 = 128 * 1024;

/// Accepts one connection: its socket, and who it is.
pub fn accept(listener: BorrowedFd<'_>) -> Result<(OwnedFd, Option<SocketAddrAny>), Errno> {
    #[cfg(test)]
    faults::strike(faults::Call::Accept)?;
    rustix::net::acceptfrom_with(listener, SocketFlags::CLOEXEC)
}

/// A connected stream socket. Closed when the last owner lets go.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    tcp: bool,
}

/// Where to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address<'a> {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// A path.
    Unix(&'a Path),
}

impl Socket {
    /// An accepted connection.
    pub fn accepted(fd: OwnedFd, tcp: bool) -> Self {
        Self { fd, tcp }
    }

    /// Connects within `limit`.
    ///
    /// The kernel bounds it (SO_SNDTIMEO): a blocked connect has no handle that another thread could shut, and a Unix
    /// connect on a full backlog ignores shutdown.
    pub fn connect(address: &Address<'_>, limit: Duration) -> io::Result<Self> {
        let family = match address {
            Address::Tcp(SocketAddr::V4(_)) => AddressFamily::INET,
            Address::Tcp(SocketAddr::V6(_)) => AddressFamily::INET6,
            Address::Unix(_) => AddressFamily::UNIX,
        };
        #[cfg(test)]
        faults::strike(faults::Call::Socket)?;
        let fd = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        #[cfg(test)]
        faults::strike(faults::Call::Connect)?;
        let begun = Instant::now();
        let connected = loop {
            let left = limit.saturating_sub(begun.elapsed()).max(Duration::from_millis(1));
            sockopt::set_socket_timeout(&fd, Timeout::Send, Some(left))?;
            let connected = match address {
                Address::Tcp(address) => rustix::net::connect(&fd, address),
                Address::Unix(path) => rustix::net::connect(&fd, &SocketAddrUnix::new(*path)?),
            };
            // A process that was stopped and continued sees this even without a handler, because there is a timeout
            // (signal(7)). Linux waits on when it is asked again, and says EALREADY when the time is over.
            if connected != Err(Errno::INTR) {
                break connected;
            }
        };
        connected.map_err(|errno| match errno {
            Errno::INPROGRESS | Errno::ALREADY | Errno::AGAIN => io::Error::from(io::ErrorKind::TimedOut),
            other => other.into(),
        })?;
        sockopt::set_socket_timeout(&fd, Timeout::Send, None)?;
        let tcp = matches!(address, Address::Tcp(_));
        if tcp {
            sockopt::set_tcp_nodelay(&fd, true)?;
        }
        Ok(Self { fd, tcp })
    }

    /// Whether it is TCP.
    pub fn is_tcp(&self) -> bool {
        self.tcp
    }

    /// Reads what is there, waiting for the first byte, alone. `Ok(0)` is the end of input.
    pub fn read(&self, space: &mut [u8], company: Company<'_>) -> io::Result<usize> {
        if company.is_there() {
            if let Some(n) = self.probe(space)? {
                return Ok(n);
            }
            company.let_go();
        }
        #[cfg(test)]
        faults::read();
        loop {
            match rustix::net::recv(&self.fd, &mut *space, RecvFlags::empty()) {
                Ok((_, n)) => {
                    #[cfg(test)]
                    faults::has_read();
                    return Ok(n);
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Reads what is there without waiting; `None` when there is nothing yet.
    pub fn probe(&self, space: &mut [u8]) -> io::Result<Option<usize>> {
        ask_kernel();
        loop {
            match rustix::net::recv(&self.fd, &mut *space, RecvFlags::DONTWAIT) {
                Ok((_, n)) => return Ok(Some(n)),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Whether a kept connection is still silent and open: anything else (data that nobody asked for, end of input, an
    /// error) makes it unusable (RFC 9112 section 9.2).
    pub fn is_quiet(&self) -> bool {
        let mut byte = [0; 1];
        ask_kernel();
        matches!(rustix::net::recv(&self.fd, &mut byte, RecvFlags::DONTWAIT | RecvFlags::PEEK), Err(Errno::AGAIN))
    }

    /// One write of all parts, waiting for room, alone: how many bytes the kernel took.
    pub fn write(&self, parts: &[IoSlice<'_>], company: Company<'_>) -> io::Result<usize> {
        let mut wait = !company.is_there();
        loop {
            let written = if wait { rustix::io::writev(&self.fd, parts) } else { self.write_what_fits(parts) };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => return Ok(n),
                Err(Errno::AGAIN) if !wait => {
                    company.let_go();
                    wait = true;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn write_what_fits(&self, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
        rustix::net::sendmsg(&self.fd, parts, &mut SendAncillaryBuffer::default(), SendFlags::DONTWAIT)
    }

    /// Writes what the kernel takes now, for canned refusals: the rest is given up.
    pub fn write_now(&self, bytes: &[u8]) {
        let _gone_or_full = rustix::net::send(&self.fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }

    /// No more will be written: the peer reads an end of input after what was.
    pub fn finish_writing(&self) {
        self.shutdown(Shutdown::Write);
    }

    /// Wakes a blocked read with an end of input. What the peer still sends is taken by the kernel.
    pub fn stop_reading(&self) {
        self.shutdown(Shutdown::Read);
    }

    /// Ends both directions now and wakes whoever is blocked.
    pub fn cut(&self) {
        self.shutdown(Shutdown::Both);
    }

    /// Ends both directions now with a reset, so that an answer that was cut short cannot look whole (RFC 9112 section 8),
    /// and wakes whoever is blocked.
    ///
    /// A shutdown would send a FIN first, which is a whole answer to who reads until the end. Dissolving the association
    /// (connect(2) with AF_UNSPEC) resets at once. Kernels 6.4 and 6.5 refuse it while somebody waits: those get the FIN,
    /// and the reset when the socket is closed. Unix sockets know no reset.
    pub fn abort(&self) {
        let _already_closed = sockopt::set_socket_linger(&self.fd, Some(Duration::ZERO));
        if !self.tcp || rustix::net::connect_unspec(&self.fd).is_err() {
            self.cut();
        }
    }

    fn shutdown(&self, how: Shutdown) {
        ask_kernel();
        // ENOTCONN: the peer was faster. There is nothing left to end.
        let _not_connected = rustix::net::shutdown(&self.fd, how);
    }

    /// How far away the peer is: the time of a round trip. A Unix socket, and a connection that has ended, are near.
    pub fn round_trip(&self) -> Duration {
        if self.tcp { sys::round_trip(self.fd.as_fd()).unwrap_or_default() } else { Duration::ZERO }
    }

    /// Bytes written that the peer has not acknowledged.
    pub fn unacknowledged(&self) -> io::Result<u64> {
        sys::unacknowledged(self.fd.as_fd())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_kept_connection_with_bytes_nobody_asked_for_is_not_quiet() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = Address::Tcp(listener.local_addr().expect("address"));
        let socket = Socket::connect(&address, Duration::from_secs(1)).expect("connect");
        let (mut peer, _) = listener.accept().expect("accept");
        assert!(socket.is_quiet());
        io::Write::write_all(&mut peer, b"x").expect("write");
        let mut byte = [0; 1];
        assert_eq!(rustix::net::recv(&socket.fd, &mut byte, RecvFlags::PEEK).expect("peek").1, 1);
        assert!(!socket.is_quiet());
    }

    #[test]
    fn an_aborted_connection_wakes_its_reader_and_resets_its_peer() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = Address::Tcp(listener.local_addr().expect("address"));
        let socket = std::sync::Arc::new(Socket::connect(&address, Duration::from_secs(1)).expect("connect"));
        let (mut peer, _) = listener.accept().expect("accept");
        let ours = std::sync::Arc::clone(&socket);
        let reader =
            std::thread::Builder::new().spawn(move || ours.read(&mut [0; 1], Company::NONE)).expect("a thread");
        socket.write(&[IoSlice::new(b"a part")], Company::NONE).expect("room");
        socket.abort();
        assert!(!matches!(reader.join().expect("no panic"), Ok(n) if n > 0));
        let mut all = Vec::new();
        let error = io::Read::read_to_end(&mut peer, &mut all).expect_err("no orderly end");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn a_refused_connection_is_an_error_and_not_a_wait() {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("address");
        let error = Socket::connect(&Address::Tcp(port), Duration::from_secs(5)).expect_err("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
