//! The command line: what to compare, how long, how often, each with its limits.

use std::path::PathBuf;
use std::str::FromStr;

/// What is shown to whoever asks, or asks for something else.
pub const USAGE: &str = "\
Usage: bench compare [OPTIONS]

  --connections N,N,..  connections of the load, each level a cell [default: 64,1024]
  --seconds N           how long one cell is measured, 1 to 60 [default: 5]
  --rounds N            how often every cell is measured, 1 to 20 [default: 3]
  --router PATH         the router [default: release/layer7router in the target directory]
  --against PATH        a second router, for a comparison of before and after

Exit codes: 0 measured, 1 measured with errors, 2 not measured.
";

/// wrk, a proxy with two descriptors a connection, and the usual limit of 20,000 descriptors.
const CONNECTIONS_MAX: u32 = 9_000;
const LEVELS_MAX: usize = 16;
const SECONDS_MAX: u32 = 60;
const ROUNDS_MAX: u32 = 20;

/// What was asked for.
#[derive(Debug, PartialEq)]
pub enum Command {
    Help,
    Compare(Options),
}

/// How to compare.
#[derive(Debug, PartialEq)]
pub struct Options {
    pub connections: Vec<u32>,
    pub seconds: u32,
    pub rounds: u32,
    pub router: Option<PathBuf>,
    pub against: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { connections: vec![64, 1024], seconds: 5, rounds: 3, router: None, against: None }
    }
}

/// Arguments without the program's name; `--key value` and `--key=value` are the same.
pub fn parse(arguments: &[String]) -> Result<Command, String> {
    if arguments.iter().any(|argument| matches!(argument.as_str(), "-h" | "--help" | "help")) {
        return Ok(Command::Help);
    }
    match arguments.split_first() {
        Some((command, rest)) if command == "compare" => options(rest).map(Command::Compare),
        Some((other, _)) => Err(format!("`{other}` is not a command; did you mean `compare`?")),
        None => Err("a command is missing: compare".to_owned()),
    }
}

fn options(arguments: &[String]) -> Result<Options, String> {
    let mut options = Options::default();
    let mut seen: Vec<&str> = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let (key, inline) = match argument.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (argument.as_str(), None),
        };
        if !["--connections", "--seconds", "--rounds", "--router", "--against"].contains(&key) {
            return Err(format!("`{key}` is not an option"));
        }
        if seen.contains(&key) {
            return Err(format!("`{key}` is given twice"));
        }
        seen.push(key);
        let value = match inline {
            Some(value) => value,
            None => rest.next().ok_or_else(|| format!("`{key}` needs a value"))?,
        };
        match key {
            "--connections" => options.connections = levels(value)?,
            "--seconds" => options.seconds = number(key, value, SECONDS_MAX)?,
            "--rounds" => options.rounds = number(key, value, ROUNDS_MAX)?,
            "--router" => options.router = Some(PathBuf::from(value)),
            _ => options.against = Some(PathBuf::from(value)),
        }
    }
    Ok(options)
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
            connections: vec![1, 64],
            seconds: 1,
            rounds: 2,
            router: Some("a".into()),
            against: Some("b".into()),
        };
        let line = "compare --connections 1,64 --seconds=1 --rounds 2 --router a --against=b";
        assert_eq!(parsed(line), Ok(Command::Compare(expected)));
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
        ] {
            let mistake = parsed(line).unwrap_err();
            assert!(mistake.contains(said), "{line}: {mistake}");
        }
    }
}
