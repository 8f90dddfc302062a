//! The scripted client.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::ops::{Deref, DerefMut};
use std::os::unix::net::UnixStream;

use super::DEADLINE;
use super::message::Response;
use super::peer::{Peer, Wire};

/// A connection to the router. Everything a [`Peer`] can do, and reading responses.
#[derive(Debug)]
pub struct Client(Peer);

impl Client {
    /// `127.0.0.1:80`, `[::1]:80` or `unix:/path`.
    #[track_caller]
    pub fn connect(address: &str) -> Self {
        let wire = match address.strip_prefix("unix:") {
            Some(path) => UnixStream::connect(path).map(Wire::Unix),
            None => TcpStream::connect_timeout(&address.parse().expect("an address"), DEADLINE).map(Wire::Tcp),
        };
        match wire {
            Ok(wire) => Self(Peer::new(wire, "client")),
            Err(e) => panic!("client: connect to {address}: {e}"),
        }
    }

    /// From another address of this machine: 127.0.0.2 and its like.
    #[track_caller]
    pub fn connect_from(from: IpAddr, address: &str) -> Self {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
        let to: SocketAddr = address.parse().expect("an address");
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("socket");
        bind(&socket, &SocketAddr::new(from, 0)).expect("bind");
        connect(&socket, &to).expect("connect");
        Self(Peer::new(Wire::Tcp(TcpStream::from(socket)), "client"))
    }

    /// The whole response to a request that was not HEAD.
    #[track_caller]
    pub fn read_response(&mut self) -> Response {
        self.read_response_to("GET")
    }

    #[track_caller]
    pub fn read_response_to(&mut self, method: &str) -> Response {
        let mut response = self.read_response_head(method);
        (response.body, response.trailers) = self.read_body(response.end);
        response
    }

    /// Sends a whole request, reads the whole response.
    #[track_caller]
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Response {
        self.send(request);
        self.read_response()
    }

    /// `GET path`, as a proxy asks for a client of its own.
    #[track_caller]
    pub fn get_for(&mut self, client: &str, path: &str) -> Response {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\n\r\n"))
    }

    /// `GET path` with nothing but a Host.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Response {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: example.test\r\n\r\n"))
    }
}

impl Client {
    pub fn close(self) {
        self.0.close();
    }

    /// Closes with a RST.
    pub fn reset(self) {
        self.0.reset();
    }
}

impl Deref for Client {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.0
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Peer {
        &mut self.0
    }
}

impl From<Client> for Peer {
    fn from(client: Client) -> Peer {
        client.0
    }
}

/// A client whose kernel holds so little for it that it tells of room in steps of a kilobyte or two, and takes no more of an
/// answer than it reads.
#[track_caller]
pub fn connect_with_small_buffer(address: &str) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};
    let to: SocketAddr = address.parse().expect("an address");
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("socket");
    // Before it connects: the first window is told then.
    sockopt::set_socket_recv_buffer_size(&socket, 4096).expect("SO_RCVBUF");
    connect(&socket, &to).expect("connect");
    TcpStream::from(socket)
}
