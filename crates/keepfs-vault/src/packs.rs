//! The packs that are staged or were published a moment ago, and the names of all others.
//!
//! It owns the handles of staged objects and bounds how many are open. It knows where a pack can be read
//! from; it never reads, seals or opens a chunk.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use keepfs_format::Env;
use keepfs_format::ids::PackId;
use keepfs_format::keys::NamespaceKeys;
use keepfs_store::{ObjectName, Retry, Staged, Staging, Store, StoreError, same_contents};
use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;

use crate::error::{Result, VaultError};
use crate::limits::{HANDLES_MAX, PACK_COUNTERS_TRIED_MAX, PACK_NAMES_MAX};
use crate::pack_file::PackFile;
use crate::queue::PublishPack;

/// Where packs grow.
#[derive(Clone)]
pub enum StagingPlace {
    /// Inside the store, which must have a staging place of its own: nothing is written twice.
    InStore,
    /// Somewhere else, usually on the local disk; publishing sends the object to the store.
    Separate(Arc<dyn Staging>),
}

/// The registry of packs.
pub(crate) struct Packs {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) keys: Arc<NamespaceKeys>,
    pub(crate) env: Arc<dyn Env>,
    /// A store that is read in place: no cache of sealed bytes is worth anything.
    pub(crate) is_local: bool,
    staging: StagingPlace,
    staged: RwLock<FxHashMap<PackId, Arc<PackFile>>>,
    /// Packs that take no more chunks and have an open handle, the longest waiting first.
    idle_handles: Mutex<VecDeque<Arc<PackFile>>>,
    names: RwLock<FxHashMap<PackId, ObjectName>>,
    /// Why nothing is written any more.
    poison: OnceLock<String>,
}

impl Packs {
    /// `Store(Invalid)` if packs shall grow inside a store that cannot do that.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        staging: StagingPlace,
        keys: Arc<NamespaceKeys>,
        env: Arc<dyn Env>,
    ) -> Result<Self> {
        if matches!(staging, StagingPlace::InStore) && store.staging().is_none() {
            return Err(StoreError::invalid("the store has no staging place").into());
        }
        let is_local = store.capabilities().local;
        Ok(Self {
            store,
            keys,
            env,
            is_local,
            staging,
            staged: RwLock::default(),
            idle_handles: Mutex::default(),
            names: RwLock::default(),
            poison: OnceLock::new(),
        })
    }

    /// `Poisoned` once a sync of a staged pack has failed.
    pub(crate) fn check(&self) -> Result<()> {
        match self.poison.get() {
            Some(what) => Err(VaultError::Poisoned { what: what.clone() }),
            None => Ok(()),
        }
    }

    /// A sync of this pack has failed: what the disk holds is unknown from here on, and nothing may be
    /// acknowledged any more. Gives the error that everybody is told from now on.
    pub(crate) fn poison(&self, pack: &PackFile, error: &dyn std::fmt::Display) -> VaultError {
        let what = || format!("pack {:#x}: {error}", pack.id.0);
        VaultError::Poisoned { what: self.poison.get_or_init(what).clone() }
    }

    /// Where packs grow.
    pub(crate) fn staging(&self) -> Result<&dyn Staging> {
        match &self.staging {
            StagingPlace::Separate(staging) => Ok(&**staging),
            StagingPlace::InStore => {
                self.store.staging().ok_or_else(|| StoreError::invalid("the staging place is gone").into())
            }
        }
    }

    /// A pack's object name.
    pub(crate) fn name(&self, pack: PackId) -> Result<ObjectName> {
        if let Some(name) = self.names.read().get(&pack) {
            return Ok(name.clone());
        }
        let name = ObjectName::new(&self.keys.pack_name(pack))?;
        let mut names = self.names.write();
        if names.len() >= PACK_NAMES_MAX {
            // They are cheap to compute again; which ones go does not matter.
            names.clear();
        }
        names.insert(pack, name.clone());
        Ok(name)
    }

    /// A staged or recently published pack.
    pub(crate) fn get(&self, pack: PackId) -> Option<Arc<PackFile>> {
        self.staged.read().get(&pack).cloned()
    }

    /// Takes a staged pack in.
    pub(crate) fn insert(&self, pack: Arc<PackFile>) {
        self.staged.write().insert(pack.id, pack);
    }

    /// The open handle of a pack that can be read from one.
    pub(crate) fn handle(&self, pack: PackId) -> Result<Option<Arc<dyn Staged>>> {
        let Some(pack) = self.get(pack) else { return Ok(None) };
        let Some((staged, is_reopened)) = pack.reader(self.staging()?)? else { return Ok(None) };
        if is_reopened {
            self.note_idle(&pack);
        }
        Ok(Some(staged))
    }

    /// A new staged pack under the first counter that is free in the staging place.
    pub(crate) fn create(&self, mut next: impl FnMut() -> Result<PackId>) -> Result<Arc<PackFile>> {
        for _ in 0..PACK_COUNTERS_TRIED_MAX {
            let id = next()?;
            let name = self.name(id)?;
            match self.staging()?.create(&name) {
                Ok(staged) => {
                    let pack = Arc::new(PackFile::new(id, name, staged));
                    self.insert(pack.clone());
                    return Ok(pack);
                }
                // A crash left it and nobody needed it; recovery decides about it, not this pack.
                Err(StoreError::Exists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::io_never("staged packs of earlier runs stand under all names that were tried").into())
    }

    /// Removes a staged pack that holds nothing.
    pub(crate) fn discard(&self, pack: &PackFile) -> Result<()> {
        self.staged.write().remove(&pack.id);
        self.idle_handles.lock().retain(|other| other.id != pack.id);
        Ok(self.staging()?.discard(&pack.name)?)
    }

    /// The pack takes no more chunks and its handle was opened or used: it is the last to be let go when
    /// there are too many.
    pub(crate) fn note_idle(&self, pack: &Arc<PackFile>) {
        let mut idle = self.idle_handles.lock();
        idle.retain(|other| other.id != pack.id);
        idle.push_back(pack.clone());
        let surplus = if idle.len() > HANDLES_MAX { idle.pop_front() } else { None };
        drop(idle);
        if let Some(surplus) = surplus {
            self.release(&surplus);
        }
    }

    fn release(&self, pack: &PackFile) {
        pack.handle.release();
        if pack.is_published() {
            self.staged.write().remove(&pack.id);
        }
    }

    /// Packs that are staged, and their bytes.
    pub(crate) fn staged_total(&self) -> (usize, u64) {
        let staged = self.staged.read();
        let waiting = staged.values().filter(|pack| !pack.is_published());
        waiting.fold((0, 0), |(count, bytes), pack| (count + 1, bytes + pack.len()))
    }

    fn publish(&self, pack: &Arc<PackFile>) -> Result<()> {
        let Some(object_len) = pack.seal(&self.keys, &*self.env, self.staging()?)? else {
            // Every write to it failed and was taken back.
            return self.discard(pack);
        };
        let staged = pack.handle.get(&pack.name, self.staging()?)?;
        match staged.publish() {
            Err(StoreError::Exists { .. }) => {
                self.check_same(pack, &*staged, object_len)?;
                self.staging()?.discard(&pack.name)?;
            }
            // Publishing syncs once more. Where that was what failed, every later sync fails for good, and trying
            // again would only hide it.
            Err(error) => match staged.sync() {
                Err(lost) if lost.retry() == Retry::Never => return Err(self.poison(pack, &lost)),
                _ => return Err(error.into()),
            },
            Ok(()) => {}
        }
        pack.set_published();
        if self.is_local {
            self.note_idle(pack);
        } else {
            // What was staged is on the store or in the cache now; an open handle would keep its bytes on
            // the local disk besides.
            self.idle_handles.lock().retain(|other| other.id != pack.id);
            drop(staged);
            self.release(pack);
        }
        Ok(())
    }

    /// An earlier try may have succeeded and its answer been lost. Then the same bytes stand under the name.
    fn check_same(&self, pack: &PackFile, staged: &dyn Staged, object_len: u64) -> Result<()> {
        let mut read = |offset: u64, out: &mut [u8]| staged.read_at(offset, out);
        if same_contents(&*self.store, &pack.name, object_len, &mut read)? {
            Ok(())
        } else {
            Err(VaultError::NameTaken { object: pack.name.to_string() })
        }
    }
}

/// The publisher's job for one pack.
pub(crate) struct PackJob {
    packs: Arc<Packs>,
    pack: Arc<PackFile>,
}

impl PackJob {
    pub(crate) fn new(packs: Arc<Packs>, pack: Arc<PackFile>) -> Self {
        Self { packs, pack }
    }
}

impl PublishPack for PackJob {
    fn publish(&self) -> Result<()> {
        self.packs.publish(&self.pack)
    }

    fn is_ready(&self) -> bool {
        self.pack.is_complete()
    }

    fn pack(&self) -> PackId {
        self.pack.id
    }

    fn len(&self) -> u64 {
        self.pack.len()
    }
}
