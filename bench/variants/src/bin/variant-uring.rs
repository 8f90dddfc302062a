//! io_uring: a monoio runtime a thread, and a task a session.
//!
//! What can be asked for at once goes to the kernel at once: a request is written while its answer is being read already, and
//! the end of an answer while the client's next request is. The kernel gets buffers by ownership, so what leaves is put
//! together in one that goes with it: one copy, and one call for head and body.
//!
//! A thread accepts for all and gives each client to the runtime that has the fewest: the kernel's hash would leave one with
//! more than the others.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::{mem, thread};

use layer7router::answer::OwnAnswer;
use layer7router::error::CloseReason;
use layer7router::http::forwarded::Peer;
use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, OwnedReadHalf, OwnedWriteHalf, Splitable};
use monoio::net::TcpStream;
use monoio::{IoUringDriver, RuntimeBuilder};
use variants::bay::Bay;
use variants::desk::Desk;
use variants::down::{Down, Fault};
use variants::facts::Facts;
use variants::outgoing::{Outgoing, PARTS_MAX};
use variants::site::Site;
use variants::socket;
use variants::start::{self, Start};
use variants::up::{After, Flow, Turn, Up};

/// Places in a ring.
const ENTRIES: u32 = 4096;

type Reader = OwnedReadHalf<TcpStream>;
type Writer = OwnedWriteHalf<TcpStream>;

fn main() -> ExitCode {
    start::run(|start| run(&start).map_err(|error| error.to_string()))
}

fn run(start: &Start) -> io::Result<()> {
    let listener = socket::listen(start.address, false)?;
    let bound = listener.local_addr()?;
    let mut doors = Vec::new();
    for index in 0..start.threads {
        let (bell, rings) = UnixStream::pair()?;
        let door = Arc::new(Door { clients: AtomicUsize::new(0), inbox: Mutex::default(), bell });
        doors.push(Arc::clone(&door));
        let site = Arc::clone(&start.site);
        thread::Builder::new().name(format!("ring-{index}")).spawn(move || {
            // A ring belongs to the thread that made it.
            let runtime = RuntimeBuilder::<IoUringDriver>::new().with_entries(ENTRIES).uring_builder(uring());
            let ended = runtime.build().and_then(|mut runtime| runtime.block_on(serve(site, door, rings)));
            eprintln!("a runtime has ended: {ended:?}");
            std::process::exit(1);
        })?;
    }
    start.ready(bound);
    accept(&listener, &doors)
}

/// Work of the kernel's is done when the thread comes by itself, without an interrupt.
fn uring() -> io_uring::Builder {
    let mut builder = io_uring::IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun();
    builder
}

/// Where clients come in.
struct Door {
    clients: AtomicUsize,
    inbox: Mutex<Vec<(std::net::TcpStream, SocketAddr)>>,
    bell: UnixStream,
}

fn accept(listener: &TcpListener, doors: &[Arc<Door>]) -> io::Result<()> {
    loop {
        let Ok(client) = listener.accept() else {
            thread::yield_now();
            continue;
        };
        let Some(door) = doors.iter().min_by_key(|door| door.clients.load(Ordering::Relaxed)) else { continue };
        door.clients.fetch_add(1, Ordering::Relaxed);
        let mut inbox = door.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        inbox.push(client);
        let alone = inbox.len() == 1;
        drop(inbox);
        if alone {
            (&door.bell).write_all(&[0])?;
        }
    }
}

/// What a thread has for all of its sessions.
struct Local {
    site: Arc<Site>,
    desk: RefCell<Desk>,
    /// Kept connections by backend, the newest last.
    idle: RefCell<Vec<Vec<Backend>>>,
    /// Buffers for what leaves.
    spare: RefCell<Vec<Vec<u8>>>,
    door: Arc<Door>,
}

struct Backend {
    reader: Reader,
    writer: Writer,
}

async fn serve(site: Arc<Site>, door: Arc<Door>, rings: UnixStream) -> io::Result<()> {
    let idle = RefCell::new(site.backends.iter().map(|_| Vec::new()).collect());
    let (desk, spare) = (RefCell::new(Desk::new(Arc::clone(&site))), RefCell::default());
    let local = Rc::new(Local { site, desk, idle, spare, door });
    let mut rings = monoio::net::UnixStream::from_std(rings)?;
    let mut ring = vec![0; 64];
    loop {
        let rung;
        (rung, ring) = rings.read(ring).await;
        if rung? == 0 {
            return Err(io::Error::other("nobody accepts any more"));
        }
        let arrived = mem::take(&mut *local.door.inbox.lock().unwrap_or_else(PoisonError::into_inner));
        for (client, peer) in arrived {
            let client = TcpStream::from_std(client)?;
            let local = Rc::clone(&local);
            monoio::spawn(async move {
                Session::new(client, peer, &local).run().await;
                local.door.clients.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }
}

struct Session<'a> {
    local: &'a Local,
    peer: Peer,
    reader: Reader,
    writer: Writer,
    up: Up,
    down: Down,
}

impl<'a> Session<'a> {
    fn new(client: TcpStream, peer: SocketAddr, local: &'a Local) -> Self {
        let (reader, writer) = client.into_split();
        Self { local, peer: Peer::from(peer), reader, writer, up: Up::default(), down: Down::default() }
    }

    async fn run(mut self) {
        let after = loop {
            let turn = self.up.turn(&mut self.local.desk.borrow_mut(), self.peer, &mut self.down.out);
            let after = match turn {
                Turn::Read => {
                    self.settle();
                    match receive(&mut self.up.bay, &mut self.reader, self.local).await {
                        Ok(0) => self.up.end(),
                        Ok(_) => {}
                        Err(_) => return,
                    }
                    After::Keep
                }
                Turn::End => return,
                Turn::Answer(after) => after,
                Turn::Forward(backend, facts) => self.exchange(backend, &facts).await,
            };
            if after != After::Reset && write_all(&mut self.down, &mut self.writer, self.local).await.is_err() {
                return;
            }
            if after != After::Keep {
                break after;
            }
        };
        match after {
            After::Reset => abort_on_close(self.reader, self.writer),
            After::Linger => {
                let _gone = self.writer.shutdown().await;
                let mut dropped = vec![0; 4096];
                loop {
                    let read;
                    (read, dropped) = self.reader.read(dropped).await;
                    if !read.is_ok_and(|n| n > 0) {
                        return;
                    }
                }
            }
            After::Keep | After::Close => {}
        }
    }

    fn settle(&mut self) {
        let shelf = &mut self.local.desk.borrow_mut().shelf;
        self.up.bay.settle(shelf);
        self.down.bay.settle(shelf);
    }

    /// What is left of the answer is in `down.out`.
    async fn exchange(&mut self, index: usize, facts: &Facts) -> After {
        let mut fresh = false;
        loop {
            let kept = if fresh { None } else { self.local.idle.borrow_mut()[index].pop() };
            let reused = kept.is_some();
            let connected = match kept {
                Some(kept) => Ok(kept),
                None => connect(self.local.site.backends[index]).await,
            };
            let Ok(mut backend) = connected else {
                return self.fail(facts, Fault { reason: CloseReason::BackendRefused, answered: false, begun: false });
            };
            self.down.begin();
            match self.relay(&mut backend, facts).await {
                Ok(whole) => {
                    let keep_backend = whole && self.down.keeps_backend();
                    let keep_client = whole && self.down.keeps_client();
                    if keep_backend {
                        let mut idle = self.local.idle.borrow_mut();
                        if idle[index].len() < self.local.site.kept_max {
                            idle[index].push(backend);
                        }
                    }
                    if !keep_client {
                        return if whole { self.up.after(false, facts) } else { After::Linger };
                    }
                    // The last of it leaves while the next request is awaited; one that is here already is not.
                    if self.up.bay.is_empty() && !self.up.has_ended() && !self.down.out.is_empty() {
                        let read = {
                            let mut sent = pin!(write_all(&mut self.down, &mut self.writer, self.local));
                            let mut read = pin!(receive(&mut self.up.bay, &mut self.reader, self.local));
                            both(sent.as_mut(), read.as_mut()).await
                        };
                        match read {
                            (Ok(()), Ok(0)) => self.up.end(),
                            (Ok(()), Ok(_)) => {}
                            _ => return After::Close,
                        }
                    }
                    return After::Keep;
                }
                Err(Fault { reason: CloseReason::BackendClosed, answered: false, .. })
                    if reused && facts.idempotent && self.up.is_bare() =>
                {
                    self.up.out.again();
                    fresh = true;
                }
                Err(fault) => return self.fail(facts, fault),
            }
        }
    }

    fn fail(&mut self, facts: &Facts, fault: Fault) -> After {
        if fault.begun {
            return After::Reset;
        }
        let keep = facts.keep && self.up.is_whole();
        self.down.begin();
        let own = OwnAnswer::failure(fault.reason, &facts.asker.id);
        self.local.desk.borrow_mut().put_answer(&own, &facts.asker, keep, &mut self.down.out.head);
        self.down.out.send_head();
        if keep { After::Keep } else { After::Linger }
    }

    /// Until all of the answer has been read, and all but what is in `down.out` was sent. Whether all of the request was.
    async fn relay(&mut self, backend: &mut Backend, facts: &Facts) -> Result<bool, Fault> {
        let Self { local, reader, writer, up, down, .. } = self;
        let local: &Local = local;
        let whole = std::cell::Cell::new(up.is_whole());
        let mut sent = None;
        {
            let mut request = pin!(send_request(up, reader, &mut backend.writer, local, &whole));
            let mut answer = pin!(read_answer(down, &mut backend.reader, writer, local, facts, &whole));
            poll_fn(|context| {
                if sent.is_none()
                    && let Poll::Ready(outcome) = request.as_mut().poll(context)
                {
                    if let Err(reason) = outcome {
                        return Poll::Ready(Err(Fault { reason, answered: true, begun: false }));
                    }
                    sent = Some(outcome);
                }
                answer.as_mut().poll(context)
            })
            .await
        }
        .map_err(|fault| Fault { begun: fault.begun || down.has_begun(), ..fault })?;
        Ok(sent == Some(Ok(true)))
    }
}

/// Both at once, until both are done.
async fn both<A, B>(mut a: impl Future<Output = A> + Unpin, mut b: impl Future<Output = B> + Unpin) -> (A, B) {
    let (mut first, mut second) = (None, None);
    poll_fn(|context| {
        if first.is_none()
            && let Poll::Ready(done) = std::pin::Pin::new(&mut a).poll(context)
        {
            first = Some(done);
        }
        if second.is_none()
            && let Poll::Ready(done) = std::pin::Pin::new(&mut b).poll(context)
        {
            second = Some(done);
        }
        if first.is_some() && second.is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    match (first, second) {
        (Some(first), Some(second)) => (first, second),
        _ => unreachable!("it is ready when both are"),
    }
}

async fn connect(address: SocketAddr) -> io::Result<Backend> {
    let stream = TcpStream::connect_addr(address).await?;
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    Ok(Backend { reader, writer })
}

async fn receive(bay: &mut Bay, reader: &mut Reader, local: &Local) -> io::Result<usize> {
    let (slice, from) = bay.lend(&mut local.desk.borrow_mut().shelf);
    let (read, slice) = reader.read(slice.slice_mut(from..)).await;
    bay.put_back(slice.into_inner(), *read.as_ref().unwrap_or(&0));
    read
}

/// All that is in `out`, in one call if the kernel takes it.
async fn write_out(out: &mut Outgoing, bay: &mut Bay, writer: &mut Writer, local: &Local) -> io::Result<()> {
    let mut bytes = local.spare.borrow_mut().pop().unwrap_or_default();
    bytes.clear();
    let mut room = [IoSlice::new(&[]); PARTS_MAX];
    out.parts(bay, &mut room).iter().for_each(|part| bytes.extend_from_slice(part));
    // All of it is in `bytes`: the slice may serve another session while this leaves.
    out.took(bytes.len(), bay);
    bay.settle(&mut local.desk.borrow_mut().shelf);
    let (written, bytes) = writer.write_all(bytes).await;
    local.spare.borrow_mut().push(bytes);
    written.map(drop)
}

async fn write_all(down: &mut Down, writer: &mut Writer, local: &Local) -> io::Result<()> {
    if !down.out.is_empty() {
        write_out_down(down, writer, local).await?;
    }
    Ok(())
}

async fn write_out_down(down: &mut Down, writer: &mut Writer, local: &Local) -> io::Result<()> {
    down.tells();
    write_out(&mut down.out, &mut down.bay, writer, local).await
}

/// Whether the backend took all of it; where it did not, its answer says more than we could.
async fn send_request(
    up: &mut Up,
    reader: &mut Reader,
    writer: &mut Writer,
    local: &Local,
    whole: &std::cell::Cell<bool>,
) -> Result<bool, CloseReason> {
    loop {
        let flow = up.pump().map_err(CloseReason::Refused)?;
        whole.set(up.is_whole());
        match flow {
            Flow::Done => return Ok(true),
            Flow::Write => {
                if write_out(&mut up.out, &mut up.bay, writer, local).await.is_err() {
                    return Ok(false);
                }
            }
            Flow::Read => match receive(&mut up.bay, reader, local).await {
                Ok(0) => up.end(),
                Ok(_) => {}
                Err(_) => return Err(CloseReason::ClientGone),
            },
        }
    }
}

async fn read_answer(
    down: &mut Down,
    reader: &mut Reader,
    writer: &mut Writer,
    local: &Local,
    facts: &Facts,
    whole: &std::cell::Cell<bool>,
) -> Result<(), Fault> {
    loop {
        match down.pump(&local.site, facts, whole.get())? {
            Flow::Done => return Ok(()),
            Flow::Write if down.is_whole() => return Ok(()),
            Flow::Write => {
                if write_out_down(down, writer, local).await.is_err() {
                    return Err(Fault { reason: CloseReason::ClientGone, answered: true, begun: true });
                }
            }
            Flow::Read => match receive(&mut down.bay, reader, local).await {
                Ok(n) if n > 0 => {}
                _ => down.end(),
            },
        }
    }
}

/// The client gets a reset.
fn abort_on_close(reader: Reader, writer: Writer) {
    use std::os::fd::{AsRawFd, BorrowedFd};
    if let Ok(stream) = reader.reunite(writer) {
        #[expect(unsafe_code, reason = "monoio's sockets do not lend their descriptor in any other way")]
        // SAFETY: the stream owns it, and outlives the borrow.
        let descriptor = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
        socket::abort_on_close(&descriptor);
    }
}
