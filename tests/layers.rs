//! The tree tells the architecture: imports point one way, and the map in `lib.rs` is true.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const SRC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

/// The modules of the map, in reading order.
fn map() -> Vec<String> {
    let lib = read(Path::new(SRC).join("lib.rs"));
    lib.lines()
        .skip_while(|line| *line != "//! ```map")
        .skip(1)
        .take_while(|line| *line != "//! ```")
        .flat_map(|line| line.trim_start_matches("//!").split_whitespace())
        .map(str::to_owned)
        .collect()
}

/// Every source file with the name of its top-level module.
fn sources(folder: &Path, module: Option<&str>, all: &mut Vec<(String, PathBuf)>) {
    for entry in std::fs::read_dir(folder).expect("src") {
        let path = entry.expect("an entry").path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("UTF-8").to_owned();
        let module = module.unwrap_or(&stem);
        if path.is_dir() {
            sources(&path, Some(module), all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push((module.to_owned(), path));
        }
    }
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

/// A source without its own tests and comments.
fn product(source: &str) -> String {
    let product = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    product.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Top-level modules that a source names by `crate::`.
fn imports(source: &str) -> BTreeSet<String> {
    let code = product(source);
    let mut found = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        // `use crate::{a, b::c};`
        let names = match rest.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap_or_default().to_owned(),
            None => rest.to_owned(),
        };
        let grouped = rest.starts_with('{');
        for name in names.split(',').take(if grouped { usize::MAX } else { 1 }) {
            let word: String = name.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            found.insert(word);
        }
    }
    found
}

#[test]
fn imports_point_only_down_the_map() {
    let map = map();
    let rank = |module: &str| map.iter().position(|name| name == module);
    let mut all = Vec::new();
    sources(Path::new(SRC), None, &mut all);
    let mut wrong = Vec::new();
    for (module, path) in all {
        if module == "main" || module == "lib" {
            continue;
        }
        let Some(own) = rank(&module) else {
            wrong.push(format!("{module} is not on the map"));
            continue;
        };
        for import in imports(&read(&path)) {
            match rank(&import) {
                Some(other) if other >= own => {}
                Some(_) => wrong.push(format!("{}: {module} imports {import}, which stands before it", path.display())),
                None if import.is_empty() => {}
                None => wrong.push(format!("{}: {import} is not on the map", path.display())),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_map_names_only_what_is_there() {
    let mut all = Vec::new();
    sources(Path::new(SRC), None, &mut all);
    let there: BTreeSet<String> = all.into_iter().map(|(module, _)| module).collect();
    for module in map() {
        assert!(there.contains(&module), "{module} is on the map and not in src");
    }
}

#[test]
fn pure_modules_name_no_socket_no_thread_and_no_clock() {
    let mut all = Vec::new();
    sources(Path::new(SRC), None, &mut all);
    for (module, path) in all.iter().filter(|(module, _)| ["http", "route", "balance"].contains(&module.as_str())) {
        let source = read(path);
        for word in ["std::net::Tcp", "UnixStream", "std::thread", "Instant", "SystemTime", "std::io::Read", "rustix"] {
            assert!(!source.contains(word), "{module} names {word} in {}", path.display());
        }
    }
}

#[test]
fn the_wall_clock_is_read_in_one_module() {
    let mut all = Vec::new();
    sources(Path::new(SRC), None, &mut all);
    // Whoever else wants a text has it from there; a time of the wall clock in a deadline would jump with it. (simplelog
    // reads it for the program's log.)
    for (_, path) in all.iter().filter(|(module, _)| module != "clock") {
        let source = read(path);
        for word in ["SystemTime", "UNIX_EPOCH", "DateTime::now", "ClockId::Realtime", "CLOCK_REALTIME"] {
            assert!(!source.contains(word), "{} names {word}", path.display());
        }
    }
}

#[test]
fn unsafe_stands_in_one_module() {
    let mut all = Vec::new();
    sources(Path::new(SRC), None, &mut all);
    for (module, path) in all {
        let allowed = read(&path).contains("allow(unsafe_code)");
        assert_eq!(allowed, module == "sys", "{}", path.display());
    }
}

#[test]
fn shared_state_comes_from_one_module() {
    let mut all = Vec::new();
    sources(Path::new(SRC), None, &mut all);
    // Or the models would not see it. What is made once, at its first use, is no state.
    for (_, path) in all.iter().filter(|(module, path)| module != "sync" && !path.ends_with("tests.rs")) {
        let code = product(&read(path)).replace("std::sync::LazyLock", "");
        for (at, _) in code.match_indices("sync::") {
            assert!(code[..at].ends_with("crate::"), "{} has shared state of its own", path.display());
        }
        for word in ["parking_lot", "loom", "UnsafeCell"] {
            assert!(!code.contains(word), "{} names {word}", path.display());
        }
    }
}

/// What the models run. Not all of it is here: they leave the threads of `waiter` and `reaper` out, and only look at the
/// channel in `crew`.
const MODELLED: [&str; 12] = [
    "park.rs",
    "permits.rs",
    "permits/monitor.rs",
    "registry.rs",
    "pair.rs",
    "arena.rs",
    "snapshot.rs",
    "session.rs",
    "visit.rs",
    "visit/leave.rs",
    "waiter.rs",
    "waiter/watch.rs",
];

#[test]
fn what_has_a_model_waits_only_where_it_sees_it() {
    for file in MODELLED {
        let code = product(&read(Path::new(SRC).join(file)));
        assert!(code.contains("crate::sync::"), "{file}");
        for word in ["crossbeam_channel", "std::thread"] {
            assert!(!code.contains(word), "{file} names {word}");
        }
    }
}
