//! The adapter: a store over an OpenDAL operator.

use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use keepfs_store::{
    Capabilities, ObjectInfo, ObjectName, PutMode, Result, Retry, Space, Store, StoreError, read_local_file,
};
use opendal::options::{ListOptions, WriteOptions};
use opendal::{Buffer, ErrorKind, Operator};

use super::errors::{About, store_error};
use super::transport::Record;
use super::{PART_LEN, PARTS_FROM, Service};
use crate::remote::names::{can_be_a_prefix, show};
use crate::remote::runtime::deadline;
use crate::remote::{Create, block_on};

/// Most objects of a listing: more is a service that repeats itself.
const LISTED_MAX: u64 = 1 << 28;

/// Parts of one object on their way at once.
const PARTS_IN_FLIGHT: usize = 3;

/// How often a service may say that two creators are in each other's way, before that is the answer.
const CONFLICTS_MAX: usize = 5;

/// A store in a service that keeps objects.
pub(super) struct ObjectStore {
    operator: Operator,
    service: Service,
}

impl ObjectStore {
    pub(super) fn new(operator: Operator, service: Service) -> Self {
        ObjectStore { operator, service }
    }

    /// Waits for a call. Its deadline follows from the bytes it moves.
    fn call<T>(
        &self,
        about: About<'_>,
        record: Record,
        moved_len: u64,
        call: impl IntoFuture<Output = opendal::Result<T>>,
    ) -> Result<T> {
        block_on(deadline(moved_len), async {
            let (result, noted) = record.around(call.into_future()).await;
            result.map_err(|error| store_error(about, &error, noted))
        })
    }

    fn stat_len(&self, name: &ObjectName) -> Result<u64> {
        let found =
            self.call(About::object(name), Record::default(), 0, self.operator.stat(name.as_str()))?;
        match found.is_file() {
            true => Ok(found.content_length()),
            false => Err(StoreError::not_found(name)),
        }
    }

    fn exists(&self, name: &ObjectName) -> Result<bool> {
        match self.stat_len(name) {
            Ok(_) => Ok(true),
            Err(StoreError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Puts through `write`, which is given whether the service shall refuse what exists.
    fn put_by(
        &self,
        name: &ObjectName,
        mode: PutMode,
        write: &mut dyn FnMut(bool) -> Result<()>,
    ) -> Result<()> {
        match (mode, self.service.create) {
            (PutMode::Replace, _) => write(false),
            (PutMode::Create, Create::Looking) => match self.exists(name)? {
                true => Err(StoreError::exists(name)),
                false => write(false),
            },
            (PutMode::Create, Create::Atomic | Create::Checked) => {
                for _ in 1..CONFLICTS_MAX {
                    match write(true) {
                        // Another creator is under way; who of the two is first is known in a moment.
                        Err(StoreError::Io { detail, .. }) if detail.contains("Conflict") => {}
                        result => return result,
                    }
                }
                write(true)
            }
        }
    }

    /// After a put that created and got no answer. A server that refuses what exists may say so before it has read the
    /// body and hang up; the sender then sees a broken connection, every time it tries. So this side looks, and
    /// bytes that are there are an earlier attempt of its own.
    fn settle(
        &self,
        name: &ObjectName,
        len: u64,
        is_ours: impl FnOnce(&[u8]) -> bool,
        error: StoreError,
    ) -> Result<()> {
        if error.retry() == Retry::Never {
            return Err(error);
        }
        match self.get(name, len) {
            Ok(found) if is_ours(&found) => Ok(()),
            Ok(_) | Err(StoreError::TooLarge { .. }) => Err(StoreError::exists(name)),
            Err(_) => Err(error),
        }
    }

    fn is_sent_in_parts(&self, len: u64) -> bool {
        self.service.in_parts && len > PARTS_FROM
    }

    fn write_options(&self, len: u64, if_not_exists: bool) -> WriteOptions {
        WriteOptions {
            if_not_exists,
            // In one piece, whatever the service's smallest part is.
            chunk: Some(match self.is_sent_in_parts(len) {
                true => PART_LEN,
                false => usize::try_from(len).unwrap_or(usize::MAX).max(1),
            }),
            concurrent: PARTS_IN_FLIGHT,
            ..WriteOptions::default()
        }
    }

    fn write(&self, name: &ObjectName, bytes: &Bytes, if_not_exists: bool) -> Result<()> {
        let len = bytes.len() as u64;
        let options = self.write_options(len, if_not_exists);
        let write = self.operator.write_options(name.as_str(), Buffer::from(bytes.clone()), options);
        self.call(About::object(name), Record::default(), len, write).map(drop)
    }

    fn put_whole(&self, name: &ObjectName, bytes: Bytes, mode: PutMode) -> Result<()> {
        let put = self.put_by(name, mode, &mut |if_not_exists| self.write(name, &bytes, if_not_exists));
        match (put, mode) {
            (Err(error), PutMode::Create) => {
                self.settle(name, bytes.len() as u64, |found| *found == bytes[..], error)
            }
            (put, _) => put,
        }
    }

    /// Sends a file in parts, holding no more of it than are on their way.
    fn write_parts(&self, name: &ObjectName, path: &Path, if_not_exists: bool) -> Result<()> {
        let unreadable =
            |error: std::io::Error| StoreError::io_never(format!("reading {}: {error}", path.display()));
        let mut file = std::fs::File::open(path).map_err(unreadable)?;
        let len = file.metadata().map_err(unreadable)?.len();
        let mut changed = None;
        let sent = self.call(About::object(name), Record::default(), len, async {
            let options = self.write_options(len, if_not_exists);
            let mut writer = self.operator.writer_options(name.as_str(), options).await?;
            let mut left = len;
            while left > 0 {
                let mut part = vec![0; usize::try_from(left).unwrap_or(PART_LEN).min(PART_LEN)];
                if let Err(error) = file.read_exact(&mut part) {
                    changed = Some(unreadable(error));
                    return writer.abort().await;
                }
                left -= part.len() as u64;
                if let Err(error) = writer.write(part).await {
                    // What the service keeps of an upload that nobody finishes costs space; best effort.
                    let _ = writer.abort().await;
                    return Err(error);
                }
            }
            match writer.close().await {
                Ok(_) => Ok(()),
                Err(error) => {
                    let _ = writer.abort().await;
                    Err(error)
                }
            }
        });
        changed.map_or(sent, Err)
    }

    fn check_len(&self, name: &ObjectName, len: u64) -> Result<()> {
        match len > self.service.object_len_max {
            true => Err(StoreError::too_large(name, len, self.service.object_len_max)),
            false => Ok(()),
        }
    }
}

/// OpenDAL's word for a body that is whole and shorter than the range it answers.
fn is_end(error: &opendal::Error) -> bool {
    error.kind() == ErrorKind::Unexpected
        && !error.is_temporary()
        && error.to_string().contains("reader got too little data")
}

impl Store for ObjectStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            kind: self.service.kind,
            local: false,
            create_is_atomic: self.service.create == Create::Atomic,
            object_len_max: self.service.object_len_max,
            parallel: self.service.parallel,
        }
    }

    fn get(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>> {
        let about = About { limit, ..About::object(name) };
        let expected = limit.min(self.service.object_len_max);
        let read = self.operator.read(name.as_str());
        match self.call(about, Record::limited(limit), expected, read) {
            Ok(buffer) => Ok(buffer.to_vec()),
            // A body that was cut off by the limit did not say how long it is.
            Err(StoreError::TooLarge { actual, .. }) if actual == limit.saturating_add(1) => {
                Err(StoreError::too_large(name, self.stat_len(name)?, limit))
            }
            Err(error) => Err(error),
        }
    }

    fn get_range(&self, name: &ObjectName, offset: u64, out: &mut [u8]) -> Result<()> {
        let len = out.len() as u64;
        let short = || StoreError::short(name, offset, len);
        if out.is_empty() {
            return if self.stat_len(name)? >= offset { Ok(()) } else { Err(short()) };
        }
        match self.read_up_to(name, offset, out)? {
            found if found as u64 == len => Ok(()),
            _ => Err(short()),
        }
    }

    fn read_up_to(&self, name: &ObjectName, offset: u64, out: &mut [u8]) -> Result<usize> {
        let len = out.len() as u64;
        let end = offset.checked_add(len).ok_or_else(|| StoreError::short(name, offset, len))?;
        if out.is_empty() {
            return self.stat_len(name).map(|_| 0);
        }
        let mut filled = 0;
        let read = async {
            let mut parts = self.operator.reader(name.as_str()).await?.into_stream(offset..end).await?;
            while let Some(part) = parts.next().await {
                match part {
                    Ok(part) => {
                        let part = part.to_bytes();
                        // The transport lets no more through than was asked for.
                        let taken = part.len().min(out.len() - filled);
                        out[filled..filled + taken].copy_from_slice(&part[..taken]);
                        filled += taken;
                    }
                    // The body came whole, and is shorter than the range: the object ends here.
                    Err(error) if is_end(&error) => break,
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        };
        let about = About { range: Some((offset, len)), ..About::object(name) };
        match self.call(about, Record::limited(len), len, read) {
            Ok(()) => Ok(filled),
            // A service that answers with more than the range has ignored it.
            Err(StoreError::TooLarge { .. }) => {
                Err(StoreError::io_never(format!("{name}: the service does not read ranges")))
            }
            // The answer to a range that begins at the end or beyond.
            Err(error) if error == StoreError::short(name, offset, len) => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.check_len(name, bytes.len() as u64)?;
        self.put_whole(name, Bytes::copy_from_slice(bytes), mode)
    }

    fn put_file(&self, name: &ObjectName, path: &Path, mode: PutMode) -> Result<()> {
        let len = std::fs::metadata(path).map(|metadata| metadata.len());
        let len =
            len.map_err(|error| StoreError::io_never(format!("reading {}: {error}", path.display())))?;
        self.check_len(name, len)?;
        if self.is_sent_in_parts(len) {
            // Few imitations of S3 look at the condition when they put parts together.
            if mode == PutMode::Create && self.service.create == Create::Checked && self.exists(name)? {
                return Err(StoreError::exists(name));
            }
            return self.put_by(name, mode, &mut |if_not_exists| self.write_parts(name, path, if_not_exists));
        }
        self.put_whole(name, Bytes::from(read_local_file(name, path, self.service.object_len_max)?), mode)
    }

    fn len(&self, name: &ObjectName) -> Result<u64> {
        self.stat_len(name)
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        match self.call(About::object(name), Record::default(), 0, self.operator.delete(name.as_str())) {
            Err(StoreError::NotFound { .. }) => Ok(()),
            result => result,
        }
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(ObjectInfo) -> ControlFlow<()>) -> Result<()> {
        if !can_be_a_prefix(prefix) {
            return Ok(());
        }
        let mut listed = 0;
        // A listing may be long, and each of its pages has a deadline in the transport.
        let limit = deadline(u64::from(u32::MAX));
        block_on(limit, async {
            let call = async {
                let options = ListOptions { recursive: true, ..ListOptions::default() };
                let mut entries = self.operator.lister_options(prefix, options).await?;
                while let Some(entry) = entries.try_next().await? {
                    listed += 1;
                    let found = entry.metadata();
                    if !found.is_file() {
                        continue;
                    }
                    let modified = found.last_modified().map(|time| time.into_inner().as_second());
                    let flow = show(entry.path(), prefix, (found.content_length(), modified), each);
                    if flow.is_break() || listed >= LISTED_MAX {
                        break;
                    }
                }
                Ok::<(), opendal::Error>(())
            };
            let (result, noted) = Record::default().around(call).await;
            match result {
                Ok(()) => Ok(()),
                Err(error) => match (error.kind(), store_error(About::nothing(), &error, noted)) {
                    // No folder, no objects; but a bucket that is not there is a wrong address.
                    (ErrorKind::NotFound, told) if !matches!(told, StoreError::Invalid { .. }) => Ok(()),
                    (_, told) => Err(told),
                },
            }
        })
    }

    fn space(&self) -> Result<Option<Space>> {
        Ok(None)
    }
}
