//! Small files that are for their owner only: read within a limit, replaced atomically.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use zeroize::Zeroizing;

use crate::failure::{Doing, Failure, Result};
use crate::home::{make_private_dir, sync_directory_of};
use crate::size::Size;

/// A configuration beyond this many bytes is not ours.
const FILE_LEN_MAX: u64 = 1 << 20;

/// Reads a file; one that is not there is empty.
pub(crate) fn read_limited(path: &Path) -> Result<String> {
    let failed = |error: io::Error| {
        Failure::failed(format!("cannot read the configuration: {error}")).at(path.display())
    };
    let Some(bytes) = read_private_file(path, FILE_LEN_MAX).map_err(failed)? else {
        return Ok(String::new());
    };
    let text = str::from_utf8(&bytes).map_err(|error| failed(io::Error::other(error)))?;
    Ok(text.to_owned())
}

/// Bytes of a file of at most `limit` bytes, wiped when they are dropped; nothing if it is not there.
pub(crate) fn read_private_file(path: &Path, limit: u64) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let too_long = || {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        io::Error::other(format!("{name} is larger than {}", Size(limit)))
    };
    let len = file.metadata()?.len();
    if len > limit {
        return Err(too_long());
    }
    // Reserved at once: a vector that grows leaves unwiped copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(len as usize + 1));
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(too_long()) } else { Ok(Some(bytes)) }
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
    let failed = |error: io::Error| Failure::failed(format!("cannot write: {error}")).at(path.display());
    write_private_file(path, bytes).map_err(failed)
}

/// The same for callers with errors of their own. Two processes that replace one file do not share the file on its way.
pub(crate) fn write_private_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_directory_of(path)
}
