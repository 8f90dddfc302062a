//! The command line.

/// What is shown to whoever asks, or asks for something else.
pub const USAGE: &str = "\
Usage: parts                    how long each part takes
       parts --count            how many instructions each takes, compared with bench/parts/counts.txt; needs valgrind
       parts --count --write    the same, written there
       parts --run PART TIMES   one part so many times and nothing else: to be run by a profiler

Exit codes: 0 all is well, 1 a part takes over 3 % more instructions than in the file, 2 not measured.
";

/// What was asked for.
#[derive(Debug, PartialEq)]
pub enum Command {
    Help,
    Time,
    Count,
    Write,
    Run { part: String, times: u64 },
}

/// Arguments without the program's name.
pub fn parse(arguments: &[String]) -> Result<Command, String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => Ok(Command::Time),
        ["-h" | "--help"] => Ok(Command::Help),
        ["--count"] => Ok(Command::Count),
        ["--count", "--write"] | ["--write", "--count"] => Ok(Command::Write),
        ["--run", part, times] => {
            let times = times.parse().map_err(|_| format!("`{times}` is not a number of times"))?;
            Ok(Command::Run { part: (*part).to_owned(), times })
        }
        ["--run", ..] => Err("`--run` takes a part and how many times".to_owned()),
        ["--write", ..] => Err("`--write` goes with `--count`".to_owned()),
        ["--count", other, ..] | [other, ..] => Err(format!("`{other}` is not an option")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_asked_for_is_done() {
        let run = Command::Run { part: "arena-lease".to_owned(), times: 7 };
        for (line, command) in [
            ("", Command::Time),
            ("--help", Command::Help),
            ("--count", Command::Count),
            ("--count --write", Command::Write),
            ("--write --count", Command::Write),
            ("--run arena-lease 7", run),
        ] {
            assert_eq!(parsed(line), Ok(command), "{line}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (line, said) in [
            ("--times", "`--times` is not an option"),
            ("--count --all", "`--all` is not an option"),
            ("--write", "`--write` goes with `--count`"),
            ("--run arena-lease", "`--run` takes a part and how many times"),
            ("--run arena-lease often", "`often` is not a number"),
        ] {
            let mistake = parsed(line).unwrap_err();
            assert!(mistake.contains(said), "{line}: {mistake}");
        }
    }
}
