//! What a valid operation is: the same rules before encoding and after decoding.
//!
//! It owns every bound that a single group of operations must keep. It never looks at a tree: whether a
//! name exists is the log's business.

use crate::chunk::{CHUNK_LEN_MAX, check_lengths};
use crate::codec::check_time;
use crate::error::FormatError;
use crate::ids::{DIRECTORY_BIT, Ino, LinkId, PackId};
use crate::op::{
    AttrChange, Edit, FILE_LEN_MAX, Kind, NAME_LEN_MAX, Op, OpGroup, PackedChunk, Place, Source,
    TARGET_LEN_MAX, XATTR_NAME_LEN_MAX, XATTR_VALUE_LEN_MAX,
};
use crate::pack::PACK_CHUNKS_MAX;

/// Most operations in one group.
pub const GROUP_OPS_MAX: usize = 65_536;
/// Most edits in one `SetContent`; larger changes take several.
pub const EDITS_MAX: usize = 1 << 20;
/// Highest permission bits.
pub const MODE_MAX: u16 = 0o7777;

/// Numbers of inodes, links and packs stay below this, directories' aside.
const NUMBER_END: u64 = DIRECTORY_BIT;

type Checked = Result<(), FormatError>;

#[inline]
fn rule(holds: bool, what: &'static str) -> Checked {
    if holds { Ok(()) } else { Err(FormatError::Invalid { what }) }
}

/// Whether this may be the name of a directory entry.
///
/// # Errors
/// [`FormatError::Invalid`] names the rule it breaks. All checks here do.
#[inline]
pub fn check_name(name: &[u8]) -> Checked {
    rule(!name.is_empty() && name.len() <= NAME_LEN_MAX, "length of a name")?;
    rule(!name.iter().any(|byte| matches!(byte, 0 | b'/')), "a name holds neither / nor NUL")?;
    rule(name != b"." && name != b"..", "a name is neither . nor ..")
}

/// Whether this may be a directory's number.
#[inline]
pub fn check_directory_ino(ino: Ino) -> Checked {
    rule(is_directory(ino), "number of a directory")
}

/// Whether this may be the number of an inode that is no directory.
#[inline]
pub fn check_file_ino(ino: Ino) -> Checked {
    rule(ino.0 > Ino::ROOT.0 && ino.0 < NUMBER_END, "number of an inode")
}

/// Whether a number is a directory's.
#[inline]
pub(crate) fn is_directory(ino: Ino) -> bool {
    ino == Ino::ROOT || ino.0 >> 62 == 1
}

#[inline]
fn check_any_ino(ino: Ino) -> Checked {
    if is_directory(ino) { Ok(()) } else { check_file_ino(ino) }
}

/// Whether this may be the id of an entry.
#[inline]
pub(crate) fn check_link(link: LinkId) -> Checked {
    rule(link.0 < NUMBER_END, "number of a link")
}

#[inline]
pub(crate) fn check_pack(pack: PackId) -> Checked {
    rule(pack.0 < NUMBER_END, "number of a pack")
}

#[inline]
fn check_place(place: &Place) -> Checked {
    check_directory_ino(place.parent)?;
    check_name(&place.name)
}

#[inline]
pub(crate) fn check_mode(mode: u16) -> Checked {
    rule(mode <= MODE_MAX, "permission bits are within 0o7777")
}

/// Whether an inode of this kind may have this target.
pub(crate) fn check_target(kind: Kind, target: &[u8]) -> Checked {
    if kind != Kind::Symlink {
        return rule(target.is_empty(), "only a symbolic link has a target");
    }
    rule(!target.is_empty() && target.len() <= TARGET_LEN_MAX, "length of a target")?;
    rule(!target.contains(&0), "a target holds no NUL")
}

/// Whether an inode of this kind may have this device number.
pub(crate) fn check_rdev(kind: Kind, rdev: u32) -> Checked {
    let is_device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
    rule(is_device || rdev == 0, "only a device has a device number")
}

/// Whether an extended attribute may have this name and value.
pub(crate) fn check_xattr(name: &[u8], value: &[u8]) -> Checked {
    rule(!name.is_empty() && name.len() <= XATTR_NAME_LEN_MAX, "length of an attribute's name")?;
    rule(!name.contains(&0), "an attribute's name holds no NUL")?;
    rule(value.len() <= XATTR_VALUE_LEN_MAX, "length of an attribute's value")
}

fn check_change(change: &AttrChange) -> Checked {
    change.mode.map_or(Ok(()), check_mode)?;
    change.atime.map_or(Ok(()), check_time)?;
    change.mtime.map_or(Ok(()), check_time)
}

fn check_edits(size: u64, edits: &[Edit]) -> Checked {
    rule(edits.len() <= EDITS_MAX, "number of edits")?;
    let mut filled = 0u64;
    for edit in edits {
        rule(edit.len > 0, "an edit has a length")?;
        rule(edit.offset >= filled, "edits ascend and do not overlap")?;
        filled = edit.offset.saturating_add(edit.len);
        rule(filled <= size, "edits lie within the file")?;
        if let Source::Chunk { pack, index, skip } = edit.source {
            check_pack(pack)?;
            rule((index as usize) < PACK_CHUNKS_MAX, "position in a pack")?;
            let end = edit.len.saturating_add(u64::from(skip));
            rule(end <= CHUNK_LEN_MAX as u64, "an edit lies within its chunk")?;
        }
    }
    Ok(())
}

fn check_chunks(first: u32, chunks: &[PackedChunk]) -> Checked {
    rule(!chunks.is_empty(), "a piece of a pack's table has a chunk")?;
    rule(chunks.len().saturating_add(first as usize) <= PACK_CHUNKS_MAX, "position in a pack")?;
    chunks.iter().try_for_each(|chunk| check_lengths(chunk.plain_len, chunk.sealed_len))
}

/// Whether an operation keeps all rules that need no tree.
///
/// # Errors
/// [`FormatError::Invalid`] names the rule it breaks.
pub fn check_op(op: &Op) -> Checked {
    match op {
        Op::MkDir { at, ino, link, mode, .. } => {
            check_place(at)?;
            check_directory_ino(*ino)?;
            rule(*ino != Ino::ROOT, "the root is never made")?;
            check_link(*link)?;
            check_mode(*mode)
        }
        Op::Create { at, ino, link, kind, mode, rdev, target, .. } => {
            check_place(at)?;
            check_file_ino(*ino)?;
            check_link(*link)?;
            rule(*kind != Kind::Directory, "a directory has its own operation")?;
            check_mode(*mode)?;
            check_rdev(*kind, *rdev)?;
            check_target(*kind, target)
        }
        Op::Link { at, ino, link } => {
            check_place(at)?;
            check_file_ino(*ino)?;
            check_link(*link)
        }
        Op::Unlink { at, link } | Op::RmDir { at, link } => {
            check_place(at)?;
            check_link(*link)
        }
        Op::Rename { from, to, link, replaced } => {
            check_place(from)?;
            check_place(to)?;
            check_link(*link)?;
            replaced.map_or(Ok(()), check_link)
        }
        Op::Exchange { a, b, link_a, link_b } => {
            check_place(a)?;
            check_place(b)?;
            check_link(*link_a)?;
            check_link(*link_b)
        }
        Op::SetAttr { ino, change } => {
            check_any_ino(*ino)?;
            check_change(change)
        }
        Op::SetXattr { ino, name, value } => {
            check_any_ino(*ino)?;
            check_xattr(name, value.as_deref().unwrap_or_default())
        }
        Op::SetContent { ino, size, mtime, edits } => {
            check_file_ino(*ino)?;
            rule(*size <= FILE_LEN_MAX, "length of a file")?;
            check_time(*mtime)?;
            check_edits(*size, edits)
        }
        Op::PackAdd { pack, first, chunks } => {
            check_pack(*pack)?;
            check_chunks(*first, chunks)
        }
    }
}

/// Whether a group and all of its operations keep the rules that need no tree.
///
/// # Errors
/// [`FormatError::Invalid`] names the rule that is broken.
pub fn check_group(group: &OpGroup) -> Checked {
    rule(!group.ops.is_empty() && group.ops.len() <= GROUP_OPS_MAX, "number of operations in a group")?;
    check_time(group.time)?;
    group.ops.iter().try_for_each(check_op)
}
