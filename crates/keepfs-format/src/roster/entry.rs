//! One entry of the roster: a change, its place in the chain, and its author's signature.
//!
//! It owns the bytes that are signed and hashed. It never knows whether the author may say that.
//!
//! ```text
//! version 1 ‖ position ‖ hash of the entry before 32 ‖ author 16 ‖ time ‖ kind 1 ‖ change ‖ signature 64
//! ```

use crate::codec::{Reader, Writer, check_time};
use crate::error::FormatError;
use crate::header::VERSION;
use crate::identity::{Domain, SIGNATURE_LEN, SigningKey, UserId, VerifyingKey};
use crate::ids::Time;
use crate::roster::change::Change;

/// Longest entry in bytes: one that wraps a key for as many users as there may be.
pub const ENTRY_LEN_MAX: usize = 512 << 10;

const SIGNED: Domain = Domain { context: "keepfs/1 roster entry", what: "roster entry" };
const HASH_CONTEXT: &str = "keepfs/1 hash of a roster entry";
const EPOCH_START: Time = Time { secs: 0, nanos: 0 };

/// Hash of an entry with its signature: what the next entry names, and of the first entry the vault's id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EntryHash(pub [u8; 32]);

/// What the first entry names as the one before.
pub(super) const NOTHING_BEFORE: EntryHash = EntryHash([0; 32]);

/// One entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its place in the list, from 0.
    pub position: u64,
    /// Hash of the entry before it.
    pub previous: EntryHash,
    /// Who says it.
    pub author: UserId,
    /// When, by the author's clock. Told to people, never trusted.
    pub time: Time,
    /// What.
    pub change: Change,
}

impl Entry {
    /// The signed bytes.
    ///
    /// # Errors
    /// [`FormatError::TooLong`] when they are more than a reader takes.
    pub(super) fn sign(&self, key: &SigningKey) -> Result<Vec<u8>, FormatError> {
        let mut writer = Writer::new();
        writer.u8(VERSION);
        writer.varint(self.position);
        writer.raw(&self.previous.0);
        writer.raw(&self.author.0);
        writer.time(self.time, EPOCH_START);
        self.change.encode(&mut writer);
        let signature = key.sign(SIGNED, writer.as_slice());
        writer.raw(&signature);
        let bytes = writer.into_bytes();
        check_len(&bytes)?;
        Ok(bytes)
    }

    /// Takes an entry from its bytes, the signature unverified.
    ///
    /// # Errors
    /// [`FormatError::WrongVersion`], or what the codec says of bytes that are no entry.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        check_len(bytes)?;
        let (signed, _) = split_signature(bytes)?;
        let mut reader = Reader::new(signed, SIGNED.what);
        let found = reader.u8()?;
        if found != VERSION {
            return Err(FormatError::WrongVersion { found, supported: VERSION });
        }
        let entry = Self {
            position: reader.varint()?,
            previous: EntryHash(reader.array()?),
            author: UserId(reader.array()?),
            time: reader.time(EPOCH_START)?,
            change: Change::decode(&mut reader)?,
        };
        check_time(entry.time)?;
        reader.finish()?;
        Ok(entry)
    }
}

/// Checks the signature under an entry's bytes.
pub(super) fn verify(bytes: &[u8], key: VerifyingKey) -> Result<(), FormatError> {
    let (signed, signature) = split_signature(bytes)?;
    key.verify(SIGNED, signed, signature)
}

/// Hash of an entry's bytes.
pub(super) fn hash(bytes: &[u8]) -> EntryHash {
    EntryHash(blake3::derive_key(HASH_CONTEXT, bytes))
}

fn split_signature(bytes: &[u8]) -> Result<(&[u8], &[u8; SIGNATURE_LEN]), FormatError> {
    bytes.split_last_chunk().ok_or(FormatError::Truncated { what: SIGNED.what })
}

fn check_len(bytes: &[u8]) -> Result<(), FormatError> {
    if bytes.len() > ENTRY_LEN_MAX {
        let (actual, limit) = (bytes.len() as u64, ENTRY_LEN_MAX as u64);
        return Err(FormatError::TooLong { what: SIGNED.what, actual, limit });
    }
    Ok(())
}
