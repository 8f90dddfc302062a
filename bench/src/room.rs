//! A directory of our own for the files of one process, gone when dropped; and a port nobody listens on.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Below the ports that the kernel gives to outgoing connections: none of them can take one between here and a
/// program's own bind.
const PORT_FIRST: u32 = 18_000;
const PORT_COUNT: u32 = 12_000;

/// A temporary directory.
#[derive(Debug)]
pub struct Room {
    path: PathBuf,
}

impl Room {
    /// A new, empty one; the label is for whoever looks while it runs.
    pub fn new(label: &str) -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Relaxed);
        let path = std::env::temp_dir().join(format!("layer7router-bench-{}-{count}-{label}", std::process::id()));
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn write(&self, name: &str, content: &[u8]) -> Result<PathBuf, String> {
        let path = self.path.join(name);
        fs::write(&path, content).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("bench: {} is left behind: {error}", self.path.display());
        }
    }
}

/// A port of 127.0.0.1 that was free a moment ago; another one each time.
pub fn free_port() -> Result<u16, String> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..PORT_COUNT {
        // Two benches at the same time begin far from each other.
        let offset = std::process::id().wrapping_mul(97).wrapping_add(COUNT.fetch_add(1, Relaxed)) % PORT_COUNT;
        let port = u16::try_from(PORT_FIRST + offset).map_err(|error| error.to_string())?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(format!("no free port from {PORT_FIRST} to {}", PORT_FIRST + PORT_COUNT - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_gone_when_dropped_also_on_panic() {
        let path = std::thread::spawn(|| {
            let room = Room::new("test").unwrap();
            room.write("file", b"x").unwrap();
            std::panic::panic_any(room.path().to_owned());
        })
        .join()
        .unwrap_err()
        .downcast::<PathBuf>()
        .unwrap();
        assert!(!path.exists());
    }
}
