//! The program's own log: one record is one line, whatever a peer put into it.
//!
//! Not here: what is worth a line (its author says), the access log, which has its own writer and never passes here,
//! and what SIGUSR1 is (the control loop calls [`LogHandle::reopen`]).
//!
//! ```text
//! log! ── Escaped (control characters, length) ── simplelog (time, level) ── LineWriter (whole lines) ── LineQueue (a thread)
//! ```

use std::borrow::Cow;
use std::io::{self, LineWriter, Write};
use std::time::Duration;

use log::{LevelFilter, Log, Metadata, Record};
use simplelog::{Config, ConfigBuilder, LevelPadding, WriteLogger};

use crate::clock;
use crate::config::model::LogFile;
use crate::line_queue::{LineQueue, Output};
use crate::printable::{self, is_obeyed};
use crate::sync::Arc;

/// Bytes of a message; what is longer is cut, and says so.
const MESSAGE_BYTES_MAX: usize = 8 * 1024;
/// Bytes gathered until they are a line: room for the longest message, escapes included, and what stands before it.
const LINE_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 1024;
/// Bytes of the longest escape: `\u{10ffff}`.
const ESCAPE_BYTES_MAX: usize = 10;

const CUT: &str = " [cut]";

/// Address space of the writer's stack.
const STACK_SIZE: usize = 128 * 1024;
/// How long the end of the process waits for lines.
const LAST_LINES: Duration = Duration::from_secs(1);
/// How long a thread that panics waits: for a lock that it may hold itself, and then for its line.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// What may be done to the log once it runs.
#[derive(Debug, Clone)]
pub struct LogHandle {
    queue: Arc<LineQueue>,
    target: LogFile,
}

impl LogHandle {
    /// Opens the path again, as whoever rotated the file expects. On an error the old file stays in use. For stderr there is
    /// nothing to do.
    pub fn reopen(&self) -> io::Result<()> {
        if matches!(self.target, LogFile::Path(_)) {
            self.queue.aim(output(&self.target)?);
        }
        Ok(())
    }

    /// What is worth a line from now on.
    pub fn set_level(&self, level: LevelFilter) {
        log::set_max_level(level);
    }

    /// Lines dropped so far.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// A line that was asked for, whatever the level.
    pub fn say(&self, line: &str) {
        let level = log::max_level();
        log::set_max_level(level.max(LevelFilter::Info));
        log::info!("{line}");
        log::set_max_level(level);
    }

    /// A line of its own making, from a thread that panics and may be anywhere, in this log as well: whether it is written,
    /// or on its way out at least. It may be the last of the process, so it is waited for.
    pub fn tell(&self, line: &str) -> bool {
        log::max_level() > LevelFilter::Off
            && self.queue.append_within(line.as_bytes(), LAST_WORDS)
            && self.queue.flush(LAST_WORDS)
    }

    /// Waits a little for the writer, before the process ends.
    pub fn flush(&self) {
        let _in_time = self.queue.flush(LAST_LINES);
    }
}

/// Begins the log. A process has one: a second call is an error of kind `AlreadyExists`, and changes nothing.
pub fn start(target: &LogFile, level: LevelFilter) -> io::Result<LogHandle> {
    let queue = Arc::new(LineQueue::default());
    queue.aim(output(target)?);
    log::set_boxed_logger(Box::new(Escaped::over(Sink { queue: Arc::clone(&queue) })))
        .map_err(|e| io::Error::new(io::ErrorKind::AlreadyExists, e))?;
    log::set_max_level(level);
    let ours = Arc::clone(&queue);
    // Whoever could be told of a failed write would have to be told here: as soon as one succeeds.
    let complain = |queue: &LineQueue| {
        if let Some(complaint) = queue.complaint() {
            log::error!("this log: {complaint}");
        }
    };
    std::thread::Builder::new()
        .name("log".into())
        .stack_size(STACK_SIZE)
        .spawn(move || ours.run_and(|| complain(&ours)))
        .map_err(|error| io::Error::new(error.kind(), format!("its thread: {error}")))?;
    Ok(LogHandle { queue, target: target.clone() })
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
        .set_time_format_custom(clock::LOG)
        .set_level_padding(LevelPadding::Right)
        .set_target_level(LevelFilter::Debug)
        .set_thread_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .build()
}

/// The message on one line, with nothing in it that a terminal or a reader of lines obeys, and cut where it is too long.
fn escape(message: &str) -> Cow<'_, str> {
    if message.len() <= MESSAGE_BYTES_MAX && !message.contains(is_obeyed) {
        return Cow::Borrowed(message);
    }
    let mut line = String::with_capacity(message.len().min(MESSAGE_BYTES_MAX));
    for c in message.chars() {
        if line.len() + ESCAPE_BYTES_MAX + CUT.len() > MESSAGE_BYTES_MAX {
            line.push_str(CUT);
            break;
        }
        printable::push(&mut line, c);
    }
    Cow::Owned(line)
}

/// Where whole lines go: to the writer, without waiting.
#[derive(Debug, Clone)]
struct Sink {
    queue: Arc<LineQueue>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.queue.append(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn output(target: &LogFile) -> io::Result<Output> {
    match target {
        LogFile::Stderr => Ok(Output::Stderr),
        LogFile::Path(path) => Output::open(path),
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

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
        assert_eq!(
            escape("\u{202e}txt\u{2066}\u{200b}\u{feff}\u{e0041}\u{9b}"),
            "\\u{202e}txt\\u{2066}\\u{200b}\\u{feff}\\u{e0041}\\u{9b}"
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

    /// What a logger with a writer of its own has written.
    fn written(lines: &[(Level, &str)]) -> String {
        let directory = Directory::new("lines");
        let path = directory.0.join("log");
        let queue = Arc::new(LineQueue::default());
        queue.aim(Output::open(&path).expect("an open file"));
        let logger = Escaped::over(Sink { queue: Arc::clone(&queue) });
        for (level, line) in lines {
            write_line(&logger, *level, line);
        }
        queue.stop();
        queue.run();
        assert_eq!(queue.dropped(), 0);
        read(&path)
    }

    #[test]
    fn a_line_begins_with_time_and_level() {
        let text = written(&[(Level::Info, "ready"), (Level::Debug, "details")]);
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
    fn a_line_stays_whole_however_long() {
        let long = "\r\n".repeat(MESSAGE_BYTES_MAX);
        let text = written(&[(Level::Trace, "short"), (Level::Trace, &long)]);
        assert_eq!(text.lines().count(), 2);
        assert!(text.lines().all(|line| line.starts_with("20")));
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
        // It may be the last of the process: it is there at once.
        assert!(handle.tell("2026-11-29T00:00:00.000Z [ERROR] told\n"));
        assert!(read(&path).contains(" told\n"));
        handle.set_level(LevelFilter::Off);
        assert!(!handle.tell("nowhere\n"));
        log::error!("steered 4");
        handle.say("steered 5, asked for");
        assert_eq!(log::max_level(), LevelFilter::Off);
        handle.flush();
        let old = directory.0.join("log.1");
        std::fs::rename(&path, &old).expect("a rotation");
        handle.set_level(LevelFilter::Info);
        log::info!("steered 6");
        handle.flush();
        handle.reopen().expect("a new file");
        log::info!("steered 7");
        handle.flush();
        let text = read(&old);
        let ours: Vec<&str> = text.lines().filter(|l| l.contains("steered")).collect();
        assert_eq!(ours.len(), 4, "{text}");
        for (line, end) in ours.iter().zip(["2\\nof two lines", "3", "5, asked for", "6"]) {
            assert!(line.ends_with(&format!("steered {end}")), "{line}");
        }
        let text = read(&path);
        assert!(text.lines().any(|line| line.ends_with("steered 7")), "{text}");
        std::fs::remove_file(&path).expect("the file is ours");
        std::fs::create_dir(&path).expect("something that is no file");
        assert!(handle.reopen().is_err());
    }
}
