//! The store on an SFTP server: its two connections, and reading.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::stream;
use futures_util::{StreamExt, TryStreamExt};
use keepfs_store::{
    Capabilities, ObjectInfo, ObjectName, PutMode, Result, Retry, Space, Store, StoreError, read_local_file,
};
use parking_lot::Mutex;
use russh_sftp::client::error::Error;
use russh_sftp::protocol::{FileAttributes, OpenFlags, StatusCode};

use super::Target;
use super::connection::{Connection, Lane};
use super::errors::{status, store_error};
use super::listing;
use crate::remote::names::can_be_a_prefix;
use crate::remote::runtime::{deadline, runtime};
use crate::remote::{Create, block_on};

/// Longest object, in bytes.
const OBJECT_LEN_MAX: u64 = 1 << 40;

/// Reads or writes of one object on their way at once: enough for 2 MiB, which fills a line of 100 Mbit/s over
/// 160 ms.
pub(super) const PIECES_IN_FLIGHT: usize = 32;

/// Calls worth having in flight.
const PARALLEL: usize = 6;

pub(super) struct SftpStore {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) target: Target,
    pub(super) create: Create,
    /// Whether the store's own directory may be made.
    pub(super) may_make_base: bool,
    /// Reads do not wait behind megabytes that are being written.
    reading: Lane,
    writing: Lane,
    /// Directories that are known to be there.
    pub(super) made: Mutex<HashSet<String>>,
    tidied: AtomicBool,
}

impl SftpStore {
    pub(super) fn new(target: Target, create: Create, may_make_base: bool) -> Self {
        let shared = Shared {
            target,
            create,
            may_make_base,
            reading: Lane::new(),
            writing: Lane::new(),
            made: Mutex::default(),
            tidied: AtomicBool::new(false),
        };
        SftpStore { shared: Arc::new(shared) }
    }

    fn put_bytes(&self, name: &ObjectName, bytes: Bytes, mode: PutMode) -> Result<()> {
        block_on(deadline(bytes.len() as u64), self.shared.put(name, bytes, mode))?;
        if !self.shared.tidied.swap(true, Ordering::Relaxed) {
            let shared = self.shared.clone();
            // What an earlier process left is nobody's hurry.
            runtime()?.spawn(async move { shared.tidy().await });
        }
        Ok(())
    }
}

/// The store's directory is not there: what is not found in it may well exist.
pub(super) fn gone() -> StoreError {
    let detail = "the store's directory is not on the server".to_owned();
    StoreError::Unavailable { detail, retry: Retry::Never }
}

impl Shared {
    async fn reader(&self) -> Result<Arc<Connection>> {
        self.reading.connection(&self.target).await
    }

    pub(super) async fn writer(&self) -> Result<Arc<Connection>> {
        self.writing.connection(&self.target).await
    }

    pub(super) fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.target.base)
    }

    /// The failure of a call about one object that is there, or is said not to be.
    async fn failed(
        &self,
        connection: &Connection,
        name: &ObjectName,
        doing: &str,
        error: Error,
    ) -> StoreError {
        if status(&error) != Some(StatusCode::NoSuchFile) {
            return store_error(doing, &error);
        }
        match connection.note(connection.session.stat(self.target.base.as_str()).await) {
            Ok(_) => StoreError::not_found(name),
            Err(error) if status(&error) == Some(StatusCode::NoSuchFile) && self.may_make_base => {
                StoreError::not_found(name)
            }
            Err(error) if status(&error) == Some(StatusCode::NoSuchFile) => gone(),
            Err(error) => store_error(doing, &error),
        }
    }

    pub(super) async fn len(&self, connection: &Connection, name: &ObjectName) -> Result<u64> {
        match connection.note(connection.session.lstat(self.path(name.as_str())).await) {
            Ok(found) if found.attrs.is_regular() => Ok(found.attrs.size.unwrap_or(0)),
            Ok(_) => Err(StoreError::io_never(format!("{name} is not a regular file"))),
            Err(error) => Err(self.failed(connection, name, "measuring", error).await),
        }
    }

    async fn open(&self, connection: &Connection, name: &ObjectName) -> Result<String> {
        let open =
            connection.session.open(self.path(name.as_str()), OpenFlags::READ, FileAttributes::empty());
        match connection.note(open.await) {
            Ok(opened) => Ok(opened.handle),
            Err(error) => Err(self.failed(connection, name, "opening", error).await),
        }
    }

    /// Fills `out` from an open file.
    async fn read(
        &self,
        connection: &Connection,
        name: &ObjectName,
        (handle, offset): (&str, u64),
        out: &mut [u8],
    ) -> Result<()> {
        let wanted = out.len() as u64;
        let step = connection.read_len as usize;
        let pieces = out.chunks_mut(step).enumerate().map(|(index, piece)| async move {
            let start = offset + (index * step) as u64;
            let mut filled = 0;
            // A server may give less than it was asked for.
            while filled < piece.len() {
                let left = u32::try_from(piece.len() - filled).unwrap_or(connection.read_len);
                let data = connection.session.read(handle, start + filled as u64, left).await?.data;
                let Some(place) =
                    piece.get_mut(filled..filled + data.len()).filter(|place| !place.is_empty())
                else {
                    return Err(Error::UnexpectedBehavior(
                        "the server sent more than was asked for, or nothing".into(),
                    ));
                };
                place.copy_from_slice(&data);
                filled += data.len();
            }
            Ok::<(), Error>(())
        });
        let read: std::result::Result<(), Error> =
            stream::iter(pieces).buffer_unordered(PIECES_IN_FLIGHT).try_collect().await;
        match connection.note(read) {
            Ok(()) => Ok(()),
            Err(error) if status(&error) == Some(StatusCode::Eof) => {
                Err(StoreError::short(name, offset, wanted))
            }
            Err(error) => Err(self.failed(connection, name, "reading", error).await),
        }
    }

    /// Length of an open file.
    async fn open_len(&self, connection: &Connection, name: &ObjectName, handle: &str) -> Result<u64> {
        match connection.note(connection.session.fstat(handle).await) {
            Ok(found) if found.attrs.is_regular() => Ok(found.attrs.size.unwrap_or(0)),
            Ok(_) => Err(StoreError::io_never(format!("{name} is not a regular file"))),
            Err(error) => Err(self.failed(connection, name, "measuring", error).await),
        }
    }

    async fn read_up_to(&self, name: &ObjectName, offset: u64, out: &mut [u8]) -> Result<usize> {
        let connection = self.reader().await?;
        let handle = self.open(&connection, name).await?;
        let result = async {
            let left = self.open_len(&connection, name, &handle).await?.saturating_sub(offset);
            let found = usize::try_from(left).unwrap_or(usize::MAX).min(out.len());
            self.read(&connection, name, (&handle, offset), &mut out[..found]).await?;
            Ok(found)
        }
        .await;
        let _ = connection.note(connection.session.close(handle).await);
        result
    }

    async fn get(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>> {
        let connection = self.reader().await?;
        let handle = self.open(&connection, name).await?;
        let result = async {
            let len = self.open_len(&connection, name, &handle).await?;
            if len > limit {
                return Err(StoreError::too_large(name, len, limit));
            }
            let mut bytes =
                vec![0; usize::try_from(len).map_err(|_| StoreError::too_large(name, len, limit))?];
            self.read(&connection, name, (&handle, 0), &mut bytes).await?;
            Ok(bytes)
        }
        .await;
        let _ = connection.note(connection.session.close(handle).await);
        result
    }

    async fn get_range(&self, name: &ObjectName, offset: u64, out: &mut [u8]) -> Result<()> {
        let connection = self.reader().await?;
        let len = out.len() as u64;
        if offset.checked_add(len).is_none_or(|end| i64::try_from(end).is_err()) {
            return Err(StoreError::short(name, offset, len));
        }
        if out.is_empty() {
            return match self.len(&connection, name).await? >= offset {
                true => Ok(()),
                false => Err(StoreError::short(name, offset, 0)),
            };
        }
        let handle = self.open(&connection, name).await?;
        let result = self.read(&connection, name, (&handle, offset), out).await;
        let _ = connection.note(connection.session.close(handle).await);
        result
    }
}

impl Store for SftpStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            kind: "sftp",
            local: false,
            create_is_atomic: self.shared.create == Create::Atomic,
            object_len_max: OBJECT_LEN_MAX,
            parallel: PARALLEL,
        }
    }

    fn get(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>> {
        block_on(deadline(limit.min(1 << 30)), self.shared.get(name, limit))
    }

    fn get_range(&self, name: &ObjectName, offset: u64, out: &mut [u8]) -> Result<()> {
        block_on(deadline(out.len() as u64), self.shared.get_range(name, offset, out))
    }

    fn read_up_to(&self, name: &ObjectName, offset: u64, out: &mut [u8]) -> Result<usize> {
        block_on(deadline(out.len() as u64), self.shared.read_up_to(name, offset, out))
    }

    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.put_bytes(name, Bytes::copy_from_slice(bytes), mode)
    }

    fn put_file(&self, name: &ObjectName, path: &Path, mode: PutMode) -> Result<()> {
        self.put_bytes(name, Bytes::from(read_local_file(name, path, OBJECT_LEN_MAX)?), mode)
    }

    fn len(&self, name: &ObjectName) -> Result<u64> {
        block_on(deadline(0), async {
            let connection = self.shared.reader().await?;
            self.shared.len(&connection, name).await
        })
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        block_on(deadline(0), async {
            let connection = self.shared.writer().await?;
            let path = self.shared.path(name.as_str());
            let Err(error) = connection.note(connection.session.remove(path).await) else { return Ok(()) };
            match status(&error) {
                Some(StatusCode::NoSuchFile) => {
                    match self.shared.failed(&connection, name, "deleting", error).await {
                        StoreError::NotFound { .. } => Ok(()),
                        error => Err(error),
                    }
                }
                _ => Err(self.shared.explained(&connection, "deleting", error, 0).await),
            }
        })
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(ObjectInfo) -> ControlFlow<()>) -> Result<()> {
        if !can_be_a_prefix(prefix) {
            return Ok(());
        }
        // Each request has a deadline of its own; there are at most 1,024 directories.
        block_on(deadline(u64::from(u32::MAX)), async {
            let connection = self.shared.reader().await?;
            match listing::list(&connection, &self.shared.target.base, prefix, each).await {
                // A store that may be made holds nothing until it is.
                Err(StoreError::Unavailable { retry: Retry::Never, .. }) if self.shared.may_make_base => {
                    Ok(())
                }
                result => result,
            }
        })
    }

    fn space(&self) -> Result<Option<Space>> {
        block_on(deadline(0), async {
            let connection = self.shared.reader().await?;
            if !connection.can_tell_space {
                return Ok(None);
            }
            let told = connection.note(connection.session.statvfs(self.shared.target.base.as_str()).await);
            let told = told.map_err(|error| store_error("asking for free space", &error))?;
            let unit = told.fragment_size.max(1);
            Ok(Some(Space {
                total: told.blocks.saturating_mul(unit),
                free: told.blocks_avail.saturating_mul(unit),
            }))
        })
    }
}
