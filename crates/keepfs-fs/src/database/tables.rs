//! The tables, one transaction a checkpoint, and snapshots to read from.

use std::sync::Arc;

use keepfs_format::directory::ObjectRef;
use keepfs_format::ids::{COUNTER_BITS, ChunkId, Ino, LinkId, Locator, MachineTag, PackId};
use keepfs_format::op::{Entry, PackedChunk};
use parking_lot::RwLock;
use redb::{ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use super::changes::Changes;
use super::progress::Progress;
use super::records::{self, InodeRow};
use crate::content::Extent;
use crate::error::{FsError, Result};

const INODES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("inode");
const ENTRIES: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("entry");
const EXTENTS: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("extent");
const CHUNKS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("chunk");
const PACKS: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("pack");
const OBJECTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("object");
/// Directories whose published object is out of date, with the journal position when they last became so.
const STALE: TableDefinition<'_, u64, u64> = TableDefinition::new("stale");
/// Inodes that have, or once had, several names.
const SHARED: TableDefinition<'_, u64, ()> = TableDefinition::new("shared");
const SEGMENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("segment");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const PROGRESS: &str = "progress";
const RUNS: &str = "runs";

/// The database of one namespace on this machine.
pub(crate) struct Database {
    inner: redb::Database,
    snapshot: RwLock<Arc<Snapshot>>,
}

/// The tables as one checkpoint left them.
pub(crate) struct Snapshot {
    inodes: ReadOnlyTable<u64, &'static [u8]>,
    entries: ReadOnlyTable<(u64, u64), &'static [u8]>,
    extents: ReadOnlyTable<(u64, u64), &'static [u8]>,
    chunks: ReadOnlyTable<&'static [u8; 32], &'static [u8]>,
    packs: ReadOnlyTable<(u64, u32), &'static [u8]>,
    objects: ReadOnlyTable<u64, &'static [u8]>,
    stale: ReadOnlyTable<u64, u64>,
    shared: ReadOnlyTable<u64, ()>,
    meta: ReadOnlyTable<&'static str, &'static [u8]>,
    segments: ReadOnlyTable<u64, &'static [u8]>,
}

fn failed(error: impl Into<redb::Error>) -> FsError {
    FsError::Database(error.into().to_string())
}

impl Database {
    /// Takes over an open database; makes the tables if it is new.
    pub(crate) fn new(inner: redb::Database) -> Result<Self> {
        let transaction = begin(&inner)?;
        {
            transaction.open_table(INODES).map_err(failed)?;
            transaction.open_table(ENTRIES).map_err(failed)?;
            transaction.open_table(EXTENTS).map_err(failed)?;
            transaction.open_table(CHUNKS).map_err(failed)?;
            transaction.open_table(PACKS).map_err(failed)?;
            transaction.open_table(OBJECTS).map_err(failed)?;
            transaction.open_table(STALE).map_err(failed)?;
            transaction.open_table(SHARED).map_err(failed)?;
            transaction.open_table(SEGMENTS).map_err(failed)?;
            transaction.open_table(META).map_err(failed)?;
        }
        transaction.commit().map_err(failed)?;
        let snapshot = RwLock::new(Arc::new(Snapshot::take(&inner)?));
        Ok(Self { inner, snapshot })
    }

    /// The tables as the last checkpoint left them.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.read().clone()
    }

    /// Writes all changes in one transaction. Afterwards new snapshots show them.
    pub(crate) fn write(&self, changes: &mut Changes, progress: &Progress) -> Result<()> {
        self.write_all([changes], progress)
    }

    /// The same for several sets of changes, oldest first.
    pub(crate) fn write_all<'a>(
        &self,
        changes: impl IntoIterator<Item = &'a mut Changes>,
        progress: &Progress,
    ) -> Result<()> {
        let transaction = begin(&self.inner)?;
        for changes in changes {
            write_rows(&transaction, changes, progress)?;
        }
        {
            let mut meta = transaction.open_table(META).map_err(failed)?;
            meta.insert(PROGRESS, progress.encode().as_slice()).map_err(failed)?;
        }
        self.finish(transaction)
    }

    /// Writes rows of a tree that is not whole yet: the database does not count as filled by it.
    pub(crate) fn write_unfinished(&self, changes: &mut Changes) -> Result<()> {
        let transaction = begin(&self.inner)?;
        write_rows(&transaction, changes, &Progress::default())?;
        self.finish(transaction)
    }

    fn finish(&self, transaction: WriteTransaction) -> Result<()> {
        transaction.commit().map_err(failed)?;
        *self.snapshot.write() = Arc::new(Snapshot::take(&self.inner)?);
        Ok(())
    }
}

fn write_rows(transaction: &WriteTransaction, changes: &mut Changes, progress: &Progress) -> Result<()> {
    write_tree(transaction, changes)?;
    write_index(transaction, changes)?;
    write_published(transaction, changes, progress)?;
    write_segments(transaction, changes, progress)?;
    if let Some(runs) = &changes.runs {
        let mut meta = transaction.open_table(META).map_err(failed)?;
        meta.insert(RUNS, runs.as_slice()).map_err(failed)?;
    }
    Ok(())
}

/// Two-phase commits: over sealed pages the one-phase commit loses databases to power cuts.
fn begin(database: &redb::Database) -> Result<WriteTransaction> {
    let mut transaction = database.begin_write().map_err(failed)?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

fn write_tree(transaction: &WriteTransaction, changes: &mut Changes) -> Result<()> {
    // Sorted keys meet the same page again and again instead of a page each.
    changes.inodes.sort_unstable_by_key(|row| row.0);
    changes.entries.sort_unstable_by_key(|row| row.0);
    changes.extents.sort_unstable_by_key(|row| row.0);
    let mut table = transaction.open_table(INODES).map_err(failed)?;
    for (key, row) in &changes.inodes {
        match row {
            Some(row) => table.insert(key, changes.bytes(*row)).map(drop),
            None => table.remove(key).map(drop),
        }
        .map_err(failed)?;
    }
    let mut table = transaction.open_table(ENTRIES).map_err(failed)?;
    for (key, row) in &changes.entries {
        match row {
            Some(row) => table.insert(key, changes.bytes(*row)).map(drop),
            None => table.remove(key).map(drop),
        }
        .map_err(failed)?;
    }
    let mut table = transaction.open_table(EXTENTS).map_err(failed)?;
    for ino in &changes.wiped_contents {
        table.retain_in((*ino, 0)..=(*ino, u64::MAX), |_, _| false).map_err(failed)?;
    }
    for (key, row) in &changes.extents {
        match row {
            Some(row) => table.insert(key, changes.bytes(*row)).map(drop),
            None => table.remove(key).map(drop),
        }
        .map_err(failed)?;
    }
    Ok(())
}

fn write_index(transaction: &WriteTransaction, changes: &mut Changes) -> Result<()> {
    changes.chunks.sort_unstable_by_key(|row| row.0);
    let mut table = transaction.open_table(CHUNKS).map_err(failed)?;
    for (id, at) in &changes.chunks {
        table.insert(&id.0, records::encode_locator(at).as_slice()).map_err(failed)?;
    }
    let mut table = transaction.open_table(PACKS).map_err(failed)?;
    for (key, row) in &changes.packs {
        table.insert(key, changes.bytes(*row)).map_err(failed)?;
    }
    Ok(())
}

fn write_published(transaction: &WriteTransaction, changes: &Changes, progress: &Progress) -> Result<()> {
    let mut table = transaction.open_table(STALE).map_err(failed)?;
    for (key, upto) in &changes.published {
        let since = table.get(key).map_err(failed)?.map(|row| row.value());
        if since.is_some_and(|since| since <= *upto) {
            table.remove(key).map_err(failed)?;
        }
    }
    for key in &changes.stale {
        table.insert(key, progress.applied).map_err(failed)?;
    }
    let mut table = transaction.open_table(SHARED).map_err(failed)?;
    for (key, shared) in &changes.shared {
        match shared {
            true => table.insert(key, ()).map(drop),
            false => table.remove(key).map(drop),
        }
        .map_err(failed)?;
    }
    let mut table = transaction.open_table(OBJECTS).map_err(failed)?;
    for (key, row) in &changes.objects {
        match row {
            Some(row) => table.insert(key, changes.bytes(*row)).map(drop),
            None => table.remove(key).map(drop),
        }
        .map_err(failed)?;
    }
    Ok(())
}

/// Segments stay until the store has them; they were sealed once and go up byte for byte as they were.
fn write_segments(transaction: &WriteTransaction, changes: &Changes, progress: &Progress) -> Result<()> {
    let mut table = transaction.open_table(SEGMENTS).map_err(failed)?;
    for (seq, bytes) in &changes.segments {
        table.insert(seq, bytes.as_slice()).map_err(failed)?;
    }
    table.retain_in(..=progress.published_segment, |_, _| false).map_err(failed)
}

impl Snapshot {
    fn take(database: &redb::Database) -> Result<Self> {
        let transaction = database.begin_read().map_err(failed)?;
        Ok(Self {
            inodes: transaction.open_table(INODES).map_err(failed)?,
            entries: transaction.open_table(ENTRIES).map_err(failed)?,
            extents: transaction.open_table(EXTENTS).map_err(failed)?,
            chunks: transaction.open_table(CHUNKS).map_err(failed)?,
            packs: transaction.open_table(PACKS).map_err(failed)?,
            objects: transaction.open_table(OBJECTS).map_err(failed)?,
            stale: transaction.open_table(STALE).map_err(failed)?,
            shared: transaction.open_table(SHARED).map_err(failed)?,
            meta: transaction.open_table(META).map_err(failed)?,
            segments: transaction.open_table(SEGMENTS).map_err(failed)?,
        })
    }

    /// One inode.
    pub(crate) fn inode(&self, ino: Ino) -> Result<Option<InodeRow>> {
        let row = self.inodes.get(ino.0).map_err(failed)?;
        row.map(|row| records::decode_inode(ino, row.value())).transpose()
    }

    /// Every entry of a directory.
    pub(crate) fn each_entry(&self, directory: Ino, mut each: impl FnMut(&[u8], Entry)) -> Result<()> {
        for row in self.entries.range((directory.0, 0)..=(directory.0, u64::MAX)).map_err(failed)? {
            let (key, row) = row.map_err(failed)?;
            let (name, entry) = records::decode_entry(LinkId(key.value().1), row.value())?;
            each(name, entry);
        }
        Ok(())
    }

    /// Every extent of a file, in order.
    pub(crate) fn extents(&self, ino: Ino) -> Result<Vec<(u64, Extent)>> {
        let mut extents = Vec::new();
        for row in self.extents.range((ino.0, 0)..=(ino.0, u64::MAX)).map_err(failed)? {
            let (key, row) = row.map_err(failed)?;
            extents.push((key.value().1, records::decode_extent(row.value())?));
        }
        Ok(extents)
    }

    /// Where a chunk is.
    pub(crate) fn chunk(&self, id: &ChunkId) -> Result<Option<Locator>> {
        let row = self.chunks.get(&id.0).map_err(failed)?;
        row.map(|row| records::decode_locator(row.value())).transpose()
    }

    /// The piece of a pack's table that holds position `index`: its first position, the byte where its first
    /// chunk begins, its chunks.
    pub(crate) fn pack_piece(
        &self,
        pack: PackId,
        index: u32,
    ) -> Result<Option<(u32, u32, Vec<PackedChunk>)>> {
        let mut rows = self.packs.range((pack.0, 0)..=(pack.0, index)).map_err(failed)?;
        let Some(row) = rows.next_back() else { return Ok(None) };
        let (key, row) = row.map_err(failed)?;
        let (offset, chunks) = records::decode_pack_piece(row.value())?;
        Ok(Some((key.value().1, offset, chunks)))
    }

    /// Every piece of every pack's table from `first` to `last`, in order: pack, first position, byte where
    /// the first chunk begins, chunks.
    pub(crate) fn each_pack_piece(
        &self,
        (first, last): (PackId, PackId),
        mut each: impl FnMut(PackId, u32, u32, Vec<PackedChunk>) -> Result<()>,
    ) -> Result<()> {
        for row in self.packs.range((first.0, 0)..=(last.0, u32::MAX)).map_err(failed)? {
            let (key, row) = row.map_err(failed)?;
            let (pack, position) = key.value();
            let (offset, chunks) = records::decode_pack_piece(row.value())?;
            each(PackId(pack), position, offset, chunks)?;
        }
        Ok(())
    }

    /// Machines whose packs are known, ascending.
    pub(crate) fn pack_machines(&self) -> Result<Vec<MachineTag>> {
        let mut machines = Vec::new();
        let mut next = 0;
        // One step a machine: the first pack at or above the next possible tag.
        while let Some(row) = self.packs.range((next, 0)..).map_err(failed)?.next() {
            let tag = row.map_err(failed)?.0.value().0 >> COUNTER_BITS;
            machines.push(MachineTag(tag as u32));
            next = (tag + 1) << COUNTER_BITS;
        }
        Ok(machines)
    }

    /// The object that a directory was last published as.
    pub(crate) fn object(&self, directory: Ino) -> Result<Option<ObjectRef>> {
        let Some(row) = self.objects.get(directory.0).map_err(failed)? else { return Ok(None) };
        let Some((depth, ids)) = row.value().split_first() else { return Ok(None) };
        let ids = ids.as_chunks::<32>().0.iter().map(|id| ChunkId(*id)).collect();
        Ok(Some(ObjectRef { depth: *depth, ids }))
    }

    /// A sealed segment that the store may lack.
    pub(crate) fn segment(&self, seq: u64) -> Result<Option<Vec<u8>>> {
        Ok(self.segments.get(seq).map_err(failed)?.map(|row| row.value().to_vec()))
    }

    /// How far the tables are; `None` in a database that nothing was ever written to.
    pub(crate) fn progress(&self) -> Result<Option<Progress>> {
        let row = self.meta.get(PROGRESS).map_err(failed)?;
        Ok(row.map(|row| Progress::decode(row.value())).transpose()?)
    }

    /// The index runs of the last checkpoint, as they were handed over.
    pub(crate) fn runs(&self) -> Result<Vec<u8>> {
        Ok(self.meta.get(RUNS).map_err(failed)?.map(|row| row.value().to_vec()).unwrap_or_default())
    }

    /// Inodes that have, or once had, several names, ascending.
    pub(crate) fn shared(&self) -> Result<Vec<Ino>> {
        let mut shared = Vec::new();
        for row in self.shared.iter().map_err(failed)? {
            shared.push(Ino(row.map_err(failed)?.0.value()));
        }
        Ok(shared)
    }

    /// Every directory whose published object no longer shows it.
    pub(crate) fn stale(&self) -> Result<Vec<Ino>> {
        let mut stale = Vec::new();
        for row in self.stale.iter().map_err(failed)? {
            stale.push(Ino(row.map_err(failed)?.0.value()));
        }
        Ok(stale)
    }
}
