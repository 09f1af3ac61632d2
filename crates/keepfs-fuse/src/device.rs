//! Getting a descriptor of `/dev/fuse` that is mounted somewhere, and taking the mount away again: directly
//! when the kernel lets us, through `fusermount3` when it does not. It never reads or writes a request.

use std::ffi::CString;
use std::fs::OpenOptions;
use std::io::{self, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use crate::error::FuseError;
use crate::mount_table::mounted_on;
use crate::options::MountOptions;

/// The device through which the kernel sends requests.
const DEVICE: &str = "/dev/fuse";

/// Names of the helper that mounts for ordinary users, the current one first.
const HELPERS: [&str; 4] = ["fusermount3", "/usr/bin/fusermount3", "/bin/fusermount3", "fusermount"];

/// Most dead mounts that [`heal`] takes off one path.
const STALE_MOUNTS_MAX: usize = 16;

/// Longest complaint of the helper that is read, in bytes.
const COMPLAINT_LEN_MAX: u64 = 4_096;

/// How a mount is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmount {
    /// Only if no program uses it.
    WhenIdle,
    /// It vanishes from the tree at once; programs that have files open there keep them until they close them.
    Detach,
}

/// Takes away what a daemon that died left on `path` ("Transport endpoint is not connected"), and leaves
/// everything else alone.
///
/// # Errors
/// [`FuseError::Io`] when the table of mounts cannot be read, or whatever [`unmount`] answers.
pub fn heal(path: &Path) -> Result<(), FuseError> {
    let Some(path) = without_links(path) else {
        return Ok(());
    };
    for _ in 0..STALE_MOUNTS_MAX {
        let entry = mounted_on(&path).map_err(FuseError::io("reading the table of mounts"))?;
        if !entry.is_some_and(|entry| entry.kind.starts_with("fuse")) || !is_dead(&path) {
            return Ok(());
        }
        tracing::warn!(path = %path.display(), "removing what a dead mount left behind");
        unmount(&path, Unmount::Detach)?;
    }
    Ok(())
}

/// Whether nobody answers for the FUSE mount on `path` any more. Its attributes would prove nothing: the kernel
/// may still answer with those it remembers. Free space it always asks for.
fn is_dead(path: &Path) -> bool {
    matches!(rustix::fs::statvfs(path), Err(Errno::NOTCONN | Errno::CONNABORTED))
}

/// `path`, absolute and without symbolic links, even where its last component no longer answers; `None` when
/// there is no such path.
fn without_links(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().or_else(|| {
        let absolute = std::path::absolute(path).ok()?;
        Some(absolute.parent()?.canonicalize().ok()?.join(absolute.file_name()?))
    })
}

/// Takes the mount on `path` away. The daemon behind it sees the end of its session some time after.
///
/// # Errors
/// [`FuseError::Busy`] when a program still uses it, [`FuseError::NotMounted`] when nothing is there,
/// [`FuseError::HelperMissing`], [`FuseError::Io`].
pub fn unmount(path: &Path, how: Unmount) -> Result<(), FuseError> {
    let flags = match how {
        Unmount::WhenIdle => UnmountFlags::NOFOLLOW,
        Unmount::Detach => UnmountFlags::NOFOLLOW | UnmountFlags::DETACH,
    };
    match rustix::mount::unmount(path, flags) {
        Ok(()) => Ok(()),
        Err(Errno::BUSY) => Err(FuseError::Busy { path: path.to_path_buf() }),
        Err(Errno::INVAL | Errno::NOENT) => Err(FuseError::NotMounted { path: path.to_path_buf() }),
        Err(Errno::PERM | Errno::ACCESS) => unmount_by_helper(path, how),
        Err(error) => Err(FuseError::Io { doing: "unmounting", source: error.into() }),
    }
}

/// Says why `path` cannot become a mount point, or gives it back absolute and without symbolic links.
pub(crate) fn check_mount_point(path: &Path) -> Result<PathBuf, FuseError> {
    let absolute = path.canonicalize().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => FuseError::MountPointMissing { path: path.to_path_buf() },
        _ => FuseError::Io { doing: "examining the mount point", source: error },
    })?;
    let metadata = std::fs::metadata(&absolute).map_err(FuseError::io("examining the mount point"))?;
    if !metadata.is_dir() {
        return Err(FuseError::NotADirectory { path: absolute });
    }
    let below = mounted_on(&absolute).map_err(FuseError::io("reading the table of mounts"))?;
    match below {
        Some(entry) if entry.kind.starts_with("fuse") => {
            Err(FuseError::AlreadyMounted { path: absolute, kind: entry.kind })
        }
        _ => Ok(absolute),
    }
}

/// Whether this process may open the device itself, as each further thread's own descriptor asks for.
pub(crate) fn may_open_device() -> bool {
    open_device().is_ok()
}

/// Mounts on `path` and gives the descriptor on which the kernel now speaks.
pub(crate) fn attach(path: &Path, options: &MountOptions) -> Result<OwnedFd, FuseError> {
    if !Path::new(DEVICE).exists() {
        return Err(FuseError::DeviceMissing);
    }
    if !rustix::process::geteuid().is_root() {
        return attach_by_helper(path, options);
    }
    let device = open_device().map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => FuseError::DeviceNotPermitted,
        _ => FuseError::Io { doing: "opening /dev/fuse", source: error },
    })?;
    match mount_directly(path, options, &device) {
        Ok(()) => Ok(device),
        Err(Errno::PERM) => attach_by_helper(path, options),
        Err(Errno::NODEV) => Err(FuseError::DeviceMissing),
        Err(error) => {
            Err(FuseError::Refused { path: path.to_path_buf(), reason: io::Error::from(error).to_string() })
        }
    }
}

/// A new descriptor of the device, not mounted yet.
fn open_device() -> io::Result<OwnedFd> {
    OpenOptions::new().read(true).write(true).open(DEVICE).map(OwnedFd::from)
}

/// Mounts with the privileges of this process.
fn mount_directly(path: &Path, options: &MountOptions, device: &OwnedFd) -> Result<(), Errno> {
    let mut flags = MountFlags::NOSUID | MountFlags::NODEV;
    flags.set(MountFlags::RDONLY, options.read_only);
    flags.set(MountFlags::NOEXEC, options.no_exec);
    let mut data = format!(
        "fd={},rootmode=40000,user_id={},group_id={},default_permissions,subtype={}",
        device.as_raw_fd(),
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
        option_text(&options.subtype),
    );
    if options.allow_other {
        data.push_str(",allow_other");
    }
    let data = CString::new(data).map_err(|_| Errno::INVAL)?;
    rustix::mount::mount(option_text(&options.fs_name), path, "fuse", flags, data.as_c_str())
}

/// Options as the helper reads them.
fn helper_options(options: &MountOptions) -> String {
    let mut text = format!(
        "nosuid,nodev,default_permissions,fsname={},subtype={}",
        option_text(&options.fs_name),
        option_text(&options.subtype)
    );
    if options.read_only {
        text.push_str(",ro");
    }
    if options.no_exec {
        text.push_str(",noexec");
    }
    if options.allow_other {
        text.push_str(",allow_other");
    }
    text
}

/// A name that can stand in a list of options: what would end it or begin another becomes an underscore.
fn option_text(name: &str) -> String {
    name.chars()
        .map(|each| if each.is_control() || matches!(each, ',' | '\\' | '=') { '_' } else { each })
        .collect()
}

/// Has the helper mount. It answers with the descriptor over a socket, which it finds as its standard input.
fn attach_by_helper(path: &Path, options: &MountOptions) -> Result<OwnedFd, FuseError> {
    let (ours, theirs) = UnixStream::pair().map_err(FuseError::io("making a socket for fusermount3"))?;
    let child = run_helper(|command| {
        let socket = theirs.try_clone()?;
        command.env("_FUSE_COMMFD", "0").stdin(Stdio::from(OwnedFd::from(socket)));
        command.arg("-o").arg(helper_options(options)).arg("--").arg(path);
        Ok(())
    });
    drop(theirs);
    let mut child = child?;
    let device = receive_descriptor(&ours);
    let mut complaint = String::new();
    if let Some(output) = child.stderr.take() {
        let read = output.take(COMPLAINT_LEN_MAX).read_to_string(&mut complaint);
        read.map_err(FuseError::io("listening to fusermount3"))?;
    }
    child.wait().map_err(FuseError::io("waiting for fusermount3"))?;
    device.map_err(|_| helper_refusal(path, &complaint))
}

/// Has the helper unmount.
fn unmount_by_helper(path: &Path, how: Unmount) -> Result<(), FuseError> {
    let child = run_helper(|command| {
        command.arg("-u").stdin(Stdio::null());
        if how == Unmount::Detach {
            command.arg("-z");
        }
        command.arg("--").arg(path);
        Ok(())
    })?;
    let output = child.wait_with_output().map_err(FuseError::io("waiting for fusermount3"))?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    if complaint.contains("busy") {
        Err(FuseError::Busy { path: path.to_path_buf() })
    } else if complaint.contains("not found in") || complaint.contains("not mounted") {
        Err(FuseError::NotMounted { path: path.to_path_buf() })
    } else {
        Err(FuseError::Io { doing: "unmounting", source: io::Error::other(complaint.trim().to_owned()) })
    }
}

/// Starts the helper under the first of its names that exists; `prepare` gives it its arguments.
fn run_helper(prepare: impl Fn(&mut Command) -> io::Result<()>) -> Result<std::process::Child, FuseError> {
    for name in HELPERS {
        let mut command = Command::new(name);
        // The words of its complaints are read below, so they have to be the untranslated ones.
        command.env("LC_ALL", "C").stdout(Stdio::null()).stderr(Stdio::piped());
        prepare(&mut command).map_err(FuseError::io("preparing fusermount3"))?;
        match command.spawn() {
            Ok(child) => return Ok(child),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(FuseError::Io { doing: "starting fusermount3", source: error }),
        }
    }
    Err(FuseError::HelperMissing)
}

/// What a complaint of the helper means for the user.
fn helper_refusal(path: &Path, complaint: &str) -> FuseError {
    if complaint.contains("user_allow_other") {
        FuseError::AllowOtherNotPermitted
    } else if complaint.contains("failed to open /dev/fuse") {
        FuseError::DeviceNotPermitted
    } else {
        let reason =
            if complaint.trim().is_empty() { "fusermount3 gave no reason" } else { complaint.trim() };
        FuseError::Refused { path: path.to_path_buf(), reason: reason.to_owned() }
    }
}

/// The descriptor that the helper passes along with one byte.
fn receive_descriptor(socket: &UnixStream) -> io::Result<OwnedFd> {
    let mut byte = [0_u8; 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    if message.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    for item in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut descriptors) = item
            && let Some(descriptor) = descriptors.next()
        {
            return Ok(descriptor);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_smuggle_options_in() {
        let options = MountOptions {
            fs_name: String::from("vault,dev"),
            subtype: String::from("keepfs=1"),
            allow_other: true,
            ..MountOptions::default()
        };
        let text = helper_options(&options);
        assert_eq!(text, "nosuid,nodev,default_permissions,fsname=vault_dev,subtype=keepfs_1,allow_other");
    }

    #[test]
    fn a_missing_mount_point_is_named_as_such() {
        let refusal = check_mount_point(Path::new("/no such directory")).unwrap_err();
        assert!(matches!(refusal, FuseError::MountPointMissing { .. }), "{refusal}");
    }

    #[test]
    fn a_file_is_no_mount_point() {
        let refusal = check_mount_point(Path::new("/proc/self/mountinfo")).unwrap_err();
        assert!(matches!(refusal, FuseError::NotADirectory { .. }), "{refusal}");
    }

    #[test]
    fn the_helpers_words_become_advice() {
        let path = Path::new("/mnt");
        let words =
            "fusermount3: option allow_other only allowed if 'user_allow_other' is set in /etc/fuse.conf";
        assert!(matches!(helper_refusal(path, words), FuseError::AllowOtherNotPermitted));
        let words = "fusermount3: failed to open /dev/fuse: Permission denied";
        assert!(matches!(helper_refusal(path, words), FuseError::DeviceNotPermitted));
        let words = "fusermount3: user has no write access to mountpoint /mnt";
        assert!(helper_refusal(path, words).to_string().contains("no write access"));
    }

    #[test]
    fn a_socket_that_closes_without_a_descriptor_is_an_error() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        assert!(receive_descriptor(&ours).is_err());
    }
}
