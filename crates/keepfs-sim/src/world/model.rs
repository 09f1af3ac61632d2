//! The pure model: what a file system that never fails would show. It owns the rules of POSIX for the calls that
//! worlds make, and shares no code with what it judges.

use std::collections::BTreeMap;
use std::sync::Arc;

use keepfs_fs::RenameMode;

use super::tree::{Body, Item, Path, Shown, below};

/// An outcome: nothing, or the number of the error.
pub(super) type Outcome<T = ()> = std::result::Result<T, i32>;

const ROOT: u64 = 0;

#[derive(Clone, Debug)]
enum What {
    File(Arc<Vec<u8>>),
    Directory { entries: BTreeMap<Vec<u8>, u64>, parent: u64 },
    Symlink(Vec<u8>),
}

#[derive(Clone, Debug)]
struct Node {
    what: What,
    mode: u16,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A tree in memory.
#[derive(Clone, Debug)]
pub struct Model {
    nodes: BTreeMap<u64, Node>,
    next: u64,
}

impl Model {
    /// The tree that shows this. Files without a name are in nobody's view, so there are none.
    pub fn of(shown: &Shown) -> Self {
        let mut model = Self { nodes: BTreeMap::new(), next: 0 };
        let mut by_path: BTreeMap<&Path, u64> = BTreeMap::new();
        for (path, item) in shown {
            let number = match by_path.get(&item.first) {
                Some(number) => *number,
                None => model.add(Node {
                    what: match &item.body {
                        Body::File(bytes) => What::File(bytes.clone()),
                        Body::Directory => What::Directory { entries: BTreeMap::new(), parent: ROOT },
                        Body::Symlink(target) => What::Symlink(target.clone()),
                    },
                    mode: item.mode,
                    xattrs: item.xattrs.clone(),
                }),
            };
            by_path.insert(path, number);
            let Some(cut) = path.iter().rposition(|byte| *byte == b'/') else { continue };
            if let Some(parent) = by_path.get(&path[..cut].to_vec()).copied() {
                model.enter(parent, &path[cut + 1..], number);
            }
        }
        model
    }

    /// What it shows.
    pub fn shown(&self) -> Shown {
        let mut shown = Shown::new();
        let mut first: BTreeMap<u64, Path> = BTreeMap::new();
        let mut pending = vec![(Path::new(), ROOT)];
        let mut order = Vec::new();
        while let Some((path, number)) = pending.pop() {
            for (name, child) in self.entries(number).into_iter().flatten() {
                pending.push((below(&path, name), *child));
            }
            order.push((path, number));
        }
        order.sort();
        for (path, number) in order {
            let Some(node) = self.nodes.get(&number) else { continue };
            let first = first.entry(number).or_insert_with(|| path.clone()).clone();
            let body = match &node.what {
                What::File(bytes) => Body::File(bytes.clone()),
                What::Directory { .. } => Body::Directory,
                What::Symlink(target) => Body::Symlink(target.clone()),
            };
            let nlink = self.nlink(number);
            shown.insert(path, Item { body, mode: node.mode, nlink, xattrs: node.xattrs.clone(), first });
        }
        shown
    }

    /// The inode under a path.
    pub fn find(&self, path: &[u8]) -> Outcome<u64> {
        let mut at = ROOT;
        for name in path.split(|byte| *byte == b'/').skip(1) {
            at = *self.entries(at).ok_or(libc::ENOTDIR)?.get(name).ok_or(libc::ENOENT)?;
        }
        Ok(at)
    }

    /// The bytes of a file that is opened by its inode.
    pub fn file(&self, number: u64) -> Outcome<&Arc<Vec<u8>>> {
        match self.nodes.get(&number).map(|node| &node.what) {
            Some(What::File(bytes)) => Ok(bytes),
            Some(What::Directory { .. }) => Err(libc::EISDIR),
            Some(What::Symlink(_)) => Err(libc::EOPNOTSUPP),
            None => Err(libc::ENOENT),
        }
    }

    /// Changes the bytes of a file.
    pub fn change(&mut self, number: u64, change: impl FnOnce(&mut Vec<u8>)) -> Outcome {
        self.file(number)?;
        if let Some(What::File(bytes)) = self.nodes.get_mut(&number).map(|node| &mut node.what) {
            change(Arc::make_mut(bytes));
        }
        Ok(())
    }

    /// Makes something new.
    pub fn make(&mut self, directory: &[u8], name: &[u8], body: &Body, mode: u16) -> Outcome<u64> {
        let parent = self.find(directory)?;
        if self.entries(parent).ok_or(libc::ENOTDIR)?.contains_key(name) {
            return Err(libc::EEXIST);
        }
        let what = match body {
            Body::File(bytes) => What::File(bytes.clone()),
            Body::Directory => What::Directory { entries: BTreeMap::new(), parent },
            Body::Symlink(target) => What::Symlink(target.clone()),
        };
        let number = self.add(Node { what, mode, xattrs: BTreeMap::new() });
        self.enter(parent, name, number);
        Ok(number)
    }

    /// Gives an inode a further name.
    pub fn link(&mut self, path: &[u8], directory: &[u8], name: &[u8]) -> Outcome {
        let (number, parent) = (self.find(path)?, self.find(directory)?);
        if self.entries(parent).ok_or(libc::ENOTDIR)?.contains_key(name) {
            return Err(libc::EEXIST);
        }
        if self.is_directory(number) {
            return Err(libc::EPERM);
        }
        self.enter(parent, name, number);
        Ok(())
    }

    /// Takes away a name of what is no directory.
    pub fn unlink(&mut self, directory: &[u8], name: &[u8]) -> Outcome {
        let number = self.find(&below(directory, name))?;
        if self.is_directory(number) {
            return Err(libc::EISDIR);
        }
        let parent = self.find(directory)?;
        self.leave(parent, name);
        Ok(())
    }

    /// Takes away an empty directory.
    pub fn remove_directory(&mut self, directory: &[u8], name: &[u8]) -> Outcome {
        let number = self.find(&below(directory, name))?;
        if !self.entries(number).ok_or(libc::ENOTDIR)?.is_empty() {
            return Err(libc::ENOTEMPTY);
        }
        let parent = self.find(directory)?;
        self.leave(parent, name);
        Ok(())
    }

    /// Moves a name, or exchanges two.
    pub fn rename(&mut self, from: (&[u8], &[u8]), to: (&[u8], &[u8]), mode: RenameMode) -> Outcome {
        let moving = self.find(&below(from.0, from.1))?;
        let (from_parent, to_parent) = (self.find(from.0)?, self.find(to.0)?);
        let target = self.entries(to_parent).ok_or(libc::ENOTDIR)?.get(to.1).copied();
        if self.is_above(moving, to_parent) {
            return Err(libc::EINVAL);
        }
        match (mode, target) {
            (RenameMode::NoReplace, Some(_)) => return Err(libc::EEXIST),
            (RenameMode::Exchange, None) => return Err(libc::ENOENT),
            (RenameMode::Exchange, Some(target)) => {
                if self.is_above(target, from_parent) {
                    return Err(libc::EINVAL);
                }
                self.enter(from_parent, from.1, target);
                self.enter(to_parent, to.1, moving);
                return Ok(());
            }
            (_, Some(target)) if target == moving => return Ok(()),
            (_, Some(target)) => match (self.is_directory(moving), self.entries(target)) {
                (true, None) => return Err(libc::ENOTDIR),
                (false, Some(_)) => return Err(libc::EISDIR),
                (true, Some(entries)) if !entries.is_empty() => return Err(libc::ENOTEMPTY),
                _ => {}
            },
            (_, None) => {}
        }
        self.leave(from_parent, from.1);
        self.enter(to_parent, to.1, moving);
        Ok(())
    }

    /// Sets permission bits.
    pub fn set_mode(&mut self, path: &[u8], mode: u16) -> Outcome {
        let number = self.find(path)?;
        if let Some(node) = self.nodes.get_mut(&number) {
            node.mode = mode;
        }
        Ok(())
    }

    /// Sets or removes an extended attribute.
    pub fn set_xattr(&mut self, path: &[u8], name: &[u8], value: Option<&[u8]>) -> Outcome {
        let number = self.find(path)?;
        let Some(node) = self.nodes.get_mut(&number) else { return Err(libc::ENOENT) };
        match value {
            Some(value) => drop(node.xattrs.insert(name.to_vec(), value.to_vec())),
            None => drop(node.xattrs.remove(name).ok_or(libc::ENODATA)?),
        }
        Ok(())
    }

    fn add(&mut self, node: Node) -> u64 {
        let number = self.next;
        self.next += 1;
        self.nodes.insert(number, node);
        number
    }

    fn entries(&self, number: u64) -> Option<&BTreeMap<Vec<u8>, u64>> {
        match &self.nodes.get(&number)?.what {
            What::Directory { entries, .. } => Some(entries),
            _ => None,
        }
    }

    fn is_directory(&self, number: u64) -> bool {
        self.entries(number).is_some()
    }

    /// Whether a directory is another, or above it.
    fn is_above(&self, directory: u64, mut at: u64) -> bool {
        while self.is_directory(directory) {
            match self.nodes.get(&at).map(|node| &node.what) {
                _ if at == directory => return true,
                Some(What::Directory { parent, .. }) if at != ROOT => at = *parent,
                _ => return false,
            }
        }
        false
    }

    fn enter(&mut self, directory: u64, name: &[u8], number: u64) {
        if let Some(What::Directory { entries, .. }) =
            self.nodes.get_mut(&directory).map(|node| &mut node.what)
        {
            entries.insert(name.to_vec(), number);
        }
        if let Some(What::Directory { parent, .. }) = self.nodes.get_mut(&number).map(|node| &mut node.what) {
            *parent = directory;
        }
    }

    fn leave(&mut self, directory: u64, name: &[u8]) {
        if let Some(What::Directory { entries, .. }) =
            self.nodes.get_mut(&directory).map(|node| &mut node.what)
        {
            entries.remove(name);
        }
    }

    fn nlink(&self, number: u64) -> u32 {
        if let Some(entries) = self.entries(number) {
            return 2 + entries.values().filter(|child| self.is_directory(**child)).count() as u32;
        }
        let all = self.nodes.values().filter_map(|node| match &node.what {
            What::Directory { entries, .. } => Some(entries),
            _ => None,
        });
        all.flat_map(|entries| entries.values()).filter(|child| **child == number).count() as u32
    }
}
