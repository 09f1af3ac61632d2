//! The commit: everything up to one moment becomes durable in one journal entry, however many callers wait.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::batch::{BatchWriter, RawWrite};
use super::drain::{BULK_RUN_LEN, HowMuch};
use crate::content::File;
use crate::core::Core;
use crate::error::{FsError, Result};
use crate::tree::OpLog;

/// Unjournaled bytes up to which a commit writes them into the journal; what is beyond goes into chunks
/// first, because then it is written once and not twice.
const RAW_LEN_MAX: usize = 1 << 20;
/// The same for what files that are being written keep back.
const RAW_TOTAL_LEN_MAX: usize = 16 << 20;
/// Unjournaled bytes of one file above which they go into chunks first.
const RAW_FILE_LEN_MAX: usize = 256 << 10;

/// Joins callers that wait for a commit at the same time.
#[derive(Default)]
pub(crate) struct Committer {
    state: Mutex<Turns>,
    done: Condvar,
}

#[derive(Default)]
struct Turns {
    asked: u64,
    finished: u64,
    running: bool,
    /// How the last commit ended, if badly, and up to which turn.
    failure: Option<(u64, Arc<FsError>)>,
}

impl Committer {
    /// Returns when a commit that began after this call has ended. One of the callers runs it.
    pub(crate) fn join(&self, commit: impl Fn() -> Result<()>) -> Result<()> {
        let mut turns = self.state.lock();
        turns.asked += 1;
        let mine = turns.asked;
        while turns.finished < mine {
            if turns.running {
                self.done.wait(&mut turns);
                continue;
            }
            turns.running = true;
            let covers = turns.asked;
            drop(turns);
            let outcome = commit();
            turns = self.state.lock();
            turns.running = false;
            turns.finished = covers;
            turns.failure = outcome.err().map(|error| (covers, Arc::new(error)));
            self.done.notify_all();
        }
        match &turns.failure {
            Some((covers, error)) if *covers >= mine => Err(FsError::Shared(error.clone())),
            _ => Ok(()),
        }
    }
}

impl Core {
    /// Makes everything before this call durable on this machine.
    pub(crate) fn commit(&self) -> Result<()> {
        self.committer.join(|| self.commit_now())
    }

    fn commit_now(&self) -> Result<()> {
        self.check_writable()?;
        if self.contents.fresh_len() > RAW_LEN_MAX
            && let Err(error) = self.drain_large()
        {
            // What the store does not take waits in the journal, which has room for all that memory holds.
            if !error.is_of_store() {
                return Err(error);
            }
            tracing::warn!(%error, "bytes that the store does not take go into the journal");
        }
        let _order = self.journal_order.lock();
        {
            let _drains = self.drain_gate.write();
            let _gate = self.gate.write();
            self.gather()?;
        }
        self.write_journal()
    }

    fn drain_large(&self) -> Result<()> {
        for file in self.contents.dirty_files() {
            let fresh = file.lock().dirty.fresh_len();
            if fresh > RAW_FILE_LEN_MAX {
                // A file that is being written keeps its last bytes, so that it is cut by its content and
                // not by the clock; they are few enough for the journal.
                let streams = fresh >= BULK_RUN_LEN || self.tree.lock().is_open(file.ino);
                self.drain(&file, if streams { HowMuch::Bulk } else { HowMuch::All })?;
            }
            if self.contents.fresh_len() > RAW_TOTAL_LEN_MAX {
                self.drain(&file, HowMuch::All)?;
            }
        }
        Ok(())
    }

    /// Everything that the journal has not seen. The caller holds both gates, so this is one moment for all
    /// files and names.
    pub(super) fn gather(&self) -> Result<()> {
        self.gather_batch().map_err(|error| self.poison(error))
    }

    fn gather_batch(&self) -> Result<()> {
        let packs = self.gather_packs()?;
        let (operations, hlc) = self.tree.lock().take_batch();
        let mut batch = BatchWriter::new(hlc, &packs, &operations);
        for file in self.contents.take_fresh_files() {
            self.gather_file(&file, &mut batch)?;
        }
        self.unwritten.lock().extend(batch.finish());
        let mut unsealed = self.cuts.unsealed.lock();
        unsealed.extend([packs, operations].into_iter().filter(|blob| !blob.is_empty()));
        Ok(())
    }

    fn gather_packs(&self) -> Result<Vec<u8>> {
        let mut log = OpLog::default();
        let added = self.space.take_added();
        self.tree.lock().record_packs(self.env.now(), added, &mut log)?;
        Ok(log.take())
    }

    fn gather_file(&self, file: &File, batch: &mut BatchWriter) -> Result<()> {
        let mut state = file.lock();
        if state.unlinked {
            return Ok(());
        }
        let (size, mtime, ctime) = {
            let mut tree = self.tree.lock();
            let (inode, _) = tree.inode(file.ino)?;
            (inode.size, inode.mtime, inode.ctime)
        };
        let fresh = state.dirty.fresh_len();
        state.dirty.take_fresh(|offset, data| {
            batch.write(&RawWrite { ino: file.ino, offset, size, mtime, ctime, data });
        });
        self.contents.account(0, 0, fresh, 0);
        Ok(())
    }

    /// Writes what was gathered: chunks first, then the journal entry that names them. The caller holds the
    /// order of the journal. When the local disk is full the entries stay, and the next call tries again.
    pub(super) fn write_journal(&self) -> Result<()> {
        let mut unwritten = self.unwritten.lock();
        if unwritten.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.space.sync() {
            return Err(self.poison(error.into()));
        }
        while let Some(batch) = unwritten.front() {
            match self.journal.append(batch) {
                Ok(_) => unwritten.pop_front(),
                Err(error) if error.is_full() => return Err(error.into()),
                Err(error) => return Err(self.poison(error.into())),
            };
        }
        Ok(())
    }

    /// Nothing is written from now on: after an error at a sync nobody can know what the disk holds.
    pub(crate) fn poison(&self, error: FsError) -> FsError {
        let reason = error.to_string();
        tracing::error!(%reason, "writing stops until the next mount");
        let reason = self.poisoned.get_or_init(|| reason).clone();
        FsError::Poisoned { reason }
    }

    /// An error when a pack could not be synced, which the publisher may have found out on its own.
    pub(crate) fn check_vouched(&self) -> Result<()> {
        self.space.vouch().map_err(|error| self.poison(error.into()))
    }

    /// An error when nothing may be written.
    pub(crate) fn check_writable(&self) -> Result<()> {
        if self.options.read_only {
            return Err(FsError::ReadOnly);
        }
        match self.poisoned.get() {
            Some(reason) => Err(FsError::Poisoned { reason: reason.clone() }),
            None => Ok(()),
        }
    }
}
