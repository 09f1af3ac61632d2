//! Rows for trees and files that are large: how the cost of a call grows with what is there already. Each works on
//! files of [`LENGTH`] bytes in a folder `into=NAME`, with `per=N` of them in each folder below.

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant, UNIX_EPOCH};

use crate::arguments::Arguments;
use crate::failure::{Failure, Outcome};
use crate::noise::{self, PAGE_LEN};
use crate::rows::Done;

/// Length of each file, in bytes.
const LENGTH: usize = 64;
const CONTENT_SEED: u64 = 11;
const PICK_SEED: u64 = 12;
const SPARSE_SEED: u64 = 13;

/// The files of a grown tree.
struct Grown {
    base: PathBuf,
    per: u64,
    files: u64,
}

impl Grown {
    fn of(arguments: &Arguments) -> Outcome<Self> {
        let base = arguments.folder.join(arguments.text("into", "grown"));
        let per = arguments.number("per", 1_000)?.max(1);
        Ok(Self { base, per, files: arguments.number("files", 1_000)?.max(1) })
    }

    fn folder(&self, number: u64) -> PathBuf {
        self.base.join(format!("{:05}", number / self.per))
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder(number).join(number.to_string())
    }

    /// So many different files: scattered over the tree, or, with `near`, neighbours.
    fn pick(&self, arguments: &Arguments) -> Outcome<Vec<PathBuf>> {
        let (calls, seed) = (arguments.number("calls", 1_000)?, arguments.number("seed", 0)?);
        let start = noise::number(PICK_SEED, seed) % self.files;
        // A stride without a factor in common with powers of ten visits each file once before any twice.
        let stride = if arguments.number("near", 0)? != 0 { 1 } else { 611_953 };
        Ok((0..calls).map(|call| self.path((start + call * stride) % self.files)).collect())
    }
}

fn content(number: u64) -> [u8; LENGTH] {
    let mut content = [0; LENGTH];
    noise::fill(CONTENT_SEED, number * LENGTH as u64, &mut content);
    content
}

/// Does something to each path, and times it all.
fn each(paths: &[PathBuf], mut act: impl FnMut(&PathBuf) -> std::io::Result<()>) -> Outcome<Done> {
    let started = Instant::now();
    for path in paths {
        act(path).map_err(Failure::on(path))?;
    }
    Ok(Done::calls(paths.len() as u64, started.elapsed()))
}

/// Makes the files from `first` on.
pub(crate) fn grow(arguments: &Arguments) -> Outcome<Done> {
    let grown = Grown::of(arguments)?;
    let first = arguments.number("first", 0)?;
    let started = Instant::now();
    for number in first..grown.files {
        if number == first || number % grown.per == 0 {
            let folder = grown.folder(number);
            fs::create_dir_all(&folder).map_err(Failure::on(&folder))?;
        }
        let path = grown.path(number);
        let mut file = File::create_new(&path).map_err(Failure::on(&path))?;
        file.write_all(&content(number)).map_err(Failure::on(&path))?;
    }
    Ok(Done::calls(grown.files.saturating_sub(first), started.elapsed()))
}

/// Removes the files from `first` on.
pub(crate) fn shrink(arguments: &Arguments) -> Outcome<Done> {
    let grown = Grown::of(arguments)?;
    let paths: Vec<PathBuf> =
        (arguments.number("first", 0)?..grown.files).map(|number| grown.path(number)).collect();
    each(&paths, |path| fs::remove_file(path))
}

/// Attributes of files.
pub(crate) fn stat(arguments: &Arguments) -> Outcome<Done> {
    each(&Grown::of(arguments)?.pick(arguments)?, |path| fs::symlink_metadata(path).map(drop))
}

/// Opens and reads files, and checks each.
pub(crate) fn open(arguments: &Arguments) -> Outcome<Done> {
    let paths = Grown::of(arguments)?.pick(arguments)?;
    let mut read = Vec::with_capacity(paths.len());
    let done = each(&paths, |path| {
        let mut bytes = [0; LENGTH + 1];
        let length = File::open(path)?.read(&mut bytes)?;
        read.push((length, bytes));
        Ok(())
    })?;
    for (path, (length, bytes)) in paths.iter().zip(&read) {
        let number = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        if number.is_none_or(|number| bytes[..*length] != content(number)) {
            return Err(Failure::Wrong { path: path.clone(), offset: 0 });
        }
    }
    Ok(done)
}

/// Sets times of change: one operation for each call.
pub(crate) fn touch(arguments: &Arguments) -> Outcome<Done> {
    let seconds = 1_000_000_000 + arguments.number("seed", 0)?;
    let times = FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_secs(seconds));
    each(&Grown::of(arguments)?.pick(arguments)?, |path| File::open(path)?.set_times(times))
}

/// Gives files another name and their own back.
pub(crate) fn rename(arguments: &Arguments) -> Outcome<Done> {
    let done = each(&Grown::of(arguments)?.pick(arguments)?, |path| {
        let other = path.with_extension("moved");
        fs::rename(path, &other)?;
        fs::rename(&other, path)
    })?;
    Ok(Done { count: done.count * 2.0, ..done })
}

/// The file that is almost all hole.
fn sparse(arguments: &Arguments) -> Outcome<(PathBuf, Vec<u64>)> {
    let pages = (arguments.number("bytes", 100_000_000_000)? / PAGE_LEN as u64).max(1);
    let calls = arguments.number("calls", 2_000)?;
    let places = (0..calls).map(|call| noise::number(SPARSE_SEED, call) % pages * PAGE_LEN as u64);
    Ok((arguments.folder.join("sparse"), places.collect()))
}

/// Writes pages all over a file of the given length, with one `fsync` at the end.
pub(crate) fn scatter(arguments: &Arguments) -> Outcome<Done> {
    let (path, places) = sparse(arguments)?;
    let mut page = vec![0; PAGE_LEN];
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
    let file = file.map_err(Failure::on(&path))?;
    let started = Instant::now();
    file.set_len(arguments.number("bytes", 100_000_000_000)?).map_err(Failure::on(&path))?;
    for place in &places {
        noise::fill(SPARSE_SEED, *place, &mut page);
        file.write_all_at(&page, *place).map_err(Failure::on(&path))?;
    }
    file.sync_all().map_err(Failure::on(&path))?;
    Ok(Done::calls(places.len() as u64, started.elapsed()))
}

/// Reads those pages, each with the page behind it, which is a hole unless it was written, too.
pub(crate) fn gather(arguments: &Arguments) -> Outcome<Done> {
    let (path, places) = sparse(arguments)?;
    let file = File::open(&path).map_err(Failure::on(&path))?;
    let written: std::collections::BTreeSet<u64> = places.iter().copied().collect();
    let length = file.metadata().map_err(Failure::on(&path))?.len();
    let mut pages = vec![0; 2 * PAGE_LEN];
    let started = Instant::now();
    for place in &places {
        let wanted = (2 * PAGE_LEN as u64).min(length - place) as usize;
        file.read_exact_at(&mut pages[..wanted], *place).map_err(Failure::on(&path))?;
        let next = place + PAGE_LEN as u64;
        let (first, second) = pages[..wanted].split_at(PAGE_LEN);
        let is_hole = written.contains(&next) || second.iter().all(|byte| *byte == 0);
        if !noise::is_noise(SPARSE_SEED, *place, first) || !is_hole {
            return Err(Failure::Wrong { path, offset: *place });
        }
    }
    Ok(Done::calls(places.len() as u64, started.elapsed()))
}
