//! What the journal promises, tested on a disk that fails.

use std::path::Path;

use keepfs_format::ids::Time;
use keepfs_format::secret::Secret;

use super::file::FIRST_FRAME;
use super::*;
use crate::disk::{FaultyDisk, SECTOR_LEN, Trouble};

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

/// What a journal that kept its promises would hold, beside one on a disk that fails.
struct Model {
    disk: FaultyDisk,
    chance: u64,
    /// Every record that may be replayed, in order; the first may be trimmed away.
    log: Records,
    /// How many of them must be.
    acknowledged: usize,
    /// What the database vouches for.
    from: Position,
    position_max: Position,
    /// A record whose writing failed: it is whole on the disk at times, and then the last.
    failed: Option<Vec<u8>>,
}

impl Model {
    fn new(seed: u64) -> Self {
        let (log, from, position_max) = (Vec::new(), Position::OLDEST, Position::OLDEST);
        Self { disk: disk(), chance: seed, log, acknowledged: 0, from, position_max, failed: None }
    }

    fn below(&mut self, limit: u64) -> u64 {
        next(&mut self.chance) % limit
    }

    /// Opens the journal and compares what it replays.
    fn open(&mut self) -> Result<Journal, JournalError> {
        let from = if self.below(4) == 0 { Position::OLDEST } else { self.from };
        let (journal, report, records) = open_from(&self.disk, from)?;
        if let (Some(failed), Some(last)) = (self.failed.take(), records.last())
            && last.1 == failed
            && last.0 > self.position_max
        {
            self.position_max = last.0;
            self.log.push(last.clone());
        }
        let trimmed = self.log.iter().take_while(|(position, _)| *position <= self.from).count();
        let begin = match records.first() {
            Some((first, _)) => self.log.iter().position(|(position, _)| position == first).expect("invented"),
            None => trimmed.max(self.acknowledged),
        };
        assert!(begin <= trimmed.max(self.acknowledged), "a record is missing at the beginning");
        assert!(from == Position::OLDEST || begin == trimmed || records.is_empty(), "trimmed record was replayed");
        let end = begin + records.len();
        assert!(end >= self.acknowledged, "{} of {} acknowledged", end, self.acknowledged);
        assert!(records == self.log[begin..end], "a record is wrong");
        assert_eq!(report.records, records.len() as u64);
        self.log.truncate(end);
        self.acknowledged = end;
        Ok(journal)
    }

    fn write(&mut self, journal: &Journal) -> Result<(), JournalError> {
        let length = match self.below(10) {
            0 => self.below(60_000),
            1..=4 => self.below(5000),
            _ => self.below(300),
        };
        let record: Vec<u8> = (0..length).map(|_| next(&mut self.chance) as u8).collect();
        match journal.write(&record) {
            Ok(position) => {
                assert!(position > self.position_max, "a position came twice");
                self.position_max = position;
                self.log.push((position, record));
                Ok(())
            }
            Err(error) => {
                if !matches!(error, JournalError::Poisoned) {
                    self.failed = Some(record);
                }
                Err(error)
            }
        }
    }

    fn step(&mut self, journal: &Journal) -> Result<(), JournalError> {
        match self.below(12) {
            0..=5 => self.write(journal),
            6..=8 => {
                let count = self.log.len();
                journal.sync()?;
                self.acknowledged = count;
                Ok(())
            }
            9 => journal.prepare(),
            _ => {
                let held = self.log.len().min(self.acknowledged) as u64;
                if held > 0 {
                    let chosen = self.below(held) as usize;
                    let cut = self.log[chosen].0;
                    self.from = self.from.max(cut);
                    journal.trim(self.from);
                }
                Ok(())
            }
        }
    }

    /// Works until something fails or the chance ends it.
    fn live(&mut self) {
        let trouble = match self.below(8) {
            0 => None,
            1 => Some(Trouble::Fail { call: self.below(60), errno: libc::EIO }),
            2 => Some(Trouble::FailFrom { call: self.below(60), errno: libc::ENOSPC }),
            _ => Some(Trouble::PowerOff { call: self.below(120) }),
        };
        self.disk.set_trouble(trouble);
        let journal = match self.open() {
            Ok(journal) => journal,
            Err(JournalError::Io { .. }) => return self.disk.set_trouble(None),
            Err(error) => panic!("open: {error}"),
        };
        for _ in 0..self.below(80) {
            match self.step(&journal) {
                Ok(()) => {}
                Err(JournalError::Io { .. } | JournalError::Poisoned) if self.below(3) == 0 => {}
                Err(JournalError::Full { .. }) => {}
                Err(_) => break,
            }
        }
        drop(journal);
        self.disk.set_trouble(None);
    }
}

#[test]
fn power_cuts_and_failures_lose_nothing_acknowledged_and_invent_nothing() {
    let only: Option<u64> = std::env::var("KEEPFS_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in only.map_or(0..600, |seed| seed..seed + 1) {
        println!("KEEPFS_SEED={seed}");
        let mut model = Model::new(seed);
        for _ in 0..12 {
            model.live();
            if model.below(4) != 0 {
                let cut = next(&mut model.chance);
                model.disk.power_cut(cut);
            }
        }
    }
}
