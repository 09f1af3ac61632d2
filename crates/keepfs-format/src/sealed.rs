//! Sealed objects: everything small that goes to a store as one blob.
//!
//! It owns the layout `salt 32 ‖ commit 32 ‖ blocks of 64 KiB + tag 16`, the padding, and the compression
//! inside. The result is uniformly random to whoever lacks the key, and its length says only the Padmé
//! class. It never keeps a key: each object has its own, from a fresh salt.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::Zeroize;

use crate::codec::{Reader, Writer};
use crate::compress::{Compression, Compressor, Decompressor, STORED, ZSTD};
use crate::env::Env;
use crate::error::FormatError;
use crate::keys::{NamespaceKeys, Role, derive};
use crate::secret::Secret;

/// Plaintext bytes of a full block.
pub const BLOCK_LEN: usize = 65_536;
/// Bytes of an authentication tag.
pub const TAG_LEN: usize = 16;
/// Shortest object on a store.
pub const OBJECT_LEN_MIN: usize = 1024;
/// Longest body of a sealed object.
pub const BODY_LEN_MAX: usize = 64 << 20;

const SALT_LEN: usize = 32;
const COMMIT_LEN: usize = 32;
const PREFIX_LEN: usize = SALT_LEN + COMMIT_LEN;
/// Algorithm byte, plain length, stored length.
const INNER_HEADER_LEN: usize = 1 + 4 + 4;
/// Level for bodies: they are small and written once, read often.
const BODY_LEVEL: i32 = 3;

/// Twelve bytes that differ for every block under one key: a counter, and what kind of block it is.
#[derive(Clone, Copy)]
pub(crate) struct BlockNonce {
    counter: u32,
    mark: u8,
}

impl BlockNonce {
    const MORE: u8 = 0;
    const LAST: u8 = 1;
    const TABLE: u8 = 2;

    /// Of block `index` among `count`: the last one is marked, so that no shorter run of blocks is valid.
    pub(crate) fn block(index: usize, count: usize) -> Self {
        let counter = u32::try_from(index).expect("no object has 2^32 blocks: its length is checked before");
        Self { counter, mark: if index + 1 == count { Self::LAST } else { Self::MORE } }
    }

    /// Of the one table of block lengths a chunk may have.
    pub(crate) fn table() -> Self {
        Self { counter: 0, mark: Self::TABLE }
    }

    pub(crate) fn nonce(self) -> Nonce {
        let mut bytes = [0; 12];
        bytes[7..11].copy_from_slice(&self.counter.to_be_bytes());
        bytes[11] = self.mark;
        Nonce::assume_unique_for_key(bytes)
    }
}

/// AES-256-GCM under that key.
pub(crate) fn gcm_key(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("the key has 32 bytes, as its type says"))
}

/// Seals `plain` into `out`, which is longer by a tag.
pub(crate) fn seal_block(key: &LessSafeKey, nonce: BlockNonce, plain: &[u8], out: &mut [u8]) {
    let (body, tag) = out.split_at_mut(plain.len());
    key.seal_out_of_place_scatter(nonce.nonce(), Aad::empty(), plain, body, &[], tag)
        .expect("the lengths match and a block is far below the limit of AES-GCM");
}

/// Opens `sealed` into `out`, which is shorter by a tag.
pub(crate) fn open_block(
    key: &LessSafeKey,
    nonce: BlockNonce,
    sealed: &[u8],
    out: &mut [u8],
) -> Result<(), ()> {
    let at = sealed.len().checked_sub(TAG_LEN).ok_or(())?;
    let (body, tag) = sealed.split_at(at);
    key.open_separate_gather(nonce.nonce(), Aad::empty(), body, tag, out).map_err(|_| ())
}

/// The next length of the Padmé scheme: at most 12 % more, and as few bits of the length as that allows.
pub fn padme(len: u64) -> u64 {
    if len < 2 {
        return len;
    }
    let exponent = len.ilog2();
    let kept_bits = exponent.ilog2() + 1;
    let mask = (1u64 << (exponent.saturating_sub(kept_bits))) - 1;
    (len + mask) & !mask
}

/// The length that a blob of `len` bytes has on a store: Padmé, but at least [`OBJECT_LEN_MIN`].
pub fn padded_len(len: u64) -> u64 {
    padme(len).max(OBJECT_LEN_MIN as u64)
}

/// Plain and sealed length of an object whose header and body take `inner_len` bytes.
fn lengths(inner_len: usize) -> (usize, usize) {
    let mut wanted = PREFIX_LEN + inner_len + TAG_LEN * inner_len.div_ceil(BLOCK_LEN);
    loop {
        let sealed_len = padded_len(wanted as u64) as usize;
        if let Some(padded_inner_len) = inner_len_of(sealed_len) {
            return (padded_inner_len, sealed_len);
        }
        // A last block would be nothing but a tag, or less: the next length it is.
        wanted = sealed_len + 1;
    }
}

/// Plaintext bytes in the blocks of an object of this length, if there can be such an object.
fn inner_len_of(sealed_len: usize) -> Option<usize> {
    let blocks_len = sealed_len.checked_sub(PREFIX_LEN)?;
    let last_len = blocks_len % (BLOCK_LEN + TAG_LEN);
    if last_len != 0 && last_len <= TAG_LEN {
        return None;
    }
    Some(blocks_len - TAG_LEN * blocks_len.div_ceil(BLOCK_LEN + TAG_LEN))
}

/// Seals `plain` under a key derived from `key`, a fresh salt and `info`, which names the object.
///
/// # Errors
/// [`FormatError::TooLong`] when `plain` is over [`BODY_LEN_MAX`].
pub fn seal(key: &Secret<32>, info: &[u8], env: &dyn Env, plain: &[u8]) -> Result<Vec<u8>, FormatError> {
    if plain.len() > BODY_LEN_MAX {
        let limit = BODY_LEN_MAX as u64;
        return Err(FormatError::TooLong { what: "body of an object", actual: plain.len() as u64, limit });
    }
    let mut compressed = Vec::new();
    let algorithm = Compressor::new(Compression::Zstd(BODY_LEVEL)).append(plain, &mut compressed);
    let body = if algorithm == STORED { plain } else { &compressed };

    let (inner_len, sealed_len) = lengths(INNER_HEADER_LEN + body.len());
    let mut inner = Writer::with_capacity(inner_len);
    inner.u8(algorithm);
    inner.u32(plain.len() as u32);
    inner.u32(body.len() as u32);
    inner.raw(body);
    let mut inner = inner.into_bytes();
    inner.resize(inner_len, 0);

    let mut sealed = vec![0; sealed_len];
    env.fill(&mut sealed[..SALT_LEN]);
    let (object_key, commit) = object_key(key, info, &sealed[..SALT_LEN]);
    sealed[SALT_LEN..PREFIX_LEN].copy_from_slice(&commit);
    let count = inner_len.div_ceil(BLOCK_LEN);
    let outs = sealed[PREFIX_LEN..].chunks_mut(BLOCK_LEN + TAG_LEN);
    for (index, (plain, out)) in inner.chunks(BLOCK_LEN).zip(outs).enumerate() {
        seal_block(&object_key, BlockNonce::block(index, count), plain, out);
    }
    // What is sealed may be keys.
    inner.zeroize();
    Ok(sealed)
}

/// Opens what [`seal`] made; the result is at most `plain_len_max` long, and nothing longer is allocated.
///
/// # Errors
/// [`FormatError::NotAuthentic`] under a wrong key or `info`, or when any bit differs; other variants when
/// the writer was faulty. `what` names the object in them.
pub fn open(
    key: &Secret<32>,
    info: &[u8],
    sealed: &[u8],
    plain_len_max: usize,
    what: &'static str,
) -> Result<Vec<u8>, FormatError> {
    let forged = FormatError::NotAuthentic { what };
    if sealed.len() < OBJECT_LEN_MIN {
        return Err(FormatError::Truncated { what });
    }
    let (salt, rest) = sealed.split_at(SALT_LEN);
    let (stated_commit, blocks) = rest.split_at(COMMIT_LEN);
    let (object_key, commit) = object_key(key, info, salt);
    verify_slices_are_equal(&commit, stated_commit).map_err(|_| forged.clone())?;
    let inner_len = inner_len_of(sealed.len()).ok_or(forged.clone())?;
    // Compressed or not, a body is never longer than what it stands for, give or take the padding.
    let limit = padded_len(sealed_len_max(plain_len_max) as u64);
    if sealed.len() as u64 > limit {
        return Err(FormatError::TooLong { what, actual: sealed.len() as u64, limit });
    }
    let mut inner = vec![0; inner_len];
    let count = inner_len.div_ceil(BLOCK_LEN);
    let outs = inner.chunks_mut(BLOCK_LEN);
    for (index, (sealed, out)) in blocks.chunks(BLOCK_LEN + TAG_LEN).zip(outs).enumerate() {
        open_block(&object_key, BlockNonce::block(index, count), sealed, out).map_err(|()| forged.clone())?;
    }
    unwrap_inner(inner, plain_len_max, what)
}

fn sealed_len_max(plain_len: usize) -> usize {
    let inner_len = plain_len.min(BODY_LEN_MAX) + INNER_HEADER_LEN;
    // Two tags more than needed: a length that cannot be is replaced by a longer one.
    PREFIX_LEN + inner_len + TAG_LEN * (inner_len.div_ceil(BLOCK_LEN) + 2)
}

/// Takes the body out of the opened blocks.
fn unwrap_inner(
    mut inner: Vec<u8>,
    plain_len_max: usize,
    what: &'static str,
) -> Result<Vec<u8>, FormatError> {
    let mut reader = Reader::new(&inner, what);
    let algorithm = reader.u8()?;
    let plain_len = reader.u32()? as usize;
    let stored_len = reader.u32()? as usize;
    if plain_len > plain_len_max {
        let limit = plain_len_max as u64;
        return Err(FormatError::TooLong { what, actual: plain_len as u64, limit });
    }
    let body = reader.raw(stored_len)?;
    let padding = reader.rest();
    let padded = lengths(INNER_HEADER_LEN + stored_len).0 == inner.len();
    if !padded || padding.iter().any(|byte| *byte != 0) {
        return Err(FormatError::NotCanonical { what: "padding of an object" });
    }
    match algorithm {
        STORED if stored_len == plain_len => {
            inner.copy_within(INNER_HEADER_LEN..INNER_HEADER_LEN + stored_len, 0);
            inner.truncate(stored_len);
            Ok(inner)
        }
        STORED => Err(FormatError::NotCanonical { what: "length of an object's body" }),
        ZSTD if stored_len < plain_len => {
            let mut plain = vec![0; plain_len];
            Decompressor::new().fill(ZSTD, body, &mut plain, what)?;
            Ok(plain)
        }
        ZSTD => Err(FormatError::NotCanonical { what: "length of an object's body" }),
        found => Err(FormatError::BadTag { what: "compression of an object", found: u64::from(found) }),
    }
}

fn object_key(key: &Secret<32>, info: &[u8], salt: &[u8]) -> (LessSafeKey, [u8; COMMIT_LEN]) {
    let derived = derive::<64>(key.expose(), salt, &[info]);
    let (mut object_key, mut commit) = ([0; 32], [0; COMMIT_LEN]);
    object_key.copy_from_slice(&derived.expose()[..32]);
    commit.copy_from_slice(&derived.expose()[32..]);
    let object_key = Secret::new(object_key);
    (gcm_key(object_key.expose()), commit)
}

impl NamespaceKeys {
    /// Seals an object of this namespace; `name` is where it will lie, and it opens nowhere else.
    ///
    /// # Errors
    /// As [`seal`].
    pub fn seal_object(
        &self,
        role: Role,
        name: &str,
        env: &dyn Env,
        plain: &[u8],
    ) -> Result<Vec<u8>, FormatError> {
        seal(self.epochs()[0].role(role), &self.object_info(role, name), env, plain)
    }

    /// Opens an object that lay at `name`, under whichever known epoch it was sealed.
    ///
    /// # Errors
    /// As [`open`].
    pub fn open_object(
        &self,
        role: Role,
        name: &str,
        sealed: &[u8],
        plain_len_max: usize,
    ) -> Result<Vec<u8>, FormatError> {
        let info = self.object_info(role, name);
        let mut result = Err(FormatError::NotAuthentic { what: role.what() });
        for epoch in self.epochs() {
            result = open(epoch.role(role), &info, sealed, plain_len_max, role.what());
            if !matches!(result, Err(FormatError::NotAuthentic { .. })) {
                break;
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{CountingEnv, keys, other_epoch_keys, random_bytes};

    #[test]
    fn padme_wastes_little_and_is_a_fixed_point() {
        for len in (1..100_000).chain((0..40).map(|shift| (1u64 << shift) + 1)) {
            let padded = padme(len);
            assert!(padded >= len && padme(padded) == padded);
            assert!((padded - len) as f64 <= 0.12 * len as f64, "{len} became {padded}");
        }
        assert_eq!(padme(48 << 20), 48 << 20);
    }

    #[test]
    fn objects_of_every_length_come_back() {
        let (keys, env) = (keys(), CountingEnv::new(1));
        for len in [0, 1, 935, 936, 65_000, 65_527, 65_528, 131_000, 131_072, 1 << 20] {
            for plain in [random_bytes(7, len), vec![42; len]] {
                let sealed = keys.seal_object(Role::Segment, "n", &env, &plain).unwrap();
                assert_eq!(padded_len(sealed.len() as u64), sealed.len() as u64);
                assert_eq!(keys.open_object(Role::Segment, "n", &sealed, len).unwrap(), plain);
                if len > 0 {
                    let error = keys.open_object(Role::Segment, "n", &sealed, len - 1).unwrap_err();
                    assert!(matches!(error, FormatError::TooLong { .. }));
                }
            }
        }
    }

    #[test]
    fn every_flipped_byte_and_every_other_length_is_refused() {
        let (keys, env) = (keys(), CountingEnv::new(1));
        let sealed = keys.seal_object(Role::Head, "n", &env, b"body").unwrap();
        for at in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert!(keys.open_object(Role::Head, "n", &bad, 100).is_err(), "byte {at}");
            assert!(keys.open_object(Role::Head, "n", &sealed[..at], 100).is_err(), "cut at {at}");
        }
        let mut longer = sealed.clone();
        longer.push(0);
        assert!(keys.open_object(Role::Head, "n", &longer, 100).is_err());
    }

    #[test]
    fn an_object_opens_only_in_its_place() {
        let (keys, env) = (keys(), CountingEnv::new(1));
        let sealed = keys.seal_object(Role::Segment, "n", &env, b"body").unwrap();
        for (role, name) in [(Role::Head, "n"), (Role::Segment, "m"), (Role::Checkpoint, "n")] {
            let error = keys.open_object(role, name, &sealed, 100).unwrap_err();
            assert_eq!(error, FormatError::NotAuthentic { what: role.what() });
        }
        assert!(other_epoch_keys().open_object(Role::Segment, "n", &sealed, 100).is_err());
    }

    #[test]
    fn objects_of_past_epochs_open() {
        let env = CountingEnv::new(1);
        let mut newer = other_epoch_keys();
        newer.add_past_epoch(1, &Secret::new([1; 32]));
        let sealed = keys().seal_object(Role::Segment, "n", &env, b"body").unwrap();
        assert_eq!(newer.open_object(Role::Segment, "n", &sealed, 100).unwrap(), b"body");
    }
}
