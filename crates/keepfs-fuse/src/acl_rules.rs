//! Keeping modes and access control lists in step, which the kernel leaves to the file system: what new inodes
//! inherit, what `chmod` does to a list, what setting a list does to a mode. It never judges an access.

use fuser::Errno;
use keepfs_fs::Ino;
use keepfs_fs::{Attr, AttrSet, Caller, Fs};

use crate::acl::{ACCESS, Acl, DEFAULT};
use crate::answers::{Answer, told};

/// Changes of modes that follow from lists are the file system's own and not subject to who asked.
const OURSELVES: Caller = Caller { uid: 0, gid: 0, pid: 0 };

/// What a new inode gets from its directory.
pub(crate) struct Inheritance {
    /// Permission bits to create it with.
    pub(crate) mode: u16,
    /// Permission bits once its list is stored.
    final_mode: u16,
    /// Its own list, if it says more than the mode.
    access: Option<Vec<u8>>,
    /// The list it passes on, for a directory.
    default: Option<Vec<u8>>,
}

/// The inheritance of a new inode: the directory's default list limits the mode, or else the umask does.
pub(crate) fn inheritance(
    fs: &Fs,
    parent: Ino,
    mode: u16,
    umask: u32,
    directory: bool,
) -> Answer<Inheritance> {
    let plain = mode & !((umask & 0o777) as u16);
    let Some((bytes, mut acl)) = stored(fs, parent, DEFAULT)? else {
        return Ok(Inheritance { mode: plain, final_mode: plain, access: None, default: None });
    };
    acl.limit_to(mode);
    let special = mode & 0o7000;
    let access = (!acl.is_minimal()).then(|| acl.encode());
    Ok(Inheritance {
        mode: special | acl.narrow_mode(),
        final_mode: special | acl.mode(),
        access,
        default: directory.then_some(bytes),
    })
}

impl Inheritance {
    /// Stores the lists of an inode that was just made, and gives its attributes as they are then.
    pub(crate) fn bestow(self, fs: &Fs, made: Attr) -> Answer<Attr> {
        if self.access.is_none() && self.default.is_none() {
            return Ok(made);
        }
        if let Some(list) = &self.default {
            fs.set_xattr(made.ino, DEFAULT, list, 0).map_err(told)?;
        }
        if let Some(list) = &self.access {
            fs.set_xattr(made.ino, ACCESS, list, 0).map_err(told)?;
        }
        if self.final_mode != self.mode {
            return set_mode(fs, made.ino, made.mode & !0o777 | self.final_mode & 0o777);
        }
        fs.attr(made.ino).map_err(told)
    }
}

/// After `chmod`: the list of the inode, if it has one, follows the new mode.
pub(crate) fn follow_mode(fs: &Fs, ino: Ino, mode: u16) -> Answer<()> {
    let Some((bytes, mut acl)) = stored(fs, ino, ACCESS)? else {
        return Ok(());
    };
    acl.set_mode(mode);
    let changed = acl.encode();
    if changed == bytes { Ok(()) } else { fs.set_xattr(ino, ACCESS, &changed, 0).map_err(told) }
}

/// Stores the list of an inode and lets its mode follow. A list that a mode can express is not kept.
pub(crate) fn set_access_list(fs: &Fs, ino: Ino, bytes: &[u8], flags: i32, caller: Caller) -> Answer<()> {
    let acl = Acl::parse(bytes).ok_or(Errno::EINVAL)?;
    let attr = fs.attr(ino).map_err(told)?;
    if acl.is_minimal() {
        forget(fs.remove_xattr(ino, ACCESS))?;
    } else {
        fs.set_xattr(ino, ACCESS, bytes, flags).map_err(told)?;
    }
    let mut mode = attr.mode & !0o777 | acl.mode();
    if caller.uid != 0 && caller.gid != attr.gid {
        // Who is not in the group must not leave a file that runs with the group's rights.
        mode &= !0o2000;
    }
    if mode != attr.mode {
        set_mode(fs, ino, mode)?;
    }
    Ok(())
}

/// The bytes and the meaning of a stored list; bytes that are no list count as none.
fn stored(fs: &Fs, ino: Ino, name: &[u8]) -> Answer<Option<(Vec<u8>, Acl)>> {
    match fs.xattr(ino, name) {
        Ok(bytes) => Ok(Acl::parse(&bytes).map(|acl| (bytes, acl))),
        Err(error) if error.errno() == libc::ENODATA => Ok(None),
        Err(error) => Err(told(error)),
    }
}

/// Removing what is not there is done already.
fn forget(result: keepfs_fs::Result<()>) -> Answer<()> {
    match result {
        Err(error) if error.errno() == libc::ENODATA => Ok(()),
        other => other.map_err(told),
    }
}

/// Changes a mode because the rules ask for it, whoever called.
pub(crate) fn set_mode(fs: &Fs, ino: Ino, mode: u16) -> Answer<Attr> {
    fs.set_attr(ino, &AttrSet { mode: Some(mode), ..AttrSet::default() }, None, OURSELVES).map_err(told)
}
