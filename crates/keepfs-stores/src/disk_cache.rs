//! A bounded cache of sealed blobs in a local directory.
//!
//! One file a blob, written aside and renamed, never synced: what a crash takes is fetched again, and what it
//! garbles does not open. The order of use is kept in memory, and taken from the files' times at the start.
//! One process uses a cache directory at a time.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keepfs_store::{BlobCache, CACHE_KEY_LEN_MAX, Result, StoreError, is_cache_key};
use parking_lot::Mutex;

use crate::os::{errno_of, make_directory_all, store_error, temporary_name};

/// Where blobs are written before they have a name, and go before they are removed.
const TEMPORARY: &str = "tmp";

/// Most files looked at when a cache is opened; whatever is beyond is removed.
const BLOBS_MAX: usize = 4_000_000;

/// A cache in a directory.
pub struct DiskCache {
    path: PathBuf,
    blobs: Mutex<Blobs>,
}

/// What is in the directory, by key and by the turn of its last use.
struct Blobs {
    by_key: HashMap<Arc<str>, Blob>,
    by_turn: BTreeMap<u64, Arc<str>>,
    turn: u64,
    len_total: u64,
    limit: u64,
}

#[derive(Clone, Copy)]
struct Blob {
    len: u64,
    turn: u64,
}

impl DiskCache {
    /// Opens the cache in `directory`, which is made if it is not there, with a limit in bytes. Files that
    /// are no blobs of a cache are removed: the directory is the cache's own.
    pub fn open(directory: &Path, limit: u64) -> Result<Self> {
        let failed = |error: std::io::Error| {
            let doing = format!("opening the cache {}", directory.display());
            store_error(None, &doing, errno_of(&error))
        };
        make_directory_all(directory).map_err(failed)?;
        let path = std::fs::canonicalize(directory).map_err(failed)?;
        let temporary = path.join(TEMPORARY);
        if let Err(error) = std::fs::remove_dir_all(&temporary)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(failed(error));
        }
        make_directory_all(&temporary).map_err(failed)?;
        let blobs = Blobs { by_key: HashMap::new(), by_turn: BTreeMap::new(), turn: 0, len_total: 0, limit };
        let cache = DiskCache { path, blobs: Mutex::new(blobs) };
        cache.take_stock().map_err(failed)?;
        cache.set_limit(limit);
        Ok(cache)
    }

    /// Finds the blobs of earlier processes, the least recently written first.
    fn take_stock(&self) -> std::io::Result<()> {
        let mut found = Vec::new();
        for shard in std::fs::read_dir(&self.path)?.flatten() {
            if shard.file_name() == TEMPORARY || !shard.file_type()?.is_dir() {
                continue;
            }
            for file in std::fs::read_dir(shard.path())?.flatten() {
                let key = file.file_name().to_str().and_then(decode_key);
                match (key, file.metadata()) {
                    (Some(key), Ok(metadata)) if metadata.is_file() && found.len() < BLOBS_MAX => {
                        found.push(((metadata.mtime(), metadata.mtime_nsec()), key, metadata.len()));
                    }
                    // Not a blob, or gone already: either way it need not be here.
                    _ => drop(std::fs::remove_file(file.path())),
                }
            }
        }
        found.sort_unstable();
        let mut blobs = self.blobs.lock();
        for (_, key, len) in found {
            blobs.insert(&key, len);
        }
        Ok(())
    }

    fn blob_path(&self, key: &str) -> PathBuf {
        let name = encode_key(key);
        self.path.join(shard_of(&name)).join(name)
    }

    fn temporary_path(&self) -> PathBuf {
        self.path.join(TEMPORARY).join(temporary_name())
    }

    /// Gives a complete file its name, and makes room. The file may be anywhere on this file system.
    fn adopt(&self, key: &str, from: &Path, len: u64) -> std::io::Result<()> {
        let path = self.blob_path(key);
        let mut blobs = self.blobs.lock();
        if let Err(error) = std::fs::rename(from, &path) {
            let (std::io::ErrorKind::NotFound, Some(shard)) = (error.kind(), path.parent()) else {
                return Err(error);
            };
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(shard)?;
            std::fs::rename(from, &path)?;
        }
        blobs.remove(key);
        blobs.insert(key, len);
        let limit = blobs.limit;
        self.shrink(blobs, limit);
        Ok(())
    }

    /// Forgets the least recently used until at most `len_max` bytes are left. The names go while the lock is
    /// held, so that a blob put again meanwhile is not hit; the bytes go after.
    fn shrink(&self, mut blobs: parking_lot::MutexGuard<'_, Blobs>, len_max: u64) {
        let mut doomed = Vec::new();
        while blobs.len_total > len_max {
            let Some(key) = blobs.pop_oldest() else { break };
            let path = self.temporary_path();
            if std::fs::rename(self.blob_path(&key), &path).is_ok() {
                doomed.push(path);
            }
        }
        drop(blobs);
        for path in doomed {
            // What stays in the temporary directory is removed at the next start.
            let _ = std::fs::remove_file(path);
        }
    }

    /// Writes and adopts a blob; whatever fails, no trace is left.
    fn write(&self, key: &str, bytes: &[u8]) {
        let temporary = self.temporary_path();
        let written = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| file.write_all(bytes))
            .and_then(|()| self.adopt(key, &temporary, bytes.len() as u64));
        if let Err(error) = written {
            let _ = std::fs::remove_file(&temporary);
            self.remove(key);
            self.yield_space(&error, bytes.len() as u64);
        }
    }

    /// On a full disk the cache is the first to give something back.
    fn yield_space(&self, error: &std::io::Error, wanted_len: u64) {
        if matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) {
            self.give_back(wanted_len.saturating_mul(2));
        }
    }

    /// Moves a file into the cache, or copies it from another file system.
    fn take_file(&self, key: &str, path: &Path) -> std::io::Result<()> {
        let len = std::fs::symlink_metadata(path)?.len();
        if !is_cache_key(key) || len > self.limit() {
            self.remove(key);
            return Ok(());
        }
        if self.adopt(key, path, len).is_ok() {
            return Ok(());
        }
        let temporary = self.temporary_path();
        let copied = std::fs::copy(path, &temporary).and_then(|len| self.adopt(key, &temporary, len));
        if let Err(error) = &copied {
            let _ = std::fs::remove_file(&temporary);
            self.yield_space(error, len);
        }
        copied
    }
}

impl BlobCache for DiskCache {
    fn get(&self, key: &str, offset: u64, out: &mut [u8]) -> Result<bool> {
        let Some(blob) = self.blobs.lock().touch(key) else { return Ok(false) };
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > blob.len) {
            return Ok(false);
        }
        let read = File::open(self.blob_path(key)).and_then(|file| file.read_exact_at(out, offset));
        let Err(error) = read else { return Ok(true) };
        match error.kind() {
            // Evicted between the look and the opening; or somebody tidied up.
            std::io::ErrorKind::NotFound | std::io::ErrorKind::UnexpectedEof => {
                self.blobs.lock().remove_if(key, blob);
                Ok(false)
            }
            _ => {
                self.remove(key);
                Err(StoreError::io_soon(format!("reading the cache {}: {error}", self.path.display())))
            }
        }
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        if is_cache_key(key) && bytes.len() as u64 <= self.limit() {
            self.write(key, bytes);
        } else {
            self.remove(key);
        }
    }

    fn put_file(&self, key: &str, path: &Path) {
        // A cache that fails costs time only; the contract promises no more.
        let _ = self.take_file(key, path);
        let _ = std::fs::remove_file(path);
    }

    fn contains(&self, key: &str) -> bool {
        self.blobs.lock().by_key.contains_key(key)
    }

    fn remove(&self, key: &str) {
        let mut blobs = self.blobs.lock();
        if blobs.remove(key) {
            let _ = std::fs::remove_file(self.blob_path(key));
        }
    }

    fn len_total(&self) -> u64 {
        self.blobs.lock().len_total
    }

    fn clear(&self) {
        self.shrink(self.blobs.lock(), 0);
        // Empty blobs weigh nothing and so outlive a shrinking to nothing.
        let mut blobs = self.blobs.lock();
        while let Some(key) = blobs.pop_oldest() {
            let _ = std::fs::remove_file(self.blob_path(&key));
        }
    }

    fn give_back(&self, len: u64) {
        let blobs = self.blobs.lock();
        let len_max = blobs.len_total.saturating_sub(len);
        self.shrink(blobs, len_max);
    }

    fn limit(&self) -> u64 {
        self.blobs.lock().limit
    }

    fn set_limit(&self, limit: u64) {
        let mut blobs = self.blobs.lock();
        blobs.limit = limit;
        self.shrink(blobs, limit);
    }
}

impl Blobs {
    fn insert(&mut self, key: &str, len: u64) {
        self.turn += 1;
        let key: Arc<str> = key.into();
        self.by_turn.insert(self.turn, key.clone());
        self.by_key.insert(key, Blob { len, turn: self.turn });
        self.len_total += len;
    }

    fn touch(&mut self, key: &str) -> Option<Blob> {
        self.turn += 1;
        let turn = self.turn;
        let blob = self.by_key.get_mut(key)?;
        let shared = self.by_turn.remove(&blob.turn)?;
        blob.turn = turn;
        let touched = *blob;
        self.by_turn.insert(turn, shared);
        Some(touched)
    }

    fn remove(&mut self, key: &str) -> bool {
        let Some(blob) = self.by_key.remove(key) else { return false };
        self.by_turn.remove(&blob.turn);
        self.len_total -= blob.len;
        true
    }

    /// Removes the blob unless it was used or put again since.
    fn remove_if(&mut self, key: &str, seen: Blob) {
        if self.by_key.get(key).is_some_and(|blob| blob.turn == seen.turn) {
            self.remove(key);
        }
    }

    fn pop_oldest(&mut self) -> Option<Arc<str>> {
        let (_, key) = self.by_turn.pop_first()?;
        if let Some(blob) = self.by_key.remove(&key) {
            self.len_total -= blob.len;
        }
        Some(key)
    }
}

/// A key as a file name: letters, digits, `-` and `_` stay, everything else becomes `.xx`.
fn encode_key(key: &str) -> String {
    let mut name = String::with_capacity(key.len() + 8);
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            _ => name.push_str(&format!(".{byte:02x}")),
        }
    }
    name
}

/// The key of a file name; `None` if no key has that name.
fn decode_key(name: &str) -> Option<String> {
    if name.len() > 3 * CACHE_KEY_LEN_MAX {
        return None;
    }
    let mut key = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let taken = if first == '.' {
            key.push(char::from(u8::from_str_radix(rest.get(1..3)?, 16).ok()?));
            3
        } else {
            key.push(first);
            first.len_utf8()
        };
        rest = rest.get(taken..)?;
    }
    (is_cache_key(&key) && encode_key(&key) == name).then_some(key)
}

/// One of 256 directories, so that none gets very long.
fn shard_of(name: &str) -> String {
    let fnv = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    let hash = name.bytes().fold(0x811c_9dc5, fnv);
    format!("{:02x}", (hash ^ (hash >> 16)) & 0xff)
}
