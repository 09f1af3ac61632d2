//! A disk that loses power: a file system in user space to put below the real binary, which holds back whatever
//! was not synced and, when told to, drops it, tears it, or fails a chosen call.
//!
//! What it promises is what a disk promises and no more: bytes and length of a file when the file was synced, a
//! name when its directory was synced, each 512 bytes old or new, a rename never half done. After a sync that failed,
//! later ones succeed and do not bring back what was lost, as with Linux file systems (Rebello and others, "Can
//! Applications Recover from fsync Failures?", USENIX ATC 2020). Its state lives as long as its process.

mod bytes;
mod chance;
mod control;
mod disk;
mod faults;
mod frontend;
mod names;

use std::io;
use std::path::Path;
use std::sync::Arc;

use fuser::{Config, MountOption, Session};
use parking_lot::Mutex;

use disk::Disk;
use frontend::Frontend;

/// Threads that answer the kernel: while one reads a long file, another may sync a short one.
const THREADS: usize = 2;

/// Mounts an empty lossy disk on `mount_point`, with the bytes of its files in the directory `scratch`, and obeys
/// commands on `socket` until it is told to quit. The socket is there when the disk can be used.
///
/// # Errors
/// Whatever mounting, the socket or the end of the session answer.
pub fn serve_lossy_disk(scratch: &Path, mount_point: &Path, socket: &Path) -> io::Result<()> {
    let owner = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let disk = Arc::new(Mutex::new(Disk::new(scratch, owner)));
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("lossy-disk".into()),
        MountOption::DefaultPermissions,
        MountOption::NoSuid,
        MountOption::NoDev,
    ];
    config.n_threads = Some(THREADS);
    config.clone_fd = true;
    let session = Session::new(Frontend { disk: Arc::clone(&disk) }, mount_point, &config)?.spawn()?;
    control::obey(&disk, socket)?;
    session.umount_and_join()
}
