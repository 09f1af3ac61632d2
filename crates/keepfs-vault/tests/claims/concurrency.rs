//! Many threads at once.

use std::sync::{Arc, Barrier};

use keepfs_store::{FaultStore, Faults, MemoryStore, Method};

use crate::world::{Noise, World, noise, text};

#[test]
fn threads_with_the_same_bytes_store_them_once() {
    let world = World::new();
    let barrier = Barrier::new(8);
    for round in 0..20 {
        let plain = text(round, 300_000);
        let new: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        let stored = world.put(&plain).unwrap();
                        world.check(&stored, &plain);
                        usize::from(stored.new)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(new, 1);
    }
    world.commit();
    assert_eq!(world.journal.index.lock().len(), 20);
}

#[test]
fn putting_committing_closing_publishing_and_reading_go_on_side_by_side() {
    let world = World::new();
    world.publisher().start_threads(2).unwrap();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|thread| {
                let world = &world;
                scope.spawn(move || {
                    let mut random = Noise(thread);
                    let mut mine = Vec::new();
                    for _ in 0..150 {
                        let seed = random.word();
                        let len = 1 + random.below(400_000) as usize;
                        let stored = world.put(&noise(seed, len)).unwrap();
                        mine.push((stored, seed, len));
                        let (old, seed, len) = mine[random.below(mine.len() as u64) as usize];
                        world.check(&old, &noise(seed, len));
                    }
                    mine
                })
            })
            .collect();
        for round in 0.. {
            if writers.iter().all(|writer| writer.is_finished()) {
                break;
            }
            world.commit();
            if round % 5 == 0 {
                world.close_packs().unwrap();
            }
        }
        world.close_packs().unwrap();
        world.commit();
        assert!(world.publisher().wait_until_idle(std::time::Duration::from_secs(60)));
        for writer in writers {
            for (stored, seed, len) in writer.join().unwrap() {
                world.check(&stored, &noise(seed, len));
                assert_eq!(world.journal.index.lock().get(&stored.id), Some(&stored.at));
            }
        }
    });
    world.publisher().stop();
    assert_eq!(world.stats().staged_packs, 0);
    assert_eq!(world.stats().unsettled_chunks, 0);
}

#[test]
fn callers_at_the_same_time_share_syncs() {
    let store = MemoryStore::new();
    let faults = Faults::none();
    let world = World::over(store.clone(), Arc::default(), |options| {
        options.store = Arc::new(FaultStore::new(Arc::new(store.clone()), faults.clone()));
    });
    faults.start_trace();
    faults.on_call(Box::new(|call| {
        if call.method == Method::StagedSync {
            std::thread::sleep(std::time::Duration::from_millis(30));
        }
    }));
    let barrier = Barrier::new(8);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (world, barrier) = (&world, &barrier);
            scope.spawn(move || {
                world.put(&noise(thread, 1000)).unwrap();
                barrier.wait();
                world.sync().unwrap();
            });
        }
    });
    let syncs = faults.take_trace().iter().filter(|call| call.method == Method::StagedSync).count();
    assert_eq!(syncs, 1, "all puts were over before the first sync began");
}
