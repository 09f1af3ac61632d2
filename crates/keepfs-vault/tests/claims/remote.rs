//! Stores across a network: what is asked for, how often, and what is kept.

use std::sync::Arc;
use std::sync::Barrier;

use keepfs_format::chunk::BLOCK_LEN;
use keepfs_store::{
    BlobCache, FaultStore, Faults, MemoryCache, MemoryStore, Method, ObjectName, PutMode, Store,
};
use keepfs_vault::limits::PIECE_LEN;
use keepfs_vault::{StagingPlace, Stored, VaultError};

use crate::world::{Noise, World, keys, noise, seeds, text};

/// A remote store that has some packs, and what is in them.
struct Remote {
    store: MemoryStore,
    faults: Arc<Faults>,
    chunks: Vec<(Stored, Vec<u8>)>,
}

impl Remote {
    fn new(chunks: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let local = World::new();
        let chunks: Vec<_> = chunks.into_iter().map(|plain| (local.put(&plain).unwrap(), plain)).collect();
        local.publish();
        let store = MemoryStore::remote();
        for name in local.store.names() {
            let bytes = local.store.get(&name, 48 << 20).unwrap();
            store.put(&name, &bytes, PutMode::Create).unwrap();
        }
        Remote { store, faults: Faults::none(), chunks }
    }

    fn open(&self, cache: Option<Arc<dyn BlobCache>>, threads: usize) -> World {
        let faulty = Arc::new(FaultStore::new(Arc::new(self.store.clone()), self.faults.clone()));
        let staging = MemoryStore::new();
        World::over(self.store.clone(), Arc::default(), |options| {
            options.store = faulty;
            options.staging = StagingPlace::Separate(Arc::new(Beside(staging)));
            options.cache = cache;
            options.prefetch_threads = threads;
        })
    }

    fn requests(&self) -> usize {
        self.faults.take_trace().iter().filter(|call| call.method == Method::GetRange).count()
    }
}

/// The staging of a memory store, by itself.
struct Beside(MemoryStore);

impl keepfs_store::Staging for Beside {
    fn create(&self, name: &ObjectName) -> keepfs_store::Result<Box<dyn keepfs_store::Staged>> {
        self.0.staging().unwrap().create(name)
    }
    fn reopen(&self, name: &ObjectName) -> keepfs_store::Result<Box<dyn keepfs_store::Staged>> {
        self.0.staging().unwrap().reopen(name)
    }
    fn list(&self) -> keepfs_store::Result<Vec<ObjectName>> {
        self.0.staging().unwrap().list()
    }
    fn discard(&self, name: &ObjectName) -> keepfs_store::Result<()> {
        self.0.staging().unwrap().discard(name)
    }
}

#[test]
fn everything_reads_over_a_network_with_and_without_a_cache() {
    for cache in [None, Some(Arc::new(MemoryCache::new(64 << 20)) as Arc<dyn BlobCache>)] {
        let remote = Remote::new((0..30).map(|seed| match seed % 3 {
            0 => noise(seed, 1 << 20),
            1 => text(seed, 700_000),
            _ => noise(seed, 5000),
        }));
        let world = remote.open(cache, 0);
        for seed in seeds(3) {
            let mut random = Noise(seed);
            for _ in 0..200 {
                let (stored, plain) = &remote.chunks[random.below(30) as usize];
                let start = random.below(plain.len() as u64) as usize;
                let end = plain.len().min(start + random.below(200_000) as usize);
                let mut out = vec![0; end - start];
                world.read(&stored.id, &stored.at, start as u32, &mut out).unwrap();
                assert!(out == plain[start..end], "seed {seed}");
            }
        }
    }
}

#[test]
fn one_byte_costs_pieces_and_not_the_pack() {
    let remote = Remote::new((0..20).map(|seed| noise(seed, 2 << 20)));
    let world = remote.open(None, 0);
    remote.faults.start_trace();
    let (stored, plain) = &remote.chunks[10];
    let mut out = [0];
    world.read(&stored.id, &stored.at, 1_500_000, &mut out).unwrap();
    assert_eq!(out[0], plain[1_500_000]);
    assert!(remote.requests() <= 2, "the salt, and the block");
    world.read(&stored.id, &stored.at, 1_500_001, &mut out).unwrap();
    assert_eq!(remote.requests(), 0);
    world.read(&stored.id, &stored.at, 1_300_000, &mut [0; 10]).unwrap();
    assert!(remote.requests() <= 1);
}

#[test]
fn what_is_asked_for_begins_and_ends_at_fixed_places() {
    let remote = Remote::new((0..40).map(|seed| noise(seed, 250_000 + seed as usize * 1000)));
    let asked = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let world = World::over(remote.store.clone(), Arc::default(), |options| {
        options.store = Arc::new(Watched(remote.store.clone(), asked.clone()));
        options.staging = StagingPlace::Separate(Arc::new(Beside(MemoryStore::new())));
    });
    for (stored, plain) in &remote.chunks {
        world.check(stored, plain);
    }
    let asked = asked.lock();
    assert!(!asked.is_empty());
    for (name, offset, len) in asked.iter() {
        let object_len = remote.store.len(name).unwrap();
        assert_eq!(offset % u64::from(PIECE_LEN), 0);
        assert!((offset + len) % u64::from(PIECE_LEN) == 0 || offset + len == object_len);
    }
}

/// Notes every range that is asked for.
struct Watched(MemoryStore, Arc<parking_lot::Mutex<Vec<(ObjectName, u64, u64)>>>);

impl Store for Watched {
    fn capabilities(&self) -> keepfs_store::Capabilities {
        self.0.capabilities()
    }
    fn get(&self, name: &ObjectName, limit: u64) -> keepfs_store::Result<Vec<u8>> {
        self.0.get(name, limit)
    }
    fn get_range(&self, name: &ObjectName, offset: u64, out: &mut [u8]) -> keepfs_store::Result<()> {
        self.1.lock().push((name.clone(), offset, out.len() as u64));
        self.0.get_range(name, offset, out)
    }
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> keepfs_store::Result<()> {
        self.0.put(name, bytes, mode)
    }
    fn put_file(&self, name: &ObjectName, path: &std::path::Path, mode: PutMode) -> keepfs_store::Result<()> {
        self.0.put_file(name, path, mode)
    }
    fn len(&self, name: &ObjectName) -> keepfs_store::Result<u64> {
        self.0.len(name)
    }
    fn delete(&self, name: &ObjectName) -> keepfs_store::Result<()> {
        self.0.delete(name)
    }
    fn list(
        &self,
        prefix: &str,
        each: &mut dyn FnMut(keepfs_store::ObjectInfo) -> std::ops::ControlFlow<()>,
    ) -> keepfs_store::Result<()> {
        self.0.list(prefix, each)
    }
    fn space(&self) -> keepfs_store::Result<Option<keepfs_store::Space>> {
        self.0.space()
    }
}

#[test]
fn many_readers_of_one_piece_fetch_it_once() {
    let remote = Remote::new([noise(1, 200_000)]);
    let cache: Arc<dyn BlobCache> = Arc::new(MemoryCache::new(64 << 20));
    let world = remote.open(Some(cache), 0);
    remote.faults.start_trace();
    remote.faults.on_call(Box::new(|call| {
        if call.method == Method::GetRange {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }));
    let barrier = Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                barrier.wait();
                let (stored, plain) = &remote.chunks[0];
                let mut out = vec![0; 50_000];
                world.read(&stored.id, &stored.at, 60_000, &mut out).unwrap();
                assert!(out == plain[60_000..110_000]);
            });
        }
    });
    // One piece, whose first try asks for more than the short pack has.
    assert!(remote.requests() <= 4, "eight readers of the same bytes");
}

#[test]
fn a_rotten_cache_is_fetched_past_and_rotten_stores_are_damage() {
    let remote = Remote::new([noise(1, 600_000), noise(2, 900_000)]);
    let cache = Arc::new(MemoryCache::new(64 << 20));
    let (stored, plain) = &remote.chunks[0];
    let name = ObjectName::new(&keys().pack_name(stored.at.pack)).unwrap();
    let pack = remote.store.get(&name, 48 << 20).unwrap();
    for whole in [false, true] {
        cache.clear();
        if whole {
            cache.put(name.as_str(), &vec![7; pack.len()]);
        } else {
            (0..4).for_each(|piece| cache.put(&format!("{name}/{piece}"), &vec![7; PIECE_LEN as usize]));
        }
        let world = remote.open(Some(cache.clone()), 0);
        world.check(stored, plain);
        assert!(!cache.contains(name.as_str()));
    }
    cache.clear();
    let mut bad = pack.clone();
    bad[stored.at.offset as usize + 20] ^= 1;
    remote.store.put(&name, &bad, PutMode::Replace).unwrap();
    let world = remote.open(Some(cache.clone()), 0);
    assert!(matches!(world.get(stored), Err(VaultError::Damaged { .. })));
    // The store is right again: what was cached of the damage must not last.
    remote.store.put(&name, &pack, PutMode::Replace).unwrap();
    world.check(stored, plain);
    remote.store.delete(&name).unwrap();
    cache.clear();
    world.trim();
    assert!(matches!(world.get(stored), Err(VaultError::Missing { .. })));
}

#[test]
fn whole_packs_in_the_cache_are_read_from_it() {
    let remote = Remote::new([noise(1, 600_000)]);
    let cache = Arc::new(MemoryCache::new(64 << 20));
    let (stored, plain) = &remote.chunks[0];
    let name = ObjectName::new(&keys().pack_name(stored.at.pack)).unwrap();
    cache.put(name.as_str(), &remote.store.get(&name, 48 << 20).unwrap());
    let world = remote.open(Some(cache), 0);
    remote.faults.start_trace();
    world.check(stored, plain);
    assert_eq!(remote.requests(), 0);
}

#[test]
fn what_was_hinted_at_is_there_when_it_is_read() {
    let remote = Remote::new((0..8).map(|seed| noise(seed, 300_000)));
    let world = remote.open(None, 2);
    remote.faults.start_trace();
    let hints: Vec<_> = remote.chunks.iter().map(|(stored, _)| (stored.id, stored.at)).collect();
    world.prefetch(&hints);
    world.prefetch(&hints);
    let wanted = remote.chunks.len() * 5 * BLOCK_LEN - 1;
    for _ in 0..500 {
        std::thread::sleep(std::time::Duration::from_millis(10));
        if world.stats().block_cache_len > wanted / 2 && world.stats().readers == 0 {
            break;
        }
    }
    std::thread::sleep(std::time::Duration::from_millis(100));
    remote.requests();
    for (stored, plain) in &remote.chunks {
        world.check(stored, plain);
    }
    assert_eq!(remote.requests(), 0);
}

#[test]
fn a_store_without_staging_is_refused_unless_packs_grow_elsewhere() {
    let store = MemoryStore::remote();
    let env = Arc::new(crate::world::TestEnv::default());
    let journal = Arc::<crate::world::Journal>::default();
    let options =
        keepfs_vault::SpaceOptions::new(Arc::new(store), keys(), env, crate::world::MACHINE, journal);
    assert!(keepfs_vault::ChunkSpace::open(options).is_err());
}
