//! What a checkpoint writes: every row that differs, as of one position of the journal.

use keepfs_format::directory::ObjectRef;
use keepfs_format::ids::{ChunkId, Ino, LinkId, Locator, PackId};
use keepfs_format::op::{Entry, Inode, PackedChunk};

use super::records;
use crate::content::Extent;

/// Where a row lies in the arena.
type Row = (u32, u32);
/// Rows under a key of two numbers; `None` is one that goes away.
type PairRows = Vec<((u64, u64), Option<Row>)>;

/// Rows in one arena, so that taking them under the lock of the tree is a copy and not an allocation each.
#[derive(Default)]
pub(crate) struct Changes {
    pub(super) arena: Vec<u8>,
    pub(super) inodes: Vec<(u64, Option<Row>)>,
    pub(super) entries: PairRows,
    pub(super) extents: PairRows,
    pub(super) wiped_contents: Vec<u64>,
    pub(super) chunks: Vec<(ChunkId, Locator)>,
    pub(super) packs: Vec<((u64, u32), Row)>,
    pack_ends: Vec<(PackId, u32)>,
    pub(super) stale: Vec<u64>,
    pub(super) objects: Vec<(u64, Option<Row>)>,
    pub(super) segments: Vec<(u64, Vec<u8>)>,
    pub(super) shared: Vec<(u64, bool)>,
    pub(super) published: Vec<(u64, u64)>,
    pub(super) runs: Option<Vec<u8>>,
}

impl Changes {
    /// Bytes held, roughly.
    pub(crate) fn weight(&self) -> usize {
        self.arena.len()
            + 64 * (self.inodes.len() + self.entries.len() + self.extents.len() + self.chunks.len())
    }

    fn row(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Row {
        let start = self.arena.len() as u32;
        encode(&mut self.arena);
        (start, self.arena.len() as u32)
    }

    /// The inode is now this, or gone.
    pub(crate) fn inode(&mut self, ino: Ino, now: Option<(&Inode, u64)>) {
        let row = now.map(|(inode, allocated)| self.row(|out| records::encode_inode(out, inode, allocated)));
        self.inodes.push((ino.0, row));
        // An inode that has, or once had, several names is in a table of its own in a checkpoint.
        match now {
            Some((inode, _)) if inode.parent.0 == 0 => self.shared.push((ino.0, true)),
            None => self.shared.push((ino.0, false)),
            Some(_) => {}
        }
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
        self.pack_ends.push((pack, first + chunks.len() as u32));
        let mut at = Locator { pack, index: first, offset, sealed_len: 0, plain_len: 0 };
        for chunk in chunks {
            at.sealed_len = chunk.sealed_len;
            at.plain_len = chunk.plain_len;
            self.chunks.push((chunk.id, at));
            at.offset += chunk.sealed_len;
            at.index += 1;
        }
    }

    /// Packs whose tables grew, each with the position that follows.
    pub(crate) fn pack_ends(&self) -> &[(PackId, u32)] {
        &self.pack_ends
    }

    /// The directory's published object no longer shows the directory.
    pub(crate) fn stale(&mut self, directory: Ino) {
        self.stale.push(directory.0);
    }

    /// The directory's published object shows it as of journal position `upto`.
    pub(crate) fn published(&mut self, directory: Ino, upto: u64) {
        self.published.push((directory.0, upto));
    }

    /// The index runs of the last checkpoint, as its author keeps them.
    pub(crate) fn runs(&mut self, row: Vec<u8>) {
        self.runs = Some(row);
    }

    /// The directory was published as this object, or is gone.
    pub(crate) fn object(&mut self, directory: Ino, object: Option<&ObjectRef>) {
        let row = object.map(|object| {
            self.row(|out| {
                out.push(object.depth);
                object.ids.iter().for_each(|chunk| out.extend_from_slice(&chunk.0));
            })
        });
        self.objects.push((directory.0, row));
    }

    /// A sealed segment that the store lacks.
    pub(crate) fn segment(&mut self, seq: u64, bytes: Vec<u8>) {
        self.segments.push((seq, bytes));
    }

    pub(super) fn bytes(&self, row: Row) -> &[u8] {
        &self.arena[row.0 as usize..row.1 as usize]
    }
}
