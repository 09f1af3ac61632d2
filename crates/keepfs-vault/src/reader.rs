//! Reads plaintext out of sealed chunks: only the blocks that are wanted, each opened straight into the
//! reader's buffer where all of it is wanted.
//!
//! It owns the memory caches of blocks and layouts. Every byte it gives out was authenticated; what does not
//! authenticate is fetched once more past the caches and is then an error, never zeros.

use std::ops::Range;
use std::sync::Arc;

use keepfs_format::FormatError;
use keepfs_format::chunk::{BLOCK_LEN, ChunkLayout, ChunkOpener, check_lengths, prefix_len};
use keepfs_format::ids::{ChunkId, Locator};
use keepfs_store::BlobCache;

use crate::block_cache::{BlockCache, BlockKey};
use crate::error::{Result, VaultError};
use crate::fetch::Fetcher;
use crate::layouts::Layouts;
use crate::limits::READ_BUFFERS_MAX;
use crate::packs::Packs;
use crate::pool::{Pool, PoolLimits};

/// A chunk whose layout is not known is read whole if it is at most this long, in bytes: one read of a
/// little more costs less than two.
const WHOLE_READ_LEN_MAX: u32 = 80 * 1024;

/// What one reader needs at a time.
#[derive(Default)]
struct Scratch {
    sealed: Vec<u8>,
    opener: ChunkOpener,
}

impl Scratch {
    /// A buffer of that length; what it holds is unspecified.
    fn buffer(&mut self, len: usize) -> &mut [u8] {
        if self.sealed.len() < len {
            self.sealed.resize(len, 0);
        }
        &mut self.sealed[..len]
    }
}

/// One read of one chunk.
#[derive(Clone, Copy)]
struct Request<'a> {
    id: &'a ChunkId,
    at: &'a Locator,
    /// First byte of the plaintext that is wanted.
    skip: usize,
}

impl Request<'_> {
    fn key(&self, block: usize) -> BlockKey {
        BlockKey { pack: self.at.pack, chunk: self.at.index, block: u32::try_from(block).unwrap_or(u32::MAX) }
    }
}

/// Why a read did not succeed.
enum Failure {
    /// The bytes are wrong: worth fetching again.
    Wrong(String),
    /// Anything else.
    Other(VaultError),
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Damaged { what, .. } => Failure::Wrong(what),
            other => Failure::Other(other),
        }
    }
}

/// The reader.
pub(crate) struct Reader {
    packs: Arc<Packs>,
    fetcher: Fetcher,
    blocks: BlockCache,
    layouts: Layouts,
    scratches: Pool<Scratch>,
}

impl Reader {
    pub(crate) fn new(packs: Arc<Packs>, cache: Arc<dyn BlobCache>, block_cache_len_max: usize) -> Self {
        let limits = PoolLimits { made_max: READ_BUFFERS_MAX, kept_max: 4 };
        Self {
            fetcher: Fetcher::new(packs.clone(), cache),
            packs,
            blocks: BlockCache::new(block_cache_len_max),
            layouts: Layouts::default(),
            scratches: Pool::new(limits, Scratch::default),
        }
    }

    /// Fills `out` with the chunk's plaintext from `skip` on.
    pub(crate) fn read(&self, id: &ChunkId, at: &Locator, skip: u32, out: &mut [u8]) -> Result<()> {
        let request = Request { id, at, skip: skip as usize };
        let end = request.skip + out.len();
        if end > at.plain_len as usize {
            let (start, end, len) = (u64::from(skip), end as u64, u64::from(at.plain_len));
            return Err(VaultError::Range { start, end, len });
        }
        if out.is_empty() {
            return Ok(());
        }
        let first = match self.try_read(request, out) {
            Ok(()) => return Ok(()),
            Err(Failure::Other(error)) => return Err(error),
            Err(Failure::Wrong(what)) => what,
        };
        // A bad download or a bad sector of the cache looks like damage. What the store itself says decides.
        let start = u64::from(at.offset);
        self.fetcher.forget(at.pack, start..start + u64::from(at.sealed_len))?;
        self.layouts.forget(at);
        match self.try_read(request, out) {
            Ok(()) => Ok(()),
            Err(Failure::Other(error)) => Err(error),
            Err(Failure::Wrong(_)) => Err(self.damaged(at, &first)),
        }
    }

    /// Opens all blocks of a chunk into the memory cache, as far as they are not there. An error is the same
    /// that a read would meet, but it is not tried again.
    pub(crate) fn warm(&self, id: &ChunkId, at: &Locator) -> Result<()> {
        let request = Request { id, at, skip: 0 };
        let count = (at.plain_len as usize).div_ceil(BLOCK_LEN);
        if (0..count).all(|block| self.blocks.contains(&request.key(block))) {
            return Ok(());
        }
        let mut lease = self.scratches.take();
        let scratch = &mut *lease;
        self.warm_with(&request, count, scratch).map_err(|failure| match failure {
            Failure::Wrong(what) => self.damaged(at, &what),
            Failure::Other(error) => error,
        })
    }

    fn warm_with(&self, request: &Request<'_>, count: usize, scratch: &mut Scratch) -> Result<(), Failure> {
        let (layout, start) = self.sealed_blocks(request, 0..count, scratch)?;
        for block in 0..count {
            let key = request.key(block);
            if self.blocks.contains(&key) {
                continue;
            }
            let mut opened = self.blocks.buffer(&key, layout.block_plain_len(block));
            let sealed = sealed_block(scratch.sealed.as_slice(), &layout, block, start);
            scratch
                .opener
                .open_block(&layout, block, sealed, &mut opened)
                .map_err(|error| Failure::Wrong(format!("block {block}: {error}")))?;
            self.blocks.insert(key, opened);
        }
        Ok(())
    }

    fn damaged(&self, at: &Locator, what: &str) -> VaultError {
        let object = self.packs.name(at.pack).map(|name| name.to_string()).unwrap_or_default();
        VaultError::Damaged { pack: at.pack, object, what: format!("chunk {}, {what}", at.index) }
    }

    fn try_read(&self, request: Request<'_>, out: &mut [u8]) -> Result<(), Failure> {
        let missing = self.copy_cached(&request, out);
        if missing.is_empty() {
            return Ok(());
        }
        let mut lease = self.scratches.take();
        let scratch = &mut *lease;
        let (layout, start) = self.sealed_blocks(&request, missing.clone(), scratch)?;
        for block in missing {
            let sealed = sealed_block(&scratch.sealed, &layout, block, start);
            let opener = &mut scratch.opener;
            self.open_block(&request, &layout, (block, sealed), opener, out)
                .map_err(|error| Failure::Wrong(format!("block {block}: {error}")))?;
        }
        Ok(())
    }

    /// Copies what the memory cache has at both ends of the wanted range, and gives the blocks between.
    fn copy_cached(&self, request: &Request<'_>, out: &mut [u8]) -> Range<usize> {
        let mut blocks = request.skip / BLOCK_LEN..(request.skip + out.len() - 1) / BLOCK_LEN + 1;
        let copy = |block: usize, out: &mut [u8]| {
            let (skip, range) = part_of(request.skip, out.len(), block);
            self.blocks.copy(&request.key(block), skip, &mut out[range])
        };
        while !blocks.is_empty() && copy(blocks.start, out) {
            blocks.start += 1;
        }
        // If one is left, it is the one that was just missed.
        while blocks.len() > 1 && copy(blocks.end - 1, out) {
            blocks.end -= 1;
        }
        blocks
    }

    fn open_block(
        &self,
        request: &Request<'_>,
        layout: &ChunkLayout,
        (block, sealed): (usize, &[u8]),
        opener: &mut ChunkOpener,
        out: &mut [u8],
    ) -> Result<(), FormatError> {
        let plain_len = layout.block_plain_len(block);
        let (skip, range) = part_of(request.skip, out.len(), block);
        let wanted = &mut out[range];
        if wanted.len() == plain_len {
            return opener.open_block(layout, block, sealed, wanted);
        }
        let key = request.key(block);
        let mut opened = self.blocks.buffer(&key, plain_len);
        opener.open_block(layout, block, sealed, &mut opened)?;
        wanted.copy_from_slice(&opened[skip..skip + wanted.len()]);
        self.blocks.insert(key, opened);
        Ok(())
    }

    /// Brings the sealed bytes of the wanted blocks into the scratch buffer. Gives the layout, and the place
    /// in the sealed chunk where the buffer begins.
    fn sealed_blocks(
        &self,
        request: &Request<'_>,
        blocks: Range<usize>,
        scratch: &mut Scratch,
    ) -> Result<(Arc<ChunkLayout>, u32), Failure> {
        let at = request.at;
        let wrong = |error: FormatError| Failure::Wrong(error.to_string());
        check_lengths(at.plain_len, at.sealed_len).map_err(wrong)?;
        let prefix_len = prefix_len(at.plain_len, at.sealed_len).map_err(wrong)?;
        let known = self.layouts.get(at);
        let count = (at.plain_len as usize).div_ceil(BLOCK_LEN);
        let whole = 2 * blocks.len() > count || (known.is_none() && at.sealed_len <= WHOLE_READ_LEN_MAX);
        if whole {
            let buffer = scratch.buffer(at.sealed_len as usize);
            self.fetcher.read(at.pack, u64::from(at.offset), buffer)?;
            let layout = match known {
                Some(layout) => layout,
                None => self.read_layout(request, buffer)?,
            };
            return Ok((layout, 0));
        }
        let layout = match known {
            Some(layout) => layout,
            None => {
                let buffer = scratch.buffer(prefix_len);
                self.fetcher.read(at.pack, u64::from(at.offset), buffer)?;
                self.read_layout(request, buffer)?
            }
        };
        let start = layout.block_range(blocks.start).start;
        let end = layout.block_range(blocks.end - 1).end;
        let buffer = scratch.buffer((end - start) as usize);
        self.fetcher.read(at.pack, u64::from(at.offset) + u64::from(start), buffer)?;
        Ok((layout, start))
    }

    fn read_layout(&self, request: &Request<'_>, prefix: &[u8]) -> Result<Arc<ChunkLayout>, Failure> {
        let at = request.at;
        let layout = ChunkLayout::read(&self.packs.keys, request.id, at.plain_len, at.sealed_len, prefix)
            .map_err(|error| Failure::Wrong(error.to_string()))?;
        let layout = Arc::new(layout);
        if layout.block_count() > 1 {
            self.layouts.keep(at, layout.clone());
        }
        Ok(layout)
    }

    /// Bytes of plaintext in memory.
    pub(crate) fn block_cache_len(&self) -> usize {
        self.blocks.len_total()
    }

    /// Readers at work.
    pub(crate) fn buffers_in_use(&self) -> usize {
        self.scratches.in_use()
    }

    /// Forgets all plaintext and gives back what nobody uses.
    pub(crate) fn trim(&self) {
        self.blocks.clear();
        self.layouts.clear();
        self.scratches.trim();
    }
}

/// The bytes of a block in a buffer that begins at `start` of the sealed chunk.
fn sealed_block<'a>(buffer: &'a [u8], layout: &ChunkLayout, block: usize, start: u32) -> &'a [u8] {
    let range = layout.block_range(block);
    &buffer[(range.start - start) as usize..(range.end - start) as usize]
}

/// The part of a read of `len` bytes from `skip` on that lies in a block: where in the block it begins, and
/// which part of the buffer it is.
fn part_of(skip: usize, len: usize, block: usize) -> (usize, Range<usize>) {
    let start = block * BLOCK_LEN;
    let from = skip.max(start);
    let to = (skip + len).min(start + BLOCK_LEN);
    (from - start, from - skip..to - skip)
}
