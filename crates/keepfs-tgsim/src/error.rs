//! What can go wrong in the server itself. What a client did wrong is an answer, not an error: see `api::Refusal`.

use std::path::PathBuf;

/// An error of the server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A socket failed. Close the connection; a listener that fails ends the server.
    #[error("socket: {0}")]
    Socket(#[from] std::io::Error),
    /// A file of the state failed. Look at the disk and the path.
    #[error("{path}: {error}")]
    State {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A line of the journal is not one of this version's records. Use an empty directory.
    #[error("the journal's line {line} cannot be read: {error}")]
    Journal {
        /// The line's number, from 1.
        line: usize,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// What came over a connection breaks the protocol. Close the connection.
    #[error("protocol: {0}")]
    Protocol(&'static str),
    /// Another server holds the state's directory. Give each server its own.
    #[error("{0} is in use by another server")]
    InUse(PathBuf),
}

/// The result of everything that can fail in the server.
pub type Result<T> = std::result::Result<T, Error>;
