//! The one API that all frontends of keepfs use: inodes, names, handles, bytes, durability, publishing.
//!
//! The running truth is in memory, what must survive is one sealed journal, and a database is its background
//! checkpoint. A frontend translates; every decision is here. This crate never talks to a terminal, never
//! reads the environment, and touches the local disk only through [`disk::LocalDisk`].

mod api;
mod content;
mod core;
mod damage;
mod database;
pub mod disk;
mod durable;
pub mod error;
mod fs;
pub mod home;
pub mod journal;
mod open;
mod options;
pub mod pages;
mod space_watch;
mod tree;
mod types;

pub use api::{Status, SyncProgress};
pub use damage::DamageNote;
pub use durable::RecoveryReport;
pub use error::{FsError, Result};
pub use fs::Fs;
pub use keepfs_format::ids::{Ino, Time};
pub use keepfs_format::op::Kind;
pub use open::World;
pub use options::{Durability, Options};
pub use types::{Attr, AttrSet, Caller, DirItem, Handle, NewNode, Opened, RenameMode, StatFs, TimeSet};
