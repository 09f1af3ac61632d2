//! Leaves: runs of entries of a directory, or of inodes that have or had several names.
//!
//! It owns where one leaf ends and the next begins: where a keyed hash of a name (or number) says so, or at
//! the length limit. The same entries make the same leaves on every machine.

use super::inode::RecordState;
use super::list::{ObjectRef, RefBuilder};
use super::record::{DirectoryEntry, FileRecord, read_entry, read_file_rest, write_entry, write_file_record};
use super::{Put, TAG_DIRECTORY_LEAF, TAG_INODE_LEAF};
use crate::codec::{Reader, Writer};
use crate::error::FormatError;
use crate::ids::Ino;
use crate::keys::NamespaceKeys;

/// Longest leaf of more than one entry.
pub const LEAF_LEN_MAX: usize = 256 << 10;
/// Entries of a leaf on average; they take about a hundred bytes each.
const LEAF_ENTRIES_MEAN: u64 = 640;

/// Whether the entry of this name starts a leaf wherever it stands.
pub fn starts_leaf(keys: &NamespaceKeys, name: &[u8]) -> bool {
    keys.leaf_hash(name).is_multiple_of(LEAF_ENTRIES_MEAN)
}

/// Writes the leaf that is open, and closes it where it must end.
struct Leaves {
    tag: u8,
    writer: Writer,
    state: RecordState,
    done: RefBuilder,
}

impl Leaves {
    fn new(tag: u8) -> Self {
        Self { tag, writer: Writer::new(), state: RecordState::new(), done: RefBuilder::new() }
    }

    /// Appends a record to the open leaf, or to a new one where the record starts one or would not fit.
    fn push<E: From<FormatError>>(
        &mut self,
        starts_leaf: bool,
        put: Put<'_, E>,
        write: &dyn Fn(&mut Writer, &mut RecordState) -> Result<(), FormatError>,
    ) -> Result<(), E> {
        if starts_leaf {
            self.close(put)?;
        }
        let is_first = self.writer.is_empty();
        if is_first {
            self.writer.u8(self.tag);
        }
        let (len_before, state_before) = (self.writer.len(), self.state.clone());
        write(&mut self.writer, &mut self.state)?;
        if self.writer.len() > LEAF_LEN_MAX && !is_first {
            self.writer.truncate(len_before);
            self.state = state_before;
            return self.push(true, put, write);
        }
        Ok(())
    }

    fn close<E>(&mut self, put: Put<'_, E>) -> Result<(), E> {
        if !self.writer.is_empty() {
            self.done.push(put(self.writer.as_slice())?);
            self.writer.truncate(0);
            self.state = RecordState::new();
        }
        Ok(())
    }

    fn finish<E: From<FormatError>>(mut self, put: Put<'_, E>) -> Result<ObjectRef, E> {
        self.close(put)?;
        self.done.finish(put)
    }
}

/// Makes the object of one directory from its entries in order.
pub struct DirectoryWriter<'a> {
    keys: &'a NamespaceKeys,
    directory: Ino,
    last_name: Option<Box<[u8]>>,
    leaves: Leaves,
}

impl<'a> DirectoryWriter<'a> {
    /// Of the directory with this number, which is the parent of all its entries.
    pub fn new(keys: &'a NamespaceKeys, directory: Ino) -> Self {
        Self { keys, directory, last_name: None, leaves: Leaves::new(TAG_DIRECTORY_LEAF) }
    }

    /// The next entry, in ascending order of names as bytes.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] when the entry breaks a rule, and what `put` fails with. Either way the
    /// object is not to be finished.
    pub fn push<E: From<FormatError>>(&mut self, entry: &DirectoryEntry, put: Put<'_, E>) -> Result<(), E> {
        ascend(&mut self.last_name, &entry.name)?;
        let starts = starts_leaf(self.keys, &entry.name);
        let directory = self.directory;
        self.leaves.push(starts, put, &|writer, state| write_entry(writer, state, directory, entry))
    }

    /// Stores what is left; the reference is empty for a directory without entries.
    ///
    /// # Errors
    /// What `put` fails with.
    pub fn finish<E: From<FormatError>>(self, put: Put<'_, E>) -> Result<ObjectRef, E> {
        self.leaves.finish(put)
    }
}

fn ascend(last: &mut Option<Box<[u8]>>, name: &[u8]) -> Result<(), FormatError> {
    if last.as_deref().is_some_and(|last| last >= name) {
        return Err(FormatError::Invalid { what: "entries ascend by name" });
    }
    *last = Some(name.into());
    Ok(())
}

/// Reads the leaves of one directory in order.
pub struct DirectoryReader {
    directory: Ino,
    last_name: Option<Box<[u8]>>,
}

impl DirectoryReader {
    /// Of the directory with this number.
    pub fn new(directory: Ino) -> Self {
        Self { directory, last_name: None }
    }

    /// Reads the next leaf and hands out its entries.
    ///
    /// # Errors
    /// [`FormatError`] when the bytes are no leaf, or do not follow on the leaf before. What was handed out
    /// by then is not to be used.
    pub fn leaf(&mut self, bytes: &[u8], each: &mut dyn FnMut(DirectoryEntry)) -> Result<(), FormatError> {
        let mut reader = open_leaf(bytes, TAG_DIRECTORY_LEAF, "leaf of a directory")?;
        let mut state = RecordState::new();
        while !reader.is_empty() {
            let entry = read_entry(&mut reader, &mut state, self.directory)?;
            ascend(&mut self.last_name, &entry.name)?;
            each(entry);
        }
        Ok(())
    }
}

/// Starts a leaf: its tag, then at least one record.
fn open_leaf<'a>(bytes: &'a [u8], tag: u8, what: &'static str) -> Result<Reader<'a>, FormatError> {
    let mut reader = Reader::new(bytes, what);
    let found = reader.u8()?;
    if found != tag {
        return Err(FormatError::BadTag { what, found: u64::from(found) });
    }
    if reader.is_empty() {
        return Err(FormatError::Truncated { what });
    }
    Ok(reader)
}

/// Makes the table of inodes with several names, from their records in order.
pub struct InodeWriter<'a> {
    keys: &'a NamespaceKeys,
    last_ino: Ino,
    leaves: Leaves,
}

impl<'a> InodeWriter<'a> {
    /// An empty table.
    pub fn new(keys: &'a NamespaceKeys) -> Self {
        Self { keys, last_ino: Ino(0), leaves: Leaves::new(TAG_INODE_LEAF) }
    }

    /// The next inode, in ascending order of numbers; its `parent` is `Ino(0)` and its `nlink` at least 1.
    ///
    /// # Errors
    /// As [`DirectoryWriter::push`].
    pub fn push<E: From<FormatError>>(&mut self, record: &FileRecord, put: Put<'_, E>) -> Result<(), E> {
        let inode = &record.inode;
        check_table_inode(inode.ino, self.last_ino, inode.nlink)?;
        if inode.parent != Ino(0) {
            return Err(FormatError::Invalid { what: "parent of an inode" }.into());
        }
        self.last_ino = inode.ino;
        let starts = starts_leaf(self.keys, &inode.ino.0.to_le_bytes());
        self.leaves.push(starts, put, &|writer, state| {
            write_file_record(writer, state, record)?;
            writer.varint(u64::from(inode.nlink));
            Ok(())
        })
    }

    /// Stores what is left; the reference is empty for an empty table.
    ///
    /// # Errors
    /// What `put` fails with.
    pub fn finish<E: From<FormatError>>(self, put: Put<'_, E>) -> Result<ObjectRef, E> {
        self.leaves.finish(put)
    }
}

fn check_table_inode(ino: Ino, last: Ino, nlink: u32) -> Result<(), FormatError> {
    if ino <= last {
        return Err(FormatError::Invalid { what: "inodes ascend by number" });
    }
    // One that once had several names stays in the table: nobody knows the directory of the last one.
    if nlink == 0 {
        return Err(FormatError::Invalid { what: "an inode of the table has a name" });
    }
    Ok(())
}

/// Reads the leaves of the table of inodes with several names, in order.
#[derive(Default)]
pub struct InodeReader {
    last_ino: u64,
}

impl InodeReader {
    /// A reader before the first leaf.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the next leaf and hands out its records.
    ///
    /// # Errors
    /// As [`DirectoryReader::leaf`].
    pub fn leaf(&mut self, bytes: &[u8], each: &mut dyn FnMut(FileRecord)) -> Result<(), FormatError> {
        let mut reader = open_leaf(bytes, TAG_INODE_LEAF, "leaf of inodes")?;
        let mut state = RecordState::new();
        while !reader.is_empty() {
            let first = reader.u8()?;
            let mut record = read_file_rest(&mut reader, &mut state, first)?;
            record.inode.nlink = reader.varint_u32("number of names")?;
            check_table_inode(record.inode.ino, Ino(self.last_ino), record.inode.nlink)?;
            self.last_ino = record.inode.ino.0;
            each(record);
        }
        Ok(())
    }
}
