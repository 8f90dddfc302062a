//! What is built of this source tree: the router, its variants, and the peer that no package has; where each is, and how
//! it is built.

use std::path::{Path, PathBuf};

/// What one call of cargo builds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Part {
    Router,
    Variants,
    Pingora,
}

impl Part {
    /// In the source tree; where to is said besides.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Router => &["build", "--release", "--locked"],
            Self::Variants => &["build", "--release", "--locked", "-p", "variants"],
            Self::Pingora => &["build", "--release", "--locked", "--manifest-path", "bench/peers/pingora/Cargo.toml"],
        }
    }

    /// What to type in the source tree for the same.
    pub fn command(self) -> String {
        let directory = if self == Self::Pingora { " --target-dir target/peers" } else { "" };
        format!("cargo {}{directory}", self.arguments().join(" "))
    }

    /// A workspace of its own has a directory of its own: neither makes the other build again.
    fn directory(self) -> Result<PathBuf, String> {
        let target = target()?;
        Ok(if self == Self::Pingora { target.join("peers") } else { target })
    }

    /// Where a program of that name is, once it is built.
    pub fn program(self, name: &str) -> Result<PathBuf, String> {
        Ok(self.directory()?.join("release").join(name))
    }
}

/// Where cargo puts everything, the profile's directory that we are in ourselves included.
pub fn target() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| format!("where we are: {error}"))?;
    let directories = own.ancestors().skip(1);
    // A test is one level deeper.
    let profile = directories.into_iter().find(|directory| !directory.ends_with("deps"));
    Ok(profile.and_then(Path::parent).unwrap_or(Path::new("target")).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_where_it_is_looked_for() {
        let target = target().unwrap();
        assert_eq!(Part::Router.program("layer7router").unwrap(), target.join("release/layer7router"));
        assert_eq!(Part::Pingora.program("peer-pingora").unwrap(), target.join("peers/release/peer-pingora"));
        for part in [Part::Router, Part::Variants, Part::Pingora] {
            assert!(part.command().starts_with("cargo build --release --locked"), "{}", part.command());
        }
        assert!(Part::Pingora.command().ends_with("--target-dir target/peers"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        assert!(source.join("bench/peers/pingora/Cargo.toml").is_file());
    }
}
