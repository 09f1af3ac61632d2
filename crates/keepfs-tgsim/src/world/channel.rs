//! Channels: who made one, who is in it, what it is called.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

/// One channel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Channel {
    pub(crate) id: i64,
    pub(crate) creator: i64,
    pub(crate) title: String,
    pub(crate) about: String,
    /// A group whose members all write; otherwise only administrators do.
    pub(crate) is_megagroup: bool,
    pub(crate) date_s: i32,
    pub(crate) members: BTreeSet<i64>,
    /// Members who may write, edit, delete and pin; the creator is one.
    pub(crate) admins: BTreeSet<i64>,
    /// Members who moved it to the archive.
    pub(crate) archived: BTreeSet<i64>,
    /// Until when members want no sound from it.
    pub(crate) muted_until: BTreeMap<i64, i32>,
}

impl Channel {
    pub(crate) fn may_write(&self, user: i64) -> bool {
        self.admins.contains(&user) || self.is_megagroup && self.members.contains(&user)
    }
}

/// The number that an account must name beside the number of a channel or a document. Each account has its own,
/// as Telegram does it, so that none can be handed on.
pub(crate) fn access_hash(user: i64, object: i64) -> i64 {
    let hash = digest(&SHA256, &[&user.to_le_bytes()[..], &object.to_le_bytes(), b"access"].concat());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.as_ref()[..8]);
    i64::from_le_bytes(bytes)
}
