//! The storage by itself, against plain bytes.

use redb::StorageBackend;

use super::*;
use crate::disk::Trouble;
use crate::pages::layout::PAGE_LEN;

const PAGE: u64 = PAGE_LEN as u64;

fn path() -> PathBuf {
    place(&disk(), 1).path
}

fn created(disk: &FaultyDisk) -> SealedPages {
    SealedPages::create(&place(disk, 1), &path()).unwrap()
}

#[test]
fn reads_and_writes_of_any_range_behave_like_plain_bytes() {
    for seed in 0..30 {
        let disk = disk();
        let mut chance = seed;
        let mut below = |limit: u64| next(&mut chance) % limit;
        let mut pages = created(&disk);
        let mut plain: Vec<u8> = Vec::new();
        for step in 0..400_u64 {
            match below(12) {
                0 => {
                    let len = below(40) * PAGE;
                    pages.set_len(len).unwrap();
                    plain.resize(len as usize, 0);
                }
                1 => pages.sync_data().unwrap(),
                2 if !plain.is_empty() && below(4) == 0 => {
                    // What nobody wrote does not survive a new start, so it is written first.
                    let zeroes = plain.clone();
                    pages.write(0, &zeroes).unwrap();
                    pages.close().unwrap();
                    pages = SealedPages::open(&place(&disk, 1), &path()).unwrap();
                    assert!(pages.was_closed());
                    pages.set_open().unwrap();
                }
                3..=7 if !plain.is_empty() => {
                    let start = below(plain.len() as u64) as usize;
                    let longest = if step % 3 == 0 { 20 * PAGE } else { 300 };
                    let length = (1 + below(longest) as usize).min(plain.len() - start);
                    let data = vec![step as u8 | 1; length];
                    pages.write(start as u64, &data).unwrap();
                    plain[start..start + length].copy_from_slice(&data);
                }
                _ => {
                    let start = below(plain.len() as u64 + 1) as usize;
                    let mut out = vec![0xee; (below(30 * PAGE) as usize).min(plain.len() - start)];
                    pages.read(start as u64, &mut out).unwrap();
                    assert!(out == plain[start..start + out.len()], "seed {seed} step {step}");
                }
            }
            assert_eq!(pages.len().unwrap(), plain.len() as u64);
        }
        let mut out = vec![0; plain.len()];
        pages.read(0, &mut out).unwrap();
        assert!(out == plain);
    }
}

#[test]
fn access_beyond_the_end_is_refused() {
    let pages = created(&disk());
    pages.set_len(2 * PAGE).unwrap();
    assert!(pages.read(2 * PAGE - 1, &mut [0; 2]).is_err());
    assert!(pages.write(2 * PAGE, &[0]).is_err());
    assert!(pages.read(u64::MAX, &mut [0; 2]).is_err());
    assert!(pages.set_len(PAGE + 1).is_err());
}

#[test]
fn zeroed_page_is_damage_and_a_new_one_is_zeroes() {
    let disk = disk();
    let pages = created(&disk);
    pages.set_len(4 * PAGE).unwrap();
    pages.write(0, &[7; 3 * PAGE_LEN]).unwrap();
    pages.sync_data().unwrap();
    let mut bytes = disk.peek(&path()).unwrap();
    let start = crate::pages::layout::page_offset(2) as usize;
    bytes[start..start + crate::pages::layout::SEALED_LEN].fill(0);
    disk.replace(&path(), bytes);
    let mut out = [1; PAGE_LEN];
    assert_eq!(pages.read(2 * PAGE, &mut out).unwrap_err().kind(), io::ErrorKind::InvalidData);
    pages.read(3 * PAGE, &mut out).unwrap();
    assert_eq!(out, [0; PAGE_LEN]);
}

#[test]
fn storage_refuses_writes_after_a_failed_sync_and_is_not_marked_closed() {
    let disk = disk();
    let pages = created(&disk);
    pages.set_len(4 * PAGE).unwrap();
    pages.write(0, &[7; 4 * PAGE_LEN]).unwrap();
    pages.sync_data().unwrap();
    pages.write(PAGE, &[8; 10]).unwrap();
    disk.set_trouble(Some(Trouble::Fail { call: 1, errno: libc::EIO }));
    assert!(pages.sync_data().is_err());
    disk.set_trouble(None);
    assert!(pages.write(PAGE, &[9; 10]).is_err());
    assert!(pages.sync_data().is_err() && pages.set_len(5 * PAGE).is_err());
    pages.close().unwrap();
    assert!(!SealedPages::open(&place(&disk, 1), &path()).unwrap().was_closed());
}

#[test]
fn neighbouring_pages_take_few_calls() {
    let disk = disk();
    let pages = created(&disk);
    pages.set_len(1001 * PAGE).unwrap();
    disk.set_trouble(None);
    for page in (1..1001).rev() {
        pages.write(page * PAGE, &[7; PAGE_LEN]).unwrap();
    }
    pages.sync_data().unwrap();
    assert!(disk.calls() <= 5, "{} calls", disk.calls());
}

#[test]
fn first_page_survives_a_torn_overwrite() {
    for seed in 0..200 {
        let disk = disk();
        let pages = created(&disk);
        pages.set_len(2 * PAGE).unwrap();
        pages.write(0, &[1; 2 * PAGE_LEN]).unwrap();
        for version in 2..5 {
            crate::disk::LocalDisk::sync_dir(&disk, Path::new(ROOT)).unwrap();
            pages.write(0, &[version; 300]).unwrap();
            pages.sync_data().unwrap();
        }
        pages.write(0, &[5; 300]).unwrap();
        disk.set_trouble(Some(Trouble::PowerOff { call: 1 }));
        assert!(pages.sync_data().is_err());
        disk.power_cut(seed);
        let pages = SealedPages::open(&place(&disk, 1), &path()).unwrap();
        let mut out = [0; 300];
        pages.read(0, &mut out).unwrap();
        assert!(out == [4; 300] || out == [5; 300]);
    }
}
