//! Opening a journal: replay, make sure of what was replayed, begin a new file. Owns the order of these steps.

use std::collections::VecDeque;
use std::path::Path;

use parking_lot::Mutex;

use super::file::{FIRST_FRAME, FileHead, Folder, JournalFile, NameKind};
use super::frame::Tag;
use super::reader::{Chain, Ending, Reader, Replay};
use super::writer::{Filled, State};
use super::{FILE_LEN_MIN, Journal, JournalError, JournalPlace, Position, ReplayReport};

/// Piece in which the tail is written once more, in bytes.
const COPY_LEN: usize = 1 << 20;

/// Fewest files that allow any work: a full one, the current and the next.
const FILES_MIN: u64 = 3;

impl Journal {
    /// Opens the journal, or makes one, and hands every record behind the cut `from` to `replay`, in order, each
    /// with the cut behind it. `from` is what the database durably holds ([`Position::OLDEST`] if there is none);
    /// the journal must have been synced up to it before the database said so. Memory: one record and 2 MiB.
    ///
    /// Nothing is written before the replay is complete; if the open fails, all files are as they were.
    ///
    /// Errors: `Damaged`, `WrongKey`, `InUse`, `Io`, and what `replay` returns.
    pub fn open(
        place: JournalPlace,
        from: Position,
        replay: &mut Replay<'_>,
    ) -> Result<(Self, ReplayReport), JournalError> {
        let JournalPlace { disk, dir, keys, env, options } = place;
        let file_len = options.file_len.max(FILE_LEN_MIN).next_multiple_of(FIRST_FRAME);
        let folder = Folder { disk, dir, keys, env, file_len };
        let parent = folder.dir.parent().unwrap_or(Path::new("."));
        let made = folder.disk.create_dir(&folder.dir).and_then(|()| folder.disk.sync_dir(parent));
        made.map_err(|source| folder.failed(source))?;
        let lock = folder.disk.lock(&folder.dir.join("lock")).map_err(|source| match source.kind() {
            std::io::ErrorKind::WouldBlock => JournalError::InUse { path: folder.dir.clone() },
            _ => folder.failed(source),
        })?;
        let chain = Chain::find(&folder, from)?;
        let (state, report) = match chain.files.is_empty() {
            true => begin(&folder, from)?,
            false => resume(&folder, &chain, from, replay)?,
        };
        let journal = Self {
            folder,
            files_max: (options.total_len_max / file_len).max(FILES_MIN),
            state: Mutex::new(state),
            syncing: Mutex::new(()),
            preparing: Mutex::new(()),
            _lock: lock,
        };
        Ok((journal, report))
    }
}

/// Makes the first file of a journal whose records all lie behind `from`.
fn begin(folder: &Folder, from: Position) -> Result<(State, ReplayReport), JournalError> {
    folder.remove_unfinished()?;
    let head =
        FileHead { number: 1, start: from.0, file_len: folder.file_len, predecessor: 0, junction: None };
    let current = folder.make(head, folder.first_spare()?)?;
    let report = ReplayReport { records: 0, bytes: 0, created: true, torn_tail: false, end: from };
    Ok((state(current, Tag::default(), from, VecDeque::new()), report))
}

/// Replays what is there and goes on in a new file.
fn resume(
    folder: &Folder,
    chain: &Chain,
    from: Position,
    replay: &mut Replay<'_>,
) -> Result<(State, ReplayReport), JournalError> {
    let first = chain.first_for(from);
    let ending = Reader::run(&chain.files, first, from, replay)?;
    make_sure(&chain.files[first..=ending.file], &ending)?;
    folder.remove_unfinished()?;
    let head = FileHead {
        number: chain.number_max + 1,
        start: chain.end.max(from.0),
        file_len: folder.file_len,
        predecessor: chain.files[ending.file].head.number,
        junction: Some(ending.junction),
    };
    let current = folder.make(head, folder.first_spare()?)?;
    // Only now does nothing need them: until the new file was durable, they were part of what a reader sees.
    let is_needed = |index: usize| (first..=ending.file).contains(&index);
    let unneeded = chain.files.iter().enumerate().filter(|(index, _)| !is_needed(*index));
    let mut unneeded: Vec<u64> =
        unneeded.map(|(_, file)| file.head.number).chain(chain.strays.clone()).collect();
    unneeded.sort_unstable();
    for number in unneeded {
        folder.retire(number)?;
    }
    let filled = chain.files[first..=ending.file].iter().enumerate().map(|(index, file)| Filled {
        number: file.head.number,
        start: file.head.start,
        used_end: if first + index == ending.file { ending.junction.position.0 } else { file.head.end() },
    });
    let report = ReplayReport {
        records: ending.records,
        bytes: ending.bytes,
        created: false,
        torn_tail: ending.torn_tail,
        end: ending.cut,
    };
    let mut state = state(current, ending.junction.tag, ending.cut, filled.collect());
    state.trimmed = from;
    Ok((state, report))
}

/// The state of a journal that goes on at the beginning of `current`.
fn state(current: JournalFile, link: Tag, cut: Position, filled: VecDeque<Filled>) -> State {
    let begin = current.head.start + FIRST_FRAME;
    State {
        current,
        offset: FIRST_FRAME,
        link,
        cut,
        durable: begin,
        vouched: begin,
        trimmed: Position::OLDEST,
        filled,
        prepared: VecDeque::new(),
        touched: Vec::new(),
        poisoned: false,
        buffer: Vec::new(),
    }
}

/// Makes what was replayed durable. Where no frame vouches for it, it is written once more first: if a sync failed
/// in an earlier session, the kernel may hold pages that it will never write, and that a sync now would not either.
fn make_sure(files: &[JournalFile], ending: &Ending) -> Result<(), JournalError> {
    let mut piece = Vec::new();
    for file in files {
        let failed = |source| JournalError::Io { path: file.path.clone(), source };
        let mut offset = ending.durable.saturating_sub(file.head.start).max(FIRST_FRAME);
        let end = ending.junction.position.0.saturating_sub(file.head.start).min(file.head.file_len);
        if offset >= end {
            continue;
        }
        while offset < end {
            piece.resize((end - offset).min(COPY_LEN as u64) as usize, 0);
            file.file.read_at(offset, &mut piece).map_err(failed)?;
            file.file.write_at(offset, &piece).map_err(failed)?;
            offset += piece.len() as u64;
        }
        file.file.sync_data().map_err(failed)?;
    }
    Ok(())
}

impl Folder {
    /// Numbers of the spare files.
    pub(super) fn spares(&self) -> Result<Vec<u64>, JournalError> {
        self.numbers(NameKind::Spare)
    }

    /// A spare file, if there is one.
    pub(super) fn first_spare(&self) -> Result<Option<u64>, JournalError> {
        Ok(self.spares()?.first().copied())
    }

    /// Removes files that an earlier session did not finish filling.
    fn remove_unfinished(&self) -> Result<(), JournalError> {
        for number in self.numbers(NameKind::New)? {
            self.remove(NameKind::New, number)?;
        }
        Ok(())
    }

    fn numbers(&self, kind: NameKind) -> Result<Vec<u64>, JournalError> {
        Ok(self.list()?.into_iter().filter(|(found, _)| *found == kind).map(|(_, number)| number).collect())
    }
}
