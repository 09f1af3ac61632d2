//! Wrapping a secret to one reader: HPKE (RFC 9180) with X-Wing.
//!
//! It owns the suite: X-Wing (X25519 and ML-KEM-768, KEM 0x647a), SHAKE256, ChaCha20-Poly1305, base mode. What
//! is recorded today stays closed to a later quantum computer, and stays closed if ML-KEM should fall. It never
//! says who wrapped something: the roster entry that carries it is signed.

use std::convert::Infallible;

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::KdfShake256;
use hpke::kem::{Kem, XWing};
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable, OpModeR, OpModeS, Serializable};
use zeroize::Zeroizing;

use crate::env::{self, Env};
use crate::error::FormatError;
use crate::secret::Secret;

/// Length of a reader's public key in bytes.
pub const READER_PUBLIC_LEN: usize = 1216;
/// Length of the encapsulated key before the ciphertext, in bytes.
pub const ENCAPSULATED_LEN: usize = 1120;
/// Bytes that wrapping adds to a secret.
pub const WRAP_OVERHEAD_LEN: usize = ENCAPSULATED_LEN + 16;

const WRAPPED: &str = "wrapped key";

type Private = <XWing as Kem>::PrivateKey;
type Public = <XWing as Kem>::PublicKey;
type Encapsulated = <XWing as Kem>::EncappedKey;

/// The public half of a reader's key, as the roster lists it. Checked on making.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReaderPublic {
    key: Public,
}

impl ReaderPublic {
    /// Takes a key from its bytes.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] when they are no such key.
    pub fn from_bytes(bytes: &[u8; READER_PUBLIC_LEN]) -> Result<Self, FormatError> {
        let key = Public::from_bytes(bytes)
            .map_err(|_| FormatError::Invalid { what: "a reader's public key is one of X-Wing" })?;
        Ok(Self { key })
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> Box<[u8; READER_PUBLIC_LEN]> {
        let mut bytes = Box::new([0; READER_PUBLIC_LEN]);
        self.key.write_exact(&mut bytes[..]);
        bytes
    }

    /// Wraps `plain` so that only this reader opens it, and only under the same `context`.
    pub fn wrap(&self, context: &[u8], plain: &[u8], env: &dyn Env) -> Result<Vec<u8>, FormatError> {
        let (encapsulated, sealed) = hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, KdfShake256, XWing>(
            &OpModeS::Base,
            &self.key,
            context,
            plain,
            &[],
            &mut EnvRng(env),
        )
        .map_err(|_| FormatError::Invalid { what: "this secret cannot be wrapped" })?;
        let mut wrapped = vec![0; ENCAPSULATED_LEN];
        encapsulated.write_exact(&mut wrapped);
        wrapped.extend_from_slice(&sealed);
        Ok(wrapped)
    }
}

/// A reader's own key. Wiped on drop.
pub struct ReaderKey {
    seed: Secret<32>,
}

impl ReaderKey {
    /// A new random key.
    pub fn draw(env: &dyn Env) -> Self {
        Self { seed: env::draw(env) }
    }

    /// The key of a seed.
    pub fn from_seed(seed: Secret<32>) -> Self {
        Self { seed }
    }

    /// The seed, to be sealed and kept.
    pub fn seed(&self) -> &Secret<32> {
        &self.seed
    }

    fn private(&self) -> Private {
        Private::from_bytes(self.seed.expose()).expect("every 32 bytes are the seed of an X-Wing key")
    }

    /// The public half.
    pub fn public(&self) -> ReaderPublic {
        ReaderPublic { key: XWing::sk_to_pk(&self.private()) }
    }

    /// Opens what was wrapped to this reader under `context`.
    ///
    /// # Errors
    /// [`FormatError::NotAuthentic`] when it was wrapped to another, under another context, or altered.
    pub fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, FormatError> {
        let refused = || FormatError::NotAuthentic { what: WRAPPED };
        let (encapsulated, sealed) =
            wrapped.split_at_checked(ENCAPSULATED_LEN).ok_or(FormatError::Truncated { what: WRAPPED })?;
        let encapsulated = Encapsulated::from_bytes(encapsulated).map_err(|_| refused())?;
        hpke::single_shot_open::<ChaCha20Poly1305, KdfShake256, XWing>(
            &OpModeR::Base,
            &self.private(),
            &encapsulated,
            context,
            sealed,
            &[],
        )
        .map(Zeroizing::new)
        .map_err(|_| refused())
    }
}

/// The environment's randomness in the shape that `hpke` asks for.
struct EnvRng<'a>(&'a dyn Env);

impl TryRng for EnvRng<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(out);
        Ok(())
    }
}

/// The contract of [`Env::fill`] is bytes fit for keys.
impl TryCryptoRng for EnvRng<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::CountingEnv;

    #[test]
    fn only_the_reader_opens_and_only_under_the_context() {
        let env = CountingEnv::new(3);
        let reader = ReaderKey::draw(&env);
        let public = ReaderPublic::from_bytes(&reader.public().to_bytes()).unwrap();
        let wrapped = public.wrap(b"epoch 1", b"the key of everything", &env).unwrap();
        assert_eq!(wrapped.len(), WRAP_OVERHEAD_LEN + 21);
        assert_eq!(&reader.unwrap(b"epoch 1", &wrapped).unwrap()[..], b"the key of everything");
        let refused = FormatError::NotAuthentic { what: WRAPPED };
        assert_eq!(reader.unwrap(b"epoch 2", &wrapped).unwrap_err(), refused);
        assert_eq!(ReaderKey::draw(&env).unwrap(b"epoch 1", &wrapped).unwrap_err(), refused);
        for index in (0..wrapped.len()).step_by(37).chain([wrapped.len() - 1]) {
            let mut flipped = wrapped.clone();
            flipped[index] ^= 1;
            assert_eq!(reader.unwrap(b"epoch 1", &flipped).unwrap_err(), refused, "byte {index}");
        }
        for len in [0, 1, ENCAPSULATED_LEN - 1, ENCAPSULATED_LEN, ENCAPSULATED_LEN + 15] {
            assert!(reader.unwrap(b"epoch 1", &wrapped[..len]).is_err());
        }
    }

    #[test]
    fn two_wraps_of_one_secret_differ() {
        let env = CountingEnv::new(4);
        let public = ReaderKey::draw(&env).public();
        let first = public.wrap(b"c", b"s", &env).unwrap();
        assert_ne!(first, public.wrap(b"c", b"s", &env).unwrap());
    }

    #[test]
    fn bytes_that_are_no_key_are_refused() {
        // Every coefficient above the modulus of ML-KEM.
        assert!(ReaderPublic::from_bytes(&[0xff; READER_PUBLIC_LEN]).is_err());
    }
}
