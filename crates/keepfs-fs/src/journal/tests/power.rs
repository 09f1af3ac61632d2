//! Power cuts and failing calls, over many seeds, against a model. `KEEPFS_SEED` replays one.

use super::*;
use crate::disk::Trouble;

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
            Some((first, _)) => {
                self.log.iter().position(|(position, _)| position == first).expect("invented")
            }
            None => trimmed.max(self.acknowledged),
        };
        assert!(begin <= trimmed.max(self.acknowledged), "a record is missing at the beginning");
        assert!(
            from == Position::OLDEST || begin == trimmed || records.is_empty(),
            "trimmed record was replayed"
        );
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
