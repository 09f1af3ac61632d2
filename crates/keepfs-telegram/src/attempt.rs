//! One attempt at an upload, as it is kept on this machine: what the server has been given already.
//!
//! A process that was killed goes on from here. The numbers under which the parts and the message travel are drawn
//! once an attempt, so that whatever is sent twice counts once.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use keepfs_store::ObjectName;

use crate::error::{Result, TelegramError};
use crate::label::file_name;
use crate::source::Source;

/// The server keeps parts for minutes to hours; an older attempt is not worth asking about.
const AGE_MAX: Duration = Duration::from_secs(6 * 3600);
/// Longest record that is read, in bytes: 8000 parts.
const TEXT_LEN_MAX: u64 = 1 << 20;
const FIRST_WORD: &str = "attempt";

/// An attempt.
pub(crate) struct Attempt {
    /// Under this number the server collects the parts.
    pub(crate) file_id: i64,
    /// Under this number the message is sent.
    pub(crate) random_id: i64,
    /// Length of the object in bytes.
    pub(crate) len: u64,
    /// The parts that arrived, with the checksums of what they held.
    done: BTreeMap<u32, u32>,
    /// The message may have been sent.
    pub(crate) sending: bool,
    /// It was begun by an earlier call.
    pub(crate) is_resumed: bool,
    record: Option<Record>,
}

struct Record {
    path: PathBuf,
    file: File,
}

/// The numbers of a new attempt.
#[derive(Clone, Copy)]
pub(crate) struct Numbers {
    pub(crate) file_id: i64,
    pub(crate) random_id: i64,
}

impl Attempt {
    /// An attempt that nobody will go on with.
    pub(crate) fn fleeting(numbers: Numbers, len: u64) -> Self {
        let Numbers { file_id, random_id } = numbers;
        Attempt {
            file_id,
            random_id,
            len,
            done: BTreeMap::new(),
            sending: false,
            is_resumed: false,
            record: None,
        }
    }

    /// The kept attempt at this object, or a new one that is kept from now on.
    pub(crate) fn resume_or_begin(
        directory: &Path,
        name: &ObjectName,
        new: Numbers,
        len: u64,
    ) -> Result<Self> {
        let path = path_of(directory, name);
        let failed = |error| TelegramError::local("keeping track of an upload", &error);
        std::fs::create_dir_all(directory).map_err(failed)?;
        let old = read(&path).filter(|old| old.len == len);
        let is_resumed = old.is_some();
        let mut attempt = old.unwrap_or_else(|| Self::fleeting(new, len));
        attempt.is_resumed = is_resumed;
        // Written anew as a whole, which also drops a torn last line.
        let beside = path.with_extension("new");
        std::fs::write(&beside, attempt.text()).map_err(failed)?;
        std::fs::rename(&beside, &path).map_err(failed)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(failed)?;
        attempt.record = Some(Record { path, file });
        Ok(attempt)
    }

    /// The kept attempt at this object, if there is one.
    pub(crate) fn kept(directory: &Path, name: &ObjectName) -> Option<Self> {
        read(&path_of(directory, name))
    }

    /// Whether the server has this part with these bytes.
    pub(crate) fn has(&self, part: u32, crc: u32) -> bool {
        self.done.get(&part) == Some(&crc)
    }

    /// Whether what was sent before are parts of these bytes.
    pub(crate) fn fits(&self, source: &Source<'_>) -> Result<bool> {
        for (part, crc) in &self.done {
            if *part >= source.parts() || crc32fast::hash(&source.part(*part)?) != *crc {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The server has taken a part.
    pub(crate) fn note_part(&mut self, part: u32, crc: u32) -> Result<()> {
        self.done.insert(part, crc);
        self.append(&format!("part {part} {crc:08x}\n"))
    }

    /// The server has lost a part.
    pub(crate) fn lose_part(&mut self, part: u32) {
        self.done.remove(&part);
    }

    /// From now on the message may be there.
    pub(crate) fn note_sending(&mut self) -> Result<()> {
        self.sending = true;
        self.append("sending\n")
    }

    fn append(&mut self, line: &str) -> Result<()> {
        let Some(record) = &mut self.record else { return Ok(()) };
        record
            .file
            .write_all(line.as_bytes())
            .map_err(|error| TelegramError::local("keeping track of an upload", &error))
    }

    fn text(&self) -> String {
        let mut text = format!("{FIRST_WORD} {} {} {}\n", self.file_id, self.random_id, self.len);
        for (part, crc) in &self.done {
            text.push_str(&format!("part {part} {crc:08x}\n"));
        }
        if self.sending {
            text.push_str("sending\n");
        }
        text
    }

    /// It is over: the object is there, or the server does not want to hear of it any more.
    pub(crate) fn end(self) {
        if let Some(record) = self.record {
            // A record that stays is read by nobody: the object is looked for before an attempt is.
            let _ = std::fs::remove_file(record.path);
        }
    }
}

/// Forgets the attempt at an object.
pub(crate) fn forget(directory: &Path, name: &ObjectName) {
    // One that stays is dropped when it is old, or when its parts do not fit.
    let _ = std::fs::remove_file(path_of(directory, name));
}

/// Removes the records that nobody will go on with.
pub(crate) fn sweep(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|modified| SystemTime::now().duration_since(modified).ok());
        if age.is_some_and(|age| age > AGE_MAX) {
            // One that stays is never read.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn path_of(directory: &Path, name: &ObjectName) -> PathBuf {
    directory.join(format!("{}.upload", file_name(name)))
}

fn read(path: &Path) -> Option<Attempt> {
    let metadata = std::fs::metadata(path).ok()?;
    let age = SystemTime::now().duration_since(metadata.modified().ok()?).unwrap_or_default();
    if metadata.len() > TEXT_LEN_MAX || age > AGE_MAX {
        return None;
    }
    parse(&std::fs::read_to_string(path).ok()?)
}

/// Reads a record up to the line that was being written when the process died.
fn parse(text: &str) -> Option<Attempt> {
    let mut lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(str::trim_end);
    let first: Vec<&str> = lines.next()?.split(' ').collect();
    let [FIRST_WORD, file_id, random_id, len] = first[..] else { return None };
    let numbers = Numbers { file_id: file_id.parse().ok()?, random_id: random_id.parse().ok()? };
    let mut attempt = Attempt::fleeting(numbers, len.parse().ok()?);
    for line in lines {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["part", part, crc] => {
                attempt.done.insert(part.parse().ok()?, u32::from_str_radix(crc, 16).ok()?);
            }
            ["sending"] => attempt.sending = true,
            _ => return None,
        }
    }
    Some(attempt)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERS: Numbers = Numbers { file_id: -7, random_id: 9 };
    const OTHERS: Numbers = Numbers { file_id: 1, random_id: 2 };

    #[test]
    fn killed_attempt_goes_on_with_its_numbers_and_parts() {
        let directory = tempfile::tempdir().unwrap();
        let name = ObjectName::vault();
        let mut attempt = Attempt::resume_or_begin(directory.path(), &name, NUMBERS, 100).unwrap();
        attempt.note_part(3, 0xabc).unwrap();
        attempt.note_sending().unwrap();
        drop(attempt);
        let path = path_of(directory.path(), &name);
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("part 4 0000");
        std::fs::write(&path, text).unwrap();
        let attempt = Attempt::resume_or_begin(directory.path(), &name, OTHERS, 100).unwrap();
        assert_eq!((attempt.file_id, attempt.random_id, attempt.sending), (-7, 9, true));
        assert!(attempt.has(3, 0xabc) && !attempt.has(3, 0xabd) && !attempt.has(4, 0));
        attempt.end();
        assert!(Attempt::kept(directory.path(), &name).is_none());
    }

    #[test]
    fn attempt_at_other_bytes_is_not_gone_on_with() {
        let directory = tempfile::tempdir().unwrap();
        let name = ObjectName::vault();
        drop(Attempt::resume_or_begin(directory.path(), &name, NUMBERS, 100).unwrap());
        let attempt = Attempt::resume_or_begin(directory.path(), &name, OTHERS, 101).unwrap();
        assert_eq!(attempt.file_id, 1);
    }

    #[test]
    fn parts_of_other_bytes_are_noticed() {
        let mut attempt = Attempt::fleeting(NUMBERS, 4);
        attempt.note_part(0, crc32fast::hash(b"ours")).unwrap();
        assert!(attempt.fits(&Source::Bytes(b"ours")).unwrap());
        assert!(!attempt.fits(&Source::Bytes(b"ous!")).unwrap());
    }

    #[test]
    fn old_records_are_swept_and_fresh_ones_stay() {
        let directory = tempfile::tempdir().unwrap();
        for name in [ObjectName::vault(), ObjectName::vault_backup()] {
            drop(Attempt::resume_or_begin(directory.path(), &name, NUMBERS, 100).unwrap());
        }
        let old = File::options().write(true).open(path_of(directory.path(), &ObjectName::vault())).unwrap();
        old.set_modified(SystemTime::now() - AGE_MAX - Duration::from_secs(1)).unwrap();
        assert!(Attempt::kept(directory.path(), &ObjectName::vault()).is_none());
        sweep(directory.path());
        let left = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(left, 1);
    }

    #[test]
    fn damaged_record_is_none() {
        for text in ["", "attempt 1 2", "attempt 1 2 x\n", "attempt 1 2 3\nwhat\n", "part 1 2\n"] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
