//! The jobs on their way to the store, and the rules of which may run when.
//!
//! The queue owns order, pauses and errors of jobs. It runs nothing by itself and has no clock: the
//! publisher asks it what to run and tells it how that ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keepfs_format::ids::{PackId, Time};
use keepfs_store::{ObjectName, PutMode, Retry, Store, StoreError};

use crate::error::{Result, VaultError};
use crate::pause::{Pause, pause_len};

/// A job in the queue; ids rise in the order of queueing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct JobId(pub u64);

/// What to do on the store.
#[derive(Debug)]
pub enum Job {
    /// A new immutable object that names nothing else. Goes up beside anything.
    Put {
        /// Its name; an object of the same bytes under it counts as success.
        name: ObjectName,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A segment, or whatever else names objects queued before it: waits for all of them.
    Segment {
        /// Its name; an object of the same bytes under it counts as success.
        name: ObjectName,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A head: waits for everything queued before it, then replaces what there is. A later `Replace` of the
    /// same name makes one that still waits superfluous.
    Replace {
        /// Its name.
        name: ObjectName,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// An object goes away: waits for everything queued before it; nothing waits for it.
    Delete {
        /// Its name.
        name: ObjectName,
    },
}

/// What a finished job was about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subject {
    /// A pack, now on the store.
    Pack(PackId),
    /// Another object, now as the job wanted it.
    Object(ObjectName),
}

/// How a job left the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was done.
    Done,
    /// A later replacement of the same object made it superfluous.
    Superseded,
}

/// How much is still on its way.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pending {
    /// Jobs not yet done.
    pub objects: usize,
    /// Their bytes.
    pub bytes: u64,
    /// When the oldest of them was queued.
    pub oldest: Option<Time>,
    /// The last error of a job that is still not done.
    pub last_error: Option<String>,
    /// When a job that failed will be tried again, if none can run now.
    pub retry_at: Option<Time>,
}

/// A pack that can be published; tried again after errors.
pub(crate) trait PublishPack: Send + Sync {
    /// Whether it may be published now. Until then its job does not run, and what waits for it waits on.
    fn is_ready(&self) -> bool;
    /// Makes it durable and visible on the store.
    fn publish(&self) -> Result<()>;
    /// Which.
    fn pack(&self) -> PackId;
    /// Bytes to send.
    fn len(&self) -> u64;
}

pub(crate) enum Work {
    Pack(Arc<dyn PublishPack>),
    Object(Job),
}

impl Work {
    fn len(&self) -> u64 {
        match self {
            Work::Pack(pack) => pack.len(),
            Work::Object(
                Job::Put { bytes, .. } | Job::Segment { bytes, .. } | Job::Replace { bytes, .. },
            ) => bytes.len() as u64,
            Work::Object(Job::Delete { .. }) => 0,
        }
    }

    pub(crate) fn subject(&self) -> Subject {
        match self {
            Work::Pack(pack) => Subject::Pack(pack.pack()),
            Work::Object(
                Job::Put { name, .. }
                | Job::Segment { name, .. }
                | Job::Replace { name, .. }
                | Job::Delete { name },
            ) => Subject::Object(name.clone()),
        }
    }

    /// Whether it waits for everything queued before it.
    fn waits(&self) -> bool {
        !matches!(self, Work::Pack(_) | Work::Object(Job::Put { .. }))
    }

    /// Whether it can run at all yet.
    fn is_ready(&self) -> bool {
        match self {
            Work::Pack(pack) => pack.is_ready(),
            Work::Object(_) => true,
        }
    }

    /// Whether later jobs that wait also wait for this one. A store may forbid deleting for good; that must
    /// not stop what is written.
    fn is_waited_for(&self) -> bool {
        !matches!(self, Work::Object(Job::Delete { .. }))
    }

    pub(crate) fn run(&self, store: &dyn Store) -> Result<()> {
        match self {
            Work::Pack(pack) => pack.publish(),
            Work::Object(Job::Put { name, bytes } | Job::Segment { name, bytes }) => {
                match store.put(name, bytes, PutMode::Create) {
                    Err(StoreError::Exists { .. }) => same_object(store, name, bytes),
                    other => Ok(other?),
                }
            }
            Work::Object(Job::Replace { name, bytes }) => Ok(store.put(name, bytes, PutMode::Replace)?),
            Work::Object(Job::Delete { name }) => Ok(store.delete(name)?),
        }
    }
}

/// An earlier try may have succeeded and its answer been lost: then the object is there with these bytes.
fn same_object(store: &dyn Store, name: &ObjectName, bytes: &[u8]) -> Result<()> {
    let taken = || VaultError::NameTaken { object: name.to_string() };
    match store.get(name, bytes.len() as u64) {
        Ok(found) if found == bytes => Ok(()),
        Ok(_) | Err(StoreError::TooLarge { .. }) => Err(taken()),
        Err(error) => Err(error.into()),
    }
}

struct Entry {
    work: Arc<Work>,
    queued: Time,
    running: bool,
    tries: u32,
    pause: Option<Pause>,
    error: Option<String>,
}

#[derive(Default)]
pub(crate) struct Queue {
    jobs: BTreeMap<JobId, Entry>,
    next: u64,
    /// Failures to reach the store since it last did something; they pause all jobs together.
    unreachable: u32,
    pause: Option<Pause>,
    last_failed: Option<JobId>,
    pub(crate) stopping: bool,
}

pub(crate) enum Claim {
    Run(JobId, Arc<Work>),
    /// Nothing can run before this much time has passed, or before the queue changes.
    Wait(Option<Duration>),
}

impl Queue {
    /// Takes in a job.
    pub(crate) fn push(&mut self, work: Work, now: Time) -> JobId {
        let id = JobId(self.next);
        self.next += 1;
        let work = Arc::new(work);
        let entry = Entry { work, queued: now, running: false, tries: 0, pause: None, error: None };
        self.jobs.insert(id, entry);
        id
    }

    /// The oldest job that may run now, marked as running.
    pub(crate) fn claim(&mut self, now: Time) -> Claim {
        if let Some(left) = self.pause.and_then(|pause| pause.left(now)) {
            return Claim::Wait(Some(left));
        }
        let mut blocked = false;
        let mut soonest: Option<Duration> = None;
        for (id, entry) in &mut self.jobs {
            let must_wait = entry.running || blocked && entry.work.waits() || !entry.work.is_ready();
            blocked |= entry.work.is_waited_for();
            if must_wait {
                continue;
            }
            match entry.pause.and_then(|pause| pause.left(now)) {
                Some(left) => soonest = Some(soonest.map_or(left, |soonest| soonest.min(left))),
                None => {
                    entry.running = true;
                    return Claim::Run(*id, entry.work.clone());
                }
            }
        }
        Claim::Wait(soonest)
    }

    /// Drops waiting replacements of `name`, because a newer one is about to be queued; gives their ids.
    pub(crate) fn supersede(&mut self, name: &ObjectName) -> Vec<JobId> {
        let superseded = self.superseded_by(name);
        for id in &superseded {
            self.jobs.remove(id);
        }
        superseded
    }

    /// Whether no job is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Ids of waiting replacements of `name`, which a new one makes superfluous. One that nothing blocks is
    /// left alone: it is about to run, and leaving it bounds how old the object on the store can get.
    fn superseded_by(&self, name: &ObjectName) -> Vec<JobId> {
        let mut blocked = false;
        let mut found = Vec::new();
        for (id, entry) in &self.jobs {
            if let Work::Object(Job::Replace { name: waiting, .. }) = &*entry.work
                && waiting == name
                && blocked
                && !entry.running
            {
                found.push(*id);
            }
            blocked |= entry.work.is_waited_for();
        }
        found
    }

    /// A job that ran failed: it waits as long as the error says.
    pub(crate) fn failed(&mut self, id: JobId, error: &VaultError, now: Time, jitter: u8) {
        let is_unreachable = matches!(error, VaultError::Store(StoreError::Unavailable { .. }))
            || matches!(error.retry(), Retry::After(_));
        let Some(entry) = self.jobs.get_mut(&id) else { return };
        entry.running = false;
        entry.tries = entry.tries.saturating_add(1);
        entry.error = Some(error.to_string());
        entry.pause = Some(Pause::new(now, pause_len(error.retry(), entry.tries, jitter)));
        self.last_failed = Some(id);
        if is_unreachable {
            self.unreachable = self.unreachable.saturating_add(1);
            self.pause = Some(Pause::new(now, pause_len(error.retry(), self.unreachable, jitter)));
        }
    }

    /// A job that ran is done.
    pub(crate) fn succeeded(&mut self, id: JobId) {
        self.jobs.remove(&id);
        if self.unreachable > 0 {
            // The store is back: what failed because it was away need not sit out its pause.
            self.unreachable = 0;
            self.forget_pauses();
        }
    }

    /// Everything may be tried again at once.
    pub(crate) fn forget_pauses(&mut self) {
        self.pause = None;
        for entry in self.jobs.values_mut() {
            entry.pause = None;
        }
    }

    /// What is left to do.
    pub(crate) fn pending(&self, now: Time) -> Pending {
        let last_failed = self.last_failed.and_then(|id| self.jobs.get(&id));
        let any_failed = || self.jobs.values().find(|entry| entry.error.is_some());
        let pauses = self.jobs.values().filter_map(|entry| entry.pause).chain(self.pause);
        let is_busy = self.jobs.values().any(|entry| entry.running);
        let waiting = pauses.filter(|pause| pause.left(now).is_some());
        Pending {
            objects: self.jobs.len(),
            bytes: self.jobs.values().map(|entry| entry.work.len()).sum(),
            oldest: self.jobs.values().next().map(|entry| entry.queued),
            last_error: last_failed.or_else(any_failed).and_then(|entry| entry.error.clone()),
            retry_at: if is_busy { None } else { waiting.map(|pause| pause.end()).min() },
        }
    }
}
