//! What a test may set: limits that are too large to reach, and delays that Telegram has.

use serde::{Deserialize, Serialize};

/// The server's limits and habits. A control command may change any of them at any time.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Newest messages of a channel that can still be reached
    /// (Telegram's users report one million; nothing is documented).
    pub visible_history: i32,
    /// Newest messages that a search does not see yet: Telegram's index is built later.
    pub search_lag: usize,
    /// Changes of a mailbox that a difference can still tell; older ones are "too long".
    pub updates_window: usize,
    /// Changes that one difference tells.
    pub difference_limit: usize,
    /// Parts of one file (`upload_max_fileparts_default`).
    pub parts_max: i32,
    /// Parts of one file for a paying account (`upload_max_fileparts_premium`).
    pub parts_max_premium: i32,
    /// Whether a message that is sent again under its `random_id` is recognised.
    pub remembers_random_ids: bool,
    /// Whether such a message is answered with an error (500 RANDOM_ID_DUPLICATE) instead of the first one. Both
    /// were seen of Telegram.
    pub repeats_are_errors: bool,
    /// Seconds after which the server wants another salt.
    pub salt_period_s: i32,
    /// The data centre whose accounts these are; others answer PHONE_MIGRATE.
    pub home_dc: i32,
    /// The data centre that keeps new documents; others answer FILE_MIGRATE.
    pub document_dc: i32,
    /// Milliseconds that every answer waits: the way to a distant data centre and back.
    pub round_trip_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            visible_history: 1_000_000,
            search_lag: 0,
            updates_window: 100_000,
            difference_limit: 100,
            parts_max: 4_000,
            parts_max_premium: 8_000,
            remembers_random_ids: true,
            repeats_are_errors: false,
            salt_period_s: 3_600,
            home_dc: 2,
            document_dc: 2,
            round_trip_ms: 0,
        }
    }
}
