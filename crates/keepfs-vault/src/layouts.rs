//! Layouts of chunks that were read lately: a read of one block then needs that block and nothing else.

use std::sync::Arc;

use keepfs_format::chunk::ChunkLayout;
use keepfs_format::ids::{Locator, PackId};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::limits::LAYOUTS_MAX;

/// Shards, so that readers seldom meet at a lock.
const SHARDS: usize = 8;

type Key = (PackId, u32);

/// Two generations: what is used moves to the young one; when that is full it becomes the old one, and what
/// was not used for so long goes.
#[derive(Default)]
struct Shard {
    young: FxHashMap<Key, Arc<ChunkLayout>>,
    old: FxHashMap<Key, Arc<ChunkLayout>>,
}

impl Shard {
    fn keep(&mut self, key: Key, layout: Arc<ChunkLayout>) {
        if self.young.len() >= LAYOUTS_MAX / SHARDS / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, layout);
    }
}

/// The cache.
#[derive(Default)]
pub(crate) struct Layouts([Mutex<Shard>; SHARDS]);

impl Layouts {
    fn shard(&self, at: &Locator) -> &Mutex<Shard> {
        &self.0[(at.pack.0 as usize ^ at.index as usize) % SHARDS]
    }

    pub(crate) fn get(&self, at: &Locator) -> Option<Arc<ChunkLayout>> {
        let key = (at.pack, at.index);
        let mut shard = self.shard(at).lock();
        if let Some(layout) = shard.young.get(&key) {
            return Some(layout.clone());
        }
        let layout = shard.old.remove(&key)?;
        shard.keep(key, layout.clone());
        Some(layout)
    }

    pub(crate) fn keep(&self, at: &Locator, layout: Arc<ChunkLayout>) {
        self.shard(at).lock().keep((at.pack, at.index), layout);
    }

    pub(crate) fn forget(&self, at: &Locator) {
        let mut shard = self.shard(at).lock();
        shard.young.remove(&(at.pack, at.index));
        shard.old.remove(&(at.pack, at.index));
    }

    pub(crate) fn clear(&self) {
        for shard in &self.0 {
            *shard.lock() = Shard::default();
        }
    }
}
