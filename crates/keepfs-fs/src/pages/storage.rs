//! What redb reads from and writes to: pages in the clear on one side, a sealed file on the other.
//!
//! Owns the order of writes. Knows nothing of what pages mean, except that redb overwrites page 0 in place and no
//! other page that its last commit can reach.
//!
//! # What is detected
//! A page that was changed, moved, or taken from another file does not open. A page of zeroes does not either, unless
//! the file grew by it in this session and nobody wrote it: redb never reads a page that it did not write, so a hole
//! found after a new start is a page that was lost. An older version of the same page does open; redb's integrity
//! check finds it, and runs after every unclean stop.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use redb::StorageBackend;

use super::buffer::{Buffer, WAITING_MAX};
use super::file::{Header, Page, PageFile};
use super::layout::{PAGE_LEN, SEALED_LEN, file_len, pages_in};
use super::{DatabasePlace, PagesError, damaged, failed};

/// Pages read in one call of the disk at most: bounds the buffer for sealed bytes.
const READ_PAGES_MAX: usize = 256;

/// The sealed page storage under redb. Clones are the same storage.
#[derive(Clone)]
pub struct SealedPages {
    pages: Arc<Pages>,
}

struct Pages {
    file: PageFile,
    /// Number of pages.
    count: AtomicU64,
    buffer: Mutex<Buffer>,
    header: Mutex<HeaderState>,
    /// Held while pages are on their way from the buffer to the file. Taken before `buffer`.
    flushing: Mutex<()>,
    /// Held over a whole sync. Taken before `flushing`.
    syncing: Mutex<()>,
    /// Set when a write or sync failed: nothing more is written.
    poisoned: AtomicBool,
    /// Set when the database was found good: only then may a close say so.
    trusted: AtomicBool,
    was_closed: bool,
    lock: Mutex<Option<Box<dyn Send + Sync>>>,
}

struct HeaderState {
    header: Header,
    /// The slot that holds the last durable version; the next one goes to the other.
    durable_slot: usize,
    dirty: bool,
}

impl SealedPages {
    /// Makes an empty file at `path`, which must not exist.
    pub(super) fn create(place: &DatabasePlace, path: &Path) -> Result<Self, PagesError> {
        let file = PageFile::create(place, path)?;
        let header = Header { page: Box::new([0; PAGE_LEN]), version: 0, closed: false };
        Ok(Self::new(file, 0, HeaderState { header, durable_slot: 1, dirty: false }, true))
    }

    /// Opens the file at `path`.
    pub(super) fn open(place: &DatabasePlace, path: &Path) -> Result<Self, PagesError> {
        let file = PageFile::open(place, path)?;
        let length = file.file.length().map_err(|source| failed(path, source))?;
        let count = pages_in(length);
        if count == 0 {
            return Err(damaged(path, "it holds no pages".to_owned()));
        }
        let header = file.settle_header().map_err(|source| failed(path, source))?;
        let Some((slot, header)) = header else {
            return Err(damaged(path, "neither copy of its first page opens".to_owned()));
        };
        Ok(Self::new(file, count, HeaderState { header, durable_slot: slot, dirty: false }, false))
    }

    fn new(file: PageFile, count: u64, header: HeaderState, trusted: bool) -> Self {
        Self {
            pages: Arc::new(Pages {
                file,
                count: AtomicU64::new(count),
                buffer: Mutex::default(),
                was_closed: header.header.closed,
                header: Mutex::new(header),
                flushing: Mutex::new(()),
                syncing: Mutex::new(()),
                poisoned: AtomicBool::new(false),
                trusted: AtomicBool::new(trusted),
                lock: Mutex::new(None),
            }),
        }
    }

    /// Whether the last session ended with a close.
    pub(super) fn was_closed(&self) -> bool {
        self.pages.was_closed
    }

    /// Keeps a lock until the database is closed.
    pub(super) fn keep_until_closed(&self, lock: Box<dyn Send + Sync>) {
        *self.pages.lock.lock() = Some(lock);
    }

    /// Notes durably that a session has begun, and that its close, if it comes, may be believed.
    pub(super) fn set_open(&self) -> io::Result<()> {
        self.pages.mark(false)?;
        self.pages.trusted.store(true, Ordering::Release);
        Ok(())
    }
}

impl Pages {
    fn check_usable(&self) -> io::Result<()> {
        match self.poisoned.load(Ordering::Acquire) {
            true => Err(io::Error::other("an earlier write to the state database failed")),
            false => Ok(()),
        }
    }

    /// Remembers that a write failed.
    fn judge<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.is_err() {
            self.poisoned.store(true, Ordering::Release);
        }
        result
    }

    fn len(&self) -> u64 {
        self.count.load(Ordering::Acquire) * PAGE_LEN as u64
    }

    fn check_range(&self, offset: u64, length: usize) -> io::Result<()> {
        match offset.checked_add(length as u64) {
            Some(end) if end <= self.len() => Ok(()),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "beyond the end of the state database")),
        }
    }

    /// Opens page `page` out of the bytes that the file holds for it.
    fn open_page(&self, page: u64, sealed: &[u8], plain: &mut [u8]) -> io::Result<()> {
        if self.file.open_page(page, sealed, plain) {
            return Ok(());
        }
        if sealed.iter().all(|byte| *byte == 0) && self.buffer.lock().is_unwritten(page) {
            plain.fill(0);
            return Ok(());
        }
        let text = format!("page {page} of the state database is damaged");
        Err(io::Error::new(io::ErrorKind::InvalidData, text))
    }

    /// Opens page `page` if it has not yet reached the file.
    fn open_buffered(&self, page: u64, plain: &mut [u8]) -> io::Result<bool> {
        let buffer = self.buffer.lock();
        if buffer.is_empty() {
            return Ok(false);
        }
        let Some(sealed) = buffer.get(page) else { return Ok(false) };
        let mut copy = [0; SEALED_LEN];
        copy.copy_from_slice(sealed);
        drop(buffer);
        self.open_page(page, &copy, plain)?;
        Ok(true)
    }

    /// Reads one page.
    fn read_page(&self, page: u64, plain: &mut [u8]) -> io::Result<()> {
        if page == 0 {
            plain.copy_from_slice(&*self.header.lock().header.page);
            return Ok(());
        }
        if self.open_buffered(page, plain)? {
            return Ok(());
        }
        let mut sealed = [0; SEALED_LEN];
        self.file.read_sealed(page, &mut sealed)?;
        self.open_page(page, &sealed, plain)
    }

    /// Reads whole pages from `first` on, which is not 0.
    fn read_pages(&self, first: u64, out: &mut [u8]) -> io::Result<()> {
        let mut sealed = Vec::new();
        let mut page = first;
        for out in out.chunks_mut(READ_PAGES_MAX * PAGE_LEN) {
            sealed.resize(out.len() / PAGE_LEN * SEALED_LEN, 0);
            self.file.read_sealed(page, &mut sealed)?;
            for (plain, sealed) in out.chunks_mut(PAGE_LEN).zip(sealed.chunks(SEALED_LEN)) {
                if !self.open_buffered(page, plain)? {
                    self.open_page(page, sealed, plain)?;
                }
                page += 1;
            }
        }
        Ok(())
    }

    /// Takes a whole page to be written.
    fn write_page(&self, page: u64, plain: &Page) -> io::Result<()> {
        if page == 0 {
            let mut state = self.header.lock();
            *state.header.page = *plain;
            state.dirty = true;
            return Ok(());
        }
        let sealed = self.file.seal_page(page, plain);
        let waiting = {
            let mut buffer = self.buffer.lock();
            buffer.put(page, &sealed);
            buffer.waiting()
        };
        if waiting >= WAITING_MAX { self.flush() } else { Ok(()) }
    }

    /// Writes all pages that wait to the file.
    fn flush(&self) -> io::Result<()> {
        let _flushing = self.flushing.lock();
        let batch = {
            let mut buffer = self.buffer.lock();
            if buffer.waiting() == 0 {
                return Ok(());
            }
            buffer.leave()
        };
        batch.each_run(|first, sealed| self.file.write_sealed(first, sealed))?;
        self.buffer.lock().settle();
        Ok(())
    }

    /// Makes everything durable that was written before.
    fn sync(&self) -> io::Result<()> {
        let _syncing = self.syncing.lock();
        self.check_usable()?;
        self.flush()?;
        let written = {
            let mut state = self.header.lock();
            match state.dirty {
                false => None,
                true => {
                    state.dirty = false;
                    state.header.version += 1;
                    Some((1 - state.durable_slot, state.header.clone()))
                }
            }
        };
        if let Some((slot, header)) = &written {
            self.file.write_header(*slot, header)?;
        }
        self.file.file.sync_data()?;
        if let Some((slot, header)) = written {
            self.header.lock().durable_slot = slot;
            // A copy for the case that this one is damaged later. Should it be torn, the other is durable.
            self.file.write_header(1 - slot, &header)?;
        }
        Ok(())
    }

    /// Makes durable whether the session is over.
    fn mark(&self, closed: bool) -> io::Result<()> {
        {
            let mut state = self.header.lock();
            state.header.closed = closed;
            state.dirty = true;
        }
        self.judge(self.sync())
    }

    fn set_count(&self, count: u64) -> io::Result<()> {
        let _syncing = self.syncing.lock();
        self.flush()?;
        let _flushing = self.flushing.lock();
        let old = self.count.load(Ordering::Acquire);
        self.file.file.set_len(file_len(count))?;
        self.buffer.lock().resize(old, count);
        self.count.store(count, Ordering::Release);
        if count == 0 {
            let mut state = self.header.lock();
            state.header.page.fill(0);
            state.dirty = true;
        }
        Ok(())
    }
}

/// The pieces of a range that lie in one page each: page, start in the page, length.
fn pieces(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut offset = offset;
    let end = offset + length as u64;
    std::iter::from_fn(move || {
        if offset >= end {
            return None;
        }
        let start = (offset % PAGE_LEN as u64) as usize;
        let piece_len = (PAGE_LEN - start).min((end - offset) as usize);
        let piece = (offset / PAGE_LEN as u64, start, piece_len);
        offset += piece_len as u64;
        Some(piece)
    })
}

impl StorageBackend for SealedPages {
    fn len(&self) -> io::Result<u64> {
        Ok(self.pages.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let pages = &self.pages;
        pages.check_range(offset, out.len())?;
        let is_whole = offset.is_multiple_of(PAGE_LEN as u64) && out.len().is_multiple_of(PAGE_LEN);
        if is_whole && offset > 0 && out.len() > PAGE_LEN {
            return pages.read_pages(offset / PAGE_LEN as u64, out);
        }
        let mut rest = out;
        for (page, start, piece_len) in pieces(offset, rest.len()) {
            let (out, behind) = rest.split_at_mut(piece_len);
            if piece_len == PAGE_LEN {
                pages.read_page(page, out)?;
            } else {
                let mut plain = [0; PAGE_LEN];
                pages.read_page(page, &mut plain)?;
                out.copy_from_slice(&plain[start..start + piece_len]);
            }
            rest = behind;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.pages.check_usable()?;
        if !len.is_multiple_of(PAGE_LEN as u64) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the state database grows by whole pages",
            ));
        }
        self.pages.judge(self.pages.set_count(len / PAGE_LEN as u64))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.pages.judge(self.pages.sync())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let pages = &self.pages;
        pages.check_usable()?;
        pages.check_range(offset, data.len())?;
        let mut rest = data;
        for (page, start, piece_len) in pieces(offset, rest.len()) {
            let (data, behind) = rest.split_at(piece_len);
            let written = match <&Page>::try_from(data) {
                Ok(whole) => pages.write_page(page, whole),
                Err(_) => {
                    let mut plain = [0; PAGE_LEN];
                    pages.read_page(page, &mut plain)?;
                    plain[start..start + piece_len].copy_from_slice(data);
                    pages.write_page(page, &plain)
                }
            };
            pages.judge(written)?;
            rest = behind;
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        let pages = &self.pages;
        let result = match pages.trusted.load(Ordering::Acquire) && !pages.poisoned.load(Ordering::Acquire) {
            // Once more, for the copy of page 0.
            true => pages.mark(true).and_then(|()| pages.judge(pages.sync())),
            false => Ok(()),
        };
        *pages.lock.lock() = None;
        result
    }
}

impl fmt::Debug for SealedPages {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SealedPages")
            .field("path", &self.pages.file.path)
            .field("len", &self.pages.len())
            .finish()
    }
}
