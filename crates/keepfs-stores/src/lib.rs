//! The real stores: everything in keepfs that keeps blobs outside the process.
//!
//! [`open`] turns a URL into a store. Each store has its own module. Beside them are the two things a caller
//! needs near a store that is not local: staging in a local directory, and a bounded cache on disk.
//!
//! A store here never knows what it holds: bytes arrive sealed and leave as they came.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod disk_cache;
mod file;
mod local_staging;
mod open;
mod os;
mod stage;
mod timing;
mod url;

pub use disk_cache::DiskCache;
pub use file::{FileOptions, FileStore};
pub use local_staging::LocalStaging;
pub use open::{OpenError, OpenOptions, known_schemes, normalize_url, open};
pub use timing::SystemTiming;
