//! Operations: what a machine's log is made of. Types only; `op_codec` has their bytes.

use crate::ids::{ChunkId, Hlc, Ino, LinkId, PackId, Stamp, Time};

/// Longest name of a directory entry, in bytes (Linux `NAME_MAX`).
pub const NAME_LEN_MAX: usize = 255;
/// Longest target of a symbolic link, in bytes (Linux `PATH_MAX` less its NUL).
pub const TARGET_LEN_MAX: usize = 4095;
/// Longest name of an extended attribute, in bytes (Linux `XATTR_NAME_MAX`).
pub const XATTR_NAME_LEN_MAX: usize = 255;
/// Longest value of an extended attribute, in bytes (Linux `XATTR_SIZE_MAX`).
pub const XATTR_VALUE_LEN_MAX: usize = 65_536;
/// Largest file, in bytes: what `lseek` can address.
pub const FILE_LEN_MAX: u64 = i64::MAX as u64;

/// What an inode is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Regular file.
    File = 1,
    /// Directory.
    Directory = 2,
    /// Symbolic link.
    Symlink = 3,
    /// Named pipe.
    Fifo = 4,
    /// Unix socket.
    Socket = 5,
    /// Character device.
    CharDevice = 6,
    /// Block device.
    BlockDevice = 7,
}

/// An extended attribute: name and value.
pub type Xattr = (Box<[u8]>, Box<[u8]>);

/// Everything about an inode but its bytes and its names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inode {
    /// Its number.
    pub ino: Ino,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, 0o7777.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node, else 0.
    pub rdev: u32,
    /// Number of names; of a directory, 2 plus its subdirectories.
    pub nlink: u32,
    /// Length in bytes of a file's content or a link's target; 0 for others.
    pub size: u64,
    /// Last access, as set explicitly.
    pub atime: Time,
    /// Last change of content.
    pub mtime: Time,
    /// Last change of content or attributes.
    pub ctime: Time,
    /// Creation.
    pub btime: Time,
    /// The directory that holds it, when it has exactly one name; of a directory, its parent. `Ino(0)` else.
    pub parent: Ino,
    /// Last writer of the attributes.
    pub attr_stamp: Stamp,
    /// Last writer of the content.
    pub content_stamp: Stamp,
    /// Extended attributes, sorted by name.
    pub xattrs: Vec<Xattr>,
    /// Target of a symbolic link, else empty.
    pub target: Box<[u8]>,
}

/// What a directory says of one name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The inode it names.
    pub ino: Ino,
    /// This entry's own id, which is also its cookie in a listing: it never changes while the name stays.
    pub link: LinkId,
    /// Kind of the inode.
    pub kind: Kind,
}

/// A name in a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The directory.
    pub parent: Ino,
    /// The name, 1 to [`NAME_LEN_MAX`] bytes, without `/` and NUL, neither `.` nor `..`.
    pub name: Box<[u8]>,
}

/// All operations of one system call; they apply together or not at all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpGroup {
    /// Logical time, rising within a log.
    pub hlc: Hlc,
    /// Wall-clock time that becomes ctime (and mtime of changed directories).
    pub time: Time,
    /// The operations, in order.
    pub ops: Vec<Op>,
}

/// New values for attributes; `None` leaves one as it is. ctime becomes the group's time.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AttrChange {
    /// Permission bits, 0o7777.
    pub mode: Option<u16>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Last access.
    pub atime: Option<Time>,
    /// Last change of content.
    pub mtime: Option<Time>,
}

/// One change of a tree, or of what is known about packs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// A new directory. Its times are the group's.
    MkDir {
        /// Where.
        at: Place,
        /// Its number.
        ino: Ino,
        /// The entry's id.
        link: LinkId,
        /// Permission bits.
        mode: u16,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// A new inode that is no directory, with its first name. Its times are the group's.
    Create {
        /// Where.
        at: Place,
        /// Its number.
        ino: Ino,
        /// The entry's id.
        link: LinkId,
        /// What it is; never a directory.
        kind: Kind,
        /// Permission bits.
        mode: u16,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Device number of a device node, else 0.
        rdev: u32,
        /// Target of a symbolic link, else empty.
        target: Box<[u8]>,
    },
    /// A further name of an inode that is no directory.
    Link {
        /// Where.
        at: Place,
        /// The inode.
        ino: Ino,
        /// The entry's id.
        link: LinkId,
    },
    /// A name of an inode that is no directory goes away.
    Unlink {
        /// Where.
        at: Place,
        /// The entry's id.
        link: LinkId,
    },
    /// An empty directory goes away.
    RmDir {
        /// Where.
        at: Place,
        /// The entry's id.
        link: LinkId,
    },
    /// An entry moves; what the target name held goes away with it.
    Rename {
        /// From where.
        from: Place,
        /// To where.
        to: Place,
        /// The entry that moves. It keeps its id.
        link: LinkId,
        /// The entry that is replaced.
        replaced: Option<LinkId>,
    },
    /// Two entries change places.
    Exchange {
        /// One place.
        a: Place,
        /// The other.
        b: Place,
        /// The entry that was at `a`.
        link_a: LinkId,
        /// The entry that was at `b`.
        link_b: LinkId,
    },
    /// Attributes change.
    SetAttr {
        /// Whose.
        ino: Ino,
        /// To what.
        change: AttrChange,
    },
    /// An extended attribute is set, or removed when there is no value.
    SetXattr {
        /// Whose.
        ino: Ino,
        /// Its name.
        name: Box<[u8]>,
        /// Its value.
        value: Option<Box<[u8]>>,
    },
    /// The content of a file changes: its size becomes `size`, what lies beyond is dropped, then the edits
    /// apply in order. A range that no edit ever filled is a hole.
    SetContent {
        /// Whose.
        ino: Ino,
        /// New size in bytes.
        size: u64,
        /// New mtime.
        mtime: Time,
        /// Ranges that change, ascending and disjoint, all within `size`.
        edits: Vec<Edit>,
    },
    /// A pack holds these chunks, from position `first` of its table on. A pack's table may come in several
    /// such pieces, in order and without gaps.
    PackAdd {
        /// The pack.
        pack: PackId,
        /// Position of the first chunk.
        first: u32,
        /// The chunks.
        chunks: Vec<PackedChunk>,
    },
}

/// A chunk as a pack's table lists it; its offset is the sum of the sealed lengths before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PackedChunk {
    /// Its id.
    pub id: ChunkId,
    /// Sealed length in bytes.
    pub sealed_len: u32,
    /// Plaintext length in bytes.
    pub plain_len: u32,
}

/// One range of a file gets a new source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Edit {
    /// First byte.
    pub offset: u64,
    /// Length in bytes, never 0.
    pub len: u64,
    /// Where the bytes are.
    pub source: Source,
}

/// Where bytes of a file are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// Nowhere: they read as zero.
    Hole,
    /// In a chunk, by the position in its pack's table, from `skip` bytes into its plaintext on.
    Chunk {
        /// The pack.
        pack: PackId,
        /// Position in the pack's table.
        index: u32,
        /// Bytes of the chunk's plaintext before the range.
        skip: u32,
    },
}
