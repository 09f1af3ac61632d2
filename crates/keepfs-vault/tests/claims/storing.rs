//! What is put comes back, at every stage of its life.

use keepfs_format::chunk::{BLOCK_LEN, CHUNK_LEN_MAX};
use keepfs_format::pack::PACK_LEN_MAX;
use keepfs_vault::VaultError;

use crate::world::{Noise, World, noise, seeds, text};

fn samples() -> Vec<Vec<u8>> {
    let mut mixed = text(1, 3 * BLOCK_LEN);
    mixed.extend(noise(2, 2 * BLOCK_LEN + 77));
    vec![
        vec![1],
        text(2, 100),
        noise(3, 4096),
        text(4, BLOCK_LEN),
        noise(5, BLOCK_LEN + 1),
        text(6, 700_001),
        noise(7, 1 << 20),
        vec![0; CHUNK_LEN_MAX],
        noise(8, CHUNK_LEN_MAX),
        mixed,
    ]
}

#[test]
fn what_is_put_is_readable_before_sync_after_close_after_publish_and_after_reopening() {
    let world = World::new();
    let stored: Vec<_> = samples().iter().map(|plain| world.put(plain).unwrap()).collect();
    let check = |world: &World| {
        for (stored, plain) in stored.iter().zip(samples()) {
            assert!(stored.new);
            world.check(stored, &plain);
        }
    };
    check(&world);
    world.sync().unwrap();
    check(&world);
    world.commit();
    check(&world);
    assert!(world.store.names().is_empty());
    world.publish();
    check(&world);
    assert_eq!(world.store.names().len(), 2, "small chunks in one pack, large ones over two");
    world.trim();
    check(&world);

    let reopened = World::over(world.store.clone(), world.journal.clone(), |_| {});
    check(&reopened);
}

#[test]
fn every_part_of_a_chunk_reads_as_the_whole_does() {
    let world = World::new();
    for seed in seeds(4) {
        let mut random = Noise(seed);
        let mut plain = text(seed, 5 * BLOCK_LEN / 2);
        plain.extend(random.bytes(2 * BLOCK_LEN + 1234));
        let stored = world.put(&plain).unwrap();
        for _ in 0..300 {
            let start = random.below(plain.len() as u64 + 1) as usize;
            let len = random.below(3 * BLOCK_LEN as u64) as usize;
            let end = plain.len().min(start + len);
            let mut out = vec![0xee; end - start];
            world.read(&stored.id, &stored.at, start as u32, &mut out).unwrap();
            assert!(out == plain[start..end], "seed {seed}, {start}..{end}");
        }
        let mut out = [0; 2];
        let beyond = world.read(&stored.id, &stored.at, plain.len() as u32 - 1, &mut out);
        assert!(matches!(beyond, Err(VaultError::Range { .. })));
    }
}

#[test]
fn equal_bytes_are_stored_once_in_memory_and_by_the_index() {
    let world = World::new();
    let plain = noise(1, 10_000);
    let first = world.put(&plain).unwrap();
    let again = world.put(&plain).unwrap();
    assert!(first.new && !again.new);
    assert_eq!(first.at, again.at);
    assert_eq!(world.stats().unsettled_chunks, 1);
    world.commit();
    assert_eq!(world.stats().unsettled_chunks, 0);
    let settled = world.put(&plain).unwrap();
    assert!(!settled.new);
    assert_eq!(settled.at, first.at);
    assert!(world.take_added().is_empty());
    let stats = world.stats();
    assert_eq!((stats.put_chunks, stats.put_len, stats.deduplicated_len), (3, 30_000, 20_000));
}

#[test]
fn ten_thousand_small_chunks_make_one_pack() {
    let world = World::new();
    let mut random = Noise(1);
    let stored: Vec<_> = (0..10_000)
        .map(|_| {
            let plain = random.bytes(1024);
            (world.put(&plain).unwrap(), plain)
        })
        .collect();
    world.publish();
    assert_eq!(world.store.names().len(), 1);
    for (stored, plain) in &stored {
        world.check(stored, plain);
    }
}

#[test]
fn full_packs_rotate_and_go_to_the_publisher_once_settled() {
    let world = World::new();
    let chunk = 4 << 20;
    let stored: Vec<_> = (0..30).map(|seed| world.put(&noise(seed, chunk)).unwrap()).collect();
    assert_eq!(world.publisher().pending().objects, 2);
    assert!(!world.publisher().run_next(), "nothing is published that no journal has");
    world.commit();
    assert!(world.publisher().run_next());
    world.publish();
    assert_eq!(world.store.names().len(), 4);
    for name in world.store.names() {
        assert!(keepfs_store::Store::len(&world.store, &name).unwrap() <= PACK_LEN_MAX);
    }
    for (stored, seed) in stored.iter().zip(0..) {
        world.check(stored, &noise(seed, chunk));
    }
    assert_eq!(world.stats().staged_packs, 0);
}

#[test]
fn tables_of_published_packs_are_what_the_journal_was_told() {
    let world = World::new();
    for (seed, len) in (0..40).zip([10, 5000, 300_000, 70_000].into_iter().cycle()) {
        world.put(&noise(seed, len)).unwrap();
        if seed % 7 == 0 {
            world.commit();
        }
    }
    world.publish();
    let tables = world.journal.tables.lock().clone();
    assert_eq!(tables.len(), 2);
    for (pack, entries) in tables {
        assert_eq!(world.read_table(pack).unwrap().entries, entries);
    }
}

#[test]
fn chunks_of_a_large_file_are_spread_and_small_files_are_not() {
    let world = World::new();
    let large: Vec<_> = (0..4).map(|seed| world.put(&noise(seed, 1 << 20)).unwrap().at.pack).collect();
    assert!(large.windows(2).all(|pair| pair[0] != pair[1]), "{large:?}");
    let small: Vec<_> = (9..13).map(|seed| world.put(&noise(seed, 5000)).unwrap().at.pack).collect();
    assert!(small.windows(2).all(|pair| pair[0] == pair[1]), "{small:?}");
}

#[test]
fn chunks_of_impossible_length_are_refused() {
    let world = World::new();
    for len in [0, CHUNK_LEN_MAX + 1] {
        assert!(matches!(world.put(&vec![0; len]), Err(VaultError::ChunkLength { .. })));
    }
    assert!(world.close_packs().unwrap().is_empty());
}

#[test]
fn files_cut_here_are_cut_by_the_namespaces_own_table() {
    let world = World::new();
    let data = noise(1, CHUNK_LEN_MAX);
    let len = world.cut(&data, false);
    assert!((256 << 10..=CHUNK_LEN_MAX).contains(&len));
    assert_eq!(len, world.cut(&data, true));
    assert_eq!(world.cut(&data[..1000], false), 0);
    assert_eq!(world.cut(&data[..1000], true), 1000);
}

#[test]
fn nothing_readable_reaches_the_store() {
    let world = World::new();
    let canary = b"a secret that nobody but the owner may read";
    world.put(canary).unwrap();
    world.put(&canary.repeat(5000)).unwrap();
    world.publish();
    for name in world.store.names() {
        let bytes = keepfs_store::Store::get(&world.store, &name, PACK_LEN_MAX).unwrap();
        assert!(!bytes.windows(12).any(|window| window == &canary[..12]));
    }
}
