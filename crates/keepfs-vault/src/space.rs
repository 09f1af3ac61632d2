//! The chunk space of one open namespace: chunks go in by content and come out by locator.
//!
//! It ties the parts together and owns none of their work: cutting, sealing, packing, publishing and reading
//! each have a module. What is put is readable at once, durable after [`ChunkSpace::sync`], and on the store
//! once the publisher says so. The space keeps no state of its own on disk: what it added is told by
//! [`ChunkSpace::take_added`], and the caller's journal and index remember it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keepfs_format::Env;
use keepfs_format::chunk::CHUNK_LEN_MAX;
use keepfs_format::compress::Compression;
use keepfs_format::ids::{ChunkId, Locator, MachineTag, PackId};
use keepfs_format::keys::NamespaceKeys;
use keepfs_format::op::{Op, PackedChunk};
use keepfs_format::pack::PackTable;
use keepfs_store::{BlobCache, MemoryCache, Store};

use crate::chunker::{Chunker, Cutting};
use crate::error::{Result, VaultError};
use crate::limits::{
    BLOCK_CACHE_LEN_DEFAULT, CUT_LEN_MIN, PIECES_IN_MEMORY_LEN_MAX, PREFETCH_THREADS_MAX, SEALERS_MAX,
};
use crate::overlay::{Claim, Overlay};
use crate::packer::{Packer, Spread};
use crate::packs::{Packs, StagingPlace};
use crate::pool::{Pool, PoolLimits};
use crate::prefetch::Prefetcher;
use crate::publisher::Publisher;
use crate::reader::Reader;
use crate::recovery::{self, Recovered};
use crate::salts::Salts;
use crate::seal::Sealer;

/// The caller's index of all chunks that are settled.
pub trait ChunkIndex: Send + Sync {
    /// A copy of the chunk that may be used, if there is one.
    ///
    /// # Errors
    /// Usually [`VaultError::Index`]; it goes to the caller of [`ChunkSpace::put`].
    fn lookup(&self, id: &ChunkId) -> Result<Option<Locator>, VaultError>;
}

/// What a chunk space is opened with.
pub struct SpaceOptions {
    /// Where packs end up.
    pub store: Arc<dyn Store>,
    /// Where packs grow.
    pub staging: StagingPlace,
    /// Keeps sealed bytes of a remote store on the local disk; without, a little is kept in memory.
    pub cache: Option<Arc<dyn BlobCache>>,
    /// Keys of the namespace.
    pub keys: Arc<NamespaceKeys>,
    /// Time and randomness.
    pub env: Arc<dyn Env>,
    /// This machine.
    pub machine: MachineTag,
    /// A counter above that of every pack that this machine's journal or log knows.
    pub next_pack_counter: u64,
    /// The caller's index.
    pub index: Arc<dyn ChunkIndex>,
    /// How blocks are compressed.
    pub compression: Compression,
    /// How files are cut.
    pub cutting: Cutting,
    /// Plaintext blocks kept in memory, in bytes.
    pub block_cache_len_max: usize,
    /// Threads that fetch ahead; 0 for none, as a simulated world wants it.
    pub prefetch_threads: usize,
}

impl SpaceOptions {
    /// The defaults around what has none: packs grow inside the store, zstd 1, content-defined cutting, the
    /// default block cache, no threads.
    pub fn new(
        store: Arc<dyn Store>,
        keys: Arc<NamespaceKeys>,
        env: Arc<dyn Env>,
        machine: MachineTag,
        index: Arc<dyn ChunkIndex>,
    ) -> Self {
        Self {
            store,
            staging: StagingPlace::InStore,
            cache: None,
            keys,
            env,
            machine,
            next_pack_counter: 0,
            index,
            compression: Compression::Zstd(1),
            cutting: Cutting::Content,
            block_cache_len_max: BLOCK_CACHE_LEN_DEFAULT,
            prefetch_threads: 0,
        }
    }
}

/// A chunk that is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stored {
    /// Its id.
    pub id: ChunkId,
    /// Where it lies.
    pub at: Locator,
    /// Whether this call stored it; false if it was there.
    pub new: bool,
}

/// Numbers about a chunk space, for `status`. Bytes unless told otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SpaceStats {
    /// Plaintext in the block cache.
    pub block_cache_len: usize,
    /// Limit of the block cache.
    pub block_cache_len_max: usize,
    /// Threads sealing now, each with at most two chunks in memory.
    pub sealers: usize,
    /// Most threads that seal at once.
    pub sealers_max: usize,
    /// Threads reading now, each with at most one chunk in memory.
    pub readers: usize,
    /// Packs that are not on the store yet.
    pub staged_packs: usize,
    /// Bytes of them.
    pub staged_len: u64,
    /// Chunks that the caller has not settled yet.
    pub unsettled_chunks: usize,
    /// Chunks put since opening, and the plaintext of them.
    pub put_chunks: u64,
    /// Plaintext of all that was put.
    pub put_len: u64,
    /// Plaintext of what was there already.
    pub deduplicated_len: u64,
    /// Sealed bytes of what was new.
    pub sealed_len: u64,
    /// Plaintext given to readers.
    pub read_len: u64,
}

#[derive(Default)]
struct Counters {
    put_chunks: AtomicU64,
    put_len: AtomicU64,
    deduplicated_len: AtomicU64,
    sealed_len: AtomicU64,
    read_len: AtomicU64,
}

fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Ordering::Relaxed);
}

/// One per open namespace; every method may be called from any thread.
pub struct ChunkSpace {
    packs: Arc<Packs>,
    index: Arc<dyn ChunkIndex>,
    chunker: Chunker,
    overlay: Overlay,
    salts: Salts,
    sealers: Pool<Sealer>,
    packer: Packer,
    reader: Arc<Reader>,
    prefetcher: Prefetcher,
    publisher: Publisher,
    counters: Counters,
    block_cache_len_max: usize,
}

impl ChunkSpace {
    /// Opens the space. Nothing is read or written yet.
    ///
    /// # Errors
    /// [`VaultError::Store`] if packs cannot grow where they shall; [`VaultError::Thread`].
    pub fn open(options: SpaceOptions) -> Result<Self> {
        let SpaceOptions { store, staging, cache, keys, env, machine, compression, .. } = options;
        let publisher = Publisher::new(store.clone(), env.clone());
        let chunker = Chunker::new(keys.gear_table(), options.cutting);
        let packs = Arc::new(Packs::new(store, staging, keys, env)?);
        let cache = cache.unwrap_or_else(|| Arc::new(MemoryCache::new(PIECES_IN_MEMORY_LEN_MAX)));
        let reader = Arc::new(Reader::new(packs.clone(), cache, options.block_cache_len_max));
        let threads = options.prefetch_threads.min(PREFETCH_THREADS_MAX);
        let prefetcher = Prefetcher::new(reader.clone(), threads, options.block_cache_len_max / 2)?;
        let sealers = PoolLimits { made_max: SEALERS_MAX, kept_max: SEALERS_MAX / 2 };
        Ok(Self {
            packer: Packer::new(packs.clone(), machine, options.next_pack_counter),
            packs,
            index: options.index,
            chunker,
            overlay: Overlay::default(),
            salts: Salts::default(),
            sealers: Pool::new(sealers, move || Sealer::new(compression)),
            reader,
            prefetcher,
            publisher,
            counters: Counters::default(),
            block_cache_len_max: options.block_cache_len_max,
        })
    }

    /// Length in bytes of the first chunk of `data`, which begins where the last chunk ended. With `last`,
    /// `data` is all that is left of the file. Without, 0 means that more bytes are needed; with
    /// [`CHUNK_LEN_MAX`] bytes there is always an answer.
    pub fn cut(&self, data: &[u8], last: bool) -> usize {
        self.chunker.cut(data, last)
    }

    /// Stores a chunk, unless it is stored already. Two threads that put the same bytes store them once.
    /// When this returns the chunk can be read, and [`ChunkSpace::take_added`] has told or will tell of it.
    ///
    /// # Errors
    /// Whatever it is, nothing was stored and the plaintext is still only with the caller.
    /// [`VaultError::Store`] has a retry class; `Full` may pass when there is room again.
    pub fn put(&self, plain: &[u8]) -> Result<Stored> {
        self.packer.check()?;
        if plain.is_empty() || plain.len() > CHUNK_LEN_MAX {
            return Err(VaultError::ChunkLength { len: plain.len(), limit: CHUNK_LEN_MAX });
        }
        let id = self.packs.keys.chunk_id(plain);
        count(&self.counters.put_chunks, 1);
        count(&self.counters.put_len, plain.len());
        let claimed = match self.overlay.claim(&id) {
            Claim::Added(at) => {
                count(&self.counters.deduplicated_len, plain.len());
                return Ok(Stored { id, at, new: false });
            }
            Claim::Mine(claimed) => claimed,
        };
        if let Some(at) = self.index.lookup(&id)? {
            count(&self.counters.deduplicated_len, plain.len());
            return Ok(Stored { id, at, new: false });
        }
        let at = self.store(&id, plain)?;
        claimed.added(at);
        if self.packer.is_settled(&at) {
            // The caller was told of it and settled it before it came into the overlay.
            self.overlay.settled(&id, (at.pack, at.index));
        }
        Ok(Stored { id, at, new: true })
    }

    fn store(&self, id: &ChunkId, plain: &[u8]) -> Result<Locator> {
        let mut sealer = self.sealers.take();
        let salt = self.salts.next(&*self.packs.env);
        let sealed = sealer.seal(&self.packs.keys, id, salt, plain)?;
        let length = |len: usize| {
            u32::try_from(len).map_err(|_| VaultError::ChunkLength { len, limit: CHUNK_LEN_MAX })
        };
        let chunk =
            PackedChunk { id: *id, sealed_len: length(sealed.len())?, plain_len: length(plain.len())? };
        let spread = if plain.len() < CUT_LEN_MIN { Spread::Together } else { Spread::Apart };
        let at = self.packer.append(chunk, sealed, spread, &self.publisher)?;
        count(&self.counters.sealed_len, sealed.len());
        Ok(at)
    }

    /// What was added since the last call: `PackAdd` operations, for each pack in order and without gaps.
    /// The caller puts them into its journal before any operation that uses the chunks.
    pub fn take_added(&self) -> Vec<Op> {
        self.packer.take_added()
    }

    /// The entries of a pack below `end` are durable in the caller's journal and its index finds them. A
    /// closed pack is published only when all of its entries are settled.
    pub fn settled(&self, pack: PackId, end: u32) {
        for (id, index) in self.packer.settle(pack, end, &self.publisher) {
            self.overlay.settled(&id, (pack, index));
        }
    }

    /// Everything put before is durable in its staged object. Callers at the same time share one sync; it
    /// costs nothing when nothing is new.
    ///
    /// # Errors
    /// [`VaultError::Poisoned`]: nothing may be acknowledged any more, now or later.
    pub fn sync(&self) -> Result<()> {
        self.packer.sync()
    }

    /// Whether what was put can still be vouched for, without doing anything about it. Packs are also synced
    /// where nobody waits, by the publisher; whoever acknowledges anything asks from time to time.
    ///
    /// # Errors
    /// [`VaultError::Poisoned`] once a sync has failed.
    pub fn vouch(&self) -> Result<()> {
        self.packer.check()
    }

    /// Fills `out` with a chunk's plaintext from `skip` bytes on.
    ///
    /// # Errors
    /// [`VaultError::Damaged`] if what is stored does not authenticate, even when fetched again,
    /// [`VaultError::Missing`] if the pack is not there, [`VaultError::Range`] if the caller asks for more
    /// than the chunk has, [`VaultError::Store`] with a retry class. `out` is unspecified then.
    pub fn read(&self, id: &ChunkId, at: &Locator, skip: u32, out: &mut [u8]) -> Result<()> {
        self.reader.read(id, at, skip, out)?;
        count(&self.counters.read_len, out.len());
        Ok(())
    }

    /// A hint that these chunks will be read soon, in this order. Never waits.
    pub fn prefetch(&self, chunks: &[(ChunkId, Locator)]) {
        self.prefetcher.hint(chunks);
    }

    /// Closes the open packs: trailers written, everything durable, jobs queued. Segments and heads queued
    /// after this wait for them. A job runs as soon as all entries of its pack are settled.
    ///
    /// # Errors
    /// As [`ChunkSpace::sync`]; or [`VaultError::Store`] if a trailer could not be written: the packs are
    /// closed all the same, and the publisher goes on trying.
    pub fn close_packs(&self) -> Result<Vec<PackId>> {
        self.packer.close_packs(&self.publisher)
    }

    /// Which packs with counters of this machine in `counters` a crash left in the staging place.
    ///
    /// # Errors
    /// [`VaultError::Store`] if the staging place cannot be listed.
    pub fn staged_packs(&self, counters: Range<u64>) -> Result<Vec<PackId>> {
        recovery::staged_packs(&self.packs, self.packer.machine(), counters)
    }

    /// Finishes a staged pack that a crash left, whose entries the caller's journal has: what follows them
    /// is cut off, the trailer written, the pack queued for the publisher. From now on it can be read.
    ///
    /// # Errors
    /// [`VaultError::Missing`] if it is neither staged nor on the store; [`VaultError::Store`].
    pub fn finish_pack(&self, pack: PackId, entries: Vec<PackedChunk>) -> Result<Recovered> {
        recovery::finish_pack(&self.packs, pack, PackTable { entries }, &self.publisher)
    }

    /// Makes a staged pack that a crash left readable, for whoever may not write: it stays as it is.
    ///
    /// # Errors
    /// [`VaultError::Store`] if it cannot be opened; [`VaultError::ChunkLength`] if no pack holds so much.
    pub fn adopt_pack(&self, pack: PackId, entries: Vec<PackedChunk>) -> Result<()> {
        recovery::adopt_pack(&self.packs, pack, PackTable { entries })
    }

    /// Removes a staged pack that a crash left and whose entries no journal has.
    ///
    /// # Errors
    /// [`VaultError::Store`].
    pub fn discard_pack(&self, pack: PackId) -> Result<()> {
        let name = self.packs.name(pack)?;
        Ok(self.packs.staging()?.discard(&name)?)
    }

    /// The table of a pack on the store, from its own end: what it holds, whoever wrote it.
    ///
    /// # Errors
    /// [`VaultError::Damaged`], [`VaultError::Missing`], [`VaultError::Store`].
    pub fn read_table(&self, pack: PackId) -> Result<PackTable> {
        recovery::read_table(&self.packs, pack)
    }

    /// The jobs on their way to the store.
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Numbers for `status`.
    pub fn stats(&self) -> SpaceStats {
        let (staged_packs, staged_len) = self.packs.staged_total();
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SpaceStats {
            block_cache_len: self.reader.block_cache_len(),
            block_cache_len_max: self.block_cache_len_max,
            sealers: self.sealers.in_use(),
            sealers_max: SEALERS_MAX,
            readers: self.reader.buffers_in_use(),
            staged_packs,
            staged_len,
            unsettled_chunks: self.overlay.len(),
            put_chunks: get(&self.counters.put_chunks),
            put_len: get(&self.counters.put_len),
            deduplicated_len: get(&self.counters.deduplicated_len),
            sealed_len: get(&self.counters.sealed_len),
            read_len: get(&self.counters.read_len),
        }
    }

    /// Gives back memory that only speed needs: the block cache and idle buffers.
    pub fn trim(&self) {
        self.reader.trim();
        self.sealers.trim();
    }
}

impl Drop for ChunkSpace {
    fn drop(&mut self) {
        self.packer.discard_empty();
    }
}
