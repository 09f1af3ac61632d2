//! Where a file's bytes are cut into chunks: by content, so that an insertion moves few boundaries, and by
//! a secret table, so that nobody else can tell where a known file is cut.
//!
//! A gear hash rolls over the bytes; a boundary is where its high bits are zero. Below the average length
//! more bits must be zero than above it, which keeps lengths close to the average. This module only finds
//! lengths; it never copies or keeps a byte.

use keepfs_format::chunk::CHUNK_LEN_MAX;

use crate::limits::{CUT_LEN_AVERAGE, CUT_LEN_MIN};

/// How files are cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Cutting {
    /// By content, between [`CUT_LEN_MIN`] and [`CHUNK_LEN_MAX`], on average [`CUT_LEN_AVERAGE`].
    #[default]
    Content,
    /// Every [`CUT_LEN_AVERAGE`] bytes: for disk images and databases, whose bytes never shift.
    Fixed,
}

/// Bytes that the highest bits of the hash depend on; older ones have been shifted out.
const WINDOW_LEN: usize = 64;

/// Places of a stretch that are walked at the same time, and the bytes of each.
const LANES: usize = 4;
const LANE_LEN: usize = 4096;
const STRETCH_LEN: usize = LANES * LANE_LEN;

/// Zero bits that make a boundary at average length; one bit of the average's logarithm more or less on
/// either side of it.
const MASK_BITS: u32 = CUT_LEN_AVERAGE.ilog2();

/// Mask below the average length.
const MASK_RELUCTANT: u64 = mask(MASK_BITS + 1);
/// Mask above the average length.
const MASK_EAGER: u64 = mask(MASK_BITS - 1);

/// `bits` ones directly below the highest bit. The highest stays free, so that a mask can be shifted left
/// by one for the first byte of a pair.
const fn mask(bits: u32) -> u64 {
    ((1 << bits) - 1) << (63 - bits)
}

/// Finds where chunks end.
pub struct Chunker {
    gear: Box<[u64; 256]>,
    /// The same, each word shifted left by one.
    shifted: Box<[u64; 256]>,
    cutting: Cutting,
}

impl Chunker {
    /// A chunker with this secret table.
    pub fn new(gear: Box<[u64; 256]>, cutting: Cutting) -> Self {
        let shifted = Box::new(gear.map(|word| word << 1));
        Self { gear, shifted, cutting }
    }

    /// Length in bytes of the first chunk of `data`. With `last`, `data` is all that is left of the file
    /// and the answer is 0 only if it is empty. Without, 0 means that more bytes are needed; with
    /// [`CHUNK_LEN_MAX`] bytes there is always an answer.
    ///
    /// The answer does not depend on how many bytes are given beyond the boundary.
    pub fn cut(&self, data: &[u8], last: bool) -> usize {
        let data = &data[..data.len().min(CHUNK_LEN_MAX)];
        let boundary = match self.cutting {
            Cutting::Fixed => (data.len() >= CUT_LEN_AVERAGE).then_some(CUT_LEN_AVERAGE),
            Cutting::Content => self.boundary(data),
        };
        match boundary {
            Some(len) => len,
            None if last => data.len(),
            None => 0,
        }
    }

    /// End of the first chunk, or `None` if there is none within `data`.
    fn boundary(&self, data: &[u8]) -> Option<usize> {
        if data.len() < CUT_LEN_MIN {
            return None;
        }
        let average = data.len().min(CUT_LEN_AVERAGE);
        if let Some(len) = self.scan(&data[..average], CUT_LEN_MIN, MASK_RELUCTANT) {
            return Some(CUT_LEN_MIN + len);
        }
        match self.scan(data, average, MASK_EAGER) {
            Some(len) => Some(average + len),
            None => (data.len() == CHUNK_LEN_MAX).then_some(CHUNK_LEN_MAX),
        }
    }

    fn roll(&self, hash: u64, byte: u8) -> u64 {
        (hash << 1).wrapping_add(self.gear[usize::from(byte)])
    }

    /// The hash after the bytes of `window`, whatever came before it.
    fn warm_up(&self, window: &[u8]) -> u64 {
        window.iter().fold(0, |hash, &byte| self.roll(hash, byte))
    }

    /// Number of bytes of `data[start..]` up to and with the first boundary. At least [`WINDOW_LEN`] bytes
    /// stand before `start`.
    ///
    /// One hash depends on the one before it, which leaves most of the processor idle. Hence a stretch is
    /// walked in several lanes at once; where one meets a boundary, that stretch is walked again byte by byte.
    fn scan(&self, data: &[u8], start: usize, mask: u64) -> Option<usize> {
        let mut at = start;
        while let Some(stretch) = data.get(at - WINDOW_LEN..at + STRETCH_LEN) {
            if self.has_boundary(stretch, mask) {
                break;
            }
            at += STRETCH_LEN;
        }
        let mut hash = self.warm_up(&data[at - WINDOW_LEN..at]);
        let found = data[at..].iter().position(|&byte| {
            hash = self.roll(hash, byte);
            hash & mask == 0
        });
        found.map(|position| at - start + position + 1)
    }

    /// Whether a boundary is in a stretch, which begins with the window before it.
    fn has_boundary(&self, stretch: &[u8], mask: u64) -> bool {
        let (gear, shifted) = (&*self.gear, &*self.shifted);
        let lanes: [&[u8]; LANES] = std::array::from_fn(|lane| {
            let start = WINDOW_LEN + lane * LANE_LEN;
            &stretch[start..start + LANE_LEN]
        });
        let mut hashes: [u64; LANES] = std::array::from_fn(|lane| {
            let start = lane * LANE_LEN;
            self.warm_up(&stretch[start..start + WINDOW_LEN])
        });
        for position in (0..LANE_LEN).step_by(2) {
            for (hash, lane) in hashes.iter_mut().zip(lanes) {
                // The hash after the first byte, shifted left by one, and the mask with it.
                *hash = (*hash << 2).wrapping_add(shifted[usize::from(lane[position])]);
                if *hash & (mask << 1) == 0 {
                    return true;
                }
                *hash = hash.wrapping_add(gear[usize::from(lane[position + 1])]);
                if *hash & mask == 0 {
                    return true;
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small generator; the tests name their seeds.
    fn noise(seed: u64, len: usize) -> Vec<u8> {
        let mut state = seed;
        let mut out = Vec::with_capacity(len + 8);
        while out.len() < len {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = state;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            out.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
        }
        out.truncate(len);
        out
    }

    fn chunker(seed: u64, cutting: Cutting) -> Chunker {
        let bytes = noise(seed, 256 * 8);
        let mut gear = Box::new([0; 256]);
        for (entry, word) in gear.iter_mut().zip(bytes.chunks_exact(8)) {
            *entry = u64::from_le_bytes(word.try_into().unwrap());
        }
        Chunker::new(gear, cutting)
    }

    fn lengths(chunker: &Chunker, mut data: &[u8]) -> Vec<usize> {
        let mut lengths = Vec::new();
        while !data.is_empty() {
            let len = chunker.cut(data, true);
            lengths.push(len);
            data = &data[len..];
        }
        lengths
    }

    #[test]
    fn pieces_keep_their_bounds_and_their_average() {
        let data = noise(1, 64 << 20);
        let lengths = lengths(&chunker(2, Cutting::Content), &data);
        assert_eq!(lengths.iter().sum::<usize>(), data.len());
        for &len in &lengths[..lengths.len() - 1] {
            assert!((CUT_LEN_MIN..=CHUNK_LEN_MAX).contains(&len), "{len}");
        }
        let average = data.len() / lengths.len();
        assert!((700_000..1_500_000).contains(&average), "{average}");
    }

    #[test]
    fn fast_scan_finds_what_the_definition_finds() {
        let chunker = chunker(3, Cutting::Content);
        for seed in 10..30 {
            let data = noise(seed, WINDOW_LEN + 5 * STRETCH_LEN + seed as usize);
            for bits in [3, 9, 12, 13, 14] {
                let mask = mask(bits);
                let mut hash = chunker.warm_up(&data[..WINDOW_LEN]);
                let slowly = data[WINDOW_LEN..].iter().position(|&byte| {
                    hash = chunker.roll(hash, byte);
                    hash & mask == 0
                });
                let found = chunker.scan(&data, WINDOW_LEN, mask);
                assert_eq!(found, slowly.map(|at| at + 1), "seed {seed}, {bits} bits");
            }
        }
    }

    #[test]
    fn an_insertion_moves_few_boundaries() {
        let chunker = chunker(4, Cutting::Content);
        let data = noise(5, 32 << 20);
        let mut changed = data.clone();
        changed.splice(3_000_000..3_000_000, *b"inserted");
        let ends = |data: &[u8]| {
            let mut left = data.len();
            lengths(&chunker, data)
                .into_iter()
                .map(|len| {
                    left -= len;
                    left
                })
                .collect::<std::collections::BTreeSet<_>>()
        };
        let (before, after) = (ends(&data), ends(&changed));
        assert!(before.difference(&after).count() <= 4, "{before:?} {after:?}");
    }

    #[test]
    fn what_follows_a_boundary_does_not_move_it() {
        let chunker = chunker(6, Cutting::Content);
        let data = noise(7, CHUNK_LEN_MAX);
        let len = chunker.cut(&data, false);
        assert_ne!(len, 0);
        assert_eq!(chunker.cut(&data[..len], false), len);
        assert_eq!(chunker.cut(&data[..len - 1], false), 0);
        assert_eq!(chunker.cut(&data[..len - 1], true), len - 1);
    }

    #[test]
    fn tables_cut_apart_and_zeros_are_cut_at_the_limit() {
        let data = noise(8, CHUNK_LEN_MAX);
        let (one, other) = (chunker(9, Cutting::Content), chunker(10, Cutting::Content));
        assert_ne!(one.cut(&data, true), other.cut(&data, true));
        let zeros = vec![0; CHUNK_LEN_MAX + 1];
        assert_eq!(one.cut(&zeros, false), CHUNK_LEN_MAX);
        assert_eq!(one.cut(&[], true), 0);
        assert_eq!(one.cut(&zeros[..CUT_LEN_MIN - 1], true), CUT_LEN_MIN - 1);
    }

    #[test]
    fn fixed_cutting_ignores_content() {
        let chunker = chunker(11, Cutting::Fixed);
        let data = noise(12, 3 * CUT_LEN_AVERAGE + 5);
        assert_eq!(lengths(&chunker, &data), [CUT_LEN_AVERAGE, CUT_LEN_AVERAGE, CUT_LEN_AVERAGE, 5]);
        assert_eq!(chunker.cut(&data[..CUT_LEN_AVERAGE - 1], false), 0);
    }
}
