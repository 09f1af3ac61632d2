//! The operations that take more than one call of the file system: each says why. It holds no lock and keeps
//! nothing but the way to the file system and what the kernel must be reminded of.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, OnceLock};

use fuser::{INodeNo, Notifier, ReplyData, ReplyEntry, ReplyLseek, Request};
use keepfs_fs::Kind;
use keepfs_fs::{Attr, AttrSet, Fs, Handle, NewNode, Opened};

use crate::acl;
use crate::acl_rules::{follow_mode, inheritance, set_access_list, set_mode};
use crate::answers::{Answer, GENERATION, entry, read, seek, told};
use crate::lanes::Lanes;
use crate::spin::Pulse;
use crate::translate::{BELIEF, caller, ino, no_such_name, unprivileged_mode};
use crate::writers::Writers;

/// The namespace of extended attributes that only the system's administrator may read.
const TRUSTED: &[u8] = b"trusted.";

/// The file system as `fuser` wants to see it.
pub(crate) struct Frontend {
    fs: Arc<Fs>,
    pub(crate) lanes: Lanes,
    pub(crate) writers: Writers,
    pulse: Arc<Pulse>,
    /// The way to tell the kernel something unasked; there from the first request on.
    kernel: Arc<OnceLock<Notifier>>,
    /// The kernel gathers writes.
    pub(crate) write_back: bool,
}

/// A place in the tree, as the kernel names it.
pub(crate) type At<'a> = (INodeNo, &'a OsStr);

impl Frontend {
    /// A frontend of `fs`. `write_back`: the kernel gathers writes.
    pub(crate) fn new(fs: Arc<Fs>, lanes: Lanes, pulse: Arc<Pulse>, write_back: bool) -> Self {
        Self { fs, lanes, writers: Writers::default(), pulse, kernel: Arc::new(OnceLock::new()), write_back }
    }

    /// Where the way to the kernel is to be put.
    pub(crate) fn kernel(&self) -> Arc<OnceLock<Notifier>> {
        Arc::clone(&self.kernel)
    }

    /// The file system, for a request that came.
    pub(crate) fn fs(&self) -> &Arc<Fs> {
        self.pulse.beat();
        &self.fs
    }

    /// Looks a name up. That there is no such name is an answer which the kernel may remember. Whoever holds a
    /// file handle, such as an NFS server, asks for "." of any inode, not only of directories.
    pub(crate) fn look_up(&self, (parent, name): At<'_>, reply: ReplyEntry) {
        match name.as_bytes() {
            b"." => entry(self.fs().attr(ino(parent)).map_err(told), reply),
            name => match self.fs().lookup(ino(parent), name) {
                Err(error) if error.errno() == libc::ENOENT => {
                    reply.entry(&BELIEF, &no_such_name(), GENERATION)
                }
                found => entry(found.map_err(told), reply),
            },
        }
    }

    /// Makes an inode with what it inherits.
    pub(crate) fn make(&self, (parent, name): At<'_>, node: &NewNode<'_>, umask: u32) -> Answer<Attr> {
        let directory = node.kind == Kind::Directory;
        let inherited = inheritance(self.fs(), ino(parent), node.mode, umask, directory)?;
        let node = NewNode { mode: inherited.mode, ..*node };
        let made = self.fs.make(ino(parent), name.as_bytes(), &node).map_err(told)?;
        inherited.bestow(&self.fs, made)
    }

    /// Makes and opens a regular file with what it inherits.
    pub(crate) fn make_open(
        &self,
        (parent, name): At<'_>,
        node: &NewNode<'_>,
        flags: i32,
        umask: u32,
    ) -> Answer<(Attr, Opened)> {
        let inherited = inheritance(self.fs(), ino(parent), node.mode, umask, false)?;
        let node = NewNode { mode: inherited.mode, ..*node };
        let (made, opened) = self.fs.create(ino(parent), name.as_bytes(), &node, flags).map_err(told)?;
        let attr = self.or_close(opened.handle, inherited.bestow(&self.fs, made))?;
        self.writers.opened(attr.ino, flags);
        Ok((attr, opened))
    }

    /// Opens a file. Cutting it to nothing goes the way of `truncate`, which knows who asks and takes setuid
    /// away from others.
    pub(crate) fn open_file(&self, request: &Request, number: INodeNo, flags: i32) -> Answer<Opened> {
        let opened = self.fs().open(ino(number), flags & !libc::O_TRUNC).map_err(told)?;
        if flags & libc::O_TRUNC != 0 {
            let cut = AttrSet { size: Some(0), ..AttrSet::default() };
            let result = self.fs.set_attr(ino(number), &cut, Some(opened.handle), caller(request));
            self.or_close(opened.handle, result.map_err(told))?;
        }
        self.writers.opened(ino(number), flags);
        Ok(opened)
    }

    /// Passes a result on; the handle is closed if it is an error, for the kernel will not do it then.
    fn or_close<T>(&self, handle: Handle, result: Answer<T>) -> Answer<T> {
        if result.is_err()
            && let Err(error) = self.fs.release(handle)
        {
            tracing::warn!(%error, "closing a file that could not be opened");
        }
        result
    }

    /// Closes a file.
    pub(crate) fn close(&self, number: INodeNo, handle: Handle, flags: i32) -> Answer<()> {
        self.writers.closed(ino(number), flags);
        self.fs().release(handle).map_err(told)
    }

    /// Reads. A store that is far away may let one wait, which then must not be the last who listens.
    pub(crate) fn read_bytes(&self, handle: Handle, offset: u64, size: u32, reply: ReplyData) {
        if self.fs().is_local() {
            return read(&self.fs, handle, offset, size, reply);
        }
        let fs = Arc::clone(&self.fs);
        self.lanes.may_wait(move || read(&fs, handle, offset, size, reply));
    }

    /// Changes attributes; after a change of mode the access control list follows.
    pub(crate) fn change(
        &self,
        request: &Request,
        number: INodeNo,
        set: &AttrSet,
        handle: Option<Handle>,
    ) -> Answer<Attr> {
        if *set == AttrSet::default() {
            return self.drop_privileges(request, number);
        }
        let attr = self.fs().set_attr(ino(number), set, handle, caller(request)).map_err(told)?;
        if set.mode.is_some() && attr.kind != Kind::Symlink {
            follow_mode(&self.fs, attr.ino, attr.mode)?;
        }
        Ok(attr)
    }

    /// A request to change nothing is how the kernel says that somebody without the right to it is about to
    /// write to a setuid file. It believes the mode that we answer, and asks for no other after the write.
    pub(crate) fn drop_privileges(&self, request: &Request, number: INodeNo) -> Answer<Attr> {
        let attr = self.fs().attr(ino(number)).map_err(told)?;
        let mode = unprivileged_mode(attr.mode, request.gid() == attr.gid);
        if attr.kind != Kind::File || mode == attr.mode {
            return Ok(attr);
        }
        set_mode(&self.fs, attr.ino, mode)
    }

    /// Sets an extended attribute; an access control list takes the mode along.
    pub(crate) fn set_xattr(
        &self,
        request: &Request,
        (number, name): At<'_>,
        value: &[u8],
        flags: i32,
    ) -> Answer<()> {
        match name.as_bytes() {
            acl::ACCESS => set_access_list(self.fs(), ino(number), value, flags, caller(request)),
            name => self.fs().set_xattr(ino(number), name, value, flags).map_err(told),
        }
    }

    /// Names of extended attributes. Those that only the system's administrator may read are not even named to
    /// others.
    pub(crate) fn list_xattrs(&self, request: &Request, number: INodeNo) -> Answer<Vec<u8>> {
        let mut names = self.fs().list_xattrs(ino(number)).map_err(told)?;
        if request.uid() != 0 {
            let all = std::mem::take(&mut names);
            let open = all.split_inclusive(|byte| *byte == 0).filter(|name| !name.starts_with(TRUSTED));
            names = open.flatten().copied().collect();
        }
        Ok(names)
    }

    /// Finds data or holes.
    ///
    /// The kernel asks without sending first what it has not written back, of which we then know nothing: it
    /// would be told of a hole where bytes are. It does send them when told to drop what it has cached; which no
    /// receiver may do, for it could be the one to receive them.
    pub(crate) fn find(&self, number: INodeNo, handle: Handle, offset: i64, whence: i32, reply: ReplyLseek) {
        if !self.write_back || !self.writers.has(ino(number)) {
            return seek(self.fs(), handle, offset, whence, reply);
        }
        let (fs, kernel) = (Arc::clone(self.fs()), Arc::clone(&self.kernel));
        self.lanes.elsewhere(move || {
            if let Some(Err(error)) = kernel.get().map(|kernel| kernel.inval_inode(number, offset, 0)) {
                tracing::debug!(%error, "some cached pages are in use");
            }
            seek(&fs, handle, offset, whence, reply);
        });
    }
}
