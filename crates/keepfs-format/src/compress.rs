//! Compression of blocks and object bodies, with contexts that are used again.
//!
//! It owns the choice of algorithm and the bound on what comes out. It never decompresses into more than
//! the exact length it was told.

use crate::error::FormatError;

/// How blocks are compressed where that helps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// Never.
    None,
    /// Zstandard at this level, −7 to 19; 1 is the default of a vault.
    Zstd(i32),
    /// LZ4: less saved, faster.
    Lz4,
}

/// Algorithm byte of a block or body that is stored as it is.
pub(crate) const STORED: u8 = 0;
/// Algorithm byte of Zstandard: one frame that states its content size.
pub(crate) const ZSTD: u8 = 1;
/// Algorithm byte of LZ4: one raw block.
pub(crate) const LZ4: u8 = 2;

/// A block is kept compressed only if that saves at least this part of it: a sixteenth.
const SAVING_SHIFT: u32 = 4;
/// Below this length nothing is gained that padding or sealing would not eat.
const COMPRESSIBLE_LEN_MIN: usize = 64;

/// Bytes of a block that [`looks_random`] looks at, and into how many pieces they are spread.
const PROBE_LEN: usize = 1024;
const PROBE_PIECES: usize = 16;

/// Whether a sample of a block has all byte values about equally often, as compressed and encrypted data
/// have. It takes a twentieth of the time that a failed attempt to compress takes, and misses only data
/// that repeats without any value being frequent.
pub(crate) fn looks_random(plain: &[u8]) -> bool {
    if plain.len() < PROBE_LEN {
        return false;
    }
    let mut counts = [0u32; 256];
    let piece_len = PROBE_LEN / PROBE_PIECES;
    for piece in plain.chunks(plain.len() / PROBE_PIECES).take(PROBE_PIECES) {
        piece[..piece_len].iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    }
    // The sum of squares is about 5,116 for random bytes, with a deviation of 90; text has over 30,000.
    counts.iter().map(|count| count * count).sum::<u32>() < 5600
}

/// Compresses one block at a time; keeps its contexts.
pub struct Compressor {
    compression: Compression,
    zstd: Option<zstd::bulk::Compressor<'static>>,
    lz4: lz4_flex::block::CompressTable,
}

impl Compressor {
    /// A compressor of that kind.
    pub fn new(compression: Compression) -> Self {
        let zstd = match compression {
            Compression::Zstd(level) => zstd::bulk::Compressor::new(level).ok(),
            Compression::None | Compression::Lz4 => None,
        };
        Self { compression, zstd, lz4: lz4_flex::block::CompressTable::large() }
    }

    /// Appends `plain` compressed to `out` and returns the algorithm byte, or [`STORED`] with `out` as it
    /// was when too little would be saved.
    pub(crate) fn append(&mut self, plain: &[u8], out: &mut Vec<u8>) -> u8 {
        if plain.len() < COMPRESSIBLE_LEN_MIN {
            return STORED;
        }
        let start = out.len();
        let kept_len_max = plain.len() - (plain.len() >> SAVING_SHIFT) - 1;
        let written = match (self.compression, &mut self.zstd) {
            (Compression::Zstd(_), Some(context)) => {
                // Too short an output makes the compressor itself give up as soon as it sees that.
                out.resize(start + kept_len_max, 0);
                context.compress_to_buffer(plain, &mut out[start..]).ok().map(|len| (ZSTD, len))
            }
            (Compression::Lz4, _) => {
                // This one asks for room for its worst case.
                out.resize(start + lz4_flex::block::get_maximum_output_size(plain.len()), 0);
                lz4_flex::block::compress_into_with_table(plain, &mut out[start..], &mut self.lz4)
                    .ok()
                    .filter(|len| *len <= kept_len_max)
                    .map(|len| (LZ4, len))
            }
            (Compression::None, _) | (Compression::Zstd(_), None) => None,
        };
        match written {
            Some((algorithm, len)) => {
                out.truncate(start + len);
                algorithm
            }
            None => {
                out.truncate(start);
                STORED
            }
        }
    }
}

/// Decompresses one block at a time; keeps its contexts.
#[derive(Default)]
pub struct Decompressor {
    zstd: Option<zstd::bulk::Decompressor<'static>>,
}

impl Decompressor {
    /// A decompressor; its context is made when first needed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decompresses `compressed` to exactly fill `out`.
    pub(crate) fn fill(
        &mut self,
        algorithm: u8,
        compressed: &[u8],
        out: &mut [u8],
        what: &'static str,
    ) -> Result<(), FormatError> {
        let written = match algorithm {
            ZSTD => {
                if self.zstd.is_none() {
                    self.zstd = zstd::bulk::Decompressor::new().ok();
                }
                let context = self.zstd.as_mut().ok_or(FormatError::BadCompression { what })?;
                context.decompress_to_buffer(compressed, out).ok()
            }
            LZ4 => lz4_flex::block::decompress_into(compressed, out).ok(),
            found => return Err(FormatError::BadTag { what, found: u64::from(found) }),
        };
        if written == Some(out.len()) { Ok(()) } else { Err(FormatError::BadCompression { what }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(len: usize) -> Vec<u8> {
        (0..).flat_map(|n: u32| format!("line {n} of the text\n").into_bytes()).take(len).collect()
    }

    #[test]
    fn what_was_compressed_comes_back() {
        for compression in [Compression::Zstd(1), Compression::Zstd(3), Compression::Lz4] {
            let mut compressor = Compressor::new(compression);
            let mut decompressor = Decompressor::new();
            for len in [64, 100, 4096, 65_536] {
                let plain = text(len);
                let mut out = vec![9];
                let algorithm = compressor.append(&plain, &mut out);
                if algorithm == STORED {
                    assert_eq!(out, [9]);
                    continue;
                }
                let mut back = vec![0; len];
                decompressor.fill(algorithm, &out[1..], &mut back, "test").unwrap();
                assert_eq!(back, plain);
            }
        }
    }

    #[test]
    fn a_stated_length_that_is_wrong_is_refused() {
        for compression in [Compression::Zstd(1), Compression::Lz4] {
            let mut out = Vec::new();
            let algorithm = Compressor::new(compression).append(&text(5000), &mut out);
            assert_ne!(algorithm, STORED);
            for len in [0, 1, 4999, 5001, 60_000] {
                let mut back = vec![0; len];
                let error = Decompressor::new().fill(algorithm, &out, &mut back, "test").unwrap_err();
                assert_eq!(error, FormatError::BadCompression { what: "test" });
            }
        }
        assert_eq!(
            Decompressor::new().fill(9, &[], &mut [], "test").unwrap_err(),
            FormatError::BadTag { what: "test", found: 9 }
        );
    }

    #[test]
    fn random_bytes_look_random_and_others_do_not() {
        for seed in 0..200 {
            let random = crate::testing::random_bytes(seed, 65_536);
            assert!(looks_random(&random));
            let letters: Vec<u8> = random.iter().map(|byte| byte & 0x7f).collect();
            assert!(!looks_random(&letters));
        }
        assert!(!looks_random(&text(65_536)));
        assert!(!looks_random(&[]));
        looks_random(&text(PROBE_LEN));
    }

    #[test]
    fn random_bytes_are_stored() {
        let mut random = vec![0; 65_536];
        blake3::Hasher::new().finalize_xof().fill(&mut random);
        for compression in [Compression::None, Compression::Zstd(1), Compression::Lz4] {
            let mut out = Vec::new();
            assert_eq!(Compressor::new(compression).append(&random, &mut out), STORED);
            assert!(out.is_empty());
        }
    }
}
