//! Putting objects on an SFTP server: written aside, synced where the server can, renamed into place.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::stream;
use futures_util::{StreamExt, TryStreamExt};
use keepfs_store::{ObjectName, PutMode, Result, StoreError};
use russh_sftp::client::error::Error;
use russh_sftp::protocol::{FileAttributes, OpenFlags, Packet, StatusCode};

use super::connection::{Connection, POSIX_RENAME};
use super::errors::{status, store_error};
use super::listing;
use super::store::{PIECES_IN_FLIGHT, Shared, gone};
use crate::remote::Create;
use crate::remote::names::temporary;

/// Where objects are written before they have a name.
const TEMPORARY: &str = "tmp";

/// A temporary file of this age in seconds has no living owner.
const TEMPORARY_AGE_MAX: i64 = 24 * 60 * 60;

/// Bit of `f_flag` that says that nothing can be written (OpenSSH, PROTOCOL, section 4.4).
const READ_ONLY_FLAG: u64 = 1;

impl Shared {
    pub(super) async fn put(&self, name: &ObjectName, bytes: Bytes, mode: PutMode) -> Result<()> {
        let connection = self.writer().await?;
        if mode == PutMode::Create && self.create == Create::Looking {
            match self.len(&connection, name).await {
                Ok(_) => return Err(StoreError::exists(name)),
                Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let aside = format!("{TEMPORARY}/{}", temporary());
        let path = self.path(&aside);
        let result = match self.write(&connection, &path, bytes).await {
            Ok(()) => self.publish(&connection, &path, name, mode).await,
            Err(error) => Err(error),
        };
        if result.is_err() {
            // What stays aside is tidied up a day later.
            let _ = connection.note(connection.session.remove(path).await);
        }
        result
    }

    /// Writes a new file, durably where the server can.
    async fn write(&self, connection: &Connection, path: &str, bytes: Bytes) -> Result<()> {
        let open = async || {
            let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUDE;
            let attributes = FileAttributes { permissions: Some(0o600), ..FileAttributes::empty() };
            connection.note(connection.session.open(path, flags, attributes).await)
        };
        let handle = match open().await {
            Err(error) if status(&error) == Some(StatusCode::NoSuchFile) => {
                self.make(connection, TEMPORARY).await?;
                open().await
            }
            opened => opened,
        };
        let handle = match handle {
            Ok(opened) => opened.handle,
            Err(error) => return Err(self.explained(connection, "making a file", error, 0).await),
        };
        let len = bytes.len() as u64;
        let (handle_of_all, step) = (handle.as_str(), connection.write_len as usize);
        let writes =
            (0..bytes.len()).step_by(step).map(|start| {
                let piece = bytes.slice(start..bytes.len().min(start + step));
                async move {
                    connection.session.write(handle_of_all, start as u64, piece.to_vec()).await.map(drop)
                }
            });
        let mut result: std::result::Result<(), Error> =
            stream::iter(writes).buffer_unordered(PIECES_IN_FLIGHT).try_collect().await;
        if result.is_ok() && connection.can_sync {
            result = connection.session.fsync(handle.as_str()).await.map(drop);
        }
        // Some servers tell only now that there was no room.
        let closed = connection.session.close(handle.as_str()).await.map(drop);
        match connection.note(result.and(closed)) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.explained(connection, "writing", error, len).await),
        }
    }

    /// Gives a written file its name.
    async fn publish(
        &self,
        connection: &Connection,
        from: &str,
        name: &ObjectName,
        mode: PutMode,
    ) -> Result<()> {
        let to = self.path(name.as_str());
        let rename = async || match mode {
            // The plain rename of the protocol refuses a name that is taken.
            PutMode::Create => connection.note(connection.session.rename(from, to.as_str()).await).map(drop),
            PutMode::Replace => {
                let names = [from, to.as_str()].map(str::as_bytes);
                let data = names.iter().fold(Vec::new(), |mut data, name| {
                    data.extend_from_slice(&(name.len() as u32).to_be_bytes());
                    data.extend_from_slice(name);
                    data
                });
                match connection.note(connection.session.extended(POSIX_RENAME, data).await)? {
                    Packet::Status(status) if status.status_code == StatusCode::Ok => Ok(()),
                    Packet::Status(status) => Err(Error::Status(status)),
                    _ => Err(Error::UnexpectedPacket),
                }
            }
        };
        let directory = name.as_str().rsplit_once('/').map_or("", |(directory, _)| directory);
        let mut renamed = rename().await;
        if let Err(error) = &renamed
            && status(error) == Some(StatusCode::NoSuchFile)
        {
            self.make(connection, directory).await?;
            renamed = rename().await;
        }
        let Err(error) = renamed else { return Ok(()) };
        // OpenSSH says no more than "failure" for a name that is taken.
        if mode == PutMode::Create && status(&error).is_some() && self.len(connection, name).await.is_ok() {
            return Err(StoreError::exists(name));
        }
        Err(self.explained(connection, "renaming", error, 0).await)
    }

    /// Makes a directory of the store with those above it.
    async fn make(&self, connection: &Connection, directory: &str) -> Result<()> {
        let make = async |path: &str| {
            let attributes = FileAttributes { permissions: Some(0o700), ..FileAttributes::empty() };
            // One that is there already is a failure like any other; what follows shows whether it is there.
            connection.note(connection.session.mkdir(path, attributes).await)
        };
        if self.may_make_base && !self.made.lock().contains("") {
            let base = &self.target.base;
            for (end, _) in base.match_indices('/').filter(|(at, _)| *at > 0).chain([(base.len(), "")]) {
                let _ = make(&base[..end]).await;
            }
            self.made.lock().insert(String::new());
        }
        let parts = directory.match_indices('/').map(|(at, _)| &directory[..at]).chain([directory]);
        for part in parts.filter(|part| !part.is_empty()) {
            match make(&self.path(part)).await {
                Err(error) if status(&error) == Some(StatusCode::NoSuchFile) => return Err(gone()),
                Err(error) if status(&error) != Some(StatusCode::Failure) => {
                    return Err(self.explained(connection, "making a directory", error, 0).await);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A failure with its reason: OpenSSH has one status for a full disk, a read-only one, and all else.
    pub(super) async fn explained(
        &self,
        connection: &Connection,
        doing: &str,
        error: Error,
        wanted_len: u64,
    ) -> StoreError {
        let general = store_error(doing, &error);
        if status(&error) != Some(StatusCode::Failure) || !connection.can_tell_space {
            return general;
        }
        match connection.note(connection.session.statvfs(self.target.base.as_str()).await) {
            Ok(space) if space.flags & READ_ONLY_FLAG != 0 => {
                StoreError::ReadOnly { detail: general.to_string() }
            }
            Ok(space) if space.blocks_avail.saturating_mul(space.fragment_size.max(1)) <= wanted_len => {
                StoreError::Full { detail: "no room on the server's disk".into() }
            }
            _ => general,
        }
    }

    /// Removes what processes that died left behind.
    pub(super) async fn tidy(&self) {
        let Ok(connection) = self.writer().await else { return };
        let Ok(Some(entries)) = listing::entries(&connection, &self.path(TEMPORARY)).await else { return };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        for entry in entries.into_iter().filter(|entry| entry.is_file) {
            let is_old = entry.modified_secs.is_some_and(|modified| now - modified > TEMPORARY_AGE_MAX);
            if is_old && entry.name.chars().all(|c| c.is_ascii_hexdigit()) {
                let path = self.path(&format!("{TEMPORARY}/{}", entry.name));
                let _ = connection.note(connection.session.remove(path).await);
            }
        }
    }
}
