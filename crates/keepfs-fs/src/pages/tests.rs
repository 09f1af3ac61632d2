//! What the page storage promises, tested on a disk that fails.

use keepfs_format::ids::Time;
use keepfs_format::secret::Secret;
use parking_lot::Mutex;
use redb::{ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};

use super::*;
use crate::disk::{FaultyDisk, Trouble};

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
const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("table");

fn place(disk: &FaultyDisk, key: u8) -> DatabasePlace {
    DatabasePlace {
        disk: Arc::new(disk.clone()),
        path: Path::new(ROOT).join("database"),
        keys: Arc::new(LocalKeys::derive(&Secret::new([key; 32]))),
        env: Arc::new(SeededEnv(Mutex::new(u64::from(key)))),
        cache_len: 1 << 20,
    }
}

fn disk() -> FaultyDisk {
    FaultyDisk::new(Path::new(ROOT))
}

fn put(database: &Database, entries: impl Iterator<Item = (u64, Vec<u8>)>) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    {
        let mut table = transaction.open_table(TABLE)?;
        for (key, value) in entries {
            table.insert(key, &value[..])?;
        }
    }
    transaction.commit()?;
    Ok(())
}

fn all(database: &Database) -> Vec<(u64, Vec<u8>)> {
    let transaction = database.begin_read().unwrap();
    let Ok(table) = transaction.open_table(TABLE) else { return Vec::new() };
    table
        .iter()
        .unwrap()
        .map(|entry| entry.map(|(key, value)| (key.value(), value.value().to_vec())).unwrap())
        .collect()
}

#[test]
fn database_comes_back_after_close() {
    let disk = disk();
    let (database, report) = open_database(&place(&disk, 1)).unwrap();
    assert_eq!(report, DatabaseReport { created: true, checked: false });
    put(&database, (0..5000).map(|key| (key, vec![key as u8; key as usize % 300]))).unwrap();
    let before = all(&database);
    assert_eq!(before.len(), 5000);
    drop(database);
    let (database, report) = open_database(&place(&disk, 1)).unwrap();
    assert_eq!(report, DatabaseReport { created: false, checked: false });
    assert_eq!(all(&database), before);
}
