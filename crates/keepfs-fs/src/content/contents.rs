//! All files in memory, how much they hold, and which of them the journal or the database lacks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use keepfs_format::ids::Ino;
use parking_lot::{Condvar, Mutex};
use rustc_hash::{FxHashMap, FxHashSet};

use super::extents::Extent;
use super::file::File;
use crate::database::{Changes, Database};
use crate::error::Result;

/// Bytes outside of chunks that all files together may hold before writers wait.
pub(crate) const HELD_LEN_MAX: usize = 48 << 20;
/// Clean files kept in memory.
const FILES_CACHED_MAX: usize = 4096;
/// Extents of clean files kept in memory, about 100 bytes each.
const EXTENTS_CACHED_MAX: usize = 200_000;
/// Longest wait of a writer for room before it looks again.
const ROOM_WAIT: Duration = Duration::from_millis(100);

/// The contents of all files.
pub(crate) struct Contents {
    /// Where extents are that are not in memory.
    pub database: Arc<Database>,
    files: Mutex<FxHashMap<Ino, Arc<File>>>,
    marks: Mutex<Marks>,
    held_len: AtomicUsize,
    fresh_len: AtomicUsize,
    room: Condvar,
    room_lock: Mutex<()>,
}

/// Which files need what.
#[derive(Default)]
struct Marks {
    /// They hold bytes that the journal has not seen.
    fresh: FxHashSet<Ino>,
    /// They hold bytes that are not in chunks.
    dirty: FxHashSet<Ino>,
    /// Their extents differ from the database.
    touched: FxHashSet<Ino>,
    /// Their content is gone with their last name.
    wiped: Vec<Ino>,
}

impl Contents {
    /// Nothing in memory.
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self {
            database,
            files: Mutex::default(),
            marks: Mutex::default(),
            held_len: AtomicUsize::new(0),
            fresh_len: AtomicUsize::new(0),
            room: Condvar::new(),
            room_lock: Mutex::new(()),
        }
    }

    /// A file that was just made.
    pub(crate) fn insert_new(&self, ino: Ino) {
        self.files.lock().insert(ino, Arc::new(File::new_empty(ino)));
    }

    /// The file, whose length is `size` if it is not in memory.
    pub(crate) fn file(&self, ino: Ino, size: u64) -> Arc<File> {
        self.files.lock().entry(ino).or_insert_with(|| Arc::new(File::known(ino, size))).clone()
    }

    /// The file if it is in memory.
    pub(crate) fn loaded(&self, ino: Ino) -> Option<Arc<File>> {
        self.files.lock().get(&ino).cloned()
    }

    /// The file has lost its last name. Without an open handle its bytes go at once.
    pub(crate) fn unlink(&self, ino: Ino, open: bool) {
        self.marks.lock().wiped.push(ino);
        let Some(file) = self.loaded(ino) else { return };
        file.lock().unlinked = true;
        if !open {
            self.forget(ino);
        }
    }

    /// The last handle of a name-less file is closed: its bytes go.
    pub(crate) fn forget(&self, ino: Ino) {
        let Some(file) = self.files.lock().remove(&ino) else { return };
        let mut state = file.lock();
        let (held, fresh) = (state.dirty.len(), state.dirty.fresh_len());
        state.dirty.truncate(0);
        state.flights.iter_mut().for_each(|flight| flight.live.clear());
        self.account(held, 0, fresh, 0);
        let mut marks = self.marks.lock();
        marks.fresh.remove(&ino);
        marks.dirty.remove(&ino);
        marks.touched.remove(&ino);
    }

    /// Keeps the totals after a file's held and fresh bytes went from one number to another.
    pub(crate) fn account(&self, held: usize, held_now: usize, fresh: usize, fresh_now: usize) {
        self.fresh_len.fetch_add(fresh_now, Ordering::Relaxed);
        self.fresh_len.fetch_sub(fresh, Ordering::Relaxed);
        self.held_len.fetch_add(held_now, Ordering::Relaxed);
        let before = self.held_len.fetch_sub(held, Ordering::Relaxed);
        if held > held_now && before > HELD_LEN_MAX / 2 {
            self.room.notify_all();
        }
    }

    /// Bytes outside of chunks.
    pub(crate) fn held_len(&self) -> usize {
        self.held_len.load(Ordering::Relaxed)
    }

    /// Bytes that the journal has not seen.
    pub(crate) fn fresh_len(&self) -> usize {
        self.fresh_len.load(Ordering::Relaxed)
    }

    /// Waits a moment if all files together hold too much. The caller looks again before it writes.
    pub(crate) fn wait_for_room(&self) {
        let mut lock = self.room_lock.lock();
        if self.held_len() >= HELD_LEN_MAX {
            self.room.wait_for(&mut lock, ROOM_WAIT);
        }
    }

    /// The file took bytes in.
    pub(crate) fn mark_written(&self, ino: Ino) {
        let mut marks = self.marks.lock();
        marks.fresh.insert(ino);
        marks.dirty.insert(ino);
    }

    /// The file took bytes in that the journal has.
    pub(crate) fn mark_dirty(&self, ino: Ino) {
        self.marks.lock().dirty.insert(ino);
    }

    /// The file's extents changed.
    pub(crate) fn mark_touched(&self, ino: Ino) {
        self.marks.lock().touched.insert(ino);
    }

    /// The file holds nothing outside of chunks any more.
    pub(crate) fn mark_clean(&self, ino: Ino) {
        let mut marks = self.marks.lock();
        marks.fresh.remove(&ino);
        marks.dirty.remove(&ino);
    }

    /// Files that hold bytes outside of chunks.
    pub(crate) fn dirty_files(&self) -> Vec<Arc<File>> {
        let dirty: Vec<Ino> = self.marks.lock().dirty.iter().copied().collect();
        dirty.into_iter().filter_map(|ino| self.loaded(ino)).collect()
    }

    /// Files with bytes that the journal has not seen; they count as seen from now on.
    pub(crate) fn take_fresh_files(&self) -> Vec<Arc<File>> {
        let fresh = std::mem::take(&mut self.marks.lock().fresh);
        fresh.into_iter().filter_map(|ino| self.loaded(ino)).collect()
    }

    /// The fold cuts a file to `size` and gives ranges new sources. Returns the space it takes now, in bytes.
    pub(crate) fn replay_edits(
        &self,
        ino: Ino,
        size: u64,
        edits: &[(u64, u64, Option<Extent>)],
    ) -> Result<u64> {
        let file = self.file(ino, size);
        let mut state = file.lock();
        let (held, fresh) = (state.dirty.len(), state.dirty.fresh_len());
        state.truncate(ino, size, &self.database)?;
        for (offset, len, source) in edits {
            state.punch(ino, (*offset, *len), &self.database)?;
            if let Some(extent) = source {
                state.splice(ino, (*offset, *extent), &self.database)?;
            }
        }
        self.account(held, state.dirty.len(), fresh, state.dirty.fresh_len());
        self.mark_touched(ino);
        state.allocated(ino, &self.database)
    }

    /// Writes every row of extents that changed since the last call into `changes`, as checkpoint
    /// `generation`.
    pub(crate) fn freeze(&self, changes: &mut Changes, generation: u64) {
        let (touched, wiped) = {
            let mut marks = self.marks.lock();
            (std::mem::take(&mut marks.touched), std::mem::take(&mut marks.wiped))
        };
        for ino in wiped {
            changes.wipe_content(ino);
        }
        for ino in touched {
            let Some(file) = self.loaded(ino) else { continue };
            let mut state = file.lock();
            if state.unlinked {
                continue;
            }
            state.changed = generation;
            if let Some(extents) = state.loaded() {
                for (offset, row) in extents.take_touched() {
                    changes.extent(ino, offset, row.as_ref());
                }
            }
        }
    }

    /// Drops files that are clean, in the database and not open, when there are more than the limit.
    pub(crate) fn evict(&self, settled: u64, is_open: impl Fn(Ino) -> bool) {
        let mut files = self.files.lock();
        let mut extents = 0;
        if files.len() <= FILES_CACHED_MAX {
            extents = files.values().filter_map(|file| Some(file.try_lock()?.extent_count())).sum();
        }
        if files.len() <= FILES_CACHED_MAX && extents <= EXTENTS_CACHED_MAX {
            return;
        }
        let marks = self.marks.lock();
        files.retain(|ino, file| {
            let needed = Arc::strong_count(file) > 1
                || is_open(*ino)
                || marks.dirty.contains(ino)
                || marks.touched.contains(ino);
            needed || file.try_lock().is_none_or(|state| !state.is_clean() || state.changed > settled)
        });
    }
}
