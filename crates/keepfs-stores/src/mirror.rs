//! A vault from one store to another, as it is: nothing is opened, everything is compared.
//!
//! The order keeps the copy whole at every moment. What heads say is read first, then everything under `o/` is
//! copied, then the heads as they were read, and the header last. Whatever a head names was published before it, so
//! it was there when the listing began: no head of the copy ever names what the copy lacks, also while machines go
//! on writing to the source.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use keepfs_store::{ObjectInfo, ObjectName, PutMode, Result, Store, StoreError};
use parking_lot::Mutex;

/// Longest object that is copied, in bytes: it is held in memory.
const OBJECT_LEN_MAX: u64 = 1 << 30;

/// Longest head or header, in bytes.
const SMALL_LEN_MAX: u64 = 1 << 20;

/// Most objects on their way at once: each is held twice while it is compared.
const IN_FLIGHT_MAX: usize = 4;

/// Most failures that are told one by one.
const FAILURES_MAX: usize = 100;

/// What is read of a store before anything is copied.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tops {
    /// `vault` and `vault.bak`, as far as they are there.
    pub headers: BTreeMap<ObjectName, Vec<u8>>,
    /// Every head.
    pub heads: BTreeMap<ObjectName, Vec<u8>>,
}

impl Tops {
    /// Reads them. A head that is deleted meanwhile is none.
    pub fn read(store: &dyn Store) -> Result<Self> {
        let mut tops = Tops::default();
        for name in [ObjectName::vault(), ObjectName::vault_backup()] {
            tops.headers.extend(read_small(store, &name)?.map(|bytes| (name, bytes)));
        }
        for info in listed(store, "h/")? {
            tops.heads.extend(read_small(store, &info.name)?.map(|bytes| (info.name, bytes)));
        }
        Ok(tops)
    }
}

/// How far a copy is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mirrored {
    /// Objects under `o/` of the source, and their bytes.
    pub objects: u64,
    /// See `objects`.
    pub bytes: u64,
    /// Those of them that were there already.
    pub present_objects: u64,
    /// See `present_objects`.
    pub present_bytes: u64,
    /// Those that were copied by this run and compared.
    pub copied_objects: u64,
    /// See `copied_objects`.
    pub copied_bytes: u64,
    /// Those that failed.
    pub failed_objects: u64,
}

/// One copy.
pub struct Mirror<'a> {
    /// Where everything is.
    pub from: &'a dyn Store,
    /// Where it shall be.
    pub to: &'a dyn Store,
    /// Also read and compare what is there already.
    pub compare_present: bool,
    /// Stops soon when set.
    pub stop: &'a AtomicBool,
}

/// What a worker does with one object.
enum Done {
    Present,
    Copied,
}

impl Mirror<'_> {
    /// Copies everything under `o/`; tells `progress` after each object. What failed is in the list: name and
    /// error, the first of them. The heads must not be put unless it is empty.
    pub fn copy_objects(
        &self,
        progress: &(dyn Fn(&Mirrored) + Sync),
    ) -> Result<(Mirrored, Vec<(ObjectName, StoreError)>)> {
        let there: HashMap<ObjectName, u64> =
            listed(self.to, "o/")?.into_iter().map(|info| (info.name, info.len)).collect();
        let wanted = listed(self.from, "o/")?;
        let total = Mirrored {
            objects: wanted.len() as u64,
            bytes: wanted.iter().map(|info| info.len).sum(),
            ..Mirrored::default()
        };
        let state = Mutex::new((total, Vec::new()));
        let queue = Mutex::new(wanted.into_iter());
        let capabilities = [self.from, self.to].map(|store| store.capabilities().parallel);
        let threads = capabilities.into_iter().min().unwrap_or(1).clamp(1, IN_FLIGHT_MAX);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while !self.stop.load(Ordering::Relaxed) {
                        let Some(info) = queue.lock().next() else { return };
                        let outcome = self.copy_one(&info, there.get(&info.name).copied());
                        let mut state = state.lock();
                        let (counts, failures) = &mut *state;
                        count(counts, failures, &info, outcome);
                        progress(counts);
                    }
                });
            }
        });
        Ok(state.into_inner())
    }

    fn copy_one(&self, info: &ObjectInfo, there: Option<u64>) -> Result<Done> {
        let name = &info.name;
        match there {
            Some(len) if len != info.len => {
                let detail = format!("{name} has {len} bytes on the copy and {} on the source", info.len);
                Err(StoreError::io_never(detail))
            }
            Some(_) if !self.compare_present => Ok(Done::Present),
            Some(_) => {
                let bytes = self.read(self.from, info)?;
                self.compare(info, &bytes).map(|()| Done::Present)
            }
            None => {
                let bytes = self.read(self.from, info)?;
                match self.to.put(name, &bytes, PutMode::Create) {
                    // Somebody put it since the listing, perhaps this copy before its answer was lost.
                    Ok(()) | Err(StoreError::Exists { .. }) => {}
                    Err(error) => return Err(error),
                }
                self.compare(info, &bytes).map(|()| Done::Copied)
            }
        }
    }

    fn read(&self, store: &dyn Store, info: &ObjectInfo) -> Result<Vec<u8>> {
        if info.len > OBJECT_LEN_MAX {
            return Err(StoreError::too_large(&info.name, info.len, OBJECT_LEN_MAX));
        }
        let bytes = store.get(&info.name, info.len)?;
        match bytes.len() as u64 == info.len {
            true => Ok(bytes),
            false => Err(StoreError::short(&info.name, 0, info.len)),
        }
    }

    fn compare(&self, info: &ObjectInfo, bytes: &[u8]) -> Result<()> {
        match self.read(self.to, info)? == bytes {
            true => Ok(()),
            false => Err(StoreError::io_never(format!("{} has other bytes on the copy", info.name))),
        }
    }

    /// Puts the heads as they were read, then the header, and compares them.
    pub fn put_tops(&self, tops: &Tops) -> Result<()> {
        // A crash in the middle leaves a copy of the header, never none.
        let headers = tops.headers.iter().rev();
        for (name, bytes) in tops.heads.iter().chain(headers) {
            if read_small(self.to, name)?.as_ref() == Some(bytes) {
                continue;
            }
            self.to.put(name, bytes, PutMode::Replace)?;
            if read_small(self.to, name)?.as_ref() != Some(bytes) {
                return Err(StoreError::io_soon(format!("{name} has other bytes on the copy")));
            }
        }
        Ok(())
    }
}

fn count(
    counts: &mut Mirrored,
    failures: &mut Vec<(ObjectName, StoreError)>,
    info: &ObjectInfo,
    outcome: Result<Done>,
) {
    match outcome {
        Ok(Done::Present) => {
            counts.present_objects += 1;
            counts.present_bytes += info.len;
        }
        Ok(Done::Copied) => {
            counts.copied_objects += 1;
            counts.copied_bytes += info.len;
        }
        Err(error) => {
            counts.failed_objects += 1;
            if failures.len() < FAILURES_MAX {
                failures.push((info.name.clone(), error));
            }
        }
    }
}

fn listed(store: &dyn Store, prefix: &str) -> Result<Vec<ObjectInfo>> {
    let mut found = Vec::new();
    store.list(prefix, &mut |info| {
        found.push(info);
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

fn read_small(store: &dyn Store, name: &ObjectName) -> Result<Option<Vec<u8>>> {
    match store.get(name, SMALL_LEN_MAX) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keepfs_store::{Fault, FaultStore, Faults, MemoryStore, Method, Strike};
    use std::sync::Arc;

    fn name(letter: char) -> ObjectName {
        ObjectName::immutable(&letter.to_string().repeat(26)).unwrap()
    }

    fn filled() -> MemoryStore {
        let store = MemoryStore::remote();
        for letter in 'a'..='f' {
            store.put(&name(letter), letter.to_string().repeat(1000).as_bytes(), PutMode::Create).unwrap();
        }
        store.put(&ObjectName::head(&"h".repeat(26)).unwrap(), b"head", PutMode::Create).unwrap();
        store.put(&ObjectName::vault(), b"header", PutMode::Create).unwrap();
        store
    }

    fn mirror(from: &dyn Store, to: &dyn Store, compare_present: bool) -> (Mirrored, usize) {
        let stop = AtomicBool::new(false);
        let mirror = Mirror { from, to, compare_present, stop: &stop };
        let tops = Tops::read(from).unwrap();
        let (counts, failures) = mirror.copy_objects(&|_| {}).unwrap();
        if failures.is_empty() {
            mirror.put_tops(&tops).unwrap();
        }
        (counts, failures.len())
    }

    #[test]
    fn second_run_copies_only_what_is_new() {
        let (from, to) = (filled(), MemoryStore::remote());
        let (counts, failed) = mirror(&from, &to, false);
        assert_eq!((counts.copied_objects, counts.present_objects, failed), (6, 0, 0));
        assert_eq!(to.names(), from.names());
        from.put(&name('g'), b"new", PutMode::Create).unwrap();
        let (counts, _) = mirror(&from, &to, true);
        assert_eq!((counts.copied_objects, counts.copied_bytes, counts.present_objects), (1, 3, 6));
        for name in from.names() {
            assert_eq!(from.get(&name, 4096).unwrap(), to.get(&name, 4096).unwrap());
        }
    }

    #[test]
    fn no_head_is_put_while_an_object_is_missing() {
        let (from, to) = (filled(), MemoryStore::remote());
        let lost = StoreError::io_soon("away");
        let faults = Faults::scripted([(Strike::Method(Method::Put, 3), Fault::FailBefore(lost))]);
        let failing = FaultStore::new(Arc::new(to.clone()), faults);
        let (counts, failed) = mirror(&from, &failing, false);
        assert_eq!((counts.copied_objects, failed), (5, 1));
        assert!(to.names().iter().all(ObjectName::is_immutable));
        let (counts, failed) = mirror(&from, &to, false);
        assert_eq!((counts.copied_objects, counts.present_objects, failed), (1, 5, 0));
        assert_eq!(to.names(), from.names());
    }

    #[test]
    fn other_bytes_on_the_copy_are_found_and_left() {
        let (from, to) = (filled(), MemoryStore::remote());
        mirror(&from, &to, false);
        to.put(&name('b'), &[0; 1000], PutMode::Replace).unwrap();
        to.put(&name('c'), &[0; 10], PutMode::Replace).unwrap();
        assert_eq!(mirror(&from, &to, false).1, 1, "a length that differs is seen without reading");
        assert_eq!(mirror(&from, &to, true).1, 2);
        assert_eq!(to.get(&name('c'), 10).unwrap(), [0; 10]);
    }
}
