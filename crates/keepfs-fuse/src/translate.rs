//! The pure part of the translation: kinds, attributes, times, flags and error numbers.
//! It owns no state, asks nobody and never decides what an operation means.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{Errno, FileAttr, FileType, FopenFlags, INodeNo, RenameFlags, Request, TimeOrNow};
use keepfs_fs::Kind;
use keepfs_fs::{Attr, Caller, FsError, Opened, RenameMode, TimeSet};
use keepfs_fs::{Ino, Time};

/// How long the kernel may believe a name or an attribute without asking again. Only this kernel changes the
/// tree, and it forgets by itself what its own calls change.
pub(crate) const BELIEF: Duration = Duration::from_secs(3_600);

/// What `stat` calls the best size for reading and writing, in bytes: the page, as on other disks. A larger
/// one would make every stdio stream allocate that much.
const BLOCK_LEN: u32 = 4_096;

/// The permission bits of a mode, without the kind of the inode.
pub(crate) fn permission_bits(mode: u32) -> u16 {
    (mode & 0o7777) as u16
}

/// A mode without what a file must lose when somebody else writes to it: setuid, and setgid unless it is a mere
/// mark (a file that its group cannot execute) and the writer is of that group.
pub(crate) fn unprivileged_mode(mode: u16, by_group: bool) -> u16 {
    if mode & 0o010 == 0 && by_group { mode & !0o4000 } else { mode & !0o6000 }
}

/// The kind that the upper bits of a mode name, `None` for a number that means nothing. `mknod` without a
/// kind makes a regular file.
pub(crate) fn kind_of_mode(mode: u32) -> Option<Kind> {
    match mode & libc::S_IFMT {
        0 | libc::S_IFREG => Some(Kind::File),
        libc::S_IFIFO => Some(Kind::Fifo),
        libc::S_IFSOCK => Some(Kind::Socket),
        libc::S_IFCHR => Some(Kind::CharDevice),
        libc::S_IFBLK => Some(Kind::BlockDevice),
        _ => None,
    }
}

/// The kernel's word for a kind.
pub(crate) fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
        Kind::CharDevice => FileType::CharDevice,
        Kind::BlockDevice => FileType::BlockDevice,
    }
}

/// Attributes as the kernel wants them.
pub(crate) fn file_attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(attr.ino.0),
        size: attr.size,
        blocks: attr.blocks,
        atime: system_time(attr.atime),
        mtime: system_time(attr.mtime),
        ctime: system_time(attr.ctime),
        crtime: system_time(attr.btime),
        kind: file_type(attr.kind),
        perm: attr.mode,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: BLOCK_LEN,
        flags: 0,
    }
}

/// The answer "there is no such name, and there will be none until you make it": inode 0 with a lifetime.
pub(crate) fn no_such_name() -> FileAttr {
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK_LEN,
        flags: 0,
    }
}

/// A time for the kernel; one that `SystemTime` cannot hold becomes the epoch.
pub(crate) fn system_time(time: Time) -> SystemTime {
    let nanos = Duration::from_nanos(u64::from(time.nanos));
    let seconds = Duration::from_secs(time.secs.unsigned_abs());
    let whole = if time.secs < 0 { UNIX_EPOCH.checked_sub(seconds) } else { UNIX_EPOCH.checked_add(seconds) };
    whole.and_then(|whole| whole.checked_add(nanos)).unwrap_or(UNIX_EPOCH)
}

/// A time that `fuser` read from a request.
///
/// The kernel sends seconds rounded down and nanoseconds that count upwards. `fuser` turns negative seconds
/// `s` and nanoseconds `n` into "`|s|` seconds and `n` nanoseconds before the epoch", which is a different
/// instant; but it does so one to one, so the two numbers are taken back out of it.
pub(crate) fn kernel_time(time: SystemTime) -> Time {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => {
            Time { secs: i64::try_from(after.as_secs()).unwrap_or(i64::MAX), nanos: after.subsec_nanos() }
        }
        Err(error) => {
            let before = error.duration();
            let secs = 0_i64.checked_sub_unsigned(before.as_secs()).unwrap_or(i64::MIN);
            Time { secs, nanos: before.subsec_nanos() }
        }
    }
}

/// A time to set: a given one, or now.
pub(crate) fn time_set(time: TimeOrNow) -> TimeSet {
    match time {
        TimeOrNow::SpecificTime(time) => TimeSet::At(kernel_time(time)),
        TimeOrNow::Now => TimeSet::Now,
    }
}

/// Who asks.
pub(crate) fn caller(request: &Request) -> Caller {
    Caller { uid: request.uid(), gid: request.gid(), pid: request.pid() }
}

/// An inode number of the kernel.
pub(crate) fn ino(number: INodeNo) -> Ino {
    Ino(number.0)
}

/// The error number of a failed operation.
pub(crate) fn errno(error: &FsError) -> Errno {
    Errno::from_i32(error.errno())
}

/// What the kernel shall know of an opened file.
pub(crate) fn open_flags(opened: &Opened, flags: i32) -> FopenFlags {
    let mut answer = FopenFlags::empty();
    answer.set(FopenFlags::FOPEN_KEEP_CACHE, opened.keep_cache);
    answer.set(FopenFlags::FOPEN_DIRECT_IO, opened.direct_io);
    answer.set(FopenFlags::FOPEN_NOFLUSH, flags & libc::O_ACCMODE == libc::O_RDONLY);
    answer
}

/// How a rename treats what stands at its target; `None` for flags that no one may ask of us.
pub(crate) fn rename_mode(flags: RenameFlags) -> Option<RenameMode> {
    if flags.is_empty() {
        Some(RenameMode::Replace)
    } else if flags == RenameFlags::RENAME_NOREPLACE {
        Some(RenameMode::NoReplace)
    } else if flags == RenameFlags::RENAME_EXCHANGE {
        Some(RenameMode::Exchange)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keepfs_fs::Handle;

    /// What `fuser` makes of the two numbers the kernel sends.
    fn as_fuser_reads(secs: i64, nanos: u32) -> SystemTime {
        if secs >= 0 {
            UNIX_EPOCH + Duration::new(secs as u64, nanos)
        } else {
            UNIX_EPOCH - Duration::new(secs.unsigned_abs(), nanos)
        }
    }

    #[test]
    fn times_of_requests_survive_the_way_through_fuser() {
        for (secs, nanos) in
            [(0, 0), (0, 1), (1_700_000_000, 999_999_999), (-1, 0), (-1, 1), (-2, 800_000_000), (i64::MIN, 0)]
        {
            assert_eq!(kernel_time(as_fuser_reads(secs, nanos)), Time { secs, nanos });
        }
    }

    #[test]
    fn times_before_the_epoch_count_nanoseconds_upwards() {
        let time = system_time(Time { secs: -2, nanos: 800_000_000 });
        assert_eq!(UNIX_EPOCH.duration_since(time).unwrap(), Duration::new(1, 200_000_000));
        assert_eq!(system_time(Time { secs: -1, nanos: 0 }), UNIX_EPOCH - Duration::from_secs(1));
    }

    #[test]
    fn a_time_at_either_end_of_the_scale_does_not_panic() {
        for secs in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX] {
            for nanos in [0, 999_999_999, u32::MAX] {
                let _ = system_time(Time { secs, nanos });
            }
        }
    }

    #[test]
    fn every_kind_that_mknod_makes_comes_back_as_itself() {
        for (mode, kind) in [
            (libc::S_IFREG, Kind::File),
            (libc::S_IFIFO, Kind::Fifo),
            (libc::S_IFSOCK, Kind::Socket),
            (libc::S_IFCHR, Kind::CharDevice),
            (libc::S_IFBLK, Kind::BlockDevice),
        ] {
            assert_eq!(kind_of_mode(mode | 0o644), Some(kind));
        }
        assert_eq!(kind_of_mode(0o644), Some(Kind::File));
        assert_eq!(kind_of_mode(libc::S_IFDIR), None);
        assert_eq!(kind_of_mode(libc::S_IFMT), None);
    }

    #[test]
    fn permission_bits_drop_the_kind_and_keep_setuid_and_sticky() {
        assert_eq!(permission_bits(libc::S_IFREG | 0o7755), 0o7755);
    }

    #[test]
    fn setgid_without_group_execution_is_no_privilege() {
        assert_eq!(unprivileged_mode(0o6755, true), 0o755);
        assert_eq!(unprivileged_mode(0o6745, true), 0o2745);
        assert_eq!(unprivileged_mode(0o6745, false), 0o745);
        assert_eq!(unprivileged_mode(0o1777, false), 0o1777);
    }

    #[test]
    fn rename_flags_other_than_the_known_two_are_refused() {
        assert!(matches!(rename_mode(RenameFlags::empty()), Some(RenameMode::Replace)));
        assert!(matches!(rename_mode(RenameFlags::RENAME_NOREPLACE), Some(RenameMode::NoReplace)));
        assert!(matches!(rename_mode(RenameFlags::RENAME_EXCHANGE), Some(RenameMode::Exchange)));
        assert!(rename_mode(RenameFlags::RENAME_WHITEOUT).is_none());
        assert!(rename_mode(RenameFlags::RENAME_NOREPLACE | RenameFlags::RENAME_EXCHANGE).is_none());
    }

    #[test]
    fn only_read_only_opens_skip_the_flush() {
        let opened = Opened { handle: Handle(7), keep_cache: true, direct_io: false };
        let read = open_flags(&opened, libc::O_RDONLY | libc::O_CLOEXEC);
        assert_eq!(read, FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH);
        assert_eq!(open_flags(&opened, libc::O_WRONLY), FopenFlags::FOPEN_KEEP_CACHE);
        let direct = Opened { handle: Handle(7), keep_cache: false, direct_io: true };
        assert_eq!(open_flags(&direct, libc::O_RDWR), FopenFlags::FOPEN_DIRECT_IO);
    }
}
