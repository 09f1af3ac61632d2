//! What the page storage promises, tested on a disk that fails.

mod damage;
mod power;
mod raw;

use std::collections::BTreeMap;

use keepfs_format::ids::Time;
use keepfs_format::secret::Secret;
use parking_lot::Mutex;
use redb::{ReadableDatabase, ReadableTable, TableDefinition};

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
const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("table");

fn place(disk: &FaultyDisk, key: u8) -> DatabasePlace {
    seeded_place(disk, key, 0)
}

fn seeded_place(disk: &FaultyDisk, key: u8, seed: u64) -> DatabasePlace {
    DatabasePlace {
        disk: Arc::new(disk.clone()),
        path: Path::new(ROOT).join("database"),
        keys: Arc::new(LocalKeys::derive(&Secret::new([key; 32]))),
        env: Arc::new(SeededEnv(Mutex::new(seed))),
        cache_len: 1 << 20,
    }
}

fn disk() -> FaultyDisk {
    FaultyDisk::new(Path::new(ROOT))
}

type Entries = BTreeMap<u64, Vec<u8>>;

/// Commits these entries as users of the database must.
fn put<'a>(
    database: &Database,
    entries: impl IntoIterator<Item = (&'a u64, &'a Vec<u8>)>,
) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    {
        let mut table = transaction.open_table(TABLE)?;
        for (key, value) in entries {
            match value.is_empty() {
                true => drop(table.remove(key)?),
                false => drop(table.insert(key, &value[..])?),
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

fn all(database: &Database) -> Result<Entries, redb::Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(TABLE) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Entries::new()),
        other => other?,
    };
    let mut entries = Entries::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        entries.insert(key.value(), value.value().to_vec());
    }
    Ok(entries)
}

/// Entries whose values say which they are.
fn numbered(keys: std::ops::Range<u64>, generation: u64) -> Entries {
    let value = |key: u64| format!("{key} {generation} ").into_bytes().repeat(1 + (key * 7 % 60) as usize);
    keys.map(|key| (key, value(key))).collect()
}

#[test]
fn database_comes_back_after_close() {
    let disk = disk();
    let (database, report) = open_database(&place(&disk, 1)).unwrap();
    assert_eq!(report, DatabaseReport { created: true, checked: false });
    let entries = numbered(0..5000, 0);
    put(&database, &entries).unwrap();
    drop(database);
    let (database, report) = open_database(&place(&disk, 1)).unwrap();
    assert_eq!(report, DatabaseReport { created: false, checked: false });
    assert_eq!(all(&database).unwrap(), entries);
}

#[test]
fn session_that_did_not_end_with_a_close_is_checked() {
    let disk = disk();
    let (database, _) = open_database(&place(&disk, 1)).unwrap();
    let entries = numbered(0..100, 0);
    put(&database, &entries).unwrap();
    disk.power_cut(1);
    let (database, report) = open_database(&place(&disk, 1)).unwrap();
    assert_eq!(report, DatabaseReport { created: false, checked: true });
    assert_eq!(all(&database).unwrap(), entries);
}

#[test]
fn second_opening_is_refused_while_the_first_lasts() {
    let disk = disk();
    let (database, _) = open_database(&place(&disk, 1)).unwrap();
    assert!(matches!(open_database(&place(&disk, 1)), Err(PagesError::InUse { .. })));
    drop(database);
    open_database(&place(&disk, 1)).unwrap();
}

#[test]
fn removed_database_begins_empty() {
    let disk = disk();
    let (database, _) = open_database(&place(&disk, 1)).unwrap();
    put(&database, &numbered(0..10, 0)).unwrap();
    drop(database);
    remove_database(&disk, &place(&disk, 1).path).unwrap();
    remove_database(&disk, &place(&disk, 1).path).unwrap();
    let (database, report) = open_database(&place(&disk, 1)).unwrap();
    assert!(report.created && all(&database).unwrap().is_empty());
}
