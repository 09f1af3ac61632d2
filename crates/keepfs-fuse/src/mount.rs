//! A mount from its first request to its last: it joins device, session, knobs and threads, and lets others
//! wait for its end. It answers no request itself.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread::available_parallelism;

use fuser::{BackgroundSession, Config, Session, SessionACL};
use keepfs_fs::Fs;
use parking_lot::Mutex;

use crate::bdi::turn_knobs;
use crate::device::{Unmount, attach, check_mount_point, heal, may_open_device, unmount};
use crate::error::FuseError;
use crate::frontend::Frontend;
use crate::lanes::Lanes;
use crate::mount_table::mounted_on;
use crate::options::MountOptions;
use crate::spin::Pulse;
use crate::writers::Writers;

/// A mounted file system. Dropping it detaches the mount, but does not wait for its end.
pub struct Mounted {
    path: PathBuf,
    /// Device number `major:minor`, by which the mount is told from others on the same path.
    device: String,
    session: Mutex<Option<BackgroundSession>>,
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
    let started = start(fs, device, options).and_then(|session| examine(&path, session));
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
fn start(
    fs: Arc<Fs>,
    device: std::os::fd::OwnedFd,
    options: &MountOptions,
) -> Result<BackgroundSession, FuseError> {
    let threads = options.thread_count(available_parallelism().map_or(1, usize::from));
    let pulse = Pulse::new();
    let kernel = Arc::new(OnceLock::new());
    let frontend = Frontend {
        fs,
        lanes: Lanes::new(threads, options.waiters),
        writers: Writers::default(),
        kernel: Arc::clone(&kernel),
        pulse,
        write_back: options.write_back && !options.read_only,
    };
    let mut config = Config::default();
    config.n_threads = Some(threads);
    config.clone_fd = may_open_device();
    // The kernel itself keeps other users out unless `allow_other` was given.
    let session = Session::from_fd(frontend, device, SessionACL::All, config)
        .map_err(FuseError::io("greeting the kernel"))?;
    kernel.get_or_init(|| session.notifier());
    session.spawn().map_err(FuseError::io("starting the threads of the mount"))
}

/// Makes sure that the mount answers, and turns its knobs.
fn examine(path: &Path, session: BackgroundSession) -> Result<Mounted, FuseError> {
    std::fs::metadata(path).map_err(FuseError::io("asking the new mount"))?;
    let entry = mounted_on(path).map_err(FuseError::io("reading the table of mounts"))?;
    let entry = entry.ok_or_else(|| FuseError::NotMounted { path: path.to_path_buf() })?;
    turn_knobs(&entry.device);
    Ok(Mounted { path: path.to_path_buf(), device: entry.device, session: Mutex::new(Some(session)) })
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
        let session = self.session.lock().take();
        match session {
            Some(session) => session.join().map_err(FuseError::io("serving the mount")),
            None => Ok(()),
        }
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
