//! Tasks: one a session, on tokio's multi-thread runtime.
//!
//! Sockets are asked first and waited for only when they would block; tokio remembers what the kernel told, so a read that
//! came back short is not asked again. Kept backend connections stand in one stack a worker, each behind a lock that only
//! its own worker takes as long as it has some.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use layer7router::error::CloseReason;
use layer7router::http::forwarded::Peer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use variants::desk::Desk;
use variants::relay::{Next, Port, Relay};
use variants::site::Site;
use variants::socket;
use variants::start::{self, Start};
use variants::up::After;

/// How often one session may go from socket to socket before others get their turn.
const ROUNDS: usize = 64;

fn main() -> ExitCode {
    start::run(|start| run(&start).map_err(|error| error.to_string()))
}

fn run(start: &Start) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(start.threads)
        // A worker's queue holds 256 tasks: what is more goes through the one that all share.
        .max_io_events_per_tick(128)
        .max_io_events_per_busy_tick(16)
        .enable_io()
        .build()?;
    let listener = socket::listen(start.address, false)?;
    listener.set_nonblocking(true)?;
    let bound = listener.local_addr()?;
    let kept = Arc::new(Kept::new(&start.site, start.threads));
    let site = Arc::clone(&start.site);
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        // A task like any other: it spawns from a worker, not from this thread.
        let accepting = tokio::spawn(accept(listener, site, kept));
        start.ready(bound);
        accepting.await.map_err(io::Error::other)
    })
}

async fn accept(listener: TcpListener, site: Arc<Site>, kept: Arc<Kept>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                tokio::spawn(session(stream, peer, Arc::clone(&site), Arc::clone(&kept)));
            }
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

thread_local! {
    static DESK: RefCell<Option<Desk>> = const { RefCell::new(None) };
}

/// What the worker has that runs this now.
fn with_desk<T>(site: &Arc<Site>, work: impl FnOnce(&mut Desk) -> T) -> T {
    DESK.with_borrow_mut(|desk| work(desk.get_or_insert_with(|| Desk::new(Arc::clone(site)))))
}

/// Kept connections.
#[derive(Debug)]
struct Kept {
    /// By worker, by backend; the newest last.
    stacks: Vec<Vec<Mutex<Vec<TcpStream>>>>,
    max: usize,
}

impl Kept {
    fn new(site: &Site, workers: usize) -> Self {
        let one = || site.backends.iter().map(|_| Mutex::default()).collect();
        Self { stacks: (0..workers).map(|_| one()).collect(), max: site.kept_max }
    }

    fn own(&self) -> usize {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed);
        }
        OWN.with(|own| own % self.stacks.len())
    }

    /// The newest that is open and silent: of our own, else of another worker.
    fn take(&self, backend: usize) -> Option<TcpStream> {
        let own = self.own();
        for n in 0..self.stacks.len() {
            let stack = &self.stacks[(own + n) % self.stacks.len()][backend];
            loop {
                let Some(newest) = stack.lock().unwrap_or_else(PoisonError::into_inner).pop() else { break };
                // Asks the kernel only if it has told something.
                if newest.try_read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                    return Some(newest);
                }
            }
        }
        None
    }

    fn put(&self, backend: usize, stream: TcpStream) {
        let mut stack = self.stacks[self.own()][backend].lock().unwrap_or_else(PoisonError::into_inner);
        if stack.len() < self.max {
            stack.push(stream);
        }
    }
}

/// A socket in one poll of its task.
struct Polled<'a, 'c> {
    stream: &'a mut TcpStream,
    context: Context<'c>,
}

impl<'a, 'c> Polled<'a, 'c> {
    fn new(stream: &'a mut TcpStream, context: &Context<'c>) -> Self {
        Self { stream, context: Context::from_waker(context.waker()) }
    }
}

impl Port for Polled<'_, '_> {
    fn recv(&mut self, space: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(space);
        Pin::new(&mut *self.stream).poll_read(&mut self.context, &mut buf).map_ok(|()| buf.filled().len())
    }

    fn send(&mut self, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream).poll_write_vectored(&mut self.context, parts)
    }
}

async fn session(mut client: TcpStream, peer: SocketAddr, site: Arc<Site>, kept: Arc<Kept>) {
    let mut relay = Relay::new(Peer::from(peer));
    let mut connection: Option<(usize, TcpStream)> = None;
    loop {
        let next = poll_fn(|context| {
            with_desk(&site, |desk| {
                let mut backend = connection.as_mut().map(|(_, stream)| Polled::new(stream, context));
                match relay.run(desk, &mut Polled::new(&mut client, context), backend.as_mut(), ROUNDS) {
                    Next::Wait => {
                        relay.settle(&mut desk.shelf);
                        Poll::Pending
                    }
                    Next::Yield => {
                        context.waker().wake_by_ref();
                        Poll::Pending
                    }
                    next => Poll::Ready(next),
                }
            })
        })
        .await;
        match next {
            Next::Connect { backend, fresh } => {
                connection = if fresh { None } else { kept.take(backend).map(|stream| (backend, stream)) };
                if connection.is_some() {
                    relay.connected(true);
                    continue;
                }
                match TcpStream::connect(site.backends[backend]).await {
                    Ok(stream) => {
                        let _gone = stream.set_nodelay(true);
                        connection = Some((backend, stream));
                        relay.connected(false);
                    }
                    Err(_) => with_desk(&site, |desk| relay.not_connected(CloseReason::BackendRefused, desk)),
                }
            }
            Next::Release { keep } => {
                if let Some((backend, stream)) = connection.take().filter(|_| keep) {
                    kept.put(backend, stream);
                }
            }
            Next::End(After::Linger) => {
                socket::finish_writing(&client);
                // Not in the task itself: every session would have it.
                let mut dropped = vec![0; 4096];
                while poll_fn(|context| Polled::new(&mut client, context).recv(&mut dropped)).await.is_ok_and(|n| n > 0)
                {
                }
                return;
            }
            Next::End(After::Reset) => return socket::abort_on_close(&client),
            Next::End(_) => return,
            Next::Wait | Next::Yield => {}
        }
    }
}
