//! A wrapper that counts calls, errors and bytes, per method.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Result;
use crate::method::Method;
use crate::store::Store;
use crate::wrap::{Around, Call, Wrapped, is_wrapped_store};

/// A store whose calls are counted.
pub struct MeterStore(Wrapped<Meter>);

impl MeterStore {
    /// Counts the calls to `inner`, from zero.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        MeterStore(Wrapped::new(inner, Arc::new(Meter::default())))
    }

    /// The counts as of now.
    pub fn counters(&self) -> Counters {
        let meter = self.0.layer();
        Counters(Method::ALL.map(|method| meter.cell(method).read()))
    }
}

is_wrapped_store!(MeterStore);

/// What was counted for one method.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count {
    /// Calls that have ended, failed or not.
    pub calls: u64,
    /// Calls that failed, not counting plain answers (`NotFound`, `Exists`, `TooLarge`).
    pub errors: u64,
    /// Bytes of contents moved by calls that succeeded.
    pub bytes: u64,
}

/// What was counted, for each method.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counters([Count; Method::ALL.len()]);

impl Counters {
    /// The counts of one method.
    pub fn of(&self, method: Method) -> Count {
        self.0[method as usize]
    }

    /// The sum over all methods.
    pub fn total(&self) -> Count {
        self.sum(|_| true)
    }

    /// The sum over the methods that write.
    pub fn written(&self) -> Count {
        self.sum(Method::is_write)
    }

    /// The sum over the methods that read.
    pub fn read(&self) -> Count {
        self.sum(|method| !method.is_write())
    }

    fn sum(&self, wanted: impl Fn(Method) -> bool) -> Count {
        let counts = Method::ALL.into_iter().filter(|method| wanted(*method)).map(|method| self.of(method));
        counts.fold(Count::default(), |sum, count| Count {
            calls: sum.calls + count.calls,
            errors: sum.errors + count.errors,
            bytes: sum.bytes + count.bytes,
        })
    }
}

#[derive(Default)]
struct Cells {
    calls: AtomicU64,
    errors: AtomicU64,
    bytes: AtomicU64,
}

impl Cells {
    fn read(&self) -> Count {
        Count {
            calls: self.calls.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

#[derive(Default)]
struct Meter([Cells; Method::ALL.len()]);

impl Meter {
    fn cell(&self, method: Method) -> &Cells {
        &self.0[method as usize]
    }
}

impl Around for Meter {
    fn around<T>(&self, call: &Call<'_>, run: &mut dyn FnMut() -> Result<T>) -> Result<T> {
        let result = run();
        let cells = self.cell(call.method);
        cells.calls.fetch_add(1, Ordering::Relaxed);
        cells.bytes.fetch_add(call.moved_len.get(), Ordering::Relaxed);
        if result.as_ref().is_err_and(|error| !error.is_answer()) {
            cells.errors.fetch_add(1, Ordering::Relaxed);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;
    use crate::name::ObjectName;
    use crate::store::PutMode;

    #[test]
    fn calls_errors_and_bytes_are_counted() {
        let store = MeterStore::new(Arc::new(MemoryStore::new()));
        let name = ObjectName::immutable("aaaaaaaaaaaaaaaaaaaaaaaaaa").unwrap();
        store.put(&name, &[1; 100], PutMode::Create).unwrap();
        store.put(&name, &[1; 100], PutMode::Create).unwrap_err();
        store.get_range(&name, 90, &mut [0; 10]).unwrap();
        store.get_range(&name, 95, &mut [0; 10]).unwrap_err();
        let staged = store.staging().unwrap().create(&name).unwrap();
        staged.write_at(0, &[0; 7]).unwrap();
        let counters = store.counters();
        assert_eq!(counters.of(Method::Put), Count { calls: 2, errors: 0, bytes: 100 });
        assert_eq!(counters.of(Method::GetRange), Count { calls: 2, errors: 1, bytes: 10 });
        assert_eq!(counters.of(Method::StagedWrite), Count { calls: 1, errors: 0, bytes: 7 });
        assert_eq!(counters.total().bytes, 117);
        assert_eq!((counters.written().calls, counters.read().calls), (4, 2));
    }
}
