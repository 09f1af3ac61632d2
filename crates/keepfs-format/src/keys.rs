//! The keys of one namespace, and everything that is named or numbered by a keyed function.
//!
//! It owns the key tree below a namespace's secrets. It never sees a password, a slot or the roster: who
//! may have these secrets is decided there.

use std::fmt::Write as _;

use aws_lc_rs::hkdf;
use zeroize::Zeroize;

use crate::error::FormatError;
use crate::ids::{ChunkId, DIRECTORY_BIT, Ino, MachineTag, NamespaceId, PackId, VaultId};
use crate::secret::Secret;

/// Prefix of every derivation: format 1.
pub(crate) const DOMAIN: &[u8] = b"keepfs/1";
/// Characters of an object's own name: 130 bits in base 32.
pub const NAME_LEN: usize = 26;

/// What a reader of a namespace is given: the secrets of its newest epoch, and those drawn once for all.
pub struct NamespaceSecrets {
    /// The vault.
    pub vault: VaultId,
    /// The namespace.
    pub namespace: NamespaceId,
    /// Number of the newest epoch.
    pub epoch: u32,
    /// The secret of that epoch, from which all sealing keys come.
    pub epoch_key: Secret<32>,
    /// Keys chunk ids; drawn once, so that equal content is found equal across epochs.
    pub id_key: Secret<32>,
    /// Seeds the gear table that cuts content; drawn once.
    pub cut_key: Secret<32>,
    /// Keys directory numbers and the places where directory objects are split; drawn once.
    pub directory_key: Secret<32>,
    /// Keys object names; drawn once, so that a name can be computed without knowing its epoch.
    pub name_key: Secret<32>,
}

/// The use of a sealed object. It is bound into the object's key: one never opens as another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Role {
    /// A segment of a log.
    Segment = 1,
    /// A head.
    Head = 2,
    /// A checkpoint.
    Checkpoint = 3,
    /// The table at the end of a pack.
    PackTable = 4,
    /// The fence at the end of an index run.
    IndexRun = 5,
}

impl Role {
    /// Its name in errors.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Segment => "segment",
            Self::Head => "head",
            Self::Checkpoint => "checkpoint",
            Self::PackTable => "pack table",
            Self::IndexRun => "index run",
        }
    }
}

/// Sealing keys of one epoch.
pub(crate) struct EpochKeys {
    epoch: u32,
    log: Secret<32>,
    checkpoint: Secret<32>,
    pack: Secret<32>,
    chunk: Secret<32>,
}

impl EpochKeys {
    fn derive(vault: VaultId, namespace: NamespaceId, epoch: u32, epoch_key: &Secret<32>) -> Self {
        let key = |name: &str| {
            let info: [&[u8]; 5] =
                [DOMAIN, &vault.0, &namespace.0.to_le_bytes(), &epoch.to_le_bytes(), name.as_bytes()];
            derive::<32>(epoch_key.expose(), &[], &info)
        };
        Self { epoch, log: key("log"), checkpoint: key("checkpoint"), pack: key("pack"), chunk: key("chunk") }
    }

    pub(crate) fn role(&self, role: Role) -> &Secret<32> {
        match role {
            Role::Segment | Role::Head => &self.log,
            Role::Checkpoint | Role::IndexRun => &self.checkpoint,
            Role::PackTable => &self.pack,
        }
    }

    /// A fresh key for one sealing of one chunk.
    pub(crate) fn chunk(&self, id: &ChunkId, salt: &[u8; 16]) -> Secret<32> {
        let mut input = [0; 48];
        input[..32].copy_from_slice(&id.0);
        input[32..].copy_from_slice(salt);
        Secret::new(*blake3::keyed_hash(self.chunk.expose(), &input).as_bytes())
    }
}

/// All keys of one open namespace.
pub struct NamespaceKeys {
    vault: VaultId,
    namespace: NamespaceId,
    id_key: Secret<32>,
    cut_key: Secret<32>,
    directory_key: Secret<32>,
    leaf_key: Secret<32>,
    name_key: Secret<32>,
    mask_key: Secret<32>,
    /// The newest first. Sealing uses the first; opening tries them in order. Never empty.
    epochs: Vec<EpochKeys>,
}

impl NamespaceKeys {
    /// The keys that follow from a namespace's secrets.
    pub fn derive(secrets: &NamespaceSecrets) -> Self {
        let NamespaceSecrets { vault, namespace, epoch, .. } = *secrets;
        Self {
            vault,
            namespace,
            id_key: secrets.id_key.duplicate(),
            cut_key: secrets.cut_key.duplicate(),
            directory_key: secrets.directory_key.duplicate(),
            leaf_key: prf_key(&secrets.directory_key, b"leaf boundary"),
            name_key: secrets.name_key.duplicate(),
            mask_key: prf_key(&secrets.name_key, b"length mask"),
            epochs: vec![EpochKeys::derive(vault, namespace, epoch, &secrets.epoch_key)],
        }
    }

    /// Makes objects of an earlier epoch readable.
    pub fn add_past_epoch(&mut self, epoch: u32, epoch_key: &Secret<32>) {
        let keys = EpochKeys::derive(self.vault, self.namespace, epoch, epoch_key);
        let at = self.epochs.iter().skip(1).position(|other| other.epoch < epoch);
        self.epochs.insert(at.map_or(self.epochs.len(), |at| at + 1), keys);
    }

    /// The vault.
    pub fn vault(&self) -> VaultId {
        self.vault
    }

    /// The namespace.
    pub fn namespace(&self) -> NamespaceId {
        self.namespace
    }

    /// The epoch that new objects are sealed under.
    pub fn epoch(&self) -> u32 {
        self.epochs[0].epoch
    }

    /// The id of a chunk with this content.
    pub fn chunk_id(&self, plain: &[u8]) -> ChunkId {
        ChunkId(*blake3::keyed_hash(self.id_key.expose(), plain).as_bytes())
    }

    /// Whether content is what its id says.
    ///
    /// # Errors
    /// [`FormatError::NotAuthentic`] when it is not: the chunk is damaged or was sealed by a faulty writer.
    pub fn check_chunk(&self, id: &ChunkId, plain: &[u8]) -> Result<(), FormatError> {
        if self.chunk_id(plain) == *id { Ok(()) } else { Err(FormatError::NotAuthentic { what: "chunk" }) }
    }

    /// Seeds the gear table that cuts content.
    pub fn cut_key(&self) -> &Secret<32> {
        &self.cut_key
    }

    /// The secret table that cuts content: one word for each byte value, expanded from the cut key.
    pub fn gear_table(&self) -> Box<[u64; 256]> {
        let mut words = blake3::Hasher::new_keyed(self.cut_key.expose()).update(b"gear table").finalize_xof();
        let mut table = Box::new([0; 256]);
        for entry in table.iter_mut() {
            let mut word = [0; 8];
            words.fill(&mut word);
            *entry = u64::from_le_bytes(word);
        }
        table
    }

    /// Number of a directory made under `name` in `parent`, for the `generation`-th time.
    pub fn directory_ino(&self, parent: Ino, name: &[u8], generation: u32) -> Ino {
        let hash = blake3::Hasher::new_keyed(self.directory_key.expose())
            .update(&parent.0.to_le_bytes())
            .update(&generation.to_le_bytes())
            .update(name)
            .finalize();
        Ino(DIRECTORY_BIT | (first_u64(hash.as_bytes()) & (DIRECTORY_BIT - 1)))
    }

    /// A keyed hash that decides where lists of names or numbers are split into leaves.
    pub(crate) fn leaf_hash(&self, key: &[u8]) -> u64 {
        first_u64(blake3::keyed_hash(self.leaf_key.expose(), key).as_bytes())
    }

    /// Object name of a pack.
    pub fn pack_name(&self, pack: PackId) -> String {
        object_name(&self.hidden_name(b"pack", pack.0, 0))
    }

    /// Object name of a segment.
    pub fn segment_name(&self, machine: MachineTag, seq: u64) -> String {
        object_name(&self.hidden_name(b"segment", u64::from(machine.0), seq))
    }

    /// Object name of a checkpoint.
    pub fn checkpoint_name(&self, machine: MachineTag, number: u64) -> String {
        object_name(&self.hidden_name(b"checkpoint", u64::from(machine.0), number))
    }

    /// Object name of an index run.
    pub fn run_name(&self, machine: MachineTag, number: u64) -> String {
        object_name(&self.hidden_name(b"run", u64::from(machine.0), number))
    }

    /// Object name of a machine's head.
    pub fn head_name(&self, machine: MachineTag) -> String {
        format!("h/{}", self.hidden_name(b"head", u64::from(machine.0), 0))
    }

    fn hidden_name(&self, kind: &[u8], owner: u64, number: u64) -> String {
        let hash = blake3::Hasher::new_keyed(self.name_key.expose())
            .update(&owner.to_le_bytes())
            .update(&number.to_le_bytes())
            .update(kind)
            .finalize();
        base32_name(hash.as_bytes())
    }

    /// Mask of the length at the end of an object, from the 32 bytes before it, which are random.
    pub(crate) fn length_mask(&self, name: &str, before: &[u8]) -> [u8; 4] {
        let hash = blake3::Hasher::new_keyed(self.mask_key.expose())
            .update(name.as_bytes())
            .update(before)
            .finalize();
        let mut mask = [0; 4];
        mask.copy_from_slice(&hash.as_bytes()[..4]);
        mask
    }

    /// What an object's key is bound to: vault, namespace, role and name.
    pub(crate) fn object_info(&self, role: Role, name: &str) -> Vec<u8> {
        let mut info = Vec::with_capacity(DOMAIN.len() + 32 + 4 + 1 + name.len());
        info.extend_from_slice(DOMAIN);
        info.extend_from_slice(&self.vault.0);
        info.extend_from_slice(&self.namespace.0.to_le_bytes());
        info.push(role as u8);
        info.extend_from_slice(name.as_bytes());
        info
    }

    /// The epochs to open with, the newest first; the first one seals.
    pub(crate) fn epochs(&self) -> &[EpochKeys] {
        &self.epochs
    }
}

/// A random-looking name of [`NAME_LEN`] characters from a hash.
pub fn base32_name(hash: &[u8; 32]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut name = String::with_capacity(NAME_LEN);
    for index in 0..NAME_LEN {
        let bit = index * 5;
        let pair = u16::from_be_bytes([hash[bit / 8], hash[bit / 8 + 1]]);
        let five = (pair >> (11 - bit % 8)) & 31;
        name.push(char::from(ALPHABET[usize::from(five)]));
    }
    name
}

/// Where an object with this hidden name lies: `o/`, its first two characters, the name.
pub fn object_name(hidden: &str) -> String {
    let mut name = String::with_capacity(hidden.len() + 5);
    // Writing to a String cannot fail.
    let _ = write!(name, "o/{}/{hidden}", &hidden[..2]);
    name
}

fn first_u64(hash: &[u8; 32]) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    u64::from_le_bytes(first)
}

fn prf_key(key: &Secret<32>, purpose: &[u8]) -> Secret<32> {
    Secret::new(*blake3::keyed_hash(key.expose(), purpose).as_bytes())
}

struct OutputLen(usize);

impl hkdf::KeyType for OutputLen {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-SHA256 of `secret` with `salt`, expanded for `info`.
pub(crate) fn derive<const N: usize>(secret: &[u8], salt: &[u8], info: &[&[u8]]) -> Secret<N> {
    const { assert!(N <= 255 * 32) };
    let mut out = [0; N];
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(secret)
        .expand(info, OutputLen(N))
        .and_then(|okm| okm.fill(&mut out))
        .expect("the length is within 255 hashes, checked when this was compiled");
    let derived = Secret::new(out);
    out.zeroize();
    derived
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::keys;

    #[test]
    fn names_are_distinct_and_of_the_stated_form() {
        let keys = keys();
        let tag = MachineTag(1);
        let names = [
            keys.pack_name(PackId(1)),
            keys.pack_name(PackId(2)),
            keys.segment_name(tag, 0),
            keys.segment_name(tag, 1),
            keys.segment_name(MachineTag(2), 1),
            keys.checkpoint_name(tag, 1),
            keys.run_name(tag, 1),
        ];
        for (index, name) in names.iter().enumerate() {
            let hidden = name.strip_prefix(&format!("o/{}/", &name[5..7])).unwrap();
            assert_eq!(hidden.len(), NAME_LEN);
            assert!(hidden.bytes().all(|c| c.is_ascii_lowercase() || (b'2'..=b'7').contains(&c)));
            assert!(!names[..index].contains(name));
        }
        assert!(keys.head_name(tag).starts_with("h/"));
        assert_eq!(keys.head_name(tag).len(), 2 + NAME_LEN);
    }

    #[test]
    fn base32_is_that_of_rfc_4648() {
        let mut hash = [0; 32];
        blake3::Hasher::new().finalize_xof().fill(&mut hash);
        let whole = data_encoding::BASE32_NOPAD.encode(&hash).to_lowercase();
        assert_eq!(base32_name(&hash), whole[..NAME_LEN]);
    }

    #[test]
    fn directory_numbers_have_their_bit_and_depend_on_everything() {
        let keys = keys();
        let first = keys.directory_ino(Ino::ROOT, b"a", 0);
        assert_eq!(first.0 >> 62, 1);
        assert_eq!(first, keys.directory_ino(Ino::ROOT, b"a", 0));
        assert_ne!(first, keys.directory_ino(Ino::ROOT, b"a", 1));
        assert_ne!(first, keys.directory_ino(Ino::ROOT, b"b", 0));
        assert_ne!(first, keys.directory_ino(Ino(2), b"a", 0));
    }
}
