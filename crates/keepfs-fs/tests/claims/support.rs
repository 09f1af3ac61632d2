//! A vault over memory: a store, a local disk that can lose power, time and randomness from a seed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use keepfs_format::compress::Compression;
use keepfs_format::env::Env;
use keepfs_fs::disk::{FaultyDisk, LocalDisk};
use keepfs_fs::home::{self, KdfParams, NewVault, RecoveryPhrase, Site, UnlockSecret, Unlocked};
use keepfs_fs::{Attr, Caller, Fs, Handle, Ino, Kind, NewNode, Options, Time, World};
use keepfs_store::{MemoryStore, Store};
use parking_lot::Mutex;

/// The password of every vault here.
pub(crate) const PASSWORD: &[u8] = b"correct horse";
/// Who makes everything here.
pub(crate) const CALLER: Caller = Caller { uid: 1000, gid: 1000, pid: 1 };

/// Time that only moves when it is asked, randomness from a seed.
pub(crate) struct SeededEnv {
    now_ms: AtomicI64,
    state: Mutex<u64>,
}

impl SeededEnv {
    pub(crate) fn new(seed: u64) -> Self {
        Self { now_ms: AtomicI64::new(1_700_000_000_000), state: Mutex::new(seed | 1) }
    }
}

impl Env for SeededEnv {
    fn now(&self) -> Time {
        let ms = self.now_ms.fetch_add(1, Ordering::Relaxed);
        Time { secs: ms / 1000, nanos: (ms % 1000) as u32 * 1_000_000 }
    }

    fn fill(&self, out: &mut [u8]) {
        let mut state = self.state.lock();
        for byte in out {
            *state ^= *state << 13;
            *state ^= *state >> 7;
            *state ^= *state << 17;
            *byte = (*state >> 32) as u8;
        }
    }
}

/// A vault and one machine's disk.
pub(crate) struct Place {
    pub(crate) store: MemoryStore,
    pub(crate) disk: Arc<FaultyDisk>,
    pub(crate) env: Arc<SeededEnv>,
    pub(crate) state_dir: PathBuf,
}

impl Place {
    /// A new vault, not open, and the phrase that opens it without hashing a password.
    pub(crate) fn found_closed(seed: u64) -> (Self, RecoveryPhrase) {
        let place = Self::beside(MemoryStore::new(), seed);
        let (phrase, _) = home::init(&place.site(), &Self::new_vault()).unwrap();
        (place, phrase)
    }

    /// The same vault and machine, on a store and a disk of their own.
    pub(crate) fn fork(&self, seed: u64) -> Self {
        Self {
            store: self.store.fork(),
            disk: Arc::new(self.disk.fork()),
            env: Arc::new(SeededEnv::new(seed)),
            state_dir: self.state_dir.clone(),
        }
    }

    /// Opens without threads: nothing happens but what calls do.
    pub(crate) fn open_quiet(&self, store: Arc<dyn Store>, phrase: &RecoveryPhrase) -> keepfs_fs::Result<Fs> {
        let unlocked = home::unlock(&self.site(), UnlockSecret::Phrase(phrase))?;
        let world = World { store, ..self.world(unlocked) };
        let mut options = Self::options(&self.state_dir);
        options.background = false;
        // Every sync to the store makes a checkpoint, so that crashes hit that as well.
        options.checkpoint_operations = 1;
        options.prefetch_threads = 0;
        Fs::start(world, options)
    }

    fn new_vault() -> NewVault<'static> {
        NewVault {
            password: PASSWORD,
            kdf: KdfParams::FLOOR,
            user_name: "founder",
            machine_name: "first",
            compression: Compression::Zstd(1),
        }
    }

    /// A new vault.
    pub(crate) fn found(seed: u64) -> (Self, Fs) {
        let place = Self::beside(MemoryStore::new(), seed);
        let (_, unlocked) = home::init(&place.site(), &Self::new_vault()).unwrap();
        let fs = place.start(unlocked);
        (place, fs)
    }

    fn beside(store: MemoryStore, seed: u64) -> Self {
        let state_dir = PathBuf::from("/state");
        let disk = Arc::new(FaultyDisk::new(Path::new("/")));
        Self { store, disk, env: Arc::new(SeededEnv::new(seed)), state_dir }
    }

    /// Another machine that has nothing but the store and the password.
    pub(crate) fn join_elsewhere(&self, seed: u64) -> (Self, Fs) {
        let place = Self::beside(self.store.clone(), seed);
        let unlocked = home::join(&place.site(), UnlockSecret::Password(PASSWORD), "second").unwrap();
        let fs = place.start(unlocked);
        (place, fs)
    }

    fn site(&self) -> Site<'_> {
        Site { store: Some(&self.store), disk: &*self.disk, state_dir: &self.state_dir, env: &*self.env }
    }

    fn start(&self, unlocked: Unlocked) -> Fs {
        self.try_start(unlocked).unwrap()
    }

    fn try_start(&self, unlocked: Unlocked) -> keepfs_fs::Result<Fs> {
        Fs::start(self.world(unlocked), Self::options(&self.state_dir))
    }

    /// The same machine again, only to look.
    pub(crate) fn reopen_read_only(&self) -> Fs {
        let unlocked = home::unlock(&self.site(), UnlockSecret::Password(PASSWORD)).unwrap();
        let mut options = Self::options(&self.state_dir);
        options.read_only = true;
        Fs::start(self.world(unlocked), options).unwrap()
    }

    /// The same machine again, if it may.
    pub(crate) fn try_reopen(&self) -> keepfs_fs::Result<Fs> {
        self.try_start(home::unlock(&self.site(), UnlockSecret::Password(PASSWORD))?)
    }

    /// The same machine again.
    pub(crate) fn reopen(&self) -> Fs {
        self.start(home::unlock(&self.site(), UnlockSecret::Password(PASSWORD)).unwrap())
    }

    fn world(&self, unlocked: Unlocked) -> World {
        World {
            store: Arc::new(self.store.clone()) as Arc<dyn Store>,
            staging: None,
            cache: None,
            disk: self.disk.clone() as Arc<dyn LocalDisk>,
            env: self.env.clone(),
            unlocked,
        }
    }

    fn options(state_dir: &Path) -> Options {
        let mut options = Options::new(state_dir.to_owned());
        options.publish_interval = Duration::from_millis(300);
        options.checkpoint_operations = 50;
        options.journal.file_len = 256 << 10;
        options.owner = (1000, 1000);
        options
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
        self.flush(handle).unwrap();
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

/// Bytes that neither compress nor repeat.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    SeededEnv::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)).fill(&mut out);
    out
}
