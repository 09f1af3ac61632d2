//! Which directories of objects are known to exist durably, so that a put makes and syncs them once only.

use std::sync::atomic::{AtomicBool, Ordering};

use keepfs_store::ObjectName;
use parking_lot::Mutex;
use rustix::io::Errno;

use super::root::{OBJECTS, Root};
use crate::os::{make_directory, open_directory, sync_directory};

/// Characters of base32.
const ALPHABET_LEN: usize = 32;

/// Number of the directory of heads, after all shards.
const HEADS_INDEX: usize = ALPHABET_LEN * ALPHABET_LEN;

/// The directory of heads.
pub(super) const HEADS: &str = "h";

/// The directories of one root. One counts as known when it exists and its entry is synced.
pub(super) struct Shards {
    known: Vec<AtomicBool>,
    surveyed: Mutex<bool>,
}

/// The directory that holds the object, relative to the root; empty for the root itself.
pub(super) fn parent(name: &ObjectName) -> &str {
    name.as_str().rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Number of the shard of two characters of base32.
fn shard_index(shard: &str) -> Option<usize> {
    let digit = |byte: u8| match byte {
        b'a'..=b'z' => Some(usize::from(byte - b'a')),
        b'2'..=b'7' => Some(usize::from(byte - b'2') + 26),
        _ => None,
    };
    match shard.as_bytes() {
        [first, second] => Some(digit(*first)? * ALPHABET_LEN + digit(*second)?),
        _ => None,
    }
}

/// Whether a directory in `o` may hold objects.
pub(super) fn is_shard(name: &str) -> bool {
    shard_index(name).is_some()
}

impl Shards {
    pub(super) fn new() -> Self {
        let known = (0..=HEADS_INDEX).map(|_| AtomicBool::new(false)).collect();
        Shards { known, surveyed: Mutex::new(false) }
    }

    /// Makes sure that the directory of this object exists, durably.
    pub(super) fn ensure(&self, root: &Root, name: &ObjectName) -> rustix::io::Result<()> {
        let parent = parent(name);
        let (grandparent, index) = match parent.strip_prefix("o/") {
            Some(shard) => (OBJECTS, shard_index(shard)),
            None if parent == HEADS => ("", Some(HEADS_INDEX)),
            None => return Ok(()),
        };
        let known = index.and_then(|index| self.known.get(index)).ok_or(Errno::INVAL)?;
        if known.load(Ordering::Acquire) {
            return Ok(());
        }
        if grandparent == OBJECTS {
            self.survey(root)?;
        }
        if !known.load(Ordering::Acquire) {
            make_directory(root, parent)?;
            sync_directory(open_directory(root, grandparent)?)?;
            known.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Forgets everything: a directory that should be there was not, or the root was replaced.
    pub(super) fn forget(&self) {
        *self.surveyed.lock() = false;
        for known in &self.known {
            known.store(false, Ordering::Release);
        }
    }

    /// Takes note of the shards that are there already, with one sync for all of them: they may have been
    /// made a moment ago by a process that died before its own sync.
    fn survey(&self, root: &Root) -> rustix::io::Result<()> {
        let mut surveyed = self.surveyed.lock();
        if *surveyed {
            return Ok(());
        }
        let objects = open_directory(root, OBJECTS)?;
        let mut found = Vec::new();
        for entry in rustix::fs::Dir::read_from(&objects)? {
            found.extend(entry?.file_name().to_str().ok().and_then(shard_index));
        }
        sync_directory(&objects)?;
        for index in found {
            self.known[index].store(true, Ordering::Release);
        }
        *surveyed = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_has_its_own_number() {
        let alphabet = "abcdefghijklmnopqrstuvwxyz234567";
        let mut seen = std::collections::BTreeSet::new();
        for first in alphabet.chars() {
            for second in alphabet.chars() {
                seen.insert(shard_index(&format!("{first}{second}")).unwrap());
            }
        }
        assert_eq!((seen.len(), seen.last()), (1024, Some(&1023)));
        assert!(["", "a", "aaa", "A2", "a1", "a/"].iter().all(|shard| !is_shard(shard)));
    }
}
