//! One small history, and one failure at each of its calls: of the disk, of the store, before the effect and after
//! it, for want of room. No later success vouches for what was lost, and the next mount is whole.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use keepfs_fs::RenameMode;
use keepfs_fs::disk::Trouble as DiskTrouble;
use keepfs_sim::noise;
use keepfs_sim::world::{Action, Bytes, End, Named, Played, Script, Trouble, Vault, Which, play};
use keepfs_store::Moment;

/// Scripts at a time; each is one thread.
const THREADS: usize = 2;
/// Ends of each session.
const ENDS: [End; 3] = [End::Kill, End::PowerCut, End::Unmount];

pub(crate) fn spot(name: &str) -> (Named, Named) {
    let (directory, name) = name.rsplit_once('/').unwrap_or(("", name));
    (Named(directory.as_bytes().to_vec()), Named(name.as_bytes().to_vec()))
}

pub(crate) fn at(path: &str) -> Which {
    Which::At(Named(path.as_bytes().to_vec()))
}

pub(crate) fn write(path: &str, offset: u64, bytes: Vec<u8>) -> Action {
    Action::Write { file: at(path), offset, bytes: Bytes(bytes) }
}

/// What is there and safe before anything fails.
fn before() -> Vec<Action> {
    vec![
        Action::Create(spot("/a")),
        write("/a", 0, noise(1, 3000)),
        Action::Create(spot("/b")),
        write("/b", 0, b"content of b".to_vec()),
        Action::MakeDirectory(spot("/d")),
    ]
}

/// What happens while one call fails.
fn during() -> Vec<Action> {
    vec![
        Action::Create(spot("/d/new")),
        write("/d/new", 0, noise(2, 5000)),
        Action::SyncFile(at("/d/new")),
        write("/a", 1000, b"over the middle".to_vec()),
        Action::Rename(spot("/b"), spot("/a"), RenameMode::Replace),
        Action::SyncDirectory,
        Action::Truncate { file: at("/d/new"), size: 700 },
        Action::SyncStore,
        Action::Link(Named(b"/a".to_vec()), spot("/d/linked")),
        // Enough that a sync brings it into chunks first.
        Action::Create(spot("/large")),
        write("/large", 0, noise(3, 1_300_000)),
        Action::SyncAll,
        Action::Unlink(spot("/d/new")),
        Action::SyncStore,
        write("/large", 600_000, noise(4, 900)),
        Action::SyncFile(at("/large")),
    ]
}

fn script<'a>(parts: &'a (Vec<Action>, Vec<Action>), trouble: Trouble, end: End, seed: u64) -> Script<'a> {
    Script { before: &parts.0, during: &parts.1, trouble, end, seed }
}

/// How many calls the history makes when nothing fails.
fn rehearse(vault: &Vault, parts: &(Vec<Action>, Vec<Action>)) -> Played {
    let played = play(vault, &script(parts, Trouble::None, End::Kill, 0)).unwrap();
    assert!(played.failures == 0 && !played.stopped);
    assert!(played.disk_calls > 20 && played.store_writes > 15, "{played:?}");
    played
}

/// Plays every script; tells what went wrong, and how many failed calls and stopped mounts there were.
pub(crate) fn play_all(vault: &Vault, scripts: &[Script<'_>]) -> (u64, u64) {
    let (next, wrong) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let (failures, stopped) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(script) = scripts.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    match play(vault, script) {
                        Ok(played) => {
                            failures.fetch_add(u64::from(played.failures > 0), Ordering::Relaxed);
                            stopped.fetch_add(u64::from(played.stopped), Ordering::Relaxed);
                        }
                        Err(told) => wrong.lock().unwrap().push(told),
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    let first: Vec<&str> = wrong.iter().filter_map(|told| told.lines().next()).take(20).collect();
    assert!(wrong.is_empty(), "{} went wrong:\n{}\n\n{}", wrong.len(), first.join("\n"), wrong[0]);
    (failures.into_inner(), stopped.into_inner())
}

#[test]
fn no_success_vouches_for_what_a_failed_disk_call_lost() {
    let (vault, parts) = (Vault::found().unwrap(), (before(), during()));
    let calls = rehearse(&vault, &parts).disk_calls;
    let mut scripts = Vec::new();
    for call in 0..calls {
        for trouble in [
            DiskTrouble::Fail { call, errno: libc::EIO },
            DiskTrouble::FailAfter { call, errno: libc::EIO },
            DiskTrouble::FailFrom { call, errno: libc::EIO },
            DiskTrouble::Fail { call, errno: libc::ENOSPC },
        ] {
            scripts.extend(ENDS.map(|end| script(&parts, Trouble::Disk(trouble), end, call)));
        }
    }
    let (failures, stopped) = play_all(&vault, &scripts);
    println!(
        "{} histories with a failed disk call at each of {calls}, {failures} in which calls failed, {stopped} \
              that stopped writing, 0 wrong",
        scripts.len()
    );
    assert!(stopped > calls, "an error of the disk must stop writing");
}

#[test]
fn no_success_vouches_for_what_a_failed_store_call_lost() {
    let (vault, parts) = (Vault::found().unwrap(), (before(), during()));
    let writes = rehearse(&vault, &parts).store_writes;
    let mut scripts = Vec::new();
    for write in 0..writes {
        for moment in Moment::ALL {
            scripts.extend(ENDS.map(|end| script(&parts, Trouble::Struck(write, moment), end, write)));
            scripts.push(script(&parts, Trouble::Struck(write, moment), End::Loss, write));
        }
    }
    let (failures, stopped) = play_all(&vault, &scripts);
    println!(
        "{} histories with a failed write at each of {writes}, {failures} in which calls failed, {stopped} that \
              stopped writing, 0 wrong",
        scripts.len()
    );
    assert!(failures > 0);
}

#[test]
fn want_of_room_at_every_write_leaves_all_readable_and_passes() {
    let (vault, parts) = (Vault::found().unwrap(), (before(), during()));
    let played = rehearse(&vault, &parts);
    let mut scripts = Vec::new();
    for end in ENDS {
        let disk =
            |call| script(&parts, Trouble::Disk(DiskTrouble::Full { call, errno: libc::ENOSPC }), end, call);
        let store = |write| script(&parts, Trouble::StoreFullFrom(write), end, write);
        scripts.extend((0..played.disk_calls).map(disk).chain((0..played.store_writes).map(store)));
    }
    let (failures, stopped) = play_all(&vault, &scripts);
    println!(
        "{} histories without room from each of {} disk calls and {} writes to the store, {failures} in which \
              calls failed, {stopped} that stopped writing, 0 wrong",
        scripts.len(),
        played.disk_calls,
        played.store_writes
    );
    assert!(failures > 0);
}

#[test]
fn a_machine_that_dies_at_any_call_comes_back() {
    let (vault, parts) = (Vault::found().unwrap(), (before(), during()));
    let played = rehearse(&vault, &parts);
    let mut scripts = Vec::new();
    for end in [End::Kill, End::PowerCut, End::PowerCut, End::Loss] {
        let seed = scripts.len() as u64;
        let disk = |call| script(&parts, Trouble::DeathAtDisk(call), end, seed + call);
        scripts.extend((0..played.disk_calls).map(disk));
        for moment in Moment::ALL {
            let store = |write| script(&parts, Trouble::DeathAtStore(write, moment), end, seed + write);
            scripts.extend((0..played.store_writes).map(store));
        }
    }
    play_all(&vault, &scripts);
    println!(
        "{} histories with a death at each of {} disk calls and {} writes to the store, 0 wrong",
        scripts.len(),
        played.disk_calls,
        played.store_writes
    );
}
