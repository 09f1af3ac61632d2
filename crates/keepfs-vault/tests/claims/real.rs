//! The same over files: a store read and written in place, and one that is treated as far away.

use std::path::Path;
use std::sync::Arc;

use keepfs_store::{BlobCache, MemoryStore, Store};
use keepfs_stores::{DiskCache, FileOptions, FileStore, LocalStaging};
use keepfs_vault::{SpaceOptions, StagingPlace, Stored, limits};

use crate::world::{Journal, World, noise, text};

fn in_place(directory: &Path, journal: Arc<Journal>) -> World {
    let store = Arc::new(FileStore::open(directory, FileOptions::default()).unwrap());
    World::over(MemoryStore::new(), journal, |options| options.store = store)
}

fn far_away(directory: &Path, journal: Arc<Journal>) -> World {
    let make = |name: &str| {
        let path = directory.join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    };
    let store: Arc<dyn Store> =
        Arc::new(FileStore::open(&make("store"), FileOptions { in_place: false }).unwrap());
    let cache: Arc<dyn BlobCache> = Arc::new(DiskCache::open(&make("cache"), 64 << 20).unwrap());
    let staging = LocalStaging::with_cache(&make("staging"), store.clone(), cache.clone()).unwrap();
    World::over(MemoryStore::new(), journal, |options: &mut SpaceOptions| {
        options.store = store;
        options.staging = StagingPlace::Separate(Arc::new(staging));
        options.cache = Some(cache);
        options.prefetch_threads = 2;
    })
}

fn fill(world: &World) -> Vec<(Stored, Vec<u8>)> {
    (0..60)
        .map(|seed| {
            let plain = match seed % 3 {
                0 => noise(seed, 2 << 20),
                1 => text(seed, 1 << 20),
                _ => noise(seed, 3000),
            };
            let stored = world.put(&plain).unwrap();
            if seed % 9 == 0 {
                world.commit();
            }
            (stored, plain)
        })
        .collect()
}

fn check(world: &World, chunks: &[(Stored, Vec<u8>)]) {
    for (stored, plain) in chunks {
        world.check(stored, plain);
        let start = plain.len() / 3;
        let mut out = vec![0; 1000];
        world.read(&stored.id, &stored.at, start as u32, &mut out).unwrap();
        assert!(out == plain[start..start + 1000]);
    }
}

fn lives(open: fn(&Path, Arc<Journal>) -> World) {
    let directory = tempfile::tempdir().unwrap();
    let world = open(directory.path(), Arc::default());
    let journal = world.journal.clone();
    let chunks = fill(&world);
    check(&world, &chunks);
    world.publish();
    assert_eq!(world.stats().staged_packs, 0);
    check(&world, &chunks);
    let late = world.put(b"left in staging by a crash").unwrap();
    world.commit();
    drop(world);

    let world = open(directory.path(), journal.clone());
    let tables = journal.tables.lock().clone();
    for pack in world.staged_packs(0..100).unwrap() {
        assert!(world.finish_pack(pack, tables[&pack].clone()).unwrap().damaged.is_empty());
    }
    world.check(&late, b"left in staging by a crash");
    world.publish();
    for (pack, entries) in tables {
        assert_eq!(world.read_table(pack).unwrap().entries, entries);
    }
    check(&world, &chunks);
    world.check(&late, b"left in staging by a crash");
}

#[test]
fn a_space_lives_in_a_directory() {
    lives(in_place);
}

#[test]
fn a_space_lives_over_a_far_store_with_local_staging_and_cache() {
    lives(far_away);
}

fn more_packs_than_handles(open: fn(&Path, Arc<Journal>) -> World) {
    let directory = tempfile::tempdir().unwrap();
    let world = open(directory.path(), Arc::default());
    let count = limits::HANDLES_MAX as u64 * 5;
    let stored: Vec<_> = (0..count)
        .map(|seed| {
            let stored = world.put(&noise(seed, 2000)).unwrap();
            world.close_packs().unwrap();
            stored
        })
        .collect();
    let read_all = || {
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for (stored, seed) in stored.iter().zip(0..) {
                        world.check(stored, &noise(seed, 2000));
                    }
                });
            }
        });
    };
    read_all();
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(descriptors < 3 * limits::HANDLES_MAX + 100, "{descriptors} with other tests at the same time");
    assert_eq!(world.stats().staged_packs, count as usize);
    world.commit();
    world.publisher().start_threads(2).unwrap();
    read_all();
    assert!(world.publisher().wait_until_idle(std::time::Duration::from_secs(60)));
    world.publisher().stop();
    assert_eq!(world.stats().staged_packs, 0);
    world.trim();
    read_all();
}

#[test]
fn packs_wait_offline_in_any_number_in_place() {
    more_packs_than_handles(in_place);
}

#[test]
fn packs_wait_offline_in_any_number_beside_a_far_store() {
    more_packs_than_handles(far_away);
}
