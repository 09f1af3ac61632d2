//! The key exchange: how a client without an authorization key gets one
//! (<https://core.telegram.org/mtproto/auth_key>).
//!
//! It owns the numbers of one exchange on one connection. It never stores the key.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use grammers_crypto::aes::{ige_decrypt, ige_encrypt};
use grammers_crypto::{AuthKey, generate_key_data_from_nonce};
use grammers_tl_types::{Cursor, Deserializable, Identifiable, Serializable, enums, functions, types};
use num_bigint::BigUint;

use super::number::{GENERATOR, prime, to_bytes_256};
use super::{fill_random, rsa_key, time_s};
use crate::error::{Error, Result};

/// The two primes whose product the client must split. Any will do: the work proves only that it can count.
const P: u32 = 1_229_739_323;
const Q: u32 = 1_402_015_859;
/// Bytes that an encrypted part of the exchange may have.
const ENCRYPTED_LEN_MAX: usize = 1_024;
const SHA1_LEN: usize = 20;

/// What the client gets, and the key if that was the last step.
pub(crate) struct Step {
    pub(crate) answer: Vec<u8>,
    pub(crate) key: Option<AuthKey>,
}

/// An exchange that is under way.
#[derive(Default)]
pub(crate) struct KeyExchange {
    nonce: [u8; 16],
    server_nonce: [u8; 16],
    new_nonce: [u8; 32],
    secret: Option<BigUint>,
}

const MALFORMED: Error = Error::Protocol("a step of the key exchange is malformed");

impl KeyExchange {
    /// Answers one unencrypted request.
    pub(crate) fn handle(&mut self, body: &[u8]) -> Result<Step> {
        let cursor = &mut Cursor::from_slice(body);
        match u32::deserialize(cursor).map_err(|_| MALFORMED)? {
            functions::ReqPqMulti::CONSTRUCTOR_ID => self.begin(decode(cursor)?),
            functions::ReqDhParams::CONSTRUCTOR_ID => self.offer(&decode(cursor)?),
            functions::SetClientDhParams::CONSTRUCTOR_ID => self.finish(decode(cursor)?),
            _ => Err(Error::Protocol("this request needs a key")),
        }
    }

    fn begin(&mut self, request: functions::ReqPqMulti) -> Result<Step> {
        self.nonce = request.nonce;
        fill_random(&mut self.server_nonce);
        let answer = enums::ResPq::Pq(types::ResPq {
            nonce: request.nonce,
            server_nonce: self.server_nonce,
            pq: (u64::from(P) * u64::from(Q)).to_be_bytes().to_vec(),
            server_public_key_fingerprints: vec![rsa_key::fingerprint()],
        });
        Ok(Step { answer: answer.to_bytes(), key: None })
    }

    fn offer(&mut self, request: &functions::ReqDhParams) -> Result<Step> {
        let is_split = request.p == P.to_be_bytes() && request.q == Q.to_be_bytes();
        if !is_split || request.public_key_fingerprint != rsa_key::fingerprint() {
            return Err(Error::Protocol("the client did not split the number or took another key"));
        }
        let inner = rsa_key::open(&request.encrypted_data).ok_or(MALFORMED)?;
        let (nonce, server_nonce, new_nonce) = match decode(&mut Cursor::from_slice(&inner))? {
            enums::PQInnerData::Data(data) => (data.nonce, data.server_nonce, data.new_nonce),
            enums::PQInnerData::Dc(data) => (data.nonce, data.server_nonce, data.new_nonce),
            _ => return Err(Error::Protocol("keys that expire are not given out here")),
        };
        if nonce != self.nonce || server_nonce != self.server_nonce {
            return Err(Error::Protocol("a step belongs to another key exchange"));
        }
        self.new_nonce = new_nonce;
        let mut bytes = [0; 256];
        fill_random(&mut bytes);
        let secret = BigUint::from_bytes_be(&bytes);
        let public = BigUint::from(GENERATOR).modpow(&secret, &prime());
        self.secret = Some(secret);
        let encrypted_answer = self.encrypt(&enums::ServerDhInnerData::Data(types::ServerDhInnerData {
            nonce,
            server_nonce,
            g: i32::from(GENERATOR),
            dh_prime: prime().to_bytes_be(),
            g_a: to_bytes_256(&public).to_vec(),
            server_time: time_s(),
        }));
        let answer = types::ServerDhParamsOk { nonce, server_nonce, encrypted_answer };
        Ok(Step { answer: enums::ServerDhParams::Ok(answer).to_bytes(), key: None })
    }

    fn encrypt(&self, data: &enums::ServerDhInnerData) -> Vec<u8> {
        let plain = data.to_bytes();
        let mut bytes = digest(&SHA1_FOR_LEGACY_USE_ONLY, &plain).as_ref().to_vec();
        bytes.extend(plain);
        bytes.resize(bytes.len().next_multiple_of(16), 0);
        let (key, iv) = generate_key_data_from_nonce(&self.server_nonce, &self.new_nonce);
        ige_encrypt(&mut bytes, &key, &iv);
        bytes
    }

    fn finish(&mut self, request: functions::SetClientDhParams) -> Result<Step> {
        let mut bytes = request.encrypted_data;
        let is_possible = (32..=ENCRYPTED_LEN_MAX).contains(&bytes.len()) && bytes.len().is_multiple_of(16);
        let Some(secret) = self.secret.take().filter(|_| is_possible) else { return Err(MALFORMED) };
        let (key, iv) = generate_key_data_from_nonce(&self.server_nonce, &self.new_nonce);
        ige_decrypt(&mut bytes, &key, &iv);
        let (hash, plain) = bytes.split_at(SHA1_LEN);
        let mut cursor = Cursor::from_slice(plain);
        let enums::ClientDhInnerData::Data(data) = decode(&mut cursor)?;
        if digest(&SHA1_FOR_LEGACY_USE_ONLY, &plain[..cursor.pos()]).as_ref() != hash {
            return Err(Error::Protocol("the client's half of the key was changed"));
        }
        let key = BigUint::from_bytes_be(&data.g_b).modpow(&secret, &prime());
        let key = AuthKey::from_bytes(to_bytes_256(&key));
        let answer = enums::SetClientDhParamsAnswer::DhGenOk(types::DhGenOk {
            nonce: self.nonce,
            server_nonce: self.server_nonce,
            new_nonce_hash1: key.calc_new_nonce_hash(&self.new_nonce, 1),
        });
        Ok(Step { answer: answer.to_bytes(), key: Some(key) })
    }
}

fn decode<T: Deserializable>(cursor: &mut Cursor) -> Result<T> {
    T::deserialize(cursor).map_err(|_| MALFORMED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rubbish_ends_the_exchange() {
        for len in 0..200 {
            let mut bytes = vec![0; len];
            fill_random(&mut bytes);
            for request in [
                functions::ReqPqMulti::CONSTRUCTOR_ID,
                functions::ReqDhParams::CONSTRUCTOR_ID,
                functions::SetClientDhParams::CONSTRUCTOR_ID,
                7,
            ] {
                let body = [&request.to_le_bytes()[..], &bytes].concat();
                let step = KeyExchange::default().handle(&body);
                assert!(step.is_err() || request == functions::ReqPqMulti::CONSTRUCTOR_ID);
            }
        }
    }
}
