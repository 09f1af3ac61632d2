//! A wrapper that keeps to so many bytes a second, each way.
//!
//! What a call moves is known when it starts (writes) or ends (reads); it is paid for by the calls after it. So the
//! limit holds over the length of an object, not within one: a single pack goes out as fast as the line takes it,
//! and the next waits.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::Result;
use crate::retry::Timing;
use crate::store::Store;
use crate::wrap::{Around, Call, Wrapped, is_wrapped_store};

/// Most bytes a second, each way; none: as many as go through.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ByteRates {
    /// To the store.
    pub upload: Option<u64>,
    /// From the store.
    pub download: Option<u64>,
}

/// A store whose calls wait until the bytes before them have been paid for.
pub struct ThrottleStore(Wrapped<Throttle>);

impl ThrottleStore {
    /// Keeps calls to `inner` within `rates`; a rate of zero counts as one byte a second.
    pub fn new(inner: Arc<dyn Store>, rates: ByteRates, timing: Arc<dyn Timing>) -> Self {
        let meter =
            |rate: Option<u64>| rate.map(|rate| Debt { rate: rate.max(1), paid_at: Mutex::default() });
        let throttle = Throttle { upload: meter(rates.upload), download: meter(rates.download), timing };
        ThrottleStore(Wrapped::new(inner, Arc::new(throttle)))
    }
}

is_wrapped_store!(ThrottleStore);

struct Throttle {
    upload: Option<Debt>,
    download: Option<Debt>,
    timing: Arc<dyn Timing>,
}

/// What one direction owes.
struct Debt {
    rate: u64,
    /// When everything moved so far will have been paid for.
    paid_at: Mutex<Duration>,
}

impl Debt {
    /// Waits for one's turn.
    fn wait(&self, timing: &dyn Timing) {
        loop {
            let left = self.paid_at.lock().saturating_sub(timing.now());
            if left.is_zero() {
                return;
            }
            timing.sleep(left);
        }
    }

    /// Notes that so many bytes went through.
    fn owe(&self, len: u64, timing: &dyn Timing) {
        let nanos = u128::from(len) * 1_000_000_000 / u128::from(self.rate);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let mut paid_at = self.paid_at.lock();
        *paid_at = timing.now().max(*paid_at).saturating_add(cost);
    }
}

impl Around for Throttle {
    fn around<T>(&self, call: &Call<'_>, run: &mut dyn FnMut() -> Result<T>) -> Result<T> {
        let direction = if call.method.is_write() { &self.upload } else { &self.download };
        let Some(debt) = direction else { return run() };
        debt.wait(&*self.timing);
        let result = run();
        // What a failed call moved is not known.
        debt.owe(call.moved_len.get(), &*self.timing);
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::memory::MemoryStore;
    use crate::name::ObjectName;
    use crate::store::PutMode;

    /// A clock that only sleeping moves.
    #[derive(Default)]
    struct Clock(AtomicU64);

    impl Timing for Clock {
        fn now(&self) -> Duration {
            Duration::from_nanos(self.0.load(Ordering::SeqCst))
        }
        fn sleep(&self, duration: Duration) {
            self.0.fetch_add(u64::try_from(duration.as_nanos()).unwrap(), Ordering::SeqCst);
        }
        fn random(&self) -> u64 {
            0
        }
    }

    #[test]
    fn each_direction_keeps_to_its_rate_and_not_to_the_others() {
        let clock = Arc::new(Clock::default());
        let rates = ByteRates { upload: Some(1000), download: Some(10_000) };
        let store = ThrottleStore::new(Arc::new(MemoryStore::remote()), rates, clock.clone());
        let name = ObjectName::head("aaaaaaaaaaaaaaaaaaaaaaaaaa").unwrap();
        for _ in 0..10 {
            store.put(&name, &[1; 500], PutMode::Replace).unwrap();
        }
        assert_eq!(clock.now(), Duration::from_millis(4500), "the tenth waits for nine");
        for _ in 0..11 {
            store.get(&name, 500).unwrap();
        }
        assert_eq!(clock.now(), Duration::from_millis(5000));
    }

    #[test]
    fn without_rates_nothing_waits() {
        let clock = Arc::new(Clock::default());
        let store = ThrottleStore::new(Arc::new(MemoryStore::new()), ByteRates::default(), clock.clone());
        let name = ObjectName::vault();
        store.put(&name, &[1; 500], PutMode::Replace).unwrap();
        store.get(&name, 500).unwrap();
        assert_eq!(clock.now(), Duration::ZERO);
    }
}
