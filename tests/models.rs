//! The list of breaks is true: each names a model and a place that is there, and no model is without one.
//!
//! That the models pass, and fail when the source is broken there, is tried by `tests/models/run.sh` and `breaks.sh`.

use std::collections::BTreeSet;
use std::path::Path;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const LIST: &str = include_str!("models/breaks.list");

fn read(path: impl AsRef<Path>) -> String {
    let path = Path::new(ROOT).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The tests of the models' own package.
fn models() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(Path::new(ROOT).join("tests/models/src")).expect("a folder") {
        let source = read(entry.expect("an entry").path());
        for rest in source.split("#[test]\nfn ").skip(1) {
            found.insert(rest.split('(').next().unwrap_or_default().to_owned());
        }
    }
    found
}

#[test]
fn each_break_has_its_place_and_each_model_its_break() {
    let mut without = models();
    assert!(without.len() > 10, "{without:?}");
    let all = without.clone();
    // The first is the pattern of the others.
    for entry in LIST.split("\n== ").skip(2) {
        let mut head = entry.lines().next().unwrap_or_default().splitn(3, ' ');
        let (model, file) = (head.next().unwrap_or_default(), head.next().unwrap_or_default());
        assert!(head.next().is_some(), "{entry}: what is broken?");
        let named: Vec<_> = all.iter().filter(|name| name.contains(model)).collect();
        assert_eq!(named.len(), 1, "{model} is {named:?}");
        without.remove(named[0]);
        let old: Vec<_> = entry.lines().filter_map(|line| line.strip_prefix("- ")).collect();
        let old = old.join("\n");
        assert!(!old.is_empty(), "{entry}: in place of what?");
        assert_eq!(read(file).matches(&old).count(), 1, "{file}: not there, or more than once: {old}");
        assert_eq!(entry.lines().filter(|line| line.starts_with("> ")).count(), 1, "{entry}: what does the model say?");
    }
    assert!(without.is_empty(), "no break shows what these are for: {without:?}");
}
