//! Why a run of the worker says nothing about speed.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The reason. Every one of them makes the run worthless; the caller shows it and stops.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line is wrong: read the usage.
    Usage(String),
    /// A call failed: the file system that is measured, or the place of the measurement, is broken.
    Io { path: PathBuf, source: io::Error },
    /// What was read is not what was written: the file system loses data.
    Wrong { path: PathBuf, offset: u64 },
    /// Two trees that should be alike are not.
    Differs { path: PathBuf, how: &'static str },
}

/// What a row gives, or why not.
pub(crate) type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// An error of a call on `path`, for `map_err`.
    pub(crate) fn on(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(what) => write!(out, "{what}"),
            Self::Io { path, source } => write!(out, "{}: {source}", path.display()),
            Self::Wrong { path, offset } => write!(out, "{}: wrong bytes at {offset}", path.display()),
            Self::Differs { path, how } => write!(out, "{}: {how}", path.display()),
        }
    }
}
