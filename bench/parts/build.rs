//! Which compiler makes this program, and for what: counts of instructions hold for no other.

use std::env;
use std::process::Command;

fn main() {
    let compiler = env::var_os("RUSTC").expect("cargo says which");
    let version = Command::new(compiler).arg("--version").output().expect("it has just compiled this");
    println!("cargo::rustc-env=MADE_BY={}", String::from_utf8_lossy(&version.stdout).trim());
    println!("cargo::rustc-env=MADE_FOR={}", env::var("TARGET").expect("cargo says for what"));
    println!("cargo::rerun-if-changed=build.rs");
}
