//! Power cuts and failing calls under redb, over many seeds. `KEEPFS_SEED` replays one.

use super::*;
use crate::disk::Trouble;

struct Model {
    disk: FaultyDisk,
    chance: u64,
    /// What the last commit left that was acknowledged.
    committed: Entries,
    /// What a commit that was not acknowledged would leave.
    underway: Option<Entries>,
    generation: u64,
}

impl Model {
    fn below(&mut self, limit: u64) -> u64 {
        next(&mut self.chance) % limit
    }

    /// A few changes to what is there, deletions among them.
    fn changes(&mut self) -> Entries {
        self.generation += 1;
        let count = 1 + self.below(if self.generation.is_multiple_of(5) { 400 } else { 20 });
        let mut changes = Entries::new();
        for _ in 0..count {
            let key = self.below(600);
            let value = match self.below(5) {
                0 => Vec::new(),
                1 => vec![self.generation as u8; 5000],
                _ => vec![self.generation as u8; 1 + self.below(300) as usize],
            };
            changes.insert(key, value);
        }
        changes
    }

    fn open(&mut self) -> Option<Database> {
        let (database, _) = match open_database(&place(&self.disk, 1)) {
            Ok(opened) => opened,
            Err(PagesError::Io { .. }) => return None,
            Err(error) => panic!("{error}"),
        };
        let found = match all(&database) {
            Ok(found) => found,
            Err(redb::Error::Io(error)) if error.raw_os_error().is_some() => return None,
            Err(error) => panic!("{error}"),
        };
        if let Some(underway) = self.underway.take()
            && found == underway
        {
            self.committed = underway;
        }
        assert!(found == self.committed, "the database is not at its last commit");
        Some(database)
    }

    fn live(&mut self) {
        let call = self.below(60) * self.below(10);
        let trouble = match self.below(8) {
            0 => None,
            1 => Some(Trouble::Fail { call, errno: libc::EIO }),
            2 => Some(Trouble::FailFrom { call, errno: libc::ENOSPC }),
            _ => Some(Trouble::PowerOff { call }),
        };
        self.disk.set_trouble(trouble);
        if let Some(database) = self.open() {
            for _ in 0..self.below(30) {
                let changes = self.changes();
                let mut after = self.committed.clone();
                after.extend(changes.clone());
                after.retain(|_, value| !value.is_empty());
                match put(&database, &changes) {
                    Ok(()) => self.committed = after,
                    Err(_) => {
                        self.underway = Some(after);
                        break;
                    }
                }
            }
            drop(database);
        }
        self.disk.set_trouble(None);
    }
}

#[test]
fn database_opens_at_its_last_commit_after_every_power_cut() {
    let only: Option<u64> = std::env::var("KEEPFS_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in only.map_or(0..150, |seed| seed..seed + 1) {
        println!("KEEPFS_SEED={seed}");
        let (committed, underway) = (Entries::new(), None);
        let mut model = Model { disk: disk(), chance: seed, committed, underway, generation: 0 };
        for _ in 0..6 {
            model.live();
            if model.below(5) != 0 {
                let cut = next(&mut model.chance);
                model.disk.power_cut(cut);
            }
        }
        assert!(model.open().is_some());
    }
}
