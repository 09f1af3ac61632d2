//! The tree as the log's fold sees it.

use keepfs_format::ids::{Ino, PackId};
use keepfs_format::op::{Edit, Entry, Inode, Kind, PackedChunk, Source};
use keepfs_log::{FoldError, State};

use super::state::Tree;
use crate::content::{Contents, Extent};
use crate::error::{FsError, Result};

/// The tree and the contents together: what operations apply to.
pub(crate) struct Fold<'a> {
    /// Names and attributes.
    pub tree: &'a mut Tree,
    /// Bytes.
    pub contents: &'a Contents,
}

impl State for Fold<'_> {
    type Error = FsError;

    fn inode(&mut self, ino: Ino) -> Result<Option<&Inode>> {
        if self.tree.is_gone(ino) {
            return Ok(None);
        }
        Ok(self.tree.inodes.get(ino)?.map(|(inode, _)| inode))
    }

    fn inode_mut(&mut self, ino: Ino) -> Result<Option<&mut Inode>> {
        if self.tree.is_gone(ino) && !self.tree.is_open(ino) {
            return Ok(None);
        }
        match self.tree.inode_mut(ino) {
            Ok((inode, _)) => Ok(Some(inode)),
            Err(FsError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn insert_inode(&mut self, inode: Inode) -> Result<()> {
        let generation = self.tree.generation;
        self.tree.progress.inodes += 1;
        match inode.kind {
            Kind::Directory => {
                self.tree.directories.insert_new(inode.ino);
                self.tree.stale.insert(inode.ino);
            }
            Kind::File => self.contents.insert_new(inode.ino),
            _ => {}
        }
        self.tree.inodes.insert(inode, generation);
        Ok(())
    }

    fn remove_inode(&mut self, ino: Ino) -> Result<()> {
        let generation = self.tree.generation;
        self.tree.progress.inodes = self.tree.progress.inodes.saturating_sub(1);
        self.tree.inodes.remove(ino, generation);
        if let Some((inode, allocated)) = self.tree.inodes.get(ino)?
            && inode.kind == Kind::File
        {
            self.tree.progress.content_len = self.tree.progress.content_len.saturating_sub(allocated);
            self.tree.dropped.push(ino);
        }
        Ok(())
    }

    fn entry(&mut self, directory: Ino, name: &[u8]) -> Result<Option<Entry>> {
        Ok(self.tree.directories.get(directory)?.get(name))
    }

    fn insert_entry(&mut self, directory: Ino, name: &[u8], entry: Entry) -> Result<()> {
        self.tree.stale.insert(directory);
        self.tree.directories.insert(directory, name, entry, self.tree.generation)
    }

    fn remove_entry(&mut self, directory: Ino, name: &[u8]) -> Result<()> {
        self.tree.stale.insert(directory);
        self.tree.directories.remove(directory, name, self.tree.generation)
    }

    fn is_empty(&mut self, directory: Ino) -> Result<bool> {
        Ok(self.tree.directories.get(directory)?.is_empty())
    }

    fn edit_content(&mut self, ino: Ino, size: u64, edits: &[Edit]) -> Result<()> {
        let mut resolved = Vec::with_capacity(edits.len());
        for edit in edits {
            resolved.push((edit.offset, edit.len, self.resolve(ino, edit)?));
        }
        let allocated = self.contents.replay_edits(ino, size, &resolved)?;
        self.tree.set_allocated(ino, allocated)
    }

    fn add_chunks(&mut self, pack: PackId, first: u32, chunks: &[PackedChunk]) -> Result<()> {
        self.tree.add_pack(pack, first, chunks)
    }
}

impl Fold<'_> {
    fn resolve(&self, ino: Ino, edit: &Edit) -> Result<Option<Extent>> {
        let Source::Chunk { pack, index, skip } = edit.source else { return Ok(None) };
        let known = self.tree.packs.resolve(pack, index)?;
        let (id, at) = known.ok_or(FoldError::NoChunk(ino))?;
        if u64::from(skip) + edit.len > u64::from(at.plain_len) {
            return Err(FoldError::NoChunk(ino).into());
        }
        Ok(Some(Extent { len: edit.len, skip, id, at }))
    }
}

impl Tree {
    /// The content of `ino` now takes this many bytes.
    pub(crate) fn set_allocated(&mut self, ino: Ino, allocated: u64) -> Result<()> {
        let gone = self.is_gone(ino);
        let (_, slot) = self.inode_mut(ino)?;
        let before = std::mem::replace(slot, allocated);
        if !gone {
            let total = self.progress.content_len.saturating_sub(before);
            self.progress.content_len = total.saturating_add(allocated);
        }
        Ok(())
    }
}
