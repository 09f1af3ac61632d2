//! Whether what lies in a folder is what the rows wrote there. Nothing here is timed.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::io::Read;
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

/// A tree against the one it was copied from: names, kinds, modes, times of change and contents.
pub(crate) fn tree(arguments: &Arguments) -> Outcome<()> {
    same_folder(&arguments.path("from")?, &arguments.folder, 0)
}

fn names(folder: &Path) -> Outcome<BTreeSet<std::ffi::OsString>> {
    let listing = fs::read_dir(folder).map_err(Failure::on(folder))?;
    listing.map(|entry| entry.map(|entry| entry.file_name()).map_err(Failure::on(folder))).collect()
}

fn differs(path: &Path, how: &'static str) -> Failure {
    Failure::Differs { path: path.to_path_buf(), how }
}

fn same_folder(wanted: &Path, found: &Path, depth: usize) -> Outcome<()> {
    let wanted_names = names(wanted)?;
    if depth > DEPTH_MAX || names(found)? != wanted_names {
        return Err(differs(found, "holds other names"));
    }
    for name in wanted_names {
        same_entry(&wanted.join(&name), &found.join(&name), depth)?;
    }
    Ok(())
}

fn same_entry(wanted: &Path, found: &Path, depth: usize) -> Outcome<()> {
    let of_wanted = fs::symlink_metadata(wanted).map_err(Failure::on(wanted))?;
    let of_found = fs::symlink_metadata(found).map_err(Failure::on(found))?;
    if of_wanted.mode() != of_found.mode() {
        return Err(differs(found, "has another kind or mode"));
    }
    if of_wanted.is_dir() {
        return same_folder(wanted, found, depth + 1);
    }
    if of_wanted.is_symlink() {
        let same = fs::read_link(wanted).map_err(Failure::on(wanted))?
            == fs::read_link(found).map_err(Failure::on(found))?;
        return if same { Ok(()) } else { Err(differs(found, "leads elsewhere")) };
    }
    same_file((wanted, &of_wanted), (found, &of_found))
}

fn same_file((wanted, of_wanted): (&Path, &Metadata), (found, of_found): (&Path, &Metadata)) -> Outcome<()> {
    // An archive keeps whole seconds.
    if of_wanted.mtime() != of_found.mtime() {
        return Err(differs(found, "has another time of change"));
    }
    if fs::read(wanted).map_err(Failure::on(wanted))? != fs::read(found).map_err(Failure::on(found))? {
        return Err(differs(found, "has other bytes"));
    }
    Ok(())
}
