//! Index runs: immutable, sorted tables of where chunks lie.
//!
//! It owns the layout `sealed blocks ‖ padding ‖ sealed fence ‖ masked length`, in which one block can be
//! fetched and opened alone. A run is derived from pack tables and can be made again from them; it never
//! proves that a chunk is absent from the store.

use aws_lc_rs::aead::LessSafeKey;

use crate::chunk::{check_lengths, sealed_len_max};
use crate::codec::{Reader, Writer};
use crate::env::Env;
use crate::error::FormatError;
use crate::ids::{ChunkId, Locator, MachineTag, PackId};
use crate::keys::{NamespaceKeys, Role};
use crate::op_rules::check_pack;
use crate::pack::{PACK_CHUNKS_MAX, PACK_LEN_MAX};
use crate::sealed::{BLOCK_LEN, BlockNonce, TAG_LEN, gcm_key, open_block, seal_block};
use crate::signed::check_machine;
use crate::trailer::Trailer;

/// Most entries of one run; a larger index is several runs.
pub const RUN_ENTRIES_MAX: usize = 1 << 20;
/// Longest object of a run.
pub const RUN_LEN_MAX: u64 = 80 << 20;
/// Bytes of a sealed block of a run.
pub const RUN_BLOCK_LEN: usize = BLOCK_LEN + TAG_LEN;

const WHAT: &str = "index run";
const SALT_LEN: usize = 32;
/// Bytes of the longest entry: id, pack, position, offset, plain length, what was saved.
const ENTRY_LEN_MAX: usize = 32 + 10 + 3 + 4 + 4 + 4;
/// Bytes of the shortest entry.
const ENTRY_LEN_MIN: usize = 32 + 1 + 1 + 1 + 1 + 1;
const BLOCKS_MAX: usize = RUN_ENTRIES_MAX.div_ceil((BLOCK_LEN - 3) / ENTRY_LEN_MAX);
const FENCE_LEN_MAX: usize = SALT_LEN + 16 + 32 * BLOCKS_MAX;

/// A run: which one, of whom.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RunId {
    /// The machine that wrote it.
    pub machine: MachineTag,
    /// Its number among that machine's runs.
    pub number: u64,
}

fn trailer_of(keys: &NamespaceKeys, run: RunId) -> Trailer<'_> {
    Trailer { keys, role: Role::IndexRun, name: keys.run_name(run.machine, run.number) }
}

/// Writes one run from entries in ascending order of ids.
pub struct RunWriter<'a> {
    keys: &'a NamespaceKeys,
    run: RunId,
    salt: [u8; SALT_LEN],
    blocks: Vec<u8>,
    block: Writer,
    last_pack: u64,
    last_id: Option<ChunkId>,
    firsts: Vec<ChunkId>,
    entry_count: u64,
    block_key: LessSafeKey,
}

impl<'a> RunWriter<'a> {
    /// An empty run.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] when the machine's tag cannot be one.
    pub fn new(keys: &'a NamespaceKeys, run: RunId, env: &dyn Env) -> Result<Self, FormatError> {
        check_machine(run.machine)?;
        let mut salt = [0; SALT_LEN];
        env.fill(&mut salt);
        Ok(Self {
            keys,
            run,
            salt,
            blocks: Vec::new(),
            block: Writer::with_capacity(BLOCK_LEN),
            last_pack: 0,
            last_id: None,
            firsts: Vec::new(),
            entry_count: 0,
            block_key: block_key(keys, 0, run, &salt),
        })
    }

    /// The next entry.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] when ids do not ascend or the locator cannot be one,
    /// [`FormatError::TooLong`] when the run is full.
    pub fn push(&mut self, id: &ChunkId, at: &Locator) -> Result<(), FormatError> {
        check_locator(at)?;
        if self.last_id.is_some_and(|last| last >= *id) {
            return Err(FormatError::Invalid { what: "a run ascends by id" });
        }
        if self.entry_count == RUN_ENTRIES_MAX as u64 {
            let limit = RUN_ENTRIES_MAX as u64;
            return Err(FormatError::TooLong { what: "index run", actual: limit + 1, limit });
        }
        if self.block.len() + ENTRY_LEN_MAX > BLOCK_LEN {
            self.close_block();
        }
        if self.block.is_empty() {
            self.firsts.push(*id);
        }
        self.block.raw(&id.0);
        self.block.delta(at.pack.0, self.last_pack);
        self.block.varint(u64::from(at.index));
        self.block.varint(u64::from(at.offset));
        self.block.varint(u64::from(at.plain_len));
        self.block.varint(u64::from(sealed_len_max(at.plain_len) - at.sealed_len));
        self.last_pack = at.pack.0;
        self.last_id = Some(*id);
        self.entry_count += 1;
        Ok(())
    }

    /// Seals what is left and returns the object.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] when the run is empty.
    pub fn finish(mut self, env: &dyn Env) -> Result<Vec<u8>, FormatError> {
        if self.entry_count == 0 {
            return Err(FormatError::Invalid { what: "a run has an entry" });
        }
        self.close_block();
        let mut fence = Writer::with_capacity(SALT_LEN + 16 + 32 * self.firsts.len());
        fence.raw(&self.salt);
        fence.varint(self.entry_count);
        fence.varint(self.firsts.len() as u64);
        self.firsts.iter().for_each(|first| fence.raw(&first.0));
        let trailer = trailer_of(self.keys, self.run);
        let end = trailer.seal(self.blocks.len() as u64, fence.as_slice(), env)?;
        self.blocks.extend_from_slice(&end);
        Ok(self.blocks)
    }

    /// Seals the open block, filled with zeros.
    fn close_block(&mut self) {
        let index = self.firsts.len() - 1;
        let block = std::mem::take(&mut self.block);
        let mut plain = block.into_bytes();
        plain.resize(BLOCK_LEN, 0);
        let start = self.blocks.len();
        self.blocks.resize(start + RUN_BLOCK_LEN, 0);
        let nonce = BlockNonce::block(index, usize::MAX);
        seal_block(&self.block_key, nonce, &plain, &mut self.blocks[start..]);
        self.block = Writer::append_to({
            plain.clear();
            plain
        });
        self.last_pack = 0;
    }
}

/// The key of a run's blocks: fresh for each run, from a salt that only its fence tells.
fn block_key(keys: &NamespaceKeys, epoch_index: usize, run: RunId, salt: &[u8; SALT_LEN]) -> LessSafeKey {
    let key = blake3::Hasher::new_keyed(keys.epochs()[epoch_index].role(Role::IndexRun).expose())
        .update(b"run blocks")
        .update(salt)
        .update(keys.run_name(run.machine, run.number).as_bytes())
        .finalize();
    gcm_key(key.as_bytes())
}

fn check_locator(at: &Locator) -> Result<(), FormatError> {
    check_pack(at.pack)?;
    check_lengths(at.plain_len, at.sealed_len)?;
    let end = u64::from(at.offset) + u64::from(at.sealed_len);
    if end > PACK_LEN_MAX || at.index as usize >= PACK_CHUNKS_MAX {
        return Err(FormatError::Invalid { what: "place of a chunk" });
    }
    Ok(())
}

/// The fence of a run: which block holds which ids.
pub struct Run {
    firsts: Vec<ChunkId>,
    entry_count: u64,
    /// The keys its blocks may be sealed with, one for each known epoch.
    candidates: Vec<LessSafeKey>,
}

impl Run {
    /// How many bytes of a run's end [`open`](Self::open) needs; `tail` is any end of it of at least
    /// [`TAIL_LEN_MIN`](crate::trailer::TAIL_LEN_MIN) bytes.
    ///
    /// # Errors
    /// [`FormatError::NotAuthentic`] when this cannot be the end of that run.
    pub fn tail_len(
        keys: &NamespaceKeys,
        run: RunId,
        object_len: u64,
        tail: &[u8],
    ) -> Result<usize, FormatError> {
        trailer_of(keys, run).len(object_len, tail)
    }

    /// Opens the fence from a run's end.
    ///
    /// # Errors
    /// [`FormatError::NotAuthentic`] when it is another object or damaged, others when its writer was faulty.
    pub fn open(keys: &NamespaceKeys, run: RunId, object_len: u64, tail: &[u8]) -> Result<Self, FormatError> {
        if object_len > RUN_LEN_MAX {
            return Err(FormatError::TooLong { what: WHAT, actual: object_len, limit: RUN_LEN_MAX });
        }
        let trailer = trailer_of(keys, run);
        let plain = trailer.open(object_len, tail, FENCE_LEN_MAX)?;
        let mut reader = Reader::new(&plain, WHAT);
        let salt = reader.array()?;
        let entry_count = reader.varint_max("entries of an index run", RUN_ENTRIES_MAX as u64)?;
        let count = reader.count("blocks of an index run", BLOCKS_MAX, 32)?;
        let mut firsts = Vec::with_capacity(count);
        for _ in 0..count {
            firsts.push(ChunkId(reader.array()?));
        }
        reader.finish()?;
        if count == 0 || entry_count < count as u64 || !firsts.is_sorted_by(|a, b| a < b) {
            return Err(FormatError::Invalid { what: "fence of an index run" });
        }
        trailer.check_body((count * RUN_BLOCK_LEN) as u64, object_len, tail)?;
        let candidates = (0..keys.epochs().len()).map(|epoch| block_key(keys, epoch, run, &salt)).collect();
        Ok(Self { firsts, entry_count, candidates })
    }

    /// Number of entries in all blocks.
    pub fn entry_count(&self) -> u64 {
        self.entry_count
    }

    /// Number of blocks; block `index` starts at `index` times [`RUN_BLOCK_LEN`].
    pub fn block_count(&self) -> usize {
        self.firsts.len()
    }

    /// The only block that can hold an id; `None` when it is below all of them.
    pub fn block_of(&self, id: &ChunkId) -> Option<usize> {
        self.firsts.partition_point(|first| first <= id).checked_sub(1)
    }

    /// Opens block `index` from its [`RUN_BLOCK_LEN`] bytes and hands out its entries, ascending.
    ///
    /// # Errors
    /// [`FormatError::NotAuthentic`] when any bit differs or it is another block, others when the run's
    /// writer was faulty. What was handed out by then is not to be used.
    pub fn read_block(
        &self,
        index: usize,
        sealed: &[u8],
        each: &mut dyn FnMut(ChunkId, Locator),
    ) -> Result<(), FormatError> {
        if sealed.len() != RUN_BLOCK_LEN || index >= self.firsts.len() {
            return Err(FormatError::Truncated { what: WHAT });
        }
        let mut plain = vec![0; BLOCK_LEN];
        let nonce = BlockNonce::block(index, usize::MAX);
        if !self.candidates.iter().any(|key| open_block(key, nonce, sealed, &mut plain).is_ok()) {
            return Err(FormatError::NotAuthentic { what: WHAT });
        }
        self.parse_block(index, &plain, each)
    }

    fn parse_block(
        &self,
        index: usize,
        plain: &[u8],
        each: &mut dyn FnMut(ChunkId, Locator),
    ) -> Result<(), FormatError> {
        let mut reader = Reader::new(plain, WHAT);
        let mut last: Option<ChunkId> = None;
        let mut last_pack = 0;
        while reader.remaining() >= ENTRY_LEN_MIN {
            let id = ChunkId(reader.array()?);
            // A keyed hash is never all zeros: zeros are what fills a block.
            if id.0 == [0; 32] {
                break;
            }
            let at = read_locator(&mut reader, &mut last_pack)?;
            let in_place = match last {
                None => id == self.firsts[index],
                Some(last) => last < id,
            };
            if !in_place || self.firsts.get(index + 1).is_some_and(|next| *next <= id) {
                return Err(FormatError::Invalid { what: "a run ascends by id" });
            }
            last = Some(id);
            each(id, at);
        }
        if last.is_none() || reader.rest().iter().any(|byte| *byte != 0) {
            return Err(FormatError::NotCanonical { what: "end of a block of an index run" });
        }
        Ok(())
    }

    /// Reads a whole run that is at hand and hands out its entries, ascending.
    ///
    /// # Errors
    /// As [`open`](Self::open) and [`read_block`](Self::read_block).
    pub fn read_all(
        keys: &NamespaceKeys,
        run: RunId,
        object: &[u8],
        each: &mut dyn FnMut(ChunkId, Locator),
    ) -> Result<Self, FormatError> {
        let fence = Self::open(keys, run, object.len() as u64, object)?;
        let mut count = 0;
        // `open` has checked that the object has room for all blocks its fence names.
        for (index, sealed) in object.chunks_exact(RUN_BLOCK_LEN).take(fence.block_count()).enumerate() {
            fence.read_block(index, sealed, &mut |id, at| {
                count += 1;
                each(id, at);
            })?;
        }
        if count != fence.entry_count {
            return Err(FormatError::Invalid { what: "entries of an index run" });
        }
        Ok(fence)
    }
}

fn read_locator(reader: &mut Reader<'_>, last_pack: &mut u64) -> Result<Locator, FormatError> {
    let pack = PackId(reader.delta(*last_pack)?);
    *last_pack = pack.0;
    let index = reader.varint_u32("position in a pack")?;
    let offset = reader.varint_u32("offset in a pack")?;
    let plain_len = reader.varint_max("plain length of a chunk", crate::chunk::CHUNK_LEN_MAX as u64)? as u32;
    let most = sealed_len_max(plain_len);
    let saved = reader.varint_max("saved length of a chunk", u64::from(most))? as u32;
    let at = Locator { pack, index, offset, sealed_len: most - saved, plain_len };
    check_locator(&at)?;
    Ok(at)
}
