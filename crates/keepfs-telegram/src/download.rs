//! Ranges of an object: pieces as the server wants them asked for, each checked for its length.
//!
//! A piece starts and ends at multiples of a KiB, is at most half a MiB, and does not cross a MiB
//! (core.telegram.org/api/files, with `precise`). A piece that is shorter than it must be is asked for again and
//! then an error: never the end of the file.

use std::sync::Arc;

use grammers_tl_types as tl;
use tl::enums;
use tokio::task::JoinSet;

use crate::error::{Result, TelegramError};
use crate::flow::Kind;
use crate::index::Spot;
use crate::pool::Pool;
use crate::shelf::Shelf;
use crate::sighting::{Document, Meaning};

/// Longest piece, in bytes.
const PIECE_LEN_MAX: u64 = 512 << 10;
/// No piece crosses a multiple of this.
const WALL: u64 = 1 << 20;
/// Pieces start and end at multiples of this.
const GRAIN: u64 = 1 << 10;
/// How often a piece is asked for when tickets are old or bytes are missing.
const ATTEMPTS_MAX: usize = 3;
/// The ticket for a file is old, or the file went with its message: the message tells which.
const OLD_TICKETS: [&str; 3] = ["FILE_REFERENCE_", "LOCATION_INVALID", "FILE_ID_INVALID"];
/// The file is at another data centre.
const ELSEWHERE: &str = "FILE_MIGRATE";

/// A piece: its first byte, and how many bytes must come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Piece {
    start: u64,
    len: u64,
}

/// The pieces that hold a range of a document of `size` bytes.
fn pieces(offset: u64, len: u64, size: u64) -> Vec<Piece> {
    let (mut start, end) = (offset / GRAIN * GRAIN, offset.saturating_add(len).min(size));
    let mut pieces = Vec::new();
    while start < end {
        let wall = (start / WALL + 1) * WALL;
        let stop = end.next_multiple_of(GRAIN).min(wall).min(start + PIECE_LEN_MAX);
        pieces.push(Piece { start, len: stop.min(size) - start });
        start = stop;
    }
    pieces
}

/// A document and its size in bytes.
#[derive(Clone)]
pub(crate) struct File {
    pub(crate) spot: Spot,
    pub(crate) document: Document,
    pub(crate) size: u64,
}

/// Fills `out` from `offset` on, which the caller has checked to be inside the file.
pub(crate) async fn read(shelf: &Arc<Shelf>, file: &File, offset: u64, out: &mut [u8]) -> Result<()> {
    let mut waiting = pieces(offset, out.len() as u64, file.size).into_iter();
    let mut flying: JoinSet<Result<(Piece, Vec<u8>)>> = JoinSet::new();
    loop {
        while flying.len() < shelf.pool.flow.parts(Kind::Download)
            && let Some(piece) = waiting.next()
        {
            let (shelf, file) = (Arc::clone(shelf), file.clone());
            flying.spawn(async move { fetch(&shelf, file, piece).await.map(|bytes| (piece, bytes)) });
        }
        let Some(landed) = flying.join_next().await else { return Ok(()) };
        let panicked = |panic| TelegramError::broken(format!("a piece was not read ({panic})"));
        let (piece, bytes) = landed.map_err(panicked)??;
        let from = piece.start.max(offset);
        let to = (piece.start + piece.len).min(offset + out.len() as u64);
        let part = &bytes[(from - piece.start) as usize..(to - piece.start) as usize];
        out[(from - offset) as usize..(to - offset) as usize].copy_from_slice(part);
    }
}

/// One piece, whole.
async fn fetch(shelf: &Shelf, mut file: File, piece: Piece) -> Result<Vec<u8>> {
    let mut centre = file.document.centre;
    let mut last = TelegramError::broken("a piece was not read");
    for _ in 0..ATTEMPTS_MAX {
        shelf.pool.ensure_login_at(centre).await?;
        match ask(&shelf.pool, centre, &file.document, piece).await {
            Ok(bytes) if bytes.len() as u64 == piece.len => return Ok(bytes),
            Ok(bytes) => {
                let found = bytes.len();
                last = TelegramError::broken(format!("{found} bytes came where {} must be", piece.len));
            }
            Err(error) if OLD_TICKETS.iter().any(|name| error.is_refusal(name)) => {
                file.document = renew(shelf, file.spot, &file.document).await?;
                last = error;
            }
            Err(error @ TelegramError::SessionEnded { .. }) if centre != shelf.pool.home() => {
                shelf.pool.forget_login_at(centre);
                last = error;
            }
            Err(error) if error.is_refusal(ELSEWHERE) => {
                centre = error.refusal_number().map_or(centre, crate::session::Centre);
                last = error;
            }
            Err(error) => return Err(error),
        }
    }
    match last {
        TelegramError::Refused { name } => Err(TelegramError::broken(name)),
        last => Err(last),
    }
}

async fn ask(
    pool: &Pool,
    centre: crate::session::Centre,
    document: &Document,
    piece: Piece,
) -> Result<Vec<u8>> {
    let request = tl::functions::upload::GetFile {
        precise: true,
        cdn_supported: false,
        location: document.location(),
        offset: i64::try_from(piece.start).unwrap_or(i64::MAX),
        limit: piece.len.next_multiple_of(GRAIN) as i32,
    };
    match pool.ask_at(centre, Kind::Download, request).await? {
        enums::upload::File::File(answer) => Ok(answer.bytes),
        enums::upload::File::CdnRedirect(_) => {
            Err(TelegramError::broken("the server points to another network, which was not asked for"))
        }
    }
}

/// A fresh ticket for the same document.
async fn renew(shelf: &Shelf, spot: Spot, old: &Document) -> Result<Document> {
    let seen = shelf.look(spot.volume, &[spot.id]).await?;
    match seen.into_iter().next() {
        Some((_, Meaning::Object(sighting))) if sighting.document.id == old.id => Ok(sighting.document),
        _ => Err(TelegramError::Refused { name: GONE.to_owned() }),
    }
}

/// The message was deleted or changed while it was read.
pub(crate) const GONE: &str = "the message is gone";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_keep_the_servers_rules_and_cover_the_range() {
        for size in [1, 1023, 1024, 1 << 20, (3 << 20) + 17] {
            for offset in [0, 1, 1023, 1024, 524_287, 1_048_575, 1_048_577, size / 2, size - 1] {
                for len in [1, 1024, 524_288, 1 << 20, size] {
                    if offset >= size {
                        continue;
                    }
                    let len = len.min(size - offset);
                    let pieces = pieces(offset, len, size);
                    assert!(pieces[0].start <= offset);
                    let last = pieces.last().unwrap();
                    assert!(last.start + last.len >= offset + len);
                    for piece in &pieces {
                        let limit = piece.len.next_multiple_of(GRAIN);
                        assert!(piece.start % GRAIN == 0 && limit <= PIECE_LEN_MAX && piece.len > 0);
                        assert_eq!(piece.start / WALL, (piece.start + limit - 1) / WALL);
                        assert!(piece.start + piece.len <= size);
                    }
                    for pair in pieces.windows(2) {
                        assert_eq!(pair[0].start + pair[0].len, pair[1].start);
                    }
                }
            }
        }
    }
}
