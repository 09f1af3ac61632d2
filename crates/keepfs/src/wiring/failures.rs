//! The one table from the libraries' errors to exit codes and advice.

use std::sync::Arc;

use keepfs_fs::FsError;
use keepfs_fuse::FuseError;
use keepfs_store::{Store, StoreError};
use keepfs_stores::{OpenError, OpenOptions};

use crate::exit::Exit;
use crate::failure::{Failure, Result};

/// Opens the store at a URL.
pub(crate) fn open_store(url: &str, options: OpenOptions) -> Result<Arc<dyn Store>> {
    open_url(url, options).map_err(|error| open_failure(&error).at(url))
}

/// Opens the store at a URL, of whichever kind.
pub(super) fn open_url(url: &str, options: OpenOptions) -> Result<Arc<dyn Store>, OpenError> {
    #[cfg(feature = "telegram")]
    if let Some(rest) = super::telegram::rest_of(url) {
        return super::telegram::open_telegram(url, rest, options);
    }
    keepfs_stores::open(url, options)
}

/// The same store as a URL that does not depend on the current directory, for keeping.
pub(crate) fn normalize_url(url: &str) -> Result<String, OpenError> {
    #[cfg(feature = "telegram")]
    if let Some(rest) = super::telegram::rest_of(url) {
        return super::telegram::normalize(url, rest);
    }
    keepfs_stores::normalize_url(url)
}

/// Why a URL did not lead to a store.
pub(crate) fn open_failure(error: &OpenError) -> Failure {
    match error {
        OpenError::UnknownScheme { .. } | OpenError::BadUrl { .. } => Failure::usage(error.to_string()),
        OpenError::NotThere { .. } => Failure::new(Exit::NoVault, error.to_string())
            .advise("check the address (is the disk mounted?), or make a vault there with 'keepfs init'"),
        OpenError::Store(error) => store_failure(error),
        _ => Failure::failed(error.to_string()),
    }
}

/// Why a store did not do what it was asked.
pub(crate) fn store_failure(error: &StoreError) -> Failure {
    let failure = Failure::failed(error.to_string());
    match error {
        StoreError::Denied { .. } => failure.advise("check who may read and write there"),
        StoreError::ReadOnly { .. } => failure.advise("make the store writable, or mount with --read-only"),
        StoreError::Full { .. } => failure.advise("make room on the store"),
        StoreError::Unavailable { .. } => failure.advise("check the connection and try again"),
        _ => failure,
    }
}

/// Why the file system or the vault did not do what it was asked.
pub(crate) fn fs_failure(error: &FsError) -> Failure {
    let exit = match error {
        FsError::WrongSecret => Exit::WrongPassword,
        FsError::NoVault | FsError::NoState { .. } => Exit::NoVault,
        FsError::EmptyPassword => Exit::Usage,
        FsError::Contended => Exit::Locked,
        FsError::Store(error) => return store_failure(error),
        FsError::Shared(error) => return fs_failure(error),
        _ => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}

/// Why mounting or unmounting failed.
pub(crate) fn fuse_failure(error: &FuseError) -> Failure {
    let exit = match error {
        FuseError::AlreadyMounted { .. } => Exit::Locked,
        _ => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}
