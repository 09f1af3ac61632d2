//! The kernel's requests, answered from memory with the same lifetimes and flags that keepfs answers with. It keeps no
//! state of its own.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, ReplyXattr, Request, TimeOrNow,
    WriteFlags,
};
use parking_lot::Mutex;

use crate::capabilities::negotiate;
use crate::memory::{Content, Plan, Pool, Tree};
use crate::spin::Pulse;

/// How long the kernel may believe an answer.
const BELIEF: Duration = Duration::from_secs(3_600);
const GENERATION: Generation = Generation(0);

/// The file system as `fuser` wants to see it.
pub(crate) struct Ceiling {
    tree: Mutex<Tree>,
    pool: Pool,
    pulse: Arc<Pulse>,
}

impl Ceiling {
    pub(crate) fn new(pool: Pool, pulse: Arc<Pulse>) -> Self {
        Self { tree: Mutex::new(Tree::new()), pool, pulse }
    }

    /// Asks the tree, for a request that came.
    fn ask<T>(&self, question: impl FnOnce(&mut Tree) -> Result<T, Errno>) -> Result<T, Errno> {
        self.pulse.beat();
        question(&mut self.tree.lock())
    }

    fn content(&self, number: INodeNo) -> Result<Content, Errno> {
        self.ask(|tree| Ok(Arc::clone(&tree.node(number)?.content)))
    }

    fn cut(&self, number: INodeNo, size: u64) -> Result<(), Errno> {
        let content = self.content(number)?;
        content.write().resize(usize::try_from(size).map_err(|_| Errno::EFBIG)?, 0);
        self.tree.lock().sized(number, size, true)
    }

    fn store(&self, number: INodeNo, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let content = self.content(number)?;
        let mut content = content.write();
        let start = usize::try_from(offset).map_err(|_| Errno::EFBIG)?;
        let end = start + data.len();
        self.pool.make_room(&mut content, end);
        if content.len() == start {
            content.extend_from_slice(data);
        } else {
            let length = content.len().max(end);
            content.resize(length, 0);
            content[start..end].copy_from_slice(data);
        }
        self.tree.lock().sized(number, end as u64, false)
    }
}

fn entry(result: Result<FileAttr, Errno>, reply: ReplyEntry) {
    match result {
        Ok(attr) => reply.entry(&BELIEF, &attr, GENERATION),
        Err(error) => reply.error(error),
    }
}

fn done(result: Result<(), Errno>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

/// What the kernel shall know of an opened file.
fn open_flags(flags: i32) -> FopenFlags {
    let mut answer = FopenFlags::FOPEN_KEEP_CACHE;
    answer.set(FopenFlags::FOPEN_NOFLUSH, flags & libc::O_ACCMODE == libc::O_RDONLY);
    answer
}

fn time_of(time: TimeOrNow) -> SystemTime {
    match time {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => SystemTime::now(),
    }
}

/// The answer "there is no such name, and there will be none until you make it".
fn no_such_name() -> FileAttr {
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 0,
        flags: 0,
    }
}

impl Filesystem for Ceiling {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        negotiate(config, true)
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.ask(|tree| tree.find(parent, name)) {
            Err(Errno::ENOENT) => reply.entry(&BELIEF, &no_such_name(), GENERATION),
            found => entry(found, reply),
        }
    }

    fn getattr(&self, _request: &Request, number: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        match self.ask(|tree| Ok(tree.node(number)?.attr)) {
            Ok(attr) => reply.attr(&BELIEF, &attr),
            Err(error) => reply.error(error),
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
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        if let Some(Err(error)) = size.map(|size| self.cut(number, size)) {
            return reply.error(error);
        }
        let result = self.ask(|tree| {
            let attr = &mut tree.node(number)?.attr;
            attr.perm = mode.map_or(attr.perm, |mode| (mode & 0o7777) as u16);
            attr.uid = uid.unwrap_or(attr.uid);
            attr.gid = gid.unwrap_or(attr.gid);
            attr.atime = atime.map_or(attr.atime, time_of);
            attr.mtime = mtime.map_or(attr.mtime, time_of);
            Ok(*attr)
        });
        match result {
            Ok(attr) => reply.attr(&BELIEF, &attr),
            Err(error) => reply.error(error),
        }
    }

    fn readlink(&self, _request: &Request, number: INodeNo, reply: ReplyData) {
        match self.ask(|tree| Ok(tree.node(number)?.target.clone())) {
            Ok(target) => reply.data(target.as_bytes()),
            Err(error) => reply.error(error),
        }
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
        let plan = Plan { kind: FileType::Directory, mode: mode & !umask, target: OsStr::new("") };
        entry(self.ask(|tree| tree.make(request, parent, name, &plan)), reply);
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let plan = Plan { kind: FileType::Symlink, mode: 0o777, target: target.as_os_str() };
        entry(self.ask(|tree| tree.make(request, parent, name, &plan)), reply);
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.ask(|tree| tree.remove(parent, name)), reply);
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.ask(|tree| tree.remove(parent, name)), reply);
    }

    fn open(&self, _request: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if flags.0 & libc::O_TRUNC != 0
            && let Err(error) = self.cut(number, 0)
        {
            return reply.error(error);
        }
        self.pulse.beat();
        reply.opened(FileHandle(number.0), open_flags(flags.0));
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
        let plan = Plan { kind: FileType::RegularFile, mode: mode & !umask, target: OsStr::new("") };
        match self.ask(|tree| tree.make(request, parent, name, &plan)) {
            Ok(attr) => {
                reply.created(&BELIEF, &attr, GENERATION, FileHandle(attr.ino.0), open_flags(flags));
            }
            Err(error) => reply.error(error),
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
        match self.content(number) {
            Ok(content) => {
                let content = content.read();
                let start = content.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
                let end = content.len().min(start + size as usize);
                reply.data(&content[start..end]);
            }
            Err(error) => reply.error(error),
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
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.store(number, offset, data) {
            Ok(()) => reply.written(data.len() as u32),
            Err(error) => reply.error(error),
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
        // The kernel does not ask again, as with keepfs.
        reply.error(Errno::ENOSYS);
    }

    fn release(
        &self,
        _request: &Request,
        _number: INodeNo,
        _handle: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.pulse.beat();
        reply.ok();
    }

    fn fsync(
        &self,
        _request: &Request,
        _number: INodeNo,
        _handle: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        self.pulse.beat();
        reply.ok();
    }

    fn opendir(&self, _request: &Request, number: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.pulse.beat();
        reply.opened(FileHandle(number.0), FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn readdir(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let show = &mut |cookie, name: &OsStr, attr: &FileAttr| reply.add(attr.ino, cookie, attr.kind, name);
        match self.ask(|tree| tree.list(number, offset, show)) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn readdirplus(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let show = &mut |cookie, name: &OsStr, attr: &FileAttr| {
            reply.add(attr.ino, cookie, name, &BELIEF, attr, GENERATION)
        };
        match self.ask(|tree| tree.list(number, offset, show)) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn getxattr(&self, _request: &Request, _number: INodeNo, _name: &OsStr, _size: u32, reply: ReplyXattr) {
        self.pulse.beat();
        reply.error(Errno::ENODATA);
    }
}
