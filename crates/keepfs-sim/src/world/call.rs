//! One action done twice: to the file system through its API, and to the model. And the walk through a whole
//! file system that says what it shows.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use keepfs_fs::{AttrSet, Fs, FsError, Handle, Ino, Kind, NewNode, Result};

use super::action::{Action, Bytes, Named, Spot, Which, empty_file};
use super::model::{Model, Outcome};
use super::tree::{Body, Item, Path, Shown, below};
use crate::place::CALLER;

/// Mode of files that are made.
const FILE_MODE: u16 = 0o644;
/// Mode of directories and links that are made.
const DIRECTORY_MODE: u16 = 0o755;
/// Bytes that one read asks for.
const READ_LEN: usize = 1 << 20;

/// What a call answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Nothing to say.
    Done,
    /// Bytes that were read.
    Bytes(Bytes),
    /// How much was copied.
    Len(u64),
}

/// A file that a world keeps open.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenFile {
    /// Its handle.
    pub handle: Handle,
    /// Its inode.
    pub ino: Ino,
    /// The same in the model.
    pub node: u64,
}

/// Calls a file system.
pub(super) struct Caller<'a> {
    /// The file system.
    pub fs: &'a Fs,
    /// Its open files.
    pub open: &'a [OpenFile],
}

impl Caller<'_> {
    /// The inode under a path.
    pub(super) fn find(&self, path: &[u8]) -> Result<Ino> {
        let mut at = Ino::ROOT;
        for name in path.split(|byte| *byte == b'/').skip(1) {
            at = self.fs.lookup(at, name)?.ino;
        }
        Ok(at)
    }

    /// Does it.
    pub(super) fn call(&self, action: &Action) -> Result<Answer> {
        let fs = self.fs;
        match action {
            Action::Create(spot) => self.make(spot, (Kind::File, FILE_MODE), b""),
            Action::MakeDirectory(spot) => self.make(spot, (Kind::Directory, DIRECTORY_MODE), b""),
            Action::Symlink(spot, target) => self.make(spot, (Kind::Symlink, DIRECTORY_MODE), &target.0),
            Action::Link(path, (directory, name)) => {
                fs.link(self.find(&path.0)?, self.find(&directory.0)?, &name.0).map(done)
            }
            Action::Unlink((directory, name)) => fs.unlink(self.find(&directory.0)?, &name.0).map(done),
            Action::RemoveDirectory((directory, name)) => {
                fs.rmdir(self.find(&directory.0)?, &name.0).map(done)
            }
            Action::Rename(from, to, mode) => {
                let parents = (self.find(&from.0.0)?, self.find(&to.0.0)?);
                fs.rename((parents.0, &from.1.0), (parents.1, &to.1.0), *mode).map(done)
            }
            Action::SetMode(path, mode) => {
                let set = AttrSet { mode: Some(*mode), ..AttrSet::default() };
                fs.set_attr(self.find(&path.0)?, &set, None, CALLER).map(done)
            }
            Action::SetXattr(path, name, Some(value)) => {
                fs.set_xattr(self.find(&path.0)?, &name.0, &value.0, 0).map(done)
            }
            Action::SetXattr(path, name, None) => fs.remove_xattr(self.find(&path.0)?, &name.0).map(done),
            Action::SyncDirectory => fs.fsync_dir(Ino::ROOT).map(done),
            Action::SyncAll => fs.sync_local().map(done),
            Action::SyncStore => fs.sync_store(&mut |_| {}).map(done),
            // The world owns the table of open files.
            Action::Open(_) | Action::Close(_) => Ok(Answer::Done),
            _ => self.call_file(action),
        }
    }

    fn call_file(&self, action: &Action) -> Result<Answer> {
        let fs = self.fs;
        match action {
            Action::Write { file, offset, bytes } => {
                self.with(file, |handle| fs.write(handle, *offset, &bytes.0, false).map(done))
            }
            Action::Truncate { file, size } => self.with(file, |handle| {
                let set = AttrSet { size: Some(*size), ..AttrSet::default() };
                let ino = self.ino_of(file)?;
                fs.set_attr(ino, &set, Some(handle), CALLER).map(done)
            }),
            Action::Punch { file, offset, len } => {
                let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
                self.with(file, |handle| fs.allocate(handle, mode, *offset, *len).map(done))
            }
            Action::Zero { file, offset, len } => self.with(file, |handle| {
                fs.allocate(handle, libc::FALLOC_FL_ZERO_RANGE, *offset, *len).map(done)
            }),
            Action::Copy { from, to, len } => self.with(&from.0, |source| {
                self.with(&to.0, |target| {
                    fs.copy_range((source, from.1), (target, to.1), *len).map(Answer::Len)
                })
            }),
            Action::Read(file) => self.with(file, |handle| Ok(Answer::Bytes(Bytes(read_all(fs, handle)?)))),
            Action::SyncFile(file) => self.with(file, |handle| fs.fsync(handle, false).map(done)),
            _ => Ok(Answer::Done),
        }
    }

    fn make(&self, (directory, name): &Spot, (kind, mode): (Kind, u16), target: &[u8]) -> Result<Answer> {
        let node = NewNode { kind, mode, rdev: 0, target, caller: CALLER };
        self.fs.make(self.find(&directory.0)?, &name.0, &node).map(done)
    }

    /// Runs a call on an open file, opened for it if need be.
    fn with(&self, file: &Which, call: impl FnOnce(Handle) -> Result<Answer>) -> Result<Answer> {
        match file {
            Which::Open(at) => call(self.open.get(*at).map_or(Handle(0), |open| open.handle)),
            Which::At(path) => {
                let handle = self.fs.open(self.find(&path.0)?, libc::O_RDWR)?.handle;
                let outcome = call(handle);
                self.fs.release(handle)?;
                outcome
            }
        }
    }

    fn ino_of(&self, file: &Which) -> Result<Ino> {
        match file {
            Which::At(path) => self.find(&path.0),
            Which::Open(at) => self.open.get(*at).map(|open| open.ino).ok_or(FsError::BadHandle),
        }
    }
}

fn done<T>(_: T) -> Answer {
    Answer::Done
}

fn read_all(fs: &Fs, handle: Handle) -> Result<Vec<u8>> {
    let (mut whole, mut part) = (Vec::new(), Vec::new());
    loop {
        fs.read(handle, whole.len() as u64, READ_LEN, &mut part)?;
        if part.is_empty() {
            return Ok(whole);
        }
        whole.extend_from_slice(&part);
    }
}

/// Walks through a file system.
pub fn show(fs: &Fs) -> Result<Shown> {
    let mut shown = Shown::new();
    let mut inos: BTreeMap<Path, Ino> = BTreeMap::new();
    let mut pending = vec![(Path::new(), Ino::ROOT)];
    while let Some((path, ino)) = pending.pop() {
        let attr = fs.attr(ino)?;
        let body = match attr.kind {
            Kind::Directory => {
                let handle = fs.open_dir(ino)?;
                fs.read_dir(handle, 0, &mut |item| {
                    if item.name != b"." && item.name != b".." {
                        pending.push((below(&path, item.name), item.attr.ino));
                    }
                    ControlFlow::Continue(())
                })?;
                fs.release_dir(handle)?;
                Body::Directory
            }
            Kind::Symlink => Body::Symlink(fs.read_link(ino)?),
            _ => {
                let handle = fs.open(ino, libc::O_RDONLY)?.handle;
                let bytes = read_all(fs, handle);
                fs.release(handle)?;
                Body::File(Arc::new(bytes?))
            }
        };
        let mut xattrs = BTreeMap::new();
        for name in fs.list_xattrs(ino)?.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            xattrs.insert(name.to_vec(), fs.xattr(ino, name)?);
        }
        shown.insert(
            path.clone(),
            Item { body, mode: attr.mode, nlink: attr.nlink, xattrs, first: path.clone() },
        );
        inos.insert(path, ino);
    }
    let mut first: HashMap<Ino, Path> = HashMap::new();
    for (path, item) in &mut shown {
        if let Some(ino) = inos.get(path) {
            item.first = first.entry(*ino).or_insert_with(|| path.clone()).clone();
        }
    }
    Ok(shown)
}

/// Does an action to the model.
pub(super) fn apply(model: &mut Model, open: &[OpenFile], action: &Action) -> Outcome<Answer> {
    let done = |()| Answer::Done;
    let spot = |(directory, name): &Spot| (directory.0.clone(), name.0.clone());
    let make = |model: &mut Model, at: &Spot, body: &Body, mode: u16| {
        let (directory, name) = spot(at);
        model.make(&directory, &name, body, mode).map(|_| Answer::Done)
    };
    match action {
        Action::Create(at) => make(model, at, &empty_file(), FILE_MODE),
        Action::MakeDirectory(at) => make(model, at, &Body::Directory, DIRECTORY_MODE),
        Action::Symlink(at, target) => make(model, at, &Body::Symlink(target.0.clone()), DIRECTORY_MODE),
        Action::Link(Named(path), at) => model.link(path, &at.0.0, &at.1.0).map(done),
        Action::Unlink(at) => model.unlink(&at.0.0, &at.1.0).map(done),
        Action::RemoveDirectory(at) => model.remove_directory(&at.0.0, &at.1.0).map(done),
        Action::Rename(from, to, mode) => {
            model.rename((&from.0.0, &from.1.0), (&to.0.0, &to.1.0), *mode).map(done)
        }
        Action::SetMode(path, mode) => model.set_mode(&path.0, *mode).map(done),
        Action::SetXattr(path, name, value) => {
            model.set_xattr(&path.0, &name.0, value.as_ref().map(|value| &value.0[..])).map(done)
        }
        Action::SyncDirectory | Action::SyncAll | Action::SyncStore => Ok(Answer::Done),
        Action::Open(_) | Action::Close(_) => Ok(Answer::Done),
        _ => apply_file(model, open, action),
    }
}

fn apply_file(model: &mut Model, open: &[OpenFile], action: &Action) -> Outcome<Answer> {
    let number = |model: &Model, file: &Which| match file {
        Which::At(path) => {
            let number = model.find(&path.0)?;
            model.file(number).map(|_| number)
        }
        Which::Open(at) => open.get(*at).map(|open| open.node).ok_or(libc::EBADF),
    };
    let done = |()| Answer::Done;
    match action {
        Action::Write { file, offset, bytes } => {
            let number = number(model, file)?;
            model.change(number, |content| put(content, *offset as usize, &bytes.0)).map(done)
        }
        Action::Truncate { file, size } => {
            let number = number(model, file)?;
            model.change(number, |content| content.resize(*size as usize, 0)).map(done)
        }
        Action::Punch { file, offset, len } => {
            let number = number(model, file)?;
            model.change(number, |content| clear(content, *offset as usize, *len as usize)).map(done)
        }
        Action::Zero { file, offset, len } => {
            let number = number(model, file)?;
            model.change(number, |content| zero(content, *offset as usize, *len as usize)).map(done)
        }
        Action::Copy { from, to, len } => {
            let (source, target) = (number(model, &from.0)?, number(model, &to.0)?);
            let bytes = model.file(source)?.clone();
            let len = (*len).min((bytes.len() as u64).saturating_sub(from.1));
            if source == target && from.1 < to.1 + len && to.1 < from.1 + len {
                return Err(libc::EINVAL);
            }
            if len > 0 {
                let part = &bytes[from.1 as usize..(from.1 + len) as usize];
                model.change(target, |content| put(content, to.1 as usize, part))?;
            }
            Ok(Answer::Len(len))
        }
        Action::Read(file) => Ok(Answer::Bytes(Bytes(model.file(number(model, file)?)?.to_vec()))),
        Action::SyncFile(file) => number(model, file).map(|_| Answer::Done),
        _ => Ok(Answer::Done),
    }
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

fn clear(content: &mut [u8], offset: usize, len: usize) {
    let end = (offset + len).min(content.len());
    if let Some(range) = content.get_mut(offset..end) {
        range.fill(0);
    }
}

fn zero(content: &mut Vec<u8>, offset: usize, len: usize) {
    if content.len() < offset + len {
        content.resize(offset + len, 0);
    }
    clear(content, offset, len);
}
