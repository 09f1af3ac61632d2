//! Small overwrites in one place: what they leave of the chunks there is put together again.
//!
//! Without this, a database that overwrites pages here and there for years ends up with an extent a page.

use crate::content::{File, FileState};
use crate::core::Core;
use crate::error::Result;

/// Windows are looked at one by one; they are as long as a block of a chunk.
const WINDOW_LEN: u64 = 64 << 10;
/// Pieces of a window from which on it is written as one.
const PIECES_MAX: usize = 6;

impl Core {
    /// Puts runs that lie in a fragmented window together with the rest of the window. Runs are sorted and
    /// disjoint, before and after. Windows with holes stay as they are, so that sparse files stay sparse.
    pub(super) fn join_windows(
        &self,
        file: &File,
        state: &mut FileState,
        runs: Vec<(u64, Vec<u8>)>,
    ) -> Vec<(u64, Vec<u8>)> {
        let mut joined: Vec<(u64, Vec<u8>)> = Vec::with_capacity(runs.len());
        let mut rest = runs.into_iter().peekable();
        while let Some(run) = rest.next() {
            let window = run.0 / WINDOW_LEN * WINDOW_LEN;
            let inside = |run: &(u64, Vec<u8>)| run.0 + run.1.len() as u64 <= window + WINDOW_LEN;
            if !inside(&run) {
                joined.push(run);
                continue;
            }
            let mut group = vec![run];
            while let Some(next) = rest.next_if(inside) {
                group.push(next);
            }
            // A longer run that reaches into the window holds newer bytes than its extents do.
            let alone = joined.last().is_none_or(|last| last.0 + last.1.len() as u64 <= window)
                && rest.peek().is_none_or(|next| next.0 >= window + WINDOW_LEN);
            let whole = match alone {
                true => self.whole_window(file, state, (window, &group)),
                false => Ok(None),
            };
            let whole = whole.unwrap_or_else(|error| {
                tracing::warn!(ino = file.ino.0, %error, "a fragmented window could not be read");
                None
            });
            match whole {
                Some(whole) => {
                    let before: usize = group.iter().map(|run| run.1.len()).sum();
                    self.contents.account(before, whole.len(), 0, 0);
                    joined.push((window, whole));
                }
                None => joined.append(&mut group),
            }
        }
        joined
    }

    /// The bytes of a window with runs over them, if it is fragmented and without holes.
    fn whole_window(
        &self,
        file: &File,
        state: &mut FileState,
        (window, group): (u64, &[(u64, Vec<u8>)]),
    ) -> Result<Option<Vec<u8>>> {
        let end = (window + WINDOW_LEN).min(state.size);
        if group.iter().any(|run| run.0 + run.1.len() as u64 > end) || state.is_flying(window..end) {
            return Ok(None);
        }
        let pieces = state.extents(file.ino, &self.database)?.runs(window, end);
        if pieces.len() + group.len() <= PIECES_MAX || pieces.iter().any(|piece| piece.extent.is_none()) {
            return Ok(None);
        }
        let mut whole = vec![0; (end - window) as usize];
        for piece in pieces {
            let Some(extent) = piece.extent else { continue };
            let from = (piece.offset - window) as usize;
            let part = &mut whole[from..from + piece.len as usize];
            self.space.read(&extent.id, &extent.at, extent.skip, part)?;
        }
        for (offset, bytes) in group {
            let from = (offset - window) as usize;
            whole[from..from + bytes.len()].copy_from_slice(bytes);
        }
        Ok(Some(whole))
    }
}
