//! The bytes of an upload, read part by part.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::{Result, TelegramError};

/// Length of every part but the last, in bytes: the longest that the server takes
/// (core.telegram.org/api/files: divisible by 1024, and 524288 divisible by it).
pub(crate) const PART_LEN: usize = 512 << 10;

/// Where the bytes come from.
pub(crate) enum Source<'a> {
    /// Memory.
    Bytes(&'a [u8]),
    /// A local file of this length.
    File { file: File, len: u64 },
}

impl Source<'_> {
    /// Opens a file.
    pub(crate) fn open(path: &Path) -> Result<Source<'static>> {
        let failed = |error| TelegramError::local(&format!("reading {}", path.display()), &error);
        let file = File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        Ok(Source::File { file, len })
    }

    /// Length of the object in bytes.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Source::Bytes(bytes) => bytes.len() as u64,
            Source::File { len, .. } => *len,
        }
    }

    /// Number of parts; an empty object has one, of one zero byte, for the server keeps no empty file.
    pub(crate) fn parts(&self) -> u32 {
        let parts = self.len().div_ceil(PART_LEN as u64).max(1);
        u32::try_from(parts).unwrap_or(u32::MAX)
    }

    /// One part.
    pub(crate) fn part(&self, part: u32) -> Result<Vec<u8>> {
        if self.len() == 0 {
            return Ok(vec![0]);
        }
        let start = u64::from(part) * PART_LEN as u64;
        let len = self.len().saturating_sub(start).min(PART_LEN as u64) as usize;
        match self {
            Source::Bytes(bytes) => {
                let start = start as usize;
                Ok(bytes[start..start + len].to_vec())
            }
            Source::File { file, .. } => {
                let mut out = vec![0; len];
                file.read_exact_at(&mut out, start)
                    .map_err(|error| TelegramError::local("reading the file to be uploaded", &error))?;
                Ok(out)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_put_together_are_the_object() {
        for len in [0, 1, PART_LEN - 1, PART_LEN, PART_LEN + 1, PART_LEN * 3 + 5] {
            let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("file");
            std::fs::write(&path, &bytes).unwrap();
            let expected = if len == 0 { vec![0] } else { bytes.clone() };
            for source in [Source::Bytes(&bytes), Source::open(&path).unwrap()] {
                let parts: Vec<Vec<u8>> =
                    (0..source.parts()).map(|part| source.part(part).unwrap()).collect();
                assert_eq!(parts.concat(), expected);
                assert!(parts.iter().rev().skip(1).all(|part| part.len() == PART_LEN));
            }
        }
    }
}
