//! What a daemon had not yet brought to the store when it ended, for `status` while nothing is mounted.
//!
//! Written at an orderly end, removed at the next start: after a crash there is no such file, and what is pending
//! is truly not known. It holds numbers and what the store said, never a name.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::control::Pending;
use crate::environment::now_secs;
use crate::home::VaultPlaces;

/// A file beyond this was not written by us.
const FILE_LEN_MAX: u64 = 64 << 10;

#[derive(Serialize, Deserialize)]
struct Leftover {
    /// Unix seconds of the end.
    ended: u64,
    pending: Pending,
}

fn path(places: &VaultPlaces) -> PathBuf {
    places.state.join("pending.json")
}

/// Forgets the last end; before anything new is pending.
pub(crate) fn forget(places: &VaultPlaces) {
    // A file that stays would only make `status` less exact, and is replaced at the end.
    let _ = fs::remove_file(path(places));
}

/// Remembers what is pending at an orderly end.
pub(crate) fn remember(places: &VaultPlaces, pending: Pending) {
    let Ok(line) = serde_json::to_vec(&Leftover { ended: now_secs(), pending }) else { return };
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path(places))
        .and_then(|mut file| file.write_all(&line));
    if let Err(error) = written {
        tracing::warn!("what is pending cannot be written down: {error}");
    }
}

/// What is pending now; `None` if nobody can know before the next mount.
pub(crate) fn recall(places: &VaultPlaces) -> Option<Pending> {
    let mut bytes = Vec::new();
    fs::File::open(path(places)).ok()?.take(FILE_LEN_MAX).read_to_end(&mut bytes).ok()?;
    let Leftover { ended, mut pending } = serde_json::from_slice(&bytes).ok()?;
    let since = now_secs().saturating_sub(ended);
    pending.oldest_age_seconds = pending.oldest_age_seconds.map(|age| age.saturating_add(since));
    // Nobody tries while nothing is mounted.
    pending.retry_in_seconds = None;
    Some(pending)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::Home;

    #[test]
    fn what_was_pending_is_known_until_the_next_start() {
        let directory = tempfile::tempdir().unwrap();
        let places = Home::find(Some(directory.path())).unwrap().vault("default");
        fs::create_dir_all(&places.state).unwrap();
        assert!(recall(&places).is_none());
        let pending = Pending { bytes: 5, objects: 1, oldest_age_seconds: Some(10), ..Pending::default() };
        remember(&places, pending.clone());
        let recalled = recall(&places).unwrap();
        assert_eq!((recalled.bytes, recalled.objects), (5, 1));
        assert!(recalled.oldest_age_seconds >= Some(10));
        forget(&places);
        assert!(recall(&places).is_none());
    }
}
