//! What is on its way to the store: an ordered queue of jobs that are tried until they succeed.
//!
//! Packs and other immutable objects go up side by side, in any order. Segments and heads wait for
//! everything that was queued before them, so that nothing on the store ever names what is not there.
//! A job leaves the queue only by success: errors are retried as their class says, told by
//! [`Publisher::pending`], and never dropped.
//!
//! The queue lives in memory; what must survive a crash is queued again by its owner. It can be driven
//! without threads, one job at a time, which is how a simulated world runs it.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use keepfs_format::env::Env;
use keepfs_store::Store;
use parking_lot::{Condvar, Mutex, RwLock};

use crate::error::{Result, VaultError};
use crate::queue::{Claim, Job, JobId, Outcome, Pending, PublishPack, Queue, Subject, Work};

/// Called with each job that leaves the queue, after its effect on the store and before anything that waits
/// for it starts. Called without locks held, possibly from several threads; it may queue further jobs.
pub type OnDone = Box<dyn Fn(JobId, &Subject, Outcome) + Send + Sync>;

struct Shared {
    store: Arc<dyn Store>,
    env: Arc<dyn Env>,
    queue: Mutex<Queue>,
    /// Notified at every change of the queue.
    changed: Condvar,
    on_done: RwLock<Option<OnDone>>,
}

impl Shared {
    fn tell(&self, id: JobId, subject: &Subject, outcome: Outcome) {
        if let Some(on_done) = &*self.on_done.read() {
            on_done(id, subject, outcome);
        }
    }

    fn run(&self, id: JobId, work: &Work) {
        let mut guard = Running { shared: self, id, result: None };
        let result = work.run(&*self.store);
        if result.is_ok() {
            self.tell(id, &work.subject(), Outcome::Done);
        }
        guard.result = Some(result);
    }

    fn work(&self) {
        let mut queue = self.queue.lock();
        while !queue.stopping {
            match queue.claim(self.env.now()) {
                Claim::Run(id, work) => {
                    drop(queue);
                    self.run(id, &work);
                    drop(work);
                    queue = self.queue.lock();
                }
                Claim::Wait(Some(left)) => {
                    self.changed.wait_for(&mut queue, left);
                }
                Claim::Wait(None) => self.changed.wait(&mut queue),
            }
        }
    }
}

/// A job being run. However the run ends, even by a panic, the job goes on to its next state.
struct Running<'a> {
    shared: &'a Shared,
    id: JobId,
    result: Option<Result<()>>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let stopped = || Err(VaultError::Thread { what: "it stopped during an upload".to_owned() });
        let result = self.result.take().unwrap_or_else(stopped);
        let mut jitter = [0];
        self.shared.env.fill(&mut jitter);
        let now = self.shared.env.now();
        let mut queue = self.shared.queue.lock();
        match &result {
            Ok(()) => queue.succeeded(self.id),
            Err(error) => queue.failed(self.id, error, now, jitter[0]),
        }
        drop(queue);
        self.shared.changed.notify_all();
    }
}

/// The queue of jobs for one store.
pub struct Publisher {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Publisher {
    /// An empty queue without threads.
    pub fn new(store: Arc<dyn Store>, env: Arc<dyn Env>) -> Self {
        let shared = Shared {
            store,
            env,
            queue: Mutex::new(Queue::default()),
            changed: Condvar::new(),
            on_done: RwLock::new(None),
        };
        Self { shared: Arc::new(shared), threads: Mutex::new(Vec::new()) }
    }

    /// Sets who is told of jobs that leave the queue. Set it before the first job is queued.
    pub fn set_on_done(&self, on_done: OnDone) {
        *self.shared.on_done.write() = Some(on_done);
    }

    /// Queues a job.
    pub fn enqueue(&self, job: Job) -> JobId {
        let replaced = match &job {
            Job::Replace { name, .. } => Some(name.clone()),
            _ => None,
        };
        let mut queue = self.shared.queue.lock();
        let superseded = replaced.as_ref().map(|name| queue.supersede(name)).unwrap_or_default();
        let id = queue.push(Work::Object(job), self.shared.env.now());
        drop(queue);
        self.shared.changed.notify_all();
        if let Some(name) = replaced {
            let subject = Subject::Object(name);
            superseded.into_iter().for_each(|id| self.shared.tell(id, &subject, Outcome::Superseded));
        }
        id
    }

    /// Queues a pack.
    pub(crate) fn enqueue_pack(&self, pack: Arc<dyn PublishPack>) -> JobId {
        let now = self.shared.env.now();
        let id = self.shared.queue.lock().push(Work::Pack(pack), now);
        self.shared.changed.notify_all();
        id
    }

    /// Runs the oldest job that may run now, on the calling thread. False if there is none.
    pub fn run_next(&self) -> bool {
        let claim = self.shared.queue.lock().claim(self.shared.env.now());
        match claim {
            Claim::Run(id, work) => {
                self.shared.run(id, &work);
                true
            }
            Claim::Wait(_) => false,
        }
    }

    /// Starts threads that run jobs until [`Publisher::stop`]; `Thread` if the system gives none.
    pub fn start_threads(&self, count: usize) -> Result<()> {
        let mut threads = self.threads.lock();
        self.shared.queue.lock().stopping = false;
        for _ in 0..count {
            let shared = self.shared.clone();
            let thread = std::thread::Builder::new()
                .name("publisher".to_owned())
                .spawn(move || shared.work())
                .map_err(|error| VaultError::Thread { what: error.to_string() })?;
            threads.push(thread);
        }
        Ok(())
    }

    /// Stops the threads after the jobs they are at. The rest stays queued.
    pub fn stop(&self) {
        self.shared.queue.lock().stopping = true;
        self.shared.changed.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            // A thread that panicked has already put its job back; there is nothing else to learn from it.
            let _ = thread.join();
        }
    }

    /// A pack that was queued may have become ready.
    pub(crate) fn notify(&self) {
        // Under the lock, so that no thread is between looking at the queue and waiting.
        let _queue = self.shared.queue.lock();
        self.shared.changed.notify_all();
    }

    /// Ends all pauses: something changed for the better (the network is back, the disk has room).
    pub fn poke(&self) {
        self.shared.queue.lock().forget_pauses();
        self.shared.changed.notify_all();
    }

    /// What is still on its way.
    pub fn pending(&self) -> Pending {
        let now = self.shared.env.now();
        self.shared.queue.lock().pending(now)
    }

    /// Waits until nothing is queued, at most this long by the system's own clock; whether it came to that.
    /// It only makes sense with threads.
    pub fn wait_until_idle(&self, timeout: Duration) -> bool {
        // A time too far away to be told is no limit.
        let deadline = Instant::now().checked_add(timeout);
        let mut queue = self.shared.queue.lock();
        while !queue.is_empty() {
            match deadline {
                Some(deadline) if self.shared.changed.wait_until(&mut queue, deadline).timed_out() => {
                    return queue.is_empty();
                }
                Some(_) => {}
                None => self.shared.changed.wait(&mut queue),
            }
        }
        true
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop();
    }
}
