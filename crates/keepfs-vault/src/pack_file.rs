//! One pack while it grows and until it is published: the staged object, and who has which part of it.
//!
//! A writer reserves a range under a short lock, writes it without any, and tells when that is done. Entries
//! become visible strictly in order: one is visible when it and all before it are written. When a write
//! fails, everything from the first gap on is taken back as soon as no writer is at work any more, so the
//! pack is as if it had never been tried; whoever lost a good write to that writes it again elsewhere.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keepfs_format::Env;
use keepfs_format::ids::{ChunkId, Locator, PackId};
use keepfs_format::keys::NamespaceKeys;
use keepfs_format::op::{Op, PackedChunk};
use keepfs_format::pack::{self, PackTable};
use keepfs_store::{ObjectName, Staged, Staging};
use parking_lot::{Condvar, Mutex};

use crate::error::{Result, VaultError};
use crate::handle::Handle;

/// A range that a writer may fill.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    index: u32,
    offset: u32,
    /// How often the pack had been rolled back when this was reserved.
    generation: usize,
}

#[derive(Default)]
struct State {
    /// All reserved entries.
    entries: Vec<PackedChunk>,
    /// Bytes of them.
    body_len: u64,
    /// Which entries from `visible` on are written.
    written: VecDeque<bool>,
    /// Entries that are written without a gap, and their bytes.
    visible: u32,
    visible_len: u64,
    /// Writers at work.
    writing: u32,
    /// A write failed: nothing is reserved until the last writer has rolled the pack back.
    broken: bool,
    /// To how many entries each rollback cut the pack.
    rollbacks: Vec<u32>,
    /// Entries that the caller has been told of.
    taken: u32,
    /// Entries that the caller has in its journal and index.
    settled: u32,
    /// No more chunks come in.
    closed: bool,
    /// Length with the trailer, once that is written.
    object_len: Option<u64>,
    published: bool,
}

/// A staged pack.
pub(crate) struct PackFile {
    pub(crate) id: PackId,
    pub(crate) name: ObjectName,
    pub(crate) handle: Handle,
    /// Written since the last sync.
    dirty: AtomicBool,
    state: Mutex<State>,
    /// Notified when entries become visible and when the last writer is done.
    changed: Condvar,
    /// Held while the trailer is made and written.
    sealing: Mutex<()>,
}

impl PackFile {
    /// A new, empty one.
    pub(crate) fn new(id: PackId, name: ObjectName, staged: Box<dyn Staged>) -> Self {
        Self {
            id,
            name,
            handle: Handle::new(staged),
            dirty: AtomicBool::new(false),
            state: Mutex::default(),
            changed: Condvar::new(),
            sealing: Mutex::default(),
        }
    }

    /// One whose entries are all written, settled, and in the caller's journal; with `object_len`, its
    /// trailer is written too.
    pub(crate) fn recovered(self, table: PackTable, object_len: Option<u64>) -> Self {
        let body_len = table.body_len();
        let count = u32::try_from(table.entries.len()).unwrap_or(u32::MAX);
        *self.state.lock() = State {
            entries: table.entries,
            body_len,
            visible: count,
            visible_len: body_len,
            taken: count,
            settled: count,
            closed: true,
            object_len,
            ..State::default()
        };
        self
    }

    /// A place for one more chunk; `None` if the pack takes no more, or this one does not fit.
    pub(crate) fn reserve(&self, chunk: PackedChunk) -> Option<Slot> {
        let mut state = self.state.lock();
        while state.broken {
            self.changed.wait(&mut state);
        }
        let end = state.body_len + u64::from(chunk.sealed_len);
        if state.closed || !pack::fits(end, state.entries.len() + 1) {
            return None;
        }
        let index = u32::try_from(state.entries.len()).ok()?;
        let offset = u32::try_from(state.body_len).ok()?;
        state.entries.push(chunk);
        state.body_len = end;
        state.written.push_back(false);
        state.writing += 1;
        Some(Slot { index, offset, generation: state.rollbacks.len() })
    }

    /// Where the chunk of a slot lies.
    pub(crate) fn locator(&self, slot: &Slot, chunk: &PackedChunk) -> Locator {
        Locator {
            pack: self.id,
            index: slot.index,
            offset: slot.offset,
            sealed_len: chunk.sealed_len,
            plain_len: chunk.plain_len,
        }
    }

    /// Writes the bytes of a slot. [`PackFile::complete`] must follow.
    pub(crate) fn write(&self, slot: &Slot, bytes: &[u8], staging: &dyn Staging) -> Result<()> {
        Ok(self.handle.get(&self.name, staging)?.write_at(u64::from(slot.offset), bytes)?)
    }

    /// Marks the pack as written since the last sync; whether it was not before.
    pub(crate) fn mark_dirty(&self) -> bool {
        !self.dirty.swap(true, Ordering::SeqCst)
    }

    /// A write has ended.
    pub(crate) fn complete(&self, slot: &Slot, is_written: bool) {
        let mut state = self.state.lock();
        state.writing -= 1;
        if is_written {
            let position = (slot.index - state.visible) as usize;
            state.written[position] = true;
            while state.written.front() == Some(&true) {
                state.written.pop_front();
                state.visible_len += u64::from(state.entries[state.visible as usize].sealed_len);
                state.visible += 1;
            }
        } else {
            state.broken = true;
        }
        if state.broken && state.writing == 0 {
            let (visible, visible_len) = (state.visible, state.visible_len);
            state.rollbacks.push(visible);
            state.entries.truncate(visible as usize);
            state.body_len = visible_len;
            state.written.clear();
            state.broken = false;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until a written slot is visible. False if another's failed write took it back.
    pub(crate) fn wait_visible(&self, slot: &Slot) -> bool {
        let mut state = self.state.lock();
        loop {
            if let Some(&cut) = state.rollbacks.get(slot.generation) {
                return slot.index < cut;
            }
            if slot.index < state.visible {
                return true;
            }
            self.changed.wait(&mut state);
        }
    }

    /// What became visible since the last call.
    pub(crate) fn take_added(&self) -> Option<Op> {
        let mut state = self.state.lock();
        if state.taken == state.visible {
            return None;
        }
        let first = state.taken;
        state.taken = state.visible;
        let chunks = state.entries[first as usize..state.visible as usize].to_vec();
        Some(Op::PackAdd { pack: self.id, first, chunks })
    }

    /// The caller has the entries below `end`; gives the ids of those that it did not have before.
    pub(crate) fn settle(&self, end: u32) -> Vec<(ChunkId, u32)> {
        let mut state = self.state.lock();
        let end = end.min(state.taken);
        let first = state.settled.min(end);
        state.settled = state.settled.max(end);
        let settled = state.entries.get(first as usize..end as usize).unwrap_or_default();
        settled.iter().map(|entry| entry.id).zip(first..).collect()
    }

    /// Whether the caller has this entry.
    pub(crate) fn is_settled(&self, index: u32) -> bool {
        index < self.state.lock().settled
    }

    /// No more chunks come in.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
    }

    /// Whether no more chunks come in.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Whether nothing was reserved yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.state.lock().entries.is_empty()
    }

    /// Whether it is complete: closed, nobody at work on it, and the caller has all of its entries.
    pub(crate) fn is_complete(&self) -> bool {
        let state = self.state.lock();
        let is_quiet = state.writing == 0 && !state.broken;
        state.published || (state.closed && is_quiet && state.settled as usize == state.entries.len())
    }

    /// Bytes of its chunks, or of the whole object once it has its trailer.
    pub(crate) fn len(&self) -> u64 {
        let state = self.state.lock();
        state.object_len.unwrap_or(state.body_len)
    }

    /// Whether it is on the store.
    pub(crate) fn is_published(&self) -> bool {
        self.state.lock().published
    }

    /// Notes that it is on the store.
    pub(crate) fn set_published(&self) {
        let mut state = self.state.lock();
        state.published = true;
        // The table has done its work: the index has it.
        state.entries = Vec::new();
    }

    /// Closes the pack and writes its trailer, unless that is done. After an error it can be tried again.
    /// Gives the length of the object; `None` if it turned out to hold nothing.
    pub(crate) fn seal(
        &self,
        keys: &NamespaceKeys,
        env: &dyn Env,
        staging: &dyn Staging,
    ) -> Result<Option<u64>> {
        let _sealing = self.sealing.lock();
        let table = {
            let mut state = self.state.lock();
            state.closed = true;
            while state.writing > 0 || state.broken {
                self.changed.wait(&mut state);
            }
            if state.object_len.is_some() || state.entries.is_empty() {
                return Ok(state.object_len);
            }
            PackTable { entries: state.entries.clone() }
        };
        let faulty = |error: keepfs_format::FormatError| VaultError::Faulty { what: error.to_string() };
        let trailer = pack::seal_trailer(keys, self.id, &table, env).map_err(faulty)?;
        let object_len = table.body_len() + trailer.len() as u64;
        let staged = self.handle.get(&self.name, staging)?;
        staged.write_at(table.body_len(), &trailer)?;
        if staged.len()? != object_len {
            // Writes that were taken back may have left bytes behind what counts.
            staged.truncate(object_len)?;
        }
        self.state.lock().object_len = Some(object_len);
        Ok(Some(object_len))
    }

    /// Makes durable what was written before the call.
    pub(crate) fn sync(&self, staging: &dyn Staging) -> Result<()> {
        // Cleared first: a write that ends meanwhile marks it again.
        self.dirty.store(false, Ordering::SeqCst);
        Ok(self.handle.get(&self.name, staging)?.sync()?)
    }

    /// A handle to read from, and whether it had to be opened again; `None` once the pack is published and
    /// its handle let go.
    pub(crate) fn reader(&self, staging: &dyn Staging) -> Result<Option<(Arc<dyn Staged>, bool)>> {
        if let Some(open) = self.handle.open() {
            return Ok(Some((open, false)));
        }
        if self.is_published() {
            return Ok(None);
        }
        match self.handle.get(&self.name, staging) {
            // It was published between the two looks.
            Err(_) if self.is_published() => Ok(None),
            other => other.map(|staged| Some((staged, true))),
        }
    }
}
