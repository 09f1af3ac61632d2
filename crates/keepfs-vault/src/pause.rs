//! How long to wait after a failure, and how long of it is left.
//!
//! Clocks jump. A pause therefore remembers when it began: a clock that has gone back behind that ends it.

use std::time::Duration;

use keepfs_format::ids::Time;
use keepfs_store::Retry;

use crate::limits::{RETRY_PAUSE_MAX, RETRY_PAUSE_MIN};

const NANOS_PER_SEC: i128 = 1_000_000_000;

/// A stretch of time in which something is not tried again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pause {
    begin: Time,
    len: Duration,
}

impl Pause {
    /// From `begin` on.
    pub(crate) fn new(begin: Time, len: Duration) -> Self {
        Self { begin, len }
    }

    /// What is left of it; `None` once it is over.
    pub(crate) fn left(&self, now: Time) -> Option<Duration> {
        let passed = u64::try_from(nanos(now) - nanos(self.begin)).ok().map(Duration::from_nanos)?;
        self.len.checked_sub(passed).filter(|left| !left.is_zero())
    }

    /// When it is over.
    pub(crate) fn end(&self) -> Time {
        let end = nanos(self.begin) + i128::try_from(self.len.as_nanos()).unwrap_or(i128::MAX / 2);
        let nanos = u32::try_from(end.rem_euclid(NANOS_PER_SEC)).unwrap_or(0);
        Time { secs: i64::try_from(end.div_euclid(NANOS_PER_SEC)).unwrap_or(i64::MAX), nanos }
    }
}

fn nanos(time: Time) -> i128 {
    i128::from(time.secs) * NANOS_PER_SEC + i128::from(time.nanos)
}

/// How long to wait after the `tries`-th failure in a row. Up to a quarter is taken off by `jitter`, so that
/// many who failed together do not come back together; what the service asked for is kept exactly.
pub(crate) fn pause_len(retry: Retry, tries: u32, jitter: u8) -> Duration {
    let doublings = tries.saturating_sub(1).min(16);
    let len = match retry {
        Retry::After(len) => return len,
        Retry::Never => RETRY_PAUSE_MAX,
        Retry::Soon | Retry::Later => (RETRY_PAUSE_MIN * (1 << doublings)).min(RETRY_PAUSE_MAX),
    };
    len - len / 1024 * u32::from(jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Time {
        Time { secs, nanos: 0 }
    }

    #[test]
    fn pauses_grow_to_their_limit() {
        let lens: Vec<_> = (1..=10).map(|tries| pause_len(Retry::Soon, tries, 0)).collect();
        assert_eq!(lens[0], RETRY_PAUSE_MIN);
        assert!(lens.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!(lens[9], RETRY_PAUSE_MAX);
        assert_eq!(pause_len(Retry::Soon, u32::MAX, 0), RETRY_PAUSE_MAX);
        assert!(pause_len(Retry::Soon, 9, 255) >= RETRY_PAUSE_MAX * 3 / 4);
    }

    #[test]
    fn the_time_a_service_names_is_kept() {
        assert_eq!(pause_len(Retry::After(Duration::from_secs(3600)), 1, 200), Duration::from_secs(3600));
    }

    #[test]
    fn a_pause_ends_in_time_and_when_the_clock_goes_back() {
        let pause = Pause::new(at(100), Duration::from_millis(1500));
        assert_eq!(pause.left(at(100)), Some(Duration::from_millis(1500)));
        assert_eq!(pause.left(at(101)), Some(Duration::from_millis(500)));
        assert_eq!(pause.left(at(102)), None);
        assert_eq!(pause.left(at(99)), None);
        assert_eq!(pause.end(), Time { secs: 101, nanos: 500_000_000 });
    }
}
