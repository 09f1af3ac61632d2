//! Calls about extended attributes.

use keepfs_format::ids::Ino;
use keepfs_format::op::{Op, XATTR_NAME_LEN_MAX, XATTR_VALUE_LEN_MAX};

use crate::error::{FsError, Result};
use crate::fs::Fs;

/// Bytes that all extended attributes of one inode may take together.
const XATTRS_LEN_MAX: usize = 256 << 10;

/// Namespaces whose names are anybody's to choose, see `xattr(7)`. Who may use which is the kernel's to check.
const NAMESPACES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
/// The names of the namespace `system` that mean something here.
const SYSTEM_NAMES: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];

/// Refuses names that are in no namespace.
fn check_name(name: &[u8]) -> Result<()> {
    if SYSTEM_NAMES.contains(&name) {
        return Ok(());
    }
    let rest = NAMESPACES.iter().find_map(|namespace| name.strip_prefix(*namespace));
    match rest.map(<[u8]>::len) {
        None => Err(FsError::NotSupported),
        Some(0) => Err(FsError::InvalidArgument),
        Some(_) => Ok(()),
    }
}

impl Fs {
    /// The value of an extended attribute.
    pub fn xattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>> {
        let mut tree = self.core.tree.lock();
        let (inode, _) = tree.inode(ino)?;
        let at = inode.xattrs.binary_search_by(|(known, _)| known[..].cmp(name));
        match at {
            Ok(at) => Ok(inode.xattrs[at].1.to_vec()),
            Err(_) => check_name(name).and(Err(FsError::NoAttribute)),
        }
    }

    /// Sets an extended attribute. `flags` are those of `setxattr(2)`.
    pub fn set_xattr(&self, ino: Ino, name: &[u8], value: &[u8], flags: i32) -> Result<()> {
        if name.is_empty() || name.len() > XATTR_NAME_LEN_MAX || value.len() > XATTR_VALUE_LEN_MAX {
            return Err(FsError::AttributeTooLarge);
        }
        check_name(name)?;
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
                return check_name(name).and(Err(FsError::NoAttribute));
            }
            core.perform(tree, now, vec![Op::SetXattr { ino, name: name.into(), value: None }])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_belong_to_a_namespace() {
        for name in ["user.a", "trusted.overlay.opaque", "security.capability", "system.posix_acl_access"] {
            check_name(name.as_bytes()).unwrap();
        }
        for name in ["", "a", "foo.bar", "system.nfs4_acl", "users.a"] {
            assert!(matches!(check_name(name.as_bytes()), Err(FsError::NotSupported)), "{name}");
        }
        assert!(matches!(check_name(b"user."), Err(FsError::InvalidArgument)));
    }
}
