//! Whether what lies in a folder is what the rows wrote there. Nothing here is timed.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use crate::arguments::Arguments;
use crate::failure::{Failure, Outcome};
use crate::noise::{self, PAGE_LEN};
use crate::rows::{self, BIG_SEED, LOG_SEED, OVERWRITE_SEED, SMALL_SEED};

/// Deeper trees than this are no source trees.
const DEPTH_MAX: usize = 64;

/// Checks a file of noise; `seed` names the noise of each page.
fn noise_file(path: &Path, bytes: u64, seed: impl Fn(u64) -> u64) -> Outcome<()> {
    let file = File::open(path).map_err(Failure::on(path))?;
    let length = file.metadata().map_err(Failure::on(path))?.len();
    if length != bytes {
        return Err(Failure::Wrong { path: path.to_path_buf(), offset: length.min(bytes) });
    }
    let mut piece = vec![0; 64 * PAGE_LEN];
    let mut offset = 0;
    while offset < bytes {
        let length = (bytes - offset).min(piece.len() as u64) as usize;
        file.read_exact_at(&mut piece[..length], offset).map_err(Failure::on(path))?;
        for page in piece[..length].chunks(PAGE_LEN) {
            if !noise::is_noise(seed(offset), offset, page) {
                return Err(Failure::Wrong { path: path.to_path_buf(), offset });
            }
            offset += page.len() as u64;
        }
    }
    Ok(())
}

/// The large file as it was first written.
pub(crate) fn big(arguments: &Arguments) -> Outcome<()> {
    noise_file(&rows::big(&arguments.folder), arguments.number("bytes", 256 << 20)?, |_| BIG_SEED)
}

/// The large file after the random overwrites.
pub(crate) fn overwritten(arguments: &Arguments) -> Outcome<()> {
    let (bytes, calls) = (arguments.number("bytes", 256 << 20)?, arguments.number("calls", 4_000)?);
    let places: BTreeSet<u64> = rows::overwritten(bytes, calls).collect();
    let seed = |offset| if places.contains(&offset) { OVERWRITE_SEED } else { BIG_SEED };
    noise_file(&rows::big(&arguments.folder), bytes, seed)
}

pub(crate) fn log(arguments: &Arguments) -> Outcome<()> {
    let bytes = arguments.number("calls", 1_000)? * PAGE_LEN as u64;
    noise_file(&rows::log(&arguments.folder), bytes, |_| LOG_SEED)
}

pub(crate) fn small(arguments: &Arguments) -> Outcome<()> {
    let mut page = Vec::new();
    for number in 0..arguments.number("files", 5_000)? {
        let path = rows::small(&arguments.folder, number);
        page.clear();
        let file = File::open(&path).map_err(Failure::on(&path))?;
        file.take(2 * PAGE_LEN as u64).read_to_end(&mut page).map_err(Failure::on(&path))?;
        if page.len() != PAGE_LEN || !noise::is_noise(SMALL_SEED, number * PAGE_LEN as u64, &page) {
            return Err(Failure::Wrong { path, offset: 0 });
        }
    }
    Ok(())
}

pub(crate) fn text(arguments: &Arguments) -> Outcome<()> {
    let (from, path) = (arguments.path("from")?, rows::text(&arguments.folder));
    let mut wanted = fs::read(&from).map_err(Failure::on(&from))?;
    wanted.truncate(arguments.number("bytes", u64::MAX)?.try_into().unwrap_or(usize::MAX));
    let found = fs::read(&path).map_err(Failure::on(&path))?;
    if found != wanted {
        let offset = found.iter().zip(&wanted).take_while(|(found, wanted)| found == wanted).count();
        return Err(Failure::Wrong { path, offset: offset as u64 });
    }
    Ok(())
}

/// A tree against the one it was copied from: names, kinds and contents, and, unless told otherwise, modes
/// and times of change.
pub(crate) fn tree(arguments: &Arguments) -> Outcome<()> {
    let comparison =
        Comparison { modes: arguments.number("modes", 1)? != 0, times: arguments.number("times", 1)? != 0 };
    comparison.folder(&arguments.path("from")?, &arguments.folder, 0)
}

fn names(folder: &Path) -> Outcome<BTreeSet<OsString>> {
    let listing = fs::read_dir(folder).map_err(Failure::on(folder))?;
    listing.map(|entry| entry.map(|entry| entry.file_name()).map_err(Failure::on(folder))).collect()
}

fn differs(path: &Path, how: &'static str) -> Failure {
    Failure::Differs { path: path.to_path_buf(), how }
}

/// How two trees are compared.
struct Comparison {
    modes: bool,
    times: bool,
}

impl Comparison {
    fn folder(&self, wanted: &Path, found: &Path, depth: usize) -> Outcome<()> {
        let wanted_names = names(wanted)?;
        if depth > DEPTH_MAX || names(found)? != wanted_names {
            return Err(differs(found, "holds other names"));
        }
        for name in wanted_names {
            self.entry(&wanted.join(&name), &found.join(&name), depth)?;
        }
        Ok(())
    }

    fn entry(&self, wanted: &Path, found: &Path, depth: usize) -> Outcome<()> {
        let of_wanted = fs::symlink_metadata(wanted).map_err(Failure::on(wanted))?;
        let of_found = fs::symlink_metadata(found).map_err(Failure::on(found))?;
        if of_wanted.file_type() != of_found.file_type() {
            return Err(differs(found, "is of another kind"));
        }
        if self.modes && of_wanted.mode() != of_found.mode() {
            return Err(differs(found, "has another mode"));
        }
        if of_wanted.is_dir() {
            return self.folder(wanted, found, depth + 1);
        }
        // An archive keeps whole seconds.
        if self.times && of_wanted.mtime() != of_found.mtime() {
            return Err(differs(found, "has another time of change"));
        }
        if of_wanted.is_symlink() {
            return same(wanted, found, |path| fs::read_link(path).map(OsString::from));
        }
        same(wanted, found, |path| fs::read(path))
    }
}

fn same<T: PartialEq>(wanted: &Path, found: &Path, read: impl Fn(&Path) -> io::Result<T>) -> Outcome<()> {
    if read(wanted).map_err(Failure::on(wanted))? == read(found).map_err(Failure::on(found))? {
        return Ok(());
    }
    Err(differs(found, "has another content"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn arguments(folder: &Path, sizes: &str) -> Arguments {
        let words = ["row".to_owned(), folder.to_string_lossy().into_owned()];
        Arguments::parse(words.into_iter().chain(sizes.split_whitespace().map(str::to_owned))).unwrap()
    }

    fn flip(path: &Path, offset: u64) {
        let file = File::options().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
    }

    #[test]
    fn a_flipped_byte_is_found_in_every_kind_of_file() {
        let folder = tempfile::tempdir().unwrap();
        let arguments = arguments(folder.path(), "bytes=1048576 calls=20 files=150");
        rows::write(&arguments).unwrap();
        rows::read(&arguments).unwrap();
        rows::random_read(&arguments).unwrap();
        rows::overwrite(&arguments).unwrap();
        rows::append(&arguments).unwrap();
        rows::create(&arguments).unwrap();
        let checks: [(crate::Check, _); 3] = [
            (overwritten, rows::big(folder.path())),
            (log, rows::log(folder.path())),
            (small, rows::small(folder.path(), 149)),
        ];
        for (check, path) in checks {
            check(&arguments).unwrap();
            flip(&path, 4_000);
            assert!(matches!(check(&arguments), Err(Failure::Wrong { .. })), "{}", path.display());
        }
        assert!(rows::read(&arguments).is_err());
    }

    #[test]
    fn a_page_that_was_not_overwritten_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let arguments = arguments(folder.path(), "bytes=1048576 calls=20");
        rows::write(&arguments).unwrap();
        assert!(matches!(overwritten(&arguments), Err(Failure::Wrong { .. })));
    }

    #[test]
    fn trees_differ_by_names_bytes_and_modes() {
        let base = tempfile::tempdir().unwrap();
        let (wanted, found) = (base.path().join("wanted"), base.path().join("found"));
        for folder in [&wanted, &found] {
            fs::create_dir_all(folder.join("below")).unwrap();
            fs::write(folder.join("below/file"), b"content").unwrap();
            let times = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
            File::open(folder.join("below/file")).unwrap().set_times(times).unwrap();
        }
        let from = format!("from={}", wanted.display());
        tree(&arguments(&found, &from)).unwrap();
        fs::set_permissions(found.join("below/file"), fs::Permissions::from_mode(0o600)).unwrap();
        assert!(tree(&arguments(&found, &from)).is_err());
        tree(&arguments(&found, &format!("{from} modes=0"))).unwrap();
        flip(&wanted.join("below/file"), 3);
        assert!(tree(&arguments(&found, &format!("{from} modes=0"))).is_err());
        fs::write(found.join("more"), b"").unwrap();
        assert!(tree(&arguments(&found, &from)).is_err());
    }
}
