//! Calls about attributes: reading and setting them, and the target of a link.

use keepfs_format::ids::{Ino, Time};
use keepfs_format::op::{AttrChange, FILE_LEN_MAX, Inode, Kind, Op, OpGroup};

use crate::content::File;
use crate::core::Core;
use crate::error::{FsError, Result};
use crate::fs::Fs;
use crate::types::{Attr, AttrSet, Caller, Handle, TimeSet};

/// Mode bits that let a program run as somebody else.
const SETUID: u16 = 0o4000;
const SETGID: u16 = 0o2000;
/// With this bit, [`SETGID`] means what it says; without it, it once meant mandatory locking, and stays if the
/// group itself makes the change.
const GROUP_EXECUTE: u16 = 0o010;

/// The mode after somebody changed owner or content: nobody may gain rights by it.
pub(super) fn without_privileges(inode: &Inode, by_group: bool) -> u16 {
    let mut mode = inode.mode & !SETUID;
    if mode & GROUP_EXECUTE != 0 || !by_group {
        mode &= !SETGID;
    }
    mode
}

impl Fs {
    /// Attributes of an inode.
    pub fn attr(&self, ino: Ino) -> Result<Attr> {
        self.core.tree.lock().attr_of(ino)
    }

    /// Sets attributes, the length among them. Who may do so is the kernel's to check; what follows from it
    /// (setuid bits that must go) is done here.
    pub fn set_attr(&self, ino: Ino, set: &AttrSet, handle: Option<Handle>, caller: Caller) -> Result<Attr> {
        match self.set_attr_of(ino, set, handle, caller) {
            // A kernel that keeps times itself hands them over late: the file may have gone since.
            Err(FsError::NotFound) if set.is_times_only() => Ok(Attr::of_gone_file(ino)),
            outcome => outcome,
        }
    }

    fn set_attr_of(&self, ino: Ino, set: &AttrSet, handle: Option<Handle>, caller: Caller) -> Result<Attr> {
        self.core.check_writable()?;
        if let Some(size) = set.size {
            let file = match handle {
                Some(handle) => self.core.handles.file(handle)?.1,
                None => self.core.file_of(ino)?,
            };
            self.core.resize(&file, size, set.ctime)?;
        }
        self.core.change(|core, tree, now| {
            let (inode, _) = tree.inode(ino)?;
            let change = change_of(inode, set, now, caller);
            if change == AttrChange::default() && set.ctime.is_none() {
                return tree.attr_of(ino);
            }
            let gone = tree.is_gone(ino);
            let time = set.ctime.unwrap_or(now);
            match gone {
                true => change_nameless(tree.inode_mut(ino)?.0, &change, time),
                false => core.perform(tree, time, vec![Op::SetAttr { ino, change }])?,
            }
            tree.attr_of(ino)
        })
    }

    /// The target of a symbolic link.
    pub fn read_link(&self, ino: Ino) -> Result<Vec<u8>> {
        let mut tree = self.core.tree.lock();
        let (inode, _) = tree.inode(ino)?;
        match inode.kind {
            Kind::Symlink => Ok(inode.target.to_vec()),
            _ => Err(FsError::InvalidArgument),
        }
    }
}

fn change_of(inode: &Inode, set: &AttrSet, now: Time, caller: Caller) -> AttrChange {
    let time = |set: Option<TimeSet>| {
        set.map(|set| match set {
            TimeSet::Now => now,
            TimeSet::At(time) => time,
        })
    };
    let mut mode = set.mode.map(|mode| mode & 0o7777);
    let changes_owner = (set.uid.is_some() || set.gid.is_some()) && inode.kind != Kind::Directory;
    let changes_size = set.size.is_some() && caller.uid != 0;
    if mode.is_none() && (changes_owner || changes_size) {
        let by_group = !changes_size || caller.gid == inode.gid;
        mode = Some(without_privileges(inode, by_group)).filter(|mode| *mode != inode.mode);
    }
    AttrChange { mode, uid: set.uid, gid: set.gid, atime: time(set.atime), mtime: time(set.mtime) }
}

/// A file without a name is in nobody's log; only its open handles see the change.
fn change_nameless(inode: &mut Inode, change: &AttrChange, time: Time) {
    inode.mode = change.mode.unwrap_or(inode.mode);
    inode.uid = change.uid.unwrap_or(inode.uid);
    inode.gid = change.gid.unwrap_or(inode.gid);
    inode.atime = change.atime.unwrap_or(inode.atime);
    inode.mtime = change.mtime.unwrap_or(inode.mtime);
    inode.ctime = time;
}

impl Core {
    /// The content of an inode, which must be a regular file.
    pub(super) fn file_of(&self, ino: Ino) -> Result<std::sync::Arc<File>> {
        let mut tree = self.tree.lock();
        let (inode, _) = tree.inode(ino)?;
        match inode.kind {
            Kind::File => Ok(self.contents.file(ino, inode.size)),
            Kind::Directory => Err(FsError::IsDirectory),
            _ => Err(FsError::InvalidArgument),
        }
    }

    /// Cuts or extends a file to `size` bytes.
    pub(super) fn resize(&self, file: &File, size: u64, ctime: Option<Time>) -> Result<()> {
        if size > FILE_LEN_MAX {
            return Err(FsError::FileTooLarge);
        }
        let _gate = self.gate.read();
        let mut state = file.lock();
        if size == state.size {
            // Times change only when the length does; ftruncate and O_TRUNC send theirs along.
            return Ok(());
        }
        let (held, fresh) = (state.dirty.len(), state.dirty.fresh_len());
        state.truncate(file.ino, size, &self.database)?;
        self.contents.account(held, state.dirty.len(), fresh, state.dirty.fresh_len());
        self.contents.mark_touched(file.ino);
        let allocated = state.allocated(file.ino, &self.database)?;
        let mut tree = self.tree.lock();
        let now = self.env.now();
        tree.set_allocated(file.ino, allocated)?;
        let (inode, _) = tree.inode_mut(file.ino)?;
        inode.size = size;
        inode.mtime = now;
        inode.ctime = ctime.unwrap_or(now);
        let time = inode.ctime;
        self.record_content(&mut tree, &state, (file.ino, time), Vec::new())
    }

    /// Puts a change of a file's content into the log, if the file still has a name. The inode has the new
    /// size and times already.
    pub(crate) fn record_content(
        &self,
        tree: &mut crate::tree::Tree,
        state: &crate::content::FileState,
        (ino, time): (Ino, Time),
        edits: Vec<keepfs_format::op::Edit>,
    ) -> Result<()> {
        self.work.noted();
        if state.unlinked || tree.is_gone(ino) {
            return Ok(());
        }
        let hlc = tree.tick(self.env.now());
        let machine = self.machine;
        let (inode, _) = tree.inode_mut(ino)?;
        inode.content_stamp = keepfs_format::ids::Stamp { hlc, machine };
        let op = Op::SetContent { ino, size: state.size, mtime: inode.mtime, edits };
        tree.record(&OpGroup { hlc, time, ops: vec![op] })
    }
}
