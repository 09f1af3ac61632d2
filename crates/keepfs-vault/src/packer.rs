//! Appends sealed chunks to open packs, makes them durable, and hands full packs to the publisher.
//!
//! It owns the open packs (one in each lane) and all that are not complete yet. It never sees plaintext.
//!
//! Order of locks: a lane, then the list of growing packs, then a pack's own state. No lock is held while a
//! chunk is written; a lane's is held while a new pack is created, once in 48 MiB.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keepfs_format::ids::{COUNTER_BITS, ChunkId, Locator, MachineTag, PackId};
use keepfs_format::op::{Op, PackedChunk};
use parking_lot::Mutex;

use crate::error::{Result, VaultError};
use crate::limits::LANES;
use crate::pack_file::{PackFile, Slot};
use crate::packs::{PackJob, Packs};
use crate::publisher::Publisher;

/// Which pack a chunk goes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Spread {
    /// Small: beside its neighbours, so that they are read together.
    Together,
    /// Cut from a larger file: not where the one before it went.
    Apart,
}

/// The packer.
pub(crate) struct Packer {
    packs: Arc<Packs>,
    machine: MachineTag,
    next_counter: AtomicU64,
    next_lane: AtomicU64,
    lanes: [Mutex<Option<Arc<PackFile>>>; LANES],
    /// Packs that are not complete yet, in the order in which they were made.
    growing: Mutex<Vec<Arc<PackFile>>>,
    /// Packs written since the last sync.
    dirty: Mutex<Vec<Arc<PackFile>>>,
    /// Writes that have ended, and how many of them are certainly durable.
    written: AtomicU64,
    synced: Mutex<u64>,
}

impl Packer {
    pub(crate) fn new(packs: Arc<Packs>, machine: MachineTag, next_counter: u64) -> Self {
        Self {
            packs,
            machine,
            next_counter: AtomicU64::new(next_counter),
            next_lane: AtomicU64::new(0),
            lanes: Default::default(),
            growing: Mutex::default(),
            dirty: Mutex::default(),
            written: AtomicU64::new(0),
            synced: Mutex::new(0),
        }
    }

    /// Whose packs these are.
    pub(crate) fn machine(&self) -> MachineTag {
        self.machine
    }

    /// `Poisoned` once a sync has failed.
    pub(crate) fn check(&self) -> Result<()> {
        self.packs.check()
    }

    /// Appends a sealed chunk. It is visible when this returns.
    pub(crate) fn append(
        &self,
        chunk: PackedChunk,
        sealed: &[u8],
        spread: Spread,
        publisher: &Publisher,
    ) -> Result<Locator> {
        let lane = match spread {
            Spread::Together => 0,
            Spread::Apart => self.next_lane.fetch_add(1, Ordering::Relaxed) as usize % LANES,
        };
        loop {
            self.check()?;
            let (pack, slot) = self.reserve(lane, chunk, publisher)?;
            let written = self.packs.staging().and_then(|staging| pack.write(&slot, sealed, staging));
            if written.is_ok() && pack.mark_dirty() {
                self.dirty.lock().push(pack.clone());
            }
            // Counted before it becomes visible, so that whoever sees it and syncs waits for it.
            self.written.fetch_add(1, Ordering::SeqCst);
            pack.complete(&slot, written.is_ok());
            let is_visible = written.is_ok() && pack.wait_visible(&slot);
            if pack.is_closed() {
                self.note_progress(&pack, publisher);
            }
            written?;
            if is_visible {
                return Ok(pack.locator(&slot, &chunk));
            }
        }
    }

    fn reserve(
        &self,
        lane: usize,
        chunk: PackedChunk,
        publisher: &Publisher,
    ) -> Result<(Arc<PackFile>, Slot)> {
        let mut open = self.lanes[lane].lock();
        loop {
            if let Some(pack) = &*open {
                if let Some(slot) = pack.reserve(chunk) {
                    return Ok((pack.clone(), slot));
                }
                let full = pack.clone();
                *open = None;
                self.retire(&full, publisher);
            }
            let pack = self.packs.create(|| self.next_id())?;
            self.growing.lock().push(pack.clone());
            *open = Some(pack);
        }
    }

    fn next_id(&self) -> Result<PackId> {
        let counter = self.next_counter.fetch_add(1, Ordering::Relaxed);
        if counter >> COUNTER_BITS != 0 {
            return Err(VaultError::Index {
                what: "all numbers for packs of this machine are used".to_owned(),
            });
        }
        Ok(PackId(u64::from(self.machine.0) << COUNTER_BITS | counter))
    }

    /// The pack takes no more chunks. Its job is queued at once, so that a segment queued after this waits
    /// for it; it runs when the pack is complete. A pack that was published before the caller's journal has
    /// its entries could have its number used again after a crash.
    fn retire(&self, pack: &Arc<PackFile>, publisher: &Publisher) {
        pack.close();
        self.packs.note_idle(pack);
        publisher.enqueue_pack(Arc::new(PackJob::new(self.packs.clone(), pack.clone())));
        self.note_progress(pack, publisher);
    }

    /// Something happened to a closed pack that may have been all its job waits for.
    fn note_progress(&self, pack: &Arc<PackFile>, publisher: &Publisher) {
        if pack.is_complete() {
            self.growing.lock().retain(|other| other.id != pack.id);
            publisher.notify();
        }
    }

    /// Entries that became visible since the last call, one operation for each pack.
    pub(crate) fn take_added(&self) -> Vec<Op> {
        self.growing.lock().iter().filter_map(|pack| pack.take_added()).collect()
    }

    /// The caller has a pack's entries below `end` in its journal and index. Gives the ids of those that
    /// are new to it.
    pub(crate) fn settle(&self, pack: PackId, end: u32, publisher: &Publisher) -> Vec<(ChunkId, u32)> {
        let found = self.growing.lock().iter().find(|other| other.id == pack).cloned();
        let Some(pack) = found else { return Vec::new() };
        let settled = pack.settle(end);
        if pack.is_closed() {
            self.note_progress(&pack, publisher);
        }
        settled
    }

    /// Whether the caller has this entry already.
    pub(crate) fn is_settled(&self, at: &Locator) -> bool {
        self.packs.get(at.pack).is_none_or(|pack| pack.is_published() || pack.is_settled(at.index))
    }

    /// Makes everything durable that was visible before the call. Callers at the same time share one sync.
    pub(crate) fn sync(&self) -> Result<()> {
        let wanted = self.written.load(Ordering::SeqCst);
        let mut synced = self.synced.lock();
        self.check()?;
        if *synced >= wanted {
            return Ok(());
        }
        let reached = self.written.load(Ordering::SeqCst);
        let dirty = std::mem::take(&mut *self.dirty.lock());
        for pack in dirty {
            // Publishing made it durable.
            if pack.is_published() {
                continue;
            }
            let result = self.packs.staging().and_then(|staging| pack.sync(staging));
            if let Err(error) = result
                && !pack.is_published()
            {
                return Err(self.packs.poison(&pack, &error));
            }
            if pack.is_closed() && !pack.is_published() {
                self.packs.note_idle(&pack);
            }
        }
        *synced = reached;
        Ok(())
    }

    /// Closes the open packs, queues them for the publisher, writes their trailers and makes them durable.
    pub(crate) fn close_packs(&self, publisher: &Publisher) -> Result<Vec<PackId>> {
        self.check()?;
        let mut closed = Vec::new();
        for lane in &self.lanes {
            let mut open = lane.lock();
            let Some(pack) = open.take_if(|pack| !pack.is_empty()) else { continue };
            self.retire(&pack, publisher);
            drop(open);
            closed.push(pack);
        }
        let staging = self.packs.staging()?;
        for pack in &closed {
            // An error here is not the end of it: the publisher's job writes the trailer if it is missing.
            pack.seal(&self.packs.keys, &*self.packs.env, staging)?;
        }
        self.sync()?;
        Ok(closed.iter().map(|pack| pack.id).collect())
    }

    /// Removes open packs that hold nothing.
    pub(crate) fn discard_empty(&self) {
        for lane in &self.lanes {
            let empty = lane.lock().take_if(|pack| pack.is_empty());
            if let Some(pack) = empty {
                self.growing.lock().retain(|other| other.id != pack.id);
                // What stays behind costs nothing; the next run discards it.
                let _ = self.packs.discard(&pack);
            }
        }
    }
}
