//! One handler for each kind of request: translate, call the file system, translate back. It decides nothing
//! and owns nothing; what takes more than one call lies in `operations`.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags, INodeNo, IoctlFlags,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite,
    ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use keepfs_fs::Kind;
use keepfs_fs::{AttrSet, Handle, NewNode};

use crate::answers::{
    GENERATION, attributes, done, entry, full_listing, listing, sized, space, told, written,
};
use crate::capabilities::negotiate;
use crate::operations::Frontend;
use crate::translate::{
    BELIEF, caller, file_attr, ino, kernel_time, kind_of_mode, open_flags, permission_bits, rename_mode,
    time_set,
};

/// Most bytes that one request copies inside the file system: its answer must hold the number.
const COPY_LEN_MAX: u64 = 1 << 30;

impl Filesystem for Frontend {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        negotiate(config, self.write_back)
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.look_up((parent, name), reply);
    }

    fn getattr(&self, _request: &Request, number: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        attributes(self.fs().attr(ino(number)).map_err(told), reply);
    }

    fn setattr(
        &self,
        request: &Request,
        number: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        ctime: Option<SystemTime>,
        handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mode = mode.map(permission_bits);
        let (atime, mtime, ctime) = (atime.map(time_set), mtime.map(time_set), ctime.map(kernel_time));
        let set = AttrSet { mode, uid, gid, size, atime, mtime, ctime };
        attributes(self.change(request, number, &set, handle.map(|handle| Handle(handle.0))), reply);
    }

    fn readlink(&self, _request: &Request, number: INodeNo, reply: ReplyData) {
        match self.fs().read_link(ino(number)) {
            Ok(target) => reply.data(&target),
            Err(error) => reply.error(told(error)),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let Some(kind) = kind_of_mode(mode) else {
            return reply.error(Errno::EINVAL);
        };
        let node = NewNode { kind, mode: permission_bits(mode), rdev, target: b"", caller: caller(request) };
        entry(self.make((parent, name), &node, umask), reply);
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let (kind, mode) = (Kind::Directory, permission_bits(mode));
        let node = NewNode { kind, mode, rdev: 0, target: b"", caller: caller(request) };
        entry(self.make((parent, name), &node, umask), reply);
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let (kind, target) = (Kind::Symlink, target.as_os_str().as_bytes());
        let node = NewNode { kind, mode: 0o777, rdev: 0, target, caller: caller(request) };
        entry(self.fs().make(ino(parent), name.as_bytes(), &node).map_err(told), reply);
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.fs().unlink(ino(parent), name.as_bytes()).map_err(told), reply);
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.fs().rmdir(ino(parent), name.as_bytes()).map_err(told), reply);
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
        let Some(mode) = rename_mode(flags) else {
            return reply.error(Errno::EINVAL);
        };
        let (from, to) = ((ino(parent), name.as_bytes()), (ino(new_parent), new_name.as_bytes()));
        done(self.fs().rename(from, to, mode).map_err(told), reply);
    }

    fn link(&self, _request: &Request, number: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        entry(self.fs().link(ino(number), ino(parent), name.as_bytes()).map_err(told), reply);
    }

    fn open(&self, request: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        match self.open_file(request, number, flags.0) {
            Ok(opened) => reply.opened(FileHandle(opened.handle.0), open_flags(&opened, flags.0)),
            Err(error) => reply.error(error),
        }
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (kind, mode) = (Kind::File, permission_bits(mode));
        let node = NewNode { kind, mode, rdev: 0, target: b"", caller: caller(request) };
        match self.make_open((parent, name), &node, flags, umask) {
            Ok((attr, opened)) => {
                let (handle, answer) = (FileHandle(opened.handle.0), open_flags(&opened, flags));
                reply.created(&BELIEF, &file_attr(&attr), GENERATION, handle, answer);
            }
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.read_bytes(Handle(handle.0), offset, size, reply);
    }

    fn write(
        &self,
        request: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let kill_privileges = write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        if kill_privileges && let Err(error) = self.drop_privileges(request, number) {
            return reply.error(error);
        }
        written(self.fs().write(Handle(handle.0), offset, data, kill_privileges).map_err(told), reply);
    }

    fn flush(
        &self,
        _request: &Request,
        _number: INodeNo,
        _handle: FileHandle,
        _owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        // The kernel sends what it holds before it asks this, and learns of errors from those writes. After this
        // answer it does not ask again, which saves a round trip a close.
        reply.error(Errno::ENOSYS);
    }

    fn release(
        &self,
        _request: &Request,
        number: INodeNo,
        handle: FileHandle,
        flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        done(self.close(number, Handle(handle.0), flags.0), reply);
    }

    fn fsync(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        data_only: bool,
        reply: ReplyEmpty,
    ) {
        let fs = Arc::clone(self.fs());
        self.lanes.may_wait(move || done(fs.fsync(Handle(handle.0), data_only).map_err(told), reply));
    }

    fn opendir(&self, _request: &Request, number: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        // A listing that the kernel has stays true until its own calls change the directory, of which it knows.
        let keep = FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE;
        match self.fs().open_dir(ino(number)) {
            Ok(handle) => reply.opened(FileHandle(handle.0), keep),
            Err(error) => reply.error(told(error)),
        }
    }

    fn readdir(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        offset: u64,
        reply: ReplyDirectory,
    ) {
        listing(self.fs(), Handle(handle.0), offset, reply);
    }

    fn readdirplus(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        offset: u64,
        reply: ReplyDirectoryPlus,
    ) {
        full_listing(self.fs(), Handle(handle.0), offset, reply);
    }

    fn releasedir(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        done(self.fs().release_dir(Handle(handle.0)).map_err(told), reply);
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        let fs = Arc::clone(self.fs());
        self.lanes.may_wait(move || done(fs.fsync_dir(ino(number)).map_err(told), reply));
    }

    fn statfs(&self, _request: &Request, _number: INodeNo, reply: ReplyStatfs) {
        space(self.fs().stat_fs().map_err(told), reply);
    }

    fn setxattr(
        &self,
        request: &Request,
        number: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        done(self.set_xattr(request, (number, name), value, flags), reply);
    }

    fn getxattr(&self, _request: &Request, number: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        sized(self.fs().xattr(ino(number), name.as_bytes()).map_err(told), size, reply);
    }

    fn listxattr(&self, request: &Request, number: INodeNo, size: u32, reply: ReplyXattr) {
        sized(self.list_xattrs(request, number), size, reply);
    }

    fn removexattr(&self, _request: &Request, number: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.fs().remove_xattr(ino(number), name.as_bytes()).map_err(told), reply);
    }

    fn fallocate(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        done(self.fs().allocate(Handle(handle.0), mode, offset, length).map_err(told), reply);
    }

    fn lseek(
        &self,
        _request: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        self.find(number, Handle(handle.0), offset, whence, reply);
    }

    fn copy_file_range(
        &self,
        _request: &Request,
        _from: INodeNo,
        from_handle: FileHandle,
        from_offset: u64,
        _to: INodeNo,
        to_handle: FileHandle,
        to_offset: u64,
        length: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let (from, to) = ((Handle(from_handle.0), from_offset), (Handle(to_handle.0), to_offset));
        let copied = self.fs().copy_range(from, to, length.min(COPY_LEN_MAX));
        written(copied.map(|length| length as usize).map_err(told), reply);
    }

    fn ioctl(
        &self,
        _request: &Request,
        _number: INodeNo,
        _handle: FileHandle,
        _flags: IoctlFlags,
        _command: u32,
        _data: &[u8],
        _size: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }
}
