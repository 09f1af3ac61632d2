//! The extent map of one file: which range of it lies in which chunk.
//!
//! It owns the order of extents and the list of rows that differ from the database. It never holds bytes.

use std::collections::{BTreeMap, BTreeSet};

use keepfs_format::ids::{ChunkId, Locator};

/// A range of a file that lies in a chunk. Its offset is its key in the map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Extent {
    /// Length in bytes, never 0.
    pub len: u64,
    /// Bytes of the chunk's plaintext before the range.
    pub skip: u32,
    /// The chunk.
    pub id: ChunkId,
    /// Where the chunk lies.
    pub at: Locator,
}

/// A part of a file as a reader meets it: a run of one extent, or a hole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    /// First byte in the file.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
    /// The extent cut to the run; `None` is a hole.
    pub extent: Option<Extent>,
}

/// Sorted, disjoint extents; what lies between them is a hole.
#[derive(Default)]
pub(crate) struct Extents {
    map: BTreeMap<u64, Extent>,
    stored_len: u64,
    touched: BTreeSet<u64>,
}

impl Extents {
    /// The map as the database holds it.
    pub(crate) fn from_rows(rows: impl IntoIterator<Item = (u64, Extent)>) -> Self {
        let map: BTreeMap<u64, Extent> = rows.into_iter().collect();
        let stored_len = map.values().map(|extent| extent.len).sum();
        Self { map, stored_len, touched: BTreeSet::new() }
    }

    /// Bytes that lie in chunks.
    pub(crate) fn stored_len(&self) -> u64 {
        self.stored_len
    }

    /// Number of extents.
    pub(crate) fn count(&self) -> usize {
        self.map.len()
    }

    /// All extents in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Extent)> {
        self.map.iter().map(|(offset, extent)| (*offset, extent))
    }

    /// Rows that changed since the last call: `None` for one that went away.
    pub(crate) fn take_touched(&mut self) -> Vec<(u64, Option<Extent>)> {
        let touched = std::mem::take(&mut self.touched);
        touched.into_iter().map(|offset| (offset, self.map.get(&offset).copied())).collect()
    }

    /// `offset..offset + len` becomes a hole.
    pub(crate) fn punch(&mut self, offset: u64, len: u64) {
        let end = offset.saturating_add(len);
        if len == 0 {
            return;
        }
        if let Some((start, extent)) = self.map.range(..offset).next_back().map(|(start, at)| (*start, *at))
            && start + extent.len > offset
        {
            self.remove(start);
            self.insert(start, Extent { len: offset - start, ..extent });
            self.keep_tail(start, extent, end);
        }
        let inside: Vec<u64> = self.map.range(offset..end).map(|(start, _)| *start).collect();
        for start in inside {
            if let Some(extent) = self.remove(start) {
                self.keep_tail(start, extent, end);
            }
        }
    }

    /// `offset..offset + extent.len` is read from `extent`.
    pub(crate) fn splice(&mut self, offset: u64, extent: Extent) {
        self.punch(offset, extent.len);
        self.insert(offset, extent);
    }

    /// Drops what lies at or beyond `size`.
    pub(crate) fn truncate(&mut self, size: u64) {
        self.punch(size, u64::MAX - size);
    }

    /// The extent that covers `offset`, with its start.
    pub(crate) fn at(&self, offset: u64) -> Option<(u64, Extent)> {
        let (start, extent) = self.map.range(..=offset).next_back()?;
        (offset - start < extent.len).then_some((*start, *extent))
    }

    /// The extents and holes that make up `offset..end`, in order and without gaps.
    pub(crate) fn runs(&self, offset: u64, end: u64) -> Vec<Run> {
        let mut runs = Vec::new();
        let mut at = offset;
        let first = self.at(offset).map_or(offset, |(start, _)| start);
        for (start, extent) in self.map.range(first..end) {
            if *start > at {
                runs.push(Run { offset: at, len: start - at, extent: None });
                at = *start;
            }
            let stop = (start + extent.len).min(end);
            let cut = Extent { len: stop - at, skip: extent.skip + (at - start) as u32, ..*extent };
            runs.push(Run { offset: at, len: stop - at, extent: Some(cut) });
            at = stop;
        }
        if at < end {
            runs.push(Run { offset: at, len: end - at, extent: None });
        }
        runs
    }

    fn keep_tail(&mut self, start: u64, extent: Extent, end: u64) {
        let stop = start + extent.len;
        if stop > end {
            let skip = extent.skip + (end - start) as u32;
            self.insert(end, Extent { len: stop - end, skip, ..extent });
        }
    }

    fn insert(&mut self, offset: u64, extent: Extent) {
        self.stored_len += extent.len;
        self.map.insert(offset, extent);
        self.touched.insert(offset);
    }

    fn remove(&mut self, offset: u64) -> Option<Extent> {
        let extent = self.map.remove(&offset)?;
        self.stored_len -= extent.len;
        self.touched.insert(offset);
        Some(extent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keepfs_format::ids::PackId;

    fn extent(mark: u8, len: u64) -> Extent {
        let at = Locator { pack: PackId(1), index: 0, offset: 0, sealed_len: 9, plain_len: len as u32 };
        Extent { len, skip: 0, id: ChunkId([mark; 32]), at }
    }

    /// Byte by byte, what the map says of a file of `len` bytes: (chunk mark, position in the chunk).
    fn bytes(map: &Extents, len: u64) -> Vec<(u8, u32)> {
        let mut out = Vec::new();
        for run in map.runs(0, len) {
            for at in 0..run.len {
                out.push(run.extent.map_or((0, 0), |e| (e.id.0[0], e.skip + at as u32)));
            }
        }
        out
    }

    #[test]
    fn random_splices_and_punches_agree_with_an_array() {
        let seed = 0x5eed_0001_u64;
        println!("seed {seed:#x}");
        let mut random = seed;
        let mut next = |below: u64| {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (random >> 33) % below
        };
        let (mut map, mut model) = (Extents::default(), vec![(0_u8, 0_u32); 64]);
        for step in 0..4000_u32 {
            let offset = next(64);
            let len = 1 + next(64 - offset);
            match next(3) {
                0 => {
                    map.punch(offset, len);
                    model[offset as usize..(offset + len) as usize].fill((0, 0));
                }
                1 => {
                    map.truncate(offset);
                    model[offset as usize..].fill((0, 0));
                }
                _ => {
                    let mark = 1 + (step % 250) as u8;
                    map.splice(offset, extent(mark, len));
                    for at in 0..len {
                        model[(offset + at) as usize] = (mark, at as u32);
                    }
                }
            }
            assert_eq!(bytes(&map, 64), model, "step {step}");
            let stored = model.iter().filter(|byte| byte.0 != 0).count() as u64;
            assert_eq!(map.stored_len(), stored, "step {step}");
        }
    }

    #[test]
    fn touched_rows_bring_the_database_to_the_map() {
        let mut map = Extents::from_rows([(0, extent(1, 10)), (10, extent(2, 10))]);
        map.splice(5, extent(3, 10));
        let mut rows: BTreeMap<u64, Extent> = [(0, extent(1, 10)), (10, extent(2, 10))].into();
        for (offset, row) in map.take_touched() {
            match row {
                Some(row) => rows.insert(offset, row),
                None => rows.remove(&offset),
            };
        }
        assert!(rows.iter().eq(map.map.iter()));
        assert!(map.take_touched().is_empty());
    }
}
