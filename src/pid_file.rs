//! `pid_file`: opened while the process may still be root, written when the start has succeeded, removed at the end.
//!
//! It stays root's: whoever stops the router by this file as root must not be told another number by the router's own user.
//! For the same reason a symbolic link is not followed. A `user` that may not remove it leaves it empty.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// An open one.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: File,
    written: bool,
}

impl PidFile {
    /// Opens it. What stands in it stays until [`PidFile::write`].
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o644).custom_flags(libc::O_NOFOLLOW);
        Ok(Self { path: path.to_owned(), file: options.open(path)?, written: false })
    }

    /// The number of this process.
    pub fn write(&mut self) -> io::Result<()> {
        self.written = true;
        self.file.set_len(0)?;
        writeln!(self.file, "{}", std::process::id())
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // After a start that failed it may still name another process.
        let ours = self.written || self.file.metadata().is_ok_and(|meta| meta.len() == 0);
        if ours && std::fs::remove_file(&self.path).is_err() {
            // Gone already, or the directory is not ours: an empty file names nobody.
            let _gone_already = self.file.set_len(0);
        }
    }
}
