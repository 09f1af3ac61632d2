//! The tree of a checkpoint, from its directory objects into the database.

use std::collections::VecDeque;
use std::sync::Arc;

use keepfs_format::checkpoint::{Checkpoint, RunRef};
use keepfs_format::chunk::CHUNK_LEN_MAX;
use keepfs_format::directory::{
    Content, DirectoryEntry, DirectoryReader, FileRecord, InodeReader, Node, ObjectRef, decode_extents,
};
use keepfs_format::ids::{ChunkId, Ino, Locator};
use keepfs_format::op::{Entry, Inode, Kind, PackedChunk};
use keepfs_format::run::{RUN_LEN_MAX, Run, RunId};
use keepfs_format::signed::ObjectHash;
use keepfs_vault::{ChunkSpace, SpaceOptions, StagingPlace};

use super::load::LogReader;
use super::recover::Index;
use crate::content::Extent;
use crate::database::{Changes, Database, Progress, Snapshot};
use crate::error::{FsError, Result};

/// Bytes of rows after which a load writes to the database.
const WEIGHT_MAX: usize = 32 << 20;
/// Most leaves of one object: a directory of some hundred million entries.
const LEAVES_MAX: usize = 1 << 20;

/// Reads chunks by id, from what the index runs say.
struct Loader<'a> {
    database: &'a Arc<Database>,
    space: ChunkSpace,
    changes: Changes,
    snapshot: Arc<Snapshot>,
}

/// Brings the tree of a checkpoint into an empty database.
pub(super) fn load_checkpoint(
    reader: &LogReader<'_>,
    database: &Arc<Database>,
    checkpoint: &Checkpoint,
) -> Result<Progress> {
    let parts = reader.parts;
    let options = SpaceOptions {
        staging: match parts.store.staging() {
            Some(_) => StagingPlace::InStore,
            None => parts.staging.clone().ok_or_else(|| damaged("staging"))?,
        },
        ..SpaceOptions::new(
            parts.store.clone(),
            parts.keys.clone(),
            parts.env.clone(),
            parts.unlocked.machine.tag,
            Arc::new(Index(database.clone())),
        )
    };
    let space = ChunkSpace::open(options)?;
    let mut loader = Loader { database, space, changes: Changes::default(), snapshot: database.snapshot() };
    for run in &checkpoint.runs {
        loader.load_run(reader, run)?;
    }
    loader.write()?;
    loader.load_shared(&checkpoint.shared)?;
    loader.load_directories(&checkpoint.root, &checkpoint.children)?;
    loader.write()?;
    let own = parts.unlocked.machine.tag;
    let author_is_own = checkpoint.machine == own;
    let counters = checkpoint.counters;
    let last = |next: u64| if author_is_own { next.saturating_sub(1) } else { 0 };
    Ok(Progress {
        last_number: last(counters.inode.max(counters.link)),
        last_pack: last(counters.pack),
        last_run: last(counters.run),
        last_checkpoint: if author_is_own { checkpoint.number } else { 0 },
        hlc: checkpoint.hlc.0,
        inodes: checkpoint.counts.directories + checkpoint.counts.files,
        content_len: checkpoint.counts.bytes,
        seen: checkpoint.covered.clone(),
        ..Progress::default()
    })
}

fn damaged(what: &str) -> FsError {
    FsError::Damaged {
        what: format!("{what} of a checkpoint on the store"),
        advice: "check whether the store is complete, then try again".into(),
    }
}

impl Loader<'_> {
    fn write(&mut self) -> Result<()> {
        self.database.write_unfinished(&mut std::mem::take(&mut self.changes))?;
        self.snapshot = self.database.snapshot();
        Ok(())
    }

    fn write_if_heavy(&mut self) -> Result<()> {
        if self.changes.weight() > WEIGHT_MAX { self.write() } else { Ok(()) }
    }

    fn load_run(&mut self, reader: &LogReader<'_>, run: &RunRef) -> Result<()> {
        let keys = &reader.parts.keys;
        let name = keys.run_name(run.machine, run.number);
        let len_max = run.object_len.min(RUN_LEN_MAX) as usize;
        let bytes = reader.get(&name, len_max)?.ok_or_else(|| damaged("an index run"))?;
        if ObjectHash::of(&bytes) != run.hash {
            return Err(damaged("an index run"));
        }
        let id = RunId { machine: run.machine, number: run.number };
        let mut entries = Vec::new();
        Run::read_all(keys, id, &bytes, &mut |chunk, at| entries.push((chunk, at)))?;
        entries.sort_unstable_by_key(|(_, at)| (at.pack, at.index));
        // A run holds whole packs, so its entries are their tables.
        for piece in entries.chunk_by(|a, b| a.1.pack == b.1.pack && a.1.index + 1 == b.1.index) {
            let Some((_, first)) = piece.first() else { continue };
            let chunks: Vec<PackedChunk> = piece
                .iter()
                .map(|(id, at)| PackedChunk { id: *id, sealed_len: at.sealed_len, plain_len: at.plain_len })
                .collect();
            self.changes.pack(first.pack, first.index, first.offset, &chunks);
            self.write_if_heavy()?;
        }
        Ok(())
    }

    fn locate(&self, id: &ChunkId) -> Result<Locator> {
        self.snapshot.chunk(id)?.ok_or_else(|| damaged("the index"))
    }

    fn chunk(&self, id: &ChunkId) -> Result<Vec<u8>> {
        let at = self.locate(id)?;
        if at.plain_len as usize > CHUNK_LEN_MAX {
            return Err(damaged("the index"));
        }
        let mut bytes = vec![0; at.plain_len as usize];
        self.space.read(id, &at, 0, &mut bytes)?;
        Ok(bytes)
    }

    fn leaves(&self, object: &ObjectRef) -> Result<Vec<ChunkId>> {
        object.leaves(LEAVES_MAX, &mut |id| self.chunk(id))
    }

    fn load_shared(&mut self, table: &ObjectRef) -> Result<()> {
        let mut reader = InodeReader::new();
        for leaf in self.leaves(table)? {
            let mut records = Vec::new();
            reader.leaf(&self.chunk(&leaf)?, &mut |record| records.push(record))?;
            for record in records {
                self.file(&record)?;
            }
            self.write_if_heavy()?;
        }
        Ok(())
    }

    /// Directory by directory, breadth first, so that memory holds references and not the tree.
    fn load_directories(&mut self, root: &Inode, children: &ObjectRef) -> Result<()> {
        let mut waiting = VecDeque::from([(Ino::ROOT, children.clone())]);
        self.changes.inode(Ino::ROOT, Some((root, 0)));
        while let Some((directory, object)) = waiting.pop_front() {
            let mut reader = DirectoryReader::new(directory);
            for leaf in self.leaves(&object)? {
                let mut entries = Vec::new();
                reader.leaf(&self.chunk(&leaf)?, &mut |entry| entries.push(entry))?;
                for entry in entries {
                    self.entry(directory, entry, &mut waiting)?;
                }
            }
            self.changes.object(directory, Some(&object));
            self.write_if_heavy()?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        directory: Ino,
        entry: DirectoryEntry,
        waiting: &mut VecDeque<(Ino, ObjectRef)>,
    ) -> Result<()> {
        let DirectoryEntry { name, link, node } = entry;
        let (ino, kind) = match node {
            Node::File(record) => {
                self.file(&record)?;
                (record.inode.ino, record.inode.kind)
            }
            Node::Directory { inode, children } => {
                self.changes.inode(inode.ino, Some((&inode, 0)));
                waiting.push_back((inode.ino, children));
                (inode.ino, Kind::Directory)
            }
            Node::Shared { ino, kind } => (ino, kind),
        };
        self.changes.entry(directory, link, Some((&name, &Entry { ino, link, kind })));
        Ok(())
    }

    fn file(&mut self, record: &FileRecord) -> Result<()> {
        let ino = record.inode.ino;
        let mut allocated = 0;
        match &record.content {
            Content::Inline(extents) => {
                for extent in extents {
                    allocated += self.extent(ino, extent)?;
                }
            }
            Content::Listed(object) => {
                for leaf in self.leaves(object)? {
                    for extent in decode_extents(&self.chunk(&leaf)?)? {
                        allocated += self.extent(ino, &extent)?;
                    }
                    self.write_if_heavy()?;
                }
            }
        }
        self.changes.inode(ino, Some((&record.inode, allocated)));
        Ok(())
    }

    fn extent(&mut self, ino: Ino, extent: &keepfs_format::directory::Extent) -> Result<u64> {
        let at = self.locate(&extent.chunk)?;
        if u64::from(extent.skip) + u64::from(extent.len) > u64::from(at.plain_len) {
            return Err(damaged("the content of a file"));
        }
        let len = u64::from(extent.len);
        let row = Extent { len, skip: extent.skip, id: extent.chunk, at };
        self.changes.extent(ino, extent.offset, Some(&row));
        Ok(len)
    }
}
