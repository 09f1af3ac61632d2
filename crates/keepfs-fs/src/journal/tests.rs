//! What the journal promises, tested on a disk that fails.

mod damage;
mod limits;
mod power;
mod speed;

use std::path::Path;

use keepfs_format::ids::Time;
use keepfs_format::secret::Secret;

use super::*;
use crate::disk::FaultyDisk;

/// Randomness that follows from a seed.
struct SeededEnv(Mutex<u64>);

fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Env for SeededEnv {
    fn now(&self) -> Time {
        Time::default()
    }

    fn fill(&self, out: &mut [u8]) {
        let mut state = self.0.lock();
        out.fill_with(|| next(&mut state) as u8);
    }
}

const ROOT: &str = "/state";
const FILE_LEN: u64 = FILE_LEN_MIN;

fn place(disk: &FaultyDisk, key: u8, seed: u64) -> JournalPlace {
    JournalPlace {
        disk: Arc::new(disk.clone()),
        dir: Path::new(ROOT).join("journal"),
        keys: Arc::new(LocalKeys::derive(&Secret::new([key; 32]))),
        env: Arc::new(SeededEnv(Mutex::new(seed))),
        options: JournalOptions { file_len: FILE_LEN, total_len_max: 40 * FILE_LEN },
    }
}

fn disk() -> FaultyDisk {
    FaultyDisk::new(Path::new(ROOT))
}

type Records = Vec<(Position, Vec<u8>)>;

fn open_from(disk: &FaultyDisk, from: Position) -> Result<(Journal, ReplayReport, Records), JournalError> {
    let mut records = Vec::new();
    let (journal, report) = Journal::open(place(disk, 1, disk.calls()), from, &mut |position, record| {
        records.push((position, record.to_vec()));
        Ok(())
    })?;
    Ok((journal, report, records))
}

fn open(disk: &FaultyDisk) -> (Journal, Records) {
    let (journal, _, records) = open_from(disk, Position::OLDEST).unwrap();
    (journal, records)
}

fn journal_path(number: u64) -> PathBuf {
    Path::new(ROOT).join(format!("journal/journal-{number:016x}"))
}

/// A record that says which it is, of a length that makes 20 of them fill more than a file.
fn record(index: u64) -> Vec<u8> {
    format!("record {index} ").into_bytes().repeat(1 + index as usize % 7 * 20)
}

fn append(journal: &Journal, indexes: std::ops::Range<u64>) -> Records {
    indexes.map(|index| (journal.append(&record(index)).unwrap(), record(index))).collect()
}

#[test]
fn records_come_back_in_order_with_their_positions() {
    let disk = disk();
    let (journal, before) = open(&disk);
    assert!(before.is_empty());
    let mut written = Records::new();
    for length in [0, 1, 443, 5000, 30_000, 7, 100_000] {
        let record = vec![length as u8; length];
        written.push((journal.append(&record).unwrap(), record));
    }
    assert!(written.windows(2).all(|pair| pair[0].0 < pair[1].0));
    drop(journal);
    assert_eq!(open(&disk).1, written);
    let (journal, after) = open(&disk);
    assert_eq!(after, written);
    written.push((journal.append(b"once more").unwrap(), b"once more".to_vec()));
    drop(journal);
    assert_eq!(open(&disk).1, written);
    let cut = written[3].0;
    assert_eq!(open_from(&disk, cut).unwrap().2, written[4..]);
}
