//! Documents: files that were sent, read by range.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A run of bytes in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece {
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// One document.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Document {
    pub(crate) id: i64,
    pub(crate) owner: i64,
    pub(crate) name: String,
    pub(crate) mime_type: String,
    pub(crate) size: u64,
    pub(crate) date_s: i32,
    /// The data centre that gives it out.
    pub(crate) dc: i32,
    /// The parts, in the order of the document, where they lie in its file. All but the last are equally long.
    pub(crate) pieces: Vec<Piece>,
}

impl Document {
    /// Reads at most `len` bytes from `offset`; fewer at the end, none behind it.
    pub(crate) fn read(&self, path: &Path, offset: u64, len: usize) -> Result<Vec<u8>> {
        let broken = |error| Error::State { path: path.to_owned(), error };
        let file = File::open(path).map_err(broken)?;
        let end = self.size.min(offset.saturating_add(len as u64));
        let part_len = self.pieces.first().map_or(1, |piece| piece.len.max(1));
        let mut out = Vec::new();
        let mut at = offset;
        while at < end {
            let Some(piece) = self.pieces.get((at / part_len) as usize) else { break };
            let skipped = at % part_len;
            let wanted = (piece.len.saturating_sub(skipped)).min(end - at);
            if wanted == 0 {
                break;
            }
            let from = out.len();
            out.resize(from + wanted as usize, 0);
            file.read_exact_at(&mut out[from..], piece.offset + skipped).map_err(broken)?;
            at += wanted;
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_range_is_read_from_pieces_in_disorder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d");
        std::fs::write(&path, b"fg#abcde").unwrap();
        let piece = |offset, len| Piece { offset, len };
        let document = Document {
            id: 1,
            owner: 1,
            name: String::new(),
            mime_type: String::new(),
            size: 7,
            date_s: 0,
            dc: 2,
            pieces: vec![piece(3, 5), piece(0, 2)],
        };
        for offset in 0..10 {
            for len in 0..10 {
                let expected: Vec<u8> = b"abcdefg".iter().copied().skip(offset).take(len).collect();
                assert_eq!(document.read(&path, offset as u64, len).unwrap(), expected);
            }
        }
    }
}
