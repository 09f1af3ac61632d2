//! Who somebody is: users and machines, and the keys they sign with.
//!
//! It owns signing and verifying. Every signature covers a domain-separated BLAKE3 hash, so that bytes signed
//! for one purpose never verify for another. It never decides who may do what: that is the roster's part.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::env::{self, Env};
use crate::error::FormatError;
use crate::secret::Secret;

/// Length of a signature in bytes.
pub const SIGNATURE_LEN: usize = 64;
/// Longest name of a user, machine or namespace, in bytes.
pub const LABEL_LEN_MAX: usize = 64;

/// A user of a vault: random, bound to keys by the roster.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct UserId(pub [u8; 16]);

/// The public half of a signing key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct VerifyingKey(pub [u8; 32]);

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "VerifyingKey({:02x}{:02x}{:02x}{:02x}…)", self.0[0], self.0[1], self.0[2], self.0[3])
    }
}

/// What a signature is for. The words are part of the format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Domain {
    /// The words that keep this purpose apart from all others.
    pub context: &'static str,
    /// What is signed, for errors.
    pub what: &'static str,
}

impl Domain {
    fn hash(&self, message: &[u8]) -> [u8; 32] {
        blake3::derive_key(self.context, message)
    }
}

/// A key that signs. Wiped on drop.
pub struct SigningKey {
    seed: Secret<32>,
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// A new random key.
    pub fn draw(env: &dyn Env) -> Self {
        Self::from_seed(env::draw(env))
    }

    /// The key of a seed.
    pub fn from_seed(seed: Secret<32>) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose())
            .expect("every 32 bytes are the seed of an Ed25519 key");
        Self { seed, pair }
    }

    /// The seed, to be sealed and kept.
    pub fn seed(&self) -> &Secret<32> {
        &self.seed
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        let mut key = [0; 32];
        key.copy_from_slice(self.pair.public_key().as_ref());
        VerifyingKey(key)
    }

    /// Signs a message for one purpose.
    pub fn sign(&self, domain: Domain, message: &[u8]) -> [u8; SIGNATURE_LEN] {
        let mut signature = [0; SIGNATURE_LEN];
        signature.copy_from_slice(self.pair.sign(&domain.hash(message)).as_ref());
        signature
    }
}

impl VerifyingKey {
    /// Checks a signature.
    ///
    /// # Errors
    /// [`FormatError::BadSignature`], whatever is wrong with it.
    pub fn verify(
        &self,
        domain: Domain,
        message: &[u8],
        signature: &[u8; SIGNATURE_LEN],
    ) -> Result<(), FormatError> {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(&domain.hash(message), signature)
            .map_err(|_| FormatError::BadSignature { what: domain.what })
    }
}

/// Whether a name is fit to be shown: 1 to [`LABEL_LEN_MAX`] bytes without control characters.
///
/// # Errors
/// [`FormatError::Invalid`] when it is not.
pub fn check_label(label: &str) -> Result<(), FormatError> {
    if label.is_empty() || label.len() > LABEL_LEN_MAX || label.chars().any(char::is_control) {
        return Err(FormatError::Invalid { what: "a name has 1 to 64 bytes and no control characters" });
    }
    Ok(())
}

/// Shortens any text to one that [`check_label`] accepts.
pub fn label_from(text: &str) -> String {
    let mut label = String::new();
    for character in text.trim().chars().filter(|character| !character.is_control()) {
        if label.len() + character.len_utf8() > LABEL_LEN_MAX {
            break;
        }
        label.push(character);
    }
    if label.is_empty() { "unnamed".to_owned() } else { label }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::CountingEnv;

    const LETTERS: Domain = Domain { context: "keepfs test letters", what: "letter" };
    const ORDERS: Domain = Domain { context: "keepfs test orders", what: "order" };

    #[test]
    fn signature_holds_for_its_key_message_and_purpose_only() {
        let env = CountingEnv::new(7);
        let key = SigningKey::draw(&env);
        let other = SigningKey::draw(&env);
        let signature = key.sign(LETTERS, b"come home");
        key.verifying_key().verify(LETTERS, b"come home", &signature).unwrap();
        let refused = FormatError::BadSignature { what: "letter" };
        assert_eq!(key.verifying_key().verify(LETTERS, b"come home!", &signature).unwrap_err(), refused);
        assert_eq!(other.verifying_key().verify(LETTERS, b"come home", &signature).unwrap_err(), refused);
        assert!(key.verifying_key().verify(ORDERS, b"come home", &signature).is_err());
        for index in 0..SIGNATURE_LEN {
            let mut flipped = signature;
            flipped[index] ^= 0x10;
            assert!(key.verifying_key().verify(LETTERS, b"come home", &flipped).is_err(), "byte {index}");
        }
    }

    #[test]
    fn key_of_a_seed_is_the_published_one() {
        // RFC 8032, section 7.1, first test.
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let seed: [u8; 32] = data_encoding::HEXLOWER.decode(seed.as_bytes()).unwrap().try_into().unwrap();
        let key = SigningKey::from_seed(Secret::new(seed)).verifying_key();
        assert_eq!(data_encoding::HEXLOWER.encode(&key.0), public);
    }

    #[test]
    fn labels_are_short_and_printable() {
        check_label("Ann's laptop").unwrap();
        for bad in ["", "a\nb", "\u{7f}", &"x".repeat(65)] {
            assert!(check_label(bad).is_err());
            check_label(&label_from(bad)).unwrap();
        }
        assert_eq!(label_from(&"ä".repeat(40)).len(), 64);
    }
}
