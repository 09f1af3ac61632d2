//! The second factor: Telegram's form of SRP (<https://core.telegram.org/api/srp>), the server's side.
//!
//! It owns the verifier of one password. It never keeps the password.

use std::num::NonZeroU32;

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::pbkdf2;
use num_bigint::BigUint;

use super::fill_random;
use super::number::{GENERATOR, prime, to_bytes_256};

const ITERATIONS: NonZeroU32 = NonZeroU32::new(100_000).expect("a constant above zero");

/// What the server keeps of a password.
#[derive(Clone)]
pub(crate) struct Verifier {
    pub(crate) salt1: Vec<u8>,
    pub(crate) salt2: Vec<u8>,
    verifier: BigUint,
}

/// One question to a client, good for one answer.
#[derive(Clone)]
pub(crate) struct Challenge {
    secret: BigUint,
    pub(crate) public: [u8; 256],
}

impl Verifier {
    pub(crate) fn new(password: &[u8]) -> Verifier {
        let (mut salt1, mut salt2) = (vec![0; 32], vec![0; 16]);
        fill_random(&mut salt1);
        fill_random(&mut salt2);
        let hash = sha256(&[&salt2, &sha256(&[&salt1, password, &salt1]), &salt2]);
        let mut derived = [0; 64];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA512, ITERATIONS, &salt1, &hash, &mut derived);
        let x = BigUint::from_bytes_be(&sha256(&[&salt2, &derived, &salt2]));
        Verifier { salt1, salt2, verifier: BigUint::from(GENERATOR).modpow(&x, &prime()) }
    }

    pub(crate) fn challenge(&self) -> Challenge {
        let mut bytes = [0; 256];
        fill_random(&mut bytes);
        let (p, secret) = (prime(), BigUint::from_bytes_be(&bytes));
        let k = BigUint::from_bytes_be(&sha256(&[&to_bytes_256(&p), &padded_generator()]));
        let public = (k * &self.verifier + BigUint::from(GENERATOR).modpow(&secret, &p)) % &p;
        Challenge { secret, public: to_bytes_256(&public) }
    }

    /// Whether the client's public number and proof (`A` and `M1`) show that it knows the password.
    pub(crate) fn accepts(&self, challenge: &Challenge, client_public: &[u8], proof: &[u8]) -> bool {
        let (p, a) = (prime(), BigUint::from_bytes_be(client_public));
        if client_public.len() > 256 || (&a % &p) == BigUint::ZERO {
            return false;
        }
        let (a_bytes, b_bytes) = (to_bytes_256(&a), challenge.public);
        let u = BigUint::from_bytes_be(&sha256(&[&a_bytes, &b_bytes]));
        let shared = (a * self.verifier.modpow(&u, &p)).modpow(&challenge.secret, &p);
        let key = sha256(&[&to_bytes_256(&shared)]);
        let mut group = sha256(&[&to_bytes_256(&p)]);
        for (byte, other) in group.iter_mut().zip(sha256(&[&padded_generator()])) {
            *byte ^= other;
        }
        let (hash1, hash2) = (sha256(&[&self.salt1]), sha256(&[&self.salt2]));
        sha256(&[&group, &hash1, &hash2, &a_bytes, &b_bytes, &key]) == proof
    }
}

fn padded_generator() -> [u8; 256] {
    to_bytes_256(&BigUint::from(GENERATOR))
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use grammers_crypto::two_factor_auth::calculate_2fa;

    #[test]
    fn the_right_password_passes_and_a_wrong_one_does_not() {
        let verifier = Verifier::new(b"horse");
        let challenge = verifier.challenge();
        for (password, passes) in [("horse", true), ("house", false)] {
            let (proof, public) = calculate_2fa(
                &verifier.salt1,
                &verifier.salt2,
                &to_bytes_256(&prime()),
                &i32::from(GENERATOR),
                challenge.public.to_vec(),
                vec![5; 256],
                password,
            );
            assert_eq!(verifier.accepts(&challenge, &public, &proof), passes, "{password}");
        }
        assert!(!verifier.accepts(&challenge, &[0; 256], &[0; 32]));
        assert!(!verifier.accepts(&challenge, &[1; 1_000], &[0; 32]));
    }
}
