//! keepfs as the Linux kernel wants to see it: a translation between FUSE and [`keepfs_fs::Fs`].
//!
//! [`mount`] gives a [`Mounted`] that answers; [`Mounted::wait`] lasts until it is unmounted. The crate owns the
//! device, its threads and what the kernel is told it may believe. It holds no lock while it calls the file
//! system, keeps nothing of the tree, and never decides what an operation means.

mod acl;
mod acl_rules;
mod answers;
mod bdi;
mod capabilities;
mod crowd;
mod device;
mod error;
mod frontend;
mod inheritance;
mod lanes;
mod mount;
mod mount_table;
mod operations;
mod options;
mod power;
mod spin;
mod translate;
mod trial;
mod writers;

pub use device::{Unmount, heal, unmount};
pub use error::FuseError;
pub use inheritance::close_descriptors_on_exec;
pub use mount::{Mounted, mount};
pub use options::{MountOptions, THREADS_MAX, WAITERS_MAX};
