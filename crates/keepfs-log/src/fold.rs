//! One operation, one function: the meaning of the log.

use keepfs_format::ids::{Hlc, Ino, LinkId, MachineTag, Stamp, Time};
use keepfs_format::op::{AttrChange, Entry, Inode, Kind, Op, OpGroup, Place};

use crate::state::State;

/// An operation that does not fit the tree: the log is damaged, forged, or not complete. The tree is not
/// changed by it; the caller stops and says so.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// The operation names an inode that is not there.
    #[error("inode {0:?} is not in the tree")]
    NoInode(Ino),
    /// The operation names a directory entry that is not there, or is another one.
    #[error("directory {0:?} has no such entry {1:?}")]
    NoEntry(Ino, LinkId),
    /// The operation makes a name that is taken.
    #[error("directory {0:?} already has the name that {1:?} would take")]
    NameTaken(Ino, LinkId),
    /// The operation treats a directory as a file or the reverse.
    #[error("inode {0:?} is of the wrong kind for the operation")]
    WrongKind(Ino),
    /// A directory that goes away still has entries.
    #[error("directory {0:?} is not empty")]
    NotEmpty(Ino),
    /// A directory would end up inside itself.
    #[error("directory {0:?} would become its own ancestor")]
    Cycle(Ino),
    /// A content refers to a position that no pack table has listed.
    #[error("inode {0:?} refers to a chunk that no pack lists")]
    NoChunk(Ino),
}

/// When and by whom a group was made; goes into every inode that it touches.
#[derive(Clone, Copy)]
struct Moment {
    stamp: Stamp,
    time: Time,
}

/// Longest chain of parents that is followed before a tree counts as damaged.
const DEPTH_MAX: u32 = 1 << 20;

/// Applies a group of `machine`'s log: all of it, or an error that says what does not fit.
pub fn apply_group<S: State>(state: &mut S, machine: MachineTag, group: &OpGroup) -> Result<(), S::Error> {
    group.ops.iter().try_for_each(|op| apply(state, machine, (group.hlc, group.time), op))
}

/// Applies one operation made at `when` by `machine`.
pub fn apply<S: State>(
    state: &mut S,
    machine: MachineTag,
    when: (Hlc, Time),
    op: &Op,
) -> Result<(), S::Error> {
    let moment = Moment { stamp: Stamp { hlc: when.0, machine }, time: when.1 };
    match op {
        Op::MkDir { at, ino, link, .. } => {
            let inode = new_inode(op, moment).expect("MkDir makes an inode");
            make(state, moment, at, Entry { ino: *ino, link: *link, kind: Kind::Directory }, inode)
        }
        Op::Create { at, ino, link, kind, .. } => {
            if *kind == Kind::Directory {
                return Err(FoldError::WrongKind(*ino).into());
            }
            let inode = new_inode(op, moment).expect("Create makes an inode");
            make(state, moment, at, Entry { ino: *ino, link: *link, kind: *kind }, inode)
        }
        Op::Link { at, ino, link } => add_link(state, moment, at, *ino, *link),
        Op::Unlink { at, link } => unlink(state, moment, at, *link),
        Op::RmDir { at, link } => remove_directory(state, moment, at, *link),
        Op::Rename { from, to, link, replaced } => rename(state, moment, (from, to), *link, *replaced),
        Op::Exchange { a, b, link_a, link_b } => exchange(state, moment, (a, b), (*link_a, *link_b)),
        Op::SetAttr { ino, change } => set_attributes(state, moment, *ino, change),
        Op::SetXattr { ino, name, value } => set_xattr(state, moment, *ino, (name, value.as_deref())),
        Op::SetContent { ino, size, mtime, edits } => {
            let inode = existing(state, *ino)?;
            if inode.kind != Kind::File {
                return Err(FoldError::WrongKind(*ino).into());
            }
            inode.size = *size;
            inode.mtime = *mtime;
            inode.ctime = moment.time;
            inode.content_stamp = moment.stamp;
            state.edit_content(*ino, *size, edits)
        }
        Op::PackAdd { pack, first, chunks } => state.add_chunks(*pack, *first, chunks),
    }
}

/// The highest number that `op` takes from `machine`'s counter, if any: allocation goes on above it.
pub fn last_number_of(op: &Op, machine: MachineTag) -> Option<u64> {
    let own = |number: u64| {
        let tag = number >> keepfs_format::ids::COUNTER_BITS;
        (tag == u64::from(machine.0)).then_some(number & ((1 << keepfs_format::ids::COUNTER_BITS) - 1))
    };
    match op {
        Op::MkDir { link, .. } | Op::Link { link, .. } => own(link.0),
        Op::Create { ino, link, .. } => own(link.0).max(own(ino.0)),
        _ => None,
    }
}

fn new_inode(op: &Op, moment: Moment) -> Option<Inode> {
    let (ino, kind, mode, uid, gid, rdev, target, parent) = match op {
        Op::MkDir { at, ino, mode, uid, gid, .. } => {
            (*ino, Kind::Directory, *mode, *uid, *gid, 0, &[][..], at.parent)
        }
        Op::Create { at, ino, kind, mode, uid, gid, rdev, target, .. } => {
            (*ino, *kind, *mode, *uid, *gid, *rdev, &target[..], at.parent)
        }
        _ => return None,
    };
    Some(Inode {
        ino,
        kind,
        mode,
        uid,
        gid,
        rdev,
        nlink: if kind == Kind::Directory { 2 } else { 1 },
        size: target.len() as u64,
        atime: moment.time,
        mtime: moment.time,
        ctime: moment.time,
        btime: moment.time,
        parent,
        attr_stamp: moment.stamp,
        content_stamp: moment.stamp,
        xattrs: Vec::new(),
        target: target.into(),
    })
}

fn existing<S: State>(state: &mut S, ino: Ino) -> Result<&mut Inode, S::Error> {
    state.inode_mut(ino)?.ok_or_else(|| FoldError::NoInode(ino).into())
}

fn touch_directory<S: State>(state: &mut S, moment: Moment, ino: Ino, links: i64) -> Result<(), S::Error> {
    let directory = existing(state, ino)?;
    if directory.kind != Kind::Directory {
        return Err(FoldError::WrongKind(ino).into());
    }
    directory.mtime = moment.time;
    directory.ctime = moment.time;
    directory.nlink = directory.nlink.saturating_add_signed(links as i32);
    Ok(())
}

fn require_free<S: State>(state: &mut S, at: &Place, link: LinkId) -> Result<(), S::Error> {
    match state.entry(at.parent, &at.name)? {
        Some(_) => Err(FoldError::NameTaken(at.parent, link).into()),
        None => Ok(()),
    }
}

fn require<S: State>(state: &mut S, at: &Place, link: LinkId) -> Result<Entry, S::Error> {
    match state.entry(at.parent, &at.name)? {
        Some(entry) if entry.link == link => Ok(entry),
        _ => Err(FoldError::NoEntry(at.parent, link).into()),
    }
}

fn make<S: State>(
    state: &mut S,
    moment: Moment,
    at: &Place,
    entry: Entry,
    inode: Inode,
) -> Result<(), S::Error> {
    require_free(state, at, entry.link)?;
    touch_directory(state, moment, at.parent, i64::from(entry.kind == Kind::Directory))?;
    state.insert_inode(inode)?;
    state.insert_entry(at.parent, &at.name, entry)
}

fn add_link<S: State>(
    state: &mut S,
    moment: Moment,
    at: &Place,
    ino: Ino,
    link: LinkId,
) -> Result<(), S::Error> {
    require_free(state, at, link)?;
    let inode = existing(state, ino)?;
    if inode.kind == Kind::Directory {
        return Err(FoldError::WrongKind(ino).into());
    }
    inode.nlink = inode.nlink.saturating_add(1);
    inode.ctime = moment.time;
    inode.parent = if inode.nlink == 1 { at.parent } else { Ino(0) };
    let kind = inode.kind;
    touch_directory(state, moment, at.parent, 0)?;
    state.insert_entry(at.parent, &at.name, Entry { ino, link, kind })
}

fn unlink<S: State>(state: &mut S, moment: Moment, at: &Place, link: LinkId) -> Result<(), S::Error> {
    let entry = require(state, at, link)?;
    if entry.kind == Kind::Directory {
        return Err(FoldError::WrongKind(entry.ino).into());
    }
    touch_directory(state, moment, at.parent, 0)?;
    state.remove_entry(at.parent, &at.name)?;
    drop_name(state, moment, entry)
}

/// An inode loses one name; with its last one it goes away.
fn drop_name<S: State>(state: &mut S, moment: Moment, entry: Entry) -> Result<(), S::Error> {
    let inode = existing(state, entry.ino)?;
    inode.ctime = moment.time;
    inode.nlink = match inode.kind {
        Kind::Directory => 0,
        _ => inode.nlink.saturating_sub(1),
    };
    match inode.nlink {
        0 => state.remove_inode(entry.ino),
        _ => Ok(()),
    }
}

fn remove_directory<S: State>(
    state: &mut S,
    moment: Moment,
    at: &Place,
    link: LinkId,
) -> Result<(), S::Error> {
    let entry = require(state, at, link)?;
    if entry.kind != Kind::Directory {
        return Err(FoldError::WrongKind(entry.ino).into());
    }
    if !state.is_empty(entry.ino)? {
        return Err(FoldError::NotEmpty(entry.ino).into());
    }
    touch_directory(state, moment, at.parent, -1)?;
    state.remove_entry(at.parent, &at.name)?;
    drop_name(state, moment, entry)
}

/// A directory may not move below itself.
fn require_no_cycle<S: State>(state: &mut S, moving: Ino, target: Ino) -> Result<(), S::Error> {
    let mut at = target;
    for _ in 0..DEPTH_MAX {
        if at == moving {
            return Err(FoldError::Cycle(moving).into());
        }
        if at == Ino::ROOT {
            return Ok(());
        }
        at = state.inode(at)?.ok_or(FoldError::NoInode(at))?.parent;
    }
    Err(FoldError::Cycle(moving).into())
}

fn rename<S: State>(
    state: &mut S,
    moment: Moment,
    (from, to): (&Place, &Place),
    link: LinkId,
    replaced: Option<LinkId>,
) -> Result<(), S::Error> {
    let moving = require(state, from, link)?;
    let is_directory = moving.kind == Kind::Directory;
    if is_directory {
        require_no_cycle(state, moving.ino, to.parent)?;
    }
    match replaced {
        Some(old) => {
            let entry = require(state, to, old)?;
            if (entry.kind == Kind::Directory) != is_directory {
                return Err(FoldError::WrongKind(entry.ino).into());
            }
            if is_directory && !state.is_empty(entry.ino)? {
                return Err(FoldError::NotEmpty(entry.ino).into());
            }
            touch_directory(state, moment, to.parent, -i64::from(is_directory))?;
            state.remove_entry(to.parent, &to.name)?;
            drop_name(state, moment, entry)?;
        }
        None => require_free(state, to, link)?,
    }
    touch_directory(state, moment, from.parent, -i64::from(is_directory))?;
    state.remove_entry(from.parent, &from.name)?;
    touch_directory(state, moment, to.parent, i64::from(is_directory))?;
    state.insert_entry(to.parent, &to.name, moving)?;
    settle(state, moment, moving.ino, to.parent)
}

/// A moved inode learns its new parent.
fn settle<S: State>(state: &mut S, moment: Moment, ino: Ino, parent: Ino) -> Result<(), S::Error> {
    let inode = existing(state, ino)?;
    inode.ctime = moment.time;
    // An inode that once had several names stays in the table of such inodes, whose records have no parent.
    if inode.parent != Ino(0) {
        inode.parent = parent;
    }
    Ok(())
}

fn exchange<S: State>(
    state: &mut S,
    moment: Moment,
    (a, b): (&Place, &Place),
    (link_a, link_b): (LinkId, LinkId),
) -> Result<(), S::Error> {
    let entry_a = require(state, a, link_a)?;
    let entry_b = require(state, b, link_b)?;
    let (directory_a, directory_b) =
        (i64::from(entry_a.kind == Kind::Directory), i64::from(entry_b.kind == Kind::Directory));
    if directory_a == 1 {
        require_no_cycle(state, entry_a.ino, b.parent)?;
    }
    if directory_b == 1 {
        require_no_cycle(state, entry_b.ino, a.parent)?;
    }
    state.remove_entry(a.parent, &a.name)?;
    state.remove_entry(b.parent, &b.name)?;
    state.insert_entry(a.parent, &a.name, entry_b)?;
    state.insert_entry(b.parent, &b.name, entry_a)?;
    touch_directory(state, moment, a.parent, directory_b - directory_a)?;
    touch_directory(state, moment, b.parent, directory_a - directory_b)?;
    settle(state, moment, entry_a.ino, b.parent)?;
    settle(state, moment, entry_b.ino, a.parent)
}

fn set_attributes<S: State>(
    state: &mut S,
    moment: Moment,
    ino: Ino,
    change: &AttrChange,
) -> Result<(), S::Error> {
    let inode = existing(state, ino)?;
    inode.mode = change.mode.unwrap_or(inode.mode);
    inode.uid = change.uid.unwrap_or(inode.uid);
    inode.gid = change.gid.unwrap_or(inode.gid);
    inode.atime = change.atime.unwrap_or(inode.atime);
    inode.mtime = change.mtime.unwrap_or(inode.mtime);
    inode.ctime = moment.time;
    inode.attr_stamp = moment.stamp;
    Ok(())
}

fn set_xattr<S: State>(
    state: &mut S,
    moment: Moment,
    ino: Ino,
    (name, value): (&[u8], Option<&[u8]>),
) -> Result<(), S::Error> {
    let inode = existing(state, ino)?;
    inode.ctime = moment.time;
    inode.attr_stamp = moment.stamp;
    let position = inode.xattrs.binary_search_by(|(known, _)| known[..].cmp(name));
    match (position, value) {
        (Ok(at), Some(value)) => inode.xattrs[at].1 = value.into(),
        (Err(at), Some(value)) => inode.xattrs.insert(at, (name.into(), value.into())),
        (Ok(at), None) => {
            inode.xattrs.remove(at);
        }
        (Err(_), None) => {}
    }
    Ok(())
}
