//! The disk itself: files and directories that remember what a power cut would leave of them.
//!
//! Owns names, bytes, attributes, planned faults and the power. Attributes other than the length are taken for
//! durable at once. It knows nothing of the kernel; requests reach it through [`super::frontend`], commands
//! through [`super::control`].

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fuser::FileType;
use rustix::fs::{RenameFlags, StatVfs, statvfs};
use rustix::io::Errno;

use super::bytes::FileBytes;
use super::chance::Chance;
use super::faults::{Call, Faults};
use super::names::{Names, Number, Place};

/// Number of the root, as the kernel wants it.
pub(super) const ROOT: Number = 1;

const NAME_LEN_MAX: usize = 255;

/// Longest file in bytes.
const FILE_LEN_MAX: u64 = 1 << 40;

pub(super) type Result<T> = std::result::Result<T, Errno>;

/// What is told of a file or directory.
#[derive(Debug, Clone)]
pub(super) struct Attributes {
    pub(super) kind: FileType,
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) modified: SystemTime,
}

struct Node {
    attributes: Attributes,
    /// The directory of the root that it was made below, for faults.
    below: OsString,
    bytes: Option<FileBytes>,
}

/// How the power goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cut {
    /// Nothing survives that was not synced.
    Drop,
    /// Each sector, length and name that was not synced survives or not, as this seed decides.
    Tear(u64),
}

pub(super) struct Disk {
    pub(super) faults: Faults,
    names: Names,
    nodes: HashMap<Number, Node>,
    next: Number,
    scratch: PathBuf,
    has_power: bool,
}

impl Disk {
    /// An empty disk, which keeps the bytes of its files in the directory `scratch`.
    pub(super) fn new(scratch: &Path, owner: (u32, u32)) -> Self {
        let attributes =
            Attributes { kind: FileType::Directory, mode: 0o755, owner, modified: SystemTime::now() };
        let root = Node { attributes, below: OsString::new(), bytes: None };
        Disk {
            faults: Faults::default(),
            names: Names::new(ROOT),
            nodes: HashMap::from([(ROOT, root)]),
            next: ROOT + 1,
            scratch: scratch.to_path_buf(),
            has_power: true,
        }
    }

    /// The power goes: from now on every call fails, until it is back.
    pub(super) fn cut(&mut self, how: Cut) -> Result<()> {
        self.has_power = false;
        self.faults.heal();
        let mut chance = match how {
            Cut::Drop => None,
            Cut::Tear(seed) => Some(Chance::new(seed)),
        };
        let reached = self.names.lose_power(ROOT, chance.as_mut());
        let mut numbers: Vec<Number> = self.nodes.keys().copied().collect();
        // In order, for a seed to replay.
        numbers.sort_unstable();
        for number in numbers {
            if !reached.contains(&number) {
                self.nodes.remove(&number);
                let _ = std::fs::remove_file(self.scratch.join(number.to_string()));
            } else if let Some(bytes) = self.nodes.get_mut(&number).and_then(|node| node.bytes.as_mut()) {
                bytes.lose_power(chance.as_mut()).map_err(errno_of)?;
            }
        }
        Ok(())
    }

    /// The power is back.
    pub(super) fn power_on(&mut self) {
        self.has_power = true;
    }

    pub(super) fn find(&self, directory: Number, name: &OsStr) -> Result<Number> {
        self.powered()?;
        if name.len() > NAME_LEN_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        self.names.find(directory, name).ok_or(Errno::NOENT)
    }

    /// What is told of a file or directory, its length, and how many names it has.
    pub(super) fn describe(&self, number: Number) -> Result<(Attributes, u64, u32)> {
        self.powered()?;
        let node = self.node(number)?;
        let links = if node.attributes.kind == FileType::Directory { 2 } else { self.names.count(number) };
        Ok((node.attributes.clone(), node.bytes.as_ref().map_or(0, FileBytes::len), links as u32))
    }

    /// Changes what is told of a file or directory.
    pub(super) fn redescribe(&mut self, number: Number, change: impl FnOnce(&mut Attributes)) -> Result<()> {
        self.powered()?;
        change(&mut self.nodes.get_mut(&number).ok_or(Errno::STALE)?.attributes);
        Ok(())
    }

    pub(super) fn list(&self, directory: Number) -> Result<Vec<(OsString, Number, FileType)>> {
        self.powered()?;
        let names = self.names.list(directory).ok_or(Errno::NOTDIR)?;
        let kind = |number| self.node(number).map(|node| node.attributes.kind);
        names.iter().map(|(name, number)| Ok((name.clone(), *number, kind(*number)?))).collect()
    }

    pub(super) fn make(&mut self, place: Place, attributes: Attributes) -> Result<Number> {
        let below = self.meet_at(&place, Call::Name)?;
        if self.find(place.0, &place.1).is_ok() {
            return Err(Errno::EXIST);
        }
        let number = self.next;
        self.next += 1;
        let bytes = match attributes.kind {
            FileType::RegularFile => {
                Some(FileBytes::new(&self.scratch.join(number.to_string())).map_err(errno_of)?)
            }
            FileType::Directory => {
                self.names.add_directory(number);
                None
            }
            _ => None,
        };
        self.nodes.insert(number, Node { attributes, below, bytes });
        self.names.change(vec![(place, Some(number))]);
        Ok(number)
    }

    pub(super) fn link(&mut self, number: Number, place: Place) -> Result<()> {
        self.meet_at(&place, Call::Name)?;
        if self.find(place.0, &place.1).is_ok() {
            return Err(Errno::EXIST);
        }
        self.names.change(vec![(place, Some(number))]);
        Ok(())
    }

    pub(super) fn remove(&mut self, place: Place, is_directory: bool) -> Result<()> {
        self.meet_at(&place, Call::Name)?;
        let number = self.find(place.0, &place.1)?;
        self.check_removable(number, is_directory)?;
        self.names.change(vec![(place, None)]);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: Place, to: Place, flags: RenameFlags) -> Result<()> {
        self.meet_at(&from, Call::Name)?;
        let number = self.find(from.0, &from.1)?;
        let other = self.find(to.0, &to.1).ok();
        let change = if flags == RenameFlags::EXCHANGE {
            vec![(from, Some(other.ok_or(Errno::NOENT)?)), (to, Some(number))]
        } else if flags == RenameFlags::NOREPLACE && other.is_some() {
            return Err(Errno::EXIST);
        } else if other == Some(number) {
            return Ok(());
        } else {
            if let Some(other) = other {
                self.check_removable(other, self.node(number)?.attributes.kind == FileType::Directory)?;
            }
            vec![(from, None), (to, Some(number))]
        };
        self.names.change(change);
        Ok(())
    }

    pub(super) fn read(&self, number: Number, offset: u64, len: usize) -> Result<Vec<u8>> {
        self.powered()?;
        let bytes = self.node(number)?.bytes.as_ref().ok_or(Errno::ISDIR)?;
        bytes.read(offset, len).map_err(errno_of)
    }

    /// Writes at an offset, or at the end if there is none.
    pub(super) fn write(&mut self, number: Number, offset: Option<u64>, data: &[u8]) -> Result<()> {
        let bytes = self.bytes_to_change(number)?;
        let offset = offset.unwrap_or(bytes.len());
        check_len(offset.saturating_add(data.len() as u64))?;
        bytes.write(offset, data).map_err(errno_of)
    }

    pub(super) fn set_len(&mut self, number: Number, len: u64) -> Result<()> {
        check_len(len)?;
        self.bytes_to_change(number)?.set_len(len).map_err(errno_of)
    }

    pub(super) fn allocate(&mut self, number: Number, range: (u64, u64), keep_len: bool) -> Result<()> {
        check_len(range.0.saturating_add(range.1))?;
        self.bytes_to_change(number)?.allocate(range.0, range.1, keep_len).map_err(errno_of)
    }

    pub(super) fn sync(&mut self, number: Number) -> Result<()> {
        let verdict = self.meet(number, Call::Sync);
        let bytes = self.bytes(number)?;
        match verdict {
            Ok(()) => bytes.sync(),
            Err(_) => bytes.fail_sync(),
        }
        verdict
    }

    pub(super) fn sync_directory(&mut self, number: Number) -> Result<()> {
        self.meet(number, Call::Sync)?;
        self.names.sync(number);
        Ok(())
    }

    /// Space of the disk on which the scratch directory lies.
    pub(super) fn space(&self) -> Result<StatVfs> {
        self.powered()?;
        statvfs(&self.scratch)
    }

    fn powered(&self) -> Result<()> {
        if self.has_power { Ok(()) } else { Err(Errno::IO) }
    }

    fn node(&self, number: Number) -> Result<&Node> {
        self.nodes.get(&number).ok_or(Errno::STALE)
    }

    fn bytes(&mut self, number: Number) -> Result<&mut FileBytes> {
        self.nodes.get_mut(&number).ok_or(Errno::STALE)?.bytes.as_mut().ok_or(Errno::INVAL)
    }

    fn bytes_to_change(&mut self, number: Number) -> Result<&mut FileBytes> {
        self.meet(number, Call::Write)?;
        self.redescribe(number, |attributes| attributes.modified = SystemTime::now())?;
        self.bytes(number)
    }

    /// Fails if the power is gone or this call is to fail.
    fn meet(&mut self, number: Number, call: Call) -> Result<()> {
        self.powered()?;
        let below = self.node(number)?.below.clone();
        self.faults.meet(&below, call)
    }

    /// The same for a call about a name; gives the directory of the root under which it lies.
    fn meet_at(&mut self, place: &Place, call: Call) -> Result<OsString> {
        self.powered()?;
        let below = if place.0 == ROOT { place.1.clone() } else { self.node(place.0)?.below.clone() };
        self.faults.meet(&below, call)?;
        if place.1.len() > NAME_LEN_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        Ok(below)
    }

    fn check_removable(&self, number: Number, as_directory: bool) -> Result<()> {
        match (self.names.list(number), as_directory) {
            (None, true) => Err(Errno::NOTDIR),
            (Some(_), false) => Err(Errno::ISDIR),
            (Some(names), true) if !names.is_empty() => Err(Errno::NOTEMPTY),
            _ => Ok(()),
        }
    }
}

fn check_len(len: u64) -> Result<()> {
    if len <= FILE_LEN_MAX { Ok(()) } else { Err(Errno::FBIG) }
}

fn errno_of(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lossy::faults::Fault;

    struct Scratch {
        _folder: tempfile::TempDir,
        disk: Disk,
    }

    fn scratch() -> Scratch {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::new(folder.path(), (0, 0));
        Scratch { _folder: folder, disk }
    }

    fn file() -> Attributes {
        Attributes {
            kind: FileType::RegularFile,
            mode: 0o600,
            owner: (0, 0),
            modified: SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_synced_file_without_a_synced_name_is_lost() {
        let Scratch { _folder, mut disk } = scratch();
        for name in ["named", "nameless"] {
            let number = disk.make((ROOT, name.into()), file()).unwrap();
            disk.write(number, None, b"bytes").unwrap();
            disk.sync(number).unwrap();
            if name == "named" {
                disk.sync_directory(ROOT).unwrap();
            }
        }
        disk.cut(Cut::Drop).unwrap();
        assert_eq!(disk.find(ROOT, "named".as_ref()), Err(Errno::IO));
        disk.power_on();
        let named = disk.find(ROOT, "named".as_ref()).unwrap();
        assert_eq!(disk.read(named, 0, 10).unwrap(), b"bytes");
        assert_eq!(disk.find(ROOT, "nameless".as_ref()), Err(Errno::NOENT));
    }

    #[test]
    fn a_failed_sync_is_reported_once_and_loses_what_it_should_have_kept() {
        let Scratch { _folder, mut disk } = scratch();
        let number = disk.make((ROOT, "file".into()), file()).unwrap();
        disk.sync_directory(ROOT).unwrap();
        disk.faults.plan(Fault { below: None, call: Call::Sync, first: 1, times: 1, errno: Errno::IO });
        disk.write(number, None, b"bytes").unwrap();
        assert_eq!(disk.sync(number), Err(Errno::IO));
        assert_eq!(disk.sync(number), Ok(()));
        disk.cut(Cut::Drop).unwrap();
        disk.power_on();
        assert_eq!(disk.read(number, 0, 10).unwrap(), [0; 5]);
    }

    #[test]
    fn names_that_are_taken_are_not_given_twice() {
        let Scratch { _folder, mut disk } = scratch();
        let first = disk.make((ROOT, "first".into()), file()).unwrap();
        disk.make((ROOT, "second".into()), file()).unwrap();
        let (from, to) = ((ROOT, "first".into()), (ROOT, "second".into()));
        assert_eq!(disk.rename(from, to, RenameFlags::NOREPLACE), Err(Errno::EXIST));
        assert_eq!(disk.link(first, (ROOT, "second".into())), Err(Errno::EXIST));
        assert!(disk.make((ROOT, "first".into()), file()).is_err());
    }
}
