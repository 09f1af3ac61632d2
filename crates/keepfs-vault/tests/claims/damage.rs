//! What is wrong on the store is an error, for exactly what it touches, and never other bytes.

use keepfs_format::chunk::BLOCK_LEN;
use keepfs_store::{ObjectName, PutMode, Store};
use keepfs_vault::{Stored, VaultError};

use crate::world::{Noise, World, keys, noise, seeds, text};

fn object(world: &World, stored: &Stored) -> (ObjectName, Vec<u8>) {
    let name = ObjectName::new(&keys().pack_name(stored.at.pack)).unwrap();
    let bytes = world.store.get(&name, 48 << 20).unwrap();
    (name, bytes)
}

/// A space that has cached nothing, over the same store and journal.
fn fresh(world: &World) -> World {
    World::over(world.store.clone(), world.journal.clone(), |_| {})
}

fn is_damaged<T>(result: Result<T, VaultError>, stored: &Stored) -> bool {
    matches!(result, Err(VaultError::Damaged { pack, .. }) if pack == stored.at.pack)
}

#[test]
fn a_flipped_byte_damages_exactly_its_block() {
    let world = World::new();
    let mut plain = noise(1, 3 * BLOCK_LEN);
    plain.extend(text(2, 2 * BLOCK_LEN + 99));
    let whole = [plain, noise(3, 2 * BLOCK_LEN + 5), text(4, 3000)];
    let stored: Vec<_> = whole.iter().map(|plain| world.put(plain).unwrap()).collect();
    world.publish();
    for seed in seeds(150) {
        let mut random = Noise(seed);
        let which = random.below(3) as usize;
        let (stored, plain) = (&stored[which], &whole[which]);
        let (name, bytes) = object(&world, stored);
        let mut bad = bytes.clone();
        let at = random.below(u64::from(stored.at.sealed_len));
        bad[(u64::from(stored.at.offset) + at) as usize] ^= 1 << random.below(8);
        world.store.put(&name, &bad, PutMode::Replace).unwrap();

        let reader = fresh(&world);
        let mut wrong = Vec::new();
        for (block, expected) in plain.chunks(BLOCK_LEN).enumerate() {
            let mut out = vec![0; expected.len()];
            match reader.read(&stored.id, &stored.at, (block * BLOCK_LEN) as u32, &mut out) {
                Ok(()) => assert!(out == expected, "seed {seed}: other bytes in block {block}"),
                Err(error) => {
                    assert!(is_damaged::<()>(Err(error), stored), "seed {seed}");
                    wrong.push(block);
                }
            }
        }
        // The salt and the table are the whole chunk's; any other byte is one block's.
        let prefix = keepfs_format::chunk::prefix_len(stored.at.plain_len, stored.at.sealed_len).unwrap();
        let blocks = plain.len().div_ceil(BLOCK_LEN);
        let expected = if (at as usize) < prefix { blocks } else { 1 };
        assert_eq!(wrong.len(), expected, "seed {seed}: byte {at} of chunk {which}");
        assert!(is_damaged(reader.get(stored), stored), "seed {seed}");
        for (other, plain) in [0, 1, 2].iter().filter(|other| **other != which).map(|o| (*o, &whole[*o])) {
            if stored.at.pack != self::at(&world, plain).pack || other != which {
                reader.check(&reader_stored(&world, plain), plain);
            }
        }
        world.store.put(&name, &bytes, PutMode::Replace).unwrap();
    }
}

fn at(world: &World, plain: &[u8]) -> keepfs_format::ids::Locator {
    world.journal.index.lock()[&keys().chunk_id(plain)]
}

fn reader_stored(world: &World, plain: &[u8]) -> Stored {
    Stored { id: keys().chunk_id(plain), at: at(world, plain), new: false }
}

#[test]
fn a_truncated_pack_damages_what_lies_beyond_and_nothing_else() {
    let world = World::new();
    let first = world.put(&text(1, 9000)).unwrap();
    let second = world.put(&text(2, 9000)).unwrap();
    world.publish();
    let (name, bytes) = object(&world, &second);
    for len in [second.at.offset, second.at.offset + 1, second.at.offset + second.at.sealed_len - 1] {
        world.store.put(&name, &bytes[..len as usize], PutMode::Replace).unwrap();
        let reader = fresh(&world);
        reader.check(&first, &text(1, 9000));
        assert!(is_damaged(reader.get(&second), &second));
    }
    world.store.put(&name, &[], PutMode::Replace).unwrap();
    assert!(is_damaged(fresh(&world).get(&first), &first));
    assert!(matches!(fresh(&world).read_table(first.at.pack), Err(VaultError::Damaged { .. })));
}

#[test]
fn a_pack_that_is_gone_is_missing_and_never_zeros() {
    let world = World::new();
    let stored = world.put(&vec![0; 100_000]).unwrap();
    world.publish();
    let (name, _) = object(&world, &stored);
    world.store.delete(&name).unwrap();
    let reader = fresh(&world);
    let mut out = vec![7; 100_000];
    let result = reader.read(&stored.id, &stored.at, 0, &mut out);
    assert!(matches!(result, Err(VaultError::Missing { pack, .. }) if pack == stored.at.pack));
    assert!(matches!(reader.read_table(stored.at.pack), Err(VaultError::Missing { .. })));
}

#[test]
fn exchanged_chunks_and_exchanged_packs_are_damage() {
    let world = World::new();
    let one = world.put(&noise(1, 5000)).unwrap();
    let two = world.put(&noise(2, 5000)).unwrap();
    world.publish();
    let three = world.put(&noise(3, 5000)).unwrap();
    world.publish();
    assert_eq!(one.at.sealed_len, two.at.sealed_len);
    let (name, bytes) = object(&world, &one);
    let mut swapped = bytes.clone();
    swapped[..5032].copy_from_slice(&bytes[5032..10_064]);
    swapped[5032..10_064].copy_from_slice(&bytes[..5032]);
    world.store.put(&name, &swapped, PutMode::Replace).unwrap();
    let reader = fresh(&world);
    assert!(is_damaged(reader.get(&one), &one));
    assert!(is_damaged(reader.get(&two), &two));
    let (_, other) = object(&world, &three);
    world.store.put(&name, &other, PutMode::Replace).unwrap();
    let reader = fresh(&world);
    assert!(is_damaged(reader.get(&one), &one));
    assert!(matches!(reader.read_table(one.at.pack), Err(VaultError::Damaged { .. })));
}

#[test]
fn locators_from_a_liar_are_refused_without_harm() {
    let world = World::new();
    let stored = world.put(&noise(1, 5000)).unwrap();
    world.publish();
    let reader = fresh(&world);
    for seed in seeds(300) {
        let mut random = Noise(seed);
        let mut at = stored.at;
        match random.below(4) {
            0 => at.offset = random.word() as u32,
            1 => at.sealed_len = random.word() as u32,
            2 => at.plain_len = (random.word() as u32) >> random.below(20),
            _ => at.offset += 1 + random.below(100) as u32,
        }
        let mut out = vec![0; at.plain_len.min(5 << 20) as usize];
        assert!(reader.read(&stored.id, &at, 0, &mut out).is_err() || at == stored.at, "seed {seed}");
    }
}
