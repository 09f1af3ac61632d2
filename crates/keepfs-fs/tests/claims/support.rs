//! A vault over memory and calls as programs make them; what does not work is a panic.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use keepfs_fs::home::{self, RecoveryPhrase, UnlockSecret};
use keepfs_fs::{Attr, Fs, Handle, Ino, Kind, NewNode};
use keepfs_sim::PASSWORD;
pub(crate) use keepfs_sim::{CALLER, noise};
use keepfs_store::Store;

/// A vault and one machine's disk.
pub(crate) struct Place(keepfs_sim::Place);

impl Deref for Place {
    type Target = keepfs_sim::Place;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Place {
    /// A new vault, not open, and the phrase that opens it without hashing a password.
    pub(crate) fn found_closed(seed: u64) -> (Self, RecoveryPhrase) {
        let (place, phrase, _) = keepfs_sim::Place::found(seed).unwrap();
        (Self(place), phrase)
    }

    /// The same vault and machine, on a store and a disk of their own.
    pub(crate) fn fork(&self, seed: u64) -> Self {
        Self(self.0.fork(seed))
    }

    /// The same machine on the same store, with its disk as it is now: what a backup would bring back later.
    pub(crate) fn with_older_disk(&self) -> Self {
        Self(keepfs_sim::Place {
            store: self.store.clone(),
            disk: Arc::new(self.disk.fork()),
            env: self.env.clone(),
            state_dir: self.state_dir.clone(),
        })
    }

    /// Opens without threads: nothing happens but what calls do.
    pub(crate) fn open_quiet(&self, store: Arc<dyn Store>, phrase: &RecoveryPhrase) -> keepfs_fs::Result<Fs> {
        let mut options = self.quiet_options();
        // Every sync to the store makes a checkpoint, so that crashes hit that as well.
        options.checkpoint_operations = 1;
        self.open(store, phrase, options)
    }

    /// A new vault.
    pub(crate) fn found(seed: u64) -> (Self, Fs) {
        let (place, _, unlocked) = keepfs_sim::Place::found(seed).unwrap();
        let fs = place.start(Arc::new(place.store.clone()), unlocked, place.options()).unwrap();
        (Self(place), fs)
    }

    /// A new vault whose clock does nothing: bytes go into chunks only because there are many of them, or on call.
    pub(crate) fn found_calm(seed: u64) -> (Self, Fs) {
        let (place, _, unlocked) = keepfs_sim::Place::found(seed).unwrap();
        let mut options = place.options();
        options.commit_interval = Duration::from_secs(3600);
        options.publish_interval = Duration::from_secs(3600);
        let fs = place.start(Arc::new(place.store.clone()), unlocked, options).unwrap();
        (Self(place), fs)
    }

    /// Another machine that has nothing but the store and the password.
    pub(crate) fn join_elsewhere(&self, seed: u64) -> (Self, Fs) {
        let place = Self(keepfs_sim::Place::beside(self.store.clone(), seed));
        let secret = UnlockSecret::Password(PASSWORD);
        let unlocked = home::join(&place.site(&place.store), secret, "second").unwrap();
        let fs = place.start(Arc::new(place.store.clone()), unlocked, place.options()).unwrap();
        (place, fs)
    }

    /// The same machine again, only to look.
    pub(crate) fn reopen_read_only(&self) -> Fs {
        let mut options = self.options();
        options.read_only = true;
        self.try_open(options).unwrap()
    }

    /// The same machine again, if it may.
    pub(crate) fn try_reopen(&self) -> keepfs_fs::Result<Fs> {
        self.try_open(self.options())
    }

    /// The same machine again.
    pub(crate) fn reopen(&self) -> Fs {
        self.try_reopen().unwrap()
    }

    fn try_open(&self, options: keepfs_fs::Options) -> keepfs_fs::Result<Fs> {
        let unlocked = home::unlock(&self.site(&self.store), UnlockSecret::Password(PASSWORD))?;
        self.start(Arc::new(self.store.clone()), unlocked, options)
    }
}

/// Calls as programs make them.
pub(crate) trait Calls {
    fn file(&self, parent: Ino, name: &str) -> (Attr, Handle);
    fn directory(&self, parent: Ino, name: &str) -> Ino;
    fn put(&self, parent: Ino, name: &str, bytes: &[u8]);
    fn get(&self, parent: Ino, name: &str) -> Vec<u8>;
    fn names(&self, directory: Ino) -> Vec<String>;
}

impl Calls for Fs {
    fn file(&self, parent: Ino, name: &str) -> (Attr, Handle) {
        let node = NewNode { kind: Kind::File, mode: 0o644, rdev: 0, target: b"", caller: CALLER };
        let (attr, opened) = self.create(parent, name.as_bytes(), &node, libc::O_RDWR).unwrap();
        (attr, opened.handle)
    }

    fn directory(&self, parent: Ino, name: &str) -> Ino {
        let node = NewNode { kind: Kind::Directory, mode: 0o755, rdev: 0, target: b"", caller: CALLER };
        self.make(parent, name.as_bytes(), &node).unwrap().ino
    }

    fn put(&self, parent: Ino, name: &str, bytes: &[u8]) {
        let (_, handle) = self.file(parent, name);
        for (at, piece) in bytes.chunks(1 << 20).enumerate() {
            assert_eq!(self.write(handle, (at << 20) as u64, piece, false).unwrap(), piece.len());
        }
        self.release(handle).unwrap();
    }

    fn get(&self, parent: Ino, name: &str) -> Vec<u8> {
        let attr = self.lookup(parent, name.as_bytes()).unwrap();
        let handle = self.open(attr.ino, libc::O_RDONLY).unwrap().handle;
        let (mut whole, mut part) = (Vec::new(), Vec::new());
        loop {
            self.read(handle, whole.len() as u64, 1 << 20, &mut part).unwrap();
            if part.is_empty() {
                break;
            }
            whole.extend_from_slice(&part);
        }
        self.release(handle).unwrap();
        assert_eq!(whole.len() as u64, attr.size);
        whole
    }

    fn names(&self, directory: Ino) -> Vec<String> {
        let handle = self.open_dir(directory).unwrap();
        let mut names = Vec::new();
        self.read_dir(handle, 0, &mut |item| {
            names.push(String::from_utf8(item.name.to_vec()).unwrap());
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
        self.release_dir(handle).unwrap();
        names.retain(|name| name != "." && name != "..");
        names.sort();
        names
    }
}
