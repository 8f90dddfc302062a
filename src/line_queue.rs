//! Lines on their way to a file or a pipe: one bounded buffer, written by a thread of its own that never slows its authors.
//!
//! Authors copy whole lines in under a short lock. The writer swaps the buffer for an empty one and writes it in one call.
//! When the disk is full or nobody reads the pipe, lines are dropped and counted, and a line that was written in part is
//! ended before the next. Both logs are such queues; what a line says is theirs.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::stdio;
use crate::sync::{AtomicU64, Condvar, Mutex, MutexGuard, Ordering};

/// Bytes that may wait for the writer.
const PENDING_MAX: usize = 1024 * 1024;
/// The writer gathers lines this long before it writes them.
const GATHER: Duration = Duration::from_millis(10);
/// No more than one complaint about lost lines in this time.
const COMPLAIN: Duration = Duration::from_secs(60);

/// Where lines go.
#[derive(Debug)]
pub enum Output {
    /// They are not wanted.
    Nowhere,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, or a pipe with a name.
    File(File),
}

/// The queue.
#[derive(Debug, Default)]
pub struct LineQueue {
    state: Mutex<State>,
    /// There is something to write, or another output, or an end.
    wake: Condvar,
    /// All that was pending has been written.
    written: Condvar,
    dropped: AtomicU64,
    complaint: Mutex<Complaint>,
}

/// What is to be said about lost lines.
#[derive(Debug, Default)]
struct Complaint {
    /// Why the last write failed.
    error: Option<io::Error>,
    /// Lines that were dropped when it was last said, and when that was.
    told: u64,
    at: Option<Instant>,
}

#[derive(Debug, Default)]
struct State {
    pending: Vec<u8>,
    /// The output of all lines but the first so many bytes of `pending`.
    next: Option<(usize, Output)>,
    writing: bool,
    stopped: bool,
}

impl Output {
    /// Opens a path for appending. A pipe that nobody reads is an error, not a wait.
    pub fn open(path: &Path) -> io::Result<Self> {
        let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().create(true).append(true).custom_flags(nonblocking).open(path)?;
        let flags = rustix::fs::fcntl_getfl(&file)?;
        rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
        Ok(Self::File(file))
    }

    /// Writes all of it, or says how much was written before it failed.
    fn write(&self, bytes: &[u8]) -> Result<(), (usize, Errno)> {
        let (stdout, stderr) = (stdio::stdout(), stdio::stderr());
        let fd = match self {
            Self::Nowhere => return Ok(()),
            // Not through the library's buffer: it does not say how much of a batch is out.
            Self::Stdout => stdout.as_fd(),
            Self::Stderr => stderr.as_fd(),
            Self::File(file) => file.as_fd(),
        };
        let mut done = 0;
        while done < bytes.len() {
            match rustix::io::write(fd, &bytes[done..]) {
                // Nothing known does this to who asks for more than nothing.
                Ok(0) => return Err((done, Errno::IO)),
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(errno) => return Err((done, errno)),
            }
        }
        Ok(())
    }
}

impl LineQueue {
    /// Takes whole lines, or drops and counts them. Never waits for a disk.
    pub fn append(&self, lines: &[u8]) {
        if !self.put(self.state.lock(), lines) {
            self.drop_lines(lines);
        }
    }

    /// The same for who may have the queue locked: whether it took them.
    pub fn append_within(&self, lines: &[u8], limit: Duration) -> bool {
        self.state.try_lock_for(limit).is_some_and(|state| self.put(state, lines))
    }

    fn put(&self, mut state: MutexGuard<'_, State>, lines: &[u8]) -> bool {
        let first = state.pending.is_empty();
        let fits = state.pending.len() + lines.len() <= PENDING_MAX;
        if fits {
            state.pending.extend_from_slice(lines);
        }
        drop(state);
        if fits && first {
            self.wake.notify_one();
        }
        fits
    }

    fn drop_lines(&self, lines: &[u8]) {
        let count = lines.iter().filter(|&&byte| byte == b'\n').count();
        self.dropped.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Lines dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// From the next line on, another output: what is pending belongs to the old one.
    pub fn aim(&self, output: Output) {
        let mut state = self.state.lock();
        let before = state.next.as_ref().map_or(state.pending.len(), |(before, _)| *before);
        let overtaken = state.next.replace((before, output));
        drop(state);
        self.wake.notify_one();
        // Outside of the lock: it may close a file.
        drop(overtaken);
    }

    /// Ends the writer, after what is pending.
    pub fn stop(&self) {
        self.state.lock().stopped = true;
        self.wake.notify_one();
    }

    /// Waits until all that was appended is written: whether it was, in time.
    pub fn flush(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = self.state.lock();
        while !state.pending.is_empty() || state.writing || state.next.is_some() {
            if self.written.wait_until(&mut state, deadline).timed_out() {
                return false;
            }
        }
        true
    }

    /// What there is to say about lost lines, if there is and it was not said a moment ago.
    pub fn complaint(&self) -> Option<String> {
        let dropped = self.dropped();
        let mut complaint = self.complaint.lock();
        let lost = dropped - complaint.told;
        if lost == 0 || complaint.at.is_some_and(|at| at.elapsed() < COMPLAIN) {
            return None;
        }
        (complaint.told, complaint.at) = (dropped, Some(Instant::now()));
        let why =
            complaint.error.take().map_or("it is not read as fast as it is written".into(), |error| error.to_string());
        Some(format!("{lost} lines are lost: {why}"))
    }

    /// Whether all of them are written. `torn`: the output ends in the middle of a line.
    fn write(&self, output: &Output, lines: &[u8], torn: &mut bool) -> bool {
        if lines.is_empty() {
            return true;
        }
        let ended = if *torn { output.write(b"\n").map_err(|(_, errno)| (0, errno)) } else { Ok(()) };
        *torn &= ended.is_err();
        if let Err((done, errno)) = ended.and_then(|()| output.write(lines)) {
            *torn |= lines[..done].last().is_some_and(|&byte| byte != b'\n');
            self.complaint.lock().error = Some(errno.into());
            self.drop_lines(&lines[done..]);
            return false;
        }
        true
    }

    /// The writer's thread.
    pub fn run(&self) {
        self.run_and(|| {});
    }

    /// The same, and what is to be done each time that lines were written and none was lost.
    pub fn run_and(&self, when_written: impl Fn()) {
        let mut output = Output::Nowhere;
        let mut batch = Vec::with_capacity(PENDING_MAX);
        let mut torn = false;
        self.state.lock().pending.reserve(PENDING_MAX);
        loop {
            let mut state = self.state.lock();
            state.writing = false;
            self.written.notify_all();
            while state.pending.is_empty() && state.next.is_none() && !state.stopped {
                self.wake.wait(&mut state);
            }
            let stopped = state.stopped;
            std::mem::swap(&mut state.pending, &mut batch);
            let next = state.next.take();
            state.writing = true;
            drop(state);
            let before = next.as_ref().map_or(batch.len(), |(before, _)| *before);
            let (old, new) = batch.split_at(before);
            let mut written = self.write(&output, old, &mut torn);
            let switched = next.is_some();
            if let Some((_, next)) = next {
                output = next;
                torn = false;
                written = self.write(&output, new, &mut torn);
            }
            batch.clear();
            if written {
                when_written();
            }
            if stopped && !switched {
                self.state.lock().writing = false;
                self.written.notify_all();
                return;
            }
            if !stopped {
                std::thread::sleep(GATHER);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Arc;
    use std::io::Read;

    fn pipe() -> (File, Output) {
        let (theirs, ours) = rustix::pipe::pipe().expect("a pipe");
        (File::from(theirs), Output::File(File::from(ours)))
    }

    fn writer(queue: &Arc<LineQueue>) -> std::thread::JoinHandle<()> {
        let queue = Arc::clone(queue);
        std::thread::Builder::new().spawn(move || queue.run()).expect("a thread")
    }

    #[test]
    fn lines_go_to_the_output_of_their_time() {
        let queue = Arc::new(LineQueue::default());
        let ((mut first, one), (mut second, two)) = (pipe(), pipe());
        queue.aim(one);
        let writer = writer(&queue);
        assert!(queue.flush(Duration::from_secs(10)));
        queue.append(b"a\n");
        queue.aim(two);
        assert!(queue.flush(Duration::from_secs(10)));
        queue.append(b"b\n");
        queue.stop();
        writer.join().expect("no panic");
        let mut text = String::new();
        first.read_to_string(&mut text).expect("closed");
        assert_eq!(text, "a\n");
        text.clear();
        second.read_to_string(&mut text).expect("closed");
        assert_eq!(text, "b\n");
    }

    #[test]
    fn nobody_who_appends_waits_for_a_pipe_that_nobody_reads() {
        let queue = Arc::new(LineQueue::default());
        let (theirs, output) = pipe();
        queue.aim(output);
        let writer = writer(&queue);
        let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
        for _ in 0..3 * 1024 {
            queue.append(&line);
        }
        assert!(queue.dropped() >= 900, "{}", queue.dropped());
        assert!(!queue.flush(Duration::from_millis(1)));
        drop(theirs);
        queue.stop();
        writer.join().expect("no panic");
    }

    #[test]
    fn who_holds_the_queue_itself_is_told_that_it_is_locked() {
        let queue = LineQueue::default();
        let held = queue.state.lock();
        assert!(!queue.append_within(b"lost\n", Duration::from_millis(1)));
        drop(held);
        assert!(queue.append_within(b"kept\n", Duration::from_millis(1)));
        assert_eq!(queue.state.lock().pending, b"kept\n");
    }

    #[test]
    fn a_full_disk_is_counted_and_complained_of_once_a_minute() {
        let queue = Arc::new(LineQueue::default());
        queue.aim(Output::open(Path::new("/dev/full")).expect("/dev/full"));
        let writer = writer(&queue);
        let lose = || {
            queue.append(b"lost\nlost\n");
            assert!(queue.flush(Duration::from_secs(10)));
        };
        assert_eq!(queue.complaint(), None);
        lose();
        assert_eq!(queue.complaint().as_deref(), Some("2 lines are lost: No space left on device (os error 28)"));
        for _ in 0..3 {
            lose();
            assert_eq!(queue.complaint(), None);
        }
        assert_eq!(queue.dropped(), 8);
        // A minute later.
        queue.complaint.lock().at = Instant::now().checked_sub(COMPLAIN);
        assert_eq!(queue.complaint().as_deref(), Some("6 lines are lost: No space left on device (os error 28)"));
        queue.complaint.lock().at = None;
        assert_eq!(queue.complaint(), None, "nothing was lost since");
        queue.stop();
        writer.join().expect("no panic");
    }

    #[test]
    fn a_line_that_was_written_in_part_is_ended_before_the_next() {
        let (theirs, ours) = rustix::pipe::pipe().expect("a pipe");
        // As a disk that is full in the middle of a batch: a page is taken, then an error.
        rustix::pipe::fcntl_setpipe_size(&ours, 4096).expect("a size");
        rustix::io::ioctl_fionbio(&ours, true).expect("a flag");
        let (queue, output) = (LineQueue::default(), Output::File(File::from(ours)));
        let (mut theirs, mut torn) = (File::from(theirs), false);
        let line = [[b'x'; 999].as_slice(), b"\n"].concat();
        queue.write(&output, &line.repeat(8), &mut torn);
        assert_eq!((torn, queue.dropped()), (true, 4), "four and a part of the fifth");
        queue.write(&output, &line, &mut torn);
        assert_eq!((torn, queue.dropped()), (true, 5));
        let mut page = [0; 4096];
        theirs.read_exact(&mut page).expect("a page");
        queue.write(&output, b"whole\n", &mut torn);
        assert!(!torn);
        let mut end = [0; 7];
        theirs.read_exact(&mut end).expect("the next line");
        assert_eq!(&end, b"\nwhole\n");
    }

    #[test]
    fn a_line_that_was_written_in_part_is_not_ended_in_the_next_file() {
        let queue = Arc::new(LineQueue::default());
        let (first, ours) = rustix::pipe::pipe().expect("a pipe");
        rustix::pipe::fcntl_setpipe_size(&ours, 4096).expect("a size");
        rustix::io::ioctl_fionbio(&ours, true).expect("a flag");
        queue.aim(Output::File(File::from(ours)));
        let writer = writer(&queue);
        queue.append(&[[b'x'; 999].as_slice(), b"\n"].concat().repeat(8));
        assert!(queue.flush(Duration::from_secs(10)));
        assert_eq!(queue.dropped(), 4, "four and a part of the fifth");
        let (mut second, two) = pipe();
        queue.aim(two);
        queue.append(b"whole\n");
        queue.stop();
        writer.join().expect("no panic");
        let mut text = String::new();
        second.read_to_string(&mut text).expect("closed");
        assert_eq!(text, "whole\n");
        drop(first);
    }

    #[test]
    fn a_named_pipe_without_a_reader_is_an_error() {
        let path = std::env::temp_dir().join(format!("l7r-fifo-{}", std::process::id()));
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).expect("a fifo");
        let opened = Output::open(&path);
        std::fs::remove_file(&path).expect("ours");
        assert!(opened.is_err());
    }
}
