//! What the records of all inodes share: number, attributes, times, stamps, extended attributes.
//!
//! It owns their bytes, told by their distance from the record before.

use super::times::{check_times, read_times, write_times};
use crate::codec::{Reader, Writer};
use crate::error::FormatError;
use crate::ids::{Hlc, Ino, MachineTag, Stamp, Time};
use crate::op::{Inode, Kind, XATTR_VALUE_LEN_MAX, Xattr};
use crate::op_rules::{
    check_directory_ino, check_file_ino, check_mode, check_rdev, check_target, check_xattr,
};
use crate::signed::{check_machine, read_machine};

/// Most extended attributes of one inode.
pub const INODE_XATTRS_MAX: usize = 4096;
/// Most bytes of all names and values of one inode's extended attributes.
pub const INODE_XATTRS_LEN_MAX: usize = 1 << 20;

/// Low three bits of a record's first byte: the kind.
pub(super) const KIND_MASK: u8 = 7;
/// The inode has several names; only its number follows.
pub(super) const SHARED: u8 = 8;
/// Mode and owner are the last record's of its sort.
const LIKE_LAST: u8 = 16;
/// Extended attributes follow.
const HAS_XATTRS: u8 = 32;
/// Both stamps are by the machine of the last record.
const SAME_MACHINE: u8 = 64;
/// The content is one whole chunk; only its id follows.
pub(super) const WHOLE_CHUNK: u8 = 128;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Owner {
    mode: u16,
    uid: u32,
    gid: u32,
}

/// What the next record of a leaf is told in relation to. Every leaf starts afresh.
#[derive(Clone)]
pub(crate) struct RecordState {
    pub(super) ino: u64,
    pub(super) link: u64,
    mtime: Time,
    machine: MachineTag,
    directory_owner: Owner,
    file_owner: Owner,
}

impl RecordState {
    pub(crate) fn new() -> Self {
        let owner = |mode| Owner { mode, uid: 0, gid: 0 };
        Self {
            ino: 0,
            link: 0,
            mtime: Time::default(),
            machine: MachineTag(0),
            directory_owner: owner(0o755),
            file_owner: owner(0o644),
        }
    }

    fn owner(&mut self, kind: Kind) -> &mut Owner {
        if kind == Kind::Directory { &mut self.directory_owner } else { &mut self.file_owner }
    }
}

/// The clock that a stamp made at this time most likely has.
fn expected_hlc(time: Time) -> u64 {
    let ms = (time.secs as u64).wrapping_mul(1000).wrapping_add(u64::from(time.nanos / 1_000_000));
    ms.wrapping_shl(16)
}

/// Appends what every record starts with.
pub(super) fn write_inode(writer: &mut Writer, state: &mut RecordState, inode: &Inode, mut first: u8) {
    let owner = Owner { mode: inode.mode, uid: inode.uid, gid: inode.gid };
    let like_last = owner == *state.owner(inode.kind);
    let (attr, content) = (inode.attr_stamp, inode.content_stamp);
    let same_machine = attr.machine == state.machine && content.machine == state.machine;
    first |= inode.kind as u8;
    first |= if like_last { LIKE_LAST } else { 0 };
    first |= if inode.xattrs.is_empty() { 0 } else { HAS_XATTRS };
    first |= if same_machine { SAME_MACHINE } else { 0 };
    writer.u8(first);
    if inode.kind == Kind::Directory {
        writer.u64(inode.ino.0);
    } else {
        writer.delta(inode.ino.0, state.ino);
        state.ino = inode.ino.0;
    }
    if !like_last {
        writer.varint(u64::from(owner.mode));
        writer.varint(u64::from(owner.uid));
        writer.varint(u64::from(owner.gid));
        *state.owner(inode.kind) = owner;
    }
    write_times(writer, inode, state.mtime);
    state.mtime = inode.mtime;
    writer.delta(attr.hlc.0, expected_hlc(inode.ctime));
    writer.delta(content.hlc.0, attr.hlc.0);
    if !same_machine {
        writer.varint(u64::from(attr.machine.0));
        writer.varint(u64::from(content.machine.0));
        state.machine = content.machine;
    }
}

/// Reads what every record starts with, behind its first byte.
pub(super) fn read_inode(
    reader: &mut Reader<'_>,
    state: &mut RecordState,
    first: u8,
) -> Result<Inode, FormatError> {
    let kind = kind_of(first)?;
    let ino = if kind == Kind::Directory {
        let ino = Ino(reader.u64()?);
        check_directory_ino(ino)?;
        ino
    } else {
        let ino = Ino(reader.delta(state.ino)?);
        check_file_ino(ino)?;
        state.ino = ino.0;
        ino
    };
    let Owner { mode, uid, gid } = read_owner(reader, state, first)?;
    let times = read_times(reader, state.mtime)?;
    state.mtime = times.mtime;
    let attr_hlc = reader.delta(expected_hlc(times.ctime))?;
    let content_hlc = reader.delta(attr_hlc)?;
    let (attr_machine, content_machine) = read_machines(reader, state, first)?;
    Ok(Inode {
        ino,
        kind,
        mode,
        uid,
        gid,
        rdev: 0,
        nlink: 0,
        size: 0,
        atime: times.atime,
        mtime: times.mtime,
        ctime: times.ctime,
        btime: times.btime,
        parent: Ino(0),
        attr_stamp: Stamp { hlc: Hlc(attr_hlc), machine: attr_machine },
        content_stamp: Stamp { hlc: Hlc(content_hlc), machine: content_machine },
        xattrs: Vec::new(),
        target: Box::default(),
    })
}

fn read_owner(reader: &mut Reader<'_>, state: &mut RecordState, first: u8) -> Result<Owner, FormatError> {
    let last = state.owner(kind_of(first)?);
    if first & LIKE_LAST != 0 {
        return Ok(*last);
    }
    let mode = reader.varint_max("permission bits", u64::from(u16::MAX))? as u16;
    check_mode(mode)?;
    let owner = Owner { mode, uid: reader.varint_u32("owner")?, gid: reader.varint_u32("group")? };
    if owner == *last {
        return Err(FormatError::NotCanonical { what: "owner" });
    }
    *last = owner;
    Ok(owner)
}

fn read_machines(
    reader: &mut Reader<'_>,
    state: &mut RecordState,
    first: u8,
) -> Result<(MachineTag, MachineTag), FormatError> {
    let last = state.machine;
    if first & SAME_MACHINE != 0 {
        check_machine(last)?;
        return Ok((last, last));
    }
    let (attr, content) = (read_machine(reader)?, read_machine(reader)?);
    if attr == last && content == last {
        return Err(FormatError::NotCanonical { what: "machine of a stamp" });
    }
    state.machine = content;
    Ok((attr, content))
}

pub(super) fn kind_of(first: u8) -> Result<Kind, FormatError> {
    Ok(match first & KIND_MASK {
        1 => Kind::File,
        2 => Kind::Directory,
        3 => Kind::Symlink,
        4 => Kind::Fifo,
        5 => Kind::Socket,
        6 => Kind::CharDevice,
        7 => Kind::BlockDevice,
        _ => return Err(FormatError::BadTag { what: "record", found: u64::from(first) }),
    })
}

pub(super) fn write_xattrs(writer: &mut Writer, xattrs: &[Xattr]) {
    if xattrs.is_empty() {
        return;
    }
    writer.varint(xattrs.len() as u64);
    for (name, value) in xattrs {
        writer.u8(name.len() as u8);
        writer.raw(name);
        writer.bytes(value);
    }
}

pub(super) fn read_xattrs(reader: &mut Reader<'_>, first: u8) -> Result<Vec<Xattr>, FormatError> {
    if first & HAS_XATTRS == 0 {
        return Ok(Vec::new());
    }
    let count = reader.count("extended attributes", INODE_XATTRS_MAX, 3)?;
    if count == 0 {
        return Err(FormatError::NotCanonical { what: "extended attributes" });
    }
    let mut xattrs = Vec::with_capacity(count);
    for _ in 0..count {
        let name_len = usize::from(reader.u8()?);
        let name = reader.raw(name_len)?.into();
        xattrs.push((name, reader.bytes("value of an attribute", XATTR_VALUE_LEN_MAX)?.into()));
    }
    check_xattrs(&xattrs)?;
    Ok(xattrs)
}

fn check_xattrs(xattrs: &[Xattr]) -> Result<(), FormatError> {
    let len: usize = xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
    if xattrs.len() > INODE_XATTRS_MAX || len > INODE_XATTRS_LEN_MAX {
        let (actual, limit) = (len as u64, INODE_XATTRS_LEN_MAX as u64);
        return Err(FormatError::TooLong { what: "extended attributes", actual, limit });
    }
    if !xattrs.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(FormatError::Invalid { what: "extended attributes ascend by name" });
    }
    xattrs.iter().try_for_each(|(name, value)| check_xattr(name, value))
}

/// What all records must keep before they are written.
pub(super) fn check_inode(inode: &Inode) -> Result<(), FormatError> {
    check_mode(inode.mode)?;
    check_times(inode)?;
    check_machine(inode.attr_stamp.machine)?;
    check_machine(inode.content_stamp.machine)?;
    check_target(inode.kind, &inode.target)?;
    check_rdev(inode.kind, inode.rdev)?;
    check_xattrs(&inode.xattrs)
}
