//! What happens in the background: commits by age, drains, cuts, publishing. Threads of this crate are here
//! and nowhere else.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use keepfs_format::ids::Ino;
use parking_lot::{Condvar, Mutex};
use rustc_hash::FxHashSet;

use super::drain::HowMuch;
use crate::content::File;
use crate::core::Core;
use crate::error::{FsError, Result};

/// Threads that bring bytes into chunks.
const DRAIN_THREADS: usize = 2;
/// A closed file waits this long, because many are opened again or deleted soon.
const CLOSED_WAIT: Duration = Duration::from_millis(200);
/// Above this many bytes outside of chunks nothing waits.
const HURRY_LEN: usize = 8 << 20;
/// How often the background looks whether something is due.
const TICK: Duration = Duration::from_millis(100);
/// A stream that gets nothing for this long has ended, or pauses.
const STREAM_PAUSE: Duration = Duration::from_millis(300);
/// How many publish intervals a cut waits for the end of a stream.
const STREAM_PATIENCE: u32 = 4;
/// Bytes of operations after which a commit is due, whatever its age.
const BATCH_LEN_DUE: usize = 4 << 20;
/// Changed rows after which a cut is due: small cuts stall writers, large ones cost memory.
const ROWS_DUE: usize = 20_000;
/// Bytes in the journal after which a cut is due.
const JOURNAL_LEN_DUE: u64 = 64 << 20;

/// Queues and signs of what is to be done.
#[derive(Default)]
pub(crate) struct Work {
    drains: Mutex<Drains>,
    wake: Condvar,
    stopping: AtomicBool,
    /// Counts changes; a commit or cut that starts after a count covers it.
    changes: AtomicU64,
    committed: AtomicU64,
    cut: AtomicU64,
    /// When the first change was made that no cut has taken along.
    waiting_since: Mutex<Option<Instant>>,
    /// When a file last got a long run of bytes that are not in chunks.
    streamed: Mutex<Option<Instant>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Why the last cut or publishing failed, if it did.
    trouble: Mutex<Option<String>>,
}

#[derive(Default)]
struct Drains {
    due: VecDeque<(Instant, Weak<File>, HowMuch)>,
    queued: FxHashSet<Ino>,
}

impl Work {
    /// Something changed.
    pub(crate) fn noted(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// The file's bytes should go into chunks. `held_len`: what all files hold.
    pub(crate) fn drain_soon(&self, file: &Arc<File>, how: HowMuch, held_len: usize) {
        let now = Instant::now();
        if how == HowMuch::Bulk {
            *self.streamed.lock() = Some(now);
        }
        let mut drains = self.drains.lock();
        match how {
            HowMuch::Bulk if drains.queued.insert(file.ino) => {
                drains.due.push_front((now, Arc::downgrade(file), how));
            }
            HowMuch::Bulk => return,
            HowMuch::All => drains.due.push_back((now + CLOSED_WAIT, Arc::downgrade(file), how)),
        }
        // Nobody is woken for what is not due: a wake-up costs more than a small file's whole drain.
        if how == HowMuch::All && held_len < HURRY_LEN {
            return;
        }
        drop(drains);
        self.wake.notify_one();
    }

    fn next_drain(&self, hurry: bool) -> Option<(Arc<File>, HowMuch)> {
        let mut drains = self.drains.lock();
        loop {
            let (due, _, _) = drains.due.front()?;
            if !hurry && *due > Instant::now() {
                return None;
            }
            let (_, file, how) = drains.due.pop_front()?;
            if let Some(file) = file.upgrade() {
                drains.queued.remove(&file.ino);
                return Some((file, how));
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn wait(&self) {
        let mut drains = self.drains.lock();
        if !self.is_stopping() {
            self.wake.wait_for(&mut drains, TICK);
        }
    }

    /// Whether something changed that no commit has taken along.
    pub(crate) fn commit_is_due(&self) -> bool {
        self.changes.load(Ordering::Relaxed) != self.committed.load(Ordering::Relaxed)
    }

    /// Whether something changed that no cut has taken along.
    pub(crate) fn cut_is_due(&self) -> bool {
        self.changes.load(Ordering::Relaxed) != self.cut.load(Ordering::Relaxed)
    }

    /// A commit (or a cut, which is one as well) begins: it covers all changes so far.
    pub(super) fn commit_begins(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// It succeeded.
    pub(super) fn committed(&self, covers: u64) {
        self.committed.fetch_max(covers, Ordering::Release);
    }

    /// A cut succeeded.
    pub(super) fn was_cut(&self, covers: u64) {
        self.cut.fetch_max(covers, Ordering::Release);
        *self.waiting_since.lock() = None;
    }

    /// A cut or publishing failed, or works again. Each new trouble is told once to the log.
    fn trouble(&self, error: Option<&FsError>) {
        let now = error.map(ToString::to_string);
        let mut trouble = self.trouble.lock();
        if let Some(detail) = now.as_ref().filter(|_| *trouble != now) {
            tracing::error!(%detail, "changes do not get to the store; it will be tried again");
        }
        *trouble = now;
    }

    /// Why changes do not get to the store, as far as this machine is the reason.
    pub(crate) fn last_trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// Whether a file is being written as one long stream.
    fn is_streaming(&self) -> bool {
        self.streamed.lock().is_some_and(|at| at.elapsed() < STREAM_PAUSE)
    }

    /// How long the oldest change has waited for a cut.
    pub(crate) fn waiting(&self) -> Option<Duration> {
        self.waiting_since.lock().map(|since| since.elapsed())
    }
}

impl Core {
    /// Starts the background threads.
    pub(crate) fn start(self: &Arc<Self>) -> Result<()> {
        let mut threads = self.work.threads.lock();
        for number in 0..DRAIN_THREADS {
            threads.push(self.spawn(&format!("drain-{number}"), Self::drain_loop)?);
        }
        threads.push(self.spawn("commit", Self::commit_loop)?);
        threads.push(self.spawn("keep", Self::keep_loop)?);
        Ok(())
    }

    fn spawn(self: &Arc<Self>, name: &str, run: fn(&Self)) -> Result<JoinHandle<()>> {
        let core = self.clone();
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
            // A panic in the background must not be silence: nothing more is written, and status says why.
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&core)));
            if outcome.is_err() {
                core.poison(FsError::Poisoned { reason: "a background thread panicked".into() });
            }
        });
        Ok(thread?)
    }

    /// Stops the background threads and waits for them.
    pub(crate) fn stop(&self) {
        self.work.stopping.store(true, Ordering::Release);
        self.work.wake.notify_all();
        for thread in std::mem::take(&mut *self.work.threads.lock()) {
            if thread.join().is_err() {
                tracing::error!("a background thread panicked");
            }
        }
    }

    fn drain_loop(&self) {
        while !self.work.is_stopping() {
            let Some((file, how)) = self.work.next_drain(self.contents.held_len() > HURRY_LEN) else {
                self.work.wait();
                continue;
            };
            let outcome = match how {
                HowMuch::Bulk => self.relieve(&file).map(drop),
                HowMuch::All => self.drain(&file, HowMuch::All),
            };
            if let Err(error) = outcome {
                tracing::warn!(ino = file.ino.0, %error, "bytes could not be stored; they stay in memory");
                std::thread::sleep(TICK);
            }
        }
    }

    fn commit_loop(&self) {
        let mut last = Instant::now();
        while !self.work.is_stopping() {
            std::thread::sleep(TICK);
            if let Err(error) = self.journal.prepare() {
                tracing::warn!(%error, "no room could be prepared for the journal");
            }
            let old = last.elapsed() >= self.options.commit_interval;
            let large = self.tree.lock().log.len() >= BATCH_LEN_DUE;
            if (old || large) && self.work.commit_is_due() && !self.options.read_only {
                last = Instant::now();
                if let Err(error) = self.commit() {
                    tracing::error!(%error, "changes could not be made durable");
                }
            }
        }
    }

    fn keep_loop(&self) {
        let mut publish_at = None;
        while !self.work.is_stopping() {
            std::thread::sleep(TICK);
            if self.options.read_only || self.poisoned.get().is_some() || self.check_vouched().is_err() {
                continue;
            }
            if self.work.cut_is_due() {
                self.work.waiting_since.lock().get_or_insert_with(Instant::now);
            }
            // A cut in the middle of a stream would end a chunk where the clock says, not where its content does.
            let patience = if self.work.is_streaming() { STREAM_PATIENCE } else { 1 };
            let interval = self.options.publish_interval * patience;
            let old = self.work.waiting().is_some_and(|waited| waited >= interval);
            let large =
                self.tree.lock().changed_count() >= ROWS_DUE || self.journal.len_live() >= JOURNAL_LEN_DUE;
            if (old || large) && self.work.cut_is_due() {
                if let Err(error) = self.cut() {
                    self.work.trouble(Some(&error));
                    std::thread::sleep(10 * TICK);
                    continue;
                }
                publish_at.get_or_insert_with(Instant::now);
            }
            if publish_at.is_some_and(|at| at <= Instant::now()) {
                let outcome = self.publish().and_then(|()| self.checkpoint_if_due());
                self.work.trouble(outcome.as_ref().err());
                publish_at = outcome.is_err().then(|| Instant::now() + self.options.publish_interval);
            }
        }
    }
}
