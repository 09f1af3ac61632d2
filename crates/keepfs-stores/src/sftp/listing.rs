//! Listings of an SFTP server, directory by directory.

use std::ops::ControlFlow;

use futures_util::StreamExt;
use futures_util::stream;
use keepfs_store::{ObjectInfo, Result, StoreError};
use russh_sftp::protocol::StatusCode;

use super::connection::Connection;
use super::errors::{status, store_error};
use crate::remote::names::{is_shard, overlaps, show};

/// Directories listed at once.
const LISTINGS_IN_FLIGHT: usize = 16;

/// Most entries of one directory.
const LISTED_MAX: usize = 1 << 20;

/// One entry of a directory.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) is_file: bool,
    pub(super) is_directory: bool,
    pub(super) len: u64,
    pub(super) modified_secs: Option<i64>,
}

/// What is in a directory; `None` if it is not there.
pub(super) async fn entries(connection: &Connection, path: &str) -> Result<Option<Vec<Entry>>> {
    let failed = |error| store_error("listing", &error);
    let handle = match connection.note(connection.session.opendir(path).await) {
        Ok(opened) => opened.handle,
        Err(error) if status(&error) == Some(StatusCode::NoSuchFile) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut found = Vec::new();
    let result = loop {
        match connection.note(connection.session.readdir(handle.as_str()).await) {
            Ok(names) => found.extend(names.files.into_iter().map(|file| Entry {
                is_file: file.attrs.is_regular(),
                is_directory: file.attrs.is_dir(),
                len: file.attrs.size.unwrap_or(0),
                modified_secs: file.attrs.mtime.map(i64::from),
                name: file.filename,
            })),
            Err(error) if status(&error) == Some(StatusCode::Eof) => break Ok(Some(found)),
            Err(error) => break Err(failed(error)),
        }
        if found.len() > LISTED_MAX {
            break Err(StoreError::io_never("the server's listing of one directory is too long"));
        }
    };
    // A handle that stays open is closed with the connection.
    let _ = connection.note(connection.session.close(handle).await);
    result
}

/// Shows every object below `base` whose name has the prefix.
pub(super) async fn list(
    connection: &Connection,
    base: &str,
    prefix: &str,
    each: &mut dyn FnMut(ObjectInfo) -> ControlFlow<()>,
) -> Result<()> {
    let mut show_all = |directory: &str, entries: Vec<Entry>| -> ControlFlow<()> {
        for entry in entries.into_iter().filter(|entry| entry.is_file) {
            show(&format!("{directory}{}", entry.name), prefix, (entry.len, entry.modified_secs), each)?;
        }
        ControlFlow::Continue(())
    };
    let read = async |directory: &str| entries(connection, &format!("{base}/{directory}")).await;
    let Some(top) = read("").await? else { return Err(super::store::gone()) };
    if show_all("", top).is_break() {
        return Ok(());
    }
    if overlaps("h/", prefix) && show_all("h/", read("h").await?.unwrap_or_default()).is_break() {
        return Ok(());
    }
    if !overlaps("o/", prefix) {
        return Ok(());
    }
    let shards = read("o").await?.unwrap_or_default().into_iter();
    let shards = shards.filter(|entry| entry.is_directory && is_shard(&entry.name));
    let wanted = shards.map(|entry| format!("o/{}/", entry.name)).filter(|shard| overlaps(shard, prefix));
    let listings = wanted.map(|shard| async move {
        let entries = entries(connection, &format!("{base}/{}", shard.trim_end_matches('/'))).await;
        (shard, entries)
    });
    let mut listings = stream::iter(listings).buffer_unordered(LISTINGS_IN_FLIGHT);
    while let Some((shard, entries)) = listings.next().await {
        if show_all(&shard, entries?.unwrap_or_default()).is_break() {
            break;
        }
    }
    Ok(())
}
