//! Which chunks are being stored right now, and which were stored since the caller's index last settled.
//!
//! It makes two threads with the same bytes store them once: the first claims the id, the second waits for
//! the outcome. It never looks into the index or a pack.

use keepfs_format::ids::{ChunkId, Locator, PackId};
use parking_lot::{Condvar, Mutex};
use rustc_hash::FxHashMap;

/// Shards, so that writers of different chunks seldom meet at a lock.
const SHARDS: usize = 16;

enum Known {
    InFlight,
    Added(Locator),
}

#[derive(Default)]
struct Shard {
    known: Mutex<FxHashMap<ChunkId, Known>>,
    /// Notified when something in flight ends.
    ended: Condvar,
}

/// The answer to a claim.
pub(crate) enum Claim<'a> {
    /// It is stored already.
    Added(Locator),
    /// It is the caller's to store.
    Mine(Claimed<'a>),
}

/// The right to store one chunk. Dropped without [`Claimed::added`], the next one in line may try.
pub(crate) struct Claimed<'a> {
    shard: &'a Shard,
    id: ChunkId,
}

impl Claimed<'_> {
    /// The chunk is stored.
    pub(crate) fn added(self, at: Locator) {
        self.shard.known.lock().insert(self.id, Known::Added(at));
        // Dropping it wakes who waits.
    }
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        let mut known = self.shard.known.lock();
        if matches!(known.get(&self.id), Some(Known::InFlight)) {
            known.remove(&self.id);
        }
        drop(known);
        self.shard.ended.notify_all();
    }
}

/// All of them.
#[derive(Default)]
pub(crate) struct Overlay {
    shards: [Shard; SHARDS],
}

impl Overlay {
    fn shard(&self, id: &ChunkId) -> &Shard {
        &self.shards[usize::from(id.0[0]) % SHARDS]
    }

    /// Claims the right to store a chunk; waits while another is at it.
    pub(crate) fn claim(&self, id: &ChunkId) -> Claim<'_> {
        let shard = self.shard(id);
        let mut known = shard.known.lock();
        loop {
            match known.get(id) {
                Some(Known::Added(at)) => return Claim::Added(*at),
                Some(Known::InFlight) => shard.ended.wait(&mut known),
                None => break,
            }
        }
        known.insert(*id, Known::InFlight);
        Claim::Mine(Claimed { shard, id: *id })
    }

    /// The index knows this copy of the chunk now.
    pub(crate) fn settled(&self, id: &ChunkId, copy: (PackId, u32)) {
        let mut known = self.shard(id).known.lock();
        if let Some(Known::Added(at)) = known.get(id)
            && (at.pack, at.index) == copy
        {
            known.remove(id);
        }
    }

    /// Chunks it holds.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.known.lock().len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ChunkId = ChunkId([7; 32]);

    fn locator(index: u32) -> Locator {
        Locator { pack: PackId(1), index, offset: 0, sealed_len: 33, plain_len: 1 }
    }

    #[test]
    fn a_claim_given_up_passes_to_the_next() {
        let overlay = Overlay::default();
        let Claim::Mine(first) = overlay.claim(&ID) else { panic!("nobody has it") };
        std::thread::scope(|scope| {
            let second = scope.spawn(|| matches!(overlay.claim(&ID), Claim::Mine(_)));
            drop(first);
            assert!(second.join().unwrap());
        });
        assert_eq!(overlay.len(), 0);
    }

    #[test]
    fn who_waits_is_given_what_the_first_stored() {
        let overlay = Overlay::default();
        let Claim::Mine(first) = overlay.claim(&ID) else { panic!("nobody has it") };
        std::thread::scope(|scope| {
            let second = scope.spawn(|| matches!(overlay.claim(&ID), Claim::Added(at) if at == locator(3)));
            first.added(locator(3));
            assert!(second.join().unwrap());
        });
        overlay.settled(&ID, (PackId(1), 4));
        assert_eq!(overlay.len(), 1, "another copy was settled");
        overlay.settled(&ID, (PackId(1), 3));
        assert_eq!(overlay.len(), 0);
    }
}
