//! Where roster entries lie on a store, and how they are sealed there.
//!
//! It owns names and keys of the roster's objects. To whoever lacks the roster key they look like every other
//! object. It never looks into an entry.

use crate::env::Env;
use crate::error::FormatError;
use crate::ids::VaultId;
use crate::keys::{DOMAIN, base32_name, derive, object_name};
use crate::roster::entry::ENTRY_LEN_MAX;
use crate::sealed;
use crate::secret::Secret;

/// Names and seals the entries of one vault's roster.
pub struct RosterKeys {
    vault: VaultId,
    name_key: Secret<32>,
    seal_key: Secret<32>,
}

impl RosterKeys {
    /// The keys that follow from the roster key.
    pub fn derive(roster_key: &Secret<32>, vault: VaultId) -> Self {
        let key =
            |purpose: &[u8]| derive::<32>(roster_key.expose(), &vault.0, &[DOMAIN, b" roster ", purpose]);
        Self { vault, name_key: key(b"names"), seal_key: key(b"entries") }
    }

    /// Object name of the entry at `position`.
    pub fn name(&self, position: u64) -> String {
        let hash = blake3::keyed_hash(self.name_key.expose(), &position.to_le_bytes());
        object_name(&base32_name(hash.as_bytes()))
    }

    /// Seals the signed bytes of the entry at `position`.
    ///
    /// # Errors
    /// As [`sealed::seal`].
    pub fn seal(&self, position: u64, entry: &[u8], env: &dyn Env) -> Result<Vec<u8>, FormatError> {
        sealed::seal(&self.seal_key, &self.info(position), env, entry)
    }

    /// Opens the object of the entry at `position`.
    ///
    /// # Errors
    /// As [`sealed::open`].
    pub fn open(&self, position: u64, object: &[u8]) -> Result<Vec<u8>, FormatError> {
        sealed::open(&self.seal_key, &self.info(position), object, ENTRY_LEN_MAX, "roster entry")
    }

    fn info(&self, position: u64) -> Vec<u8> {
        let mut info = DOMAIN.to_vec();
        info.extend_from_slice(b" roster entry");
        info.extend_from_slice(&self.vault.0);
        info.extend_from_slice(&position.to_le_bytes());
        info
    }
}
