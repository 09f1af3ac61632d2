//! Accounts, authorization keys, and logins that are under way.
//!
//! It owns who somebody is and which keys speak for whom. It never decides what a key may do.

use std::collections::HashMap;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use grammers_crypto::AuthKey;
use serde::{Deserialize, Serialize};

use crate::wire::envelope::{KeyId, key_id};
use crate::wire::password::{Challenge, Verifier};
use crate::wire::{random_number, time_s};

/// Bytes of an authorization key.
pub(crate) const KEY_LEN: usize = 256;

/// One account.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) user: i64,
    pub(crate) phone: String,
    /// What `auth.sendCode` would send to the phone.
    pub(crate) code: String,
    pub(crate) name: String,
    /// The second factor. It stands here in clear: the account exists for tests alone.
    pub(crate) password: Option<String>,
    pub(crate) is_premium: bool,
    #[serde(skip)]
    pub(crate) verifier: Option<Arc<Verifier>>,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Account {
    pub(crate) fn with_verifier(mut self) -> Account {
        self.verifier = self.password.as_ref().map(|text| Arc::new(Verifier::new(text.as_bytes())));
        self
    }
}

/// Whom a key speaks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyState {
    /// Nobody: it was made and not signed in.
    Anonymous,
    /// An account.
    SignedIn(i64),
    /// An account, in a data centre where it is a guest, as long as its key at home is signed in.
    Guest { user: i64, home: KeyId },
    /// Nobody any more; every request gets this error.
    Refused { code: i32, message: String },
}

/// What a client said of itself when it connected.
#[derive(Debug, Clone, Default)]
pub(crate) struct Device {
    pub(crate) api_id: i32,
    pub(crate) model: String,
    pub(crate) system_version: String,
    pub(crate) app_version: String,
}

/// An authorization key.
pub(crate) struct Key {
    pub(crate) key: Arc<AuthKey>,
    pub(crate) state: KeyState,
    /// The name under which other sessions of the account may end this one.
    pub(crate) hash: i64,
    pub(crate) made_s: i32,
    pub(crate) active_s: i32,
    pub(crate) device: Device,
}

/// A key as it stands in the journal.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "KeyText", into = "KeyText")]
pub(crate) struct KeyRecord {
    bytes: [u8; KEY_LEN],
    hash: i64,
    made_s: i32,
    state: KeyState,
}

#[derive(Serialize, Deserialize)]
struct KeyText {
    key: String,
    hash: i64,
    made_s: i32,
    state: KeyState,
}

impl From<KeyRecord> for KeyText {
    fn from(record: KeyRecord) -> KeyText {
        let KeyRecord { bytes, hash, made_s, state } = record;
        KeyText { key: HEXLOWER.encode(&bytes), hash, made_s, state }
    }
}

impl TryFrom<KeyText> for KeyRecord {
    type Error = &'static str;

    fn try_from(text: KeyText) -> Result<KeyRecord, &'static str> {
        let bytes = HEXLOWER.decode(text.key.as_bytes()).map_err(|_| "a key that is not hexadecimal")?;
        let bytes = bytes.try_into().map_err(|_| "a key that has not 256 bytes")?;
        Ok(KeyRecord { bytes, hash: text.hash, made_s: text.made_s, state: text.state })
    }
}

impl std::fmt::Debug for KeyRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRecord").field("hash", &self.hash).finish_non_exhaustive()
    }
}

impl KeyRecord {
    pub(crate) fn new(bytes: [u8; KEY_LEN], state: KeyState) -> KeyRecord {
        KeyRecord { bytes, hash: random_number(), made_s: time_s(), state }
    }

    pub(crate) fn id(&self) -> KeyId {
        key_id(&AuthKey::from_bytes(self.bytes))
    }

    pub(crate) fn to_key(&self) -> Key {
        Key {
            key: Arc::new(AuthKey::from_bytes(self.bytes)),
            state: self.state.clone(),
            hash: self.hash,
            made_s: self.made_s,
            active_s: self.made_s,
            device: Device::default(),
        }
    }
}

/// A login that is under way with one key.
#[derive(Clone, Default)]
pub(crate) struct Login {
    pub(crate) phone: String,
    /// What ties the code to the request for it.
    pub(crate) code_hash: String,
    /// The account whose code was right and whose password is still asked for.
    pub(crate) user: Option<i64>,
    pub(crate) challenge: Option<(i64, Challenge)>,
}

/// An authorization on its way to another data centre.
pub(crate) struct Exported {
    pub(crate) bytes: Vec<u8>,
    pub(crate) user: i64,
    pub(crate) home: KeyId,
}

/// Logins under way and authorizations on their way to another data centre. They end with the server.
#[derive(Default)]
pub(crate) struct Logins {
    pub(crate) by_key: HashMap<KeyId, Login>,
    pub(crate) exported: HashMap<i64, Exported>,
}
