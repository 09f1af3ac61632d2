//! How far this machine has come: counters that must never be used twice, and positions.

use keepfs_format::codec::{Reader, Writer};
use keepfs_format::error::FormatError;
use keepfs_format::ids::MachineTag;
use keepfs_format::signed::ObjectHash;
use keepfs_format::vector::{Seen, VersionVector};

/// Written with every checkpoint of the database, as of the same position.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Progress {
    /// Journal position up to which the tables hold every operation.
    pub applied: u64,
    /// Highest number taken for inodes and links.
    pub last_number: u64,
    /// Highest number taken for packs.
    pub last_pack: u64,
    /// Highest sequence number of a segment.
    pub last_segment: u64,
    /// Hash of that segment, zero before the first.
    pub last_segment_hash: [u8; 32],
    /// Highest sequence number of a segment that the store has.
    pub published_segment: u64,
    /// Highest segment that a head on the store names.
    pub headed_segment: u64,
    /// Highest logical time used.
    pub hlc: u64,
    /// Inodes in the tree.
    pub inodes: u64,
    /// Bytes of content in the tree, holes left out.
    pub content_len: u64,
    /// Highest number taken for checkpoints.
    pub last_checkpoint: u64,
    /// Number of the newest checkpoint that is on the store, zero before the first.
    pub checkpoint_number: u64,
    /// Hash of that checkpoint's object.
    pub checkpoint_hash: [u8; 32],
    /// Segment up to which that checkpoint covers the log.
    pub checkpoint_segment: u64,
    /// Operations in the log since that checkpoint.
    pub operations_since: u64,
    /// Highest number of an index run.
    pub last_run: u64,
    /// Generation of the head.
    pub head_generation: u64,
    /// What of other machines' logs is in the tables, in the order of machines.
    pub seen: VersionVector,
}

impl Progress {
    /// The row.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        for number in self.numbers() {
            out.u64(number);
        }
        out.raw(&self.last_segment_hash);
        out.raw(&self.checkpoint_hash);
        for seen in &self.seen {
            out.u32(seen.machine.0);
            out.u64(seen.seq);
            out.raw(&seen.hash.0);
        }
        out.into_bytes()
    }

    /// Reads the row.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut row = Reader::new(bytes, "progress");
        let mut progress = Self {
            applied: row.u64()?,
            last_number: row.u64()?,
            last_pack: row.u64()?,
            last_segment: row.u64()?,
            published_segment: row.u64()?,
            headed_segment: row.u64()?,
            hlc: row.u64()?,
            inodes: row.u64()?,
            content_len: row.u64()?,
            last_checkpoint: row.u64()?,
            checkpoint_number: row.u64()?,
            checkpoint_segment: row.u64()?,
            operations_since: row.u64()?,
            last_run: row.u64()?,
            head_generation: row.u64()?,
            last_segment_hash: row.array()?,
            checkpoint_hash: row.array()?,
            seen: Vec::new(),
        };
        while !row.is_empty() {
            let (machine, seq) = (MachineTag(row.u32()?), row.u64()?);
            progress.seen.push(Seen { machine, seq, hash: ObjectHash(row.array()?) });
        }
        Ok(progress)
    }

    fn numbers(&self) -> [u64; 15] {
        [
            self.applied,
            self.last_number,
            self.last_pack,
            self.last_segment,
            self.published_segment,
            self.headed_segment,
            self.hlc,
            self.inodes,
            self.content_len,
            self.last_checkpoint,
            self.checkpoint_number,
            self.checkpoint_segment,
            self.operations_since,
            self.last_run,
            self.head_generation,
        ]
    }
}
