//! The checkpoint: the tree as directory objects on the store, so that a new machine need not replay the
//! whole log. It costs what changed since the one before.

use keepfs_format::checkpoint::{Checkpoint, Counters, Counts, PackEnd};
use keepfs_format::directory::ObjectRef;
use keepfs_format::ids::{Hlc, Ino};
use keepfs_format::signed::ObjectHash;
use keepfs_format::vector::Seen;
use keepfs_store::ObjectName;
use keepfs_vault::Job;

use super::others::put_seen;
use super::runs::Runs;
use super::tree_objects::TreeObjects;
use crate::core::Core;
use crate::database::{Changes, Progress, Snapshot};
use crate::error::{FsError, Result};

/// A checkpoint on its way to the store, and what follows once it is there.
pub(super) struct MadeCheckpoint {
    number: u64,
    hash: ObjectHash,
    /// Segment up to which it covers the log.
    segment: u64,
    /// Operations that it takes off those since the last one.
    operations: u64,
    /// The row of index runs, with the one that went up before it.
    runs: Vec<u8>,
}

impl Core {
    /// Makes a checkpoint if enough has happened since the last one and none is on its way; says whether it did.
    pub(crate) fn checkpoint_if_due(&self) -> Result<bool> {
        let enough = self.tree.lock().progress.operations_since >= self.options.checkpoint_operations;
        let due = enough && !self.outbox.has_checkpoint();
        if due {
            self.make_checkpoint()?;
        }
        Ok(due)
    }

    /// Publishes the tree as of the last cut.
    pub(crate) fn make_checkpoint(&self) -> Result<()> {
        let _one = self.cuts.checkpointing.lock();
        let snapshot = self.database.snapshot();
        let Some(as_of) = snapshot.progress()? else { return Ok(()) };
        if as_of.last_segment == 0 || as_of.checkpoint_segment == as_of.last_segment {
            return Ok(());
        }
        let mut objects = TreeObjects::new(&self.space, &self.keys, &snapshot);
        objects.write_stale()?;
        let shared = objects.write_shared()?;
        let children = objects.reference(Ino::ROOT)?;
        let mut changes = Changes::default();
        objects.record(&mut changes, as_of.applied);
        // The numbers are taken before anything goes out under them: a crash must not use one twice.
        let (number, run_number) = {
            let mut tree = self.tree.lock();
            tree.progress.last_checkpoint += 1;
            tree.progress.last_run += 1;
            (tree.progress.last_checkpoint, tree.progress.last_run)
        };
        self.cuts.add_rows(changes);
        self.work.noted();
        self.cut()?;
        self.publish()?;
        let runs = self.write_run(run_number)?;
        let (bytes, hash) = self.seal_checkpoint((number, &as_of), &snapshot, (children, shared), &runs)?;
        let name = ObjectName::new(&self.keys.checkpoint_name(self.machine, number))?;
        let made = MadeCheckpoint {
            number,
            hash,
            segment: as_of.last_segment,
            operations: as_of.operations_since,
            runs: runs.encode(),
        };
        self.queue_checkpoint(Job::Segment { name, bytes }, made);
        Ok(())
    }

    /// The index run of what the packs hold beyond the last one, on its way to the store.
    fn write_run(&self, number: u64) -> Result<Runs> {
        let snapshot = self.database.snapshot();
        let mut runs = Runs::decode(&snapshot.runs()?)?;
        if let Some(bytes) = runs.extend((self.machine, number), &self.keys, (&snapshot, &*self.env))? {
            let name = ObjectName::new(&self.keys.run_name(self.machine, number))?;
            self.space.publisher().enqueue(Job::Put { name, bytes });
        }
        Ok(runs)
    }

    fn seal_checkpoint(
        &self,
        (number, as_of): (u64, &Progress),
        snapshot: &Snapshot,
        (children, shared): (ObjectRef, ObjectRef),
        runs: &Runs,
    ) -> Result<(Vec<u8>, ObjectHash)> {
        let root = snapshot.inode(Ino::ROOT)?.ok_or(FsError::NotFound)?.inode;
        let mut covered = as_of.seen.clone();
        let own = Seen {
            machine: self.machine,
            seq: as_of.last_segment,
            hash: ObjectHash(as_of.last_segment_hash),
        };
        put_seen(&mut covered, own);
        let now = self.tree.lock().progress.clone();
        let checkpoint = Checkpoint {
            machine: self.machine,
            number,
            roster: self.roster_point(),
            time: self.env.now(),
            covered,
            hlc: Hlc(as_of.hlc),
            root,
            children,
            shared,
            counts: Counts {
                directories: 1,
                files: as_of.inodes.saturating_sub(1),
                bytes: as_of.content_len,
            },
            runs: runs.references(),
            packs: runs
                .ends()
                .iter()
                .map(|(machine, end)| PackEnd { machine: *machine, end: *end })
                .collect(),
            counters: Counters {
                inode: now.last_number + 1,
                link: now.last_number + 1,
                pack: now.last_pack + 1,
                run: now.last_run + 1,
            },
        };
        Ok(checkpoint.seal(&self.keys, &self.unlocked.machine.signing, &*self.env)?)
    }

    /// The store has a checkpoint. Only now heads may name it, and the next one may build on it: what is queued
    /// dies with the process.
    pub(super) fn checkpoint_done(&self, made: MadeCheckpoint) -> Result<()> {
        let mut tree = self.tree.lock();
        let progress = &mut tree.progress;
        progress.checkpoint_number = made.number;
        progress.checkpoint_hash = made.hash.0;
        progress.checkpoint_segment = made.segment;
        progress.operations_since = progress.operations_since.saturating_sub(made.operations);
        drop(tree);
        let mut changes = Changes::default();
        changes.runs(made.runs);
        self.cuts.add_rows(changes);
        self.work.noted();
        self.queue_head()
    }
}
