//! A tree and its contents in memory, and nothing else: no journal, no disk, no rights beyond those that the kernel
//! checks. It owns every byte that the mount holds and never talks to the kernel.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use fuser::{Errno, FileAttr, FileType, INodeNo, Request};
use parking_lot::{Mutex, RwLock};

/// The page, as `stat` calls the best size for reading and writing.
const BLOCK_LEN: u32 = 4_096;
/// The unit in which `stat` counts space, in bytes.
const SPACE_UNIT: u64 = 512;
/// Files that outgrow this move to memory that was touched before, in bytes.
const LARGE_LEN: usize = 1 << 20;

/// Bytes of a file.
pub(crate) type Content = Arc<RwLock<Vec<u8>>>;

/// One inode.
pub(crate) struct Node {
    pub(crate) attr: FileAttr,
    pub(crate) content: Content,
    pub(crate) target: OsString,
    names: HashMap<OsString, u64>,
    entries: BTreeMap<u64, (OsString, INodeNo)>,
    cookie_next: u64,
}

impl Node {
    fn new(number: INodeNo, kind: FileType, mode: u32, request: Option<&Request>) -> Self {
        let now = SystemTime::now();
        let attr = FileAttr {
            ino: number,
            size: 0,
            blocks: 0,
            atime: now,
            mtime: now,
            ctime: now,
            crtime: UNIX_EPOCH,
            kind,
            perm: (mode & 0o7777) as u16,
            nlink: if kind == FileType::Directory { 2 } else { 1 },
            uid: request.map_or(0, Request::uid),
            gid: request.map_or(0, Request::gid),
            rdev: 0,
            blksize: BLOCK_LEN,
            flags: 0,
        };
        let (names, entries) = (HashMap::new(), BTreeMap::new());
        // Cookies 1 and 2 are `.` and `..`.
        Self { attr, content: Content::default(), target: OsString::new(), names, entries, cookie_next: 3 }
    }

    fn set_size(&mut self, size: u64) {
        self.attr.size = size;
        self.attr.blocks = size.div_ceil(SPACE_UNIT);
    }
}

/// The file system's state. Inode numbers are places in `nodes` and are never used twice.
pub(crate) struct Tree {
    nodes: Vec<Option<Node>>,
}

/// What is to be made: kind, mode without the caller's mask, and a link's target.
pub(crate) struct Plan<'a> {
    pub(crate) kind: FileType,
    pub(crate) mode: u32,
    pub(crate) target: &'a OsStr,
}

impl Tree {
    /// A tree with nothing but its root.
    pub(crate) fn new() -> Self {
        let root = Node::new(INodeNo::ROOT, FileType::Directory, 0o755, None);
        Self { nodes: vec![None, Some(root)] }
    }

    pub(crate) fn node(&mut self, number: INodeNo) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(number.0 as usize).and_then(Option::as_mut).ok_or(Errno::ENOENT)
    }

    pub(crate) fn find(&mut self, parent: INodeNo, name: &OsStr) -> Result<FileAttr, Errno> {
        let parent = self.node(parent)?;
        let cookie = parent.names.get(name).ok_or(Errno::ENOENT)?;
        let number = parent.entries[cookie].1;
        Ok(self.node(number)?.attr)
    }

    pub(crate) fn make(
        &mut self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        plan: &Plan<'_>,
    ) -> Result<FileAttr, Errno> {
        let number = INodeNo(self.nodes.len() as u64);
        let mut node = Node::new(number, plan.kind, plan.mode, Some(request));
        if plan.kind == FileType::Symlink {
            node.target = plan.target.to_owned();
            node.set_size(plan.target.len() as u64);
        }
        let attr = node.attr;
        self.enter(parent, name, number)?;
        self.nodes.push(Some(node));
        if plan.kind == FileType::Directory {
            self.node(parent)?.attr.nlink += 1;
        }
        Ok(attr)
    }

    fn enter(&mut self, parent: INodeNo, name: &OsStr, number: INodeNo) -> Result<(), Errno> {
        let parent = self.node(parent)?;
        if parent.names.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        let cookie = parent.cookie_next;
        parent.cookie_next += 1;
        parent.names.insert(name.to_owned(), cookie);
        parent.entries.insert(cookie, (name.to_owned(), number));
        parent.attr.mtime = SystemTime::now();
        Ok(())
    }

    pub(crate) fn remove(&mut self, parent: INodeNo, name: &OsStr) -> Result<(), Errno> {
        let number = self.find(parent, name)?.ino;
        if !self.node(number)?.entries.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        let is_directory = self.node(number)?.attr.kind == FileType::Directory;
        let parent = self.node(parent)?;
        if let Some(cookie) = parent.names.remove(name) {
            parent.entries.remove(&cookie);
        }
        parent.attr.nlink -= u32::from(is_directory);
        self.nodes[number.0 as usize] = None;
        Ok(())
    }

    /// Gives each entry of a directory after a cookie to `show`, until that is full.
    pub(crate) fn list(
        &mut self,
        number: INodeNo,
        after: u64,
        show: &mut dyn FnMut(u64, &OsStr, &FileAttr) -> bool,
    ) -> Result<(), Errno> {
        let own = self.node(number)?.attr;
        for (cookie, name) in [(1, "."), (2, "..")] {
            if cookie > after && show(cookie, OsStr::new(name), &own) {
                return Ok(());
            }
        }
        let found = self.nodes.get(number.0 as usize).and_then(Option::as_ref).ok_or(Errno::ENOENT)?;
        for (cookie, (name, entry)) in found.entries.range(after + 1..) {
            let entry = self.nodes.get(entry.0 as usize).and_then(Option::as_ref).ok_or(Errno::EIO)?;
            if show(*cookie, name, &entry.attr) {
                break;
            }
        }
        Ok(())
    }

    /// A file became so long, by a write, or by order.
    pub(crate) fn sized(&mut self, number: INodeNo, size: u64, exactly: bool) -> Result<(), Errno> {
        let node = self.node(number)?;
        if exactly || size > node.attr.size {
            node.set_size(size);
        }
        Ok(())
    }
}

/// Memory that was touched before the measurement: on a virtual machine the first touch of a page costs more than
/// everything else that is done with it.
pub(crate) struct Pool(Mutex<Vec<Vec<u8>>>);

impl Pool {
    /// So many pieces of so many bytes.
    pub(crate) fn new(count: usize, length: usize) -> Self {
        let piece = || {
            let mut piece = vec![1; length];
            piece.clear();
            piece
        };
        Self(Mutex::new((0..count).map(|_| piece()).collect()))
    }

    /// Makes room in a file's bytes, if that is worth it.
    pub(crate) fn make_room(&self, content: &mut Vec<u8>, length: usize) {
        if length <= LARGE_LEN || length <= content.capacity() {
            return;
        }
        if let Some(mut piece) = self.0.lock().pop_if(|piece| piece.capacity() >= length) {
            piece.extend_from_slice(content);
            *content = piece;
        }
    }
}
