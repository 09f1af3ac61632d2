//! The cut: one moment at which every byte is in a chunk and every operation in the journal.
//!
//! From it come the local database, which then holds the tree as of that position of the journal, and the
//! next segment of this machine's log, which waits in the database until the store has it.

use std::sync::atomic::{AtomicU64, Ordering};

use keepfs_format::codec::Writer;
use keepfs_format::op_codec::{DeltaState, encode_group};
use keepfs_format::segment::{SEGMENT_GROUPS_LEN_MAX, Segment};
use keepfs_format::signed::ObjectHash;
use parking_lot::Mutex;

use super::batch::each_group;
use crate::core::Core;
use crate::database::{Changes, Progress};
use crate::error::{FsError, Result};

/// Operations of one segment, in bytes; what is more goes into the next.
const SEGMENT_LEN: usize = SEGMENT_GROUPS_LEN_MAX / 4;

/// What cuts leave behind for later steps.
#[derive(Default)]
pub(crate) struct Cuts {
    /// Blobs of operations that no cut has taken along, in order.
    pub unsealed: Mutex<Vec<Vec<u8>>>,
    /// Blobs that a cut has taken along and that are in no segment yet, in order.
    sealing: Mutex<Vec<Vec<u8>>>,
    /// Held by the one cut that is under way.
    running: Mutex<()>,
    /// Rows that the database does not have yet, oldest first, each with its generation.
    frozen: Mutex<Vec<(Changes, u64)>>,
    /// Highest segment that the store has.
    pub published: AtomicU64,
    /// Highest segment that a head on the store names.
    pub headed: AtomicU64,
    /// Held by the one checkpoint that is under way.
    pub checkpointing: Mutex<()>,
}

impl Cuts {
    /// Rows that come from elsewhere than the tree go to the database with the next cut.
    pub(super) fn add_rows(&self, changes: Changes) {
        self.frozen.lock().push((changes, 0));
    }

    /// Whether there are rows that the next cut takes along.
    pub(super) fn has_rows(&self) -> bool {
        !self.frozen.lock().is_empty()
    }
}

impl Core {
    /// Makes a cut and writes it to the journal and the database.
    pub(crate) fn cut(&self) -> Result<()> {
        let _one = self.cuts.running.lock();
        self.check_writable()?;
        for file in self.contents.dirty_files() {
            self.drain(&file, super::HowMuch::All)?;
        }
        let covers = self.work.commit_begins();
        let mut progress = {
            let _order = self.journal_order.lock();
            let mut progress = self.freeze()?;
            self.write_journal()?;
            progress.applied = self.journal.end().0;
            progress
        };
        self.work.committed(covers);
        self.seal_segments(&mut progress)?;
        self.write_database(&mut progress)?;
        self.database_segment.store(progress.last_segment, Ordering::Release);
        self.work.was_cut(covers);
        Ok(())
    }

    /// The moment itself: both gates are held while what drains left is stored and everything is gathered.
    fn freeze(&self) -> Result<Progress> {
        let _drains = self.drain_gate.write();
        let _gate = self.gate.write();
        for file in self.contents.dirty_files() {
            self.drain_at_cut(&file)?;
        }
        self.gather()?;
        let mut changes = Changes::default();
        let mut tree = self.tree.lock();
        let generation = tree.freeze(&mut changes);
        let progress = tree.progress.clone();
        drop(tree);
        self.contents.freeze(&mut changes, generation);
        self.cuts.frozen.lock().push((changes, generation));
        self.cuts.sealing.lock().append(&mut self.cuts.unsealed.lock());
        Ok(progress)
    }

    /// Seals what is in no segment yet into segments that wait in the database.
    fn seal_segments(&self, progress: &mut Progress) -> Result<()> {
        let blobs = std::mem::take(&mut *self.cuts.sealing.lock());
        let mut run = (Writer::new(), DeltaState::new());
        for blob in &blobs {
            each_group::<FsError>(blob, |group| {
                encode_group(&mut run.0, &group, &mut run.1)?;
                if run.0.len() >= SEGMENT_LEN {
                    let full = std::mem::replace(&mut run, (Writer::new(), DeltaState::new()));
                    self.seal_segment(progress, full.0.into_bytes())?;
                }
                Ok(())
            })
            .map_err(|error| self.poison(error))?;
        }
        if !run.0.is_empty() {
            self.seal_segment(progress, run.0.into_bytes())?;
        }
        Ok(())
    }

    fn seal_segment(&self, progress: &mut Progress, groups: Vec<u8>) -> Result<()> {
        let segment = Segment {
            machine: self.machine,
            seq: progress.last_segment + 1,
            previous: ObjectHash(progress.last_segment_hash),
            roster: self.roster_point(),
            time: self.env.now(),
            seen: progress.seen.clone(),
            seen_is_full: true,
            groups,
        };
        let (bytes, hash) = segment.seal(&self.keys, &self.unlocked.machine.signing, &*self.env)?;
        progress.last_segment = segment.seq;
        progress.last_segment_hash = hash.0;
        let mut tree = self.tree.lock();
        tree.progress.last_segment = segment.seq;
        tree.progress.last_segment_hash = hash.0;
        if let Some((changes, _)) = self.cuts.frozen.lock().last_mut() {
            changes.segment(segment.seq, bytes);
        }
        Ok(())
    }

    /// Writes all frozen rows, and forgets what only memory and journal held for them.
    pub(super) fn write_database(&self, progress: &mut Progress) -> Result<()> {
        progress.published_segment = self.cuts.published.load(Ordering::Acquire);
        progress.headed_segment = self.cuts.headed.load(Ordering::Acquire);
        let mut frozen = std::mem::take(&mut *self.cuts.frozen.lock());
        // All in one transaction: a database that says how far it is must have every row up to there.
        let rows = frozen.iter_mut().map(|(changes, _)| changes);
        self.database.write_all(rows, progress).map_err(|error| self.poison(error))?;
        let settled = frozen.iter().map(|(_, generation)| *generation).max().unwrap_or(0);
        if settled > 0 {
            self.tree.lock().settle(settled);
        }
        for (changes, _) in &frozen {
            for (pack, end) in changes.pack_ends() {
                self.space.settled(*pack, *end);
            }
        }
        let open = self.tree.lock().open_inodes();
        self.contents.evict(settled, |ino| open.contains(&ino));
        self.journal.trim(crate::journal::Position(progress.applied));
        Ok(())
    }
}
