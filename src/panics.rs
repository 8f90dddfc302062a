//! What is said of a panic: one line, in the log once there is one, whatever thread it was and whatever it held.
//!
//! The hook of the standard library prints several lines, raw, on stderr, where nobody looks who reads the log. This one waits
//! for no lock that the thread may hold and for no reader that has stopped to read. Not here: what a panic costs (`worker`,
//! `pair`).

use std::borrow::Cow;
use std::panic::PanicHookInfo;

use crate::clock;
use crate::log_file::LogHandle;
use crate::printable::printable;
use crate::stdio;

/// Bytes of a message; the line is then shorter than what a pipe takes at once.
const MESSAGE_BYTES_MAX: usize = 1024;

/// From now on. Without a log, or where it does not take the line, the line goes to stderr.
pub fn tell(log: Option<LogHandle>) {
    std::panic::set_hook(Box::new(move |info| {
        let line = format!("{} [ERROR] {}\n", clock::stamp(), printable(&words(info)));
        if !log.as_ref().is_some_and(|log| log.tell(&line)) {
            stdio::err_unless_stuck(&line);
        }
    }));
}

fn words(info: &PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let message = match info.payload().downcast_ref::<&'static str>() {
        Some(literal) => Cow::Borrowed(*literal),
        None => info.payload().downcast_ref::<String>().map_or(Cow::Borrowed("***"), |made| without_data(made)),
    };
    let message = message.get(..message.floor_char_boundary(MESSAGE_BYTES_MAX)).unwrap_or_default();
    format!("thread {} panicked at {place}: {message}", thread.name().unwrap_or("without a name"))
}

/// A message that was made when it happened, up to what it was about. That stands in quotes or brackets, behind a line's end
/// at the latest, and may be a peer's secret: `str` alone repeats the text that was cut at a wrong place.
fn without_data(message: &str) -> Cow<'_, str> {
    match message.split_once(['`', '"', '\'', '{', '[', '(', '\n']) {
        Some((before, _)) => Cow::Owned(format!("{before}***")),
        None => Cow::Borrowed(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const CHILD: &str = "L7R_TEST_PANIC";

    /// The hook is the process's: this is a process of its own.
    #[test]
    fn child() {
        if std::env::var_os(CHILD).is_none() {
            return;
        }
        tell(None);
        let panics = |name: &str, run: fn()| {
            let thread = std::thread::Builder::new().name(name.into()).spawn(run).expect("a thread");
            assert!(thread.join().is_err());
        };
        panics("one", || panic!("a \u{1b}[2J`literal`\n\u{9b}"));
        panics("two\u{202e}", || {
            let secret = String::from("Basic \u{e9}");
            let _ = std::hint::black_box(&secret[..7]);
        });
        panics("three", || std::hint::black_box(Err::<(), _>("Basic s3cr3t")).expect("no error"));
        panics("four", || std::panic::panic_any(4));
        panics("five", || {
            let index = std::hint::black_box(5);
            let _ = std::hint::black_box([1, 2][index]);
        });
    }

    #[test]
    fn without_a_log_it_is_one_line_of_stderr_and_no_secret() {
        let mut child = Command::new(std::env::current_exe().expect("this"));
        let said = child.args(["--exact", "panics::tests::child"]).env(CHILD, "1").output().expect("it runs");
        let said = String::from_utf8(said.stderr).expect("UTF-8");
        let lines: Vec<&str> = said.lines().filter_map(|line| line.split_once(" [ERROR] ")).map(|(_, l)| l).collect();
        let ends = [
            ("thread one panicked at src/panics.rs:", r": a \u{1b}[2J`literal`\n\u{9b}"),
            (r"thread two\u{202e} panicked at src/panics.rs:", "***"),
            ("thread three panicked at src/panics.rs:", ": no error: ***"),
            ("thread four panicked at src/panics.rs:", ": ***"),
            ("thread five panicked at src/panics.rs:", ": index out of bounds: the len is 2 but the index is 5"),
        ];
        assert_eq!((lines.len(), said.lines().count()), (ends.len(), ends.len()), "{said}");
        for (line, (begin, end)) in lines.iter().zip(ends) {
            assert!(line.starts_with(begin) && line.ends_with(end), "{line}");
        }
        assert!(!said.contains("Basic") && !said.contains("s3cr3t"), "{said}");
    }
}
