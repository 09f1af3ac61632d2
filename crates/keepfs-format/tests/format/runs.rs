//! Index runs: found from their end, read block by block or whole.

use keepfs_format::FormatError;
use keepfs_format::chunk::sealed_len_max;
use keepfs_format::ids::{ChunkId, Locator, PackId};
use keepfs_format::run::{RUN_BLOCK_LEN, Run, RunId, RunWriter};
use keepfs_format::trailer::TAIL_LEN_MIN;

use crate::support::{CountingEnv, MACHINE, chunk_id, keys, number};

const RUN: RunId = RunId { machine: MACHINE, number: 3 };

pub(crate) fn entries(count: u64) -> Vec<(ChunkId, Locator)> {
    let mut entries: Vec<_> = (0..count)
        .map(|n| {
            let plain_len = 1 + (n as u32 * 7) % 100_000;
            let at = Locator {
                pack: PackId(number(n / 40)),
                index: (n % 40) as u32,
                offset: (n % 40) as u32 * 120_000,
                sealed_len: sealed_len_max(plain_len) - (n as u32 % 2) * (plain_len / 3),
                plain_len,
            };
            (chunk_id(n), at)
        })
        .collect();
    entries.sort_by_key(|(id, _)| *id);
    entries
}

pub(crate) fn object(entries: &[(ChunkId, Locator)]) -> Vec<u8> {
    let (keys, env) = (keys(), CountingEnv::new(5));
    let mut writer = RunWriter::new(&keys, RUN, &env).unwrap();
    entries.iter().for_each(|(id, at)| writer.push(id, at).unwrap());
    writer.finish(&env).unwrap()
}

#[test]
fn runs_come_back_whole_and_block_by_block() {
    let keys = keys();
    for count in [1, 1000, 3000, 20_000] {
        let entries = entries(count);
        let object = object(&entries);
        let len = object.len() as u64;
        let mut back = Vec::new();
        let run = Run::read_all(&keys, RUN, &object, &mut |id, at| back.push((id, at))).unwrap();
        assert_eq!(back, entries);
        assert_eq!(run.entry_count(), count);

        let needed = Run::tail_len(&keys, RUN, len, &object[object.len() - TAIL_LEN_MIN..]).unwrap();
        let run = Run::open(&keys, RUN, len, &object[object.len() - needed..]).unwrap();
        for (id, at) in entries.iter().step_by(97) {
            let block = run.block_of(id).unwrap();
            let sealed = &object[block * RUN_BLOCK_LEN..][..RUN_BLOCK_LEN];
            let mut found = None;
            run.read_block(block, sealed, &mut |other, at| {
                if other == *id {
                    found = Some(at);
                }
            })
            .unwrap();
            assert_eq!(found, Some(*at));
        }
        assert_eq!(run.block_of(&ChunkId([0; 32])), None);
        assert_eq!(run.block_of(&ChunkId([255; 32])), Some(run.block_count() - 1));
    }
}

#[test]
fn an_entry_costs_less_than_fifty_bytes() {
    let object = object(&entries(100_000));
    assert!(object.len() < 50 * 100_000, "{} bytes an entry", object.len() / 100_000);
}

#[test]
fn flipped_bytes_and_other_lengths_are_refused() {
    let keys = keys();
    let object = object(&entries(3000));
    let read = |bytes: &[u8]| Run::read_all(&keys, RUN, bytes, &mut |_, _| {}).is_ok();
    assert!(read(&object));
    let fence_len = Run::tail_len(&keys, RUN, object.len() as u64, &object).unwrap();
    let used = 2 * RUN_BLOCK_LEN;
    let padding = used..object.len() - fence_len;
    for at in (0..object.len()).step_by(61).chain(object.len() - fence_len..object.len()) {
        let mut bad = object.clone();
        bad[at] ^= 1;
        // Padding between the blocks and the fence is random and means nothing.
        assert_eq!(read(&bad), padding.contains(&at), "byte {at}");
    }
    for end in (0..object.len()).step_by(997) {
        assert!(!read(&object[..end]));
    }
    let mut swapped = object[RUN_BLOCK_LEN..used].to_vec();
    swapped.extend_from_slice(&object[..RUN_BLOCK_LEN]);
    swapped.extend_from_slice(&object[used..]);
    assert!(!read(&swapped));
    let other = RunId { number: 4, ..RUN };
    assert!(Run::read_all(&keys, other, &object, &mut |_, _| {}).is_err());
}

#[test]
fn entries_that_break_a_rule_are_not_written() {
    let (keys, env) = (keys(), CountingEnv::new(5));
    let entries = entries(3);
    let (id, good) = entries[1];
    let push = |id: &ChunkId, at: Locator| {
        let mut writer = RunWriter::new(&keys, RUN, &env).unwrap();
        writer.push(&entries[0].0, &good).unwrap();
        writer.push(id, &at)
    };
    push(&id, good).unwrap();
    assert!(push(&entries[0].0, good).is_err());
    assert!(push(&id, Locator { plain_len: 0, ..good }).is_err());
    assert!(push(&id, Locator { sealed_len: 5, ..good }).is_err());
    assert!(push(&id, Locator { offset: 48 << 20, ..good }).is_err());
    assert!(push(&id, Locator { index: 65_536, ..good }).is_err());
    assert!(push(&id, Locator { pack: PackId(1 << 62), ..good }).is_err());
    let empty = RunWriter::new(&keys, RUN, &env).unwrap().finish(&env).unwrap_err();
    assert!(matches!(empty, FormatError::Invalid { .. }));
}
