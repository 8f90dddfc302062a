//! What the product is made of, and what it is not.

use std::process::Command;

/// The names in `cargo tree -e normal`, to this depth or to the bottom.
fn tree(depth: &[&str]) -> Vec<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--locked", "-e", "normal", "--prefix", "none", "--format", "{p}"])
        .args(depth)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn the_six_named_crates_are_direct_dependencies() {
    let direct = tree(&["--depth", "1"]);
    for name in ["crossbeam-channel", "parking_lot", "httparse", "signal-hook", "ctrlc", "simplelog"] {
        assert!(direct.iter().any(|found| found == name), "{name} is missing: {direct:?}");
    }
}

#[test]
fn no_async_runtime_is_anywhere() {
    let all = tree(&[]);
    assert!(all.len() > 10, "{all:?}");
    let runtimes =
        ["tokio", "async-std", "smol", "mio", "async-io", "futures-executor", "monoio", "glommio", "async-executor"];
    for name in runtimes {
        assert!(!all.iter().any(|found| found == name), "{name} came in");
    }
}
