//! The parts of the router that each request meets, one by one: how long they take, and how many instructions.
//!
//! Times are for whoever makes a part faster; they differ from hour to hour. Counts hardly differ and are the alarm: they
//! are compared with those in `counts.txt`. `part` has the list, `head`, `body`, `routes`, `shared` are what is measured;
//! `time` measures, `count` counts, `counts` judges. How fast the whole router is says `bench compare`, not this.

mod body;
mod cli;
mod count;
mod counts;
mod head;
mod part;
mod routes;
mod shared;
mod time;

use std::process::ExitCode;

use cli::Command;

/// A part takes more instructions than it may.
const MORE: u8 = 1;
/// Neither timed nor counted: usage, no valgrind, a debug build.
const NOT_MEASURED: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match cli::parse(&arguments) {
        Ok(Command::Help) => {
            print!("{}", cli::USAGE);
            Ok(0)
        }
        Ok(Command::Time) => time::all().map(|()| 0),
        Ok(Command::Count) => count::compare(),
        Ok(Command::Write) => count::write().map(|()| 0),
        Ok(Command::Run { part, times }) => part::named(&part).map(|part| {
            (part.prepare)()(times);
            0
        }),
        Err(mistake) => Err(format!("{mistake}\n\n{}", cli::USAGE)),
    };
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(MORE),
        Err(reason) => {
            eprintln!("parts: {reason}");
            ExitCode::from(NOT_MEASURED)
        }
    }
}
