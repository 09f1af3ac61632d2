//! Sealed chunks: a run of blocks of 64 KiB, each compressed and sealed on its own.
//!
//! It owns the layout `salt 16 ‖ [sealed table of block lengths] ‖ blocks`. The table is there only when a
//! block is compressed; otherwise every block's place follows from the lengths. It never decides what a
//! chunk is (the vault cuts), and opening a block never needs another one.

use std::ops::Range;

use aws_lc_rs::aead::LessSafeKey;

use crate::compress::{Compression, Compressor, Decompressor, STORED, looks_random};
use crate::error::FormatError;
use crate::ids::ChunkId;
use crate::keys::NamespaceKeys;
pub use crate::sealed::BLOCK_LEN;
use crate::sealed::{BlockNonce, TAG_LEN, gcm_key, open_block, seal_block};

/// Longest plaintext of a chunk, in bytes.
pub const CHUNK_LEN_MAX: usize = 4 << 20;
/// Bytes of the salt at a chunk's start.
pub const CHUNK_SALT_LEN: usize = 16;
/// Most blocks a chunk has.
pub const CHUNK_BLOCKS_MAX: usize = CHUNK_LEN_MAX / BLOCK_LEN;
/// Shortest sealed chunk: one byte.
pub const SEALED_LEN_MIN: u32 = (CHUNK_SALT_LEN + 1 + TAG_LEN) as u32;
/// Longest sealed chunk.
pub const SEALED_LEN_MAX: u32 = sealed_len_max(CHUNK_LEN_MAX as u32);

const WHAT: &str = "chunk";

/// Number of blocks of a chunk with this plaintext length.
const fn block_count(plain_len: u32) -> usize {
    (plain_len as usize).div_ceil(BLOCK_LEN)
}

/// Longest that a chunk of this plaintext length can become: all of its blocks stored as they are.
pub const fn sealed_len_max(plain_len: u32) -> u32 {
    (CHUNK_SALT_LEN + TAG_LEN * block_count(plain_len)) as u32 + plain_len
}

/// Sealed bytes of the table of `count` block lengths.
const fn table_len(count: usize) -> usize {
    2 * count + TAG_LEN
}

/// Whether lengths that came from outside can be those of a chunk.
///
/// # Errors
/// [`FormatError::Invalid`] when they cannot.
pub fn check_lengths(plain_len: u32, sealed_len: u32) -> Result<(), FormatError> {
    if plain_len == 0 || plain_len as usize > CHUNK_LEN_MAX {
        return Err(FormatError::Invalid { what: "plain length of a chunk" });
    }
    if sealed_len < SEALED_LEN_MIN || sealed_len > sealed_len_max(plain_len) {
        return Err(FormatError::Invalid { what: "sealed length of a chunk" });
    }
    Ok(())
}

/// How many bytes from a sealed chunk's start are needed to know where its blocks lie.
///
/// # Errors
/// [`FormatError::Invalid`] when the lengths cannot be those of a chunk.
pub fn prefix_len(plain_len: u32, sealed_len: u32) -> Result<usize, FormatError> {
    check_lengths(plain_len, sealed_len)?;
    let count = block_count(plain_len);
    if count == 1 || sealed_len == sealed_len_max(plain_len) {
        return Ok(CHUNK_SALT_LEN);
    }
    let len = CHUNK_SALT_LEN + table_len(count);
    if len + count * (1 + TAG_LEN) > sealed_len as usize {
        return Err(FormatError::Invalid { what: "sealed length of a chunk" });
    }
    Ok(len)
}

/// Seals chunks; keeps its compressor and scratch space.
pub struct ChunkSealer {
    compressor: Compressor,
    scratch: Vec<u8>,
    blocks: Vec<Payload>,
    /// Whether the last block that was tried did not shrink: its successors most likely do not either.
    last_was_stored: bool,
}

/// Where the bytes of a block come from that are to be sealed.
enum Payload {
    Stored(Range<usize>),
    Compressed(Range<usize>),
}

impl Payload {
    fn len(&self) -> usize {
        let (Self::Stored(range) | Self::Compressed(range)) = self;
        range.len()
    }
}

impl ChunkSealer {
    /// A sealer that compresses so.
    pub fn new(compression: Compression) -> Self {
        Self {
            compressor: Compressor::new(compression),
            scratch: Vec::new(),
            blocks: Vec::new(),
            last_was_stored: false,
        }
    }

    /// Makes `out` what `plain` is sealed as, and returns the sealed length. What `out` held before is written
    /// over, not cleared first: a buffer that is used again costs nothing. `salt` is fresh randomness: a salt
    /// that meets the same id twice gives away which blocks are equal.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] when `plain` is empty or over [`CHUNK_LEN_MAX`].
    pub fn seal(
        &mut self,
        keys: &NamespaceKeys,
        id: &ChunkId,
        salt: [u8; CHUNK_SALT_LEN],
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<u32, FormatError> {
        if plain.is_empty() || plain.len() > CHUNK_LEN_MAX {
            return Err(FormatError::Invalid { what: "plain length of a chunk" });
        }
        self.compress(plain);
        let count = self.blocks.len();
        let stored_len = sealed_len_max(plain.len() as u32) as usize;
        let blocks_len = self.blocks.iter().map(|block| block.len() + TAG_LEN).sum::<usize>();
        let table = if count > 1 { table_len(count) } else { 0 };
        let mut sealed_len = CHUNK_SALT_LEN + table + blocks_len;
        let has_table = count > 1 && sealed_len < stored_len;
        if count > 1 && !has_table {
            // The table would cost what compression saved: the computable layout it is.
            self.store_all(plain.len());
            sealed_len = stored_len;
        }

        let key = gcm_key(keys.epochs()[0].chunk(id, &salt).expose());
        out.resize(sealed_len, 0);
        let (salt_out, mut rest) = out.split_at_mut(CHUNK_SALT_LEN);
        salt_out.copy_from_slice(&salt);
        if has_table {
            let lengths: Vec<u8> =
                self.blocks.iter().flat_map(|block| ((block.len() - 1) as u16).to_le_bytes()).collect();
            let (table_out, blocks_out) = rest.split_at_mut(table_len(count));
            seal_block(&key, BlockNonce::table(), &lengths, table_out);
            rest = blocks_out;
        }
        for (index, block) in self.blocks.iter().enumerate() {
            let (block_out, others) = rest.split_at_mut(block.len() + TAG_LEN);
            let payload = match block {
                Payload::Stored(range) => &plain[range.clone()],
                Payload::Compressed(range) => &self.scratch[range.clone()],
            };
            seal_block(&key, BlockNonce::block(index, count), payload, block_out);
            rest = others;
        }
        Ok(sealed_len as u32)
    }

    /// Fills `blocks` with what each block of `plain` is sealed as.
    fn compress(&mut self, plain: &[u8]) {
        self.scratch.clear();
        self.blocks.clear();
        for (index, block) in plain.chunks(BLOCK_LEN).enumerate() {
            // The first of several blocks is always tried, so that one look does not decide for megabytes.
            let may_skip = self.last_was_stored && (index > 0 || plain.len() <= BLOCK_LEN);
            let payload = if may_skip && looks_random(block) { None } else { self.compress_block(block) };
            let start = index * BLOCK_LEN;
            self.blocks.push(payload.unwrap_or(Payload::Stored(start..start + block.len())));
        }
    }

    /// Tries one block.
    fn compress_block(&mut self, block: &[u8]) -> Option<Payload> {
        let start = self.scratch.len();
        self.scratch.push(STORED);
        let algorithm = self.compressor.append(block, &mut self.scratch);
        self.last_was_stored = algorithm == STORED;
        if self.last_was_stored {
            self.scratch.truncate(start);
            return None;
        }
        self.scratch[start] = algorithm;
        Some(Payload::Compressed(start..self.scratch.len()))
    }

    fn store_all(&mut self, plain_len: usize) {
        for (index, block) in self.blocks.iter_mut().enumerate() {
            let start = index * BLOCK_LEN;
            *block = Payload::Stored(start..plain_len.min(start + BLOCK_LEN));
        }
    }
}

/// Where the blocks of one sealed chunk lie, and the key that opens them.
pub struct ChunkLayout {
    plain_len: u32,
    /// End of each block, relative to the chunk's start; `None` when all blocks are stored as they are.
    ends: Option<Vec<u32>>,
    blocks_start: u32,
    sealed_len: u32,
    /// The keys the chunk may be sealed under, the likeliest first: one for each epoch that is known,
    /// or the single one that opened the table.
    candidates: Vec<LessSafeKey>,
}

impl ChunkLayout {
    /// Reads the layout from the first [`prefix_len`] bytes of a sealed chunk.
    ///
    /// # Errors
    /// [`FormatError::NotAuthentic`] when the table of lengths does not open; [`FormatError::Invalid`] when
    /// lengths do not add up; [`FormatError::Truncated`] when `prefix` is too short.
    pub fn read(
        keys: &NamespaceKeys,
        id: &ChunkId,
        plain_len: u32,
        sealed_len: u32,
        prefix: &[u8],
    ) -> Result<Self, FormatError> {
        let prefix_len = prefix_len(plain_len, sealed_len)?;
        let truncated = FormatError::Truncated { what: WHAT };
        let prefix = prefix.get(..prefix_len).ok_or(truncated.clone())?;
        let (salt, table) = prefix.split_first_chunk::<CHUNK_SALT_LEN>().ok_or(truncated)?;
        let mut candidates: Vec<LessSafeKey> =
            keys.epochs().iter().map(|epoch| gcm_key(epoch.chunk(id, salt).expose())).collect();
        let count = block_count(plain_len);
        let ends = if count == 1 {
            Some(vec![sealed_len])
        } else if table.is_empty() {
            None
        } else {
            let (at, lengths) = open_table(&candidates, count, table)?;
            candidates.swap(0, at);
            candidates.truncate(1);
            Some(block_ends(&lengths, prefix_len as u32, plain_len, sealed_len)?)
        };
        Ok(Self { plain_len, ends, blocks_start: prefix_len as u32, sealed_len, candidates })
    }

    /// Number of blocks.
    pub fn block_count(&self) -> usize {
        block_count(self.plain_len)
    }

    /// Plaintext length of block `index`, in bytes; 0 when there is no such block.
    pub fn block_plain_len(&self, index: usize) -> usize {
        (self.plain_len as usize).saturating_sub(index * BLOCK_LEN).min(BLOCK_LEN)
    }

    /// Bytes of block `index`, relative to the start of the sealed chunk; empty when there is no such block.
    pub fn block_range(&self, index: usize) -> Range<u32> {
        if index >= self.block_count() {
            return self.sealed_len..self.sealed_len;
        }
        match &self.ends {
            Some(ends) => {
                let start = if index == 0 { self.blocks_start } else { ends[index - 1] };
                start..ends[index]
            }
            None => {
                let start = self.blocks_start + (index * (BLOCK_LEN + TAG_LEN)) as u32;
                start..start + (self.block_plain_len(index) + TAG_LEN) as u32
            }
        }
    }
}

fn open_table(
    candidates: &[LessSafeKey],
    count: usize,
    sealed: &[u8],
) -> Result<(usize, Vec<u8>), FormatError> {
    let mut lengths = vec![0; 2 * count];
    let opened =
        candidates.iter().position(|key| open_block(key, BlockNonce::table(), sealed, &mut lengths).is_ok());
    opened.map(|at| (at, lengths)).ok_or(FormatError::NotAuthentic { what: WHAT })
}

fn block_ends(lengths: &[u8], start: u32, plain_len: u32, sealed_len: u32) -> Result<Vec<u32>, FormatError> {
    let mut ends = Vec::with_capacity(lengths.len() / 2);
    let mut end = start;
    for (index, pair) in lengths.chunks_exact(2).enumerate() {
        let payload_len = u32::from(u16::from_le_bytes([pair[0], pair[1]])) + 1;
        if payload_len as usize > (plain_len as usize - index * BLOCK_LEN).min(BLOCK_LEN) {
            return Err(FormatError::Invalid { what: "length of a block" });
        }
        end += payload_len + TAG_LEN as u32;
        ends.push(end);
    }
    if end == sealed_len { Ok(ends) } else { Err(FormatError::Invalid { what: "sum of the block lengths" }) }
}

/// Opens blocks and chunks; keeps its decompressor and scratch space.
#[derive(Default)]
pub struct ChunkOpener {
    decompressor: Decompressor,
    scratch: Vec<u8>,
}

impl ChunkOpener {
    /// An opener.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens block `index` from its sealed bytes into `out`, which has its plaintext length.
    ///
    /// # Errors
    /// [`FormatError::NotAuthentic`] when any bit differs, or the block is another one.
    /// [`FormatError::BadCompression`] and [`FormatError::BadTag`] when the writer was faulty.
    pub fn open_block(
        &mut self,
        layout: &ChunkLayout,
        index: usize,
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<(), FormatError> {
        if index >= layout.block_count()
            || sealed.len() != layout.block_range(index).len()
            || out.len() != layout.block_plain_len(index)
        {
            return Err(FormatError::Invalid { what: "length of a block" });
        }
        let nonce = BlockNonce::block(index, layout.block_count());
        let payload_len = sealed.len() - TAG_LEN;
        if payload_len == out.len() {
            return open_with_any(&layout.candidates, nonce, sealed, out);
        }
        self.scratch.resize(payload_len, 0);
        open_with_any(&layout.candidates, nonce, sealed, &mut self.scratch)?;
        match self.scratch.split_first() {
            Some((algorithm, compressed)) => self.decompressor.fill(*algorithm, compressed, out, WHAT),
            None => Err(FormatError::Truncated { what: WHAT }),
        }
    }

    /// Opens a whole sealed chunk into `out`, which has its plaintext length.
    ///
    /// It does not recompute the id: [`NamespaceKeys::check_chunk`] does, where a whole chunk is wanted.
    ///
    /// # Errors
    /// As [`open_block`](Self::open_block) and [`ChunkLayout::read`].
    pub fn open_chunk(
        &mut self,
        keys: &NamespaceKeys,
        id: &ChunkId,
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<(), FormatError> {
        let plain_len =
            u32::try_from(out.len()).map_err(|_| FormatError::Invalid { what: "chunk length" })?;
        let sealed_len =
            u32::try_from(sealed.len()).map_err(|_| FormatError::Invalid { what: "chunk length" })?;
        let layout = ChunkLayout::read(keys, id, plain_len, sealed_len, sealed)?;
        for (index, out) in out.chunks_mut(BLOCK_LEN).enumerate() {
            let range = layout.block_range(index);
            self.open_block(&layout, index, &sealed[range.start as usize..range.end as usize], out)?;
        }
        Ok(())
    }
}

fn open_with_any(
    candidates: &[LessSafeKey],
    nonce: BlockNonce,
    sealed: &[u8],
    out: &mut [u8],
) -> Result<(), FormatError> {
    if candidates.iter().any(|key| open_block(key, nonce, sealed, out).is_ok()) {
        Ok(())
    } else {
        Err(FormatError::NotAuthentic { what: WHAT })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{keys, other_epoch_keys, random_bytes};

    const SALT: [u8; 16] = [3; 16];

    fn text(len: usize) -> Vec<u8> {
        (0..).flat_map(|n: u32| format!("line {n} of the text\n").into_bytes()).take(len).collect()
    }

    fn seal(compression: Compression, plain: &[u8]) -> (ChunkId, Vec<u8>) {
        let keys = keys();
        let id = keys.chunk_id(plain);
        let mut out = Vec::new();
        let len = ChunkSealer::new(compression).seal(&keys, &id, SALT, plain, &mut out).unwrap();
        assert_eq!(len as usize, out.len());
        (id, out)
    }

    fn samples() -> Vec<Vec<u8>> {
        let mut mixed = text(BLOCK_LEN);
        mixed.extend(random_bytes(1, BLOCK_LEN));
        mixed.extend(text(1000));
        let mut barely = random_bytes(1, 3 * BLOCK_LEN);
        barely.extend(vec![0; 100]);
        vec![
            vec![7],
            text(63),
            text(64),
            text(BLOCK_LEN),
            text(BLOCK_LEN + 1),
            text(700_000),
            random_bytes(2, 100),
            random_bytes(3, BLOCK_LEN),
            random_bytes(4, BLOCK_LEN + 1),
            random_bytes(5, CHUNK_LEN_MAX),
            vec![0; CHUNK_LEN_MAX],
            mixed,
            barely,
        ]
    }

    #[test]
    fn chunks_come_back_whole_and_block_by_block() {
        let keys = keys();
        let mut opener = ChunkOpener::new();
        for compression in [Compression::None, Compression::Zstd(1), Compression::Lz4] {
            for plain in samples() {
                let (id, sealed) = seal(compression, &plain);
                let mut out = vec![0; plain.len()];
                opener.open_chunk(&keys, &id, &sealed, &mut out).unwrap();
                assert!(out == plain);
                keys.check_chunk(&id, &out).unwrap();

                let (plain_len, sealed_len) = (plain.len() as u32, sealed.len() as u32);
                check_lengths(plain_len, sealed_len).unwrap();
                let prefix = &sealed[..prefix_len(plain_len, sealed_len).unwrap()];
                let layout = ChunkLayout::read(&keys, &id, plain_len, sealed_len, prefix).unwrap();
                assert_eq!(layout.block_range(layout.block_count() - 1).end, sealed_len);
                for (index, block) in plain.chunks(BLOCK_LEN).enumerate() {
                    let range = layout.block_range(index);
                    let mut out = vec![0; layout.block_plain_len(index)];
                    let bytes = &sealed[range.start as usize..range.end as usize];
                    opener.open_block(&layout, index, bytes, &mut out).unwrap();
                    assert!(out == block);
                }
            }
        }
    }

    #[test]
    fn incompressible_and_small_chunks_cost_what_is_promised() {
        assert_eq!(seal(Compression::Zstd(1), &[1]).1.len(), 33);
        assert_eq!(seal(Compression::Zstd(1), &random_bytes(1, BLOCK_LEN)).1.len(), BLOCK_LEN + 32);
        let (plain_len, sealed) = (1 << 20, seal(Compression::Zstd(1), &random_bytes(1, 1 << 20)).1);
        assert_eq!(sealed.len(), plain_len + 16 + 16 * 16);
        assert_eq!(prefix_len(plain_len as u32, sealed.len() as u32).unwrap(), CHUNK_SALT_LEN);
        assert!(seal(Compression::Zstd(1), &vec![0; 1 << 20]).1.len() < 1200);
    }

    #[test]
    fn every_flipped_byte_and_every_other_length_is_refused() {
        let keys = keys();
        let mut opener = ChunkOpener::new();
        for plain in [text(200), random_bytes(1, 200), text(BLOCK_LEN + 200)] {
            let (id, sealed) = seal(Compression::Zstd(1), &plain);
            let mut out = vec![0; plain.len()];
            for at in 0..sealed.len() {
                let mut bad = sealed.clone();
                bad[at] ^= 0x80;
                assert!(opener.open_chunk(&keys, &id, &bad, &mut out).is_err());
                assert!(opener.open_chunk(&keys, &id, &sealed[..at], &mut out).is_err());
            }
            let mut longer = sealed.clone();
            longer.push(0);
            assert!(opener.open_chunk(&keys, &id, &longer, &mut out).is_err());
            let mut wrong_id = id;
            wrong_id.0[0] ^= 1;
            assert!(opener.open_chunk(&keys, &wrong_id, &sealed, &mut out).is_err());
            for wrong_len in [plain.len() - 1, plain.len() + 1] {
                let mut out = vec![0; wrong_len];
                assert!(opener.open_chunk(&keys, &id, &sealed, &mut out).is_err());
            }
        }
    }

    #[test]
    fn exchanged_and_dropped_blocks_are_refused() {
        let keys = keys();
        let plain = random_bytes(1, 3 * BLOCK_LEN);
        let (id, sealed) = seal(Compression::None, &plain);
        let step = BLOCK_LEN + TAG_LEN;
        let mut swapped = sealed[..16].to_vec();
        for block in [1, 0, 2] {
            swapped.extend_from_slice(&sealed[16 + block * step..16 + (block + 1) * step]);
        }
        let mut opener = ChunkOpener::new();
        assert!(opener.open_chunk(&keys, &id, &swapped, &mut vec![0; plain.len()]).is_err());
        let shorter = &sealed[..16 + 2 * step];
        assert!(opener.open_chunk(&keys, &id, shorter, &mut vec![0; 2 * BLOCK_LEN]).is_err());
    }

    #[test]
    fn chunks_of_past_epochs_open() {
        let mut newer = other_epoch_keys();
        for plain in [text(100_000), random_bytes(1, 100_000), text(10)] {
            let (id, sealed) = seal(Compression::Zstd(1), &plain);
            let mut out = vec![0; plain.len()];
            assert!(ChunkOpener::new().open_chunk(&newer, &id, &sealed, &mut out).is_err());
            newer.add_past_epoch(1, &crate::secret::Secret::new([1; 32]));
            ChunkOpener::new().open_chunk(&newer, &id, &sealed, &mut out).unwrap();
            assert!(out == plain);
            newer = other_epoch_keys();
        }
    }

    #[test]
    fn a_buffer_that_held_another_chunk_makes_no_difference() {
        let keys = keys();
        let mut sealer = ChunkSealer::new(Compression::Zstd(1));
        let mut used = Vec::new();
        for len in [200_000, 7, 90_000, 300_000] {
            let plain: Vec<u8> = (0..len).map(|at| (at / 900) as u8).collect();
            let id = keys.chunk_id(&plain);
            let mut fresh = Vec::new();
            assert_eq!(
                sealer.seal(&keys, &id, SALT, &plain, &mut used).unwrap(),
                sealer.seal(&keys, &id, SALT, &plain, &mut fresh).unwrap()
            );
            assert_eq!(used, fresh);
        }
    }

    #[test]
    fn empty_and_oversized_chunks_are_refused() {
        let keys = keys();
        let id = keys.chunk_id(b"");
        let mut sealer = ChunkSealer::new(Compression::None);
        for plain in [&[][..], &vec![0; CHUNK_LEN_MAX + 1]] {
            let mut out = Vec::new();
            assert!(sealer.seal(&keys, &id, SALT, plain, &mut out).is_err());
            assert!(out.is_empty());
        }
        assert!(check_lengths(0, 33).is_err());
        assert!(check_lengths(1, 32).is_err());
        assert!(check_lengths(1, 34).is_err());
        assert!(check_lengths(CHUNK_LEN_MAX as u32 + 1, 1000).is_err());
        assert!(prefix_len(4 << 20, 200).is_err());
    }
}
