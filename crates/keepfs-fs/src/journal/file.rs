//! One journal file: its name, its first sector, and how one is made. Never looks at frames.
//!
//! The first sector is a random salt and, sealed under the key that follows from it, [`FileHead`]. It is durable
//! before the file gets its name as a journal file, so a file of that name whose first sector does not open is
//! damaged. Names: `journal-<number>` is in use, `spare-<number>` waits to be used again, `new-<number>` is being
//! filled; only the first kind ever matters to what the journal says.

use std::path::PathBuf;
use std::sync::Arc;

use keepfs_format::env::{Env, draw};
use keepfs_format::local::{FramePart, FramePlace, FrameSealer, LocalKeys, Noise, SALT_LEN, TAG_LEN};

use super::frame::Tag;
use super::{JournalError, Position};
use crate::disk::{LocalDisk, LocalFile, SECTOR_LEN};

/// Where the first frame of a file begins, in bytes: one page of the kernel, so that frames keep to pages.
pub(super) const FIRST_FRAME: u64 = 4096;

/// Version of the layout that this code reads and writes.
const VERSION: u8 = 1;

/// What the first sector holds beside salt and tag.
const HEAD_LEN: usize = SECTOR_LEN - SALT_LEN - TAG_LEN;

/// Piece in which a new file is filled, in bytes.
const FILL_LEN: usize = 1 << 20;

/// The place of the first sector among the sealed parts of a file.
const HEAD_PLACE: FramePlace = FramePlace { sector: 0, part: FramePart::Head };

/// Where a session took over from an earlier one: what lies behind this point there counts for nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Junction {
    /// Where the last frame that counts ends.
    pub(super) position: Position,
    /// Tag of that frame; all zeroes if there was none.
    pub(super) tag: Tag,
}

/// What the first sector of a file says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FileHead {
    /// Number of this use of a file; never used twice, except for one that never came to hold a record.
    pub(super) number: u64,
    /// Position of the file's first byte.
    pub(super) start: u64,
    /// Length of the file in bytes.
    pub(super) file_len: u64,
    /// Number of the file before this one; 0 if it is the first of the journal.
    pub(super) predecessor: u64,
    /// Set if the predecessor did not run to its end: the point in it where this file takes over.
    pub(super) junction: Option<Junction>,
}

impl FileHead {
    /// Position just behind the file.
    pub(super) fn end(&self) -> u64 {
        self.start.saturating_add(self.file_len)
    }

    fn encode(&self, out: &mut [u8]) {
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&[VERSION, u8::from(self.junction.is_some())]);
        for number in [self.number, self.start, self.file_len, self.predecessor] {
            put(&number.to_le_bytes());
        }
        if let Some(junction) = &self.junction {
            put(&junction.position.0.to_le_bytes());
            put(&junction.tag);
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, bytes) = bytes.split_first()?;
        let (has_junction, bytes) = bytes.split_first()?;
        if *version != VERSION || *has_junction > 1 {
            return None;
        }
        let number =
            |index: usize| Some(u64::from_le_bytes(bytes.get(index * 8..index * 8 + 8)?.try_into().ok()?));
        let junction = match has_junction {
            0 => None,
            _ => Some(Junction {
                position: Position(number(4)?),
                tag: bytes.get(40..40 + TAG_LEN)?.try_into().ok()?,
            }),
        };
        Some(Self {
            number: number(0)?,
            start: number(1)?,
            file_len: number(2)?,
            predecessor: number(3)?,
            junction,
        })
    }
}

/// A file with its head and the sealer of its frames.
#[derive(Clone)]
pub(super) struct JournalFile {
    pub(super) path: PathBuf,
    pub(super) head: FileHead,
    pub(super) file: Arc<dyn LocalFile>,
    pub(super) sealer: Arc<FrameSealer>,
}

impl JournalFile {
    /// Opens file `number` of the journal; nothing if its first sector is not one that this key sealed for it.
    pub(super) fn open(folder: &Folder, number: u64) -> Result<Option<Self>, JournalError> {
        let path = folder.path(NameKind::Journal, number);
        let failed = |source| JournalError::Io { path: path.clone(), source };
        let file = folder.disk.open(&path).map_err(failed)?;
        let length = file.length().map_err(failed)?;
        if length < FIRST_FRAME {
            return Ok(None);
        }
        let mut sector = [0; SECTOR_LEN];
        file.read_at(0, &mut sector).map_err(failed)?;
        let (salt, sealed) = sector.split_at_mut(SALT_LEN);
        let salt: &[u8; SALT_LEN] = (&*salt).try_into().expect("the slice was split at this length");
        let sealer = folder.keys.frames(salt);
        let head = sealer.open(HEAD_PLACE, &[], sealed).and_then(|plain| FileHead::decode(plain));
        Ok(head.filter(|head| head.number == number && head.file_len == length).map(|head| Self {
            path,
            head,
            file,
            sealer: Arc::new(sealer),
        }))
    }
}

/// What a name in the journal's directory stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NameKind {
    /// Part of the journal.
    Journal,
    /// Ready to be used again.
    Spare,
    /// Not yet filled.
    New,
}

impl NameKind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Journal => "journal-",
            Self::Spare => "spare-",
            Self::New => "new-",
        }
    }
}

/// The journal's directory and all that is needed to make a file in it.
pub(super) struct Folder {
    pub(super) disk: Arc<dyn LocalDisk>,
    pub(super) dir: PathBuf,
    pub(super) keys: Arc<LocalKeys>,
    pub(super) env: Arc<dyn Env>,
    pub(super) file_len: u64,
}

impl Folder {
    /// Path of a file.
    pub(super) fn path(&self, kind: NameKind, number: u64) -> PathBuf {
        self.dir.join(format!("{}{number:016x}", kind.prefix()))
    }

    /// Attaches the directory to an error.
    pub(super) fn failed(&self, source: std::io::Error) -> JournalError {
        JournalError::Io { path: self.dir.clone(), source }
    }

    /// Numbers of the files of each kind, ascending.
    pub(super) fn list(&self) -> Result<Vec<(NameKind, u64)>, JournalError> {
        let names = self.disk.list(&self.dir).map_err(|source| self.failed(source))?;
        let mut found: Vec<(NameKind, u64)> = names.iter().filter_map(|name| parse_name(name)).collect();
        found.sort_unstable_by_key(|(_, number)| *number);
        Ok(found)
    }

    /// Takes a file out of the journal, to be used again; durable on return, so that files go in order and an
    /// old name does not come back with the head of a new use.
    pub(super) fn retire(&self, number: u64) -> Result<(), JournalError> {
        let path = self.path(NameKind::Journal, number);
        let spare = self.path(NameKind::Spare, number);
        let renamed = self.disk.rename(&path, &spare).and_then(|()| self.disk.sync_dir(&self.dir));
        renamed.map_err(|source| JournalError::Io { path, source })
    }

    /// Removes a file.
    pub(super) fn remove(&self, kind: NameKind, number: u64) -> Result<(), JournalError> {
        let path = self.path(kind, number);
        self.disk.remove(&path).map_err(|source| JournalError::Io { path, source })
    }

    /// Makes the file that `head` describes, out of the spare file of that number if one is given. When this
    /// returns, name and head are durable and every byte of the file has been written once.
    pub(super) fn make(&self, head: FileHead, spare: Option<u64>) -> Result<JournalFile, JournalError> {
        let (old_path, file) = match spare {
            Some(number) => self.reuse(number, head)?,
            None => self.fill(head.number, head.file_len)?,
        };
        let path = self.path(NameKind::Journal, head.number);
        let failed = |source| JournalError::Io { path: path.clone(), source };
        let mut sector = [0; SECTOR_LEN];
        let (salt, rest) = sector.split_at_mut(SALT_LEN);
        let salt: &mut [u8; SALT_LEN] = salt.try_into().expect("the slice was split at this length");
        self.env.fill(salt);
        let sealer = self.keys.frames(salt);
        let (plain, tag) = rest.split_at_mut(HEAD_LEN);
        head.encode(plain);
        tag.copy_from_slice(&sealer.seal(HEAD_PLACE, &[], plain));
        file.write_at(0, &sector).map_err(failed)?;
        file.sync_data().map_err(failed)?;
        self.disk.rename(&old_path, &path).map_err(failed)?;
        self.disk.sync_dir(&self.dir).map_err(failed)?;
        Ok(JournalFile { path, head, file, sealer: Arc::new(sealer) })
    }

    /// Makes a file that a later [`make`](Self::make) can use.
    pub(super) fn make_spare(&self, number: u64) -> Result<(), JournalError> {
        let (path, file) = self.fill(number, self.file_len)?;
        let made = file.sync_data().and_then(|()| {
            self.disk.rename(&path, &self.path(NameKind::Spare, number))?;
            self.disk.sync_dir(&self.dir)
        });
        made.map_err(|source| JournalError::Io { path, source })
    }

    /// Opens a spare file, or fills another if its length is not the one that is wanted.
    fn reuse(&self, spare: u64, head: FileHead) -> Result<(PathBuf, Arc<dyn LocalFile>), JournalError> {
        let path = self.path(NameKind::Spare, spare);
        let opened = self.disk.open(&path).and_then(|file| Ok((file.length()?, file)));
        let (length, file) = opened.map_err(|source| JournalError::Io { path: path.clone(), source })?;
        if length == head.file_len {
            return Ok((path, file));
        }
        self.remove(NameKind::Spare, spare)?;
        self.fill(head.number, head.file_len)
    }

    /// Makes a file full of noise: overwriting in place is then all that a commit ever does, and what is not yet
    /// written looks like what is.
    fn fill(&self, number: u64, file_len: u64) -> Result<(PathBuf, Arc<dyn LocalFile>), JournalError> {
        let path = self.path(NameKind::New, number);
        let failed = |source| JournalError::Io { path: path.clone(), source };
        // A leftover of an attempt that failed, for want of space perhaps.
        match self.disk.remove(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let file = self.disk.create(&path).map_err(failed)?;
        file.allocate(file_len).map_err(failed)?;
        let mut noise = Noise::new(&draw(&*self.env));
        let mut piece = vec![0; FILL_LEN.min(file_len as usize)];
        let mut offset = 0;
        while offset < file_len {
            let length = (file_len - offset).min(piece.len() as u64);
            let piece = &mut piece[..length as usize];
            noise.fill(piece);
            file.write_at(offset, piece).map_err(failed)?;
            offset += length;
        }
        Ok((path, file))
    }
}

fn parse_name(name: &str) -> Option<(NameKind, u64)> {
    [NameKind::Journal, NameKind::Spare, NameKind::New].into_iter().find_map(|kind| {
        let digits = name.strip_prefix(kind.prefix())?;
        let is_ours =
            digits.len() == 16 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if is_ours { Some((kind, u64::from_str_radix(digits, 16).ok()?)) } else { None }
    })
}
