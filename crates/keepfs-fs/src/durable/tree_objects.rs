//! Directories as objects: children before parents, only those that changed.

use keepfs_format::directory::{
    Content, DirectoryEntry, DirectoryWriter, Extent, FileRecord, InodeWriter, Node, ObjectRef, write_content,
};
use keepfs_format::ids::{ChunkId, Ino};
use keepfs_format::keys::NamespaceKeys;
use keepfs_format::op::{Entry, Inode, Kind};
use keepfs_vault::ChunkSpace;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::database::{Changes, Snapshot};
use crate::error::{FsError, Result};

/// Longest chain of parents before a tree counts as damaged.
const DEPTH_MAX: usize = 1 << 20;

/// Writes the objects of one checkpoint.
pub(super) struct TreeObjects<'a> {
    space: &'a ChunkSpace,
    keys: &'a NamespaceKeys,
    snapshot: &'a Snapshot,
    written: FxHashMap<Ino, ObjectRef>,
    gone: Vec<Ino>,
}

impl<'a> TreeObjects<'a> {
    pub(super) fn new(space: &'a ChunkSpace, keys: &'a NamespaceKeys, snapshot: &'a Snapshot) -> Self {
        Self { space, keys, snapshot, written: FxHashMap::default(), gone: Vec::new() }
    }

    /// Writes every directory whose object is out of date, and all above them.
    pub(super) fn write_stale(&mut self) -> Result<()> {
        let mut known = FxHashSet::default();
        let mut order: Vec<(usize, Ino)> = Vec::new();
        for start in self.snapshot.stale()? {
            let Some(chain) = self.chain(start, &known)? else {
                self.gone.push(start);
                continue;
            };
            for (depth, ino) in chain {
                if known.insert(ino) {
                    order.push((depth, ino));
                }
            }
        }
        order.sort_unstable_by(|a, b| b.cmp(a));
        for (_, ino) in order {
            let object = self.write_directory(ino)?;
            self.written.insert(ino, object);
        }
        Ok(())
    }

    /// The directory and everything above it with their depths; `None` when it is not in the tree.
    fn chain(&self, start: Ino, known: &FxHashSet<Ino>) -> Result<Option<Vec<(usize, Ino)>>> {
        let mut chain = Vec::new();
        let mut at = start;
        loop {
            match self.snapshot.inode(at)? {
                Some(row) if row.inode.kind == Kind::Directory => {
                    chain.push(at);
                    if at == Ino::ROOT {
                        break;
                    }
                    at = row.inode.parent;
                }
                _ if chain.is_empty() => return Ok(None),
                _ => return Err(damaged()),
            }
            if chain.len() > DEPTH_MAX {
                return Err(damaged());
            }
        }
        let depth = chain.len();
        let fresh = chain.into_iter().enumerate().map(|(above, ino)| (depth - above, ino));
        Ok(Some(fresh.filter(|(_, ino)| !known.contains(ino)).collect()))
    }

    fn write_directory(&self, directory: Ino) -> Result<ObjectRef> {
        let mut entries: Vec<(Box<[u8]>, Entry)> = Vec::new();
        self.snapshot.each_entry(directory, |name, entry| entries.push((name.into(), entry)))?;
        entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut writer = DirectoryWriter::new(self.keys, directory);
        for (name, entry) in entries {
            let node = self.node(&entry)?;
            let entry = DirectoryEntry { name, link: entry.link, node };
            writer.push::<FsError>(&entry, &mut |bytes| self.put(bytes))?;
        }
        writer.finish(&mut |bytes| self.put(bytes))
    }

    fn node(&self, entry: &Entry) -> Result<Node> {
        let row = self.snapshot.inode(entry.ino)?.ok_or_else(damaged)?;
        let inode = row.inode;
        if inode.kind == Kind::Directory {
            return Ok(Node::Directory { children: self.reference(entry.ino)?, inode: Box::new(inode) });
        }
        if inode.parent == Ino(0) {
            return Ok(Node::Shared { ino: entry.ino, kind: entry.kind });
        }
        Ok(Node::File(Box::new(self.record_of(inode)?)))
    }

    fn record_of(&self, inode: Inode) -> Result<FileRecord> {
        if inode.kind != Kind::File {
            return Ok(FileRecord { inode, content: Content::default() });
        }
        let extents = self.snapshot.extents(inode.ino)?;
        let mut pieces = extents.into_iter().map(|(offset, extent)| Extent {
            offset,
            // An extent lies within one chunk, whose length is a u32.
            len: extent.len as u32,
            skip: extent.skip,
            plain_len: extent.at.plain_len,
            chunk: extent.id,
        });
        let content = write_content::<FsError>(&mut pieces, &mut |bytes| self.put(bytes))?;
        Ok(FileRecord { inode, content })
    }

    /// The object of a directory: just written, or as it was.
    pub(super) fn reference(&self, directory: Ino) -> Result<ObjectRef> {
        match self.written.get(&directory) {
            Some(object) => Ok(object.clone()),
            None => self.snapshot.object(directory)?.ok_or_else(damaged),
        }
    }

    /// The table of inodes that have, or once had, several names.
    pub(super) fn write_shared(&self) -> Result<ObjectRef> {
        let mut writer = InodeWriter::new(self.keys);
        for ino in self.snapshot.shared()? {
            let Some(row) = self.snapshot.inode(ino)? else { continue };
            let record = self.record_of(row.inode)?;
            writer.push::<FsError>(&record, &mut |bytes| self.put(bytes))?;
        }
        writer.finish(&mut |bytes| self.put(bytes))
    }

    fn put(&self, bytes: &[u8]) -> Result<ChunkId> {
        Ok(self.space.put(bytes)?.id)
    }

    /// What the database should remember: the objects, as of this position of the journal.
    pub(super) fn record(&self, changes: &mut Changes, applied: u64) {
        for (directory, object) in &self.written {
            changes.object(*directory, Some(object));
            changes.published(*directory, applied);
        }
        for directory in &self.gone {
            changes.object(*directory, None);
            changes.published(*directory, applied);
        }
    }
}

fn damaged() -> FsError {
    FsError::Damaged {
        what: "the tree in the local database".into(),
        advice: "delete the database in the state directory; it is rebuilt from the store".into(),
    }
}
