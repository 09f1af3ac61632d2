//! Bytes to operations. It allocates nothing that the bytes at hand do not pay for; what it returns still
//! has to pass the rules.

use super::*;
use crate::ids::{LinkId, PackId};
use crate::op::{AttrChange, Edit, NAME_LEN_MAX, Op, Place, Source, TARGET_LEN_MAX, XATTR_VALUE_LEN_MAX};
use crate::op_rules::{EDITS_MAX, is_directory};
use crate::pack::{PACK_CHUNKS_MAX, chunk_entry_len_min, read_chunk};

pub(super) struct Decoder<'a, 'b> {
    pub(super) reader: &'a mut Reader<'b>,
    pub(super) state: &'a mut DeltaState,
}

impl Decoder<'_, '_> {
    pub(super) fn op(&mut self) -> Result<Op, FormatError> {
        Ok(match self.reader.u8()? {
            TAG_MKDIR => {
                let at = self.place()?;
                let ino = Ino(self.reader.u64()?);
                self.state.touch(ino);
                let link = self.link()?;
                let (_, Owner { mode, uid, gid }) = self.owner(true)?;
                Op::MkDir { at, ino, link, mode, uid, gid }
            }
            TAG_CREATE => self.create()?,
            TAG_LINK => Op::Link { at: self.place()?, ino: self.ino()?, link: self.link()? },
            TAG_UNLINK => Op::Unlink { at: self.place()?, link: self.link()? },
            TAG_RMDIR => Op::RmDir { at: self.place()?, link: self.link()? },
            TAG_RENAME => {
                let (from, to) = (self.place()?, self.place()?);
                let replaces = match self.reader.u8()? {
                    0 => false,
                    1 => true,
                    found => return Err(FormatError::BadTag { what: "rename", found: u64::from(found) }),
                };
                let link = self.link()?;
                let replaced = if replaces { Some(self.link()?) } else { None };
                Op::Rename { from, to, link, replaced }
            }
            TAG_EXCHANGE => {
                let (a, b) = (self.place()?, self.place()?);
                Op::Exchange { a, b, link_a: self.link()?, link_b: self.link()? }
            }
            TAG_SET_ATTR => self.set_attr()?,
            TAG_SET_XATTR => self.set_xattr()?,
            TAG_SET_CONTENT => Op::SetContent {
                ino: self.ino()?,
                size: self.reader.varint()?,
                mtime: self.reader.time(self.state.time)?,
                edits: self.edits()?,
            },
            TAG_PACK_ADD => self.pack_add()?,
            found => return Err(FormatError::BadTag { what: "operation", found: u64::from(found) }),
        })
    }

    fn create(&mut self) -> Result<Op, FormatError> {
        let at = self.place()?;
        let ino = Ino(self.reader.delta(self.state.ino)?);
        self.state.ino = ino.0;
        let link = self.link()?;
        let (kind, Owner { mode, uid, gid }) = self.owner(false)?;
        let (mut rdev, mut target) = (0, Box::default());
        match kind {
            Kind::Symlink => target = self.reader.bytes("target of a link", TARGET_LEN_MAX)?.into(),
            Kind::CharDevice | Kind::BlockDevice => rdev = self.reader.varint_u32("device number")?,
            _ => {}
        }
        Ok(Op::Create { at, ino, link, kind, mode, uid, gid, rdev, target })
    }

    fn set_attr(&mut self) -> Result<Op, FormatError> {
        let flags = self.reader.u8()?;
        if flags & !CHANGE_ALL != 0 {
            return Err(FormatError::BadTag { what: "change of attributes", found: u64::from(flags) });
        }
        let ino = self.ino()?;
        let has = |bit: u8| flags & bit != 0;
        let mut change = AttrChange::default();
        if has(CHANGE_MODE) {
            change.mode = Some(self.mode()?);
        }
        if has(CHANGE_UID) {
            change.uid = Some(self.reader.varint_u32("owner")?);
        }
        if has(CHANGE_GID) {
            change.gid = Some(self.reader.varint_u32("group")?);
        }
        if has(CHANGE_ATIME) {
            change.atime = Some(self.reader.time(self.state.time)?);
        }
        if has(CHANGE_MTIME) {
            change.mtime = Some(self.reader.time(self.state.time)?);
        }
        Ok(Op::SetAttr { ino, change })
    }

    fn set_xattr(&mut self) -> Result<Op, FormatError> {
        let ino = self.ino()?;
        let name = self.name()?;
        let len = self.reader.varint_max("value of an attribute", XATTR_VALUE_LEN_MAX as u64 + 1)?;
        let value = match len.checked_sub(1) {
            None => None,
            Some(len) => Some(self.reader.raw(len as usize)?.into()),
        };
        Ok(Op::SetXattr { ino, name, value })
    }

    fn pack_add(&mut self) -> Result<Op, FormatError> {
        let pack = PackId(self.reader.delta(self.state.pack)?);
        let first = self.reader.varint_u32("position in a pack")?;
        let count = self.reader.count("chunks of a pack", PACK_CHUNKS_MAX, chunk_entry_len_min())?;
        let mut chunks = Vec::with_capacity(count);
        for _ in 0..count {
            chunks.push(read_chunk(self.reader)?);
        }
        self.state.pack = pack.0;
        self.state.next_index = first;
        Ok(Op::PackAdd { pack, first, chunks })
    }

    fn edits(&mut self) -> Result<Vec<Edit>, FormatError> {
        let count = self.reader.count("edits", EDITS_MAX, EDIT_LEN_MIN)?;
        let mut edits = Vec::with_capacity(count);
        let mut filled = 0u64;
        for _ in 0..count {
            let beyond = FormatError::Invalid { what: "edits lie within the file" };
            let offset = filled.checked_add(self.reader.varint()?).ok_or(beyond.clone())?;
            let len = self.reader.varint()?;
            filled = offset.checked_add(len).ok_or(beyond)?;
            edits.push(Edit { offset, len, source: self.source()? });
        }
        Ok(edits)
    }

    fn source(&mut self) -> Result<Source, FormatError> {
        let (last_pack, next_index) = (self.state.pack, self.state.next_index);
        let (pack, index, skip) = match self.reader.u8()? {
            SOURCE_HOLE => return Ok(Source::Hole),
            SOURCE_NEXT => (last_pack, next_index, 0),
            SOURCE_CHUNK => {
                let pack = self.reader.delta(last_pack)?;
                let index = self.reader.delta(u64::from(next_index))?;
                let index =
                    u32::try_from(index).map_err(|_| FormatError::Invalid { what: "position in a pack" })?;
                let skip = self.reader.varint_u32("bytes of a chunk before an edit")?;
                if (pack, index, skip) == (last_pack, next_index, 0) {
                    return Err(FormatError::NotCanonical { what: "source of an edit" });
                }
                (pack, index, skip)
            }
            found => return Err(FormatError::BadTag { what: "source", found: u64::from(found) }),
        };
        self.state.pack = pack;
        self.state.next_index =
            index.checked_add(1).ok_or(FormatError::Invalid { what: "position in a pack" })?;
        Ok(Source::Chunk { pack: PackId(pack), index, skip })
    }

    #[inline]
    fn place(&mut self) -> Result<Place, FormatError> {
        Ok(Place { parent: self.ino()?, name: self.name()? })
    }

    #[inline]
    fn name(&mut self) -> Result<Box<[u8]>, FormatError> {
        const { assert!(NAME_LEN_MAX == u8::MAX as usize) };
        let len = usize::from(self.reader.u8()?);
        Ok(self.reader.raw(len)?.into())
    }

    #[inline]
    fn link(&mut self) -> Result<LinkId, FormatError> {
        self.state.link = self.reader.delta(self.state.link)?;
        Ok(LinkId(self.state.link))
    }

    #[inline]
    fn ino(&mut self) -> Result<Ino, FormatError> {
        let code = self.reader.varint()?;
        if code < DIRECTORY_LITERAL {
            let at = code as usize;
            let ino = self.state.recent[at];
            self.state.touch(ino);
            return Ok(ino);
        }
        if code == DIRECTORY_LITERAL {
            let ino = Ino(self.reader.u64()?);
            if !is_directory(ino) || self.state.recent.contains(&ino) {
                return Err(FormatError::NotCanonical { what: "number of a directory" });
            }
            self.state.touch(ino);
            return Ok(ino);
        }
        let zigzag = code - INO_DELTA;
        let difference = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
        let ino = Ino(self.state.ino.wrapping_add(difference as u64));
        if is_directory(ino) {
            return Err(FormatError::NotCanonical { what: "number of a directory" });
        }
        self.state.ino = ino.0;
        Ok(ino)
    }

    fn mode(&mut self) -> Result<u16, FormatError> {
        self.reader.varint_max("permission bits", u64::from(u16::MAX)).map(|mode| mode as u16)
    }

    fn owner(&mut self, of_directory: bool) -> Result<(Kind, Owner), FormatError> {
        let byte = self.reader.u8()?;
        let kind = match (of_directory, byte & !LIKE_LAST) {
            (true, 0) => Kind::Directory,
            (false, 1) => Kind::File,
            (false, 3) => Kind::Symlink,
            (false, 4) => Kind::Fifo,
            (false, 5) => Kind::Socket,
            (false, 6) => Kind::CharDevice,
            (false, 7) => Kind::BlockDevice,
            _ => return Err(FormatError::BadTag { what: "kind", found: u64::from(byte) }),
        };
        let last = *self.state.owner(kind);
        if byte & LIKE_LAST != 0 {
            return Ok((kind, last));
        }
        let owner = Owner {
            mode: self.mode()?,
            uid: self.reader.varint_u32("owner")?,
            gid: self.reader.varint_u32("group")?,
        };
        if owner == last {
            return Err(FormatError::NotCanonical { what: "owner" });
        }
        *self.state.owner(kind) = owner;
        Ok((kind, owner))
    }
}
