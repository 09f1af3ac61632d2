//! What the file-based parts share about the operating system: errors, directories, durable entries.
//!
//! It maps `errno` to a store error in one table, and never decides what a caller does about it.

use std::os::fd::{AsFd, OwnedFd};

use keepfs_store::{ObjectName, Result, Retry, Space, StoreError};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Directories of ours are for their owner only.
pub(crate) const DIRECTORY_MODE: Mode = Mode::RWXU;

/// So are files.
pub(crate) const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// How a directory is opened to work relative to it.
const OPEN_DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Size and free room of the file system that a file or directory lies on.
pub(crate) fn space_of(on: impl AsFd) -> rustix::io::Result<Space> {
    let stat = rustix::fs::fstatvfs(on)?;
    let unit = stat.f_frsize.max(1);
    Ok(Space { total: stat.f_blocks.saturating_mul(unit), free: stat.f_bavail.saturating_mul(unit) })
}

/// The one table from `errno` to store errors. `doing` is a phrase for people, such as "writing o/ab/…".
pub(crate) fn store_error(name: Option<&ObjectName>, doing: &str, errno: Errno) -> StoreError {
    let detail = format!("{doing}: {errno}");
    match (errno, name) {
        (Errno::NOENT, Some(name)) => StoreError::not_found(name),
        (Errno::EXIST, Some(name)) => StoreError::exists(name),
        (Errno::ROFS, _) => StoreError::ReadOnly { detail },
        (Errno::NOSPC | Errno::DQUOT, _) => StoreError::Full { detail },
        (Errno::ACCESS | Errno::PERM, _) => StoreError::Denied { detail },
        // The medium under the directory is gone: a disk unplugged, a network mount that lost its server.
        (
            Errno::STALE
            | Errno::NODEV
            | Errno::NXIO
            | Errno::NOTCONN
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::TIMEDOUT,
            _,
        ) => StoreError::Unavailable { detail, retry: Retry::Soon },
        // No later call can make these pass: a directory where a file should be, a name too long, a file
        // longer than the file system can hold.
        (
            Errno::NOENT
            | Errno::EXIST
            | Errno::NOTDIR
            | Errno::ISDIR
            | Errno::LOOP
            | Errno::NAMETOOLONG
            | Errno::INVAL
            | Errno::BADF
            | Errno::FBIG
            | Errno::NOSYS
            | Errno::OPNOTSUPP,
            _,
        ) => StoreError::io_never(detail),
        _ => StoreError::io_soon(detail),
    }
}

/// The `errno` of an error of the standard library; `EIO` for the few that it makes up itself.
pub(crate) fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Opens a directory relative to another; an empty path is the directory itself.
pub(crate) fn open_directory(at: impl AsFd, path: &str) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_empty() { "." } else { path };
    rustix::fs::openat(at, path, OPEN_DIRECTORY, Mode::empty())
}

/// Opens a directory by its absolute path.
pub(crate) fn open_directory_at(path: &std::path::Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OPEN_DIRECTORY, Mode::empty())
}

/// Makes the entries of a directory durable. Some file systems (CIFS, several in user space) refuse to sync a
/// directory with `EINVAL`; they have no other way either, so the refusal is no failure of the entry.
pub(crate) fn sync_directory(directory: impl AsFd) -> rustix::io::Result<()> {
    match rustix::fs::fsync(directory) {
        Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        result => result,
    }
}

/// Makes a directory; true if it was not there before.
pub(crate) fn make_directory(at: impl AsFd, path: &str) -> rustix::io::Result<bool> {
    match rustix::fs::mkdirat(at, path, DIRECTORY_MODE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Makes a directory and its missing ancestors, each durable in its parent. That of one which is there already
/// is synced too where we may: whoever made it a moment ago need not have done so.
pub(crate) fn make_directory_all(path: &std::path::Path) -> std::io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if path.is_dir() {
        return match parent.map(|parent| sync_directory(open_directory_at(parent)?)) {
            None | Some(Ok(()) | Err(Errno::ACCESS | Errno::PERM | Errno::ROFS)) => Ok(()),
            Some(Err(errno)) => Err(errno.into()),
        };
    }
    if let Some(parent) = parent {
        make_directory_all(parent)?;
        match rustix::fs::mkdir(path, DIRECTORY_MODE) {
            Err(Errno::EXIST) if path.is_dir() => {}
            result => result?,
        }
        sync_directory(open_directory_at(parent)?)?;
    }
    Ok(())
}

/// Calls `each` with the name of every entry but `.` and `..`, as far as names are UTF-8: ours all are.
pub(crate) fn each_entry(
    directory: impl AsFd,
    each: &mut dyn FnMut(&str) -> Result<std::ops::ControlFlow<()>>,
    failed: &dyn Fn(Errno) -> StoreError,
) -> Result<std::ops::ControlFlow<()>> {
    for entry in rustix::fs::Dir::read_from(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if name != "." && name != ".." && each(name)?.is_break() {
            return Ok(std::ops::ControlFlow::Break(()));
        }
    }
    Ok(std::ops::ControlFlow::Continue(()))
}

/// A name for a temporary file that no other process draws: random per process, counted within it.
pub(crate) fn temporary_name() -> String {
    use std::hash::{BuildHasher, RandomState};
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static PROCESS: OnceLock<u64> = OnceLock::new();
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let process = PROCESS.get_or_init(|| RandomState::new().hash_one(std::process::id()));
    format!("{process:016x}-{:x}", COUNTER.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errno_table_tells_what_to_do() {
        let name = ObjectName::vault();
        let error = |errno| store_error(Some(&name), "testing", errno);
        assert!(matches!(error(Errno::NOENT), StoreError::NotFound { .. }));
        assert!(matches!(error(Errno::EXIST), StoreError::Exists { .. }));
        assert!(matches!(error(Errno::ROFS), StoreError::ReadOnly { .. }));
        assert!(matches!(error(Errno::NOSPC), StoreError::Full { .. }));
        assert!(matches!(error(Errno::DQUOT), StoreError::Full { .. }));
        assert!(matches!(error(Errno::ACCESS), StoreError::Denied { .. }));
        assert!(matches!(error(Errno::STALE), StoreError::Unavailable { retry: Retry::Soon, .. }));
        assert!(matches!(error(Errno::IO), StoreError::Io { retry: Retry::Soon, .. }));
        assert!(matches!(error(Errno::NOTDIR), StoreError::Io { retry: Retry::Never, .. }));
    }
}
