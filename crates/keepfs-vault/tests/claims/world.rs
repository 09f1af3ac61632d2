//! A small world around a chunk space: a memory store that survives it, an index, a clock, a seed.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use keepfs_format::Env;
use keepfs_format::ids::{ChunkId, Locator, MachineTag, NamespaceId, PackId, Time, VaultId};
use keepfs_format::keys::{NamespaceKeys, NamespaceSecrets};
use keepfs_format::op::{Op, PackedChunk};
use keepfs_format::secret::Secret;
use keepfs_store::{MemoryStore, Store};
use keepfs_vault::{ChunkIndex, ChunkSpace, SpaceOptions, Stored, VaultError};
use parking_lot::Mutex;

pub(crate) const MACHINE: MachineTag = MachineTag(5);

/// A generator whose seed tells everything it will ever say.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.word() % limit
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(len + 8);
        while out.len() < len {
            out.extend_from_slice(&self.word().to_le_bytes());
        }
        out.truncate(len);
        out
    }
}

pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    Noise(seed).bytes(len)
}

/// Bytes that compress about as source text does.
pub(crate) fn text(seed: u64, len: usize) -> Vec<u8> {
    let mut noise = Noise(seed);
    let mut out = Vec::with_capacity(len + 64);
    while out.len() < len {
        let line = format!("    let value_{} = compute({:x});\n", noise.below(40), noise.below(1 << 20));
        out.extend_from_slice(line.as_bytes());
    }
    out.truncate(len);
    out
}

/// A seed from the environment, else this one.
pub(crate) fn seeds(count: u64) -> std::ops::Range<u64> {
    match std::env::var("KEEPFS_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..count,
    }
}

#[derive(Default)]
pub(crate) struct TestEnv {
    pub(crate) secs: AtomicI64,
    drawn: AtomicU64,
}

impl Env for TestEnv {
    fn now(&self) -> Time {
        Time { secs: self.secs.load(Ordering::SeqCst), nanos: 0 }
    }

    fn fill(&self, out: &mut [u8]) {
        let drawn = self.drawn.fetch_add(1, Ordering::SeqCst);
        out.copy_from_slice(&noise(drawn << 20, out.len()));
    }
}

/// The caller's index and journal.
#[derive(Default)]
pub(crate) struct Journal {
    pub(crate) index: Mutex<HashMap<ChunkId, Locator>>,
    pub(crate) tables: Mutex<HashMap<PackId, Vec<PackedChunk>>>,
}

impl Journal {
    /// Takes a `PackAdd` in; asserts that pieces come in order and without gaps.
    pub(crate) fn add(&self, op: &Op) -> (PackId, u32) {
        let Op::PackAdd { pack, first, chunks } = op else { panic!("only PackAdd is ever told") };
        let mut tables = self.tables.lock();
        let table = tables.entry(*pack).or_default();
        assert_eq!(table.len(), *first as usize, "a gap in the table of a pack");
        let mut offset: u32 = table.iter().map(|chunk| chunk.sealed_len).sum();
        for (chunk, index) in chunks.iter().zip(*first..) {
            let PackedChunk { id, sealed_len, plain_len } = *chunk;
            let at = Locator { pack: *pack, index, offset, sealed_len, plain_len };
            self.index.lock().insert(id, at);
            offset += sealed_len;
        }
        table.extend_from_slice(chunks);
        (*pack, *first + chunks.len() as u32)
    }
}

impl ChunkIndex for Journal {
    fn lookup(&self, id: &ChunkId) -> Result<Option<Locator>, VaultError> {
        Ok(self.index.lock().get(id).copied())
    }
}

pub(crate) fn keys() -> Arc<NamespaceKeys> {
    Arc::new(NamespaceKeys::derive(&NamespaceSecrets {
        vault: VaultId([9; 32]),
        namespace: NamespaceId(1),
        epoch: 1,
        epoch_key: Secret::new([1; 32]),
        id_key: Secret::new([2; 32]),
        cut_key: Secret::new([3; 32]),
        directory_key: Secret::new([4; 32]),
        name_key: Secret::new([5; 32]),
    }))
}

/// A chunk space and what is around it.
pub(crate) struct World {
    pub(crate) store: MemoryStore,
    pub(crate) journal: Arc<Journal>,
    pub(crate) env: Arc<TestEnv>,
    pub(crate) space: ChunkSpace,
}

impl Deref for World {
    type Target = ChunkSpace;

    fn deref(&self) -> &ChunkSpace {
        &self.space
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::over(MemoryStore::new(), Arc::default(), |_| {})
    }

    /// A space over a store and a journal that were there before; `change` adjusts the options.
    pub(crate) fn over(
        store: MemoryStore,
        journal: Arc<Journal>,
        change: impl FnOnce(&mut SpaceOptions),
    ) -> Self {
        let env = Arc::new(TestEnv::default());
        let over: Arc<dyn Store> = Arc::new(store.clone());
        let mut options = SpaceOptions::new(over, keys(), env.clone(), MACHINE, journal.clone());
        let known = journal.tables.lock().keys().map(|pack| (pack.0 & ((1 << 40) - 1)) + 1).max();
        options.next_pack_counter = known.unwrap_or(0);
        change(&mut options);
        let space = ChunkSpace::open(options).unwrap();
        World { store, journal, env, space }
    }

    /// What a commit of the file system does.
    pub(crate) fn commit(&self) {
        let added = self.take_added();
        self.sync().unwrap();
        for op in &added {
            let (pack, end) = self.journal.add(op);
            self.settled(pack, end);
        }
    }

    /// Everything on the store.
    pub(crate) fn publish(&self) {
        self.close_packs().unwrap();
        self.commit();
        while self.publisher().run_next() {}
        assert_eq!(self.publisher().pending().objects, 0);
    }

    pub(crate) fn check(&self, stored: &Stored, plain: &[u8]) {
        assert!(self.get(stored).unwrap() == plain);
    }

    pub(crate) fn get(&self, stored: &Stored) -> Result<Vec<u8>, VaultError> {
        let mut out = vec![0xee; stored.at.plain_len as usize];
        self.read(&stored.id, &stored.at, 0, &mut out)?;
        Ok(out)
    }
}
