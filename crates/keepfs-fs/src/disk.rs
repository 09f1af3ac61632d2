//! The local disk as an argument: the few calls that journal and database make, and nothing else.
//!
//! Owns the contract. [`OsDisk`] is the real disk; [`FaultyDisk`] is one in memory that loses power, tears
//! writes and fails on demand. Neither knows what the files hold.
//!
//! What callers may rely on after a power loss, and no more:
//! - bytes of a file: what was written before the last [`LocalFile::sync_data`] that succeeded; of later writes
//!   each 512-byte sector is old or new on its own;
//! - length of a file: as with bytes;
//! - names in a directory: what was done before the last [`LocalDisk::sync_dir`] that succeeded; of later
//!   changes any may be lost, but a rename is never half done.

mod faulty;
mod os;

use std::io;
use std::path::Path;
use std::sync::Arc;

pub use faulty::{FaultyDisk, Trouble};
pub use os::OsDisk;

/// Length in bytes of what a disk writes all or nothing.
pub const SECTOR_LEN: usize = 512;

/// Directories and files of the machine. Paths are whole; parents must exist.
pub trait LocalDisk: Send + Sync {
    /// Makes a directory; one that is there already is no error.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes an empty file, readable by its owner only; `AlreadyExists` if the name is taken.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn LocalFile>>;
    /// Opens a file for reading and writing; `NotFound` if there is none.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn LocalFile>>;
    /// Gives a file another name, replacing what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes the name of a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Names in a directory that are valid UTF-8, in no order, without `.` and `..`.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Takes the exclusive lock of a file, made if need be; `WouldBlock` if another holds it. Held until dropped.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;
}

/// An open file. Calls from several threads may overlap.
pub trait LocalFile: Send + Sync {
    /// Length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Fills `out` from `offset` on; `UnexpectedEof` if the file ends before.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    /// Writes all of `data` at `offset`, extending the file if need be.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Cuts or extends with zeroes.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Takes space for the first `len` bytes and extends the file to them. A disk that cannot, extends only.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Makes bytes and length durable. After an error nothing is known of any write since the last success,
    /// and trying again proves nothing.
    fn sync_data(&self) -> io::Result<()>;
}

#[cfg(test)]
pub(crate) mod tests;
