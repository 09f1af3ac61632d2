//! MTProto 2.0 from the server's side: frames, encryption, key exchange, salts, the proof of a password.
//!
//! It knows bytes and keys. It never knows accounts, messages or files.

pub(crate) mod envelope;
pub(crate) mod key_exchange;
pub(crate) mod message_id;
pub(crate) mod number;
pub(crate) mod password;
pub(crate) mod rsa_key;
pub(crate) mod salts;
pub(crate) mod transport;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since 1970.
pub(crate) fn time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Seconds since 1970, as Telegram counts them.
pub(crate) fn time_s() -> i32 {
    i32::try_from(time().as_secs()).unwrap_or(i32::MAX)
}

/// Fills a buffer with random bytes.
pub(crate) fn fill_random(bytes: &mut [u8]) {
    aws_lc_rs::rand::fill(bytes).expect("the system's random number generator does not fail");
}

/// A random number that is never zero.
pub(crate) fn random_number() -> i64 {
    let mut bytes = [0; 8];
    fill_random(&mut bytes);
    i64::from_le_bytes(bytes) & i64::MAX | 1
}
