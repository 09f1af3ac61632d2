//! Plaintext blocks in memory, for readers that come back to a block in parts.
//!
//! It owns bytes and forgets them by a clock over each of its shards. It never fetches or opens anything,
//! and knows nothing of what a block holds.

use keepfs_format::chunk::BLOCK_LEN;
use keepfs_format::ids::PackId;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

/// Shards, so that readers of different blocks seldom meet at a lock.
const SHARDS: usize = 16;

/// Buffers of forgotten blocks that a shard keeps for the next ones.
const SPARES_MAX: usize = 4;

/// A block: which pack, which chunk in its table, which block of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct BlockKey {
    pub(crate) pack: PackId,
    pub(crate) chunk: u32,
    pub(crate) block: u32,
}

impl BlockKey {
    fn shard(&self) -> usize {
        let mixed = (self.pack.0 ^ (u64::from(self.chunk) << 20) ^ u64::from(self.block))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 60) as usize % SHARDS
    }
}

struct Slot {
    key: BlockKey,
    bytes: Vec<u8>,
    /// Used since the hand last passed.
    used: bool,
}

#[derive(Default)]
struct Shard {
    slots: Vec<Slot>,
    by_key: FxHashMap<BlockKey, usize>,
    hand: usize,
    /// Capacities of all slots.
    len_total: usize,
    spares: Vec<Vec<u8>>,
}

impl Shard {
    /// Forgets one block; false if there is none.
    fn forget_one(&mut self) -> bool {
        // Each pass of the hand takes a second chance away, so two rounds find a victim.
        for _ in 0..=2 * self.slots.len() {
            if self.slots.is_empty() {
                return false;
            }
            self.hand %= self.slots.len();
            if !std::mem::take(&mut self.slots[self.hand].used) {
                self.remove(self.hand);
                return true;
            }
            self.hand += 1;
        }
        false
    }

    fn remove(&mut self, position: usize) {
        let slot = self.slots.swap_remove(position);
        self.by_key.remove(&slot.key);
        if let Some(moved) = self.slots.get(position) {
            self.by_key.insert(moved.key, position);
        }
        self.len_total -= slot.bytes.capacity();
        if self.spares.len() < SPARES_MAX && slot.bytes.capacity() >= BLOCK_LEN {
            self.spares.push(slot.bytes);
        }
    }
}

/// The cache.
pub(crate) struct BlockCache {
    shards: Vec<Mutex<Shard>>,
    shard_len_max: usize,
}

impl BlockCache {
    /// A cache of at most `len_max` bytes.
    pub(crate) fn new(len_max: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, shard_len_max: len_max / SHARDS }
    }

    /// Fills `out` from the block, from `skip` on; false if it is not here.
    pub(crate) fn copy(&self, key: &BlockKey, skip: usize, out: &mut [u8]) -> bool {
        let mut shard = self.shards[key.shard()].lock();
        let Some(&position) = shard.by_key.get(key) else { return false };
        let slot = &mut shard.slots[position];
        let Some(bytes) = slot.bytes.get(skip..skip + out.len()) else { return false };
        out.copy_from_slice(bytes);
        slot.used = true;
        true
    }

    /// Whether the block is here; does not count as a use.
    pub(crate) fn contains(&self, key: &BlockKey) -> bool {
        self.shards[key.shard()].lock().by_key.contains_key(key)
    }

    /// A buffer of `len` bytes for this block, to be filled and given to [`BlockCache::insert`].
    pub(crate) fn buffer(&self, key: &BlockKey, len: usize) -> Vec<u8> {
        // Small blocks get exactly their size: a cache of many small files must not round them up.
        let spare = if len > BLOCK_LEN / 2 { self.shards[key.shard()].lock().spares.pop() } else { None };
        match spare {
            Some(mut bytes) => {
                bytes.resize(len, 0);
                bytes
            }
            None => vec![0; len],
        }
    }

    /// Keeps a block, and forgets others to stay within the limit.
    pub(crate) fn insert(&self, key: BlockKey, bytes: Vec<u8>) {
        let mut shard = self.shards[key.shard()].lock();
        if bytes.capacity() > self.shard_len_max || shard.by_key.contains_key(&key) {
            return;
        }
        while shard.len_total + bytes.capacity() > self.shard_len_max {
            if !shard.forget_one() {
                break;
            }
        }
        shard.len_total += bytes.capacity();
        let position = shard.slots.len();
        shard.by_key.insert(key, position);
        // A new block has no second chance yet: what is read once goes before what is read again.
        shard.slots.push(Slot { key, bytes, used: false });
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        for shard in &self.shards {
            *shard.lock() = Shard::default();
        }
    }

    /// Bytes of memory the blocks take.
    pub(crate) fn len_total(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len_total).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(chunk: u32) -> BlockKey {
        BlockKey { pack: PackId(1), chunk, block: 0 }
    }

    #[test]
    fn parts_of_a_block_come_back() {
        let cache = BlockCache::new(1 << 20);
        cache.insert(key(1), (0..200).collect());
        let mut out = [0; 3];
        assert!(cache.copy(&key(1), 100, &mut out));
        assert_eq!(out, [100, 101, 102]);
        assert!(!cache.copy(&key(1), 198, &mut out));
        assert!(!cache.copy(&key(2), 0, &mut out));
        cache.clear();
        assert!(!cache.contains(&key(1)));
        assert_eq!(cache.len_total(), 0);
    }

    #[test]
    fn the_limit_holds_and_what_is_used_stays() {
        let cache = BlockCache::new(SHARDS * 4 * BLOCK_LEN);
        let hot = key(0);
        cache.insert(hot, cache.buffer(&hot, BLOCK_LEN));
        for chunk in 1..1000 {
            assert!(cache.copy(&hot, 0, &mut [0]));
            cache.insert(key(chunk), cache.buffer(&key(chunk), BLOCK_LEN));
            assert!(cache.len_total() <= SHARDS * 4 * BLOCK_LEN);
        }
        assert!(cache.contains(&hot));
        assert!(!cache.contains(&key(1)));
        assert!(cache.len_total() > SHARDS * 2 * BLOCK_LEN);
    }
}
