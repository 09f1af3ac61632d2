//! A wrapper that keeps no more than so many calls in flight.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::error::Result;
use crate::store::Store;
use crate::wrap::{Around, Call, Wrapped, is_wrapped_store};

/// A store of which at most a given number of calls run at once; the others wait. A listing counts as one
/// call until it ends.
pub struct LimitStore(Wrapped<Limit>);

impl LimitStore {
    /// Lets at most `calls_max` calls of `inner` run at once; zero counts as one.
    pub fn new(inner: Arc<dyn Store>, calls_max: usize) -> Self {
        let limit = Limit { free: Mutex::new(calls_max.max(1)), freed: Condvar::new() };
        LimitStore(Wrapped::new(inner, Arc::new(limit)))
    }
}

is_wrapped_store!(LimitStore);

struct Limit {
    free: Mutex<usize>,
    freed: Condvar,
}

/// The right to one call; given back when dropped, also by a panic.
struct Permit<'a>(&'a Limit);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *self.0.free.lock() += 1;
        self.0.freed.notify_one();
    }
}

impl Limit {
    fn permit(&self) -> Permit<'_> {
        let mut free = self.free.lock();
        while *free == 0 {
            self.freed.wait(&mut free);
        }
        *free -= 1;
        Permit(self)
    }
}

impl Around for Limit {
    fn around<T>(&self, _call: &Call<'_>, run: &mut dyn FnMut() -> Result<T>) -> Result<T> {
        let _permit = self.permit();
        run()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::fault::{FaultStore, Faults};
    use crate::memory::MemoryStore;
    use crate::name::ObjectName;

    #[test]
    fn no_more_than_the_limit_run_at_once() {
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let faults = Faults::none();
        let (seen_running, seen_most) = (running.clone(), most.clone());
        faults.on_call(Box::new(move |_| {
            let now = seen_running.fetch_add(1, Ordering::SeqCst) + 1;
            seen_most.fetch_max(now, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(5));
            seen_running.fetch_sub(1, Ordering::SeqCst);
        }));
        let slow = FaultStore::new(Arc::new(MemoryStore::new()), faults);
        let limited = LimitStore::new(Arc::new(slow), 3);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| limited.len(&ObjectName::vault()));
            }
        });
        assert_eq!(most.load(Ordering::SeqCst), 3);
    }
}
