//! What the daemon says of itself, at its start and whenever it is asked.

use std::sync::Arc;

use keepfs_fs::Ino;

use super::{Launch, Ready};
use crate::control::{CacheStatus, Damage, Health, Pending, Status};
use crate::environment::now_secs;
use crate::wiring::{self, OpenVault};

/// Knows how the mount was started, and asks the file system for the rest.
pub(super) struct Reporter {
    launch: Launch,
    vault: Arc<OpenVault>,
    since: u64,
}

impl Reporter {
    /// The mount begins now.
    pub(super) fn new(launch: Launch, vault: Arc<OpenVault>) -> Self {
        Self { launch, vault, since: now_secs() }
    }

    /// What whoever mounted hears.
    pub(super) fn ready(&self) -> Ready {
        let recovered = wiring::recovered(&self.vault.fs.status().recovered);
        Ready { recovered, warnings: self.vault.notices.clone() }
    }

    /// What is only on this machine.
    pub(super) fn pending(&self) -> Pending {
        pending(&self.vault.fs.status())
    }

    /// Everything.
    pub(super) fn status(&self) -> Status {
        let status = self.vault.fs.status();
        Status {
            vault: self.launch.vault.clone(),
            store: self.launch.store.clone(),
            mounted: true,
            mount_point: Some(self.launch.mount_point.clone()),
            pid: Some(std::process::id()),
            since: Some(self.since),
            read_only: self.launch.options.read_only,
            durability: self.launch.options.durability,
            compression: self.launch.options.compression,
            inodes: Some(status.inodes),
            content_bytes: Some(status.content_len),
            pending: Some(pending(&status)),
            health: self.health(&status),
            cache: self
                .vault
                .cache
                .as_ref()
                .map(|cache| CacheStatus { bytes: cache.len_total(), limit: cache.limit() }),
            traffic: self.vault.traffic(),
            recovered: wiring::recovered(&status.recovered),
            memory: Some(wiring::memory(&status)),
        }
    }

    /// Damaged files once each; their paths are looked up now and written nowhere.
    fn health(&self, status: &keepfs_fs::Status) -> Health {
        let mut inodes: Vec<Ino> = status.damage.iter().map(|note| note.ino).collect();
        inodes.sort_unstable();
        inodes.dedup();
        let reason = match (&status.unhealthy, inodes.len()) {
            (Some(reason), _) => Some(format!("writing stopped: {reason}")),
            (None, 0) => None,
            (None, count) => Some(format!("{count} files could not be read in full")),
        };
        let damaged = inodes.into_iter().map(|ino| Damage { inode: ino.0, path: self.path_of(ino) });
        Health { healthy: reason.is_none(), reason, damaged: damaged.collect() }
    }

    fn path_of(&self, ino: Ino) -> Option<String> {
        let path = self.vault.fs.path_of(ino)?;
        Some(String::from_utf8_lossy(&path).into_owned())
    }
}

fn pending(status: &keepfs_fs::Status) -> Pending {
    wiring::pending(
        (status.pending_bytes, status.pending_objects),
        status.pending_oldest,
        status.store_error.clone(),
        status.store_retry_at,
    )
}
