//! Where things lie in a page file. Owns the offsets; does nothing.
//!
//! ```text
//! 0      head sector: file id 32 ‖ sealed check; then noise up to 4096
//! 4096   page 0, first slot:  sealed page, version and flags, 9 sectors
//! 8704   page 0, second slot
//! 13312  page 1, page 2, …: sealed pages, 4128 bytes each
//! ```
//! redb writes its page 0 in place and all others to free space, so page 0 has two slots that take turns: a torn one
//! leaves the other.

use keepfs_format::local::PAGE_OVERHEAD_LEN;

use crate::disk::SECTOR_LEN;

/// Length in bytes of a page in the clear: redb's.
pub(super) const PAGE_LEN: usize = 4096;

/// Length in bytes of a sealed page.
pub(super) const SEALED_LEN: usize = PAGE_LEN + PAGE_OVERHEAD_LEN;

/// Length in bytes of what comes before the slots of page 0.
pub(super) const HEAD_LEN: usize = 4096;

/// Length in bytes of one slot of page 0: whole sectors, so that writing one never touches the other.
pub(super) const SLOT_LEN: usize = SEALED_LEN.next_multiple_of(SECTOR_LEN);

/// What a slot of page 0 holds in the clear: the page, its version, flags, zeroes.
pub(super) const SLOT_PLAIN_LEN: usize = SLOT_LEN - PAGE_OVERHEAD_LEN;

const DATA_START: u64 = (HEAD_LEN + 2 * SLOT_LEN) as u64;

/// Places that no page number reaches: the two slots of page 0, and the check in the head.
pub(super) const SLOT_PLACES: [u64; 2] = [u64::MAX - 2, u64::MAX - 1];
pub(super) const HEAD_PLACE: u64 = u64::MAX;

/// Offset of a slot of page 0.
pub(super) const fn slot_offset(slot: usize) -> u64 {
    (HEAD_LEN + slot * SLOT_LEN) as u64
}

/// Offset of page `page`, which is not 0.
pub(super) const fn page_offset(page: u64) -> u64 {
    DATA_START + (page - 1) * SEALED_LEN as u64
}

/// Length of the file that holds so many pages.
pub(super) const fn file_len(pages: u64) -> u64 {
    if pages == 0 { HEAD_LEN as u64 } else { page_offset(pages) }
}

/// How many pages a file of this length holds; one that was cut off within does not count.
pub(super) const fn pages_in(file_len: u64) -> u64 {
    if file_len < DATA_START { 0 } else { 1 + (file_len - DATA_START) / SEALED_LEN as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_counts_agree() {
        for pages in 0..1000 {
            assert_eq!(pages_in(file_len(pages)), pages);
        }
        assert_eq!(pages_in(file_len(7) - 1), 6);
        assert_eq!(slot_offset(1) % SECTOR_LEN as u64, 0);
        assert_eq!(page_offset(1) % SECTOR_LEN as u64, 0);
    }
}
