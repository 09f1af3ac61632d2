//! Which features of the protocol are switched on, and why. Each was measured or is needed for correctness;
//! those the kernel lacks are left out silently.

use std::io;

use fuser::{InitFlags, KernelConfig};

/// Largest read or write in one request, in bytes: the kernel's own limit of 256 pages, beyond which nothing
/// is gained.
const REQUEST_LEN_MAX: u32 = 1 << 20;

/// Requests that the kernel sends without waiting for earlier ones: read-ahead and write-back.
const BACKGROUND_MAX: u16 = 64;

/// Features switched on wherever the kernel has them.
fn wanted() -> InitFlags {
    // Reads ahead of the reader do not wait for each other.
    InitFlags::FUSE_ASYNC_READ
        // Direct reads and writes of one call neither.
        | InitFlags::FUSE_ASYNC_DIO
        // Truncation on open is part of the open.
        | InitFlags::FUSE_ATOMIC_O_TRUNC
        // A listing brings the attributes along, when somebody asks for them.
        | InitFlags::FUSE_DO_READDIRPLUS
        | InitFlags::FUSE_READDIRPLUS_AUTO
        // Lookups and listings of one directory do not wait for each other.
        | InitFlags::FUSE_PARALLEL_DIROPS
        // Targets of symbolic links never change.
        | InitFlags::FUSE_CACHE_SYMLINKS
        // Clearing setuid is the file system's, so the kernel need not ask for capabilities at each write.
        | InitFlags::FUSE_HANDLE_KILLPRIV_V2
        // Cached bytes stay until we say otherwise: nobody else changes files.
        | InitFlags::FUSE_EXPLICIT_INVAL_DATA
        // Access control lists are enforced by the kernel; the umask is then ours to apply, because a
        // directory's default list replaces it.
        | InitFlags::FUSE_POSIX_ACL
        | InitFlags::FUSE_DONT_MASK
        // Inode numbers stay the same for ever, so handles may name them (`open_by_handle_at`, NFS).
        | InitFlags::FUSE_EXPORT_SUPPORT
}

/// Switches the features on.
pub(crate) fn negotiate(config: &mut KernelConfig, write_back: bool) -> io::Result<()> {
    let mut features = wanted();
    features.set(InitFlags::FUSE_WRITEBACK_CACHE, write_back);
    let missing = features & !config.capabilities();
    if !missing.is_empty() {
        tracing::info!(?missing, "the kernel lacks features");
    }
    config.add_capabilities(features & config.capabilities()).map_err(unsupported)?;
    config.set_max_write(REQUEST_LEN_MAX).map_err(out_of_range)?;
    config.set_max_background(BACKGROUND_MAX).map_err(out_of_range)?;
    Ok(())
}

fn unsupported(missing: InitFlags) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("the kernel refused the features {missing:?}"))
}

fn out_of_range<T: std::fmt::Display>(nearest: T) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("the nearest limit that is possible is {nearest}"))
}
