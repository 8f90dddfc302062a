//! The program's own log: one record is one line, whatever a peer put into it.
//!
//! Not here: what is worth a line (its author says), the access log, which has its own writer and never passes here,
//! and what SIGUSR1 is (the control loop calls [`LogHandle::reopen`]).
//!
//! ```text
//! log! ── Escaped (control characters, length) ── simplelog (time, level) ── LineWriter (whole lines) ── Sink (reopens)
//! ```

use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, LineWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use log::{LevelFilter, Log, Metadata, Record};
use parking_lot::Mutex;
use simplelog::{Config, ConfigBuilder, LevelPadding, WriteLogger};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::config::model::LogFile;

/// Bytes of a message; what is longer is cut, and says so.
const MESSAGE_BYTES_MAX: usize = 8 * 1024;
/// Bytes gathered until they are a line: room for the longest message, escapes included, and what stands before it.
const LINE_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 1024;
/// Bytes of the longest escape: `\u{2029}`.
const ESCAPE_BYTES_MAX: usize = 8;

const CUT: &str = " [cut]";

/// RFC 3339 in UTC, to the millisecond. The local offset cannot be asked for safely in a process with threads.
const TIME: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// What may be done to the log once it runs.
#[derive(Debug, Clone)]
pub struct LogHandle {
    sink: Sink,
}

impl LogHandle {
    /// Opens the path again, as whoever rotated the file expects. On an error the old file stays in use. For stderr there is
    /// nothing to do.
    pub fn reopen(&self) -> io::Result<()> {
        self.sink.reopen()
    }

    /// What is worth a line from now on.
    pub fn set_level(&self, level: LevelFilter) {
        log::set_max_level(level);
    }
}

/// Begins the log. A process has one: a second call is an error of kind `AlreadyExists`, and changes nothing.
pub fn start(target: &LogFile, level: LevelFilter) -> io::Result<LogHandle> {
    let sink = Sink::open(target)?;
    log::set_boxed_logger(Box::new(Escaped::over(sink.clone())))
        .map_err(|e| io::Error::new(io::ErrorKind::AlreadyExists, e))?;
    log::set_max_level(level);
    Ok(LogHandle { sink })
}

/// Makes each message one line before simplelog sees it: behind it, nobody could tell a peer's line end from ours. It also
/// lets the message's own code run before simplelog takes its lock, which a panic would poison for good.
struct Escaped {
    inner: Box<WriteLogger<LineWriter<Sink>>>,
}

impl Escaped {
    /// Built at Trace: a logger's own level cannot be changed later, `log::set_max_level` can.
    fn over(sink: Sink) -> Self {
        let lines = LineWriter::with_capacity(LINE_BYTES_MAX, sink);
        Self { inner: WriteLogger::new(LevelFilter::Trace, config(), lines) }
    }
}

impl Log for Escaped {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let message = match record.args().as_str() {
            Some(literal) => Cow::Borrowed(literal),
            None => Cow::Owned(record.args().to_string()),
        };
        let message = escape(&message);
        self.inner.log(&Record::builder().metadata(record.metadata().clone()).args(format_args!("{message}")).build());
    }

    fn flush(&self) {
        self.inner.flush();
    }
}

/// Time and level, and for those who look for a fault also the module. Threads and places in the source: never.
fn config() -> Config {
    ConfigBuilder::new()
        .set_time_format_custom(TIME)
        .set_level_padding(LevelPadding::Right)
        .set_target_level(LevelFilter::Debug)
        .set_thread_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .build()
}

/// The message on one line, with nothing in it that a terminal or a reader of lines obeys. A backslash stays as it is:
/// this is for eyes, not for reading back.
fn escape(message: &str) -> Cow<'_, str> {
    let obeyed = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    if message.len() <= MESSAGE_BYTES_MAX && !message.contains(obeyed) {
        return Cow::Borrowed(message);
    }
    let mut line = String::with_capacity(message.len().min(MESSAGE_BYTES_MAX));
    for c in message.chars() {
        if line.len() + ESCAPE_BYTES_MAX + CUT.len() > MESSAGE_BYTES_MAX {
            line.push_str(CUT);
            break;
        }
        if obeyed(c) {
            // Cannot fail: a String takes everything.
            let _ = write!(line, "{}", c.escape_default());
        } else {
            line.push(c);
        }
    }
    Cow::Owned(line)
}

/// Where whole lines go. A line that cannot be written is lost: there is nobody left to tell, and a full disk must not
/// stop a session.
#[derive(Debug, Clone)]
struct Sink {
    /// `None` is stderr.
    path: Option<PathBuf>,
    /// `None` is stderr. The lock is held for a clone or a swap, never across a write.
    file: Arc<Mutex<Option<Arc<File>>>>,
}

impl Sink {
    fn open(target: &LogFile) -> io::Result<Self> {
        let (path, file) = match target {
            LogFile::Stderr => (None, None),
            LogFile::Path(path) => (Some(path.clone()), Some(Arc::new(append_to(path)?))),
        };
        Ok(Self { path, file: Arc::new(Mutex::new(file)) })
    }

    fn reopen(&self) -> io::Result<()> {
        if let Some(path) = &self.path {
            let new = Arc::new(append_to(path)?);
            let old = self.file.lock().replace(new);
            drop(old);
        }
        Ok(())
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let file = self.file.lock().clone();
        let _lost = match file {
            Some(file) => (&*file).write_all(bytes),
            None => io::stderr().lock().write_all(bytes),
        };
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).open(path)
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixDatagram;

    use log::Level;

    use super::*;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("l7r-log-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).expect("a directory for the test");
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn write_line(logger: &Escaped, level: Level, message: &str) {
        // Past `enabled`: other tests of this process set the level.
        logger
            .inner
            .log(&Record::builder().level(level).target("l7r").args(format_args!("{}", escape(message))).build());
    }

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).expect("a log file")
    }

    #[test]
    fn a_peer_cannot_forge_a_line() {
        assert_eq!(
            escape("a\r\n2026 [INFO ] b\u{1b}[2J\u{85}\u{2028}\0\u{7f}"),
            "a\\r\\n2026 [INFO ] b\\u{1b}[2J\\u{85}\\u{2028}\\u{0}\\u{7f}"
        );
        assert!(matches!(escape("plain, naïve"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_long_message_is_cut_and_says_so() {
        let whole = "é".repeat(MESSAGE_BYTES_MAX / 2);
        assert_eq!(escape(&whole), whole);
        for long in ["é".repeat(MESSAGE_BYTES_MAX), "\n".repeat(5_000_000)] {
            let line = escape(&long);
            assert!(line.ends_with(CUT) && line.len() <= MESSAGE_BYTES_MAX);
        }
    }

    #[test]
    fn a_line_begins_with_time_and_level() {
        let directory = Directory::new("format");
        let path = directory.0.join("log");
        let logger = Escaped::over(Sink::open(&LogFile::Path(path.clone())).expect("an open file"));
        write_line(&logger, Level::Info, "ready");
        write_line(&logger, Level::Debug, "details");
        let text = read(&path);
        let lines: Vec<&str> = text.lines().collect();
        let [info, debug] = lines.as_slice() else {
            panic!("not two lines: {text:?}");
        };
        let (time, rest) = info.split_at(24);
        let form: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(form, "0000-00-00T00:00:00.000Z");
        assert_eq!(rest, " [INFO ] ready");
        assert!(debug.ends_with(" [DEBUG] l7r: details"), "{debug}");
    }

    #[test]
    fn a_rotated_file_is_left_and_a_failed_reopen_keeps_the_old_one() {
        let directory = Directory::new("reopen");
        let (path, old) = (directory.0.join("log"), directory.0.join("log.1"));
        let sink = Sink::open(&LogFile::Path(path.clone())).expect("an open file");
        let handle = LogHandle { sink: sink.clone() };
        let logger = Escaped::over(sink);
        write_line(&logger, Level::Info, "one");
        std::fs::rename(&path, &old).expect("a rotation");
        write_line(&logger, Level::Info, "two");
        handle.reopen().expect("a new file");
        write_line(&logger, Level::Info, "three");
        assert_eq!(read(&old).lines().count(), 2);
        assert!(read(&path).ends_with("three\n"));

        std::fs::remove_file(&path).expect("the file is ours");
        std::fs::create_dir(&path).expect("something that is no file");
        assert!(handle.reopen().is_err());
        write_line(&logger, Level::Info, "four, lost with the file and nothing else");
    }

    #[test]
    fn a_line_is_one_write_however_long() {
        // One write, one datagram.
        let (ours, theirs) = UnixDatagram::pair().expect("a pair of sockets");
        let file = File::from(OwnedFd::from(ours));
        let logger = Escaped::over(Sink { path: None, file: Arc::new(Mutex::new(Some(Arc::new(file)))) });
        let mut buffer = vec![0; 4 * LINE_BYTES_MAX];
        for message in ["short".to_owned(), "\r\n".repeat(MESSAGE_BYTES_MAX)] {
            write_line(&logger, Level::Trace, &message);
            let n = theirs.recv(&mut buffer).expect("a line");
            assert!(buffer[..n].starts_with(b"20") && buffer[..n].ends_with(b"\n"));
        }
    }

    #[test]
    fn a_full_disk_is_no_error() {
        let mut sink = Sink::open(&LogFile::Path("/dev/full".into())).expect("/dev/full");
        assert_eq!(sink.write(b"lost\n").expect("swallowed"), 5);
        let logger = Escaped::over(sink);
        for _ in 0..100 {
            write_line(&logger, Level::Error, &"x".repeat(MESSAGE_BYTES_MAX));
        }
    }

    #[test]
    fn a_process_has_one_log_and_its_level_is_steered() {
        let directory = Directory::new("start");
        let path = directory.0.join("log");
        let target = LogFile::Path(path.clone());
        let handle = start(&target, LevelFilter::Info).expect("the first log of this process");
        let again = start(&target, LevelFilter::Trace).expect_err("a second log");
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        log::debug!("steered 1");
        log::info!("steered 2\nof two lines");
        handle.set_level(LevelFilter::Debug);
        log::debug!("steered {}", 3);
        handle.set_level(LevelFilter::Off);
        log::error!("steered 4");
        let text = read(&path);
        let ours: Vec<&str> = text.lines().filter(|l| l.contains("steered")).collect();
        assert_eq!(ours.len(), 2, "{text}");
        assert!(ours[0].ends_with("steered 2\\nof two lines"));
        assert!(ours[1].ends_with("steered 3"));
    }
}
