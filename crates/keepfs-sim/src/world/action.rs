//! What a world does to its file system: one call of a program each, drawn by chance from what is there.

use std::fmt;
use std::sync::Arc;

use keepfs_fs::RenameMode;

use super::tree::{Body, Path, Shown, short_hash};
use crate::seeded::{Chance, noise};

/// Longest file a world makes, in bytes.
const LEN_MAX: u64 = 700_000;
/// Files that stay open at the same time.
const OPEN_MAX: usize = 4;
/// Names of everything. Few, so that calls meet each other.
const NAMES: [&[u8]; 7] = [b"a", b"b", b"c", b"d", b"\xff\xfe \n", &[b'n'; 255], b"e"];

/// Bytes that are told by their length and a few letters.
#[derive(Clone, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} bytes #{}", self.0.len(), short_hash(&self.0))
    }
}

/// A path that is told as text.
#[derive(Clone, PartialEq, Eq)]
pub struct Named(pub Path);

impl fmt::Debug for Named {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:.24}", String::from_utf8_lossy(&self.0).escape_debug().to_string())
    }
}

/// A file: by its name, or one that is open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Which {
    /// By its path.
    At(Named),
    /// The open file of this number.
    Open(usize),
}

/// A place in the tree: directory and name.
pub(super) type Spot = (Named, Named);

/// One call.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the fields are the arguments of the calls, in the order of POSIX")]
pub enum Action {
    /// Makes an empty file.
    Create(Spot),
    /// Makes a directory.
    MakeDirectory(Spot),
    /// Makes a symbolic link.
    Symlink(Spot, Bytes),
    /// Gives a further name.
    Link(Named, Spot),
    /// Takes a name away.
    Unlink(Spot),
    /// Takes an empty directory away.
    RemoveDirectory(Spot),
    /// Moves or exchanges.
    Rename(Spot, Spot, RenameMode),
    /// Writes.
    Write { file: Which, offset: u64, bytes: Bytes },
    /// Cuts or extends.
    Truncate { file: Which, size: u64 },
    /// Makes a hole.
    Punch { file: Which, offset: u64, len: u64 },
    /// Zeroes a range, and extends.
    Zero { file: Which, offset: u64, len: u64 },
    /// Copies a range.
    Copy { from: (Which, u64), to: (Which, u64), len: u64 },
    /// Reads a whole file.
    Read(Which),
    /// Sets permission bits.
    SetMode(Named, u16),
    /// Sets or removes an extended attribute.
    SetXattr(Named, Bytes, Option<Bytes>),
    /// Opens a file and keeps it open.
    Open(Named),
    /// Closes an open file.
    Close(usize),
    /// `fsync` of a file.
    SyncFile(Which),
    /// `fsync` of a directory.
    SyncDirectory,
    /// `sync`.
    SyncAll,
    /// Waits for the store.
    SyncStore,
}

impl Action {
    /// Whether its success is an acknowledgement that everything before it is durable.
    pub fn is_sync(&self) -> bool {
        matches!(self, Self::SyncFile(_) | Self::SyncDirectory | Self::SyncAll | Self::SyncStore)
    }
}

/// Draws calls.
pub(super) struct Draw<'a> {
    chance: &'a mut Chance,
    shown: &'a Shown,
    open: usize,
}

impl<'a> Draw<'a> {
    /// From what is there, and so many open files.
    pub(super) fn new(chance: &'a mut Chance, shown: &'a Shown, open: usize) -> Self {
        Self { chance, shown, open }
    }

    /// One call.
    pub(super) fn action(mut self) -> Action {
        match self.chance.below(48) {
            0..=4 => Action::Create(self.free_spot()),
            5 => Action::MakeDirectory(self.free_spot()),
            6 => Action::MakeDirectory(self.spot()),
            7 => Action::Symlink(self.spot(), Bytes(b"a/target".to_vec())),
            8..=9 => Action::Link(self.path(), self.free_spot()),
            10..=12 => Action::Unlink(self.spot()),
            13 => Action::RemoveDirectory(self.spot()),
            14..=18 => Action::Rename(self.spot(), self.spot(), self.rename_mode()),
            19..=28 => self.write(),
            29..=30 => Action::Truncate { file: self.file(), size: self.offset() },
            31 => Action::Punch { file: self.file(), offset: self.offset(), len: 1 + self.offset() },
            32 => Action::Zero { file: self.file(), offset: self.offset(), len: 1 + self.offset() / 8 },
            33 => self.copy(),
            34..=35 => Action::Read(self.file()),
            36 => Action::SetMode(self.path(), self.chance.below(0o1000) as u16),
            37 => self.set_xattr(),
            38..=39 if self.open < OPEN_MAX => Action::Open(self.path()),
            38..=40 if self.open > 0 => Action::Close(self.chance.below(self.open as u64) as usize),
            41..=43 => Action::SyncFile(self.file()),
            44 => Action::SyncDirectory,
            45 => Action::SyncAll,
            46 => Action::SyncStore,
            _ => Action::Create(self.free_spot()),
        }
    }

    fn name(&mut self) -> Named {
        // The last names are rare.
        let among = if self.chance.one_in(3) { NAMES.len() } else { 4 };
        Named(NAMES[self.chance.below(among as u64) as usize].to_vec())
    }

    fn spot(&mut self) -> Spot {
        // A name that is taken, as often as not.
        if self.chance.one_in(2) {
            let path = self.path().0;
            if let Some(cut) = path.iter().rposition(|byte| *byte == b'/') {
                return (Named(path[..cut].to_vec()), Named(path[cut + 1..].to_vec()));
            }
        }
        self.free_spot()
    }

    /// Any name in some directory; more often than not nothing is there.
    fn free_spot(&mut self) -> Spot {
        let is_shallow = |path: &Path| path.iter().filter(|byte| **byte == b'/').count() < 3;
        let directories = self.paths(|path, body| *body == Body::Directory && is_shallow(path));
        let directory = self.chance.pick(&directories).cloned().unwrap_or_default();
        (Named(directory), self.name())
    }

    fn paths(&self, fits: impl Fn(&Path, &Body) -> bool) -> Vec<Path> {
        let fitting = self.shown.iter().filter(|(path, item)| fits(path, &item.body));
        fitting.map(|(path, _)| path.clone()).collect()
    }

    /// Anything but the root.
    fn path(&mut self) -> Named {
        let all = self.paths(|path, _| !path.is_empty());
        Named(self.chance.pick(&all).cloned().unwrap_or_else(|| b"/a".to_vec()))
    }

    fn file(&mut self) -> Which {
        if self.open > 0 && self.chance.one_in(3) {
            return Which::Open(self.chance.below(self.open as u64) as usize);
        }
        if self.chance.one_in(12) {
            return Which::At(self.path());
        }
        let files = self.paths(|_, body| matches!(body, Body::File(_)));
        Which::At(Named(self.chance.pick(&files).cloned().unwrap_or_else(|| b"/a".to_vec())))
    }

    /// Mostly small, sometimes large, often at a border.
    fn offset(&mut self) -> u64 {
        match self.chance.below(8) {
            0 => 0,
            1..=3 => self.chance.below(300),
            4 => 4096 * self.chance.below(8),
            5..=6 => self.chance.below(70_000),
            _ => self.chance.below(LEN_MAX / 2),
        }
    }

    fn bytes(&mut self) -> Vec<u8> {
        let len = match self.chance.below(10) {
            0..=5 => 1 + self.chance.below(400),
            6..=8 => 1 + self.chance.below(30_000),
            _ => 1 + self.chance.below(LEN_MAX / 2),
        };
        // A few kinds of contents, so that chunks are found again.
        match self.chance.below(4) {
            0 => vec![0; len as usize],
            1 => b"the same words over and over. ".iter().copied().cycle().take(len as usize).collect(),
            _ => noise(self.chance.below(6), len as usize),
        }
    }

    fn write(&mut self) -> Action {
        let (file, bytes) = (self.file(), Bytes(self.bytes()));
        let len = match &file {
            Which::At(path) => match self.shown.get(&path.0).map(|item| &item.body) {
                Some(Body::File(bytes)) => bytes.len() as u64,
                _ => 0,
            },
            Which::Open(_) => 0,
        };
        let offset = if self.chance.one_in(3) { len } else { self.offset() };
        Action::Write { file, offset, bytes }
    }

    fn copy(&mut self) -> Action {
        let (from, to) = (self.file(), self.file());
        Action::Copy { from: (from, self.offset()), to: (to, self.offset()), len: 1 + self.offset() }
    }

    fn set_xattr(&mut self) -> Action {
        let name = Bytes(format!("user.{}", self.chance.below(3)).into_bytes());
        let value = (!self.chance.one_in(4)).then(|| Bytes(noise(self.chance.below(4), 40)));
        Action::SetXattr(self.path(), name, value)
    }

    fn rename_mode(&mut self) -> RenameMode {
        match self.chance.below(5) {
            0 => RenameMode::NoReplace,
            1..=2 => RenameMode::Exchange,
            _ => RenameMode::Replace,
        }
    }
}

/// A file without bytes.
pub(super) fn empty_file() -> Body {
    Body::File(Arc::default())
}
