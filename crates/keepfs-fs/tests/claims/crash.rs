//! Every sequence of two calls over a tiny tree, with a crash at every call of disk and store.
//!
//! The oracle is a pure model: after the crash the tree is what it was after some step of the sequence, and no
//! older than the last step that was acknowledged as durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use keepfs_format::ids::Ino;
use keepfs_fs::disk::Trouble;
use keepfs_fs::home::RecoveryPhrase;
use keepfs_fs::{AttrSet, Fs, Kind, RenameMode};
use keepfs_store::{FaultStore, Faults, Moment, Store};

use crate::support::{CALLER, Calls, Place};

/// One call of a sequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
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

const STEPS: [Step; 15] = [
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
    fn is_sync(self) -> bool {
        matches!(self, Self::SyncFile | Self::SyncDirectory | Self::SyncStore | Self::Unmount)
    }

    fn run(self, fs: &Fs) -> keepfs_fs::Result<()> {
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
type Shown = BTreeMap<String, (u32, Option<Vec<u8>>)>;

fn show(fs: &Fs) -> Shown {
    let mut shown = Shown::new();
    for name in fs.names(Ino::ROOT) {
        let attr = fs.lookup(Ino::ROOT, name.as_bytes()).unwrap();
        let content = (attr.kind == Kind::File).then(|| fs.get(Ino::ROOT, &name));
        shown.insert(name, (attr.nlink, content));
    }
    shown
}

/// Where a crash happens.
#[derive(Clone, Copy, Debug)]
enum Crash {
    Disk(u64),
    Store(u64, Moment),
}

/// A vault with a small tree, closed.
fn base() -> (Place, RecoveryPhrase) {
    let (place, phrase) = Place::found_closed(77);
    let fs = place.open_quiet(Arc::new(place.store.clone()), &phrase).unwrap();
    fs.put(Ino::ROOT, "a", b"content of a");
    fs.put(Ino::ROOT, "b", b"content of b");
    fs.directory(Ino::ROOT, "d");
    fs.close().unwrap();
    (place, phrase)
}

/// A sequence, and the commit that ends it.
fn with_commit(steps: &[Step]) -> impl Iterator<Item = &Step> {
    let ended = steps.contains(&Step::Unmount);
    steps.iter().chain((!ended).then_some(&Step::SyncDirectory))
}

/// What a sequence shows after each step, and how many calls of the disk and writes of the store it makes.
fn rehearse(base: &(Place, RecoveryPhrase), steps: &[Step]) -> (Vec<Shown>, u64, u64) {
    let place = base.0.fork(1);
    let faults = Faults::none();
    let store: Arc<dyn Store> = Arc::new(FaultStore::new(Arc::new(place.store.clone()), faults.clone()));
    let fs = place.open_quiet(store, &base.1).unwrap();
    place.disk.set_trouble(None);
    let mut history = vec![show(&fs)];
    for step in with_commit(steps) {
        // A call that does not fit the tree (a rename onto what is there) fails, and changes nothing.
        drop(step.run(&fs));
        history.push(show(&fs));
    }
    (history, place.disk.calls(), faults.writes())
}

/// Runs a sequence up to a crash, opens again, and checks what is there.
fn check(base: &(Place, RecoveryPhrase), steps: &[Step], history: &[Shown], crash: Crash, seed: u64) {
    let place = base.0.fork(1);
    let faults = match crash {
        Crash::Store(number, moment) => Faults::crash_at_write(number, moment),
        Crash::Disk(_) => Faults::none(),
    };
    let store: Arc<dyn Store> = Arc::new(FaultStore::new(Arc::new(place.store.clone()), faults));
    if let Ok(fs) = place.open_quiet(store, &base.1) {
        place.disk.set_trouble(match crash {
            Crash::Disk(call) => Some(Trouble::PowerOff { call }),
            Crash::Store(..) => None,
        });
        let mut acknowledged = 0;
        for (at, step) in with_commit(steps).enumerate() {
            if step.run(&fs).is_ok() && step.is_sync() {
                acknowledged = at + 1;
            }
        }
        drop(fs);
        verify(&place, &base.1, &history[acknowledged..], (steps, crash, seed));
    } else {
        assert!(matches!(crash, Crash::Store(..)), "only a crash of the store may hit the open");
        verify(&place, &base.1, &history[..1], (steps, crash, seed));
    }
}

fn verify(
    place: &Place,
    phrase: &RecoveryPhrase,
    allowed: &[Shown],
    (steps, crash, seed): (&[Step], Crash, u64),
) {
    place.disk.power_cut(seed);
    let fs = place.open_quiet(Arc::new(place.store.clone()), phrase).unwrap_or_else(|error| {
        panic!("{steps:?} {crash:?} seed {seed}: the vault does not open: {error}");
    });
    let found = show(&fs);
    assert!(allowed.contains(&found), "{steps:?} {crash:?} seed {seed}: found {found:?}, not in {allowed:?}");
}

/// Crashes one sequence everywhere; returns at how many places.
fn crash_everywhere(base: &(Place, RecoveryPhrase), steps: &[Step], seed: u64) -> u64 {
    let (history, disk_calls, store_writes) = rehearse(base, steps);
    for call in 0..disk_calls {
        check(base, steps, &history, Crash::Disk(call), seed + call);
    }
    for write in 0..store_writes {
        for moment in Moment::ALL {
            check(base, steps, &history, Crash::Store(write, moment), seed + write);
        }
    }
    disk_calls + store_writes * Moment::ALL.len() as u64
}

#[test]
fn every_pair_of_calls_survives_a_crash_at_every_call() {
    let base = base();
    let (mut sequences, mut crashes) = (0_u64, 0_u64);
    for first in STEPS {
        if first == Step::Unmount {
            continue;
        }
        for second in STEPS {
            crashes += crash_everywhere(&base, &[first, second], sequences);
            sequences += 1;
        }
    }
    println!("{sequences} sequences, {crashes} crashes, 0 violations");
}

/// What a checkpoint leaves for the next cut must not go to the database before the cut does.
#[test]
fn a_call_between_two_checkpoints_survives_a_crash_at_every_call() {
    let base = base();
    let (mut sequences, mut crashes) = (0_u64, 0_u64);
    for between in STEPS {
        if between == Step::Unmount {
            continue;
        }
        for last in [Step::SyncStore, Step::Unmount] {
            crashes += crash_everywhere(&base, &[Step::SyncStore, between, last], sequences);
            sequences += 1;
        }
    }
    println!("{sequences} sequences, {crashes} crashes, 0 violations");
}
