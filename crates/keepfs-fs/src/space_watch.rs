//! Free space of the store's disk, looked at a few times a second and not at every write.

use keepfs_format::env::Env;
use keepfs_format::ids::Time;
use parking_lot::Mutex;

/// How long an answer counts, in nanoseconds.
const FRESH_NS: i128 = 250_000_000;

/// The last answer and when it was given.
#[derive(Default)]
pub(crate) struct SpaceWatch {
    last: Mutex<Option<(Time, Option<u64>)>>,
}

impl SpaceWatch {
    /// Free bytes, at most a quarter of a second old; `None`: the store cannot tell.
    pub(crate) fn get(&self, env: &dyn Env, ask: impl FnOnce() -> Option<u64>) -> Option<u64> {
        let now = env.now();
        let mut last = self.last.lock();
        match &*last {
            Some((then, free)) if (0..FRESH_NS).contains(&(nanos(now) - nanos(*then))) => *free,
            _ => {
                let free = ask();
                *last = Some((now, free));
                free
            }
        }
    }
}

fn nanos(time: Time) -> i128 {
    i128::from(time.secs) * 1_000_000_000 + i128::from(time.nanos)
}
