//! Damage, and what only looks like it: flipped, cut, missing, stale and foreign bytes.

use super::*;
use crate::disk::SECTOR_LEN;
use crate::journal::file::FIRST_FRAME;

/// All journal files as they lie on the disk.
fn snapshot(disk: &FaultyDisk) -> Vec<(u64, Vec<u8>)> {
    (1..20).filter_map(|number| Some((number, disk.peek(&journal_path(number))?))).collect()
}

/// A disk that holds these files.
fn restored(files: &[(u64, Vec<u8>)]) -> FaultyDisk {
    let disk = disk();
    let (journal, _) = open(&disk);
    drop(journal);
    for number in 1..20 {
        if disk.peek(&journal_path(number)).is_some() {
            crate::disk::LocalDisk::remove(&disk, &journal_path(number)).unwrap();
        }
    }
    files.iter().for_each(|(number, bytes)| disk.replace(&journal_path(*number), bytes.clone()));
    disk
}

/// Opens what is left of a journal after `damage`.
fn open_damaged(
    files: &[(u64, Vec<u8>)],
    from: Position,
    damage: impl FnOnce(&mut Vec<(u64, Vec<u8>)>),
) -> Result<Records, JournalError> {
    let mut files = files.to_vec();
    damage(&mut files);
    let disk = restored(&files);
    let result = open_from(&disk, from).map(|(_, _, records)| records);
    if result.is_err() {
        assert_eq!(snapshot(&disk), files, "a failed open changed the files");
    }
    result
}

fn is_refused(result: &Result<Records, JournalError>) -> bool {
    matches!(result, Err(JournalError::Damaged { .. } | JournalError::WrongKey { .. }))
}

/// A journal in one file, all of it durable and vouched for, and its records.
fn small() -> (Vec<(u64, Vec<u8>)>, Records) {
    let disk = disk();
    let (journal, _) = open(&disk);
    let records = append(&journal, 0..8);
    journal.prepare().unwrap();
    drop(journal);
    let mut files = snapshot(&disk);
    files.truncate(1);
    (files, records)
}

/// A journal over several files, ditto.
fn long() -> (Vec<(u64, Vec<u8>)>, Records) {
    let disk = disk();
    let (journal, _) = open(&disk);
    let records = append(&journal, 0..60);
    journal.prepare().unwrap();
    drop(journal);
    let files = snapshot(&disk);
    assert!(files.len() >= 4);
    (files, records)
}

#[test]
fn every_flipped_byte_is_refused_or_harmless() {
    let (files, records) = small();
    let used = (records.last().unwrap().0.0) as usize;
    for at in 0..files[0].1.len() {
        let result = open_damaged(&files, Position::OLDEST, |files| files[0].1[at] ^= 1 << (at % 8));
        match at {
            at if at < SECTOR_LEN || (FIRST_FRAME as usize..used).contains(&at) => {
                assert!(is_refused(&result), "byte {at}: {:?}", result.map(|records| records.len()));
            }
            _ => assert!(result.unwrap() == records, "byte {at}"),
        }
    }
}

#[test]
fn flipped_byte_in_the_last_file_or_any_other_is_refused() {
    let (files, _) = long();
    for index in 0..files.len() - 1 {
        let at = FIRST_FRAME as usize + 1000;
        let result = open_damaged(&files, Position::OLDEST, |files| files[index].1[at] ^= 1);
        assert!(is_refused(&result), "file {index}");
    }
}

#[test]
fn only_the_last_record_can_pass_for_torn_when_nothing_vouches_for_it() {
    let disk = disk();
    let (journal, _) = open(&disk);
    let records = append(&journal, 0..8);
    drop(journal);
    let files = snapshot(&disk);
    let ends: Vec<usize> = records.iter().map(|(end, _)| end.0 as usize).collect();
    for at in (FIRST_FRAME as usize..ends[7]).step_by(37) {
        let result = open_damaged(&files, Position::OLDEST, |files| files[0].1[at] ^= 0x80);
        match at < ends[6] {
            true => assert!(is_refused(&result), "byte {at}"),
            false => assert!(result.unwrap() == records[..7], "byte {at}"),
        }
    }
    let result = open_damaged(&files, records[7].0, |files| files[0].1[ends[6]] ^= 1);
    assert!(is_refused(&result), "the database has seen the record that looks torn");
}

#[test]
fn damage_behind_which_a_later_session_went_on_is_refused() {
    let disk = disk();
    let (journal, _) = open(&disk);
    let records = append(&journal, 0..2);
    drop(journal);
    let (journal, _) = open(&disk);
    drop(journal);
    let at = records[1].0.0 as usize - 1;
    let result = open_damaged(&snapshot(&disk), Position::OLDEST, |files| files[0].1[at] ^= 1);
    assert!(is_refused(&result));
}

#[test]
fn truncated_file_is_refused() {
    let (files, _) = small();
    for length in (0..files[0].1.len()).step_by(SECTOR_LEN / 2) {
        let result = open_damaged(&files, Position::OLDEST, |files| files[0].1.truncate(length));
        assert!(is_refused(&result), "length {length}");
    }
}

#[test]
fn any_missing_file_is_refused() {
    let (files, records) = long();
    // Behind the last file that holds records, an empty one is ready; its head names the one before it.
    let full = files.len() - 1;
    for index in 0..full {
        let from = records[0].0;
        let result = open_damaged(&files, from, |files| drop(files.remove(index)));
        assert!(is_refused(&result), "file {index}");
    }
    let result = open_damaged(&files, Position::OLDEST, |files| files.truncate(full - 1));
    assert!(is_refused(&result), "the last two files");
}

#[test]
fn missing_journal_is_reported_as_created() {
    let from = Position(123_456);
    let (journal, report, records) = open_from(&disk(), from).unwrap();
    assert!(report.created && records.is_empty());
    assert!(journal.append(b"on").unwrap() > from);
}

#[test]
fn journal_that_ends_before_the_database_is_refused() {
    let (_, records) = small();
    let (files, _) = small();
    let stale = {
        let disk = disk();
        let (journal, _) = open(&disk);
        let _ = append(&journal, 0..3);
        drop(journal);
        snapshot(&disk)
    };
    assert!(is_refused(&open_damaged(&stale, records[7].0, |_| ())));
    assert!(open_damaged(&files, records[7].0, |_| ()).unwrap().is_empty());
}

#[test]
fn wrong_key_is_refused_and_changes_nothing() {
    let (files, records) = long();
    let disk = restored(&files);
    let result = Journal::open(place(&disk, 2, 0), Position::OLDEST, &mut |_, _| Ok(()));
    assert!(matches!(result, Err(JournalError::WrongKey { .. })));
    assert_eq!(snapshot(&disk), files);
    assert!(open(&disk).1 == records);
}

#[test]
fn frames_of_an_earlier_use_never_come_back() {
    let disk = disk();
    let (journal, _) = open(&disk);
    let mut records = append(&journal, 0..60);
    let old = snapshot(&disk);
    journal.trim(records[59].0);
    journal.prepare().unwrap();
    records.extend(append(&journal, 60..120));
    journal.trim(records[70].0);
    journal.prepare().unwrap();
    drop(journal);
    let files = snapshot(&disk);
    let from = records[70].0;
    assert!(open_damaged(&files, from, |_| ()).unwrap() == records[71..]);
    // The frames of an old file behind the last frame of the newest, where only noise should be.
    let tail = records[119].0;
    let (newest, _) = files.iter().enumerate().rev().nth(1).unwrap();
    let result = open_damaged(&files, from, |files| {
        let kept = (tail.0 % FILE_LEN) as usize + 2 * SECTOR_LEN;
        let length = files[newest].1.len();
        files[newest].1[kept..].copy_from_slice(&old[0].1[kept..length]);
    });
    assert!(result.unwrap() == records[71..]);
    // A whole old file in the place of a new one.
    let result = open_damaged(&files, from, |files| files[newest].1 = old[1].1.clone());
    assert!(is_refused(&result));
    // Old files back under their own names, below everything that is needed.
    let result = open_damaged(&files, from, |files| files.insert(0, old[0].clone()));
    assert!(result.unwrap() == records[71..]);
}

#[test]
fn torn_batch_is_no_damage_although_its_last_frame_is_whole() {
    let disk = disk();
    let (journal, _) = open(&disk);
    let mut records = append(&journal, 0..3);
    for index in 3..6 {
        records.push((journal.write(&record(index)).unwrap(), record(index)));
    }
    drop(journal);
    let at = records[2].0.0 as usize + 600;
    let disk = {
        let mut files = snapshot(&disk);
        files[0].1[at] ^= 1;
        restored(&files)
    };
    let (journal, report, replayed) = open_from(&disk, Position::OLDEST).unwrap();
    assert!(report.torn_tail);
    assert!(replayed.len() < 6 && replayed[..] == records[..replayed.len()] && replayed.len() >= 3);
    let mut expected = replayed;
    expected.extend(append(&journal, 10..40));
    drop(journal);
    assert!(open(&disk).1 == expected, "what was torn off came back, or what followed did not");
}
