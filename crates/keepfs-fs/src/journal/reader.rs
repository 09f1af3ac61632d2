//! Reading a journal after a stop, clean or not: which files count, which frames, and where it ends.
//!
//! Decides between a torn tail and damage. Never writes.

use std::collections::BTreeMap;

use super::file::{FIRST_FRAME, Folder, JournalFile, Junction, NameKind};
use super::frame::{self, FrameHead, FrameKind, SEALED_HEAD_LEN, Tag};
use super::{JournalError, Position, RECORD_LEN_MAX};
use crate::disk::SECTOR_LEN;

/// Bytes read at once.
const WINDOW_LEN: usize = 2 << 20;

/// What receives the records.
pub(super) type Replay<'a> = dyn FnMut(Position, &[u8]) -> Result<(), JournalError> + 'a;

/// The files of a journal, sorted by whether they count.
pub(super) struct Chain {
    /// Those that count, oldest first.
    pub(super) files: Vec<JournalFile>,
    /// Numbers of those that do not: left over by an open that took another turn.
    pub(super) strays: Vec<u64>,
    /// A position behind every file there is.
    pub(super) end: u64,
    /// The highest number in use.
    pub(super) number_max: u64,
}

impl Chain {
    /// Finds the row of files from the newest back by what their heads say; empty if there is no journal.
    ///
    /// Goes no further back than to the file in which the cut `from` lies: what is older may go in any order.
    pub(super) fn find(folder: &Folder, from: Position) -> Result<Self, JournalError> {
        let mut opened = BTreeMap::new();
        for (kind, number) in folder.list()? {
            if kind == NameKind::Journal {
                opened.insert(number, JournalFile::open(folder, number)?);
            }
        }
        let number_max = opened.keys().next_back().copied().unwrap_or(0);
        if !opened.is_empty() && opened.values().all(Option::is_none) {
            return Err(JournalError::WrongKey { path: folder.dir.clone() });
        }
        let end = opened.values().flatten().map(|file| file.head.end()).max().unwrap_or(0);
        let mut files = Vec::new();
        let mut next = number_max;
        while next != 0 {
            match opened.remove(&next) {
                Some(Some(file)) => {
                    next = if from != Position::OLDEST && base(&file) <= from {
                        0
                    } else {
                        file.head.predecessor
                    };
                    files.push(file);
                }
                Some(None) => return Err(damaged_head(folder, next)),
                // Trimmed away, unless what is older is still there.
                None => match opened.range(..next).next() {
                    Some(_) => return Err(missing(folder, &files)),
                    None => break,
                },
            }
        }
        files.reverse();
        Ok(Self { files, strays: opened.into_keys().collect(), end, number_max })
    }

    /// Index of the file with which a replay from the cut `from` begins.
    pub(super) fn first_for(&self, from: Position) -> usize {
        self.files.iter().rposition(|file| base(file) <= from).unwrap_or(0)
    }
}

/// A cut before which no record lies in this file, nor behind it any in a file before.
fn base(file: &JournalFile) -> Position {
    file.head.junction.map_or(Position(file.head.start), |junction| junction.position)
}

fn damaged_head(folder: &Folder, number: u64) -> JournalError {
    JournalError::Damaged {
        path: folder.path(NameKind::Journal, number),
        position: Position(0),
        reason: "its first sector does not open",
    }
}

fn missing(folder: &Folder, newer: &[JournalFile]) -> JournalError {
    JournalError::Damaged {
        path: folder.dir.clone(),
        position: Position(newer.last().map_or(0, |file| file.head.start)),
        reason: "a file in the middle is missing",
    }
}

/// Where a replay ended.
#[derive(Clone, Copy)]
pub(super) struct Ending {
    /// Index in the chain of the file in which the last frame that counts lies.
    pub(super) file: usize,
    /// The point behind that frame.
    pub(super) junction: Junction,
    /// Where the last record ends.
    pub(super) cut: Position,
    /// Up to where a frame vouches for durability.
    pub(super) durable: u64,
    /// Whether bad frames lie behind the end.
    pub(super) torn_tail: bool,
    /// Records handed out.
    pub(super) records: u64,
    /// Their lengths together.
    pub(super) bytes: u64,
}

/// One walk along the chain.
pub(super) struct Reader<'a> {
    files: &'a [JournalFile],
    from: Position,
    replay: &'a mut Replay<'a>,
    /// Tag of the last frame read; unknown at the very beginning of what was not trimmed.
    link: Option<Tag>,
    ending: Ending,
    record: Record,
}

/// Where the walk stands among the parts of records.
enum Record {
    /// Between two records.
    Between,
    /// Within one whose first parts are these.
    Within(Vec<u8>),
    /// Perhaps within one whose beginning lies in a file before the first that is read.
    Beheaded,
}

/// A good frame.
struct Frame<'w> {
    head: FrameHead,
    payload: &'w [u8],
    tag: Tag,
}

/// Why the walk leaves a file.
enum Leave {
    /// The next file goes on from here.
    Next,
    /// The journal ends here.
    Stop,
}

impl<'a> Reader<'a> {
    /// Walks `files` from index `first` on and hands every record that ends behind `from` to `replay`.
    pub(super) fn run(
        files: &'a [JournalFile],
        first: usize,
        from: Position,
        replay: &'a mut Replay<'a>,
    ) -> Result<Ending, JournalError> {
        let head = &files[first].head;
        let junction = head.junction.unwrap_or(Junction { position: Position(0), tag: Tag::default() });
        let mut reader = Reader {
            files,
            from,
            replay,
            link: head.junction.map(|junction| junction.tag),
            ending: Ending {
                file: first,
                junction: Junction { position: Position(head.start + FIRST_FRAME), tag: junction.tag },
                cut: base(&files[first]),
                durable: base(&files[first]).0,
                torn_tail: false,
                records: 0,
                bytes: 0,
            },
            record: if head.junction.is_some() { Record::Between } else { Record::Beheaded },
        };
        if from != Position::OLDEST && base(&files[first]) > from {
            return Err(reader.damage(first, head.start, "the files before this one are missing"));
        }
        for index in first..files.len() {
            if let Leave::Stop = reader.read_file(index)? {
                break;
            }
        }
        reader.finish()
    }

    /// Refuses an ending that the database is already beyond.
    fn finish(self) -> Result<Ending, JournalError> {
        if self.ending.cut < self.from {
            let reason = "it ends before what the database has already seen";
            return Err(self.damage(self.ending.file, self.ending.junction.position.0, reason));
        }
        Ok(self.ending)
    }

    fn damage(&self, index: usize, position: u64, reason: &'static str) -> JournalError {
        JournalError::Damaged { path: self.files[index].path.clone(), position: Position(position), reason }
    }

    fn read_file(&mut self, index: usize) -> Result<Leave, JournalError> {
        let file = &self.files[index];
        let next = self.files.get(index + 1);
        let junction = next.and_then(|next| next.head.junction);
        let mut window = Window::new(file);
        let mut offset = FIRST_FRAME;
        loop {
            let position = file.head.start + offset;
            if let Some(junction) = junction.filter(|junction| junction.position.0 <= position) {
                return self.take_over(index, position, junction);
            }
            let Some(Frame { head, payload, tag }) = self.read_frame(&mut window, offset)? else {
                return match junction {
                    Some(_) => {
                        Err(self.damage(index, position, "a frame that a later session built on is bad"))
                    }
                    None => self.end_at(index, offset),
                };
            };
            self.link = Some(tag);
            self.ending.durable = self.ending.durable.max(head.durable);
            offset += head.frame_len() as u64;
            let behind = file.head.start + offset;
            self.take(index, &head, payload, behind)?;
            if matches!(self.record, Record::Between) {
                self.ending.file = index;
                self.ending.junction = Junction { position: Position(behind), tag };
            }
            if head.kind == FrameKind::End && junction.is_none_or(|junction| junction.position.0 != behind) {
                return match next {
                    Some(next) if next.head.junction.is_none() => Ok(Leave::Next),
                    Some(_) => Err(self.damage(index, behind, "the next file takes over at another point")),
                    None => Err(self.damage(index, behind, "the file after this one is missing")),
                };
            }
        }
    }

    /// The next file's head says that it takes over here.
    fn take_over(&mut self, index: usize, position: u64, junction: Junction) -> Result<Leave, JournalError> {
        let is_same_place = junction.position.0 == position && !matches!(self.record, Record::Within(_));
        if !is_same_place || self.link.is_some_and(|link| link != junction.tag) {
            return Err(self.damage(index, position, "the next file takes over from another row of frames"));
        }
        self.link = Some(junction.tag);
        self.record = Record::Between;
        Ok(Leave::Next)
    }

    /// Reads the frame at `offset` if a good one is there that follows the last.
    fn read_frame<'w>(
        &self,
        window: &'w mut Window<'_>,
        offset: u64,
    ) -> Result<Option<Frame<'w>>, JournalError> {
        let sector = offset / SECTOR_LEN as u64;
        let file = window.file;
        let Some(sealed) = window.get(offset, SEALED_HEAD_LEN)? else { return Ok(None) };
        let sealed = (&*sealed).try_into().expect("the window gives the length that was asked for");
        let Some(head) = frame::open_head(&file.sealer, sector, sealed) else { return Ok(None) };
        if self.link.is_some_and(|link| link != head.previous) || !self.fits(&head) {
            return Ok(None);
        }
        let Some(bytes) = window.get(offset, head.frame_len())? else { return Ok(None) };
        Ok(frame::open_body(&file.sealer, sector, &head, bytes).map(|(payload, tag)| Frame {
            head,
            payload,
            tag,
        }))
    }

    /// Whether a frame of this kind may come now.
    fn fits(&self, head: &FrameHead) -> bool {
        match (head.kind, &self.record) {
            (FrameKind::End, _) | (_, Record::Beheaded) => true,
            (FrameKind::Whole | FrameKind::First | FrameKind::Vouch, record) => {
                matches!(record, Record::Between)
            }
            (FrameKind::Middle | FrameKind::Last, Record::Within(parts)) => {
                parts.len() + head.payload_len <= RECORD_LEN_MAX
            }
            (FrameKind::Middle | FrameKind::Last, Record::Between) => false,
        }
    }

    /// Adds a frame's payload to the record it belongs to and hands that out when it is whole.
    fn take(
        &mut self,
        index: usize,
        head: &FrameHead,
        payload: &[u8],
        behind: u64,
    ) -> Result<(), JournalError> {
        let before = std::mem::replace(&mut self.record, Record::Between);
        match (head.kind, before) {
            (FrameKind::End, before) => self.record = before,
            (FrameKind::Vouch, _) => {}
            (FrameKind::Whole, _) => self.hand_out(payload, behind)?,
            (FrameKind::First, _) => self.record = Record::Within(payload.to_vec()),
            (FrameKind::Middle, Record::Within(mut parts)) => {
                parts.extend_from_slice(payload);
                self.record = Record::Within(parts);
            }
            (FrameKind::Last, Record::Within(mut parts)) => {
                parts.extend_from_slice(payload);
                self.hand_out(&parts, behind)?;
            }
            (FrameKind::Middle, before) => self.record = before,
            (FrameKind::Last, _) if self.from != Position::OLDEST && behind > self.from.0 => {
                return Err(self.damage(index, behind, "the beginning of a record is missing"));
            }
            (FrameKind::Last, _) => self.ending.cut = Position(behind),
        }
        Ok(())
    }

    fn hand_out(&mut self, record: &[u8], behind: u64) -> Result<(), JournalError> {
        self.ending.cut = Position(behind);
        if behind > self.from.0 {
            self.ending.records += 1;
            self.ending.bytes += record.len() as u64;
            (self.replay)(Position(behind), record)?;
        }
        Ok(())
    }

    /// The frame at `offset` is bad: a torn tail, unless something behind it was sealed when it was durable.
    fn end_at(&mut self, index: usize, offset: u64) -> Result<Leave, JournalError> {
        let position = self.files[index].head.start + offset;
        if self.files[index + 1..].iter().any(|file| file.head.junction.is_some()) {
            return Err(self.damage(index, position, "a frame is bad that a later session built on"));
        }
        for (later, file) in self.files.iter().enumerate().skip(index) {
            let begin = if later == index { offset + SECTOR_LEN as u64 } else { FIRST_FRAME };
            let (found, vouched) = scan(file, begin)?;
            self.ending.torn_tail |= found;
            if vouched > position {
                return Err(self.damage(
                    index,
                    position,
                    "a frame is bad, and valid ones follow that were sealed later",
                ));
            }
        }
        self.ending.torn_tail |= matches!(self.record, Record::Within(_));
        Ok(Leave::Stop)
    }
}

/// Looks for heads of frames on every sector from `begin` on: whether there are any, and the highest position
/// that one of them calls durable.
fn scan(file: &JournalFile, begin: u64) -> Result<(bool, u64), JournalError> {
    let mut window = Window::new(file);
    let (mut found, mut vouched) = (false, 0);
    let mut offset = begin;
    while let Some(sealed) = window.get(offset, SEALED_HEAD_LEN)? {
        let sealed = (&*sealed).try_into().expect("the window gives the length that was asked for");
        if let Some(head) = frame::open_head(&file.sealer, offset / SECTOR_LEN as u64, sealed) {
            found = true;
            vouched = vouched.max(head.durable);
        }
        offset += SECTOR_LEN as u64;
    }
    Ok((found, vouched))
}

/// A piece of a file in memory that moves along with the reading.
struct Window<'a> {
    file: &'a JournalFile,
    bytes: Vec<u8>,
    offset: u64,
}

impl<'a> Window<'a> {
    fn new(file: &'a JournalFile) -> Self {
        Self { file, bytes: Vec::new(), offset: 0 }
    }

    /// The bytes at `offset`, to be opened in place; nothing if they are not all within the file.
    fn get(&mut self, offset: u64, length: usize) -> Result<Option<&mut [u8]>, JournalError> {
        let left = self.file.head.file_len.saturating_sub(offset);
        if left < length as u64 {
            return Ok(None);
        }
        let is_inside =
            offset >= self.offset && offset + length as u64 <= self.offset + self.bytes.len() as u64;
        if !is_inside {
            self.bytes.resize(left.min(WINDOW_LEN as u64) as usize, 0);
            self.offset = offset;
            let read = self.file.file.read_at(offset, &mut self.bytes);
            read.map_err(|source| JournalError::Io { path: self.file.path.clone(), source })?;
        }
        let start = (offset - self.offset) as usize;
        Ok(self.bytes.get_mut(start..start + length))
    }
}
