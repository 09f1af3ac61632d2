//! Where a vault is worked on: its store, this machine's state directory, time and randomness.

use std::path::Path;

use keepfs_format::Env;
use keepfs_store::{Retry, Store, StoreError};

use crate::disk::LocalDisk;
use crate::error::Result;

/// The world that the functions of this module work in.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// The store; `None` when it could not even be opened, and the vault shall be unlocked from local state.
    pub store: Option<&'a dyn Store>,
    /// The local disk.
    pub disk: &'a dyn LocalDisk,
    /// The directory that holds this machine's state of this one vault. It is made if need be.
    pub state_dir: &'a Path,
    /// Time and randomness.
    pub env: &'a dyn Env,
}

impl<'a> Site<'a> {
    /// The store, where there is no way without it.
    pub(super) fn store(&self) -> Result<&'a dyn Store> {
        let detail = || "this cannot be done without the store".to_owned();
        Ok(self.store.ok_or_else(|| StoreError::Unavailable { detail: detail(), retry: Retry::Never })?)
    }
}
