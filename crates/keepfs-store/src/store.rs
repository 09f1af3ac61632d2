//! The trait every store implements, and the plain data that goes through it.

use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Result, StoreError};
use crate::name::ObjectName;
use crate::staging::Staging;

/// What to do when there is an object of that name already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PutMode {
    /// Fails with `Exists` if there is such an object, and leaves it as it is. An object with exactly the
    /// bytes to be put may pass for one's own earlier attempt, and the put for a success.
    Create,
    /// Replaces what there is, atomically: a reader sees all of the old object or all of the new one.
    Replace,
}

/// One line of a listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectInfo {
    /// Name of the object.
    pub name: ObjectName,
    /// Its length in bytes.
    pub len: u64,
    /// When it was last put, in Unix seconds by the store's clock, as far as the store tells.
    pub modified_secs: Option<i64>,
}

/// Room on a store, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// Size of the whole store, used or not.
    pub total: u64,
    /// What may still be written by this user.
    pub free: u64,
}

/// Differences between stores, as data, so that nobody asks which store it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// One word for people: "file", "memory", …
    pub kind: &'static str,
    /// Reads and writes cost no network: no local cache and no local staging is worth its bytes.
    pub local: bool,
    /// `PutMode::Create` is atomic against other processes and machines.
    pub create_is_atomic: bool,
    /// Longest object the store takes, in bytes.
    pub object_len_max: u64,
    /// How many requests are worth having in flight.
    pub parallel: usize,
}

/// A dumb, untrusted place for blobs.
///
/// Every method may block, and every method may be called from several threads at once. Errors carry their
/// own retry class; a store retries nothing by itself unless it is wrapped in `RetryStore`.
/// The conformance suite ([`crate::conformance`]) names every promise made here.
pub trait Store: Send + Sync {
    /// What this store can do. Cheap, and the same for the whole life of the store.
    fn capabilities(&self) -> Capabilities;

    /// The whole object if it has at most `limit` bytes, else `TooLarge` without having read it.
    /// `NotFound` if there is none.
    fn get(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>>;

    /// Fills `out` from `offset` (bytes) on. If the object ends before `out` is full it is `Io`: the object
    /// is truncated, and what `out` holds then is unspecified. `NotFound` if there is none.
    fn get_range(&self, name: &ObjectName, offset: u64, out: &mut [u8]) -> Result<()>;

    /// Fills `out` from `offset` (bytes) on, as far as the object goes; gives how many bytes that is, zero where
    /// `offset` is at its end or beyond. `NotFound` if there is none. One request, where the store can.
    fn read_up_to(&self, name: &ObjectName, offset: u64, out: &mut [u8]) -> Result<usize> {
        let Err(error) = self.get_range(name, offset, out) else { return Ok(out.len()) };
        if !matches!(error, StoreError::Io { .. }) {
            return Err(error);
        }
        let left = self.len(name)?.saturating_sub(offset);
        if left >= out.len() as u64 {
            return Err(error);
        }
        // Shorter than a slice, so it is a length of memory.
        let found = usize::try_from(left).unwrap_or(0);
        if found > 0 {
            self.get_range(name, offset, &mut out[..found])?;
        }
        Ok(found)
    }

    /// Stores `bytes` under `name`: durable when it returns, and never seen half-written by anybody.
    /// After an error other than `Exists` the object may or may not be there.
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()>;

    /// The same from a local file (an upload from the queue); the store may stream or clone it. The file
    /// must not change during the call and stays where it is. A file that cannot be read is `Io` with
    /// `Retry::Never`.
    fn put_file(&self, name: &ObjectName, path: &Path, mode: PutMode) -> Result<()>;

    /// Length of the object in bytes. `NotFound` if there is none.
    fn len(&self, name: &ObjectName) -> Result<u64>;

    /// Removes the object. Deleting what is not there is no error. The deletion may not be durable when it
    /// returns: after a crash the object may be back.
    fn delete(&self, name: &ObjectName) -> Result<()>;

    /// Calls `each` once for every object whose name starts with `prefix`, in any order, until it breaks.
    /// Objects put or deleted meanwhile may or may not be seen. After an error `each` has seen a part of the
    /// listing. `each` must not call the store: a limited store would wait for itself.
    fn list(&self, prefix: &str, each: &mut dyn FnMut(ObjectInfo) -> ControlFlow<()>) -> Result<()>;

    /// Room on the store. `None`: the store cannot tell.
    fn space(&self) -> Result<Option<Space>>;

    /// Where objects can be written piece by piece inside the store; `None`: only whole puts.
    fn staging(&self) -> Option<&dyn Staging> {
        None
    }

    /// The device (`st_dev`) that holds the store's files, so that a caller can tell whether a directory of
    /// his is on the same file system; `None` if the store is not made of local files.
    fn device(&self) -> Option<u64> {
        None
    }
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }
    fn get(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>> {
        (**self).get(name, limit)
    }
    fn get_range(&self, name: &ObjectName, offset: u64, out: &mut [u8]) -> Result<()> {
        (**self).get_range(name, offset, out)
    }
    fn read_up_to(&self, name: &ObjectName, offset: u64, out: &mut [u8]) -> Result<usize> {
        (**self).read_up_to(name, offset, out)
    }
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        (**self).put(name, bytes, mode)
    }
    fn put_file(&self, name: &ObjectName, path: &Path, mode: PutMode) -> Result<()> {
        (**self).put_file(name, path, mode)
    }
    fn len(&self, name: &ObjectName) -> Result<u64> {
        (**self).len(name)
    }
    fn delete(&self, name: &ObjectName) -> Result<()> {
        (**self).delete(name)
    }
    fn list(&self, prefix: &str, each: &mut dyn FnMut(ObjectInfo) -> ControlFlow<()>) -> Result<()> {
        (**self).list(prefix, each)
    }
    fn space(&self) -> Result<Option<Space>> {
        (**self).space()
    }
    fn staging(&self) -> Option<&dyn Staging> {
        (**self).staging()
    }
    fn device(&self) -> Option<u64> {
        (**self).device()
    }
}

/// Reads the local file behind a `put_file`, for stores that need it in memory. `TooLarge` if it has more
/// than `limit` bytes, `Io` with `Retry::Never` if it cannot be read.
pub fn read_local_file(name: &ObjectName, path: &Path, limit: u64) -> Result<Vec<u8>> {
    let failed = |error: std::io::Error| StoreError::io_never(format!("reading {}: {error}", path.display()));
    let file = std::fs::File::open(path).map_err(failed)?;
    let len = file.metadata().map_err(failed)?.len();
    if len > limit {
        return Err(StoreError::too_large(name, len, limit));
    }
    let capacity = usize::try_from(len).map_err(|_| StoreError::too_large(name, len, limit))?;
    let mut bytes = Vec::with_capacity(capacity);
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 != len {
        return Err(StoreError::io_never(format!("{} changed while it was read", path.display())));
    }
    Ok(bytes)
}
