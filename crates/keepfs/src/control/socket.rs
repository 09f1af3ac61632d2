//! A socket in the state directory, whatever the length of its path, and lines of bounded length over it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};

/// Longest line that either side accepts.
pub(crate) const LINE_LEN_MAX: u64 = 1 << 20;

/// A short path to the same socket: the kernel takes no more than 107 bytes, and a state directory may lie deep.
struct ShortPath {
    path: PathBuf,
    /// Held while the path is in use: it leads through this descriptor.
    _directory: File,
}

impl ShortPath {
    fn of(socket: &Path) -> io::Result<Self> {
        let invalid = || io::Error::from(ErrorKind::InvalidInput);
        let directory = socket.parent().ok_or_else(invalid)?;
        let name = socket.file_name().ok_or_else(invalid)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = File::from(open(directory, flags, Mode::empty())?);
        let path = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
        Ok(Self { path, _directory: directory })
    }
}

/// Listens; the caller holds the daemon's lock, so what lies there is of a dead daemon.
pub(crate) fn listen(socket: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&ShortPath::of(socket)?.path)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Connects; `None` when nobody listens there.
pub(crate) fn connect(socket: &Path) -> io::Result<Option<UnixStream>> {
    let connected = ShortPath::of(socket).and_then(|short| UnixStream::connect(&short.path));
    match connected {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads lines of at most [`LINE_LEN_MAX`] bytes.
pub(crate) struct Lines(BufReader<UnixStream>);

impl Lines {
    /// Reads from a stream.
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self(BufReader::new(stream))
    }

    /// The next line without its end; `None` at the end of the stream.
    pub(crate) fn next(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        let count = (&mut self.0).take(LINE_LEN_MAX).read_line(&mut line)?;
        match line.pop() {
            None => Ok(None),
            Some('\n') => Ok(Some(line)),
            Some(_) if count as u64 == LINE_LEN_MAX => Err(io::Error::other("the line is too long")),
            Some(_) => Err(ErrorKind::UnexpectedEof.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn deep_directories_have_sockets_too() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("d".repeat(100)).join("e".repeat(100));
        std::fs::create_dir_all(&deep).unwrap();
        let socket = deep.join("control.sock");
        assert!(connect(&socket).unwrap().is_none());
        let listener = listen(&socket).unwrap();
        let mut client = connect(&socket).unwrap().unwrap();
        let (server, _) = listener.accept().unwrap();
        client.write_all(b"one\ntwo\nhalf").unwrap();
        drop(client);
        let mut lines = Lines::new(server);
        assert_eq!(lines.next().unwrap().as_deref(), Some("one"));
        assert_eq!(lines.next().unwrap().as_deref(), Some("two"));
        assert_eq!(lines.next().unwrap_err().kind(), ErrorKind::UnexpectedEof);
        drop(listener);
        assert!(connect(&socket).unwrap().is_none());
        listen(&socket).unwrap();
    }

    #[test]
    fn endless_line_is_refused() {
        let (mut sender, receiver) = UnixStream::pair().unwrap();
        let writer = std::thread::spawn(move || sender.write_all(&vec![b'x'; 2 << 20]));
        assert!(Lines::new(receiver).next().is_err());
        assert!(writer.join().unwrap().is_err());
    }
}
