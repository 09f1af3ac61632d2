//! FUSE in front of the lossy disk: translation only. The kernel is let cache nothing, for a power cut would not
//! empty its caches.

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use parking_lot::{Mutex, MutexGuard};

use super::disk::{Attributes, Disk, Result};
use super::names::Number;

/// How long the kernel may believe an answer.
const BELIEF: Duration = Duration::ZERO;
const GENERATION: Generation = Generation(0);
const BLOCK_LEN: u32 = 4096;
const KEEP_SIZE: i32 = 1;
/// Bits of a mode that are not the kind of file.
const PERMISSION_BITS: u32 = 0o7777;

pub(super) struct Frontend {
    pub(super) disk: Arc<Mutex<Disk>>,
}

impl Frontend {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock()
    }

    fn attr(&self, number: Number) -> Result<FileAttr> {
        let (attributes, size, nlink) = self.disk().describe(number)?;
        Ok(FileAttr {
            ino: INodeNo(number),
            size,
            blocks: size.div_ceil(512),
            atime: attributes.modified,
            mtime: attributes.modified,
            ctime: attributes.modified,
            crtime: attributes.modified,
            kind: attributes.kind,
            perm: (attributes.mode & PERMISSION_BITS) as u16,
            nlink,
            uid: attributes.owner.0,
            gid: attributes.owner.1,
            rdev: 0,
            blksize: BLOCK_LEN,
            flags: 0,
        })
    }

    fn answer(&self, number: Result<Number>, reply: ReplyEntry) {
        match number.and_then(|number| self.attr(number)) {
            Ok(attr) => reply.entry(&BELIEF, &attr, GENERATION),
            Err(error) => reply.error(told(error)),
        }
    }

    fn make(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        kind: (FileType, u32),
    ) -> Result<Number> {
        let owner = (request.uid(), request.gid());
        let attributes = Attributes { kind: kind.0, mode: kind.1, owner, modified: SystemTime::now() };
        self.disk().make((parent.0, name.to_owned()), attributes)
    }
}

fn told(error: rustix::io::Errno) -> Errno {
    Errno::from_i32(error.raw_os_error())
}

fn done(result: Result<()>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(told(error)),
    }
}

impl Filesystem for Frontend {
    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.disk().find(parent.0, name);
        self.answer(found, reply);
    }

    fn getattr(&self, _request: &Request, number: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        match self.attr(number.0) {
            Ok(attr) => reply.attr(&BELIEF, &attr),
            Err(error) => reply.error(told(error)),
        }
    }

    fn setattr(
        &self,
        _request: &Request,
        number: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let change = |attributes: &mut Attributes| {
            attributes.mode = mode.unwrap_or(attributes.mode);
            attributes.owner = (uid.unwrap_or(attributes.owner.0), gid.unwrap_or(attributes.owner.1));
            match mtime {
                Some(TimeOrNow::SpecificTime(time)) => attributes.modified = time,
                Some(TimeOrNow::Now) => attributes.modified = SystemTime::now(),
                None => {}
            }
        };
        let cut = size.map_or(Ok(()), |size| self.disk().set_len(number.0, size));
        let changed = cut.and_then(|()| self.disk().redescribe(number.0, change));
        match changed.and_then(|()| self.attr(number.0)) {
            Ok(attr) => reply.attr(&BELIEF, &attr),
            Err(error) => reply.error(told(error)),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _rdev: u32,
        reply: ReplyEntry,
    ) {
        let kind = match rustix::fs::FileType::from_raw_mode(mode) {
            rustix::fs::FileType::RegularFile => FileType::RegularFile,
            // The daemon's control socket.
            rustix::fs::FileType::Socket => FileType::Socket,
            _ => return reply.error(Errno::EPERM),
        };
        let made = self.make(request, parent, name, (kind, mode));
        self.answer(made, reply);
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        let made = self.make(request, parent, name, (FileType::Directory, mode));
        self.answer(made, reply);
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.disk().remove((parent.0, name.to_owned()), false), reply);
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.disk().remove((parent.0, name.to_owned()), true), reply);
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (from, to) = ((parent.0, name.to_owned()), (new_parent.0, new_name.to_owned()));
        let flags = rustix::fs::RenameFlags::from_bits_retain(flags.bits());
        done(self.disk().rename(from, to, flags), reply);
    }

    fn link(&self, _request: &Request, number: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let linked = self.disk().link(number.0, (parent.0, name.to_owned()));
        self.answer(linked.map(|()| number.0), reply);
    }

    fn open(&self, _request: &Request, _number: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let made = self.make(request, parent, name, (FileType::RegularFile, mode));
        match made.and_then(|number| self.attr(number)) {
            Ok(attr) => {
                reply.created(&BELIEF, &attr, GENERATION, FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
            }
            Err(error) => reply.error(told(error)),
        }
    }

    fn read(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let bytes = self.disk().read(number.0, offset, size as usize);
        match bytes {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(told(error)),
        }
    }

    fn write(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let appends = flags.0 & rustix::fs::OFlags::APPEND.bits() as i32 != 0;
        let offset = if appends { None } else { Some(offset) };
        let written = self.disk().write(number.0, offset, data);
        match written {
            Ok(()) => reply.written(data.len() as u32),
            Err(error) => reply.error(told(error)),
        }
    }

    fn flush(
        &self,
        _request: &Request,
        _number: INodeNo,
        _handle: FileHandle,
        _owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn fsync(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        done(self.disk().sync(number.0), reply);
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        done(self.disk().sync_directory(number.0), reply);
    }

    fn readdir(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let found = match self.disk().list(number.0) {
            Ok(found) => found,
            Err(error) => return reply.error(told(error)),
        };
        // Cookies are the numbers, which only grow: what is removed meanwhile makes nothing else be left out.
        let mut entries: Vec<_> = found.iter().filter(|(_, number, _)| *number > offset).collect();
        entries.sort_by_key(|(_, number, _)| *number);
        for (name, number, kind) in entries {
            if reply.add(INodeNo(*number), *number, *kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _request: &Request, _number: INodeNo, reply: ReplyStatfs) {
        match self.disk().space() {
            Ok(space) => reply.statfs(
                space.f_blocks,
                space.f_bfree,
                space.f_bavail,
                space.f_files,
                space.f_ffree,
                space.f_bsize as u32,
                space.f_namemax as u32,
                space.f_frsize as u32,
            ),
            Err(error) => reply.error(told(error)),
        }
    }

    fn fallocate(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if mode & !KEEP_SIZE != 0 {
            return reply.error(Errno::EOPNOTSUPP);
        }
        done(self.disk().allocate(number.0, (offset, length), mode == KEEP_SIZE), reply);
    }
}
