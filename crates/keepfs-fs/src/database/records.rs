//! Rows of the local database: fixed little-endian layouts, private to this machine.
//!
//! The database can be deleted and rebuilt at any time, so these layouts are no part of the format of a
//! vault. Rows come from authenticated pages; a row that does not decode is still an error, not a panic.

use keepfs_format::ids::{ChunkId, Hlc, Ino, LinkId, Locator, MachineTag, PackId, Stamp, Time};
use keepfs_format::op::{Entry, Inode, Kind, PackedChunk};

use crate::content::Extent;
use crate::error::{FsError, Result};

/// Length of an encoded locator in bytes.
pub(super) const LOCATOR_LEN: usize = 24;

/// An inode and the space that its content takes, in bytes.
#[derive(Clone, Debug)]
pub(crate) struct InodeRow {
    /// The inode.
    pub inode: Inode,
    /// Bytes of content that are not holes.
    pub allocated: u64,
}

/// Walks over a row; runs dry instead of panicking.
struct Row<'a>(&'a [u8]);

impl<'a> Row<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len).ok_or_else(damaged)?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| damaged())
    }

    fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn time(&mut self) -> Result<Time> {
        Ok(Time { secs: i64::from_le_bytes(self.array()?), nanos: self.u32()? })
    }

    fn stamp(&mut self) -> Result<Stamp> {
        Ok(Stamp { hlc: Hlc(self.u64()?), machine: MachineTag(self.u32()?) })
    }

    fn locator(&mut self) -> Result<Locator> {
        Ok(Locator {
            pack: PackId(self.u64()?),
            index: self.u32()?,
            offset: self.u32()?,
            sealed_len: self.u32()?,
            plain_len: self.u32()?,
        })
    }
}

fn damaged() -> FsError {
    FsError::Damaged {
        what: "a row of the local database".into(),
        advice: "delete the database in the state directory; it is rebuilt from the store".into(),
    }
}

fn put_time(out: &mut Vec<u8>, time: Time) {
    out.extend_from_slice(&time.secs.to_le_bytes());
    out.extend_from_slice(&time.nanos.to_le_bytes());
}

fn put_stamp(out: &mut Vec<u8>, stamp: Stamp) {
    out.extend_from_slice(&stamp.hlc.0.to_le_bytes());
    out.extend_from_slice(&stamp.machine.0.to_le_bytes());
}

fn put_locator(out: &mut Vec<u8>, at: &Locator) {
    out.extend_from_slice(&at.pack.0.to_le_bytes());
    for number in [at.index, at.offset, at.sealed_len, at.plain_len] {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

fn kind_of(byte: u8) -> Result<Kind> {
    Ok(match byte {
        1 => Kind::File,
        2 => Kind::Directory,
        3 => Kind::Symlink,
        4 => Kind::Fifo,
        5 => Kind::Socket,
        6 => Kind::CharDevice,
        7 => Kind::BlockDevice,
        _ => return Err(damaged()),
    })
}

/// Appends an inode's row to `out`.
pub(crate) fn encode_inode(out: &mut Vec<u8>, inode: &Inode, allocated: u64) {
    out.push(inode.kind as u8);
    out.extend_from_slice(&inode.mode.to_le_bytes());
    for number in [inode.uid, inode.gid, inode.rdev, inode.nlink] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    for number in [inode.size, inode.parent.0, allocated] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    for time in [inode.atime, inode.mtime, inode.ctime, inode.btime] {
        put_time(out, time);
    }
    put_stamp(out, inode.attr_stamp);
    put_stamp(out, inode.content_stamp);
    out.extend_from_slice(&(inode.target.len() as u16).to_le_bytes());
    out.extend_from_slice(&inode.target);
    for (name, value) in &inode.xattrs {
        out.push(name.len() as u8);
        out.extend_from_slice(name);
        out.extend_from_slice(&(value.len() as u32).to_le_bytes());
        out.extend_from_slice(value);
    }
}

/// Reads an inode's row.
pub(crate) fn decode_inode(ino: Ino, bytes: &[u8]) -> Result<InodeRow> {
    let mut row = Row(bytes);
    let kind = kind_of(row.array::<1>()?[0])?;
    let mode = row.u16()?;
    let (uid, gid, rdev, nlink) = (row.u32()?, row.u32()?, row.u32()?, row.u32()?);
    let (size, parent, allocated) = (row.u64()?, Ino(row.u64()?), row.u64()?);
    let (atime, mtime, ctime, btime) = (row.time()?, row.time()?, row.time()?, row.time()?);
    let (attr_stamp, content_stamp) = (row.stamp()?, row.stamp()?);
    let target_len = row.u16()?;
    let target = row.take(usize::from(target_len))?.into();
    let mut xattrs = Vec::new();
    while !row.0.is_empty() {
        let name_len = row.array::<1>()?[0];
        let name = row.take(usize::from(name_len))?.into();
        let value_len = row.u32()?;
        xattrs.push((name, row.take(value_len as usize)?.into()));
    }
    let inode = Inode {
        ino,
        kind,
        mode,
        uid,
        gid,
        rdev,
        nlink,
        size,
        atime,
        mtime,
        ctime,
        btime,
        parent,
        attr_stamp,
        content_stamp,
        xattrs,
        target,
    };
    Ok(InodeRow { inode, allocated })
}

/// Appends an entry's row to `out`; its directory and link are the key.
pub(crate) fn encode_entry(out: &mut Vec<u8>, name: &[u8], entry: &Entry) {
    out.extend_from_slice(&entry.ino.0.to_le_bytes());
    out.push(entry.kind as u8);
    out.extend_from_slice(name);
}

/// Reads an entry's row.
pub(crate) fn decode_entry(link: LinkId, bytes: &[u8]) -> Result<(&[u8], Entry)> {
    let mut row = Row(bytes);
    let ino = Ino(row.u64()?);
    let kind = kind_of(row.array::<1>()?[0])?;
    Ok((row.0, Entry { ino, link, kind }))
}

/// Appends an extent's row to `out`; its inode and offset are the key.
pub(crate) fn encode_extent(out: &mut Vec<u8>, extent: &Extent) {
    out.extend_from_slice(&extent.len.to_le_bytes());
    out.extend_from_slice(&extent.skip.to_le_bytes());
    out.extend_from_slice(&extent.id.0);
    put_locator(out, &extent.at);
}

/// Reads an extent's row.
pub(crate) fn decode_extent(bytes: &[u8]) -> Result<Extent> {
    let mut row = Row(bytes);
    let (len, skip) = (row.u64()?, row.u32()?);
    let id = ChunkId(row.array()?);
    Ok(Extent { len, skip, id, at: row.locator()? })
}

/// A locator's row; the chunk id is the key.
pub(crate) fn encode_locator(at: &Locator) -> [u8; LOCATOR_LEN] {
    let mut out = Vec::with_capacity(LOCATOR_LEN);
    put_locator(&mut out, at);
    out.try_into().expect("a locator is a u64 and four u32")
}

/// Reads a locator's row.
pub(crate) fn decode_locator(bytes: &[u8]) -> Result<Locator> {
    Row(bytes).locator()
}

/// Appends a piece of a pack's table to `out`; `offset` is where its first chunk begins in the pack.
pub(crate) fn encode_pack_piece(out: &mut Vec<u8>, offset: u32, chunks: &[PackedChunk]) {
    out.extend_from_slice(&offset.to_le_bytes());
    for chunk in chunks {
        out.extend_from_slice(&chunk.id.0);
        out.extend_from_slice(&chunk.sealed_len.to_le_bytes());
        out.extend_from_slice(&chunk.plain_len.to_le_bytes());
    }
}

/// Reads a piece of a pack's table: the offset of its first chunk, and the chunks.
pub(crate) fn decode_pack_piece(bytes: &[u8]) -> Result<(u32, Vec<PackedChunk>)> {
    let mut row = Row(bytes);
    let offset = row.u32()?;
    let mut chunks = Vec::with_capacity(row.0.len() / 40);
    while !row.0.is_empty() {
        let id = ChunkId(row.array()?);
        chunks.push(PackedChunk { id, sealed_len: row.u32()?, plain_len: row.u32()? });
    }
    Ok((offset, chunks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_truncation_of_an_inode_row_is_refused_or_shorter() {
        let stamp = Stamp { hlc: Hlc(5), machine: MachineTag(7) };
        let inode = Inode {
            ino: Ino(9),
            kind: Kind::Symlink,
            mode: 0o777,
            uid: 1,
            gid: 2,
            rdev: 0,
            nlink: 1,
            size: 6,
            atime: Time { secs: -3, nanos: 999_999_999 },
            mtime: Time::default(),
            ctime: Time::default(),
            btime: Time::default(),
            parent: Ino::ROOT,
            attr_stamp: stamp,
            content_stamp: stamp,
            xattrs: vec![(b"user.a".as_slice().into(), b"value".as_slice().into())],
            target: b"target".as_slice().into(),
        };
        let mut bytes = Vec::new();
        encode_inode(&mut bytes, &inode, 4096);
        let row = decode_inode(Ino(9), &bytes).unwrap();
        assert_eq!((row.inode, row.allocated), (inode, 4096));
        for len in 0..bytes.len() {
            if let Ok(row) = decode_inode(Ino(9), &bytes[..len]) {
                assert!(row.inode.xattrs.is_empty(), "a row of {len} bytes passed for whole");
            }
        }
    }
}
