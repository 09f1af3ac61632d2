//! Calls about the whole mount: space, status, sync, close.

use keepfs_format::ids::{Ino, Time};
use keepfs_store::Space;
use keepfs_vault::{Pending, SpaceStats, StagingPlace};

use crate::content::HELD_LEN_MAX;
use crate::core::Core;
use crate::damage::DamageNote;
use crate::durable::RecoveryReport;
use crate::error::{FsError, Result};
use crate::fs::Fs;
use crate::types::StatFs;

/// Unit of `statfs`, in bytes.
const BLOCK_LEN: u64 = 4096;
/// What a store that cannot tell its size counts as, in bytes: large enough that no copy is refused.
const SPACE_UNKNOWN: u64 = 1 << 50;
/// Bytes of the store's disk that writers leave free, so that what is in memory and journal finds room.
const SPACE_RESERVE: u64 = 24 << 20;
/// Directories that a path may have before the search for it ends.
const DEPTH_MAX: usize = 65_536;

/// How far a sync to the store is.
pub type SyncProgress = Pending;

/// The state of a mount.
#[derive(Clone, Debug)]
pub struct Status {
    /// Bytes that are not on the store yet: queued, in open packs, in memory.
    pub pending_bytes: u64,
    /// Objects that are queued for the store.
    pub pending_objects: u64,
    /// When the oldest change was made that is not on the store, as far as known.
    pub pending_oldest: Option<Time>,
    /// The last error of the store that is still in the way.
    pub store_error: Option<String>,
    /// When the store will be tried again.
    pub store_retry_at: Option<Time>,
    /// Why writing stopped, if it did.
    pub unhealthy: Option<String>,
    /// Ranges of files that could not be read.
    pub damage: Vec<DamageNote>,
    /// Files and directories.
    pub inodes: u64,
    /// Bytes of content, holes left out.
    pub content_len: u64,
    /// What the open recovered.
    pub recovered: RecoveryReport,
    /// Segments of this machine's log that the store has.
    pub segments_published: u64,
    /// Bytes in the journal that the database does not need to be replayed from.
    pub journal_len: u64,
    /// Bytes outside of chunks, and their limit.
    pub held_len: (u64, u64),
    /// Inodes and directory entries in memory.
    pub cached: (u64, u64),
    /// Open handles.
    pub handles: u64,
    /// Numbers of the chunk space.
    pub space: SpaceStats,
    /// Whether it is read-only.
    pub read_only: bool,
}

impl Fs {
    /// Size and free space. Never waits for a store over a network.
    pub fn stat_fs(&self) -> Result<StatFs> {
        let Space { total, free } =
            self.core.local_space().unwrap_or(Space { total: SPACE_UNKNOWN, free: SPACE_UNKNOWN });
        let files = self.core.tree.lock().progress.inodes;
        Ok(StatFs {
            blocks: total / BLOCK_LEN,
            blocks_free: free / BLOCK_LEN,
            blocks_available: free / BLOCK_LEN,
            files: files + (1 << 32),
            files_free: 1 << 32,
            block_len: BLOCK_LEN as u32,
            name_len_max: keepfs_format::op::NAME_LEN_MAX as u32,
        })
    }

    /// Whether reads never wait for a network.
    pub fn is_local(&self) -> bool {
        self.core.store.capabilities().local
    }

    /// Makes everything so far durable on this machine.
    pub fn sync_local(&self) -> Result<()> {
        self.core.sync_file(None)
    }

    /// Brings everything so far to the store.
    pub fn sync_store(&self, progress: &mut dyn FnMut(&SyncProgress)) -> Result<()> {
        self.core.sync_store(progress)
    }

    /// The state of the mount.
    pub fn status(&self) -> Status {
        let core = &self.core;
        let pending = core.space.publisher().pending();
        let space = core.space.stats();
        let held = core.contents.held_len() as u64;
        let waited = core.work.waiting();
        let now = core.env.now();
        let oldest_here = waited.map(|waited| Time { secs: now.secs - waited.as_secs() as i64, ..now });
        let (inodes, content_len, cached) = {
            let tree = core.tree.lock();
            (tree.progress.inodes, tree.progress.content_len, tree.cached())
        };
        Status {
            pending_bytes: pending.bytes.max(space.staged_len) + held,
            pending_objects: pending.objects as u64 + core.segments_waiting(),
            pending_oldest: [pending.oldest, oldest_here].into_iter().flatten().min(),
            store_error: core.work.last_trouble().or(pending.last_error),
            store_retry_at: pending.retry_at,
            unhealthy: core.poisoned.get().cloned(),
            damage: core.damage.notes(),
            inodes,
            content_len,
            recovered: core.recovered,
            segments_published: core.cuts.published.load(std::sync::atomic::Ordering::Relaxed),
            journal_len: core.journal.len_live(),
            held_len: (held, HELD_LEN_MAX as u64),
            cached: (cached.0 as u64, cached.1 as u64),
            handles: core.handles.count() as u64,
            space,
            read_only: core.options.read_only,
        }
    }

    /// A path to an inode, for people; `None` when it has no name or more than one and is not found.
    pub fn path_of(&self, ino: Ino) -> Option<Vec<u8>> {
        let mut tree = self.core.tree.lock();
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut at = ino;
        while at != Ino::ROOT && names.len() < DEPTH_MAX {
            let parent = tree.inode(at).ok()?.0.parent;
            let directory = tree.directory(parent).ok()?;
            let (name, _) =
                directory.after(keepfs_format::ids::LinkId(0)).find(|(_, entry)| entry.ino == at)?;
            names.push(name.to_vec());
            at = parent;
        }
        names.reverse();
        Some([&b"/"[..], &names.join(&b"/"[..])].concat())
    }

    /// Ends the session: everything durable on this machine, what can go to the store handed to it, threads
    /// stopped. What the store does not take stays queued and goes up at the next mount.
    pub fn close(&self) -> Result<()> {
        self.core.stop();
        if self.core.options.read_only {
            return Ok(());
        }
        let outcome = self.core.check_writable().and_then(|()| {
            self.core.cut()?;
            self.core.publish()?;
            self.core.checkpoint_if_due()
        });
        let outcome = outcome.map(drop);
        self.core.drain_publisher();
        let written = outcome.and_then(|()| self.core.write_published());
        self.core.space.publisher().stop();
        written
    }
}

impl Core {
    /// Space of a store on this machine; `None` when it is elsewhere or does not say.
    fn local_space(&self) -> Option<Space> {
        match self.store.capabilities().local {
            true => self.store.space().ok().flatten(),
            false => None,
        }
    }

    /// Space where packs grow: in the store, or on the disk of this machine while the store is away or slow.
    fn growing_space(&self) -> Option<Space> {
        match &self.staging {
            Some(StagingPlace::Separate(staging)) => staging.space().ok().flatten(),
            _ => self.local_space(),
        }
    }

    /// ENOSPC while what is in memory and journal still finds room, not when it is too late.
    pub(super) fn check_space(&self) -> Result<()> {
        self.check_room_for(0)
    }

    /// The same for a write of `len` bytes.
    pub(super) fn check_room_for(&self, len: u64) -> Result<()> {
        let free = self.free_space.get(&*self.env, || self.growing_space().map(|space| space.free));
        match free {
            Some(free) if free < len.saturating_add(SPACE_RESERVE + self.contents.held_len() as u64) => {
                Err(FsError::NoSpace {
                    detail: "the disk under the store, or under what waits for it, is full".into(),
                })
            }
            _ => Ok(()),
        }
    }
}
