//! How long each part takes: several batches, since what else the machine does can only make one longer.

use std::io::{self, Write};
use std::time::Duration;

use crate::part::{ALL, Part};

/// Long against the clock, short against what else the machine does.
const BATCH: Duration = Duration::from_millis(10);
const BATCHES: usize = 15;
/// A batch is found by doubling, from here.
const TIMES: u64 = 16;

const HEAD: &str = "\
| part                |         ns |             min..max |   MB/s |
|---------------------|-----------:|---------------------:|-------:|
";

/// Nanoseconds of one operation: `min <= median <= max`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Nanoseconds {
    median: f64,
    min: f64,
    max: f64,
}

/// Times all parts, each told as soon as it is known.
pub fn all() -> Result<(), String> {
    if cfg!(debug_assertions) {
        return Err("times are of a release build: cargo run --release -p parts".to_owned());
    }
    let told = |error: io::Error| error.to_string();
    let mut out = io::stdout().lock();
    write!(out, "{HEAD}").map_err(told)?;
    for part in ALL {
        writeln!(out, "{}", line(part, measured(part))).map_err(told)?;
    }
    Ok(())
}

fn measured(part: &Part) -> Nanoseconds {
    let mut batch = (part.prepare)();
    let mut times = TIMES;
    while batch(times) < BATCH {
        times *= 2;
    }
    let mut of_one = [(); BATCHES].map(|()| batch(times).as_nanos() as f64 / times as f64);
    of_one.sort_by(f64::total_cmp);
    Nanoseconds { median: of_one[BATCHES / 2], min: of_one[0], max: of_one[BATCHES - 1] }
}

fn line(part: &Part, ns: Nanoseconds) -> String {
    // Bytes a nanosecond are GB a second.
    let rate = part.bytes.map_or("-".to_owned(), |bytes| format!("{:.0}", bytes as f64 / ns.median * 1000.0));
    let range = format!("{:.1}..{:.1}", ns.min, ns.max);
    format!("| {:<19} | {:>10.1} | {range:>20} | {rate:>6} |", part.name, ns.median)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part::named;

    #[test]
    fn a_line_has_bytes_a_second_where_bytes_go_through() {
        let ns = Nanoseconds { median: 32_768.0, min: 32_000.04, max: 40_000.0 };
        let body = named("body-length").expect("a part");
        assert_eq!(line(body, ns), "| body-length         |    32768.0 |     32000.0..40000.0 |   2000 |");
        let lease = named("arena-lease").expect("a part");
        assert_eq!(line(lease, ns), "| arena-lease         |    32768.0 |     32000.0..40000.0 |      - |");
    }
}
