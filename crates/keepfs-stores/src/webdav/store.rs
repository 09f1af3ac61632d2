//! The store on a WebDAV server. What is put goes to `tmp/` first and is moved into place in one step.

use std::collections::HashSet;
use std::future::Future;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use keepfs_store::{
    Capabilities, ObjectInfo, ObjectName, PutMode, Result, Retry, Space, Store, StoreError, read_local_file,
};
use parking_lot::Mutex;

use super::client::{Answer, Client, body_of, next_chunk};
use super::propfind::Listed;
use crate::remote::names::{can_be_a_prefix, is_shard, overlaps, show, temporary};
use crate::remote::runtime::{deadline, runtime};
use crate::remote::{Create, block_on};

/// Where objects are written before they have a name.
const TEMPORARY: &str = "tmp";

/// A temporary file of this age in seconds has no living owner.
const TEMPORARY_AGE_MAX: i64 = 24 * 60 * 60;

/// Longest object, in bytes: it is sent in one request.
const OBJECT_LEN_MAX: u64 = 1 << 30;

/// Directories listed at once.
const LISTINGS_IN_FLIGHT: usize = 8;

/// Requests worth having in flight.
const PARALLEL: usize = 6;

pub(super) struct WebdavStore {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    create: Create,
    /// Whether the store's own directory may be made.
    may_make_base: bool,
    /// Directories that are known to be there.
    made: Mutex<HashSet<String>>,
    tidied: AtomicBool,
}

impl WebdavStore {
    pub(super) fn new(client: Client, create: Create, may_make_base: bool) -> Self {
        let shared =
            Shared { client, create, may_make_base, made: Mutex::default(), tidied: AtomicBool::new(false) };
        WebdavStore { shared: Arc::new(shared) }
    }

    fn put_bytes(&self, name: &ObjectName, bytes: Bytes, mode: PutMode) -> Result<()> {
        let len = bytes.len() as u64;
        if len > OBJECT_LEN_MAX {
            return Err(StoreError::too_large(name, len, OBJECT_LEN_MAX));
        }
        block_on(deadline(len), self.shared.put(name, bytes, mode))?;
        if !self.shared.tidied.swap(true, Ordering::Relaxed) {
            let shared = self.shared.clone();
            // What an earlier process left is nobody's hurry.
            runtime()?.spawn(async move { shared.tidy().await });
        }
        Ok(())
    }
}

impl Shared {
    async fn put(&self, name: &ObjectName, bytes: Bytes, mode: PutMode) -> Result<()> {
        if mode == PutMode::Create && self.create == Create::Looking {
            match self.len(name).await {
                Ok(_) => return Err(StoreError::exists(name)),
                Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let aside = format!("{TEMPORARY}/{}", temporary());
        let written = self.in_directory(TEMPORARY, || self.client.put(&aside, bytes.clone())).await?;
        written.done()?;
        let (directory, _) = name.as_str().rsplit_once('/').unwrap_or(("", ""));
        let overwrite = mode == PutMode::Replace;
        let moved =
            self.in_directory(directory, || self.client.rename(&aside, name.as_str(), overwrite)).await;
        let result = match moved {
            Ok(answer) if answer.status() == 412 && !overwrite => Err(StoreError::exists(name)),
            Ok(answer) => answer.done().map(drop),
            Err(error) => Err(error),
        };
        if result.is_err() {
            // Whatever happened, the name says what holds; what stays aside is tidied up a day later.
            let _ = self.client.delete(&aside).await;
        }
        result
    }

    /// Sends a request for which a directory must be there, and makes it if that is what was missing.
    async fn in_directory<F: Future<Output = Result<Answer>>>(
        &self,
        directory: &str,
        send: impl Fn() -> F,
    ) -> Result<Answer> {
        let answer = send().await?;
        let is_known = self.made.lock().contains(directory);
        // 409 is for a missing parent; some servers say 404, 403 or 500 instead.
        let may_lack_it = answer.status() == 409 || !is_known && matches!(answer.status(), 403 | 404 | 500);
        if !may_lack_it {
            if let Answer::Done(_) = &answer {
                self.made.lock().insert(directory.to_owned());
            }
            return Ok(answer);
        }
        if let Answer::Refused(refusal) = &answer
            && !self.make(directory).await?
        {
            return Err(refusal.to_error());
        }
        let answer = send().await?;
        if let Answer::Done(_) = &answer {
            self.made.lock().insert(directory.to_owned());
        }
        Ok(answer)
    }

    /// Makes a directory and those above it, inside the store; false if it was not that.
    async fn make(&self, directory: &str) -> Result<bool> {
        let is_there = |status: u16| matches!(status, 200..=302 | 405);
        for parent in directory.match_indices('/').map(|(at, _)| &directory[..at]).chain([directory]) {
            let mut made = self.client.make_directory(parent).await?;
            if made.status() == 409 && self.may_make_base {
                self.client.make_base().await?;
                made = self.client.make_directory(parent).await?;
            }
            if !is_there(made.status()) {
                return match made {
                    Answer::Refused(refusal) if refusal.status == 409 => Err(gone()),
                    Answer::Refused(refusal) if refusal.status != 404 => Err(refusal.to_error()),
                    _ => Ok(false),
                };
            }
        }
        Ok(true)
    }

    /// A file that is not there, in a store that is; else the error that the store itself is gone.
    async fn absence(&self, name: &ObjectName) -> StoreError {
        match self.client.list("", 0).await {
            Ok(Some(_)) => StoreError::not_found(name),
            Ok(None) if self.may_make_base => StoreError::not_found(name),
            Ok(None) => gone(),
            Err(error) => error,
        }
    }

    /// Fills `out` as far as the object goes.
    async fn range(&self, name: &ObjectName, offset: u64, out: &mut [u8]) -> Result<usize> {
        let len = out.len() as u64;
        let last = offset.checked_add(len).and_then(|end| end.checked_sub(1));
        let last = last.ok_or_else(|| StoreError::short(name, offset, len))?;
        let mut response = match self.client.get(name.as_str(), Some((offset, last))).await? {
            Answer::Done(response) => response,
            Answer::Refused(refusal) if refusal.status == 416 => return Ok(0),
            Answer::Refused(refusal) if refusal.status == 404 => return Err(self.absence(name).await),
            Answer::Refused(refusal) => return Err(refusal.to_error()),
        };
        // A server that ignores ranges sends everything, from the beginning.
        let mut skip = if response.status().as_u16() == 206 { 0 } else { offset };
        let mut filled = 0;
        while filled < out.len() {
            // A body that ends before its length is an error; so this is the end of the object.
            let Some(chunk) = next_chunk(&mut response).await? else { break };
            let skipped = skip.min(chunk.len() as u64);
            skip -= skipped;
            let useful = &chunk[usize::try_from(skipped).unwrap_or(chunk.len())..];
            let taken = useful.len().min(out.len() - filled);
            out[filled..filled + taken].copy_from_slice(&useful[..taken]);
            filled += taken;
        }
        Ok(filled)
    }

    async fn len(&self, name: &ObjectName) -> Result<u64> {
        match self.client.head(name.as_str()).await? {
            Answer::Done(response) => {
                let told = response.headers().get(http::header::CONTENT_LENGTH);
                match told.and_then(|told| told.to_str().ok()).and_then(|told| told.parse().ok()) {
                    Some(len) => Ok(len),
                    None => self.listed_len(name).await,
                }
            }
            Answer::Refused(refusal) if refusal.status == 404 => Err(self.absence(name).await),
            Answer::Refused(refusal) => Err(refusal.to_error()),
        }
    }

    async fn listed_len(&self, name: &ObjectName) -> Result<u64> {
        let listed = self.client.list(name.as_str(), 0).await?;
        let len = listed.and_then(|listed| listed.first().and_then(|entry| entry.len));
        len.ok_or_else(|| StoreError::io_never(format!("the server does not tell how long {name} is")))
    }

    /// What is in a directory of the store; nothing if it is not there.
    async fn entries(&self, directory: &str) -> Result<Vec<Listed>> {
        match self.client.list(directory, 1).await? {
            Some(entries) => Ok(entries),
            None if directory.is_empty() && !self.may_make_base => Err(gone()),
            None => Ok(Vec::new()),
        }
    }

    async fn list(&self, prefix: &str, each: &mut dyn FnMut(ObjectInfo) -> ControlFlow<()>) -> Result<()> {
        let mut show_all = |directory: &str, entries: Vec<Listed>| -> ControlFlow<()> {
            for entry in entries.into_iter().filter(|entry| !entry.is_directory) {
                let name = format!("{directory}{}", entry.name);
                show(&name, prefix, (entry.len.unwrap_or(0), entry.modified_secs), each)?;
            }
            ControlFlow::Continue(())
        };
        if "vault.bak".starts_with(prefix) {
            let entries = self.entries("").await?;
            if show_all("", entries).is_break() {
                return Ok(());
            }
        }
        if overlaps("h/", prefix) {
            let entries = self.entries("h").await?;
            if show_all("h/", entries).is_break() {
                return Ok(());
            }
        }
        if !overlaps("o/", prefix) {
            return Ok(());
        }
        let shards = match prefix.get(2..4) {
            Some(shard) => vec![shard.to_owned()],
            None => {
                let entries = self.entries("o").await?.into_iter();
                entries
                    .filter(|entry| entry.is_directory && is_shard(&entry.name))
                    .map(|entry| entry.name)
                    .collect()
            }
        };
        let wanted =
            shards.into_iter().map(|shard| format!("o/{shard}/")).filter(|shard| overlaps(shard, prefix));
        let listings = wanted.map(|shard| async move {
            let entries = self.entries(shard.trim_end_matches('/')).await;
            (shard, entries)
        });
        let mut listings = stream::iter(listings).buffer_unordered(LISTINGS_IN_FLIGHT);
        while let Some((shard, entries)) = listings.next().await {
            if show_all(&shard, entries?).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Removes what processes that died left behind.
    async fn tidy(&self) {
        let Ok(Some(entries)) = self.client.list(TEMPORARY, 1).await else { return };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        for entry in entries.into_iter().filter(|entry| !entry.is_directory) {
            let is_old = entry.modified_secs.is_some_and(|modified| now - modified > TEMPORARY_AGE_MAX);
            if is_old && entry.name.chars().all(|c| c.is_ascii_hexdigit()) {
                let _ = self.client.delete(&format!("{TEMPORARY}/{}", entry.name)).await;
            }
        }
    }
}

/// The store's directory is not there: what is not found in it may well exist.
fn gone() -> StoreError {
    let detail = "the store's directory is not on the server".to_owned();
    StoreError::Unavailable { detail, retry: Retry::Never }
}

impl Store for WebdavStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            kind: "webdav",
            local: false,
            create_is_atomic: self.shared.create == Create::Atomic,
            object_len_max: OBJECT_LEN_MAX,
            parallel: PARALLEL,
        }
    }

    fn get(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>> {
        let expected = limit.min(OBJECT_LEN_MAX);
        block_on(deadline(expected), async {
            let response = match self.shared.client.get(name.as_str(), None).await? {
                Answer::Done(response) => response,
                Answer::Refused(refusal) if refusal.status == 404 => {
                    return Err(self.shared.absence(name).await);
                }
                Answer::Refused(refusal) => return Err(refusal.to_error()),
            };
            let told = response.content_length();
            match body_of(response, limit).await? {
                Some(body) => Ok(body),
                None => {
                    let len = match told {
                        Some(len) => len,
                        None => self.shared.len(name).await?,
                    };
                    Err(StoreError::too_large(name, len, limit))
                }
            }
        })
    }

    fn get_range(&self, name: &ObjectName, offset: u64, out: &mut [u8]) -> Result<()> {
        let len = out.len() as u64;
        if out.is_empty() {
            return match self.len(name)? >= offset {
                true => Ok(()),
                false => Err(StoreError::short(name, offset, 0)),
            };
        }
        match block_on(deadline(len), self.shared.range(name, offset, out))? {
            found if found as u64 == len => Ok(()),
            _ => Err(StoreError::short(name, offset, len)),
        }
    }

    fn read_up_to(&self, name: &ObjectName, offset: u64, out: &mut [u8]) -> Result<usize> {
        if out.is_empty() {
            return self.len(name).map(|_| 0);
        }
        block_on(deadline(out.len() as u64), self.shared.range(name, offset, out))
    }

    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.put_bytes(name, Bytes::copy_from_slice(bytes), mode)
    }

    fn put_file(&self, name: &ObjectName, path: &Path, mode: PutMode) -> Result<()> {
        self.put_bytes(name, Bytes::from(read_local_file(name, path, OBJECT_LEN_MAX)?), mode)
    }

    fn len(&self, name: &ObjectName) -> Result<u64> {
        block_on(deadline(0), self.shared.len(name))
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        block_on(deadline(0), async {
            let answer = self.shared.client.delete(name.as_str()).await?;
            match answer.status() {
                404 => match self.shared.absence(name).await {
                    StoreError::NotFound { .. } => Ok(()),
                    error => Err(error),
                },
                _ => answer.done().map(drop),
            }
        })
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(ObjectInfo) -> ControlFlow<()>) -> Result<()> {
        if !can_be_a_prefix(prefix) {
            return Ok(());
        }
        // Each directory has a deadline of its own; there are at most 1,024 of them.
        block_on(deadline(u64::from(u32::MAX)), self.shared.list(prefix, each))
    }

    fn space(&self) -> Result<Option<Space>> {
        block_on(deadline(0), async {
            let listed = self.shared.client.list("", 0).await?;
            let base = listed.and_then(|listed| listed.into_iter().next());
            Ok(base.and_then(|base| match (base.free, base.used) {
                (Some(free), Some(used)) => Some(Space { total: free.saturating_add(used), free }),
                _ => None,
            }))
        })
    }
}
