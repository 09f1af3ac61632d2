//! Limits, refusals, costs, and callers that overlap.

use super::*;
use crate::disk::Trouble;

#[test]
fn append_is_one_write_and_one_sync() {
    let disk = disk();
    let (journal, _) = open(&disk);
    journal.prepare().unwrap();
    for _ in 0..5 {
        disk.set_trouble(None);
        journal.append(&[7; 1000]).unwrap();
        assert_eq!(disk.calls(), 2);
    }
    disk.set_trouble(None);
    journal.sync().unwrap();
    assert_eq!(disk.calls(), 0, "nothing to sync");
}

#[test]
fn journal_refuses_everything_after_a_failed_sync_until_reopened() {
    let disk = disk();
    let (journal, _) = open(&disk);
    let kept = append(&journal, 0..2);
    disk.set_trouble(Some(Trouble::Fail { call: 1, errno: libc::EIO }));
    assert!(matches!(journal.append(&record(2)), Err(JournalError::Io { .. })));
    disk.set_trouble(None);
    assert!(matches!(journal.append(&record(3)), Err(JournalError::Poisoned)));
    assert!(matches!(journal.write(&record(3)), Err(JournalError::Poisoned)));
    assert!(matches!(journal.sync(), Err(JournalError::Poisoned)));
    drop(journal);
    // The kernel still shows the record, though it will never write it: what is replayed now must stay.
    let (journal, mut replayed) = open(&disk);
    assert_eq!(replayed[..2], kept);
    assert_eq!(replayed.len(), 3);
    replayed.extend(append(&journal, 3..4));
    drop(journal);
    for seed in 0..20 {
        disk.power_cut(seed);
        assert_eq!(open(&disk).1, replayed);
    }
}

#[test]
fn failed_write_poisons_and_nothing_follows_it() {
    let disk = disk();
    let (journal, _) = open(&disk);
    let kept = append(&journal, 0..2);
    disk.set_trouble(Some(Trouble::Fail { call: 0, errno: libc::EIO }));
    assert!(matches!(journal.write(&record(20)), Err(JournalError::Io { .. })));
    disk.set_trouble(None);
    assert!(matches!(journal.write(&record(3)), Err(JournalError::Poisoned)));
    drop(journal);
    assert_eq!(open(&disk).1[..2], kept);
}

#[test]
fn disk_without_space_for_another_file_refuses_and_forgets_nothing() {
    let disk = disk();
    let (journal, _) = open(&disk);
    let mut records = append(&journal, 0..2);
    journal.prepare().unwrap();
    disk.set_trouble(Some(Trouble::FailFrom { call: 0, errno: libc::ENOSPC }));
    assert!(matches!(journal.write(&[1; 40_000]), Err(JournalError::Io { .. })));
    disk.set_trouble(None);
    records.extend(append(&journal, 2..30));
    drop(journal);
    assert!(open(&disk).1 == records);
}

#[test]
fn full_journal_takes_records_again_after_a_trim() {
    let disk = disk();
    let (journal, _) = open(&disk);
    let mut count = 0;
    let full = loop {
        match journal.append(&[9; 3000]) {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, JournalError::Full { .. }));
    assert!(count > 100, "{count}");
    assert!(journal.len_live() > count * 3000);
    journal.trim(journal.end());
    assert_eq!(journal.len_live(), 0);
    journal.append(&[9; 30_000]).unwrap();
    assert!(journal.len_live() > 30_000);
}

#[test]
fn record_may_be_as_long_as_the_limit_and_no_longer() {
    let disk = disk();
    let mut place = place(&disk, 1, 0);
    place.options = JournalOptions { file_len: 16 << 20, total_len_max: 1 << 30 };
    let (journal, _) = Journal::open(place, Position::OLDEST, &mut |_, _| Ok(())).unwrap();
    let long: Vec<u8> = (0..RECORD_LEN_MAX as u64).map(|index| (index / 1000) as u8).collect();
    journal.append(b"before").unwrap();
    journal.append(&long).unwrap();
    journal.append(b"behind").unwrap();
    let too_long = vec![0; RECORD_LEN_MAX + 1];
    assert!(matches!(journal.write(&too_long), Err(JournalError::TooLong { .. })));
    drop(journal);
    let (_, records) = open(&disk);
    assert!(records[0].1 == b"before" && records[1].1 == long && records[2].1 == b"behind");
}

#[test]
fn second_opening_is_refused_while_the_first_lasts() {
    let disk = disk();
    let (journal, _) = open(&disk);
    assert!(matches!(open_from(&disk, Position::OLDEST), Err(JournalError::InUse { .. })));
    drop(journal);
    open(&disk);
}

#[test]
fn replay_that_gives_up_leaves_everything_as_it_was() {
    let disk = disk();
    let (journal, _) = open(&disk);
    let records = append(&journal, 0..5);
    drop(journal);
    let mut count = 0;
    let result = Journal::open(place(&disk, 1, 0), Position::OLDEST, &mut |_, _| {
        count += 1;
        if count == 3 { Err(JournalError::Replay("no more".into())) } else { Ok(()) }
    });
    assert!(matches!(result, Err(JournalError::Replay(_))));
    assert_eq!(open(&disk).1, records);
}

#[test]
fn trimmed_files_are_used_again() {
    let disk = disk();
    let (journal, _) = open(&disk);
    for index in 0..300 {
        let position = journal.append(&[index as u8; 2000]).unwrap();
        journal.trim(position);
        journal.prepare().unwrap();
    }
    let names = crate::disk::LocalDisk::list(&disk, &Path::new(ROOT).join("journal")).unwrap();
    assert!(names.len() <= 7, "{names:?}");
}

#[test]
fn many_openings_without_a_record_take_no_more_space() {
    let disk = disk();
    let (journal, _) = open(&disk);
    let records = append(&journal, 0..3);
    drop(journal);
    for _ in 0..20 {
        let (journal, replayed) = open(&disk);
        assert_eq!(replayed, records);
        journal.prepare().unwrap();
    }
    let names = crate::disk::LocalDisk::list(&disk, &Path::new(ROOT).join("journal")).unwrap();
    assert!(names.len() <= 7, "{names:?}");
}

#[test]
fn nothing_in_the_files_is_in_clear() {
    let disk = disk();
    let (journal, _) = open(&disk);
    append(&journal, 0..10);
    journal.append(&[0; 4000]).unwrap();
    let bytes = disk.peek(&journal_path(1)).unwrap();
    assert!(!bytes.windows(6).any(|window| window == b"record"));
    assert!(!bytes.windows(8).any(|window| window.iter().all(|byte| *byte == window[0])));
    let mut counts = [0_u32; 256];
    bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    // 64 of each are expected; a deviation of more than six times the spread has no chance.
    assert!(counts.iter().all(|count| (16..112).contains(count)), "{counts:?}");
}

#[test]
fn callers_that_overlap_all_find_their_records_again() {
    let disk = disk();
    let (journal, _) = open(&disk);
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let journal = &journal;
            scope.spawn(move || {
                for index in 0..100_u8 {
                    journal.append(&[thread, index]).unwrap();
                    if index % 16 == 0 {
                        journal.prepare().unwrap();
                    }
                }
            });
        }
    });
    drop(journal);
    let (_, records) = open(&disk);
    assert_eq!(records.len(), 400);
    for thread in 0..4 {
        let own: Vec<u8> =
            records.iter().filter(|(_, record)| record[0] == thread).map(|(_, record)| record[1]).collect();
        assert_eq!(own, (0..100).collect::<Vec<u8>>());
    }
}
