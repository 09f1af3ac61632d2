//! The header: the object `vault`, the only one on a store that can be recognised.
//!
//! It owns magic, version and the list of slots. It lies twice on a store, as `vault` and `vault.bak`, and its
//! bytes stand in the roster too, which is what makes them authentic: here a checksum tells accident from
//! integrity, nothing more. It never unlocks by itself.
//!
//! ```text
//! "keepfs\0" ‖ version 1 ‖ suite 1 ‖ generation 8 ‖ vault id 32 ‖ count ‖ (length ‖ slot)… ‖ checksum 32
//! ```

use crate::codec::{Reader, Writer};
use crate::error::FormatError;
use crate::ids::VaultId;
use crate::slot::{SLOT_LEN_MAX, Slot, SlotId, SlotPayload, UnlockSecret};

/// First bytes of the header.
pub const MAGIC: [u8; 7] = *b"keepfs\0";
/// The version of the format that this program reads and writes.
pub const VERSION: u8 = 1;
/// The only suite of version 1: Argon2id, HKDF-SHA256, AES-256-GCM, BLAKE3, Ed25519, HPKE with X-Wing.
pub const SUITE: u8 = 1;
/// Most slots of a vault.
pub const SLOTS_MAX: usize = 16;
/// Longest header in bytes. Nothing longer is fetched.
pub const HEADER_LEN_MAX: usize = 32 << 10;

const CHECKSUM_LEN: usize = 32;
const CHECKSUM_CONTEXT: &str = "keepfs/1 header checksum";
const WHAT: &str = "header";
const _: () = assert!(SLOTS_MAX * (SLOT_LEN_MAX + 2) + 128 <= HEADER_LEN_MAX);

/// A slot as the header has it: one that is understood, or bytes that are kept as they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ListedSlot {
    /// A slot.
    Known(Box<Slot>),
    /// Damaged, out of bounds, or of a kind that a newer program made. It hides no other slot.
    Refused {
        /// Its bytes.
        bytes: Box<[u8]>,
        /// Why.
        reason: FormatError,
    },
}

/// What the object `vault` says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    generation: u64,
    vault: VaultId,
    slots: Vec<ListedSlot>,
    intact: bool,
}

/// A slot that opened.
pub struct OpenedSlot {
    /// Which.
    pub id: SlotId,
    /// What was in it.
    pub payload: SlotPayload,
}

impl Header {
    /// A header of these slots.
    ///
    /// # Errors
    /// [`FormatError::TooLong`] for more than [`SLOTS_MAX`], [`FormatError::Invalid`] for none.
    pub fn new(generation: u64, vault: VaultId, slots: Vec<ListedSlot>) -> Result<Self, FormatError> {
        if slots.is_empty() {
            return Err(FormatError::Invalid { what: "a vault without slots could never be opened" });
        }
        if slots.len() > SLOTS_MAX {
            let (actual, limit) = (slots.len() as u64, SLOTS_MAX as u64);
            return Err(FormatError::TooLong { what: "number of slots", actual, limit });
        }
        Ok(Self { generation, vault, slots, intact: true })
    }

    /// Counts the changes of the slots, from 1.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The vault.
    pub fn vault(&self) -> VaultId {
        self.vault
    }

    /// Its slots.
    pub fn slots(&self) -> &[ListedSlot] {
        &self.slots
    }

    /// Whether the checksum fits. A header whose checksum does not may still have slots that open.
    pub fn is_intact(&self) -> bool {
        self.intact
    }

    /// Opens the first slot that `secret` fits.
    ///
    /// # Errors
    /// [`FormatError::WrongSecret`] when none opens; [`FormatError::KdfOutOfBounds`] when none opens and one was
    /// refused for that, because then the header was tampered with, whatever the secret.
    pub fn open(&self, secret: UnlockSecret<'_>) -> Result<OpenedSlot, FormatError> {
        let mut worst = FormatError::WrongSecret;
        for listed in &self.slots {
            match listed {
                ListedSlot::Known(slot) => match slot.open(secret, self.vault) {
                    Ok(payload) => return Ok(OpenedSlot { id: slot.id(), payload }),
                    Err(FormatError::WrongSecret) => {}
                    Err(error) => worst = error,
                },
                ListedSlot::Refused { reason: reason @ FormatError::KdfOutOfBounds { .. }, .. } => {
                    worst = reason.clone();
                }
                ListedSlot::Refused { .. } => {}
            }
        }
        Err(worst)
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.raw(&MAGIC);
        writer.u8(VERSION);
        writer.u8(SUITE);
        writer.u64(self.generation);
        writer.raw(&self.vault.0);
        writer.varint(self.slots.len() as u64);
        for listed in &self.slots {
            match listed {
                ListedSlot::Known(slot) => writer.bytes(&slot.encode()),
                ListedSlot::Refused { bytes, .. } => writer.bytes(bytes),
            }
        }
        let checksum = blake3::derive_key(CHECKSUM_CONTEXT, writer.as_slice());
        writer.raw(&checksum);
        writer.into_bytes()
    }

    /// Takes a header from its bytes. A slot that is damaged is listed as refused; a checksum that does not fit
    /// is told by [`is_intact`](Self::is_intact).
    ///
    /// # Errors
    /// [`FormatError::WrongVersion`] for a version this program does not read; what the codec says of bytes
    /// whose frame is broken.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        if bytes.len() > HEADER_LEN_MAX {
            let (actual, limit) = (bytes.len() as u64, HEADER_LEN_MAX as u64);
            return Err(FormatError::TooLong { what: WHAT, actual, limit });
        }
        let mut reader = Reader::new(bytes, WHAT);
        if reader.array()? != MAGIC {
            return Err(FormatError::Invalid { what: "a header begins with \"keepfs\"" });
        }
        // Before anything else is looked at: of another version nothing is known but this byte.
        let found = reader.u8()?;
        if found != VERSION {
            return Err(FormatError::WrongVersion { found, supported: VERSION });
        }
        let suite = reader.u8()?;
        if suite != SUITE {
            return Err(FormatError::BadTag { what: "suite of a header", found: u64::from(suite) });
        }
        let generation = reader.u64()?;
        let vault = VaultId(reader.array()?);
        let count = reader.count("number of slots", SLOTS_MAX, 2)?;
        let mut slots = Vec::with_capacity(count);
        for _ in 0..count {
            let bytes = reader.bytes(WHAT, SLOT_LEN_MAX)?;
            slots.push(match Slot::decode(bytes) {
                Ok(slot) => ListedSlot::Known(Box::new(slot)),
                Err(reason) => ListedSlot::Refused { bytes: bytes.into(), reason },
            });
        }
        let body_len = bytes.len() - reader.remaining();
        let stated: [u8; CHECKSUM_LEN] = reader.array()?;
        reader.finish()?;
        let intact = blake3::derive_key(CHECKSUM_CONTEXT, &bytes[..body_len]) == stated;
        let mut header = Self::new(generation, vault, slots)?;
        header.intact = intact;
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kdf::KdfParams;
    use crate::phrase::RecoveryPhrase;
    use crate::slot::tests::payload;
    use crate::testing::CountingEnv;

    const VAULT: VaultId = VaultId([7; 32]);

    /// A header with two phrase slots, which are quick to open.
    fn sample() -> (Header, RecoveryPhrase, RecoveryPhrase) {
        let env = CountingEnv::new(11);
        let (first, second) = (RecoveryPhrase::draw(&env), RecoveryPhrase::draw(&env));
        let payload = payload(&env, VAULT);
        let slot = |phrase| {
            let secret = UnlockSecret::Phrase(phrase);
            ListedSlot::Known(Slot::seal(&payload, secret, KdfParams::FLOOR, &env).unwrap().into())
        };
        let slots = vec![slot(&first), slot(&second)];
        (Header::new(3, VAULT, slots).unwrap(), first, second)
    }

    #[test]
    fn header_comes_back_and_each_secret_opens_its_slot() {
        let (header, first, second) = sample();
        let read = Header::decode(&header.encode()).unwrap();
        assert_eq!(read, header);
        assert!(read.is_intact());
        let ids: Vec<_> = [&first, &second].map(|it| read.open(UnlockSecret::Phrase(it)).unwrap().id).into();
        assert_ne!(ids[0], ids[1]);
        let other = RecoveryPhrase::draw(&CountingEnv::new(12));
        assert_eq!(read.open(UnlockSecret::Phrase(&other)).err(), Some(FormatError::WrongSecret));
    }

    #[test]
    fn no_flipped_byte_hides_both_slots_unless_it_is_told() {
        let (header, first, second) = sample();
        let bytes = header.encode();
        let first_slot = 8 + 1 + 8 + 32 + 1 + 2;
        let slot_len = (bytes.len() - 32 - first_slot - 2) / 2;
        let frame =
            |at: usize| at < first_slot || (first_slot + slot_len..first_slot + slot_len + 2).contains(&at);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x41;
            match Header::decode(&flipped) {
                Err(_) => assert!(frame(at), "byte {at}"),
                Ok(read) => {
                    assert!(!read.is_intact(), "byte {at}");
                    let opens = [&first, &second].map(|it| read.open(UnlockSecret::Phrase(it)).is_ok());
                    assert!(frame(at) || opens[0] || opens[1], "byte {at}");
                }
            }
        }
    }

    #[test]
    fn every_cut_and_every_longer_header_is_refused() {
        let mut bytes = sample().0.encode();
        for len in 0..bytes.len() {
            assert!(Header::decode(&bytes[..len]).is_err(), "cut at {len}");
        }
        bytes.push(0);
        assert_eq!(Header::decode(&bytes).unwrap_err(), FormatError::TrailingBytes { what: WHAT });
        bytes.resize(HEADER_LEN_MAX + 1, 0);
        assert!(matches!(Header::decode(&bytes).unwrap_err(), FormatError::TooLong { .. }));
    }

    #[test]
    fn newer_version_is_told_before_anything_else_is_read() {
        let mut bytes = MAGIC.to_vec();
        bytes.push(9);
        assert_eq!(
            Header::decode(&bytes).unwrap_err(),
            FormatError::WrongVersion { found: 9, supported: VERSION }
        );
    }

    #[test]
    fn forged_cheap_hashing_is_told_when_nothing_opens() {
        let (header, first, _) = sample();
        let mut slots = header.slots().to_vec();
        let reason = FormatError::KdfOutOfBounds { memory_kib: 8, passes: 1, lanes: 1 };
        slots[1] = ListedSlot::Refused { bytes: Box::new([1; 20]), reason: reason.clone() };
        let header = Header::new(4, VAULT, slots).unwrap();
        header.open(UnlockSecret::Phrase(&first)).unwrap();
        let other = RecoveryPhrase::draw(&CountingEnv::new(13));
        assert_eq!(header.open(UnlockSecret::Phrase(&other)).err(), Some(reason));
    }
}
