//! The configuration: an INI file in, a `Config` out, every mistake shown at once.
//!
//! ```text
//! source ── bytes to text          include ── which files       substitute ── ${NAME}
//!     └─► syntax ── lines ─► document, unknown ── sections with known keys
//!                                └─► build, named ── Config    effective ── values and origins
//!                                        └─► units, address, account, words, matching, headers ── one value each
//! diagnostics, render ── every mistake, from all of them      schema ── the table of keys      model ── the result
//! ```
//!
//! Not here: when it is read again, and what is done with it.

mod account;
mod address;
mod admission;
mod build;
mod diagnostics;
mod document;
mod effective;
mod flags;
mod headers;
mod include;
mod matching;
pub mod model;
mod named;
mod overlap;
mod rate;
mod render;
pub mod schema;
mod section;
mod source;
mod substitute;
pub(crate) mod suggest;
mod syntax;
mod units;
mod unknown;
mod words;

use std::path::{Path, PathBuf};

pub use effective::{Origin, Setting};
pub use model::Config;
pub use render::Reports;
pub use substitute::Environment;

use account::Accounts;
use address::Resolver;
use build::Builder;
use diagnostics::Collector;
use section::Section;

/// A configuration that is good, and how it came about.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What it means.
    pub config: Config,
    /// One effective value each, in the order of the schema.
    pub settings: Vec<Setting>,
    /// The main file; empty if there is none.
    pub path: PathBuf,
}

/// Reads a file and all that it includes, puts in variables, parses, resolves the names of listeners, checks.
/// `Err` carries all mistakes of all files.
pub fn load(path: &Path, env: Environment<'_>) -> Result<Loaded, Reports> {
    let mut collector = Collector::default();
    let sections = document::read(&mut collector, path, env);
    finish(collector, &sections, path, (&address::resolve_system, Accounts::System))
}

/// The same of a text, without a file system or a network: `include` is refused, and of hosts only `localhost`
/// is known, of users and groups `nobody` and `nogroup`.
pub fn parse_str(name: &str, text: &str, env: Environment<'_>) -> Result<Loaded, Reports> {
    let mut collector = Collector::default();
    let sections = document::read_str(&mut collector, name, text, env);
    finish(collector, &sections, Path::new(name), (&address::resolve_nothing, Accounts::Nothing))
}

/// `--from :8080 --to 127.0.0.1:3000`, both any number of times: the same checks, and reports name the flag.
pub fn from_flags(from: &[String], to: &[String]) -> Result<Loaded, Reports> {
    let mut collector = Collector::default();
    let sections = flags::sections(&mut collector, from, to);
    finish(collector, &sections, Path::new(""), (&address::resolve_system, Accounts::System))
}

fn finish(
    mut collector: Collector,
    sections: &[Section],
    path: &Path,
    (resolve, accounts): (Resolver<'_>, Accounts),
) -> Result<Loaded, Reports> {
    let config = build::build(&mut Builder { collector: &mut collector, resolve, accounts }, sections);
    let settings = effective::settings(&collector, sections);
    collector.finish(Loaded { config, settings, path: path.to_owned() })
}
