//! Doors of sealed objects: bytes become the plaintext, get the signature and the seal that they need, and are opened as
//! what a store brings up.

use std::sync::LazyLock;

use keepfs_format::checkpoint::Checkpoint;
use keepfs_format::chunk::{CHUNK_SALT_LEN, ChunkOpener};
use keepfs_format::codec::Reader;
use keepfs_format::head::Head;
use keepfs_format::identity::{Domain, SigningKey, UserId};
use keepfs_format::ids::{ChunkId, PackId, Time, VaultId};
use keepfs_format::keys::Role;
use keepfs_format::pack::{PACK_LEN_MAX, open_trailer, seal_trailer};
use keepfs_format::roster::{Roster, User};
use keepfs_format::run::{RUN_BLOCK_LEN, Run, RunId};
use keepfs_format::secret::Secret;
use keepfs_format::segment::{Segment, SegmentPlace};
use keepfs_format::signed::ObjectHash;
use keepfs_format::wrap::ReaderKey;

use super::workshop::{
    KEYS, MACHINE, SIGNER, env, inner, key_at, seal_blocks, seal_inner, seal_run_block, signed, trailer,
};

/// Longest plaintext that a door makes of bytes.
const PLAIN_LEN_MAX: usize = 1 << 20;
/// Longest inner text of one block.
const INNER_LEN_MAX: usize = 60_000;
const BLOCK_LEN: usize = 65_536;
const SEQ: u64 = 2;
const PREVIOUS: ObjectHash = ObjectHash([3; 32]);
const CHECKPOINT: u64 = 4;
const PACK: PackId = PackId(5 << 40 | 9);
const RUN: RunId = RunId { machine: MACHINE, number: 3 };
const RUN_SALT: [u8; 32] = [44; 32];
const FOUNDER_ID: UserId = UserId([43; 16]);
const CHUNK: ChunkId = ChunkId([55; 32]);

/// The plaintext of an object of ours, to be compared with what it was made from.
fn plain_of(role: Role, name: &str, sealed: &[u8]) -> Vec<u8> {
    let plain = KEYS.open_object(role, name, sealed, PLAIN_LEN_MAX + 4096);
    assert!(plain.is_ok(), "what was sealed just now opens");
    plain.unwrap_or_default()
}

/// The body of a segment.
pub(super) fn segment(body: &[u8]) -> bool {
    let (plain, name) = (signed("keepfs/1 segment", body), KEYS.segment_name(MACHINE, SEQ));
    let Ok(object) = KEYS.seal_object(Role::Segment, &name, &env(), &plain) else { return false };
    let place = SegmentPlace { machine: MACHINE, seq: SEQ, previous: PREVIOUS };
    let Ok((segment, _)) = Segment::open(&KEYS, &place, &object, &key_at) else { return false };
    let again = segment.seal(&KEYS, &SIGNER, &env());
    assert!(again.is_ok(), "what was read can be written");
    if let Ok((again, _)) = again {
        assert_eq!(plain_of(Role::Segment, &name, &again), plain, "a segment has one encoding");
    }
    segment.groups().is_ok()
}

/// The body of a head.
pub(super) fn head(body: &[u8]) -> bool {
    let (plain, name) = (signed("keepfs/1 head", body), KEYS.head_name(MACHINE));
    let Ok(object) = KEYS.seal_object(Role::Head, &name, &env(), &plain) else { return false };
    let Ok((head, _)) = Head::open(&KEYS, MACHINE, &object, &key_at) else { return false };
    let again = head.seal(&KEYS, &SIGNER, &env());
    assert!(again.is_ok(), "what was read can be written");
    if let Ok((again, _)) = again {
        assert_eq!(plain_of(Role::Head, &name, &again), plain, "a head has one encoding");
    }
    true
}

/// The body of a checkpoint.
pub(super) fn checkpoint(body: &[u8]) -> bool {
    let (plain, name) = (signed("keepfs/1 checkpoint", body), KEYS.checkpoint_name(MACHINE, CHECKPOINT));
    let Ok(object) = KEYS.seal_object(Role::Checkpoint, &name, &env(), &plain) else { return false };
    let opened = Checkpoint::open(&KEYS, (MACHINE, CHECKPOINT), &object, &key_at);
    let Ok((checkpoint, _)) = opened else { return false };
    let again = checkpoint.seal(&KEYS, &SIGNER, &env());
    assert!(again.is_ok(), "what was read can be written");
    if let Ok((again, _)) = again {
        assert_eq!(plain_of(Role::Checkpoint, &name, &again), plain, "a checkpoint has one encoding");
    }
    true
}

/// The founder of the roster that entries are appended to, and its first entry.
struct Founder {
    key: SigningKey,
    first: Vec<u8>,
}

static FOUNDER: LazyLock<Option<Founder>> = LazyLock::new(|| {
    let key = SigningKey::from_seed(Secret::new([41; 32]));
    let reader = ReaderKey::from_seed(Secret::new([42; 32]));
    let user = User {
        id: FOUNDER_ID,
        name: "founder".into(),
        signing: key.verifying_key(),
        reader: reader.public(),
    };
    let founded = Roster::found(user, &key, Time::default());
    founded.ok().map(|(_, first)| Founder { key, first })
});

/// An entry of the roster before its signature, as the second one: all of it, or kind and body after what belongs there.
pub(super) fn roster_entry(bytes: &[u8]) -> bool {
    let (Some(founder), Some((is_whole, rest))) = (&*FOUNDER, bytes.split_first()) else { return false };
    let hash = blake3::derive_key("keepfs/1 hash of a roster entry", &founder.first);
    let opened = Roster::open(&founder.first, VaultId(hash));
    assert!(opened.is_ok(), "the first entry is the vault's");
    let Ok(mut roster) = opened else { return false };
    let entry = match is_whole {
        0 => rest.to_vec(),
        _ => [&[1, 1][..], &hash, &FOUNDER_ID.0, &[0, 0], rest].concat(),
    };
    let domain = Domain { context: "keepfs/1 roster entry", what: "door" };
    let signed = [&entry[..], &founder.key.sign(domain, &entry)].concat();
    let is_accepted = roster.accept(&signed).is_ok();
    assert_eq!(roster.entry_count(), 1 + u64::from(is_accepted));
    is_accepted
}

/// Algorithm and lengths of a sealed object, and its body.
pub(super) fn sealed(bytes: &[u8]) -> bool {
    let Some((header, body)) = bytes.split_first_chunk::<9>() else { return false };
    let key = [88; 32];
    let object = seal_inner(&key, b"door", &inner(header, &body[..body.len().min(INNER_LEN_MAX)]));
    let opened = keepfs_format::sealed::open(&Secret::new(key), b"door", &object, PLAIN_LEN_MAX, "door");
    assert!(!opened.as_ref().is_ok_and(|plain| plain.len() > PLAIN_LEN_MAX), "a limit is kept");
    opened.is_ok()
}

/// Lengths, then the payloads of one block or two, with a table or without.
pub(super) fn chunk(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes, "door");
    let (Ok(shape), Ok(plain_len), Ok(cut)) = (reader.u8(), reader.u32(), reader.u32()) else { return false };
    let rest = reader.rest();
    let plain_len = plain_len as usize % (2 * BLOCK_LEN) + 1;
    let is_double = plain_len > BLOCK_LEN;
    let (one, two) = rest.split_at(if is_double { cut as usize % (rest.len() + 1) } else { rest.len() });
    let payloads: &[&[u8]] = if is_double { &[one, two] } else { &[one] };
    let lengths: Vec<u16> = payloads.iter().map(|payload| payload.len().saturating_sub(1) as u16).collect();
    let object = seal_blocks(&CHUNK, (is_double && shape % 2 == 1).then_some(&lengths[..]), payloads);
    assert!(object.len() > CHUNK_SALT_LEN);
    let mut plain = vec![0; plain_len];
    ChunkOpener::new().open_chunk(&KEYS, &CHUNK, &object, &mut plain).is_ok()
}

/// Bytes that the chunks of a table fill, if it can be read that far.
fn body_len(table: &[u8]) -> Option<u64> {
    let mut reader = Reader::new(table, "door");
    let mut len = 0_u64;
    for _ in 0..reader.varint().ok()? {
        reader.raw(32).ok()?;
        let (plain, saved) = (reader.varint().ok()?, reader.varint().ok()?);
        let blocks = plain.div_ceil(BLOCK_LEN as u64);
        len = len.checked_add((16 + plain.checked_add(16 * blocks)?).checked_sub(saved)?)?;
    }
    (len <= PACK_LEN_MAX).then_some(len)
}

/// The table of a pack.
pub(super) fn pack_table(table: &[u8]) -> bool {
    let name = KEYS.pack_name(PACK);
    let made = trailer(Role::PackTable, &name, body_len(table).unwrap_or(1), table);
    let Some((tail, object_len)) = made else { return false };
    let Ok(opened) = open_trailer(&KEYS, PACK, object_len, &tail) else { return false };
    let again = seal_trailer(&KEYS, PACK, &opened, &env());
    assert!(again.is_ok(), "what was read can be written");
    if let Ok(again) = again {
        let sealed = &again[again.len() - tail.len()..again.len() - 4];
        assert_eq!(plain_of(Role::PackTable, &name, sealed), table, "a table has one encoding");
    }
    true
}

/// The fence of an index run.
pub(super) fn run_fence(fence: &[u8]) -> bool {
    let mut reader = Reader::new(fence, "door");
    let blocks = reader.raw(32).and_then(|_| reader.varint()).and_then(|_| reader.varint()).unwrap_or(1);
    let name = KEYS.run_name(RUN.machine, RUN.number);
    let len = blocks.min(1 << 12) * RUN_BLOCK_LEN as u64;
    let Some((tail, object_len)) = trailer(Role::IndexRun, &name, len, fence) else { return false };
    Run::open(&KEYS, RUN, object_len, &tail).is_ok_and(|run| run.block_count() as u64 == blocks)
}

/// The first block of an index run.
pub(super) fn run_block(entries: &[u8]) -> bool {
    let Some(first) = entries.first_chunk::<32>() else { return false };
    let name = KEYS.run_name(RUN.machine, RUN.number);
    let fence = [&RUN_SALT[..], &[1, 1], first].concat();
    let made = trailer(Role::IndexRun, &name, RUN_BLOCK_LEN as u64, &fence);
    let Some((tail, object_len)) = made else { return false };
    let opened = Run::open(&KEYS, RUN, object_len, &tail);
    assert!(opened.is_ok(), "a fence of one block is one");
    let mut plain = entries[..entries.len().min(BLOCK_LEN)].to_vec();
    plain.resize(BLOCK_LEN, 0);
    let block = seal_run_block(&name, &RUN_SALT, 0, &plain);
    let mut last = None;
    let read = opened.and_then(|run| {
        run.read_block(0, &block, &mut |id, _| {
            assert!(last.is_none_or(|last: ChunkId| last.0 < id.0), "entries ascend");
            last = Some(id);
        })
    });
    read.is_ok()
}
