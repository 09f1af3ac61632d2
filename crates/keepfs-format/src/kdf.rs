//! From a password to a key: Argon2id, within bounds that are checked before a byte is allocated.
//!
//! It owns the bounds. A header is public and can be forged, so its parameters are a request, not an order:
//! below the floor a forger could cheapen guessing, above the ceiling he could exhaust the machine.

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroize;

use crate::codec::{Reader, Writer};
use crate::error::FormatError;
use crate::secret::Secret;

/// Longest password in bytes.
pub const PASSWORD_LEN_MAX: usize = 4096;
const KEY_LEN: usize = 32;

/// How much work a guess of a password costs. Always within the bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KdfParams {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl KdfParams {
    /// What a new slot gets: 256 MiB, 3 passes, 4 lanes; about a second.
    pub const DEFAULT: Self = Self { memory_kib: 256 << 10, passes: 3, lanes: 4 };
    /// The least that is accepted: 64 MiB, 3 passes, 4 lanes.
    pub const FLOOR: Self = Self { memory_kib: 64 << 10, passes: 3, lanes: 4 };
    /// The most that is accepted: 4 GiB, 20 passes, 64 lanes.
    pub const CEILING: Self = Self { memory_kib: 4 << 20, passes: 20, lanes: 64 };

    /// Checks the parameters against the bounds.
    ///
    /// # Errors
    /// [`FormatError::KdfOutOfBounds`].
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, FormatError> {
        let (floor, ceiling) = (Self::FLOOR, Self::CEILING);
        let within = (floor.memory_kib..=ceiling.memory_kib).contains(&memory_kib)
            && (floor.passes..=ceiling.passes).contains(&passes)
            && (floor.lanes..=ceiling.lanes).contains(&lanes);
        if within {
            Ok(Self { memory_kib, passes, lanes })
        } else {
            Err(FormatError::KdfOutOfBounds { memory_kib, passes, lanes })
        }
    }

    /// Memory in KiB.
    pub fn memory_kib(&self) -> u32 {
        self.memory_kib
    }

    /// Passes over the memory.
    pub fn passes(&self) -> u32 {
        self.passes
    }

    /// Lanes.
    pub fn lanes(&self) -> u32 {
        self.lanes
    }

    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.u32(self.memory_kib);
        writer.u32(self.passes);
        writer.u32(self.lanes);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        Self::new(reader.u32()?, reader.u32()?, reader.u32()?)
    }

    /// The key of a password.
    ///
    /// # Errors
    /// [`FormatError::TooLong`] for a password over [`PASSWORD_LEN_MAX`], [`FormatError::KdfMemory`] when the
    /// system has too little memory.
    pub(crate) fn derive(&self, password: &[u8], salt: &[u8; 32]) -> Result<Secret<KEY_LEN>, FormatError> {
        if password.len() > PASSWORD_LEN_MAX {
            let (actual, limit) = (password.len() as u64, PASSWORD_LEN_MAX as u64);
            return Err(FormatError::TooLong { what: "password", actual, limit });
        }
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(KEY_LEN))
            .expect("the bounds of this type are narrower than those of Argon2");
        let mut key = [0; KEY_LEN];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(password, salt, &mut key)
            .map_err(|_| FormatError::KdfMemory { memory_kib: self.memory_kib })?;
        let secret = Secret::new(key);
        key.zeroize();
        Ok(secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_out_of_bounds_are_refused_whichever_they_are() {
        for (memory_kib, passes, lanes) in [
            (65_535, 3, 4),
            (65_536, 2, 4),
            (65_536, 3, 3),
            (4_194_305, 3, 4),
            (65_536, 21, 4),
            (65_536, 3, 65),
            (u32::MAX, u32::MAX, u32::MAX),
            (0, 0, 0),
        ] {
            let refused = FormatError::KdfOutOfBounds { memory_kib, passes, lanes };
            assert_eq!(KdfParams::new(memory_kib, passes, lanes).unwrap_err(), refused);
        }
        assert_eq!(KdfParams::new(65_536, 3, 4).unwrap(), KdfParams::FLOOR);
        assert_eq!(KdfParams::new(4_194_304, 20, 64).unwrap(), KdfParams::CEILING);
    }

    #[test]
    fn key_depends_on_password_salt_and_parameters() {
        let key =
            |kdf: KdfParams, password: &[u8], salt| *kdf.derive(password, &[salt; 32]).unwrap().expose();
        let first = key(KdfParams::FLOOR, b"open sesame", 1);
        assert_eq!(first, key(KdfParams::FLOOR, b"open sesame", 1));
        assert_ne!(first, key(KdfParams::FLOOR, b"open sesamE", 1));
        assert_ne!(first, key(KdfParams::FLOOR, b"open sesame", 2));
        assert_ne!(first, key(KdfParams::new(65_536, 4, 4).unwrap(), b"open sesame", 1));
    }
}
