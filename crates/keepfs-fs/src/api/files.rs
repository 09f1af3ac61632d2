//! Calls about open files: opening, reading, writing, syncing, closing.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keepfs_format::ids::{ChunkId, Ino, Locator, Time};
use keepfs_format::op::{AttrChange, FILE_LEN_MAX, Kind, Op};

use super::attributes::without_privileges;
use super::handles::Open;
use crate::content::{File, HELD_LEN_MAX};
use crate::core::Core;
use crate::durable::{BULK_RUN_LEN, HowMuch};
use crate::error::{FsError, Result};
use crate::fs::Fs;
use crate::options::Durability;
use crate::tree::Tree;
use crate::types::{Handle, Opened};

/// How much writes that later ones have overtaken may hold above the limit, in bytes.
const OVERTAKEN_LEN_MAX: usize = 16 << 20;
/// How many times a writer waits for such writes before a stream is cut where they are missing.
const ROUNDS_FOR_OVERTAKEN: u32 = 2;
/// How far ahead of a sequential reader chunks are opened, in bytes.
const READ_AHEAD_LEN: u64 = 8 << 20;

impl Fs {
    /// Opens a file. `flags` are those of `open(2)`.
    pub fn open(&self, ino: Ino, flags: i32) -> Result<Opened> {
        let opened = {
            let mut tree = self.core.tree.lock();
            match tree.inode(ino)?.0.kind {
                Kind::Directory => return Err(FsError::IsDirectory),
                Kind::File => self.core.open_in(&mut tree, ino, flags)?,
                _ => return Err(FsError::NotSupported),
            }
        };
        if flags & libc::O_TRUNC != 0 {
            let truncated = self
                .core
                .check_writable()
                .and_then(|()| self.core.resize(&*self.core.file_of(ino)?, 0, None));
            if let Err(error) = truncated {
                self.release(opened.handle)?;
                return Err(error);
            }
        }
        Ok(opened)
    }

    /// Reads up to `len` bytes at `offset` into `out`, fewer at the end of the file.
    pub fn read(&self, handle: Handle, offset: u64, len: usize, out: &mut Vec<u8>) -> Result<()> {
        let (open, file) = self.core.handles.file(handle)?;
        out.clear();
        self.core.read_file(&file, offset, len, out)?;
        self.core.read_ahead(&open, &file, (offset, out.len() as u64));
        Ok(())
    }

    /// Writes `data` at `offset`. `kill_privileges`: setuid must go, and setgid of what its group can execute.
    pub fn write(&self, handle: Handle, offset: u64, data: &[u8], kill_privileges: bool) -> Result<usize> {
        let (open, file) = self.core.handles.file(handle)?;
        self.core.check_writable()?;
        let end = offset.checked_add(data.len() as u64).filter(|end| *end <= FILE_LEN_MAX);
        let end = end.ok_or(FsError::FileTooLarge)?;
        self.core.tell_failure(&file)?;
        self.core.wait_for_room(&file, end - data.len() as u64..end)?;
        self.core.check_space()?;
        let bulk = {
            let _gate = self.core.gate.read();
            let mut state = file.lock();
            let offset = if open.append { state.size } else { offset };
            let end = if open.append { offset + data.len() as u64 } else { end };
            let (held, fresh) = (state.dirty.len(), state.dirty.fresh_len());
            state.dirty.write(offset, data, true);
            self.core.contents.account(held, state.dirty.len(), fresh, state.dirty.fresh_len());
            self.core.contents.mark_written(file.ino);
            state.size = state.size.max(end);
            let allocated = state.allocated(file.ino, &self.core.database)?;
            let (size, bulk) = (state.size, state.dirty.len() >= BULK_RUN_LEN);
            let mut tree = self.core.tree.lock();
            let now = self.core.env.now();
            tree.set_allocated(file.ino, allocated)?;
            let (inode, _) = tree.inode_mut(file.ino)?;
            (inode.size, inode.mtime, inode.ctime) = (size, now, now);
            if kill_privileges && without_privileges(inode, true) != inode.mode {
                self.core.drop_privileges(&mut tree, file.ino, now)?;
            }
            bulk
        };
        self.core.work.noted();
        if bulk {
            self.core.work.drain_soon(&file, HowMuch::Bulk, self.core.contents.held_len());
        }
        Ok(data.len())
    }

    /// Makes a file durable, as the mount's durability asks.
    pub fn fsync(&self, handle: Handle, _data_only: bool) -> Result<()> {
        let (_, file) = self.core.handles.file(handle)?;
        self.core.sync_file(Some(&file))
    }

    /// Makes the entries of a directory durable, as the mount's durability asks.
    pub fn fsync_dir(&self, _ino: Ino) -> Result<()> {
        self.core.sync_file(None)
    }

    /// Closes a file. Its bytes go into chunks soon.
    pub fn release(&self, handle: Handle) -> Result<()> {
        let open = self.core.handles.remove(handle).ok_or(FsError::BadHandle)?;
        let last = self.core.tree.lock().closed(open.ino);
        if last {
            self.core.contents.forget(open.ino);
        } else if let Some(file) = &open.file
            && open.writable
            && !file.lock().dirty.is_empty()
        {
            self.core.work.drain_soon(file, HowMuch::All, self.core.contents.held_len());
        }
        Ok(())
    }
}

impl Core {
    /// A handle on a regular file.
    pub(super) fn open_in(&self, tree: &mut Tree, ino: Ino, flags: i32) -> Result<Opened> {
        let (inode, _) = tree.inode(ino)?;
        let file = match inode.kind {
            Kind::File => Some(self.contents.file(ino, inode.size)),
            _ => None,
        };
        let writable = flags & libc::O_ACCMODE != libc::O_RDONLY;
        tree.opened(ino);
        let open = Open {
            ino,
            file,
            writable,
            append: false,
            read_end: AtomicU64::new(0),
            ahead_end: AtomicU64::new(0),
        };
        let handle = self.handles.insert(open);
        Ok(Opened { handle, keep_cache: true, direct_io: false })
    }

    /// Reads what a file shows at `offset`, newest bytes on top.
    pub(crate) fn read_file(&self, file: &File, offset: u64, len: usize, out: &mut Vec<u8>) -> Result<()> {
        let runs = {
            let mut state = file.lock();
            let len = (len as u64).min(state.size.saturating_sub(offset)) as usize;
            if len == 0 {
                return Ok(());
            }
            out.resize(len, 0);
            let covered = state.overlay(offset, out);
            state.chunk_runs(file.ino, (offset, offset + len as u64), &covered, &self.database)?
        };
        for run in runs {
            let Some(extent) = run.extent else { continue };
            let from = (run.offset - offset) as usize;
            let part = &mut out[from..from + run.len as usize];
            if let Err(error) = self.space.read(&extent.id, &extent.at, extent.skip, part) {
                self.note_damage(file.ino, (run.offset, run.len), &error);
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// A sequential reader finds the next chunks open already.
    fn read_ahead(&self, open: &Open, file: &Arc<File>, (offset, len): (u64, u64)) {
        let end = offset + len;
        let sequential = open.read_end.swap(end, Ordering::Relaxed) == offset && offset > 0;
        let ahead = open.ahead_end.load(Ordering::Relaxed).max(end);
        if !sequential || len == 0 || ahead >= end + READ_AHEAD_LEN / 2 {
            return;
        }
        let until = end + READ_AHEAD_LEN;
        open.ahead_end.store(until, Ordering::Relaxed);
        let chunks: Vec<(ChunkId, Locator)> = {
            let mut state = file.lock();
            let until = until.min(state.size);
            let Ok(runs) = state.chunk_runs(file.ino, (ahead, until.max(ahead)), &[], &self.database) else {
                return;
            };
            runs.into_iter().filter_map(|run| run.extent).map(|extent| (extent.id, extent.at)).collect()
        };
        self.space.prefetch(&chunks);
    }

    /// Bytes of this file could not be brought into chunks a while ago: they are tried again, and whoever writes or
    /// syncs next is told if that fails, too. They are in memory and journal all the while.
    fn tell_failure(&self, file: &File) -> Result<()> {
        let failed = std::mem::take(&mut file.lock().failed);
        match failed {
            true => self.drain(file, HowMuch::All),
            false => Ok(()),
        }
    }

    /// While everything together holds too much, this writer helps to bring bytes into chunks before it adds
    /// its own.
    fn wait_for_room(&self, file: &File, range: Range<u64>) -> Result<()> {
        let mut rounds = 0;
        while self.contents.held_len() >= HELD_LEN_MAX {
            // The write that later ones have overtaken is what they wait for.
            let overtaken = self.contents.held_len() < HELD_LEN_MAX + OVERTAKEN_LEN_MAX
                && file.lock().dirty.begins_at(range.end);
            if overtaken {
                return Ok(());
            }
            self.make_room(file, rounds)?;
            rounds += 1;
        }
        Ok(())
    }

    fn make_room(&self, file: &File, rounds: u32) -> Result<()> {
        if self.relieve(file)? {
            return Ok(());
        }
        let largest = self.contents.dirty_files().into_iter().max_by_key(|file| file.lock().dirty.len());
        match largest {
            Some(largest) if largest.ino != file.ino && self.relieve(&largest)? => Ok(()),
            // What is before the long run is late, or never comes.
            Some(largest) if rounds >= ROUNDS_FOR_OVERTAKEN => self.drain(&largest, HowMuch::All),
            _ => {
                self.contents.wait_for_room();
                Ok(())
            }
        }
    }

    fn drop_privileges(&self, tree: &mut Tree, ino: Ino, now: Time) -> Result<()> {
        let mode = Some(without_privileges(tree.inode(ino)?.0, true));
        if tree.is_gone(ino) {
            return Ok(());
        }
        self.perform(
            tree,
            now,
            vec![Op::SetAttr { ino, change: AttrChange { mode, ..AttrChange::default() } }],
        )
    }

    /// What `fsync` does: bytes of a large write go into chunks, everything else into the journal.
    pub(super) fn sync_file(&self, file: Option<&File>) -> Result<()> {
        if self.options.read_only {
            return Ok(());
        }
        self.check_writable()?;
        if let Some(file) = file {
            self.tell_failure(file)?;
            if file.lock().dirty.is_cheaper_in_chunks() {
                self.drain(file, HowMuch::All)?;
            }
        }
        self.commit()?;
        match self.options.durability {
            Durability::Local => Ok(()),
            Durability::Remote => self.sync_store(&mut |_| {}),
        }
    }
}
