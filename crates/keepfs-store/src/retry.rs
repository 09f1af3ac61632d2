//! A wrapper that tries again what may pass by itself: backoff, jitter, and the care that a lost answer needs.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::compare::same_contents;
use crate::error::{Result, Retry, StoreError};
use crate::name::ObjectName;
use crate::staging::{Staged, Staging};
use crate::store::{Capabilities, ObjectInfo, PutMode, Space, Store};

/// Time and chance, as a retrying store needs them.
pub trait Timing: Send + Sync {
    /// Time since some fixed moment; never goes back.
    fn now(&self) -> Duration;
    /// Waits this long.
    fn sleep(&self, duration: Duration);
    /// A number that differs between machines, so that they do not all come back at once. Not for keys.
    fn random(&self) -> u64;
}

/// How long and how often to try.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetryPolicy {
    /// Most attempts at one call, the first included; zero counts as one.
    pub attempts_max: u32,
    /// Longest wait before the second attempt. It doubles from attempt to attempt; the true wait is drawn
    /// between half of it and all of it.
    pub delay_first: Duration,
    /// Where the doubling ends.
    pub delay_max: Duration,
    /// No attempt starts later than this after the first. A service that demands a longer wait gets its error
    /// passed on to the caller, who knows better whether to wait.
    pub total_max: Duration,
    /// The same where nobody answers at all (`Retry::Later`): whoever waits shall hear of it soon.
    pub unanswered_max: Duration,
}

impl Default for RetryPolicy {
    /// Five attempts within half a minute: enough for a hiccup, short enough for a waiting reader.
    fn default() -> Self {
        RetryPolicy {
            attempts_max: 5,
            delay_first: Duration::from_millis(200),
            delay_max: Duration::from_secs(10),
            total_max: Duration::from_secs(30),
            unanswered_max: Duration::from_millis(800),
        }
    }
}

/// A store whose calls are tried again, as their errors' retry class says.
///
/// A `put` that creates, fails, and on its second attempt meets an object with exactly its own bytes, has
/// succeeded: the first answer was lost. Staged writes and syncs are not tried again, for a failed sync
/// cannot be repeated honestly; publishing is.
pub struct RetryStore {
    attempts: Arc<Attempts>,
    inner: Arc<dyn Store>,
    staging: RetryStaging,
}

impl RetryStore {
    /// Tries calls to `inner` again as `policy` says.
    pub fn new(inner: Arc<dyn Store>, policy: RetryPolicy, timing: Arc<dyn Timing>) -> Self {
        let attempts = Arc::new(Attempts { policy, timing });
        let staging = RetryStaging { attempts: attempts.clone(), inner: inner.clone() };
        RetryStore { attempts, inner, staging }
    }

    /// A creating put whose first answer may have been lost is told by the bytes that are there.
    fn put_again(
        &self,
        name: &ObjectName,
        put: &mut dyn FnMut() -> Result<()>,
        is_ours: &mut dyn FnMut() -> Result<bool>,
    ) -> Result<()> {
        let mut first = true;
        self.attempts.run(&mut || {
            let result = put();
            let is_first = std::mem::replace(&mut first, false);
            match result {
                Err(StoreError::Exists { .. }) if !is_first => match is_ours()? {
                    true => Ok(()),
                    false => Err(StoreError::exists(name)),
                },
                result => result,
            }
        })
    }
}

/// The loop around one call.
struct Attempts {
    policy: RetryPolicy,
    timing: Arc<dyn Timing>,
}

impl Attempts {
    fn run<T>(&self, attempt: &mut dyn FnMut() -> Result<T>) -> Result<T> {
        let started = self.timing.now();
        let mut backoff = self.policy.delay_first;
        let mut attempts = 1;
        loop {
            let error = match attempt() {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let wait = match error.retry() {
                Retry::Never => return Err(error),
                Retry::Soon | Retry::Later => self.jitter(backoff),
                Retry::After(told) => told.saturating_add(self.jitter(self.policy.delay_first)),
            };
            let elapsed = self.timing.now().saturating_sub(started);
            let total_max = match error.retry() {
                Retry::Later => self.policy.unanswered_max.min(self.policy.total_max),
                _ => self.policy.total_max,
            };
            if attempts >= self.policy.attempts_max || elapsed.saturating_add(wait) > total_max {
                return Err(error);
            }
            self.timing.sleep(wait);
            attempts += 1;
            backoff = backoff.saturating_mul(2).min(self.policy.delay_max);
        }
    }

    /// Between half of it and all of it.
    fn jitter(&self, delay: Duration) -> Duration {
        let half = delay / 2;
        let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX - 1);
        half + Duration::from_nanos(self.timing.random() % (nanos + 1))
    }
}

impl Store for RetryStore {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn get(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>> {
        self.attempts.run(&mut || self.inner.get(name, limit))
    }

    fn get_range(&self, name: &ObjectName, offset: u64, out: &mut [u8]) -> Result<()> {
        self.attempts.run(&mut || self.inner.get_range(name, offset, out))
    }

    fn read_up_to(&self, name: &ObjectName, offset: u64, out: &mut [u8]) -> Result<usize> {
        self.attempts.run(&mut || self.inner.read_up_to(name, offset, out))
    }

    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        let mut put = || self.inner.put(name, bytes, mode);
        self.put_again(name, &mut put, &mut || {
            let mut read = |offset: u64, out: &mut [u8]| match crate::memory::copy_range(bytes, offset, out) {
                true => Ok(()),
                false => Err(StoreError::short(name, offset, out.len() as u64)),
            };
            same_contents(&*self.inner, name, bytes.len() as u64, &mut read)
        })
    }

    fn put_file(&self, name: &ObjectName, path: &Path, mode: PutMode) -> Result<()> {
        let mut put = || self.inner.put_file(name, path, mode);
        self.put_again(name, &mut put, &mut || same_as_file(&*self.inner, name, path))
    }

    fn len(&self, name: &ObjectName) -> Result<u64> {
        self.attempts.run(&mut || self.inner.len(name))
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.attempts.run(&mut || self.inner.delete(name))
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(ObjectInfo) -> ControlFlow<()>) -> Result<()> {
        // A second attempt starts from the beginning; the caller sees each object once all the same, and none
        // after he has said stop.
        let mut told: HashSet<ObjectName> = HashSet::new();
        let mut stopped = false;
        self.attempts.run(&mut || {
            let listed = self.inner.list(prefix, &mut |info| {
                let flow = match told.insert(info.name.clone()) {
                    true => each(info),
                    false => ControlFlow::Continue(()),
                };
                stopped = flow.is_break();
                flow
            });
            if stopped { Ok(()) } else { listed }
        })
    }

    fn space(&self) -> Result<Option<Space>> {
        self.attempts.run(&mut || self.inner.space())
    }

    fn staging(&self) -> Option<&dyn Staging> {
        self.inner.staging().map(|_| &self.staging as &dyn Staging)
    }

    fn device(&self) -> Option<u64> {
        self.inner.device()
    }
}

/// Whether the object holds what the file holds.
fn same_as_file(store: &dyn Store, name: &ObjectName, path: &Path) -> Result<bool> {
    use std::io::Read;
    let failed = |error: std::io::Error| StoreError::io_never(format!("reading {}: {error}", path.display()));
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let len = file.metadata().map_err(failed)?.len();
    // The comparison goes through the file from its beginning to its end.
    same_contents(store, name, len, &mut |_, out| file.read_exact(out).map_err(failed))
}

/// The staging of a retrying store.
struct RetryStaging {
    attempts: Arc<Attempts>,
    inner: Arc<dyn Store>,
}

impl RetryStaging {
    fn inner(&self) -> Result<&dyn Staging> {
        self.inner.staging().ok_or_else(|| StoreError::invalid("the store has no staging"))
    }

    fn handle(&self, inner: Box<dyn Staged>) -> Box<dyn Staged> {
        Box::new(RetryStaged { attempts: self.attempts.clone(), inner })
    }
}

impl Staging for RetryStaging {
    fn create(&self, name: &ObjectName) -> Result<Box<dyn Staged>> {
        // Not tried again: a lost answer could not be told from somebody else's object.
        Ok(self.handle(self.inner()?.create(name)?))
    }

    fn reopen(&self, name: &ObjectName) -> Result<Box<dyn Staged>> {
        let staged = self.attempts.run(&mut || self.inner()?.reopen(name))?;
        Ok(self.handle(staged))
    }

    fn list(&self) -> Result<Vec<ObjectName>> {
        self.attempts.run(&mut || self.inner()?.list())
    }

    fn discard(&self, name: &ObjectName) -> Result<()> {
        self.attempts.run(&mut || self.inner()?.discard(name))
    }
}

/// A staged object of a retrying store.
struct RetryStaged {
    attempts: Arc<Attempts>,
    inner: Box<dyn Staged>,
}

impl Staged for RetryStaged {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.inner.write_at(offset, bytes)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.attempts.run(&mut || self.inner.read_at(offset, out))
    }

    fn len(&self) -> Result<u64> {
        self.attempts.run(&mut || self.inner.len())
    }

    fn truncate(&self, len: u64) -> Result<()> {
        self.inner.truncate(len)
    }

    fn sync(&self) -> Result<()> {
        self.inner.sync()
    }

    fn publish(&self) -> Result<()> {
        self.attempts.run(&mut || self.inner.publish())
    }
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod tests;
