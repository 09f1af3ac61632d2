//! Calls about names: lookup, making, linking, removing, renaming, listing.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use keepfs_format::ids::{Ino, LinkId, Time};
use keepfs_format::op::{Entry, Kind, NAME_LEN_MAX, Op, Place, TARGET_LEN_MAX};

use super::handles::Open;
use crate::core::Core;
use crate::error::{FsError, Result};
use crate::fs::Fs;
use crate::tree::Tree;
use crate::types::{Attr, DirItem, Handle, NewNode, Opened, RenameMode};

/// Names that one inode may have, as ext4 counts them.
const LINKS_MAX: u32 = 65_000;
/// Entries that a listing takes under one lock of the tree.
const LIST_BATCH: usize = 256;
/// Cookies of `.` and `..`; every link is far above.
const COOKIE_SELF: u64 = 1;
const COOKIE_PARENT: u64 = 2;

/// An entry of a listing: cookie, name, attributes.
type Listed = (u64, Arc<[u8]>, Attr);
/// A name in a directory, as a caller says it.
type Named<'a> = (Ino, &'a [u8]);

/// A name that a new entry may have.
fn check_name(name: &[u8]) -> Result<()> {
    if name.len() > NAME_LEN_MAX {
        return Err(FsError::NameTooLong);
    }
    if name.is_empty() || name == b"." || name == b".." || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
        return Err(FsError::InvalidArgument);
    }
    Ok(())
}

fn place(parent: Ino, name: &[u8]) -> Place {
    Place { parent, name: name.into() }
}

impl Tree {
    /// What a directory says of a name; ENOENT if nothing.
    fn entry_of(&mut self, parent: Ino, name: &[u8]) -> Result<Entry> {
        if name.len() > NAME_LEN_MAX {
            return Err(FsError::NameTooLong);
        }
        self.directory(parent)?.get(name).ok_or(FsError::NotFound)
    }

    /// Attributes of an inode.
    pub(super) fn attr_of(&mut self, ino: Ino) -> Result<Attr> {
        let (inode, allocated) = self.inode(ino)?;
        Ok(Attr::of(inode, allocated))
    }

    /// A directory is not above the place it would move to.
    fn check_not_above(&mut self, moving: Entry, target: Ino) -> Result<()> {
        if moving.kind != Kind::Directory {
            return Ok(());
        }
        let mut at = target;
        while at != Ino::ROOT {
            if at == moving.ino {
                return Err(FsError::InvalidArgument);
            }
            at = self.inode(at)?.0.parent;
        }
        Ok(())
    }
}

impl Fs {
    /// Attributes of what `parent` calls `name`; `.` and `..` too.
    pub fn lookup(&self, parent: Ino, name: &[u8]) -> Result<Attr> {
        let mut tree = self.core.tree.lock();
        match name {
            b"." => tree.attr_of(parent),
            b".." => {
                let above = tree.inode(parent)?.0.parent;
                tree.attr_of(if above.0 == 0 { Ino::ROOT } else { above })
            }
            _ => {
                let entry = tree.entry_of(parent, name)?;
                tree.attr_of(entry.ino)
            }
        }
    }

    /// Makes anything that has no content: directories, links, devices, and empty files.
    pub fn make(&self, parent: Ino, name: &[u8], node: &NewNode<'_>) -> Result<Attr> {
        check_name(name)?;
        self.core.change(|core, tree, now| core.make_in(tree, now, (parent, name), node))
    }

    /// Makes an empty file and opens it.
    pub fn create(&self, parent: Ino, name: &[u8], node: &NewNode<'_>, flags: i32) -> Result<(Attr, Opened)> {
        check_name(name)?;
        self.core.change(|core, tree, now| {
            let attr = core.make_in(tree, now, (parent, name), node)?;
            Ok((attr, core.open_in(tree, attr.ino, flags)?))
        })
    }

    /// Gives an inode a further name.
    pub fn link(&self, ino: Ino, parent: Ino, name: &[u8]) -> Result<Attr> {
        check_name(name)?;
        self.core.change(|core, tree, now| {
            if tree.directory(parent)?.get(name).is_some() {
                return Err(FsError::Exists);
            }
            let (inode, _) = tree.inode(ino)?;
            let (kind, nlink) = (inode.kind, inode.nlink);
            if kind == Kind::Directory {
                return Err(FsError::NotPermitted);
            }
            if nlink >= LINKS_MAX {
                return Err(FsError::TooManyLinks);
            }
            if tree.is_gone(ino) {
                return Err(FsError::NotFound);
            }
            let link = tree.draw_link();
            core.perform(tree, now, vec![Op::Link { at: place(parent, name), ino, link }])?;
            tree.attr_of(ino)
        })
    }

    /// Takes a name away from an inode that is no directory.
    pub fn unlink(&self, parent: Ino, name: &[u8]) -> Result<()> {
        self.core.change(|core, tree, now| {
            let entry = tree.entry_of(parent, name)?;
            if entry.kind == Kind::Directory {
                return Err(FsError::IsDirectory);
            }
            core.perform(tree, now, vec![Op::Unlink { at: place(parent, name), link: entry.link }])
        })
    }

    /// Takes an empty directory away.
    pub fn rmdir(&self, parent: Ino, name: &[u8]) -> Result<()> {
        self.core.change(|core, tree, now| {
            let entry = tree.entry_of(parent, name)?;
            if entry.kind != Kind::Directory {
                return Err(FsError::NotDirectory);
            }
            if !tree.directory(entry.ino)?.is_empty() {
                return Err(FsError::NotEmpty);
            }
            core.perform(tree, now, vec![Op::RmDir { at: place(parent, name), link: entry.link }])
        })
    }

    /// Moves an entry.
    pub fn rename(&self, from: (Ino, &[u8]), to: (Ino, &[u8]), mode: RenameMode) -> Result<()> {
        check_name(to.1)?;
        self.core.change(|core, tree, now| {
            let moving = tree.entry_of(from.0, from.1)?;
            let target = tree.directory(to.0)?.get(to.1);
            tree.check_not_above(moving, to.0)?;
            match (mode, target) {
                (RenameMode::NoReplace, Some(_)) => Err(FsError::Exists),
                (RenameMode::Exchange, None) => Err(FsError::NotFound),
                (RenameMode::Exchange, Some(target)) => {
                    tree.check_not_above(target, from.0)?;
                    if target.link == moving.link {
                        return Ok(());
                    }
                    let (a, b) = (place(from.0, from.1), place(to.0, to.1));
                    let op = Op::Exchange { a, b, link_a: moving.link, link_b: target.link };
                    core.perform(tree, now, vec![op])
                }
                (_, target) => core.rename_over(tree, now, (from, to), (moving, target)),
            }
        })
    }

    /// Opens a directory for listing.
    pub fn open_dir(&self, ino: Ino) -> Result<Handle> {
        let mut tree = self.core.tree.lock();
        tree.directory(ino)?;
        tree.opened(ino);
        Ok(self.core.handles.insert(Open {
            ino,
            file: None,
            writable: false,
            append: false,
            read_end: AtomicU64::new(0),
            ahead_end: AtomicU64::new(0),
        }))
    }

    /// Closes a directory.
    pub fn release_dir(&self, handle: Handle) -> Result<()> {
        let open = self.core.handles.remove(handle).ok_or(FsError::BadHandle)?;
        self.core.tree.lock().closed(open.ino);
        Ok(())
    }

    /// Tells every entry after `after_cookie` (0: from the start) until `each` breaks off.
    pub fn read_dir(
        &self,
        handle: Handle,
        after_cookie: u64,
        each: &mut dyn FnMut(DirItem<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        let ino = self.core.handles.get(handle)?.ino;
        let mut after = after_cookie;
        if after < COOKIE_PARENT {
            for cookie in after + 1..=COOKIE_PARENT {
                let name: &[u8] = if cookie == COOKIE_SELF { b"." } else { b".." };
                let Ok(attr) = self.lookup(ino, name) else { return Ok(()) };
                if each(DirItem { cookie, name, attr }).is_break() {
                    return Ok(());
                }
            }
            after = COOKIE_PARENT;
        }
        loop {
            let batch = self.list_batch(ino, after)?;
            let Some(last) = batch.last() else { return Ok(()) };
            let ended = batch.len() < LIST_BATCH;
            after = last.0;
            for (cookie, name, attr) in batch {
                if each(DirItem { cookie, name: &name, attr }).is_break() {
                    return Ok(());
                }
            }
            if ended {
                return Ok(());
            }
        }
    }

    /// Some entries after a cookie; attributes come with them, so that a listing is one pass.
    fn list_batch(&self, ino: Ino, after: u64) -> Result<Vec<Listed>> {
        let mut tree = self.core.tree.lock();
        let entries: Vec<_> = match tree.directory(ino) {
            Ok(directory) => directory
                .after(LinkId(after))
                .take(LIST_BATCH)
                .map(|(name, entry)| (entry.link.0, name.clone(), entry.ino))
                .collect(),
            Err(FsError::NotFound) => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut items = Vec::with_capacity(entries.len());
        for (cookie, name, ino) in entries {
            items.push((cookie, name, tree.attr_of(ino)?));
        }
        tree.shrink();
        Ok(items)
    }
}

impl Core {
    /// Runs a change of names: gates, time, and what follows from files that lose their last name.
    pub(super) fn change<T>(&self, change: impl FnOnce(&Self, &mut Tree, Time) -> Result<T>) -> Result<T> {
        self.check_writable()?;
        let _gate = self.gate.read();
        let now = self.env.now();
        let mut tree = self.tree.lock();
        let outcome = change(self, &mut tree, now);
        let dropped = tree.take_dropped();
        drop(tree);
        self.let_go(dropped);
        self.work.noted();
        outcome
    }

    fn make_in(
        &self,
        tree: &mut Tree,
        now: Time,
        (parent, name): Named<'_>,
        node: &NewNode<'_>,
    ) -> Result<Attr> {
        if tree.directory(parent)?.get(name).is_some() {
            return Err(FsError::Exists);
        }
        if node.target.len() > TARGET_LEN_MAX {
            return Err(FsError::NameTooLong);
        }
        let (above, _) = tree.inode(parent)?;
        let inherits = above.mode & 0o2000 != 0;
        let gid = if inherits { above.gid } else { node.caller.gid };
        let is_directory = node.kind == Kind::Directory;
        if is_directory && above.nlink >= LINKS_MAX {
            return Err(FsError::TooManyLinks);
        }
        let mode = (node.mode & 0o7777) | if inherits && is_directory { 0o2000 } else { 0 };
        let at = place(parent, name);
        let (link, uid) = (tree.draw_link(), node.caller.uid);
        let (ino, op) = if is_directory {
            let ino = tree.draw_directory(parent, name)?;
            (ino, Op::MkDir { at, ino, link, mode, uid, gid })
        } else {
            let ino = Ino(tree.draw_number());
            let (kind, rdev, target) = (node.kind, node.rdev, node.target.into());
            (ino, Op::Create { at, ino, link, kind, mode, uid, gid, rdev, target })
        };
        self.perform(tree, now, vec![op])?;
        tree.attr_of(ino)
    }

    fn rename_over(
        &self,
        tree: &mut Tree,
        now: Time,
        (from, to): (Named<'_>, Named<'_>),
        (moving, target): (Entry, Option<Entry>),
    ) -> Result<()> {
        if let Some(target) = target {
            // Two names of one inode: POSIX asks to leave both.
            if target.ino == moving.ino {
                return Ok(());
            }
            match (moving.kind == Kind::Directory, target.kind == Kind::Directory) {
                (true, false) => return Err(FsError::NotDirectory),
                (false, true) => return Err(FsError::IsDirectory),
                (true, true) if !tree.directory(target.ino)?.is_empty() => return Err(FsError::NotEmpty),
                _ => {}
            }
        }
        let op = Op::Rename {
            from: place(from.0, from.1),
            to: place(to.0, to.1),
            link: moving.link,
            replaced: target.map(|entry| entry.link),
        };
        self.perform(tree, now, vec![op])
    }
}
