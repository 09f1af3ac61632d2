//! The journal: one record a line, appended before it takes effect.
//!
//! It owns the file and its lock. A last line that was cut off by a crash is dropped; any other that cannot be
//! read is an error.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::record::Record;
use crate::error::{Error, Result};

/// The open journal.
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens or begins a journal and reads what it holds.
    pub(crate) fn open(path: &Path) -> Result<(Journal, Vec<Record>)> {
        let broken = |error| Error::State { path: path.to_owned(), error };
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(path)
            .map_err(broken)?;
        file.try_lock().map_err(|_| Error::InUse(path.to_owned()))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(broken)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let mut records = Vec::new();
        for (index, line) in text[..whole].split(|byte| *byte == b'\n').enumerate() {
            if !line.is_empty() {
                let record = serde_json::from_slice(line);
                records.push(record.map_err(|error| Error::Journal { line: index + 1, error })?);
            }
        }
        file.set_len(whole as u64).map_err(broken)?;
        file.seek(SeekFrom::End(0)).map_err(broken)?;
        Ok((Journal { path: path.to_owned(), file }, records))
    }

    /// Appends a record. It survives the end of the server, not that of the machine.
    pub(crate) fn append(&mut self, record: &Record) -> Result<()> {
        let mut line = serde_json::to_vec(record).map_err(|error| Error::Journal { line: 0, error })?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(|error| Error::State { path: self.path.clone(), error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_last_line_is_dropped_and_a_broken_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let (mut journal, records) = Journal::open(&path).unwrap();
        assert!(records.is_empty());
        journal.append(&Record::ReferencesExpired).unwrap();
        assert!(matches!(Journal::open(&path), Err(Error::InUse(_))));
        drop(journal);
        let mut text = std::fs::read(&path).unwrap();
        text.extend(b"{\"channel_gone\":{\"cha");
        std::fs::write(&path, &text).unwrap();
        let (mut journal, records) = Journal::open(&path).unwrap();
        assert_eq!(records.len(), 1);
        journal.append(&Record::ChannelGone { channel: 5 }).unwrap();
        drop(journal);
        assert_eq!(Journal::open(&path).unwrap().1.len(), 2);
        std::fs::write(&path, "nonsense\n").unwrap();
        assert!(matches!(Journal::open(&path), Err(Error::Journal { line: 1, .. })));
    }
}
