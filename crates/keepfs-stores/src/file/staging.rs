//! Staging inside a file store: an object grows in `stage/` and is renamed into its place, so that no byte
//! is written twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keepfs_store::{ObjectName, PutMode, Result, Staged, Staging, StoreError};
use parking_lot::Mutex;
use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::place::{Place, STAGE};
use super::root::Root;
use crate::os::{make_directory, open_directory};
use crate::stage::{OpenHere, StageDirectory, StageFile, file_name};

/// The staging place of a file store.
pub(super) struct FileStaging {
    place: Arc<Place>,
    open_here: OpenHere,
}

impl FileStaging {
    pub(super) fn new(place: Arc<Place>) -> Self {
        FileStaging { place, open_here: Arc::default() }
    }

    /// The directory within the root of now, and that root.
    fn directory(&self) -> Result<(StageDirectory, Arc<Root>)> {
        let root = self.place.root();
        let directory = match open_directory(&root, STAGE) {
            Err(Errno::NOENT) => make_directory(&root, STAGE).and_then(|_| open_directory(&root, STAGE)),
            result => result,
        };
        let directory = directory.map_err(|errno| self.place.failed(None, "opening the stage", errno))?;
        Ok((StageDirectory::new(directory, self.open_here.clone()), root))
    }

    fn handle(&self, file: StageFile, root: Arc<Root>) -> Box<dyn Staged> {
        Box::new(FileStaged {
            place: self.place.clone(),
            root,
            file,
            moved: AtomicBool::new(false),
            publishing: Mutex::new(()),
        })
    }
}

impl Staging for FileStaging {
    fn create(&self, name: &ObjectName) -> Result<Box<dyn Staged>> {
        let (directory, root) = self.directory()?;
        Ok(self.handle(directory.create(name)?, root))
    }

    fn reopen(&self, name: &ObjectName) -> Result<Box<dyn Staged>> {
        let (directory, root) = self.directory()?;
        Ok(self.handle(directory.reopen(name)?, root))
    }

    fn list(&self) -> Result<Vec<ObjectName>> {
        self.directory()?.0.list()
    }

    fn discard(&self, name: &ObjectName) -> Result<()> {
        self.directory()?.0.discard(name)
    }
}

/// An object growing inside a file store.
struct FileStaged {
    place: Arc<Place>,
    /// The root in which it is staged: after a disk was plugged in again there may be another.
    root: Arc<Root>,
    file: StageFile,
    /// It has its final name, which may not be durable yet.
    moved: AtomicBool,
    /// One publication at a time.
    publishing: Mutex<()>,
}

impl FileStaged {
    fn move_into_place(&self) -> Result<()> {
        let name = self.file.name();
        let from = format!("{STAGE}/{}", file_name(name));
        match self.place.move_into_place(&self.root, &from, name, PutMode::Create) {
            // Where creating is linking and unlinking, a crash in between leaves both names.
            Err(StoreError::Exists { .. }) if self.is_in_place()? => self.file.directory().remove(name),
            result => result,
        }
    }

    fn is_in_place(&self) -> Result<bool> {
        let name = self.file.name();
        match rustix::fs::statat(&self.root, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok((stat.st_dev, stat.st_ino) == self.file.identity()?),
            Err(errno) => Err(self.place.failed(Some(name), "finding", errno)),
        }
    }
}

impl Staged for FileStaged {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_at(offset, bytes)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.file.read_at(offset, out)
    }

    fn len(&self) -> Result<u64> {
        self.file.len()
    }

    fn truncate(&self, len: u64) -> Result<()> {
        self.file.truncate(len)
    }

    fn sync(&self) -> Result<()> {
        self.file.sync()
    }

    fn publish(&self) -> Result<()> {
        let _one_at_a_time = self.publishing.lock();
        if self.file.is_closed() {
            return Ok(());
        }
        self.file.trim()?;
        self.file.sync()?;
        if !self.moved.load(Ordering::Acquire) {
            self.move_into_place()?;
            self.moved.store(true, Ordering::Release);
        }
        self.place.sync_parent(&self.root, self.file.name())?;
        self.file.directory().sync().map_err(|errno| self.place.failed(None, "syncing the stage", errno))?;
        self.file.close();
        Ok(())
    }
}
