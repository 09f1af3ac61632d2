//! What other machines wrote: seen when this one opens, and looked for before it publishes.
//!
//! One machine writes at a time. A machine that opens takes over what others published since; one that finds,
//! before it publishes, that somebody else wrote meanwhile, stops and says so: two histories that do not know
//! of each other never both go to the store.

use std::ops::ControlFlow;
use std::sync::Arc;

use keepfs_format::head::{HEAD_OBJECT_LEN_MAX, Head};
use keepfs_format::ids::MachineTag;
use keepfs_format::signed::ObjectHash;
use keepfs_format::vector::{Seen, VersionVector};
use keepfs_store::{ObjectName, StoreError};

use super::load::{Log, LogReader, Replayer, applied};
use super::publish::roster_point;
use super::recover;
use crate::core::Core;
use crate::database::{Database, Progress};
use crate::error::{FsError, Result};
use crate::journal::Position;
use crate::open::Parts;

/// Takes over what other machines have published since this one was here last. Without the store there is
/// nothing to take over, and it goes on from what it has.
pub(crate) fn take_over(parts: &Parts, database: &Arc<Database>, progress: &mut Progress) -> Result<()> {
    let reader = LogReader { parts };
    let heads = match heads_of_all(&reader, progress) {
        Ok(heads) => heads,
        Err(FsError::Store(StoreError::Unavailable { detail, .. })) => {
            tracing::warn!(%detail, "the store was not reached; going on from local state");
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let own = parts.unlocked.machine.tag;
    check_not_rolled_back(&reader, &heads, progress)?;
    check_not_behind(&heads, parts, progress)?;
    let news: Vec<Head> = heads.into_iter().filter(|head| is_news(head, own, &progress.seen)).collect();
    if news.is_empty() {
        return Ok(());
    }
    if parts.options.read_only {
        tracing::warn!("other machines have written since; a read-only mount shows what is known here");
        return Ok(());
    }
    let unpublished = progress.last_segment > progress.published_segment
        || recover::journal_goes_on(parts, Position(progress.applied))?;
    let knew_us = |head: &Head| applied(&head.seen, own).0 >= progress.published_segment;
    if unpublished || !news.iter().any(knew_us) {
        return Err(diverged(parts, &news));
    }
    let hash = ObjectHash(progress.last_segment_hash);
    let seq = progress.last_segment;
    if seq > 0 {
        put_seen(&mut progress.seen, Seen { machine: own, seq, hash });
    }
    let mut logs: Vec<Log> = news.iter().map(Log::to_its_head).collect();
    Replayer::new(parts, (database, true), progress).run(&reader, &mut logs)?;
    progress.seen.retain(|seen| seen.machine != own);
    database.write(&mut crate::database::Changes::default(), progress)
}

/// Every head that there is. This machine's own may be unreadable, if the store broke it off halfway when the
/// machine died: what it would say is known here, and the next one replaces it.
fn heads_of_all(reader: &LogReader<'_>, progress: &Progress) -> Result<Vec<Head>> {
    let mut heads = Vec::new();
    for machine in reader.parts.unlocked.roster().machines() {
        match reader.head(machine.tag) {
            Err(FsError::Format(error)) if machine.tag == reader.parts.unlocked.machine.tag => {
                tracing::warn!(%error, "this machine's head on the store is damaged; it is written anew");
                heads.push(own_head(reader, progress));
            }
            found => heads.extend(found?),
        }
    }
    Ok(heads)
}

/// What this machine's head says, from local state.
fn own_head(reader: &LogReader<'_>, progress: &Progress) -> Head {
    let parts = reader.parts;
    Head {
        machine: parts.unlocked.machine.tag,
        generation: progress.head_generation,
        roster: roster_point(&parts.unlocked),
        time: parts.env.now(),
        seq: progress.last_segment,
        segment: ObjectHash(progress.last_segment_hash),
        seen: progress.seen.clone(),
        checkpoint: None,
    }
}

fn is_news(head: &Head, own: MachineTag, seen: &VersionVector) -> bool {
    head.machine != own && head.seq > applied(seen, head.machine).0
}

/// What the store once had it must still have. What no head of another machine names may have been read as well, from
/// segments that were there without one: then they must be there.
fn check_not_rolled_back(reader: &LogReader<'_>, heads: &[Head], progress: &Progress) -> Result<()> {
    let named =
        |machine: MachineTag| heads.iter().find(|head| head.machine == machine).map_or(0, |head| head.seq);
    for seen in &progress.seen {
        if named(seen.machine) < seen.seq && !reader.has_segment(seen)? {
            return Err(rolled_back(seen.machine, seen.seq, named(seen.machine)));
        }
    }
    let own = reader.parts.unlocked.machine.tag;
    match named(own) < progress.headed_segment {
        true => Err(rolled_back(own, progress.headed_segment, named(own))),
        false => Ok(()),
    }
}

fn rolled_back(machine: MachineTag, expected: u64, found: u64) -> FsError {
    FsError::Rollback {
        what: "log of a machine",
        expected: format!("segment {expected} of machine {:x}", machine.0),
        seen: format!("segment {found}"),
    }
}

/// Segments wait in the database before they go to the store, so the store never has more of this machine's own
/// log than the database, unless the state is not the one that wrote it.
fn check_not_behind(heads: &[Head], parts: &Parts, progress: &Progress) -> Result<()> {
    let own = heads.iter().find(|head| head.machine == parts.unlocked.machine.tag);
    let (known, seen) = (progress.last_segment, own.map_or(0, |head| head.seq));
    match seen > known {
        true if parts.options.read_only => {
            tracing::warn!(
                known,
                seen,
                "the state is older than what this machine wrote; it is shown as it is"
            );
            Ok(())
        }
        true => Err(FsError::StateBehind { known, seen }),
        false => Ok(()),
    }
}

fn diverged(parts: &Parts, news: &[Head]) -> FsError {
    let name = |tag: MachineTag| {
        let machine = parts.unlocked.roster().machine(tag);
        machine.map_or_else(|| format!("{:x}", tag.0), |machine| machine.name.to_string())
    };
    let machines: Vec<String> = news.iter().map(|head| name(head.machine)).collect();
    FsError::Diverged { machines: machines.join(", ") }
}

/// Puts an entry into a vector, in the order of machines.
pub(super) fn put_seen(vector: &mut VersionVector, now: Seen) {
    match vector.binary_search_by_key(&now.machine, |seen| seen.machine) {
        Ok(at) => vector[at] = now,
        Err(at) => vector.insert(at, now),
    }
}

impl Core {
    /// Nobody else has written since this machine opened the vault.
    pub(super) fn check_alone(&self) -> Result<()> {
        let mut heads = Vec::new();
        let listed = self.store.list("h/", &mut |object| {
            heads.push(object.name);
            ControlFlow::Continue(())
        });
        if listed.is_err() {
            // Whether the store can be reached is the publisher's to find out and to tell.
            return Ok(());
        }
        let roster = self.unlocked.roster();
        let own = ObjectName::new(&self.keys.head_name(self.machine))?;
        heads.retain(|name| *name != own);
        for machine in roster.machines() {
            let name = ObjectName::new(&self.keys.head_name(machine.tag))?;
            let Some(at) = heads.iter().position(|head| *head == name) else { continue };
            heads.swap_remove(at);
            let Ok(bytes) = self.store.get(&name, HEAD_OBJECT_LEN_MAX as u64) else { continue };
            let key = |tag, _| roster.machine(tag).map(|machine| machine.signing);
            let (head, _) = Head::open(&self.keys, machine.tag, &bytes, &key)?;
            if is_news(&head, self.machine, &self.tree.lock().progress.seen) {
                return Err(FsError::Diverged { machines: machine.name.to_string() });
            }
        }
        match heads.is_empty() {
            true => Ok(()),
            false => Err(FsError::Diverged { machines: "(one that joined since)".into() }),
        }
    }
}
