//! Appending: where the next frame goes, what is durable, which files wait. Never reads a frame.

use std::collections::VecDeque;
use std::sync::Arc;

use super::file::{FIRST_FRAME, FileHead, JournalFile, NameKind};
use super::frame::{
    self, EMPTY_FRAME_LEN, FrameHead, FrameKind, OVERHEAD_LEN, PAYLOAD_LEN_MAX, Tag, frame_len,
};
use super::{Journal, JournalError, Position, RECORD_LEN_MAX};
use crate::disk::{LocalFile, SECTOR_LEN};

/// A record that does not fit is split only if at least this much room is left; less stays empty.
const SPLIT_ROOM_MIN: u64 = 4096;

/// Files kept to be used again; what is more is removed.
const SPARES_MAX: usize = 2;

/// The sealing buffer is given back when one long record has made it longer than this, in bytes.
const BUFFER_LEN_MAX: usize = 256 << 10;

/// A file before the current one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filled {
    pub(super) number: u64,
    pub(super) start: u64,
    /// Position behind its last frame.
    pub(super) used_end: u64,
}

/// Where the journal stands.
pub(super) struct State {
    pub(super) current: JournalFile,
    /// Where the next frame begins in the current file.
    pub(super) offset: u64,
    /// Tag of the last frame.
    pub(super) link: Tag,
    /// Where the last record ends.
    pub(super) cut: Position,
    /// Everything before this position is durable.
    pub(super) durable: u64,
    /// The highest position that a frame on disk calls durable.
    pub(super) vouched: u64,
    /// Records before this cut are no longer needed.
    pub(super) trimmed: Position,
    /// Files before the current one that are still needed, oldest first.
    pub(super) filled: VecDeque<Filled>,
    /// Files ready to follow the current one.
    pub(super) prepared: VecDeque<JournalFile>,
    /// Files written since the last sync, oldest first.
    pub(super) touched: Vec<(u64, Arc<dyn LocalFile>)>,
    pub(super) poisoned: bool,
    pub(super) buffer: Vec<u8>,
}

/// Payload of the next part of a record when `left` bytes of it and `room` bytes of the file are left; nothing if
/// the next file must be taken first.
fn part_len(room: u64, left: usize) -> Option<usize> {
    let wanted = left.min(PAYLOAD_LEN_MAX);
    if frame_len(wanted) as u64 <= room {
        Some(wanted)
    } else if room >= SPLIT_ROOM_MIN {
        // The wanted frame is longer than the room, which therefore is a length in memory.
        Some(room as usize - OVERHEAD_LEN)
    } else {
        None
    }
}

impl State {
    /// Room for frames that leaves space for the last frame of a file.
    fn room(&self) -> u64 {
        (self.current.head.file_len - self.offset).saturating_sub(EMPTY_FRAME_LEN as u64)
    }

    /// How many files beside the current one a record of this length needs.
    fn files_needed(&self, len: usize) -> usize {
        let (mut room, mut left, mut files) = (self.room(), len, 0);
        loop {
            match part_len(room, left) {
                Some(part) if part == left => return files,
                Some(part) => {
                    left -= part;
                    room -= frame_len(part) as u64;
                }
                None => {
                    files += 1;
                    room = self.current.head.file_len - FIRST_FRAME - EMPTY_FRAME_LEN as u64;
                }
            }
        }
    }

    /// Writes a record for which enough files are prepared.
    fn put_record(&mut self, record: &[u8]) -> Result<Position, JournalError> {
        let mut rest = record;
        let mut is_first = true;
        loop {
            let Some(part_len) = part_len(self.room(), rest.len()) else {
                self.rotate()?;
                continue;
            };
            let (part, behind) = rest.split_at(part_len);
            let kind = match (is_first, behind.is_empty()) {
                (true, true) => FrameKind::Whole,
                (true, false) => FrameKind::First,
                (false, false) => FrameKind::Middle,
                (false, true) => FrameKind::Last,
            };
            self.put_frame(kind, part)?;
            if behind.is_empty() {
                break;
            }
            (rest, is_first) = (behind, false);
        }
        self.buffer.truncate(0);
        self.buffer.shrink_to(BUFFER_LEN_MAX);
        self.cut = Position(self.written());
        Ok(self.cut)
    }

    fn put_frame(&mut self, kind: FrameKind, payload: &[u8]) -> Result<(), JournalError> {
        let head = FrameHead { kind, payload_len: payload.len(), durable: self.durable, previous: self.link };
        let file = &self.current;
        let tag =
            frame::seal(&file.sealer, self.offset / SECTOR_LEN as u64, &head, payload, &mut self.buffer);
        if self.touched.last().is_none_or(|(number, _)| *number != file.head.number) {
            self.touched.push((file.head.number, file.file.clone()));
        }
        let written = file.file.write_at(self.offset, &self.buffer);
        written.map_err(|source| JournalError::Io { path: file.path.clone(), source })?;
        self.offset += self.buffer.len() as u64;
        self.link = tag;
        self.vouched = self.vouched.max(self.durable);
        Ok(())
    }

    /// Ends the current file and goes on in the next.
    fn rotate(&mut self) -> Result<(), JournalError> {
        self.put_frame(FrameKind::End, &[])?;
        let next =
            self.prepared.pop_front().expect("the files a record needs are counted before it is written");
        self.filled.push_back(self.as_filled());
        self.current = next;
        self.offset = FIRST_FRAME;
        Ok(())
    }

    fn as_filled(&self) -> Filled {
        let head = &self.current.head;
        Filled { number: head.number, start: head.start, used_end: self.written() }
    }

    /// Position behind the last frame.
    fn written(&self) -> u64 {
        self.current.head.start + self.offset
    }

    /// Leading files that nothing needs: the trim point lies behind a record of a later file. Were it enough that
    /// it lies behind their own last record, the first record of the next file could be lost with the only frame
    /// that says where the journal begins.
    fn spent(&self) -> Vec<u64> {
        let starts = self.filled.iter().skip(1).map(|file| file.start).chain([self.current.head.start]);
        let pairs = self.filled.iter().zip(starts);
        pairs
            .take_while(|(_, next)| next + FIRST_FRAME < self.trimmed.0)
            .map(|(file, _)| file.number)
            .collect()
    }

    /// Head of the file after the last prepared one.
    fn next_head(&self) -> FileHead {
        let last = &self.prepared.back().unwrap_or(&self.current).head;
        FileHead {
            number: last.number + 1,
            start: last.end(),
            file_len: last.file_len,
            predecessor: last.number,
            junction: None,
        }
    }

    fn len_live(&self) -> u64 {
        let live = |file: &Filled| {
            let begin = (file.start + FIRST_FRAME).max(self.trimmed.0);
            file.used_end.saturating_sub(begin)
        };
        self.filled.iter().map(live).sum::<u64>() + live(&self.as_filled())
    }
}

impl Journal {
    /// Writes one record and makes it durable with all before it: one write and one `fdatasync`, if it is no longer
    /// than 1 MiB. Returns the cut behind it.
    ///
    /// Errors: as [`write`](Self::write) and [`sync`](Self::sync).
    pub fn append(&self, record: &[u8]) -> Result<Position, JournalError> {
        let position = self.write(record)?;
        self.sync()?;
        Ok(position)
    }

    /// Writes one record of at most [`RECORD_LEN_MAX`] bytes, to be made durable by [`sync`](Self::sync). Returns
    /// the cut behind it. Makes a file itself if [`prepare`](Self::prepare) was not called in time.
    ///
    /// Errors: `Full`, `TooLong`, and `Io` for want of space leave the journal as it was; any other failure of the
    /// disk poisons it.
    pub fn write(&self, record: &[u8]) -> Result<Position, JournalError> {
        if record.len() > RECORD_LEN_MAX {
            return Err(JournalError::TooLong { len: record.len() });
        }
        loop {
            let mut state = self.state.lock();
            if state.poisoned {
                return Err(JournalError::Poisoned);
            }
            let needed = state.files_needed(record.len());
            if needed <= state.prepared.len() {
                let result = state.put_record(record);
                state.poisoned |= result.is_err();
                return result;
            }
            drop(state);
            let _preparing = self.preparing.lock();
            self.reclaim()?;
            self.make_files(needed)?;
        }
    }

    /// Makes every record durable that was written before this call. Costs nothing if they are; callers that wait
    /// for one another share a sync.
    ///
    /// Errors: `Io` poisons the journal: nothing is known of what was written since the last sync.
    pub fn sync(&self) -> Result<(), JournalError> {
        let wanted = self.end();
        let _syncing = self.syncing.lock();
        let (touched, target, current) = {
            let state = self.state.lock();
            if state.poisoned {
                return Err(JournalError::Poisoned);
            }
            if state.durable >= wanted.0 {
                return Ok(());
            }
            (state.touched.clone(), state.written(), state.current.head.number)
        };
        // In order: no later file may be durable when one before it is not.
        let failure = touched.iter().find_map(|(number, file)| Some((*number, file.sync_data().err()?)));
        let mut state = self.state.lock();
        if let Some((number, source)) = failure {
            state.poisoned = true;
            return Err(JournalError::Io { path: self.folder.path(NameKind::Journal, number), source });
        }
        state.durable = target;
        let is_idle = state.written() == target;
        state.touched.retain(|(number, _)| *number >= current && !is_idle);
        Ok(())
    }

    /// The cut behind the last record written.
    pub fn end(&self) -> Position {
        self.state.lock().cut
    }

    /// Says that no record before `upto` will be needed again: a database durably holds what they did. The files
    /// go at the next [`prepare`](Self::prepare). A later open must be given this cut or a later one.
    pub fn trim(&self, upto: Position) {
        let mut state = self.state.lock();
        state.trimmed = state.trimmed.max(upto.min(state.cut));
    }

    /// Bytes of the files between the trim point and the end.
    pub fn len_live(&self) -> u64 {
        self.state.lock().len_live()
    }

    /// What can be done ahead of time, for a thread in the background to call after the open, after each trim and
    /// now and then: makes the next file, retires those that were trimmed away, and notes in the journal that its
    /// last records are durable, so that damage to them is not taken for a torn tail.
    ///
    /// Errors: the journal is as good as before; try again later.
    pub fn prepare(&self) -> Result<(), JournalError> {
        self.vouch()?;
        let _preparing = self.preparing.lock();
        self.reclaim()?;
        self.make_files(1)?;
        self.keep_spares()
    }

    /// Notes that the last record is durable, unless a frame says so already.
    fn vouch(&self) -> Result<(), JournalError> {
        let mut state = self.state.lock();
        let is_worth_it = state.durable >= state.cut.0 && state.vouched < state.cut.0;
        if state.poisoned || !is_worth_it || state.room() < EMPTY_FRAME_LEN as u64 {
            return Ok(());
        }
        let result = state.put_frame(FrameKind::Vouch, &[]);
        state.poisoned |= result.is_err();
        result
    }

    /// Makes files until `count` are ready. The caller holds `preparing`.
    fn make_files(&self, count: usize) -> Result<(), JournalError> {
        loop {
            let head = {
                let state = self.state.lock();
                if state.prepared.len() >= count {
                    return Ok(());
                }
                let files = (state.filled.len() + 1 + count) as u64;
                if files > self.files_max {
                    return Err(JournalError::Full { len_live: state.len_live() });
                }
                state.next_head()
            };
            let made = self.folder.make(head, self.folder.first_spare()?)?;
            self.state.lock().prepared.push_back(made);
        }
    }

    /// Retires what was trimmed away. The caller holds `preparing`.
    fn reclaim(&self) -> Result<(), JournalError> {
        let spent = self.state.lock().spent();
        for number in spent {
            self.folder.retire(number)?;
            self.state.lock().filled.pop_front();
        }
        Ok(())
    }

    /// Keeps one spare file, so that the next open need not fill one, and removes those beyond
    /// [`SPARES_MAX`]. The caller holds `preparing`.
    fn keep_spares(&self) -> Result<(), JournalError> {
        let spares = self.folder.spares()?;
        if spares.is_empty() {
            let number = self.state.lock().next_head().number;
            self.folder.make_spare(number)?;
        }
        for number in spares.into_iter().skip(SPARES_MAX) {
            self.folder.remove(NameKind::Spare, number)?;
        }
        Ok(())
    }
}
