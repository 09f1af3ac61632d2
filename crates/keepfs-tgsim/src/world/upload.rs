//! Parts of files that are not sent yet.
//!
//! It owns one file for each upload, to which parts are appended in the order in which they come, and Telegram's
//! rules for them (<https://core.telegram.org/api/files#uploading-files>). Parts never lie in memory.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::document::Piece;
use crate::error::{Error, Result};

/// Bytes of the largest part.
pub(crate) const PART_LEN_MAX: usize = 524_288;
/// Part lengths are multiples of this, save the last.
const PART_LEN_UNIT: usize = 1_024;
/// Bytes of the largest file whose parts are sent without their number, and which carries a checksum.
const SMALL_LEN_MAX: u64 = 10 * 1024 * 1024;

/// Which upload: the account and the number that its client chose.
pub(crate) type UploadId = (i64, i64);

/// A part that a client sends.
pub(crate) struct Part<'a> {
    pub(crate) number: i32,
    /// How many parts there will be; −1 when the client does not know yet. Small files do not say.
    pub(crate) total: Option<i32>,
    pub(crate) bytes: &'a [u8],
}

/// How a client says that all parts were sent.
pub(crate) struct Completion {
    pub(crate) parts: i32,
    pub(crate) is_big: bool,
    /// Hexadecimal MD5 of a small file, or nothing.
    pub(crate) md5: String,
}

struct Upload {
    path: PathBuf,
    file: File,
    len: u64,
    pieces: BTreeMap<i32, Piece>,
    is_big: bool,
}

/// All uploads under way.
pub(crate) struct Uploads {
    dir: PathBuf,
    uploads: HashMap<UploadId, Upload>,
}

/// What came of a part or of a completion: done, or the name of the error that Telegram answers.
pub(crate) type Ruling<T> = std::result::Result<T, String>;

impl Uploads {
    /// Begins with no parts: those of a server before are as good as expired.
    pub(crate) fn open(dir: &Path) -> Result<Uploads> {
        let broken = |error| Error::State { path: dir.to_owned(), error };
        if dir.exists() {
            std::fs::remove_dir_all(dir).map_err(broken)?;
        }
        std::fs::create_dir_all(dir).map_err(broken)?;
        Ok(Uploads { dir: dir.to_owned(), uploads: HashMap::new() })
    }

    /// Stores a part. Tells whether that part was there already.
    pub(crate) fn put(&mut self, id: UploadId, part: &Part, parts_max: i32) -> Result<Ruling<bool>> {
        if let Err(name) = check_part(part, parts_max) {
            return Ok(Err(name.to_owned()));
        }
        let is_big = part.total.is_some();
        if !self.uploads.contains_key(&id) {
            let upload = Upload::begin(self.dir.join(format!("{}-{}", id.0, id.1)), is_big)?;
            self.uploads.insert(id, upload);
        }
        let Some(upload) = self.uploads.get_mut(&id).filter(|upload| upload.is_big == is_big) else {
            return Ok(Err("FILE_PARTS_INVALID".to_owned()));
        };
        upload.append(part).map(Ok)
    }

    /// Ends an upload: moves its file and tells where the parts lie in it.
    pub(crate) fn complete(
        &mut self,
        id: UploadId,
        completion: &Completion,
        target: &Path,
    ) -> Result<Ruling<Vec<Piece>>> {
        let Some(upload) = self.uploads.get(&id) else { return Ok(Err("FILE_PARTS_INVALID".to_owned())) };
        let pieces = match upload.check(completion)? {
            Ok(pieces) => pieces,
            Err(name) => return Ok(Err(name)),
        };
        std::fs::rename(&upload.path, target)
            .map_err(|error| Error::State { path: upload.path.clone(), error })?;
        self.uploads.remove(&id);
        Ok(Ok(pieces))
    }

    /// Forgets all parts, as Telegram does after hours at most.
    pub(crate) fn expire(&mut self) -> Result<()> {
        for (_, upload) in self.uploads.drain() {
            std::fs::remove_file(&upload.path)
                .map_err(|error| Error::State { path: upload.path.clone(), error })?;
        }
        Ok(())
    }
}

fn check_part(part: &Part, parts_max: i32) -> std::result::Result<(), &'static str> {
    if !(0..parts_max).contains(&part.number) {
        Err("FILE_PART_INVALID")
    } else if part.total.is_some_and(|total| total != -1 && !(1..=parts_max).contains(&total)) {
        Err("FILE_PARTS_INVALID")
    } else if part.bytes.is_empty() {
        Err("FILE_PART_EMPTY")
    } else if part.bytes.len() > PART_LEN_MAX {
        Err("FILE_PART_TOO_BIG")
    } else {
        Ok(())
    }
}

impl Upload {
    fn begin(path: PathBuf, is_big: bool) -> Result<Upload> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|error| Error::State { path: path.clone(), error })?;
        Ok(Upload { path, file, len: 0, pieces: BTreeMap::new(), is_big })
    }

    fn append(&mut self, part: &Part) -> Result<bool> {
        self.file.write_all(part.bytes).map_err(|error| Error::State { path: self.path.clone(), error })?;
        let piece = Piece { offset: self.len, len: part.bytes.len() as u64 };
        self.len += piece.len;
        Ok(self.pieces.insert(part.number, piece).is_some())
    }

    fn check(&self, completion: &Completion) -> Result<Ruling<Vec<Piece>>> {
        if completion.parts < 1 || completion.is_big != self.is_big {
            return Ok(Err("FILE_PARTS_INVALID".to_owned()));
        }
        let mut pieces = Vec::new();
        for number in 0..completion.parts {
            match self.pieces.get(&number) {
                Some(piece) => pieces.push(*piece),
                None => return Ok(Err(format!("FILE_PART_{number}_MISSING"))),
            }
        }
        if let Err(name) = check_lengths(&pieces) {
            return Ok(Err(name.to_owned()));
        }
        let len: u64 = pieces.iter().map(|piece| piece.len).sum();
        if !self.is_big && len > SMALL_LEN_MAX {
            return Ok(Err("FILE_PARTS_INVALID".to_owned()));
        }
        if !completion.md5.is_empty() && !completion.md5.eq_ignore_ascii_case(&self.md5(&pieces)?) {
            return Ok(Err("MD5_CHECKSUM_INVALID".to_owned()));
        }
        Ok(Ok(pieces))
    }

    /// The MD5 of a file that fits into memory: only small ones carry one.
    fn md5(&self, pieces: &[Piece]) -> Result<String> {
        let mut context = md5::Context::new();
        let mut bytes = vec![0; PART_LEN_MAX];
        for piece in pieces {
            let part = &mut bytes[..piece.len as usize];
            self.file
                .read_exact_at(part, piece.offset)
                .map_err(|error| Error::State { path: self.path.clone(), error })?;
            context.consume(&*part);
        }
        Ok(format!("{:x}", context.finalize()))
    }
}

/// All parts but the last are equally long, and the last is no longer.
fn check_lengths(pieces: &[Piece]) -> std::result::Result<(), &'static str> {
    let (Some(first), Some((last, others))) = (pieces.first(), pieces.split_last()) else {
        return Err("FILE_PARTS_INVALID");
    };
    if others.iter().any(|piece| piece.len != first.len) || last.len > first.len {
        return Err("FILE_PART_SIZE_CHANGED");
    }
    let len = first.len as usize;
    if !others.is_empty() && (!len.is_multiple_of(PART_LEN_UNIT) || !PART_LEN_MAX.is_multiple_of(len)) {
        return Err("FILE_PART_SIZE_INVALID");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(uploads: &mut Uploads, number: i32, total: Option<i32>, bytes: &[u8]) -> Ruling<bool> {
        uploads.put((1, 7), &Part { number, total, bytes }, 10).unwrap()
    }

    #[test]
    fn parts_come_in_any_order_and_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut uploads = Uploads::open(&dir.path().join("u")).unwrap();
        assert_eq!(put(&mut uploads, 2, Some(3), &[3; 5]), Ok(false));
        assert_eq!(put(&mut uploads, 0, Some(3), &[1; 1024]), Ok(false));
        let completion = Completion { parts: 3, is_big: true, md5: String::new() };
        let target = dir.path().join("t");
        let missing = uploads.complete((1, 7), &completion, &target).unwrap();
        assert_eq!(missing, Err("FILE_PART_1_MISSING".to_owned()));
        assert_eq!(put(&mut uploads, 1, Some(3), &[9; 1024]), Ok(false));
        assert_eq!(put(&mut uploads, 1, Some(3), &[2; 1024]), Ok(true));
        let pieces = uploads.complete((1, 7), &completion, &target).unwrap().unwrap();
        let bytes = std::fs::read(target).unwrap();
        let part = |index: usize| &bytes[pieces[index].offset as usize..][..pieces[index].len as usize];
        assert_eq!((part(0), part(1), part(2)), (&[1; 1024][..], &[2; 1024][..], &[3; 5][..]));
    }

    #[test]
    fn parts_that_break_a_rule_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut uploads = Uploads::open(dir.path()).unwrap();
        for (number, total, len, name) in [
            (-1, Some(3), 1, "FILE_PART_INVALID"),
            (10, Some(3), 1, "FILE_PART_INVALID"),
            (0, Some(11), 1, "FILE_PARTS_INVALID"),
            (0, Some(3), 0, "FILE_PART_EMPTY"),
            (0, Some(3), PART_LEN_MAX + 1, "FILE_PART_TOO_BIG"),
        ] {
            assert_eq!(put(&mut uploads, number, total, &vec![0; len]), Err(name.to_owned()));
        }
        let lengths = |lengths: &[u64]| {
            check_lengths(&lengths.iter().map(|len| Piece { offset: 0, len: *len }).collect::<Vec<_>>())
        };
        assert_eq!(lengths(&[77]), Ok(()));
        assert_eq!(lengths(&[2048, 2048, 1]), Ok(()));
        assert_eq!(lengths(&[2048, 4096]), Err("FILE_PART_SIZE_CHANGED"));
        assert_eq!(lengths(&[2048, 1024, 1]), Err("FILE_PART_SIZE_CHANGED"));
        assert_eq!(lengths(&[3072, 1]), Err("FILE_PART_SIZE_INVALID"));
        assert!(lengths(&[]).is_err());
    }

    #[test]
    fn a_wrong_checksum_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut uploads = Uploads::open(&dir.path().join("u")).unwrap();
        put(&mut uploads, 0, None, b"abc").unwrap();
        let target = dir.path().join("t");
        let complete = |uploads: &mut Uploads, md5: &str| {
            let completion = Completion { parts: 1, is_big: false, md5: md5.to_owned() };
            uploads.complete((1, 7), &completion, &target).unwrap()
        };
        assert_eq!(complete(&mut uploads, "00"), Err("MD5_CHECKSUM_INVALID".to_owned()));
        assert!(complete(&mut uploads, "900150983cd24fb0d6963f7d28e17f72").is_ok());
    }
}
