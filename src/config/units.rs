//! Numbers, sizes, durations and permission bits, from text, within their range.
//!
//! Not here: which key has which range (`schema`).

use std::time::Duration;

use super::diagnostics::{Fault, quoted};
use super::schema::{Key, Kind};

/// `256`: `Kind::Count` and `Kind::CountOrNone`, where `0` is no limit.
pub fn count(key: &Key, text: &str) -> Result<u64, Fault> {
    let (number, unit) = split(text);
    if number.is_empty() {
        return Err(Fault::whole(text, format!("{} is not a number", quoted(text))));
    }
    if !unit.is_empty() {
        return Err(Fault::part(number.len()..text.len(), format!("`{}` is a number without a unit", key.name)));
    }
    let (min, max) = match key.kind {
        Kind::Count { min, max } => (min, max),
        Kind::CountOrNone { max } => (0, max),
        _ => (0, u64::MAX),
    };
    within(number.parse().ok(), min, max).ok_or_else(|| {
        Fault::whole(text, format!("`{}` is {min} to {max}{}, not {}", key.name, none_note(key), quoted(text)))
    })
}

/// `32k`: `Kind::Size` and `Kind::SizeOrNone`, where `0` needs no unit and is no limit.
pub fn size(key: &Key, text: &str) -> Result<u64, Fault> {
    let (min, max, none) = match key.kind {
        Kind::Size { min, max } => (min, max, false),
        Kind::SizeOrNone { max } => (0, max, true),
        _ => (0, u64::MAX, false),
    };
    let (number, unit) = split(text);
    if number.is_empty() {
        return Err(Fault::whole(text, format!("{} is not a size", quoted(text))).help(Some("write 32k".to_owned())));
    }
    if none && text == "0" {
        return Ok(0);
    }
    let shift = match unit {
        "b" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "" => {
            return Err(Fault::whole(text, format!("{} needs a unit: b, k, m or g", quoted(text)))
                .help(format!("did you mean `{text}{}`?", if text.len() > 3 { "b" } else { "k" })));
        }
        other => {
            let letter = other.chars().next().map(|c| c.to_ascii_lowercase()).filter(|c| "bkmg".contains(*c));
            return Err(Fault::part(
                number.len()..text.len(),
                format!("{} is not a unit of size: b, k, m or g", quoted(other)),
            )
            .help(letter.map(|letter| format!("did you mean `{number}{letter}`?"))));
        }
    };
    let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift));
    within(bytes, min, max).ok_or_else(|| {
        let range = format!("{} to {}", show_size(min), show_size(max));
        Fault::whole(text, format!("`{}` is {range}{}, not {}", key.name, none_note(key), quoted(text)))
    })
}

/// Of a number where `0` is no limit.
pub fn limit(number: u64) -> Option<u64> {
    Some(number).filter(|number| *number > 0)
}

/// `30s`: `Kind::Duration` and `Kind::DurationOrNone`, where `0` needs no unit and is no limit.
pub fn duration(key: &Key, text: &str) -> Result<Duration, Fault> {
    let (min, max, none) = match key.kind {
        Kind::Duration { min_ms, max_ms } => (min_ms, max_ms, false),
        Kind::DurationOrNone { max_ms } => (0, max_ms, true),
        _ => (0, u64::MAX, false),
    };
    let (number, unit) = split(text);
    if number.is_empty() {
        return Err(
            Fault::whole(text, format!("{} is not a duration", quoted(text))).help(Some("write 30s".to_owned()))
        );
    }
    if none && text == "0" {
        return Ok(Duration::ZERO);
    }
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" => {
            return Err(Fault::whole(text, format!("{} needs a unit: ms, s, m, h or d", quoted(text)))
                .help(format!("did you mean `{text}{}`?", if text.len() > 3 { "ms" } else { "s" })));
        }
        other => {
            let lower = other.to_ascii_lowercase();
            let meant = match lower.as_str() {
                "ms" | "msec" | "millis" => Some("ms"),
                "s" | "sec" | "secs" | "second" | "seconds" => Some("s"),
                "m" | "min" | "mins" | "minute" | "minutes" => Some("m"),
                "h" | "hr" | "hour" | "hours" => Some("h"),
                "d" | "day" | "days" => Some("d"),
                _ => None,
            };
            return Err(Fault::part(
                number.len()..text.len(),
                format!("{} is not a unit of time: ms, s, m, h or d", quoted(other)),
            )
            .help(meant.map(|meant| format!("did you mean `{number}{meant}`?"))));
        }
    };
    let millis = number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor));
    within(millis, min, max).map(Duration::from_millis).ok_or_else(|| {
        let range = format!("{} to {}", show_duration(min), show_duration(max));
        Fault::whole(text, format!("`{}` is {range}{}, not {}", key.name, none_note(key), quoted(text)))
    })
}

/// `0660`: `Kind::Mode`.
pub fn mode(_key: &Key, text: &str) -> Result<u32, Fault> {
    let fault = || Fault::whole(text, format!("{} is not a mode: octal, 0000 to 0777", quoted(text)));
    if !(3..=4).contains(&text.len()) || !text.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
        return Err(fault());
    }
    u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777).ok_or_else(fault)
}

/// The digits at the front, and the rest.
fn split(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

fn within(number: Option<u64>, min: u64, max: u64) -> Option<u64> {
    number.filter(|number| (min..=max).contains(number))
}

fn none_note(key: &Key) -> &'static str {
    match key.kind {
        Kind::CountOrNone { .. } | Kind::SizeOrNone { .. } | Kind::DurationOrNone { .. } => " (0 is no limit)",
        _ => "",
    }
}

fn show_size(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        b if b % (1 << 30) == 0 => format!("{}g", b >> 30),
        b if b % (1 << 20) == 0 => format!("{}m", b >> 20),
        b if b % (1 << 10) == 0 => format!("{}k", b >> 10),
        b => format!("{b}b"),
    }
}

fn show_duration(millis: u64) -> String {
    match millis {
        0 => "0s".to_owned(),
        ms if ms % 86_400_000 == 0 => format!("{}d", ms / 86_400_000),
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema;
    use super::*;

    #[test]
    fn sizes_and_durations_need_units_and_counts_take_none() {
        assert_eq!(size(&schema::SLICE_SIZE, "32k"), Ok(32768));
        assert_eq!(size(&schema::SLICE_SIZE, "4096b"), Ok(4096));
        assert_eq!(size(&schema::BODY_SIZE, "0"), Ok(0));
        assert_eq!(size(&schema::BODY_SIZE, "2g"), Ok(2 << 30));
        assert!(size(&schema::SLICE_SIZE, "4096").is_err());
        assert!(size(&schema::SLICE_SIZE, "2m").is_err());
        assert!(size(&schema::BODY_SIZE, "99999999999999999999g").is_err());
        assert_eq!(duration(&schema::IDLE_TIMEOUT, "250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration(&schema::IDLE_TIMEOUT, "1d"), Ok(Duration::from_secs(86400)));
        assert_eq!(duration(&schema::EXCHANGE_TIMEOUT, "0"), Ok(Duration::ZERO));
        assert!(duration(&schema::EXCHANGE_TIMEOUT, "25h").is_err());
        assert!(duration(&schema::IDLE_TIMEOUT, "0s").is_err());
        assert!(duration(&schema::IDLE_TIMEOUT, "0").is_err());
        assert!(duration(&schema::IDLE_TIMEOUT, "25h").is_err());
        assert!(duration(&schema::IDLE_TIMEOUT, "30").is_err());
        assert_eq!(count(&schema::WORKERS, "16384"), Ok(16384));
        assert!(count(&schema::WORKERS, "0").is_err());
        assert!(count(&schema::WORKERS, "32k").is_err());
        assert_eq!(mode(&schema::SOCKET_MODE, "0660"), Ok(0o660));
        assert!(mode(&schema::SOCKET_MODE, "1777").is_err());
        assert!(mode(&schema::SOCKET_MODE, "0689").is_err());
    }
}
