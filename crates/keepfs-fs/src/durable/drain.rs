//! From bytes in memory to chunks: cutting, storing on all cores, and telling extents and log about it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use keepfs_format::ids::{ChunkId, Locator};
use keepfs_format::op::{Edit, Source};
use parking_lot::Mutex;

use crate::content::{Extent, File, FileState, Flight};
use crate::core::Core;
use crate::error::{FsError, Result};

/// A run of this many contiguous bytes is drained while its file is still being written.
pub(crate) const BULK_RUN_LEN: usize = 4 << 20;
/// Bytes of a file without any long run above which they are drained as they are.
const SCATTERED_LEN: usize = 4 * BULK_RUN_LEN;
/// An extent below this length that ends where a run begins is cut again with the run, when the run is at
/// least a quarter as long: files that grow by small appends end up in few chunks, and no byte is written
/// more often than about four times the logarithm of that.
const TAIL_MERGE_LEN_MAX: u64 = 256 << 10;
/// Threads that one drain uses.
const STORE_THREADS: usize = 2;

/// How much of a file a drain takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HowMuch {
    /// Only runs of at least [`BULK_RUN_LEN`], up to their last content-defined boundary.
    Bulk,
    /// Everything.
    All,
}

/// A run that was taken out: its first byte in the file, and its bytes.
type RunBytes = (u64, Arc<Vec<u8>>);

/// A piece of a run that becomes a chunk, or that no cut took: which run, and its bytes there.
struct Cut {
    run: usize,
    range: Range<usize>,
}

/// A piece of a run, stored.
struct Placed {
    offset: u64,
    len: u64,
    id: ChunkId,
    at: Locator,
}

impl Core {
    /// Brings bytes of a file into chunks. Waits for nothing but the disk under the staging area. On failure
    /// the bytes are as dirty as before.
    pub(crate) fn drain(&self, file: &File, how: HowMuch) -> Result<()> {
        let _drains = self.drain_gate.read();
        self.drain_long_runs(file, false)?;
        match how {
            HowMuch::Bulk => Ok(()),
            HowMuch::All => self.drain_inside(file, HowMuch::All, false).map(drop),
        }
    }

    /// The same for a file that holds much: long runs if it has any, so that a stream is cut by its content
    /// however fast it comes; scattered bytes, which never make a long run, all at once. A long run that waits
    /// for an overtaken write before it goes on waiting. Returns whether there was anything to take.
    pub(crate) fn relieve(&self, file: &File) -> Result<bool> {
        let _drains = self.drain_gate.read();
        if self.drain_inside(file, HowMuch::Bulk, false)? {
            return Ok(true);
        }
        let waits = {
            let state = file.lock();
            state.dirty.len() < SCATTERED_LEN || state.dirty.has_run(BULK_RUN_LEN)
        };
        match waits {
            true => Ok(false),
            false => self.drain_inside(file, HowMuch::All, false),
        }
    }

    /// The same for a caller that holds both gates, and everything of the file.
    pub(crate) fn drain_at_cut(&self, file: &File) -> Result<()> {
        self.drain_long_runs(file, true)?;
        self.drain_inside(file, HowMuch::All, true).map(drop)
    }

    /// Long runs go in parts that end where the content says, not where a part does.
    fn drain_long_runs(&self, file: &File, at_cut: bool) -> Result<()> {
        let mut left = file.lock().dirty.len();
        // What a writer adds meanwhile is not this call's.
        while left >= BULK_RUN_LEN && self.drain_inside(file, HowMuch::Bulk, at_cut)? {
            left = left.saturating_sub(BULK_RUN_LEN);
        }
        Ok(())
    }

    /// Returns whether there was anything to take. Only taking and cutting happen one at a time: the next drain of
    /// the file may begin where this one's last chunk ends while that is still being sealed.
    fn drain_inside(&self, file: &File, how: HowMuch, at_cut: bool) -> Result<bool> {
        let (runs, cuts) = {
            let _draining = file.draining.lock();
            let runs = self.take_off(file, how)?;
            let (cuts, rests) = self.cut_runs(&runs, how);
            self.give_back_rests(file, &runs, &rests);
            (runs, cuts)
        };
        if runs.is_empty() {
            return Ok(false);
        }
        let (placed, failure) = self.store_cuts(&runs, &cuts);
        self.land(file, &runs, &placed, at_cut)?;
        let mut state = file.lock();
        if state.is_clean() {
            self.contents.mark_clean(file.ino);
        }
        match failure {
            Some(error) => {
                state.failed = true;
                Err(error)
            }
            None => Ok(true),
        }
    }

    /// Takes runs out of the file's dirty bytes; readers see them as flights.
    fn take_off(&self, file: &File, how: HowMuch) -> Result<Vec<RunBytes>> {
        let mut state = file.lock();
        if state.unlinked && !self.tree.lock().is_open(file.ino) {
            return Ok(Vec::new());
        }
        let fresh = state.dirty.fresh_len();
        let mut taken = match how {
            HowMuch::All => state.dirty.take_runs(0, |_| true),
            HowMuch::Bulk => {
                let mut dirty = std::mem::take(&mut state.dirty);
                let flown: Vec<(u64, u64)> = state.live_flights().collect();
                let extents = state.extents(file.ino, &self.database);
                // The kernel's writers overtake each other: a run with nothing before it is not cut before what
                // comes there has come, or it would begin at a place that its content does not name.
                let begins = |start: u64| {
                    start == 0
                        || flown.iter().any(|(from, to)| (*from..*to).contains(&(start - 1)))
                        || extents.as_ref().is_ok_and(|extents| extents.at(start - 1).is_some())
                };
                let taken = dirty.take_runs(BULK_RUN_LEN, begins);
                state.dirty = dirty;
                taken
            }
        };
        self.contents.account(0, 0, fresh, state.dirty.fresh_len());
        // Bytes are read back only where that never waits for a network.
        if self.store.capabilities().local {
            taken = self.tidy_runs(file, &mut state, taken);
        }
        let taken: Vec<RunBytes> =
            taken.into_iter().map(|(offset, bytes)| (offset, Arc::new(bytes))).collect();
        let earlier = state.flights.len();
        for (offset, bytes) in &taken {
            let end = offset + bytes.len() as u64;
            // An earlier drain may land later: it must not bring back what this one has newer bytes for.
            state.flights[..earlier].iter_mut().for_each(|flight| flight.punch(*offset, end));
            let live = vec![(*offset, end)];
            state.flights.push(Flight { offset: *offset, bytes: bytes.clone(), live });
        }
        Ok(taken)
    }

    /// Small runs are put together with what is around them. Where that cannot be read, they stay small.
    fn tidy_runs(
        &self,
        file: &File,
        state: &mut FileState,
        mut runs: Vec<(u64, Vec<u8>)>,
    ) -> Vec<(u64, Vec<u8>)> {
        let mut filled = 0;
        for (offset, bytes) in &mut runs {
            if let Err(error) = self.merge_tail(file, state, filled, (offset, bytes)) {
                tracing::warn!(ino = file.ino.0, %error, "a short extent before new bytes could not be read");
            }
            filled = *offset + bytes.len() as u64;
        }
        self.join_windows(file, state, runs)
    }

    /// A short extent right before the run is read back and cut again with it, unless it reaches below
    /// `filled`, where a run before this one has newer bytes.
    fn merge_tail(
        &self,
        file: &File,
        state: &mut FileState,
        filled: u64,
        (offset, bytes): (&mut u64, &mut Vec<u8>),
    ) -> Result<()> {
        let Some(last) = offset.checked_sub(1) else { return Ok(()) };
        let Some((start, extent)) = state.extents(file.ino, &self.database)?.at(last) else { return Ok(()) };
        let short = extent.len <= TAIL_MERGE_LEN_MAX.min(4 * bytes.len() as u64);
        // Bytes that stay dirty are newer than the extent; an edit over them would undo them in a replay.
        let covered = state.dirty.ranges().any(|(from, len)| from < *offset && from + len > start)
            || state.is_flying(start..*offset);
        if !short || covered || start < filled || start + extent.len != *offset {
            return Ok(());
        }
        let mut merged = vec![0; extent.len as usize];
        self.space.read(&extent.id, &extent.at, extent.skip, &mut merged)?;
        merged.extend_from_slice(bytes);
        self.contents.account(0, extent.len as usize, 0, 0);
        *bytes = merged;
        *offset = start;
        Ok(())
    }

    /// Where each run is cut, and what is left of runs behind their last cut.
    fn cut_runs(&self, runs: &[RunBytes], how: HowMuch) -> (Vec<Cut>, Vec<Cut>) {
        let (mut cuts, mut rests) = (Vec::with_capacity(runs.len()), Vec::new());
        for (run, (_, bytes)) in runs.iter().enumerate() {
            let mut at = 0;
            while at < bytes.len() {
                let len = self.space.cut(&bytes[at..], how == HowMuch::All);
                if len == 0 {
                    rests.push(Cut { run, range: at..bytes.len() });
                    break;
                }
                cuts.push(Cut { run, range: at..at + len });
                at += len;
            }
        }
        (cuts, rests)
    }

    /// What no cut took is dirty again, so that the next drain begins there.
    fn give_back_rests(&self, file: &File, runs: &[RunBytes], rests: &[Cut]) {
        if rests.is_empty() {
            return;
        }
        let mut state = file.lock();
        let (held, fresh) = (state.dirty.len(), state.dirty.fresh_len());
        for rest in rests {
            let (offset, bytes) = &runs[rest.run];
            let Some(mut flight) = state.take_flight(bytes) else { continue };
            let (from, to) = (offset + rest.range.start as u64, offset + rest.range.end as u64);
            give_back(&mut state, &flight, (from, to));
            flight.punch(from, to);
            state.flights.push(flight);
        }
        self.contents.account(held, state.dirty.len(), fresh, state.dirty.fresh_len());
    }

    /// Stores what was cut, on all cores. Returns what was stored, in order, and the first failure.
    fn store_cuts(&self, runs: &[RunBytes], cuts: &[Cut]) -> (Vec<Placed>, Option<FsError>) {
        let placed = Mutex::new(Vec::with_capacity(cuts.len()));
        let next = AtomicUsize::new(0);
        let work = || -> Result<()> {
            while let Some(cut) = cuts.get(next.fetch_add(1, Ordering::Relaxed)) {
                let (offset, bytes) = &runs[cut.run];
                let stored = self.space.put(&bytes[cut.range.clone()])?;
                let (offset, len) = (offset + cut.range.start as u64, cut.range.len() as u64);
                placed.lock().push(Placed { offset, len, id: stored.id, at: stored.at });
            }
            Ok(())
        };
        let outcome = match cuts.len() {
            0 | 1 => work(),
            // Without threads of its own everything happens in the order of calls, each time the same.
            _ if !self.options.background => work(),
            _ => std::thread::scope(|scope| {
                let others: Vec<_> = (1..STORE_THREADS).map(|_| scope.spawn(work)).collect();
                let mine = work();
                others.into_iter().fold(mine, |outcome, other| {
                    let theirs = other.join();
                    outcome.and(theirs.unwrap_or_else(|_| {
                        Err(FsError::Poisoned { reason: "a worker thread panicked".into() })
                    }))
                })
            }),
        };
        let mut placed = placed.into_inner();
        placed.sort_unstable_by_key(|piece| piece.offset);
        (placed, outcome.err())
    }

    /// Extents and log learn where the runs now are; what no chunk covers becomes dirty again.
    fn land(&self, file: &File, runs: &[RunBytes], placed: &[Placed], at_cut: bool) -> Result<()> {
        let _gate = (!at_cut).then(|| self.gate.read());
        let mut state = file.lock();
        let (held, fresh) = (state.dirty.len(), state.dirty.fresh_len());
        let mut edits = Vec::with_capacity(placed.len());
        let mut landed_len = 0;
        let mut pieces = placed.iter().peekable();
        for (offset, bytes) in runs {
            landed_len += bytes.len();
            let Some(flight) = state.take_flight(bytes) else { continue };
            let end = offset + bytes.len() as u64;
            let mut at = *offset;
            while let Some(piece) = pieces.next_if(|piece| piece.offset < end) {
                give_back(&mut state, &flight, (at, piece.offset));
                at = piece.offset + piece.len;
                self.splice_piece(file, &mut state, (&flight, piece), &mut edits)?;
            }
            give_back(&mut state, &flight, (at, end));
        }
        self.contents.account(held + landed_len, state.dirty.len(), fresh, state.dirty.fresh_len());
        if !state.dirty.is_empty() {
            self.contents.mark_written(file.ino);
        }
        if edits.is_empty() {
            return Ok(());
        }
        self.contents.mark_touched(file.ino);
        let allocated = state.allocated(file.ino, &self.database)?;
        let mut tree = self.tree.lock();
        if state.unlinked || tree.is_gone(file.ino) {
            return Ok(());
        }
        tree.set_allocated(file.ino, allocated)?;
        let ctime = tree.inode(file.ino)?.0.ctime;
        self.record_content(&mut tree, &state, (file.ino, ctime), edits)
    }

    /// What of a stored piece still counts becomes extents and edits.
    fn splice_piece(
        &self,
        file: &File,
        state: &mut FileState,
        (flight, piece): (&Flight, &Placed),
        edits: &mut Vec<Edit>,
    ) -> Result<()> {
        for (start, end) in &flight.live {
            let (from, to) = ((*start).max(piece.offset), (*end).min(piece.offset + piece.len));
            if from < to {
                let (skip, len) = ((from - piece.offset) as u32, to - from);
                let extent = Extent { len, skip, id: piece.id, at: piece.at };
                state.splice(file.ino, (from, extent), &self.database)?;
                let source = Source::Chunk { pack: piece.at.pack, index: piece.at.index, skip };
                edits.push(Edit { offset: from, len, source });
            }
        }
        Ok(())
    }
}

/// What still counts of a flight between two offsets becomes dirty again, under what was written since.
fn give_back(state: &mut FileState, flight: &Flight, (from, to): (u64, u64)) {
    for (start, end) in &flight.live {
        let (start, end) = ((*start).max(from), (*end).min(to));
        if start < end {
            let range = (start - flight.offset) as usize..(end - flight.offset) as usize;
            state.dirty.restore(start, &flight.bytes[range]);
        }
    }
}
