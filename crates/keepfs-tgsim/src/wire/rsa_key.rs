//! The RSA key by which a client recognises this server, and what the key undoes.
//!
//! The key is for tests alone and stands here in full: it protects nothing, and no client outside of the tests
//! trusts it. It never serves for anything but the first message of a key exchange.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use grammers_crypto::aes::ige_decrypt;
use grammers_tl_types::{Cursor, Deserializable, Serializable, enums};
use num_bigint::BigUint;

use super::number::{from_hex, to_bytes_256};

/// The public key as PEM (PKCS#1), the form that Telethon takes.
pub const PUBLIC_KEY_PEM: &str = "\
-----BEGIN RSA PUBLIC KEY-----\n\
MIIBCgKCAQEAswS5vxA69Xn0jRlBjipbvrftpD3H8P04gTLHWF/F/z2pyp+3Jw5u\n\
ruszj9+Cz34QxY/6R9/Rsbg9q3HVR3dsot31B4s7+uA7NQYgrRfgO78pXirpLQDm\n\
3CTMsEk+CNwGZ2PNCE3ibiOd0PDfutl52yqiqUlOeSDMns0CzZswzrU0e2/Kne1O\n\
vojB/Uo6UBeVSrIAUYLVKS6PfTH6R5IGQ/WsDbCIblxzMyjHywQIFNXshKBLw+iD\n\
9i1ro2pY2tt+hpn5t6uH20u45tlQSHdo6ET0otx+69pG0H2VxvhfGyvS1GgrCxLw\n\
vorSO2GB67MnQFa4QnHxeImDx+5X33PrgwIDAQAB\n\
-----END RSA PUBLIC KEY-----\n";

const MODULUS_HEX: &str = "b304b9bf103af579f48d19418e2a5bbeb7eda43dc7f0fd388132c7585fc5ff3da9ca9fb7270e6eaeeb338fdf82cf7e10\
    c58ffa47dfd1b1b83dab71d547776ca2ddf5078b3bfae03b350620ad17e03bbf295e2ae92d00e6dc24ccb0493e08dc06\
    6763cd084de26e239dd0f0dfbad979db2aa2a9494e7920cc9ecd02cd9b30ceb5347b6fca9ded4ebe88c1fd4a3a501795\
    4ab2005182d5292e8f7d31fa47920643f5ac0db0886e5c733328c7cb040814d5ec84a04bc3e883f62d6ba36a58dadb7e\
    8699f9b7ab87db4bb8e6d950487768e844f4a2dc7eebda46d07d95c6f85f1b2bd2d4682b0b12f0be8ad23b6181ebb327\
    4056b84271f1788983c7ee57df73eb83";
const PRIVATE_EXPONENT_HEX: &str = "19ad3bd723c4d120c4ead80c870f9c4926a8773e4547538a9f3d614a53b25a81c5b0c267caba4f35d79675b46156d186\
    2650185de6c474f130273f14904398d9636c99c066c1fd1780eb78145bb055e17d557c62258a53928fd4ac1455498005\
    8b1ecd71bb7a16c21508bb03dc11056162242293d9259686c2e034deb8bbaf6a20cba0d3290a408df6ffe98436b79666\
    4a4685adc8a279013063f635ad9abd2fd4049136de3b2696aaf8d407b64eab086098218bfc914d10e3b8830750586e12\
    032bde5d277f0ddfe6a9c8ba53542df591f2d8347ac9e7d87622a1f4e8dfee8a45a9454fdaa97e1b6ed7c486de19f9e9\
    1cd5744b7ef8a1a6b8f1f0480bba4a9";
const PUBLIC_EXPONENT: u32 = 65_537;

/// Bytes of one encrypted message: the length of the modulus.
pub(crate) const ENCRYPTED_LEN: usize = 256;
/// Bytes of data in a message that was padded by RSA_PAD.
const PADDED_DATA_LEN: usize = 192;
const SHA1_LEN: usize = 20;

/// The key's name in the key exchange: the last 64 bits of the SHA-1 of its TL form
/// (<https://core.telegram.org/mtproto/auth_key>, step 2).
pub(crate) fn fingerprint() -> i64 {
    let mut bytes = Vec::new();
    from_hex(MODULUS_HEX).to_bytes_be().serialize(&mut bytes);
    BigUint::from(PUBLIC_EXPONENT).to_bytes_be().serialize(&mut bytes);
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &bytes);
    let mut tail = [0; 8];
    tail.copy_from_slice(&hash.as_ref()[12..20]);
    i64::from_le_bytes(tail)
}

/// Opens what a client sealed to the key, by RSA_PAD or in the older form, a hash before the data. `None` when
/// it is neither.
pub(crate) fn open(encrypted: &[u8]) -> Option<Vec<u8>> {
    if encrypted.len() > ENCRYPTED_LEN {
        return None;
    }
    let sealed = BigUint::from_bytes_be(encrypted);
    let plain = to_bytes_256(&sealed.modpow(&from_hex(PRIVATE_EXPONENT_HEX), &from_hex(MODULUS_HEX)));
    open_hashed(&plain).or_else(|| open_padded(&plain))
}

/// A zero byte, the SHA-1 of the data, the data, random bytes.
fn open_hashed(plain: &[u8; 256]) -> Option<Vec<u8>> {
    let data = &plain[1 + SHA1_LEN..];
    let mut cursor = Cursor::from_slice(data);
    enums::PQInnerData::deserialize(&mut cursor).ok()?;
    let data = &data[..cursor.pos()];
    let is_whole = digest(&SHA1_FOR_LEGACY_USE_ONLY, data).as_ref() == &plain[1..1 + SHA1_LEN];
    (plain[0] == 0 && is_whole).then(|| data.to_vec())
}

/// RSA_PAD (<https://core.telegram.org/mtproto/auth_key#41-rsa-paddata-server-public-key-mentioned-above-is-implemented-as-follows>):
/// a one-time key that hides behind the hash of what it encrypts.
fn open_padded(plain: &[u8; 256]) -> Option<Vec<u8>> {
    let (hidden_key, encrypted) = plain.split_at(32);
    let mask = digest(&SHA256, encrypted);
    let mut key = [0; 32];
    for (out, (a, b)) in key.iter_mut().zip(hidden_key.iter().zip(mask.as_ref())) {
        *out = a ^ b;
    }
    let mut opened = encrypted.to_vec();
    ige_decrypt(&mut opened, &key, &[0; 32]);
    let (reversed, hash) = opened.split_at(PADDED_DATA_LEN);
    let data: Vec<u8> = reversed.iter().rev().copied().collect();
    let hashed = [&key[..], &data].concat();
    (digest(&SHA256, &hashed).as_ref() == hash).then_some(data)
}
