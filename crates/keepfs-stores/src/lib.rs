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
mod later;
mod local_staging;
mod mirror;
#[cfg(feature = "object")]
mod object;
mod open;
mod os;
#[cfg(any(feature = "http", feature = "sftp"))]
mod remote;
mod secrets;
#[cfg(feature = "sftp")]
mod sftp;
mod stage;
mod timing;
mod url;
#[cfg(feature = "webdav")]
mod webdav;

pub use disk_cache::DiskCache;
pub use file::{FileOptions, FileStore};
pub use local_staging::LocalStaging;
pub use mirror::{Mirror, Mirrored, Tops};
pub use open::{OpenError, OpenOptions, Place, Scheme, Schemes, known_schemes, normalize_url, open};
pub use secrets::{SECRET_LEN_MAX, SecretField, Secrets};
pub use timing::SystemTiming;
