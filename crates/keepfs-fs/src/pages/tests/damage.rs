//! Damage under redb: flipped, stale, moved, foreign and missing pages never become wrong entries.

use super::*;
use crate::pages::layout::{SEALED_LEN, page_offset, pages_in};

/// A database file that was closed or not, and what is in it.
fn written(generations: u64, close: bool) -> (Vec<u8>, Entries) {
    let disk = disk();
    let (database, _) = open_database(&seeded_place(&disk, 1, generations)).unwrap();
    let mut entries = Entries::new();
    for generation in 0..generations {
        let step = numbered(generation * 20..generation * 20 + 60, generation);
        put(&database, &step).unwrap();
        entries.extend(step);
    }
    let path = place(&disk, 1).path;
    if close {
        drop(database);
        (disk.peek(&path).unwrap(), entries)
    } else {
        let bytes = disk.peek(&path).unwrap();
        (bytes, entries)
    }
}

/// What an open and a read of everything give for these bytes; nothing if either is refused.
fn outcome(bytes: Vec<u8>) -> Option<Entries> {
    let disk = disk();
    disk.replace(&place(&disk, 1).path, bytes);
    match open_database(&place(&disk, 1)) {
        Ok((database, _)) => {
            let found = isolated(Path::new("."), || all(&database)).ok()?.ok();
            // A session may meet damage as late as at its end.
            close_database(database, Path::new(".")).ok().and(found)
        }
        Err(PagesError::Damaged { .. } | PagesError::WrongKey { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn flipped_byte_never_becomes_a_wrong_entry() {
    for close in [true, false] {
        let (bytes, entries) = written(6, close);
        let mut refused = 0;
        for at in (0..bytes.len()).step_by(bytes.len() / 700) {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << (at % 8);
            match outcome(bytes) {
                Some(found) => assert!(found == entries, "byte {at}"),
                None => refused += 1,
            }
        }
        assert!(refused > 0);
    }
}

#[test]
fn stale_page_is_found_after_an_unclean_stop() {
    let disk = disk();
    let path = place(&disk, 1).path;
    let (database, _) = open_database(&place(&disk, 1)).unwrap();
    let mut entries = numbered(0..300, 0);
    put(&database, &entries).unwrap();
    let mut versions = vec![disk.peek(&path).unwrap()];
    for generation in 1..8 {
        let step = numbered(0..300, generation);
        put(&database, &step).unwrap();
        entries.extend(step);
        versions.push(disk.peek(&path).unwrap());
    }
    let newest = versions.pop().unwrap();
    let mut refused = 0;
    for page in 1..pages_in(newest.len() as u64) {
        let range = page_offset(page) as usize..page_offset(page) as usize + SEALED_LEN;
        let old = versions.iter().rev().filter_map(|version| version.get(range.clone()));
        let Some(stale) =
            old.filter(|old| old.iter().any(|byte| *byte != 0)).find(|old| **old != newest[range.clone()])
        else {
            continue;
        };
        let mut bytes = newest.clone();
        bytes[range].copy_from_slice(stale);
        match outcome(bytes) {
            Some(found) => assert!(found == entries, "page {page}"),
            None => refused += 1,
        }
    }
    assert!(refused > 3, "{refused}");
}

#[test]
fn moved_or_foreign_page_never_becomes_a_wrong_entry() {
    let (bytes, entries) = written(6, true);
    let (foreign, _) = written(7, true);
    let mut refused = 0;
    for page in 1..pages_in(bytes.len() as u64) - 1 {
        let slot = page_offset(page) as usize;
        let mut moved = bytes.clone();
        moved.copy_within(slot + SEALED_LEN..slot + 2 * SEALED_LEN, slot);
        let mut mixed = bytes.clone();
        if let Some(other) = foreign.get(slot..slot + SEALED_LEN) {
            mixed[slot..slot + SEALED_LEN].copy_from_slice(other);
        }
        for bytes in [moved, mixed] {
            match outcome(bytes) {
                Some(found) => assert!(found == entries, "page {page}"),
                None => refused += 1,
            }
        }
    }
    assert!(refused > 0);
}

#[test]
fn file_cut_short_is_refused() {
    let (bytes, _) = written(6, true);
    for length in (0..bytes.len()).step_by(bytes.len() / 60) {
        assert_eq!(outcome(bytes[..length].to_vec()), None, "length {length}");
    }
}

#[test]
fn wrong_key_and_other_files_are_told_apart_from_damage() {
    let (bytes, _) = written(1, true);
    for (key, bytes) in [(2, bytes), (1, vec![0; 100_000]), (1, Vec::new()), (1, vec![0x5a; 512])] {
        let disk = disk();
        disk.replace(&place(&disk, 1).path, bytes.clone());
        let result = open_database(&place(&disk, key)).map(|(_, report)| report);
        assert!(matches!(result, Err(PagesError::WrongKey { .. })), "{result:?}");
        assert_eq!(disk.peek(&place(&disk, 1).path).unwrap(), bytes);
    }
}

#[test]
fn nothing_in_the_file_is_in_clear() {
    let (bytes, _) = written(6, true);
    assert!(!bytes.windows(4).any(|window| window == b"redb"));
    assert!(!bytes.windows(5).any(|window| window == b"3 2 3"));
}
