//! One file's bytes: extents below, bytes on their way into chunks above them, unchunked bytes on top.

use std::ops::Range;
use std::sync::Arc;

use keepfs_format::ids::Ino;
use parking_lot::{Mutex, MutexGuard};

use super::dirty::Dirty;
use super::extents::{Extent, Extents, Run};
use crate::database::Database;
use crate::error::Result;

/// One file in memory.
pub(crate) struct File {
    /// Its number.
    pub ino: Ino,
    state: Mutex<FileState>,
    /// Held while a drain takes bytes out and cuts them.
    pub draining: Mutex<()>,
}

/// What a lock on a file gives.
pub(crate) struct FileState {
    /// Length in bytes; the tree's inode says the same.
    pub size: u64,
    /// Bytes that are not in chunks.
    pub dirty: Dirty,
    /// Bytes that are being put into chunks.
    pub flights: Vec<Flight>,
    /// It has no name left.
    pub unlinked: bool,
    /// Its bytes could not be brought into chunks, and nobody was told yet.
    pub failed: bool,
    extents: Option<Extents>,
    /// Checkpoint that will write the last change of the extents; 0 when there is none.
    pub changed: u64,
}

/// A run of bytes that a drain has taken out and not yet brought to the extents.
pub(crate) struct Flight {
    /// First byte in the file.
    pub offset: u64,
    /// The bytes.
    pub bytes: Arc<Vec<u8>>,
    /// What of it still counts, as ranges of the file: truncation and punching take away from it.
    pub live: Vec<(u64, u64)>,
}

impl Flight {
    /// `from..to` of the file does not count any more.
    pub(crate) fn punch(&mut self, from: u64, to: u64) {
        if !self.is_live(&(from..to)) {
            return;
        }
        let mut kept = Vec::with_capacity(self.live.len() + 1);
        for (start, end) in self.live.drain(..) {
            for (start, end) in [(start, end.min(from)), (start.max(to), end)] {
                if start < end {
                    kept.push((start, end));
                }
            }
        }
        self.live = kept;
    }

    fn is_live(&self, range: &Range<u64>) -> bool {
        self.live.iter().any(|(from, to)| *from < range.end && *to > range.start)
    }
}

impl File {
    /// A file that was just made: nothing to ask the database for.
    pub(super) fn new_empty(ino: Ino) -> Self {
        Self::with(ino, 0, Some(Extents::default()))
    }

    /// A file whose extents the database has.
    pub(super) fn known(ino: Ino, size: u64) -> Self {
        Self::with(ino, size, None)
    }

    fn with(ino: Ino, size: u64, extents: Option<Extents>) -> Self {
        let state = FileState {
            size,
            dirty: Dirty::default(),
            flights: Vec::new(),
            unlinked: false,
            failed: false,
            extents,
            changed: 0,
        };
        Self { ino, state: Mutex::new(state), draining: Mutex::new(()) }
    }

    /// Locks the file. Never taken while the tree is locked, except where only one thread runs.
    pub(crate) fn lock(&self) -> MutexGuard<'_, FileState> {
        self.state.lock()
    }

    /// The same if nobody holds it.
    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, FileState>> {
        self.state.try_lock()
    }
}

impl FileState {
    /// The extents, read from the database the first time.
    pub(crate) fn extents(&mut self, ino: Ino, database: &Database) -> Result<&mut Extents> {
        match &mut self.extents {
            Some(extents) => Ok(extents),
            slot => Ok(slot.insert(Extents::from_rows(database.snapshot().extents(ino)?))),
        }
    }

    /// The extents if they are in memory.
    pub(super) fn loaded(&mut self) -> Option<&mut Extents> {
        self.extents.as_mut()
    }

    /// Number of extents in memory.
    pub(super) fn extent_count(&self) -> usize {
        self.extents.as_ref().map_or(0, Extents::count)
    }

    /// Whether all its bytes are in chunks.
    pub(crate) fn is_clean(&self) -> bool {
        self.dirty.is_empty() && self.flights.is_empty()
    }

    /// Takes out the flight of these bytes.
    pub(crate) fn take_flight(&mut self, bytes: &Arc<Vec<u8>>) -> Option<Flight> {
        let at = self.flights.iter().position(|flight| Arc::ptr_eq(&flight.bytes, bytes))?;
        Some(self.flights.swap_remove(at))
    }

    /// The ranges of all flights that still count. They never overlap.
    pub(crate) fn live_flights(&self) -> impl Iterator<Item = (u64, u64)> {
        self.flights.iter().flat_map(|flight| flight.live.iter().copied())
    }

    /// Whether a part of the range is being put into chunks: the extents there are old.
    pub(crate) fn is_flying(&self, range: Range<u64>) -> bool {
        self.flights.iter().any(|flight| flight.is_live(&range))
    }

    /// Bytes held outside of chunks.
    pub(crate) fn held_len(&self) -> usize {
        self.dirty.len() + self.flights.iter().map(|flight| flight.bytes.len()).sum::<usize>()
    }

    /// Space that the content takes, in bytes: dense files take their size.
    pub(crate) fn allocated(&mut self, ino: Ino, database: &Database) -> Result<u64> {
        let held = self.held_len() as u64;
        let stored = self.extents(ino, database)?.stored_len();
        Ok((stored + held).min(self.size))
    }

    /// Drops what lies at or beyond `size` and makes it the new length.
    pub(crate) fn truncate(&mut self, ino: Ino, size: u64, database: &Database) -> Result<()> {
        self.extents(ino, database)?.truncate(size);
        self.dirty.truncate(size);
        for flight in &mut self.flights {
            flight.punch(size, u64::MAX);
        }
        self.size = size;
        Ok(())
    }

    /// `offset..offset + len` becomes a hole.
    pub(crate) fn punch(&mut self, ino: Ino, (offset, len): (u64, u64), database: &Database) -> Result<()> {
        self.extents(ino, database)?.punch(offset, len);
        self.dirty.punch(offset, len);
        for flight in &mut self.flights {
            flight.punch(offset, offset.saturating_add(len));
        }
        Ok(())
    }

    /// Copies held bytes of `offset..` over `out`, the newest on top; tells which parts of `out` they cover.
    pub(crate) fn overlay(&self, offset: u64, out: &mut [u8]) -> Vec<(usize, usize)> {
        let mut covered = Vec::new();
        let end = offset + out.len() as u64;
        for flight in &self.flights {
            for (start, stop) in &flight.live {
                let (from, to) = ((*start).max(offset), (*stop).min(end));
                if from < to {
                    let source = (from - flight.offset) as usize..(to - flight.offset) as usize;
                    out[(from - offset) as usize..(to - offset) as usize]
                        .copy_from_slice(&flight.bytes[source]);
                    covered.push(((from - offset) as usize, (to - offset) as usize));
                }
            }
        }
        self.dirty.overlay(offset, out, |from, to| covered.push((from, to)));
        covered.sort_unstable();
        covered
    }

    /// Runs of `offset..end` that must come from chunks: what held bytes do not cover.
    pub(crate) fn chunk_runs(
        &mut self,
        ino: Ino,
        (offset, end): (u64, u64),
        covered: &[(usize, usize)],
        database: &Database,
    ) -> Result<Vec<Run>> {
        let extents = self.extents(ino, database)?;
        let mut runs = Vec::new();
        let mut at = offset;
        for (from, to) in covered {
            let (from, to) = (offset + *from as u64, offset + *to as u64);
            if from > at {
                runs.extend(extents.runs(at, from));
            }
            at = at.max(to);
        }
        if at < end {
            runs.extend(extents.runs(at, end));
        }
        Ok(runs)
    }

    /// The next byte at or after `offset` that is data (`true`) or hole (`false`); `None`: there is none
    /// before the end of the file.
    pub(crate) fn seek(
        &mut self,
        ino: Ino,
        (offset, data): (u64, bool),
        database: &Database,
    ) -> Result<Option<u64>> {
        let size = self.size;
        let mut ranges: Vec<(u64, u64)> =
            self.dirty.ranges().map(|(start, len)| (start, start + len)).collect();
        ranges.extend(self.live_flights());
        let extents = self.extents(ino, database)?;
        ranges.extend(extents.iter().map(|(start, extent)| (start, start + extent.len)));
        ranges.sort_unstable();
        let mut at = offset;
        for (start, end) in ranges {
            if end <= at {
                continue;
            }
            match data {
                true => return Ok(Some(start.max(at)).filter(|found| *found < size)),
                false if start > at => return Ok(Some(at)),
                false => at = end,
            }
        }
        Ok((!data).then_some(at.min(size)))
    }

    /// A range now lies in a chunk.
    pub(crate) fn splice(
        &mut self,
        ino: Ino,
        (offset, extent): (u64, Extent),
        database: &Database,
    ) -> Result<()> {
        self.extents(ino, database)?.splice(offset, extent);
        Ok(())
    }
}
