//! Disks and stores that fail: errors reach who must know, and nothing is lost or vouched for.

use std::sync::Arc;

use keepfs_store::{
    Fault, FaultStore, Faults, MemoryStore, Method, Retry, Store, StoreError, Strike, Weather,
};
use keepfs_vault::VaultError;

use crate::world::{Noise, World, noise, seeds};

fn over(store: &MemoryStore, faults: &Arc<Faults>) -> World {
    let faulty: Arc<dyn Store> = Arc::new(FaultStore::new(Arc::new(store.clone()), faults.clone()));
    World::over(store.clone(), Arc::default(), |options| options.store = faulty)
}

fn full() -> StoreError {
    StoreError::Full { detail: "test".into() }
}

#[test]
fn a_full_disk_is_told_and_the_pack_goes_on_when_there_is_room() {
    for fault in [Fault::FailBefore(full()), Fault::FailAfter(full()), Fault::Torn(full())] {
        let faults = Faults::none();
        let world = over(&MemoryStore::new(), &faults);
        let mut stored = Vec::new();
        for seed in 0..20 {
            if seed % 3 == 1 {
                faults.add(Strike::Method(Method::StagedWrite, seed), fault.clone());
            }
        }
        for seed in 0..20 {
            let plain = noise(seed, 20_000 - seed as usize * 500);
            match world.put(&plain) {
                Ok(put) => stored.push((put, plain)),
                Err(error) => {
                    assert!(matches!(error, VaultError::Store(StoreError::Full { .. })));
                    let put = world.put(&plain).unwrap();
                    assert!(put.new, "nothing of the failed one is left");
                    stored.push((put, plain));
                }
            }
        }
        world.publish();
        assert_eq!(world.store.names().len(), 1);
        let reopened = World::over(world.store.clone(), world.journal.clone(), |_| {});
        for (put, plain) in &stored {
            reopened.check(put, plain);
        }
        let pack = stored[0].0.at.pack;
        assert_eq!(reopened.read_table(pack).unwrap().entries, world.journal.tables.lock()[&pack]);
    }
}

#[test]
fn failures_among_many_writers_cost_nobody_elses_chunk() {
    for seed in seeds(6) {
        let faults = Faults::none();
        let store = MemoryStore::new();
        let world = over(&store, &faults);
        let mut random = Noise(seed);
        for _ in 0..60 {
            faults.add(Strike::Method(Method::StagedWrite, random.below(600)), Fault::Torn(full()));
        }
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let world = &world;
                scope.spawn(move || {
                    let mut random = Noise(seed << 8 | thread);
                    for _ in 0..120 {
                        let plain = random.bytes(1 + (random.0 % 300_000) as usize);
                        let put = loop {
                            match world.put(&plain) {
                                Ok(put) => break put,
                                Err(error) => assert!(matches!(error, VaultError::Store(_)), "{error}"),
                            }
                        };
                        world.check(&put, &plain);
                    }
                });
            }
        });
        while world.close_packs().is_err() {}
        world.commit();
        while world.publisher().pending().objects > 0 {
            world.publisher().poke();
            world.publisher().run_next();
        }
        // Every entry of every table opens: nothing torn was left among them.
        let reopened = World::over(store, world.journal.clone(), |_| {});
        let index = world.journal.index.lock().clone();
        assert_eq!(index.len(), 480, "seed {seed}");
        for (id, at) in index {
            let mut out = vec![0; at.plain_len as usize];
            reopened.read(&id, &at, 0, &mut out).unwrap();
            assert_eq!(crate::world::keys().chunk_id(&out), id, "seed {seed}");
        }
    }
}

#[test]
fn after_a_failed_sync_nothing_is_vouched_for_and_reads_go_on() {
    let faults = Faults::none();
    let world = over(&MemoryStore::new(), &faults);
    let kept = world.put(&noise(1, 5000)).unwrap();
    world.commit();
    let lost = world.put(&noise(2, 5000)).unwrap();
    faults.add(Strike::Method(Method::StagedSync, 1), Fault::FailBefore(StoreError::io_never("test")));
    assert!(matches!(world.sync(), Err(VaultError::Poisoned { .. })));
    assert!(matches!(world.sync(), Err(VaultError::Poisoned { .. })));
    assert!(matches!(world.put(&noise(3, 5000)), Err(VaultError::Poisoned { .. })));
    assert!(matches!(world.close_packs(), Err(VaultError::Poisoned { .. })));
    world.check(&kept, &noise(1, 5000));
    world.check(&lost, &noise(2, 5000));
}

#[test]
fn a_sync_that_fails_while_publishing_stops_writing_too() {
    for is_disk_failing in [true, false] {
        let faults = Faults::none();
        let world = over(&MemoryStore::new(), &faults);
        let kept = world.put(&noise(1, 5000)).unwrap();
        world.close_packs().unwrap();
        world.commit();
        let failure = || Fault::FailBefore(StoreError::io_never("test"));
        faults.add(Strike::Method(Method::StagedPublish, 0), failure());
        for sync in 0..10 {
            if is_disk_failing {
                faults.add(Strike::Method(Method::StagedSync, sync), failure());
            }
        }
        assert!(world.publisher().run_next());
        assert_eq!(world.publisher().pending().objects, 1);
        assert_eq!(world.vouch().is_err(), is_disk_failing);
        assert_eq!(world.put(&noise(3, 5000)).is_err(), is_disk_failing);
        world.check(&kept, &noise(1, 5000));
    }
}

#[test]
fn a_sync_with_nothing_new_reaches_no_disk() {
    let faults = Faults::none();
    let world = over(&MemoryStore::new(), &faults);
    faults.start_trace();
    let syncs = || faults.take_trace().iter().filter(|call| call.method == Method::StagedSync).count();
    world.sync().unwrap();
    assert_eq!(syncs(), 0);
    world.put(&noise(1, 5000)).unwrap();
    world.sync().unwrap();
    world.sync().unwrap();
    assert_eq!(syncs(), 1);
    world.put(&noise(1, 5000)).unwrap();
    world.sync().unwrap();
    assert_eq!(syncs(), 0, "what was there already needs no sync");
    world.put(&noise(2, 1 << 20)).unwrap();
    world.put(&noise(3, 1 << 20)).unwrap();
    world.sync().unwrap();
    assert_eq!(syncs(), 2, "one for each object that was written");
}

#[test]
fn a_trailer_that_does_not_fit_is_written_by_the_publisher_later() {
    let faults = Faults::none();
    let world = over(&MemoryStore::new(), &faults);
    let stored = world.put(&noise(1, 5000)).unwrap();
    faults.set_weather(Weather::Full);
    assert!(matches!(world.close_packs(), Err(VaultError::Store(StoreError::Full { .. }))));
    faults.set_weather(Weather::Fair);
    world.commit();
    while world.publisher().run_next() {}
    assert_eq!(world.store.names().len(), 1);
    world.check(&stored, &noise(1, 5000));
}

#[test]
fn bad_bytes_that_come_right_when_read_again_are_no_damage() {
    let store = MemoryStore::new();
    let world = World::over(store.clone(), Arc::default(), |_| {});
    let stored = world.put(&noise(1, 500_000)).unwrap();
    world.publish();
    for seed in seeds(40) {
        let world = World::over(store.clone(), world.journal.clone(), |options| {
            let faults =
                Faults::scripted([(Strike::Method(Method::GetRange, seed % 4), Fault::FlipBit(seed * 7919))]);
            options.store = Arc::new(FaultStore::new(Arc::new(store.clone()), faults));
        });
        for start in [0, 200_000, 400_000] {
            let mut out = vec![0; 10_000];
            world.read(&stored.id, &stored.at, start, &mut out).unwrap();
            assert!(out == noise(1, 500_000)[start as usize..start as usize + 10_000], "seed {seed}");
        }
    }
}

#[test]
fn errors_of_the_store_keep_their_retry_class() {
    let store = MemoryStore::new();
    let world = World::over(store.clone(), Arc::default(), |_| {});
    let stored = world.put(&noise(1, 5000)).unwrap();
    world.publish();
    let retry = Retry::After(std::time::Duration::from_secs(7));
    let error = StoreError::Unavailable { detail: "flood".into(), retry };
    let faults = Faults::scripted([(Strike::Method(Method::GetRange, 0), Fault::FailBefore(error))]);
    let reader = World::over(store.clone(), world.journal.clone(), |options| {
        options.store = Arc::new(FaultStore::new(Arc::new(store.clone()), faults));
    });
    assert_eq!(reader.get(&stored).unwrap_err().retry(), retry);
    reader.check(&stored, &noise(1, 5000));
}
