//! Objects are looked up and read, with the care that what is said of them is true now.
//!
//! What may be replaced is looked up anew each time. What is immutable and known is read at once while its message is
//! looked at beside, so that the certainty costs no time. That something is not there is said only after a look at
//! all changes.

use std::sync::Arc;

use keepfs_store::{ObjectName, StoreError};

use crate::download::{self, File, GONE};
use crate::error::TelegramError;
use crate::index::{Entry, Spot};
use crate::shelf::Shelf;
use crate::sighting::Meaning;

/// How often an object is looked up anew because it changed while it was read.
const ROUNDS_MAX: usize = 8;

type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Which bytes of an object of this length are wanted: offset and length.
pub(crate) type Plan<'a> = &'a mut dyn FnMut(u64) -> Result<(u64, usize)>;

/// Bytes of an object, and what it is.
pub(crate) struct Reading {
    pub(crate) bytes: Vec<u8>,
    pub(crate) entry: Entry,
}

/// An object as it was found, and whether the server was asked just now.
struct Found {
    spot: Spot,
    entry: Entry,
    is_sure: bool,
}

/// The object of this name; `NotFound` if there is none.
async fn find(shelf: &Arc<Shelf>, name: &ObjectName, must_ask: bool) -> Result<Found> {
    if !must_ask
        && name.is_immutable()
        && let Some((spot, entry)) = shelf.newest(name)
    {
        return Ok(Found { spot, entry, is_sure: false });
    }
    shelf.refresh().await?;
    let (spot, entry) = shelf.newest(name).ok_or_else(|| StoreError::not_found(name))?;
    Ok(Found { spot, entry, is_sure: true })
}

/// Length of an object.
pub(crate) async fn len(shelf: &Arc<Shelf>, name: &ObjectName) -> Result<u64> {
    let found = find(shelf, name, false).await?;
    if found.is_sure || is_there(shelf, &found).await? {
        return Ok(found.entry.label.len);
    }
    Ok(find(shelf, name, true).await?.entry.label.len)
}

/// Whether the message is still what the index says.
async fn is_there(shelf: &Shelf, found: &Found) -> Result<bool> {
    let seen = shelf.look(found.spot.volume, &[found.spot.id]).await?;
    Ok(matches!(seen.first(), Some((_, Meaning::Object(sighting))) if sighting.label == found.entry.label))
}

/// Reads the bytes that `plan` wants.
pub(crate) async fn read(shelf: &Arc<Shelf>, name: &ObjectName, plan: Plan<'_>) -> Result<Reading> {
    let mut must_ask = false;
    for _ in 0..ROUNDS_MAX {
        let found = find(shelf, name, must_ask).await?;
        must_ask = true;
        let (offset, len) = match plan(found.entry.label.len) {
            Ok(wanted) => wanted,
            Err(error) if found.is_sure => return Err(error),
            Err(_) => continue,
        };
        match attempt(shelf, &found, offset, len).await {
            Ok(Some(bytes)) => return Ok(Reading { bytes, entry: found.entry }),
            Ok(None) => {}
            Err(error) if error.is_refusal(GONE) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::io_soon(format!("{name} changes faster than it can be read")))
}

/// The bytes; nothing if the object is no longer there.
async fn attempt(
    shelf: &Arc<Shelf>,
    found: &Found,
    offset: u64,
    len: usize,
) -> Result<Option<Vec<u8>>, TelegramError> {
    let size = found.entry.label.document_len();
    let file = |document| File { spot: found.spot, document, size };
    let mut bytes = vec![0; len];
    let Some(document) = found.entry.document.clone() else {
        let seen = shelf.look(found.spot.volume, &[found.spot.id]).await?;
        let Some((_, Meaning::Object(sighting))) = seen.into_iter().next() else { return Ok(None) };
        if sighting.label != found.entry.label {
            return Ok(None);
        }
        download::read(shelf, &file(sighting.document), offset, &mut bytes).await?;
        return Ok(Some(bytes));
    };
    let file = file(document);
    if found.is_sure {
        download::read(shelf, &file, offset, &mut bytes).await?;
        return Ok(Some(bytes));
    }
    let ids = [found.spot.id];
    let (seen, read) =
        tokio::join!(shelf.look(found.spot.volume, &ids), download::read(shelf, &file, offset, &mut bytes));
    match seen {
        Ok(seen) => match seen.into_iter().next() {
            Some((_, Meaning::Object(sighting))) if sighting.document.id == file.document.id => {
                read.map(|()| Some(bytes))
            }
            _ => Ok(None),
        },
        // An immutable object whose bytes came is what it was; that it was deleted in this moment cannot be known.
        Err(error) if error.is_broken() || matches!(error, TelegramError::Wait { .. }) => {
            read.map(|()| Some(bytes))
        }
        Err(error) => Err(error),
    }
}
