//! The text after `telegram:`: saved messages, or a channel by its name or number.

use crate::error::{Result, TelegramError};

/// Longest name of a channel that is taken, in bytes: Telegram's limit is 128 characters, and the number of a
/// volume is put behind it.
const NAME_LEN_MAX: usize = 100;

/// Where in a Telegram account the store is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// The chat of the account with itself.
    SavedMessages,
    /// A channel by its name.
    Named(String),
    /// A channel by its number.
    Numbered(i64),
}

impl Place {
    /// Reads what stands after the scheme.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let bad = |detail| TelegramError::BadPlace { place: text.chars().take(64).collect(), detail };
        if text.is_empty() {
            return Ok(Place::SavedMessages);
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(Place::Numbered).map_err(|_| bad("the number is too large"));
        }
        if text.starts_with('/') {
            return Err(bad("write telegram: for the saved messages, telegram:NAME for a channel"));
        }
        if text.len() > NAME_LEN_MAX {
            return Err(bad("a name has at most 100 bytes"));
        }
        if text.trim() != text || text.chars().any(char::is_control) {
            return Err(bad("a name has no spaces at its ends and no control characters"));
        }
        Ok(Place::Named(text.to_owned()))
    }

    /// The directory of this place among the local files: one path component whatever the name is.
    pub(crate) fn directory(&self) -> String {
        match self {
            Place::SavedMessages => "saved".to_owned(),
            Place::Numbered(id) => format!("id-{id}"),
            Place::Named(name) => {
                let hex: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
                format!("name-{hex}")
            }
        }
    }
}

/// Whether what follows `telegram:` is well formed.
///
/// # Errors
/// `BadPlace`.
pub fn check_place(text: &str) -> Result<()> {
    Place::parse(text).map(drop)
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::SavedMessages => f.write_str("of saved messages"),
            Place::Named(name) => f.write_str(name),
            Place::Numbered(id) => write!(f, "{id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_told_apart() {
        assert_eq!(Place::parse("").unwrap(), Place::SavedMessages);
        assert_eq!(Place::parse("Our files").unwrap(), Place::Named("Our files".into()));
        assert_eq!(Place::parse("1234567890").unwrap(), Place::Numbered(1_234_567_890));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for text in ["//host", " a", "a\n", "99999999999999999999", &"x".repeat(101)] {
            assert!(Place::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_name_leaves_its_directory() {
        for name in ["..", "a/b", "."] {
            assert!(!Place::Named(name.into()).directory().contains(['/', '.']));
        }
    }
}
