//! The daemon's log: one file of bounded size, three older ones, readable by its owner only.
//!
//! Lines about files carry inode numbers, never names: the state directory holds nothing readable about the tree.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::failure::{Doing, Failure, Result};
use crate::home::make_private_dir;

/// Bytes after which a new file begins.
const LOG_LEN_MAX: u64 = 10 << 20;

/// Older files that are kept, `.1` the newest.
const LOGS_KEPT: u32 = 3;

/// A file that is renamed away when it is full.
struct RotatingFile {
    path: PathBuf,
    file: File,
    len: u64,
    len_max: u64,
}

impl RotatingFile {
    fn open(path: &Path, len_max: u64) -> io::Result<Self> {
        let file = append(path)?;
        let len = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, len, len_max })
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..LOGS_KEPT).rev() {
            match std::fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        std::fs::rename(&self.path, self.numbered(1))?;
        self.file = append(&self.path)?;
        self.len = 0;
        Ok(())
    }

    fn numbered(&self, number: u32) -> PathBuf {
        self.path.with_extension(format!("log.{number}"))
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

impl Write for RotatingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.len > 0 && self.len + bytes.len() as u64 > self.len_max {
            self.rotate()?;
        }
        let count = self.file.write(bytes)?;
        self.len += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Which events are written: `KEEPFS_LOG` as `debug` or `info,keepfs_fuse=trace`; `info` without it.
fn filter() -> Result<Targets> {
    match std::env::var("KEEPFS_LOG") {
        Ok(text) => text.parse().map_err(|_| {
            Failure::usage("KEEPFS_LOG is not understood")
                .at(text)
                .advise("write info, debug or crate=level pairs")
        }),
        Err(_) => Ok(Targets::new().with_default(tracing::Level::INFO)),
    }
}

/// From now on, events go to the file.
pub(crate) fn log_to_file(path: &Path) -> Result<()> {
    if let Some(directory) = path.parent() {
        make_private_dir(directory)?;
    }
    let file = RotatingFile::open(path, LOG_LEN_MAX)
        .map_err(|error| Failure::failed(format!("cannot open the log: {error}")).at(path.display()))?;
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(Mutex::new(file));
    tracing_subscriber::registry().with(filter()?).with(layer).try_init().doing("start the log")
}

/// From now on, events go to standard error: a service manager collects them there and adds the time.
pub(crate) fn log_to_stderr() -> Result<()> {
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).without_time().with_writer(io::stderr);
    tracing_subscriber::registry().with(filter()?).with(layer).try_init().doing("start the log")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn log_is_private_bounded_and_keeps_three() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keepfs.log");
        let mut log = RotatingFile::open(&path, 100).unwrap();
        for number in 0..60 {
            writeln!(log, "line {number:03} ........").unwrap();
        }
        drop(log);
        let mut names: Vec<_> =
            std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["keepfs.log", "keepfs.log.1", "keepfs.log.2", "keepfs.log.3"]);
        for name in names {
            let metadata = std::fs::metadata(directory.path().join(name)).unwrap();
            assert!(metadata.len() <= 100);
            assert_eq!(metadata.mode() & 0o777, 0o600);
        }
        assert!(std::fs::read_to_string(path).unwrap().ends_with("line 059 ........\n"));
    }

    #[test]
    fn log_goes_on_where_it_stopped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keepfs.log");
        for _ in 0..2 {
            RotatingFile::open(&path, 100).unwrap().write_all(b"0123456789\n").unwrap();
        }
        assert_eq!(std::fs::metadata(path).unwrap().len(), 22);
    }
}
