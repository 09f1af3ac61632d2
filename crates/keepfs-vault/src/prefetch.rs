//! Fetches chunks ahead of a reader, on threads of its own.
//!
//! Hints are taken without waiting and dropped when there are too many: fetching ahead may only ever make
//! something faster.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

use keepfs_format::ids::{ChunkId, Locator};
use parking_lot::{Condvar, Mutex};

use crate::error::{Result, VaultError};
use crate::limits::PREFETCH_QUEUE_MAX;
use crate::reader::Reader;

#[derive(Default)]
struct Hints {
    queue: VecDeque<(ChunkId, Locator)>,
    /// Plaintext of what is queued.
    len_total: usize,
    stopping: bool,
}

struct Shared {
    reader: Arc<Reader>,
    hints: Mutex<Hints>,
    changed: Condvar,
}

impl Shared {
    fn work(&self) {
        loop {
            let mut hints = self.hints.lock();
            let (id, at) = loop {
                if hints.stopping {
                    return;
                }
                match hints.queue.pop_front() {
                    Some(hint) => {
                        hints.len_total -= hint.1.plain_len as usize;
                        break hint;
                    }
                    None => self.changed.wait(&mut hints),
                }
            };
            drop(hints);
            // Whoever reads the chunk in earnest meets the same error and reports it.
            let _ = self.reader.warm(&id, &at);
        }
    }
}

/// The prefetcher.
pub(crate) struct Prefetcher {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    len_max: usize,
}

impl Prefetcher {
    /// At most `len_max` bytes of plaintext are fetched ahead: what the memory cache holds without pushing
    /// out what was fetched before and not read yet. With no thread at all hints are taken and dropped.
    pub(crate) fn new(reader: Arc<Reader>, threads: usize, len_max: usize) -> Result<Self> {
        let shared = Arc::new(Shared { reader, hints: Mutex::default(), changed: Condvar::new() });
        let mut prefetcher = Self { shared, threads: Vec::new(), len_max };
        for _ in 0..threads {
            let shared = prefetcher.shared.clone();
            let thread = std::thread::Builder::new()
                .name("prefetch".to_owned())
                .spawn(move || shared.work())
                .map_err(|error| VaultError::Thread { what: error.to_string() })?;
            prefetcher.threads.push(thread);
        }
        Ok(prefetcher)
    }

    /// Somebody will probably read these chunks soon.
    pub(crate) fn hint(&self, chunks: &[(ChunkId, Locator)]) {
        if self.threads.is_empty() {
            return;
        }
        let mut hints = self.shared.hints.lock();
        for hint in chunks {
            let is_queued = hints.queue.iter().any(|(_, at)| *at == hint.1);
            let len_total = hints.len_total + hint.1.plain_len as usize;
            if !is_queued && hints.queue.len() < PREFETCH_QUEUE_MAX && len_total <= self.len_max {
                hints.queue.push_back(*hint);
                hints.len_total = len_total;
            }
        }
        drop(hints);
        self.shared.changed.notify_all();
    }
}

impl Drop for Prefetcher {
    fn drop(&mut self) {
        self.shared.hints.lock().stopping = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // What a thread of hints could still say is of no interest.
            let _ = thread.join();
        }
    }
}
