//! A tree from the store alone: the newest checkpoint, then every segment beyond it.
//!
//! It fills an empty database. Nothing of it is trusted before its signature and its place in the chain of
//! its author are checked.

use std::sync::Arc;

use keepfs_format::checkpoint::{CHECKPOINT_OBJECT_LEN_MAX, Checkpoint};
use keepfs_format::head::{HEAD_OBJECT_LEN_MAX, Head};
use keepfs_format::identity::VerifyingKey;
use keepfs_format::ids::{Hlc, MachineTag};
use keepfs_format::segment::{SEGMENT_OBJECT_LEN_MAX, Segment, SegmentPlace};
use keepfs_format::signed::{ObjectHash, RosterPoint};
use keepfs_format::vector::{Seen, VersionVector};
use keepfs_log::apply_group;
use keepfs_store::{ObjectName, StoreError};

use super::load_tree::load_checkpoint;
use super::others::put_seen;
use super::recover::{begin_tree, first_root};
use crate::content::Contents;
use crate::database::{Changes, Database, Progress};
use crate::error::{FsError, Result};
use crate::open::Parts;
use crate::tree::{Fold, Tree};

/// Changed rows after which a load writes to the database.
const ROWS_MAX: usize = 50_000;

/// What a load found.
pub(crate) struct Loaded {
    /// How far the database now is.
    pub progress: Progress,
    /// Logical time of this machine's last operation among it.
    pub covered: Hlc,
    /// There was something on the store.
    pub found: bool,
}

/// Reads and verifies logs of the vault's machines.
pub(crate) struct LogReader<'a> {
    pub parts: &'a Parts,
}

impl LogReader<'_> {
    /// The key of a machine, if the roster had it at that point.
    pub(super) fn key_at(&self, machine: MachineTag, at: RosterPoint) -> Option<VerifyingKey> {
        self.parts.unlocked.roster().verifying_key_at(machine, at.position, at.hash)
    }

    /// An object, or nothing if the store has none of that name.
    pub(super) fn get(&self, name: &str, len_max: usize) -> Result<Option<Vec<u8>>> {
        match self.parts.store.get(&ObjectName::new(name)?, len_max as u64) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The head of a machine's log, if it has written one.
    pub(crate) fn head(&self, machine: MachineTag) -> Result<Option<Head>> {
        let keys = &self.parts.keys;
        let Some(bytes) = self.get(&keys.head_name(machine), HEAD_OBJECT_LEN_MAX)? else { return Ok(None) };
        Ok(Some(Head::open(keys, machine, &bytes, &|tag, at| self.key_at(tag, at))?.0))
    }

    /// The checkpoint that a head names.
    fn checkpoint(&self, head: &Head) -> Result<Option<Checkpoint>> {
        let Some(named) = head.checkpoint else { return Ok(None) };
        let name = self.parts.keys.checkpoint_name(head.machine, named.number);
        let Some(bytes) = self.get(&name, CHECKPOINT_OBJECT_LEN_MAX)? else { return Ok(None) };
        let place = (head.machine, named.number);
        let (checkpoint, hash) =
            Checkpoint::open(&self.parts.keys, place, &bytes, &|tag, at| self.key_at(tag, at))?;
        if hash != named.hash {
            return Err(missing("the checkpoint that a head names"));
        }
        Ok(Some(checkpoint))
    }

    /// A segment, verified against the one before it.
    pub(crate) fn segment(&self, place: &SegmentPlace) -> Result<Option<(Segment, ObjectHash)>> {
        let name = self.parts.keys.segment_name(place.machine, place.seq);
        let Some(bytes) = self.get(&name, SEGMENT_OBJECT_LEN_MAX)? else { return Ok(None) };
        Ok(Some(Segment::open(&self.parts.keys, place, &bytes, &|tag, at| self.key_at(tag, at))?))
    }
}

fn missing(what: &str) -> FsError {
    FsError::Damaged {
        what: format!("{what} on the store (missing, or not what was written)"),
        advice: "check whether the store is complete, then try again".into(),
    }
}

/// Fills an empty database from the store; an empty tree if no machine has written anything.
pub(crate) fn load(parts: &Parts, database: &Arc<Database>) -> Result<Loaded> {
    let reader = LogReader { parts };
    let machines = parts.unlocked.roster().machines();
    let mut heads = Vec::new();
    for machine in machines {
        heads.extend(reader.head(machine.tag)?);
    }
    if heads.is_empty() {
        let progress = begin_tree(database, first_root(0))?;
        database.write(&mut Changes::default(), &progress)?;
        return Ok(Loaded { progress, covered: Hlc::default(), found: false });
    }
    let mut progress = match newest_checkpoint(&reader, &heads)? {
        Some(checkpoint) => load_checkpoint(&reader, database, &checkpoint)?,
        None => begin_tree(database, first_root(0))?,
    };
    let covered = Replayer::new(parts, (database, false), &mut progress).run(&reader, &heads)?;
    let own = heads.iter().find(|head| head.machine == parts.unlocked.machine.tag);
    settle_own(&mut progress, own);
    database.write(&mut Changes::default(), &progress)?;
    Ok(Loaded { progress, covered, found: true })
}

/// The checkpoint that covers most.
fn newest_checkpoint(reader: &LogReader<'_>, heads: &[Head]) -> Result<Option<Checkpoint>> {
    let mut newest: Option<Checkpoint> = None;
    for head in heads {
        let Some(checkpoint) = reader.checkpoint(head)? else { continue };
        if newest.as_ref().is_none_or(|newest| newest.hlc < checkpoint.hlc) {
            newest = Some(checkpoint);
        }
    }
    Ok(newest)
}

/// What of this machine's own log was on the store goes from the vector to where a writer keeps it.
fn settle_own(progress: &mut Progress, own: Option<&Head>) {
    let Some(head) = own else { return };
    progress.seen.retain(|seen| seen.machine != head.machine);
    progress.last_segment = head.seq;
    progress.last_segment_hash = head.segment.0;
    progress.published_segment = head.seq;
    progress.headed_segment = head.seq;
    progress.head_generation = progress.head_generation.max(head.generation);
    if let Some(checkpoint) = head.checkpoint {
        progress.last_checkpoint = progress.last_checkpoint.max(checkpoint.number);
        progress.checkpoint_number = checkpoint.number;
        progress.checkpoint_hash = checkpoint.hash.0;
    }
}

/// Applies segments of all logs, each after what its author had seen.
pub(super) struct Replayer<'a> {
    database: &'a Arc<Database>,
    /// The database holds a whole tree already, and counts as whole after every segment.
    whole: bool,
    progress: &'a mut Progress,
    contents: Contents,
    tree: Tree,
    own: MachineTag,
    covered: Hlc,
}

impl<'a> Replayer<'a> {
    pub(super) fn new(
        parts: &Parts,
        (database, whole): (&'a Arc<Database>, bool),
        progress: &'a mut Progress,
    ) -> Self {
        let own = parts.unlocked.machine.tag;
        let tree = Tree::new(database, parts.keys.clone(), own, progress.clone());
        let covered =
            Hlc(if progress.seen.iter().any(|seen| seen.machine == own) { progress.hlc } else { 0 });
        Self { database, whole, progress, contents: Contents::new(database.clone()), tree, own, covered }
    }

    pub(super) fn run(mut self, reader: &LogReader<'_>, heads: &[Head]) -> Result<Hlc> {
        loop {
            let mut moved = false;
            let mut behind = false;
            for head in heads {
                while applied(&self.tree.progress.seen, head.machine).0 < head.seq {
                    if !self.step(reader, head)? {
                        behind = true;
                        break;
                    }
                    moved = true;
                }
            }
            if !behind {
                break;
            }
            if !moved {
                return Err(missing("a segment that another one depends on"));
            }
        }
        self.write()?;
        Ok(self.covered)
    }

    /// The next segment of a log; false when its author had seen more than is applied here.
    fn step(&mut self, reader: &LogReader<'_>, head: &Head) -> Result<bool> {
        let (last, previous) = applied(&self.tree.progress.seen, head.machine);
        let place = SegmentPlace { machine: head.machine, seq: last + 1, previous };
        let (segment, hash) =
            reader.segment(&place)?.ok_or_else(|| missing(&format!("segment {} of a log", last + 1)))?;
        let ready =
            segment.seen.iter().all(|seen| applied(&self.tree.progress.seen, seen.machine).0 >= seen.seq);
        if !ready {
            return Ok(false);
        }
        for group in segment.groups()? {
            let fold = &mut Fold { tree: &mut self.tree, contents: &self.contents };
            apply_group(fold, head.machine, &group)?;
            for (ino, open) in self.tree.take_dropped() {
                self.contents.unlink(ino, open);
            }
            self.tree.heed(head.machine, &group);
            if head.machine == self.own {
                self.covered = self.covered.max(group.hlc);
            }
        }
        put_seen(&mut self.tree.progress.seen, Seen { machine: head.machine, seq: place.seq, hash });
        if self.tree.changed_count() > ROWS_MAX {
            self.write()?;
        }
        Ok(true)
    }

    fn write(&mut self) -> Result<()> {
        let mut changes = Changes::default();
        let generation = self.tree.freeze(&mut changes);
        self.contents.freeze(&mut changes, generation);
        *self.progress = self.tree.progress.clone();
        match self.whole {
            true => self.database.write(&mut changes, self.progress)?,
            // Not before the end may the database vouch for a tree: a load that was cut short begins again.
            false => self.database.write_unfinished(&mut changes)?,
        }
        self.tree.settle(generation);
        self.contents.evict(generation, |_| false);
        Ok(())
    }
}

/// Number and hash of the last segment of a log that a vector has.
pub(super) fn applied(seen: &VersionVector, machine: MachineTag) -> (u64, ObjectHash) {
    let found = seen.binary_search_by_key(&machine, |seen| seen.machine);
    found.map_or((0, ObjectHash::NONE), |at| (seen[at].seq, seen[at].hash))
}
