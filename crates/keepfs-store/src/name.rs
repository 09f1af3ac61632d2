//! Names of objects: the whole grammar, checked once when a name is made.

use std::fmt;
use std::str::FromStr;

use crate::error::{Result, StoreError};

/// Characters of the opaque part of a name: 128 bits in base32.
pub const ID_LEN: usize = 26;

/// Name of an object, one of:
///
/// ```text
/// vault            the header
/// vault.bak        its copy
/// h/<26>           a head; overwritten in place
/// o/xx/<26>        everything else; immutable; xx are the first two characters of the 26
/// ```
///
/// `<26>` is lower-case base32 (`a`–`z`, `2`–`7`) without padding, so that a name is safe on every file
/// system, in every URL, and where upper and lower case are the same. A name that exists is valid.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName(Box<str>);

impl ObjectName {
    /// Checks a name against the grammar; `Invalid` if it does not follow it.
    pub fn new(name: &str) -> Result<Self> {
        let valid = match name.as_bytes() {
            b"vault" | b"vault.bak" => true,
            [b'h', b'/', id @ ..] => is_id(id),
            [b'o', b'/', first, second, b'/', id @ ..] => is_id(id) && id[0] == *first && id[1] == *second,
            _ => false,
        };
        if valid {
            Ok(ObjectName(name.into()))
        } else {
            Err(StoreError::invalid(format!("{:?} is not the name of an object", shorten(name))))
        }
    }

    /// The header's name.
    pub fn vault() -> Self {
        ObjectName("vault".into())
    }

    /// The name of the header's copy.
    pub fn vault_backup() -> Self {
        ObjectName("vault.bak".into())
    }

    /// `h/<id>`; `Invalid` unless `id` is 26 characters of base32.
    pub fn head(id: &str) -> Result<Self> {
        Self::new(&format!("h/{id}"))
    }

    /// `o/xx/<id>`; `Invalid` unless `id` is 26 characters of base32.
    pub fn immutable(id: &str) -> Result<Self> {
        match id.get(..2) {
            Some(shard) => Self::new(&format!("o/{shard}/{id}")),
            None => Err(StoreError::invalid(format!("{id:?} is not the name of an object"))),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 26 opaque characters; `None` for `vault` and `vault.bak`.
    pub fn id(&self) -> Option<&str> {
        let (_, id) = self.0.rsplit_once('/')?;
        Some(id)
    }

    /// Whether the name is under `o/`: such an object is never replaced by other bytes.
    pub fn is_immutable(&self) -> bool {
        self.0.starts_with("o/")
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for ObjectName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for ObjectName {
    type Err = StoreError;

    fn from_str(name: &str) -> Result<Self> {
        Self::new(name)
    }
}

fn is_id(id: &[u8]) -> bool {
    id.len() == ID_LEN && id.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'))
}

/// A bad name can come from a hostile listing: no more of it than this gets into an error.
fn shorten(name: &str) -> String {
    const SHOWN_LEN_MAX: usize = 64;
    name.chars().take(SHOWN_LEN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "abcdefghijklmnopqrstuvwxyz";

    #[test]
    fn every_form_of_the_grammar_is_taken() {
        for name in ["vault", "vault.bak", &format!("h/{ID}"), &format!("o/ab/{ID}")] {
            assert_eq!(ObjectName::new(name).unwrap().as_str(), name);
        }
        assert_eq!(ObjectName::immutable(ID).unwrap().as_str(), format!("o/ab/{ID}"));
        assert_eq!(ObjectName::head(ID).unwrap().id(), Some(ID));
        assert_eq!(ObjectName::vault().id(), None);
    }

    #[test]
    fn everything_else_is_refused() {
        let upper = ID.to_uppercase();
        for name in [
            "",
            "vault2",
            "h/",
            "o/",
            "../vault",
            &format!("h/{ID}a"),
            &format!("h/{}", &ID[1..]),
            &format!("h/{upper}"),
            &format!("o/ac/{ID}"),
            &format!("o/{ID}"),
            &format!("o/ab/{}1", &ID[1..]),
            &format!("o/../{ID}"),
            &format!("h/{}/", &ID[1..]),
            &format!("x/{ID}"),
        ] {
            assert!(ObjectName::new(name).is_err(), "{name}");
        }
        assert!(ObjectName::immutable("é").is_err());
        assert!(ObjectName::immutable("a").is_err());
    }
}
