//! The copies of the header: finding one that opens, and putting right those that are not in force.
//!
//! It owns the order in which copies are tried and written. A copy is only a hint: which header is in force is
//! said by the roster, and a secret must fit that one. `vault.bak` is written before `vault`, so that a crash
//! leaves one of them whole, and both are the same again soon after: a slot that was taken away shall not go on
//! opening a forgotten copy.

use keepfs_format::error::FormatError;
use keepfs_format::header::{HEADER_LEN_MAX, Header, ListedSlot, OpenedSlot};
use keepfs_format::ids::VaultId;
use keepfs_format::roster::Roster;
use keepfs_format::slot::UnlockSecret;
use keepfs_store::{ObjectName, PutMode, Store, StoreError};

use super::unlocked::Notice;
use crate::error::{FsError, Result};

/// What a look at one copy found.
enum Copy {
    Absent,
    Whole {
        header: Box<Header>,
        bytes: Vec<u8>,
    },
    /// The checksum does not fit, but slots are listed.
    Scratched {
        header: Box<Header>,
    },
    Unreadable {
        reason: FormatError,
    },
}

impl Copy {
    fn look(bytes: Vec<u8>) -> Self {
        match Header::decode(&bytes) {
            Ok(header) if header.is_intact() => Self::Whole { header: Box::new(header), bytes },
            Ok(header) => Self::Scratched { header: Box::new(header) },
            Err(reason) => Self::Unreadable { reason },
        }
    }
}

/// The header copies that were looked at on the way to an open slot.
pub(super) struct Search {
    looked_at: Vec<Copy>,
    /// The copy `vault`, or what the store said instead.
    vault: Result<(), StoreError>,
}

impl Search {
    /// Opens a slot: of `vault`, then of `vault.bak`, then of the local copy.
    ///
    /// # Errors
    /// [`FsError::WrongSecret`] when a whole header was found and nothing opened; [`FsError::NoVault`] when no
    /// copy exists; [`FsError::NewerVersion`], [`FsError::Damaged`] or [`FsError::Store`] as the copies are.
    pub(super) fn open(
        store: Option<&dyn Store>,
        local: Option<Vec<u8>>,
        secret: UnlockSecret<'_>,
    ) -> Result<(Self, OpenedSlot)> {
        let mut search = Self { looked_at: Vec::new(), vault: Ok(()) };
        let mut refusal = None;
        if let Some(store) = store {
            for (name, is_vault) in [(ObjectName::vault(), true), (ObjectName::vault_backup(), false)] {
                let copy = match store.get(&name, HEADER_LEN_MAX as u64) {
                    Ok(bytes) => Copy::look(bytes),
                    Err(StoreError::NotFound { .. }) => Copy::Absent,
                    Err(StoreError::TooLarge { .. }) => Copy::Unreadable {
                        reason: FormatError::Invalid { what: "the header is longer than any header" },
                    },
                    Err(error) => {
                        if is_vault {
                            search.vault = Err(error);
                        }
                        break;
                    }
                };
                if let Some(opened) = search.try_copy(copy, secret, &mut refusal)? {
                    return Ok((search, opened));
                }
            }
        }
        if let Some(bytes) = local
            && let Some(opened) = search.try_copy(Copy::look(bytes), secret, &mut refusal)?
        {
            return Ok((search, opened));
        }
        Err(search.failure(refusal))
    }

    /// The store's own error, if it was not reached.
    pub(super) fn unreachable(&self) -> Option<&StoreError> {
        self.vault.as_ref().err()
    }

    fn try_copy(
        &mut self,
        copy: Copy,
        secret: UnlockSecret<'_>,
        refusal: &mut Option<FormatError>,
    ) -> Result<Option<OpenedSlot>> {
        let known = |other: &Copy| matches!((other, &copy), (Copy::Whole { bytes, .. }, Copy::Whole { bytes: same, .. }) if bytes == same);
        let mut opened = None;
        if !self.looked_at.iter().any(known)
            && let Copy::Whole { header, .. } | Copy::Scratched { header } = &copy
        {
            match header.open(secret) {
                Ok(slot) => opened = Some(slot),
                Err(FormatError::WrongSecret) => {}
                Err(error @ FormatError::KdfMemory { .. }) => return Err(error.into()),
                Err(error) => *refusal = Some(error),
            }
        }
        self.looked_at.push(copy);
        Ok(opened)
    }

    /// Why nothing opened: the most certain statement first.
    fn failure(self, refusal: Option<FormatError>) -> FsError {
        let newer = self.looked_at.iter().find_map(|copy| match copy {
            Copy::Unreadable { reason: FormatError::WrongVersion { found, supported } } => {
                Some((*found, *supported))
            }
            _ => None,
        });
        if let Some((found, supported)) = newer {
            return FsError::NewerVersion { what: "the vault", found, supported };
        }
        if let Some(error) = refusal {
            return error.into();
        }
        if self.looked_at.iter().any(|copy| matches!(copy, Copy::Whole { .. })) {
            return FsError::WrongSecret;
        }
        if self.looked_at.iter().any(|copy| !matches!(copy, Copy::Absent)) {
            return FsError::Damaged {
                what: "the vault's header, in every copy that was found,".into(),
                advice: "unlock the vault on another machine that has joined, which puts it right; \
                         or restore the object 'vault' from a copy of the store"
                    .into(),
            };
        }
        match self.vault {
            Err(error) => error.into(),
            Ok(()) => FsError::NoVault,
        }
    }

    /// Whether the store has a header, and it is that of another vault.
    pub(super) fn is_other_vault(&self, vault: VaultId) -> bool {
        self.vault.is_ok()
            && matches!(self.looked_at.first(), Some(Copy::Whole { header, .. }) if header.vault() != vault)
    }

    /// Whether the store was reached and has no header.
    pub(super) fn is_absent(&self) -> bool {
        self.vault.is_ok() && matches!(self.looked_at[..], [Copy::Absent, Copy::Absent, ..])
    }

    /// What is wrong with the copy `vault` on a store that was reached.
    fn flaw(&self, in_force: &[u8]) -> Option<&'static str> {
        if self.vault.is_err() {
            return None;
        }
        match self.looked_at.first()? {
            Copy::Absent => Some("was missing on the store"),
            Copy::Whole { bytes, .. } if bytes == in_force => None,
            Copy::Whole { .. } => Some("on the store was not the one in force"),
            Copy::Scratched { .. } | Copy::Unreadable { .. } => Some("on the store was damaged"),
        }
    }

    /// Puts the header that is in force in place of a copy that is not.
    pub(super) fn repair(&self, store: &dyn Store, in_force: &[u8]) -> Option<Notice> {
        let flaw = self.flaw(in_force)?;
        Some(match publish(store, in_force) {
            Ok(()) => Notice::HeaderRepaired { flaw },
            Err(error) => Notice::HeaderNotRepaired { flaw, detail: error.to_string() },
        })
    }
}

/// Writes both copies, the spare one first.
pub(super) fn publish(store: &dyn Store, bytes: &[u8]) -> Result<(), StoreError> {
    store.put(&ObjectName::vault_backup(), bytes, PutMode::Replace)?;
    store.put(&ObjectName::vault(), bytes, PutMode::Replace)
}

/// The header in force, by the roster.
pub(super) fn in_force(roster: &Roster) -> Result<(&Header, &[u8])> {
    roster.header().ok_or_else(|| FsError::Rollback {
        what: "roster",
        expected: "a header in force".into(),
        seen: "none".into(),
    })
}

/// Makes sure that a slot that opened is in force; if it is not, that the secret opens one that is.
pub(super) fn confirm(roster: &Roster, opened: OpenedSlot, secret: UnlockSecret<'_>) -> Result<OpenedSlot> {
    let (header, _) = in_force(roster)?;
    let listed = |listed: &ListedSlot| matches!(listed, ListedSlot::Known(slot) if slot.id() == opened.id);
    if header.slots().iter().any(listed) {
        return Ok(opened);
    }
    match header.open(secret) {
        Ok(opened) => Ok(opened),
        Err(FormatError::WrongSecret) => Err(FsError::WrongSecret),
        Err(error) => Err(error.into()),
    }
}
