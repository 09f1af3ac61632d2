//! Calls about ranges of files: allocating and punching, seeking data and holes, copying by sharing chunks.

use keepfs_format::ids::Ino;
use keepfs_format::op::{Edit, FILE_LEN_MAX, Source};

use crate::content::{Extent, File};
use crate::core::Core;
use crate::durable::HowMuch;
use crate::error::{FsError, Result};
use crate::fs::Fs;
use crate::types::Handle;

/// Longest range that one call copies, in bytes; callers ask again for the rest.
const COPY_LEN_MAX: u64 = 1 << 30;

impl Fs {
    /// What `fallocate(2)` does: extends, punches holes, zeroes. Space is checked, not set aside.
    pub fn allocate(&self, handle: Handle, mode: i32, offset: u64, len: u64) -> Result<()> {
        let (_, file) = self.core.handles.file(handle)?;
        self.core.check_writable()?;
        let end = offset.checked_add(len).filter(|end| *end <= FILE_LEN_MAX).ok_or(FsError::FileTooLarge)?;
        if len == 0 {
            return Err(FsError::InvalidArgument);
        }
        let keep_size = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
        match mode & !libc::FALLOC_FL_KEEP_SIZE {
            0 => self.core.check_room_for(len)?,
            libc::FALLOC_FL_PUNCH_HOLE if keep_size => return self.core.punch(&file, (offset, end), false),
            libc::FALLOC_FL_ZERO_RANGE => return self.core.punch(&file, (offset, end), !keep_size),
            _ => return Err(FsError::NotSupported),
        }
        let size = file.lock().size;
        match keep_size || end <= size {
            true => Ok(()),
            false => self.core.resize(&file, end, None),
        }
    }

    /// Where data or a hole is next, at or after `offset`. `whence`: `SEEK_DATA` or `SEEK_HOLE`.
    pub fn seek(&self, handle: Handle, offset: u64, whence: i32) -> Result<u64> {
        let (_, file) = self.core.handles.file(handle)?;
        let mut state = file.lock();
        if offset >= state.size {
            return Err(FsError::NothingBeyond);
        }
        let data = match whence {
            libc::SEEK_DATA => true,
            libc::SEEK_HOLE => false,
            _ => return Err(FsError::InvalidArgument),
        };
        state.seek(file.ino, (offset, data), &self.core.database)?.ok_or(FsError::NothingBeyond)
    }

    /// Copies a range between open files by sharing chunks. Returns the bytes copied, 0 at the end.
    pub fn copy_range(
        &self,
        (from, from_offset): (Handle, u64),
        (to, to_offset): (Handle, u64),
        len: u64,
    ) -> Result<u64> {
        let (_, source) = self.core.handles.file(from)?;
        let (_, target) = self.core.handles.file(to)?;
        self.core.check_writable()?;
        let len = len.min(COPY_LEN_MAX).min(source.lock().size.saturating_sub(from_offset));
        let end =
            to_offset.checked_add(len).filter(|end| *end <= FILE_LEN_MAX).ok_or(FsError::FileTooLarge)?;
        let overlaps = source.ino == target.ino && from_offset < end && to_offset < from_offset + len;
        if overlaps {
            return Err(FsError::InvalidArgument);
        }
        if len == 0 {
            return Ok(0);
        }
        self.core.drain(&source, HowMuch::All)?;
        let runs = source.lock().chunk_runs(
            source.ino,
            (from_offset, from_offset + len),
            &[],
            &self.core.database,
        )?;
        let moved = runs.into_iter().map(|run| (run.offset - from_offset + to_offset, run.len, run.extent));
        self.core.edit(&target, moved.collect(), end)?;
        Ok(len)
    }
}

impl Core {
    fn punch(&self, file: &File, (offset, end): (u64, u64), extend: bool) -> Result<()> {
        let size = file.lock().size;
        let cut = end.min(size);
        let edits = if cut > offset { vec![(offset, cut - offset, None)] } else { Vec::new() };
        self.edit(file, edits, if extend { end } else { 0 })
    }

    /// Gives ranges of a file new sources; the file is at least `size_min` long afterwards.
    fn edit(&self, file: &File, changes: Vec<(u64, u64, Option<Extent>)>, size_min: u64) -> Result<()> {
        let ino: Ino = file.ino;
        let _gate = self.gate.read();
        let mut state = file.lock();
        let (held, fresh) = (state.dirty.len(), state.dirty.fresh_len());
        let mut edits = Vec::with_capacity(changes.len());
        for (offset, len, extent) in changes {
            state.punch(ino, (offset, len), &self.database)?;
            let source = match extent {
                None => Source::Hole,
                Some(extent) => {
                    state.splice(ino, (offset, extent), &self.database)?;
                    Source::Chunk { pack: extent.at.pack, index: extent.at.index, skip: extent.skip }
                }
            };
            edits.push(Edit { offset, len, source });
        }
        state.size = state.size.max(size_min);
        self.contents.account(held, state.dirty.len(), fresh, state.dirty.fresh_len());
        self.contents.mark_touched(ino);
        let (size, allocated) = (state.size, state.allocated(ino, &self.database)?);
        let mut tree = self.tree.lock();
        let now = self.env.now();
        tree.set_allocated(ino, allocated)?;
        let (inode, _) = tree.inode_mut(ino)?;
        (inode.size, inode.mtime, inode.ctime) = (size, now, now);
        self.record_content(&mut tree, &state, (ino, now), edits)
    }
}
