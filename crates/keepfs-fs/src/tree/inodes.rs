//! The inodes in memory: a bounded cache over the database that never evicts what the database lacks.

use std::collections::VecDeque;
use std::sync::Arc;

use keepfs_format::ids::Ino;
use keepfs_format::op::Inode;
use rustc_hash::FxHashMap;

use crate::database::{Changes, Database};
use crate::error::Result;

/// Inodes kept in memory when nothing forces more, about 400 bytes each.
pub(crate) const INODES_CACHED_MAX: usize = 100_000;

/// One inode in memory.
struct Slot {
    inode: Inode,
    allocated: u64,
    /// Checkpoint that will write the last change; 0 when it came from the database as it is.
    changed: u64,
    /// Looked at since the clock hand passed.
    used: bool,
    /// Without a name. It stays for open handles, or until the database knows.
    gone: bool,
}

/// The inodes in memory.
pub(crate) struct Inodes {
    database: Arc<Database>,
    slots: FxHashMap<Ino, Box<Slot>>,
    clock: VecDeque<Ino>,
    changed: Vec<Ino>,
}

impl Inodes {
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self { database, slots: FxHashMap::default(), clock: VecDeque::new(), changed: Vec::new() }
    }

    /// Number of inodes in memory.
    pub(crate) fn count(&self) -> usize {
        self.slots.len()
    }

    fn load(&mut self, ino: Ino) -> Result<bool> {
        if self.slots.contains_key(&ino) {
            return Ok(true);
        }
        let Some(row) = self.database.snapshot().inode(ino)? else { return Ok(false) };
        self.admit(row.inode, row.allocated, 0);
        Ok(true)
    }

    fn admit(&mut self, inode: Inode, allocated: u64, changed: u64) {
        let ino = inode.ino;
        let slot = Slot { inode, allocated, changed, used: true, gone: false };
        if self.slots.insert(ino, Box::new(slot)).is_none() {
            self.clock.push_back(ino);
        }
    }

    /// The inode and the bytes its content takes; also one without a name that is still open.
    pub(super) fn get(&mut self, ino: Ino) -> Result<Option<(&Inode, u64)>> {
        if !self.load(ino)? {
            return Ok(None);
        }
        Ok(self.slots.get_mut(&ino).map(|slot| {
            slot.used = true;
            (&slot.inode, slot.allocated)
        }))
    }

    /// The inode, about to change; the checkpoint `generation` will write it.
    pub(super) fn get_mut(&mut self, ino: Ino, generation: u64) -> Result<Option<(&mut Inode, &mut u64)>> {
        if !self.load(ino)? {
            return Ok(None);
        }
        let Some(slot) = self.slots.get_mut(&ino) else { return Ok(None) };
        slot.used = true;
        if slot.changed != generation {
            slot.changed = generation;
            self.changed.push(ino);
        }
        Ok(Some((&mut slot.inode, &mut slot.allocated)))
    }

    pub(super) fn insert(&mut self, inode: Inode, generation: u64) {
        self.changed.push(inode.ino);
        self.admit(inode, 0, generation);
    }

    /// Takes the name-less inode out of the tree. Handles still see it until [`Self::forget`].
    pub(super) fn remove(&mut self, ino: Ino, generation: u64) {
        if let Some(slot) = self.slots.get_mut(&ino) {
            slot.gone = true;
            if slot.changed != generation {
                slot.changed = generation;
                self.changed.push(ino);
            }
        }
    }

    /// Whether the inode has lost its last name.
    pub(super) fn is_gone(&self, ino: Ino) -> bool {
        self.slots.get(&ino).is_some_and(|slot| slot.gone)
    }

    /// Writes what changed since the last call into `changes`.
    pub(super) fn freeze(&mut self, changes: &mut Changes) {
        for ino in self.changed.drain(..) {
            if let Some(slot) = self.slots.get(&ino) {
                changes.inode(ino, (!slot.gone).then_some((&slot.inode, slot.allocated)));
            }
        }
    }

    /// Number of inodes that differ from the last frozen state.
    pub(super) fn changed_count(&self) -> usize {
        self.changed.len()
    }

    /// Evicts what the clock finds unused, down to the limit; `settled` is the last generation that the
    /// database has, `keep` tells what open handles need.
    pub(super) fn evict(&mut self, settled: u64, keep: impl Fn(Ino) -> bool) {
        let mut steps = 2 * self.clock.len();
        while self.slots.len() > INODES_CACHED_MAX && steps > 0 {
            steps -= 1;
            let Some(ino) = self.clock.pop_front() else { return };
            let Some(slot) = self.slots.get_mut(&ino) else { continue };
            if slot.changed > settled || keep(ino) || std::mem::take(&mut slot.used) {
                self.clock.push_back(ino);
                continue;
            }
            self.slots.remove(&ino);
        }
    }

    /// Drops name-less inodes that the database has forgotten and no handle needs.
    pub(super) fn drop_gone(&mut self, settled: u64, keep: impl Fn(Ino) -> bool) {
        self.slots.retain(|ino, slot| !slot.gone || slot.changed > settled || keep(*ino));
    }
}
