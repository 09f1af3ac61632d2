//! Sealed pages on their way to the file: collected, so that neighbours go in one write. Does no I/O.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::file::SealedPage;
use super::layout::SEALED_LEN;

/// Pages that wait before they are written; with their sealing, 8 MiB.
pub(super) const WAITING_MAX: usize = 2048;

/// Longest write, in pages: 1 MiB.
const RUN_LEN_MAX: usize = 254;

/// Sealed pages by number.
#[derive(Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Where in `bytes` each page lies, in pages.
    places: FxHashMap<u64, usize>,
}

impl Batch {
    fn get(&self, page: u64) -> Option<&[u8]> {
        let start = self.places.get(&page)? * SEALED_LEN;
        self.bytes.get(start..start + SEALED_LEN)
    }

    fn put(&mut self, page: u64, sealed: &SealedPage) {
        if let Some(place) = self.places.get(&page) {
            self.bytes[place * SEALED_LEN..][..SEALED_LEN].copy_from_slice(sealed);
        } else {
            self.places.insert(page, self.bytes.len() / SEALED_LEN);
            self.bytes.extend_from_slice(sealed);
        }
    }

    /// Hands all pages to `write` in ascending order, neighbours together: the first one's number and the bytes.
    pub(super) fn each_run<E>(&self, mut write: impl FnMut(u64, &[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut pages: Vec<u64> = self.places.keys().copied().collect();
        pages.sort_unstable();
        let mut run = Vec::new();
        for pages in pages.chunk_by(|page, next| page + 1 == *next) {
            for pages in pages.chunks(RUN_LEN_MAX) {
                run.clear();
                pages
                    .iter()
                    .filter_map(|page| self.get(*page))
                    .for_each(|sealed| run.extend_from_slice(sealed));
                write(pages[0], &run)?;
            }
        }
        Ok(())
    }
}

/// One bit a page.
#[derive(Default)]
struct PageSet(Vec<u64>);

impl PageSet {
    fn has(&self, page: u64) -> bool {
        self.0.get((page / 64) as usize).is_some_and(|word| word & (1 << (page % 64)) != 0)
    }

    fn insert(&mut self, pages: std::ops::Range<u64>) {
        for page in pages {
            let word = (page / 64) as usize;
            if word >= self.0.len() {
                self.0.resize(word + 1, 0);
            }
            self.0[word] |= 1 << (page % 64);
        }
    }

    fn remove(&mut self, page: u64) {
        if let Some(word) = self.0.get_mut((page / 64) as usize) {
            *word &= !(1 << (page % 64));
        }
    }
}

/// What is known of pages beside what lies in the file.
#[derive(Default)]
pub(super) struct Buffer {
    waiting: Batch,
    /// Being written at this moment.
    leaving: Option<Arc<Batch>>,
    /// Pages that the file grew by in this session and that nobody has written: they read as zeroes.
    unwritten: PageSet,
}

impl Buffer {
    /// How many pages wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.places.len()
    }

    /// Whether every page is in the file.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.places.is_empty() && self.leaving.is_none()
    }

    /// The page, if it is not yet in the file.
    pub(super) fn get(&self, page: u64) -> Option<&[u8]> {
        self.waiting.get(page).or_else(|| self.leaving.as_ref()?.get(page))
    }

    /// Takes a page to be written.
    pub(super) fn put(&mut self, page: u64, sealed: &SealedPage) {
        self.waiting.put(page, sealed);
        self.unwritten.remove(page);
    }

    /// Gives away what waits; it stays visible until [`settle`](Self::settle).
    pub(super) fn leave(&mut self) -> Arc<Batch> {
        let batch = Arc::new(std::mem::take(&mut self.waiting));
        self.leaving = Some(batch.clone());
        batch
    }

    /// What left is in the file.
    pub(super) fn settle(&mut self) {
        self.leaving = None;
    }

    /// The number of pages changed. Nothing may wait or leave when it shrinks.
    pub(super) fn resize(&mut self, old: u64, new: u64) {
        self.unwritten.insert(old..new);
        for page in new..old {
            self.unwritten.remove(page);
        }
    }

    /// Whether the page was added in this session and never written.
    pub(super) fn is_unwritten(&self, page: u64) -> bool {
        self.unwritten.has(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_go_in_one_write_in_ascending_order() {
        let mut buffer = Buffer::default();
        for page in [9, 3, 4, 2, 3] {
            buffer.put(page, &[page as u8; SEALED_LEN]);
        }
        let mut runs = Vec::new();
        let batch = buffer.leave();
        assert_eq!(buffer.get(4), Some(&[4; SEALED_LEN][..]));
        batch
            .each_run(|first, bytes| {
                runs.push((first, bytes.iter().step_by(SEALED_LEN).copied().collect()));
                Ok::<(), ()>(())
            })
            .unwrap();
        assert_eq!(runs, [(2, vec![2, 3, 4]), (9, vec![9])]);
        buffer.settle();
        assert!(buffer.is_empty());
    }

    #[test]
    fn only_what_grew_and_was_not_written_counts_as_unwritten() {
        let mut buffer = Buffer::default();
        buffer.resize(10, 200);
        buffer.put(100, &[0; SEALED_LEN]);
        assert!(!buffer.is_unwritten(9) && buffer.is_unwritten(10) && buffer.is_unwritten(199));
        assert!(!buffer.is_unwritten(100) && !buffer.is_unwritten(200));
        buffer.resize(200, 50);
        assert!(buffer.is_unwritten(49) && !buffer.is_unwritten(50));
    }
}
