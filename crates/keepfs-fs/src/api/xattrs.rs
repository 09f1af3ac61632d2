//! Calls about extended attributes.

use keepfs_format::ids::Ino;
use keepfs_format::op::{Op, XATTR_NAME_LEN_MAX, XATTR_VALUE_LEN_MAX};

use crate::error::{FsError, Result};
use crate::fs::Fs;

/// Bytes that all extended attributes of one inode may take together.
const XATTRS_LEN_MAX: usize = 256 << 10;

impl Fs {
    /// The value of an extended attribute.
    pub fn xattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>> {
        let mut tree = self.core.tree.lock();
        let (inode, _) = tree.inode(ino)?;
        let at = inode.xattrs.binary_search_by(|(known, _)| known[..].cmp(name));
        at.map(|at| inode.xattrs[at].1.to_vec()).map_err(|_| FsError::NoAttribute)
    }

    /// Sets an extended attribute. `flags` are those of `setxattr(2)`.
    pub fn set_xattr(&self, ino: Ino, name: &[u8], value: &[u8], flags: i32) -> Result<()> {
        if name.is_empty() || name.len() > XATTR_NAME_LEN_MAX || value.len() > XATTR_VALUE_LEN_MAX {
            return Err(FsError::AttributeTooLarge);
        }
        self.core.change(|core, tree, now| {
            let (inode, _) = tree.inode(ino)?;
            let exists = inode.xattrs.iter().any(|(known, _)| known[..] == *name);
            let others = inode.xattrs.iter().filter(|(known, _)| known[..] != *name);
            let total: usize = others.map(|(name, value)| name.len() + value.len()).sum();
            match (flags, exists) {
                (libc::XATTR_CREATE, true) => return Err(FsError::Exists),
                (libc::XATTR_REPLACE, false) => return Err(FsError::NoAttribute),
                _ if total + name.len() + value.len() > XATTRS_LEN_MAX => {
                    return Err(FsError::NoSpace { detail: "extended attributes of one inode".into() });
                }
                _ => {}
            }
            if tree.is_gone(ino) {
                return Err(FsError::NotFound);
            }
            core.perform(tree, now, vec![Op::SetXattr { ino, name: name.into(), value: Some(value.into()) }])
        })
    }

    /// The names of all extended attributes, each followed by NUL.
    pub fn list_xattrs(&self, ino: Ino) -> Result<Vec<u8>> {
        let mut tree = self.core.tree.lock();
        let (inode, _) = tree.inode(ino)?;
        let mut names = Vec::new();
        for (name, _) in &inode.xattrs {
            names.extend_from_slice(name);
            names.push(0);
        }
        Ok(names)
    }

    /// Removes an extended attribute.
    pub fn remove_xattr(&self, ino: Ino, name: &[u8]) -> Result<()> {
        self.core.change(|core, tree, now| {
            let (inode, _) = tree.inode(ino)?;
            if !inode.xattrs.iter().any(|(known, _)| known[..] == *name) {
                return Err(FsError::NoAttribute);
            }
            core.perform(tree, now, vec![Op::SetXattr { ino, name: name.into(), value: None }])
        })
    }
}
