//! A vault and one machine's disk, both in memory: where tests of the whole file system happen.
//!
//! It owns how such a vault is founded, opened and joined. It never decides what goes wrong: the disk and
//! whatever store is put around the one in memory do.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use keepfs_format::compress::Compression;
use keepfs_fs::disk::{FaultyDisk, LocalDisk};
use keepfs_fs::home::{self, KdfParams, NewVault, RecoveryPhrase, Site, UnlockSecret, Unlocked};
use keepfs_fs::{Caller, Fs, Options, Result, World};
use keepfs_store::{MemoryStore, Store};

use crate::seeded::SeededEnv;

/// The password of every vault here.
pub const PASSWORD: &[u8] = b"correct horse";
/// Who makes everything here.
pub const CALLER: Caller = Caller { uid: 1000, gid: 1000, pid: 1 };

/// A vault and one machine's disk.
pub struct Place {
    /// The store. Clones are the same store.
    pub store: MemoryStore,
    /// The machine's disk.
    pub disk: Arc<FaultyDisk>,
    /// Time and randomness.
    pub env: Arc<SeededEnv>,
    /// The directory of the machine's state.
    pub state_dir: PathBuf,
}

impl Place {
    /// A new vault, not open: the phrase opens it without hashing a password.
    pub fn found(seed: u64) -> Result<(Self, RecoveryPhrase, Unlocked)> {
        Self::found_on(MemoryStore::new(), seed)
    }

    /// The same on this store.
    pub fn found_on(store: MemoryStore, seed: u64) -> Result<(Self, RecoveryPhrase, Unlocked)> {
        let place = Self::beside(store, seed);
        let new = NewVault {
            password: PASSWORD,
            kdf: KdfParams::FLOOR,
            user_name: "founder",
            machine_name: "first",
            compression: Compression::Zstd(1),
        };
        let (phrase, unlocked) = home::init(&place.site(&place.store), &new)?;
        Ok((place, phrase, unlocked))
    }

    /// A machine with an empty disk, before a store.
    pub fn beside(store: MemoryStore, seed: u64) -> Self {
        let disk = Arc::new(FaultyDisk::new(Path::new("/")));
        Self { store, disk, env: Arc::new(SeededEnv::new(seed)), state_dir: PathBuf::from("/state") }
    }

    /// The same vault and machine, on a store and a disk of their own.
    pub fn fork(&self, seed: u64) -> Self {
        Self {
            store: self.store.fork(),
            disk: Arc::new(self.disk.fork()),
            env: Arc::new(SeededEnv::new(seed)),
            state_dir: self.state_dir.clone(),
        }
    }

    /// Where the doors of a vault find it.
    pub fn site<'a>(&'a self, store: &'a dyn Store) -> Site<'a> {
        Site { store: Some(store), disk: &*self.disk, state_dir: &self.state_dir, env: &*self.env }
    }

    /// Settings under which a small tree meets every limit soon.
    pub fn options(&self) -> Options {
        let mut options = Options::new(self.state_dir.clone());
        options.publish_interval = Duration::from_millis(300);
        options.checkpoint_operations = 50;
        options.journal.file_len = 256 << 10;
        options.owner = (CALLER.uid, CALLER.gid);
        options
    }

    /// The same without threads: nothing happens but what calls do.
    pub fn quiet_options(&self) -> Options {
        let mut options = self.options();
        options.background = false;
        options.prefetch_threads = 0;
        options
    }

    /// Opens an unlocked vault over a store.
    pub fn start(&self, store: Arc<dyn Store>, unlocked: Unlocked, options: Options) -> Result<Fs> {
        let world = World {
            store,
            staging: None,
            cache: None,
            disk: self.disk.clone() as Arc<dyn LocalDisk>,
            env: self.env.clone(),
            unlocked,
        };
        Fs::start(world, options)
    }

    /// Unlocks with the phrase, and opens.
    pub fn open(&self, store: Arc<dyn Store>, phrase: &RecoveryPhrase, options: Options) -> Result<Fs> {
        let unlocked = home::unlock(&self.site(&*store), UnlockSecret::Phrase(phrase))?;
        self.start(store, unlocked, options)
    }

    /// What a power cut leaves of disk and store, as a seed decides.
    pub fn power_cut(&self, seed: u64) {
        self.disk.power_cut(seed);
        let mut chance = crate::seeded::Chance::new(seed);
        self.store.cut_power(&mut || chance.word());
    }
}
