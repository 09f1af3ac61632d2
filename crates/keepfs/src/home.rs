//! Where everything of ours stands on this machine. Knows places, never contents.
//!
//! `KEEPFS_HOME` puts everything below one directory; without it the XDG directories are used.

use std::ffi::OsString;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::exit::Exit;
use crate::failure::{Doing, Failure, Result};

/// Longest name of a vault on this machine.
const VAULT_NAME_LEN_MAX: usize = 64;

/// The directories of one installation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Home {
    /// Holds `config.toml`.
    pub(crate) config_dir: PathBuf,
    /// Holds one directory for each vault.
    pub(crate) state_dir: PathBuf,
}

/// The places of one vault.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct VaultPlaces {
    /// Everything below it is sealed or says nothing about the files.
    pub(crate) state: PathBuf,
    /// Socket of the running daemon.
    pub(crate) socket: PathBuf,
    /// Held by the running daemon; names it.
    pub(crate) lock: PathBuf,
    /// The daemon's log.
    pub(crate) log: PathBuf,
    /// What stores must be told; for all vaults of this user.
    pub(crate) credentials: PathBuf,
}

impl Home {
    /// From `--home`, or the environment.
    pub(crate) fn find(home: Option<&Path>) -> Result<Self> {
        Self::from_parts(home, &|name| std::env::var_os(name), std::env::home_dir())
    }

    fn from_parts(
        home: Option<&Path>,
        variable: &dyn Fn(&str) -> Option<OsString>,
        user_home: Option<PathBuf>,
    ) -> Result<Self> {
        if let Some(home) = home.filter(|home| !home.as_os_str().is_empty()) {
            let home = std::path::absolute(home).doing("use the home directory of keepfs")?;
            return Ok(Self { state_dir: home.join("state"), config_dir: home });
        }
        // The XDG specification: a relative path in these variables is to be ignored.
        let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let user_home = user_home.filter(|path| path.is_absolute());
        let below = |xdg: &str, rest: &str| {
            absolute(xdg).or_else(|| user_home.as_ref().map(|user_home| user_home.join(rest))).ok_or_else(
                || {
                    Failure::new(Exit::Usage, "this user has no home directory")
                        .advise("set KEEPFS_HOME to a directory for configuration and state")
                },
            )
        };
        Ok(Self {
            config_dir: below("XDG_CONFIG_HOME", ".config")?.join("keepfs"),
            state_dir: below("XDG_STATE_HOME", ".local/state")?.join("keepfs"),
        })
    }

    /// The one configuration file.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.config_dir.join("config.toml")
    }

    /// What stores must be told.
    pub(crate) fn credentials_file(&self) -> PathBuf {
        self.config_dir.join("credentials.toml")
    }

    /// The places of one vault; the name was checked by [`check_vault_name`].
    pub(crate) fn vault(&self, name: &str) -> VaultPlaces {
        let state = self.state_dir.join(name);
        VaultPlaces {
            socket: state.join("control.sock"),
            lock: state.join("daemon.lock"),
            log: state.join("log").join("keepfs.log"),
            credentials: self.credentials_file(),
            state,
        }
    }
}

/// A name becomes a directory and a table in config.toml: letters, digits, `-`, `_` and `.`, not first.
pub(crate) fn check_vault_name(name: &str) -> Result<()> {
    let fits = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let first_fits = name.starts_with(|character: char| character.is_ascii_alphanumeric());
    if first_fits && name.len() <= VAULT_NAME_LEN_MAX && name.chars().all(fits) {
        return Ok(());
    }
    Err(Failure::usage("this cannot be the name of a vault")
        .at(name)
        .advise("use up to 64 letters, digits, '-', '_' and '.', beginning with a letter or digit"))
}

/// Makes a directory (and those above it) that only its owner can enter; one that exists stays as it is. Each
/// is durable in the one above: a directory whose name is lost takes along everything synced in it.
pub(crate) fn make_private_dir(path: &Path) -> Result<()> {
    make_durably(path)
        .map_err(|error| Failure::failed(format!("cannot make the directory: {error}")).at(path.display()))
}

fn make_durably(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_durably(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        // Another command of ours was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made?,
    }
    sync_directory_of(path)
}

/// Makes the name of a file or directory durable.
pub(crate) fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<OsString> {
        move |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
    }

    #[test]
    fn one_home_holds_everything() {
        let home =
            Home::from_parts(Some(Path::new("/k")), &variables(&[("XDG_CONFIG_HOME", "/c")]), None).unwrap();
        assert_eq!(home.config_file(), Path::new("/k/config.toml"));
        assert_eq!(home.vault("default").socket, Path::new("/k/state/default/control.sock"));
    }

    #[test]
    fn xdg_directories_are_the_default() {
        let user_home = Some(PathBuf::from("/home/a"));
        let home =
            Home::from_parts(None, &variables(&[("XDG_CONFIG_HOME", "/c")]), user_home.clone()).unwrap();
        assert_eq!(home.config_dir, Path::new("/c/keepfs"));
        assert_eq!(home.state_dir, Path::new("/home/a/.local/state/keepfs"));
        let home = Home::from_parts(None, &variables(&[("XDG_STATE_HOME", "relative")]), user_home).unwrap();
        assert_eq!(home.state_dir, Path::new("/home/a/.local/state/keepfs"));
    }

    #[test]
    fn user_without_a_home_is_told_what_to_set() {
        let failure = Home::from_parts(None, &variables(&[]), None).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.to_string().contains("KEEPFS_HOME"));
    }

    #[test]
    fn names_that_leave_their_directory_are_refused() {
        for name in ["", ".", "..", "a/b", "-a", ".hidden", "ä", "a b", &"x".repeat(65)] {
            assert!(check_vault_name(name).is_err(), "{name}");
        }
        for name in ["default", "a", "Photos-2.old_1"] {
            check_vault_name(name).unwrap();
        }
    }
}
