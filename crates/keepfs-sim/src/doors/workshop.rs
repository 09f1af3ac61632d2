//! Keys that everybody knows, and sealing by hand as FORMAT.md has it: what a faulty or hostile writer with the right keys
//! would put on a store. It never asks our writers, who would refuse.

use std::sync::LazyLock;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use keepfs_format::codec::Writer;
use keepfs_format::identity::{Domain, SigningKey, VerifyingKey};
use keepfs_format::ids::{ChunkId, MachineTag, NamespaceId, VaultId};
use keepfs_format::keys::{NamespaceKeys, NamespaceSecrets, Role};
use keepfs_format::roster::EntryHash;
use keepfs_format::secret::Secret;
use keepfs_format::signed::RosterPoint;

use crate::seeded::SeededEnv;

pub(super) const VAULT: VaultId = VaultId([9; 32]);
pub(super) const NAMESPACE: NamespaceId = NamespaceId(1);
/// The machine that wrote everything here.
pub(super) const MACHINE: MachineTag = MachineTag(5);
/// Bytes of a block before it is sealed.
const BLOCK_LEN: usize = 65_536;
/// Shortest sealed object.
const OBJECT_LEN_MIN: usize = 1024;
/// What sealing in one block adds: salt, commitment, tag.
const OVERHEAD_LEN: usize = 32 + 32 + 16;
const EPOCH_KEY: [u8; 32] = [1; 32];
const NAME_KEY: [u8; 32] = [24; 32];

/// The keys of the only namespace.
pub(super) static KEYS: LazyLock<NamespaceKeys> = LazyLock::new(|| {
    NamespaceKeys::derive(&NamespaceSecrets {
        vault: VAULT,
        namespace: NAMESPACE,
        epoch: 1,
        epoch_key: Secret::new(EPOCH_KEY),
        id_key: Secret::new([21; 32]),
        cut_key: Secret::new([22; 32]),
        directory_key: Secret::new([23; 32]),
        name_key: Secret::new(NAME_KEY),
    })
});

/// Signs what the machine writes.
pub(super) static SIGNER: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::from_seed(Secret::new([31; 32])));

/// Randomness that is the same each time.
pub(super) fn env() -> SeededEnv {
    SeededEnv::new(7)
}

/// The key of the machine, anywhere in the roster.
pub(super) fn key_at(machine: MachineTag, _at: RosterPoint) -> Option<VerifyingKey> {
    (machine == MACHINE).then(|| SIGNER.verifying_key())
}

/// What stands before the body of a segment, head or checkpoint.
pub(super) fn envelope(body: &[u8]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(body.len() + 128);
    writer.u8(1);
    writer.raw(&VAULT.0);
    writer.u32(NAMESPACE.0);
    writer.varint(u64::from(MACHINE.0));
    writer.varint(3);
    writer.raw(&EntryHash([8; 32]).0);
    writer.raw(body);
    writer.into_bytes()
}

/// The same with its signature.
pub(super) fn signed(context: &'static str, body: &[u8]) -> Vec<u8> {
    let mut plain = envelope(body);
    let signature = SIGNER.sign(Domain { context, what: "door" }, &plain);
    plain.extend_from_slice(&signature);
    plain
}

struct Len(usize);

impl hkdf::KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

fn derive<const N: usize>(secret: &[u8], salt: &[u8], info: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    let info = [info];
    let filled = extracted.expand(&info, Len(N)).and_then(|okm| okm.fill(&mut out));
    assert!(filled.is_ok(), "HKDF gives 64 bytes at once");
    out
}

/// `K_log`, `K_checkpoint`, `K_pack` or `K_chunk`.
fn epoch_key(label: &str) -> [u8; 32] {
    let namespace = NAMESPACE.0.to_le_bytes();
    let info = [&b"keepfs/1"[..], &VAULT.0, &namespace, &1u32.to_le_bytes(), label.as_bytes()].concat();
    derive(&EPOCH_KEY, &[], &info)
}

static CHUNK_KEY: LazyLock<[u8; 32]> = LazyLock::new(|| epoch_key("chunk"));
static CHECKPOINT_KEY: LazyLock<[u8; 32]> = LazyLock::new(|| epoch_key("checkpoint"));

fn gcm(key: &[u8; 32], counter: u32, mark: u8, plain: &[u8]) -> Vec<u8> {
    let mut nonce = [0; 12];
    nonce[7..11].copy_from_slice(&counter.to_be_bytes());
    nonce[11] = mark;
    let mut sealed = plain.to_vec();
    let key = UnboundKey::new(&AES_256_GCM, key).map(LessSafeKey::new);
    let done = key.and_then(|key| {
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed)
    });
    assert!(done.is_ok(), "a block is far shorter than what the cipher can seal");
    sealed
}

/// A sealed object of one block around an inner text, whatever that is, under a key and what it is bound to.
pub(super) fn seal_inner(key: &[u8; 32], info: &[u8], inner: &[u8]) -> Vec<u8> {
    let salt = [77; 32];
    let derived: [u8; 64] = derive(key, &salt, info);
    let mut object = salt.to_vec();
    object.extend_from_slice(&derived[32..]);
    let mut block_key = [0; 32];
    block_key.copy_from_slice(&derived[..32]);
    object.extend(gcm(&block_key, 0, 1, &inner[..inner.len().min(BLOCK_LEN)]));
    object
}

/// Algorithm, lengths and body, filled with zeros to the shortest object.
pub(super) fn inner(header: &[u8; 9], body: &[u8]) -> Vec<u8> {
    let mut inner = header.to_vec();
    inner.extend_from_slice(body);
    inner.resize(inner.len().max(OBJECT_LEN_MIN - OVERHEAD_LEN), 0);
    inner
}

/// A chunk of blocks around these payloads, with a table when there are lengths for it.
pub(super) fn seal_blocks(id: &ChunkId, lengths: Option<&[u16]>, payloads: &[&[u8]]) -> Vec<u8> {
    let salt = [66; 16];
    let key = *blake3::keyed_hash(&CHUNK_KEY, &[&id.0[..], &salt].concat()).as_bytes();
    let mut sealed = salt.to_vec();
    if let Some(lengths) = lengths {
        let table: Vec<u8> = lengths.iter().flat_map(|len| len.to_le_bytes()).collect();
        sealed.extend(gcm(&key, 0, 2, &table));
    }
    for (index, payload) in payloads.iter().enumerate() {
        let mark = u8::from(index + 1 == payloads.len());
        sealed.extend(gcm(&key, index as u32, mark, payload));
    }
    sealed
}

/// A sealed block of an index run.
pub(super) fn seal_run_block(name: &str, salt: &[u8; 32], index: u32, plain: &[u8]) -> Vec<u8> {
    let input = [&b"run blocks"[..], salt, name.as_bytes()].concat();
    let key = *blake3::keyed_hash(&CHECKPOINT_KEY, &input).as_bytes();
    gcm(&key, index, 0, plain)
}

/// What follows a body of this length in a pack or run: padding, the sealed table and its masked length. And the length
/// of the whole object.
pub(super) fn trailer(role: Role, name: &str, body_len: u64, table: &[u8]) -> Option<(Vec<u8>, u64)> {
    let sealed = KEYS.seal_object(role, name, &env(), table).ok()?;
    let used_len = body_len + sealed.len() as u64 + 4;
    let object_len = keepfs_format::sealed::padded_len(used_len);
    let mask_key = *blake3::keyed_hash(&NAME_KEY, b"length mask").as_bytes();
    let before = &sealed[sealed.len() - 32..];
    let mask = blake3::keyed_hash(&mask_key, &[name.as_bytes(), before].concat());
    let masked = (sealed.len() as u32).to_le_bytes();
    let mut tail = sealed;
    tail.extend(masked.iter().zip(mask.as_bytes()).map(|(byte, mask)| byte ^ mask));
    Some((tail, object_len))
}
