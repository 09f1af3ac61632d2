//! Doors of what lies on the machine's own disk: the frames of a journal file, and the batches in them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use keepfs_format::local::{FramePart, FramePlace, FrameSealer, LocalKeys, SALT_LEN};
use keepfs_format::secret::Secret;
use keepfs_fs::disk::FaultyDisk;
use keepfs_fs::home::RecoveryPhrase;
use keepfs_fs::journal::{FILE_LEN_MIN, Journal, JournalOptions, JournalPlace, Position, RECORD_LEN_MAX};

use super::workshop::env;
use crate::place::Place;
use crate::seeded::SeededEnv;
use crate::world::show;

const SECTOR_LEN: usize = 512;
/// Where frames begin in a file.
const FIRST_FRAME: usize = 4096;
const TAG_LEN: usize = 16;
/// Sealed length of a frame's head.
const SEALED_HEAD_LEN: usize = 29 + TAG_LEN;
/// Bytes of input that say what a frame shall be.
const WISH_LEN: usize = 5;

fn keys() -> Arc<LocalKeys> {
    Arc::new(LocalKeys::derive(&Secret::new([61; 32])))
}

fn place(disk: FaultyDisk, dir: PathBuf, keys: Arc<LocalKeys>) -> JournalPlace {
    let options = JournalOptions { file_len: FILE_LEN_MIN, total_len_max: FILE_LEN_MIN * 8 };
    JournalPlace { disk: Arc::new(disk), dir, keys, env: Arc::new(env()), options }
}

/// A journal without records: its directory's only file and what lies in it.
static EMPTY: LazyLock<Option<(PathBuf, Vec<u8>)>> = LazyLock::new(|| {
    let disk = FaultyDisk::new(Path::new("/"));
    let opened =
        Journal::open(place(disk.clone(), "/journal".into(), keys()), Position::OLDEST, &mut |_, _| Ok(()));
    drop(opened.ok()?);
    let path = disk.files().into_iter().find(|path| path.to_string_lossy().contains("journal-"))?;
    let bytes = disk.peek(&path)?;
    Some((path, bytes))
});

/// One frame after the other, each sealed as it should be: the first bytes of a piece say its kind, how long it is, what it
/// calls durable, and whether it names the frame before it.
pub(super) fn journal_frames(wishes: &[u8]) -> bool {
    let Some((path, template)) = &*EMPTY else { return false };
    let mut bytes = template.clone();
    let Some(salt) = bytes.first_chunk::<SALT_LEN>() else { return false };
    let sealer = keys().frames(salt);
    lay_frames(&sealer, wishes, &mut bytes);
    let disk = FaultyDisk::new(Path::new("/"));
    let made = keepfs_fs::disk::LocalDisk::create_dir(&disk, Path::new("/journal"));
    assert!(made.is_ok(), "a new disk has room for a directory");
    disk.replace(path, bytes);
    let mut last = Position::OLDEST;
    let opened =
        Journal::open(place(disk, "/journal".into(), keys()), Position::OLDEST, &mut |at, record| {
            assert!(record.len() <= RECORD_LEN_MAX && at > last, "records come in order");
            last = at;
            Ok(())
        });
    opened.is_ok_and(|(_, report)| report.records > 0)
}

fn lay_frames(sealer: &FrameSealer, mut wishes: &[u8], bytes: &mut [u8]) {
    let (mut offset, mut previous) = (FIRST_FRAME, [0; TAG_LEN]);
    while let Some((wish, rest)) = wishes.split_first_chunk::<WISH_LEN>() {
        let [kind, len, len_high, durable, flags] = *wish;
        let payload_len = usize::from(len) | usize::from(len_high) << 8;
        let (payload, rest) = rest.split_at(payload_len.min(rest.len()));
        wishes = rest;
        let frame_len = (payload.len() + SEALED_HEAD_LEN + TAG_LEN).next_multiple_of(SECTOR_LEN);
        let Some(frame) = bytes.get_mut(offset..offset + frame_len) else { return };
        let sector = (offset / SECTOR_LEN) as u64;
        let stated_len = if flags & 1 == 0 { payload.len() } else { payload_len };
        let mut head = vec![kind];
        head.extend_from_slice(&(stated_len as u32).to_le_bytes());
        head.extend_from_slice(&(u64::from(durable) * SECTOR_LEN as u64).to_le_bytes());
        head.extend_from_slice(if flags & 2 == 0 { &previous } else { &[7; TAG_LEN] });
        let head_tag = sealer.seal(FramePlace { sector, part: FramePart::Head }, &[], &mut head);
        let mut body = payload.to_vec();
        body.resize(frame_len - SEALED_HEAD_LEN - TAG_LEN, 0);
        previous = sealer.seal(FramePlace { sector, part: FramePart::Body }, &head_tag, &mut body);
        if flags & 4 == 0 {
            frame.copy_from_slice(&[&head[..], &head_tag, &body, &previous].concat());
        }
        offset += frame_len;
    }
}

/// A vault with a small journal, and the keys of its machine's disk.
struct Vault {
    place: Place,
    phrase: RecoveryPhrase,
    keys: Arc<LocalKeys>,
}

static VAULT: LazyLock<Option<Vault>> = LazyLock::new(|| {
    let (place, phrase, unlocked) = Place::found(3).ok()?;
    let keys = Arc::new(LocalKeys::derive(&unlocked.local_key));
    let fs = place.start(Arc::new(place.store.clone()), unlocked, place.quiet_options()).ok()?;
    fs.close().ok()?;
    drop(fs);
    place.disk.end_process();
    Some(Vault { place, phrase, keys })
});

/// One entry of the journal, replayed by a mount.
pub(super) fn journal_batch(record: &[u8]) -> bool {
    let Some(vault) = &*VAULT else { return false };
    let fork = Place { env: Arc::new(SeededEnv::new(4)), ..vault.place.fork(4) };
    let journal = JournalPlace {
        options: fork.quiet_options().journal,
        ..place((*fork.disk).clone(), fork.state_dir.join("journal"), vault.keys.clone())
    };
    let Ok((journal, _)) = Journal::open(journal, Position::OLDEST, &mut |_, _| Ok(())) else { return false };
    if journal.append(record).is_err() {
        return false;
    }
    drop(journal);
    let opened = fork.open(Arc::new(fork.store.clone()), &vault.phrase, fork.quiet_options());
    opened.is_ok_and(|fs| show(&fs).is_ok())
}
