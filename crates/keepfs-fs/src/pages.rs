//! The state database on a disk that others may read: redb over sealed pages.
//!
//! Owns the page file and how it is opened; knows nothing of tables.
//!
//! # Opening
//! [`open_database`] makes, checks and opens. A file gets its name only when an empty database is durably in it. After
//! an unclean stop redb's own integrity check runs, since a page that went back to an older version still opens. All
//! of it runs with panics caught, because redb panics on some damage. `Damaged` and `WrongKey` mean: remove the file,
//! open again, rebuild.
//!
//! # What users of the database must do
//! Every write transaction calls `set_quick_repair(true)`: the commit then has two phases, and after a power loss the
//! database opens at its last commit without a repair. With one phase a torn commit can leave it closed for good.
//! A read that fails with `InvalidData` has met a damaged page; close the database ([`close_database`] catches what
//! redb may panic over), remove it, rebuild it.

mod buffer;
mod file;
mod layout;
mod storage;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keepfs_format::env::Env;
use keepfs_format::local::LocalKeys;
use redb::{Database, DatabaseError, StorageError};

use crate::disk::LocalDisk;
pub use storage::SealedPages;

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PagesError {
    /// The disk failed. Try again later; the database itself may be sound.
    #[error("state database: {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// The file was not written with this key, or its first sector is damaged. Check the key; if it is right,
    /// treat as damaged.
    #[error("state database: {} was not written with this key", path.display())]
    WrongKey {
        /// The file.
        path: PathBuf,
    },
    /// The database cannot be trusted. Remove the file, open again, rebuild.
    #[error("state database: {} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another process, or this one, has it open. Let go of that first.
    #[error("state database: {} is in use", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
}

/// Where a database is and what it needs.
#[derive(Clone)]
pub struct DatabasePlace {
    /// The disk.
    pub disk: Arc<dyn LocalDisk>,
    /// The page file. Beside it lie, with longer names, a lock and at times a file in the making.
    pub path: PathBuf,
    /// The keys of the state directory.
    pub keys: Arc<LocalKeys>,
    /// Where nonces come from.
    pub env: Arc<dyn Env>,
    /// Memory for pages in the clear, in bytes.
    pub cache_len: usize,
}

/// What an open found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DatabaseReport {
    /// There was no database, and an empty one was made.
    pub created: bool,
    /// The last session did not end with a close; the database was checked and is sound.
    pub checked: bool,
}

/// Opens the database, or makes an empty one.
///
/// Errors: see [`PagesError`]; the file is as it was, except that redb may have begun a repair.
pub fn open_database(place: &DatabasePlace) -> Result<(Database, DatabaseReport), PagesError> {
    let lock = place.disk.lock(&beside(&place.path, "lock")).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => PagesError::InUse { path: place.path.clone() },
        _ => failed(&place.path, source),
    })?;
    let created = match place.disk.open(&place.path) {
        Ok(_) => false,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(place)?;
            true
        }
        Err(error) => return Err(failed(&place.path, error)),
    };
    let pages = SealedPages::open(place, &place.path)?;
    pages.keep_until_closed(lock);
    let checked = !pages.was_closed();
    let mut database = start(place, &place.path, pages.clone())?;
    if checked {
        check(place, &mut database)?;
    }
    pages.set_open().map_err(|source| failed(&place.path, source))?;
    Ok((database, DatabaseReport { created, checked: checked && !created }))
}

/// Closes the database: what is committed stays, and the next open need not check. Dropping it does the same, but redb
/// panics at a close when it meets damage; here that is an error.
pub fn close_database(database: Database, path: &Path) -> Result<(), PagesError> {
    isolated(path, || drop(database))
}

/// Removes the database, so that the next open makes an empty one. It must not be open.
pub fn remove_database(disk: &dyn LocalDisk, path: &Path) -> Result<(), PagesError> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(path, error)),
        _ => {}
    }
    let dir = path.parent().unwrap_or(Path::new("."));
    disk.sync_dir(dir).map_err(|source| failed(path, source))
}

/// Makes an empty database under another name and gives it its own when it is durable.
fn make(place: &DatabasePlace) -> Result<(), PagesError> {
    let path = beside(&place.path, "new");
    remove_database(&*place.disk, &path)?;
    let pages = SealedPages::create(place, &path)?;
    drop(start(place, &path, pages)?);
    place.disk.rename(&path, &place.path).map_err(|source| failed(&path, source))?;
    let dir = path.parent().unwrap_or(Path::new("."));
    place.disk.sync_dir(dir).map_err(|source| failed(&path, source))
}

/// Lets redb open what the pages hold.
fn start(place: &DatabasePlace, path: &Path, pages: SealedPages) -> Result<Database, PagesError> {
    let opened =
        isolated(path, || Database::builder().set_cache_size(place.cache_len).create_with_backend(pages))?;
    opened.map_err(|error| sort(path, error))
}

/// Runs redb's own check. What it had to repair is as good as damaged, for there is no telling what it gave up.
fn check(place: &DatabasePlace, database: &mut Database) -> Result<(), PagesError> {
    let checked = isolated(&place.path, || database.check_integrity())?;
    match checked.map_err(|error| sort(&place.path, error))? {
        true => Ok(()),
        false => Err(damaged(&place.path, "the integrity check found errors".to_owned())),
    }
}

/// Runs `act`; a panic inside is damage.
fn isolated<T>(path: &Path, act: impl FnOnce() -> T) -> Result<T, PagesError> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        damaged(path, format!("the database gave up: {text}"))
    })
}

/// Tells a failing disk from a damaged database.
fn sort(path: &Path, error: DatabaseError) -> PagesError {
    match error {
        DatabaseError::Storage(StorageError::Io(source)) if source.kind() != io::ErrorKind::InvalidData => {
            failed(path, source)
        }
        DatabaseError::DatabaseAlreadyOpen => PagesError::InUse { path: path.to_owned() },
        other => damaged(path, other.to_string()),
    }
}

fn failed(path: &Path, source: io::Error) -> PagesError {
    PagesError::Io { path: path.to_owned(), source }
}

fn damaged(path: &Path, reason: String) -> PagesError {
    PagesError::Damaged { path: path.to_owned(), reason }
}

/// The path with a further ending.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests;
