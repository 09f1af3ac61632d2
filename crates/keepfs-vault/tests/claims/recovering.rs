//! After a crash or a power cut: what the journal has is finished, what it does not have is cut off.

use std::sync::Arc;

use keepfs_store::{Fault, FaultStore, Faults, MemoryStore, Moment, Store, StoreError, Strike};
use keepfs_vault::{ChunkSpace, Recovered, Stored, VaultError};

use crate::world::{Noise, World, noise, seeds};

/// What a file system does when it opens after a crash.
fn recover(world: &World) -> Vec<Recovered> {
    let tables = world.journal.tables.lock().clone();
    let mut recovered: Vec<_> =
        tables.into_iter().map(|(pack, entries)| world.finish_pack(pack, entries).unwrap()).collect();
    for pack in world.staged_packs(0..100).unwrap() {
        if !world.journal.tables.lock().contains_key(&pack) {
            world.discard_pack(pack).unwrap();
            recovered.push(Recovered::default());
        }
    }
    recovered
}

fn drain(space: &ChunkSpace) {
    while space.publisher().run_next() {}
}

#[test]
fn garbage_after_the_entries_of_a_staged_pack_is_cut_off() {
    let world = World::new();
    let kept: Vec<_> = (0..5).map(|seed| world.put(&noise(seed, 9000)).unwrap()).collect();
    world.commit();
    let (pack, entries) = world.journal.tables.lock().clone().into_iter().next().unwrap();
    // More was written, and told to nobody.
    world.put(&noise(77, 30_000)).unwrap();
    let store = world.store.clone();
    let journal = world.journal.clone();
    drop(world);

    let world = World::over(store, journal, |_| {});
    assert_eq!(world.staged_packs(0..10).unwrap(), [pack]);
    assert_eq!(world.finish_pack(pack, entries.clone()).unwrap(), Recovered::default());
    for (stored, seed) in kept.iter().zip(0..) {
        world.check(stored, &noise(seed, 9000));
    }
    drain(&world);
    assert!(world.staged_packs(0..10).unwrap().is_empty());
    assert_eq!(world.read_table(pack).unwrap().entries, entries);
    assert!(world.finish_pack(pack, entries).unwrap().published);
    for (stored, seed) in kept.iter().zip(0..) {
        world.check(stored, &noise(seed, 9000));
    }
}

#[test]
fn a_pack_that_is_nowhere_is_missing() {
    let world = World::new();
    world.put(&noise(1, 10)).unwrap();
    world.commit();
    let (pack, entries) = world.journal.tables.lock().clone().into_iter().next().unwrap();
    let elsewhere = World::new();
    assert!(matches!(elsewhere.finish_pack(pack, entries), Err(VaultError::Missing { .. })));
}

#[test]
fn a_staged_pack_that_lost_bytes_says_which_chunks() {
    let world = World::new();
    for seed in 0..4 {
        world.put(&noise(seed, 1000)).unwrap();
    }
    world.commit();
    let (pack, entries) = world.journal.tables.lock().clone().into_iter().next().unwrap();
    let index = world.journal.index.lock().clone();
    let store = world.store.clone();
    drop(world);
    let name = store.staging().unwrap().list().unwrap().remove(0);
    let staged = store.staging().unwrap().reopen(&name).unwrap();
    staged.write_at(1032 + 500, b"rot").unwrap();
    staged.truncate(3 * 1032 + 10).unwrap();
    drop(staged);
    let world = World::over(store, Arc::default(), |options| options.next_pack_counter = 9);
    assert_eq!(world.finish_pack(pack, entries).unwrap().damaged, [1, 3]);
    drain(&world);
    for (id, at) in index {
        let result = world.get(&Stored { id, at, new: false });
        match at.index {
            1 | 3 => assert!(matches!(result, Err(VaultError::Damaged { .. }))),
            _ => assert_eq!(result.unwrap().len(), 1000),
        }
    }
}

#[test]
fn counters_of_left_over_packs_are_not_used_again() {
    let world = World::new();
    world.put(&noise(1, 1000)).unwrap();
    let store = world.store.clone();
    drop(world);
    let world = World::over(store, Arc::default(), |_| {});
    let stored = world.put(&noise(2, 1000)).unwrap();
    assert_eq!(stored.at.pack.0 & 0xff, 1);
    world.check(&stored, &noise(2, 1000));
}

#[test]
fn an_upload_that_a_crash_cut_off_from_its_answer_is_recognised() {
    let store = MemoryStore::new();
    let error = || StoreError::Unavailable { detail: "lost".into(), retry: keepfs_store::Retry::Soon };
    let faults = Faults::scripted([(
        Strike::Method(keepfs_store::Method::StagedPublish, 0),
        Fault::FailAfter(error()),
    )]);
    let world = World::over(store.clone(), Arc::default(), |options| {
        options.store = Arc::new(FaultStore::new(Arc::new(store.clone()), faults));
    });
    let stored = world.put(&noise(1, 1000)).unwrap();
    world.close_packs().unwrap();
    world.commit();
    assert!(world.publisher().run_next());
    assert_eq!(world.publisher().pending().objects, 1);
    world.publisher().poke();
    drain(&world);
    assert_eq!(world.publisher().pending().objects, 0);
    world.check(&stored, &noise(1, 1000));
}

/// One run of a world until it crashes or ends; gives what its journal vouches for.
fn run(world: &World, seed: u64, stored: &mut Vec<(Stored, u64, usize)>) -> Result<(), VaultError> {
    let mut random = Noise(seed);
    let mut pending = Vec::new();
    for _ in 0..40 {
        match random.below(6) {
            0 => {
                let added = world.take_added();
                world.sync()?;
                for op in &added {
                    let (pack, end) = world.journal.add(op);
                    world.settled(pack, end);
                }
                stored.append(&mut pending);
            }
            1 => drop(world.close_packs()?),
            2 => drop(world.publisher().run_next()),
            _ => {
                let (seed, len) = (random.word(), 1 + random.below(300_000) as usize);
                pending.push((world.put(&noise(seed, len))?, seed, len));
            }
        }
    }
    Ok(())
}

#[test]
fn what_the_journal_has_survives_a_crash_at_every_write_and_a_power_cut() {
    let mut crashes = 0;
    for seed in seeds(4) {
        for moment in Moment::ALL {
            for write in 0.. {
                let store = MemoryStore::new();
                let faults = Faults::crash_at_write(write, moment);
                let world = World::over(store.clone(), Arc::default(), |options| {
                    options.store = Arc::new(FaultStore::new(Arc::new(store.clone()), faults.clone()));
                });
                let mut stored = Vec::new();
                let ended = run(&world, seed, &mut stored);
                assert!(ended.is_ok() || faults.is_crashed());
                let journal = world.journal.clone();
                drop(world);
                let mut random = Noise(seed ^ write);
                store.cut_power(&mut || random.word());

                let world = World::over(store, journal, |_| {});
                for recovered in recover(&world) {
                    assert_eq!(recovered.damaged, Vec::<u32>::new(), "seed {seed}, write {write} {moment:?}");
                }
                let check = |stored: &[(Stored, u64, usize)]| {
                    for (stored, seed, len) in stored {
                        world.check(stored, &noise(*seed, *len));
                    }
                };
                check(&stored);
                drain(&world);
                world.trim();
                check(&stored);
                assert!(world.staged_packs(0..100).unwrap().is_empty());
                if !faults.is_crashed() {
                    break;
                }
                crashes += 1;
            }
        }
    }
    println!("{crashes} crashes survived");
}
