//! The clock and the sleep of the operating system, for stores that try again.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keepfs_store::Timing;

/// Real time. Its random numbers spread retries and are fit for nothing else.
#[derive(Debug)]
pub struct SystemTiming {
    started: Instant,
    random: RandomState,
    drawn: AtomicU64,
}

impl SystemTiming {
    /// A clock that starts now.
    pub fn new() -> Self {
        SystemTiming { started: Instant::now(), random: RandomState::new(), drawn: AtomicU64::new(0) }
    }
}

impl Default for SystemTiming {
    fn default() -> Self {
        Self::new()
    }
}

impl Timing for SystemTiming {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }

    fn random(&self) -> u64 {
        self.random.hash_one(self.drawn.fetch_add(1, Ordering::Relaxed))
    }
}
