//! What a store sees: bytes without any pattern, in few lengths.

use keepfs_format::chunk::ChunkSealer;
use keepfs_format::compress::Compression;
use keepfs_format::ids::PackId;
use keepfs_format::op::PackedChunk;
use keepfs_format::pack::{PackTable, seal_trailer};
use keepfs_format::sealed::padded_len;

use crate::log_objects::{sample_checkpoint, sample_head, sample_segment};
use crate::runs;
use crate::support::{CountingEnv, keys, number, signer};

fn pack(env: &CountingEnv, counter: u64) -> Vec<u8> {
    let keys = keys();
    let pack = PackId(number(counter));
    let mut object = Vec::new();
    let mut sealer = ChunkSealer::new(Compression::Zstd(1));
    let mut table = PackTable::default();
    for n in 0..3u8 {
        let plain = vec![n; 500];
        let id = keys.chunk_id(&plain);
        let mut salt = [0; 16];
        keepfs_format::Env::fill(env, &mut salt);
        let mut sealed = Vec::new();
        let sealed_len = sealer.seal(&keys, &id, salt, &plain, &mut sealed).unwrap();
        object.extend(sealed);
        table.entries.push(PackedChunk { id, sealed_len, plain_len: 500 });
    }
    object.extend(seal_trailer(&keys, pack, &table, env).unwrap());
    object
}

/// Objects of every kind with the same content again and again.
fn objects() -> Vec<Vec<Vec<u8>>> {
    let (keys, env) = (keys(), CountingEnv::new(11));
    let repeat = |make: &dyn Fn() -> Vec<u8>| (0..64).map(|_| make()).collect::<Vec<_>>();
    let entries = runs::entries(10);
    vec![
        repeat(&|| sample_segment().seal(&keys, &signer(), &env).unwrap().0),
        repeat(&|| sample_head().seal(&keys, &signer(), &env).unwrap().0),
        repeat(&|| sample_checkpoint().seal(&keys, &signer(), &env).unwrap().0),
        repeat(&|| pack(&env, 1)),
        repeat(&|| {
            let id = keepfs_format::run::RunId { machine: crate::support::MACHINE, number: 3 };
            let mut writer = keepfs_format::run::RunWriter::new(&keys, id, &env).unwrap();
            entries.iter().for_each(|(id, at)| writer.push(id, at).unwrap());
            writer.finish(&env).unwrap()
        }),
    ]
}

#[test]
fn equal_contents_share_no_pattern_at_any_place() {
    for same_kind in objects() {
        let len = same_kind[0].len();
        for object in &same_kind {
            assert_eq!(object.len(), len);
            assert_eq!(padded_len(len as u64), len as u64);
        }
        for at in 0..len {
            // Among 64 random bytes the expected number of pairs of equals is 8; 60 happen by chance never.
            let mut counts = [0u32; 256];
            same_kind.iter().for_each(|object| counts[usize::from(object[at])] += 1);
            let pairs: u32 = counts.iter().map(|count| count * count.saturating_sub(1) / 2).sum();
            assert!(pairs < 60, "byte {at} of {len}: {pairs} pairs");
        }
    }
}

#[test]
fn all_bytes_of_all_objects_are_uniform() {
    for same_kind in objects() {
        let mut counts = [0f64; 256];
        same_kind.iter().flatten().for_each(|byte| counts[usize::from(*byte)] += 1.0);
        let expected = counts.iter().sum::<f64>() / 256.0;
        let chi_square: f64 = counts.iter().map(|count| (count - expected).powi(2) / expected).sum();
        // 255 degrees of freedom: mean 255, deviation 22.6.
        assert!(chi_square < 400.0, "chi square {chi_square}");
    }
}
