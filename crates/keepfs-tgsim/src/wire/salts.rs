//! Server salts: one for each period and key, accepted a period before and after, and announced for many ahead
//! (<https://core.telegram.org/mtproto/description#server-salt>).
//!
//! They are computed, not stored, so that a server that starts again knows them.

use aws_lc_rs::digest::{SHA256, digest};
use grammers_tl_types::types::FutureSalt;

use super::envelope::KeyId;
use super::time_s;

/// Salts that one answer may announce; Telegram's own limit is 64.
const ANNOUNCED_MAX: i32 = 48;

/// The salts of a key that change after so many seconds.
#[derive(Clone, Copy)]
pub(crate) struct Salts {
    pub(crate) key: KeyId,
    pub(crate) period_s: i32,
}

impl Salts {
    fn now(&self) -> i32 {
        time_s() / self.period_s.max(1)
    }

    /// The salt of this period.
    pub(crate) fn current(&self) -> i64 {
        salt_of(self.key, self.now())
    }

    /// Whether a client may use the salt now.
    pub(crate) fn is_valid(&self, salt: i64) -> bool {
        (self.now() - 1..=self.now() + 1).any(|number| salt_of(self.key, number) == salt)
    }

    /// The salts of this period and the next ones, as many as were asked for within limits.
    pub(crate) fn announced(&self, wanted: i32) -> Vec<FutureSalt> {
        let period_s = self.period_s.max(1);
        (self.now()..self.now() + wanted.clamp(2, ANNOUNCED_MAX))
            .map(|number| FutureSalt {
                valid_since: number.saturating_mul(period_s),
                valid_until: (number + 2).saturating_mul(period_s),
                salt: salt_of(self.key, number),
            })
            .collect()
    }
}

fn salt_of(key: KeyId, number: i32) -> i64 {
    let hash = digest(&SHA256, &[&key[..], &number.to_le_bytes(), b"salt"].concat());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.as_ref()[..8]);
    i64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announced_salts_are_those_that_will_be_valid() {
        let salts = Salts { key: [9; 8], period_s: 3_600 };
        let announced = salts.announced(64);
        assert!(announced.len() >= 24);
        assert_eq!(announced[0].salt, salts.current());
        assert!(salts.is_valid(announced[0].salt) && salts.is_valid(announced[1].salt));
        assert!(!salts.is_valid(announced[5].salt));
        assert!(!Salts { key: [8; 8], ..salts }.is_valid(announced[0].salt));
        assert!(announced.windows(2).all(|pair| pair[0].valid_until > pair[1].valid_since));
    }
}
