//! Where a request is answered: on the thread that received it, or, when that might leave nobody to receive the
//! next one, on a thread of a bounded pool. It knows nothing of what the requests are.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parking_lot::{Condvar, Mutex};

/// Work that somebody has to do.
type Job = Box<dyn FnOnce() + Send>;

/// Most jobs that wait for a thread of the pool. Beyond that the receiving thread works itself, which stops it
/// from receiving more.
const QUEUE_LEN_MAX: usize = 1_024;

/// Lanes for requests that may wait for a disk or a store.
pub(crate) struct Lanes {
    /// Threads that receive requests.
    receivers: usize,
    /// How many of them wait inside a request now.
    waiting: AtomicUsize,
    pool: Arc<Pool>,
}

/// The threads beside the receivers, started as they are needed.
struct Pool {
    threads_max: usize,
    state: Mutex<State>,
    work: Condvar,
}

/// What the pool's lock protects.
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl Lanes {
    /// Lanes for so many receiving threads, with at most `threads_max` beside them.
    pub(crate) fn new(receivers: usize, threads_max: usize) -> Self {
        let state = State { jobs: VecDeque::new(), threads: 0, idle: 0, closed: false };
        let pool = Pool { threads_max, state: Mutex::new(state), work: Condvar::new() };
        Self { receivers, waiting: AtomicUsize::new(0), pool: Arc::new(pool) }
    }

    /// Does `job`, which may wait: here while another receiver is left to go on receiving, else in the pool.
    pub(crate) fn may_wait(&self, job: impl FnOnce() + Send + 'static) {
        let place = Place::take(&self.waiting);
        if place.before + 1 < self.receivers {
            job();
        } else {
            drop(place);
            if let Some(job) = self.pool.submit(Box::new(job)) {
                job();
            }
        }
    }

    /// Does `job` on a thread that is no receiver. Where the pool is full or no thread can be had, the job is
    /// dropped undone.
    pub(crate) fn elsewhere(&self, job: impl FnOnce() + Send + 'static) {
        if self.pool.submit(Box::new(job)).is_some() {
            tracing::warn!("a request was given up for want of a thread");
        }
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.pool.state.lock().closed = true;
        self.pool.work.notify_all();
    }
}

/// A receiver's place among those that wait; given back also when the job panics.
struct Place<'a> {
    waiting: &'a AtomicUsize,
    before: usize,
}

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Self {
        Self { waiting, before: waiting.fetch_add(1, Ordering::AcqRel) }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Pool {
    /// Queues a job, or gives it back.
    fn submit(self: &Arc<Self>, job: Job) -> Option<Job> {
        let mut state = self.state.lock();
        if state.jobs.len() >= QUEUE_LEN_MAX {
            return Some(job);
        }
        let start = state.idle <= state.jobs.len() && state.threads < self.threads_max;
        if start {
            let pool = Arc::clone(self);
            let started = thread::Builder::new().name(String::from("keepfs-wait")).spawn(move || pool.work());
            match started {
                Ok(_) => state.threads += 1,
                Err(_) if state.threads == 0 => return Some(job),
                Err(error) => tracing::warn!(%error, "no further thread for requests that wait"),
            }
        } else if state.threads == 0 {
            return Some(job);
        }
        state.jobs.push_back(job);
        drop(state);
        self.work.notify_one();
        None
    }

    /// The life of one thread: jobs until the lanes are gone and nothing is queued.
    fn work(&self) {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                // The request of a job that panics is answered by its reply's drop; the thread is still needed.
                if catch_unwind(AssertUnwindSafe(job)).is_err() {
                    tracing::error!("a request panicked");
                }
                state = self.state.lock();
            } else if state.closed {
                return;
            } else {
                state.idle += 1;
                self.work.wait(&mut state);
                state.idle -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn the_last_receiver_never_waits_itself() {
        let lanes = Arc::new(Lanes::new(2, 4));
        let (entered, is_inside) = channel();
        let (release, may_leave) = channel::<()>();
        let first = {
            let lanes = Arc::clone(&lanes);
            thread::spawn(move || {
                let receiver = thread::current().id();
                lanes.may_wait(move || {
                    entered.send(thread::current().id() == receiver).unwrap();
                    may_leave.recv().unwrap();
                });
            })
        };
        assert!(is_inside.recv_timeout(PATIENCE).unwrap(), "the first of two may wait in place");
        let (done, result) = channel();
        lanes.may_wait(move || done.send(thread::current().id()).unwrap());
        assert_ne!(result.recv_timeout(PATIENCE).unwrap(), thread::current().id());
        release.send(()).unwrap();
        first.join().unwrap();
        let (done, result) = channel();
        lanes.may_wait(move || done.send(thread::current().id()).unwrap());
        assert_eq!(result.recv_timeout(PATIENCE).unwrap(), thread::current().id());
    }

    #[test]
    fn a_single_receiver_hands_everything_over() {
        let lanes = Lanes::new(1, 1);
        let (done, result) = channel();
        lanes.may_wait(move || done.send(thread::current().id()).unwrap());
        assert_ne!(result.recv_timeout(PATIENCE).unwrap(), thread::current().id());
    }

    #[test]
    fn without_a_pool_the_receiver_works_itself() {
        let lanes = Lanes::new(1, 0);
        let (done, result) = channel();
        lanes.may_wait(move || done.send(thread::current().id()).unwrap());
        assert_eq!(result.recv_timeout(PATIENCE).unwrap(), thread::current().id());
    }

    #[test]
    fn a_job_that_panics_takes_no_thread_away() {
        let lanes = Lanes::new(1, 1);
        for _ in 0..3 {
            lanes.may_wait(|| panic!("as this test wants it"));
        }
        let (done, result) = channel();
        lanes.elsewhere(move || done.send(thread::current().id()).unwrap());
        assert_ne!(result.recv_timeout(PATIENCE).unwrap(), thread::current().id());
    }

    #[test]
    fn queued_jobs_are_done_after_the_lanes_are_gone() {
        let lanes = Lanes::new(1, 2);
        let (done, results) = channel();
        for number in 0..100 {
            let done = done.clone();
            lanes.may_wait(move || done.send(number).unwrap());
        }
        drop((lanes, done));
        let mut seen: Vec<i32> = results.iter().collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
    }
}
