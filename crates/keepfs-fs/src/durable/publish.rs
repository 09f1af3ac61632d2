//! What goes to the store after a cut: closed packs, then segments, then the head.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use keepfs_format::head::{CheckpointRef, Head};
use keepfs_format::signed::{ObjectHash, RosterPoint};
use keepfs_store::ObjectName;
use keepfs_vault::{Job, JobId, Outcome, Pending, Subject};
use parking_lot::Mutex;

use super::checkpoint::MadeCheckpoint;
use crate::core::Core;
use crate::error::{FsError, Result};
use crate::home::Unlocked;

/// Segments whose bytes the publisher may hold at a time; the others wait in the database.
const SEGMENTS_IN_FLIGHT_MAX: usize = 8;
/// How often somebody who waits for the store is told how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// The newest entry of the roster that an unlocked vault knows.
pub(super) fn roster_point(unlocked: &Unlocked) -> RosterPoint {
    let roster = unlocked.roster();
    RosterPoint { position: roster.entry_count() - 1, hash: roster.tip() }
}

/// Segments between the database and the store.
#[derive(Default)]
pub(crate) struct Outbox {
    state: Mutex<OutboxState>,
}

#[derive(Default)]
struct OutboxState {
    /// Highest segment that was given to the publisher.
    queued: u64,
    /// Segments that the publisher has, oldest first.
    in_flight: VecDeque<(ObjectName, u64)>,
    /// Highest segment that a head names.
    headed: u64,
    /// Heads that the publisher has, each with the segment it names.
    heads: Vec<(JobId, u64)>,
    /// The checkpoint that the publisher has.
    checkpoint: Option<(JobId, MadeCheckpoint)>,
}

impl Outbox {
    /// The store has every segment up to `published`, and a head that names the one of `headed`.
    pub(crate) fn begin(&self, published: u64, headed: u64) {
        let mut state = self.state.lock();
        state.queued = published;
        state.headed = headed;
    }

    /// Whether a checkpoint is on its way.
    pub(super) fn has_checkpoint(&self) -> bool {
        self.state.lock().checkpoint.is_some()
    }
}

impl Core {
    /// Hands everything that the last cut made to the publisher.
    pub(crate) fn publish(&self) -> Result<()> {
        self.check_alone()?;
        self.space.close_packs()?;
        self.queue_segments()
    }

    /// Segments that wait in the database, as many as the publisher may hold at a time.
    pub(crate) fn queue_segments(&self) -> Result<()> {
        let mut outbox = self.outbox.state.lock();
        let last = self.database_segment.load(Ordering::Acquire);
        while outbox.queued < last && outbox.in_flight.len() < SEGMENTS_IN_FLIGHT_MAX {
            let seq = outbox.queued + 1;
            let name = ObjectName::new(&self.keys.segment_name(self.machine, seq))?;
            let bytes = self.database.snapshot().segment(seq)?.ok_or_else(|| FsError::Damaged {
                what: format!("segment {seq} in the local database"),
                advice: "delete the database in the state directory; it is rebuilt from the store".into(),
            })?;
            outbox.in_flight.push_back((name.clone(), seq));
            outbox.queued = seq;
            self.space.publisher().enqueue(Job::Segment { name, bytes });
        }
        if outbox.queued == last && outbox.headed < last {
            outbox.headed = last;
            drop(outbox);
            self.queue_head()?;
        }
        Ok(())
    }

    /// A head that names the newest segment and checkpoint.
    pub(super) fn queue_head(&self) -> Result<()> {
        let progress = {
            let mut tree = self.tree.lock();
            tree.progress.head_generation += 1;
            tree.progress.clone()
        };
        let checkpoint = (progress.checkpoint_number > 0).then_some(CheckpointRef {
            number: progress.checkpoint_number,
            hash: ObjectHash(progress.checkpoint_hash),
        });
        let head = Head {
            machine: self.machine,
            generation: progress.head_generation,
            roster: self.roster_point(),
            time: self.env.now(),
            seq: progress.last_segment,
            segment: ObjectHash(progress.last_segment_hash),
            seen: progress.seen,
            checkpoint,
        };
        let (bytes, _) = head.seal(&self.keys, &self.unlocked.machine.signing, &*self.env)?;
        let name = ObjectName::new(&self.keys.head_name(self.machine))?;
        // The job may be done before this returns; whoever hears of it waits for this lock.
        let mut outbox = self.outbox.state.lock();
        let job = self.space.publisher().enqueue(Job::Replace { name, bytes });
        outbox.heads.push((job, head.seq));
        Ok(())
    }

    /// Hands a checkpoint to the publisher.
    pub(super) fn queue_checkpoint(&self, job: Job, made: MadeCheckpoint) {
        // The job may be done before this returns; whoever hears of it waits for this lock.
        let mut outbox = self.outbox.state.lock();
        let job = self.space.publisher().enqueue(job);
        outbox.checkpoint = Some((job, made));
    }

    /// The newest entry of the roster that this machine knows.
    pub(super) fn roster_point(&self) -> RosterPoint {
        roster_point(&self.unlocked)
    }

    /// The publisher tells of jobs that are done.
    pub(crate) fn hear_of_jobs(self: &Arc<Self>) {
        let core = Arc::downgrade(self);
        self.space.publisher().set_on_done(Box::new(move |job, subject, outcome| {
            // A head that a newer one made superfluous is told of while the newer one is being queued.
            let (Some(core), Subject::Object(name), Outcome::Done) = (core.upgrade(), subject, outcome)
            else {
                return;
            };
            core.object_done(job, name);
        }));
    }

    fn object_done(&self, job: JobId, name: &ObjectName) {
        {
            let mut outbox = self.outbox.state.lock();
            if let Some((_, made)) = outbox.checkpoint.take_if(|(checkpoint, _)| *checkpoint == job) {
                drop(outbox);
                if let Err(error) = self.checkpoint_done(made) {
                    tracing::error!(%error, "a head could not be queued");
                }
                return;
            }
            if let Some(at) = outbox.heads.iter().position(|(head, _)| *head == job) {
                let (_, seq) = outbox.heads.swap_remove(at);
                outbox.heads.retain(|(newer, _)| *newer > job);
                self.cuts.headed.fetch_max(seq, Ordering::AcqRel);
                return;
            }
            let Some(at) = outbox.in_flight.iter().position(|(queued, _)| queued == name) else { return };
            let Some((_, seq)) = outbox.in_flight.remove(at) else { return };
            self.cuts.published.fetch_max(seq, Ordering::AcqRel);
        }
        if let Err(error) = self.queue_segments() {
            tracing::error!(%error, "a segment could not be queued");
        }
    }

    /// Segments that the store does not have yet and the publisher not either.
    pub(crate) fn segments_waiting(&self) -> u64 {
        let queued = self.outbox.state.lock().queued;
        self.database_segment.load(Ordering::Acquire).saturating_sub(queued)
    }

    /// Everything up to this call on the store: returns when it is, or with the error that keeps it from it.
    pub(crate) fn sync_store(&self, progress: &mut dyn FnMut(&Pending)) -> Result<()> {
        if self.options.read_only {
            return Ok(());
        }
        self.cut()?;
        self.publish()?;
        self.wait_for_store(progress)?;
        match self.checkpoint_if_due()? {
            true => self.wait_for_store(progress),
            false => Ok(()),
        }
    }

    /// Waits until the store has everything that was handed to the publisher.
    fn wait_for_store(&self, progress: &mut dyn FnMut(&Pending)) -> Result<()> {
        let wanted = self.database_segment.load(Ordering::Acquire);
        let publisher = self.space.publisher();
        publisher.poke();
        let begun = Instant::now();
        loop {
            let idle = self.wait_for_publisher();
            let pending = publisher.pending();
            progress(&pending);
            self.check_vouched()?;
            if idle && self.cuts.published.load(Ordering::Acquire) >= wanted {
                return Ok(());
            }
            let patient = self.options.background && begun.elapsed() <= self.options.store_patience;
            let stuck = pending.last_error.clone().filter(|_| !patient);
            if let Some(detail) = stuck {
                return Err(FsError::Behind { bytes: pending.bytes, detail });
            }
        }
    }
}

impl Core {
    /// Gives the publisher a moment, or runs it where nobody else does. True when it has nothing left.
    fn wait_for_publisher(&self) -> bool {
        let publisher = self.space.publisher();
        if self.options.background {
            return publisher.wait_until_idle(PROGRESS_INTERVAL);
        }
        while publisher.run_next() {}
        publisher.pending().objects == 0
    }

    /// Lets the publisher finish what it can, for as long as it gets on.
    pub(crate) fn drain_publisher(&self) {
        let publisher = self.space.publisher();
        publisher.poke();
        loop {
            if self.wait_for_publisher() {
                return;
            }
            if let Some(detail) = publisher.pending().last_error {
                tracing::warn!(%detail, "the store does not take what waits; it goes up at the next mount");
                return;
            }
        }
    }

    /// Notes in the database what the store has by now, so that the next open does not send it again.
    pub(crate) fn write_published(&self) -> Result<()> {
        if self.cuts.has_rows() {
            return self.cut();
        }
        // What the last cut wrote stays as it is: calls that came after it are in the journal alone.
        let Some(mut progress) = self.database.snapshot().progress()? else { return Ok(()) };
        progress.published_segment = self.cuts.published.load(Ordering::Acquire);
        progress.headed_segment = self.cuts.headed.load(Ordering::Acquire);
        self.database.write(&mut crate::database::Changes::default(), &progress)
    }
}
