//! The roster as it lies on a store: fetching, checking against what is known, appending.
//!
//! It owns the positions. Every object is put with `Create`, so two machines never hold one position both; the
//! one that comes second reads what the first one said and tries the next. It never replaces an entry.

use keepfs_format::env::Env;
use keepfs_format::error::FormatError;
use keepfs_format::ids::VaultId;
use keepfs_format::roster::{Change, ENTRY_LEN_MAX, EntryHash, Roster, RosterKeys};
use keepfs_format::sealed::padded_len;
use keepfs_format::slot::SlotPayload;
use keepfs_store::{ObjectName, PutMode, Store, StoreError};

use super::site::Site;
use crate::error::{FsError, Result};

/// How often an append yields to another machine before it gives up.
const APPEND_ATTEMPTS_MAX: usize = 64;
/// Longest object of an entry in bytes, with room for what sealing adds.
const OBJECT_LEN_MAX: usize = ENTRY_LEN_MAX + 4096;

/// What a machine has seen of the roster before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    /// Number of entries.
    pub(super) entry_count: u64,
    /// Hash of the last of them.
    pub(super) tip: EntryHash,
}

/// The roster, its raw entries, and the keys of its objects.
pub(super) struct Chain {
    pub(super) roster: Roster,
    entries: Vec<Vec<u8>>,
    keys: RosterKeys,
}

impl Chain {
    /// The chain of a vault that is being founded.
    pub(super) fn begin(roster: Roster, first: Vec<u8>, keys: RosterKeys) -> Self {
        Self { roster, entries: vec![first], keys }
    }

    /// Checks entries that were kept locally.
    pub(super) fn from_entries(entries: Vec<Vec<u8>>, keys: RosterKeys, vault: VaultId) -> Result<Self> {
        let first = entries.first().ok_or(FormatError::Truncated { what: "roster" })?;
        let mut roster = Roster::open(first, vault)?;
        for entry in &entries[1..] {
            roster.accept(entry)?;
        }
        Ok(Self { roster, entries, keys })
    }

    /// Fetches everything from the first entry on.
    pub(super) fn fetch(store: &dyn Store, keys: RosterKeys, vault: VaultId) -> Result<Self> {
        let first = fetch_entry(store, &keys, 0)?.ok_or_else(|| rollback(1, 0))?;
        let roster = Roster::open(&first, vault)?;
        let mut chain = Self::begin(roster, first, keys);
        chain.fetch_news(store)?;
        Ok(chain)
    }

    /// Fetches what was added since, and makes sure that the store still has what is known.
    pub(super) fn catch_up(&mut self, store: &dyn Store) -> Result<()> {
        let last = self.roster.entry_count() - 1;
        match fetch_entry(store, &self.keys, last)? {
            Some(entry) if self.entries.last() == Some(&entry) => self.fetch_news(store),
            Some(_) => Err(FsError::Rollback {
                what: "roster",
                expected: format!("entry {last} as it was"),
                seen: "another one in its place".into(),
            }),
            None => Err(rollback(last + 1, last)),
        }
    }

    fn fetch_news(&mut self, store: &dyn Store) -> Result<()> {
        while let Some(entry) = fetch_entry(store, &self.keys, self.roster.entry_count())? {
            self.accept(entry)?;
        }
        Ok(())
    }

    fn accept(&mut self, entry: Vec<u8>) -> Result<()> {
        self.roster.accept(&entry)?;
        self.entries.push(entry);
        Ok(())
    }

    /// Appends an entry while the vault is being founded and only this machine knows of it.
    pub(super) fn say(&mut self, author: &SlotPayload, env: &dyn Env, change: Change) -> Result<()> {
        let entry = self.roster.compose(author.user, &author.signing, env.now(), change)?;
        self.accept(entry)
    }

    /// Makes sure that nothing known is missing: what the slot promises, and what this machine has seen.
    pub(super) fn check(&self, entry_count_min: u64, seen: Option<Seen>) -> Result<()> {
        let count = self.roster.entry_count();
        let expected = entry_count_min.max(seen.map_or(0, |seen| seen.entry_count));
        if count < expected {
            return Err(rollback(expected, count));
        }
        match seen {
            Some(seen) if self.roster.hash_at(seen.entry_count.wrapping_sub(1)) != Some(seen.tip) => {
                Err(FsError::Rollback {
                    what: "roster",
                    expected: format!("entry {} as it was", seen.entry_count.wrapping_sub(1)),
                    seen: "another one in its place".into(),
                })
            }
            _ => Ok(()),
        }
    }

    /// How far this chain goes.
    pub(super) fn seen(&self) -> Seen {
        Seen { entry_count: self.roster.entry_count(), tip: self.roster.tip() }
    }

    /// The raw entries, to be kept locally.
    pub(super) fn entries(&self) -> &[Vec<u8>] {
        &self.entries
    }

    /// Appends one entry: `compose` makes it for the roster as it is then, again for each position that another
    /// machine took.
    ///
    /// # Errors
    /// [`FsError::Contended`] after [`APPEND_ATTEMPTS_MAX`]; what the store says, and then the entry may or may
    /// not be there.
    pub(super) fn append(
        &mut self,
        site: &Site<'_>,
        compose: &mut dyn FnMut(&Roster) -> Result<Vec<u8>>,
    ) -> Result<()> {
        let store = site.store()?;
        for _ in 0..APPEND_ATTEMPTS_MAX {
            let entry = compose(&self.roster)?;
            if self.put(store, site.env, &entry)? {
                return self.accept(entry);
            }
            self.fetch_news(store)?;
        }
        Err(FsError::Contended)
    }

    /// Puts every entry of a roster that is being founded.
    pub(super) fn put_all(&self, site: &Site<'_>) -> Result<()> {
        let store = site.store()?;
        for (position, entry) in self.entries.iter().enumerate() {
            let name = object_name(&self.keys, position as u64)?;
            let sealed = self.keys.seal(position as u64, entry, site.env)?;
            store.put(&name, &sealed, PutMode::Create)?;
        }
        Ok(())
    }

    /// Takes the entries of a roster that was not founded after all off the store, as far as that works.
    pub(super) fn delete_all(&self, store: &dyn Store) {
        for position in 0..self.entries.len() as u64 {
            if let Ok(name) = object_name(&self.keys, position) {
                let _ = store.delete(&name);
            }
        }
    }

    /// Whether this entry now has the next position.
    fn put(&self, store: &dyn Store, env: &dyn Env, entry: &[u8]) -> Result<bool> {
        let position = self.roster.entry_count();
        let name = object_name(&self.keys, position)?;
        let sealed = self.keys.seal(position, entry, env)?;
        match store.put(&name, &sealed, PutMode::Create) {
            Ok(()) if store.capabilities().create_is_atomic => return Ok(true),
            // The store may have let two of us write; or the answer of an earlier try was lost. What lies
            // there now decides.
            Ok(()) | Err(StoreError::Exists { .. }) => {}
            Err(error) => {
                let found = fetch_entry(store, &self.keys, position);
                return match found {
                    Ok(Some(found)) => Ok(found == entry),
                    Ok(None) | Err(_) => Err(error.into()),
                };
            }
        }
        match fetch_entry(store, &self.keys, position)? {
            Some(found) => Ok(found == entry),
            None => Err(FsError::Damaged {
                what: format!("the store (it says that {} exists and that it does not)", name.as_str()),
                advice: "try again, and use another store if it stays so".into(),
            }),
        }
    }
}

/// The keys of the roster that a slot belongs to.
pub(super) fn keys_of(user: &SlotPayload) -> RosterKeys {
    RosterKeys::derive(&user.roster_key, user.vault)
}

fn object_name(keys: &RosterKeys, position: u64) -> Result<ObjectName> {
    Ok(ObjectName::new(&keys.name(position))?)
}

/// The entry at a position, if there is one.
fn fetch_entry(store: &dyn Store, keys: &RosterKeys, position: u64) -> Result<Option<Vec<u8>>> {
    let name = object_name(keys, position)?;
    let limit = padded_len(OBJECT_LEN_MAX as u64);
    let mut opened = Err(FormatError::NotAuthentic { what: "roster entry" });
    // A bad transfer looks like damage: it is fetched once more before anything is said.
    for _ in 0..2 {
        let object = match store.get(&name, limit) {
            Ok(object) => object,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        opened = keys.open(position, &object);
        if opened.is_ok() {
            break;
        }
    }
    opened.map(Some).map_err(|error| FsError::Damaged {
        what: format!("roster entry {position} on the store ({}: {error})", name.as_str()),
        advice: "restore this object from a copy of the store".into(),
    })
}

fn rollback(expected: u64, seen: u64) -> FsError {
    FsError::Rollback {
        what: "roster",
        expected: format!("at least {expected} entries"),
        seen: format!("{seen} entries"),
    }
}
