//! The plain types of the API that frontends translate to and from.

use keepfs_format::ids::{Ino, Time};
use keepfs_format::op::{Inode, Kind};

/// Attributes of an inode, as `stat` shows them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attr {
    /// Its number.
    pub ino: Ino,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, 0o7777.
    pub mode: u16,
    /// Number of names.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number, of device nodes.
    pub rdev: u32,
    /// Length in bytes.
    pub size: u64,
    /// Space in use, in units of 512 bytes; holes take none.
    pub blocks: u64,
    /// Last access.
    pub atime: Time,
    /// Last change of content.
    pub mtime: Time,
    /// Last change of anything.
    pub ctime: Time,
    /// Creation.
    pub btime: Time,
}

impl Attr {
    /// What `stat` shows of an inode whose content takes `allocated` bytes.
    pub(crate) fn of(inode: &Inode, allocated: u64) -> Self {
        Self {
            ino: inode.ino,
            kind: inode.kind,
            mode: inode.mode,
            nlink: inode.nlink,
            uid: inode.uid,
            gid: inode.gid,
            rdev: inode.rdev,
            size: inode.size,
            blocks: allocated.div_ceil(512),
            atime: inode.atime,
            mtime: inode.mtime,
            ctime: inode.ctime,
            btime: inode.btime,
        }
    }
}

impl Attr {
    /// What is left to say of a file that has neither a name nor a handle any more.
    pub(crate) fn of_gone_file(ino: Ino) -> Self {
        let never = Time::default();
        Self {
            ino,
            kind: Kind::File,
            mode: 0,
            nlink: 0,
            uid: 0,
            gid: 0,
            rdev: 0,
            size: 0,
            blocks: 0,
            atime: never,
            mtime: never,
            ctime: never,
            btime: never,
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caller {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Process.
    pub pid: u32,
}

/// An open file or directory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Handle(pub u64);

/// What to make.
#[derive(Clone, Copy, Debug)]
pub struct NewNode<'a> {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, the umask already applied.
    pub mode: u16,
    /// Device number, of device nodes.
    pub rdev: u32,
    /// Target, of symbolic links.
    pub target: &'a [u8],
    /// Who makes it.
    pub caller: Caller,
}

/// A time to set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeSet {
    /// The time of the call.
    Now,
    /// This time.
    At(Time),
}

/// Attributes to set; `None` leaves one as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AttrSet {
    /// Permission bits, 0o7777.
    pub mode: Option<u16>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Length in bytes.
    pub size: Option<u64>,
    /// Last access.
    pub atime: Option<TimeSet>,
    /// Last change of content.
    pub mtime: Option<TimeSet>,
    /// Last change of anything: only a kernel that keeps times itself sets it.
    pub ctime: Option<Time>,
}

impl AttrSet {
    /// Whether nothing but times is set.
    pub(crate) fn is_times_only(&self) -> bool {
        let Self { mode, uid, gid, size, .. } = self;
        mode.is_none() && uid.is_none() && gid.is_none() && size.is_none()
    }
}

/// What happens when the target of a rename exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RenameMode {
    /// It is replaced.
    Replace,
    /// The rename fails.
    NoReplace,
    /// Both change places; both must exist.
    Exchange,
}

/// The answer to an open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened {
    /// The handle.
    pub handle: Handle,
    /// What the kernel has cached of this file is still true.
    pub keep_cache: bool,
    /// The kernel should not cache this file.
    pub direct_io: bool,
}

/// One entry of a listing.
#[derive(Clone, Copy, Debug)]
pub struct DirItem<'a> {
    /// Where to go on after this entry; stable while the entry exists.
    pub cookie: u64,
    /// Its name.
    pub name: &'a [u8],
    /// Attributes of what it names.
    pub attr: Attr,
}

/// What `statfs` shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StatFs {
    /// Size, in units of `block_len`.
    pub blocks: u64,
    /// Free.
    pub blocks_free: u64,
    /// Free for ordinary users.
    pub blocks_available: u64,
    /// Inodes, as many as there could be.
    pub files: u64,
    /// Inodes that could still be made.
    pub files_free: u64,
    /// Unit in bytes.
    pub block_len: u32,
    /// Longest name in bytes.
    pub name_len_max: u32,
}
