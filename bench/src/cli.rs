//! The command line: what to compare, how long, how often, each with its limits; and how long to soak.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

/// What is shown to whoever asks, or asks for something else.
pub const USAGE: &str = "\
Usage: bench compare [OPTIONS]
       bench soak [OPTIONS]

compare: the router beside its peers
  --quick               all kinds of load in three minutes, one round of short cells, most of them without the peers
  --only NAME,NAME,..   only these workloads, these programs, or both; names as in the table
  --connections N,N,..  levels of kept connections, each a workload [default: 1,64,256,1024,4096]
  --seconds N           how long one cell is measured, 1 to 60 [default: 2]
  --rounds N            how often every cell is measured, 1 to 20 [default: 3, and 5 at these levels for nginx, haproxy,
                        the router and its variants]
  --results DIR         where table, cells and plots are written [default: bench/results for a whole run, bench-results
                        in the target directory for any other]
  --no-build            build nothing before: what is there is measured, what is not is skipped
  --router PATH         the router [default: the one of this source tree]
  --against PATH        a second router, for a comparison of before and after

soak: everything at once, and every byte compared
  --seconds N           how long, 5 to 86400 [default: 60]
  --seed N              the choices of another run [default: chosen, and printed]
  --router PATH         the router [default: release/layer7router in the target directory]

Exit codes: 0 all is well, 1 errors were seen, 2 not measured.
";

/// wrk, a proxy with two descriptors a connection, and the usual limit of 20,000 descriptors.
const CONNECTIONS_MAX: u32 = 9_000;
const LEVELS_MAX: usize = 16;
const SECONDS_MAX: u32 = 60;
const ROUNDS_MAX: u32 = 20;
/// Shorter than that nothing comes to pass.
const SOAK_SECONDS: std::ops::RangeInclusive<u32> = 5..=86_400;

/// What was asked for.
#[derive(Debug, PartialEq)]
pub enum Command {
    Help,
    Compare(Options),
    Soak(Soak),
    /// What a comparison starts; nobody else has a use for these two.
    Stage {
        address: String,
        file: String,
    },
    Load {
        address: String,
        path: String,
        kind: Vec<String>,
    },
    /// What a soak starts.
    Origin {
        name: String,
        address: String,
    },
}

/// How to soak.
#[derive(Debug, PartialEq)]
pub struct Soak {
    pub seconds: u32,
    pub seed: u64,
    pub router: Option<PathBuf>,
}

/// How to compare; what is not said follows from the rest.
#[derive(Debug, Default, PartialEq)]
pub struct Options {
    pub quick: bool,
    /// Names of workloads and of programs; none is all.
    pub only: Vec<String>,
    pub connections: Option<Vec<u32>>,
    pub seconds: Option<u32>,
    pub rounds: Option<u32>,
    pub results: Option<PathBuf>,
    pub no_build: bool,
    pub router: Option<PathBuf>,
    pub against: Option<PathBuf>,
}

/// Arguments without the program's name; `--key value` and `--key=value` are the same.
pub fn parse(arguments: &[String]) -> Result<Command, String> {
    if arguments.iter().any(|argument| matches!(argument.as_str(), "-h" | "--help" | "help")) {
        return Ok(Command::Help);
    }
    match arguments.split_first() {
        Some((command, rest)) => match (command.as_str(), rest) {
            ("compare", rest) => options(rest).map(Command::Compare),
            ("soak", rest) => soak(rest).map(Command::Soak),
            ("stage", [address, file]) => Ok(Command::Stage { address: address.clone(), file: file.clone() }),
            ("load", [address, path, kind @ ..]) => {
                Ok(Command::Load { address: address.clone(), path: path.clone(), kind: kind.to_vec() })
            }
            ("origin", [name, address]) => Ok(Command::Origin { name: name.clone(), address: address.clone() }),
            (other, _) => Err(format!("`{other}` is not a command; there are `compare` and `soak`")),
        },
        None => Err("a command is missing: compare or soak".to_owned()),
    }
}

fn options(arguments: &[String]) -> Result<Options, String> {
    let mut options = Options::default();
    // Those without a value.
    let (flags, arguments): (Vec<String>, Vec<String>) =
        arguments.iter().cloned().partition(|argument| matches!(argument.as_str(), "--quick" | "--no-build"));
    options.quick = flags.iter().any(|flag| flag == "--quick");
    options.no_build = flags.iter().any(|flag| flag == "--no-build");
    let known = ["--only", "--connections", "--seconds", "--rounds", "--results", "--router", "--against"];
    for (key, value) in pairs(&arguments, &known)? {
        match key {
            "--only" => options.only = value.split(',').map(|name| name.trim().to_owned()).collect(),
            "--connections" => options.connections = Some(levels(value)?),
            "--seconds" => options.seconds = Some(number(key, value, SECONDS_MAX)?),
            "--rounds" => options.rounds = Some(number(key, value, ROUNDS_MAX)?),
            "--results" => options.results = Some(PathBuf::from(value)),
            "--router" => options.router = Some(PathBuf::from(value)),
            _ => options.against = Some(PathBuf::from(value)),
        }
    }
    Ok(options)
}

fn soak(arguments: &[String]) -> Result<Soak, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Short enough to be typed again.
    let mut soak = Soak { seconds: 60, seed: u64::from(now.subsec_micros()), router: None };
    for (key, value) in pairs(arguments, &["--seconds", "--seed", "--router"])? {
        match key {
            "--seconds" => {
                let seconds = value.parse().ok().filter(|seconds| SOAK_SECONDS.contains(seconds));
                let (min, max) = (SOAK_SECONDS.start(), SOAK_SECONDS.end());
                soak.seconds = seconds.ok_or_else(|| format!("`{key}` is {min} to {max}, not `{value}`"))?;
            }
            "--seed" => soak.seed = value.parse().map_err(|_| format!("`{key}` is a number, not `{value}`"))?,
            _ => soak.router = Some(PathBuf::from(value)),
        }
    }
    Ok(soak)
}

/// Each option with its value, each at most once.
fn pairs<'a>(arguments: &'a [String], known: &[&str]) -> Result<Vec<(&'a str, &'a str)>, String> {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let (key, inline) = match argument.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (argument.as_str(), None),
        };
        if !known.contains(&key) {
            return Err(format!("`{key}` is not an option"));
        }
        if pairs.iter().any(|(seen, _)| *seen == key) {
            return Err(format!("`{key}` is given twice"));
        }
        let value = match inline {
            Some(value) => value,
            None => rest.next().ok_or_else(|| format!("`{key}` needs a value"))?,
        };
        pairs.push((key, value));
    }
    Ok(pairs)
}

fn levels(text: &str) -> Result<Vec<u32>, String> {
    let levels = text
        .split(',')
        .map(|level| number("--connections", level.trim(), CONNECTIONS_MAX))
        .collect::<Result<Vec<u32>, String>>()?;
    if levels.len() > LEVELS_MAX {
        return Err(format!("`--connections` takes at most {LEVELS_MAX} levels"));
    }
    // wrk gives each of its two threads half of them, and forgets the odd one.
    match levels.iter().find(|&&level| level > 1 && level % 2 == 1) {
        Some(odd) => Err(format!("`--connections`: {odd} cannot be shared by two threads; take an even number, or 1")),
        None => Ok(levels),
    }
}

fn number<N: FromStr + PartialOrd + From<u8> + std::fmt::Display>(key: &str, text: &str, max: N) -> Result<N, String> {
    match text.parse::<N>() {
        Ok(number) if number >= N::from(1) && number <= max => Ok(number),
        _ => Err(format!("`{key}` is 1 to {max}, not `{text}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn nothing_said_is_the_default() {
        assert_eq!(parsed("compare"), Ok(Command::Compare(Options::default())));
    }

    #[test]
    fn both_ways_to_write_a_value() {
        let expected = Options {
            quick: true,
            only: vec!["get-64".to_owned(), "no proxy".to_owned()],
            connections: Some(vec![1, 64]),
            seconds: Some(1),
            rounds: Some(2),
            results: Some("c".into()),
            no_build: true,
            router: Some("a".into()),
            against: Some("b".into()),
        };
        let line = ["compare", "--quick", "--connections", "1,64", "--seconds=1", "--rounds", "2", "--router", "a"];
        let line = line.into_iter().chain(["--against=b", "--no-build", "--only", "get-64,no proxy", "--results", "c"]);
        assert_eq!(parse(&line.map(str::to_owned).collect::<Vec<_>>()), Ok(Command::Compare(expected)));
    }

    #[test]
    fn a_soak_can_be_repeated() {
        let soak = Soak { seconds: 3600, seed: 7, router: Some("a".into()) };
        assert_eq!(parsed("soak --seconds=3600 --seed 7 --router a"), Ok(Command::Soak(soak)));
        assert!(matches!(parsed("soak"), Ok(Command::Soak(Soak { seconds: 60, .. }))));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, said) in [
            ("", "a command is missing"),
            ("measure", "`measure` is not a command"),
            ("compare --second 1", "`--second` is not an option"),
            ("compare --seconds", "`--seconds` needs a value"),
            ("compare --seconds 0", "`--seconds` is 1 to 60, not `0`"),
            ("compare --rounds 21", "`--rounds` is 1 to 20"),
            ("compare --rounds 1 --rounds 1", "`--rounds` is given twice"),
            ("compare --connections 64,x", "`--connections` is 1 to 9000, not `x`"),
            ("compare --connections 65", "65 cannot be shared"),
            ("soak --seconds 4", "`--seconds` is 5 to 86400, not `4`"),
            ("soak --seed x", "`--seed` is a number"),
            ("soak --rounds 1", "`--rounds` is not an option"),
        ] {
            let mistake = parsed(line).unwrap_err();
            assert!(mistake.contains(said), "{line}: {mistake}");
        }
    }
}
