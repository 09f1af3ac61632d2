//! Objects that grow: written piece by piece, synced when somebody waits, published once.
//!
//! A staged object is invisible under its name until it is published. It outlives the process that made it,
//! so that recovery can finish what a crash left.

use crate::error::{Result, StoreError};
use crate::name::ObjectName;
use crate::store::Space;

/// A place for objects that grow. Only immutable names (`o/…`) can be staged; others are `Invalid`.
///
/// Several machines may share one store and so one staging place. [`Staging::list`] then shows the staged
/// objects of all of them: touch only those that are known to be one's own.
pub trait Staging: Send + Sync {
    /// A new, empty staged object. `Exists` if one is staged under that name, by whomever.
    fn create(&self, name: &ObjectName) -> Result<Box<dyn Staged>>;

    /// One that an earlier process left behind, with everything that was synced and perhaps more. `NotFound`
    /// if there is none; `Denied` if somebody has it open, as far as the store can tell.
    fn reopen(&self, name: &ObjectName) -> Result<Box<dyn Staged>>;

    /// Names of all staged objects, in any order.
    fn list(&self) -> Result<Vec<ObjectName>>;

    /// Removes a staged object that will not be published. A handle of this process that is still open goes
    /// on working, but nothing it writes can be published. Discarding what is not there is no error;
    /// `Denied` if somebody else (another process, or another opening of the store) has it open.
    fn discard(&self, name: &ObjectName) -> Result<()>;

    /// Room where the objects grow, if that is a disk of its own, after a cache beside them gave back what it can.
    /// `None`: the store's room is theirs, or nobody can tell.
    fn space(&self) -> Result<Option<Space>> {
        Ok(None)
    }
}

/// One object that grows in place. Its bytes are shared by all who hold the handle; there is one handle to a
/// staged object at a time.
///
/// After a failed `sync` nobody knows what is on the disk: the kernel may have dropped the bytes, and would
/// call the next sync a success. So every later `sync` and `publish` through the handle fails as well
/// (`Retry::Never`); the object can only be discarded, or reopened and checked byte by byte. A failed
/// `write_at` may have written a part, and may be repeated.
pub trait Staged: Send + Sync {
    /// Writes at `offset` (bytes); different threads may write different ranges at once. A gap reads as
    /// zeros. `Invalid` once published.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()>;

    /// Fills `out` from `offset` on with what was written, synced or not; `Io` if the object ends before.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()>;

    /// Length in bytes: the end of the last byte written, or what `truncate` said.
    fn len(&self) -> Result<u64>;

    /// Whether nothing has been written.
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts or extends (with zeros) to `len` bytes. `Invalid` once published.
    fn truncate(&self, len: u64) -> Result<()>;

    /// What was written before the call is durable afterwards, and survives as a staged object.
    fn sync(&self) -> Result<()>;

    /// Durable and visible under its name afterwards, and no longer staged. Reads through this handle go on
    /// working; publishing again does nothing. `Exists` if another object has that name; the staged object
    /// then stays. An error with a retry class may be retried on the same handle.
    fn publish(&self) -> Result<()>;
}

/// For implementers: refuses names that cannot be staged with `Invalid`.
pub fn check_stageable(name: &ObjectName) -> Result<()> {
    if name.is_immutable() {
        Ok(())
    } else {
        Err(StoreError::invalid(format!("{name} can be replaced and is never staged")))
    }
}
