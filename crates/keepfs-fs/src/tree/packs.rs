//! Pack tables as the log tells them: which chunk lies at which position of which pack.

use std::sync::Arc;

use keepfs_format::ids::{COUNTER_BITS, ChunkId, Locator, MachineTag, PackId};
use keepfs_format::op::PackedChunk;
use rustc_hash::FxHashMap;

use crate::database::{Changes, Database};
use crate::error::{FsError, Result};

/// One piece of a pack's table that the database lacks.
struct Piece {
    first: u32,
    offset: u32,
    chunks: Vec<PackedChunk>,
}

impl Piece {
    fn end_offset(&self) -> u32 {
        self.offset + self.chunks.iter().map(|chunk| chunk.sealed_len).sum::<u32>()
    }
}

/// Pieces since the last checkpoint, over those in the database.
pub(crate) struct Packs {
    database: Arc<Database>,
    recent: FxHashMap<PackId, Vec<Piece>>,
    /// Position and byte that follow, of every pack that grew in this session. What is frozen is in neither
    /// place for as long as the database takes to write it.
    ends: FxHashMap<PackId, (u32, u32)>,
    chunks: usize,
}

impl Packs {
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self { database, recent: FxHashMap::default(), ends: FxHashMap::default(), chunks: 0 }
    }

    /// Takes a piece in. A piece that is known already changes nothing; a gap is damage.
    pub(super) fn add(&mut self, pack: PackId, first: u32, chunks: &[PackedChunk]) -> Result<()> {
        let (next, offset) = self.end_of(pack)?;
        if first > next {
            return Err(FsError::Damaged {
                what: format!("the log's table of pack {:x}", pack.0),
                advice: "a piece of the log is missing; run a sync, or join again from the store".into(),
            });
        }
        let Some(fresh) = chunks.get((next - first) as usize..).filter(|fresh| !fresh.is_empty()) else {
            return Ok(());
        };
        self.chunks += fresh.len();
        let piece = Piece { first: next, offset, chunks: fresh.to_vec() };
        self.ends.insert(pack, (next + fresh.len() as u32, piece.end_offset()));
        self.recent.entry(pack).or_default().push(piece);
        Ok(())
    }

    /// Position and byte that follow what is known of a pack.
    pub(crate) fn end_of(&self, pack: PackId) -> Result<(u32, u32)> {
        if let Some(end) = self.ends.get(&pack) {
            return Ok(*end);
        }
        let Some((first, offset, chunks)) = self.database.snapshot().pack_piece(pack, u32::MAX)? else {
            return Ok((0, 0));
        };
        let piece = Piece { first, offset, chunks };
        Ok((first + piece.chunks.len() as u32, piece.end_offset()))
    }

    /// The chunk at a position.
    pub(super) fn resolve(&self, pack: PackId, index: u32) -> Result<Option<(ChunkId, Locator)>> {
        let recent = self.recent.get(&pack).and_then(|pieces| {
            let at = pieces.partition_point(|piece| piece.first <= index).checked_sub(1)?;
            locate(pack, index, (pieces[at].first, pieces[at].offset, &pieces[at].chunks))
        });
        if recent.is_some() {
            return Ok(recent);
        }
        let piece = self.database.snapshot().pack_piece(pack, index)?;
        Ok(piece.and_then(|(first, offset, chunks)| locate(pack, index, (first, offset, &chunks))))
    }

    /// Everything known of a pack's table, in order.
    pub(crate) fn table_of(&self, pack: PackId) -> Result<Vec<PackedChunk>> {
        let mut table = Vec::new();
        self.database.snapshot().each_pack_piece((pack, pack), |_, _, _, chunks| {
            table.extend(chunks);
            Ok(())
        })?;
        for piece in self.recent.get(&pack).into_iter().flatten() {
            if piece.first as usize == table.len() {
                table.extend_from_slice(&piece.chunks);
            }
        }
        Ok(table)
    }

    /// Number of chunks that the database lacks.
    pub(super) fn chunk_count(&self) -> usize {
        self.chunks
    }

    /// Writes what came since the last call into `changes`.
    pub(super) fn freeze(&mut self, changes: &mut Changes) {
        self.chunks = 0;
        for (pack, pieces) in self.recent.drain() {
            for piece in pieces {
                changes.pack(pack, piece.first, piece.offset, &piece.chunks);
            }
        }
    }
}

/// The counter of a pack, if it is this machine's.
pub(super) fn own_pack_counter(pack: PackId, machine: MachineTag) -> Option<u64> {
    (pack.0 >> COUNTER_BITS == u64::from(machine.0)).then_some(pack.0 & ((1 << COUNTER_BITS) - 1))
}

fn locate(
    pack: PackId,
    index: u32,
    (first, offset, chunks): (u32, u32, &[PackedChunk]),
) -> Option<(ChunkId, Locator)> {
    let at = index.checked_sub(first)? as usize;
    let chunk = chunks.get(at)?;
    let before: u32 = chunks[..at].iter().map(|chunk| chunk.sealed_len).sum();
    let (sealed_len, plain_len) = (chunk.sealed_len, chunk.plain_len);
    Some((chunk.id, Locator { pack, index, offset: offset + before, sealed_len, plain_len }))
}
