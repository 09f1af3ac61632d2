//! What can go wrong between here and Telegram, and what a store says about it.

use std::time::Duration;

use grammers_mtproto::transport;
use grammers_mtsender::InvocationError;
use keepfs_store::{Retry, StoreError};

/// Status of the transport that says: no such key. It comes as plain text, so anybody on the way can send it.
const STATUS_NO_KEY: u32 = 404;
/// Code of everything that Telegram wants to have asked later.
const CODE_FLOOD: i32 = 420;
/// Code of a session that is no longer one.
const CODE_UNAUTHORIZED: i32 = 401;
/// Longest wait that is believed; a longer one is tried again after this time.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);

/// Why Telegram cannot be used. Each variant says what the caller should do.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TelegramError {
    /// Nobody has logged in on this machine. Log in.
    #[error("this machine is not logged in to Telegram")]
    NotLoggedIn,
    /// The server does not know this machine's key. It may be a lie of the network; the key is kept. Try again
    /// elsewhere, then log in anew.
    #[error("Telegram session lost: the server says that it does not know this machine's key")]
    SessionLost,
    /// The session was ended: from another device, by its age, or with the account. Log in again.
    #[error("Telegram has ended this machine's session ({reason})")]
    SessionEnded {
        /// The server's word for it.
        reason: String,
    },
    /// The same session was used from two places, and Telegram has ended it. Log in again, once a machine.
    #[error("this machine's Telegram session was used from two places at once, and Telegram has ended it")]
    SessionDuplicated,
    /// The kept session does not open or does not decode. Log in again.
    #[error("the kept Telegram session cannot be read: {detail}")]
    SessionUnreadable {
        /// What is wrong with it, for people.
        detail: String,
    },
    /// Telegram wants to be asked later. Wait as long as it says.
    #[error("Telegram asks to wait {} s", wait.as_secs())]
    Wait {
        /// How long.
        wait: Duration,
    },
    /// The code is not the one that was sent. Ask for it again.
    #[error("this is not the code that Telegram sent")]
    WrongCode,
    /// The code is too old. Start again.
    #[error("the code has expired")]
    CodeExpired,
    /// The password of two-step verification is wrong. Ask for it again.
    #[error("this is not the password of the account's two-step verification")]
    WrongPassword,
    /// Telegram does not take this phone number. Check it.
    #[error("Telegram does not accept the phone number: {reason}")]
    PhoneRefused {
        /// The server's word for it.
        reason: String,
    },
    /// Telegram does not take this pair of api_id and api_hash. Check them.
    #[error("Telegram does not accept the api_id and api_hash ({reason})")]
    ApiRefused {
        /// The server's word for it.
        reason: String,
    },
    /// There is no channel of that name or number in this account. Check the address, or create it.
    #[error("there is no channel {place} in this Telegram account")]
    NoChannel {
        /// How it was called.
        place: String,
    },
    /// Several channels have that name. Use the number.
    #[error("several channels are called {place}")]
    Ambiguous {
        /// How they are called.
        place: String,
    },
    /// The channel was there and is no more, or this account was shut out. Nothing can be read any more.
    #[error("the channel is gone: its owner deleted it, or removed this account from it")]
    ChannelGone,
    /// This account may not post in the channel.
    #[error("this account may not write in the channel ({reason})")]
    NotAllowed {
        /// The server's word for it.
        reason: String,
    },
    /// The address after `telegram:` is not well formed. Show what is wrong with it.
    #[error("{place:?} is not a place in Telegram: {detail}")]
    BadPlace {
        /// The text after the scheme.
        place: String,
        /// What is wrong, for people.
        detail: &'static str,
    },
    /// The connection failed, stalled, or answered with something that is none. Whether the request took effect
    /// is unknown. Try again.
    #[error("Telegram cannot be reached: {detail}")]
    Broken {
        /// What happened, for people.
        detail: String,
    },
    /// The server failed. Try again later.
    #[error("Telegram failed ({code} {name})")]
    Server {
        /// The number of the error.
        code: i32,
        /// The server's word for it.
        name: String,
    },
    /// Telegram refused the request; it will refuse it again.
    #[error("Telegram refused the request ({name})")]
    Refused {
        /// The server's word for it, with its number.
        name: String,
    },
    /// A file of this machine beside the store cannot be read or written. Check the disk.
    #[error("the files that keep track of Telegram cannot be used: {detail}")]
    Local {
        /// What happened, for people.
        detail: String,
    },
}

/// What the methods of this crate return.
pub(crate) type Result<T, E = TelegramError> = std::result::Result<T, E>;

impl TelegramError {
    /// The connection broke, or never was.
    pub(crate) fn broken(detail: impl Into<String>) -> Self {
        TelegramError::Broken { detail: detail.into() }
    }

    /// A local file made trouble.
    pub(crate) fn local(doing: &str, error: &std::io::Error) -> Self {
        TelegramError::Local { detail: format!("{doing}: {error}") }
    }

    /// Whether this machine's session is at fault, so that only a new login helps.
    #[must_use]
    pub fn is_about_session(&self) -> bool {
        matches!(
            self,
            TelegramError::NotLoggedIn
                | TelegramError::SessionLost
                | TelegramError::SessionEnded { .. }
                | TelegramError::SessionDuplicated
                | TelegramError::SessionUnreadable { .. }
        )
    }

    /// Whether nobody knows what became of the request.
    pub(crate) fn is_broken(&self) -> bool {
        matches!(self, TelegramError::Broken { .. })
    }

    /// Whether the server refused with this word.
    pub(crate) fn is_refusal(&self, prefix: &str) -> bool {
        matches!(self, TelegramError::Refused { name } if name.starts_with(prefix))
    }

    /// The number that stands in a refusal, as in `PHONE_MIGRATE_4`.
    pub(crate) fn refusal_number(&self) -> Option<i32> {
        let TelegramError::Refused { name } = self else { return None };
        name.split('_').find_map(|word| word.parse().ok())
    }

    /// What came back instead of an answer.
    pub(crate) fn of_invocation(error: &InvocationError) -> Self {
        match error {
            InvocationError::Rpc(error) => Self::of_rpc(error.code, &error.name, error.value),
            InvocationError::Transport(transport::Error::BadStatus { status: STATUS_NO_KEY }) => {
                TelegramError::SessionLost
            }
            other => TelegramError::broken(other.to_string()),
        }
    }

    fn of_rpc(code: i32, name: &str, value: Option<u32>) -> Self {
        let reason = || name.to_owned();
        match (code, name) {
            (CODE_FLOOD, _) => {
                let wait = Duration::from_secs(u64::from(value.unwrap_or(1).max(1)));
                TelegramError::Wait { wait: wait.min(WAIT_MAX) }
            }
            (406, "AUTH_KEY_DUPLICATED") => TelegramError::SessionDuplicated,
            // A step of the login, not the end of a session.
            (CODE_UNAUTHORIZED, "SESSION_PASSWORD_NEEDED") => TelegramError::Refused { name: reason() },
            (CODE_UNAUTHORIZED, _) => TelegramError::SessionEnded { reason: reason() },
            (_, "PHONE_CODE_INVALID" | "PHONE_CODE_EMPTY") => TelegramError::WrongCode,
            (_, "PHONE_CODE_EXPIRED") => TelegramError::CodeExpired,
            (_, "PASSWORD_HASH_INVALID" | "SRP_PASSWORD_CHANGED") => TelegramError::WrongPassword,
            (_, "PHONE_NUMBER_INVALID" | "PHONE_NUMBER_BANNED" | "PHONE_NUMBER_UNOCCUPIED") => {
                TelegramError::PhoneRefused { reason: reason() }
            }
            (_, "API_ID_INVALID" | "API_ID_PUBLISHED_FLOOD") => {
                TelegramError::ApiRefused { reason: reason() }
            }
            (_, "CHANNEL_PRIVATE" | "CHANNEL_INVALID" | "PEER_ID_INVALID") => TelegramError::ChannelGone,
            (_, "CHAT_WRITE_FORBIDDEN" | "CHAT_ADMIN_REQUIRED" | "CHAT_SEND_DOCS_FORBIDDEN") => {
                TelegramError::NotAllowed { reason: reason() }
            }
            // An answer, in the clothes of a failure: the message is there.
            (_, "RANDOM_ID_DUPLICATE") => TelegramError::Refused { name: reason() },
            (500.., _) | (..0, _) => TelegramError::Server { code, name: reason() },
            _ => {
                let name = value.map_or_else(reason, |value| format!("{name}_{value}"));
                TelegramError::Refused { name }
            }
        }
    }
}

impl From<TelegramError> for StoreError {
    fn from(error: TelegramError) -> Self {
        let detail = error.to_string();
        match error {
            TelegramError::Wait { wait } => StoreError::Unavailable { detail, retry: Retry::After(wait) },
            TelegramError::Broken { .. } => StoreError::Unavailable { detail, retry: Retry::Soon },
            TelegramError::Server { .. } => StoreError::io_soon(detail),
            TelegramError::NotAllowed { .. } => StoreError::ReadOnly { detail },
            TelegramError::BadPlace { .. } => StoreError::invalid(detail),
            TelegramError::Refused { .. } | TelegramError::Local { .. } => StoreError::io_never(detail),
            error if error.is_about_session() => {
                StoreError::Denied { detail: format!("{detail}; log in with 'keepfs auth'") }
            }
            _ => StoreError::Denied { detail },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wait_is_passed_on_with_its_length() {
        for name in ["FLOOD_WAIT", "FLOOD_PREMIUM_WAIT", "SLOWMODE_WAIT"] {
            let error = StoreError::from(TelegramError::of_rpc(420, name, Some(4000)));
            assert_eq!(error.retry(), Retry::After(Duration::from_secs(4000)));
        }
        let endless = TelegramError::of_rpc(420, "FLOOD_WAIT", Some(u32::MAX));
        assert_eq!(endless, TelegramError::Wait { wait: WAIT_MAX });
    }

    #[test]
    fn ended_sessions_are_never_retried() {
        for error in [
            TelegramError::of_rpc(401, "AUTH_KEY_UNREGISTERED", None),
            TelegramError::of_rpc(401, "SESSION_REVOKED", None),
            TelegramError::of_rpc(406, "AUTH_KEY_DUPLICATED", None),
            TelegramError::of_rpc(400, "CHANNEL_PRIVATE", None),
            TelegramError::SessionLost,
        ] {
            let error = StoreError::from(error);
            assert!(matches!(error, StoreError::Denied { .. }), "{error}");
            assert_eq!(error.retry(), Retry::Never);
        }
    }

    #[test]
    fn numbers_of_refusals_are_kept() {
        let error = TelegramError::of_rpc(303, "PHONE_MIGRATE", Some(4));
        assert!(error.is_refusal("PHONE_MIGRATE"));
        assert_eq!(error.refusal_number(), Some(4));
    }
}
