//! The calls of short sequences over a tiny tree, and what such a tree shows.

use std::collections::BTreeMap;
use std::sync::Arc;

use keepfs_format::ids::Ino;
use keepfs_fs::home::RecoveryPhrase;
use keepfs_fs::{AttrSet, Fs, Kind, RenameMode};

use crate::support::{CALLER, Calls, Place};

/// One call of a sequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    Create,
    Write,
    Append,
    Truncate,
    Rename,
    RenameOver,
    Exchange,
    Link,
    Unlink,
    MakeDirectory,
    RemoveDirectory,
    SyncFile,
    SyncDirectory,
    SyncStore,
    Unmount,
}

pub(crate) const STEPS: [Step; 15] = [
    Step::Create,
    Step::Write,
    Step::Append,
    Step::Truncate,
    Step::Rename,
    Step::RenameOver,
    Step::Exchange,
    Step::Link,
    Step::Unlink,
    Step::MakeDirectory,
    Step::RemoveDirectory,
    Step::SyncFile,
    Step::SyncDirectory,
    Step::SyncStore,
    Step::Unmount,
];

impl Step {
    pub(crate) fn is_sync(self) -> bool {
        matches!(self, Self::SyncFile | Self::SyncDirectory | Self::SyncStore | Self::Unmount)
    }

    pub(crate) fn run(self, fs: &Fs) -> keepfs_fs::Result<()> {
        let root = Ino::ROOT;
        match self {
            Self::Create => fs.make(root, b"new", &node(Kind::File)).map(drop),
            Self::Write => with_file(fs, b"a", |handle, _| fs.write(handle, 2, b"WRITTEN", false).map(drop)),
            Self::Append => {
                with_file(fs, b"b", |handle, size| fs.write(handle, size, b"+more", false).map(drop))
            }
            Self::Truncate => with_file(fs, b"a", |handle, _| {
                let set = AttrSet { size: Some(3), ..AttrSet::default() };
                fs.set_attr(fs.lookup(root, b"a")?.ino, &set, Some(handle), CALLER).map(drop)
            }),
            Self::Rename => fs.rename((root, b"a"), (root, b"moved"), RenameMode::NoReplace),
            Self::RenameOver => fs.rename((root, b"b"), (root, b"a"), RenameMode::Replace),
            Self::Exchange => fs.rename((root, b"a"), (root, b"d"), RenameMode::Exchange),
            Self::Link => fs.link(fs.lookup(root, b"b")?.ino, root, b"linked").map(drop),
            Self::Unlink => fs.unlink(root, b"b"),
            Self::MakeDirectory => fs.make(root, b"made", &node(Kind::Directory)).map(drop),
            Self::RemoveDirectory => fs.rmdir(root, b"d"),
            Self::SyncFile => with_file(fs, b"b", |handle, _| fs.fsync(handle, false)),
            Self::SyncDirectory => fs.fsync_dir(root),
            Self::SyncStore => fs.sync_store(&mut |_| {}),
            Self::Unmount => fs.close(),
        }
    }
}

fn node(kind: Kind) -> keepfs_fs::NewNode<'static> {
    keepfs_fs::NewNode { kind, mode: 0o755, rdev: 0, target: b"", caller: CALLER }
}

fn with_file(
    fs: &Fs,
    name: &[u8],
    call: impl FnOnce(keepfs_fs::Handle, u64) -> keepfs_fs::Result<()>,
) -> keepfs_fs::Result<()> {
    let attr = fs.lookup(Ino::ROOT, name)?;
    let handle = fs.open(attr.ino, libc::O_RDWR)?.handle;
    let outcome = call(handle, attr.size);
    fs.release(handle)?;
    outcome
}

/// What a tree shows: names, kinds, links, contents.
pub(crate) type Shown = BTreeMap<String, (u32, Option<Vec<u8>>)>;

pub(crate) fn show(fs: &Fs) -> Shown {
    let mut shown = Shown::new();
    for name in fs.names(Ino::ROOT) {
        let attr = fs.lookup(Ino::ROOT, name.as_bytes()).unwrap();
        let content = (attr.kind == Kind::File).then(|| fs.get(Ino::ROOT, &name));
        shown.insert(name, (attr.nlink, content));
    }
    shown
}

/// A vault with a small tree, closed.
pub(crate) fn base() -> (Place, RecoveryPhrase) {
    let (place, phrase) = Place::found_closed(77);
    let fs = place.open_quiet(Arc::new(place.store.clone()), &phrase).unwrap();
    fs.put(Ino::ROOT, "a", b"content of a");
    fs.put(Ino::ROOT, "b", b"content of b");
    fs.directory(Ino::ROOT, "d");
    fs.close().unwrap();
    (place, phrase)
}

/// A sequence, and the commit that ends it.
pub(crate) fn with_commit(steps: &[Step]) -> impl Iterator<Item = &Step> {
    let ended = steps.contains(&Step::Unmount);
    steps.iter().chain((!ended).then_some(&Step::SyncDirectory))
}
