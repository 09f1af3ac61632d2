//! Small files that are for their owner only: read within a limit, replaced atomically.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::failure::{Doing, Failure, Result};
use crate::home::{make_private_dir, sync_directory_of};

/// A configuration beyond this many bytes is not ours.
const FILE_LEN_MAX: u64 = 1 << 20;

/// Reads a file; one that is not there is empty.
pub(crate) fn read_limited(path: &Path) -> Result<String> {
    let failed = |error: std::io::Error| {
        Failure::failed(format!("cannot read the configuration: {error}")).at(path.display())
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    file.take(FILE_LEN_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_LEN_MAX {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        return Err(Failure::failed(format!("{name} is larger than 1 MiB")).at(path.display()));
    }
    Ok(text)
}

/// Makes the directory of a file, and keeps every other command of ours out of it until the lock is dropped.
pub(crate) fn lock_directory_of(path: &Path) -> Result<File> {
    let directory = path.parent().unwrap_or(Path::new("."));
    make_private_dir(directory)?;
    let directory = File::open(directory).doing("open the configuration directory")?;
    flock(&directory, FlockOperation::LockExclusive).doing("lock the configuration directory")?;
    Ok(directory)
}

/// Replaces a file by a new one of mode 0600; after a crash either the old or the new one is there.
pub(crate) fn replace_private_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |error: std::io::Error| Failure::failed(format!("cannot write: {error}")).at(path.display());
    let temporary = path.with_extension("new");
    let written = (|| {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_directory_of(path)
    })();
    written.map_err(failed)
}
