//! Programs that nobody here wrote.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Child, Command};

/// Where `name` is. Absent, it fails the test when CI is set; else the test prints `SKIPPED name` and is to return.
#[track_caller]
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]);
    let found = places.map(|place| place.join(name)).find(|file| file.is_file());
    if found.is_none() {
        assert!(std::env::var_os("CI").as_deref() != Some(OsStr::new("true")), "{name} is not installed");
        println!("SKIPPED {name}");
    }
    found
}

/// A child process that is gone when this is.
#[derive(Debug)]
pub struct Running(pub Child);

impl Running {
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
