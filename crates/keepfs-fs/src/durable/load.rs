//! A tree from the store alone: the newest checkpoint, then every segment beyond it, also those that no head names.
//!
//! It fills an empty database. Nothing of it is trusted before its signature and its place in the chain of
//! its author are checked.

use std::sync::Arc;

use keepfs_format::FormatError;
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
/// How often the same bytes must come before they pass for what lies on the store.
const READS_ALIKE: usize = 3;
/// How often they are asked for.
const READS_MAX: usize = 12;

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
        Ok(Some(self.open_segment(place, &bytes)?))
    }

    fn open_segment(&self, place: &SegmentPlace, bytes: &[u8]) -> Result<(Segment, ObjectHash), FormatError> {
        Segment::open(&self.parts.keys, place, bytes, &|tag, at| self.key_at(tag, at))
    }

    /// The same for one that no head names: what does not open is where an upload broke off, if the store gives the same
    /// bytes again and again. Else it was a bad transfer, which must not pass for the end of a log.
    fn unnamed_segment(&self, place: &SegmentPlace) -> Result<Option<(Segment, ObjectHash)>> {
        let name = self.parts.keys.segment_name(place.machine, place.seq);
        let (mut before, mut alike) = (Vec::new(), 0);
        for _ in 0..READS_MAX {
            let Some(bytes) = self.get(&name, SEGMENT_OBJECT_LEN_MAX)? else { return Ok(None) };
            let error = match self.open_segment(place, &bytes) {
                Ok(found) => return Ok(Some(found)),
                Err(error) => error,
            };
            alike = if bytes == before { alike + 1 } else { 1 };
            if alike == READS_ALIKE {
                tracing::warn!(%error, seq = place.seq, "a segment that no head names is not whole");
                return Ok(None);
            }
            before = bytes;
        }
        Err(missing("a segment that comes differently each time"))
    }

    /// Whether a segment that was read before is there, unchanged.
    pub(super) fn has_segment(&self, seen: &Seen) -> Result<bool> {
        let name = self.parts.keys.segment_name(seen.machine, seen.seq);
        let bytes = self.get(&name, SEGMENT_OBJECT_LEN_MAX)?;
        Ok(bytes.is_some_and(|bytes| ObjectHash::of(&bytes) == seen.hash))
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
    let (mut heads, mut logs) = (Vec::new(), Vec::new());
    for machine in machines {
        let head = reader.head(machine.tag)?;
        logs.push(Log::to_its_end(machine.tag, head.as_ref().map_or(0, |head| head.seq)));
        heads.extend(head);
    }
    let mut progress = match newest_checkpoint(&reader, &heads)? {
        Some(checkpoint) => load_checkpoint(&reader, database, &checkpoint)?,
        None => begin_tree(database, first_root(0))?,
    };
    let covered = Replayer::new(parts, (database, false), &mut progress).run(&reader, &mut logs)?;
    let found = !heads.is_empty() || !progress.seen.is_empty();
    let own = parts.unlocked.machine.tag;
    settle_own(&mut progress, own, heads.iter().find(|head| head.machine == own));
    database.write(&mut Changes::default(), &progress)?;
    Ok(Loaded { progress, covered, found })
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
fn settle_own(progress: &mut Progress, own: MachineTag, head: Option<&Head>) {
    let (seq, hash) = applied(&progress.seen, own);
    progress.seen.retain(|seen| seen.machine != own);
    progress.last_segment = seq;
    progress.last_segment_hash = hash.0;
    progress.published_segment = seq;
    let Some(head) = head else { return };
    progress.headed_segment = head.seq;
    progress.head_generation = progress.head_generation.max(head.generation);
    if let Some(checkpoint) = head.checkpoint {
        progress.last_checkpoint = progress.last_checkpoint.max(checkpoint.number);
        progress.checkpoint_number = checkpoint.number;
        progress.checkpoint_hash = checkpoint.hash.0;
    }
}

/// How far a log is read.
pub(super) struct Log {
    machine: MachineTag,
    /// The segment that its head names: everything up to there must be there.
    headed: u64,
    /// There may be more behind what its head names, or behind a head that is gone: an author sends a segment
    /// before the head that names it, and a head is the one object that a store can lose without a trace.
    goes_on: bool,
}

impl Log {
    /// What its head names, and no more.
    pub(super) fn to_its_head(head: &Head) -> Self {
        Self { machine: head.machine, headed: head.seq, goes_on: false }
    }

    /// As long as there are segments.
    fn to_its_end(machine: MachineTag, headed: u64) -> Self {
        Self { machine, headed, goes_on: true }
    }
}

/// What reading the next segment of a log came to.
enum Step {
    Applied,
    /// Its author had seen more than is applied here.
    NotYet,
    /// There is none.
    End,
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

    pub(super) fn run(mut self, reader: &LogReader<'_>, logs: &mut [Log]) -> Result<Hlc> {
        loop {
            let mut moved = false;
            let mut behind = false;
            for log in &mut *logs {
                while log.goes_on || applied(&self.tree.progress.seen, log.machine).0 < log.headed {
                    match self.step(reader, log)? {
                        Step::Applied => moved = true,
                        Step::End => log.goes_on = false,
                        Step::NotYet => {
                            behind = true;
                            break;
                        }
                    }
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

    fn step(&mut self, reader: &LogReader<'_>, log: &Log) -> Result<Step> {
        let (last, previous) = applied(&self.tree.progress.seen, log.machine);
        let place = SegmentPlace { machine: log.machine, seq: last + 1, previous };
        let is_named = place.seq <= log.headed;
        let found = if is_named { reader.segment(&place)? } else { reader.unnamed_segment(&place)? };
        let (segment, hash) = match found {
            Some(found) => found,
            None if !is_named => return Ok(Step::End),
            None => return Err(missing(&format!("segment {} of a log", place.seq))),
        };
        let ready =
            segment.seen.iter().all(|seen| applied(&self.tree.progress.seen, seen.machine).0 >= seen.seq);
        if !ready {
            return Ok(Step::NotYet);
        }
        for group in segment.groups()? {
            let fold = &mut Fold { tree: &mut self.tree, contents: &self.contents };
            apply_group(fold, log.machine, &group)?;
            for (ino, open) in self.tree.take_dropped() {
                self.contents.unlink(ino, open);
            }
            self.tree.heed(log.machine, &group);
            if log.machine == self.own {
                self.covered = self.covered.max(group.hlc);
            }
        }
        put_seen(&mut self.tree.progress.seen, Seen { machine: log.machine, seq: place.seq, hash });
        if self.tree.changed_count() > ROWS_MAX {
            self.write()?;
        }
        Ok(Step::Applied)
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
