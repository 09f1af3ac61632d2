//! Records of inodes and entries of directories.
//!
//! It owns their bytes: numbers by their distance from the record before, and nothing that follows from
//! something else. It never checks a number against the tree.

use super::extent::{Content, Extent, check_content, read_inline, write_inline};
use super::inode::{
    KIND_MASK, RecordState, SHARED, WHOLE_CHUNK, check_inode, kind_of, read_inode, read_xattrs, write_inode,
    write_xattrs,
};
use super::list::{ObjectRef, read_ref, write_ref};
use crate::chunk::CHUNK_LEN_MAX;
use crate::codec::{Reader, Writer};
use crate::error::FormatError;
use crate::ids::{ChunkId, Ino, LinkId};
use crate::op::{FILE_LEN_MAX, Inode, Kind, NAME_LEN_MAX, TARGET_LEN_MAX};
use crate::op_rules::{check_directory_ino, check_file_ino, check_link, check_name};

/// An inode that is no directory, with its content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileRecord {
    /// The inode.
    pub inode: Inode,
    /// Its content; empty for all but regular files.
    pub content: Content,
}

/// What an entry names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Node {
    /// An inode that is no directory and has no other name.
    File(Box<FileRecord>),
    /// A directory and the leaves of its entries.
    Directory {
        /// The directory's own inode.
        inode: Box<Inode>,
        /// Its entries.
        children: ObjectRef,
    },
    /// An inode that has or once had several names: its record is in the table of such inodes.
    Shared {
        /// Its number.
        ino: Ino,
        /// What it is.
        kind: Kind,
    },
}

/// One name in a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirectoryEntry {
    /// The name.
    pub name: Box<[u8]>,
    /// The entry's id.
    pub link: LinkId,
    /// What it names.
    pub node: Node,
}

/// Appends an entry of the directory `parent`.
pub(super) fn write_entry(
    writer: &mut Writer,
    state: &mut RecordState,
    parent: Ino,
    entry: &DirectoryEntry,
) -> Result<(), FormatError> {
    check_name(&entry.name)?;
    check_link(entry.link)?;
    writer.u8(entry.name.len() as u8);
    writer.raw(&entry.name);
    writer.delta(entry.link.0, state.link);
    state.link = entry.link.0;
    match &entry.node {
        Node::Shared { ino, kind } => {
            check_shared(*ino, *kind)?;
            writer.u8(*kind as u8 | SHARED);
            writer.delta(ino.0, state.ino);
            state.ino = ino.0;
            Ok(())
        }
        Node::File(record) => {
            check_parent(&record.inode, parent)?;
            if record.inode.nlink != 1 {
                return Err(FormatError::Invalid { what: "an inode with several names is shared" });
            }
            write_file_record(writer, state, record)
        }
        Node::Directory { inode, children } => {
            check_parent(inode, parent)?;
            write_directory_record(writer, state, inode, children)
        }
    }
}

/// Reads an entry of the directory `parent`.
pub(super) fn read_entry(
    reader: &mut Reader<'_>,
    state: &mut RecordState,
    parent: Ino,
) -> Result<DirectoryEntry, FormatError> {
    const { assert!(NAME_LEN_MAX == u8::MAX as usize) };
    let name_len = usize::from(reader.u8()?);
    let name: Box<[u8]> = reader.raw(name_len)?.into();
    check_name(&name)?;
    let link = LinkId(reader.delta(state.link)?);
    check_link(link)?;
    state.link = link.0;
    let first = reader.u8()?;
    let kind = kind_of(first)?;
    let node = if first & SHARED != 0 {
        if first & !(SHARED | KIND_MASK) != 0 {
            return Err(FormatError::BadTag { what: "record", found: u64::from(first) });
        }
        let ino = Ino(reader.delta(state.ino)?);
        check_shared(ino, kind)?;
        state.ino = ino.0;
        Node::Shared { ino, kind }
    } else if kind == Kind::Directory {
        let mut inode = read_inode(reader, state, first)?;
        inode.parent = parent;
        let children = read_directory_rest(reader, &mut inode, first)?;
        Node::Directory { inode: Box::new(inode), children }
    } else {
        let mut record = read_file_rest(reader, state, first)?;
        record.inode.parent = parent;
        record.inode.nlink = 1;
        Node::File(Box::new(record))
    };
    Ok(DirectoryEntry { name, link, node })
}

/// Appends a directory's own record: attributes and entries.
pub(crate) fn write_directory_record(
    writer: &mut Writer,
    state: &mut RecordState,
    inode: &Inode,
    children: &ObjectRef,
) -> Result<(), FormatError> {
    check_directory_ino(inode.ino)?;
    check_inode(inode)?;
    if inode.kind != Kind::Directory || inode.size != 0 {
        return Err(FormatError::Invalid { what: "inode of a directory" });
    }
    write_inode(writer, state, inode, 0);
    writer.varint(u64::from(inode.nlink));
    write_ref(writer, children)?;
    write_xattrs(writer, &inode.xattrs);
    Ok(())
}

/// Reads a directory's own record; its parent is the caller's to say.
pub(crate) fn read_directory_record(
    reader: &mut Reader<'_>,
    state: &mut RecordState,
) -> Result<(Inode, ObjectRef), FormatError> {
    let first = reader.u8()?;
    if kind_of(first)? != Kind::Directory || first & SHARED != 0 {
        return Err(FormatError::BadTag { what: "record of a directory", found: u64::from(first) });
    }
    let mut inode = read_inode(reader, state, first)?;
    let children = read_directory_rest(reader, &mut inode, first)?;
    Ok((inode, children))
}

fn read_directory_rest(
    reader: &mut Reader<'_>,
    inode: &mut Inode,
    first: u8,
) -> Result<ObjectRef, FormatError> {
    if first & WHOLE_CHUNK != 0 {
        return Err(FormatError::BadTag { what: "record of a directory", found: u64::from(first) });
    }
    inode.nlink = reader.varint_u32("number of names")?;
    let children = read_ref(reader)?;
    inode.xattrs = read_xattrs(reader, first)?;
    Ok(children)
}

/// Appends the record of an inode that is no directory; its number of names is the caller's to tell.
pub(super) fn write_file_record(
    writer: &mut Writer,
    state: &mut RecordState,
    record: &FileRecord,
) -> Result<(), FormatError> {
    let FileRecord { inode, content } = record;
    check_file(record)?;
    let whole = content.whole(inode.size);
    write_inode(writer, state, inode, if whole.is_some() { WHOLE_CHUNK } else { 0 });
    match inode.kind {
        Kind::File => {
            writer.varint(inode.size);
            match whole {
                Some(extent) => writer.raw(&extent.chunk.0),
                None => write_inline(writer, content)?,
            }
        }
        Kind::Symlink => writer.bytes(&inode.target),
        Kind::CharDevice | Kind::BlockDevice => writer.varint(u64::from(inode.rdev)),
        Kind::Fifo | Kind::Socket | Kind::Directory => {}
    }
    write_xattrs(writer, &inode.xattrs);
    Ok(())
}

/// Reads the record of an inode that is no directory, behind its first byte.
pub(super) fn read_file_rest(
    reader: &mut Reader<'_>,
    state: &mut RecordState,
    first: u8,
) -> Result<FileRecord, FormatError> {
    let bad_first = FormatError::BadTag { what: "record", found: u64::from(first) };
    let kind = kind_of(first)?;
    if kind == Kind::Directory || (first & WHOLE_CHUNK != 0 && kind != Kind::File) || first & SHARED != 0 {
        return Err(bad_first);
    }
    let mut inode = read_inode(reader, state, first)?;
    let mut content = Content::default();
    match kind {
        Kind::File => {
            inode.size = reader.varint()?;
            content = if first & WHOLE_CHUNK != 0 {
                whole_content(reader, inode.size)?
            } else {
                read_inline(reader)?
            };
            if content.whole(inode.size).is_some() != (first & WHOLE_CHUNK != 0) {
                return Err(FormatError::NotCanonical { what: "content of a file" });
            }
        }
        Kind::Symlink => {
            inode.target = reader.bytes("target of a link", TARGET_LEN_MAX)?.into();
            inode.size = inode.target.len() as u64;
        }
        Kind::CharDevice | Kind::BlockDevice => inode.rdev = reader.varint_u32("device number")?,
        Kind::Fifo | Kind::Socket | Kind::Directory => {}
    }
    inode.xattrs = read_xattrs(reader, first)?;
    let record = FileRecord { inode, content };
    check_file(&record)?;
    Ok(record)
}

fn whole_content(reader: &mut Reader<'_>, size: u64) -> Result<Content, FormatError> {
    if size == 0 || size > CHUNK_LEN_MAX as u64 {
        return Err(FormatError::Invalid { what: "plain length of a chunk" });
    }
    let len = size as u32;
    let chunk = ChunkId(reader.array()?);
    Ok(Content::Inline(vec![Extent { offset: 0, len, skip: 0, plain_len: len, chunk }]))
}

fn check_parent(inode: &Inode, parent: Ino) -> Result<(), FormatError> {
    if inode.parent == parent { Ok(()) } else { Err(FormatError::Invalid { what: "parent of an inode" }) }
}

fn check_shared(ino: Ino, kind: Kind) -> Result<(), FormatError> {
    check_file_ino(ino)?;
    if kind == Kind::Directory {
        return Err(FormatError::Invalid { what: "a directory has one name" });
    }
    Ok(())
}

fn check_file(record: &FileRecord) -> Result<(), FormatError> {
    let FileRecord { inode, content } = record;
    check_file_ino(inode.ino)?;
    check_inode(inode)?;
    let size_max = match inode.kind {
        Kind::Directory => return Err(FormatError::Invalid { what: "a directory has its own record" }),
        Kind::File => FILE_LEN_MAX,
        Kind::Symlink => inode.target.len() as u64,
        _ => 0,
    };
    let exact = inode.kind != Kind::File;
    if inode.size > size_max || (exact && inode.size != size_max) {
        return Err(FormatError::Invalid { what: "size of an inode" });
    }
    if inode.kind != Kind::File && *content != Content::default() {
        return Err(FormatError::Invalid { what: "only a file has content" });
    }
    check_content(content, inode.size)
}
