//! Mount points as a command meets them: ours or not, alive or dead, in use by whom. Never touches what lies in them.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use keepfs_fuse::{FuseError, Unmount};
use rustix::io::Errno;

use super::users::users_of;
use crate::failure::{Doing, Failure, Result};

/// Type of our mounts in the kernel's table.
const MOUNT_TYPE: &str = "fuse.keepfs";

/// A mount table beyond this is refused rather than read into memory.
const MOUNT_TABLE_LEN_MAX: usize = 64 << 20;

/// Mounts of this process's view, as the kernel lists them.
pub(crate) struct MountTable {
    /// Mount point and type, in the order of mounting.
    mounts: Vec<(PathBuf, String)>,
}

impl MountTable {
    /// Asks the kernel.
    pub(crate) fn read() -> Result<Self> {
        let bytes = fs::read("/proc/self/mountinfo").doing("read the mount table")?;
        if bytes.len() > MOUNT_TABLE_LEN_MAX {
            return Err(Failure::failed("the mount table is too long"));
        }
        Ok(Self::parse(&bytes))
    }

    fn parse(bytes: &[u8]) -> Self {
        let mounts = bytes.split(|byte| *byte == b'\n').filter_map(|line| {
            let mut fields = line.split(|byte| *byte == b' ');
            let point = fields.nth(4)?;
            // Optional fields of any number end with a lone dash; the type follows.
            fields.find(|field| *field == b"-")?;
            let kind = String::from_utf8_lossy(fields.next()?).into_owned();
            Some((PathBuf::from(OsString::from_vec(unescape(point))), kind))
        });
        Self { mounts: mounts.collect() }
    }

    /// Whether the topmost mount at exactly this path is ours.
    pub(crate) fn is_ours(&self, path: &Path) -> bool {
        self.mounts.iter().rfind(|(point, _)| point == path).is_some_and(|(_, kind)| kind == MOUNT_TYPE)
    }

    /// Whether anything is mounted at exactly this path.
    pub(crate) fn is_mount_point(&self, path: &Path) -> bool {
        self.mounts.iter().any(|(point, _)| point == path)
    }
}

/// The kernel writes space, tab, line end and backslash as a backslash and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        match (byte, after) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                out.push(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'));
                rest = tail;
            }
            _ => {
                out.push(byte);
                rest = after;
            }
        }
    }
    out
}

/// What a path is, as somebody sees it who wants to mount there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Condition {
    /// Nothing is there.
    Missing,
    /// It is something else.
    NotDirectory,
    /// A directory to mount on.
    Directory,
    /// A mount of ours whose daemon died: it answers nothing.
    Stale,
    /// A mount of ours that answers.
    Mounted,
}

/// Looks at a path. A mount whose daemon died may still show the attributes that the kernel remembers; free
/// space is what it always has to ask for.
pub(crate) fn condition(path: &Path) -> Result<Condition> {
    if MountTable::read()?.is_ours(path) {
        return Ok(match rustix::fs::statvfs(path) {
            Err(Errno::NOTCONN | Errno::CONNABORTED) => Condition::Stale,
            // Whatever else it says, somebody says it: another user's mount, for example, refuses us.
            _ => Condition::Mounted,
        });
    }
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(Condition::Directory),
        Ok(_) => Ok(Condition::NotDirectory),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Condition::Missing),
        Err(error) => {
            Err(Failure::failed(format!("cannot look at the mount point: {error}")).at(path.display()))
        }
    }
}

/// Unmounts.
///
/// # Errors
/// `Failed` when somebody uses the mount; the sentence names who, and nothing has changed.
pub(crate) fn unmount(path: &Path) -> Result<()> {
    keepfs_fuse::unmount(path, Unmount::WhenIdle).map_err(|error| match error {
        FuseError::Busy { path } => busy(&path),
        other => Failure::failed(other.to_string()),
    })
}

/// Why a mount cannot be taken away: who uses it.
pub(crate) fn busy(path: &Path) -> Failure {
    let users = users_of(path);
    let what = match users.is_empty() {
        true => "the mount is in use".to_owned(),
        false => format!("the mount is in use by {}", users.join(", ")),
    };
    Failure::failed(what).at(path.display()).advise("close what uses it and unmount again; nothing was lost")
}

/// Takes a dead mount away.
pub(crate) fn heal(path: &Path) -> Result<()> {
    keepfs_fuse::heal(path).map_err(|error| Failure::failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        30 22 0:40 / /mnt/a\\040b rw,nosuid shared:7 master:3 - fuse.keepfs default rw,user_id=0\n\
        31 22 0:41 / /mnt/over rw - fuse.keepfs default rw\n\
        32 31 0:42 / /mnt/over rw - tmpfs none rw\n\
        torn line";

    #[test]
    fn mount_table_is_read_with_its_escapes() {
        let table = MountTable::parse(TABLE);
        assert!(table.is_ours(Path::new("/mnt/a b")));
        assert!(!table.is_ours(Path::new("/")));
        assert!(table.is_mount_point(Path::new("/")));
        assert!(!table.is_mount_point(Path::new("/mnt")));
    }

    #[test]
    fn what_lies_on_top_counts() {
        assert!(!MountTable::parse(TABLE).is_ours(Path::new("/mnt/over")));
    }

    #[test]
    fn escapes_that_are_none_stay() {
        assert_eq!(unescape(b"a\\040b\\134c\\9\\04"), b"a b\\c\\9\\04");
    }
}
