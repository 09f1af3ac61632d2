//! Turning results into replies: each function here sends exactly one.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;

use fuser::{
    Errno, Generation, INodeNo, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyLseek, ReplyStatfs, ReplyWrite, ReplyXattr,
};
use keepfs_fs::{Attr, Fs, FsError, Handle, StatFs};

use crate::translate::{BELIEF, errno, file_attr, file_type};

/// Inode numbers are never used twice, so the kernel needs no generation to tell two files apart.
pub(crate) const GENERATION: Generation = Generation(0);

/// What the kernel is told: a value or an error number.
pub(crate) type Answer<T> = Result<T, Errno>;

thread_local! {
    /// Bytes on their way to a reader, kept by each thread for the next one: at most one request's worth.
    static BYTES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// For `map_err`: the number of an error. The number for everything that went wrong inside says nothing of it,
/// so the log does.
pub(crate) fn told(error: FsError) -> Errno {
    let number = errno(&error);
    if number == Errno::EIO {
        tracing::warn!(%error, "a request failed");
    }
    number
}

/// Done, or not.
pub(crate) fn done(result: Answer<()>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

/// A name and what it names.
pub(crate) fn entry(result: Answer<Attr>, reply: ReplyEntry) {
    match result {
        Ok(attr) => reply.entry(&BELIEF, &file_attr(&attr), GENERATION),
        Err(error) => reply.error(error),
    }
}

/// The attributes of an inode.
pub(crate) fn attributes(result: Answer<Attr>, reply: ReplyAttr) {
    match result {
        Ok(attr) => reply.attr(&BELIEF, &file_attr(&attr)),
        Err(error) => reply.error(error),
    }
}

/// How many bytes were written or copied: never more than a request allows, which is far below 4 GiB.
pub(crate) fn written(result: Answer<usize>, reply: ReplyWrite) {
    match result {
        Ok(length) => reply.written(length as u32),
        Err(error) => reply.error(error),
    }
}

/// Bytes of an extended attribute, or their number to who has no room yet.
pub(crate) fn sized(result: Answer<Vec<u8>>, room: u32, reply: ReplyXattr) {
    match result {
        Ok(bytes) if room == 0 => reply.size(bytes.len() as u32),
        Ok(bytes) if bytes.len() > room as usize => reply.error(Errno::ERANGE),
        Ok(bytes) => reply.data(&bytes),
        Err(error) => reply.error(error),
    }
}

/// Free and used space.
pub(crate) fn space(result: Answer<StatFs>, reply: ReplyStatfs) {
    match result {
        Ok(space) => {
            let (unit, files) = (space.block_len, space.files);
            let (free, available) = (space.blocks_free, space.blocks_available);
            reply.statfs(
                space.blocks,
                free,
                available,
                files,
                space.files_free,
                unit,
                space.name_len_max,
                unit,
            );
        }
        Err(error) => reply.error(error),
    }
}

/// Reads into this thread's buffer and sends it.
pub(crate) fn read(fs: &Fs, handle: Handle, offset: u64, size: u32, reply: ReplyData) {
    BYTES.with_borrow_mut(|bytes| match fs.read(handle, offset, size as usize, bytes) {
        Ok(()) => reply.data(bytes),
        Err(error) => reply.error(told(error)),
    });
}

/// Finds data or a hole at or after an offset. No file is longer than a signed offset can say.
pub(crate) fn seek(fs: &Fs, handle: Handle, offset: i64, whence: i32, reply: ReplyLseek) {
    let Ok(offset) = u64::try_from(offset) else {
        return reply.error(Errno::ENXIO);
    };
    match fs.seek(handle, offset, whence) {
        Ok(found) => reply.offset(found as i64),
        Err(error) => reply.error(told(error)),
    }
}

/// As many names as the reply has room for.
pub(crate) fn listing(fs: &Fs, handle: Handle, after: u64, mut reply: ReplyDirectory) {
    let result = fs.read_dir(handle, after, &mut |item| {
        let (number, kind) = (INodeNo(item.attr.ino.0), file_type(item.attr.kind));
        full(reply.add(number, item.cookie, kind, OsStr::from_bytes(item.name)))
    });
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(told(error)),
    }
}

/// As many names with attributes as the reply has room for.
pub(crate) fn full_listing(fs: &Fs, handle: Handle, after: u64, mut reply: ReplyDirectoryPlus) {
    let result = fs.read_dir(handle, after, &mut |item| {
        let (attr, name) = (file_attr(&item.attr), OsStr::from_bytes(item.name));
        full(reply.add(attr.ino, item.cookie, name, &BELIEF, &attr, GENERATION))
    });
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(told(error)),
    }
}

/// Whether a listing goes on, as the reply said whether it is full.
fn full(is_full: bool) -> ControlFlow<()> {
    if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}
