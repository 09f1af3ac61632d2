//! The directories in memory. A directory is there whole or not at all, so that a miss is an answer.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use keepfs_format::ids::{Ino, LinkId};
use keepfs_format::op::Entry;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::database::{Changes, Database};
use crate::error::Result;

/// Entries kept in memory when nothing forces more, about 200 bytes each.
pub(crate) const ENTRIES_CACHED_MAX: usize = 300_000;

/// One directory in memory.
#[derive(Default)]
pub(crate) struct Directory {
    names: FxHashMap<Arc<[u8]>, Entry>,
    order: BTreeMap<LinkId, Arc<[u8]>>,
    edited: FxHashSet<LinkId>,
    changed: u64,
    used: bool,
}

impl Directory {
    /// What the directory says of a name.
    pub(crate) fn get(&self, name: &[u8]) -> Option<Entry> {
        self.names.get(name).copied()
    }

    /// Whether it has no entries.
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Entries whose link is above `after`, in the order of their links.
    pub(crate) fn after(&self, after: LinkId) -> impl Iterator<Item = (&Arc<[u8]>, Entry)> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.order.range((Excluded(after), Unbounded)).filter_map(|(_, name)| Some((name, self.get(name)?)))
    }

    fn insert(&mut self, name: &[u8], entry: Entry) {
        let name: Arc<[u8]> = name.into();
        self.order.insert(entry.link, name.clone());
        self.names.insert(name, entry);
    }

    fn remove(&mut self, name: &[u8]) -> Option<Entry> {
        let entry = self.names.remove(name)?;
        self.order.remove(&entry.link);
        Some(entry)
    }
}

/// The directories in memory.
pub(crate) struct Directories {
    database: Arc<Database>,
    loaded: FxHashMap<Ino, Directory>,
    clock: VecDeque<Ino>,
    changed: Vec<Ino>,
    entries: usize,
}

impl Directories {
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self {
            database,
            loaded: FxHashMap::default(),
            clock: VecDeque::new(),
            changed: Vec::new(),
            entries: 0,
        }
    }

    /// Number of entries in memory.
    pub(crate) fn entries(&self) -> usize {
        self.entries
    }

    /// The directory, whole.
    pub(super) fn get(&mut self, ino: Ino) -> Result<&Directory> {
        self.load(ino).map(|directory| &*directory)
    }

    fn load(&mut self, ino: Ino) -> Result<&mut Directory> {
        use std::collections::hash_map::Entry::{Occupied, Vacant};
        match self.loaded.entry(ino) {
            Occupied(known) => {
                let directory = known.into_mut();
                directory.used = true;
                Ok(directory)
            }
            Vacant(slot) => {
                let mut directory = Directory { used: true, ..Directory::default() };
                self.database.snapshot().each_entry(ino, |name, entry| directory.insert(name, entry))?;
                self.entries += directory.names.len();
                self.clock.push_back(ino);
                Ok(slot.insert(directory))
            }
        }
    }

    /// A directory that was just made: nothing to ask the database for. One of the same number that went away
    /// before is empty, and may still have removals to tell the database.
    pub(super) fn insert_new(&mut self, ino: Ino) {
        if let std::collections::hash_map::Entry::Vacant(slot) = self.loaded.entry(ino) {
            slot.insert(Directory { used: true, ..Directory::default() });
            self.clock.push_back(ino);
        }
    }

    pub(super) fn insert(&mut self, ino: Ino, name: &[u8], entry: Entry, generation: u64) -> Result<()> {
        self.edit(ino, entry.link, generation)?.insert(name, entry);
        self.entries += 1;
        Ok(())
    }

    pub(super) fn remove(&mut self, ino: Ino, name: &[u8], generation: u64) -> Result<()> {
        let Some(entry) = self.load(ino)?.get(name) else { return Ok(()) };
        self.edit(ino, entry.link, generation)?.remove(name);
        self.entries -= 1;
        Ok(())
    }

    fn edit(&mut self, ino: Ino, link: LinkId, generation: u64) -> Result<&mut Directory> {
        self.load(ino)?;
        let directory = self.loaded.get_mut(&ino).expect("load has just put it there");
        if directory.changed != generation {
            directory.changed = generation;
            self.changed.push(ino);
        }
        directory.edited.insert(link);
        Ok(directory)
    }

    /// Writes what changed since the last call into `changes`.
    pub(super) fn freeze(&mut self, changes: &mut Changes) {
        for ino in self.changed.drain(..) {
            let Some(directory) = self.loaded.get_mut(&ino) else { continue };
            for link in std::mem::take(&mut directory.edited) {
                let now =
                    directory.order.get(&link).and_then(|name| Some((name, directory.names.get(name)?)));
                changes.entry(ino, link, now.map(|(name, entry)| (&name[..], entry)));
            }
        }
    }

    /// Evicts whole directories that the clock finds unused, down to the limit.
    pub(super) fn evict(&mut self, settled: u64) {
        let mut steps = 2 * self.clock.len();
        while self.entries > ENTRIES_CACHED_MAX && steps > 0 {
            steps -= 1;
            let Some(ino) = self.clock.pop_front() else { return };
            let Some(directory) = self.loaded.get_mut(&ino) else { continue };
            if directory.changed > settled || std::mem::take(&mut directory.used) {
                self.clock.push_back(ino);
                continue;
            }
            self.entries -= directory.names.len();
            self.loaded.remove(&ino);
        }
    }
}
