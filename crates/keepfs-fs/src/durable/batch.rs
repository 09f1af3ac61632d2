//! One entry of the journal: operations in the log's encoding, and raw bytes of small writes.
//!
//! Operations of a batch come first, bytes after them: bytes are the state at the end of the batch.

use keepfs_format::codec::{Reader, Writer};
use keepfs_format::error::FormatError;
use keepfs_format::ids::{Hlc, Ino, Time};
use keepfs_format::op::{FILE_LEN_MAX, OpGroup};
use keepfs_format::op_codec::{DeltaState, decode_group};

/// Longest blob of operations in a batch, in bytes. A commit is forced long before.
const BLOB_LEN_MAX: usize = 60 << 20;

/// Bytes that a file holds, and its attributes with them.
pub(crate) struct RawWrite<'a> {
    /// The file.
    pub ino: Ino,
    /// First byte.
    pub offset: u64,
    /// Length of the file.
    pub size: u64,
    /// Its mtime.
    pub mtime: Time,
    /// Its ctime.
    pub ctime: Time,
    /// The bytes.
    pub data: &'a [u8],
}

/// A batch being put together.
pub(crate) struct BatchWriter {
    out: Writer,
    empty: bool,
}

impl BatchWriter {
    /// A batch that begins with these operations: tables of packs, then everything else.
    pub(crate) fn new(hlc: Hlc, packs: &[u8], operations: &[u8]) -> Self {
        let mut out = Writer::with_capacity(packs.len() + operations.len() + 64);
        out.u64(hlc.0);
        out.bytes(packs);
        out.bytes(operations);
        Self { out, empty: packs.is_empty() && operations.is_empty() }
    }

    /// Adds bytes of a file.
    pub(crate) fn write(&mut self, write: &RawWrite<'_>) {
        self.empty = false;
        self.out.varint(write.ino.0);
        self.out.varint(write.offset);
        self.out.varint(write.size);
        self.out.time(write.mtime, Time::default());
        self.out.time(write.ctime, write.mtime);
        self.out.bytes(write.data);
    }

    /// The batch; `None` if there is nothing in it.
    pub(crate) fn finish(self) -> Option<Vec<u8>> {
        (!self.empty).then(|| self.out.into_bytes())
    }
}

/// A batch read back.
pub(crate) struct Batch<'a> {
    /// Logical time at its end: of its last operation, or of the last one before it.
    pub hlc: Hlc,
    /// Groups of operations with tables of packs.
    pub packs: &'a [u8],
    /// The other groups.
    pub operations: &'a [u8],
    writes: Reader<'a>,
}

impl<'a> Batch<'a> {
    /// Reads the frame of a batch.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes, "journal batch");
        let hlc = Hlc(reader.u64()?);
        let packs = reader.bytes("tables of packs", BLOB_LEN_MAX)?;
        let operations = reader.bytes("operations", BLOB_LEN_MAX)?;
        Ok(Self { hlc, packs, operations, writes: reader })
    }

    /// The next bytes of a file.
    pub(crate) fn next_write(&mut self) -> Result<Option<RawWrite<'a>>, FormatError> {
        if self.writes.is_empty() {
            return Ok(None);
        }
        let ino = Ino(self.writes.varint()?);
        let offset = self.writes.varint_max("offset", FILE_LEN_MAX)?;
        let size = self.writes.varint_max("size", FILE_LEN_MAX)?;
        let mtime = self.writes.time(Time::default())?;
        let ctime = self.writes.time(mtime)?;
        let data = self.writes.bytes("bytes of a file", BLOB_LEN_MAX)?;
        Ok(Some(RawWrite { ino, offset, size, mtime, ctime, data }))
    }
}

/// Every group of a blob, in order.
pub(crate) fn each_group<E: From<FormatError>>(
    blob: &[u8],
    mut each: impl FnMut(OpGroup) -> Result<(), E>,
) -> Result<(), E> {
    let mut reader = Reader::new(blob, "operations");
    let mut state = DeltaState::default();
    while !reader.is_empty() {
        each(decode_group(&mut reader, &mut state)?)?;
    }
    Ok(())
}
