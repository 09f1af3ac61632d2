//! Sealing as a stranger would write it from FORMAT.md, with none of our code: what it makes, ours opens,
//! and it can make what ours never would.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use keepfs_format::FormatError;
use keepfs_format::chunk::{ChunkOpener, ChunkSealer};
use keepfs_format::compress::Compression;
use keepfs_format::ids::ChunkId;
use keepfs_format::keys::Role;

use crate::support::{NAMESPACE, VAULT, chunk_id, keys, random_bytes};

struct Len(usize);

impl hkdf::KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

fn hkdf(secret: &[u8], salt: &[u8], info: &[&[u8]], len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    prk.expand(info, Len(len)).unwrap().fill(&mut out).unwrap();
    out
}

/// K_log, K_checkpoint, K_pack or K_chunk of epoch 1 of the test keys.
pub(crate) fn epoch_key(name: &str) -> Vec<u8> {
    let namespace = NAMESPACE.0.to_le_bytes();
    hkdf(&[1; 32], &[], &[b"keepfs/1", &VAULT.0, &namespace, &1u32.to_le_bytes(), name.as_bytes()], 32)
}

fn gcm(key: &[u8], counter: u32, mark: u8, plain: &[u8]) -> Vec<u8> {
    let mut nonce = [0; 12];
    nonce[7..11].copy_from_slice(&counter.to_be_bytes());
    nonce[11] = mark;
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap());
    let mut sealed = plain.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed).unwrap();
    sealed
}

/// An object of less than one block around `inner`, whatever that is.
pub(crate) fn seal_inner(role_key: &str, role: u8, name: &str, inner: &[u8]) -> Vec<u8> {
    assert!(inner.len() <= 65_536);
    let salt = [77; 32];
    let namespace = NAMESPACE.0.to_le_bytes();
    let info = [b"keepfs/1".as_slice(), &VAULT.0, &namespace, &[role], name.as_bytes()].concat();
    let key = hkdf(&epoch_key(role_key), &salt, &[&info], 64);
    let mut object = salt.to_vec();
    object.extend_from_slice(&key[32..]);
    object.extend(gcm(&key[..32], 0, 1, inner));
    object
}

/// Header and body of an object, filled with zeros to 1 KiB in all.
pub(crate) fn inner(algorithm: u8, plain_len: u32, stored_len: u32, body: &[u8]) -> Vec<u8> {
    let mut inner = vec![algorithm];
    inner.extend(plain_len.to_le_bytes());
    inner.extend(stored_len.to_le_bytes());
    inner.extend_from_slice(body);
    inner.resize(1024 - 64 - 16, 0);
    inner
}

/// A chunk of one block around `payload`.
pub(crate) fn seal_one_block(id: &ChunkId, payload: &[u8]) -> Vec<u8> {
    seal_blocks(id, None, &[payload])
}

/// A chunk of blocks around these payloads, with a table when its lengths are given.
pub(crate) fn seal_blocks(id: &ChunkId, lengths: Option<&[u16]>, payloads: &[&[u8]]) -> Vec<u8> {
    let salt = [66; 16];
    let key = epoch_key("chunk").try_into().unwrap();
    let key = blake3::keyed_hash(&key, &[&id.0[..], &salt].concat());
    let mut sealed = salt.to_vec();
    if let Some(lengths) = lengths {
        let table: Vec<u8> = lengths.iter().flat_map(|len| len.to_le_bytes()).collect();
        sealed.extend(gcm(key.as_bytes(), 0, 2, &table));
    }
    for (index, payload) in payloads.iter().enumerate() {
        let mark = u8::from(index + 1 == payloads.len());
        sealed.extend(gcm(key.as_bytes(), index as u32, mark, payload));
    }
    sealed
}

#[test]
fn an_object_a_stranger_sealed_opens() {
    let object = seal_inner("log", 2, "h/name", &inner(0, 5, 5, b"hello"));
    assert_eq!(keys().open_object(Role::Head, "h/name", &object, 5).unwrap(), b"hello");
    let body = zstd::bulk::compress(&[b'a'; 5000], 1).unwrap();
    let object = seal_inner("checkpoint", 3, "n", &inner(1, 5000, body.len() as u32, &body));
    assert_eq!(keys().open_object(Role::Checkpoint, "n", &object, 5000).unwrap(), [b'a'; 5000]);
}

#[test]
fn objects_of_a_faulty_writer_are_refused() {
    let open = |inner: &[u8], max| {
        keys().open_object(Role::Head, "n", &seal_inner("log", 2, "n", inner), max).unwrap_err()
    };
    let body = zstd::bulk::compress(&[b'a'; 5000], 1).unwrap();
    let len = body.len() as u32;
    let not_canonical = |what| FormatError::NotCanonical { what };
    let bad_compression = FormatError::BadCompression { what: "head" };
    assert_eq!(open(&inner(0, 5, 4, b"hello"), 9), not_canonical("padding of an object"));
    assert_eq!(open(&inner(0, 4, 5, b"hello"), 9), not_canonical("length of an object's body"));
    assert_eq!(open(&inner(1, 5, 5, b"hello"), 9), not_canonical("length of an object's body"));
    assert_eq!(open(&inner(1, 9, 5, b"hello"), 9), bad_compression);
    assert_eq!(open(&inner(1, 4999, len, &body), 9999), bad_compression);
    assert_eq!(open(&inner(1, 5001, len, &body), 9999), bad_compression);
    assert!(matches!(open(&inner(1, u32::MAX, len, &body), 9999), FormatError::TooLong { .. }));
    assert!(matches!(open(&inner(0, 5, u32::MAX, b"hello"), 9), FormatError::Truncated { .. }));
    assert!(matches!(open(&inner(2, 9, 5, b"hello"), 9), FormatError::BadTag { .. }));
    let mut too_long = inner(0, 5, 5, b"hello");
    too_long.extend([0; 64]);
    assert!(matches!(open(&too_long, 2000), FormatError::NotCanonical { .. }));
}

#[test]
fn chunks_a_stranger_sealed_open() {
    let id = chunk_id(1);
    let open = |sealed: &[u8], len: usize| {
        let mut out = vec![0; len];
        ChunkOpener::new().open_chunk(&keys(), &id, sealed, &mut out).map(|()| out)
    };
    assert_eq!(open(&seal_one_block(&id, b"hello"), 5).unwrap(), b"hello");
    let long = random_bytes(1, 65_537);
    let sealed = seal_blocks(&id, None, &[&long[..65_536], &long[65_536..]]);
    assert_eq!(open(&sealed, 65_537).unwrap(), long);

    let zstd = [&[1][..], &zstd::bulk::compress(&[b'a'; 65_536], 1).unwrap()].concat();
    let lz4 = [&[2][..], &lz4_flex::block::compress(&[b'b'; 65_536])].concat();
    let lengths = [(zstd.len() - 1) as u16, (lz4.len() - 1) as u16, 1];
    let sealed = seal_blocks(&id, Some(&lengths), &[&zstd, &lz4, b"xy"]);
    let plain = [vec![b'a'; 65_536], vec![b'b'; 65_536], b"xy".to_vec()].concat();
    assert_eq!(open(&sealed, plain.len()).unwrap(), plain);
}

#[test]
fn chunks_of_a_faulty_writer_are_refused() {
    let id = chunk_id(1);
    let open = |sealed: &[u8], len: usize| {
        ChunkOpener::new().open_chunk(&keys(), &id, sealed, &mut vec![0; len]).unwrap_err()
    };
    let bomb = [&[1][..], &zstd::bulk::compress(&vec![0; 4 << 20], 1).unwrap()].concat();
    assert_eq!(open(&seal_one_block(&id, &bomb), 60_000), FormatError::BadCompression { what: "chunk" });
    assert!(matches!(open(&seal_one_block(&id, &[9, 0, 0]), 60_000), FormatError::BadTag { .. }));
    assert!(matches!(open(&seal_one_block(&id, &[0, 0, 0]), 60_000), FormatError::BadTag { .. }));
    assert!(matches!(open(&seal_one_block(&id, b""), 60_000), FormatError::Invalid { .. }));
    let block = random_bytes(1, 1000);
    let lengths = |a: usize, b: usize| [(a - 1) as u16, (b - 1) as u16];
    for (a, b) in [(999, 1001), (1001, 999), (1000, 1001), (1000, 65_536)] {
        let sealed = seal_blocks(&id, Some(&lengths(a, b)), &[&block, &block]);
        let error = open(&sealed, 2 * 65_536);
        assert!(matches!(error, FormatError::Invalid { .. } | FormatError::NotAuthentic { .. }), "{error:?}");
    }
}

#[test]
fn a_chunk_of_ours_is_what_a_stranger_would_make() {
    let (keys, id) = (keys(), chunk_id(1));
    let mut out = Vec::new();
    ChunkSealer::new(Compression::None).seal(&keys, &id, [66; 16], b"hello", &mut out).unwrap();
    assert_eq!(out, seal_one_block(&id, b"hello"));
}
