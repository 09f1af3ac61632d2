//! One handler for each kind of request: translate, call the file system, translate back. It decides nothing,
//! holds no lock, and owns nothing but the way to the file system and the lanes for requests that wait.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo,
    IoctlFlags, KernelConfig, LockOwner, Notifier, OpenFlags, PollEvents, PollFlags, PollNotifier,
    RenameFlags, ReplyAttr, ReplyBmap, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite,
    ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use keepfs_format::op::Kind;
use keepfs_fs::{Attr, AttrSet, Fs, FsError, Handle, NewNode, Opened};

use crate::acl;
use crate::capabilities;
use crate::inherit::{follow_mode, inheritance, set_access_list, set_mode};
use crate::lanes::Lanes;
use crate::spin::Pulse;
use crate::translate::{
    BELIEF, caller, errno, file_attr, file_type, ino, kernel_time, kind_of_mode, no_such_name, open_flags,
    permission_bits, rename_mode, time_set, unprivileged_mode,
};
use crate::writers::Writers;

/// Inode numbers are never used twice, so the kernel needs no generation to tell two files apart.
const GENERATION: Generation = Generation(0);

/// Most bytes that one request copies inside the file system: what its answer can hold and an older kernel
/// rounds to whole pages.
const COPY_LEN_MAX: u64 = 1 << 30;

thread_local! {
    /// Bytes on their way to a reader, kept by each thread for the next one: at most one request's worth.
    static BYTES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The file system as `fuser` wants to see it.
pub(crate) struct Frontend {
    pub(crate) fs: Arc<Fs>,
    pub(crate) lanes: Lanes,
    pub(crate) writers: Writers,
    /// The way to tell the kernel something unasked; there from the first request on.
    pub(crate) kernel: Arc<OnceLock<Notifier>>,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) write_back: bool,
}

/// What the kernel is told: a value or an error number.
type Answer<T> = Result<T, Errno>;

impl Frontend {
    /// Makes an inode with what it inherits.
    fn make(&self, parent: INodeNo, name: &OsStr, node: &NewNode<'_>, umask: u32) -> Answer<Attr> {
        let directory = node.kind == Kind::Directory;
        let inherited = inheritance(&self.fs, ino(parent), node.mode, umask, directory)?;
        let node = NewNode { mode: inherited.mode, ..*node };
        let made = self.fs.make(ino(parent), name.as_bytes(), &node).map_err(told)?;
        inherited.bestow(&self.fs, made)
    }

    /// Makes and opens a regular file with what it inherits.
    fn make_open(
        &self,
        parent: INodeNo,
        name: &OsStr,
        node: &NewNode<'_>,
        flags: i32,
        umask: u32,
    ) -> Answer<(Attr, Opened)> {
        let inherited = inheritance(&self.fs, ino(parent), node.mode, umask, false)?;
        let node = NewNode { mode: inherited.mode, ..*node };
        let (made, opened) = self.fs.create(ino(parent), name.as_bytes(), &node, flags).map_err(told)?;
        match inherited.bestow(&self.fs, made) {
            Ok(attr) => {
                self.writers.opened(attr.ino, flags);
                Ok((attr, opened))
            }
            Err(error) => {
                quietly(self.fs.release(opened.handle));
                Err(error)
            }
        }
    }

    /// Opens a file. Cutting it to nothing goes the way of `truncate`, which knows who asks and takes setuid
    /// away from others.
    fn open_file(&self, request: &Request, number: INodeNo, flags: i32) -> Answer<Opened> {
        let opened = self.fs.open(ino(number), flags & !libc::O_TRUNC).map_err(told)?;
        if flags & libc::O_TRUNC != 0 {
            let cut = AttrSet { size: Some(0), ..AttrSet::default() };
            let result = self.fs.set_attr(ino(number), &cut, Some(opened.handle), caller(request));
            if let Err(error) = result {
                quietly(self.fs.release(opened.handle));
                return Err(told(error));
            }
        }
        self.writers.opened(ino(number), flags);
        Ok(opened)
    }

    /// Changes attributes; after a change of mode the access control list follows.
    fn change(
        &self,
        request: &Request,
        number: INodeNo,
        set: &AttrSet,
        handle: Option<Handle>,
    ) -> Answer<Attr> {
        if *set == AttrSet::default() {
            return self.drop_privileges(number);
        }
        let attr = self.fs.set_attr(ino(number), set, handle, caller(request)).map_err(told)?;
        if set.mode.is_some() && attr.kind != Kind::Symlink {
            follow_mode(&self.fs, attr.ino, attr.mode)?;
        }
        Ok(attr)
    }

    /// A request to change nothing is how the kernel says that somebody without the right to it is about to
    /// write to a setuid file. It believes the mode that we answer, and asks for no other after the write.
    fn drop_privileges(&self, number: INodeNo) -> Answer<Attr> {
        let attr = self.fs.attr(ino(number)).map_err(told)?;
        let mode = unprivileged_mode(attr.mode);
        if attr.kind != Kind::File || mode == attr.mode {
            return Ok(attr);
        }
        set_mode(&self.fs, attr.ino, mode)
    }
}

impl Filesystem for Frontend {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        capabilities::negotiate(config, self.write_back)
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.pulse.beat();
        // Whoever holds a file handle, such as an NFS server, asks for "." of any inode, not only of directories.
        let found = match name.as_bytes() {
            b"." => self.fs.attr(ino(parent)),
            name => self.fs.lookup(ino(parent), name),
        };
        match found {
            Err(error) if error.errno() == libc::ENOENT && name.as_bytes() != b"." => {
                reply.entry(&BELIEF, &no_such_name(), GENERATION);
            }
            found => entry(found.map_err(told), reply),
        }
    }

    fn forget(&self, _request: &Request, _ino: INodeNo, _nlookup: u64) {}

    fn getattr(&self, _request: &Request, number: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        self.pulse.beat();
        attributes(self.fs.attr(ino(number)).map_err(told), reply);
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
        self.pulse.beat();
        let set = AttrSet {
            mode: mode.map(permission_bits),
            uid,
            gid,
            size,
            atime: atime.map(time_set),
            mtime: mtime.map(time_set),
            ctime: ctime.map(kernel_time),
        };
        attributes(self.change(request, number, &set, handle.map(|handle| Handle(handle.0))), reply);
    }

    fn readlink(&self, _request: &Request, number: INodeNo, reply: ReplyData) {
        self.pulse.beat();
        match self.fs.read_link(ino(number)) {
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
        self.pulse.beat();
        let Some(kind) = kind_of_mode(mode) else {
            return reply.error(Errno::EINVAL);
        };
        let node = NewNode { kind, mode: permission_bits(mode), rdev, target: b"", caller: caller(request) };
        entry(self.make(parent, name, &node, umask), reply);
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
        self.pulse.beat();
        let mode = permission_bits(mode);
        let node = NewNode { kind: Kind::Directory, mode, rdev: 0, target: b"", caller: caller(request) };
        entry(self.make(parent, name, &node, umask), reply);
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        self.pulse.beat();
        let target = target.as_os_str().as_bytes();
        let node = NewNode { kind: Kind::Symlink, mode: 0o777, rdev: 0, target, caller: caller(request) };
        entry(self.fs.make(ino(parent), name.as_bytes(), &node).map_err(told), reply);
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.pulse.beat();
        done(self.fs.unlink(ino(parent), name.as_bytes()), reply);
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.pulse.beat();
        done(self.fs.rmdir(ino(parent), name.as_bytes()), reply);
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
        self.pulse.beat();
        let Some(mode) = rename_mode(flags) else {
            return reply.error(Errno::EINVAL);
        };
        let (from, to) = ((ino(parent), name.as_bytes()), (ino(new_parent), new_name.as_bytes()));
        done(self.fs.rename(from, to, mode), reply);
    }

    fn link(&self, _request: &Request, number: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.pulse.beat();
        entry(self.fs.link(ino(number), ino(parent), name.as_bytes()).map_err(told), reply);
    }

    fn open(&self, request: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        self.pulse.beat();
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
        self.pulse.beat();
        let mode = permission_bits(mode);
        let node = NewNode { kind: Kind::File, mode, rdev: 0, target: b"", caller: caller(request) };
        match self.make_open(parent, name, &node, flags, umask) {
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
        self.pulse.beat();
        if self.fs.is_local() {
            return read(&self.fs, Handle(handle.0), offset, size, reply);
        }
        let fs = Arc::clone(&self.fs);
        self.lanes.may_wait(move || read(&fs, Handle(handle.0), offset, size, reply));
    }

    fn write(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.pulse.beat();
        let kill_privileges = write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        written(self.fs.write(Handle(handle.0), offset, data, kill_privileges), reply);
    }

    fn flush(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        _owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        self.pulse.beat();
        done(self.fs.flush(Handle(handle.0)), reply);
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
        self.pulse.beat();
        self.writers.closed(ino(number), flags.0);
        done(self.fs.release(Handle(handle.0)), reply);
    }

    fn fsync(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        data_only: bool,
        reply: ReplyEmpty,
    ) {
        self.pulse.beat();
        let fs = Arc::clone(&self.fs);
        self.lanes.may_wait(move || done(fs.fsync(Handle(handle.0), data_only), reply));
    }

    fn opendir(&self, _request: &Request, number: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.pulse.beat();
        // A listing that the kernel has stays true until its own calls change the directory, of which it knows.
        let keep = FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE;
        match self.fs.open_dir(ino(number)) {
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
        mut reply: ReplyDirectory,
    ) {
        self.pulse.beat();
        let result = self.fs.read_dir(Handle(handle.0), offset, &mut |item| {
            let number = INodeNo(item.attr.ino.0);
            full(reply.add(number, item.cookie, file_type(item.attr.kind), OsStr::from_bytes(item.name)))
        });
        match result {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(told(error)),
        }
    }

    fn readdirplus(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        self.pulse.beat();
        let result = self.fs.read_dir(Handle(handle.0), offset, &mut |item| {
            let (attr, name) = (file_attr(&item.attr), OsStr::from_bytes(item.name));
            full(reply.add(attr.ino, item.cookie, name, &BELIEF, &attr, GENERATION))
        });
        match result {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(told(error)),
        }
    }

    fn releasedir(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.pulse.beat();
        self.fs.release_dir(Handle(handle.0));
        reply.ok();
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        self.pulse.beat();
        let fs = Arc::clone(&self.fs);
        self.lanes.may_wait(move || done(fs.fsync_dir(ino(number)), reply));
    }

    fn statfs(&self, _request: &Request, _number: INodeNo, reply: ReplyStatfs) {
        self.pulse.beat();
        match self.fs.stat_fs() {
            Ok(s) => reply.statfs(
                s.blocks,
                s.blocks_free,
                s.blocks_available,
                s.files,
                s.files_free,
                s.block_len,
                s.name_len_max,
                s.block_len,
            ),
            Err(error) => reply.error(told(error)),
        }
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
        self.pulse.beat();
        let result = match name.as_bytes() {
            acl::ACCESS => set_access_list(&self.fs, ino(number), value, flags, caller(request)),
            name => self.fs.set_xattr(ino(number), name, value, flags).map_err(told),
        };
        match result {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn getxattr(&self, _request: &Request, number: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        self.pulse.beat();
        sized(self.fs.xattr(ino(number), name.as_bytes()), size, reply);
    }

    fn listxattr(&self, _request: &Request, number: INodeNo, size: u32, reply: ReplyXattr) {
        self.pulse.beat();
        sized(self.fs.list_xattrs(ino(number)), size, reply);
    }

    fn removexattr(&self, _request: &Request, number: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.pulse.beat();
        done(self.fs.remove_xattr(ino(number), name.as_bytes()), reply);
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
        self.pulse.beat();
        done(self.fs.allocate(Handle(handle.0), mode, offset, length), reply);
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
        self.pulse.beat();
        if !self.write_back || !self.writers.has(ino(number)) {
            return seek(&self.fs, Handle(handle.0), offset, whence, reply);
        }
        // The kernel asks without sending first what it has not written back, of which we then know nothing: it
        // would be told of a hole where bytes are. It sends them when told to drop what it has cached; not to be
        // said by a receiver, who may be the one to receive them.
        let (fs, kernel) = (Arc::clone(&self.fs), Arc::clone(&self.kernel));
        self.lanes.elsewhere(move || {
            if let Some(Err(error)) = kernel.get().map(|kernel| kernel.inval_inode(number, offset, 0)) {
                tracing::debug!(%error, "some cached pages are in use");
            }
            seek(&fs, Handle(handle.0), offset, whence, reply);
        });
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
        self.pulse.beat();
        let (from, to) = (Handle(from_handle.0), Handle(to_handle.0));
        let copied = self.fs.copy_range(from, from_offset, to, to_offset, length.min(COPY_LEN_MAX));
        written(copied.map(|length| length as usize), reply);
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

    fn bmap(&self, _request: &Request, _number: INodeNo, _block_len: u32, _index: u64, reply: ReplyBmap) {
        reply.error(Errno::ENOSYS);
    }

    fn poll(
        &self,
        _request: &Request,
        _number: INodeNo,
        _handle: FileHandle,
        _notifier: PollNotifier,
        _events: PollEvents,
        _flags: PollFlags,
        reply: ReplyPoll,
    ) {
        // The kernel then takes every file for readable and writable at any time, which ours are.
        reply.error(Errno::ENOSYS);
    }
}

/// Reads into this thread's buffer and sends it.
fn read(fs: &Fs, handle: Handle, offset: u64, size: u32, reply: ReplyData) {
    BYTES.with_borrow_mut(|bytes| match fs.read(handle, offset, size as usize, bytes) {
        Ok(()) => reply.data(bytes),
        Err(error) => reply.error(told(error)),
    });
}

/// Finds data or a hole at or after an offset.
fn seek(fs: &Fs, handle: Handle, offset: i64, whence: i32, reply: ReplyLseek) {
    let Ok(offset) = u64::try_from(offset) else {
        return reply.error(Errno::ENXIO);
    };
    match fs.seek(handle, offset, whence) {
        // No file is longer than a signed offset can say.
        Ok(found) => reply.offset(found as i64),
        Err(error) => reply.error(told(error)),
    }
}

/// For `map_err`: the number of an error.
fn told(error: FsError) -> Errno {
    errno(&error)
}

/// Drops an error that comes on top of one that is reported.
fn quietly(result: keepfs_fs::Result<()>) {
    if let Err(error) = result {
        tracing::warn!(%error, "closing a file after a failed open");
    }
}

/// Whether a listing goes on after `reply` said whether it is full.
fn full(is_full: bool) -> ControlFlow<()> {
    if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

fn done(result: keepfs_fs::Result<()>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(told(error)),
    }
}

fn entry(result: Answer<Attr>, reply: ReplyEntry) {
    match result {
        Ok(attr) => reply.entry(&BELIEF, &file_attr(&attr), GENERATION),
        Err(error) => reply.error(error),
    }
}

fn attributes(result: Answer<Attr>, reply: ReplyAttr) {
    match result {
        Ok(attr) => reply.attr(&BELIEF, &file_attr(&attr)),
        Err(error) => reply.error(error),
    }
}

fn written(result: keepfs_fs::Result<usize>, reply: ReplyWrite) {
    match result {
        // Neither a write nor a copy is longer than a request allows, which is far less than 4 GiB.
        Ok(length) => reply.written(length as u32),
        Err(error) => reply.error(told(error)),
    }
}

/// Answers a question about an extended attribute: its size to who has no room yet, else its bytes.
fn sized(result: keepfs_fs::Result<Vec<u8>>, room: u32, reply: ReplyXattr) {
    match result {
        Ok(bytes) if room == 0 => reply.size(bytes.len() as u32),
        Ok(bytes) if bytes.len() > room as usize => reply.error(Errno::ERANGE),
        Ok(bytes) => reply.data(&bytes),
        Err(error) => reply.error(told(error)),
    }
}
