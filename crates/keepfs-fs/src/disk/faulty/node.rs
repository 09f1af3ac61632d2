//! One file of the disk in memory: what it holds now, what is durable, and what is between. Owns the fault model of
//! bytes; knows no names.

use super::super::SECTOR_LEN;

/// SplitMix64: enough to choose among outcomes.
#[derive(Default)]
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}

/// How much of what was pending a power cut leaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Survival {
    Nothing,
    All,
    Some,
}

/// A file, or a directory without its names.
#[derive(Default)]
pub(super) struct Node {
    pub(super) is_dir: bool,
    pub(super) bytes: Vec<u8>,
    pub(super) durable: Vec<u8>,
    /// Contents that sectors got since the last sync, oldest first.
    pub(super) pending: Vec<(usize, [u8; SECTOR_LEN])>,
}

impl Node {
    /// Changes bytes, extending the file if need be.
    pub(super) fn write(&mut self, offset: usize, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        let end = offset + data.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[offset..end].copy_from_slice(data);
        for sector in offset / SECTOR_LEN..end.div_ceil(SECTOR_LEN) {
            let start = sector * SECTOR_LEN;
            let stop = (start + SECTOR_LEN).min(self.bytes.len());
            let mut content = [0; SECTOR_LEN];
            content[..stop - start].copy_from_slice(&self.bytes[start..stop]);
            self.pending.push((sector, content));
        }
    }

    /// Makes everything durable.
    pub(super) fn sync(&mut self) {
        let length = self.bytes.len();
        self.durable.resize(length.next_multiple_of(SECTOR_LEN), 0);
        for (sector, content) in std::mem::take(&mut self.pending) {
            let start = sector * SECTOR_LEN;
            if start < length {
                self.durable[start..start + SECTOR_LEN].copy_from_slice(&content);
            }
        }
        self.durable.truncate(length);
    }

    /// What is pending will never be written, though it stays readable.
    pub(super) fn forget(&mut self) {
        self.pending.clear();
    }

    /// Decides what survives.
    pub(super) fn power_cut(&mut self, chance: &mut Chance, survival: Survival) {
        let lives = |chance: &mut Chance| match survival {
            Survival::Nothing => false,
            Survival::All => true,
            Survival::Some => chance.below(2) == 0,
        };
        let length = if lives(chance) { self.bytes.len() } else { self.durable.len() };
        let mut survivor = std::mem::take(&mut self.durable);
        survivor.resize(length.next_multiple_of(SECTOR_LEN), 0);
        for (sector, content) in std::mem::take(&mut self.pending) {
            let start = sector * SECTOR_LEN;
            if start < length && lives(chance) {
                survivor[start..start + SECTOR_LEN].copy_from_slice(&content);
            }
        }
        survivor.truncate(length);
        self.bytes = survivor.clone();
        self.durable = survivor;
    }
}
