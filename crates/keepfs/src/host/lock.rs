//! One daemon a vault: a lock that the kernel takes back when its holder dies, and who holds it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::exit::Exit;
use crate::failure::{Failure, Result};

/// The file holds one line about its holder; more was not written by us.
const LOCK_FILE_LEN_MAX: u64 = 16 << 10;

/// Time between two looks at a lock.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Who holds a vault.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// The process.
    pub(crate) pid: u32,
    /// Where it mounts, if it is a daemon.
    pub(crate) mount_point: Option<PathBuf>,
    /// Which command it is, if it is not.
    pub(crate) command: Option<String>,
}

impl Holder {
    /// This process, a daemon.
    pub(crate) fn daemon(mount_point: &Path) -> Self {
        Self { pid: std::process::id(), mount_point: Some(mount_point.to_owned()), command: None }
    }

    /// This process, a command that ends soon.
    pub(crate) fn command(name: &str) -> Self {
        Self { pid: std::process::id(), mount_point: None, command: Some(name.to_owned()) }
    }
}

/// The lock, held until dropped or until the process dies.
#[derive(Debug)]
pub(crate) struct DaemonLock {
    _file: File,
}

impl DaemonLock {
    /// Takes the lock and writes down who did.
    ///
    /// # Errors
    /// `Locked`, naming the holder.
    pub(crate) fn take(path: &Path, holder: &Holder) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Failure::failed(format!("cannot lock the vault: {error}")).at(path.display())
        };
        let mut file = open(path).map_err(failed)?;
        while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            match (error, flock(&file, FlockOperation::NonBlockingLockShared)) {
                // Whoever only looks holds a shared lock for a moment: that is nobody.
                (Errno::WOULDBLOCK, Ok(())) => {
                    flock(&file, FlockOperation::Unlock).map_err(|error| failed(error.into()))?;
                    std::thread::sleep(LOOK_AGAIN);
                }
                (Errno::WOULDBLOCK, _) => return Err(held(read_holder(&mut file), path)),
                (error, _) => return Err(failed(error.into())),
            }
        }
        let line = serde_json::to_vec(holder).map_err(|error| failed(error.into()))?;
        let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(&line));
        written.map_err(failed)?;
        Ok(Self { _file: file })
    }

    /// Who holds the lock now, if anybody does. `Some(None)`: somebody who has not yet said who.
    pub(crate) fn holder(path: &Path) -> Option<Option<Holder>> {
        let mut file = File::open(path).ok()?;
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK) => Some(read_holder(&mut file)),
            _ => None,
        }
    }

    /// Waits until nobody holds the lock; whether that came true in time.
    pub(crate) fn wait_until_free(path: &Path, limit: Duration) -> bool {
        let start = Instant::now();
        while Self::holder(path).is_some() {
            if start.elapsed() > limit {
                return false;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        true
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn read_holder(file: &mut File) -> Option<Holder> {
    let mut bytes = Vec::new();
    file.rewind().ok()?;
    file.take(LOCK_FILE_LEN_MAX).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Why a vault cannot be had: who has it.
pub(crate) fn held(holder: Option<Holder>, path: &Path) -> Failure {
    let failure = |what: String| Failure::new(Exit::Locked, what);
    match holder {
        Some(Holder { pid, mount_point: Some(point), .. }) => {
            let point = point.display().to_string();
            failure(format!("the vault is already mounted by process {pid}"))
                .at(&point)
                .advise(format!("use it there, or run 'keepfs unmount {point}' first"))
        }
        Some(Holder { pid, command: Some(command), .. }) => {
            failure(format!("'keepfs {command}' (process {pid}) is using the vault"))
                .advise("wait for it to end")
        }
        _ => failure("another process uses the vault".to_owned()).at(path.display()).advise("try again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_holder_is_refused_and_told_who_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        assert!(DaemonLock::holder(&path).is_none());
        let holder = Holder { pid: 42, mount_point: Some("/mnt/a".into()), command: None };
        let lock = DaemonLock::take(&path, &holder).unwrap();
        assert_eq!(DaemonLock::holder(&path), Some(Some(holder.clone())));
        let failure = DaemonLock::take(&path, &holder).unwrap_err();
        assert_eq!(failure.exit, Exit::Locked);
        assert!(failure.to_string().contains("42") && failure.to_string().contains("/mnt/a"));
        assert!(!DaemonLock::wait_until_free(&path, Duration::from_millis(20)));
        drop(lock);
        // A process that another test is starting may have inherited the lock for a moment.
        assert!(DaemonLock::wait_until_free(&path, Duration::from_secs(5)));
        DaemonLock::take(&path, &holder).unwrap();
    }
}
