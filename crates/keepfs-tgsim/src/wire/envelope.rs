//! Encrypted messages: MTProto 2.0, the server's direction of it
//! (<https://core.telegram.org/mtproto/description#defining-aes-key-and-initialization-vector>).
//!
//! It owns what lies between a frame and a message's body. It never knows what a body says.

use aws_lc_rs::digest::{Context, SHA256};
use grammers_crypto::AuthKey;
use grammers_crypto::aes::{ige_decrypt, ige_encrypt};

use super::fill_random;
use crate::error::{Error, Result};

/// The number under which the server knows an authorization key.
pub(crate) type KeyId = [u8; 8];

/// The number of the key and the key of the message.
const HEAD_LEN: usize = 24;
/// Salt, session, number, sequence, length.
const INNER_HEAD_LEN: usize = 32;
const PADDING_LEN_MIN: usize = 12;
const PADDING_LEN_MAX: usize = 1024;

/// Which way a message goes; it decides which bytes of the key are used (`x` of the description).
#[derive(Clone, Copy)]
enum Direction {
    FromClient = 0,
    ToClient = 8,
}

/// The number of a key: the last 64 bits of its SHA-1.
pub(crate) fn key_id(key: &AuthKey) -> KeyId {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &key.to_bytes());
    let mut id = [0; 8];
    id.copy_from_slice(&hash.as_ref()[12..20]);
    id
}

/// One message with what surrounds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) salt: i64,
    pub(crate) session: i64,
    pub(crate) message_id: i64,
    pub(crate) sequence: i32,
    pub(crate) body: Vec<u8>,
}

impl Envelope {
    /// Opens a packet of a client.
    pub(crate) fn open(key: &AuthKey, packet: &mut [u8]) -> Result<Envelope> {
        open(key, packet, Direction::FromClient)
    }

    /// Seals the message for a client.
    pub(crate) fn seal(&self, key: &AuthKey) -> Result<Vec<u8>> {
        seal(key, self, Direction::ToClient)
    }
}

fn open(key: &AuthKey, packet: &mut [u8], direction: Direction) -> Result<Envelope> {
    if packet.len() < HEAD_LEN + INNER_HEAD_LEN || !(packet.len() - HEAD_LEN).is_multiple_of(16) {
        return Err(Error::Protocol("an encrypted message's length is impossible"));
    }
    let (head, inner) = packet.split_at_mut(HEAD_LEN);
    let mut message_key = [0; 16];
    message_key.copy_from_slice(&head[8..]);
    let (aes_key, iv) = aes_parameters(key, &message_key, direction);
    ige_decrypt(inner, &aes_key, &iv);
    if message_key_of(key, inner, direction) != message_key {
        return Err(Error::Protocol("an encrypted message was changed"));
    }
    let (numbers, rest) = inner.split_at(INNER_HEAD_LEN);
    let body_len = u32::from_le_bytes(array(&numbers[28..])) as usize;
    let padding_len = rest.len().checked_sub(body_len);
    if !padding_len.is_some_and(|len| (PADDING_LEN_MIN..=PADDING_LEN_MAX).contains(&len)) {
        return Err(Error::Protocol("an encrypted message's padding is impossible"));
    }
    Ok(Envelope {
        salt: i64::from_le_bytes(array(numbers)),
        session: i64::from_le_bytes(array(&numbers[8..])),
        message_id: i64::from_le_bytes(array(&numbers[16..])),
        sequence: i32::from_le_bytes(array(&numbers[24..])),
        body: rest[..body_len].to_vec(),
    })
}

fn seal(key: &AuthKey, envelope: &Envelope, direction: Direction) -> Result<Vec<u8>> {
    let body_len = u32::try_from(envelope.body.len()).map_err(|_| Error::Protocol("a body is too long"))?;
    let mut packet = Vec::with_capacity(HEAD_LEN + INNER_HEAD_LEN + envelope.body.len() + 32);
    packet.extend(key_id(key));
    packet.extend([0; 16]);
    packet.extend(envelope.salt.to_le_bytes());
    packet.extend(envelope.session.to_le_bytes());
    packet.extend(envelope.message_id.to_le_bytes());
    packet.extend(envelope.sequence.to_le_bytes());
    packet.extend(body_len.to_le_bytes());
    packet.extend(&envelope.body);
    let mut padding = [0; 32];
    fill_random(&mut padding);
    let padding_len = PADDING_LEN_MIN + (16 - (packet.len() - HEAD_LEN + PADDING_LEN_MIN) % 16) % 16;
    packet.extend(&padding[..padding_len]);
    let message_key = message_key_of(key, &packet[HEAD_LEN..], direction);
    packet[8..HEAD_LEN].copy_from_slice(&message_key);
    let (aes_key, iv) = aes_parameters(key, &message_key, direction);
    ige_encrypt(&mut packet[HEAD_LEN..], &aes_key, &iv);
    Ok(packet)
}

/// The first bytes of a slice that its caller has measured.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    out
}

fn sha256(parts: [&[u8]; 2]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(parts[0]);
    context.update(parts[1]);
    array(context.finish().as_ref())
}

fn message_key_of(key: &AuthKey, inner: &[u8], direction: Direction) -> [u8; 16] {
    let from = 88 + direction as usize;
    array(&sha256([&key.to_bytes()[from..from + 32], inner])[8..])
}

fn aes_parameters(key: &AuthKey, message_key: &[u8; 16], direction: Direction) -> ([u8; 32], [u8; 32]) {
    let (key, x) = (key.to_bytes(), direction as usize);
    let a = sha256([message_key, &key[x..x + 36]]);
    let b = sha256([&key[40 + x..76 + x], message_key]);
    let weave = |outer: &[u8; 32], inner: &[u8; 32]| {
        let mut out = *outer;
        out[8..24].copy_from_slice(&inner[8..24]);
        out
    };
    (weave(&a, &b), weave(&b, &a))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> AuthKey {
        let mut bytes = [0; 256];
        fill_random(&mut bytes);
        AuthKey::from_bytes(bytes)
    }

    fn envelope(len: usize) -> Envelope {
        Envelope { salt: 1, session: 2, message_id: 3, sequence: 4, body: vec![7; len] }
    }

    #[test]
    fn the_client_opens_what_the_server_seals() {
        let key = key();
        for len in [0, 1, 15, 16, 1_000] {
            let mut packet = envelope(len).seal(&key).unwrap();
            let opened = grammers_crypto::decrypt_data_v2(&mut packet, &key).unwrap();
            assert_eq!(opened[INNER_HEAD_LEN..INNER_HEAD_LEN + len], vec![7; len]);
        }
    }

    #[test]
    fn the_server_opens_what_a_client_seals_and_refuses_what_was_changed() {
        let key = key();
        for len in [0, 4, 100] {
            let packet = seal(&key, &envelope(len), Direction::FromClient).unwrap();
            assert_eq!(Envelope::open(&key, &mut packet.clone()).unwrap(), envelope(len));
            for index in 8..packet.len() {
                let mut wrong = packet.clone();
                wrong[index] ^= 1;
                assert!(Envelope::open(&key, &mut wrong).is_err(), "byte {index}");
            }
            for cut in 0..packet.len() {
                assert!(Envelope::open(&key, &mut packet[..cut].to_vec()).is_err());
            }
        }
    }
}
