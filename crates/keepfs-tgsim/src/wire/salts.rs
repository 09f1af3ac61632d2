//! Server salts: one an hour and key, accepted an hour before and after, and announced for two days ahead
//! (<https://core.telegram.org/mtproto/description#server-salt>).
//!
//! They are computed, not stored, so that a server that starts again knows them.

use aws_lc_rs::digest::{SHA256, digest};
use grammers_tl_types::types::FutureSalt;

use super::envelope::KeyId;
use super::time_s;

const PERIOD_S: i32 = 3_600;
/// Salts that one answer may announce; Telegram's own limit is 64.
const ANNOUNCED_MAX: i32 = 48;

/// The salt of this hour.
pub(crate) fn current(key: KeyId) -> i64 {
    salt_of(key, time_s() / PERIOD_S)
}

/// Whether a client may use the salt now.
pub(crate) fn is_valid(key: KeyId, salt: i64) -> bool {
    let hour = time_s() / PERIOD_S;
    (hour - 1..=hour + 1).any(|hour| salt_of(key, hour) == salt)
}

/// The salts of this hour and the next ones, as many as were asked for within limits.
pub(crate) fn announced(key: KeyId, wanted: i32) -> Vec<FutureSalt> {
    let hour = time_s() / PERIOD_S;
    (hour..hour + wanted.clamp(2, ANNOUNCED_MAX))
        .map(|hour| FutureSalt {
            valid_since: hour * PERIOD_S,
            valid_until: (hour + 2) * PERIOD_S,
            salt: salt_of(key, hour),
        })
        .collect()
}

fn salt_of(key: KeyId, hour: i32) -> i64 {
    let hash = digest(&SHA256, &[&key[..], &hour.to_le_bytes(), b"salt"].concat());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.as_ref()[..8]);
    i64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announced_salts_are_those_that_will_be_valid() {
        let key = [9; 8];
        let salts = announced(key, 64);
        assert!(salts.len() >= 24);
        assert_eq!(salts[0].salt, current(key));
        assert!(is_valid(key, salts[0].salt) && is_valid(key, salts[1].salt));
        assert!(!is_valid(key, salts[5].salt) && !is_valid([8; 8], salts[0].salt));
        assert!(salts.windows(2).all(|pair| pair[0].valid_until > pair[1].valid_since));
    }
}
