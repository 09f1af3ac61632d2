//! A slot: one way to unlock the vault. It holds the user's keys, sealed under a password or recovery phrase.
//!
//! It owns the layout of slots, and the rule that every failure to unlock looks the same. Everything a slot
//! says in clear is bound into its key. The sealing is committing: no ciphertext opens under two keys. It never
//! asks for a secret and never stores one.
//!
//! ```text
//! kind 1 ‖ id 16 ‖ created 8 ‖ [memory 4 ‖ passes 4 ‖ lanes 4: passwords only] ‖ salt 32
//!        ‖ commit 32 ‖ sealed payload 152 ‖ tag 16
//! ```

use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::Zeroizing;

use crate::codec::{Reader, Writer};
use crate::env::Env;
use crate::error::FormatError;
use crate::identity::{SigningKey, UserId};
use crate::ids::{Time, VaultId};
use crate::kdf::KdfParams;
use crate::keys::{DOMAIN, derive};
use crate::phrase::RecoveryPhrase;
use crate::sealed::{BlockNonce, TAG_LEN, gcm_key, open_block, seal_block};
use crate::secret::Secret;
use crate::wrap::ReaderKey;

/// Longest slot of any kind, in bytes.
pub const SLOT_LEN_MAX: usize = 1024;
const SALT_LEN: usize = 32;
const COMMIT_LEN: usize = 32;
const PAYLOAD_LEN: usize = 16 + 32 + 32 + 32 + 8 + 32;
const SEALED_LEN: usize = PAYLOAD_LEN + TAG_LEN;
const KIND_PASSWORD: u8 = 1;
const KIND_PHRASE: u8 = 2;
const WHAT: &str = "slot";

/// What a person has to unlock a vault with.
#[derive(Clone, Copy)]
pub enum UnlockSecret<'a> {
    /// A password, as bytes.
    Password(&'a [u8]),
    /// A recovery phrase.
    Phrase(&'a RecoveryPhrase),
}

/// Name of a slot: random, so that it says nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct SlotId(pub [u8; 16]);

/// What a slot is opened with, and what that costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlotKind {
    /// A password.
    Password(KdfParams),
    /// A recovery phrase.
    Phrase,
}

/// What unlocking yields: a user's keys, and where to find and how to check everything else.
pub struct SlotPayload {
    /// The user.
    pub user: UserId,
    /// Signs the user's roster entries.
    pub signing: SigningKey,
    /// Opens what is wrapped to the user.
    pub reader: ReaderKey,
    /// Hash of the roster's first entry.
    pub vault: VaultId,
    /// The roster has at least this many entries.
    pub roster_len_min: u64,
    /// Names and seals the roster's objects.
    pub roster_key: Secret<32>,
}

/// One way to unlock, sealed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slot {
    id: SlotId,
    kind: SlotKind,
    created_secs: i64,
    salt: [u8; SALT_LEN],
    commit: [u8; COMMIT_LEN],
    sealed: [u8; SEALED_LEN],
}

impl Slot {
    /// Seals a payload so that `secret` opens it. `kdf` is how a password is hashed; a phrase needs none.
    ///
    /// # Errors
    /// As [`KdfParams`] has them.
    pub fn seal(
        payload: &SlotPayload,
        secret: UnlockSecret<'_>,
        kdf: KdfParams,
        env: &dyn Env,
    ) -> Result<Self, FormatError> {
        let kind = match secret {
            UnlockSecret::Password(_) => SlotKind::Password(kdf),
            UnlockSecret::Phrase(_) => SlotKind::Phrase,
        };
        let mut slot = Self {
            id: SlotId([0; 16]),
            kind,
            created_secs: env.now().secs,
            salt: [0; SALT_LEN],
            commit: [0; COMMIT_LEN],
            sealed: [0; SEALED_LEN],
        };
        env.fill(&mut slot.id.0);
        env.fill(&mut slot.salt);
        let (key, commit) = slot.keys(secret, payload.vault)?;
        slot.commit = commit;
        let plain = payload.encode();
        // The salt is fresh, so the key has never sealed anything before.
        seal_block(&gcm_key(key.expose()), BlockNonce::block(0, 1), &plain, &mut slot.sealed);
        Ok(slot)
    }

    /// Opens the slot, if this is its secret.
    ///
    /// # Errors
    /// [`FormatError::WrongSecret`] when the secret is wrong, of the other kind, or anything about the slot was
    /// altered; it does not say which.
    pub fn open(&self, secret: UnlockSecret<'_>, vault: VaultId) -> Result<SlotPayload, FormatError> {
        let (key, commit) = self.keys(secret, vault)?;
        verify_slices_are_equal(&commit, &self.commit).map_err(|_| FormatError::WrongSecret)?;
        let mut plain = Zeroizing::new([0; PAYLOAD_LEN]);
        open_block(&gcm_key(key.expose()), BlockNonce::block(0, 1), &self.sealed, &mut plain[..])
            .map_err(|()| FormatError::WrongSecret)?;
        let payload = SlotPayload::decode(&plain[..])?;
        if payload.vault == vault { Ok(payload) } else { Err(FormatError::WrongSecret) }
    }

    /// Its name.
    pub fn id(&self) -> SlotId {
        self.id
    }

    /// What opens it.
    pub fn kind(&self) -> SlotKind {
        self.kind
    }

    /// When it was made, by the maker's clock.
    pub fn created(&self) -> Time {
        Time { secs: self.created_secs, nanos: 0 }
    }

    /// Sealing key and commitment: from the secret, bound to all that the slot says in clear.
    fn keys(
        &self,
        secret: UnlockSecret<'_>,
        vault: VaultId,
    ) -> Result<(Secret<32>, [u8; COMMIT_LEN]), FormatError> {
        let hashed;
        let entropy = match (secret, self.kind) {
            (UnlockSecret::Password(password), SlotKind::Password(kdf)) => {
                hashed = kdf.derive(password, &self.salt)?;
                &hashed
            }
            (UnlockSecret::Phrase(phrase), SlotKind::Phrase) => phrase.entropy(),
            _ => return Err(FormatError::WrongSecret),
        };
        let mut clear = Writer::new();
        self.encode_clear(&mut clear);
        let derived =
            derive::<64>(entropy.expose(), &self.salt, &[DOMAIN, b" slot", &vault.0, clear.as_slice()]);
        let (mut key, mut commit) = (Zeroizing::new([0; 32]), [0; COMMIT_LEN]);
        key.copy_from_slice(&derived.expose()[..32]);
        commit.copy_from_slice(&derived.expose()[32..]);
        Ok((Secret::new(*key), commit))
    }

    fn encode_clear(&self, writer: &mut Writer) {
        writer.u8(match self.kind {
            SlotKind::Password(_) => KIND_PASSWORD,
            SlotKind::Phrase => KIND_PHRASE,
        });
        writer.raw(&self.id.0);
        writer.u64(self.created_secs as u64);
        if let SlotKind::Password(kdf) = self.kind {
            kdf.encode(writer);
        }
        writer.raw(&self.salt);
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        self.encode_clear(&mut writer);
        writer.raw(&self.commit);
        writer.raw(&self.sealed);
        writer.into_bytes()
    }

    /// Takes a slot from its bytes.
    ///
    /// # Errors
    /// [`FormatError::BadTag`] for a kind that a newer program may know, [`FormatError::KdfOutOfBounds`], or
    /// what the codec says of bytes that are no slot.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes, WHAT);
        let tag = reader.u8()?;
        let id = SlotId(reader.array()?);
        let created_secs = reader.u64()? as i64;
        let kind = match tag {
            KIND_PASSWORD => SlotKind::Password(KdfParams::decode(&mut reader)?),
            KIND_PHRASE => SlotKind::Phrase,
            found => return Err(FormatError::BadTag { what: "kind of a slot", found: u64::from(found) }),
        };
        let slot = Self {
            id,
            kind,
            created_secs,
            salt: reader.array()?,
            commit: reader.array()?,
            sealed: reader.array()?,
        };
        reader.finish()?;
        Ok(slot)
    }
}

impl SlotPayload {
    /// The key under which a machine of this user keeps its own state: the same whichever slot was opened.
    pub fn state_key(&self) -> Secret<32> {
        derive(self.signing.seed().expose(), &self.vault.0, &[DOMAIN, b" machine state"])
    }

    fn encode(&self) -> Zeroizing<Vec<u8>> {
        // Reserved in full, so that growing leaves no unwiped copy behind.
        let mut writer = Writer::with_capacity(PAYLOAD_LEN);
        writer.raw(&self.user.0);
        writer.raw(self.signing.seed().expose());
        writer.raw(self.reader.seed().expose());
        writer.raw(&self.vault.0);
        writer.u64(self.roster_len_min);
        writer.raw(self.roster_key.expose());
        Zeroizing::new(writer.into_bytes())
    }

    fn decode(plain: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(plain, WHAT);
        let payload = Self {
            user: UserId(reader.array()?),
            signing: SigningKey::from_seed(Secret::new(reader.array()?)),
            reader: ReaderKey::from_seed(Secret::new(reader.array()?)),
            vault: VaultId(reader.array()?),
            roster_len_min: reader.u64()?,
            roster_key: Secret::new(reader.array()?),
        };
        reader.finish()?;
        Ok(payload)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::testing::CountingEnv;

    pub(crate) fn payload(env: &CountingEnv, vault: VaultId) -> SlotPayload {
        SlotPayload {
            user: UserId([5; 16]),
            signing: SigningKey::draw(env),
            reader: ReaderKey::draw(env),
            vault,
            roster_len_min: 4,
            roster_key: crate::env::draw(env),
        }
    }

    const VAULT: VaultId = VaultId([9; 32]);

    #[test]
    fn password_slot_opens_with_its_password_only() {
        let env = CountingEnv::new(1);
        let payload = payload(&env, VAULT);
        let slot = Slot::seal(&payload, UnlockSecret::Password(b"sesame"), KdfParams::FLOOR, &env).unwrap();
        let slot = Slot::decode(&slot.encode()).unwrap();
        let opened = slot.open(UnlockSecret::Password(b"sesame"), VAULT).unwrap();
        assert_eq!(opened.user, payload.user);
        assert_eq!(opened.signing.verifying_key(), payload.signing.verifying_key());
        assert_eq!(opened.reader.public(), payload.reader.public());
        assert_eq!(opened.roster_key.expose(), payload.roster_key.expose());
        assert_eq!(opened.roster_len_min, 4);
        let refused = Some(FormatError::WrongSecret);
        assert_eq!(slot.open(UnlockSecret::Password(b"Sesame"), VAULT).err(), refused);
        assert_eq!(slot.open(UnlockSecret::Password(b"sesame"), VaultId([8; 32])).err(), refused);
        let phrase = RecoveryPhrase::draw(&env);
        assert_eq!(slot.open(UnlockSecret::Phrase(&phrase), VAULT).err(), refused);
    }

    #[test]
    fn every_flipped_byte_and_every_cut_of_a_slot_is_refused() {
        let env = CountingEnv::new(2);
        let phrase = RecoveryPhrase::draw(&env);
        let secret = UnlockSecret::Phrase(&phrase);
        let bytes = Slot::seal(&payload(&env, VAULT), secret, KdfParams::FLOOR, &env).unwrap().encode();
        assert!(bytes.len() <= SLOT_LEN_MAX);
        Slot::decode(&bytes).unwrap().open(secret, VAULT).unwrap();
        for at in 0..bytes.len() {
            assert!(Slot::decode(&bytes[..at]).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                let opened = Slot::decode(&flipped).and_then(|slot| slot.open(secret, VAULT));
                assert!(opened.is_err(), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn weaker_hashing_asked_for_by_a_forger_is_refused_unhashed() {
        let env = CountingEnv::new(3);
        let slot =
            Slot::seal(&payload(&env, VAULT), UnlockSecret::Password(b"sesame"), KdfParams::FLOOR, &env);
        let mut bytes = slot.unwrap().encode();
        bytes[25..29].copy_from_slice(&8u32.to_le_bytes());
        let refused = FormatError::KdfOutOfBounds { memory_kib: 8, passes: 3, lanes: 4 };
        assert_eq!(Slot::decode(&bytes).unwrap_err(), refused);
        bytes[25..29].copy_from_slice(&u32::MAX.to_le_bytes());
        let refused = FormatError::KdfOutOfBounds { memory_kib: u32::MAX, passes: 3, lanes: 4 };
        assert_eq!(Slot::decode(&bytes).unwrap_err(), refused);
        // Dearer hashing within the bounds is done, and then does not fit the commitment.
        bytes[25..29].copy_from_slice(&65_540u32.to_le_bytes());
        let slot = Slot::decode(&bytes).unwrap();
        assert_eq!(slot.open(UnlockSecret::Password(b"sesame"), VAULT).err(), Some(FormatError::WrongSecret));
    }
}
