//! What a checkpoint writes: every row that differs, as of one position of the journal.

use keepfs_format::ids::{ChunkId, Ino, LinkId, Locator, PackId};
use keepfs_format::op::{Entry, Inode, PackedChunk};

use super::records;
use crate::content::Extent;

/// Rows in one arena, so that taking them under the lock of the tree is a copy and not an allocation each.
#[derive(Default)]
pub(crate) struct Changes {
    pub(super) arena: Vec<u8>,
    pub(super) inodes: Vec<(u64, Option<(u32, u32)>)>,
    pub(super) entries: Vec<((u64, u64), Option<(u32, u32)>)>,
    pub(super) extents: Vec<((u64, u64), Option<(u32, u32)>)>,
    pub(super) wiped_contents: Vec<u64>,
    pub(super) chunks: Vec<(ChunkId, Locator)>,
    pub(super) packs: Vec<((u64, u32), (u32, u32))>,
    pub(super) stale: Vec<(u64, bool)>,
    pub(super) objects: Vec<(u64, Option<(u32, u32)>)>,
    pub(super) segments: Vec<(u64, Vec<u8>)>,
}

impl Changes {
    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.inodes.is_empty()
            && self.entries.is_empty()
            && self.extents.is_empty()
            && self.wiped_contents.is_empty()
            && self.chunks.is_empty()
            && self.packs.is_empty()
            && self.stale.is_empty()
            && self.objects.is_empty()
            && self.segments.is_empty()
    }

    /// Bytes held, roughly.
    pub(crate) fn weight(&self) -> usize {
        self.arena.len() + 64 * (self.inodes.len() + self.entries.len() + self.extents.len() + self.chunks.len())
    }

    fn row(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> (u32, u32) {
        let start = self.arena.len() as u32;
        encode(&mut self.arena);
        (start, self.arena.len() as u32)
    }

    /// The inode is now this, or gone.
    pub(crate) fn inode(&mut self, ino: Ino, now: Option<(&Inode, u64)>) {
        let row = now.map(|(inode, allocated)| self.row(|out| records::encode_inode(out, inode, allocated)));
        self.inodes.push((ino.0, row));
    }

    /// The entry is now this, or gone.
    pub(crate) fn entry(&mut self, directory: Ino, link: LinkId, now: Option<(&[u8], &Entry)>) {
        let row = now.map(|(name, entry)| self.row(|out| records::encode_entry(out, name, entry)));
        self.entries.push(((directory.0, link.0), row));
    }

    /// The extent is now this, or gone.
    pub(crate) fn extent(&mut self, ino: Ino, offset: u64, now: Option<&Extent>) {
        let row = now.map(|extent| self.row(|out| records::encode_extent(out, extent)));
        self.extents.push(((ino.0, offset), row));
    }

    /// All extents of the inode go away, before any that are set here.
    pub(crate) fn wipe_content(&mut self, ino: Ino) {
        self.wiped_contents.push(ino.0);
    }

    /// A pack holds these chunks from position `first` and from byte `offset` on.
    pub(crate) fn pack(&mut self, pack: PackId, first: u32, offset: u32, chunks: &[PackedChunk]) {
        let row = self.row(|out| records::encode_pack_piece(out, offset, chunks));
        self.packs.push(((pack.0, first), row));
        let mut at = Locator { pack, index: first, offset, sealed_len: 0, plain_len: 0 };
        for chunk in chunks {
            at.sealed_len = chunk.sealed_len;
            at.plain_len = chunk.plain_len;
            self.chunks.push((chunk.id, at));
            at.offset += chunk.sealed_len;
            at.index += 1;
        }
    }

    /// Chunks lie here: from an index run, without their pack's table.
    pub(crate) fn chunk(&mut self, id: ChunkId, at: Locator) {
        self.chunks.push((id, at));
    }

    /// The directory's published object no longer shows the directory (or does again).
    pub(crate) fn stale(&mut self, directory: Ino, stale: bool) {
        self.stale.push((directory.0, stale));
    }

    /// The directory was published as these chunks, or is gone.
    pub(crate) fn object(&mut self, directory: Ino, chunks: Option<&[ChunkId]>) {
        let row = chunks.map(|chunks| {
            self.row(|out| chunks.iter().for_each(|chunk| out.extend_from_slice(&chunk.0)))
        });
        self.objects.push((directory.0, row));
    }

    /// A sealed segment that the store lacks.
    pub(crate) fn segment(&mut self, seq: u64, bytes: Vec<u8>) {
        self.segments.push((seq, bytes));
    }

    pub(super) fn bytes(&self, row: (u32, u32)) -> &[u8] {
        &self.arena[row.0 as usize..row.1 as usize]
    }
}
