//! Bytes of one file that are not in chunks yet.
//!
//! It owns the buffers and knows which of their bytes the journal has not seen. It never does I/O.

use std::collections::BTreeMap;

/// Longest single buffer, in bytes. Two of the longest chunks, so that a drain always finds a whole chunk.
pub(crate) const PIECE_LEN_MAX: usize = 8 << 20;

/// Bytes that the journal has not seen above which they are cheaper in chunks, where they are written once, if
/// they lie together.
const RAW_LEN_MAX: usize = 512 << 10;
/// The same for bytes that lie scattered: a chunk for each page costs more than writing it twice.
const SCATTERED_RAW_LEN_MAX: usize = 16 << 20;
/// Runs shorter than this on average are scattered, in bytes.
const SCATTERED_RUN_LEN: usize = 32 << 10;

/// One run of bytes. Its offset is its key in the map.
pub(crate) struct Piece {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The part that the journal has not seen, as a range of `bytes`; empty when it has seen all.
    fresh: (usize, usize),
}

impl Piece {
    fn new(bytes: Vec<u8>, fresh: bool) -> Self {
        let fresh = if fresh { (0, bytes.len()) } else { (0, 0) };
        Self { bytes, fresh }
    }

    fn fresh_len(&self) -> usize {
        self.fresh.1 - self.fresh.0
    }

    /// Returns by how much the fresh part grew.
    fn freshen(&mut self, from: usize, to: usize) -> usize {
        let before = self.fresh_len();
        self.fresh = if self.fresh.0 == self.fresh.1 {
            (from, to)
        } else {
            (self.fresh.0.min(from), self.fresh.1.max(to))
        };
        self.fresh_len() - before
    }

    fn cut_tail(&mut self, at: usize) -> Self {
        let bytes = self.bytes.split_off(at);
        let tail = (self.fresh.0.max(at), self.fresh.1.max(at));
        self.fresh = (self.fresh.0.min(at), self.fresh.1.min(at));
        Self { bytes, fresh: (tail.0 - at, tail.1 - at) }
    }
}

/// Sorted, disjoint buffers of one file.
#[derive(Default)]
pub(crate) struct Dirty {
    pieces: BTreeMap<u64, Piece>,
    len: usize,
    /// Bytes that the journal has not seen.
    fresh_len: usize,
}

impl Dirty {
    /// Bytes held.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Takes `data` in at `offset`, over whatever was there. `fresh`: the journal has not seen it.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8], fresh: bool) {
        if self.extend_piece(offset, data, fresh) {
            return;
        }
        self.punch(offset, data.len() as u64);
        if self.extend_piece(offset, data, fresh) {
            return;
        }
        self.keep(offset, Piece::new(data.to_vec(), fresh));
    }

    fn keep(&mut self, offset: u64, piece: Piece) {
        self.len += piece.bytes.len();
        self.fresh_len += piece.fresh_len();
        self.pieces.insert(offset, piece);
    }

    fn lose(&mut self, offset: u64) -> Option<Piece> {
        let piece = self.pieces.remove(&offset)?;
        self.len -= piece.bytes.len();
        self.fresh_len -= piece.fresh_len();
        Some(piece)
    }

    /// The common cases: data within a piece, or going on where one ends.
    fn extend_piece(&mut self, offset: u64, data: &[u8], fresh: bool) -> bool {
        let next = self.pieces.range(offset + 1..).next().map(|(start, _)| *start);
        let Some((start, piece)) = self.pieces.range_mut(..=offset).next_back() else { return false };
        let at = offset - start;
        let end = offset + data.len() as u64;
        if at > piece.bytes.len() as u64
            || at as usize + data.len() > PIECE_LEN_MAX
            || next.is_some_and(|next| next < end)
        {
            return false;
        }
        let at = at as usize;
        let inside = data.len().min(piece.bytes.len() - at);
        piece.bytes[at..at + inside].copy_from_slice(&data[..inside]);
        piece.bytes.extend_from_slice(&data[inside..]);
        self.len += data.len() - inside;
        if fresh {
            self.fresh_len += piece.freshen(at, at + data.len());
        }
        true
    }

    /// Drops what is held of `offset..offset + len`.
    pub(crate) fn punch(&mut self, offset: u64, len: u64) {
        let end = offset.saturating_add(len);
        if let Some((start, piece)) = self.pieces.range_mut(..offset).next_back() {
            let start = *start;
            if start + piece.bytes.len() as u64 > offset {
                let tail = piece.cut_tail((offset - start) as usize);
                self.len -= tail.bytes.len();
                self.fresh_len -= tail.fresh_len();
                self.put_back_beyond(offset, tail, end);
            }
        }
        let inside: Vec<u64> = self.pieces.range(offset..end).map(|(start, _)| *start).collect();
        for start in inside {
            if let Some(piece) = self.lose(start) {
                self.put_back_beyond(start, piece, end);
            }
        }
    }

    fn put_back_beyond(&mut self, start: u64, mut piece: Piece, end: u64) {
        if start + piece.bytes.len() as u64 > end {
            let tail = piece.cut_tail((end - start) as usize);
            self.keep(end, tail);
        }
    }

    /// Drops what is held at or beyond `size`.
    pub(crate) fn truncate(&mut self, size: u64) {
        self.punch(size, u64::MAX - size);
    }

    /// Copies what is held of `offset..offset + out.len()` over `out`; `covered` is told each such range of
    /// `out`.
    pub(crate) fn overlay(&self, offset: u64, out: &mut [u8], mut covered: impl FnMut(usize, usize)) {
        let end = offset + out.len() as u64;
        let first = self.covering(offset).unwrap_or(offset);
        for (start, piece) in self.pieces.range(first..end) {
            let from = offset.max(*start);
            let to = end.min(start + piece.bytes.len() as u64);
            let source = &piece.bytes[(from - start) as usize..(to - start) as usize];
            let (from, to) = ((from - offset) as usize, (to - offset) as usize);
            out[from..to].copy_from_slice(source);
            covered(from, to);
        }
    }

    fn covering(&self, offset: u64) -> Option<u64> {
        let (start, piece) = self.pieces.range(..=offset).next_back()?;
        (offset - start < piece.bytes.len() as u64).then_some(*start)
    }

    /// Ranges held, in order, as (offset, length).
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (u64, u64)> {
        self.pieces.iter().map(|(start, piece)| (*start, piece.bytes.len() as u64))
    }

    /// Whether a run of at least `run_len_min` contiguous bytes is held.
    pub(crate) fn has_run(&self, run_len_min: usize) -> bool {
        let mut run = (0, 0);
        self.ranges().any(|(start, len)| {
            run = if run.1 == start { (run.0, start + len) } else { (start, start + len) };
            run.1 - run.0 >= run_len_min as u64
        })
    }

    /// Whether held bytes begin right at `offset`.
    pub(crate) fn begins_at(&self, offset: u64) -> bool {
        self.pieces.contains_key(&offset)
    }

    /// Bytes that the journal has not seen.
    pub(crate) fn fresh_len(&self) -> usize {
        self.fresh_len
    }

    /// Whether a sync should bring what the journal has not seen into chunks.
    pub(crate) fn is_cheaper_in_chunks(&self) -> bool {
        let is_scattered = self.len < self.pieces.len() * SCATTERED_RUN_LEN;
        self.fresh_len > if is_scattered { SCATTERED_RAW_LEN_MAX } else { RAW_LEN_MAX }
    }

    /// Tells every range that the journal has not seen, and counts it as seen from now on.
    pub(crate) fn take_fresh(&mut self, mut each: impl FnMut(u64, &[u8])) {
        for (start, piece) in &mut self.pieces {
            let (from, to) = std::mem::take(&mut piece.fresh);
            if from < to {
                each(start + from as u64, &piece.bytes[from..to]);
            }
        }
        self.fresh_len = 0;
    }

    /// Takes runs of contiguous bytes out: all of them whole, or, with a `run_len_min`, the first
    /// `2 * PIECE_LEN_MAX` or so of each that is at least that long and begins where `may_begin` says. What
    /// follows stays, so that what a drain gives back lies right before it.
    pub(crate) fn take_runs(
        &mut self,
        run_len_min: usize,
        may_begin: impl Fn(u64) -> bool,
    ) -> Vec<(u64, Vec<u8>)> {
        let mut runs: Vec<(u64, u64, Vec<u64>)> = Vec::new();
        for (start, piece) in &self.pieces {
            let end = start + piece.bytes.len() as u64;
            match runs.last_mut() {
                Some(run) if run.1 == *start => {
                    run.1 = end;
                    if run_len_min == 0 || (end - run.0) as usize <= 2 * PIECE_LEN_MAX {
                        run.2.push(*start);
                    }
                }
                _ => runs.push((*start, end, vec![*start])),
            }
        }
        let mut taken = Vec::new();
        for (start, end, keys) in runs {
            if run_len_min > 0 && ((end - start) < run_len_min as u64 || !may_begin(start)) {
                continue;
            }
            let mut bytes = Vec::new();
            for key in keys {
                if let Some(piece) = self.lose(key) {
                    match bytes.is_empty() {
                        true => bytes = piece.bytes,
                        false => bytes.extend_from_slice(&piece.bytes),
                    }
                }
            }
            taken.push((start, bytes));
        }
        taken
    }

    /// Puts bytes that were taken out back under whatever has been written since.
    pub(crate) fn restore(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        let mut at = offset;
        let first = self.covering(offset).unwrap_or(offset);
        let newer: Vec<(u64, u64)> = self
            .pieces
            .range(first..end)
            .map(|(start, piece)| (*start, start + piece.bytes.len() as u64))
            .collect();
        for (start, stop) in newer.into_iter().chain([(end, end)]) {
            if start > at {
                let slice = &bytes[(at - offset) as usize..(start - offset) as usize];
                self.keep(at, Piece::new(slice.to_vec(), true));
            }
            at = at.max(stop);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(dirty: &Dirty, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        dirty.overlay(0, &mut out, |_, _| {});
        out
    }

    #[test]
    fn random_writes_and_punches_agree_with_an_array() {
        let seed = 0x5eed_0002_u64;
        println!("seed {seed:#x}");
        let mut random = seed;
        let mut next = |below: u64| {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (random >> 33) % below
        };
        let (mut dirty, mut model) = (Dirty::default(), vec![0_u8; 64]);
        let mut unseen = [false; 64];
        for step in 0..4000_u32 {
            let offset = next(64);
            let len = 1 + next(64 - offset);
            let range = offset as usize..(offset + len) as usize;
            match next(4) {
                0 => {
                    dirty.punch(offset, len);
                    model[range.clone()].fill(0);
                    unseen[range].fill(false);
                }
                1 => {
                    dirty.take_fresh(|start, bytes| {
                        for at in 0..bytes.len() {
                            unseen[start as usize + at] = false;
                        }
                    });
                    assert!(unseen.iter().all(|byte| !byte), "step {step}: the journal missed a byte");
                }
                _ => {
                    let mark = 1 + (step % 250) as u8;
                    dirty.write(offset, &vec![mark; len as usize], true);
                    model[range.clone()].fill(mark);
                    unseen[range].fill(true);
                }
            }
            assert_eq!(shown(&dirty, 64), model, "step {step}");
            assert_eq!(dirty.len(), dirty.ranges().map(|range| range.1 as usize).sum::<usize>());
            let fresh_len = dirty.pieces.values().map(Piece::fresh_len).sum::<usize>();
            assert_eq!(dirty.fresh_len(), fresh_len, "step {step}");
        }
    }

    #[test]
    fn restored_bytes_stay_under_newer_ones() {
        let mut dirty = Dirty::default();
        dirty.write(2, b"new", true);
        dirty.restore(0, b"oldoldold");
        assert_eq!(shown(&dirty, 9), b"olnewdold");
    }
}
