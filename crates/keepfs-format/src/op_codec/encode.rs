//! Operations to bytes. It only sees groups that keep all rules.

use super::*;
use crate::ids::LinkId;
use crate::op::{AttrChange, Edit, Op, Place, Source};
use crate::op_rules::is_directory;
use crate::pack::write_chunk;

pub(super) struct Encoder<'a> {
    pub(super) writer: &'a mut Writer,
    pub(super) state: &'a mut DeltaState,
}

impl Encoder<'_> {
    pub(super) fn op(&mut self, op: &Op) {
        match op {
            Op::MkDir { at, ino, link, mode, uid, gid } => {
                self.writer.u8(TAG_MKDIR);
                self.place(at);
                self.writer.u64(ino.0);
                self.state.touch(*ino);
                self.link(*link);
                self.owner(Kind::Directory, Owner { mode: *mode, uid: *uid, gid: *gid });
            }
            Op::Create { at, ino, link, kind, mode, uid, gid, rdev, target } => {
                self.writer.u8(TAG_CREATE);
                self.place(at);
                self.writer.delta(ino.0, self.state.ino);
                self.state.ino = ino.0;
                self.link(*link);
                self.owner(*kind, Owner { mode: *mode, uid: *uid, gid: *gid });
                match kind {
                    Kind::Symlink => self.writer.bytes(target),
                    Kind::CharDevice | Kind::BlockDevice => self.writer.varint(u64::from(*rdev)),
                    _ => {}
                }
            }
            Op::Link { at, ino, link } => {
                self.writer.u8(TAG_LINK);
                self.place(at);
                self.ino(*ino);
                self.link(*link);
            }
            Op::Unlink { at, link } => {
                self.writer.u8(TAG_UNLINK);
                self.place(at);
                self.link(*link);
            }
            Op::RmDir { at, link } => {
                self.writer.u8(TAG_RMDIR);
                self.place(at);
                self.link(*link);
            }
            Op::Rename { from, to, link, replaced } => self.rename(from, to, *link, *replaced),
            Op::Exchange { a, b, link_a, link_b } => {
                self.writer.u8(TAG_EXCHANGE);
                self.place(a);
                self.place(b);
                self.link(*link_a);
                self.link(*link_b);
            }
            Op::SetAttr { ino, change } => self.set_attr(*ino, change),
            Op::SetXattr { ino, name, value } => self.set_xattr(*ino, name, value.as_deref()),
            Op::SetContent { ino, size, mtime, edits } => {
                self.writer.u8(TAG_SET_CONTENT);
                self.ino(*ino);
                self.writer.varint(*size);
                self.writer.time(*mtime, self.state.time);
                self.edits(edits);
            }
            Op::PackAdd { pack, first, chunks } => {
                self.writer.u8(TAG_PACK_ADD);
                self.writer.delta(pack.0, self.state.pack);
                self.writer.varint(u64::from(*first));
                self.writer.varint(chunks.len() as u64);
                chunks.iter().for_each(|chunk| write_chunk(self.writer, chunk));
                // What a pack was just said to hold is what files name next.
                self.state.pack = pack.0;
                self.state.next_index = *first;
            }
        }
    }

    fn rename(&mut self, from: &Place, to: &Place, link: LinkId, replaced: Option<LinkId>) {
        self.writer.u8(TAG_RENAME);
        self.place(from);
        self.place(to);
        self.writer.u8(u8::from(replaced.is_some()));
        self.link(link);
        if let Some(replaced) = replaced {
            self.link(replaced);
        }
    }

    fn set_attr(&mut self, ino: Ino, change: &AttrChange) {
        let AttrChange { mode, uid, gid, atime, mtime } = *change;
        let bit = |present: bool, bit: u8| if present { bit } else { 0 };
        self.writer.u8(TAG_SET_ATTR);
        self.writer.u8(bit(mode.is_some(), CHANGE_MODE)
            | bit(uid.is_some(), CHANGE_UID)
            | bit(gid.is_some(), CHANGE_GID)
            | bit(atime.is_some(), CHANGE_ATIME)
            | bit(mtime.is_some(), CHANGE_MTIME));
        self.ino(ino);
        let numbers = [mode.map(u32::from), uid, gid];
        numbers.into_iter().flatten().for_each(|value| self.writer.varint(u64::from(value)));
        [atime, mtime].into_iter().flatten().for_each(|time| self.writer.time(time, self.state.time));
    }

    fn set_xattr(&mut self, ino: Ino, name: &[u8], value: Option<&[u8]>) {
        self.writer.u8(TAG_SET_XATTR);
        self.ino(ino);
        self.name(name);
        match value {
            None => self.writer.varint(0),
            Some(value) => {
                self.writer.varint(value.len() as u64 + 1);
                self.writer.raw(value);
            }
        }
    }

    fn edits(&mut self, edits: &[Edit]) {
        self.writer.varint(edits.len() as u64);
        let mut filled = 0;
        for Edit { offset, len, source } in edits {
            self.writer.varint(offset - filled);
            self.writer.varint(*len);
            filled = offset + len;
            match *source {
                Source::Hole => self.writer.u8(SOURCE_HOLE),
                Source::Chunk { pack, index, skip } => {
                    if pack.0 == self.state.pack && index == self.state.next_index && skip == 0 {
                        self.writer.u8(SOURCE_NEXT);
                    } else {
                        self.writer.u8(SOURCE_CHUNK);
                        self.writer.delta(pack.0, self.state.pack);
                        self.writer.delta(u64::from(index), u64::from(self.state.next_index));
                        self.writer.varint(u64::from(skip));
                    }
                    self.state.pack = pack.0;
                    self.state.next_index = index + 1;
                }
            }
        }
    }

    #[inline]
    fn place(&mut self, place: &Place) {
        self.ino(place.parent);
        self.name(&place.name);
    }

    /// A name of at most 255 bytes: its length fits one byte.
    #[inline]
    fn name(&mut self, name: &[u8]) {
        self.writer.u8(name.len() as u8);
        self.writer.raw(name);
    }

    #[inline]
    fn link(&mut self, link: LinkId) {
        self.writer.delta(link.0, self.state.link);
        self.state.link = link.0;
    }

    #[inline]
    fn ino(&mut self, ino: Ino) {
        if let Some(at) = self.state.recent_place(ino) {
            self.writer.varint(at as u64);
            self.state.touch(ino);
        } else if is_directory(ino) {
            self.writer.varint(DIRECTORY_LITERAL);
            self.writer.u64(ino.0);
            self.state.touch(ino);
        } else {
            // Both are below 2^62, so the zigzag difference is below 2^63 and there is room for the rest.
            let difference = ino.0 as i64 - self.state.ino as i64;
            self.writer.varint(INO_DELTA + ((difference << 1) ^ (difference >> 63)) as u64);
            self.state.ino = ino.0;
        }
    }

    fn owner(&mut self, kind: Kind, owner: Owner) {
        let last = *self.state.owner(kind);
        let kind_byte = if kind == Kind::Directory { 0 } else { kind as u8 };
        if owner == last {
            self.writer.u8(kind_byte | LIKE_LAST);
        } else {
            self.writer.u8(kind_byte);
            self.writer.varint(u64::from(owner.mode));
            self.writer.varint(u64::from(owner.uid));
            self.writer.varint(u64::from(owner.gid));
            *self.state.owner(kind) = owner;
        }
    }
}
