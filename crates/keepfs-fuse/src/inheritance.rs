//! What a daemon must not inherit: descriptors of whoever mounts. One that stays open would hold a caller's lock
//! or pipe for as long as the mount lives. It closes nothing in this process.

use std::io;

/// The first descriptor that is not one of the three standard streams.
const FIRST: libc::c_uint = 3;

/// Marks every descriptor but the standard streams to be closed in programs that are started from now on.
///
/// # Errors
/// The kernel's own; before Linux 5.11 there is no such call.
pub fn close_descriptors_on_exec() -> io::Result<()> {
    // SAFETY: the call takes three integers and reads or writes no memory of ours. With CLOSE_RANGE_CLOEXEC it
    // closes no descriptor, so none that anybody in this process owns becomes invalid.
    let done =
        unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn children_get_the_standard_streams_only() {
        let file = std::fs::File::open("/dev/null").unwrap();
        rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
        close_descriptors_on_exec().unwrap();
        let listed = Command::new("ls").arg("/proc/self/fd").output().unwrap();
        // The fourth is the directory that `ls` itself reads.
        assert_eq!(String::from_utf8_lossy(&listed.stdout).lines().count(), 4, "{listed:?}");
    }
}
