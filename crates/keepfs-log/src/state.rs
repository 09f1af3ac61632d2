//! What the fold needs of a tree: inodes, entries, contents.

use keepfs_format::ids::{Ino, PackId};
use keepfs_format::op::{Edit, Entry, Inode, PackedChunk};

use crate::fold::FoldError;

/// A tree that operations apply to. The fold calls these in an order that keeps the tree whole after each
/// operation; an implementation only stores.
pub trait State {
    /// Why the tree could not be read or changed.
    type Error: From<FoldError>;

    /// The inode, if it exists.
    fn inode(&mut self, ino: Ino) -> Result<Option<&Inode>, Self::Error>;
    /// The inode, about to change.
    fn inode_mut(&mut self, ino: Ino) -> Result<Option<&mut Inode>, Self::Error>;
    /// A new inode. A directory starts empty, a file without content.
    fn insert_inode(&mut self, inode: Inode) -> Result<(), Self::Error>;
    /// The inode's last name is gone. A tree with open files may keep it for them, unreachable by name.
    fn remove_inode(&mut self, ino: Ino) -> Result<(), Self::Error>;
    /// What the directory says of a name.
    fn entry(&mut self, directory: Ino, name: &[u8]) -> Result<Option<Entry>, Self::Error>;
    /// A new name in a directory, which has no such name.
    fn insert_entry(&mut self, directory: Ino, name: &[u8], entry: Entry) -> Result<(), Self::Error>;
    /// A name goes away.
    fn remove_entry(&mut self, directory: Ino, name: &[u8]) -> Result<(), Self::Error>;
    /// Whether the directory has no entries.
    fn is_empty(&mut self, directory: Ino) -> Result<bool, Self::Error>;
    /// A file's content is cut to `size` bytes, then the edits apply.
    fn edit_content(&mut self, ino: Ino, size: u64, edits: &[Edit]) -> Result<(), Self::Error>;
    /// A pack holds these chunks from position `first` on.
    fn add_chunks(&mut self, pack: PackId, first: u32, chunks: &[PackedChunk]) -> Result<(), Self::Error>;
}
