//! A mount from its first request to its last: it joins device, session, knobs and threads, and lets others
//! wait for its end. It answers no request itself.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use fuser::{BackgroundSession, Config, Session, SessionACL};
use keepfs_fs::Fs;
use parking_lot::Mutex;

use crate::bdi::turn_knobs;
use crate::device::{Unmount, attach, check_mount_point, heal, may_open_device, unmount};
use crate::error::FuseError;
use crate::lanes::Lanes;
use crate::mount_table::mounted_on;
use crate::operations::Frontend;
use crate::options::{MountOptions, WAITERS_MAX};
use crate::spin::{Governor, Pulse};

/// A mounted file system. Dropping it detaches the mount, but does not wait for its end.
pub struct Mounted {
    path: PathBuf,
    /// Device number `major:minor`, by which the mount is told from others on the same path.
    device: String,
    session: Mutex<Option<Running>>,
    pulse: Arc<Pulse>,
}

/// What runs while the mount lasts.
struct Running {
    session: BackgroundSession,
    /// Kept for its drop, which ends its thread.
    governor: Option<Governor>,
}

/// Mounts `fs` on the directory `path`. What a dead daemon left there is removed first. When this returns, the
/// mount answers.
///
/// # Errors
/// [`FuseError`], each of which says what to do; nothing stays mounted then.
pub fn mount(fs: Arc<Fs>, path: &Path, options: &MountOptions) -> Result<Mounted, FuseError> {
    heal(path)?;
    let path = check_mount_point(path)?;
    let device = attach(&path, options)?;
    let started = start(fs, device, options).and_then(|(running, pulse)| examine(&path, running, pulse));
    match started {
        Ok(mounted) => Ok(mounted),
        Err(error) => {
            if let Err(second) = unmount(&path, Unmount::Detach) {
                tracing::warn!(error = %second, "unmounting after a failed mount");
            }
            Err(error)
        }
    }
}

/// Shakes hands with the kernel and starts the threads.
fn start(fs: Arc<Fs>, device: OwnedFd, options: &MountOptions) -> Result<(Running, Arc<Pulse>), FuseError> {
    let threads = options.thread_count(available_parallelism().map_or(1, usize::from));
    // `fuser` numbers its threads and lets the last one read the descriptor that it was given.
    let pulse = Pulse::new(format!("fuser-{}", threads - 1));
    let lanes = Lanes::new(threads, options.waiters.min(WAITERS_MAX));
    let write_back = options.write_back && !options.read_only;
    let frontend = Frontend::new(fs, lanes, Arc::clone(&pulse), write_back);
    let kernel = frontend.kernel();
    let mut config = Config::default();
    config.n_threads = Some(threads);
    config.clone_fd = may_open_device();
    // Where all threads read one descriptor, all of them would spin.
    let spin = options.spin && (config.clone_fd || threads == 1);
    let duplicate = device.try_clone().map_err(FuseError::io("duplicating the descriptor of /dev/fuse"))?;
    // The kernel itself keeps other users out unless `allow_other` was given.
    let session = Session::from_fd(frontend, device, SessionACL::All, config)
        .map_err(FuseError::io("greeting the kernel"))?;
    kernel.get_or_init(|| session.notifier());
    let session = session.spawn().map_err(FuseError::io("starting the threads of the mount"))?;
    let governor = if spin { Governor::start(duplicate, &pulse) } else { None };
    Ok((Running { session, governor }, pulse))
}

/// Makes sure that the mount answers, and turns its knobs.
fn examine(path: &Path, running: Running, pulse: Arc<Pulse>) -> Result<Mounted, FuseError> {
    std::fs::metadata(path).map_err(FuseError::io("asking the new mount"))?;
    let entry = mounted_on(path).map_err(FuseError::io("reading the table of mounts"))?;
    let entry = entry.ok_or_else(|| FuseError::NotMounted { path: path.to_path_buf() })?;
    turn_knobs(&entry.device);
    let session = Mutex::new(Some(running));
    Ok(Mounted { path: path.to_path_buf(), device: entry.device, session, pulse })
}

impl Mounted {
    /// Where it is mounted, absolute and without symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until it is unmounted, by whomever, and every request that was sent is answered. Later calls return
    /// at once.
    ///
    /// # Errors
    /// [`FuseError::Io`] when a thread of the mount ended for another reason.
    pub fn wait(&self) -> Result<(), FuseError> {
        let Some(Running { session, governor }) = self.session.lock().take() else {
            return Ok(());
        };
        let result = session.join().map_err(FuseError::io("serving the mount"));
        drop(governor);
        result
    }

    /// Time that a thread of this mount kept a processor busy waiting for requests, since the mount began.
    pub fn spun(&self) -> Duration {
        self.pulse.spent()
    }

    /// Unmounts it. [`Mounted::wait`] returns soon after; with [`Unmount::Detach`] when the last file is closed.
    ///
    /// # Errors
    /// [`FuseError::Busy`] when a program still uses it. Being unmounted already is no error.
    pub fn unmount(&self, how: Unmount) -> Result<(), FuseError> {
        let entry = mounted_on(&self.path).map_err(FuseError::io("reading the table of mounts"))?;
        if entry.is_none_or(|entry| entry.device != self.device) {
            return Ok(());
        }
        match unmount(&self.path, how) {
            Err(FuseError::NotMounted { .. }) => Ok(()),
            other => other,
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = self.unmount(Unmount::Detach) {
            tracing::warn!(%error, "unmounting what is no longer wanted");
        }
    }
}
