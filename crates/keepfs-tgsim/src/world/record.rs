//! A change of the state, as it stands in the journal.

use serde::{Deserialize, Serialize};

use super::account::{Account, KeyRecord, KeyState};
use super::channel::Channel;
use super::document::Document;
use super::mailbox::{Edit, Message, Place};
use crate::wire::envelope::KeyId;

/// One change. Each is complete: applying it needs nothing but the state before.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Record {
    /// An account was made or changed.
    Account(Account),
    /// An authorization key was made or given out.
    Key(KeyRecord),
    /// A key was signed in, signed out or revoked.
    KeyState { key: KeyId, state: KeyState },
    /// The server forgot a key.
    KeyGone { key: KeyId },
    /// A channel was made or changed.
    Channel(Channel),
    /// A channel was deleted with everything in it.
    ChannelGone { channel: i64 },
    /// A document was completed.
    Document(Document),
    /// A message was sent.
    Posted { place: Place, message: Message },
    /// A message was changed.
    Edited { place: Place, id: i32, edit: Edit },
    /// Messages were deleted; all of them existed.
    Deleted { place: Place, ids: Vec<i32> },
    /// A message was pinned or released.
    Pinned { place: Place, id: i32, is_pinned: bool },
    /// Every reference to a file that was given out so far has expired.
    ReferencesExpired,
}
