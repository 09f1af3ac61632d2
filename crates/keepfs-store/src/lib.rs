//! Skeleton.
use std::ops::ControlFlow;
use std::time::Duration;

/// Name of an object: `vault`, `vault.bak`, or `h/` or `o/xx/` and 26 characters of base32. Checked on making.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ObjectName(Box<str>);

/// Whether an operation that failed may be tried again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retry {
    /// The same call may work at once or soon.
    Soon,
    /// The same call may work after this long, not before: the service said so.
    After(Duration),
    /// It will fail again until somebody does something (credentials, permission, space).
    Never,
}

#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{name} is not on the store")]
    NotFound { name: String },
    #[error("{name} is already on the store")]
    Exists { name: String },
    #[error("the store refuses access: {detail}")]
    Denied { detail: String },
    #[error("the store is read-only: {detail}")]
    ReadOnly { detail: String },
    #[error("the store is full: {detail}")]
    Full { detail: String },
    #[error("{name} holds {actual} bytes, at most {limit} were expected")]
    TooLarge { name: String, actual: u64, limit: u64 },
    #[error("the store cannot be reached: {detail}")]
    Unavailable { detail: String, retry: Retry },
    #[error("the store failed: {detail}")]
    Io { detail: String, retry: Retry },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PutMode {
    /// Fails with `Exists` if there is such an object.
    Create,
    /// Replaces what there is, atomically.
    Replace,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectInfo {
    pub name: ObjectName,
    pub len: u64,
    /// Unix seconds, as far as the store tells.
    pub modified_secs: Option<i64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    pub total: u64,
    pub free: u64,
}

/// Differences between stores, as data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// One word for people: "file", "memory", …
    pub kind: &'static str,
    /// Reads and writes cost no network: no local cache and no local staging is worth its bytes.
    pub local: bool,
    /// `PutMode::Create` is atomic against other processes.
    pub create_is_atomic: bool,
    pub object_len_max: u64,
    /// How many requests are worth having in flight.
    pub parallel: usize,
}

pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// A dumb, untrusted place for blobs. Every method may block; every method may be called from several threads.
pub trait Store: Send + Sync {
    fn capabilities(&self) -> Capabilities;
    /// The whole object, if it has at most `limit` bytes, else `TooLarge` without having read it.
    fn get(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>>;
    /// Fills `out` from `offset` on; fewer bytes than asked for is `Io` (the object is truncated).
    fn get_range(&self, name: &ObjectName, offset: u64, out: &mut [u8]) -> Result<()>;
    /// Durable when it returns.
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()>;
    /// The same from a local file (an upload from the queue); a store may stream or link it.
    fn put_file(&self, name: &ObjectName, path: &std::path::Path, mode: PutMode) -> Result<()>;
    fn len(&self, name: &ObjectName) -> Result<u64>;
    /// Deleting what is not there is no error.
    fn delete(&self, name: &ObjectName) -> Result<()>;
    /// Every object whose name starts with `prefix`, in any order.
    fn list(&self, prefix: &str, each: &mut dyn FnMut(ObjectInfo) -> ControlFlow<()>) -> Result<()>;
    /// `None`: the store cannot tell.
    fn space(&self) -> Result<Option<Space>>;
    /// Where objects can be written piece by piece inside the store; `None`: only whole puts.
    fn staging(&self) -> Option<&dyn Staging> {
        None
    }
}

/// Objects that grow in place, invisible under their name until published.
pub trait Staging: Send + Sync {
    /// A new staged object; `Exists` if one is staged under that name.
    fn create(&self, name: &ObjectName) -> Result<Box<dyn Staged>>;
    /// One that an earlier process left behind.
    fn reopen(&self, name: &ObjectName) -> Result<Box<dyn Staged>>;
    fn list(&self) -> Result<Vec<ObjectName>>;
    /// Removes a staged object that will not be published.
    fn discard(&self, name: &ObjectName) -> Result<()>;
}

/// One object that grows in place.
pub trait Staged: Send + Sync {
    /// Writes at `offset`; different threads may write different ranges at once.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()>;
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()>;
    /// Length in bytes.
    fn len(&self) -> Result<u64>;
    fn truncate(&self, len: u64) -> Result<()>;
    /// What was written before is durable afterwards.
    fn sync(&self) -> Result<()>;
    /// Durable and visible under its name afterwards. Reads through this handle go on working.
    fn publish(&self) -> Result<()>;
}
