//! Vectors of sealed objects, chunks, pack ends and run fences.

use keepfs_format::chunk::ChunkSealer;
use keepfs_format::compress::Compression;
use keepfs_format::ids::PackId;
use keepfs_format::keys::Role;
use keepfs_format::op::PackedChunk;
use keepfs_format::pack::{PackTable, seal_trailer};

use crate::stranger::{inner, seal_blocks, seal_inner, seal_one_block};
use crate::support::{CountingEnv, MACHINE, chunk_id, keys, number, random_bytes};
use crate::vectors::{Vector, hex};

pub(crate) fn all() -> Vec<Vector> {
    [objects(), damaged_objects(), chunks(), faulty_chunks(), packs(), runs()].concat()
}

const NAME: &str = "h/some-name";

fn object(name: &str, bytes: Vec<u8>) -> Vector {
    Vector::new("object", name, bytes).arg("head").arg(NAME).arg(2000)
}

fn good_object(plain: &[u8]) -> Vec<u8> {
    keys().seal_object(Role::Head, NAME, &CountingEnv::new(1), plain).unwrap()
}

fn objects() -> Vec<Vector> {
    let sealed = |name: &str, inner: &[u8]| object(name, seal_inner("log", 2, NAME, inner));
    let body = zstd::bulk::compress(&[b'a'; 1500], 1).unwrap();
    let len = body.len() as u32;
    let mut longer = inner(0, 5, 5, b"hello");
    longer.extend([0; 64]);
    let mut garbage_in_padding = inner(0, 5, 5, b"hello");
    *garbage_in_padding.last_mut().unwrap() = 1;
    vec![
        object("good_empty", good_object(b"")),
        object("good_short", good_object(b"hello")),
        object("good_random", good_object(&random_bytes(3, 1100))),
        object("good_compressed", good_object(&[b'a'; 2000])),
        sealed("good_by_hand", &inner(0, 5, 5, b"hello")),
        sealed("good_compressed_by_hand", &inner(1, 1500, len, &body)),
        sealed("padding_is_not_zero", &garbage_in_padding),
        sealed("padded_to_more_than_it_must", &longer),
        sealed("stored_length_too_low", &inner(0, 5, 4, b"hello")),
        sealed("plain_length_too_low", &inner(0, 4, 5, b"hello")),
        sealed("plain_length_too_high", &inner(0, 6, 5, b"hello")),
        sealed("stored_length_beyond_the_end", &inner(0, 5, 5000, b"hello")),
        sealed("compressed_is_not_shorter", &inner(1, 5, 5, b"hello")),
        sealed("does_not_decompress", &inner(1, 50, 5, b"hello")),
        sealed("decompresses_to_less", &inner(1, 1501, len, &body)),
        sealed("decompresses_to_more", &inner(1, 1499, len, &body)),
        sealed("plain_length_over_the_limit", &inner(1, 2001, len, &body)),
        sealed("compression_unknown", &inner(2, 1500, len, &body)),
    ]
}

fn damaged_objects() -> Vec<Vector> {
    let good = good_object(b"hello");
    let flipped = |name: &str, at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        object(name, bytes)
    };
    let misplaced = |name: &str, role: &str, place: &str| {
        Vector::new("object", name, good.clone()).arg(role).arg(place).arg(2000)
    };
    vec![
        flipped("flipped_salt", 0),
        flipped("flipped_commitment", 32),
        flipped("flipped_body", 64),
        flipped("flipped_padding", 500),
        flipped("flipped_tag", good.len() - 1),
        object("shorter_than_any", good[..1023].to_vec()),
        object("cut", good_object(&random_bytes(3, 1100))[..1024].to_vec()),
        object("longer", [&good[..], &[0]].concat()),
        object("empty", vec![]),
        misplaced("of_another_name", "head", "h/other-name"),
        misplaced("of_another_role", "checkpoint", NAME),
    ]
}

fn chunk(name: &str, plain_len: usize, bytes: Vec<u8>) -> Vector {
    Vector::new("chunk", name, bytes).arg(hex(&chunk_id(1).0)).arg(plain_len)
}

fn sealed_chunk(compression: Compression, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut sealer = ChunkSealer::new(compression);
    sealer.seal(&keys(), &chunk_id(1), [5; 16], plain, &mut out).unwrap();
    out
}

fn chunks() -> Vec<Vector> {
    let zstd = Compression::Zstd(1);
    let zeros = vec![0; 3 * 65_536 + 5];
    vec![
        chunk("good_one_byte", 1, sealed_chunk(zstd, b"x")),
        chunk("good_stored", 300, sealed_chunk(zstd, &random_bytes(1, 300))),
        chunk("good_zstd", 300, sealed_chunk(zstd, &[b'a'; 300])),
        chunk("good_lz4", 300, sealed_chunk(Compression::Lz4, &[b'a'; 300])),
        chunk("good_blocks_with_table", zeros.len(), sealed_chunk(zstd, &zeros)),
        chunk("good_blocks_of_lz4", zeros.len(), sealed_chunk(Compression::Lz4, &zeros)),
        chunk("good_by_hand", 5, seal_one_block(&chunk_id(1), b"hello")),
    ]
}

fn faulty_chunks() -> Vec<Vector> {
    let id = chunk_id(1);
    let zstd = |plain: &[u8]| [&[1], &zstd::bulk::compress(plain, 1).unwrap()[..]].concat();
    let lz4 = |plain: &[u8]| [&[2], &lz4_flex::block::compress(plain)[..]].concat();
    let one = |name: &str, plain_len, payload: &[u8]| chunk(name, plain_len, seal_one_block(&id, payload));
    let good = sealed_chunk(Compression::Zstd(1), &[b'a'; 300]);
    let flipped = |name: &str, at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        chunk(name, 300, bytes)
    };
    let block = zstd(&[b'a'; 65_536]);
    let len = (block.len() - 1) as u16;
    let two = |name: &str, lengths: [u16; 2], payloads: &[&[u8]]| {
        chunk(name, 2 * 65_536, seal_blocks(&id, Some(&lengths), payloads))
    };
    let mut swapped = seal_blocks(&id, Some(&[len, len]), &[&block, &block]);
    let (start, step) = (16 + 4 + 16, block.len() + 16);
    let first = swapped[start..start + step].to_vec();
    swapped.copy_within(start + step.., start);
    swapped[start + step..].copy_from_slice(&first);
    vec![
        two("good_two_blocks_by_hand", [len, len], &[&block, &block]),
        flipped("flipped_salt", 3),
        flipped("flipped_block", 20),
        flipped("flipped_tag", good.len() - 1),
        chunk("empty", 300, vec![]),
        chunk("cut", 300, good[..good.len() - 1].to_vec()),
        chunk("longer", 300, [&good[..], &[0]].concat()),
        chunk("longer_than_it_can_be", 1, sealed_chunk(Compression::None, b"xy")),
        chunk("no_plain_length", 0, good.clone()),
        chunk("plain_length_too_high", (4 << 20) + 1, good.clone()),
        Vector::new("chunk", "of_another_id", good.clone()).arg(hex(&chunk_id(2).0)).arg(300),
        one("algorithm_zero", 300, &[0; 20]),
        one("algorithm_unknown", 300, &[3; 20]),
        one("nothing_but_a_tag", 300, b""),
        one("nothing_but_an_algorithm", 300, &[1]),
        one("zstd_bomb", 300, &zstd(&vec![0; 1 << 20])),
        one("zstd_of_less", 300, &zstd(&[0; 299])),
        one("lz4_of_more", 300, &lz4(&[0; 301])),
        one("lz4_of_less", 300, &lz4(&[0; 299])),
        one("zstd_garbage", 300, &[1, 9, 9, 9, 9]),
        chunk("blocks_exchanged", 2 * 65_536, swapped),
        two("table_sums_to_less", [len - 1, len], &[&block, &block]),
        two("table_sums_to_more", [len + 1, len], &[&block, &block]),
        two("table_of_other_cuts", [len - 1, len + 1], &[&block, &block]),
        chunk("block_longer_than_its_plaintext", 65_536 + 5, {
            seal_blocks(&id, Some(&[len, 5]), &[&block, b"sixbyt"])
        }),
        chunk("two_blocks_without_room_for_a_table", 2 * 65_536, vec![7; 60]),
    ]
}

fn packs() -> Vec<Vector> {
    let chunk = |n: u64, plain_len| PackedChunk { id: chunk_id(n), sealed_len: plain_len + 32, plain_len };
    let keys = keys();
    let pack = PackId(number(4));
    let table = PackTable { entries: vec![chunk(1, 100), chunk(2, 200), chunk(3, 65_536)] };
    let end = |table: &PackTable| seal_trailer(&keys, pack, table, &CountingEnv::new(4)).unwrap();
    let good = end(&table);
    let object_len = table.body_len() + good.len() as u64;
    let vector = |name: &str, pack: PackId, object_len: u64, tail: &[u8]| {
        Vector::new("pack", name, tail).arg(pack.0).arg(object_len)
    };
    let flipped = |name: &str, from_end: usize| {
        let mut tail = good.clone();
        let at = tail.len() - from_end;
        tail[at] ^= 1;
        vector(name, pack, object_len, &tail)
    };
    let one = PackTable { entries: vec![chunk(1, 1)] };
    let small = end(&one);
    let small_len = one.body_len() + small.len() as u64;
    vec![
        vector("good_three_chunks", pack, object_len, &good),
        vector("good_smallest", pack, small_len, &small),
        vector("of_another_pack", PackId(number(5)), object_len, &good),
        vector("of_a_length_that_is_not_padded", pack, object_len + 1, &good),
        vector("of_a_longer_object", pack, object_len * 2, &good),
        vector("longer_than_any", pack, (48 << 20) + (2 << 20), &good),
        vector("end_too_short", pack, object_len, &good[good.len() - 1000..]),
        vector("nothing", pack, object_len, &[]),
        flipped("flipped_length", 4),
        flipped("flipped_tag", 5),
        flipped("flipped_table", 500),
        flipped("flipped_commitment", 1024 + 4 - 40),
    ]
}

fn runs() -> Vec<Vector> {
    let object = crate::runs::object(&crate::runs::entries(1000));
    let tail = &object[object.len() - 1028..];
    let run = |name: &str, number: u64, len: u64, tail: &[u8]| {
        Vector::new("run", name, tail).arg(MACHINE.0).arg(number).arg(len)
    };
    let len = object.len() as u64;
    let mut flipped = tail.to_vec();
    flipped[100] ^= 1;
    vec![
        run("good_fence", 3, len, tail),
        run("of_another_run", 4, len, tail),
        run("of_a_longer_object", 3, 2 * len, tail),
        run("of_a_shorter_object", 3, 1 << 16, tail),
        run("longer_than_any", 3, 1 << 30, tail),
        run("flipped_fence", 3, len, &flipped),
        run("nothing", 3, len, &[]),
    ]
}
