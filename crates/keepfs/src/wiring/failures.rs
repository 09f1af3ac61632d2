//! The one table from the libraries' errors to exit codes and advice.

use keepfs_fs::FsError;
use keepfs_fuse::FuseError;
use keepfs_store::StoreError;
use keepfs_stores::OpenError;

use crate::exit::Exit;
use crate::failure::Failure;

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
        StoreError::Denied { .. } => {
            failure.advise("check the credentials, and who may read and write there")
        }
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
