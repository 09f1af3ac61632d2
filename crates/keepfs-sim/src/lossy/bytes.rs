//! The bytes of one file, and what the disk below would still hold of them if the power went now.
//!
//! What was written last lies in a scratch file, so that reads cost nothing. Of every sector that was written
//! since it was last synced the bytes from before are kept; a power cut puts back those it does not let through.
//! Names, and when somebody syncs, are not its business.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};

use super::chance::Chance;

/// Bytes that a disk writes all or nothing.
const SECTOR_LEN: u64 = 512;

/// Sectors of a page, which an operating system hands to the disk together.
const SECTORS_PER_PAGE: u64 = 8;

pub(super) struct FileBytes {
    file: File,
    len: u64,
    /// Length that a power cut cannot take away.
    synced_len: u64,
    /// What the disk still holds of each sector that differs, by number.
    unsynced: BTreeMap<u64, Before>,
}

/// A sector before it was written.
struct Before {
    /// What was synced of it: fewer bytes than a sector where the file ended.
    bytes: Box<[u8]>,
    /// A sync failed since it was written: it is taken for written, and will never be.
    is_lost: bool,
}

impl FileBytes {
    /// An empty file, its bytes at `scratch`.
    pub(super) fn new(scratch: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(scratch)?;
        Ok(FileBytes { file, len: 0, synced_len: 0, unsynced: BTreeMap::new() })
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// At most `len` bytes from `offset` on.
    pub(super) fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let len = self.len.saturating_sub(offset).min(len as u64) as usize;
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        self.remember(offset, end)?;
        self.file.write_all_at(bytes, offset)?;
        self.len = self.len.max(end);
        Ok(())
    }

    pub(super) fn set_len(&mut self, len: u64) -> io::Result<()> {
        // What the disk does not hold yet needs no remembering to be cut off.
        self.remember(len, self.len.min(self.synced_len))?;
        self.file.set_len(len)?;
        self.len = len;
        Ok(())
    }

    /// Takes space; extends the file unless its length is to stay.
    pub(super) fn allocate(&mut self, offset: u64, len: u64, keep_len: bool) -> io::Result<()> {
        let flags = if keep_len { FallocateFlags::KEEP_SIZE } else { FallocateFlags::empty() };
        fallocate(&self.file, flags, offset, len)?;
        if !keep_len {
            self.len = self.len.max(offset + len);
        }
        Ok(())
    }

    /// Everything is on the disk, except what a failed sync has lost.
    pub(super) fn sync(&mut self) {
        self.unsynced.retain(|_, before| before.is_lost);
        self.synced_len = self.len;
    }

    /// As an operating system does when the disk refuses: what was to be written is forgotten, reads still give
    /// it, and the next sync says that all is well.
    pub(super) fn fail_sync(&mut self) {
        for before in self.unsynced.values_mut() {
            before.is_lost = true;
        }
    }

    /// Whether a power cut could change it.
    #[cfg(test)]
    fn is_synced(&self) -> bool {
        self.unsynced.is_empty() && self.len == self.synced_len
    }

    /// The power went. Without chance nothing survives that was not synced; with it, each sector or page does or
    /// does not, and so does the length.
    pub(super) fn lose_power(&mut self, mut chance: Option<&mut Chance>) -> io::Result<()> {
        let len = match &mut chance {
            Some(chance) => surviving_len(self.synced_len, self.len, chance),
            None => self.synced_len,
        };
        let by_page = chance.as_mut().is_some_and(|chance| chance.coin());
        let (mut page, mut page_survives) = (u64::MAX, false);
        for (sector, before) in std::mem::take(&mut self.unsynced) {
            let number = if by_page { sector / SECTORS_PER_PAGE } else { sector };
            if number != page {
                page = number;
                page_survives = chance.as_mut().is_some_and(|chance| chance.coin());
            }
            // Where the file was cut short and is not any more, nothing newer exists than what was cut off.
            let is_cut_off = sector * SECTOR_LEN >= self.len;
            if before.is_lost || is_cut_off || !page_survives {
                let mut bytes = before.bytes.into_vec();
                bytes.resize(SECTOR_LEN as usize, 0);
                self.file.write_all_at(&bytes, sector * SECTOR_LEN)?;
            }
        }
        self.file.set_len(len)?;
        self.len = len;
        self.synced_len = len;
        Ok(())
    }

    /// Keeps what the disk holds of the sectors from `start` to `end`, before they are changed.
    fn remember(&mut self, start: u64, end: u64) -> io::Result<()> {
        if end <= start {
            return Ok(());
        }
        for sector in start / SECTOR_LEN..end.div_ceil(SECTOR_LEN) {
            if let Some(before) = self.unsynced.get_mut(&sector) {
                // Written anew, it may be synced again.
                before.is_lost = false;
                continue;
            }
            let at = sector * SECTOR_LEN;
            let held = self.synced_len.min(self.len).saturating_sub(at).min(SECTOR_LEN);
            let mut bytes = vec![0; held as usize];
            self.file.read_exact_at(&mut bytes, at)?;
            self.unsynced.insert(sector, Before { bytes: bytes.into(), is_lost: false });
        }
        Ok(())
    }
}

/// The length after a power cut: the old one, the new one, or one on the way.
fn surviving_len(synced: u64, now: u64, chance: &mut Chance) -> u64 {
    let (low, high) = (synced.min(now), synced.max(now));
    match chance.below(3) {
        0 => synced,
        1 => now,
        _ => low + chance.below((high - low) / SECTOR_LEN + 1) * SECTOR_LEN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch {
        _folder: tempfile::TempDir,
        bytes: FileBytes,
    }

    fn synced(content: &[u8]) -> Scratch {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = FileBytes::new(&folder.path().join("1")).unwrap();
        bytes.write(0, content).unwrap();
        bytes.sync();
        Scratch { _folder: folder, bytes }
    }

    fn content(bytes: &FileBytes) -> Vec<u8> {
        bytes.read(0, 1 << 20).unwrap()
    }

    #[test]
    fn a_cut_forgets_what_was_not_synced_and_nothing_else() {
        let mut file = synced(&[1; 2000]).bytes;
        file.write(100, &[2; 1000]).unwrap();
        file.write(1900, &[2; 1000]).unwrap();
        assert_eq!(file.len(), 2900);
        file.lose_power(None).unwrap();
        assert_eq!(content(&file), [1; 2000]);
        assert!(file.is_synced());
    }

    #[test]
    fn a_cut_gives_back_what_was_cut_off() {
        let mut file = synced(&[1; 2000]).bytes;
        file.set_len(700).unwrap();
        file.set_len(5000).unwrap();
        file.write(1000, &[3; 10]).unwrap();
        file.lose_power(None).unwrap();
        assert_eq!(content(&file), [1; 2000]);
    }

    #[test]
    fn a_torn_cut_leaves_each_sector_old_or_new() {
        let (mut old, mut new) = (0, 0);
        for seed in 0..50 {
            let mut file = synced(&[1; 16 * 512]).bytes;
            file.write(0, &[2; 16 * 512]).unwrap();
            file.lose_power(Some(&mut Chance::new(seed))).unwrap();
            for sector in content(&file).chunks(512) {
                assert!(sector == [1; 512] || sector == [2; 512]);
                old += usize::from(sector[0] == 1);
                new += usize::from(sector[0] == 2);
            }
        }
        assert!(old > 200 && new > 200, "{old} {new}");
    }

    #[test]
    fn a_torn_cut_never_touches_what_was_synced() {
        for seed in 0..50 {
            let mut file = synced(&[1; 3000]).bytes;
            file.write(3000, &[2; 3000]).unwrap();
            file.lose_power(Some(&mut Chance::new(seed))).unwrap();
            assert!(file.len() >= 3000);
            // The sector in which the file ended may have its new bytes or none.
            assert_eq!(content(&file)[..3000], [1; 3000]);
        }
    }

    #[test]
    fn no_sync_makes_good_what_a_failed_one_lost() {
        let mut file = synced(&[1; 1024]).bytes;
        file.write(0, &[2; 512]).unwrap();
        file.fail_sync();
        file.sync();
        assert_eq!(content(&file)[..512], [2; 512]);
        file.lose_power(Some(&mut Chance::new(1))).unwrap();
        assert_eq!(content(&file), [1; 1024]);
    }

    #[test]
    fn what_is_written_again_after_a_failed_sync_can_be_synced() {
        let mut file = synced(&[1; 512]).bytes;
        file.write(0, &[2; 512]).unwrap();
        file.fail_sync();
        file.write(0, &[3; 512]).unwrap();
        file.sync();
        file.lose_power(None).unwrap();
        assert_eq!(content(&file), [3; 512]);
    }

    #[test]
    fn space_taken_beyond_the_end_changes_no_length() {
        let mut file = synced(&[1; 10]).bytes;
        file.allocate(0, 1 << 16, true).unwrap();
        assert_eq!(file.len(), 10);
        file.allocate(0, 1 << 16, false).unwrap();
        assert_eq!(file.len(), 1 << 16);
        file.lose_power(None).unwrap();
        assert_eq!(file.len(), 10);
    }
}
