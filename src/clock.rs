//! Time as the router needs it: milliseconds since start for deadlines, and the date as text for answers and logs.
//!
//! Deadlines never look at the wall clock; only texts do. No other module reads it: `tests/layers.rs` holds that.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::StaticFormatDescription;
use time::macros::format_description;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds since the process began to count. Never goes back.
pub fn now_ms() -> u64 {
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The moment `after` from now, in the same count.
pub fn due_ms(after: Duration) -> u64 {
    now_ms().saturating_add(u64::try_from(after.as_millis()).unwrap_or(u64::MAX))
}

/// Looks at deadlines, for threads that look again and again: whether one is due, and whether it is to be believed.
///
/// A process that stood still (stopped and continued, on a host that was suspended or moved) finds everything overdue at
/// once, though what was waited for may be there: who waits has not been run either. So who comes to a look a second late
/// gives the others half a second first.
#[derive(Debug, Clone, Copy)]
pub struct Looks {
    every: Duration,
    last: Instant,
    /// Until when looks are put off. Never twice on end: who is always late would otherwise judge nothing.
    put_off: Option<Instant>,
}

/// A look this late shows that nobody was run.
const STOOD_STILL: Duration = Duration::from_secs(1);
/// What the others get then.
const PUT_OFF: Duration = Duration::from_millis(500);

impl Looks {
    /// The first is due after one period.
    pub fn new(every: Duration, now: Instant) -> Self {
        Self { every, last: now, put_off: None }
    }

    /// How long until the next is due.
    pub fn due_in(&self, now: Instant) -> Duration {
        self.every.saturating_sub(now.duration_since(self.last))
    }

    /// Whether a look is due, and deadlines may be judged at it.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let since = now.duration_since(self.last);
        if since < self.every {
            return false;
        }
        if since >= self.every + STOOD_STILL && self.put_off.is_none() {
            self.put_off = Some(now + PUT_OFF);
        }
        self.last = now;
        if self.put_off.is_some_and(|until| now < until) {
            return false;
        }
        self.put_off = None;
        true
    }
}

/// RFC 9110 section 5.6.7: the form of the Date field.
const IMF: StaticFormatDescription =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
/// The date of the combined log format. UTC: a threaded program cannot learn the local offset safely.
const CLF: StaticFormatDescription =
    format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");
/// RFC 3339, for JSON lines.
const RFC3339: StaticFormatDescription = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");

/// RFC 3339 in UTC, to the millisecond: lines of the program's log. The local offset cannot be asked for safely in a process
/// with threads.
pub const LOG: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// Now as a line of the log begins, for who cannot go through the log.
pub fn stamp() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = time::Duration::try_from(since).unwrap_or_default();
    OffsetDateTime::UNIX_EPOCH.saturating_add(since).format(LOG).unwrap_or_default()
}

/// A date as text, made again only when the second has changed.
#[derive(Debug)]
pub struct Date {
    format: StaticFormatDescription,
    second: u64,
    text: [u8; 32],
    len: usize,
}

impl Date {
    /// For the Date field.
    pub fn imf() -> Self {
        Self::new(IMF)
    }

    /// For combined log lines.
    pub fn clf() -> Self {
        Self::new(CLF)
    }

    /// For JSON log lines.
    pub fn rfc3339() -> Self {
        Self::new(RFC3339)
    }

    fn new(format: StaticFormatDescription) -> Self {
        Self { format, second: u64::MAX, text: [0; 32], len: 0 }
    }

    /// The text for now.
    pub fn now(&mut self) -> &[u8] {
        let second = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if second != self.second {
            self.second = second;
            let date = OffsetDateTime::UNIX_EPOCH.saturating_add(time::Duration::seconds(second.cast_signed()));
            let mut room: &mut [u8] = &mut self.text;
            // 29 bytes at most up to the year 9999: the room is enough.
            self.len = date.format_into(&mut room, self.format).unwrap_or(0);
        }
        &self.text[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_comes_a_second_late_is_put_off_for_half_a_second_and_no_other_is() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut looks = Looks::new(Duration::from_millis(100), start);
        assert!(!looks.is_due(at(99)) && looks.is_due(at(100)) && !looks.is_due(at(199)));
        assert!(looks.is_due(at(1199)), "late, and not by a second");
        assert_eq!(looks.due_in(at(1250)), Duration::from_millis(49));
        assert!(!looks.is_due(at(2299)), "nobody was run");
        assert!(!looks.is_due(at(2400)) && !looks.is_due(at(2798)));
        assert!(looks.is_due(at(2898)));
        let believed = [4100, 5300, 6500, 7700].map(|ms| looks.is_due(at(ms)));
        assert_eq!(believed, [false, true, false, true], "who is always late judges at every second look");
    }

    #[test]
    fn dates_have_the_length_of_their_format() {
        assert_eq!(Date::imf().now().len(), "Sun, 06 Nov 1994 08:49:37 GMT".len());
        assert_eq!(Date::clf().now().len(), "06/Nov/1994:08:49:37 +0000".len());
        assert_eq!(Date::rfc3339().now().len(), "1994-11-06T08:49:37Z".len());
        assert_eq!(stamp().len(), "1994-11-06T08:49:37.000Z".len());
    }
}
