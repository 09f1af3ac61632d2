//! A bounded pool of things that are dear to make: buffers, compression contexts.
//!
//! It owns what is not in use and counts what is. When all are in use the next caller waits; that is what
//! bounds the memory of everything in flight.

use std::ops::{Deref, DerefMut};

use parking_lot::{Condvar, Mutex};

/// How many things a pool makes, and how many it keeps while nobody needs them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolLimits {
    /// In use and kept, together.
    pub(crate) made_max: usize,
    /// Kept for the next caller.
    pub(crate) kept_max: usize,
}

struct State<T> {
    kept: Vec<T>,
    in_use: usize,
}

/// A bounded pool.
pub(crate) struct Pool<T> {
    state: Mutex<State<T>>,
    returned: Condvar,
    limits: PoolLimits,
    make: Box<dyn Fn() -> T + Send + Sync>,
}

impl<T> Pool<T> {
    pub(crate) fn new(limits: PoolLimits, make: impl Fn() -> T + Send + Sync + 'static) -> Self {
        let state = State { kept: Vec::new(), in_use: 0 };
        Self { state: Mutex::new(state), returned: Condvar::new(), limits, make: Box::new(make) }
    }

    /// One thing; waits while all are in use. Nobody may hold one while taking a second.
    pub(crate) fn take(&self) -> Lease<'_, T> {
        let mut state = self.state.lock();
        while state.in_use >= self.limits.made_max {
            self.returned.wait(&mut state);
        }
        state.in_use += 1;
        let kept = state.kept.pop();
        drop(state);
        Lease { pool: self, item: Some(kept.unwrap_or_else(|| (self.make)())) }
    }

    /// How many are in use.
    pub(crate) fn in_use(&self) -> usize {
        self.state.lock().in_use
    }

    /// Lets go of what nobody uses.
    pub(crate) fn trim(&self) {
        let kept = std::mem::take(&mut self.state.lock().kept);
        drop(kept);
    }

    fn give_back(&self, item: T) {
        let mut state = self.state.lock();
        state.in_use -= 1;
        let surplus = if state.kept.len() < self.limits.kept_max {
            state.kept.push(item);
            None
        } else {
            Some(item)
        };
        drop(state);
        drop(surplus);
        self.returned.notify_one();
    }
}

/// A thing in use; goes back to its pool when dropped.
pub(crate) struct Lease<'a, T> {
    pool: &'a Pool<T>,
    item: Option<T>,
}

const HELD: &str = "the item leaves a lease only when the lease is dropped";

impl<T> Deref for Lease<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.item.as_ref().expect(HELD)
    }
}

impl<T> DerefMut for Lease<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.item.as_mut().expect(HELD)
    }
}

impl<T> Drop for Lease<'_, T> {
    fn drop(&mut self) {
        if let Some(item) = self.item.take() {
            self.pool.give_back(item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn never_more_are_made_than_the_limit_and_things_are_used_again() {
        let pool: Pool<Vec<u8>> = Pool::new(PoolLimits { made_max: 2, kept_max: 1 }, Vec::new);
        let most = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let mut item = pool.take();
                        most.fetch_max(pool.in_use(), Ordering::Relaxed);
                        item.push(1);
                    }
                });
            }
        });
        assert!(most.into_inner() <= 2);
        assert_eq!(pool.in_use(), 0);
        assert!(!pool.take().is_empty(), "a kept item comes back as it was");
        pool.trim();
        assert!(pool.take().is_empty());
    }
}
