//! The tree: inodes, directories, pack tables, counters, and the batch of operations not yet journaled.

use std::sync::Arc;

use keepfs_format::ids::{COUNTER_BITS, Hlc, Ino, LinkId, MachineTag, PackId, Time};
use keepfs_format::keys::NamespaceKeys;
use keepfs_format::op::{Inode, Kind, Op, OpGroup, PackedChunk};
use keepfs_log::{apply_group, last_number_of};
use rustc_hash::{FxHashMap, FxHashSet};

use super::directories::{Directories, Directory};
use super::fold::Fold;
use super::inodes::Inodes;
use super::log::OpLog;
use super::packs::{Packs, own_pack_counter};
use crate::content::Contents;
use crate::database::{Changes, Database, Progress};
use crate::error::{FsError, Result};

/// Generations of one path that are tried before a directory number is given up: only a writer who forges
/// hash collisions gets near it.
const GENERATION_MAX: u32 = 1 << 16;

/// Everything about names and attributes. One lock holds it; nothing under that lock waits for a store.
pub(crate) struct Tree {
    pub(super) machine: MachineTag,
    keys: Arc<NamespaceKeys>,
    pub(super) inodes: Inodes,
    pub(super) directories: Directories,
    pub(super) packs: Packs,
    pub(super) stale: FxHashSet<Ino>,
    /// Files that lost their last name, for the contents to let go of once the tree's lock is released.
    pub(super) dropped: Vec<Ino>,
    opens: FxHashMap<Ino, u32>,
    /// Operations not yet journaled.
    pub(crate) log: OpLog,
    /// Counters and positions, as of now.
    pub(crate) progress: Progress,
    /// Number of the checkpoint that will write what changes now; never 0.
    pub(super) generation: u64,
    settled: u64,
    packs_hlc: Hlc,
}

impl Tree {
    /// The tree over a database.
    pub(crate) fn new(
        database: &Arc<Database>,
        keys: Arc<NamespaceKeys>,
        machine: MachineTag,
        progress: Progress,
    ) -> Self {
        Self {
            machine,
            keys,
            inodes: Inodes::new(database.clone()),
            directories: Directories::new(database.clone()),
            packs: Packs::new(database.clone()),
            stale: FxHashSet::default(),
            dropped: Vec::new(),
            opens: FxHashMap::default(),
            log: OpLog::default(),
            progress,
            generation: 1,
            settled: 0,
            packs_hlc: Hlc(0),
        }
    }

    /// Whose log this tree writes.
    pub(crate) fn machine(&self) -> MachineTag {
        self.machine
    }

    /// The inode with a name, or still open; ENOENT else.
    pub(crate) fn inode(&mut self, ino: Ino) -> Result<(&Inode, u64)> {
        self.inodes.get(ino)?.ok_or(FsError::NotFound)
    }

    /// The inode, which must have a name or be open, about to change without an operation of its own.
    pub(crate) fn inode_mut(&mut self, ino: Ino) -> Result<(&mut Inode, &mut u64)> {
        let generation = self.generation;
        if let Some((inode, _)) = self.inodes.get(ino)?
            && inode.parent.0 != 0
        {
            let parent = inode.parent;
            self.stale.insert(parent);
        }
        self.inodes.get_mut(ino, generation)?.ok_or(FsError::NotFound)
    }

    /// The directory, whole; ENOTDIR when it is something else.
    pub(crate) fn directory(&mut self, ino: Ino) -> Result<&Directory> {
        if self.is_gone(ino) {
            return Err(FsError::NotFound);
        }
        match self.inode(ino)?.0.kind {
            Kind::Directory => self.directories.get(ino),
            _ => Err(FsError::NotDirectory),
        }
    }

    /// Files that lost their last name since the last call, each with whether a handle is still open.
    pub(crate) fn take_dropped(&mut self) -> Vec<(Ino, bool)> {
        let dropped = std::mem::take(&mut self.dropped);
        dropped.into_iter().map(|ino| (ino, self.is_open(ino))).collect()
    }

    /// Whether the inode has lost its last name.
    pub(crate) fn is_gone(&self, ino: Ino) -> bool {
        self.inodes.is_gone(ino)
    }

    /// A number that was never used: for an inode that is no directory, or for a link.
    pub(crate) fn draw_number(&mut self) -> u64 {
        self.progress.last_number += 1;
        u64::from(self.machine.0) << COUNTER_BITS | self.progress.last_number
    }

    /// A fresh id for a directory entry.
    pub(crate) fn draw_link(&mut self) -> LinkId {
        LinkId(self.draw_number())
    }

    /// The number of a new directory: the first generation of this path that names nothing.
    pub(crate) fn draw_directory(&mut self, parent: Ino, name: &[u8]) -> Result<Ino> {
        for generation in 0..GENERATION_MAX {
            let ino = self.keys.directory_ino(parent, name, generation);
            let free = match self.inodes.get(ino)? {
                None => true,
                Some(_) => self.is_gone(ino) && !self.is_open(ino),
            };
            if free {
                return Ok(ino);
            }
        }
        Err(FsError::TooManyLinks)
    }

    /// A handle on the inode is opened.
    pub(crate) fn opened(&mut self, ino: Ino) {
        *self.opens.entry(ino).or_insert(0) += 1;
    }

    /// A handle is closed; true when it was the last one of an inode without a name.
    pub(crate) fn closed(&mut self, ino: Ino) -> bool {
        let Some(count) = self.opens.get_mut(&ino) else { return false };
        *count -= 1;
        if *count > 0 {
            return false;
        }
        self.opens.remove(&ino);
        self.is_gone(ino)
    }

    /// Whether a handle on the inode is open.
    pub(crate) fn is_open(&self, ino: Ino) -> bool {
        self.opens.contains_key(&ino)
    }

    /// Every inode with an open handle.
    pub(crate) fn open_inodes(&self) -> FxHashSet<Ino> {
        self.opens.keys().copied().collect()
    }

    /// Logical time for an operation at `now`: rising, whatever the clock does.
    pub(crate) fn tick(&mut self, now: Time) -> Hlc {
        let wall = (now.secs.max(0) as u64).saturating_mul(1000) + u64::from(now.nanos / 1_000_000);
        self.progress.hlc = (wall << 16).max(self.progress.hlc + 1);
        Hlc(self.progress.hlc)
    }

    /// Counters and clock go on above what a group of `author`'s log used.
    pub(crate) fn heed(&mut self, author: MachineTag, group: &OpGroup) {
        self.progress.hlc = self.progress.hlc.max(group.hlc.0);
        self.progress.operations_since += group.ops.len() as u64;
        if author == self.machine {
            let highest = group.ops.iter().filter_map(|op| last_number_of(op, author)).max();
            self.progress.last_number = self.progress.last_number.max(highest.unwrap_or(0));
        }
    }

    /// Applies operations that were checked against the tree, and puts them into the batch as one group.
    pub(crate) fn perform(&mut self, contents: &Contents, now: Time, ops: Vec<Op>) -> Result<()> {
        let group = OpGroup { hlc: self.tick(now), time: now, ops };
        let machine = self.machine;
        self.record(&group)?;
        apply_group(&mut Fold { tree: self, contents }, machine, &group)
    }

    /// Puts a group into the batch whose effects the tree has already.
    pub(crate) fn record(&mut self, group: &OpGroup) -> Result<()> {
        self.progress.operations_since += group.ops.len() as u64;
        self.log.record(group)
    }

    /// Pieces of pack tables that this machine made: as one group that comes before everything in the batch,
    /// under the logical time that was set aside for it when the last batch ended.
    pub(crate) fn record_packs(&mut self, now: Time, ops: Vec<Op>, log: &mut OpLog) -> Result<()> {
        for op in &ops {
            if let Op::PackAdd { pack, first, chunks } = op {
                self.add_pack(*pack, *first, chunks)?;
            }
        }
        match ops.is_empty() {
            true => Ok(()),
            false => log.record(&OpGroup { hlc: self.packs_hlc, time: now, ops }),
        }
    }

    /// A piece of a pack's table, by whomever.
    pub(super) fn add_pack(&mut self, pack: PackId, first: u32, chunks: &[PackedChunk]) -> Result<()> {
        if let Some(counter) = own_pack_counter(pack, self.machine) {
            self.progress.last_pack = self.progress.last_pack.max(counter);
        }
        self.packs.add(pack, first, chunks)
    }

    /// Takes the batch of operations. What is recorded from now on belongs to the next one.
    pub(crate) fn take_batch(&mut self) -> (Vec<u8>, Hlc) {
        let last = Hlc(self.progress.hlc);
        let batch = self.log.take();
        self.set_packs_hlc_aside();
        (batch, last)
    }

    /// Sets a logical time aside for the pack tables of the batch that begins now.
    pub(crate) fn set_packs_hlc_aside(&mut self) {
        self.progress.hlc += 1;
        self.packs_hlc = Hlc(self.progress.hlc);
    }

    /// Pack tables as the log tells them.
    pub(crate) fn packs(&self) -> &Packs {
        &self.packs
    }

    /// How much differs from the last frozen state, in rows.
    pub(crate) fn changed_count(&self) -> usize {
        self.inodes.changed_count() + self.packs.chunk_count()
    }

    /// Number of cached inodes and entries, for `status`.
    pub(crate) fn cached(&self) -> (usize, usize) {
        (self.inodes.count(), self.directories.entries())
    }

    /// Everything that changed since the last call, as rows. Returns the generation to [`Self::settle`] with
    /// once the database has them.
    pub(crate) fn freeze(&mut self, changes: &mut Changes) -> u64 {
        self.inodes.freeze(changes);
        self.directories.freeze(changes);
        self.packs.freeze(changes);
        for directory in self.stale.drain() {
            changes.stale(directory);
        }
        let frozen = self.generation;
        self.generation += 1;
        frozen
    }

    /// The database has everything up to this generation: what the caches hold beyond their limits may go.
    pub(crate) fn settle(&mut self, generation: u64) {
        self.settled = generation;
        let opens = std::mem::take(&mut self.opens);
        self.inodes.drop_gone(generation, |ino| opens.contains_key(&ino));
        self.inodes.evict(generation, |ino| opens.contains_key(&ino));
        self.opens = opens;
        self.directories.evict(generation);
    }

    /// Evicts what the database has, when the caches have grown beyond their limits by reading alone.
    pub(crate) fn shrink(&mut self) {
        if self.inodes.count() > super::INODES_CACHED_MAX
            || self.directories.entries() > super::ENTRIES_CACHED_MAX
        {
            self.settle(self.settled);
        }
    }
}
