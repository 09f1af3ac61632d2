//! Why mounting or unmounting failed, in sentences that tell the user what to do.

use std::io;
use std::path::PathBuf;

/// Why a mount could not be made, kept or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FuseError {
    /// Create the directory, or correct the path.
    #[error("the mount point {} does not exist: create this directory first", path.display())]
    MountPointMissing {
        /// The mount point.
        path: PathBuf,
    },
    /// Choose a directory.
    #[error("the mount point {} is not a directory", path.display())]
    NotADirectory {
        /// The mount point.
        path: PathBuf,
    },
    /// Unmount what is there, or choose another directory.
    #[error("{} already has a {kind} file system mounted on it: unmount that first", path.display())]
    AlreadyMounted {
        /// The mount point.
        path: PathBuf,
        /// Type of the file system that is there.
        kind: String,
    },
    /// Close the programs that use it and try again, or detach it.
    #[error("{} is in use: a program has a file open there or works in it (`fuser -vm` shows which)", path.display())]
    Busy {
        /// The mount point.
        path: PathBuf,
    },
    /// Nothing to unmount; treat it as done.
    #[error("nothing is mounted on {}", path.display())]
    NotMounted {
        /// The mount point.
        path: PathBuf,
    },
    /// Load the kernel module, or give the container its device.
    #[error(
        "/dev/fuse does not exist: load the kernel module with `modprobe fuse` (in a container, pass the device in)"
    )]
    DeviceMissing,
    /// Ask the administrator, or join the group that owns the device.
    #[error(
        "/dev/fuse may not be opened by this user: `chmod 666 /dev/fuse`, or join the group that owns it"
    )]
    DeviceNotPermitted,
    /// Install the helper, or mount as root.
    #[error("mounting without root needs the program fusermount3: install the package fuse3")]
    HelperMissing,
    /// Have the line added, or mount without `allow_other`.
    #[error(
        "other users may only be let in when /etc/fuse.conf has a line `user_allow_other`: add it, or mount without --allow-other"
    )]
    AllowOtherNotPermitted,
    /// The system's own words say why; nothing was mounted.
    #[error("the system refused to mount on {}: {reason}", path.display())]
    Refused {
        /// The mount point.
        path: PathBuf,
        /// What the kernel or the helper said.
        reason: String,
    },
    /// An attempt to do something with the mount failed; `source` says how.
    #[error("{doing} failed: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

impl FuseError {
    /// For `map_err`: names the act that failed.
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}
