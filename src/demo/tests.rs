//! The promises of the demo origins, over real sockets; and of what they say, split everywhere.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use super::talk::OUTPUT_BYTES_ENOUGH;
use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

fn origin(number: usize) -> SocketAddr {
    origin_with(number, CONNECTIONS_MAX)
}

fn origin_with(number: usize, connections_max: usize) -> SocketAddr {
    let mut threads = Vec::new();
    let address = start_with(number, connections_max, &mut |name, body| {
        threads.push(name.clone());
        std::thread::Builder::new().name(name).stack_size(128 * 1024).spawn(body).map(drop)
    })
    .expect("an origin");
    assert_eq!(threads, [format!("demo-{number}")]);
    address
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn new(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).expect("a connection");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Self(BufReader::new(socket))
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("a write");
    }

    /// Up to the empty line.
    fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.0.read_line(&mut head).expect("a line"), 0, "{head:?}");
        }
        head
    }

    /// Head and body.
    fn answer(&mut self) -> (String, String) {
        let head = self.head();
        let mut body = vec![0; length(&head)];
        self.0.read_exact(&mut body).expect("a body");
        (head, String::from_utf8(body).expect("text"))
    }

    fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).expect("the end, no reset");
        rest
    }
}

fn length(head: &str) -> usize {
    let (_, after) = head.split_once("Content-Length: ").expect("a length");
    let (digits, _) = after.split_once('\r').expect("a line");
    digits.parse().expect("a number")
}

#[test]
fn an_answer_shows_who_by_which_route_and_each_field_in_order() {
    let mut client = Client::new(origin(7));
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Route: demo\r\nx-lower:  b \r\nX-Request-Id: i1\r\n\r\n");
    let (head, body) = client.answer();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nDate: "), "{head}");
    assert!(head.contains(" GMT\r\n") && head.contains("Content-Type: text/plain"));
    assert!(head.contains("X-Request-Id: i1\r\n") && !head.contains("Connection"));
    assert_eq!(body, "backend: demo-7\nroute: demo\nHost: a\nX-Route: demo\nx-lower: b\nX-Request-Id: i1\n");
    client.send(b"GET /again HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer().1, "backend: demo-7\nroute: -\nHost: a\n");
}

#[test]
fn pipelined_requests_are_answered_in_order_bodies_dropped() {
    let mut client = Client::new(origin(1));
    client.send(
        b"POST / HTTP/1.1\r\nHost: a\r\nN: 1\r\nContent-Length: 5\r\n\r\nGET /\
          PUT / HTTP/1.1\r\nHost: a\r\nN: 2\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: v\r\n\r\n\
          HEAD / HTTP/1.1\r\nHost: a\r\nN: 3\r\n\r\n\
          GET / HTTP/1.1\r\nHost: a\r\nN: 4\r\nConnection: close\r\n\r\n\
          GET /never HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert!(client.answer().1.contains("N: 1\n"));
    assert!(client.answer().1.contains("N: 2\n"));
    assert_eq!(length(&client.head()), "backend: demo-1\nroute: -\nHost: a\nN: 3\n".len());
    let (head, body) = client.answer();
    assert!(head.contains("Connection: close\r\n") && body.contains("N: 4\n"));
    assert_eq!(client.rest(), b"");
}

#[test]
fn a_request_in_pieces_is_one_request() {
    let mut client = Client::new(origin(1));
    for byte in b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n" {
        client.send(&[*byte]);
    }
    assert!(client.answer().1.starts_with("backend: demo-1\n"));
}

#[test]
fn who_expects_a_100_gets_it_before_the_body() {
    let mut client = Client::new(origin(1));
    client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send(b"ab");
    assert!(client.head().starts_with("HTTP/1.1 200 "));
}

#[test]
fn http_1_0_is_closed_unless_it_asks() {
    let mut client = Client::new(origin(1));
    client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert!(client.answer().0.contains("Connection: keep-alive\r\n"));
    client.send(b"GET / HTTP/1.0\r\n\r\n");
    assert!(client.answer().0.contains("Connection: close\r\n"));
    assert_eq!(client.rest(), b"");
}

#[test]
fn a_bad_request_is_answered_and_closed_even_while_it_still_arrives() {
    let address = origin(1);
    for bad in [
        &b"\x16\x03\x01"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /\n\n",
    ] {
        let mut client = Client::new(address);
        client.send(bad);
        client.send(&[b'x'; 50_000]);
        let text = String::from_utf8(client.rest()).expect("text");
        assert!(text.starts_with("HTTP/1.1 400 "), "{bad:?}: {text}");
        assert!(text.contains("Connection: close\r\n"));
    }
    let mut client = Client::new(address);
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ");
    client.send(&vec![b'x'; INPUT_BYTES_MAX]);
    assert!(client.rest().starts_with(b"HTTP/1.1 431 "));
}

#[test]
fn a_peer_that_reads_late_gets_every_answer() {
    const REQUESTS: usize = 40_000;
    let address = origin(1);
    let mut client = Client::new(address);
    let mut writer = client.0.get_ref().try_clone().expect("a second handle");
    let sender = std::thread::spawn(move || {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(1000));
        for _ in 0..REQUESTS {
            writer.write_all(request.as_bytes()).expect("a write");
        }
        writer.shutdown(std::net::Shutdown::Write).expect("a half-close");
    });
    // Another connection is served meanwhile.
    let mut other = Client::new(address);
    other.send(b"GET / HTTP/1.1\r\nHost: b\r\n\r\n");
    assert!(other.answer().1.contains("Host: b\n"));
    for _ in 0..REQUESTS {
        assert!(client.answer().1.contains("Host: a\n"));
    }
    assert_eq!(client.rest(), b"");
    sender.join().expect("all requests sent");
}

#[test]
fn many_connections_are_served_and_their_places_used_again() {
    let address = origin(1);
    for _ in 0..3 {
        let mut clients: Vec<Client> = (0..200).map(|_| Client::new(address)).collect();
        for client in &mut clients {
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        for client in &mut clients {
            assert!(client.answer().1.contains("Host: a\n"));
        }
    }
}

#[test]
fn over_the_limit_a_connection_waits_until_another_ends() {
    let address = origin_with(1, 2);
    let mut clients: Vec<Client> = (0..3).map(|_| Client::new(address)).collect();
    for client in &mut clients {
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    let mut third = clients.pop().expect("three");
    for client in &mut clients {
        client.answer();
    }
    let socket = third.0.get_ref();
    let soon = Some(Duration::from_millis(300));
    socket.set_read_timeout(soon).expect("a timeout");
    assert!(third.0.fill_buf().is_err(), "two at most");
    let socket = third.0.get_ref();
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    clients.pop();
    third.answer();
}

#[test]
fn a_peer_that_reads_nothing_is_not_read_from() {
    let (ours, mut peer) = UnixStream::pair().expect("a pair of sockets");
    peer.set_nonblocking(true).expect("a socket");
    let mut connection = Connection::new(ours.into());
    let mut scratch = vec![0; INPUT_BYTES_MAX];
    let request = [&b"GET / HTTP/1.1\r\nHost: a\r\nX: "[..], &[b'x'; 4000], b"\r\n\r\n"].concat();
    let mut requests = 0;
    // Until it waits for the peer to read, and then until the peer can write no more.
    let wants = loop {
        let wants = connection.advance(&mut scratch, "demo-1", b"now");
        if wants != Some(epoll::EventFlags::IN) {
            break wants;
        }
        peer.write_all(&request).expect("a write");
        requests += 1;
        assert!(requests < 10_000, "it gathers answers without end");
    };
    assert_eq!(wants, Some(epoll::EventFlags::OUT));
    assert!(connection.talk.unsent().len() < 2 * OUTPUT_BYTES_ENOUGH);
    peer.shutdown(std::net::Shutdown::Write).expect("a half-close");
    let mut answers = Vec::new();
    loop {
        let _all_there_is = peer.read_to_end(&mut answers);
        if connection.advance(&mut scratch, "demo-1", b"now").is_none() {
            break;
        }
    }
    drop(connection);
    peer.read_to_end(&mut answers).expect("the end");
    assert_eq!(answers.windows(9).filter(|w| w == b"HTTP/1.1 ").count(), requests);
}

#[test]
fn splits_change_nothing() {
    const REQUESTS: &[u8] = b"\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
        POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n\
        HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET bad HTTP/1.1\r\n\r\n";
    let said = |pieces: &[&[u8]]| {
        let mut talk = Talk::new();
        for piece in pieces {
            talk.receive(piece);
            talk.go_on("demo-1", b"now");
        }
        assert!(talk.is_over());
        talk.unsent().to_vec()
    };
    let whole = said(&[REQUESTS]);
    assert_eq!(whole.windows(9).filter(|w| w == b"HTTP/1.1 ").count(), 4);
    for at in 0..REQUESTS.len() {
        let (first, second) = REQUESTS.split_at(at);
        assert_eq!(said(&[first, second]), whole, "split at {at}");
    }
}
