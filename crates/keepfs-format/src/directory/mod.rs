//! Directory objects: the tree of a checkpoint, as chunks that are equal where the tree is equal.
//!
//! A directory is a list of entries sorted by name, split into leaves where a keyed hash of a name says so:
//! one entry more or less changes one leaf. Leaves are ordinary chunks; they name other chunks by id only,
//! so that machines which stored the same chunk in different packs still make the same bytes. Doors only.

mod extent;
mod inode;
mod leaf;
mod list;
mod record;
mod times;

pub use extent::{Content, EXTENTS_INLINE_MAX, Extent, decode_extents, write_content};
pub(crate) use inode::RecordState;
pub use inode::{INODE_XATTRS_LEN_MAX, INODE_XATTRS_MAX};
pub use leaf::{DirectoryReader, DirectoryWriter, InodeReader, InodeWriter, LEAF_LEN_MAX, starts_leaf};
pub use list::{ObjectRef, REF_DEPTH_MAX, REF_IDS_MAX, RefBuilder, decode_list};
pub(crate) use list::{read_ref, write_ref};
pub use record::{DirectoryEntry, FileRecord, Node};
pub(crate) use record::{read_directory_record, write_directory_record};

/// First byte of a leaf of a directory.
const TAG_DIRECTORY_LEAF: u8 = 1;
/// First byte of a leaf of the table of inodes with several names.
const TAG_INODE_LEAF: u8 = 2;
/// First byte of a list of chunk ids.
const TAG_LIST: u8 = 3;
/// First byte of a leaf of a file's extents.
const TAG_EXTENT_LEAF: u8 = 4;

/// Takes an object's bytes and stores them as a chunk.
pub type Put<'a, E> = &'a mut dyn FnMut(&[u8]) -> Result<crate::ids::ChunkId, E>;
