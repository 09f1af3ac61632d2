//! The rows: each does its work with as few calls as there can be, times that alone, and gives count and time.
//! Buffers are filled before the clock starts and checked after it stopped.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::check;
use crate::failure::{Failure, Outcome};
use crate::noise::{self, PAGE_LEN};

/// Length of a large read or write, in bytes.
const PIECE_LEN: usize = 1 << 20;

/// Seeds of the noise of each kind of file.
pub(crate) const BIG_SEED: u64 = 1;
pub(crate) const OVERWRITE_SEED: u64 = 2;
pub(crate) const LOG_SEED: u64 = 3;
pub(crate) const SMALL_SEED: u64 = 4;
/// Seeds of the places of random reads and of random writes.
const READ_PLACES_SEED: u64 = 5;
const WRITE_PLACES_SEED: u64 = 6;

/// Small files in one folder.
const FOLDER_FILES: u64 = 100;

/// What a row has done.
pub(crate) struct Done {
    pub(crate) count: f64,
    pub(crate) unit: &'static str,
    pub(crate) time: Duration,
}

impl Done {
    fn mebibytes(bytes: u64, time: Duration) -> Self {
        Self { count: bytes as f64 / f64::from(1 << 20), unit: "MiB/s", time }
    }

    pub(crate) fn calls(count: u64, time: Duration) -> Self {
        Self { count: count as f64, unit: "/s", time }
    }
}

/// The large file of noise.
pub(crate) fn big(folder: &Path) -> PathBuf {
    folder.join("big")
}

/// The file of source text.
pub(crate) fn text(folder: &Path) -> PathBuf {
    folder.join("text")
}

/// The file that is appended to.
pub(crate) fn log(folder: &Path) -> PathBuf {
    folder.join("log")
}

/// The small file of this number, in a tree of folders.
pub(crate) fn small(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("small/{:04}/{number}", number / FOLDER_FILES))
}

/// The places of `calls` random pages in a file of so many bytes.
pub(crate) fn places(seed: u64, bytes: u64, calls: u64) -> impl Iterator<Item = u64> {
    let pages = (bytes / PAGE_LEN as u64).max(1);
    (0..calls).map(move |call| noise::number(seed, call) % pages * PAGE_LEN as u64)
}

/// The places of the random overwrites.
pub(crate) fn overwritten(bytes: u64, calls: u64) -> impl Iterator<Item = u64> {
    places(WRITE_PLACES_SEED, bytes, calls)
}

/// Writes a new file in large pieces, with one `fsync` at its end.
fn write_whole(path: &Path, content: &[u8]) -> Outcome<Done> {
    let started = Instant::now();
    let mut file = File::create(path).map_err(Failure::on(path))?;
    for piece in content.chunks(PIECE_LEN) {
        file.write_all(piece).map_err(Failure::on(path))?;
    }
    file.sync_all().map_err(Failure::on(path))?;
    Ok(Done::mebibytes(content.len() as u64, started.elapsed()))
}

pub(crate) fn write(arguments: &Arguments) -> Outcome<Done> {
    let mut content = vec![0; arguments.number("bytes", 256 << 20)? as usize];
    noise::fill(BIG_SEED, 0, &mut content);
    write_whole(&big(&arguments.folder), &content)
}

pub(crate) fn write_text(arguments: &Arguments) -> Outcome<Done> {
    let from = arguments.path("from")?;
    let mut content = fs::read(&from).map_err(Failure::on(&from))?;
    content.truncate(arguments.number("bytes", u64::MAX)?.try_into().unwrap_or(usize::MAX));
    write_whole(&text(&arguments.folder), &content)
}

/// Reads the large file from beginning to end, in large pieces into one buffer. What the kernel gave once it
/// still holds, so that a second pass, outside the time, checks the same bytes.
pub(crate) fn read(arguments: &Arguments) -> Outcome<Done> {
    let path = big(&arguments.folder);
    let bytes = arguments.number("bytes", 256 << 20)?;
    let mut piece = vec![0; PIECE_LEN];
    let started = Instant::now();
    let mut file = File::open(&path).map_err(Failure::on(&path))?;
    let mut total = 0;
    loop {
        match file.read(&mut piece).map_err(Failure::on(&path))? {
            0 => break,
            count => total += count as u64,
        }
    }
    let time = started.elapsed();
    if total != bytes {
        return Err(Failure::Wrong { path, offset: total });
    }
    if arguments.number("check", 1)? != 0 {
        check::big(arguments)?;
    }
    Ok(Done::mebibytes(total, time))
}

/// The same when everything has been read before.
pub(crate) fn read_warm(arguments: &Arguments) -> Outcome<Done> {
    read(arguments)?;
    read(arguments)
}

pub(crate) fn random_read(arguments: &Arguments) -> Outcome<Done> {
    let path = big(&arguments.folder);
    let (bytes, calls) = (arguments.number("bytes", 256 << 20)?, arguments.number("calls", 4_000)?);
    // Every page has its own place and was touched, so that all of them can be checked afterwards.
    let mut pages = vec![1; calls as usize * PAGE_LEN];
    let places: Vec<u64> = places(READ_PLACES_SEED, bytes, calls).collect();
    let file = File::open(&path).map_err(Failure::on(&path))?;
    let started = Instant::now();
    for (page, place) in pages.chunks_mut(PAGE_LEN).zip(&places) {
        file.read_exact_at(page, *place).map_err(Failure::on(&path))?;
    }
    let time = started.elapsed();
    for (page, place) in pages.chunks(PAGE_LEN).zip(&places) {
        if !noise::is_noise(BIG_SEED, *place, page) {
            return Err(Failure::Wrong { path, offset: *place });
        }
    }
    Ok(Done::calls(calls, time))
}

pub(crate) fn overwrite(arguments: &Arguments) -> Outcome<Done> {
    let path = big(&arguments.folder);
    let (bytes, calls) = (arguments.number("bytes", 256 << 20)?, arguments.number("calls", 4_000)?);
    let places: Vec<u64> = overwritten(bytes, calls).collect();
    let mut pages = vec![0; calls as usize * PAGE_LEN];
    for (page, place) in pages.chunks_mut(PAGE_LEN).zip(&places) {
        noise::fill(OVERWRITE_SEED, *place, page);
    }
    let file = OpenOptions::new().read(true).write(true).open(&path).map_err(Failure::on(&path))?;
    let started = Instant::now();
    for (page, place) in pages.chunks(PAGE_LEN).zip(&places) {
        file.write_all_at(page, *place).map_err(Failure::on(&path))?;
    }
    file.sync_all().map_err(Failure::on(&path))?;
    Ok(Done::calls(calls, started.elapsed()))
}

pub(crate) fn append(arguments: &Arguments) -> Outcome<Done> {
    let path = log(&arguments.folder);
    let calls = arguments.number("calls", 1_000)?;
    let mut pages = vec![0; calls as usize * PAGE_LEN];
    noise::fill(LOG_SEED, 0, &mut pages);
    let mut file =
        OpenOptions::new().append(true).create_new(true).open(&path).map_err(Failure::on(&path))?;
    let started = Instant::now();
    for page in pages.chunks(PAGE_LEN) {
        file.write_all(page).map_err(Failure::on(&path))?;
        file.sync_all().map_err(Failure::on(&path))?;
    }
    Ok(Done::calls(calls, started.elapsed()))
}

/// Makes small files, in folders that are there already.
pub(crate) fn create(arguments: &Arguments) -> Outcome<Done> {
    let files = arguments.number("files", 5_000)?;
    let mut pages = vec![0; files as usize * PAGE_LEN];
    noise::fill(SMALL_SEED, 0, &mut pages);
    let paths: Vec<PathBuf> = (0..files).map(|number| small(&arguments.folder, number)).collect();
    for path in paths.iter().step_by(FOLDER_FILES as usize).filter_map(|path| path.parent()) {
        fs::create_dir_all(path).map_err(Failure::on(path))?;
    }
    let started = Instant::now();
    for (path, page) in paths.iter().zip(pages.chunks(PAGE_LEN)) {
        let mut file = File::create_new(path).map_err(Failure::on(path))?;
        file.write_all(page).map_err(Failure::on(path))?;
    }
    Ok(Done::calls(files, started.elapsed()))
}

pub(crate) fn unlink(arguments: &Arguments) -> Outcome<Done> {
    let files = arguments.number("files", 5_000)?;
    let paths: Vec<PathBuf> = (0..files).map(|number| small(&arguments.folder, number)).collect();
    let started = Instant::now();
    for path in &paths {
        fs::remove_file(path).map_err(Failure::on(path))?;
    }
    let time = started.elapsed();
    for path in paths.iter().step_by(FOLDER_FILES as usize).filter_map(|path| path.parent()) {
        // Fails where a file is left.
        fs::remove_dir(path).map_err(Failure::on(path))?;
    }
    Ok(Done::calls(files, time))
}
