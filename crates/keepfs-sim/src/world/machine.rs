//! One machine of a world, running or not. It owns that disk and store die together, and how a session begins
//! and ends.

use std::sync::Arc;

use keepfs_fs::home::{self, RecoveryPhrase, UnlockSecret};
use keepfs_fs::{Durability, Fs, Options, Result};
use keepfs_store::{Fault, FaultStore, Faults, Store};

use super::trouble;
use crate::place::Place;
use crate::seeded::Chance;

/// A founded vault, to be forked for each world: founding hashes a password.
pub struct Vault {
    place: Place,
    phrase: RecoveryPhrase,
}

impl Vault {
    /// Founds one.
    ///
    /// # Errors
    /// What founding says.
    pub fn found() -> Result<Self> {
        let (place, phrase, _) = Place::found(77)?;
        Ok(Self { place, phrase })
    }

    /// The machine that founded it, on a store and a disk of its own, with settings that follow from the seed.
    pub fn machine(&self, seed: u64) -> Machine<'_> {
        let place = self.place.fork(seed);
        let mut chance = Chance::new(!seed);
        let mut options = place.quiet_options();
        options.checkpoint_operations = [1, 6, 25, 100][chance.below(4) as usize];
        options.journal.file_len = [64 << 10, 256 << 10, 1 << 20][chance.below(3) as usize];
        options.block_cache_len_max = [0, 1 << 20][chance.below(2) as usize];
        options.durability = if chance.one_in(8) { Durability::Remote } else { Durability::Local };
        Machine { place, faults: Faults::none(), options, phrase: &self.phrase }
    }
}

/// One machine before a store.
pub struct Machine<'a> {
    /// Its disk, and the store.
    pub place: Place,
    /// What goes wrong with the store in this session.
    pub faults: Arc<Faults>,
    options: Options,
    phrase: &'a RecoveryPhrase,
}

impl Machine<'_> {
    /// Whether every sync waits for the store.
    pub fn syncs_to_store(&self) -> bool {
        self.options.durability == Durability::Remote
    }

    /// The store as a new session sees it, with faults of its own.
    fn store(&mut self) -> Arc<dyn Store> {
        let faults = Faults::none();
        faults.keep_puts_whole();
        let (disk, env) = (self.place.disk.clone(), self.place.env.clone());
        let itself = Arc::downgrade(&faults);
        faults.on_call(Box::new(move |call| {
            // An answer takes its time.
            env.advance(i64::from(call.number as u8) % 7);
            match call.fault {
                Some(Fault::Crash(_)) => disk.stop(),
                _ if disk.is_stopped() => itself.upgrade().iter().for_each(|faults| faults.crash()),
                _ => {}
            }
        }));
        self.faults = faults;
        Arc::new(FaultStore::new(Arc::new(self.place.store.clone()), self.faults.clone()))
    }

    /// Opens the vault, with `trouble` from the first call on.
    ///
    /// # Errors
    /// What opening says.
    pub fn open(&mut self, trouble: trouble::Trouble) -> Result<Fs> {
        let store = self.store();
        trouble.begin(&self.place.disk, &self.faults);
        self.place.open(store, self.phrase, self.options.clone())
    }

    /// Another machine that has nothing but the store, joined and open; this one is gone.
    ///
    /// # Errors
    /// What joining and opening say. The machine is then one that began to join.
    pub fn join(&mut self, seed: u64, trouble: trouble::Trouble) -> Result<Fs> {
        self.place = Place::beside(self.place.store.clone(), seed);
        let store = self.store();
        trouble.begin(&self.place.disk, &self.faults);
        let secret = UnlockSecret::Phrase(self.phrase);
        let unlocked = home::join(&self.place.site(&*store), secret, "another")?;
        self.place.start(store, unlocked, self.options.clone())
    }

    /// Whether it has died.
    pub fn is_dead(&self) -> bool {
        self.faults.is_crashed() || self.place.disk.is_stopped()
    }

    /// The process ends where it stands: whatever it still does has no effect.
    pub fn kill(&self, fs: Option<Fs>) {
        self.faults.crash();
        self.place.disk.stop();
        drop(fs);
        self.place.disk.end_process();
    }

    /// The same with the power, which takes along what was not durable.
    pub fn cut_power(&self, fs: Option<Fs>, seed: u64) {
        self.faults.crash();
        self.place.disk.stop();
        drop(fs);
        self.place.power_cut(seed);
    }

    /// Everything works for as long as `look` takes.
    pub fn in_peace<T>(&self, trouble: trouble::Trouble, look: impl FnOnce() -> T) -> T {
        trouble::end(&self.place.disk, &self.faults);
        let seen = look();
        trouble.begin(&self.place.disk, &self.faults);
        seen
    }
}
